//! What is there when a recreate ends, compared with what was there when it began.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::manifest;
use super::observed::{LiveSet, Observed};
use super::{Ending, Journal};
use crate::api::bytes::Bytes;
use crate::api::names::TemplateName;

/// The end of a recreate as it was observed, not as it was meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The size that each template was to get.
    pub targets: BTreeMap<TemplateName, Bytes>,
    /// The size of each template that was to grow, as the StatefulSet has it.
    pub sizes: BTreeMap<TemplateName, Bytes>,
    /// Those of them that are smaller than they were to be.
    pub short: BTreeMap<TemplateName, Bytes>,
    /// Pods of the snapshot that were deleted or replaced meanwhile.
    pub lost: BTreeSet<String>,
    /// Fields that differ from the StatefulSet that was deleted, sizes aside.
    pub changed: Vec<String>,
    /// The StatefulSet's `metadata.generation`: how often its spec was changed by then.
    pub generation: i64,
}

/// Compares what is there with the journal of the transaction.
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

/// The StatefulSet as it is to be in the end: it was journalled while `whenDeleted` was `Retain` for the recreate's sake.
fn meant(journal: &Journal) -> Value {
    let mut image = journal.image.clone();
    let retention = &mut image["spec"]["persistentVolumeClaimRetentionPolicy"];
    if retention.is_object() {
        retention["whenDeleted"] = Value::from(journal.when_deleted.as_str());
    }
    image
}

/// The Pods of the journal's snapshot that the StatefulSet should have and that are gone, going, or other ones now.
///
/// A rollout that somebody else began meanwhile replaces Pods as well; those are not counted. One that began because
/// admission changed the template in a write of ours is ours. Where all was taken back before the DELETE, nothing else could
/// be.
pub(super) fn lost(seen: &Observed, live: &LiveSet, journal: &Journal) -> BTreeSet<String> {
    let mut lost = journal.lost.clone();
    let is_rolled_out = live.status_text("updateRevision") != journal.snapshot.update_revision;
    let is_ours = is_rolled_out && manifest::template_is_ours(&live.object);
    if (is_rolled_out || journal.ending == Some(Ending::Undone)) && !is_ours {
        return lost;
    }
    let wanted = seen.pod_names(&live.spec);
    let is_there = |(name, uid): &(&String, &crate::api::names::Uid)| {
        seen.pods.iter().any(|pod| pod.name == **name && pod.uid == **uid && !pod.deleting)
    };
    let gone = journal.snapshot.pods.iter().filter(|(name, _)| wanted.contains(*name)).filter(|pod| !is_there(pod));
    lost.extend(gone.map(|(name, _)| name.clone()));
    lost
}
