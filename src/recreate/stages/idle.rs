//! The steps without a journal: they begin a recreation, or clean up after an earlier one.

use std::time::Duration;

use jiff::Timestamp;

use super::super::journal::{Journal, JournalHead};
use super::super::manifest;
use super::super::observed::{Departure, Live, Observed};
use super::super::phase::{Ending, Phase};
use super::super::preflight::{self, Subject, answers};
use super::super::probes::Verdict;
use super::super::set::LiveSet;
use super::super::step::{Action, Step};
use super::probing::{alone, probe, valid_probes};
use super::protection::{remove_protection, remove_protection_of_scaled_down};
use super::{is_reached, remaining, remove_finalizer};
use crate::api::annotations;
use crate::api::reasons::Note;

/// How often a StatefulSet that is being deleted is observed again. Its deletion may take long; an event reports when
/// it is gone, and this interval covers a missed event.
const DELETION_POLL_INTERVAL: Duration = Duration::from_secs(300);

pub(super) fn without_journal(seen: &Observed, now: Timestamp) -> Step {
    match &seen.live {
        Live::Absent => clean_up(seen, now),
        Live::Present(live) => match (live.has_own_finalizer(), live.deleting) {
            (true, _) if seen.namespace.terminating => remove_finalizer(live),
            (true, None) => roll_back(seen, live, now),
            (true, Some(_)) => rebuild_journal(seen, live, now),
            (false, Some(_)) => clean_up(seen, now),
            (false, None) => idle(seen, live, now),
        },
    }
}

/// Removes a finalizer that no journal explains. First, a journal records that everything is rolled back, as in
/// [`super::Transaction::roll_back`]. The name of that journal is taken if another leader has begun a recreation in the
/// meantime; the finalizer then belongs to that recreation.
fn roll_back(seen: &Observed, live: &LiveSet, now: Timestamp) -> Step {
    let journal = adopted(seen, live, "rolled back: it had the finalizer without a journal", now);
    Step::Write(Action::CreateJournal(Box::new(Journal { ending: Some(Ending::Undone), ..journal })))
}

/// Recreates a StatefulSet that is being deleted with the finalizer, but without a journal: the object is itself the
/// backup, and its Pods still run.
fn rebuild_journal(seen: &Observed, live: &LiveSet, now: Timestamp) -> Step {
    let mut journal = adopted(seen, live, "created again: it had the finalizer without a journal", now);
    journal.phase = Phase::Deleting;
    journal.incidents.push(Note::blocked(
        "lost-journal",
        "rso found the StatefulSet being deleted, with its finalizer and without a journal, and recreated it from what was \
         left. Compare it with its newest backup (`rso backup diff`), and check who deletes ConfigMaps in the operator's \
         namespace",
    ));
    Step::Write(Action::CreateJournal(Box::new(journal)))
}

/// The journal of a recreation that lost its own. The sizes that are requested now are taken for those requested then.
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
        let text = format!(
            "a recreation of this StatefulSet lost its journal before it was complete. Compare spec.updateStrategy and \
             persistentVolumeClaimRetentionPolicy with its newest backup (`rso backup diff`), then remove the annotation {}",
            annotations::TRANSACTION
        );
        return Step::Refuse(Note::blocked("incomplete", text));
    }
    let Some(intent) = seen.intent.as_ref().filter(|intent| !is_reached(live, &intent.targets)) else {
        return clean_up(seen, now);
    };
    if intent.uid.as_ref().is_some_and(|uid| *uid != live.uid) {
        let text = "another client replaced the StatefulSet; rso re-evaluates it";
        return Step::Refuse(Note::deferred("replaced", text));
    }
    let subject = Subject {
        seen,
        live,
        targets: &intent.targets,
        allow_owner: intent.allow_owner.as_deref(),
        journal: None,
        now,
    };
    if let Err(note) = preflight::evaluate(&subject) {
        return Step::Refuse(note);
    }
    let journal =
        Journal::begin(seen, live, intent.targets.clone(), intent.reason.clone(), intent.allow_owner.clone(), now);
    let Some(probes) = valid_probes(seen, live, &intent.targets, now) else {
        return probe(seen, live, &journal, now);
    };
    if probes.native == Verdict::Accepted {
        let templates = manifest::templates(&live.object, &intent.targets);
        return Step::Write(Action::PatchTemplates { guard: live.guard(), templates });
    }
    match answers::evaluate(probes) {
        Err(note) => Step::Refuse(note),
        Ok(()) => match alone(seen, live) {
            Err(read) => Step::Read(read),
            Ok(Err(note)) => Step::Refuse(note),
            Ok(Ok(())) => Step::Write(Action::CreateJournal(Box::new(journal))),
        },
    }
}

/// Cleans up when no recreation is in progress: removes protective owner references that have served their purpose, and
/// removes them at once if the PVCs are to be deleted with their StatefulSet.
fn clean_up(seen: &Observed, now: Timestamp) -> Step {
    if let Some(step) = remove_protection_of_scaled_down(seen) {
        return step;
    }
    let waiting: Vec<&JournalHead> = seen.protecting().collect();
    let due = |head: &&&JournalHead| remaining(seen.rules.protect_for, head.phase_at, now);
    let left = waiting.iter().map(|head| due(&head)).max().filter(|left| !left.is_zero());
    let is_deleted = matches!((&seen.live, &seen.departure), (Live::Absent, Departure::WithClaims { .. }));
    if let Some(again) = left.filter(|_| !is_deleted) {
        return Step::Done { again: Some(again) };
    }
    let guard_to_drop = remove_protection(seen);
    if guard_to_drop.is_some() && seen.live().is_some_and(|live| live.deleting.is_some()) && !seen.namespace.terminating
    {
        // What happens to the PVCs is known only once the StatefulSet is gone.
        return Step::Done { again: Some(DELETION_POLL_INTERVAL) };
    }
    if let Some(step) = guard_to_drop {
        return step;
    }
    match waiting.first() {
        Some(head) => {
            Step::Write(Action::DeleteJournal { name: head.name.clone(), guard: head.guard.clone(), ending: None })
        }
        None => Step::Done { again: None },
    }
}
