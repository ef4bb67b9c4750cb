//! The next step of a recreation: a wait, a read, or one write with its precondition.

use std::time::Duration;

use serde_json::Value;

use super::dependent::Kind;
use super::journal::Journal;
use super::phase::{Ending, Phase, State};
use super::probes::ProbeRequest;
use super::rivals::RivalsRequest;
use super::set::WhenDeleted;
use crate::api::reasons::Note;
use crate::api::write::Precondition;

/// The next step. It has at most one write.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing to do: the templates have the desired size, and nothing of the recreation is left, except what `again`
    /// indicates.
    Done {
        /// When to continue, if something is left that is not urgent: protective owner references to remove.
        again: Option<Duration>,
    },
    /// The recreation must not begin. The [`Note`] states whether that resolves by itself, and what to do.
    Refuse(Note),
    /// Another component must act first.
    Wait(Wait),
    /// More information is required. Reading it changes nothing.
    Read(Read),
    /// One write.
    Write(Action),
}

/// A wait and what it waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// The state of the recreation.
    pub state: State,
    /// What ends the wait early: a change of the StatefulSet itself after this resourceVersion.
    pub change_after: Option<String>,
    /// Observe again after this time at the latest.
    pub at_most: Duration,
    /// What to report to a person if the wait lasts.
    pub note: Option<Note>,
}

/// Information that must be read first.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// Dry runs with these objects.
    Probes(Box<ProbeRequest>),
    /// The workloads of the namespace that would adopt the Pods.
    Rivals(RivalsRequest),
    /// The DELETED event in the watch for the object that no longer exists.
    LastObject {
        /// The object, and the state from which the watch starts.
        of: Precondition,
        /// The transaction whose new StatefulSet may have been created and deleted in the meantime.
        transaction: String,
    },
}

/// One write, with its precondition.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Updates the templates in place, if the API server allows it (KEP-4650).
    PatchTemplates {
        /// The precondition: the StatefulSet.
        guard: Precondition,
        /// `spec.volumeClaimTemplates`.
        templates: Value,
    },
    /// Creates the journal.
    CreateJournal(Box<Journal>),
    /// Replaces the journal.
    UpdateJournal {
        /// The new content.
        journal: Box<Journal>,
        /// The precondition: the ConfigMap.
        guard: Precondition,
    },
    /// Deletes the journal: the transaction is over.
    DeleteJournal {
        /// The ConfigMap.
        name: String,
        /// The precondition: the ConfigMap.
        guard: Precondition,
        /// How the transaction ended, if this is the end of one.
        ending: Option<Ending>,
    },
    /// Creates a backup.
    CreateBackup(Box<Value>),
    /// Deletes a backup that is too old to keep.
    DeleteBackup {
        /// The ConfigMap.
        name: String,
        /// The precondition: the ConfigMap.
        guard: Precondition,
    },
    /// Sets the ownerReferences of a Pod, ControllerRevision, or PVC.
    SetOwners {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// The precondition: the object.
        guard: Precondition,
        /// All its ownerReferences after the write.
        owners: Vec<Value>,
        /// Why.
        why: OwnersChange,
    },
    /// Sets `persistentVolumeClaimRetentionPolicy.whenDeleted` of the old StatefulSet.
    SetRetention {
        /// The precondition: the StatefulSet.
        guard: Precondition,
        /// The new value.
        when_deleted: WhenDeleted,
    },
    /// Sets the finalizers of the StatefulSet before the DELETE: with the finalizer of the recreation, or without it.
    SetFinalizers {
        /// The precondition: the StatefulSet.
        guard: Precondition,
        /// All its finalizers after the write.
        finalizers: Vec<String>,
    },
    /// Deletes the StatefulSet and orphans its Pods.
    Delete {
        /// The precondition: the StatefulSet.
        guard: Precondition,
    },
    /// Removes the finalizers of the deleted StatefulSet, and with the last one the StatefulSet.
    Release {
        /// The precondition: the StatefulSet.
        guard: Precondition,
        /// The finalizers that stay; empty unless there is a foreign one.
        finalizers: Vec<String>,
    },
    /// Creates the StatefulSet.
    Create(Box<Value>),
    /// Restores the strategy and `whenDeleted` of the new StatefulSet.
    RestoreSpec {
        /// The precondition: the new StatefulSet.
        guard: Precondition,
        /// A merge patch of `spec`.
        spec: Value,
    },
    /// Restores `managedFields` and removes the transaction ID.
    RestoreOwnership {
        /// The precondition: the new StatefulSet.
        guard: Precondition,
        /// `metadata.managedFields`.
        managed_fields: Value,
    },
}

impl Action {
    /// The state of the recreation in which this action is taken.
    pub const fn state(&self) -> State {
        match self {
            Self::PatchTemplates { .. } => State::Preflight,
            Self::CreateJournal(_) | Self::CreateBackup(_) => State::Prepared,
            Self::SetRetention { .. } | Self::SetOwners { why: OwnersChange::Protect, .. } => State::Retained,
            Self::SetFinalizers { .. } => State::Held,
            Self::Delete { .. } => State::Deleting,
            Self::SetOwners { why: OwnersChange::Strip, .. } => State::Verified,
            Self::Release { .. } => State::Releasing,
            Self::Create(_) => State::Creating,
            Self::RestoreSpec { .. }
            | Self::RestoreOwnership { .. }
            | Self::SetOwners { why: OwnersChange::Restore, .. } => State::Landing,
            Self::DeleteJournal { .. } | Self::DeleteBackup { .. } => State::Done,
            Self::SetOwners { why: OwnersChange::Unprotect, .. } => State::Done,
            Self::UpdateJournal { journal, .. } => match journal.phase {
                Phase::Prepared => State::Prepared,
                Phase::Deleting => State::Deleting,
                Phase::Releasing => State::Releasing,
                Phase::Adopting => State::Adopting,
                Phase::Guarded => State::Done,
            },
        }
    }

    /// The precondition. `None` for the CREATE actions, whose precondition is that the name is free.
    #[cfg(feature = "testing")]
    pub const fn guard(&self) -> Option<&Precondition> {
        match self {
            Self::CreateJournal(_) | Self::CreateBackup(_) | Self::Create(_) => None,
            Self::PatchTemplates { guard, .. }
            | Self::UpdateJournal { guard, .. }
            | Self::DeleteJournal { guard, .. }
            | Self::DeleteBackup { guard, .. }
            | Self::SetOwners { guard, .. }
            | Self::SetRetention { guard, .. }
            | Self::SetFinalizers { guard, .. }
            | Self::Delete { guard }
            | Self::Release { guard, .. }
            | Self::RestoreSpec { guard, .. }
            | Self::RestoreOwnership { guard, .. } => Some(guard),
        }
    }
}

/// The reason for a change of ownerReferences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnersChange {
    /// Add the protective owner reference: a second owner that is certain to exist.
    Protect,
    /// Remove the references to the old StatefulSet.
    Strip,
    /// Restore a reference to the StatefulSet that was removed for the recreation.
    Restore,
    /// Remove the protective owner reference.
    Unprotect,
}
