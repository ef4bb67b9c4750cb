//! The states of a recreation, the phases of its journal, and the ways in which it ends.

use serde::{Deserialize, Serialize};

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

/// The phase of a recreation. It is written *before* the action that it permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Permits the backup, the protective owner references, `Retain`, and the finalizer: all of it can be rolled back.
    Prepared,
    /// Permits the orphaning DELETE of the object in `image`, which has the finalizer.
    Deleting,
    /// Permits the removal of the finalizer from the object in `image`, and then the CREATE.
    Releasing,
    /// The new object exists, and this transaction created it. Permits restoring what was changed for the CREATE.
    Adopting,
    /// The recreation is complete. The PVCs keep their protective owner references for a while.
    Guarded,
}

impl Phase {
    /// Every phase in order.
    pub const ALL: [Self; 5] = [Self::Prepared, Self::Deleting, Self::Releasing, Self::Adopting, Self::Guarded];

    /// The name of the phase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "Prepared",
            Self::Deleting => "Deleting",
            Self::Releasing => "Releasing",
            Self::Adopting => "Adopting",
            Self::Guarded => "Guarded",
        }
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
