//! The progress of a recreation in one call, and what is reported about it.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, TemplateName, Uid};
use crate::api::reasons::{Note, Reason};
use crate::recreate::compare;
use crate::recreate::journal::Journal;
use crate::recreate::observed::{Departure, Live, Observed};
use crate::recreate::outcome::{self, Outcome, Report};
use crate::recreate::phase::{Ending, Phase};
use crate::recreate::step::{Action, OwnersChange};

/// What one call has written, when, and the Events about it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// For Events, in order.
    pub(super) notes: Vec<Note>,
    /// For Events about PVCs.
    pub(super) of_claims: Vec<(ClaimName, Uid, Note)>,
    times: Times,
    /// The journal as last read, for the Events at the end.
    journal: Option<Box<Journal>>,
    ending: Option<Ending>,
    outcome: Outcome,
}

/// When this call passed the milestones of a recreation.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    deleted: Option<Instant>,
    released: Option<Instant>,
    created: Option<Instant>,
    adopted: Option<Instant>,
}

impl Progress {
    /// Remembers the journal.
    pub(super) fn seen(&mut self, journal: &Journal) {
        self.journal = Some(Box::new(journal.clone()));
    }

    /// The UID of the object that the journal is about.
    pub(super) fn of(&self) -> Option<Uid> {
        self.journal.as_ref().map(|journal| journal.uid.clone())
    }

    /// Adds an Event, once.
    pub(super) fn record(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Records what is about to be written.
    pub(super) fn before(&mut self, action: &Action, seen: &Observed) {
        let now = Some(Instant::now());
        let is_last = matches!(action, Action::DeleteJournal { ending: Some(_), .. })
            || matches!(action, Action::UpdateJournal { journal, .. } if journal.phase == Phase::Guarded);
        if let Some(journal) = self.journal.as_deref().filter(|_| is_last) {
            self.outcome = outcome::of(seen, journal);
        }
        match action {
            Action::Delete { .. } => self.times.deleted = now,
            Action::RestoreSpec { .. } | Action::RestoreOwnership { .. } => {
                self.times.adopted = self.times.adopted.or(now);
            }
            Action::DeleteJournal { ending, .. } => self.ending = self.ending.or(*ending),
            // A rollback that has begun is not yet the end.
            Action::UpdateJournal { journal, .. } if journal.phase == Phase::Guarded => {
                self.ending = self.ending.or(journal.ending);
            }
            Action::UpdateJournal { .. }
            | Action::PatchTemplates { .. }
            | Action::CreateJournal(_)
            | Action::CreateBackup(_)
            | Action::DeleteBackup { .. }
            | Action::SetOwners { .. }
            | Action::SetRetention { .. }
            | Action::SetFinalizers { .. }
            | Action::Release { .. }
            | Action::Create(_) => {}
        }
    }

    /// Records what was written, and adds the Events about it.
    pub(super) fn after(&mut self, action: &Action, seen: &Observed) {
        match action {
            Action::SetOwners { name, guard, why: OwnersChange::Unprotect, .. } => {
                let kept = kept_without_its_set(seen, name);
                self.of_claims.extend(kept.map(|note| (ClaimName::new(name.as_str()), guard.uid.clone(), note)));
            }
            // A journal that already has its end begins nothing: it is for the removal of a finalizer that was left
            // over.
            Action::CreateJournal(journal) if journal.ending.is_some() => {}
            Action::CreateJournal(journal) => {
                let text = format!(
                    "recreating the StatefulSet with larger templates: {}; its Pods keep running",
                    sizes(&journal.targets)
                );
                self.record(Note::new(Reason::TemplateSyncing, sizes(&journal.targets), text));
            }
            Action::CreateBackup(object) => {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let text = format!("saved the StatefulSet in ConfigMap {name}; to restore it, run `rso restore`");
                self.record(Note::new(Reason::BackupCreated, "", text).about(name));
            }
            Action::PatchTemplates { .. } => {
                let text = "the API server accepted the larger templates in place";
                self.record(Note::new(Reason::TemplateSynced, "in-place", text));
            }
            Action::Create(_) => self.times.created = Some(Instant::now()),
            Action::UpdateJournal { .. }
            | Action::DeleteJournal { .. }
            | Action::DeleteBackup { .. }
            | Action::SetOwners { .. }
            | Action::SetRetention { .. }
            | Action::SetFinalizers { .. }
            | Action::Delete { .. }
            | Action::Release { .. }
            | Action::RestoreSpec { .. }
            | Action::RestoreOwnership { .. } => {}
        }
    }

    /// Records that the finalizer was removed and that the StatefulSet disappeared.
    pub(super) fn released(&mut self, sent: Instant) {
        self.times.released = Some(sent);
    }

    /// The result of the transaction, if this call wrote its end. `uid` is the UID of the StatefulSet that exists now.
    pub(super) fn report(&self, uid: Option<&Uid>) -> Option<Report> {
        let ending = self.ending?;
        let span = |from: Option<Instant>, to: Option<Instant>| Some(to?.duration_since(from?));
        Some(Report {
            ending,
            uid: uid.cloned(),
            absent: span(self.times.released, self.times.created),
            unmanaged: span(self.times.deleted, self.times.adopted),
            outcome: self.outcome.clone(),
        })
    }

    /// Adds the Events about the end.
    pub(super) fn record_end(&mut self, report: &Report) {
        let notes = self.journal.as_ref().map(|journal| end_of(journal, report)).unwrap_or_default();
        notes.into_iter().for_each(|note| self.record(note));
    }
}

/// The Event about the PVC of a StatefulSet that was deleted soon after its recreation, where it is not known whether
/// the PVC was to be deleted too.
fn kept_without_its_set(seen: &Observed, claim: &str) -> Option<Note> {
    let is_known = match (&seen.live, &seen.departure) {
        (Live::Absent, Departure::Unknown) => false,
        (Live::Absent, Departure::WithClaims { claims, .. }) => claims.contains(&ClaimName::new(claim)),
        (Live::Absent, Departure::Orphaned) | (Live::Present(_), _) => true,
    };
    (!is_known && !seen.namespace.terminating).then(|| {
        let text = format!(
            "StatefulSet {} was deleted during or soon after a recreation, which protects PVC {claim}. Whether the PVC was to \
             be deleted with it is not known, so rso keeps it. If you do not need its data: kubectl delete pvc {claim} \
             --namespace {}",
            seen.set.name, seen.set.namespace
        );
        Note::new(Reason::ClaimKept, "", text).about(claim)
    })
}

fn end_of(journal: &Journal, report: &Report) -> Vec<Note> {
    let mut notes = journal.incidents.clone();
    notes.extend(lost(&report.outcome));
    notes.extend(match report.ending {
        Ending::Landed => Some(landed(report)),
        Ending::PutBack => Some(put_back(journal, &report.outcome)),
        Ending::Superseded => Some(Note::deferred(
            "superseded",
            "another client created the StatefulSet while rso was recreating it; rso keeps that object and re-evaluates it",
        )),
        Ending::Undone => Some(Note::deferred(
            "rolled-back",
            "rso rolled the recreation back before anything was deleted; it retries once the StatefulSet is stable",
        )),
        Ending::Deleted | Ending::NamespaceGone => None,
    });
    notes
}

/// The Event about Pods that were deleted or replaced.
fn lost(outcome: &Outcome) -> Option<Note> {
    let names: Vec<String> = outcome.lost.iter().map(|name| format!("Pod {name}")).collect();
    (!names.is_empty()).then(|| {
        let listed = compare::listed(&names);
        let were = if names.len() == 1 { "was" } else { "were" };
        let text = format!(
            "{listed} {were} deleted or replaced while the StatefulSet was being recreated. If nobody did that on purpose, \
             check what else selects these Pods (rso doctor), and the Events of the Pods"
        );
        Note::blocked("pods-replaced", text).about(listed)
    })
}

/// The Event about a completed recreation. It has the sizes that the StatefulSet has now, not the requested ones.
fn landed(report: &Report) -> Note {
    let outcome = &report.outcome;
    let sizes = sizes(&outcome.sizes);
    let pods = if outcome.lost.is_empty() { " No Pod was restarted." } else { "" };
    let spans = match (report.absent, report.unmanaged) {
        (Some(absent), Some(unmanaged)) => format!(
            " The StatefulSet was absent for {} ms, its Pods were unmanaged for {} ms.",
            absent.as_millis(),
            unmanaged.as_millis()
        ),
        _ => String::new(),
    };
    let changed = if outcome.changed.is_empty() {
        " No action needed".to_owned()
    } else {
        format!(" The StatefulSet differs from before in {}", compare::listed(&outcome.changed))
    };
    Note::new(Reason::TemplateSynced, &sizes, format!("the templates are {sizes}.{pods}{spans}{changed}"))
}

fn put_back(journal: &Journal, outcome: &Outcome) -> Note {
    let text = format!(
        "rso recreated the StatefulSet with {}, and it has {}: an admission policy or a controller reverted the size. rso does \
         not retry until the sizes or the spec of the StatefulSet change; raise the size there, or exempt this StatefulSet",
        sizes(&journal.targets),
        sizes(&outcome.short)
    );
    Note::blocked("size-reverted", text)
}

fn sizes(of: &BTreeMap<TemplateName, Bytes>) -> String {
    of.iter().map(|(name, size)| format!("{name} {size}")).collect::<Vec<_>>().join(", ")
}
