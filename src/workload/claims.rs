//! PVCs and StorageClasses as the policy needs them, read from the objects of the API server.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Value, json};

use super::expansion::resize;
use crate::api::annotations::{RESCUED, RESIZED_AT};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName, Uid};
use crate::api::objects::Address;
use crate::api::storage::{self, REQUEST_FIELD};
use crate::api::write::{Precondition, Write};
use crate::policy::claim::{Blind, Claim, Class, Phase, Sizer};
use crate::recreate::manifest::MANAGER;

/// Annotations of a PVC that name its provisioner; old clusters wrote the second one.
const PROVISIONER: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];

/// The finalizer that protects a PVC while a Pod uses it.
const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// Why a PVC cannot be read.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    /// A part that every PVC has is missing or malformed.
    #[error("failed to read persistentvolumeclaims {claim}: {part} is missing or not what it should be")]
    Part {
        /// `namespace/name`.
        claim: String,
        /// The part.
        part: &'static str,
    },
    /// It belongs to another template or StatefulSet.
    #[error("failed to read persistentvolumeclaims {claim}: it is not a PVC of template {template} of {set}")]
    Foreign {
        /// `namespace/name`.
        claim: String,
        /// The expected template.
        template: TemplateName,
        /// Its StatefulSet.
        set: SetName,
    },
}

/// Reads a PVC of this template of this StatefulSet. `class` is its StorageClass, if that exists.
///
/// # Errors
/// If it is not a PVC of the template, or its identity or size cannot be parsed: such a PVC must not be changed.
pub fn read(claim: &Value, set: &SetName, template: &TemplateName, class: Option<Class>) -> Result<Claim, ReadError> {
    let (meta, spec, status) = (&claim["metadata"], &claim["spec"], &claim["status"]);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let name = ClaimName::new(text(&meta["name"]).unwrap_or_default());
    let name_of = || format!("{}/{name}", meta["namespace"].as_str().unwrap_or_default());
    let missing = |part| ReadError::Part { claim: name_of(), part };
    let ours = meta["namespace"].as_str() == Some(set.namespace.as_str());
    let ordinal = name.ordinal_of(template, set).filter(|_| ours);
    let Some(ordinal) = ordinal else {
        return Err(ReadError::Foreign { claim: name_of(), template: template.clone(), set: set.clone() });
    };
    let requested = storage::request(claim).ok_or_else(|| missing("spec.resources.requests.storage"))?;
    Ok(Claim {
        template: template.clone(),
        ordinal,
        uid: text(&meta["uid"]).map(Uid::new).ok_or_else(|| missing("metadata.uid"))?,
        resource_version: text(&meta["resourceVersion"]).ok_or_else(|| missing("metadata.resourceVersion"))?,
        phase: phase(&status["phase"]),
        deleting: meta["deletionTimestamp"].is_string(),
        protected: meta["finalizers"].as_array().is_some_and(|all| all.iter().any(|one| one == PROTECTION)),
        block_mode: spec["volumeMode"] == "Block",
        requested,
        capacity: storage::capacity(claim),
        resize: resize(status, requested),
        class,
        resized_at: meta["annotations"][RESIZED_AT].as_str().and_then(|time| time.parse().ok()),
        sizer: sizer(&meta["managedFields"]),
        rescue: Blind { steps: rescued(&meta["annotations"][RESCUED]), ..Blind::default() },
        name,
    })
}

/// How often the PVC was expanded without a measurement. A value that is no number allows no further step.
fn rescued(value: &Value) -> u32 {
    if value.is_null() { 0 } else { value.as_str().and_then(|steps| steps.parse().ok()).unwrap_or(u32::MAX) }
}

/// What the request says about the expansions without a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescued {
    /// Nothing: the request has another reason.
    Unchanged,
    /// The usage is measured again.
    Over,
    /// This is one, and there are so many since the last measurement.
    Steps(u32),
}

/// The write that expands a PVC: size and time in one patch, because each is wrong without the other, on exactly the
/// object that was read.
pub fn expansion(namespace: &str, claim: &Claim, to: Bytes, rescued: Rescued, now: Timestamp) -> Write {
    let only = Precondition { uid: claim.uid.clone(), resource_version: claim.resource_version.clone() };
    let mut annotations = json!({ RESIZED_AT: format!("{now:.0}") });
    match rescued {
        Rescued::Steps(steps) => annotations[RESCUED] = json!(steps.to_string()),
        Rescued::Over if claim.rescue.steps > 0 => annotations[RESCUED] = Value::Null,
        Rescued::Over | Rescued::Unchanged => {}
    }
    let patch = json!({
        "metadata": { "annotations": annotations },
        "spec": { "resources": { "requests": { "storage": to } } },
    });
    Write::merge_if(Address::claim(namespace, &claim.name), &only, patch)
}

/// The last client that set the requested size. The cache keeps only that entry, without the list of its fields.
fn sizer(managed: &Value) -> Option<Sizer> {
    let entries = managed.as_array()?.iter();
    let sets_the_size =
        |entry: &&Value| entry["fieldsV1"].is_null() || entry["fieldsV1"].pointer(REQUEST_FIELD).is_some();
    let at = |entry: &Value| entry["time"].as_str().and_then(|time| time.parse().ok());
    let last = entries.filter(sets_the_size).max_by_key(|entry| at(entry))?;
    let manager = last["manager"].as_str().unwrap_or_default();
    Some(Sizer { manager: manager.to_owned(), is_ours: manager == MANAGER, at: at(last) })
}

/// Keeps of the `managedFields` of a PVC what [`read`] needs: which client set the requested size last, and when.
pub fn only_the_sizer(managed: Vec<ManagedFieldsEntry>) -> Option<Vec<ManagedFieldsEntry>> {
    let sets_the_size = |entry: &ManagedFieldsEntry| {
        entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer(REQUEST_FIELD).is_some())
    };
    let last = managed.into_iter().filter(sets_the_size).max_by_key(|entry| entry.time.clone())?;
    Some(vec![ManagedFieldsEntry { manager: last.manager, time: last.time, ..Default::default() }])
}

/// The name of the StorageClass of a PVC; an empty name means that the PVC has none.
pub fn class_name(claim: &Value) -> Option<&str> {
    claim["spec"]["storageClassName"].as_str().filter(|name| !name.is_empty())
}

/// Reads a StorageClass. Expansion is allowed only if the class says so.
pub fn class(class: &Value) -> Class {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Class {
        name: text(&class["metadata"]["name"]),
        expandable: class["allowVolumeExpansion"] == true,
        provisioner: text(&class["provisioner"]),
    }
}

/// The StorageClass of a PVC where StorageClasses cannot be read. The provisioner is on the PVC; whether the class
/// allows expansion is learned from the API server, whose dry run refuses what the class does not allow.
pub fn class_unread(claim: &Value, name: &str) -> Class {
    let annotations = &claim["metadata"]["annotations"];
    let provisioner = PROVISIONER.iter().find_map(|key| annotations[*key].as_str()).unwrap_or_default();
    Class { name: name.to_owned(), expandable: true, provisioner: provisioner.to_owned() }
}

fn phase(phase: &Value) -> Phase {
    match phase.as_str() {
        Some("Bound") => Phase::Bound,
        Some("Lost") => Phase::Lost,
        _ => Phase::Pending,
    }
}

#[cfg(test)]
mod tests;
