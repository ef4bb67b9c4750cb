//! Preflight checks: may a recreation begin, and may it still continue before the point of no return?
//!
//! Each gate is a function with a refusal of its own; the first refusal is reported. The gates fail closed: what is not known
//! is a refusal. `TemplateSyncDeferred` passes without a person, `TemplateSyncBlocked` waits for one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::archive::{self, MOST_PARTS_OF_A_SET};
use super::dependent::{Claim, Dependent};
use super::journal::{Journal, JournalError, JournalHead};
use super::observed::Observed;
use super::phase::Phase;
use super::probes::{Probes, Verdict};
use super::rivals::{Found, Rivals};
use super::set::LiveSet;
use super::turn::Flight;
use super::{compare, manifest};
use crate::api::annotations;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, TemplateName, Uid};
use crate::api::parts::parts;
use crate::api::reasons::Note;
use crate::api::refusal::Refusal;

/// The most that etcd takes in one request.
pub const LARGEST_OBJECT: usize = 1536 << 10;
/// Room for what the server adds to the object: `managedFields` of the new object, timestamps.
const MARGIN: usize = 64 << 10;

/// What the chart's policy for the operator's own account says of a CREATE that is not part of a recreation.
pub const OWN_POLICY: &str = "the operator creates a StatefulSet only in a recreate";

/// The input of the gates.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What was observed.
    pub seen: &'a Observed,
    /// The StatefulSet.
    pub live: &'a LiveSet,
    /// The wanted sizes.
    pub targets: &'a BTreeMap<TemplateName, Bytes>,
    /// The kind of a controller that may own the StatefulSet.
    pub allow_owner: Option<&'a str>,
    /// The transaction, once it has begun.
    pub journal: Option<&'a Journal>,
    /// The time.
    pub now: Timestamp,
}

/// One gate.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "tests and pages name the gates"))]
pub struct Gate {
    /// Its name.
    pub name: &'static str,
    /// What it ensures.
    pub holds: &'static str,
    /// Asks it.
    pub ask: fn(&Subject<'_>) -> Result<(), Note>,
}

/// Every gate that needs no dry run, in the order they are asked.
pub const GATES: [Gate; 14] = [
    Gate { name: "alive", holds: "The StatefulSet and its namespace are not being deleted", ask: alive },
    Gate { name: "not-paused", holds: "The StatefulSet is not paused", ask: not_paused },
    Gate { name: "kept", holds: "The annotation allow-delete is not set", ask: kept },
    Gate { name: "finalizers", holds: "The StatefulSet has no finalizer of another controller", ask: finalizers },
    Gate { name: "turn", holds: "No other recreation in the namespace, few in the cluster", ask: turn },
    Gate {
        name: "owner",
        holds: "No controller owns the StatefulSet, or the annotation allow-owner allows it",
        ask: owner,
    },
    Gate { name: "templates", holds: "The templates exist and do not shrink", ask: templates },
    Gate { name: "size", holds: "Journal, backup and new object fit", ask: size },
    Gate { name: "observed", holds: "The StatefulSet controller has observed the latest spec", ask: observed },
    Gate { name: "available", holds: "Every replica is ready and available", ask: available },
    Gate { name: "rolled-out", holds: "No rollout is in progress, and all Pods have one revision", ask: rolled_out },
    Gate { name: "pods", holds: "Every Pod exists, belongs to this StatefulSet, and is not terminating", ask: pods },
    Gate {
        name: "claims",
        holds: "Every PVC of a replica exists, is not being deleted, and requests the new size",
        ask: claims,
    },
    Gate { name: "quiet", holds: "No ownerReference has changed recently", ask: quiet },
];

/// Asks every gate that needs no dry run.
///
/// # Errors
/// The refusal of the first that is closed.
pub fn ask(subject: &Subject<'_>) -> Result<(), Note> {
    GATES.iter().try_for_each(|gate| (gate.ask)(subject))
}

/// Evaluates the dry runs.
///
/// # Errors
/// What was refused.
pub fn judge(probes: &Probes) -> Result<(), Note> {
    if matches!(probes.native, Verdict::Unknown(_)) {
        // The server may take it, and then nothing has to be replaced.
        expect(&probes.native, &Verdict::Accepted, "updating the templates in place")?;
    }
    expect(&probes.create, &Verdict::AlreadyExists, "creating the StatefulSet")?;
    expect(&probes.copy, &Verdict::Accepted, "creating the StatefulSet under another name")?;
    expect(&probes.delete, &Verdict::Accepted, "deleting the StatefulSet with its Pods orphaned")?;
    expect(&probes.hold, &Verdict::Accepted, "adding a finalizer to the StatefulSet")?;
    expect(&probes.spec, &Verdict::Accepted, "changing updateStrategy and whenDeleted of the StatefulSet")?;
    expect(&probes.protect, &Verdict::Accepted, "adding an ownerReference to a PVC")?;
    expect(&probes.backup, &Verdict::Accepted, "saving the StatefulSet to a ConfigMap in its namespace")
}

fn expect(verdict: &Verdict, wanted: &Verdict, what: &str) -> Result<(), Note> {
    if verdict == wanted {
        return Ok(());
    }
    match verdict {
        Verdict::Accepted | Verdict::Conflict => {
            let text = format!("the StatefulSet changed during a dry run of {what}; rso retries");
            Err(Note::deferred("dry-run-conflict", text))
        }
        Verdict::AlreadyExists => {
            let text = format!("a dry run of {what} found an object with the same name; rso retries");
            Err(Note::deferred("dry-run-exists", text))
        }
        Verdict::Changed(fields) => Err(changed(what, fields)),
        Verdict::Unknown(why) => {
            let text = format!("a dry run of {what} got no answer ({why}); rso retries");
            Err(Note::deferred("dry-run-unknown", text))
        }
        // It refuses no CREATE as it is sent, so something changed this one before.
        Verdict::Refused(why) if why.contains(OWN_POLICY) => {
            Err(changed(what, &["its annotations, updateStrategy or whenDeleted".to_owned()]))
        }
        Verdict::Refused(why) => {
            let refusal = Refusal::read(why);
            let advice = refusal.advice();
            let text = format!("the API server refused a dry run of {what}: {why}. Nothing was changed; {advice}");
            Err(Note::blocked(format_args!("dry-run-refused: {what}: {}", refusal.case()), text))
        }
    }
}

/// Admission would change more than was requested. Only the API server knows which policy does that.
pub fn changed(what: &str, fields: &[String]) -> Note {
    let fields = compare::listed(fields);
    let text = format!(
        "an admission policy or webhook changes {fields} when rso tries {what}, which could restart Pods or revert the new \
         size. Nothing was written. Exempt the operator's ServiceAccount from that policy (list the candidates with `kubectl \
         get mutatingadmissionpolicies,mutatingwebhookconfigurations`), or let the policy change the StatefulSet when a \
         restart is convenient, for example with an apply"
    );
    Note::blocked(format_args!("changed-by-admission: {what}: {fields}"), text)
}

/// The API server refused a write that no dry run covers, or that its dry run allowed.
pub fn refused(why: &str) -> Note {
    let refusal = Refusal::read(why);
    let text = format!("rso rolled the recreation back: a write was refused: {why}; {}", refusal.advice());
    Note::blocked(format_args!("write-refused: {}", refusal.case()), text)
}

/// Does no other selector match what the StatefulSet releases for a moment?
///
/// # Errors
/// The owners of such selectors, or why they are not known.
pub fn alone(rivals: &Rivals) -> Result<(), Note> {
    match &rivals.found {
        Found::Rivals(names) if names.is_empty() => Ok(()),
        Found::Rivals(names) => {
            let names = compare::listed(names);
            let text = format!(
                "the selector of {names} also matches the Pods of this StatefulSet. While the StatefulSet is recreated, its \
                 Pods have no owner, and the other controller would adopt them and might delete some. Give each workload \
                 labels and a selector of its own; until then, rso expands the PVCs and does not update the template"
            );
            Err(Note::blocked("same-pods-selected", text).about(names))
        }
        Found::Forbidden(why) => Err(Note::blocked(
            "selectors-forbidden",
            format!(
                "rso cannot check whether another workload selects the same Pods: {why}. Allow the operator to list \
                 statefulsets, replicasets, daemonsets, replicationcontrollers and jobs in this namespace, as the roles of \
                 the chart do"
            ),
        )),
        Found::Unknown(why) => Err(Note::deferred(
            "selectors-unknown",
            format!("rso cannot check whether another workload selects the same Pods ({why}); it retries"),
        )),
    }
}

fn alive(subject: &Subject<'_>) -> Result<(), Note> {
    if subject.seen.namespace.terminating {
        return Err(Note::blocked("namespace-deleting", "the namespace is being deleted; no action needed"));
    }
    match subject.live.deleting {
        Some(_) => {
            let text = "the StatefulSet is being deleted; rso waits for the deletion to finish";
            Err(Note::deferred("deleting", text))
        }
        None => Ok(()),
    }
}

fn not_paused(subject: &Subject<'_>) -> Result<(), Note> {
    let paused = &subject.live.object["metadata"]["annotations"][annotations::PAUSED];
    if paused != "true" || subject.journal.is_some() {
        return Ok(());
    }
    let key = annotations::PAUSED;
    Err(Note::deferred(
        "paused",
        format!("the StatefulSet is paused; to update its template, remove the annotation {key}"),
    ))
}

fn kept(subject: &Subject<'_>) -> Result<(), Note> {
    if !subject.live.may_be_deleted() {
        return Ok(());
    }
    let key = annotations::ALLOW_DELETE;
    Err(Note::blocked(
        "allow-delete",
        format!(
            "the annotation {key} allows the StatefulSet to be deleted; to update its template, remove the annotation"
        ),
    ))
}

fn finalizers(subject: &Subject<'_>) -> Result<(), Note> {
    let foreign = subject.live.finalizers.iter().find(|finalizer| *finalizer != annotations::HOLD);
    foreign.map_or(Ok(()), |finalizer| {
        let text = format!(
            "the StatefulSet has the finalizer {finalizer:?}, whose controller would clean up when the StatefulSet is deleted. \
             Remove the finalizer, or expand the PVCs of new replicas by hand"
        );
        Err(Note::blocked("finalizer", text).about(finalizer))
    })
}

fn turn(subject: &Subject<'_>) -> Result<(), Note> {
    let seen = subject.seen;
    let ahead = |head: &&JournalHead| match subject.journal {
        // Two that began at the same time see each other: the one with the smaller name goes on.
        Some(own) => own.phase == Phase::Prepared && (head.phase > Phase::Prepared || head.name < own.name()),
        None => true,
    };
    let in_namespace =
        |head: &&JournalHead| head.set.namespace == seen.set.namespace && Flight::of(head).holds_namespace(subject.now);
    if let Some(head) = seen.in_flight().filter(in_namespace).find(ahead) {
        let text = format!("waiting: StatefulSet {} in the same namespace is being recreated, one at a time", head.set);
        return Err(Note::deferred("namespace-busy", text));
    }
    let unmanaged = |head: &&JournalHead| Flight::of(head).is_unmanaged(subject.now);
    let (others, most) = (seen.in_flight().filter(unmanaged).count(), seen.rules.concurrent);
    if subject.journal.is_none() && others >= most {
        let text = format!("waiting: {others} StatefulSets are being recreated, {most} at a time (--max-recreates)");
        return Err(Note::deferred("cluster-busy", text));
    }
    Ok(())
}

fn owner(subject: &Subject<'_>) -> Result<(), Note> {
    let owners = subject.live.object["metadata"]["ownerReferences"].as_array();
    let controller = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
    let Some(controller) = controller else { return Ok(()) };
    let text = |key: &str| controller[key].as_str().unwrap_or_default().to_owned();
    if subject.allow_owner == Some(text("kind").as_str()) {
        return Ok(());
    }
    let (kind, name, key) = (text("kind"), text("name"), annotations::ALLOW_OWNER);
    let text = format!(
        "{kind} {name} owns the StatefulSet and might revert the size or restart Pods. Set the size in the {kind}, or allow \
         the recreation with the annotation {key}={kind}"
    );
    Err(Note::blocked("owner", text).about(format_args!("{kind} {name}")))
}

fn templates(subject: &Subject<'_>) -> Result<(), Note> {
    for (template, target) in subject.targets {
        match subject.live.spec.size_of(template) {
            None => {
                let text = format!("the StatefulSet has no volumeClaimTemplate {template}; correct the name");
                return Err(Note::blocked("no-such-template", text).about(template));
            }
            Some(size) if size > *target => {
                let text =
                    format!("template {template} has {size} and cannot shrink to {target}; request {size} or more");
                return Err(Note::blocked("shrink", text).about(template));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn size(subject: &Subject<'_>) -> Result<(), Note> {
    let created = manifest::to_create(&subject.live.object, subject.targets, "0123456789abcdef").to_string();
    let fields = subject.live.object["metadata"]["managedFields"].to_string();
    let count = parts(created.as_bytes()) + parts(fields.as_bytes());
    if count > MOST_PARTS_OF_A_SET {
        let text = format!(
            "the StatefulSet has {count} fields and items, managedFields included; rso recreates StatefulSets of at most \
             {MOST_PARTS_OF_A_SET}. Make the StatefulSet smaller"
        );
        return Err(Note::blocked("too-many-fields", text));
    }
    let (created, fields) = (created.len(), fields.len());
    if created + fields + MARGIN > LARGEST_OBJECT {
        let text = format!(
            "the StatefulSet has {} bytes of JSON; with what rso adds, it might not fit into etcd. Make the StatefulSet smaller",
            created + fields
        );
        return Err(Note::blocked("too-many-bytes", text));
    }
    // What the pods and revisions of the snapshot add is bounded by their number, and compresses well.
    let packed = archive::pack(&manifest::image(&subject.live.object)).map_err(JournalError::from);
    packed.map(drop).map_err(|error| Note::blocked("journal", format!("{error}. Make the StatefulSet smaller")))
}

fn observed(subject: &Subject<'_>) -> Result<(), Note> {
    let (seen, latest) = (subject.live.status_number("observedGeneration"), subject.live.generation);
    // A later one is in a status of the object that was replaced (hazard 18). The StatefulSet controller writes over it when
    // anything else in it is not so, and that the Pods are adopted is a check of its own.
    if seen >= latest {
        return Ok(());
    }
    let text = format!("waiting for the StatefulSet controller, which has observed generation {seen} of {latest}");
    Err(Note::deferred("not-observed", text))
}

fn available(subject: &Subject<'_>) -> Result<(), Note> {
    let wanted = i64::from(subject.live.spec.replicas);
    for (field, word) in [("replicas", "created"), ("readyReplicas", "ready"), ("availableReplicas", "available")] {
        let count = subject.live.status_number(field);
        if count > wanted {
            let text = format!(
                "{count} replicas are {word} and {wanted} are requested; rso updates the template once the others are gone. \
                 If this persists, check the Pods"
            );
            return Err(Note::deferred(format_args!("too-many-{word}"), text));
        }
        if count < wanted {
            let text = format!(
                "{count}/{wanted} replicas are {word}; rso updates the template once all are. If this persists, check the Pods"
            );
            return Err(Note::deferred(format_args!("too-few-{word}"), text));
        }
    }
    Ok(())
}

fn rolled_out(subject: &Subject<'_>) -> Result<(), Note> {
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

fn pods(subject: &Subject<'_>) -> Result<(), Note> {
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

fn claims(subject: &Subject<'_>) -> Result<(), Note> {
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

fn quiet(subject: &Subject<'_>) -> Result<(), Note> {
    let seen = subject.seen;
    // Once a transaction has begun, rso itself changes the references of PVCs; the guard protects them.
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
