//! What is known when a run is over? Every state that was stored, every request that was asked, and what people did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rso::api::annotations::{KIND_LABEL, TRANSACTION};
use rso::recreate::journal::Journal;
use rso::recreate::phase::Phase;
use serde_json::{Value, json};

use crate::asked::Asked;
use crate::fault::Fault;
use crate::recorder::{Change, Event, Kind};
use crate::run::refuses;
use crate::scenario::{Deed, End, NAME, Pods};

/// All that a run has left behind.
pub struct History {
    /// In the order of etcd.
    pub events: Vec<Event>,
    /// In the order of arrival.
    pub asked: Vec<Asked>,
    /// What people did, with the version of the set that it led to.
    pub deeds: Vec<(Deed, u64)>,
    /// From this version on, the set was ready and the operator at work.
    pub settled: u64,
    pub end: End,
    pub pods: Pods,
    pub fault: Option<Fault>,
    /// Template → size.
    pub targets: BTreeMap<String, String>,
}

/// What the server held at one moment.
#[derive(Clone, Default)]
pub struct World(BTreeMap<(Kind, String), Arc<Value>>);

impl World {
    /// Takes one more event in.
    pub fn apply(&mut self, event: &Event) {
        let key = (event.kind, event.name().to_owned());
        match event.change {
            Change::Added | Change::Modified => self.0.insert(key, event.object.clone()),
            Change::Deleted => self.0.remove(&key),
        };
    }

    /// The set.
    pub fn set(&self) -> Option<&Value> {
        self.0.get(&(Kind::StatefulSet, NAME.to_owned())).map(AsRef::as_ref)
    }

    /// All objects of a kind, by name.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = (&str, &Value)> {
        self.0
            .iter()
            .filter(move |((of, _), _)| *of == kind)
            .map(|((_, name), object)| (name.as_str(), object.as_ref()))
    }

    /// What can be owned.
    pub fn dependents(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.all(Kind::Pod).chain(self.all(Kind::Revision)).chain(self.all(Kind::Claim))
    }

    /// The journals that can be read.
    pub fn journals(&self) -> impl Iterator<Item = Journal> {
        self.all(Kind::ConfigMap).filter(|(_, map)| is_journal(map)).filter_map(|(_, map)| Journal::decode(map).ok())
    }
}

/// Whether a ConfigMap is a journal.
pub fn is_journal(map: &Value) -> bool {
    map["metadata"]["labels"][KIND_LABEL] == "journal"
}

/// The id of the recreate that made the set, while it has not landed.
pub fn transaction(set: &Value) -> Option<&str> {
    set["metadata"]["annotations"][TRANSACTION].as_str()
}

impl History {
    /// Every event with the world before it.
    pub fn steps(&self, mut look: impl FnMut(&World, &Event)) -> World {
        let mut world = World::default();
        for event in &self.events {
            look(&world, event);
            world.apply(event);
        }
        world
    }

    /// The world when it was over.
    pub fn last(&self) -> World {
        self.steps(|_, _| {})
    }

    /// What must be the same in every run of a scenario, whatever went wrong.
    pub fn summary(&self) -> Summary {
        let mut counts = BTreeMap::<String, (usize, usize)>::new();
        // Where somebody else deletes the set, its StatefulSet controller and the garbage collector work against each other:
        // how often pods and revisions come and go is a race of Kubernetes with itself, and which of them are left of a set
        // that is deleted for good.
        let is_of_kubernetes = |kind: Kind| matches!(kind, Kind::Pod | Kind::Revision);
        let is_raced = self.pods == Pods::MayChange && self.deeds.iter().any(|(deed, _)| deed.deletes());
        for event in self.events.iter().filter(|event| !(is_raced && is_of_kubernetes(event.kind))) {
            let count = counts.entry(named(event.kind, &event.object)).or_default();
            match event.change {
                Change::Added => count.0 += 1,
                Change::Deleted => count.1 += 1,
                Change::Modified => {}
            }
        }
        let world = self.last();
        let is_gone = self.end.is_without_a_set();
        let kinds = Kind::ALL.into_iter().filter(|kind| !(is_gone && is_of_kubernetes(*kind)));
        let all = kinds.flat_map(|kind| world.all(kind).map(move |(_, object)| (kind, object)));
        let end = all.map(|(kind, object)| (named(kind, object), normal(kind, object))).collect();
        let taken_back = self.events.iter().filter(|event| is_taken_back(event)).count();
        if let Some((made, gone)) = counts.get_mut("journal") {
            (*made, *gone) = (*made - taken_back, *gone - taken_back);
        }
        Summary { counts, end, taken_back }
    }
}

/// A journal that goes in its first phase: the set was not deleted. Either the recreate was taken back, because it took more
/// than ten seconds (then it begins anew, with a further backup); or its creation arrived when the recreate was over, which
/// nothing can refuse but its name.
fn is_taken_back(event: &Event) -> bool {
    let goes = event.kind == Kind::ConfigMap && event.change == Change::Deleted && is_journal(&event.object);
    goes && Journal::decode(&event.object).is_ok_and(|journal| journal.phase == Phase::Prepared)
}

/// How often each object was created and deleted, and what there is in the end, without what differs from run to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub counts: BTreeMap<String, (usize, usize)>,
    pub end: BTreeMap<String, Value>,
    /// Journals that came and went without a recreate. They are not among the counts.
    pub taken_back: usize,
}

impl Summary {
    /// Whether the StatefulSet was never deleted: its template is what it was.
    pub fn is_untouched(&self) -> bool {
        let sets = || self.counts.iter().filter(|(name, _)| name.starts_with("StatefulSet "));
        sets().next().is_some() && sets().all(|(_, (_, deletes))| *deletes == 0)
    }

    /// How this run differs from the one without a fault.
    pub fn differences(&self, reference: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let retried = self.taken_back + reference.taken_back > 0;
        let may_differ = |name: &&&String| !(retried && name.starts_with("ConfigMap db-backup-"));
        let names = self.counts.keys().chain(reference.counts.keys());
        for name in names.collect::<BTreeSet<_>>().iter().filter(may_differ).copied() {
            let (ours, theirs) = (self.counts.get(name), reference.counts.get(name));
            if ours != theirs {
                differences.push(format!("{name}: (creates, deletes) {ours:?}, without a fault {theirs:?}"));
            }
        }
        let names = self.end.keys().chain(reference.end.keys());
        for name in names.collect::<BTreeSet<_>>().iter().filter(may_differ).copied() {
            let (ours, theirs) = (self.end.get(name), reference.end.get(name));
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                let paths = self::differences(ours, theirs, String::new());
                if !paths.is_empty() {
                    differences.push(format!("{name} ends otherwise than without a fault: {paths:?}"));
                }
            } else if ours.is_some() != theirs.is_some() {
                differences.push(format!("{name} is there in the end: {}", ours.is_some()));
            }
        }
        differences
    }
}

/// Where two values differ, and how.
pub fn differences(one: &Value, other: &Value, path: String) -> Vec<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let at = |map: &serde_json::Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or(Value::Null);
            keys.into_iter()
                .flat_map(|key| differences(&at(one, key), &at(other, key), format!("{path}.{key}")))
                .collect()
        }
        (one, other) if one == other => Vec::new(),
        (one, other) => vec![format!("{path}: {one}, not {other}")],
    }
}

fn named(kind: Kind, object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if kind == Kind::ConfigMap && is_journal(object) { "journal".to_owned() } else { format!("{kind:?} {name}") }
}

fn normal(kind: Kind, object: &Value) -> Value {
    let metadata = &object["metadata"];
    let owner = |owner: &Value| json!([owner["kind"], owner["name"], owner["controller"], owner["blockOwnerDeletion"]]);
    let owners: Vec<Value> = metadata["ownerReferences"].as_array().into_iter().flatten().map(owner).collect();
    let mut annotations = metadata["annotations"].clone();
    if let Some(annotations) = annotations.as_object_mut() {
        // A time, and the id that names the recreate in its backup; a revision that is made for a new set before it has
        // landed has a copy of all its annotations.
        annotations.remove(rso::api::annotations::RESIZED_AT);
        if matches!(kind, Kind::ConfigMap | Kind::Revision) {
            annotations.remove(TRANSACTION);
        }
    }
    let mut spec = object["spec"].clone();
    // Named after the claim's uid.
    spec["volumeName"] = Value::Null;
    let has_no_end = kind == Kind::Claim && refuses(object);
    if has_no_end {
        spec["resources"] = Value::Null;
    }
    // The volume of a service account token, if there is one, has a random name; the rest of a pod's spec never changes.
    if kind == Kind::Pod {
        spec = Value::Null;
    }
    let status = &object["status"];
    let status = match kind {
        Kind::StatefulSet => {
            json!([status["currentRevision"], status["updateRevision"], status["replicas"], status["readyReplicas"],])
        }
        Kind::Claim if !has_no_end => status["capacity"].clone(),
        Kind::Claim | Kind::Pod | Kind::Revision | Kind::ConfigMap => Value::Null,
    };
    // Owners are named by their uid.
    let uids =
        || metadata["ownerReferences"].as_array().into_iter().flatten().filter_map(|owner| owner["uid"].as_str());
    let manager = |entry: &Value| {
        let entry = json!([entry["manager"], entry["operation"], entry["fieldsV1"]]).to_string();
        uids().fold(entry, |entry, uid| entry.replace(uid, "uid"))
    };
    let managers = metadata["managedFields"].as_array().into_iter().flatten();
    let managers: BTreeSet<String> = managers.filter(|entry| entry["subresource"] != "status").map(manager).collect();
    json!({
        "labels": metadata["labels"], "annotations": annotations, "owners": owners, "finalizers": metadata["finalizers"],
        "spec": spec, "status": status, "managers": managers, "revision": object["revision"], "data": object["data"].is_null(),
    })
}
