//! The dry runs before the first write: what they send, and how the API server answers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::dependent::{Dependent, labels};
use super::rivals::selects;
use crate::api::bytes::Bytes;
use crate::api::names::{TemplateName, Uid};
use crate::api::write::Precondition;

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
    pub targets: BTreeMap<TemplateName, Bytes>,
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
    /// The Pods that the recreation orphans.
    pub pods: Vec<Orphan>,
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

/// A Pod that the recreation orphans, for a dry run. The garbage collector removes its reference to the StatefulSet, and
/// the StatefulSet controller adds one to the new StatefulSet; admission may change the Pod with both.
#[derive(Clone, Debug, PartialEq)]
pub struct Orphan {
    /// The Pod as it was observed. Only its UID is a precondition, because the kubelet updates the status of a Pod often.
    pub pod: Dependent,
    /// Its ownerReferences without that to the StatefulSet.
    pub owners: Vec<Value>,
}

impl Orphan {
    /// What the Pod in the response shows that admission changes: the spec, as the generation counts its changes, or the
    /// labels, if the selector of the StatefulSet no longer matches them.
    ///
    /// A dry run does not change the resourceVersion. If the response has another one than was observed, another client
    /// has changed the Pod, and nothing is known about admission.
    pub fn verdict(&self, response: &Value, selector: &Value) -> Verdict {
        let metadata = &response["metadata"];
        let new_labels = labels(&metadata["labels"]);
        let changes_spec = metadata["generation"].as_i64() != self.pod.generation;
        let loses_pod = new_labels != self.pod.labels && !selects(selector, &new_labels);
        let changed: Vec<String> = [(changes_spec, SPEC), (loses_pod, LABELS)]
            .into_iter()
            .filter(|(is_changed, _)| *is_changed)
            .map(|(_, field)| field.to_owned())
            .collect();
        if changed.is_empty() {
            Verdict::Accepted
        } else if metadata["resourceVersion"] != self.pod.resource_version.as_str() {
            Verdict::Conflict
        } else {
            Verdict::Changed(changed)
        }
    }
}

/// The field of a Pod whose change restarts containers.
const SPEC: &str = "spec";
/// The field of a Pod by which the StatefulSet controller knows it.
pub(super) const LABELS: &str = "metadata.labels";

/// The answer to the dry run of one Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAnswer {
    /// The UID of the Pod.
    pub uid: Uid,
    /// The answer.
    pub verdict: Verdict,
}

/// The answer of the API server to a dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The write would have succeeded.
    Accepted,
    /// 409: an object of that name exists. The API server answers this only after admission, validation, and quota have
    /// passed.
    AlreadyExists,
    /// 409: the object has changed since it was read.
    Conflict,
    /// The write would have been refused, for a reason that does not resolve by itself.
    Refused(String),
    /// The write would have succeeded, but not as requested: admission changes these fields as well.
    Changed(Vec<String>),
    /// The result is unknown at the moment: a timeout, or an overloaded API server.
    Unknown(String),
}

/// The dry runs before the first write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    /// The object with which they were made.
    pub uid: Uid,
    /// Its generation.
    pub generation: i64,
    /// The sizes to which they raised the templates.
    pub targets: BTreeMap<TemplateName, Bytes>,
    /// When they were made.
    pub at: Timestamp,
    /// The CREATE of the new StatefulSet under the same name. Must be [`Verdict::AlreadyExists`].
    pub create: Verdict,
    /// The same CREATE under a free name: its answer shows how admission changes the object.
    pub copy: Verdict,
    /// The orphaning DELETE.
    pub delete: Verdict,
    /// The PATCH that adds the finalizer.
    pub hold: Verdict,
    /// The CREATE of the backup.
    pub backup: Verdict,
    /// A PATCH of the templates in place (KEP-4650).
    pub native: Verdict,
    /// The PATCH of `spec.updateStrategy` and `whenDeleted`, which is rolled back at the end.
    pub spec: Verdict,
    /// The PATCH of a PVC's ownerReferences, if PVCs get protective owner references.
    pub protect: Verdict,
    /// The PATCH of the ownerReferences of each Pod that the recreation orphans, by the name of the Pod.
    pub pods: BTreeMap<String, PodAnswer>,
}
