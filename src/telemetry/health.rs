//! Is the process alive, and is it ready?
//!
//! Alive: everything that should be heard from regularly has been. A watch that is silent is dead, even if its connection
//! looks well: the server sends bookmarks every minute and ends each watch after a few, and it is opened again. Ready: what
//! has to come first has come, and we are not stopping.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A watch that is silent for so long is dead.
pub const MAX_WATCH_SILENCE: Duration = Duration::from_secs(600);

/// What is known of the health of the process.
#[derive(Debug, Default)]
pub struct Health {
    heartbeats: Mutex<BTreeMap<String, Heartbeat>>,
    conditions: Mutex<BTreeMap<&'static str, bool>>,
}

#[derive(Debug)]
struct Heartbeat {
    last: Instant,
    max_silence: Duration,
}

/// An answer for a probe: whether it is well, and a line for each thing that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// Nothing is wrong.
    pub healthy: bool,
    /// `[+]caches ok`, as the API server's own probes tell it.
    pub lines: Vec<String>,
}

impl Health {
    /// A sign of life. From the first on, one is expected at least every `silence`.
    pub fn beat(&self, name: &str, max_silence: Duration) {
        self.beat_at(name, max_silence, Instant::now());
    }

    /// States whether something that readiness needs is so. What was never stated is not asked for: state it as `false`
    /// before the probes begin.
    pub fn condition(&self, name: &'static str, met: bool) {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).insert(name, met);
    }

    /// For `/livez`.
    pub fn live(&self) -> ProbeReport {
        self.live_at(Instant::now())
    }

    /// For `/readyz`.
    pub fn ready(&self) -> ProbeReport {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        ProbeReport {
            healthy: conditions.values().all(|met| *met),
            lines: conditions.iter().map(|(name, met)| line(name, *met, "not yet")).collect(),
        }
    }

    fn beat_at(&self, name: &str, max_silence: Duration, now: Instant) {
        let mut heartbeats = self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner);
        match heartbeats.get_mut(name) {
            Some(heartbeat) => *heartbeat = Heartbeat { last: now, max_silence },
            None => {
                heartbeats.insert(name.to_owned(), Heartbeat { last: now, max_silence });
            }
        }
    }

    fn live_at(&self, now: Instant) -> ProbeReport {
        let heartbeats = self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = |heartbeat: &Heartbeat| now.saturating_duration_since(heartbeat.last) <= heartbeat.max_silence;
        let describe = |(name, heartbeat): (&String, &Heartbeat)| {
            let silent = now.saturating_duration_since(heartbeat.last).as_secs();
            line(name, alive(heartbeat), &format!("silent for {silent} s, at most {} s", heartbeat.max_silence.as_secs()))
        };
        ProbeReport { healthy: heartbeats.values().all(alive), lines: heartbeats.iter().map(describe).collect() }
    }
}

fn line(name: &str, healthy: bool, otherwise: &str) -> String {
    if healthy { format!("[+]{name} ok") } else { format!("[-]{name} {otherwise}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_death_only_after_its_time() {
        let health = Health::default();
        let start = Instant::now();
        let check = |after: u64, healthy: bool| {
            assert_eq!(health.live_at(start + Duration::from_secs(after)).healthy, healthy, "after {after} s");
        };
        check(0, true);
        health.beat_at("/api/v1/pods", MAX_WATCH_SILENCE, start);
        health.beat_at("queue", Duration::from_secs(60), start);
        check(60, true);
        check(61, false);
        health.beat_at("queue", Duration::from_secs(60), start + Duration::from_secs(600));
        check(600, true);
        check(601, false);
        let report = health.live_at(start + Duration::from_secs(660));
        assert_eq!(report.lines, ["[-]/api/v1/pods silent for 660 s, at most 600 s", "[+]queue ok"]);
    }

    #[test]
    fn ready_is_when_all_that_was_named_is_so() {
        let health = Health::default();
        assert!(health.ready().healthy);
        health.condition("caches", false);
        health.condition("certificate", true);
        assert_eq!(
            health.ready(),
            ProbeReport { healthy: false, lines: vec!["[-]caches not yet".into(), "[+]certificate ok".into()] }
        );
        health.condition("caches", true);
        assert!(health.ready().healthy);
    }
}
