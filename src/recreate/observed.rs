//! The observations from which the next step of a recreation is decided.
//!
//! [`Observed`] holds one iteration's observations, read from the API server each time. Objects that will be written
//! back are kept as the JSON in which they arrived (a typed struct drops the fields that it does not know: hazard 7 of
//! `docs/recreate.md`), beside a typed view of the few fields that the decision depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::backup::BackupHead;
use super::dependent::{Claim, Dependent};
use super::journal::{Journal, JournalError, JournalHead};
use super::phase::Phase;
use super::probes::Probes;
use super::rivals::Rivals;
use super::set::{LiveSet, Spec};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName, Uid};
use crate::api::write::Precondition;

/// A request: these templates with at least these sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The StatefulSet.
    pub set: SetName,
    /// The object that was observed when this was decided; another object of that name is not changed.
    pub uid: Option<Uid>,
    /// The requested size of each template to expand. A template that is not named keeps its size.
    pub targets: BTreeMap<TemplateName, Bytes>,
    /// The reason in one sentence, for the backup and the Events.
    pub reason: String,
    /// The kind of a controller that may own the StatefulSet (`allow-owner`).
    pub allow_owner: Option<String>,
}

/// Limits and times that an administrator or a test may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// No recreation starts until the ownerReferences of Pods, ControllerRevisions, and PVCs have been unchanged for
    /// this long: the garbage collector orphans only the dependents that its graph has observed (k8s#131284).
    pub settle: Duration,
    /// After this long without the garbage collector, the operator removes the references itself.
    pub assist_after: Duration,
    /// How long a PVC that had an owner keeps its protective owner reference after the recreation is complete. Ten
    /// minutes: the informers of the controller-manager renew their watches every five to ten (client-go,
    /// `minWatchTimeout`). After that, no cache from before the recreation can make the controller-manager write a
    /// reference to the old StatefulSet.
    pub protect_for: Duration,
    /// The maximum number of recreations in progress in the whole cluster.
    pub concurrent: usize,
    /// The number of backups to keep of one StatefulSet.
    pub backups_kept: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(3),
            assist_after: Duration::from_secs(30),
            protect_for: Duration::from_secs(600),
            concurrent: 10,
            backups_kept: 3,
        }
    }
}

/// The observations of one iteration for one StatefulSet.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The StatefulSet.
    pub set: SetName,
    /// The object of that name.
    pub live: Live,
    /// The last state of the object that no longer exists, if it was requested.
    pub last: LastObject,
    /// How the StatefulSet was deleted, if it no longer exists.
    pub departure: Departure,
    /// Pods that the StatefulSet owns, owned, or will own.
    pub pods: Vec<Dependent>,
    /// Its ControllerRevisions.
    pub revisions: Vec<Dependent>,
    /// PVCs of its templates, of any ordinal, and PVCs that refer to it.
    pub claims: Vec<Claim>,
    /// Its namespace.
    pub namespace: Namespace,
    /// The journal of the transaction in progress for this object.
    pub journal: Stored,
    /// Every other journal in the cluster, without its body.
    pub others: Vec<JournalHead>,
    /// The backups of the StatefulSet.
    pub backups: Backups,
    /// The requested sizes, if any.
    pub intent: Option<Intent>,
    /// The answers of the API server to dry runs, if they were requested.
    pub probes: Option<Probes>,
    /// The other workloads that would adopt the Pods, if they were requested.
    pub rivals: Option<Rivals>,
    /// The tunable limits.
    pub rules: Rules,
}

/// The object with the name of the StatefulSet.
#[derive(Clone, Debug)]
pub enum Live {
    /// There is none.
    Absent,
    /// There is one, which may be terminating.
    Present(Box<LiveSet>),
}

/// What the watch reported when the StatefulSet was removed.
#[derive(Clone, Debug, PartialEq)]
pub enum LastObject {
    /// The history was not requested.
    NotAsked,
    /// The history does not reach back far enough.
    Unknown,
    /// The history could not be read; it may reach back far enough.
    Busy,
    /// The object as it was when it was deleted: it holds every edit that was accepted.
    Seen(Box<Value>),
    /// The object that rso or another client created in its place is gone too: it was deleted.
    SuccessorGone,
}

/// How a StatefulSet that no longer exists was deleted, as far as the watch reported it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Departure {
    /// It is not known how it was deleted, or what happens to its PVCs.
    #[default]
    Unknown,
    /// With `--cascade=orphan`: the objects that it owned stay.
    Orphaned,
    /// With `whenDeleted: Delete`, and not orphaned.
    WithClaims {
        /// The UID of the StatefulSet.
        uid: Uid,
        /// The PVCs that referred to it: they are deleted with it.
        claims: BTreeSet<ClaimName>,
    },
}

/// The namespace of the StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.uid`, for the protective owner reference.
    pub uid: Uid,
    /// `status.phase` is `Terminating`.
    pub terminating: bool,
}

/// The stored journal.
#[derive(Clone, Debug)]
pub enum Stored {
    /// There is none.
    None,
    /// There is one, and it is complete.
    Some {
        /// Its content.
        journal: Box<Journal>,
        /// The precondition of a write to it.
        guard: Precondition,
    },
    /// There is a ConfigMap of that name, but it cannot be trusted.
    Unreadable {
        /// Its name.
        name: String,
        /// The precondition of a write to it.
        guard: Precondition,
        /// Why.
        error: JournalError,
    },
}

/// The backups of the StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backups {
    /// The existing backups by number.
    pub taken: BTreeMap<u64, BackupHead>,
    /// A number whose name is free. It is above all existing numbers, unless those exceed the clock.
    pub next: u64,
}

impl Observed {
    /// The object with the name of the StatefulSet, if there is one.
    pub fn live(&self) -> Option<&LiveSet> {
        match &self.live {
            Live::Absent => None,
            Live::Present(live) => Some(live),
        }
    }

    /// Everything that may refer to the StatefulSet: Pods, ControllerRevisions, PVCs.
    pub fn dependents(&self) -> impl Iterator<Item = &Dependent> {
        self.pods.iter().chain(&self.revisions).chain(self.claims.iter().map(|claim| &claim.object))
    }

    /// The other journals of recreations in progress, without those that only wait for the removal of protective owner
    /// references.
    pub fn in_flight(&self) -> impl Iterator<Item = &JournalHead> {
        self.others.iter().filter(|head| head.phase != Phase::Guarded)
    }

    /// Journals of the same StatefulSet that only wait for the removal of protective owner references.
    pub fn protecting(&self) -> impl Iterator<Item = &JournalHead> {
        self.others.iter().filter(|head| head.phase == Phase::Guarded && head.set == self.set)
    }

    /// The names of the Pods that the StatefulSet has according to its spec.
    pub fn pod_names(&self, spec: &Spec) -> BTreeSet<String> {
        spec.ordinals().map(|ordinal| crate::api::names::pod_name(&self.set, ordinal)).collect()
    }
}
