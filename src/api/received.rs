//! The fields of the objects of the API server that rso keeps or evaluates. The parser skips every other field without a
//! copy, so an object costs the operator only these.
//!
//! What rso writes back travels as untyped JSON instead: a field that is missing here is never lost.

use std::collections::BTreeMap;

use serde::Deserialize;

mod meta;
pub mod pod;

pub use meta::{Managed, Meta, PROVISIONER};

/// A StatefulSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StatefulSet {
    /// `metadata`.
    pub metadata: Meta,
    /// `spec`.
    pub spec: StatefulSetSpec,
}

/// `spec` of a StatefulSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetSpec {
    /// `replicas`.
    pub replicas: Option<i32>,
    /// `ordinals`.
    pub ordinals: Option<Ordinals>,
    /// `volumeClaimTemplates`.
    pub volume_claim_templates: Option<Vec<PersistentVolumeClaim>>,
    /// `persistentVolumeClaimRetentionPolicy`.
    pub persistent_volume_claim_retention_policy: Option<RetentionPolicy>,
}

/// `spec.ordinals` of a StatefulSet.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ordinals {
    /// `start`.
    pub start: Option<i32>,
}

/// `spec.persistentVolumeClaimRetentionPolicy` of a StatefulSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetentionPolicy {
    /// `whenDeleted`.
    pub when_deleted: Option<String>,
}

/// A PVC, or an entry of `volumeClaimTemplates`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PersistentVolumeClaim {
    /// `metadata`.
    pub metadata: Meta,
    /// `spec`.
    pub spec: Option<ClaimSpec>,
    /// `status`.
    pub status: Option<ClaimStatus>,
}

/// `spec` of a PVC.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSpec {
    /// `resources`.
    pub resources: Option<Resources>,
    /// `storageClassName`.
    pub storage_class_name: Option<String>,
    /// `volumeMode`.
    pub volume_mode: Option<String>,
}

/// `spec.resources` of a PVC.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// `requests`.
    pub requests: Option<Storage>,
}

/// A map of resources, of which a PVC has one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Storage {
    /// `storage`: a quantity, or a word about it.
    pub storage: Option<String>,
}

/// `status` of a PVC.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimStatus {
    /// `phase`.
    pub phase: Option<String>,
    /// `capacity`.
    pub capacity: Option<Storage>,
    /// `allocatedResources`.
    pub allocated_resources: Option<Storage>,
    /// `allocatedResourceStatuses`.
    pub allocated_resource_statuses: Option<Storage>,
    /// `conditions`.
    pub conditions: Option<Vec<Condition>>,
}

/// An entry of `status.conditions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `status`.
    pub status: String,
    /// `reason`.
    pub reason: Option<String>,
    /// `message`.
    pub message: Option<String>,
}

/// A StorageClass.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClass {
    /// `metadata`.
    pub metadata: Meta,
    /// `provisioner`.
    pub provisioner: Option<String>,
    /// `allowVolumeExpansion`.
    pub allow_volume_expansion: Option<bool>,
}

/// A ConfigMap, without its `binaryData`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConfigMap {
    /// `metadata`.
    pub metadata: Meta,
    /// `data`.
    pub data: Option<BTreeMap<String, String>>,
}
