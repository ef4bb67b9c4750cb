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
use crate::api::annotations;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, Ordinal, SetName, TemplateName, Uid};

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

/// A StatefulSet as it is now: the JSON, and what decides.
#[derive(Clone, Debug)]
pub struct LiveSet {
    /// The whole object.
    pub object: Value,
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.deletionTimestamp`.
    pub deleting: Option<Timestamp>,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// What decides about pods and claims.
    pub spec: Spec,
}

/// The fields of a set's spec that decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// `spec.replicas`, 1 when it is null.
    pub replicas: u32,
    /// `spec.ordinals.start`, 0 when there is none.
    pub start: u32,
    /// `spec.volumeClaimTemplates` in order, with `spec.resources.requests.storage`.
    pub templates: Vec<(TemplateName, Bytes)>,
    /// `spec.updateStrategy.type` is `OnDelete`.
    pub on_delete: bool,
    /// `spec.persistentVolumeClaimRetentionPolicy.whenDeleted`.
    pub when_deleted: WhenDeleted,
}

/// What becomes of the claims when the set is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum WhenDeleted {
    /// They stay.
    Retain,
    /// They are deleted: the claims carry ownerReferences to the set.
    Delete,
}

impl WhenDeleted {
    /// The word of Kubernetes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
        }
    }
}

/// What the watch said when the set vanished.
#[derive(Clone, Debug, PartialEq)]
pub enum LastObject {
    /// Nobody has asked.
    NotAsked,
    /// The history does not reach back so far.
    Unknown,
    /// The object as it was when it was deleted: it holds every edit that was accepted.
    Seen(Box<Value>),
    /// What was created in its place, by us or by somebody else, is gone as well: somebody deleted it.
    SuccessorGone,
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
    /// `spec.resources.requests.storage`.
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

/// A journal without its body: enough to know who else is at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalHead {
    /// The ConfigMap's name.
    pub name: String,
    /// The precondition of a write to it.
    pub guard: Guard,
    /// The set.
    pub set: SetName,
    /// How far it is.
    pub phase: Phase,
    /// When it came there.
    pub phase_at: Timestamp,
}

/// The precondition of a write: which object, in which state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guard {
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// The backups of the set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backups {
    /// What there is, by number.
    pub taken: BTreeMap<u64, BackupHead>,
    /// A number whose name is free, above all that are taken.
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
    /// It cannot be known now: a timeout, an overloaded server.
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
    /// The orphaning DELETE.
    pub delete: Verdict,
    /// The PATCH that adds the hold.
    pub hold: Verdict,
    /// The CREATE of the backup.
    pub backup: Verdict,
    /// A PATCH of the templates in place (KEP-4650).
    pub native: Verdict,
}

/// A set's JSON that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to read the StatefulSet: {path} is {what}")]
pub struct Malformed {
    /// The field.
    pub path: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl LiveSet {
    /// Reads what decides out of the object.
    pub fn read(object: Value) -> Result<Self, Malformed> {
        let meta = &object["metadata"];
        let text = |path: &'static str, key: &str| {
            let missing = || Malformed { path, what: "missing".to_owned() };
            meta[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(missing)
        };
        Ok(Self {
            uid: Uid::new(text("metadata.uid", "uid")?),
            resource_version: text("metadata.resourceVersion", "resourceVersion")?,
            generation: meta["generation"].as_i64().unwrap_or(0),
            deleting: deletion_of(meta)?,
            finalizers: strings(&meta["finalizers"]),
            spec: Spec::read(&object)?,
            object,
        })
    }

    /// The precondition of a write to it.
    pub fn guard(&self) -> Guard {
        Guard { uid: self.uid.clone(), resource_version: self.resource_version.clone() }
    }

    /// Whether our hold is on it.
    pub fn is_held(&self) -> bool {
        self.has_finalizer(annotations::HOLD)
    }

    /// Whether somebody said that a delete is meant. No recreate begins then, and one that has deleted nothing is undone.
    pub fn may_be_deleted(&self) -> bool {
        self.object["metadata"]["annotations"][annotations::ALLOW_DELETE] == "true"
    }

    /// Whether it carries that finalizer.
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }

    /// The id of the recreate that made it, until it has landed.
    pub fn transaction(&self) -> Option<&str> {
        self.object["metadata"]["annotations"][annotations::TRANSACTION].as_str()
    }

    /// A text of its status; empty when missing.
    pub fn status_text(&self, field: &str) -> &str {
        self.object["status"][field].as_str().unwrap_or_default()
    }

    /// A number of its status; 0 when missing, as the server leaves zeros out.
    pub fn status_number(&self, field: &str) -> i64 {
        self.object["status"][field].as_i64().unwrap_or(0)
    }
}

impl Spec {
    /// Reads what decides out of a set's JSON, live or an image.
    pub fn read(object: &Value) -> Result<Self, Malformed> {
        let spec = &object["spec"];
        if !spec.is_object() {
            return Err(Malformed { path: "spec", what: "missing".to_owned() });
        }
        let retention = spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"].as_str();
        Ok(Self {
            replicas: count(&spec["replicas"], 1, "spec.replicas")?,
            start: count(&spec["ordinals"]["start"], 0, "spec.ordinals.start")?,
            templates: templates_of(spec)?,
            on_delete: spec["updateStrategy"]["type"] == "OnDelete",
            when_deleted: if retention == Some("Delete") { WhenDeleted::Delete } else { WhenDeleted::Retain },
        })
    }

    /// The size of a template.
    pub fn size_of(&self, template: &TemplateName) -> Option<Bytes> {
        self.templates.iter().find(|(name, _)| name == template).map(|(_, size)| *size)
    }

    /// Whether a pod of that ordinal belongs to the set now.
    pub fn in_range(&self, ordinal: Ordinal) -> bool {
        (self.start..self.start.saturating_add(self.replicas)).contains(&ordinal.0)
    }

    /// The ordinals of its pods.
    pub fn ordinals(&self) -> impl Iterator<Item = Ordinal> + use<> {
        (self.start..self.start.saturating_add(self.replicas)).map(Ordinal)
    }

    /// The template and ordinal of a claim of this set, whatever the ordinal.
    pub fn place_of(&self, claim: &ClaimName, set: &SetName) -> Option<(&TemplateName, Ordinal)> {
        self.templates.iter().find_map(|(name, _)| claim.ordinal_of(name, set).map(|ordinal| (name, ordinal)))
    }
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

    /// Claims of ordinals that the set does not have now: they come back when it is scaled up, at the size they have.
    pub fn leftovers(&self, spec: &Spec) -> Vec<&Claim> {
        let leftover = |claim: &&Claim| {
            let name = ClaimName::new(claim.object.name.as_str());
            spec.place_of(&name, &self.set).is_some_and(|(_, ordinal)| !spec.in_range(ordinal))
        };
        self.claims.iter().filter(leftover).collect()
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

fn deletion_of(meta: &Value) -> Result<Option<Timestamp>, Malformed> {
    let path = "metadata.deletionTimestamp";
    let Some(text) = meta["deletionTimestamp"].as_str() else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Malformed { path, what: format!("{text:?}, not a time") })
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn count(value: &Value, default: u32, path: &'static str) -> Result<u32, Malformed> {
    if value.is_null() {
        return Ok(default);
    }
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| Malformed { path, what: "not a count".to_owned() })
}

fn templates_of(spec: &Value) -> Result<Vec<(TemplateName, Bytes)>, Malformed> {
    spec["volumeClaimTemplates"].as_array().into_iter().flatten().map(template_of).collect()
}

fn template_of(template: &Value) -> Result<(TemplateName, Bytes), Malformed> {
    let path = "spec.volumeClaimTemplates";
    let name = template["metadata"]["name"].as_str();
    let name = name.ok_or_else(|| Malformed { path, what: "without a name".to_owned() })?;
    let size = &template["spec"]["resources"]["requests"]["storage"];
    // The API server wants strings, but takes a bare number and keeps it as a string.
    let text = size.as_str().map_or_else(|| size.to_string(), str::to_owned);
    let size = text.parse().map_err(|error| Malformed { path, what: format!("of size {text:?}: {error}") })?;
    Ok((TemplateName::new(name), size))
}
