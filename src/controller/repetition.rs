//! The last recreation of each StatefulSet, and when the same one may follow it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::bytes::Bytes;
use crate::api::names::{TemplateName, Uid};
use crate::api::reasons::Note;
use crate::recreate::outcome::Report;
use crate::recreate::phase::Ending;
use crate::workload::statefulset::StatefulSetView;

/// The last recreation of a StatefulSet. The same one does not follow itself: an admission policy, or a controller that
/// owns the StatefulSet, would make it an endless loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastRecreate {
    /// The sizes that the templates were to have.
    targets: BTreeMap<TemplateName, Bytes>,
    /// The StatefulSet that it created.
    uid: Option<Uid>,
    /// The `metadata.generation` of that StatefulSet, if its templates are smaller than they were created.
    short_at: Option<i64>,
    /// When it ended.
    pub(super) at: Timestamp,
    /// How often the same was done before it.
    times: u32,
}

/// Why the same recreation is not begun again now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Its sizes were reverted. Only a change of the StatefulSet's spec, or of the sizes, is a reason to try again.
    Never,
    /// Another client keeps creating the StatefulSet with the smaller size: rso waits longer each time.
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

/// After the second recreation to the same sizes, the next one waits this long, then twice as long, and so on.
const FIRST_REPETITION_DELAY: Duration = Duration::from_secs(600);
/// The longest such wait.
const MAX_REPETITION_DELAY: Duration = Duration::from_secs(24 * 3600);

impl LastRecreate {
    /// What to remember of a recreation that ended now.
    pub(super) fn of(report: &Report, before: Option<&Self>, now: Timestamp) -> Option<Self> {
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

    /// Why this recreation may not begin now, if so.
    pub(super) fn forbids(
        &self,
        targets: &BTreeMap<TemplateName, Bytes>,
        set: &StatefulSetView,
        now: Timestamp,
    ) -> Option<Again> {
        if self.targets != *targets {
            return None;
        }
        if self.uid.as_ref() == Some(&set.uid) && self.short_at == Some(set.generation) {
            return Some(Again::Never);
        }
        let doubled =
            |times: u32| FIRST_REPETITION_DELAY.saturating_mul(1_u32.checked_shl(times - 1).unwrap_or(u32::MAX));
        let wait = if self.times == 0 { Duration::ZERO } else { doubled(self.times).min(MAX_REPETITION_DELAY) };
        let left = wait.saturating_sub(Duration::try_from(now.duration_since(self.at)).unwrap_or_default());
        (!left.is_zero()).then_some(Again::After(left))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::recreate::outcome::Outcome;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    pub(in crate::controller) fn view(uid: &str, generation: i64) -> StatefulSetView {
        let set = serde_json::json!({
            "metadata": {"name": "db", "namespace": "ns", "uid": uid, "generation": generation},
            "spec": {
                "serviceName": "db", "selector": {}, "template": {},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],
            },
        });
        StatefulSetView::of(&serde_json::from_value(set).unwrap()).unwrap()
    }

    pub(in crate::controller) fn targets(gib: u64) -> BTreeMap<TemplateName, Bytes> {
        BTreeMap::from([("data".into(), Bytes::gib(gib))])
    }

    pub(in crate::controller) fn report(ending: Ending, uid: &str) -> Report {
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
}
