//! Who is left alone for a while, because it did not answer? One silent agent costs a request a minute, not one a second.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// The longest rest: a pod that comes back is heard within a minute.
const LONGEST: Duration = Duration::from_secs(60);

/// As many are remembered, each some hundred bytes: more than the pods of the largest cluster whose agents nobody reaches.
const REMEMBERED: usize = 50_000;

/// Those who failed lately. Times are since boot.
#[derive(Debug)]
pub(super) struct Resting<K>(HashMap<K, Failures>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    times: u32,
    until: Duration,
}

impl<K> Default for Resting<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash> Resting<K> {
    /// Whether this one is to be left alone.
    pub(super) fn rests(&self, who: &K, now: Duration) -> bool {
        self.0.get(who).is_some_and(|failures| now < failures.until)
    }

    /// It answered.
    pub(super) fn answered(&mut self, who: &K) {
        self.0.remove(who);
    }

    /// Whether its last answer is one that it owes.
    pub(super) fn is_doubtful(&self, who: &K) -> bool {
        self.0.contains_key(who)
    }

    /// Drops those who were not asked again long after their rest, as pods that are gone; else the quarter whose rest ends
    /// first. Never all: then every one of them would be asked each second again.
    fn make_room(&mut self, now: Duration) {
        self.0.retain(|_, failures| now < failures.until.saturating_add(LONGEST));
        if self.0.len() < REMEMBERED {
            return;
        }
        let mut ends: Vec<Duration> = self.0.values().map(|failures| failures.until).collect();
        let (_, first, _) = ends.select_nth_unstable(REMEMBERED / 4);
        let first = *first;
        self.0.retain(|_, failures| failures.until > first);
    }

    /// It failed: left alone for one second, two, four, … a minute.
    pub(super) fn failed(&mut self, who: &K, now: Duration) {
        if self.0.len() >= REMEMBERED && !self.0.contains_key(who) {
            self.make_room(now);
        }
        let failures = self.0.entry(who.clone()).or_insert(Failures { times: 0, until: now });
        let pause = Duration::from_secs(1 << failures.times.min(6)).min(LONGEST);
        *failures = Failures { times: failures.times.saturating_add(1), until: now.saturating_add(pause) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_is_left_alone_for_longer_each_time_up_to_a_minute() {
        let mut resting = Resting::default();
        let mut now = Duration::from_secs(1_000);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            resting.failed(&"a", now);
            let end = now + Duration::from_secs(pause);
            assert!(resting.rests(&"a", end - Duration::from_nanos(1)), "{pause}");
            assert!(!resting.rests(&"a", end) && !resting.rests(&"b", now));
            now = end;
        }
        resting.answered(&"a");
        resting.failed(&"a", now);
        assert!(!resting.rests(&"a", now + Duration::from_secs(1)));
    }

    #[test]
    fn those_who_failed_long_ago_are_forgotten_and_the_others_are_not() {
        let mut resting = Resting::default();
        let all = u64::try_from(REMEMBERED).unwrap() * 3;
        for who in 0..all {
            resting.failed(&who, Duration::from_micros(who));
        }
        assert!((REMEMBERED / 2..=REMEMBERED).contains(&resting.0.len()), "{}", resting.0.len());
        let last = Duration::from_micros(all);
        assert!(resting.rests(&(all - 1), last) && !resting.is_doubtful(&0));
        let mut resting = Resting::default();
        resting.failed(&all, Duration::from_secs(1_000));
        for who in 0..u64::try_from(REMEMBERED).unwrap() {
            resting.failed(&who, Duration::from_secs(who / 5_000));
        }
        assert!(resting.is_doubtful(&all), "one that still rests");
    }
}
