//! How does the template of a StatefulSet catch up with its claims, without a restarted pod or a lost edit?
//!
//! `volumeClaimTemplates` cannot be edited, so the set is replaced: **hold, verify, release, recreate, parachute**.
//! [`next`] is the whole protocol: a pure function from what is observed to at most one write, which carries its
//! precondition as data. A crash, a lost response and an error of unknown outcome are then one case: observe again.
//!
//! | State | Journal phase | What happens |
//! |---|---|---|
//! | Preflight | none | the gates of [`gates`], all of them read-only or dry runs |
//! | Prepared | Prepared | the journal and the backup are written |
//! | Retained | Prepared | only with `whenDeleted: Delete`: guards on the claims, the set to `Retain`, no claim refers to it |
//! | Held | Prepared | our finalizer is on the set |
//! | Deleting | Deleting | DELETE, orphaning, of exactly the held object. The point of no return |
//! | Orphaning | Deleting | the garbage collector takes the references away; after 30 s we do |
//! | Verified | Deleting | no pod, revision or claim refers to the old object |
//! | Releasing | Releasing | the final object is journalled, its finalizers are removed |
//! | Creating | Releasing | CREATE of the final object with the new sizes, `OnDelete`, `Retain`, our id; held if it may be the second |
//! | Adopting | Adopting | pods and revisions belong to the new object, its revision is the old one |
//! | Landing | Adopting | strategy, `whenDeleted`, owners of leftovers, `managedFields` restored; hold and id removed |
//! | Done | Guarded or none | compare, tell, drop guards later |
//!
//! `docs/recreate.md` tells why each exists.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::names::Uid;
use crate::api::reasons::Note;

pub mod assemble;
pub mod backup;
pub mod compare;
pub mod confirm;
pub mod gates;
pub mod journal;
pub mod manifest;
pub mod observed;
pub mod outcome;
pub mod precondition;
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

pub use journal::{Journal, Phase};
pub use observed::{Guard, Intent, Observed, Rules};
pub use outcome::Outcome;

use observed::{Kind, WhenDeleted};

/// Where a recreate is, for people: logs, metrics, `rso status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The gates are asked.
    Preflight,
    /// The journal and the backup are written.
    Prepared,
    /// The claims are made safe from the deletion of the set.
    Retained,
    /// The hold is on.
    Held,
    /// The set is being deleted.
    Deleting,
    /// The garbage collector orphans pods, revisions and claims.
    Orphaning,
    /// That nothing refers to the old set is checked.
    Verified,
    /// The name becomes free.
    Releasing,
    /// The set is created again.
    Creating,
    /// The new set takes over the pods.
    Adopting,
    /// What was changed for the creation is restored.
    Landing,
    /// All is as before, but larger.
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

    /// The word.
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

/// What to do now. At most one write.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing is to be done: the templates are as large as wanted and nothing of ours is left, except what `again` says.
    Done {
        /// Something is left to do then, without haste: guards to drop.
        again: Option<Duration>,
    },
    /// It must not begin. The note says whether that passes by itself and what to do.
    Refuse(Note),
    /// Somebody else has to move first.
    Wait(Wait),
    /// More must be known. Looking changes nothing.
    Look(Look),
    /// One write.
    Write(Action),
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// Where the recreate stands.
    pub state: State,
    /// What ends it early: a change of the set itself after this resourceVersion.
    pub change_after: Option<String>,
    /// Observe again after this at the latest.
    pub at_most: Duration,
    /// What a person should hear if it lasts.
    pub note: Option<Note>,
}

/// What must be looked up first.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    /// Dry runs with these objects.
    Probes(Box<ProbeRequest>),
    /// The workloads of the namespace that would adopt the Pods.
    Rivals(RivalsRequest),
    /// The watch's DELETED event of the object that vanished.
    LastObject {
        /// The object, and the state from which on to look.
        of: Guard,
        /// The transaction whose new set may have come and gone meanwhile.
        transaction: String,
    },
}

/// For whom rivals are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RivalsRequest {
    /// The StatefulSet.
    pub of: Guard,
    /// The labels of everything that it lets go of: the pod template, each Pod, each ControllerRevision.
    pub labels: std::collections::BTreeSet<std::collections::BTreeMap<String, String>>,
}

/// What the dry runs send.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeRequest {
    /// The live object, for preconditions.
    pub guard: Guard,
    /// The same, whole: what a dry run of a PATCH answers is compared with it.
    pub object: Value,
    /// Its generation.
    pub generation: i64,
    /// What the templates are to become.
    pub targets: std::collections::BTreeMap<crate::api::names::TemplateName, crate::api::bytes::Bytes>,
    /// The set as it will be created.
    pub create: Value,
    /// The same under a name that is free.
    pub copy: Value,
    /// Its finalizers with the hold.
    pub finalizers: Vec<String>,
    /// The backup as it will be created.
    pub backup: Value,
    /// `spec.volumeClaimTemplates` with the new sizes, for a PATCH in place.
    pub templates: Value,
    /// A merge patch of `spec`: what the new set gets for the CREATE and gives back at the end. None: nothing.
    pub spec: Option<Value>,
    /// A claim that gets a guard. None: no claim does.
    pub protect: Option<Protection>,
}

/// The guard of a claim, for a dry run.
#[derive(Clone, Debug, PartialEq)]
pub struct Protection {
    /// The name of the claim.
    pub claim: String,
    /// Of the claim.
    pub guard: Guard,
    /// Its ownerReferences with the guard.
    pub owners: Vec<Value>,
}

/// One write, with its precondition.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The templates in place, where the server allows it (KEP-4650).
    PatchTemplates {
        /// Of the set.
        guard: Guard,
        /// `spec.volumeClaimTemplates`.
        templates: Value,
    },
    /// A new journal.
    CreateJournal(Box<Journal>),
    /// The journal, replaced.
    UpdateJournal {
        /// What it says now.
        journal: Box<Journal>,
        /// Of the ConfigMap.
        guard: Guard,
    },
    /// The journal, removed: the transaction is over.
    DeleteJournal {
        /// The ConfigMap.
        name: String,
        /// Of the ConfigMap.
        guard: Guard,
        /// How it ended, if this is the end of one.
        ending: Option<Ending>,
    },
    /// A new backup.
    CreateBackup(Box<Value>),
    /// A backup that is too old to keep.
    DeleteBackup {
        /// The ConfigMap.
        name: String,
        /// Of the ConfigMap.
        guard: Guard,
    },
    /// The ownerReferences of a pod, revision or claim.
    SetOwners {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Of it.
        guard: Guard,
        /// All of them, as they shall be.
        owners: Vec<Value>,
        /// Why.
        why: OwnersChange,
    },
    /// `persistentVolumeClaimRetentionPolicy.whenDeleted` of the old set.
    SetRetention {
        /// Of the set.
        guard: Guard,
        /// What it shall be.
        when_deleted: WhenDeleted,
    },
    /// The finalizers of the set before the DELETE: with the hold, or without.
    SetFinalizers {
        /// Of the set.
        guard: Guard,
        /// All of them, as they shall be.
        finalizers: Vec<String>,
    },
    /// DELETE of the set, orphaning its pods.
    Delete {
        /// Of the set.
        guard: Guard,
    },
    /// The finalizers of the deleted set go, and with the last one the set.
    Release {
        /// Of the set.
        guard: Guard,
        /// What stays; empty but for a foreign one.
        finalizers: Vec<String>,
    },
    /// The set, created.
    Create(Box<Value>),
    /// Strategy and `whenDeleted` of the new set.
    RestoreSpec {
        /// Of the new set.
        guard: Guard,
        /// A merge patch of `spec`.
        spec: Value,
    },
    /// `managedFields` as before, and our id removed.
    RestoreOwnership {
        /// Of the new set.
        guard: Guard,
        /// `metadata.managedFields`.
        managed_fields: Value,
    },
}

/// Why ownerReferences are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnersChange {
    /// A second, solid owner is added.
    Guard,
    /// References to the old set are removed.
    Strip,
    /// A reference to the set that was taken off for the recreate is put back.
    GiveBack,
    /// The guard is removed.
    Unguard,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Ending {
    /// The set is back with larger templates.
    Landed,
    /// The set is back, and a template is smaller than it was created: somebody put the size back.
    PutBack,
    /// A gate closed before the DELETE; everything was taken back.
    Undone,
    /// Somebody else created the name meanwhile; theirs is left alone.
    Superseded,
    /// Somebody deleted the set before it was held; it stays deleted.
    Deleted,
    /// The namespace is going away.
    NamespaceGone,
}

impl Ending {
    /// The word, also the value of the metric label `result`.
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
    /// Where the recreate stands when it does this.
    pub const fn state(&self) -> State {
        match self {
            Self::PatchTemplates { .. } => State::Preflight,
            Self::CreateJournal(_) | Self::CreateBackup(_) => State::Prepared,
            Self::SetRetention { .. } | Self::SetOwners { why: OwnersChange::Guard, .. } => State::Retained,
            Self::SetFinalizers { .. } => State::Held,
            Self::Delete { .. } => State::Deleting,
            Self::SetOwners { why: OwnersChange::Strip, .. } => State::Verified,
            Self::Release { .. } => State::Releasing,
            Self::Create(_) => State::Creating,
            Self::RestoreSpec { .. }
            | Self::RestoreOwnership { .. }
            | Self::SetOwners { why: OwnersChange::GiveBack, .. } => State::Landing,
            Self::DeleteJournal { .. } | Self::DeleteBackup { .. } => State::Done,
            Self::SetOwners { why: OwnersChange::Unguard, .. } => State::Done,
            Self::UpdateJournal { journal, .. } => match journal.phase {
                Phase::Prepared => State::Prepared,
                Phase::Deleting => State::Deleting,
                Phase::Releasing => State::Releasing,
                Phase::Adopting => State::Adopting,
                Phase::Guarded => State::Done,
            },
        }
    }

    /// The precondition. None for the creates, whose precondition is that the name is free.
    #[cfg(feature = "testing")]
    pub const fn guard(&self) -> Option<&Guard> {
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

/// The next step of the recreate of one set.
///
/// Pure: the same knowledge gives the same step. Every write that it returns is either allowed by the journal's phase or
/// can be undone.
pub fn next(seen: &Observed, now: Timestamp) -> Step {
    stages::next(seen, now)
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// The set that is there now, if any.
    pub uid: Option<Uid>,
    /// From the release to the CREATE's answer: no object had the name. None when a crash was in between.
    pub absent: Option<Duration>,
    /// From the DELETE to the adoption: nobody managed the pods. None when a crash was in between.
    pub unmanaged: Option<Duration>,
    /// What is there in the end.
    pub outcome: Outcome,
}
