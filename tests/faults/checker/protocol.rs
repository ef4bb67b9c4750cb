//! Did the recreate keep to its protocol in every state of the history?

use std::collections::{BTreeMap, BTreeSet};

use rso::recreate::journal::Journal;
use rso::recreate::phase::Phase;
use serde_json::{Value, json};

use super::is_held;
use crate::harness::facts::requested;
use crate::history::{History, World, is_journal, transaction};
use crate::recorder::{Change, Event, Kind, version};
use crate::scenario::{Deed, NAME};

/// The journal of this object that permits to create it again.
fn journal_of(world: &World, uid: &Value) -> Option<Journal> {
    world
        .journals()
        .find(|journal| *uid == journal.uid.as_str() && matches!(journal.phase, Phase::Deleting | Phase::Releasing))
}

/// While the set is absent, a journal holds what was last accepted of it.
pub fn absence(history: &History) -> Vec<String> {
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
            if history.end.is_without_a_set() && world.set().is_some_and(|set| !is_held(set)) {
                absent = None;
            }
        }
        let Some(uid) = &absent else { return };
        match journal_of(&after, uid) {
            None if history.end.is_without_a_set() => {}
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

/// Each makes one set, while it lasts, under a name that is free.
pub fn transactions(history: &History) -> Vec<String> {
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

/// No dependent names the old object as it goes.
pub fn release(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    if history.end.is_without_a_set() {
        return found;
    }
    // A set that goes in the foreground takes its revisions along, and its controller makes them again, over and over: one
    // that comes in the last moment goes with the set, and the new set makes its own.
    let goes_with_it = history.deeds.iter().any(|(deed, _)| matches!(deed, Deed::Delete("Foreground")));
    history.steps(|world, event| {
        if event.kind != Kind::StatefulSet || event.change != Change::Deleted {
            return;
        }
        let revisions: BTreeSet<&str> = world.all(Kind::Revision).map(|(name, _)| name).collect();
        let uid = &event.object["metadata"]["uid"];
        let refers = |(name, one): &(&str, &Value)| refers_to(one, uid) && !(goes_with_it && revisions.contains(name));
        for (name, dependent) in world.dependents().filter(refers) {
            found.push(format!("{name} does: {}", dependent["metadata"]["ownerReferences"]));
        }
    });
    found
}

fn refers_to(object: &Value, uid: &Value) -> bool {
    object["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|owner| owner["uid"] == *uid)
}

/// Every claim in range is large, the rollout is over, and the journal permits it.
pub fn deletion(history: &History) -> Vec<String> {
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

/// Nothing of ours comes after a delete that somebody else has asked for.
pub fn resurrection(history: &History) -> Vec<String> {
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

/// Each that we create was seen before, written by somebody else.
pub fn template(history: &History) -> Vec<String> {
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

/// A set that came back as it was before is not replaced once more, for the same sizes, unless somebody has changed it. A
/// journal that arrives late, from a leader that stood still, is about a set that is gone, and begins nothing.
pub fn repeated(history: &History) -> Vec<String> {
    let (mut found, mut last, mut made) = (Vec::new(), None, false);
    history.steps(|world, event| {
        if event.kind == Kind::StatefulSet && event.change == Change::Added && transaction(&event.object).is_some() {
            made = true;
        }
        if event.kind != Kind::ConfigMap || event.change != Change::Added || !is_journal(&event.object) {
            return;
        }
        let Ok(journal) = Journal::decode(&event.object) else { return };
        if world.set().is_none_or(|set| set["metadata"]["uid"] != journal.uid.as_str()) {
            return;
        }
        let same = Some((journal.targets, rso::recreate::manifest::bare(&journal.image)));
        if made && last == same {
            found.push(format!("at {} it begins again", event.at));
        }
        (last, made) = (same, false);
    });
    found
}

/// What goes was held, or deleted by a person.
pub fn foreign(history: &History) -> Vec<String> {
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
