//! What must hold of the next step of a recreate, whatever was observed? Every write is one that the journal permits, of the
//! very object that was seen, and takes nothing away that is not ours.

use arbitrary::{Result, Unstructured};
use jiff::Timestamp;
use rso::api::annotations::{HOLD, TRANSACTION};
use rso::api::bytes::Bytes;
use rso::api::names::{ClaimName, TemplateName};
use rso::api::write::Precondition;
use rso::recreate::dependent::{Dependent, Kind};
use rso::recreate::journal::Journal;
use rso::recreate::manifest::{is_transient, same};
use rso::recreate::next;
use rso::recreate::observed::{Departure, LastObject, Live, Observed, Stored};
use rso::recreate::phase::{Ending, Phase};
use rso::recreate::probes::{Orphan, PodAnswer, Probes, Verdict};
use rso::recreate::rivals::{Found, Rivals};
use rso::recreate::set::{LiveSet, Spec};
use rso::recreate::step::{Action, OwnersChange, Read, Step};
use serde_json::Value;

use super::cluster;

/// Any round's knowledge.
pub fn a_round(data: &[u8]) {
    let _ = check(&mut Unstructured::new(data));
}

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let Some((seen, now)) = cluster::observed(u)? else { return Ok(()) };
    let step = next(&seen, now);
    assert_eq!(next(&seen, now), step, "the same knowledge, another step");
    match &step {
        Step::Write(action) => is_permitted(&seen, action),
        Step::Wait(wait) => assert!(!wait.at_most.is_zero(), "it waits for nothing"),
        Step::Done { again } => assert!(again.is_none_or(|again| !again.is_zero()), "it is not done"),
        Step::Read(read) => is_answered(&seen, read, now),
        Step::Refuse(note) => assert!(!note.text.is_empty()),
    }
    Ok(())
}

/// A read that is answered is not requested again.
fn is_answered(seen: &Observed, read: &Read, now: Timestamp) {
    let mut wiser = seen.clone();
    match read {
        Read::Probes(request) => {
            let live = present(seen);
            assert_eq!(request.guard, live.guard());
            sizes_only_grow(&live.object, &request.create);
            let refused = || Verdict::Refused("no".to_owned());
            let accepted = |orphan: &Orphan| {
                assert!(orphan.pod.refers_to(&live.uid), "a Pod that nobody orphans");
                let answer = PodAnswer { uid: orphan.pod.uid.clone(), verdict: Verdict::Accepted };
                (orphan.pod.name.clone(), answer)
            };
            wiser.probes = Some(Probes {
                uid: request.guard.uid.clone(),
                generation: request.generation,
                targets: request.targets.clone(),
                at: now,
                create: Verdict::AlreadyExists,
                copy: Verdict::Accepted,
                delete: Verdict::Accepted,
                hold: Verdict::Accepted,
                backup: Verdict::Accepted,
                native: refused(),
                spec: Verdict::Accepted,
                protect: Verdict::Accepted,
                pods: request.pods.iter().map(accepted).collect(),
            });
        }
        Read::Rivals(request) => {
            assert_eq!(request.of, present(seen).guard());
            wiser.rivals = Some(Rivals { of: request.of.clone(), found: Found::Rivals(Vec::new()) });
        }
        Read::LastObject { of, transaction } => {
            let (journal, _) = stored(seen);
            assert_eq!((&of.uid, transaction), (&journal.uid, &journal.id));
            assert!(matches!(seen.live, Live::Absent), "the object is there");
            wiser.last = LastObject::Unknown;
        }
    }
    assert!(!matches!(next(&wiser, now), Step::Read(_)), "it reads again");
}

fn present(seen: &Observed) -> &LiveSet {
    match &seen.live {
        Live::Present(live) => live,
        Live::Absent => unreachable!("a step with an object that is not there"),
    }
}

fn stored(seen: &Observed) -> (&Journal, &Precondition) {
    match &seen.journal {
        Stored::Some { journal, guard } => (journal, guard),
        Stored::None | Stored::Unreadable { .. } => unreachable!("a step of a transaction that has no journal"),
    }
}

fn is_permitted(seen: &Observed, action: &Action) {
    match action {
        Action::CreateJournal(journal) => begins(seen, journal),
        Action::UpdateJournal { journal, guard } => goes_on(seen, journal, guard),
        Action::DeleteJournal { name, guard, .. } => forgets(seen, name, guard),
        Action::CreateBackup(backup) => {
            let live = present(seen);
            assert!(stored(seen).0.uid == live.uid && live.deleting.is_none(), "a backup of another set");
            assert_eq!(backup["metadata"]["namespace"], cluster::NAMESPACE);
        }
        Action::DeleteBackup { name, guard } => {
            let taken = &seen.backups.taken;
            assert!(taken.len() > seen.rules.backups_kept, "too few backups are kept");
            let oldest = taken.values().next().map(|head| (&head.name, &head.guard));
            assert_eq!(oldest, Some((name, guard)), "another than the oldest");
        }
        Action::SetOwners { kind, name, guard, owners, why } => {
            changes_owners(seen, (*kind, name, guard), owners, *why)
        }
        Action::Create(object) => creates(seen, object),
        Action::PatchTemplates { guard, templates } => {
            let live = present(seen);
            assert_eq!(*guard, live.guard());
            let mut patched = live.object.clone();
            patched["spec"]["volumeClaimTemplates"] = templates.clone();
            sizes_only_grow(&live.object, &patched);
            assert!(matches!(seen.journal, Stored::None) && live.deleting.is_none());
        }
        Action::SetFinalizers { guard, finalizers } => {
            let live = present(seen);
            assert_eq!(*guard, live.guard());
            let others = |all: &[String]| all.iter().filter(|name| *name != HOLD).cloned().collect::<Vec<_>>();
            assert_eq!(others(finalizers), others(&live.finalizers), "a foreign finalizer is touched");
            let puts = finalizers.iter().any(|name| name == HOLD);
            assert_ne!(puts, live.has_own_finalizer(), "nothing is changed");
            let remembered = !matches!(seen.journal, Stored::None) || seen.namespace.terminating;
            assert!(remembered, "another leader may be about to go on");
            if puts {
                let (journal, _) = stored(seen);
                assert!(journal.uid == live.uid && live.deleting.is_none(), "a set is held that is not journalled");
            }
        }
        Action::SetRetention { guard, .. } => {
            let live = present(seen);
            assert_eq!(*guard, live.guard());
            assert!(stored(seen).0.uid == live.uid && live.deleting.is_none());
        }
        Action::Delete { guard } => deletes(seen, guard),
        Action::Release { guard, finalizers } => releases(seen, guard, finalizers),
        Action::RestoreSpec { guard, .. } | Action::RestoreOwnership { guard, .. } => {
            let (live, (journal, _)) = (present(seen), stored(seen));
            assert_eq!(*guard, live.guard());
            assert_eq!(journal.successor.as_ref(), Some(&live.uid), "a set is restored that we have not made");
            assert!(journal.phase >= Phase::Adopting);
        }
    }
}

fn begins(seen: &Observed, journal: &Journal) {
    let live = present(seen);
    assert!(matches!(seen.journal, Stored::None), "a second journal");
    assert_eq!((&journal.uid, &journal.set), (&live.uid, &seen.set));
    assert!(same(&journal.image, &live.object), "the journal keeps something else than what was seen");
    assert!(!seen.namespace.terminating);
    match (live.has_own_finalizer(), live.deleting) {
        (true, Some(_)) => assert_eq!((journal.phase, journal.ending), (Phase::Deleting, None)),
        // A hold that nobody remembers can only be taken off.
        (true, None) => assert_eq!((journal.phase, journal.ending), (Phase::Prepared, Some(Ending::Undone))),
        (false, deleting) => {
            let begins = (journal.phase, journal.ending) == (Phase::Prepared, None);
            assert!(begins && deleting.is_none(), "something is permitted that was never decided");
            claims_are_large(seen, journal, live);
        }
    }
}

fn goes_on(seen: &Observed, journal: &Journal, guard: &Precondition) {
    let (before, known) = stored(seen);
    assert_eq!(guard, known);
    assert_ne!(journal, before, "nothing is changed");
    let identity =
        |journal: &Journal| (journal.id.clone(), journal.uid.clone(), journal.set.clone(), journal.targets.clone());
    assert_eq!(identity(journal), identity(before), "another transaction");
    if journal.phase == Phase::Deleting && before.phase != Phase::Deleting {
        let live = present(seen);
        assert!(live.uid == journal.uid && live.has_own_finalizer() && live.deleting.is_none());
        claims_are_large(seen, journal, live);
    }
    // What is to be created is what was seen last.
    if journal.image != before.image {
        let seen_last = match (&seen.live, &seen.last) {
            (Live::Present(live), _) => &live.object,
            (Live::Absent, LastObject::Seen(object)) => object,
            (
                Live::Absent,
                LastObject::NotAsked | LastObject::Unknown | LastObject::Busy | LastObject::SuccessorGone,
            ) => &before.image,
        };
        assert!(same(&journal.image, seen_last), "the journal keeps something else than what was seen");
    }
}

/// Only our own journal, or one that has served.
fn forgets(seen: &Observed, name: &str, guard: &Precondition) {
    let own = match &seen.journal {
        Stored::None => None,
        Stored::Some { journal, guard } => Some((journal.name(), guard)),
        Stored::Unreadable { name, guard, .. } => Some((name.clone(), guard)),
    };
    if own.as_ref().is_some_and(|(own, known)| own == name && *known == guard) {
        let held = matches!(&seen.live, Live::Present(live) if live.has_own_finalizer() && live.deleting.is_none());
        let ours = matches!((&seen.journal, &seen.live), (Stored::Some { journal, .. }, Live::Present(live)) if journal.uid == live.uid);
        assert!(!(held && ours), "the hold would be left");
        if let (Stored::Some { journal, .. }, Live::Absent) = (&seen.journal, &seen.live) {
            let away = matches!(journal.phase, Phase::Deleting | Phase::Releasing);
            let gone = seen.last == LastObject::SuccessorGone || seen.namespace.terminating;
            assert!(!away || gone, "the set is absent, and would be forgotten");
        }
        return;
    }
    let served = seen
        .others
        .iter()
        .any(|head| head.name == name && head.guard == *guard && head.set == seen.set && head.phase == Phase::Guarded);
    assert!(served, "somebody else's journal");
}

fn deletes(seen: &Observed, guard: &Precondition) {
    let (live, (journal, _)) = (present(seen), stored(seen));
    assert_eq!(*guard, live.guard(), "another object than the one that was seen");
    assert_eq!(journal.uid, live.uid, "a set that is not journalled");
    assert_eq!(journal.phase, Phase::Deleting, "the journal does not permit it");
    assert!(same(&journal.image, &live.object), "the journal keeps another state");
    assert!(live.has_own_finalizer() && live.deleting.is_none() && !seen.namespace.terminating);
    let saved = seen.backups.taken.values().any(|head| head.transaction.as_ref() == Some(&journal.id));
    assert!(saved, "there is no backup");
    claims_are_large(seen, journal, live);
}

fn claims_are_large(seen: &Observed, journal: &Journal, live: &LiveSet) {
    for (template, target) in &journal.targets {
        for ordinal in live.spec.ordinals() {
            let name = ClaimName::of(template, &seen.set, ordinal);
            let claim = seen.claims.iter().find(|claim| claim.object.name == name.as_str());
            assert!(claim.is_some_and(|claim| claim.requested >= *target), "claim {name} is not yet {target}");
        }
    }
}

fn releases(seen: &Observed, guard: &Precondition, finalizers: &[String]) {
    let (live, (journal, _)) = (present(seen), stored(seen));
    assert_eq!(*guard, live.guard());
    assert_eq!((&journal.uid, journal.phase), (&live.uid, Phase::Releasing), "the journal does not permit it");
    assert!(live.deleting.is_some() && same(&journal.image, &live.object), "the journal keeps another state");
    let stay: Vec<&String> = live.finalizers.iter().filter(|name| !is_transient(name)).collect();
    assert_eq!(finalizers.iter().collect::<Vec<_>>(), stay, "a foreign finalizer is touched");
    let refers = seen.dependents().find(|dependent| dependent.refers_to(&live.uid));
    assert!(refers.is_none(), "something still refers to it");
}

fn creates(seen: &Observed, object: &Value) {
    let (journal, _) = stored(seen);
    assert!(matches!(seen.live, Live::Absent) && !seen.namespace.terminating);
    assert_eq!(journal.phase, Phase::Releasing, "the journal does not permit it");
    match &seen.last {
        LastObject::Unknown => {}
        LastObject::Seen(last) => assert!(same(&journal.image, last), "an edit would be lost"),
        LastObject::NotAsked | LastObject::Busy | LastObject::SuccessorGone => {
            unreachable!("somebody may have deleted it")
        }
    }
    assert_eq!(object["metadata"]["annotations"][TRANSACTION], journal.id.as_str());
    assert_eq!(object["spec"]["updateStrategy"]["type"], "OnDelete", "pods may be restarted");
    assert!(object["metadata"].get("uid").is_none() && object.get("status").is_none());
    sizes_only_grow(&journal.image, object);
}

fn sizes_only_grow(before: &Value, after: &Value) {
    let templates = |object: &Value| -> Vec<(TemplateName, Bytes)> {
        Spec::read(object).map(|spec| spec.templates).unwrap_or_default()
    };
    let (before, after) = (templates(before), templates(after));
    assert_eq!(before.len(), after.len(), "a template is lost");
    for ((name, from), (same, to)) in before.iter().zip(&after) {
        assert!(name == same && to >= from, "template {name} goes from {from} to {to}");
    }
}

fn changes_owners(seen: &Observed, which: (Kind, &str, &Precondition), owners: &[Value], why: OwnersChange) {
    let (kind, name, guard) = which;
    let is_it = |known: &&Dependent| known.kind == kind && known.name == name && known.guard() == *guard;
    let Some(known) = seen.dependents().find(is_it) else { unreachable!("{name} was not seen") };
    let namespace = |owner: &Value| owner["uid"] == seen.namespace.uid.as_str();
    let gone: Vec<&Value> = known.owners.iter().filter(|owner| !owners.contains(owner)).collect();
    let new: Vec<&Value> = owners.iter().filter(|owner| !known.owners.contains(owner)).collect();
    assert!(!(gone.is_empty() && new.is_empty()), "nothing is changed");
    match why {
        OwnersChange::Protect => assert!(gone.is_empty() && new.len() == 1 && namespace(new[0]) && kind == Kind::Claim),
        OwnersChange::Restore => {
            let live = seen.live().expect("nothing is given to a set that is gone");
            assert!(gone.is_empty() && new.len() == 1 && new[0]["uid"] == live.uid.as_str() && kind == Kind::Claim);
        }
        OwnersChange::Strip => {
            let (journal, _) = stored(seen);
            assert!(
                new.is_empty() && gone.iter().all(|owner| owner["uid"] == journal.uid.as_str()),
                "a foreign owner goes"
            );
        }
        OwnersChange::Unprotect => {
            let live = seen.live().map(|live| live.uid.as_str().to_owned());
            let stale = |owner: &Value| {
                owner["kind"] == "StatefulSet"
                    && owner["name"] == cluster::NAME
                    && owner["uid"].as_str() != live.as_deref()
            };
            assert!(gone.iter().all(|owner| namespace(owner) || stale(owner)), "a foreign owner goes");
            let takes_along = |owner: &Value| match &seen.departure {
                Departure::WithClaims { uid, claims } => {
                    live.is_none() && owner["uid"] == uid.as_str() && claims.contains(&ClaimName::new(name))
                }
                Departure::Unknown | Departure::Orphaned => false,
            };
            assert!(new.into_iter().all(takes_along), "an owner is given to a claim that does not go with it");
        }
    }
}
