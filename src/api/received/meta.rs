//! `metadata` of the objects of the API server, as far as rso reads it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::api::annotations::PREFIX;

/// Annotations of a PVC that name its provisioner; old clusters wrote the second one.
pub const PROVISIONER: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];

/// `metadata`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// `namespace`.
    pub namespace: Option<String>,
    /// `name`.
    pub name: Option<String>,
    /// `uid`.
    pub uid: Option<String>,
    /// `resourceVersion`.
    pub resource_version: Option<String>,
    /// `generation`: counts the changes of the spec.
    pub generation: Option<i64>,
    /// `creationTimestamp`.
    pub creation_timestamp: Option<Timestamp>,
    /// `deletionTimestamp`.
    pub deletion_timestamp: Option<Timestamp>,
    /// `finalizers`.
    pub finalizers: Option<Vec<String>>,
    /// `ownerReferences`.
    pub owner_references: Option<Vec<Owner>>,
    /// `annotations` of rso, and those that name a provisioner.
    #[serde(deserialize_with = "ours")]
    pub annotations: BTreeMap<String, String>,
    /// `labels` of rso.
    #[serde(deserialize_with = "ours")]
    pub labels: BTreeMap<String, String>,
    /// `managedFields`.
    pub managed_fields: Option<Vec<Managed>>,
}

impl Meta {
    /// Whether it has this finalizer.
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().flatten().any(|finalizer| finalizer == name)
    }

    /// The controller that owns it.
    pub fn controller(&self) -> Option<&Owner> {
        self.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
    }
}

/// An entry of `ownerReferences`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// `kind`.
    pub kind: String,
    /// `name`.
    pub name: String,
    /// `uid`.
    pub uid: String,
    /// `controller`.
    pub controller: Option<bool>,
}

/// An entry of `managedFields`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Managed {
    /// `manager`.
    pub manager: Option<String>,
    /// `time`.
    pub time: Option<Timestamp>,
    /// `fieldsV1`, as far as it leads to the storage request of a PVC.
    #[serde(rename = "fieldsV1")]
    fields: Option<Fields>,
}

impl Managed {
    /// Whether this manager set `spec.resources.requests.storage`.
    pub fn sets_the_request(&self) -> bool {
        let spec = self.fields.as_ref().and_then(|fields| fields.spec.as_deref());
        let requests = spec.and_then(|spec| spec.resources.as_deref()?.requests.as_deref());
        requests.is_some_and(|requests| requests.storage)
    }
}

/// A tree of `managedFields`: an object with a member for each field.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(rename = "f:spec")]
    spec: Option<Box<Fields>>,
    #[serde(rename = "f:resources")]
    resources: Option<Box<Fields>>,
    #[serde(rename = "f:requests")]
    requests: Option<Box<Fields>>,
    #[serde(rename = "f:storage", deserialize_with = "is_there")]
    storage: bool,
}

/// The entries of a map of annotations or labels that rso reads. The annotations of others can be large.
fn ours<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Ours;

    impl<'de> Visitor<'de> for Ours {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of strings")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut ours = BTreeMap::new();
            while let Some(key) = map.next_key::<String>()? {
                if key.starts_with(PREFIX) || PROVISIONER.contains(&key.as_str()) {
                    let value: Option<String> = map.next_value()?;
                    ours.extend(value.map(|value| (key, value)));
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(ours)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }
    }

    deserializer.deserialize_any(Ours)
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn meta(value: Value) -> Meta {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn of_annotations_and_labels_only_those_that_are_read_are_kept() {
        let others = "kubectl.kubernetes.io/last-applied-configuration";
        let [provisioner, _] = PROVISIONER;
        let ours = format!("{PREFIX}paused");
        let meta = meta(json!({
            "annotations": {others: "{}", ours.clone(): "true", provisioner: "csi.example.com"},
            "labels": {"app": "db", format!("{PREFIX}auto-scaled"): "true", format!("{PREFIX}empty"): null},
        }));
        let keys = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&meta.annotations), [ours.as_str(), provisioner]);
        assert_eq!(keys(&meta.labels), [format!("{PREFIX}auto-scaled")]);
    }

    #[test]
    fn what_is_missing_or_null_is_empty() {
        for value in
            [json!({}), json!({"annotations": null, "labels": null, "finalizers": null, "managedFields": null})]
        {
            let meta = meta(value);
            assert!(meta.annotations.is_empty() && meta.labels.is_empty() && meta.controller().is_none());
            assert!(!meta.has_finalizer("x"));
        }
    }

    #[test]
    fn a_manager_sets_the_request_if_the_whole_path_is_among_its_fields() {
        let check = |fields: Value, expected: bool| {
            let managed: Managed = serde_json::from_value(json!({ "fieldsV1": fields })).unwrap();
            assert_eq!(managed.sets_the_request(), expected, "{fields}");
        };
        let requests = |below: Value| json!({"f:metadata": {}, "f:spec": {"f:volumeMode": {}, "f:resources": {"f:requests": below}}});
        check(requests(json!({".": {}, "f:storage": {}})), true);
        check(requests(json!({".": {}})), false);
        check(json!({"f:spec": {"f:storage": {}}}), false);
        check(json!({"f:status": {}}), false);
        check(Value::Null, false);
    }
}
