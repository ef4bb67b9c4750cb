//! The reads before a recreation begins: dry runs, and the other workloads that would adopt the Pods.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::super::dependent::{Claim, Dependent, labels};
use super::super::journal::Journal;
use super::super::observed::Observed;
use super::super::preflight::answers;
use super::super::probes::{Orphan, ProbeRequest, Probes, Protection};
use super::super::rivals::RivalsRequest;
use super::super::set::{LiveSet, WhenDeleted};
use super::super::step::{Read, Step};
use super::super::{backup, manifest};
use super::protection::protective_owner;
use super::with_finalizer;
use crate::api::bytes::Bytes;
use crate::api::names::TemplateName;
use crate::api::reasons::Note;

/// How long the results of dry runs are valid.
const PROBES_LAST: Duration = Duration::from_secs(30);

pub(super) fn valid_probes<'a>(
    seen: &'a Observed,
    live: &LiveSet,
    targets: &BTreeMap<TemplateName, Bytes>,
    now: Timestamp,
) -> Option<&'a Probes> {
    seen.probes.as_ref().filter(|probes| {
        probes.uid == live.uid
            && probes.generation == live.generation
            && probes.targets == *targets
            && now.duration_since(probes.at).unsigned_abs() < PROBES_LAST
            && orphaned(seen, live).all(|pod| probes.pods.get(&pod.name).is_some_and(|answer| answer.uid == pod.uid))
    })
}

/// The Pods that the recreation orphans.
fn orphaned<'a>(seen: &'a Observed, live: &'a LiveSet) -> impl Iterator<Item = &'a Dependent> {
    seen.pods.iter().filter(|pod| pod.refers_to(&live.uid) && !pod.deleting)
}

fn orphan(pod: &Dependent, live: &LiveSet) -> Orphan {
    Orphan { pod: pod.clone(), owners: pod.owners_without(&live.uid) }
}

pub(super) fn probe(seen: &Observed, live: &LiveSet, journal: &Journal, now: Timestamp) -> Step {
    let backup = backup::encode(&seen.set, live, seen.backups.next, &journal.id, &journal.reason, now);
    let create = manifest::to_create(&live.object, &journal.targets, &journal.id);
    match backup {
        Err(error) => Step::Refuse(Note::blocked("backup", format!("{error}. Make the StatefulSet smaller"))),
        Ok(backup) => Step::Read(Read::Probes(Box::new(ProbeRequest {
            guard: live.guard(),
            generation: live.generation,
            targets: journal.targets.clone(),
            copy: manifest::renamed(&create, &journal.id),
            create,
            object: live.object.clone(),
            finalizers: with_finalizer(live),
            backup,
            templates: manifest::templates(&live.object, &journal.targets),
            spec: manifest::no_restart_patch(&live.object),
            protect: protection(seen, live),
            pods: orphaned(seen, live).map(|pod| orphan(pod, live)).collect(),
        }))),
    }
}

/// The PVC for the dry run. One stands for all PVCs that get protective owner references: policies distinguish kinds,
/// not ordinals.
fn protection(seen: &Observed, live: &LiveSet) -> Option<Protection> {
    let is_bare = |claim: &&Claim| {
        live.spec.has_pod_for(&claim.object.name.as_str().into(), &seen.set)
            && !claim.is_protected_by(&seen.namespace.uid)
    };
    let claim = seen.claims.iter().find(is_bare).filter(|_| live.spec.when_deleted == WhenDeleted::Delete)?;
    let owners = claim.object.owners.iter().cloned().chain([protective_owner(seen)]).collect();
    Some(Protection { claim: claim.object.name.clone(), guard: claim.object.guard(), owners })
}

/// Whether no other workload would adopt the Pods of the StatefulSet; checked again for each state of it.
///
/// # Errors
/// The workloads to list first, or else a refusal that names those that would adopt them.
pub(super) fn alone(seen: &Observed, live: &LiveSet) -> Result<Result<(), Note>, Read> {
    match seen.rivals.as_ref().filter(|rivals| rivals.of == live.guard()) {
        Some(rivals) => Ok(answers::alone(rivals)),
        None => Err(Read::Rivals(RivalsRequest { of: live.guard(), labels: labels_of(seen, live) })),
    }
}

/// The labels by which a controller could adopt something of the StatefulSet.
fn labels_of(seen: &Observed, live: &LiveSet) -> BTreeSet<BTreeMap<String, String>> {
    let template = &live.object["spec"]["template"]["metadata"]["labels"];
    let of_template = template.is_object().then(|| labels(template));
    let dependents = seen.pods.iter().chain(&seen.revisions).filter(|dependent| dependent.controlled_by(&live.uid));
    of_template.into_iter().chain(dependents.map(|dependent| dependent.labels.clone())).collect()
}
