//! The state behind the liveness and readiness probes.
//!
//! Alive: everything that must be active regularly has been. A silent watch counts as dead, even if its connection
//! seems healthy: the server sends bookmarks every minute and ends each watch after a few, and it is opened again.
//! Ready: all conditions are met, and the process is not stopping.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A watch without activity for this time counts as dead.
pub const MAX_WATCH_SILENCE: Duration = Duration::from_secs(600);

/// The heartbeats and conditions of the process.
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

/// The result of a probe: whether it succeeds, and a line for each check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// Whether every check succeeds.
    pub healthy: bool,
    /// `[+]caches ok`, in the format of the API server's own probes.
    pub lines: Vec<String>,
}

impl Health {
    /// Records activity. From the first call on, a heartbeat is expected at least every `max_silence`.
    pub fn beat(&self, name: &str, max_silence: Duration) {
        self.beat_at(name, max_silence, Instant::now());
    }

    /// Sets a readiness condition. Only conditions that were set count: set each one to `false` before the probes
    /// begin.
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
            lines: conditions.iter().map(|(name, met)| line(name, *met, "not ready")).collect(),
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
            line(
                name,
                alive(heartbeat),
                &format!("no activity for {silent} s, limit {} s", heartbeat.max_silence.as_secs()),
            )
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
    fn a_silent_watch_is_dead_only_after_its_limit() {
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
        assert_eq!(report.lines, ["[-]/api/v1/pods no activity for 660 s, limit 600 s", "[+]queue ok"]);
    }

    #[test]
    fn the_process_is_ready_when_all_conditions_are_met() {
        let health = Health::default();
        assert!(health.ready().healthy);
        health.condition("caches", false);
        health.condition("certificate", true);
        assert_eq!(
            health.ready(),
            ProbeReport { healthy: false, lines: vec!["[-]caches not ready".into(), "[+]certificate ok".into()] }
        );
        health.condition("caches", true);
        assert!(health.ready().healthy);
    }
}
