//! Did anything happen that must never happen? The invariants of `docs/recreate.md`, asked of every state in the history
//! of a run, in the order of etcd; and what the requests themselves must keep to.

use std::collections::{BTreeMap, BTreeSet};

use rso::api::annotations::{HOLD, REQUESTED, TRANSACTION};
use rso::api::bytes::Bytes;
use rso::recreate::{Journal, Phase};
use serde_json::{Value, json};

use crate::harness::facts::size_in_template;
use crate::history::{History, World, differences, is_journal, transaction};
use crate::recorder::{Change, Event, Kind, version};
use crate::run::requested;
use crate::scenario::{Deed, End, NAME, Pods};

mod requests;

/// One invariant: what holds, and who finds where it does not.
pub type Invariant = (&'static str, fn(&History) -> Vec<String>);

/// All of them. The first eleven are those of the protocol, in its order.
pub const INVARIANTS: [Invariant; 14] = [
    ("no pod is deleted or restarted", pods),
    ("no claim is deleted or asked for less", claims),
    ("an absent set is remembered, as it was last edited", absence),
    ("only what is journalled is written", requests::journalled),
    ("a transaction makes at most one set, and none when it is over", transactions),
    ("at the release nothing refers to the old set", release),
    ("at rest nothing of ours is left", traces),
    ("no set is deleted before its claims are large and its rollout is over", deletion),
    ("every edit that was accepted is there in the end", edits),
    ("what somebody deleted is not created", resurrection),
    ("the pod template that is created is one that somebody else applied", template),
    ("every write carries its precondition", requests::preconditions),
    ("no write follows a read that failed", requests::failed_reads),
    ("a set of somebody else is never deleted", foreign),
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
    let with_the_set = history.end == End::Deleted;
    history.steps(|world, event| {
        if event.kind != Kind::Claim {
            return;
        }
        let (name, claim) = (event.name(), &event.object);
        let goes = event.change == Change::Deleted || !claim["metadata"]["deletionTimestamp"].is_null();
        if goes && !with_the_set {
            found.push(format!("{name} is deleted"));
        }
        let before = world.all(Kind::Claim).find(|(other, _)| *other == name).map(|(_, claim)| requested(claim));
        if before.is_some_and(|before| before > requested(claim)) {
            found.push(format!("{name} asks for less"));
        }
    });
    found
}

/// The journal of this object that permits to create it again.
fn journal_of(world: &World, uid: &Value) -> Option<Journal> {
    world
        .journals()
        .find(|journal| *uid == journal.uid.as_str() && matches!(journal.phase, Phase::Deleting | Phase::Releasing))
}

fn absence(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    let mut absent: Option<Value> = None;
    let mut edited = 0;
    let mut look = |world: &World, event: &Event| {
        let mut after = world.clone();
        after.apply(event);
        if event.kind == Kind::StatefulSet {
            let same = |set: &Value| content(set) == content(&event.object);
            // The DELETED event may carry an edit that slipped in with the release: it is still to be replayed.
            if event.change != Change::Deleted && !world.set().is_some_and(same) {
                edited = event.at;
            }
            absent = (event.change == Change::Deleted).then(|| event.object["metadata"]["uid"].clone());
            if history.end == End::Deleted && world.set().is_some_and(|set| !is_held(set)) {
                absent = None;
            }
        }
        let Some(uid) = &absent else { return };
        match journal_of(&after, uid) {
            None if history.end == End::Deleted => {}
            None => found.push(format!("at {} nothing remembers it", event.at)),
            Some(journal) => {
                let image = version(&journal.image);
                let slipped = edited > written(&after, &journal);
                if image < edited && !slipped {
                    found.push(format!("at {} the journal has {image}, the last edit was {edited}", event.at));
                }
            }
        }
    };
    history.steps(&mut look);
    found.truncate(3);
    found
}

/// When the journal was written.
fn written(world: &World, journal: &Journal) -> u64 {
    let map = world.all(Kind::ConfigMap).find(|(name, _)| *name == journal.name());
    map.map_or(0, |(_, map)| version(map))
}

/// What people edit.
fn content(set: &Value) -> Value {
    json!([set["metadata"]["labels"], set["metadata"]["annotations"], set["spec"]])
}

fn is_held(set: &Value) -> bool {
    set["metadata"]["finalizers"].to_string().contains(HOLD)
}

fn transactions(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    let (mut made, mut over) = (BTreeMap::<String, usize>::new(), BTreeSet::new());
    history.steps(|world, event| {
        if event.kind == Kind::ConfigMap && is_journal(&event.object) {
            let journal = Journal::decode(&event.object).ok();
            let ended =
                event.change == Change::Deleted || journal.as_ref().is_some_and(|one| one.phase == Phase::Guarded);
            let id = journal.map(|journal| journal.id);
            over.extend(id.filter(|_| ended));
        }
        let made_by_us = transaction(&event.object).filter(|_| event.kind == Kind::StatefulSet);
        let Some(id) = made_by_us.filter(|_| event.change == Change::Added) else { return };
        let count = made.entry(id.to_owned()).or_default();
        *count += 1;
        if *count > 1 {
            found.push(format!("{id} has made {count} sets"));
        }
        if over.contains(id) {
            found.push(format!("{id} was over when it made a set"));
        }
        if world.set().is_some() {
            found.push("the name was taken".to_owned());
        }
    });
    found
}

fn release(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    if history.end == End::Deleted {
        return found;
    }
    history.steps(|world, event| {
        if event.kind != Kind::StatefulSet || event.change != Change::Deleted {
            return;
        }
        for (name, dependent) in world.dependents().filter(|(_, one)| refers_to(one, &event.object["metadata"]["uid"]))
        {
            found.push(format!("{name} does: {}", dependent["metadata"]["ownerReferences"]));
        }
    });
    found
}

fn refers_to(object: &Value, uid: &Value) -> bool {
    object["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|owner| owner["uid"] == *uid)
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
    } else if history.end != End::Deleted {
        found.push("no set".to_owned());
    }
    found
}

fn deletion(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    let by_people: BTreeSet<u64> = deletions(history).collect();
    history.steps(|world, event| {
        let (Kind::StatefulSet, Some(before)) = (event.kind, world.set()) else { return };
        let begins = before["metadata"]["deletionTimestamp"].is_null()
            && !event.object["metadata"]["deletionTimestamp"].is_null();
        if !begins || by_people.contains(&event.at) {
            return;
        }
        let status = &before["status"];
        if status["currentRevision"] != status["updateRevision"] {
            found.push("a rollout was in flight".to_owned());
        }
        let Some(journal) = journal_of(world, &before["metadata"]["uid"]) else {
            found.push("it was not journalled".to_owned());
            return;
        };
        let start = before["spec"]["ordinals"]["start"].as_u64().unwrap_or(0);
        for ordinal in start..start + before["spec"]["replicas"].as_u64().unwrap_or(1) {
            for (template, size) in &journal.targets {
                let name = format!("{template}-{NAME}-{ordinal}");
                let claim = world.all(Kind::Claim).find(|(other, _)| *other == name);
                if claim.is_none_or(|(_, claim)| requested(claim) < *size) {
                    found.push(format!("{name} was not {size}"));
                }
            }
        }
    });
    found
}

/// The versions at which people deleted the set.
fn deletions(history: &History) -> impl Iterator<Item = u64> {
    history.deeds.iter().filter(|(deed, _)| matches!(deed, Deed::Delete(_))).map(|(_, at)| *at)
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

fn resurrection(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    let by_people: BTreeSet<u64> = deletions(history).collect();
    let mut deleted = None;
    history.steps(|world, event| {
        if event.kind != Kind::StatefulSet {
            return;
        }
        if by_people.contains(&event.at) && world.set().is_some_and(|set| !is_held(set)) {
            deleted = Some(event.at);
        }
        if let Some(at) = deleted.filter(|_| event.change == Change::Added && transaction(&event.object).is_some()) {
            found.push(format!("deleted at {at}, created at {}", event.at));
        }
    });
    found
}

fn template(history: &History) -> Vec<String> {
    let (mut known, mut found) = (Vec::<Value>::new(), Vec::new());
    history.steps(|_, event| {
        if event.kind != Kind::StatefulSet {
            return;
        }
        let template = &event.object["spec"]["template"];
        let ours = event.change == Change::Added && transaction(&event.object).is_some();
        if ours && !known.contains(template) {
            found.push(format!("at {} it is new", event.at));
        }
        if !ours && !known.contains(template) {
            known.push(template.clone());
        }
    });
    found
}

fn foreign(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    let by_people: BTreeSet<u64> = deletions(history).collect();
    history.steps(|world, event| {
        let (Kind::StatefulSet, Some(before)) = (event.kind, world.set()) else { return };
        let goes = before["metadata"]["deletionTimestamp"].is_null()
            && (event.change == Change::Deleted || !event.object["metadata"]["deletionTimestamp"].is_null());
        if goes && !by_people.contains(&event.at) && !is_held(before) {
            found.push(format!("at {} one goes that was not held", event.at));
        }
    });
    found
}

#[cfg(test)]
mod tests;
