//! The plan for the restore of a StatefulSet from a backup.
//!
//! A backup holds the templates as they were. The PVCs may have been expanded since. A template that is smaller than
//! its PVCs would make new replicas too small, so each template is raised to the size of its largest PVC.

use std::collections::BTreeMap;

use serde_json::Value;

use super::manifest;
use super::set::Spec;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName};

/// The action to take.
#[derive(Clone, Debug, PartialEq)]
pub enum RestorePlan {
    /// The StatefulSet exists and does not differ from the backup, except in sizes.
    Nothing,
    /// Create this object.
    Create {
        /// The manifest.
        manifest: Box<Value>,
        /// Templates that are smaller in the backup than their PVCs.
        raised: Vec<Raised>,
    },
}

/// A template that is raised to the size of its largest PVC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The template.
    pub template: TemplateName,
    /// Its size in the backup.
    pub from: Bytes,
    /// Its size in the plan.
    pub to: Bytes,
    /// The largest PVC, which determines the size.
    pub claim: ClaimName,
}

/// Why a backup cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The backup is not a StatefulSet.
    #[error("failed to read the backup: {0}")]
    Malformed(String),
    /// The StatefulSet exists and differs.
    #[error(
        "failed to restore {set}: it exists and differs from the backup in {}; to replace it, delete it first with \
         `kubectl -n {} delete statefulset {} --cascade=orphan`, which keeps its Pods",
        .differences.join(", "), .set.namespace, .set.name
    )]
    Exists {
        /// The StatefulSet.
        set: SetName,
        /// The paths at which they differ.
        differences: Vec<String>,
    },
    /// The StatefulSet exists, but is being deleted.
    #[error("failed to restore {0}: the old one is still being deleted; wait until it is gone")]
    Deleting(SetName),
}

/// Plans the restore of the StatefulSet in `backup` (its JSON, unpacked), given the existing object of that name, if
/// any, and the sizes of the PVCs in the namespace (the larger of request and capacity).
///
/// # Errors
/// Why the restore is not possible.
pub fn plan(
    backup: &Value,
    live: Option<&Value>,
    claims: &BTreeMap<ClaimName, Bytes>,
) -> Result<RestorePlan, RestoreError> {
    let malformed = |text: &str| RestoreError::Malformed(text.to_owned());
    if backup["kind"] != "StatefulSet" {
        return Err(malformed("it is not a StatefulSet"));
    }
    let text = |key: &str| backup["metadata"][key].as_str().filter(|text| !text.is_empty());
    let namespace = text("namespace").ok_or_else(|| malformed("metadata.namespace is missing"))?;
    let name = text("name").ok_or_else(|| malformed("metadata.name is missing"))?;
    let set = SetName::new(namespace, name);
    let spec = Spec::read(backup).map_err(|error| RestoreError::Malformed(error.to_string()))?;
    if let Some(live) = live {
        if !live["metadata"]["deletionTimestamp"].is_null() {
            return Err(RestoreError::Deleting(set));
        }
        let differences = manifest::differences(backup, live);
        return if differences.is_empty() {
            Ok(RestorePlan::Nothing)
        } else {
            Err(RestoreError::Exists { set, differences })
        };
    }
    let raised = raised(&spec, &set, claims);
    let sizes = raised.iter().map(|raised| (raised.template.clone(), raised.to)).collect();
    let manifest = Box::new(manifest::with_sizes(&manifest::bare(backup), &sizes));
    Ok(RestorePlan::Create { manifest, raised })
}

fn raised(spec: &Spec, set: &SetName, claims: &BTreeMap<ClaimName, Bytes>) -> Vec<Raised> {
    let largest = |template: &TemplateName| {
        let own = claims.iter().filter(|(claim, _)| claim.ordinal_of(template, set).is_some());
        own.max_by_key(|(_, size)| **size)
    };
    let raise = |(template, from): &(TemplateName, Bytes)| {
        let (claim, to) = largest(template).filter(|(_, to)| **to > *from)?;
        Some(Raised { template: template.clone(), from: *from, to: *to, claim: claim.clone() })
    };
    spec.templates.iter().filter_map(raise).collect()
}
