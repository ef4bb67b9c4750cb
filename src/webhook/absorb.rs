//! Absorbs a changed volumeClaimTemplate in an apply: keeps the live templates and records the requested size.
//!
//! Kubernetes rejects every change of the templates. The hook therefore puts the live ones back, which makes the
//! request valid, and records a larger size for the controller, which applies it in the background. A smaller size is
//! an outdated size in git of a volume that was expanded since: the hook keeps the current size without an error, so an
//! image can still be rolled out or rolled back.
//!
//! The hook does not change any other difference; Kubernetes rejects it with its own message.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::patch::{Op, annotation};
use super::review::AdmissionResponse;
use crate::api::annotations::{REQUESTED, TRANSACTION};
use crate::api::bytes::Bytes;
use crate::api::reasons::{Note, Reason};
use crate::api::requested::{self, Entry};
use crate::api::storage;

const TEMPLATES_POINTER: &str = "/spec/volumeClaimTemplates";

/// Handles an UPDATE of a StatefulSet.
pub fn absorb(object: &Value, old: &Value) -> AdmissionResponse {
    let (requested, live) = (templates(object), templates(old));
    // Without metadata there is no place to record a request, and the server rejects the object.
    if requested == live || !object["metadata"].is_object() {
        return AdmissionResponse::default();
    }
    match compare(requested, live) {
        Err(NotAbsorbed::Field(text)) => AdmissionResponse::warning(text),
        Err(NotAbsorbed::Unreadable) => AdmissionResponse::default(),
        Ok(changes) => respond(object, live, &changes),
    }
}

/// Handles a CREATE or UPDATE whose manifest changes annotations that only the operator and [`absorb`] write: puts the
/// live values back. It runs before `absorb`, and never after it.
///
/// A user may withdraw a request: an annotation that is removed stays removed.
pub fn keep_state(object: &Value, old: &Value) -> AdmissionResponse {
    let mut response = AdmissionResponse::default();
    for key in [REQUESTED, TRANSACTION] {
        let state = |object: &Value| object["metadata"]["annotations"][key].as_str().map(str::to_owned);
        let (manifest, live) = (state(object), state(old));
        if manifest.is_none() || manifest == live {
            continue;
        }
        response.patch.extend(annotation(object, key, live.as_deref()));
        let text = format!("annotation {key} is managed by rso; the value in the manifest is ignored");
        response.warnings.push(text.clone());
        let advice = format!("{text}. To request a size, set resize-statefulset-operator/resize.<template>");
        response.notes.push(Note::new(Reason::InvalidAnnotation, "managed", advice).about(key));
    }
    response
}

/// Why a change cannot be absorbed.
enum NotAbsorbed {
    /// A field that Kubernetes rejects a change of.
    Field(String),
    /// The intent is unclear.
    Unreadable,
}

/// The requested size of one template.
struct Change<'a> {
    name: &'a str,
    /// As it is written in the manifest.
    requested: &'a str,
    kept: &'a str,
    order: Ordering,
}

fn templates(set: &Value) -> &[Value] {
    set.pointer(TEMPLATES_POINTER).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn name(template: &Value) -> Option<&str> {
    template["metadata"]["name"].as_str()
}

/// Matches the templates by name. Only sizes and order may differ.
fn compare<'a>(requested: &'a [Value], live: &'a [Value]) -> Result<Vec<Change<'a>>, NotAbsorbed> {
    let (requested, live) = (by_name(requested)?, by_name(live)?);
    if let Some(added) = requested.keys().find(|name| !live.contains_key(*name)) {
        return Err(NotAbsorbed::Field(format!("volumeClaimTemplates: {added} cannot be added to a StatefulSet")));
    }
    if let Some(removed) = live.keys().find(|name| !requested.contains_key(*name)) {
        return Err(NotAbsorbed::Field(format!(
            "volumeClaimTemplates: {removed} cannot be removed from a StatefulSet"
        )));
    }
    requested.iter().map(|(name, template)| compare_template(name, template, live[name])).collect()
}

fn by_name(templates: &[Value]) -> Result<BTreeMap<&str, &Value>, NotAbsorbed> {
    let mut named = BTreeMap::new();
    for template in templates {
        let name = name(template).ok_or(NotAbsorbed::Unreadable)?;
        if named.insert(name, template).is_some() {
            return Err(NotAbsorbed::Unreadable);
        }
    }
    Ok(named)
}

fn compare_template<'a>(name: &'a str, requested: &'a Value, live: &'a Value) -> Result<Change<'a>, NotAbsorbed> {
    if let Some(field) = difference(&without_size(requested), &without_size(live), "") {
        return Err(NotAbsorbed::Field(format!(
            "volumeClaimTemplates: {field} of {name} cannot be changed, only its size"
        )));
    }
    let sizes = storage::request_text(requested).zip(storage::request_text(live)).and_then(|(requested, kept)| {
        let order = requested.parse::<Bytes>().ok()?.cmp(&kept.parse::<Bytes>().ok()?);
        Some(Change { name, requested, kept, order })
    });
    sizes.ok_or(NotAbsorbed::Unreadable)
}

/// A template without its size and without insignificant fields.
fn without_size(template: &Value) -> Value {
    let mut rest = template.clone();
    if let Some(requests) = rest.pointer_mut("/spec/resources/requests").and_then(Value::as_object_mut) {
        requests.remove("storage");
    }
    if let Some(template) = rest.as_object_mut() {
        // Current servers set these fields; older ones did not.
        for key in ["status", "apiVersion", "kind"] {
            template.remove(key);
        }
    }
    if let Some(spec) = rest.get_mut("spec").and_then(Value::as_object_mut) {
        spec.entry("volumeMode").or_insert_with(|| json!("Filesystem"));
    }
    prune(&mut rest);
    rest
}

/// Removes empty fields: `creationTimestamp: null` means the same as no field.
fn prune(value: &mut Value) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(prune);
        members.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|object| !object.is_empty()));
    }
}

/// The path of the first field that differs, without values.
fn difference(one: &Value, other: &Value, path: &str) -> Option<String> {
    if one == other {
        return None;
    }
    let (Value::Object(members), Value::Object(others)) = (one, other) else {
        return Some(path.trim_start_matches('.').to_owned());
    };
    let null = Value::Null;
    let of = |members: &Map<String, Value>, key: &str| members.get(key).cloned().unwrap_or(Value::Null);
    let keys = members.keys().chain(others.keys().filter(|key| !members.contains_key(*key)));
    keys.map(|key| (key, of(members, key), others.get(key).unwrap_or(&null)))
        .find_map(|(key, one, other)| difference(&one, other, &format!("{path}.{key}")))
}

fn respond(object: &Value, live: &[Value], changes: &[Change<'_>]) -> AdmissionResponse {
    let mut response = AdmissionResponse::default();
    // First the record: it depends on the templates in the request.
    let record = record(object, changes);
    response.patch.extend(annotation(object, REQUESTED, record.as_deref()));
    response.patch.push(Op::Replace(TEMPLATES_POINTER.to_owned(), Value::Array(live.to_vec())));
    for Change { name, requested, kept, order } in changes {
        let warning = match order {
            Ordering::Greater => format!("expanding {name} from {kept} to {requested} in the background"),
            Ordering::Less => {
                format!("keeping {name} at {kept}: the manifest requests {requested}, and volumes cannot shrink")
            }
            Ordering::Equal => continue,
        };
        response.warnings.push(warning);
    }
    if let Some(record) = record {
        response.audit.insert("requested", record);
    }
    response
}

/// The `requested` annotation after this apply: the sizes that the live templates do not have, sorted by name.
fn record(object: &Value, changes: &[Change<'_>]) -> Option<String> {
    let before = object["metadata"]["annotations"][REQUESTED].as_str().unwrap_or_default();
    // Matched by name, so sorted already.
    let applied = changes.iter().filter_map(|change| {
        let entry = Entry { template: change.name, quantity: change.requested };
        Some((entry, change.kept.parse().ok()?))
    });
    requested::merge(before, applied)
}

#[cfg(test)]
mod tests;
