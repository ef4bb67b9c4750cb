//! The one value for a write: an object, its change, and the precondition.
//!
//! Each change that the operator makes in the cluster is such a value before it is sent, so a test can compare it. The
//! client sends it; `cluster::act` asks for the permission first.

use serde_json::{Value, json};

use super::names::Uid;
use super::objects::{Address, Resource};

/// A write to one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The object.
    pub object: Address,
    /// What to do with it.
    pub change: Change,
}

/// The change of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// POST of this object.
    Create(Value),
    /// PUT of this object; its `metadata.uid` and `metadata.resourceVersion` are the precondition.
    Update(Value),
    /// PATCH with a merge patch, RFC 7386. A `metadata.uid` or `metadata.resourceVersion` in it is a precondition.
    Merge(Value),
    /// PATCH with a JSON patch, RFC 6902. A `test` operation in it is a precondition.
    Json(Value),
    /// DELETE.
    Delete {
        /// What happens to the dependents.
        dependents: Dependents,
        /// Which object, in which state.
        only: Precondition,
    },
}

/// The propagation policy of a deletion: what happens to the dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// They are kept, without an owner.
    Orphan,
    /// They are deleted afterwards.
    Background,
}

/// The precondition of a write: which object, in which state. If it does not hold, the result is a conflict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Precondition {
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

impl Precondition {
    /// The object with this metadata, as it is. `None` if the UID or the resourceVersion is missing.
    pub fn of(metadata: &Value) -> Option<Self> {
        let resource_version = metadata["resourceVersion"].as_str()?.to_owned();
        Some(Self { uid: Uid::new(metadata["uid"].as_str()?), resource_version })
    }

    /// Adds the precondition to an object or a merge patch.
    fn add_to(&self, body: &mut Value) {
        body["metadata"]["uid"] = json!(self.uid.as_str());
        body["metadata"]["resourceVersion"] = json!(self.resource_version);
    }
}

impl Write {
    /// Creates an object, in a namespace if its kind has one.
    pub fn create(resource: &'static Resource, namespace: Option<&str>, object: Value) -> Self {
        let text = |key: &str| object["metadata"][key].as_str();
        let name = text("name").or(text("generateName")).unwrap_or_default().to_owned();
        let namespace = namespace.map(Into::into);
        Self::new(Address { resource, namespace, name, subresource: None }, Change::Create(object))
    }

    /// Replaces an object that has its precondition in its metadata.
    pub fn update(object: Address, with: Value) -> Self {
        Self::new(object, Change::Update(with))
    }

    /// Replaces an object in the state of the precondition.
    pub fn update_if(object: Address, only: &Precondition, mut with: Value) -> Self {
        only.add_to(&mut with);
        Self::update(object, with)
    }

    /// Merges a patch into an object.
    pub fn merge(object: Address, patch: Value) -> Self {
        Self::new(object, Change::Merge(patch))
    }

    /// Merges a patch into an object in the state of the precondition.
    pub fn merge_if(object: Address, only: &Precondition, mut patch: Value) -> Self {
        only.add_to(&mut patch);
        Self::merge(object, patch)
    }

    /// Applies the operations of a JSON patch to an object.
    pub fn json(object: Address, operations: Value) -> Self {
        Self::new(object, Change::Json(operations))
    }

    /// Deletes an object in the state of the precondition.
    pub fn delete(object: Address, dependents: Dependents, only: Precondition) -> Self {
        Self::new(object, Change::Delete { dependents, only })
    }

    fn new(object: Address, change: Change) -> Self {
        Self { object, change }
    }

    /// The merge patch, if the write is one.
    pub fn merge_patch(&self) -> Option<&Value> {
        match &self.change {
            Change::Merge(patch) => Some(patch),
            Change::Create(_) | Change::Update(_) | Change::Json(_) | Change::Delete { .. } => None,
        }
    }

    /// The verb, as in RBAC rules.
    pub fn verb(&self) -> &'static str {
        match self.change {
            Change::Create(_) => "create",
            Change::Update(_) => "update",
            Change::Merge(_) | Change::Json(_) => "patch",
            Change::Delete { .. } => "delete",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::objects::{CLAIMS, CONFIG_MAPS};

    fn only() -> Precondition {
        Precondition { uid: "u-1".into(), resource_version: "7".into() }
    }

    #[test]
    fn a_precondition_is_added_to_the_metadata_that_a_patch_has() {
        let patch = json!({"metadata": {"finalizers": []}});
        let write = Write::merge_if(CLAIMS.of("shop", "data-db-0"), &only(), patch);
        let expected = json!({"metadata": {"finalizers": [], "uid": "u-1", "resourceVersion": "7"}});
        assert_eq!(write.merge_patch(), Some(&expected));
        assert_eq!(write.verb(), "patch");
    }

    #[test]
    fn a_new_object_is_addressed_by_its_name_or_by_the_prefix_of_it() {
        let check = |object: Value, expected: &str| {
            let write = Write::create(&CONFIG_MAPS, Some("shop"), object);
            assert_eq!(write.object.to_string(), expected);
            assert_eq!(write.verb(), "create");
        };
        check(json!({"metadata": {"name": "a", "generateName": "b-"}}), "configmaps shop/a");
        check(json!({"metadata": {"generateName": "b-"}}), "configmaps shop/b-");
        check(json!({}), "configmaps shop/");
    }

    #[test]
    fn a_precondition_needs_the_uid_and_the_version() {
        assert_eq!(Precondition::of(&json!({"uid": "u-1", "resourceVersion": "7"})), Some(only()));
        assert_eq!(Precondition::of(&json!({"uid": "u-1"})), None);
        assert_eq!(Precondition::of(&json!({"resourceVersion": "7"})), None);
    }
}
