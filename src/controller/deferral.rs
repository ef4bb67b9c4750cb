//! Refused operations, and when each of them is retried.

use std::time::Duration;

use jiff::Timestamp;

use super::requeue;
use crate::cluster::client::Class;

/// A refusal that lasts until a user or another object changes. Each refusal has its own delay, so no other operation
/// waits for it.
#[derive(Clone, Copy, Debug)]
pub struct HeldBack {
    /// The number of refusals in a row.
    pub in_a_row: u32,
    /// Until when the operation is not retried.
    pub until: Timestamp,
}

impl HeldBack {
    /// Records another refusal.
    pub fn again(before: Option<&Self>, now: Timestamp) -> Self {
        let in_a_row = before.map_or(0, |held| held.in_a_row).saturating_add(1);
        let until = now.checked_add(requeue::delay(Class::Permanent, in_a_row)).unwrap_or(Timestamp::MAX);
        Self { in_a_row, until }
    }

    /// How long the operation is not retried, if at all.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        Duration::try_from(self.until.duration_since(now)).ok().filter(|left| !left.is_zero())
    }
}

/// A refused update of the templates. It is not retried at every change.
#[derive(Debug)]
pub struct Deferral {
    about: Option<About>,
    in_a_row: u32,
    since: Timestamp,
}

/// The operation that was refused, and the version of the StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The operation. A different operation is tried at once.
    pub what: String,
    /// The resourceVersion of the StatefulSet. At another version, the cause of the refusal may be gone.
    pub resource_version: String,
}

/// The minimum delay between two attempts for a StatefulSet that changes all the time, as in a rollout.
const MIN_RETRY_INTERVAL: Duration = Duration::from_secs(2);

impl Default for Deferral {
    fn default() -> Self {
        Self { about: None, in_a_row: 0, since: Timestamp::UNIX_EPOCH }
    }
}

impl Deferral {
    /// How long to wait before `about` is tried, if at all.
    pub fn left(&self, about: &About, now: Timestamp) -> Option<Duration> {
        let refused = self.about.as_ref().filter(|refused| refused.what == about.what)?;
        let delay = requeue::deferral(self.in_a_row);
        let delay = if refused == about { delay } else { delay.min(MIN_RETRY_INTERVAL) };
        let left = delay.saturating_sub(Duration::try_from(now.duration_since(self.since)).unwrap_or_default());
        (!left.is_zero()).then_some(left)
    }

    /// Records a refusal: the next attempt is later each time.
    pub fn refused(&mut self, about: About, now: Timestamp) -> Duration {
        self.in_a_row = if self.about.as_ref() == Some(&about) { self.in_a_row.saturating_add(1) } else { 1 };
        self.since = now;
        self.about = Some(about);
        requeue::deferral(self.in_a_row)
    }

    /// Records a success.
    pub fn done(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(what: &str, resource_version: &str) -> About {
        About { what: what.into(), resource_version: resource_version.into() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_refusal_holds_for_what_was_refused_only_and_longer_each_time() {
        let mut deferral = Deferral::default();
        assert_eq!(deferral.refused(about("a", "1"), at(0)), Duration::from_secs(1));
        assert_eq!(deferral.left(&about("a", "1"), at(0)), Some(Duration::from_secs(1)));
        assert_eq!(deferral.left(&about("b", "1"), at(0)), None);
        assert_eq!(deferral.left(&about("a", "1"), at(1)), None);
        assert_eq!(deferral.refused(about("a", "1"), at(1)), Duration::from_secs(2));
        assert_eq!(deferral.refused(about("b", "1"), at(1)), Duration::from_secs(1));
    }

    #[test]
    fn a_set_that_has_changed_is_tried_soon_however_long_it_was_refused() {
        let mut deferral = Deferral::default();
        for second in 0..20 {
            deferral.refused(about("a", "1"), at(second));
        }
        assert_eq!(deferral.left(&about("a", "1"), at(20)), Some(Duration::from_secs(119)));
        assert_eq!(deferral.left(&about("a", "2"), at(20)), Some(Duration::from_secs(1)));
        assert_eq!(deferral.left(&about("a", "2"), at(21)), None);
        assert_eq!(deferral.refused(about("a", "2"), at(21)), Duration::from_secs(1));
    }
}
