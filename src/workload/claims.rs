//! PVCs and StorageClasses as the policy needs them, read from the objects of the API server.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::annotations::{RESCUED, RESIZED_AT};
use crate::api::bytes::Bytes;
use crate::api::names::{SetName, TemplateName};
use crate::api::objects::Address;
use crate::api::received::StorageClass;
use crate::api::write::{Precondition, Write};
use crate::policy::claim::{Blind, Claim, Class};

mod view;

pub use view::ClaimView;

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
/// If it is not a PVC of the template, or its identity or size is missing: such a PVC must not be changed.
pub fn read(
    claim: &ClaimView,
    set: &SetName,
    template: &TemplateName,
    class: Option<Class>,
) -> Result<Claim, ReadError> {
    let name_of = || format!("{}/{}", claim.namespace, claim.name);
    let missing = |part| ReadError::Part { claim: name_of(), part };
    let ours = claim.namespace == set.namespace;
    let Some(ordinal) = claim.name.ordinal_of(template, set).filter(|_| ours) else {
        return Err(ReadError::Foreign { claim: name_of(), template: template.clone(), set: set.clone() });
    };
    Ok(Claim {
        name: claim.name.clone(),
        template: template.clone(),
        ordinal,
        requested: claim.requested.ok_or_else(|| missing("spec.resources.requests.storage"))?,
        uid: claim.uid.clone().ok_or_else(|| missing("metadata.uid"))?,
        resource_version: claim.resource_version.clone().ok_or_else(|| missing("metadata.resourceVersion"))?,
        phase: claim.phase,
        deleting: claim.deleting,
        protected: claim.protected,
        block_mode: claim.block_mode,
        capacity: claim.capacity,
        resize: claim.resize,
        class,
        resized_at: claim.resized_at,
        sizer: claim.sizer.clone(),
        rescue: Blind { steps: claim.rescued, ..Blind::default() },
    })
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

/// The name of the StorageClass of a PVC; `None`: it has none.
pub fn class_name(claim: &ClaimView) -> Option<&str> {
    claim.class.as_deref()
}

/// Reads a StorageClass. Expansion is allowed only if the class says so.
pub fn class(class: StorageClass) -> Class {
    Class {
        name: class.metadata.name.unwrap_or_default(),
        expandable: class.allow_volume_expansion == Some(true),
        provisioner: class.provisioner.unwrap_or_default(),
    }
}

/// The StorageClass of a PVC where StorageClasses cannot be read. The provisioner is on the PVC; whether the class
/// allows expansion is learned from the API server, whose dry run refuses what the class does not allow.
pub fn class_unread(claim: &ClaimView, name: &str) -> Class {
    Class { name: name.to_owned(), expandable: true, provisioner: claim.provisioner.clone().unwrap_or_default() }
}

#[cfg(test)]
mod tests;
