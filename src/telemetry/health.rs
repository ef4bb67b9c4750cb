//! Is the process alive, and is it ready?
//!
//! Alive: everything that should be heard from regularly has been. A watch that is silent is dead, even if its connection
//! looks well: the server sends bookmarks every minute and ends each watch after a few, and it is opened again. Ready: what
//! has to come first has come, and we are not stopping.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A watch that is silent for so long is dead.
pub const WATCH_SILENCE: Duration = Duration::from_secs(600);

/// What is known of the health of the process.
#[derive(Debug, Default)]
pub struct Health {
    hearts: Mutex<BTreeMap<String, Heart>>,
    conditions: Mutex<BTreeMap<&'static str, bool>>,
}

#[derive(Debug)]
struct Heart {
    last: Instant,
    silence: Duration,
}

/// An answer for a probe: whether it is well, and a line for each thing that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Nothing is wrong.
    pub well: bool,
    /// `[+]caches ok`, as the API server's own probes tell it.
    pub lines: Vec<String>,
}

impl Health {
    /// A sign of life. From the first on, one is expected at least every `silence`.
    pub fn beat(&self, name: &str, silence: Duration) {
        self.beat_at(name, silence, Instant::now());
    }

    /// States whether something that readiness needs is so. What was never stated is not asked for: state it as `false`
    /// before the probes begin.
    pub fn condition(&self, name: &'static str, met: bool) {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).insert(name, met);
    }

    /// For `/livez`.
    pub fn live(&self) -> Report {
        self.live_at(Instant::now())
    }

    /// For `/readyz`.
    pub fn ready(&self) -> Report {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        Report {
            well: conditions.values().all(|met| *met),
            lines: conditions.iter().map(|(name, met)| line(name, *met, "not yet")).collect(),
        }
    }

    fn beat_at(&self, name: &str, silence: Duration, now: Instant) {
        let mut hearts = self.hearts.lock().unwrap_or_else(PoisonError::into_inner);
        match hearts.get_mut(name) {
            Some(heart) => *heart = Heart { last: now, silence },
            None => {
                hearts.insert(name.to_owned(), Heart { last: now, silence });
            }
        }
    }

    fn live_at(&self, now: Instant) -> Report {
        let hearts = self.hearts.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = |heart: &Heart| now.saturating_duration_since(heart.last) <= heart.silence;
        let told = |(name, heart): (&String, &Heart)| {
            let silent = now.saturating_duration_since(heart.last).as_secs();
            line(name, alive(heart), &format!("silent for {silent} s, at most {} s", heart.silence.as_secs()))
        };
        Report { well: hearts.values().all(alive), lines: hearts.iter().map(told).collect() }
    }
}

fn line(name: &str, well: bool, otherwise: &str) -> String {
    if well { format!("[+]{name} ok") } else { format!("[-]{name} {otherwise}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_death_only_after_its_time() {
        let health = Health::default();
        let start = Instant::now();
        let check = |after: u64, well: bool| {
            assert_eq!(health.live_at(start + Duration::from_secs(after)).well, well, "after {after} s");
        };
        check(0, true);
        health.beat_at("/api/v1/pods", WATCH_SILENCE, start);
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
        assert!(health.ready().well);
        health.condition("caches", false);
        health.condition("certificate", true);
        assert_eq!(
            health.ready(),
            Report { well: false, lines: vec!["[-]caches not yet".into(), "[+]certificate ok".into()] }
        );
        health.condition("caches", true);
        assert!(health.ready().well);
    }
}
