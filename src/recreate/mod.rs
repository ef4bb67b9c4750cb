//! The recreation of a StatefulSet: its templates catch up with its PVCs without a Pod restart or a lost edit.
//!
//! The API server rejects an edit of `volumeClaimTemplates`, so rso replaces the StatefulSet: **hold, verify, release,
//! recreate, restore**. [`next`] is the whole protocol: a pure function from what is observed to at most one write,
//! which carries its precondition as data. A crash, a lost response, and an error of unknown outcome are then the same
//! case: observe again.
//!
//! | State | Journal phase | What happens |
//! |---|---|---|
//! | `Preflight` | none | the preflight checks of [`gates`], all of them read-only or dry runs |
//! | `Prepared` | Prepared | the journal and the backup are written |
//! | `Retained` | Prepared | only with `whenDeleted: Delete`: PVCs are protected from the deletion |
//! | `Held` | Prepared | the StatefulSet has the finalizer |
//! | `Deleting` | Deleting | DELETE, orphaning, of exactly the object with the finalizer. The point of no return |
//! | `Orphaning` | Deleting | the garbage collector removes the references; after 30 s, rso does |
//! | `Verified` | Deleting | no Pod, ControllerRevision, or PVC refers to the old object |
//! | `Releasing` | Releasing | the final object is journaled, its finalizers are removed |
//! | `Creating` | Releasing | CREATE with new sizes, `OnDelete`, `Retain`, ID; with finalizer if it may be the second |
//! | `Adopting` | Adopting | Pods and revisions belong to the new object, its revision is the old one |
//! | `Landing` | Adopting | strategy, `whenDeleted`, PVC owners, `managedFields` restored; finalizer and ID removed |
//! | `Done` | Guarded or none | compare, report, remove the protective owner references later |
//!
//! In `Retained`, each PVC gets a protective owner reference, the StatefulSet gets `Retain`, and in the end no PVC
//! refers to the StatefulSet. The PVC owners that `Landing` restores are those of the retained PVCs of scaled-down
//! replicas. `docs/recreate.md` explains why each state exists.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::names::Uid;
use crate::api::reasons::Note;
use crate::api::write::Precondition;

pub mod assemble;
pub mod backup;
pub mod compare;
pub mod confirm;
pub mod gates;
pub mod journal;
pub mod manifest;
pub mod observed;
pub mod outcome;
#[cfg(feature = "testing")]
pub mod raw;
pub mod restore;
pub mod rights;
pub mod rivals;
pub mod set;
mod stages;
#[cfg(test)]
mod tests;
pub mod turn;
pub mod write;

pub use journal::{Journal, Phase};
pub use observed::{Intent, Observed, Rules};
pub use outcome::Outcome;

use observed::{Kind, WhenDeleted};

/// The state of a recreation, for people: in logs, metrics, and `rso status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The preflight checks are evaluated.
    Preflight,
    /// The journal and the backup are written.
    Prepared,
    /// The PVCs are protected from the deletion of the StatefulSet.
    Retained,
    /// The StatefulSet has the finalizer.
    Held,
    /// The StatefulSet is being deleted.
    Deleting,
    /// The garbage collector orphans Pods, ControllerRevisions, and PVCs.
    Orphaning,
    /// rso verifies that nothing refers to the old StatefulSet.
    Verified,
    /// The old StatefulSet is removed, and its name becomes free.
    Releasing,
    /// The StatefulSet is created again.
    Creating,
    /// The new StatefulSet adopts the Pods.
    Adopting,
    /// What was changed for the creation is restored.
    Landing,
    /// Everything is as before, with larger templates.
    Done,
}

impl State {
    /// Every state in order.
    #[cfg(feature = "testing")]
    pub const ALL: [Self; 12] = [
        Self::Preflight,
        Self::Prepared,
        Self::Retained,
        Self::Held,
        Self::Deleting,
        Self::Orphaning,
        Self::Verified,
        Self::Releasing,
        Self::Creating,
        Self::Adopting,
        Self::Landing,
        Self::Done,
    ];

    /// The name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "Preflight",
            Self::Prepared => "Prepared",
            Self::Retained => "Retained",
            Self::Held => "Held",
            Self::Deleting => "Deleting",
            Self::Orphaning => "Orphaning",
            Self::Verified => "Verified",
            Self::Releasing => "Releasing",
            Self::Creating => "Creating",
            Self::Adopting => "Adopting",
            Self::Landing => "Landing",
            Self::Done => "Done",
        }
    }
}

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
    Look(Look),
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
pub enum Look {
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

/// The StatefulSet for which other workloads are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RivalsRequest {
    /// The StatefulSet.
    pub of: Precondition,
    /// The labels of everything that it releases: the Pod template, each Pod, each ControllerRevision.
    pub labels: std::collections::BTreeSet<std::collections::BTreeMap<String, String>>,
}

/// The content of the dry runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeRequest {
    /// The live object, for preconditions.
    pub guard: Precondition,
    /// The complete object: the answer to a dry run of a PATCH is compared with it.
    pub object: Value,
    /// Its generation.
    pub generation: i64,
    /// The target size of each template.
    pub targets: std::collections::BTreeMap<crate::api::names::TemplateName, crate::api::bytes::Bytes>,
    /// The StatefulSet as it will be created.
    pub create: Value,
    /// The same StatefulSet under a free name.
    pub copy: Value,
    /// Its finalizers, including the one of the recreation.
    pub finalizers: Vec<String>,
    /// The backup as it will be created.
    pub backup: Value,
    /// `spec.volumeClaimTemplates` with the new sizes, for a PATCH in place.
    pub templates: Value,
    /// A merge patch of `spec`: what the new StatefulSet gets for the CREATE and loses at the end. `None`: nothing.
    pub spec: Option<Value>,
    /// A PVC that gets a protective owner reference. `None`: no PVC gets one.
    pub protect: Option<Protection>,
}

/// The protective owner reference of a PVC, for a dry run.
#[derive(Clone, Debug, PartialEq)]
pub struct Protection {
    /// The name of the PVC.
    pub claim: String,
    /// The precondition: the PVC.
    pub guard: Precondition,
    /// Its ownerReferences, including the protective one.
    pub owners: Vec<Value>,
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

/// The reason for a change of ownerReferences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnersChange {
    /// Add the protective owner reference: a second owner that is certain to exist.
    Protect,
    /// Remove the references to the old StatefulSet.
    Strip,
    /// Restore a reference to the StatefulSet that was removed for the recreation.
    GiveBack,
    /// Remove the protective owner reference.
    Unprotect,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Ending {
    /// The StatefulSet exists again with larger templates.
    Landed,
    /// The StatefulSet exists again, but a template is smaller than it was created: another client restored the size.
    PutBack,
    /// A preflight check failed before the DELETE, and everything was rolled back.
    Undone,
    /// Another client created a StatefulSet of that name in the meantime; it is left unchanged.
    Superseded,
    /// Another client deleted the StatefulSet before it had the finalizer; it stays deleted.
    Deleted,
    /// The namespace is being deleted.
    NamespaceGone,
}

impl Ending {
    /// The name of the ending, which is also the value of the metric label `result`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Landed => "landed",
            Self::PutBack => "put_back",
            Self::Undone => "undone",
            Self::Superseded => "superseded",
            Self::Deleted => "deleted",
            Self::NamespaceGone => "namespace_gone",
        }
    }
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
            | Self::SetOwners { why: OwnersChange::GiveBack, .. } => State::Landing,
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

/// Returns the next step of the recreation of one StatefulSet.
///
/// The function is pure: the same observation results in the same step. Every write that it returns is either permitted
/// by the phase of the journal or can be rolled back.
pub fn next(seen: &Observed, now: Timestamp) -> Step {
    stages::next(seen, now)
}

/// The result of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// The StatefulSet that exists now, if any.
    pub uid: Option<Uid>,
    /// From the release to the response to the CREATE: no object had the name. `None` if a crash was in between.
    pub absent: Option<Duration>,
    /// From the DELETE to the adoption: no controller managed the Pods. `None` if a crash was in between.
    pub unmanaged: Option<Duration>,
    /// What exists in the end.
    pub outcome: Outcome,
}
