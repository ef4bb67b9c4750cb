//! Exponential backoff for servers that fail: a silent agent costs one request a minute, not one a second.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// The longest backoff: a server that recovers is noticed within a minute.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// The largest number of entries, each some hundred bytes: more than the Pods of the largest cluster with unreachable
/// agents.
const MAX_ENTRIES: usize = 50_000;

/// The servers that failed recently. Times are since boot.
#[derive(Debug)]
pub(super) struct Backoff<K>(HashMap<K, Failures>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    times: u32,
    until: Duration,
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash> Backoff<K> {
    /// Whether this server is not to be queried yet.
    pub(super) fn is_backing_off(&self, who: &K, now: Duration) -> bool {
        self.0.get(who).is_some_and(|failures| now < failures.until)
    }

    /// It responded.
    pub(super) fn succeeded(&mut self, who: &K) {
        self.0.remove(who);
    }

    /// Whether its last query failed.
    pub(super) fn has_failed(&self, who: &K) -> bool {
        self.0.contains_key(who)
    }

    /// Drops servers that were not queried again long after their backoff, which probably no longer exist; if that is
    /// not enough, the quarter whose backoff ends first. Never all: otherwise each of them would be queried every
    /// second again.
    fn evict(&mut self, now: Duration) {
        self.0.retain(|_, failures| now < failures.until.saturating_add(MAX_BACKOFF));
        if self.0.len() < MAX_ENTRIES {
            return;
        }
        let mut ends: Vec<Duration> = self.0.values().map(|failures| failures.until).collect();
        let (_, first, _) = ends.select_nth_unstable(MAX_ENTRIES / 4);
        let first = *first;
        self.0.retain(|_, failures| failures.until > first);
    }

    /// It failed: it is not queried for one second, two, four, … a minute.
    pub(super) fn failed(&mut self, who: &K, now: Duration) {
        if self.0.len() >= MAX_ENTRIES && !self.0.contains_key(who) {
            self.evict(now);
        }
        let failures = self.0.entry(who.clone()).or_insert(Failures { times: 0, until: now });
        let pause = Duration::from_secs(1 << failures.times.min(6)).min(MAX_BACKOFF);
        *failures = Failures { times: failures.times.saturating_add(1), until: now.saturating_add(pause) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_with_each_failure_up_to_a_minute() {
        let mut backoff = Backoff::default();
        let mut now = Duration::from_secs(1_000);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            backoff.failed(&"a", now);
            let end = now + Duration::from_secs(pause);
            assert!(backoff.is_backing_off(&"a", end - Duration::from_nanos(1)), "{pause}");
            assert!(!backoff.is_backing_off(&"a", end) && !backoff.is_backing_off(&"b", now));
            now = end;
        }
        backoff.succeeded(&"a");
        backoff.failed(&"a", now);
        assert!(!backoff.is_backing_off(&"a", now + Duration::from_secs(1)));
    }

    #[test]
    fn only_old_failures_are_evicted() {
        let mut backoff = Backoff::default();
        let all = u64::try_from(MAX_ENTRIES).unwrap() * 3;
        for who in 0..all {
            backoff.failed(&who, Duration::from_micros(who));
        }
        assert!((MAX_ENTRIES / 2..=MAX_ENTRIES).contains(&backoff.0.len()), "{}", backoff.0.len());
        let last = Duration::from_micros(all);
        assert!(backoff.is_backing_off(&(all - 1), last) && !backoff.has_failed(&0));
        let mut backoff = Backoff::default();
        backoff.failed(&all, Duration::from_secs(1_000));
        for who in 0..u64::try_from(MAX_ENTRIES).unwrap() {
            backoff.failed(&who, Duration::from_secs(who / 5_000));
        }
        assert!(backoff.has_failed(&all), "one that is still backing off");
    }
}
