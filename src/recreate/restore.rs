//! How is a set brought back from a backup?
//!
//! A backup holds the templates as they were. Claims may have grown since: a template smaller than its claims would
//! make new replicas too small, so each template is raised to its largest claim.

use std::collections::BTreeMap;

use serde_json::Value;

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
    super::manifest::restore(backup, live, claims)
}
