//! Who is left alone for a while, because it did not answer? One silent agent costs a request a minute, not one a second.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// The longest rest: a pod that comes back is heard within a minute.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// As many are remembered, each some hundred bytes: more than the pods of the largest cluster whose agents nobody reaches.
const MAX_ENTRIES: usize = 50_000;

/// Those who failed lately. Times are since boot.
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
    /// Whether this one is to be left alone.
    pub(super) fn is_backing_off(&self, who: &K, now: Duration) -> bool {
        self.0.get(who).is_some_and(|failures| now < failures.until)
    }

    /// It answered.
    pub(super) fn succeeded(&mut self, who: &K) {
        self.0.remove(who);
    }

    /// Whether its last answer is one that it owes.
    pub(super) fn has_failed(&self, who: &K) -> bool {
        self.0.contains_key(who)
    }

    /// Drops those who were not asked again long after their rest, as pods that are gone; else the quarter whose rest ends
    /// first. Never all: then every one of them would be asked each second again.
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

    /// It failed: left alone for one second, two, four, … a minute.
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
    fn who_fails_is_left_alone_for_longer_each_time_up_to_a_minute() {
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
    fn those_who_failed_long_ago_are_forgotten_and_the_others_are_not() {
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
        assert!(backoff.has_failed(&all), "one that still rests");
    }
}
