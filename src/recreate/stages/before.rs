//! The steps while the old StatefulSet exists and is not being deleted. Up to here, everything can be rolled back.

use std::time::Duration;

use jiff::Timestamp;

use super::super::dependent::Claim;
use super::super::journal::{Journal, Snapshot};
use super::super::phase::{Ending, Phase, State};
use super::super::preflight::{self, Subject, answers};
use super::super::set::{LiveSet, WhenDeleted};
use super::super::step::{Action, OwnersChange, Step};
use super::super::{backup, managed_fields, manifest, outcome};
use super::begin::owned;
use super::probing::{alone, probe, valid_probes};
use super::protection::{protective_owner, remove_protection};
use super::{POLL_INTERVAL, Transaction, is_reached, remaining, remove_finalizer, set_owners, strip, with_finalizer};
use crate::api::reasons::{Note, Reason};

/// How long a failed check may take to resolve by itself before everything is rolled back.
const PREFLIGHT_TIMEOUT: Duration = Duration::from_secs(10);

impl Transaction<'_> {
    pub(super) fn before_the_delete(&self, live: &LiveSet) -> Step {
        if is_reached(live, &self.journal.targets) || self.journal.ending.is_some() {
            return self.roll_back(live);
        }
        let subject = Subject {
            seen: self.seen,
            live,
            targets: &self.journal.targets,
            allow_owner: self.journal.allow_owner.as_deref(),
            journal: Some(self.journal),
            now: self.now,
        };
        if let Err(note) = preflight::evaluate(&subject) {
            return self.wait_or_roll_back(live, note);
        }
        let Some(probes) = valid_probes(self.seen, live, &self.journal.targets, self.now) else {
            return probe(self.seen, live, self.journal, self.now);
        };
        if let Err(note) = answers::evaluate(probes) {
            return self.wait_or_roll_back(live, note);
        }
        self.back_up(live).or_else(|| self.retain(live)).unwrap_or_else(|| self.add_finalizer_and_delete(live))
    }

    fn wait_or_roll_back(&self, live: &LiveSet, note: Note) -> Step {
        let left = remaining(PREFLIGHT_TIMEOUT, self.last_write(live), self.now);
        if note.reason == Reason::TemplateSyncBlocked || left.is_zero() {
            return self.roll_back(live);
        }
        self.wait(State::Prepared, live, left.min(POLL_INTERVAL), None)
    }

    /// When this recreation last wrote anything: with many PVCs, that takes longer than any check may keep failing.
    fn last_write(&self, live: &LiveSet) -> Timestamp {
        let protected = self.seen.claims.iter().filter(|claim| claim.is_protected_by(&self.seen.namespace.uid));
        let of_claims = protected.filter_map(|claim| claim.object.owners_changed);
        of_claims.chain(managed_fields::written_at(&live.object)).fold(self.journal.phase_at, Timestamp::max)
    }

    fn back_up(&self, live: &LiveSet) -> Option<Step> {
        let backups = &self.seen.backups;
        if backups.taken.values().any(|head| head.transaction.as_ref() == Some(&self.journal.id)) {
            return None;
        }
        let (set, id, reason) = (&self.seen.set, &self.journal.id, &self.journal.reason);
        Some(match backup::encode(set, live, backups.next, id, reason, self.now) {
            Ok(object) => Step::Write(Action::CreateBackup(Box::new(object))),
            // The check of the size is evaluated first, so this StatefulSet became larger just now.
            Err(_) => self.roll_back(live),
        })
    }

    /// With `whenDeleted: Delete`, the PVCs refer to the StatefulSet. First, each gets a protective owner reference;
    /// then `Retain` makes the StatefulSet controller remove its own references.
    fn retain(&self, live: &LiveSet) -> Option<Step> {
        if live.spec.when_deleted == WhenDeleted::Delete && self.journal.when_deleted != WhenDeleted::Delete {
            let owned = owned(self.seen, live);
            let journal = Journal { when_deleted: WhenDeleted::Delete, owned, ..self.journal.clone() };
            return Some(self.write(journal));
        }
        if self.journal.when_deleted == WhenDeleted::Retain {
            return None;
        }
        let unguarded = |claim: &&Claim| {
            let ours = live.spec.place_of(&claim.object.name.as_str().into(), &self.seen.set).is_some();
            (ours || claim.object.refers_to(&live.uid)) && !claim.is_protected_by(&self.seen.namespace.uid)
        };
        if let Some(claim) = self.seen.claims.iter().find(unguarded) {
            let owners = claim.object.owners.iter().cloned().chain([protective_owner(self.seen)]).collect();
            return Some(set_owners(&claim.object, owners, OwnersChange::Protect));
        }
        if live.spec.when_deleted == WhenDeleted::Delete {
            let (guard, when_deleted) = (live.guard(), WhenDeleted::Retain);
            return Some(Step::Write(Action::SetRetention { guard, when_deleted }));
        }
        self.take_claims_from(live)
    }

    /// Removes the references that the StatefulSet controller leaves: it removes those from the PVCs of its Pods, but
    /// not those from the retained PVCs of scaled-down replicas.
    fn take_claims_from(&self, live: &LiveSet) -> Option<Step> {
        let referring = || self.seen.claims.iter().filter(|claim| claim.object.refers_to(&live.uid));
        let left = remaining(PREFLIGHT_TIMEOUT, self.journal.phase_at, self.now);
        let leftover = |claim: &&Claim| {
            !live.spec.has_pod_for(&claim.object.name.as_str().into(), &self.seen.set) || left.is_zero()
        };
        if let Some(claim) = referring().find(leftover) {
            return Some(strip(&claim.object, &live.uid));
        }
        referring().next().map(|_| self.wait(State::Retained, live, Duration::from_millis(20), None))
    }

    fn add_finalizer_and_delete(&self, live: &LiveSet) -> Step {
        if !live.has_own_finalizer() {
            return Step::Write(Action::SetFinalizers { guard: live.guard(), finalizers: with_finalizer(live) });
        }
        if self.journal.phase != Phase::Deleting || !manifest::same(&self.journal.image, &live.object) {
            let journal = Journal {
                image: manifest::image(&live.object),
                snapshot: Snapshot::take(self.seen, live),
                // A Pod that was replaced since the transaction began is recorded, even though its UID is no longer in
                // the snapshot.
                lost: outcome::lost(self.seen, live, self.journal),
                ..self.journal.at(Phase::Deleting, self.now)
            };
            return self.write(journal);
        }
        match alone(self.seen, live) {
            Err(read) => Step::Read(read),
            Ok(Err(note)) => self.wait_or_roll_back(live, note),
            Ok(Ok(())) => Step::Write(Action::Delete { guard: live.guard() }),
        }
    }

    /// Rolls everything back and deletes the journal last, by which the rollback is found after a crash in between.
    ///
    /// First, the journal records the rollback. From then on, an absent StatefulSet is not mistaken for one that is to
    /// be created, and a former leader that was about to continue gets a conflict, instead of permitting the DELETE of
    /// a StatefulSet whose finalizer is being removed.
    fn roll_back(&self, live: &LiveSet) -> Step {
        if self.journal.phase != Phase::Prepared || self.journal.ending.is_none() {
            let journal = self.journal.at(Phase::Prepared, self.journal.phase_at);
            return self.write(Journal { ending: Some(Ending::Undone), ..journal });
        }
        if live.has_own_finalizer() {
            return remove_finalizer(live);
        }
        if self.journal.when_deleted == WhenDeleted::Delete && live.spec.when_deleted == WhenDeleted::Retain {
            let (guard, when_deleted) = (live.guard(), WhenDeleted::Delete);
            return Step::Write(Action::SetRetention { guard, when_deleted });
        }
        let step = self.restore_owner(live).or_else(|| remove_protection(self.seen)).or_else(|| self.old_backup());
        step.unwrap_or_else(|| self.delete_journal(Ending::Undone))
    }
}
