//! The precondition of a write: an object in a state.

use serde_json::Value;

use crate::api::names::Uid;

/// The precondition of a write: which object, in which state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guard {
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// The precondition of a write to the object with this metadata.
pub fn guard_of(metadata: &Value) -> Option<Guard> {
    let resource_version = metadata["resourceVersion"].as_str()?.to_owned();
    Some(Guard { uid: Uid::new(metadata["uid"].as_str()?), resource_version })
}
