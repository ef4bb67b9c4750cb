//! What is remembered of a StatefulSet between two reconciliations. Losing it costs a second observation, never a
//! mistake.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::deferral::{Deferral, HeldBack};
use super::repetition::{Again, LastRecreate};
use super::standing::Standing;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName, Uid};
use crate::policy::claim::{Claim, Refusal};
use crate::policy::decide::Trigger;
use crate::policy::reaction::{Longest, Reactions};
use crate::recreate::outcome::Report;
use crate::workload::snapshot::Workload;

/// What is remembered of one StatefulSet.
#[derive(Debug, Default)]
pub struct Memory {
    /// Sizes that the CSI driver cannot provide.
    pub refused: HashMap<ClaimName, Refusal>,
    /// PVCs that are being expanded.
    pub growing: HashMap<ClaimName, Growing>,
    /// The PVCs of the last reconciliation, whose metric series end with them.
    pub claims: BTreeSet<ClaimName>,
    /// What may resolve by itself, and is reported if it does not.
    pub standing: Standing,
    /// Errors in a row.
    pub errors: u32,
    /// When a recreation in flight that waits for another client is tried again.
    pub stalled: Deferral,
    /// When a recreation that was rolled back may be begun again.
    pub taken_back: Option<HeldBack>,
    /// PVCs whose expansion the API server refused.
    pub held_back: HashMap<ClaimName, HeldBack>,
    /// When the update of the templates may be tried again.
    pub deferral: Deferral,
}

impl Memory {
    /// The PVCs that the StatefulSet had at the last reconciliation and has no more.
    pub fn ended_claims(&mut self, workload: &Workload) -> Vec<ClaimName> {
        let claims = workload.claims().map(|claim| claim.name.clone()).collect();
        let before = std::mem::replace(&mut self.claims, claims);
        before.difference(&self.claims).cloned().collect()
    }
}

/// A PVC that is being expanded.
#[derive(Clone, Debug)]
pub struct Growing {
    /// Its capacity before.
    pub from: Bytes,
    /// When the expansion was requested or first observed.
    pub since: Timestamp,
    /// Why it is expanded.
    pub trigger: Trigger,
    /// Whether this leader requested it, and so knows when to the millisecond.
    pub is_ours: bool,
}

/// The last expansion of a PVC that this leader requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// When.
    pub at: Timestamp,
    /// How many expansions without a measurement there were with it, since the last measurement.
    pub steps: u32,
}

/// What is remembered of all StatefulSets. A reconciliation takes what belongs to its StatefulSet and puts it back, so
/// nothing is shared.
#[derive(Debug, Default)]
pub struct Memories {
    sets: Mutex<HashMap<SetName, Memory>>,
    /// When PVCs were expanded. Apart from the StatefulSets, which are forgotten when an annotation is removed; the
    /// cooldown is not.
    grown: Mutex<HashMap<Uid, Grown>>,
    /// How long the expansions took.
    reactions: Mutex<Reactions>,
    /// The last recreation of each StatefulSet. Apart as well: it must outlast a client that reverts the size by
    /// deleting the StatefulSet.
    recreated: Mutex<HashMap<SetName, LastRecreate>>,
}

/// No cooldown is so long that an older expansion matters, and neither is a delay between two recreations.
const RETENTION: SignedDuration = SignedDuration::from_hours(31 * 24);

impl Memories {
    /// Takes what is remembered of a StatefulSet, if anything is.
    pub fn take(&self, set: &SetName) -> Option<Memory> {
        self.lock().remove(set)
    }

    /// Remembers a recreation that ended now, to prevent the same recreation from following it.
    pub fn recreated(&self, set: &SetName, report: &Report, now: Timestamp) {
        let mut recreated = self.recreated.lock().unwrap_or_else(PoisonError::into_inner);
        recreated.retain(|_, last| now.duration_since(last.at) < RETENTION);
        if let Some(last) = LastRecreate::of(report, recreated.get(set), now) {
            recreated.insert(set.clone(), last);
        }
    }

    /// Why the recreation of a StatefulSet to these sizes may not begin now, if so. If each of its PVCs was expanded after
    /// the last recreation, it only has the name of an earlier StatefulSet, and that one is forgotten.
    pub fn forbids(
        &self,
        targets: &BTreeMap<TemplateName, Bytes>,
        workload: &Workload,
        now: Timestamp,
    ) -> Option<Again> {
        let mut recreated = self.recreated.lock().unwrap_or_else(PoisonError::into_inner);
        let set = &workload.set;
        let last = recreated.get(&set.name)?;
        let of_targets = || workload.claims().filter(|claim| targets.contains_key(&claim.template));
        let is_newer = |claim: &Claim| claim.grown_at(now).is_some_and(|at| at > last.at);
        if of_targets().next().is_some() && of_targets().all(is_newer) {
            recreated.remove(&set.name);
            return None;
        }
        last.forbids(targets, set, now)
    }

    /// Puts it back.
    pub fn keep(&self, set: SetName, memory: Memory) {
        self.lock().insert(set, memory);
    }

    /// The expansion of a PVC was requested.
    pub fn grew(&self, claim: Uid, growth: Grown) {
        let mut grown = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        grown.retain(|_, before| growth.at.duration_since(before.at) < RETENTION);
        grown.insert(claim, growth);
    }

    /// An expansion in a StorageClass took this time. Returns the longest of the last ones.
    pub fn reacted(&self, class: &str, took: Duration) -> Option<Longest> {
        let mut reactions = self.reactions.lock().unwrap_or_else(PoisonError::into_inner);
        reactions.add(class, took);
        reactions.longest(class)
    }

    /// The longest of the last expansions in a StorageClass.
    pub fn reaction(&self, class: &str) -> Option<Longest> {
        self.reactions.lock().unwrap_or_else(PoisonError::into_inner).longest(class)
    }

    /// The last expansion of a PVC that this leader requested.
    pub fn grown(&self, claim: &Uid) -> Option<Grown> {
        self.grown.lock().unwrap_or_else(PoisonError::into_inner).get(claim).copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SetName, Memory>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::repetition::tests::{report, targets, view};
    use crate::policy::samples::claim;
    use crate::recreate::phase::Ending;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_last_recreate_is_remembered_beyond_the_set() {
        let (memories, set) = (Memories::default(), SetName::new("ns", "db"));
        memories.recreated(&set, &report(Ending::Landed, "a"), at(0));
        memories.recreated(&set, &report(Ending::Landed, "b"), at(5));
        // A user deleted the StatefulSet: everything else that is remembered of it is dropped.
        assert!(memories.take(&set).is_none());
        let again = memories.forbids(&targets(2), &Workload::of(view("c", 1), Vec::new()), at(5));
        assert_eq!(again, Some(Again::After(Duration::from_secs(600))));
        memories.recreated(&SetName::new("ns", "other"), &report(Ending::Landed, "d"), at(40 * 24 * 3600));
        assert_eq!(
            memories.forbids(&targets(2), &Workload::of(view("c", 1), Vec::new()), at(5)),
            None,
            "it is too old"
        );
    }

    #[test]
    fn a_statefulset_whose_pvcs_were_expanded_since_is_another_one_of_that_name() {
        let check = |expanded: [Option<i64>; 2], expected: Option<Again>| {
            let memories = Memories::default();
            for _ in 0..2 {
                memories.recreated(&SetName::new("ns", "db"), &report(Ending::Landed, "a"), at(100));
            }
            let claims = (0..).zip(expanded);
            let claims =
                claims.map(|(ordinal, second)| Claim { resized_at: second.map(at), ..claim(ordinal, Bytes::gib(2)) });
            let workload = Workload::of(view("c", 1), claims.collect());
            assert_eq!(memories.forbids(&targets(2), &workload, at(200)), expected, "{expanded:?}");
        };
        let again = Some(Again::After(Duration::from_secs(500)));
        check([Some(150), Some(160)], None);
        check([Some(50), Some(50)], again);
        // A replica that was added since says nothing about the others.
        check([Some(50), Some(160)], again);
        check([None, Some(160)], again);
    }

    #[test]
    fn the_pvcs_that_scaling_down_took_out_are_known_once() {
        let mut memory = Memory { claims: ["data-db-0".into(), "data-db-1".into()].into(), ..Memory::default() };
        let workload = Workload::of(view("a", 1), Vec::new());
        assert_eq!(memory.ended_claims(&workload), ["data-db-0".into(), "data-db-1".into()]);
        assert_eq!(memory.ended_claims(&workload), []);
    }
}
