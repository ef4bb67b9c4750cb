//! When a StatefulSet is reconciled again: when something changes, or after a delay.
//!
//! The class of the error determines the delay, not the call that failed. Every delay doubles with consecutive errors,
//! up to a limit: a failing StatefulSet costs little, and its recovery is noticed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::api::names::SetName;
use crate::cluster::client::Class;
use crate::cluster::observe::ObserveError;

/// When a StatefulSet is reconciled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// When something changes.
    Change,
    /// After this delay, or when something changes.
    After(Duration),
}

impl Next {
    /// The delay, if there is one.
    pub(super) const fn delay(self) -> Option<Duration> {
        match self {
            Self::After(delay) => Some(delay),
            Self::Change => None,
        }
    }

    /// The first of these.
    pub(super) fn soonest<const N: usize>(nexts: [Self; N]) -> Self {
        nexts.into_iter().filter_map(Self::delay).min().map_or(Self::Change, Self::After)
    }
}

/// The delay after a reconciliation that failed, with so many errors in a row.
pub(super) fn after_error(error: &ObserveError, in_a_row: u32, set: &SetName) -> Duration {
    let class = match error {
        ObserveError::Read(error) => error.class(),
        ObserveError::Malformed(_) => Class::Permanent,
    };
    spread(delay(class, in_a_row), set)
}

/// The delay after so many errors in a row (1: this is the first).
pub(super) fn delay(class: Class, in_a_row: u32) -> Duration {
    let (first, longest) = match class {
        // A write may have happened: another read is cheap and shows it.
        Class::Unknown => (Duration::from_millis(200), Duration::from_secs(15)),
        Class::Retry { .. } => (Duration::from_millis(500), Duration::from_secs(30)),
        // Only a person, or another object, changes that. Most of these changes are watched.
        Class::Permanent => (Duration::from_secs(10), Duration::from_secs(300)),
    };
    let doubled = first.saturating_mul(1_u32.checked_shl(in_a_row.saturating_sub(1)).unwrap_or(u32::MAX));
    let asked = match class {
        Class::Retry { after } => after.unwrap_or_default(),
        Class::Unknown | Class::Permanent => Duration::ZERO,
    };
    doubled.min(longest).max(asked)
}

/// The delay before the update of a template is tried again, if nothing changes meanwhile.
pub(super) fn deferral(in_a_row: u32) -> Duration {
    let doubled =
        Duration::from_secs(1).saturating_mul(1_u32.checked_shl(in_a_row.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(Duration::from_secs(120))
}

/// Spreads delays of the same length over a tenth of it: StatefulSets that failed together are not retried together.
pub(super) fn spread(delay: Duration, set: &SetName) -> Duration {
    let mut hash = DefaultHasher::new();
    set.hash(&mut hash);
    let share = u32::try_from(hash.finish() % 1_000).unwrap_or(0);
    delay + delay / 10 * share / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_delay_counts() {
        let after = |seconds| Next::After(Duration::from_secs(seconds));
        assert_eq!(Next::soonest([Next::Change, after(9), after(3)]), after(3));
        assert_eq!(Next::soonest([Next::Change, Next::Change]), Next::Change);
    }

    #[test]
    fn delays_of_the_same_length_are_spread_over_a_tenth_of_it() {
        let minute = Duration::from_secs(60);
        let spread: Vec<Duration> =
            (0..100).map(|n| spread(minute, &SetName::new("shop", format!("db-{n}")))).collect();
        assert!(spread.iter().all(|delay| (minute..minute + minute / 10).contains(delay)), "{spread:?}");
        assert!(spread.iter().max() > spread.iter().min().map(|least| *least + Duration::from_secs(4)).as_ref());
    }

    #[test]
    fn delays_double_up_to_their_limit() {
        let check = |class, in_a_row, expected| assert_eq!(delay(class, in_a_row), expected, "{class:?} {in_a_row}");
        check(Class::Unknown, 1, Duration::from_millis(200));
        check(Class::Unknown, 3, Duration::from_millis(800));
        check(Class::Unknown, 4_000_000_000, Duration::from_secs(15));
        check(Class::Permanent, 1, Duration::from_secs(10));
        check(Class::Permanent, 40, Duration::from_secs(300));
    }

    #[test]
    fn the_delay_that_the_server_requests_is_respected() {
        let busy = Class::Retry { after: Some(Duration::from_secs(20)) };
        assert_eq!(delay(busy, 1), Duration::from_secs(20));
        assert_eq!(delay(busy, 10), Duration::from_secs(30));
    }
}
