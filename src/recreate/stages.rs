//! Which step follows from which knowledge? One function for each row of the resume table of `docs/recreate.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::gates::{self, Subject};
use super::journal::{Journal, JournalError, Phase, Snapshot, VERSION};
use super::observed::{
    Claim, Dependent, Guard, JournalHead, LastObject, Live, LiveSet, Observed, Probes, Stored, WhenDeleted,
};
use super::{Action, Ending, Look, OwnersChange, ProbeRequest, State, Step, Wait, backup, manifest};
use crate::api::annotations;
use crate::api::bytes::Bytes;
use crate::api::names::{TemplateName, Uid};
use crate::api::reasons::{Note, Reason};

/// How long a gate that closed by itself may take to open again before all is taken back.
const PATIENCE: Duration = Duration::from_secs(10);
/// Dry runs are believed for this long.
const PROBES_LAST: Duration = Duration::from_secs(30);
/// How often a wait looks again when nothing is heard.
const GLANCE: Duration = Duration::from_millis(250);
/// An adoption that takes longer than this is told.
const LONG: Duration = Duration::from_secs(60);

pub(super) fn next(seen: &Observed, now: Timestamp) -> Step {
    match &seen.journal {
        Stored::None => without_journal(seen, now),
        Stored::Unreadable { name, guard, error } => unreadable(seen, name, guard, error),
        Stored::Some { journal, guard } => Transaction { seen, journal, guard, now }.next(),
    }
}

// ── No journal ─────────────────────────────────────────────────────────────────────────────────────────────────────────

fn without_journal(seen: &Observed, now: Timestamp) -> Step {
    match &seen.live {
        Live::Absent => clean_up(seen, now),
        Live::Present(live) => match (live.is_held(), live.deleting) {
            (true, _) if seen.namespace.terminating => take_hold_off(live),
            (true, None) => take_back(seen, live, now),
            (true, Some(_)) => rebuild_journal(seen, live, now),
            (false, Some(_)) => clean_up(seen, now),
            (false, None) => idle(seen, live, now),
        },
    }
}

/// A hold that nobody remembers: a journal says first that all is taken back, as in [`Transaction::undo`]. Its name is taken
/// if another leader has begun a recreate meanwhile; the hold is then theirs.
fn take_back(seen: &Observed, live: &LiveSet, now: Timestamp) -> Step {
    let journal = adopted(seen, live, "taken back: it was held without a journal", now);
    Step::Write(Action::CreateJournal(Box::new(Journal { ending: Some(Ending::Undone), ..journal })))
}

/// A held object on its way out, and nobody knows why: it is itself the backup. Its pods live; it is brought back.
fn rebuild_journal(seen: &Observed, live: &LiveSet, now: Timestamp) -> Step {
    let mut journal = adopted(seen, live, "brought back: it was held without a journal", now);
    journal.phase = Phase::Deleting;
    journal.incidents.push(blocked(
        "the set was found held and deleted, without a journal; it was brought back from what was left of it. Compare it \
         with its newest backup, and find out who deletes ConfigMaps in the operator's namespace",
    ));
    Step::Write(Action::CreateJournal(Box::new(journal)))
}

/// The journal of a recreate whose own is lost. What is wanted now is taken for what was wanted then.
fn adopted(seen: &Observed, live: &LiveSet, reason: &str, now: Timestamp) -> Journal {
    let intent = seen.intent.as_ref();
    Journal::begin(
        seen,
        live,
        intent.map(|intent| intent.targets.clone()).unwrap_or_default(),
        intent.map_or_else(|| reason.to_owned(), |intent| intent.reason.clone()),
        intent.and_then(|intent| intent.allow_owner.clone()),
        now,
    )
}

fn idle(seen: &Observed, live: &LiveSet, now: Timestamp) -> Step {
    if live.transaction().is_some() {
        return Step::Refuse(blocked(&format!(
            "a recreate of this set lost its journal before it had landed. Check spec.updateStrategy and \
             persistentVolumeClaimRetentionPolicy against its newest backup (`rso backup diff`), then remove the annotation \
             {}",
            annotations::TRANSACTION
        )));
    }
    let Some(intent) = seen.intent.as_ref().filter(|intent| !is_reached(live, &intent.targets)) else {
        return clean_up(seen, now);
    };
    if intent.uid.as_ref().is_some_and(|uid| *uid != live.uid) {
        return Step::Refuse(deferred("the set was replaced by another one of its name; it is looked at afresh"));
    }
    let subject = Subject {
        seen,
        live,
        targets: &intent.targets,
        allow_owner: intent.allow_owner.as_deref(),
        journal: None,
        now,
    };
    if let Err(note) = gates::ask(&subject) {
        return Step::Refuse(note);
    }
    let journal =
        Journal::begin(seen, live, intent.targets.clone(), intent.reason.clone(), intent.allow_owner.clone(), now);
    let Some(probes) = valid_probes(seen, live, &intent.targets, now) else {
        return probe(seen, live, &journal, now);
    };
    if probes.native == super::observed::Verdict::Accepted {
        let templates = manifest::templates(&live.object, &intent.targets);
        return Step::Write(Action::PatchTemplates { guard: live.guard(), templates });
    }
    match gates::judge(probes) {
        Err(note) => Step::Refuse(note),
        Ok(()) => Step::Write(Action::CreateJournal(Box::new(journal))),
    }
}

fn is_reached(live: &LiveSet, targets: &BTreeMap<TemplateName, Bytes>) -> bool {
    // A template that does not exist is not reached: the gates say so.
    targets.iter().all(|(template, target)| live.spec.size_of(template).is_some_and(|size| size >= *target))
}

fn valid_probes<'a>(
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
    })
}

fn probe(seen: &Observed, live: &LiveSet, journal: &Journal, now: Timestamp) -> Step {
    let backup = backup::encode(&seen.set, live, seen.backups.next, &journal.id, &journal.reason, now);
    match backup {
        Err(error) => Step::Refuse(blocked(&format!("{error}. Make the set smaller"))),
        Ok(backup) => Step::Look(Look::Probes(Box::new(ProbeRequest {
            guard: live.guard(),
            generation: live.generation,
            targets: journal.targets.clone(),
            create: manifest::to_create(&live.object, &journal.targets, &journal.id),
            finalizers: with_hold(live),
            backup,
            templates: manifest::templates(&live.object, &journal.targets),
        }))),
    }
}

/// Nothing is going on: guards that have served are dropped.
fn clean_up(seen: &Observed, now: Timestamp) -> Step {
    let waiting: Vec<&JournalHead> = seen.guarded().collect();
    let due = |head: &&&JournalHead| remaining(seen.rules.guard_for, head.phase_at, now);
    if let Some(again) = waiting.iter().map(|head| due(&head)).max().filter(|left| !left.is_zero()) {
        return Step::Done { again: Some(again) };
    }
    if let Some(step) = drop_a_guard(seen) {
        return step;
    }
    match waiting.first() {
        Some(head) => {
            Step::Write(Action::DeleteJournal { name: head.name.clone(), guard: head.guard.clone(), ending: None })
        }
        None => Step::Done { again: None },
    }
}

/// Drops a guard, and with it what a controller with an old cache has written meanwhile: a reference to a set of this name
/// that is gone. Left alone with such a reference the claim would be deleted.
fn drop_a_guard(seen: &Observed) -> Option<Step> {
    let guard = guard_of(seen);
    let claim = seen.claims.iter().find(|claim| claim.is_guarded_by(&seen.namespace.uid))?;
    let is_stale = |owner: &serde_json::Value| {
        let ours = owner["kind"] == "StatefulSet" && owner["name"] == seen.set.name.as_str();
        // With the set gone, whoever deleted it has decided about its claims.
        ours && seen.live().is_some_and(|live| owner["uid"] != live.uid.as_str())
    };
    let stays = |owner: &&serde_json::Value| owner["uid"] != guard["uid"] && !is_stale(owner);
    let owners = claim.object.owners.iter().filter(stays).cloned().collect();
    Some(set_owners(&claim.object, owners, OwnersChange::Unguard))
}

fn guard_of(seen: &Observed) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "name": seen.set.namespace,
        "uid": seen.namespace.uid.as_str(),
    })
}

// ── A journal that cannot be read ──────────────────────────────────────────────────────────────────────────────────────

fn unreadable(seen: &Observed, name: &str, guard: &Guard, error: &JournalError) -> Step {
    if matches!(error, JournalError::Newer(_)) {
        return Step::Refuse(blocked(&error.to_string()));
    }
    let delete = || Step::Write(Action::DeleteJournal { name: name.to_owned(), guard: guard.clone(), ending: None });
    match &seen.live {
        // The only copy may be in there: a person decides.
        Live::Absent if !seen.namespace.terminating => Step::Refuse(blocked(&format!(
            "{error}. The set {} is gone; bring it back with `rso restore`, then delete the ConfigMap {name} in the \
             operator's namespace",
            seen.set
        ))),
        Live::Absent => delete(),
        Live::Present(live) if live.is_held() && live.deleting.is_none() => take_hold_off(live),
        // What is held is itself the backup: without the damaged journal, a new one is made from it.
        Live::Present(_) => delete(),
    }
}

// ── A transaction ──────────────────────────────────────────────────────────────────────────────────────────────────────

#[derive(Clone, Copy)]
struct Transaction<'a> {
    seen: &'a Observed,
    journal: &'a Journal,
    guard: &'a Guard,
    now: Timestamp,
}

impl Transaction<'_> {
    fn next(&self) -> Step {
        if self.seen.namespace.terminating {
            return self.leave();
        }
        match &self.seen.live {
            Live::Absent => self.absent(),
            Live::Present(live) if live.uid == self.journal.uid => match live.deleting {
                None => self.before_the_delete(live),
                Some(since) => self.terminating(live, since),
            },
            Live::Present(live) if self.is_successor(live) => self.successor(live),
            Live::Present(live) => self.foreign(live),
        }
    }

    fn is_successor(&self, live: &LiveSet) -> bool {
        self.journal.successor.as_ref() == Some(&live.uid) || live.transaction() == Some(&self.journal.id)
    }

    /// The namespace goes away: nothing of ours may stand in its way.
    fn leave(&self) -> Step {
        match self.seen.live() {
            Some(live) if live.is_held() => take_hold_off(live),
            Some(_) | None => self.close(Ending::NamespaceGone),
        }
    }

    // Old object, not deleting: all can be taken back.
    fn before_the_delete(&self, live: &LiveSet) -> Step {
        if is_reached(live, &self.journal.targets) || self.journal.ending.is_some() {
            return self.undo(live);
        }
        let subject = Subject {
            seen: self.seen,
            live,
            targets: &self.journal.targets,
            allow_owner: self.journal.allow_owner.as_deref(),
            journal: Some(self.journal),
            now: self.now,
        };
        if let Err(note) = gates::ask(&subject) {
            return self.wait_or_undo(live, note);
        }
        let Some(probes) = valid_probes(self.seen, live, &self.journal.targets, self.now) else {
            return probe(self.seen, live, self.journal, self.now);
        };
        if let Err(note) = gates::judge(probes) {
            return self.wait_or_undo(live, note);
        }
        self.back_up(live).or_else(|| self.retain(live)).unwrap_or_else(|| self.hold_and_delete(live))
    }

    fn wait_or_undo(&self, live: &LiveSet, note: Note) -> Step {
        let left = remaining(PATIENCE, self.journal.phase_at, self.now);
        if note.reason == Reason::TemplateSyncBlocked || left.is_zero() {
            return self.undo(live);
        }
        self.wait(State::Prepared, live, left.min(GLANCE), None)
    }

    fn back_up(&self, live: &LiveSet) -> Option<Step> {
        let backups = &self.seen.backups;
        if backups.taken.values().any(|head| head.transaction.as_ref() == Some(&self.journal.id)) {
            return None;
        }
        let (set, id, reason) = (&self.seen.set, &self.journal.id, &self.journal.reason);
        Some(match backup::encode(set, live, backups.next, id, reason, self.now) {
            Ok(object) => Step::Write(Action::CreateBackup(Box::new(object))),
            // The gate of the size comes first, so this is a set that grew this very moment.
            Err(_) => self.undo(live),
        })
    }

    /// With `whenDeleted: Delete` the claims refer to the set: first each gets a second, solid owner, then the
    /// StatefulSet controller is told to take its references off.
    fn retain(&self, live: &LiveSet) -> Option<Step> {
        if live.spec.when_deleted == WhenDeleted::Delete && self.journal.when_deleted != WhenDeleted::Delete {
            let journal = Journal { when_deleted: WhenDeleted::Delete, ..self.journal.clone() };
            return Some(self.write(journal));
        }
        if self.journal.when_deleted == WhenDeleted::Retain {
            return None;
        }
        let unguarded = |claim: &&Claim| {
            let ours = live.spec.place_of(&claim.object.name.as_str().into(), &self.seen.set).is_some();
            (ours || claim.object.refers_to(&live.uid)) && !claim.is_guarded_by(&self.seen.namespace.uid)
        };
        if let Some(claim) = self.seen.claims.iter().find(unguarded) {
            let owners = claim.object.owners.iter().cloned().chain([guard_of(self.seen)]).collect();
            return Some(set_owners(&claim.object, owners, OwnersChange::Guard));
        }
        if live.spec.when_deleted == WhenDeleted::Delete {
            let (guard, when_deleted) = (live.guard(), WhenDeleted::Retain);
            return Some(Step::Write(Action::SetRetention { guard, when_deleted }));
        }
        self.take_claims_from(live)
    }

    /// The controller takes its references off the claims of its pods; those of scaled-down ordinals it leaves, and they
    /// are ours to strip.
    fn take_claims_from(&self, live: &LiveSet) -> Option<Step> {
        let referring = || self.seen.claims.iter().filter(|claim| claim.object.refers_to(&live.uid));
        let left = remaining(PATIENCE, self.journal.phase_at, self.now);
        let leftover = |claim: &&Claim| {
            let place = claim.object.name.as_str().into();
            let place = live.spec.place_of(&place, &self.seen.set);
            !place.is_some_and(|(_, ordinal)| live.spec.in_range(ordinal)) || left.is_zero()
        };
        if let Some(claim) = referring().find(leftover) {
            return Some(strip(&claim.object, &live.uid));
        }
        referring().next().map(|_| self.wait(State::Retained, live, Duration::from_millis(20), None))
    }

    fn hold_and_delete(&self, live: &LiveSet) -> Step {
        if !live.is_held() {
            return Step::Write(Action::SetFinalizers { guard: live.guard(), finalizers: with_hold(live) });
        }
        if self.journal.phase != Phase::Deleting || !manifest::same(&self.journal.image, &live.object) {
            let journal = Journal {
                image: manifest::image(&live.object),
                snapshot: Snapshot::take(self.seen, live),
                successor: None,
                ..self.journal.at(Phase::Deleting, self.now)
            };
            return self.write(journal);
        }
        Step::Write(Action::Delete { guard: live.guard() })
    }

    /// Everything back, the journal last: a crash in between is found by it.
    ///
    /// First the journal says so. From then on an absent set is not taken for one that is to be created; and a former leader
    /// that was about to go on hears a conflict, instead of permitting the DELETE of a set whose hold is being taken off.
    fn undo(&self, live: &LiveSet) -> Step {
        if self.journal.phase != Phase::Prepared || self.journal.ending.is_none() {
            let journal = self.journal.at(Phase::Prepared, self.journal.phase_at);
            return self.write(Journal { ending: Some(Ending::Undone), ..journal });
        }
        if live.is_held() {
            return take_hold_off(live);
        }
        if self.journal.when_deleted == WhenDeleted::Delete && live.spec.when_deleted == WhenDeleted::Retain {
            let (guard, when_deleted) = (live.guard(), WhenDeleted::Delete);
            return Step::Write(Action::SetRetention { guard, when_deleted });
        }
        drop_a_guard(self.seen).unwrap_or_else(|| self.delete_journal(Ending::Undone))
    }

    // Old object, deleting: forward only.
    fn terminating(&self, live: &LiveSet, since: Timestamp) -> Step {
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
        let mut journal = self.journal.at(Phase::Releasing, self.now);
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

    fn absent(&self) -> Step {
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
        let object = manifest::to_create(&self.journal.image, &self.journal.targets, &self.journal.id);
        Step::Write(Action::Create(Box::new(object)))
    }

    // The new object, ours.
    fn successor(&self, live: &LiveSet) -> Step {
        if self.journal.successor.as_ref() != Some(&live.uid) || self.journal.phase < Phase::Adopting {
            let journal = Journal { successor: Some(live.uid.clone()), ..self.journal.at(Phase::Adopting, self.now) };
            return self.write(journal);
        }
        if live.deleting.is_some() {
            return self.close(Ending::Deleted);
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

    fn is_long(&self) -> bool {
        remaining(LONG, self.journal.phase_at, self.now).is_zero()
    }

    fn old_backup(&self) -> Option<Step> {
        let taken = &self.seen.backups.taken;
        let excess = taken.len().saturating_sub(self.seen.rules.backups_kept);
        let (_, head) = taken.iter().take(excess).next()?;
        Some(Step::Write(Action::DeleteBackup { name: head.name.clone(), guard: head.guard.clone() }))
    }

    /// Somebody else's set has the name: it is left alone. Sizes that it lacks are a new transaction.
    fn foreign(&self, _live: &LiveSet) -> Step {
        let referring = self.seen.dependents().find(|dependent| dependent.refers_to(&self.journal.uid));
        match referring.filter(|_| self.journal.phase != Phase::Prepared) {
            Some(dependent) => strip(dependent, &self.journal.uid),
            None => self.close(Ending::Superseded),
        }
    }

    /// The end. Claims that have guards keep them for a while; the journal stays to remember it.
    fn close(&self, ending: Ending) -> Step {
        if let Some(head) = self.seen.guarded().next() {
            let (name, guard) = (head.name.clone(), head.guard.clone());
            return Step::Write(Action::DeleteJournal { name, guard, ending: None });
        }
        let guarded = self.seen.claims.iter().any(|claim| claim.is_guarded_by(&self.seen.namespace.uid));
        if !guarded || ending == Ending::NamespaceGone {
            return self.delete_journal(ending);
        }
        Step::Write(Action::UpdateJournal {
            journal: Box::new(Journal { ending: Some(ending), ..self.journal.at(Phase::Guarded, self.now) }),
            guard: self.guard.clone(),
        })
    }

    fn delete_journal(&self, ending: Ending) -> Step {
        let (name, guard) = (self.journal.name(), self.guard.clone());
        Step::Write(Action::DeleteJournal { name, guard, ending: Some(ending) })
    }

    fn write(&self, journal: Journal) -> Step {
        Step::Write(Action::UpdateJournal { journal: Box::new(journal), guard: self.guard.clone() })
    }

    fn wait(&self, state: State, live: &LiveSet, at_most: Duration, note: Option<Note>) -> Step {
        Step::Wait(Wait { state, change_after: Some(live.resource_version.clone()), at_most, note })
    }
}

impl Journal {
    /// The journal of a transaction that begins now.
    pub(super) fn begin(
        seen: &Observed,
        live: &LiveSet,
        targets: BTreeMap<TemplateName, Bytes>,
        reason: String,
        allow_owner: Option<String>,
        now: Timestamp,
    ) -> Self {
        Self {
            version: VERSION,
            id: backup::transaction_id(&live.uid, now),
            set: seen.set.clone(),
            uid: live.uid.clone(),
            successor: None,
            phase: Phase::Prepared,
            started_at: now,
            phase_at: now,
            targets,
            reason,
            allow_owner,
            when_deleted: live.spec.when_deleted,
            snapshot: Snapshot::take(seen, live),
            image: manifest::image(&live.object),
            incidents: Vec::new(),
            ending: None,
        }
    }
}

impl Snapshot {
    fn take(seen: &Observed, live: &LiveSet) -> Self {
        let owned = |dependents: &[Dependent]| {
            let ours = dependents.iter().filter(|dependent| dependent.controlled_by(&live.uid));
            ours.map(|dependent| (dependent.name.clone(), dependent.uid.clone())).collect()
        };
        Self {
            update_revision: live.status_text("updateRevision").to_owned(),
            template: manifest::template_checksum(&live.object),
            pods: owned(&seen.pods),
            revisions: owned(&seen.revisions),
        }
    }
}

fn with_hold(live: &LiveSet) -> Vec<String> {
    let others = live.finalizers.iter().filter(|name| *name != annotations::HOLD).cloned();
    others.chain([annotations::HOLD.to_owned()]).collect()
}

fn take_hold_off(live: &LiveSet) -> Step {
    let finalizers = live.finalizers.iter().filter(|name| *name != annotations::HOLD).cloned().collect();
    Step::Write(Action::SetFinalizers { guard: live.guard(), finalizers })
}

fn strip(dependent: &Dependent, uid: &Uid) -> Step {
    let owners = dependent.owners.iter().filter(|owner| owner["uid"] != uid.as_str()).cloned().collect();
    set_owners(dependent, owners, OwnersChange::Strip)
}

fn set_owners(dependent: &Dependent, owners: Vec<serde_json::Value>, why: OwnersChange) -> Step {
    let (kind, name, guard) = (dependent.kind, dependent.name.clone(), dependent.guard());
    Step::Write(Action::SetOwners { kind, name, guard, owners, why })
}

/// What is left of a span that began then.
fn remaining(span: Duration, since: Timestamp, now: Timestamp) -> Duration {
    // A clock that ran back makes the span longer, never endless.
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    span.saturating_sub(passed)
}

fn blocked(text: &str) -> Note {
    Note::new(Reason::TemplateSyncBlocked, text)
}

fn deferred(text: &str) -> Note {
    Note::new(Reason::TemplateSyncDeferred, text)
}
