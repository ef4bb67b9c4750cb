//! The steps that follow from the observations: one function for each row of the resume table of `docs/recreate.md`.
//! This file has what they share; [`idle`] is without a journal, [`before`] and [`after`] are before and after the
//! DELETE.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::dependent::Dependent;
use super::journal::{Journal, JournalError};
use super::observed::{Live, Observed, Stored};
use super::phase::{Ending, Phase, State};
use super::set::LiveSet;
use super::step::{Action, OwnersChange, Step, Wait};
use crate::api::annotations;
use crate::api::bytes::Bytes;
use crate::api::names::{TemplateName, Uid};
use crate::api::reasons::Note;
use crate::api::write::Precondition;

mod after;
mod before;
mod begin;
mod idle;
mod landing;
mod probing;
mod protection;

/// How often a wait polls if no event arrives.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// An adoption that takes longer than this is reported.
const REPORT_AFTER: Duration = Duration::from_secs(60);

pub(super) fn next(seen: &Observed, now: Timestamp) -> Step {
    match &seen.journal {
        Stored::None => idle::without_journal(seen, now),
        Stored::Unreadable { name, guard, error } => unreadable(seen, name, guard, error),
        Stored::Some { journal, guard } => Transaction { seen, journal, guard, now }.next(),
    }
}

/// The next step if the journal cannot be read.
fn unreadable(seen: &Observed, name: &str, guard: &Precondition, error: &JournalError) -> Step {
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
        Live::Present(live) if live.has_own_finalizer() && live.deleting.is_none() => remove_finalizer(live),
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
    guard: &'a Precondition,
    now: Timestamp,
}

impl Transaction<'_> {
    fn next(&self) -> Step {
        if self.seen.namespace.terminating {
            return self.release_namespace();
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
    fn release_namespace(&self) -> Step {
        match self.seen.live() {
            Some(live) if live.has_own_finalizer() => remove_finalizer(live),
            Some(_) | None => self.close(Ending::NamespaceGone),
        }
    }

    /// Whether the phase lasts so long that it must be reported.
    fn is_long(&self) -> bool {
        remaining(REPORT_AFTER, self.journal.phase_at, self.now).is_zero()
    }

    /// Ends the transaction. PVCs with protective owner references keep them for a while, and the journal stays as a
    /// record of that.
    fn close(&self, ending: Ending) -> Step {
        if let Some(head) = self.seen.protecting().next() {
            let (name, guard) = (head.name.clone(), head.guard.clone());
            return Step::Write(Action::DeleteJournal { name, guard, ending: None });
        }
        let protected = self.seen.claims.iter().any(|claim| claim.is_protected_by(&self.seen.namespace.uid));
        if !protected || ending == Ending::NamespaceGone {
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

fn is_reached(live: &LiveSet, targets: &BTreeMap<TemplateName, Bytes>) -> bool {
    // A template that does not exist is not reached: the preflight checks report it.
    targets.iter().all(|(template, target)| live.spec.size_of(template).is_some_and(|size| size >= *target))
}

fn with_finalizer(live: &LiveSet) -> Vec<String> {
    let others = live.finalizers.iter().filter(|name| *name != annotations::HOLD).cloned();
    others.chain([annotations::HOLD.to_owned()]).collect()
}

fn remove_finalizer(live: &LiveSet) -> Step {
    let finalizers = live.finalizers.iter().filter(|name| *name != annotations::HOLD).cloned().collect();
    Step::Write(Action::SetFinalizers { guard: live.guard(), finalizers })
}

fn strip(dependent: &Dependent, uid: &Uid) -> Step {
    set_owners(dependent, dependent.owners_without(uid), OwnersChange::Strip)
}

fn set_owners(dependent: &Dependent, owners: Vec<Value>, why: OwnersChange) -> Step {
    let (kind, name, guard) = (dependent.kind, dependent.name.clone(), dependent.guard());
    Step::Write(Action::SetOwners { kind, name, guard, owners, why })
}

/// The remaining part of a span that began at `since`.
fn remaining(span: Duration, since: Timestamp, now: Timestamp) -> Duration {
    // A clock that was set back makes the span longer, but never endless.
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    span.saturating_sub(passed)
}
