//! What becomes of an apply that carries other volumeClaimTemplates than the live set has?
//!
//! Kubernetes refuses every change of them. So the old ones are put back, which makes the request valid, and a larger size
//! is written down for the controller, which makes it true in the background. A smaller size is what git says of a volume
//! that has grown since: it is kept, without an error, so that an image can still be rolled out or back.
//!
//! Whatever else differs is left as it is, for Kubernetes to refuse in its own words.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::patch::{Op, annotation};
use super::review::Answer;
use crate::api::annotations::{REQUESTED, TRANSACTION};
use crate::api::bytes::Bytes;
use crate::api::reasons::{Note, Reason};
use crate::api::requested::{self, Entry};

const TEMPLATES: &str = "/spec/volumeClaimTemplates";

/// Answers an UPDATE of a StatefulSet.
pub fn absorb(object: &Value, old: &Value) -> Answer {
    let (wanted, live) = (templates(object), templates(old));
    // Without metadata there is no place to record a request, and the server will not take the object either.
    if wanted == live || !object["metadata"].is_object() {
        return Answer::default();
    }
    match compare(wanted, live) {
        Err(Foreign::Field(text)) => Answer::warning(text),
        Err(Foreign::Unreadable) => Answer::default(),
        Ok(changes) => answer(object, live, &changes),
    }
}

/// Answers a CREATE or UPDATE whose manifest carries other state of ours than the live set: only the operator and
/// [`absorb`] write that, so it is put back. Asked before `absorb`, and never again after it.
///
/// To take a request back is a person's right: an annotation that is gone stays gone.
pub fn keep_state(object: &Value, old: &Value) -> Answer {
    let mut answer = Answer::default();
    for key in [REQUESTED, TRANSACTION] {
        let state = |object: &Value| object["metadata"]["annotations"][key].as_str().map(str::to_owned);
        let (manifest, live) = (state(object), state(old));
        if manifest.is_none() || manifest == live {
            continue;
        }
        answer.patch.extend(annotation(object, key, live.as_deref()));
        let text = format!("annotation {key} is managed by rso; the value in the manifest is ignored");
        answer.warnings.push(text.clone());
        let advice = format!("{text}. To request a size, set resize-statefulset-operator/resize.<template>");
        answer.notes.push(Note::new(Reason::InvalidAnnotation, "managed", advice).about(key));
    }
    answer
}

/// What cannot be absorbed.
enum Foreign {
    /// A field that Kubernetes will refuse to change.
    Field(String),
    /// There is no telling what is meant.
    Unreadable,
}

/// What is asked of one template.
struct Change<'a> {
    name: &'a str,
    /// As it is written in the manifest.
    asked: &'a str,
    kept: &'a str,
    order: Ordering,
}

fn templates(set: &Value) -> &[Value] {
    set.pointer(TEMPLATES).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn name(template: &Value) -> Option<&str> {
    template["metadata"]["name"].as_str()
}

fn size(template: &Value) -> Option<&str> {
    template["spec"]["resources"]["requests"]["storage"].as_str()
}

/// Matches the templates by name. What differs must be sizes and order only.
fn compare<'a>(wanted: &'a [Value], live: &'a [Value]) -> Result<Vec<Change<'a>>, Foreign> {
    let (wanted, live) = (by_name(wanted)?, by_name(live)?);
    if let Some(added) = wanted.keys().find(|name| !live.contains_key(*name)) {
        return Err(Foreign::Field(format!("volumeClaimTemplates: {added} cannot be added to a StatefulSet")));
    }
    if let Some(removed) = live.keys().find(|name| !wanted.contains_key(*name)) {
        return Err(Foreign::Field(format!("volumeClaimTemplates: {removed} cannot be removed from a StatefulSet")));
    }
    wanted.iter().map(|(name, template)| change(name, template, live[name])).collect()
}

fn by_name(templates: &[Value]) -> Result<BTreeMap<&str, &Value>, Foreign> {
    let mut named = BTreeMap::new();
    for template in templates {
        let name = name(template).ok_or(Foreign::Unreadable)?;
        if named.insert(name, template).is_some() {
            return Err(Foreign::Unreadable);
        }
    }
    Ok(named)
}

fn change<'a>(name: &'a str, wanted: &'a Value, live: &'a Value) -> Result<Change<'a>, Foreign> {
    if let Some(field) = difference(&rest(wanted), &rest(live), "") {
        return Err(Foreign::Field(format!(
            "volumeClaimTemplates: {field} of {name} cannot be changed, only its size"
        )));
    }
    let sizes = size(wanted).zip(size(live)).and_then(|(asked, kept)| {
        let order = asked.parse::<Bytes>().ok()?.cmp(&kept.parse::<Bytes>().ok()?);
        Some(Change { name, asked, kept, order })
    });
    sizes.ok_or(Foreign::Unreadable)
}

/// A template without its size, and without what means nothing.
fn rest(template: &Value) -> Value {
    let mut rest = template.clone();
    if let Some(requests) = rest.pointer_mut("/spec/resources/requests").and_then(Value::as_object_mut) {
        requests.remove("storage");
    }
    if let Some(template) = rest.as_object_mut() {
        // The server fills these in, older ones did not.
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

/// Takes away empty members: `creationTimestamp: null` says as much as nothing.
fn prune(value: &mut Value) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(prune);
        members.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|object| !object.is_empty()));
    }
}

/// The path of the first member that differs. Without values.
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

fn answer(object: &Value, live: &[Value], changes: &[Change<'_>]) -> Answer {
    let mut answer = Answer::default();
    // First the record: what refers to the templates of the request must see them.
    let record = record(object, changes);
    answer.patch.extend(annotation(object, REQUESTED, record.as_deref()));
    answer.patch.push(Op::Replace(TEMPLATES.to_owned(), Value::Array(live.to_vec())));
    for Change { name, asked, kept, order } in changes {
        match order {
            Ordering::Greater => answer.warnings.push(format!("growing {name} {kept} -> {asked} in the background")),
            Ordering::Less => {
                answer.warnings.push(format!("{name}: asked {asked}, kept {kept} (volumes cannot shrink)"));
            }
            Ordering::Equal => {}
        }
    }
    if let Some(record) = record {
        answer.audit.insert("requested", record);
    }
    answer
}

/// The `requested` annotation after this apply: the sizes that the live templates do not have, sorted by name.
fn record(object: &Value, changes: &[Change<'_>]) -> Option<String> {
    let before = object["metadata"]["annotations"][REQUESTED].as_str().unwrap_or_default();
    // Matched by name, so sorted already.
    let applied = changes.iter().filter_map(|change| {
        let entry = Entry { template: change.name, quantity: change.asked };
        Some((entry, change.kept.parse().ok()?))
    });
    requested::merge(before, applied)
}

#[cfg(test)]
mod tests;
