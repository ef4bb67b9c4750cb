//! The concurrency limit of recreations: which recreations in progress keep another one from beginning.
//!
//! In a namespace, StatefulSets are recreated one at a time. Two recreations would not affect each other's objects, but
//! the workloads of a namespace often belong together (a database in three StatefulSets, one per zone): only one of them
//! is without its controller at a time, and a recreation that fails is noticed before the next one begins. In the
//! cluster, only StatefulSets whose Pods no controller manages at the moment count. A recreation that is stuck counts
//! neither way: it would stop all others, and any tenant can create one.

use std::time::Duration;

use jiff::Timestamp;

use super::journal::JournalHead;
use super::phase::Phase;
use crate::api::names::SetName;

/// A phase that lasts longer than this waits for the controller-manager or for a person.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// A StatefulSet that is unmanaged for this long no longer blocks the other StatefulSets of its namespace.
const HOLDS_AT_MOST: Duration = Duration::from_secs(600);

/// The progress of the recreation of a StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// The StatefulSet.
    pub set: SetName,
    /// The phase of its journal.
    pub phase: Phase,
    /// When that phase began.
    pub since: Timestamp,
}

impl Flight {
    /// The progress according to a journal.
    pub fn of(head: &JournalHead) -> Self {
        Self { set: head.set.clone(), phase: head.phase, since: head.phase_at }
    }

    /// The progress according to the stored head of a journal; `None` if it cannot be parsed.
    pub fn read(set: SetName, phase: &str, since: &str) -> Option<Self> {
        let phase = Phase::ALL.into_iter().find(|known| known.as_str() == phase)?;
        Some(Self { set, phase, since: since.parse().ok()? })
    }

    /// Whether no controller manages the Pods at this moment: the limit of the cluster counts these. An adoption takes
    /// milliseconds; one that does not end has its StatefulSet, and waits for a person.
    pub fn is_unmanaged(&self, now: Timestamp) -> bool {
        match self.phase {
            Phase::Prepared | Phase::Guarded => false,
            Phase::Deleting | Phase::Releasing => true,
            Phase::Adopting => self.age(now) < STUCK_AFTER,
        }
    }

    /// Whether no other recreation of the namespace may begin meanwhile.
    pub fn holds_namespace(&self, now: Timestamp) -> bool {
        match self.phase {
            Phase::Guarded => false,
            Phase::Prepared | Phase::Adopting => self.age(now) < STUCK_AFTER,
            Phase::Deleting | Phase::Releasing => self.age(now) < HOLDS_AT_MOST,
        }
    }

    /// Whether it waits for the controller-manager or for a person.
    pub fn is_stuck(&self, now: Timestamp) -> bool {
        self.phase != Phase::Guarded && self.age(now) >= STUCK_AFTER
    }

    /// The time in this phase. A clock that was set back makes it shorter, never longer.
    fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.since)).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_unmanaged_counts_in_the_cluster_and_nothing_holds_its_namespace_for_ever() {
        let check = |phase, age: i64, unmanaged, holds, stuck| {
            let now = Timestamp::from_second(1_000_000).unwrap();
            let since = Timestamp::from_second(1_000_000 - age).unwrap();
            let flight = Flight { set: SetName::new("shop", "db"), phase, since };
            let found = (flight.is_unmanaged(now), flight.holds_namespace(now), flight.is_stuck(now));
            assert_eq!(found, (unmanaged, holds, stuck), "{phase:?} {age}");
        };
        check(Phase::Prepared, 0, false, true, false);
        check(Phase::Prepared, 60, false, false, true);
        check(Phase::Deleting, 59, true, true, false);
        check(Phase::Deleting, 60, true, true, true);
        check(Phase::Releasing, 600, true, false, true);
        check(Phase::Adopting, 59, true, true, false);
        check(Phase::Adopting, 60, false, false, true);
        check(Phase::Adopting, -60, true, true, false);
        check(Phase::Guarded, 0, false, false, false);
        check(Phase::Guarded, 3_600, false, false, false);
    }

    #[test]
    fn the_phase_and_the_time_of_a_journal_are_parsed_and_other_text_is_rejected() {
        let set = SetName::new("shop", "db");
        for phase in Phase::ALL {
            let since = Timestamp::from_second(1_000_000).unwrap();
            let read = Flight::read(set.clone(), phase.as_str(), &since.to_string());
            assert_eq!(read, Some(Flight { set: set.clone(), phase, since }));
        }
        assert_eq!(Flight::read(set.clone(), "prepared", "2026-01-01T00:00:00Z"), None);
        assert_eq!(Flight::read(set, Phase::Prepared.as_str(), "yesterday"), None);
    }
}
