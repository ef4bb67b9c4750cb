//! Delays before a retry after an error.
//!
//! The class of the error determines the delay, not the call that failed. Every delay doubles with consecutive errors,
//! up to a limit: a failing StatefulSet costs little, and its recovery is noticed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::api::names::SetName;
use crate::cluster::client::Class;

/// The delay after this number of consecutive errors (1: this is the first).
pub(super) fn delay(class: Class, in_a_row: u32) -> Duration {
    let (first, longest) = match class {
        // A write may have happened: observing again is cheap and settles it.
        Class::Unknown => (Duration::from_millis(200), Duration::from_secs(15)),
        Class::Retry { .. } => (Duration::from_millis(500), Duration::from_secs(30)),
        // Only a user, or another object, changes this, and most such changes trigger a watch.
        Class::Permanent => (Duration::from_secs(10), Duration::from_secs(300)),
    };
    let doubled = first.saturating_mul(1_u32.checked_shl(in_a_row.saturating_sub(1)).unwrap_or(u32::MAX));
    let asked = match class {
        Class::Retry { after } => after.unwrap_or_default(),
        Class::Unknown | Class::Permanent => Duration::ZERO,
    };
    doubled.min(longest).max(asked)
}

/// The delay before a deferred template update is tried again, if nothing changes in the meantime.
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
