//! The restore of a StatefulSet from a backup, planned.
//!
//! A backup holds the templates as they were. Claims may have grown since: a template smaller than its claims would
//! make new replicas too small, so each template is raised to its largest claim.

use std::collections::BTreeMap;

use serde_json::Value;

use super::manifest;
use super::set::Spec;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum RestorePlan {
    /// The set is there and no different from the backup, but for sizes.
    Nothing,
    /// Create this.
    Create {
        /// The manifest.
        manifest: Box<Value>,
        /// Templates that the backup has smaller than their claims are.
        raised: Vec<Raised>,
    },
}

/// A template that is raised to its claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// Which.
    pub template: TemplateName,
    /// Its size in the backup.
    pub from: Bytes,
    /// Its size in the plan.
    pub to: Bytes,
    /// The largest claim, which says so.
    pub claim: ClaimName,
}

/// Why a backup cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Not a StatefulSet.
    #[error("failed to read the backup: {0}")]
    Malformed(String),
    /// The set exists and differs.
    #[error(
        "failed to restore {set}: it exists and differs from the backup in {}; to replace it, delete it first with \
         `kubectl -n {} delete statefulset {} --cascade=orphan`, which keeps its pods",
        .differences.join(", "), .set.namespace, .set.name
    )]
    Exists {
        /// Which set.
        set: SetName,
        /// Where they differ, as paths.
        differences: Vec<String>,
    },
    /// The set is there, but being deleted.
    #[error("failed to restore {0}: the old one is still being deleted; wait until it is gone")]
    Deleting(SetName),
}

/// Plans the restore of the StatefulSet in `backup` (its JSON, unpacked), given the object of that name, if any, and the
/// sizes of the claims in the namespace (the larger of request and capacity).
///
/// # Errors
/// Why it cannot be done.
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
