//! The StatefulSet as observed, with the fields on which its recreation depends.
//!
//! The complete object is kept beside them, to be written back; a field that cannot be read is an error that names it.

use jiff::Timestamp;
use serde_json::Value;

use crate::api::annotations;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, Ordinal, SetName, TemplateName, Uid};
use crate::api::storage::REQUEST_POINTER;
use crate::api::write::Precondition;

/// A StatefulSet as it is now: its JSON, and the fields on which decisions depend.
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
    /// The fields that determine its Pods and PVCs.
    pub spec: Spec,
}

/// The fields of a StatefulSet's spec on which decisions depend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// `spec.replicas`, or 1 if it is null.
    pub replicas: u32,
    /// `spec.ordinals.start`, or 0 if it is missing.
    pub start: u32,
    /// `spec.volumeClaimTemplates` in order, with `spec.resources.requests.storage`.
    pub templates: Vec<(TemplateName, Bytes)>,
    /// `spec.updateStrategy.type` is `OnDelete`.
    pub on_delete: bool,
    /// `spec.persistentVolumeClaimRetentionPolicy.whenDeleted`.
    pub when_deleted: WhenDeleted,
}

/// What happens to the PVCs when the StatefulSet is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum WhenDeleted {
    /// The PVCs stay.
    Retain,
    /// The PVCs are deleted: they have ownerReferences to the StatefulSet.
    Delete,
}

impl WhenDeleted {
    /// The value as Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
        }
    }
}

/// JSON that is not a valid StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to read the StatefulSet: {path} is {what}")]
pub struct Malformed {
    /// The field.
    pub path: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl LiveSet {
    /// Reads the fields on which decisions depend from the object.
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
    pub fn guard(&self) -> Precondition {
        Precondition { uid: self.uid.clone(), resource_version: self.resource_version.clone() }
    }

    /// Whether it has the finalizer of the recreation.
    pub fn has_own_finalizer(&self) -> bool {
        self.has_finalizer(annotations::HOLD)
    }

    /// Whether its annotation confirms a deletion. If so, no recreation begins, and one that has deleted nothing is
    /// rolled back.
    pub fn may_be_deleted(&self) -> bool {
        self.object["metadata"]["annotations"][annotations::ALLOW_DELETE] == "true"
    }

    /// Whether it has that finalizer.
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }

    /// The ID of the recreation that created it, until that recreation is complete.
    pub fn transaction(&self) -> Option<&str> {
        self.object["metadata"]["annotations"][annotations::TRANSACTION].as_str()
    }

    /// A string of its status; empty if it is missing.
    pub fn status_text(&self, field: &str) -> &str {
        self.object["status"][field].as_str().unwrap_or_default()
    }

    /// A number of its status; 0 if it is missing, because the API server omits zeros.
    pub fn status_number(&self, field: &str) -> i64 {
        self.object["status"][field].as_i64().unwrap_or(0)
    }
}

impl Spec {
    /// Reads the fields on which decisions depend from the JSON of a StatefulSet, live or an image.
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

    /// Whether the Pod of that ordinal belongs to the StatefulSet now.
    pub fn in_range(&self, ordinal: Ordinal) -> bool {
        (self.start..self.start.saturating_add(self.replicas)).contains(&ordinal.0)
    }

    /// Whether a PVC is that of a Pod that belongs to the StatefulSet now.
    pub fn has_pod_for(&self, claim: &ClaimName, set: &SetName) -> bool {
        self.place_of(claim, set).is_some_and(|(_, ordinal)| self.in_range(ordinal))
    }

    /// The ordinals of its Pods.
    pub fn ordinals(&self) -> impl Iterator<Item = Ordinal> + use<> {
        (self.start..self.start.saturating_add(self.replicas)).map(Ordinal)
    }

    /// The template and the ordinal of a PVC of the StatefulSet, regardless of whether that ordinal is in range.
    pub fn place_of(&self, claim: &ClaimName, set: &SetName) -> Option<(&TemplateName, Ordinal)> {
        self.templates.iter().find_map(|(name, _)| claim.ordinal_of(name, set).map(|ordinal| (name, ordinal)))
    }
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
    let size = template.pointer(REQUEST_POINTER).unwrap_or(&Value::Null);
    // The API server expects strings, but accepts a number and stores it as a string.
    let text = size.as_str().map_or_else(|| size.to_string(), str::to_owned);
    let size = text.parse().map_err(|error| Malformed { path, what: format!("of size {text:?}: {error}") })?;
    Ok((TemplateName::new(name), size))
}
