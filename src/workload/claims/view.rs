//! A PVC as it is kept: what decisions need, read once from the object of the API server.

use jiff::Timestamp;
use serde::Deserialize;

use crate::api::annotations::{RESCUED, RESIZED_AT};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, Uid};
use crate::api::received::{Managed, Meta, PROVISIONER, PersistentVolumeClaim};
use crate::api::storage;
use crate::policy::claim::{Phase, Resize, Sizer};
use crate::recreate::manifest::MANAGER;
use crate::workload::expansion::resize;

/// The finalizer that protects a PVC while a Pod uses it.
const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// What decisions need of a PVC, whichever StatefulSet it belongs to.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "PersistentVolumeClaim")]
pub struct ClaimView {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: ClaimName,
    /// `metadata.uid`.
    pub uid: Option<Uid>,
    /// `metadata.resourceVersion`.
    pub(super) resource_version: Option<String>,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// Whether it has the finalizer that keeps a PVC as long as a Pod uses it.
    pub(super) protected: bool,
    /// Whether it has the protective owner reference of a recreation, and a Pod is its owner, too.
    pub is_protected_with_pod: bool,
    /// `volumeMode: Block`.
    pub(super) block_mode: bool,
    /// `spec.storageClassName`, unless it is empty: then the PVC has none.
    pub(super) class: Option<String>,
    /// The provisioner, as far as the PVC itself names it.
    pub(super) provisioner: Option<String>,
    /// `spec.resources.requests.storage`; `None` if it is missing or malformed.
    pub requested: Option<Bytes>,
    /// `status.capacity.storage`.
    pub(super) capacity: Option<Bytes>,
    /// `status.phase`.
    pub(super) phase: Phase,
    /// The state of its expansion.
    pub resize: Resize,
    /// The `resized-at` annotation.
    pub(super) resized_at: Option<Timestamp>,
    /// The `rescued` annotation: how often it was expanded without a measurement.
    pub(super) rescued: u32,
    /// Who set the size that it requests, if that is known.
    pub(super) sizer: Option<Sizer>,
}

impl From<PersistentVolumeClaim> for ClaimView {
    fn from(claim: PersistentVolumeClaim) -> Self {
        let requested = storage::requested(&claim);
        let PersistentVolumeClaim { metadata: mut meta, spec, status } = claim;
        let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
        Self {
            deleting: meta.deletion_timestamp.is_some(),
            protected: meta.has_finalizer(PROTECTION),
            is_protected_with_pod: is_owned_by(&meta, "Namespace") && is_owned_by(&meta, "Pod"),
            block_mode: spec.volume_mode.as_deref() == Some("Block"),
            class: spec.storage_class_name.filter(|name| !name.is_empty()),
            provisioner: PROVISIONER.iter().find_map(|key| meta.annotations.remove(*key)),
            requested,
            capacity: status.capacity.as_ref().and_then(|capacity| capacity.storage.as_ref()?.parse().ok()),
            phase: phase(status.phase.as_deref()),
            resize: requested.map(|requested| resize(&status, requested)).unwrap_or_default(),
            resized_at: meta.annotations.get(RESIZED_AT).and_then(|time| time.parse().ok()),
            rescued: rescued(meta.annotations.get(RESCUED)),
            sizer: sizer(meta.managed_fields),
            namespace: meta.namespace.unwrap_or_default(),
            name: ClaimName::new(meta.name.unwrap_or_default()),
            uid: meta.uid.map(Uid::new),
            resource_version: meta.resource_version,
        }
    }
}

fn is_owned_by(meta: &Meta, kind: &str) -> bool {
    meta.owner_references.iter().flatten().any(|owner| owner.kind == kind)
}

/// How often the PVC was expanded without a measurement. A value that is no number allows no further step.
fn rescued(value: Option<&String>) -> u32 {
    value.map_or(0, |steps| steps.parse().unwrap_or(u32::MAX))
}

/// The last client that set the requested size.
fn sizer(managed: Option<Vec<Managed>>) -> Option<Sizer> {
    let entries = managed.into_iter().flatten();
    let last = entries.filter(Managed::sets_the_request).max_by_key(|entry| entry.time)?;
    let manager = last.manager.unwrap_or_default();
    Some(Sizer { is_ours: manager == MANAGER, manager, at: last.time })
}

fn phase(phase: Option<&str>) -> Phase {
    match phase {
        Some("Bound") => Phase::Bound,
        Some("Lost") => Phase::Lost,
        _ => Phase::Pending,
    }
}
