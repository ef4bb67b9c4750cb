//! The steps after the DELETE of the old StatefulSet. From there on, a recreation only goes forward until it is
//! complete.

use std::time::Duration;

use jiff::Timestamp;

use super::super::journal::Journal;
use super::super::manifest;
use super::super::observed::LastObject;
use super::super::phase::{Ending, Phase, State};
use super::super::set::LiveSet;
use super::super::step::{Action, Read, Step, Wait};
use super::{Transaction, remaining, remove_finalizer, strip};
use crate::api::reasons::Note;
use crate::api::write::Precondition;

/// A CREATE that comes later than this after the release may not be the first: an earlier one may have been sent
/// without an answer.
const FIRST_CREATE_WINDOW: Duration = Duration::from_secs(2);
/// The delay before the watch history is requested again, if it could not be read.
const HISTORY_RETRY_DELAY: Duration = Duration::from_millis(200);
/// A request without an answer arrives within this time or never; the Lease of the leader assumes the same.
const REQUEST_LIFETIME: Duration = Duration::from_secs(15);

impl Transaction<'_> {
    pub(super) fn terminating(&self, live: &LiveSet, since: Timestamp) -> Step {
        if self.journal.phase == Phase::Prepared && !live.has_own_finalizer() {
            // Another client deleted it before it had the finalizer: that is respected.
            return self.close(Ending::Deleted);
        }
        if self.journal.phase == Phase::Prepared && live.may_be_deleted() {
            // Another client deleted it and confirmed the deletion. Later, the delete may be ours, and the annotation
            // only an edit.
            return remove_finalizer(live);
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
        let text = format!("the finalizers {keeps:?} block the deletion of the old StatefulSet; remove them");
        let note = Note::blocked("finalizer", text);
        self.wait(State::Releasing, live, Duration::from_secs(5), (!keeps.is_empty()).then_some(note))
    }

    fn releasing(&self, object: &serde_json::Value) -> Journal {
        // A newer image is not a new phase: a CREATE may have been sent since the first one.
        let is_again = self.journal.phase == Phase::Releasing;
        let since = if is_again { self.journal.phase_at } else { self.now };
        let mut journal = self.journal.at(Phase::Releasing, since);
        journal.image = manifest::image(object);
        journal.ending = None;
        if self.journal.phase == Phase::Prepared {
            journal.incidents.push(Note::blocked(
                "deleted-meanwhile",
                "the StatefulSet was deleted while rso was recreating it; rso kept its Pods and created the StatefulSet again. \
                 To delete the StatefulSet, run the delete again",
            ));
        }
        journal
    }

    pub(super) fn absent(&self) -> Step {
        match self.journal.phase {
            // It never had the finalizer (or the client that deleted it also removed the finalizer): it stays deleted.
            Phase::Prepared => self.close(Ending::Deleted),
            // The new StatefulSet existed; another client has deleted it since.
            Phase::Adopting | Phase::Guarded => self.close(Ending::Deleted),
            Phase::Deleting | Phase::Releasing => self.create(),
        }
    }

    fn create(&self) -> Step {
        let latest = match &self.seen.last {
            LastObject::NotAsked => {
                let resource_version = self.journal.image["metadata"]["resourceVersion"].as_str().unwrap_or_default();
                let of = Precondition { uid: self.journal.uid.clone(), resource_version: resource_version.to_owned() };
                return Step::Read(Read::LastObject { of, transaction: self.journal.id.clone() });
            }
            LastObject::Busy => {
                return Step::Wait(Wait {
                    state: State::Creating,
                    change_after: None,
                    at_most: HISTORY_RETRY_DELAY,
                    note: None,
                });
            }
            LastObject::SuccessorGone => return self.close(Ending::Deleted),
            LastObject::Unknown => &self.journal.image,
            LastObject::Seen(object) => object,
        };
        if self.journal.phase == Phase::Deleting {
            let mut journal = self.releasing(latest);
            journal.incidents.push(Note::blocked(
                "finalizer-removed",
                "another client removed the finalizer of rso while the StatefulSet was being recreated; rso created it again \
                 from the journal. Check whether its Pods were restarted",
            ));
            return self.write(journal);
        }
        if !manifest::same(&self.journal.image, latest) {
            return self.write(self.releasing(latest));
        }
        let mut object = manifest::to_create(&self.journal.image, &self.journal.targets, &self.journal.id);
        if remaining(FIRST_CREATE_WINDOW, self.journal.phase_at, self.now).is_zero() {
            // An earlier CREATE may still be on its way. Until it has arrived, the name must not become free: that
            // CREATE would restore what another client has deleted in the meantime (hazard 14).
            manifest::add_finalizer(&mut object);
        }
        Step::Write(Action::Create(Box::new(object)))
    }

    // The new object, created by this transaction.
    pub(super) fn successor(&self, live: &LiveSet) -> Step {
        if self.journal.successor.as_ref() != Some(&live.uid) || self.journal.phase < Phase::Adopting {
            let journal = Journal { successor: Some(live.uid.clone()), ..self.journal.at(Phase::Adopting, self.now) };
            return self.write(journal);
        }
        let held_for = remaining(REQUEST_LIFETIME, self.journal.phase_at, self.now);
        if live.has_own_finalizer() && held_for.is_zero() {
            return remove_finalizer(live);
        }
        let while_held = || self.wait(State::Landing, live, held_for.min(Duration::from_secs(1)), None);
        if live.deleting.is_some() {
            return if live.has_own_finalizer() { while_held() } else { self.close(Ending::Deleted) };
        }
        if let Some(dependent) = self.seen.dependents().find(|dependent| dependent.refers_to(&self.journal.uid)) {
            return strip(dependent, &self.journal.uid);
        }
        self.land(live, while_held)
    }

    /// Leaves a StatefulSet that another client created under the same name unchanged. Sizes that it lacks are a new
    /// transaction.
    pub(super) fn foreign(&self, _live: &LiveSet) -> Step {
        let referring = self.seen.dependents().find(|dependent| dependent.refers_to(&self.journal.uid));
        match referring.filter(|_| self.journal.phase != Phase::Prepared) {
            Some(dependent) => strip(dependent, &self.journal.uid),
            None => self.close(Ending::Superseded),
        }
    }
}
