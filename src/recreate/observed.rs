//! What must be known before the next step of a recreate can be chosen?
//!
//! [`Observed`] is one round's knowledge, read afresh from the API server. Objects that will be written back are kept as the
//! JSON they arrived in (a typed struct drops the fields it does not know: hazard 7 of `docs/recreate.md`); beside it
//! stands a typed view of the few fields that decide.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::journal::{Journal, JournalError, Phase};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName, Uid};

pub use super::journal::JournalHead;
pub use super::precondition::Guard;
pub use super::set::{LiveSet, Malformed, Spec, WhenDeleted};

/// What somebody wants: these templates at least this large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The set.
    pub set: SetName,
    /// The very object that was looked at when this was decided; another one of that name is not touched.
    pub uid: Option<Uid>,
    /// The wanted size of each template that is to grow. A template that is not named keeps its size.
    pub targets: BTreeMap<TemplateName, Bytes>,
    /// Why, one sentence, for the backup and the Events.
    pub reason: String,
    /// The kind of a controller that may own the set (`allow-owner`).
    pub allow_owner: Option<String>,
}

/// The numbers that an administrator or a test may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Nothing starts until the ownerReferences of pods, revisions and claims have been unchanged for this long: the
    /// garbage collector orphans only the dependents that its graph has seen (k8s#131284).
    pub settle: Duration,
    /// After this long without the garbage collector we remove the references ourselves.
    pub assist_after: Duration,
    /// How long a claim that had an owner keeps its guard after the recreate has landed. Ten minutes: the informers of the
    /// controller-manager renew their watches every five to ten (client-go, `minWatchTimeout`), so that no cache from
    /// before the recreate can still make it write a reference to the old set after that.
    pub guard_for: Duration,
    /// Recreates in flight in the whole cluster.
    pub concurrent: usize,
    /// Backups kept of one set.
    pub backups_kept: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(3),
            assist_after: Duration::from_secs(30),
            guard_for: Duration::from_secs(600),
            concurrent: 10,
            backups_kept: 3,
        }
    }
}

/// One round's knowledge of one set.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Which set.
    pub set: SetName,
    /// The object of that name.
    pub live: Live,
    /// The last state of the object that vanished, when it was asked for.
    pub last: LastObject,
    /// How the object of that name went, when there is none.
    pub departure: Departure,
    /// Pods that are, were or will be the set's.
    pub pods: Vec<Dependent>,
    /// Its ControllerRevisions.
    pub revisions: Vec<Dependent>,
    /// Claims of its templates, of any ordinal, and claims that refer to it.
    pub claims: Vec<Claim>,
    /// Its namespace.
    pub namespace: Namespace,
    /// The journal of the transaction in flight for this set.
    pub journal: Stored,
    /// Every other journal in the cluster, without its body.
    pub others: Vec<JournalHead>,
    /// The backups of the set.
    pub backups: Backups,
    /// What is wanted, if anything.
    pub intent: Option<Intent>,
    /// Answers of the API server to dry runs, when they were asked for.
    pub probes: Option<Probes>,
    /// Who else would adopt the Pods, when it was asked for.
    pub rivals: Option<Rivals>,
    /// The numbers.
    pub rules: Rules,
}

/// The object of the set's name.
#[derive(Clone, Debug)]
pub enum Live {
    /// There is none.
    Absent,
    /// There is one, perhaps on its way out.
    Present(Box<LiveSet>),
}

/// What the watch said when the set vanished.
#[derive(Clone, Debug, PartialEq)]
pub enum LastObject {
    /// Nobody has asked.
    NotAsked,
    /// The history does not reach back so far.
    Unknown,
    /// Nobody answered: it may reach back so far.
    Busy,
    /// The object as it was when it was deleted: it holds every edit that was accepted.
    Seen(Box<Value>),
    /// What was created in its place, by us or by somebody else, is gone as well: somebody deleted it.
    SuccessorGone,
}

/// How a StatefulSet that is gone was deleted, as far as the watch told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Departure {
    /// Nobody saw how it went, or what is to become of its PVCs.
    #[default]
    Unknown,
    /// With `--cascade=orphan`: what it owned stays.
    Orphaned,
    /// With `whenDeleted: Delete`, and not orphaned.
    WithClaims {
        /// Of the StatefulSet.
        uid: Uid,
        /// The PVCs that referred to it: they go with it.
        claims: BTreeSet<ClaimName>,
    },
}

/// A kind that the set owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A Pod.
    Pod,
    /// A ControllerRevision.
    Revision,
    /// A PersistentVolumeClaim.
    Claim,
}

/// An object that refers to the set, or should.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependent {
    /// Its kind.
    pub kind: Kind,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.ownerReferences`, as they are.
    pub owners: Vec<Value>,
    /// The label `controller-revision-hash` (pods).
    pub revision: Option<String>,
    /// `metadata.labels`: by them other controllers adopt it while it has no owner.
    pub labels: BTreeMap<String, String>,
    /// It has a deletionTimestamp.
    pub deleting: bool,
    /// When its ownerReferences were last written, to the second, as `managedFields` tells.
    pub owners_changed: Option<Timestamp>,
}

impl Dependent {
    /// Whether one of its references is to that UID.
    pub fn refers_to(&self, uid: &Uid) -> bool {
        self.owners.iter().any(|owner| owner["uid"] == uid.as_str())
    }

    /// Whether that UID is its controller.
    pub fn controlled_by(&self, uid: &Uid) -> bool {
        self.owners.iter().any(|owner| owner["uid"] == uid.as_str() && owner["controller"] == true)
    }

    /// Its controller, where that is another object than this one: `ReplicaSet web`.
    pub fn controller_other_than(&self, uid: &Uid) -> Option<String> {
        let owner = self.owners.iter().find(|owner| owner["controller"] == true && owner["uid"] != uid.as_str())?;
        let text = |key: &str| owner[key].as_str().unwrap_or_default();
        Some(format!("{} {}", text("kind"), text("name")))
    }

    /// The precondition of a write to it.
    pub fn guard(&self) -> Guard {
        Guard { uid: self.uid.clone(), resource_version: self.resource_version.clone() }
    }
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// What it has in common with the others.
    pub object: Dependent,
    /// `spec.resources.requests.storage`, or the capacity where the driver made more.
    pub requested: Bytes,
}

impl Claim {
    /// The guard: an ownerReference to the Namespace, which is there as long as the claim can be. With a second, solid
    /// owner the garbage collector does not delete the claim, whatever it believes of the first.
    pub fn is_guarded_by(&self, namespace: &Uid) -> bool {
        self.object.owners.iter().any(|owner| owner["kind"] == "Namespace" && owner["uid"] == namespace.as_str())
    }
}

/// The namespace of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.uid`, for the guard.
    pub uid: Uid,
    /// `status.phase` is `Terminating`.
    pub terminating: bool,
}

/// The journal as it was found.
#[derive(Clone, Debug)]
pub enum Stored {
    /// There is none.
    None,
    /// There is one, whole.
    Some {
        /// What it says.
        journal: Box<Journal>,
        /// The precondition of a write to it.
        guard: Guard,
    },
    /// There is a ConfigMap of that name which cannot be trusted.
    Unreadable {
        /// Its name.
        name: String,
        /// The precondition of a write to it.
        guard: Guard,
        /// Why.
        error: JournalError,
    },
}

/// The backups of the set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backups {
    /// What there is, by number.
    pub taken: BTreeMap<u64, BackupHead>,
    /// A number whose name is free, above all that are taken unless those are beyond the clock.
    pub next: u64,
}

/// A backup without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupHead {
    /// The ConfigMap's name.
    pub name: String,
    /// The precondition of a write to it.
    pub guard: Guard,
    /// The transaction that took it.
    pub transaction: Option<String>,
    /// It is being deleted: somebody's finalizer may keep it for ever.
    pub deleting: bool,
}

/// What the API server answered to a dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would have been done.
    Accepted,
    /// 409: an object of that name is there. The server answers so only after admission, validation and quota passed.
    AlreadyExists,
    /// 409: the object has changed since it was read.
    Conflict,
    /// It would have been refused, and the reason will not go away by itself.
    Refused(String),
    /// It would have been done, but not as asked: admission changes these fields as well.
    Changed(Vec<String>),
    /// It cannot be known now: a timeout, an overloaded server.
    Unknown(String),
}

/// The other workloads of the namespace whose selector matches the StatefulSet's Pods. Each of them would adopt the Pods
/// while they have no owner, and delete what is more than its own number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rivals {
    /// The StatefulSet that they were looked up for, in this state.
    pub of: Guard,
    /// Who they are, or why that is not known.
    pub found: Found,
}

/// What a search for other workloads found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These, as `ReplicaSet web`.
    Rivals(Vec<String>),
    /// The operator may not look; the server's words.
    Forbidden(String),
    /// It cannot be known now.
    Unknown(String),
}

/// The dry runs that are made before anything is touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    /// The object they were made with.
    pub uid: Uid,
    /// Its generation.
    pub generation: i64,
    /// What they raised the templates to.
    pub targets: BTreeMap<TemplateName, Bytes>,
    /// When.
    pub at: Timestamp,
    /// The CREATE of the set that will be made, under the same name. Must be [`Verdict::AlreadyExists`].
    pub create: Verdict,
    /// The same CREATE under a name that is free: its answer shows what admission makes of the object.
    pub copy: Verdict,
    /// The orphaning DELETE.
    pub delete: Verdict,
    /// The PATCH that adds the hold.
    pub hold: Verdict,
    /// The CREATE of the backup.
    pub backup: Verdict,
    /// A PATCH of the templates in place (KEP-4650).
    pub native: Verdict,
    /// The PATCH of `spec.updateStrategy` and `whenDeleted`, as it is taken back at the end.
    pub spec: Verdict,
    /// The PATCH of a claim's ownerReferences, where claims get guards.
    pub protect: Verdict,
}

impl Observed {
    /// The object of the set's name, if there is one.
    pub fn live(&self) -> Option<&LiveSet> {
        match &self.live {
            Live::Absent => None,
            Live::Present(live) => Some(live),
        }
    }

    /// Everything that may refer to the set: pods, revisions, claims.
    pub fn dependents(&self) -> impl Iterator<Item = &Dependent> {
        self.pods.iter().chain(&self.revisions).chain(self.claims.iter().map(|claim| &claim.object))
    }

    /// The other journals in flight for a set, without those that only wait to drop their guards.
    pub fn in_flight(&self) -> impl Iterator<Item = &JournalHead> {
        self.others.iter().filter(|head| head.phase != Phase::Guarded)
    }

    /// Journals of this set that only wait to drop their guards.
    pub fn guarded(&self) -> impl Iterator<Item = &JournalHead> {
        self.others.iter().filter(|head| head.phase == Phase::Guarded && head.set == self.set)
    }

    /// The names of the pods that the set has by its spec.
    pub fn pod_names(&self, spec: &Spec) -> BTreeSet<String> {
        spec.ordinals().map(|ordinal| crate::api::names::pod_name(&self.set, ordinal)).collect()
    }
}

/// When the last write of an object's ownerReferences was, as its `managedFields` tell.
///
/// The time is that of the manager's entry, so it may be later than the truth (another field of that manager), never
/// earlier. An object without the entry was created with its owners.
pub fn owners_changed(metadata: &Value) -> Option<Timestamp> {
    let entries = metadata["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let writes = entries.iter().filter(|entry| !entry["fieldsV1"]["f:metadata"]["f:ownerReferences"].is_null());
    let times = writes.filter_map(|entry| entry["time"].as_str()).filter_map(|time| time.parse().ok());
    times.max().or_else(|| metadata["creationTimestamp"].as_str()?.parse().ok())
}
