//! Did anything happen that must never happen? The invariants of `docs/recreate.md`, asked of every state in the history
//! of a run, in the order of etcd; and what the requests themselves must keep to.

use rso::api::annotations::{HOLD, REQUESTED, TRANSACTION};
use rso::api::bytes::Bytes;
use rso::recreate::journal::Journal;
use rso::recreate::phase::Phase;
use serde_json::{Value, json};

use crate::harness::facts::{requested, size_in_template};
use crate::history::{History, differences, is_journal, transaction};
use crate::recorder::{Change, Event, Kind};
use crate::scenario::{Deed, End, Pods};

mod protocol;
mod requests;

/// One invariant: what holds, and who finds where it does not.
pub type Invariant = (&'static str, fn(&History) -> Vec<String>);

/// All of them. The first eleven are those of the protocol, in its order.
pub const INVARIANTS: [Invariant; 16] = [
    ("no pod is deleted or restarted", pods),
    ("no claim is deleted or asked for less", claims),
    ("an absent set is remembered, as it was last edited", protocol::absence),
    ("only what is journalled is written", requests::journalled),
    ("a transaction makes at most one set, and none when it is over", protocol::transactions),
    ("at the release nothing refers to the old set", protocol::release),
    ("at rest nothing of ours is left", traces),
    ("no set is deleted before its claims are large and its rollout is over", protocol::deletion),
    ("every edit that was accepted is there in the end", edits),
    ("what somebody deleted is not created", protocol::resurrection),
    ("the pod template that is created is one that somebody else applied", protocol::template),
    ("every write carries its precondition", requests::preconditions),
    ("no write follows a read that failed", requests::failed_reads),
    ("what is taken back is not begun again at once", requests::begun_again),
    ("a set of somebody else is never deleted", protocol::foreign),
    ("the same recreate does not follow itself", protocol::repeated),
];

/// Everything that should not have happened.
pub fn violations(history: &History) -> Vec<String> {
    let told =
        |(name, find): &Invariant| find(history).into_iter().map(|how| format!("{name}: {how}")).collect::<Vec<_>>();
    INVARIANTS.iter().flat_map(told).collect()
}

// ── of the history ──

fn pods(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    if history.pods == Pods::MayChange {
        return found;
    }
    history.steps(|world, event| {
        if event.kind != Kind::Pod || event.at <= history.settled {
            return;
        }
        let name = event.name();
        match event.change {
            Change::Deleted => found.push(format!("{name} is deleted")),
            Change::Added => found.push(format!("{name} is new")),
            Change::Modified => {
                let before = world.all(Kind::Pod).find(|(other, _)| *other == name).map(|(_, pod)| containers(pod));
                if !event.object["metadata"]["deletionTimestamp"].is_null() {
                    found.push(format!("{name} is being deleted"));
                } else if before.is_some_and(|before| before != containers(&event.object)) {
                    found.push(format!("a container of {name} is another one"));
                }
            }
        }
    });
    found
}

fn containers(pod: &Value) -> Value {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let ids: Vec<Value> = statuses.map(|one| json!([one["name"], one["containerID"], one["restartCount"]])).collect();
    json!([pod["metadata"]["uid"], ids])
}

fn claims(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    let with_the_set = history.end.is_without_a_set();
    history.steps(|world, event| {
        if event.kind != Kind::Claim {
            return;
        }
        let (name, claim) = (event.name(), &event.object);
        let goes = event.change == Change::Deleted || !claim["metadata"]["deletionTimestamp"].is_null();
        if goes && !with_the_set && event.at > history.settled {
            found.push(format!("{name} is deleted"));
        }
        let before = world.all(Kind::Claim).find(|(other, _)| *other == name).map(|(_, claim)| claim);
        if before.is_some_and(|before| requested(before) > requested(claim) && !may_step_back(before, claim)) {
            found.push(format!("{name} asks for less"));
        }
    });
    found
}

/// What the driver refused is not had: something between that and what there is may be asked for instead.
fn may_step_back(before: &Value, after: &Value) -> bool {
    let status = &before["status"];
    let capacity = status["capacity"]["storage"].as_str().and_then(|text| text.parse::<Bytes>().ok());
    let is_refused = status["allocatedResourceStatuses"]["storage"] == "ControllerResizeInfeasible";
    is_refused && capacity.is_some_and(|capacity| requested(after) > capacity)
}

fn traces(history: &History) -> Vec<String> {
    let world = history.last();
    let mut found = Vec::new();
    for (name, _) in world.all(Kind::ConfigMap).filter(|(_, map)| is_journal(map)) {
        found.push(format!("the journal {name}"));
    }
    for (name, claim) in world.all(Kind::Claim) {
        if claim["metadata"]["ownerReferences"].to_string().contains("Namespace") {
            found.push(format!("the guard of {name}"));
        }
    }
    if let Some(set) = world.set() {
        if is_held(set) {
            found.push("the hold".to_owned());
        }
        if transaction(set).is_some() {
            found.push("the transaction".to_owned());
        }
        let uid = &set["metadata"]["uid"];
        let owner = |one: &Value| one["metadata"]["ownerReferences"].as_array().into_iter().flatten().next().cloned();
        for (name, pod) in world.all(Kind::Pod).filter(|(_, pod)| owner(pod).is_none_or(|owner| owner["uid"] != *uid)) {
            found.push(format!("{name} without its owner: {}", pod["metadata"]["ownerReferences"]));
        }
        for (template, size) in history.targets.iter().filter(|_| history.end == End::Grown) {
            if size_in_template(set, template) != size.parse::<Bytes>().ok() {
                found.push(format!("the template {template} of another size than {size}"));
            }
        }
    } else if !history.end.is_without_a_set() {
        found.push("no set".to_owned());
    }
    found
}

fn edits(history: &History) -> Vec<String> {
    let world = history.last();
    let first = history.events.iter().find(|event| event.kind == Kind::StatefulSet && event.at <= history.settled);
    let (Some(first), Some(last)) = (first, world.set()) else { return Vec::new() };
    let settled = history.events.iter().rfind(|event| event.kind == Kind::StatefulSet && event.at <= history.settled);
    let mut expected = (*settled.unwrap_or(first).object).clone();
    for (deed, _) in &history.deeds {
        if let Deed::Patch(patch) = deed {
            json_patch::merge(&mut expected, patch);
        }
    }
    differences(&comparable(last), &comparable(&expected), String::new())
}

/// What people wrote, without the sizes of templates and our own words.
fn comparable(set: &Value) -> Value {
    let mut set = set.clone();
    for template in set["spec"]["volumeClaimTemplates"].as_array_mut().into_iter().flatten() {
        template["spec"]["resources"]["requests"]["storage"] = Value::Null;
    }
    let mut annotations = set["metadata"]["annotations"].clone();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove(TRANSACTION);
        annotations.remove(REQUESTED);
    }
    let annotations =
        if annotations.as_object().is_some_and(serde_json::Map::is_empty) { Value::Null } else { annotations };
    let finalizers = &set["metadata"]["finalizers"];
    json!({"labels": set["metadata"]["labels"], "annotations": annotations, "spec": set["spec"], "finalizers": finalizers})
}

fn is_held(set: &Value) -> bool {
    set["metadata"]["finalizers"].to_string().contains(HOLD)
}

#[cfg(test)]
mod tests;
