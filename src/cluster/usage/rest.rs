//! Who is left alone for a while, because it did not answer? One silent agent costs a request a minute, not one a second.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// The longest rest: a pod that comes back is heard within a minute.
const LONGEST: Duration = Duration::from_secs(60);

/// More addresses than pods that fail at once: the rest of the memory is old.
const REMEMBERED: usize = 5_000;

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

    /// It failed: left alone for one second, two, four, … a minute.
    pub(super) fn failed(&mut self, who: &K, now: Duration) {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, failures| now < failures.until);
        }
        if self.0.len() >= REMEMBERED {
            self.0.clear();
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
    fn those_who_failed_long_ago_are_forgotten() {
        let mut resting = Resting::default();
        for who in 0..20_000 {
            resting.failed(&who, Duration::from_millis(who));
        }
        assert!(resting.0.len() <= REMEMBERED);
    }
}
