//! `managedFields` of a StatefulSet: who wrote what, and the merge that gives the fields back to their managers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::manifest::MANAGER;

/// When the operator last wrote the object, according to its `managedFields`.
pub fn written_at(object: &Value) -> Option<Timestamp> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let ours = entries.filter(|entry| entry["manager"] == MANAGER && entry["subresource"].is_null());
    ours.filter_map(|entry| entry["time"].as_str()?.parse().ok()).max()
}

/// Returns `metadata.managedFields` with the entries that the tools had before the recreation, merged with what others
/// have written since.
///
/// A CREATE makes the operator the owner of every field, and every later server-side apply would conflict with it
/// (hazard 9). The entries of the status are those of the new object.
pub fn restored(live: &Value, image: &Value) -> Value {
    let entries = |object: &Value| object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let ours = |entry: &Value| entry["manager"] == MANAGER && entry["subresource"].is_null();
    let before = entries(image).into_iter().filter(|entry| entry["subresource"].is_null() && !is_own_entry(entry));
    let mut merged: Vec<Value> = before.collect();
    for entry in entries(live).into_iter().filter(|entry| !ours(entry)) {
        match merged.iter_mut().find(|known| same_manager(known, &entry)) {
            Some(known) => {
                unite(&mut known["fieldsV1"], &entry["fieldsV1"]);
                known["time"] = entry["time"].clone();
            }
            None => merged.push(entry),
        }
    }
    Value::Array(merged)
}

/// Whether this is the operator's own entry in the image. It covers the finalizer and `Retain` at most, both of which
/// are gone.
fn is_own_entry(entry: &Value) -> bool {
    entry["manager"] == MANAGER
}

fn same_manager(one: &Value, other: &Value) -> bool {
    ["manager", "operation", "apiVersion", "subresource"].iter().all(|key| one[key] == other[key])
}

/// Adds the fields of one field set to another. Both are trees of objects.
fn unite(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        for (key, value) in from {
            unite(into.entry(key.as_str()).or_insert_with(|| json!({})), value);
        }
    }
}

/// Whether another client has written the Pod template of this object since the operator created it. A change that a
/// webhook makes to the operator's CREATE is attributed to the operator.
pub fn template_is_edited(live: &Value) -> bool {
    let entries = live["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let writes_template = |entry: &&Value| !entry["fieldsV1"]["f:spec"]["f:template"].is_null();
    entries.iter().filter(writes_template).any(|entry| entry["manager"] != MANAGER)
}

/// Whether a write of the operator changed the Pod template: admission changed it on the way.
pub fn template_is_ours(live: &Value) -> bool {
    let entries = live["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().any(|entry| entry["manager"] == MANAGER && !entry["fieldsV1"]["f:spec"]["f:template"].is_null())
}
