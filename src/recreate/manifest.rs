//! The content of the manifests: what is carried over from the old StatefulSet to the new one, and what is not.
//!
//! The input and the output are JSON. A field that this program does not know is carried over like any other
//! (hazard 7); only the fields that the API server owns are left out. No function here makes a size smaller.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::archive;
use super::set::WhenDeleted;
use crate::api::annotations::{HOLD, TRANSACTION};
use crate::api::bytes::Bytes;
use crate::api::names::TemplateName;
use crate::api::storage::REQUEST_POINTER;

/// The field manager of the controller, by which it recognizes its own entries in `managedFields`.
pub const MANAGER: &str = "rso-controller";

/// The finalizers of the garbage collector, which a DELETE adds.
pub const GC_FINALIZERS: [&str; 2] = ["orphan", "foregroundDeletion"];

/// The fields of `metadata` that the API server sets itself.
const SERVER_OWNED: [&str; 8] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
    "managedFields",
];

/// The object as the journal stores it: everything except the status, which the new object gets again.
pub fn image(live: &Value) -> Value {
    let mut image = live.clone();
    remove(&mut image, "status");
    image
}

/// The object as a client could have applied it: without what the API server owns and without what the operator added.
pub fn bare(object: &Value) -> Value {
    let mut bare = image(object);
    if let Some(metadata) = bare["metadata"].as_object_mut() {
        metadata.retain(|key, _| !SERVER_OWNED.contains(&key.as_str()));
        drop_our_finalizers(metadata);
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(TRANSACTION);
        }
        metadata.retain(|key, value| !(matches!(key.as_str(), "annotations" | "finalizers") && is_empty(value)));
    }
    for template in templates_mut(&mut bare) {
        remove(template, "status");
        if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("creationTimestamp");
        }
    }
    bare
}

fn drop_our_finalizers(metadata: &mut Map<String, Value>) {
    if let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|name| !is_transient(name.as_str().unwrap_or_default()));
    }
}

/// Whether a finalizer is present only while the StatefulSet is being recreated.
pub fn is_transient(finalizer: &str) -> bool {
    finalizer == HOLD || GC_FINALIZERS.contains(&finalizer)
}

/// Whether two states of a StatefulSet differ only in what the API server owns.
pub fn same(one: &Value, other: &Value) -> bool {
    bare(one) == bare(other)
}

/// Returns `spec.volumeClaimTemplates` with each named template at least as large as its target.
pub fn templates(object: &Value, targets: &BTreeMap<TemplateName, Bytes>) -> Value {
    with_sizes(object, targets)["spec"]["volumeClaimTemplates"].take()
}

/// Returns the object with each named template at least as large as its target.
pub(super) fn with_sizes(object: &Value, targets: &BTreeMap<TemplateName, Bytes>) -> Value {
    let mut larger = object.clone();
    for template in templates_mut(&mut larger) {
        let name = TemplateName::new(template["metadata"]["name"].as_str().unwrap_or_default());
        let size = &mut template["spec"]["resources"]["requests"]["storage"];
        let present = size.as_str().and_then(|text| text.parse::<Bytes>().ok());
        if let Some(target) = targets.get(&name)
            && present.is_none_or(|present| present < *target)
        {
            *size = json!(target);
        }
    }
    larger
}

/// Writes each size of a template as the API server does: `2048Mi` becomes `2Gi`.
pub(super) fn sizes_in_one_spelling(object: &mut Value) {
    for template in templates_mut(object) {
        let Some(size) = template.pointer_mut(REQUEST_POINTER) else { continue };
        if let Some(bytes) = size.as_str().and_then(|text| text.parse::<Bytes>().ok()) {
            *size = json!(bytes);
        }
    }
}

/// The object to create: the image with the new sizes, and with three changes. [`restored_spec`] rolls back the first
/// two.
///
/// - `OnDelete`: if the API server changes the Pod template on CREATE, no Pod is restarted (hazard 6).
/// - `Retain`: no PVC gets an owner before everything is in order.
/// - The annotation: the operator recognizes the object that it created.
pub fn to_create(image: &Value, targets: &BTreeMap<TemplateName, Bytes>, id: &str) -> Value {
    let mut object = with_sizes(&bare(image), targets);
    object["metadata"]["annotations"][TRANSACTION] = json!(id);
    object["spec"]["updateStrategy"] = json!({ "type": "OnDelete" });
    let retention = &mut object["spec"]["persistentVolumeClaimRetentionPolicy"];
    if retention.is_object() {
        retention["whenDeleted"] = json!("Retain");
    } else {
        remove(&mut object["spec"], "persistentVolumeClaimRetentionPolicy");
    }
    object
}

/// The same object under a free name. The answer to a dry run of its CREATE shows how admission changes the object. For
/// the same name, the API server only answers that the object exists.
pub fn renamed(create: &Value, id: &str) -> Value {
    /// The longest name of a StatefulSet whose Pods can be labeled with their revision: 63, less `-` and a hash of ten.
    const LONGEST: usize = 52;
    let mut object = create.clone();
    let suffix: String = id.chars().take(8).collect();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let kept: String = name.chars().take(LONGEST.saturating_sub(suffix.len() + 1)).collect();
    object["metadata"]["name"] = json!(format!("{}-{suffix}", kept.trim_end_matches(['-', '.'])));
    object
}

/// Adds the finalizer to an object that is to be created.
pub fn add_finalizer(object: &mut Value) {
    let finalizers = &mut object["metadata"]["finalizers"];
    let others = finalizers.as_array().into_iter().flatten().cloned();
    *finalizers = others.chain([json!(HOLD)]).collect();
}

/// The merge patch of `spec` that sets `OnDelete` and `Retain`; `None` if both are set already. The reverse patch
/// completes the recreation, so an admission policy that rejects or changes this patch does the same to the reverse
/// one.
pub fn no_restart_patch(object: &Value) -> Option<Value> {
    let mut patch = Map::new();
    if object["spec"]["updateStrategy"]["type"] != "OnDelete" {
        patch.insert("updateStrategy".to_owned(), json!({ "type": "OnDelete", "rollingUpdate": null }));
    }
    if object["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete" {
        patch.insert("persistentVolumeClaimRetentionPolicy".to_owned(), json!({ "whenDeleted": "Retain" }));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The merge patch of `spec` that rolls back `OnDelete` and `Retain`; `None` if there is nothing to roll back, or if
/// another client has chosen another value in the meantime.
pub fn restored_spec(live: &Value, image: &Value, when_deleted: WhenDeleted) -> Option<Value> {
    let mut patch = Map::new();
    let wanted = &image["spec"]["updateStrategy"];
    if live["spec"]["updateStrategy"]["type"] == "OnDelete" && wanted["type"] != "OnDelete" && wanted.is_object() {
        patch.insert("updateStrategy".to_owned(), wanted.clone());
    }
    let retention = &live["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"];
    if when_deleted == WhenDeleted::Delete && retention != "Delete" {
        patch.insert("persistentVolumeClaimRetentionPolicy".to_owned(), json!({ "whenDeleted": "Delete" }));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The JSON merge patch that turns one value into another (RFC 7386): whole arrays, and `null` for a removed key.
pub fn merge_patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let gone = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = to.iter().filter(|(key, value)| from.get(*key) != Some(value)).map(|(key, value)| {
        let change = from.get(key).map_or_else(|| value.clone(), |before| merge_patch(before, value));
        (key.clone(), change)
    });
    Value::Object(gone.chain(changed).collect())
}

/// SHA-256 of the Pod template, independent of the order of keys.
pub fn template_checksum(object: &Value) -> String {
    // The map of serde_json is sorted, so equal values have the same text.
    archive::checksum(object["spec"]["template"].to_string().as_bytes())
}

/// The paths at which the specifications of two StatefulSets differ, the sizes of templates excepted. The values are
/// left out, because a template may hold secrets.
pub fn differences(one: &Value, other: &Value) -> Vec<String> {
    let comparable = |object: &Value| {
        let mut bare = bare(object);
        for template in templates_mut(&mut bare) {
            remove(&mut template["spec"]["resources"]["requests"], "storage");
        }
        bare
    };
    paths(&comparable(one), &comparable(other))
}

/// The paths at which two objects differ.
pub(super) fn paths(one: &Value, other: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    compare(one, other, String::new(), &mut paths);
    paths
}

fn compare(one: &Value, other: &Value, path: String, paths: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let (one, other) = (one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null));
                compare(one, other, join(&path, key), paths);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(one, other, format!("{path}[{index}]"), paths);
            }
        }
        (one, other) if one != other => paths.push(path),
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn templates_mut(object: &mut Value) -> impl Iterator<Item = &mut Value> {
    let templates = object.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut);
    templates.into_iter().flatten()
}

fn remove(value: &mut Value, key: &str) {
    if let Some(object) = value.as_object_mut() {
        object.remove(key);
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(object) => object.is_empty(),
        Value::Array(array) => array.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
