//! The checks of the StatefulSet itself: its deletion, its annotations, its owner, its templates, its size, its status.

use super::super::archive::{self, MOST_PARTS_OF_A_SET};
use super::super::journal::JournalError;
use super::super::manifest;
use super::Subject;
use crate::api::annotations;
use crate::api::parts::parts;
use crate::api::reasons::Note;

/// The most that etcd takes in one request.
const LARGEST_OBJECT: usize = 1536 << 10;

/// Room for what the server adds to the object: `managedFields` of the new object, timestamps.
const MARGIN: usize = 64 << 10;

pub(super) fn alive(subject: &Subject<'_>) -> Result<(), Note> {
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

pub(super) fn not_paused(subject: &Subject<'_>) -> Result<(), Note> {
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

pub(super) fn kept(subject: &Subject<'_>) -> Result<(), Note> {
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

pub(super) fn finalizers(subject: &Subject<'_>) -> Result<(), Note> {
    let foreign = subject.live.finalizers.iter().find(|finalizer| *finalizer != annotations::HOLD);
    foreign.map_or(Ok(()), |finalizer| {
        let text = format!(
            "the StatefulSet has the finalizer {finalizer:?}, whose controller would clean up when the StatefulSet is deleted. \
             Remove the finalizer, or expand the PVCs of new replicas by hand"
        );
        Err(Note::blocked("finalizer", text).about(finalizer))
    })
}

pub(super) fn owner(subject: &Subject<'_>) -> Result<(), Note> {
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

pub(super) fn templates(subject: &Subject<'_>) -> Result<(), Note> {
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

pub(super) fn size(subject: &Subject<'_>) -> Result<(), Note> {
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

pub(super) fn observed(subject: &Subject<'_>) -> Result<(), Note> {
    let (seen, latest) = (subject.live.status_number("observedGeneration"), subject.live.generation);
    // A later one is in a status of the object that was replaced (hazard 18). The StatefulSet controller writes over it when
    // anything else in it is not so, and that the Pods are adopted is a check of its own.
    if seen >= latest {
        return Ok(());
    }
    let text = format!("waiting for the StatefulSet controller, which has observed generation {seen} of {latest}");
    Err(Note::deferred("not-observed", text))
}

pub(super) fn available(subject: &Subject<'_>) -> Result<(), Note> {
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
