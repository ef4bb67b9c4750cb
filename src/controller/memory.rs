//! What is remembered of a set between two passes? Nothing that is needed: losing it costs a second look, never a mistake.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName, Uid};
use crate::api::reasons::Note;
use crate::cluster::client::Class;
use crate::workload::snapshot::Workload;
use crate::workload::statefulset::SetView;
use crate::policy::claim::Refusal;
use crate::policy::decide::Trigger;
use crate::recreate::{Ending, Report};

use super::requeue;
use super::standing::Standing;

/// What is remembered of one set.
#[derive(Debug, Default)]
pub struct Memory {
    /// Sizes that the driver could not make.
    pub refused: HashMap<ClaimName, Refusal>,
    /// Claims on their way to a larger size.
    pub growing: HashMap<ClaimName, Growing>,
    /// The claims of the last pass, whose series end with them.
    pub claims: BTreeSet<ClaimName>,
    /// What may pass by itself, and is told when it does not.
    pub standing: Standing,
    /// Errors in a row.
    pub errors: u32,
    /// When a recreate in flight that waits for somebody is looked at again.
    pub stalled: Deferral,
    /// When a recreate that was taken back may be begun again.
    pub taken_back: Option<HeldBack>,
    /// Claims whose growth the API server has refused.
    pub held_back: HashMap<ClaimName, HeldBack>,
    /// When the template may be tried again.
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

/// The last recreate of a StatefulSet. The same one does not follow itself: an admission policy, or a controller that owns
/// the StatefulSet, would make it an endless loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRecreate {
    /// What was to be done.
    targets: BTreeMap<TemplateName, Bytes>,
    /// The StatefulSet that came of it.
    uid: Option<Uid>,
    /// Its `metadata.generation`, where its templates are smaller than they were created.
    short_at: Option<i64>,
    /// When it ended.
    at: Timestamp,
    /// How often the same was done before.
    times: u32,
}

/// Why the same recreate is not begun again now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Its sizes did not stay. Only a change of the StatefulSet's spec, or of the sizes, makes another try worth it.
    Never,
    /// Somebody keeps creating the StatefulSet with the smaller size: later each time.
    After(Duration),
}

impl Again {
    /// The Event message that says why.
    pub fn note(self) -> Note {
        match self {
            Self::Never => Note::blocked(
                "size-reverted",
                "rso recreated the StatefulSet with larger templates, and an admission policy or a controller reverted the \
                 size. rso does not recreate it again until its spec or the requested size changes; raise the size there, or \
                 exempt this StatefulSet",
            ),
            Self::After(_) => Note::blocked(
                "recreated-smaller",
                "another client keeps creating the StatefulSet with the smaller size after rso updated its template. Set the \
                 size in its manifest or in the object that owns it; rso retries later each time",
            ),
        }
    }
}

/// After the second recreate to the same sizes, the next one waits this long, then twice as long, and so on.
const FIRST_REPETITION: Duration = Duration::from_secs(600);
/// The longest such wait.
const LONGEST_REPETITION: Duration = Duration::from_secs(24 * 3600);

impl LastRecreate {
    /// What is to be remembered of a recreate that ended now.
    pub fn of(report: &Report, before: Option<&Self>, now: Timestamp) -> Option<Self> {
        let outcome = &report.outcome;
        let short_at = match report.ending {
            Ending::PutBack => Some(outcome.generation),
            Ending::Landed | Ending::Superseded => None,
            Ending::Undone | Ending::Deleted | Ending::NamespaceGone => return before.cloned(),
        };
        let same = before.filter(|before| before.targets == outcome.targets);
        let times = same.map_or(0, |before| before.times.saturating_add(1));
        Some(Self { targets: outcome.targets.clone(), uid: report.uid.clone(), short_at, at: now, times })
    }

    /// Whether this recreate may not begin now.
    pub fn forbids(&self, targets: &BTreeMap<TemplateName, Bytes>, set: &SetView, now: Timestamp) -> Option<Again> {
        if self.targets != *targets {
            return None;
        }
        if self.uid.as_ref() == Some(&set.uid) && self.short_at == Some(set.generation) {
            return Some(Again::Never);
        }
        let doubled = |times: u32| FIRST_REPETITION.saturating_mul(1_u32.checked_shl(times - 1).unwrap_or(u32::MAX));
        let wait = if self.times == 0 { Duration::ZERO } else { doubled(self.times).min(LONGEST_REPETITION) };
        let left = wait.saturating_sub(Duration::try_from(now.duration_since(self.at)).unwrap_or_default());
        (!left.is_zero()).then_some(Again::After(left))
    }
}

/// Something was refused, by what only a person or another object changes; each has a delay of its own, so that no other
/// waits for it.
#[derive(Clone, Copy, Debug)]
pub struct HeldBack {
    /// How often in a row.
    pub in_a_row: u32,
    /// Until when it is left alone.
    pub until: Timestamp,
}

impl HeldBack {
    /// It was refused once more.
    pub fn again(before: Option<&Self>, now: Timestamp) -> Self {
        let in_a_row = before.map_or(0, |held| held.in_a_row).saturating_add(1);
        let until = now.checked_add(requeue::delay(Class::Permanent, in_a_row)).unwrap_or(Timestamp::MAX);
        Self { in_a_row, until }
    }

    /// How long it is still left alone, if at all.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        Duration::try_from(self.until.duration_since(now)).ok().filter(|left| !left.is_zero())
    }
}

/// A claim on its way.
#[derive(Clone, Debug)]
pub struct Growing {
    /// Of which template.
    pub template: TemplateName,
    /// What it had.
    pub from: Bytes,
    /// When it was asked to grow, or first seen growing.
    pub since: Timestamp,
    /// Why it grows.
    pub trigger: Trigger,
}

/// A template that could not follow is not tried again at every event.
#[derive(Debug)]
pub struct Deferral {
    about: Option<About>,
    in_a_row: u32,
    since: Timestamp,
}

/// What was to be done, and in which state of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// What was to be done; something else is tried at once.
    pub what: String,
    /// The set's resourceVersion; when it is another one, what was in the way may be gone.
    pub resource_version: String,
}

/// A set that changes all the time, as in a rollout, is not tried more often than this.
const AFTER_A_CHANGE: Duration = Duration::from_secs(2);

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
        let delay = if refused == about { delay } else { delay.min(AFTER_A_CHANGE) };
        let left = delay.saturating_sub(Duration::try_from(now.duration_since(self.since)).unwrap_or_default());
        (!left.is_zero()).then_some(left)
    }

    /// It was refused: the next try is later each time.
    pub fn refused(&mut self, about: About, now: Timestamp) -> Duration {
        self.in_a_row = if self.about.as_ref() == Some(&about) { self.in_a_row.saturating_add(1) } else { 1 };
        self.since = now;
        self.about = Some(about);
        requeue::deferral(self.in_a_row)
    }

    /// It went through.
    pub fn done(&mut self) {
        *self = Self::default();
    }
}

/// The memories of all sets. A pass takes its set's and puts it back, so none is ever shared.
#[derive(Debug, Default)]
pub struct Memories {
    sets: Mutex<HashMap<SetName, Memory>>,
    /// When claims grew. Apart from the sets, which are forgotten when an annotation is taken off: the cooldown is not.
    grown: Mutex<HashMap<Uid, Timestamp>>,
    /// The last recreate of each set. Apart as well: who puts a size back by deleting the set must not be forgotten with it.
    recreated: Mutex<HashMap<SetName, LastRecreate>>,
}

/// No cooldown is so long that an older growth matters, nor is any wait between two recreates.
const GROWTH_IS_KEPT: SignedDuration = SignedDuration::from_hours(31 * 24);

impl Memories {
    /// Takes what is remembered of a set, if it is known at all.
    pub fn take(&self, set: &SetName) -> Option<Memory> {
        self.lock().remove(set)
    }

    /// Remembers a recreate that ended now, so that the same one does not follow itself.
    pub fn recreated(&self, set: &SetName, report: &Report, now: Timestamp) {
        let mut recreated = self.recreated.lock().unwrap_or_else(PoisonError::into_inner);
        recreated.retain(|_, last| now.duration_since(last.at) < GROWTH_IS_KEPT);
        if let Some(last) = LastRecreate::of(report, recreated.get(set), now) {
            recreated.insert(set.clone(), last);
        }
    }

    /// Whether the recreate of a set to these sizes may not begin now.
    pub fn forbids(&self, targets: &BTreeMap<TemplateName, Bytes>, set: &SetView, now: Timestamp) -> Option<Again> {
        let recreated = self.recreated.lock().unwrap_or_else(PoisonError::into_inner);
        recreated.get(&set.name)?.forbids(targets, set, now)
    }

    /// Puts it back.
    pub fn keep(&self, set: SetName, memory: Memory) {
        self.lock().insert(set, memory);
    }

    /// A claim was asked to grow.
    pub fn grew(&self, claim: Uid, now: Timestamp) {
        let mut grown = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        grown.retain(|_, at| now.duration_since(*at) < GROWTH_IS_KEPT);
        grown.insert(claim, now);
    }

    /// When this leader last asked a claim to grow.
    pub fn grown_at(&self, claim: &Uid) -> Option<Timestamp> {
        self.grown.lock().unwrap_or_else(PoisonError::into_inner).get(claim).copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SetName, Memory>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recreate::Outcome;

    fn about(what: &str, resource_version: &str) -> About {
        About { what: what.into(), resource_version: resource_version.into() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn view(uid: &str, generation: i64) -> SetView {
        let set = serde_json::json!({
            "metadata": {"name": "db", "namespace": "ns", "uid": uid, "generation": generation},
            "spec": {"serviceName": "db", "selector": {}, "template": {}},
        });
        SetView::of(&serde_json::from_value(set).unwrap()).unwrap()
    }

    fn targets(gib: u64) -> BTreeMap<TemplateName, Bytes> {
        BTreeMap::from([("data".into(), Bytes::gib(gib))])
    }

    fn report(ending: Ending, uid: &str) -> Report {
        let outcome = Outcome { targets: targets(2), generation: 3, ..Outcome::default() };
        Report { ending, uid: Some(Uid::new(uid)), absent: None, unmanaged: None, outcome }
    }

    #[test]
    fn a_recreate_whose_sizes_were_put_back_is_not_begun_again_until_something_changes() {
        let last = LastRecreate::of(&report(Ending::PutBack, "a"), None, at(0)).unwrap();
        let check = |gib, uid, generation, expected| {
            assert_eq!(
                last.forbids(&targets(gib), &view(uid, generation), at(9_999)),
                expected,
                "{gib} {uid} {generation}"
            );
        };
        check(2, "a", 3, Some(Again::Never));
        check(3, "a", 3, None);
        check(2, "a", 4, None);
        check(2, "b", 3, None);
    }

    #[test]
    fn the_last_recreate_is_remembered_beyond_the_set() {
        let (memories, set) = (Memories::default(), SetName::new("ns", "db"));
        memories.recreated(&set, &report(Ending::Landed, "a"), at(0));
        memories.recreated(&set, &report(Ending::Landed, "b"), at(5));
        // Somebody deleted the set: what else is remembered of it goes.
        assert!(memories.take(&set).is_none());
        let again = memories.forbids(&targets(2), &view("c", 1), at(5));
        assert_eq!(again, Some(Again::After(Duration::from_secs(600))));
        memories.recreated(&SetName::new("ns", "other"), &report(Ending::Landed, "d"), at(40 * 24 * 3600));
        assert_eq!(memories.forbids(&targets(2), &view("c", 1), at(5)), None, "it is too old");
    }

    #[test]
    fn a_set_that_somebody_keeps_creating_smaller_is_recreated_later_each_time() {
        let mut last = LastRecreate::of(&report(Ending::Landed, "a"), None, at(0));
        let forbidden = |last: &Option<LastRecreate>, second| {
            last.as_ref().unwrap().forbids(&targets(2), &view("b", 1), at(second))
        };
        assert_eq!(forbidden(&last, 0), None, "whoever deletes and installs it once is served at once");
        last = LastRecreate::of(&report(Ending::Superseded, "c"), last.as_ref(), at(10));
        assert_eq!(forbidden(&last, 10), Some(Again::After(Duration::from_secs(600))));
        assert_eq!(forbidden(&last, 610), None);
        last = LastRecreate::of(&report(Ending::Landed, "d"), last.as_ref(), at(610));
        assert_eq!(forbidden(&last, 610), Some(Again::After(Duration::from_secs(1_200))));
        let undone = LastRecreate::of(&report(Ending::Undone, "d"), last.as_ref(), at(620));
        assert_eq!(undone, last, "what was rolled back does not count");
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
