//! The steps that follow from the observations: one function for each row of the resume table of `docs/recreate.md`.
//! This file has what they share; [`idle`] is without a journal, [`before`] and [`after`] are before and after the
//! DELETE.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::dependent::{Claim, Dependent};
use super::journal::{Journal, JournalError, Snapshot, VERSION};
use super::observed::{Departure, Guard, Live, Observed, Stored};
use super::phase::{Ending, Phase, State};
use super::probes::{ProbeRequest, Probes, Protection};
use super::rivals::RivalsRequest;
use super::set::{LiveSet, WhenDeleted};
use super::step::{Action, Look, OwnersChange, Step, Wait};
use super::{backup, gates, manifest};
use crate::api::annotations;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, TemplateName, Uid};
use crate::api::reasons::Note;

mod after;
mod before;
mod idle;
mod landing;

/// How long the results of dry runs are valid.
const PROBES_LAST: Duration = Duration::from_secs(30);
/// How often a wait polls if no event arrives.
const GLANCE: Duration = Duration::from_millis(250);
/// An adoption that takes longer than this is reported.
const LONG: Duration = Duration::from_secs(60);

pub(super) fn next(seen: &Observed, now: Timestamp) -> Step {
    match &seen.journal {
        Stored::None => idle::without_journal(seen, now),
        Stored::Unreadable { name, guard, error } => unreadable(seen, name, guard, error),
        Stored::Some { journal, guard } => Transaction { seen, journal, guard, now }.next(),
    }
}

/// The next step if the journal cannot be read.
fn unreadable(seen: &Observed, name: &str, guard: &Guard, error: &JournalError) -> Step {
    if matches!(error, JournalError::Newer(_)) {
        return Step::Refuse(Note::blocked("newer-journal", error.to_string()));
    }
    let delete = || Step::Write(Action::DeleteJournal { name: name.to_owned(), guard: guard.clone(), ending: None });
    match &seen.live {
        // The journal may hold the only copy: a person decides.
        Live::Absent if !seen.namespace.terminating => {
            let text = format!(
                "{error}. StatefulSet {} does not exist; restore it with `rso restore`, then delete the ConfigMap {name} in \
                 the operator's namespace",
                seen.set
            );
            Step::Refuse(Note::blocked("damaged-journal", text))
        }
        Live::Absent => delete(),
        Live::Present(live) if live.is_held() && live.deleting.is_none() => take_hold_off(live),
        // The StatefulSet with the finalizer is itself the backup: without the damaged journal, a new one is created
        // from it.
        Live::Present(_) => delete(),
    }
}

/// A journal and all observations beside it.
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

    /// The namespace is being deleted: removes everything of the recreation that would block that.
    fn leave(&self) -> Step {
        match self.seen.live() {
            Some(live) if live.is_held() => take_hold_off(live),
            Some(_) | None => self.close(Ending::NamespaceGone),
        }
    }

    /// Whether the phase lasts so long that it must be reported.
    fn is_long(&self) -> bool {
        remaining(LONG, self.journal.phase_at, self.now).is_zero()
    }

    /// Restores the owner references of retained PVCs of scaled-down replicas once `whenDeleted: Delete` is in force
    /// again: these PVCs belong to the StatefulSet as before. No other component restores them, because the StatefulSet
    /// controller only manages the PVCs of Pods.
    fn give_back(&self, live: &LiveSet) -> Option<Step> {
        let is_leftover = |claim: &&Claim| {
            let name = ClaimName::new(claim.object.name.as_str());
            self.journal.owned.contains(&name)
                && !live.spec.has_pod_for(&name, &self.seen.set)
                && !claim.object.refers_to(&live.uid)
                && claim.is_guarded_by(&self.seen.namespace.uid)
        };
        if live.spec.when_deleted != WhenDeleted::Delete {
            return None;
        }
        let claim = self.seen.claims.iter().find(is_leftover)?;
        let owners = claim.object.owners.iter().cloned().chain([owner_of(self.seen, &live.uid)]).collect();
        Some(set_owners(&claim.object, owners, OwnersChange::GiveBack))
    }

    /// Ends the transaction. PVCs with protective owner references keep them for a while, and the journal stays as a
    /// record of that.
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
            adopted: false,
            lost: BTreeSet::new(),
            owned: owned(seen, live),
        }
    }
}

/// The PVCs that refer to the StatefulSet.
fn owned(seen: &Observed, live: &LiveSet) -> BTreeSet<ClaimName> {
    let owned = seen.claims.iter().filter(|claim| claim.object.refers_to(&live.uid));
    owned.map(|claim| ClaimName::new(claim.object.name.as_str())).collect()
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

fn is_reached(live: &LiveSet, targets: &BTreeMap<TemplateName, Bytes>) -> bool {
    // A template that does not exist is not reached: the gates report it.
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
    let create = manifest::to_create(&live.object, &journal.targets, &journal.id);
    match backup {
        Err(error) => Step::Refuse(Note::blocked("backup", format!("{error}. Make the StatefulSet smaller"))),
        Ok(backup) => Step::Look(Look::Probes(Box::new(ProbeRequest {
            guard: live.guard(),
            generation: live.generation,
            targets: journal.targets.clone(),
            copy: manifest::renamed(&create, &journal.id),
            create,
            object: live.object.clone(),
            finalizers: with_hold(live),
            backup,
            templates: manifest::templates(&live.object, &journal.targets),
            spec: manifest::parachute(&live.object),
            protect: protection(seen, live),
        }))),
    }
}

/// The PVC for the dry run. One stands for all PVCs that get protective owner references: policies distinguish kinds,
/// not ordinals.
fn protection(seen: &Observed, live: &LiveSet) -> Option<Protection> {
    let is_bare = |claim: &&Claim| {
        live.spec.has_pod_for(&claim.object.name.as_str().into(), &seen.set)
            && !claim.is_guarded_by(&seen.namespace.uid)
    };
    let claim = seen.claims.iter().find(is_bare).filter(|_| live.spec.when_deleted == WhenDeleted::Delete)?;
    let owners = claim.object.owners.iter().cloned().chain([guard_of(seen)]).collect();
    Some(Protection { claim: claim.object.name.clone(), guard: claim.object.guard(), owners })
}

/// Whether no other workload would adopt the Pods of the StatefulSet; checked again for each state of it.
///
/// # Errors
/// The workloads to list first, or else a refusal that names those that would adopt them.
fn alone(seen: &Observed, live: &LiveSet) -> Result<Result<(), Note>, Look> {
    match seen.rivals.as_ref().filter(|rivals| rivals.of == live.guard()) {
        Some(rivals) => Ok(gates::alone(rivals)),
        None => Err(Look::Rivals(RivalsRequest { of: live.guard(), labels: labels_of(seen, live) })),
    }
}

/// The labels by which a controller could adopt something of the StatefulSet.
fn labels_of(seen: &Observed, live: &LiveSet) -> BTreeSet<BTreeMap<String, String>> {
    let template = live.object["spec"]["template"]["metadata"]["labels"].as_object();
    let text = |(key, value): (&String, &serde_json::Value)| Some((key.clone(), value.as_str()?.to_owned()));
    let of_template = template.map(|labels| labels.iter().filter_map(text).collect());
    let dependents = seen.pods.iter().chain(&seen.revisions).filter(|dependent| dependent.controlled_by(&live.uid));
    of_template.into_iter().chain(dependents.map(|dependent| dependent.labels.clone())).collect()
}

/// Removes the protective owner reference of a PVC that is deleted with its Pod, because the StatefulSet is scaled down
/// with `whenScaled: Delete`: the StatefulSet controller has made the Pod the owner of the PVC.
fn drop_a_guard_of_the_scaled_down(seen: &Observed) -> Option<Step> {
    let live = seen.live().filter(|live| {
        live.deleting.is_none() && live.object["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Delete"
    })?;
    let goes = |claim: &&Claim| {
        let has_pod = live.spec.has_pod_for(&claim.object.name.as_str().into(), &seen.set);
        let is_owned_by_it = claim.object.owners.iter().any(|owner| owner["kind"] == "Pod");
        !has_pod && is_owned_by_it && claim.is_guarded_by(&seen.namespace.uid)
    };
    seen.claims.iter().find(goes).map(|claim| unguard(seen, claim))
}

/// Removes a protective owner reference, and with it what a controller with a stale cache has written in the meantime:
/// a reference to a StatefulSet of this name that no longer exists. With only such a reference, the garbage collector
/// would delete the PVC.
///
/// That deletion is intended if the StatefulSet was deleted with its PVCs. While the PVC had the protective owner
/// reference, the garbage collector removed the reference to the StatefulSet instead; this function restores it, and
/// the garbage collector then deletes the PVC.
fn drop_a_guard(seen: &Observed) -> Option<Step> {
    seen.claims.iter().find(|claim| claim.is_guarded_by(&seen.namespace.uid)).map(|claim| unguard(seen, claim))
}

fn unguard(seen: &Observed, claim: &Claim) -> Step {
    let guard = guard_of(seen);
    let is_stale = |owner: &serde_json::Value| {
        let ours = owner["kind"] == "StatefulSet" && owner["name"] == seen.set.name.as_str();
        // If the StatefulSet no longer exists, the client that deleted it has decided about its PVCs.
        ours && match &seen.live {
            Live::Present(live) => owner["uid"] != live.uid.as_str(),
            Live::Absent => seen.departure == Departure::Orphaned,
        }
    };
    let stays = |owner: &&serde_json::Value| owner["uid"] != guard["uid"] && !is_stale(owner);
    let departed = departed_with(seen, claim).filter(|uid| !claim.object.refers_to(uid));
    let owners = claim.object.owners.iter().filter(stays).cloned().chain(departed.map(|uid| owner_of(seen, uid)));
    set_owners(&claim.object, owners.collect(), OwnersChange::Unguard)
}

/// The StatefulSet that was deleted together with this PVC and does not exist again.
fn departed_with<'a>(seen: &'a Observed, claim: &Claim) -> Option<&'a Uid> {
    match (&seen.live, &seen.departure) {
        (Live::Absent, Departure::WithClaims { uid, claims })
            if claims.contains(&ClaimName::new(claim.object.name.as_str())) =>
        {
            Some(uid)
        }
        (Live::Absent | Live::Present(_), _) => None,
    }
}

/// The reference that the StatefulSet controller gives to a PVC with `whenDeleted: Delete`.
fn owner_of(seen: &Observed, uid: &Uid) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": seen.set.name,
        "uid": uid.as_str(),
    })
}

fn guard_of(seen: &Observed) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "name": seen.set.namespace,
        "uid": seen.namespace.uid.as_str(),
    })
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

/// The remaining part of a span that began at `since`.
fn remaining(span: Duration, since: Timestamp, now: Timestamp) -> Duration {
    // A clock that was set back makes the span longer, but never endless.
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    span.saturating_sub(passed)
}
