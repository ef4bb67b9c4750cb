//! How far has a call driven a recreate, and what do people hear of it?

use tokio::time::Instant;

use crate::api::names::Uid;
use crate::api::reasons::{Note, Reason};
use crate::recreate::{Action, Ending, Journal, Phase, Report};

/// What one call has written, when, and what is told of it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// For Events, in order.
    pub(super) notes: Vec<Note>,
    times: Times,
    /// The journal as last seen, for what is told at the end.
    journal: Option<Box<Journal>>,
    ending: Option<Ending>,
}

/// When the marks of a recreate were passed in this call.
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

    /// The object that the journal is of.
    pub(super) fn of(&self) -> Option<Uid> {
        self.journal.as_ref().map(|journal| journal.uid.clone())
    }

    /// Tells it once.
    pub(super) fn tell(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Notes what is about to be written.
    pub(super) fn before(&mut self, action: &Action) {
        let now = Some(Instant::now());
        match action {
            Action::Delete { .. } => self.times.deleted = now,
            Action::RestoreSpec { .. } | Action::RestoreOwnership { .. } => {
                self.times.adopted = self.times.adopted.or(now);
            }
            Action::DeleteJournal { ending, .. } => self.ending = self.ending.or(*ending),
            // Being taken back is not yet the end.
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

    /// Notes what was written, and tells of it.
    pub(super) fn after(&mut self, action: &Action) {
        match action {
            // With its end in it, nothing begins: a hold that was left over is taken off.
            Action::CreateJournal(journal) if journal.ending.is_some() => {}
            Action::CreateJournal(journal) => {
                self.tell(Note::new(Reason::TemplateSyncing, sizes_of(journal)));
            }
            Action::CreateBackup(object) => {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                self.tell(Note::new(
                    Reason::BackupCreated,
                    format!("the set is saved in ConfigMap {name}; restore it with `rso restore` if ever needed"),
                ));
            }
            Action::PatchTemplates { .. } => {
                self.tell(Note::new(Reason::TemplateSynced, "the API server took the larger templates in place"));
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

    /// The hold was taken off, and the set vanished.
    pub(super) fn released(&mut self, sent: Instant) {
        self.times.released = Some(sent);
    }

    /// What came of the transaction, if this call wrote its end. `uid` is that of the set that is there now.
    pub(super) fn report(&self, uid: Option<&Uid>) -> Option<Report> {
        let ending = self.ending?;
        let span = |from: Option<Instant>, to: Option<Instant>| Some(to?.duration_since(from?));
        Some(Report {
            ending,
            uid: uid.cloned(),
            absent: span(self.times.released, self.times.created),
            unmanaged: span(self.times.deleted, self.times.adopted),
        })
    }

    /// Tells how it ended.
    pub(super) fn tell_end(&mut self, report: &Report) {
        let notes = self.journal.as_ref().map(|journal| end_of(journal, report)).unwrap_or_default();
        notes.into_iter().for_each(|note| self.tell(note));
    }
}

fn sizes_of(journal: &Journal) -> String {
    let sizes: Vec<String> = journal.targets.iter().map(|(name, size)| format!("{name} to {size}")).collect();
    format!("the set is recreated with larger templates: {}; its pods run on", sizes.join(", "))
}

fn end_of(journal: &Journal, report: &Report) -> Vec<Note> {
    let mut notes = journal.incidents.clone();
    match report.ending {
        Ending::Landed => {
            let sizes: Vec<String> = journal.targets.iter().map(|(name, size)| format!("{name} {size}")).collect();
            let spans = match (report.absent, report.unmanaged) {
                (Some(absent), Some(unmanaged)) => {
                    format!(" The name was absent for {} ms, the pods unmanaged for {} ms.", absent.as_millis(), unmanaged.as_millis())
                }
                _ => String::new(),
            };
            notes.push(Note::new(
                Reason::TemplateSynced,
                format!("the templates are {}; no pod was restarted.{spans} Nothing is to be done", sizes.join(", ")),
            ));
        }
        Ending::Superseded => notes.push(Note::new(
            Reason::TemplateSyncDeferred,
            "somebody else created the set while it was being recreated; theirs is kept as it is and looked at afresh",
        )),
        Ending::Undone => notes.push(Note::new(
            Reason::TemplateSyncDeferred,
            "the recreate was taken back before anything was deleted; it is tried again by itself when the set is settled",
        )),
        Ending::Deleted | Ending::NamespaceGone => {}
    }
    notes
}
