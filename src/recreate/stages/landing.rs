//! The end of a recreation: the new StatefulSet has its Pods, and what was changed for the CREATE is restored.

use std::cmp::Ordering;
use std::time::Duration;

use super::super::dependent::Dependent;
use super::super::phase::{Ending, State};
use super::super::set::LiveSet;
use super::super::step::{Action, Step};
use super::super::{managed_fields, manifest};
use super::{POLL_INTERVAL, Transaction, is_reached};
use crate::api::reasons::Note;

impl Transaction<'_> {
    /// Completes the recreation: the new object exists, it is ours, and nothing refers to the old one. `while_held` is the
    /// wait until the finalizer can be removed.
    pub(super) fn land(&self, live: &LiveSet, while_held: impl FnOnce() -> Step) -> Step {
        if let Some(step) = self.adoption(live).or_else(|| self.template_check(live)) {
            return step;
        }
        if let Some(spec) = manifest::restored_spec(&live.object, &self.journal.image, self.journal.when_deleted) {
            return Step::Write(Action::RestoreSpec { guard: live.guard(), spec });
        }
        if let Some(step) = self.restore_owner(live) {
            return step;
        }
        if live.has_own_finalizer() {
            return while_held();
        }
        if live.transaction().is_some() {
            let managed_fields = managed_fields::restored(&live.object, &self.journal.image);
            return Step::Write(Action::RestoreOwnership { guard: live.guard(), managed_fields });
        }
        let ending = if is_reached(live, &self.journal.targets) { Ending::Landed } else { Ending::PutBack };
        self.old_backup().unwrap_or_else(|| self.close(ending))
    }

    /// Waits until the new StatefulSet has every Pod of the snapshot that still exists, and its ControllerRevisions.
    ///
    /// An object that another controller took is reported at once. No wait is endless: once the StatefulSet controller
    /// has observed the new object, it has adopted what it can. What it has not adopted by then is reported, and
    /// everything else is restored. The only exception is a controller that does not run at all: without it, no
    /// revision is known.
    fn adoption(&self, live: &LiveSet) -> Option<Step> {
        let is_behind = match live.status_number("observedGeneration").cmp(&live.generation) {
            Ordering::Less => true,
            Ordering::Equal => false,
            // Hazard 18: the status is that of the old object. What the new one owns shows that it is observed.
            Ordering::Greater => !self.is_long() && !self.seen.dependents().any(|one| one.controlled_by(&live.uid)),
        };
        let missing = self.missing(live);
        if let Some((_, note)) = missing.as_ref().filter(|_| self.is_long() && !is_behind) {
            return (!self.journal.adopted).then(|| self.go_on_without(note));
        }
        let (is_taken, note) = match missing {
            Some(missing) => missing,
            None if is_behind => (false, waiting_for("it", "has not observed the new StatefulSet")),
            None => return None,
        };
        Some(self.wait(State::Adopting, live, POLL_INTERVAL, (is_taken || self.is_long()).then_some(note)))
    }

    /// What the new StatefulSet does not have yet, and whether another controller took it.
    fn missing(&self, live: &LiveSet) -> Option<(bool, Note)> {
        let snapshot = &self.journal.snapshot;
        // A terminating Pod is replaced by its StatefulSet, regardless of its owner; its node may be lost forever.
        let waits_for = |pod: &&Dependent| {
            snapshot.pods.get(&pod.name) == Some(&pod.uid) && !pod.deleting && !pod.controlled_by(&live.uid)
        };
        if let Some(pod) = self.seen.pods.iter().find(waits_for) {
            return Some(match pod.controller_other_than(&live.uid) {
                Some(rival) => (true, taken(&format!("Pod {}", pod.name), &rival)),
                None => (false, waiting_for(&format!("Pod {}", pod.name), "has no owner yet")),
            });
        }
        // An equal revision of another owner also suffices: the StatefulSet controller finds it by its name.
        let is_in_force = live.status_text("updateRevision") == snapshot.update_revision;
        let revision = self.seen.revisions.iter().find(|revision| {
            let is_ours = snapshot.revisions.get(&revision.name) == Some(&revision.uid);
            let is_taken = is_in_force && revision.controller_other_than(&live.uid).is_some();
            is_ours && !revision.deleting && !revision.controlled_by(&live.uid) && !is_taken
        })?;
        let name = format!("ControllerRevision {}", revision.name);
        Some(match revision.controller_other_than(&live.uid) {
            Some(rival) => (true, taken(&name, &rival)),
            None => (false, waiting_for(&name, "has no owner yet")),
        })
    }

    /// Records what to report to a person in the end, and stops waiting for it.
    fn go_on_without(&self, note: &Note) -> Step {
        let mut journal = self.journal.clone();
        journal.adopted = true;
        journal.incidents.push(note.clone());
        self.write(journal)
    }

    /// Checks that the template of the new StatefulSet is the one that the Pods run, or one that another client has
    /// written since.
    fn template_check(&self, live: &LiveSet) -> Option<Step> {
        let (snapshot, image) = (&self.journal.snapshot, &self.journal.image);
        let (wanted, update) = (&snapshot.update_revision, live.status_text("updateRevision"));
        if wanted == update || managed_fields::template_is_edited(&live.object) {
            return None;
        }
        if live.object["spec"]["template"] != image["spec"]["template"] {
            // Admission changed it on CREATE. It is restored, as long as that changes nothing else.
            let template = manifest::merge_patch(&live.object["spec"]["template"], &image["spec"]["template"]);
            let spec = serde_json::json!({ "template": template });
            return Some(Step::Write(Action::RestoreSpec { guard: live.guard(), spec }));
        }
        if snapshot.template != manifest::template_checksum(image) {
            // Another client edited the template while the old StatefulSet had the finalizer: the new revision is
            // theirs.
            return None;
        }
        let text = format!(
            "the new StatefulSet has revision {update:?}, not {wanted:?}, although its template is unchanged. rso keeps its \
             updateStrategy at OnDelete so that no Pod restarts; check its ControllerRevisions: kubectl get \
             controllerrevisions"
        );
        let note = Note::blocked("other-revision", text);
        let is_long = self.is_long();
        Some(self.wait(
            State::Adopting,
            live,
            if is_long { Duration::from_secs(5) } else { POLL_INTERVAL },
            is_long.then_some(note),
        ))
    }

    /// The oldest of the excess backups. A backup that another controller's finalizer keeps is left to that controller.
    pub(super) fn old_backup(&self) -> Option<Step> {
        let taken: Vec<_> = self.seen.backups.taken.values().filter(|head| !head.deleting).collect();
        let excess = taken.len().saturating_sub(self.seen.rules.backups_kept);
        let head = taken.into_iter().take(excess).next()?;
        Some(Step::Write(Action::DeleteBackup { name: head.name.clone(), guard: head.guard.clone() }))
    }
}

fn waiting_for(object: &str, what: &str) -> Note {
    let text = format!(
        "the StatefulSet controller has not adopted everything: {object} {what}. Check that the kube-controller-manager runs, and \
         that the labels of the Pod match the selector"
    );
    Note::blocked("not-adopted", text).about(object)
}

fn taken(what: &str, rival: &str) -> Note {
    let text = format!(
        "{what} is now owned by {rival}, whose selector also matches it. Change the selector of {rival}, or delete it with \
         --cascade=orphan; then remove its ownerReference from {what}, and the StatefulSet adopts it"
    );
    Note::blocked("adopted-by-another", text).about(what)
}
