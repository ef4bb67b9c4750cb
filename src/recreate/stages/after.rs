//! What follows once the old set is being deleted? From there on only forward, until the new one has landed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::super::journal::{Journal, Phase};
use super::super::observed::{Dependent, Guard, LastObject, LiveSet};
use super::super::{Action, Ending, Look, State, Step, manifest};
use super::{GLANCE, Transaction, blocked, remaining, strip, take_hold_off};
use crate::api::names::Uid;

/// A CREATE that comes later than this after the release may not be the first: one may have gone without an answer.
const ANSWERED: Duration = Duration::from_secs(2);
/// A request that got no answer arrives within this time or never; the lease of a leader assumes the same.
const ARRIVED: Duration = Duration::from_secs(15);

impl Transaction<'_> {
    pub(super) fn terminating(&self, live: &LiveSet, since: Timestamp) -> Step {
        if self.journal.phase == Phase::Prepared && !live.is_held() {
            // Somebody deleted it before we held it: that is to be respected.
            return self.close(Ending::Deleted);
        }
        if self.journal.phase == Phase::Prepared && live.may_be_deleted() {
            // Somebody deleted it and said that they mean it. Later the delete may be ours, and the word no more than an edit.
            return take_hold_off(live);
        }
        let left = remaining(self.seen.rules.assist_after, since, self.now);
        if live.has_finalizer("orphan") && !left.is_zero() {
            return self.wait(State::Orphaning, live, left.min(Duration::from_secs(1)), None);
        }
        if let Some(dependent) = self.seen.dependents().find(|dependent| dependent.refers_to(&live.uid)) {
            return strip(dependent, &live.uid);
        }
        self.release(live)
    }

    fn release(&self, live: &LiveSet) -> Step {
        if self.journal.phase != Phase::Releasing || !manifest::same(&self.journal.image, &live.object) {
            return self.write(self.releasing(&live.object));
        }
        let keeps: Vec<String> = live.finalizers.iter().filter(|name| !manifest::is_transient(name)).cloned().collect();
        if keeps.len() < live.finalizers.len() {
            return Step::Write(Action::Release { guard: live.guard(), finalizers: keeps });
        }
        let note = blocked(&format!("the finalizers {keeps:?} keep the old set from going away; remove them"));
        self.wait(State::Releasing, live, Duration::from_secs(5), (!keeps.is_empty()).then_some(note))
    }

    fn releasing(&self, object: &serde_json::Value) -> Journal {
        // A newer image is no new phase: since the first one a CREATE may have been sent.
        let is_again = self.journal.phase == Phase::Releasing;
        let since = if is_again { self.journal.phase_at } else { self.now };
        let mut journal = self.journal.at(Phase::Releasing, since);
        journal.image = manifest::image(object);
        journal.ending = None;
        if self.journal.phase == Phase::Prepared {
            journal.incidents.push(blocked(
                "somebody deleted the set while it was held for its recreate; its pods were kept and the set was created \
                 again. To delete it, delete it now",
            ));
        }
        journal
    }

    pub(super) fn absent(&self) -> Step {
        match self.journal.phase {
            // It was never held (or whoever deleted it took the hold off with it): it stays deleted.
            Phase::Prepared => self.close(Ending::Deleted),
            // The new set was there; somebody deleted it since.
            Phase::Adopting | Phase::Guarded => self.close(Ending::Deleted),
            Phase::Deleting | Phase::Releasing => self.create(),
        }
    }

    fn create(&self) -> Step {
        let latest = match &self.seen.last {
            LastObject::NotAsked => {
                let resource_version = self.journal.image["metadata"]["resourceVersion"].as_str().unwrap_or_default();
                let of = Guard { uid: self.journal.uid.clone(), resource_version: resource_version.to_owned() };
                return Step::Look(Look::LastObject { of, transaction: self.journal.id.clone() });
            }
            LastObject::SuccessorGone => return self.close(Ending::Deleted),
            LastObject::Unknown => &self.journal.image,
            LastObject::Seen(object) => object,
        };
        if self.journal.phase == Phase::Deleting {
            let mut journal = self.releasing(latest);
            journal.incidents.push(blocked(
                "somebody removed the hold while the set was being recreated; it was created again from the journal. Pods \
                 may have been restarted",
            ));
            return self.write(journal);
        }
        if !manifest::same(&self.journal.image, latest) {
            return self.write(self.releasing(latest));
        }
        let mut object = manifest::to_create(&self.journal.image, &self.journal.targets, &self.journal.id);
        if remaining(ANSWERED, self.journal.phase_at, self.now).is_zero() {
            // One that was sent before may still be on its way. Until it has arrived the name must not become free: it would
            // bring back what somebody has deleted meanwhile (hazard 14).
            manifest::hold(&mut object);
        }
        Step::Write(Action::Create(Box::new(object)))
    }

    // The new object, ours.
    pub(super) fn successor(&self, live: &LiveSet) -> Step {
        if self.journal.successor.as_ref() != Some(&live.uid) || self.journal.phase < Phase::Adopting {
            let journal = Journal { successor: Some(live.uid.clone()), ..self.journal.at(Phase::Adopting, self.now) };
            return self.write(journal);
        }
        let held_for = remaining(ARRIVED, self.journal.phase_at, self.now);
        if live.is_held() && held_for.is_zero() {
            return take_hold_off(live);
        }
        let is_held = || self.wait(State::Landing, live, held_for.min(Duration::from_secs(1)), None);
        if live.deleting.is_some() {
            return if live.is_held() { is_held() } else { self.close(Ending::Deleted) };
        }
        if let Some(dependent) = self.seen.dependents().find(|dependent| dependent.refers_to(&self.journal.uid)) {
            return strip(dependent, &self.journal.uid);
        }
        if let Some(step) = self.adoption(live).or_else(|| self.parachute(live)) {
            return step;
        }
        if let Some(spec) = manifest::restored_spec(&live.object, &self.journal.image, self.journal.when_deleted) {
            return Step::Write(Action::RestoreSpec { guard: live.guard(), spec });
        }
        if live.is_held() {
            return is_held();
        }
        if live.transaction().is_some() {
            let managed_fields = manifest::managed_fields(&live.object, &self.journal.image);
            return Step::Write(Action::RestoreOwnership { guard: live.guard(), managed_fields });
        }
        self.old_backup().unwrap_or_else(|| self.close(Ending::Landed))
    }

    /// Waits until the new set has every pod and revision of the snapshot that is still there.
    fn adoption(&self, live: &LiveSet) -> Option<Step> {
        let snapshot = &self.journal.snapshot;
        let waits_for = |dependent: &&Dependent, known: &BTreeMap<String, Uid>| {
            let same = known.get(&dependent.name) == Some(&dependent.uid);
            same && !dependent.deleting && !dependent.controlled_by(&live.uid)
        };
        let pod = self.seen.pods.iter().find(|pod| waits_for(pod, &snapshot.pods));
        let revision = self.seen.revisions.iter().find(|revision| waits_for(revision, &snapshot.revisions));
        let behind = live.status_number("observedGeneration") != live.generation;
        let what = match (pod, revision) {
            (Some(dependent), _) | (None, Some(dependent)) => format!("{} has no owner yet", dependent.name),
            (None, None) if behind => "it has not seen the new set".to_owned(),
            (None, None) => return None,
        };
        let note =
            blocked(&format!("the StatefulSet controller has not taken over: {what}. Look at the controller-manager"));
        Some(self.wait(State::Adopting, live, GLANCE, self.is_long().then_some(note)))
    }

    /// The template of the new set must be the one that the pods run, or one that somebody else has written since.
    fn parachute(&self, live: &LiveSet) -> Option<Step> {
        let (snapshot, image) = (&self.journal.snapshot, &self.journal.image);
        let (wanted, update) = (&snapshot.update_revision, live.status_text("updateRevision"));
        if wanted == update || manifest::template_is_edited(&live.object) {
            return None;
        }
        let as_sent = live.object["spec"]["template"] == image["spec"]["template"];
        if as_sent && snapshot.template != manifest::template_checksum(image) {
            // Somebody edited the template while the old set was held: the new revision is theirs.
            return None;
        }
        let note = if as_sent {
            blocked(&format!(
                "the new set has revision {update:?}, not {wanted:?}, although its template is unchanged. It is kept at \
                 OnDelete so that no pod restarts; look at the ControllerRevisions of the set"
            ))
        } else {
            blocked(
                "an admission webhook changed the pod template when the set was created again. It is kept at OnDelete so \
                 that no pod restarts; exempt this set from the webhook and apply its template again",
            )
        };
        let tell = !as_sent || self.is_long();
        Some(self.wait(State::Adopting, live, if tell { Duration::from_secs(5) } else { GLANCE }, tell.then_some(note)))
    }

    fn old_backup(&self) -> Option<Step> {
        let taken = &self.seen.backups.taken;
        let excess = taken.len().saturating_sub(self.seen.rules.backups_kept);
        let (_, head) = taken.iter().take(excess).next()?;
        Some(Step::Write(Action::DeleteBackup { name: head.name.clone(), guard: head.guard.clone() }))
    }

    /// Somebody else's set has the name: it is left alone. Sizes that it lacks are a new transaction.
    pub(super) fn foreign(&self, _live: &LiveSet) -> Step {
        let referring = self.seen.dependents().find(|dependent| dependent.refers_to(&self.journal.uid));
        match referring.filter(|_| self.journal.phase != Phase::Prepared) {
            Some(dependent) => strip(dependent, &self.journal.uid),
            None => self.close(Ending::Superseded),
        }
    }
}
