//! The objects that refer to a StatefulSet: Pods, ControllerRevisions, and PVCs, with their ownerReferences.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::bytes::Bytes;
use crate::api::names::Uid;
use crate::api::write::Precondition;

/// A kind of object that the StatefulSet owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A Pod.
    Pod,
    /// A ControllerRevision.
    Revision,
    /// A PersistentVolumeClaim.
    Claim,
}

/// An object that refers to the StatefulSet, or should.
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
    /// `metadata.generation`, if it has one: for a Pod, the number of changes of its spec.
    pub generation: Option<i64>,
    /// `metadata.ownerReferences`, as they are.
    pub owners: Vec<Value>,
    /// The label `controller-revision-hash` (Pods).
    pub revision: Option<String>,
    /// `metadata.labels`. Other controllers select it by them and adopt it while it has no owner.
    pub labels: BTreeMap<String, String>,
    /// It has a deletionTimestamp.
    pub deleting: bool,
    /// When its ownerReferences were last written, to the second, according to `managedFields`.
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

    /// Its controller, if that is not the object with this UID: `ReplicaSet web`.
    pub fn controller_other_than(&self, uid: &Uid) -> Option<String> {
        let owner = self.owners.iter().find(|owner| owner["controller"] == true && owner["uid"] != uid.as_str())?;
        let text = |key: &str| owner[key].as_str().unwrap_or_default();
        Some(format!("{} {}", text("kind"), text("name")))
    }

    /// Its references without those to that UID.
    pub fn owners_without(&self, uid: &Uid) -> Vec<Value> {
        self.owners.iter().filter(|owner| owner["uid"] != uid.as_str()).cloned().collect()
    }

    /// The precondition of a write to it.
    pub fn guard(&self) -> Precondition {
        Precondition { uid: self.uid.clone(), resource_version: self.resource_version.clone() }
    }
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The fields that every dependent has.
    pub object: Dependent,
    /// `spec.resources.requests.storage`, or the capacity if the driver provided more.
    pub requested: Bytes,
}

impl Claim {
    /// Whether the PVC has the protective owner reference: an ownerReference to the Namespace, which exists as long as
    /// the PVC can. With this second owner, the garbage collector does not delete the PVC, regardless of what it knows
    /// about the first.
    pub fn is_protected_by(&self, namespace: &Uid) -> bool {
        self.object.owners.iter().any(|owner| owner["kind"] == "Namespace" && owner["uid"] == namespace.as_str())
    }
}

/// The labels in `metadata.labels`.
pub fn labels(of: &Value) -> BTreeMap<String, String> {
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    of.as_object().into_iter().flatten().filter_map(text).collect()
}

/// When the ownerReferences of an object were last written, according to its `managedFields`.
///
/// The time is that of the manager's entry. It may be later than the actual write (another field of that manager), but
/// never earlier. An object without such an entry was created with its owners.
pub fn owners_changed(metadata: &Value) -> Option<Timestamp> {
    let entries = metadata["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let writes = entries.iter().filter(|entry| !entry["fieldsV1"]["f:metadata"]["f:ownerReferences"].is_null());
    let times = writes.filter_map(|entry| entry["time"].as_str()).filter_map(|time| time.parse().ok());
    times.max().or_else(|| metadata["creationTimestamp"].as_str()?.parse().ok())
}
