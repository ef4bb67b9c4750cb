//! The outcome of a recreation: what exists when it ends, compared with what existed when it began.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::journal::Journal;
use super::observed::Observed;
use super::phase::Ending;
use super::set::LiveSet;
use super::{managed_fields, manifest};
use crate::api::bytes::Bytes;
use crate::api::names::{TemplateName, Uid};

/// The end of a recreation as it was observed, not as it was intended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The target size of each template.
    pub targets: BTreeMap<TemplateName, Bytes>,
    /// The size in the StatefulSet of each template that was to be expanded.
    pub sizes: BTreeMap<TemplateName, Bytes>,
    /// The sizes that are below their target.
    pub short: BTreeMap<TemplateName, Bytes>,
    /// Pods of the snapshot that were deleted or replaced in the meantime.
    pub lost: BTreeSet<String>,
    /// Fields that differ from the StatefulSet that was deleted, except sizes.
    pub changed: Vec<String>,
    /// The `metadata.generation` of the StatefulSet: how often its spec was changed by then.
    pub generation: i64,
}

/// The result of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// The StatefulSet that exists now, if any.
    pub uid: Option<Uid>,
    /// From the release to the response to the CREATE: no object had the name. `None` if a crash was in between.
    pub absent: Option<Duration>,
    /// From the DELETE to the adoption: no controller managed the Pods. `None` if a crash was in between.
    pub unmanaged: Option<Duration>,
    /// What exists in the end.
    pub outcome: Outcome,
}

/// Compares what exists with the journal of the transaction.
pub fn of(seen: &Observed, journal: &Journal) -> Outcome {
    let (targets, lost_before) = (journal.targets.clone(), journal.lost.clone());
    let Some(live) = seen.live() else { return Outcome { targets, lost: lost_before, ..Outcome::default() } };
    let size = |name: &TemplateName| Some((name.clone(), live.spec.size_of(name)?));
    let sizes: BTreeMap<_, _> = journal.targets.keys().filter_map(size).collect();
    let is_short = |(name, size): &(&TemplateName, &Bytes)| journal.targets.get(*name).is_some_and(|to| *size < to);
    let short = sizes.iter().filter(is_short).map(|(name, size)| (name.clone(), *size)).collect();
    Outcome {
        targets,
        short,
        sizes,
        lost: lost(seen, live, journal),
        changed: manifest::differences(&meant(journal), &live.object),
        generation: live.generation,
    }
}

/// The StatefulSet as it should be in the end. It was journaled while `whenDeleted` was `Retain` for the recreation.
fn meant(journal: &Journal) -> Value {
    let mut image = journal.image.clone();
    let retention = &mut image["spec"]["persistentVolumeClaimRetentionPolicy"];
    if retention.is_object() {
        retention["whenDeleted"] = Value::from(journal.when_deleted.as_str());
    }
    image
}

/// The Pods of the journal's snapshot that the StatefulSet should have, but that are gone, terminating, or replaced by
/// others.
///
/// A rollout that another client began in the meantime replaces Pods too; those are not counted. A rollout that began
/// because admission changed the template in a write of the operator counts as the operator's. If everything was rolled
/// back before the DELETE, only such a rollout can be the operator's.
pub(super) fn lost(seen: &Observed, live: &LiveSet, journal: &Journal) -> BTreeSet<String> {
    let mut lost = journal.lost.clone();
    let is_rolled_out = live.status_text("updateRevision") != journal.snapshot.update_revision;
    let is_ours = is_rolled_out && managed_fields::template_is_ours(&live.object);
    if (is_rolled_out || journal.ending == Some(Ending::Undone)) && !is_ours {
        return lost;
    }
    let wanted = seen.pod_names(&live.spec);
    let is_there = |(name, uid): &(&String, &Uid)| {
        seen.pods.iter().any(|pod| pod.name == **name && pod.uid == **uid && !pod.deleting)
    };
    let gone = journal.snapshot.pods.iter().filter(|(name, _)| wanted.contains(*name)).filter(|pod| !is_there(pod));
    lost.extend(gone.map(|(name, _)| name.clone()));
    lost
}
