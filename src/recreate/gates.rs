//! May a recreate begin, and may it still go on before the point of no return?
//!
//! Each gate is a function with a refusal of its own; the first that refuses is told. They fail closed: what cannot be known
//! is a refusal. `TemplateSyncDeferred` passes by itself, `TemplateSyncBlocked` waits for a person.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::journal::{Journal, MOST_PARTS_OF_A_SET, Phase};
use super::observed::{Claim, Dependent, Found, LiveSet, Observed, Probes, Rivals, Verdict};
use super::turn::Flight;
use super::{compare, manifest};
use crate::api::annotations;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, TemplateName, Uid};
use crate::api::parts::parts;
use crate::api::reasons::{Note, Reason};
use crate::api::refusal::Refusal;

/// The most that etcd takes in one request.
pub const LARGEST_OBJECT: usize = 1536 << 10;
/// Left for what the server adds to the object: `managedFields` of the new object, timestamps.
const MARGIN: usize = 64 << 10;

/// What the chart's policy about the operator's own account says of a CREATE that is none of a recreate.
pub const OWN_POLICY: &str = "the operator creates a StatefulSet only in a recreate";

/// What the gates look at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// This round's knowledge.
    pub seen: &'a Observed,
    /// The set.
    pub live: &'a LiveSet,
    /// The wanted sizes.
    pub targets: &'a BTreeMap<TemplateName, Bytes>,
    /// The kind of a controller that may own the set.
    pub allow_owner: Option<&'a str>,
    /// The transaction, when it has begun.
    pub journal: Option<&'a Journal>,
    /// The time.
    pub now: Timestamp,
}

/// One gate.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// Its name.
    pub name: &'static str,
    /// What it makes sure of.
    pub holds: &'static str,
    /// Asks it.
    pub ask: fn(&Subject<'_>) -> Result<(), Note>,
}

/// Every gate that needs no dry run, in the order they are asked.
pub const GATES: [Gate; 14] = [
    Gate { name: "alive", holds: "The set and its namespace are not being deleted", ask: alive },
    Gate { name: "not-paused", holds: "Nobody paused the set", ask: not_paused },
    Gate { name: "kept", holds: "Nobody is about to delete the set", ask: kept },
    Gate { name: "finalizers", holds: "No other controller has a finalizer on the set", ask: finalizers },
    Gate { name: "turn", holds: "No other recreate in the namespace, few in the cluster", ask: turn },
    Gate { name: "owner", holds: "No controller owns the set, or it is allowed", ask: owner },
    Gate { name: "templates", holds: "The templates exist and only grow", ask: templates },
    Gate { name: "size", holds: "Journal, backup and new object fit", ask: size },
    Gate { name: "observed", holds: "The StatefulSet controller has seen the latest spec", ask: observed },
    Gate { name: "available", holds: "Every replica is ready and available", ask: available },
    Gate { name: "rolled-out", holds: "No rollout is in flight, all pods have one revision", ask: rolled_out },
    Gate { name: "pods", holds: "Every pod is there, owned by this set, and not terminating", ask: pods },
    Gate { name: "claims", holds: "Every claim in range is there, whole, and as large as wanted", ask: claims },
    Gate { name: "quiet", holds: "No ownerReference has changed lately", ask: quiet },
];

/// Asks every gate that needs no dry run.
///
/// # Errors
/// The refusal of the first that is closed.
pub fn ask(subject: &Subject<'_>) -> Result<(), Note> {
    GATES.iter().try_for_each(|gate| (gate.ask)(subject))
}

/// Judges the dry runs.
///
/// # Errors
/// What was refused.
pub fn judge(probes: &Probes) -> Result<(), Note> {
    if matches!(probes.native, Verdict::Unknown(_)) {
        // The server may take it, and then nothing has to be replaced.
        expect(&probes.native, &Verdict::Accepted, "raising the templates in place")?;
    }
    expect(&probes.create, &Verdict::AlreadyExists, "creating the set again")?;
    expect(&probes.copy, &Verdict::Accepted, "creating the same set under a free name")?;
    expect(&probes.delete, &Verdict::Accepted, "deleting the set with its pods orphaned")?;
    expect(&probes.hold, &Verdict::Accepted, "putting a finalizer on the set")?;
    expect(&probes.spec, &Verdict::Accepted, "changing updateStrategy and whenDeleted of the set")?;
    expect(&probes.protect, &Verdict::Accepted, "protecting a PVC by an ownerReference to its namespace")?;
    expect(&probes.backup, &Verdict::Accepted, "saving the set to a ConfigMap in its namespace")
}

fn expect(verdict: &Verdict, wanted: &Verdict, what: &str) -> Result<(), Note> {
    if verdict == wanted {
        return Ok(());
    }
    match verdict {
        Verdict::Accepted | Verdict::Conflict => {
            Err(deferred(format!("a dry run of {what} met a change of the set; it is tried again by itself")))
        }
        Verdict::AlreadyExists => Err(deferred(format!("a dry run of {what} met another one; it is tried again"))),
        Verdict::Changed(fields) => Err(changed(what, fields)),
        Verdict::Unknown(why) => {
            Err(deferred(format!("a dry run of {what} got no answer ({why}); it is tried again by itself")))
        }
        // It refuses no CREATE as it is sent, so something changed this one before.
        Verdict::Refused(why) if why.contains(OWN_POLICY) => {
            Err(changed(what, &["its annotations, updateStrategy or whenDeleted".to_owned()]))
        }
        Verdict::Refused(why) => Err(blocked(format!(
            "a dry run of {what} was refused: {why}. Nothing was touched; {}",
            Refusal::read(why).advice()
        ))),
    }
}

/// Admission would change more than was asked for. Which policy does so, only the API server knows.
pub fn changed(what: &str, fields: &[String]) -> Note {
    blocked(format!(
        "an admission policy or webhook changes {} when the operator tries {what}, which could restart Pods or take the new \
         size back. That was not written. Exempt the operator's ServiceAccount from that policy (list them with `kubectl get \
         mutatingadmissionpolicies,mutatingwebhookconfigurations`), or let it change the StatefulSet yourself when a restart \
         suits, for example with an apply",
        compare::listed(fields)
    ))
}

/// A write was refused that no dry run had tried, or that was allowed when it was tried.
pub fn refused(why: &str) -> Note {
    blocked(format!("the recreate was taken back, because a write was refused: {why}; {}", Refusal::read(why).advice()))
}

/// Does nobody else's selector match what the StatefulSet lets go of for a moment?
///
/// # Errors
/// Who does, or why that is not known.
pub fn alone(rivals: &Rivals) -> Result<(), Note> {
    match &rivals.found {
        Found::Rivals(names) if names.is_empty() => Ok(()),
        Found::Rivals(names) => Err(blocked(format!(
            "the selector of {} matches the Pods of this StatefulSet too. While the StatefulSet is replaced its Pods have no \
             owner, and another controller would adopt them and might delete some. Give each workload labels and a selector \
             of its own; until then PVCs grow, and the template stays as it is",
            compare::listed(names)
        ))),
        Found::Forbidden(why) => Err(blocked(format!(
            "whether another workload selects the same Pods is not known: {why}. Allow the operator to list statefulsets, \
             replicasets, daemonsets, replicationcontrollers and jobs in this namespace, as the chart's roles do"
        ))),
        Found::Unknown(why) => Err(deferred(format!(
            "whether another workload selects the same Pods is not known ({why}); it is tried again by itself"
        ))),
    }
}

fn deferred(text: String) -> Note {
    Note::new(Reason::TemplateSyncDeferred, text)
}

fn blocked(text: String) -> Note {
    Note::new(Reason::TemplateSyncBlocked, text)
}

fn alive(subject: &Subject<'_>) -> Result<(), Note> {
    if subject.seen.namespace.terminating {
        return Err(blocked("the namespace is being deleted; nothing is to be done".to_owned()));
    }
    match subject.live.deleting {
        Some(_) => Err(deferred("the set is being deleted; nothing is begun until it is gone".to_owned())),
        None => Ok(()),
    }
}

fn not_paused(subject: &Subject<'_>) -> Result<(), Note> {
    let paused = &subject.live.object["metadata"]["annotations"][annotations::PAUSED];
    if paused != "true" || subject.journal.is_some() {
        return Ok(());
    }
    let key = annotations::PAUSED;
    Err(deferred(format!("the set is paused; remove the annotation {key} to let its template follow")))
}

fn kept(subject: &Subject<'_>) -> Result<(), Note> {
    if !subject.live.may_be_deleted() {
        return Ok(());
    }
    let key = annotations::ALLOW_DELETE;
    Err(blocked(format!("the annotation {key} says that the set may go; remove it to let its template follow")))
}

fn finalizers(subject: &Subject<'_>) -> Result<(), Note> {
    let foreign = subject.live.finalizers.iter().find(|finalizer| *finalizer != annotations::HOLD);
    foreign.map_or(Ok(()), |finalizer| {
        Err(blocked(format!(
            "the finalizer {finalizer:?} is on the set: its controller would clean up when the set is deleted. Remove \
             the finalizer, or give new replicas the larger size by hand"
        )))
    })
}

fn turn(subject: &Subject<'_>) -> Result<(), Note> {
    let seen = subject.seen;
    let ahead = |head: &&super::observed::JournalHead| match subject.journal {
        // Two that began at the same time see each other: the one with the smaller name goes on.
        Some(own) => own.phase == Phase::Prepared && (head.phase > Phase::Prepared || head.name < own.name()),
        None => true,
    };
    let in_namespace = |head: &&super::observed::JournalHead| {
        head.set.namespace == seen.set.namespace && Flight::of(head).holds_namespace(subject.now)
    };
    if let Some(head) = seen.in_flight().filter(in_namespace).find(ahead) {
        return Err(deferred(format!(
            "StatefulSet {} of the same namespace is being recreated; this one follows by itself, one at a time",
            head.set
        )));
    }
    let unmanaged = |head: &&super::observed::JournalHead| Flight::of(head).is_unmanaged(subject.now);
    let (others, most) = (seen.in_flight().filter(unmanaged).count(), seen.rules.concurrent);
    if subject.journal.is_none() && others >= most {
        return Err(deferred(format!(
            "{others} StatefulSets are being recreated, {most} at a time (--max-recreates); this one follows by itself"
        )));
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
    Err(blocked(format!(
        "{} {} owns the set and might put the old size back or restart pods. Set the size there, or allow it with the \
         annotation {}={}",
        text("kind"),
        text("name"),
        annotations::ALLOW_OWNER,
        text("kind")
    )))
}

fn templates(subject: &Subject<'_>) -> Result<(), Note> {
    for (template, target) in subject.targets {
        match subject.live.spec.size_of(template) {
            None => {
                return Err(blocked(format!("the set has no volume claim template {template}; correct the name")));
            }
            Some(size) if size > *target => {
                return Err(blocked(format!(
                    "the template {template} is {size} and cannot shrink to {target}; ask for {size} or more"
                )));
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
        return Err(blocked(format!(
            "the set has {count} fields and items, managedFields included, and the operator replaces sets of at most \
             {MOST_PARTS_OF_A_SET}. Make it smaller"
        )));
    }
    let (created, fields) = (created.len(), fields.len());
    if created + fields + MARGIN > LARGEST_OBJECT {
        return Err(blocked(format!(
            "the set is {} bytes of JSON; with what the operator adds, etcd might not take it back. Make it smaller",
            created + fields
        )));
    }
    // What the pods and revisions of the snapshot add is bounded by their number, and compresses well.
    let packed = super::journal::pack(&manifest::image(&subject.live.object));
    packed.map(drop).map_err(|error| blocked(format!("{error}. Make the set smaller")))
}

fn observed(subject: &Subject<'_>) -> Result<(), Note> {
    let (seen, latest) = (subject.live.status_number("observedGeneration"), subject.live.generation);
    if seen == latest {
        return Ok(());
    }
    Err(deferred(format!("the StatefulSet controller has seen generation {seen} of {latest}; it is waited for")))
}

fn available(subject: &Subject<'_>) -> Result<(), Note> {
    let wanted = i64::from(subject.live.spec.replicas);
    for (field, word) in [("replicas", "created"), ("readyReplicas", "ready"), ("availableReplicas", "available")] {
        let count = subject.live.status_number(field);
        if count > wanted {
            return Err(deferred(format!(
                "{count} replicas are {word} and {wanted} are wanted; the template follows when the others are gone. If \
                 that lasts, look at the pods"
            )));
        }
        if count < wanted {
            return Err(deferred(format!(
                "{count} of {wanted} replicas are {word}; the template follows when all are. If that lasts, look at the \
                 pods"
            )));
        }
    }
    Ok(())
}

fn rolled_out(subject: &Subject<'_>) -> Result<(), Note> {
    let (current, update) = (subject.live.status_text("currentRevision"), subject.live.status_text("updateRevision"));
    if update.is_empty() {
        return Err(deferred("the StatefulSet controller has not yet told the revision; it is waited for".to_owned()));
    }
    // With OnDelete, currentRevision stays behind for ever once the template was edited, even when every pod is new
    // (kubernetes/kubernetes#106055); there the pods alone tell.
    if current != update && !subject.live.spec.on_delete {
        return Err(deferred(format!(
            "a rollout from {current} to {update} is in flight (or held by a partition); the template follows after it"
        )));
    }
    let stale = subject.seen.pods.iter().find(|pod| {
        pod.controlled_by(&subject.live.uid) && pod.revision.as_deref().is_some_and(|revision| revision != update)
    });
    stale.map_or(Ok(()), |pod| {
        Err(deferred(format!(
            "pod {} still has revision {}, not {update}; the template follows when all pods are of one revision",
            pod.name,
            pod.revision.as_deref().unwrap_or_default()
        )))
    })
}

fn pods(subject: &Subject<'_>) -> Result<(), Note> {
    let uid = &subject.live.uid;
    let mut missing: BTreeSet<String> = subject.seen.pod_names(&subject.live.spec);
    for pod in &subject.seen.pods {
        let ours = missing.remove(&pod.name);
        if ours && !pod.controlled_by(uid) {
            return Err(deferred(format!("pod {} does not belong to this set; it is waited for", pod.name)));
        }
        if pod.deleting && pod.refers_to(uid) {
            return Err(deferred(format!("pod {} is terminating; the template follows when it is back", pod.name)));
        }
    }
    missing.first().map_or(Ok(()), |pod| Err(deferred(format!("pod {pod} is missing; it is waited for"))))
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
            return Err(deferred(format!("claim {name} is missing; the template follows when it is there")));
        };
        claim_is_whole(claim, &subject.live.uid, &subject.seen.set.name)?;
        if let Some(target) = subject.targets.get(template).filter(|target| claim.requested < **target) {
            return Err(deferred(format!(
                "claim {name} asks for {}, not yet for {target}; the template follows when all claims do",
                claim.requested
            )));
        }
    }
    Ok(())
}

fn claim_is_whole(claim: &Claim, uid: &Uid, set: &str) -> Result<(), Note> {
    let name = &claim.object.name;
    if claim.object.deleting {
        return Err(blocked(format!(
            "claim {name} is being deleted and goes with its pod; save its data, then delete the pod to get a new claim"
        )));
    }
    let stale = |owner: &&Value| owner["kind"] == "StatefulSet" && owner["name"] == set && owner["uid"] != uid.as_str();
    if claim.object.owners.iter().any(|owner| stale(&owner)) {
        return Err(blocked(format!(
            "claim {name} refers to an earlier set of this name, and might be deleted with it; remove that ownerReference"
        )));
    }
    Ok(())
}

fn quiet(subject: &Subject<'_>) -> Result<(), Note> {
    let seen = subject.seen;
    // Once a transaction has begun, references of claims change by our own doing; the guard keeps them safe.
    let claims: &[Claim] = if subject.journal.is_some() { &[] } else { &seen.claims };
    let dependents = seen.pods.iter().chain(&seen.revisions).chain(claims.iter().map(|claim| &claim.object));
    let changed = |dependent: &&Dependent| {
        let age = dependent.owners_changed.map(|at| subject.now.duration_since(at).unsigned_abs());
        age.is_some_and(|age| age < seen.rules.settle)
    };
    dependents.filter(|dependent| dependent.refers_to(&subject.live.uid)).find(changed).map_or(Ok(()), |dependent| {
        Err(deferred(format!(
            "{} got its owner less than {:?} ago, and the garbage collector may not know it yet (k8s#131284); it is waited \
             for",
            dependent.name, seen.rules.settle
        )))
    })
}
