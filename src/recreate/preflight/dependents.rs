//! The checks of Pods, ControllerRevisions, and PVCs: all exist, belong to the StatefulSet, and are stable.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::dependent::{Claim, Dependent};
use super::Subject;
use crate::api::names::{ClaimName, Uid};
use crate::api::reasons::Note;

pub(super) fn rolled_out(subject: &Subject<'_>) -> Result<(), Note> {
    let (current, update) = (subject.live.status_text("currentRevision"), subject.live.status_text("updateRevision"));
    if update.is_empty() {
        let text = "waiting for the StatefulSet controller to report the update revision";
        return Err(Note::deferred("no-revision", text));
    }
    // With OnDelete, currentRevision never follows once the template was edited, even when every Pod is new
    // (kubernetes/kubernetes#106055); there only the Pods show it.
    if current != update && !subject.live.spec.on_delete {
        let text = format!(
            "a rollout from {current} to {update} is in progress, or stopped by a partition; rso updates the template after it"
        );
        return Err(Note::deferred("rollout", text));
    }
    let stale = subject.seen.pods.iter().find(|pod| {
        pod.controlled_by(&subject.live.uid) && pod.revision.as_deref().is_some_and(|revision| revision != update)
    });
    stale.map_or(Ok(()), |pod| {
        let text = format!(
            "Pod {} has revision {}, not {update}; rso updates the template once all Pods have one revision",
            pod.name,
            pod.revision.as_deref().unwrap_or_default()
        );
        Err(Note::deferred("old-revision", text).about(&pod.name))
    })
}

pub(super) fn pods(subject: &Subject<'_>) -> Result<(), Note> {
    let uid = &subject.live.uid;
    let mut missing: BTreeSet<String> = subject.seen.pod_names(&subject.live.spec);
    for pod in &subject.seen.pods {
        let ours = missing.remove(&pod.name);
        if ours && !pod.controlled_by(uid) {
            let text = format!("waiting: Pod {} does not belong to this StatefulSet", pod.name);
            return Err(Note::deferred("foreign-pod", text).about(&pod.name));
        }
        if pod.deleting && pod.refers_to(uid) {
            let text = format!("Pod {} is terminating; rso updates the template once the Pod is back", pod.name);
            return Err(Note::deferred("pod-terminating", text).about(&pod.name));
        }
    }
    missing.first().map_or(Ok(()), |pod| {
        Err(Note::deferred("pod-missing", format!("waiting: Pod {pod} does not exist")).about(pod))
    })
}

pub(super) fn claims(subject: &Subject<'_>) -> Result<(), Note> {
    let by_name: BTreeMap<&str, &Claim> =
        subject.seen.claims.iter().map(|claim| (claim.object.name.as_str(), claim)).collect();
    let spec = &subject.live.spec;
    let places =
        spec.templates.iter().flat_map(|(template, _)| spec.ordinals().map(move |ordinal| (template, ordinal)));
    for (template, ordinal) in places {
        let name = ClaimName::of(template, &subject.seen.set, ordinal);
        let Some(claim) = by_name.get(name.as_str()) else {
            let text = format!("PVC {name} does not exist; rso updates the template once it does");
            return Err(Note::deferred("pvc-missing", text).about(name));
        };
        claim_is_whole(claim, &subject.live.uid, &subject.seen.set.name)?;
        if let Some(target) = subject.targets.get(template).filter(|target| claim.requested < **target) {
            let text = format!(
                "PVC {name} requests {}, not yet {target}; rso updates the template once all PVCs request it",
                claim.requested
            );
            return Err(Note::deferred("pvc-smaller", text).about(name));
        }
    }
    Ok(())
}

fn claim_is_whole(claim: &Claim, uid: &Uid, set: &str) -> Result<(), Note> {
    let name = &claim.object.name;
    if claim.object.deleting {
        let text = format!(
            "PVC {name} is being deleted, and Kubernetes removes it when its Pod ends; save its data, then delete the Pod to \
             get a new PVC"
        );
        return Err(Note::blocked("pvc-terminating", text).about(name));
    }
    let stale = |owner: &&Value| owner["kind"] == "StatefulSet" && owner["name"] == set && owner["uid"] != uid.as_str();
    if claim.object.owners.iter().any(|owner| stale(&owner)) {
        let text = format!(
            "PVC {name} has an ownerReference to an earlier StatefulSet of this name, and might be deleted with it; remove \
             that ownerReference"
        );
        return Err(Note::blocked("stale-owner", text).about(name));
    }
    Ok(())
}

pub(super) fn quiet(subject: &Subject<'_>) -> Result<(), Note> {
    let seen = subject.seen;
    // Once a transaction has begun, rso itself changes the references of PVCs; the protective owner reference protects
    // them.
    let claims: &[Claim] = if subject.journal.is_some() { &[] } else { &seen.claims };
    let dependents = seen.pods.iter().chain(&seen.revisions).chain(claims.iter().map(|claim| &claim.object));
    let changed = |dependent: &&Dependent| {
        let age = dependent.owners_changed.map(|at| subject.now.duration_since(at).unsigned_abs());
        age.is_some_and(|age| age < seen.rules.settle)
    };
    dependents.filter(|dependent| dependent.refers_to(&subject.live.uid)).find(changed).map_or(Ok(()), |dependent| {
        let text = format!(
            "waiting: the owner of {} changed less than {:?} ago, and the garbage collector may not know it yet (k8s#131284)",
            dependent.name, seen.rules.settle
        );
        Err(Note::deferred("owner-changed", text).about(&dependent.name))
    })
}
