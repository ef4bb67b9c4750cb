//! A store, a garbage collector, and a StatefulSet controller of a few lines, to carry [`next`] through its states.
//! They model what the protocol depends on and nothing else; tests on a real API server show that it behaves this way.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::assemble::Rest;
use super::super::backup::{self, BackupHead};
use super::super::dependent::{Claim, Dependent, Kind};
use super::super::journal::Journal;
use super::super::observed::{Backups, Departure, Intent, LastObject, Namespace, Observed, Rules};
use super::super::probes::{Orphan, PodAnswer, ProbeRequest, Probes, Verdict};
use super::super::rivals::{Found, Rivals};
use super::super::step::{Action, Read, Step};
use super::super::{manifest, next, raw};
use crate::api::annotations::{HOLD, TRANSACTION};
use crate::api::bytes::Bytes;
use crate::api::names::{SetName, TemplateName, Uid};
use crate::api::write::Precondition;

pub(super) const OLD: &str = "uid-1";

#[derive(Clone)]
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) set: Option<Value>,
    pub(super) pods: Vec<Dependent>,
    pub(super) revisions: Vec<Dependent>,
    pub(super) claims: Vec<Claim>,
    pub(super) journals: Vec<(Journal, Precondition)>,
    pub(super) backups: BTreeMap<u64, BackupHead>,
    pub(super) namespace: Namespace,
    pub(super) intent: Option<Intent>,
    pub(super) verdicts: [Verdict; 8],
    /// The answers to the dry runs of Pods, by name; the others are accepted.
    pub(super) of_pods: BTreeMap<String, Verdict>,
    /// The other workloads that select the Pods.
    pub(super) rivals: Found,
    /// Every removed object with the name of the StatefulSet, in its last state.
    pub(super) removed: Vec<Value>,
    pub(super) deletes: usize,
    pub(super) creates: usize,
    /// How many recreations the test requested.
    pub(super) recreates: usize,
    /// The user who deletes the StatefulSet wants its PVCs to be deleted with it.
    pub(super) claims_go_with_it: bool,
    counter: u64,
    passes: usize,
}

/// The result of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    Done,
    Moved,
}

pub(super) fn set_name() -> SetName {
    SetName::new("shop", "db")
}

pub(super) fn data() -> TemplateName {
    TemplateName::from("data")
}

pub(super) fn controller_of(uid: &str) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": uid, "controller": true })
}

fn dependent(kind: Kind, name: &str, owner: Option<&str>) -> Dependent {
    Dependent {
        kind,
        name: name.to_owned(),
        uid: Uid::new(format!("uid-of-{name}")),
        resource_version: "1".to_owned(),
        generation: (kind == Kind::Pod).then_some(1),
        owners: owner.map(controller_of).into_iter().collect(),
        revision: (kind == Kind::Pod).then(|| "db-1".to_owned()),
        labels: BTreeMap::from([("app".to_owned(), "db".to_owned())]),
        deleting: false,
        owners_changed: Some(Timestamp::UNIX_EPOCH),
    }
}

impl World {
    /// A stable StatefulSet of two replicas whose PVCs have been expanded from 1Gi to 2Gi.
    pub(super) fn settled() -> Self {
        Self::with_replicas(2)
    }

    pub(super) fn with_replicas(replicas: u32) -> Self {
        let set = json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {
                "namespace": "shop", "name": "db", "uid": OLD, "resourceVersion": "1", "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": { "app": "db" },
                "annotations": { "note": "keep" },
                "managedFields": [
                    { "manager": "helm", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                      "fieldsV1": { "f:spec": { "f:template": {}, "f:replicas": {} } } },
                ],
            },
            "spec": {
                "replicas": replicas,
                "futureField": { "kept": true },
                "template": { "spec": { "containers": [{ "name": "c", "image": "busybox:1" }] } },
                "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } },
                "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Retain" },
                "volumeClaimTemplates": [
                    { "metadata": { "name": "data" }, "spec": { "resources": { "requests": { "storage": "1Gi" } } },
                      "status": { "phase": "Pending" } },
                ],
            },
        });
        let ordinals = 0..replicas;
        let claim = |ordinal| Claim {
            object: dependent(Kind::Claim, &format!("data-db-{ordinal}"), None),
            requested: Bytes::gib(2),
        };
        let mut world = Self {
            now: Timestamp::UNIX_EPOCH + Duration::from_secs(1_000_000),
            set: Some(set),
            pods: ordinals.clone().map(|n| dependent(Kind::Pod, &format!("db-{n}"), Some(OLD))).collect(),
            revisions: vec![dependent(Kind::Revision, "db-1", Some(OLD))],
            claims: ordinals.map(claim).collect(),
            journals: Vec::new(),
            backups: BTreeMap::new(),
            namespace: Namespace { uid: Uid::new("uid-of-shop"), terminating: false },
            intent: Some(Intent {
                set: set_name(),
                uid: None,
                targets: BTreeMap::from([(data(), Bytes::gib(2))]),
                reason: "a test".to_owned(),
                allow_owner: None,
            }),
            verdicts: [
                Verdict::AlreadyExists,
                Verdict::Accepted,
                Verdict::Accepted,
                Verdict::Accepted,
                Verdict::Refused("immutable".to_owned()),
                Verdict::Accepted,
                Verdict::Accepted,
                Verdict::Accepted,
            ],
            of_pods: BTreeMap::new(),
            rivals: Found::Rivals(Vec::new()),
            removed: Vec::new(),
            deletes: 0,
            creates: 0,
            recreates: 1,
            claims_go_with_it: false,
            counter: 1,
            passes: 0,
        };
        world.controller();
        world
    }

    /// The same with `whenDeleted: Delete`: the PVCs refer to the StatefulSet.
    pub(super) fn deleting_claims() -> Self {
        let mut world = Self::settled();
        world.edit(|set| set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] = json!("Delete"));
        world.claims_go_with_it = true;
        world.controller();
        world
    }

    /// What the operator reads, through the assembly that it uses.
    pub(super) fn observe(&self) -> Observed {
        let journals = self.journals.iter().map(|(journal, guard)| raw::journal(journal, guard).unwrap());
        let objects = raw::Objects {
            live: self.set.clone(),
            namespace: Some(raw::namespace(&self.namespace)),
            journals: journals.collect(),
            pods: self.pods.iter().map(raw::dependent).collect(),
            revisions: self.revisions.iter().map(raw::dependent).collect(),
            claims: self.claims.iter().map(raw::claim).collect(),
        };
        let next = self.backups.keys().last().map_or(1, |last| last + 1);
        let rest = Rest {
            backups: Backups { taken: self.backups.clone(), next },
            departure: Departure::Unknown,
            intent: self.intent.clone(),
            rules: Rules::default(),
        };
        objects.assemble(&set_name(), rest).unwrap()
    }

    pub(super) fn probe(&self, request: &ProbeRequest) -> Probes {
        let [create, delete, hold, backup, native, copy, spec, protect] = self.verdicts.clone();
        let (uid, generation) = (request.guard.uid.clone(), request.generation);
        let (targets, at) = (request.targets.clone(), self.now);
        let answer = |orphan: &Orphan| {
            let verdict = self.of_pods.get(&orphan.pod.name).cloned().unwrap_or(Verdict::Accepted);
            (orphan.pod.name.clone(), PodAnswer { uid: orphan.pod.uid.clone(), verdict })
        };
        let pods = request.pods.iter().map(answer).collect();
        Probes { uid, generation, targets, at, create, copy, delete, hold, backup, native, spec, protect, pods }
    }

    pub(super) fn last_object(&self, of: &Precondition, transaction: &str) -> LastObject {
        let ours = |object: &&Value| object["metadata"]["annotations"][TRANSACTION] == transaction;
        if self.removed.iter().any(|object| ours(&object)) {
            return LastObject::SuccessorGone;
        }
        let old = self.removed.iter().find(|object| object["metadata"]["uid"] == of.uid.as_str());
        old.map_or(LastObject::Unknown, |object| LastObject::Seen(Box::new(object.clone())))
    }

    fn version(&mut self) -> String {
        self.counter += 1;
        self.counter.to_string()
    }

    fn is_at(&self, guard: &Precondition) -> bool {
        let matches = |set: &Value| {
            set["metadata"]["uid"] == guard.uid.as_str()
                && set["metadata"]["resourceVersion"] == guard.resource_version.as_str()
        };
        self.set.as_ref().is_some_and(matches)
    }

    /// A write to the StatefulSet by any client; a change of the spec is a new generation.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        let version = self.version();
        let Some(set) = self.set.as_mut() else { return };
        let before = set["spec"].clone();
        change(set);
        set["metadata"]["resourceVersion"] = json!(version);
        if set["spec"] != before {
            set["metadata"]["generation"] = json!(set["metadata"]["generation"].as_i64().unwrap() + 1);
        }
        self.remove_if_free();
    }

    fn remove_if_free(&mut self) {
        let is_free = |set: &Value| {
            !set["metadata"]["deletionTimestamp"].is_null()
                && set["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
        };
        if let Some(set) = self.set.take_if(|set| is_free(set)) {
            self.removed.push(set);
            self.collect();
        }
    }

    /// The garbage collector: deletes what refers only to owners that no longer exist.
    fn collect(&mut self) {
        let live = self.set.as_ref().map(|set| set["metadata"]["uid"].clone());
        let namespace = self.namespace.uid.clone();
        let stays = |dependent: &Dependent| {
            dependent.owners.is_empty()
                || dependent
                    .owners
                    .iter()
                    .any(|owner| Some(&owner["uid"]) == live.as_ref() || owner["uid"] == namespace.as_str())
        };
        self.pods.retain(stays);
        self.revisions.retain(stays);
        self.claims.retain(|claim| stays(&claim.object));
    }

    /// A DELETE of the StatefulSet by any client, with these finalizers of the garbage collector.
    pub(super) fn delete(&mut self, finalizers: &[&str]) {
        let now = self.now.to_string();
        self.edit(|set| {
            let mut all = set["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            all.extend(finalizers.iter().map(|name| json!(name)));
            set["metadata"]["finalizers"] = json!(all);
            set["metadata"]["deletionTimestamp"] = json!(now);
        });
    }

    /// Another client creates a StatefulSet with the name.
    pub(super) fn create_foreign(&mut self, size: &str) {
        let mut set = Self::settled().set.unwrap();
        set["metadata"]["uid"] = json!("uid-foreign");
        set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!(size);
        self.insert(set);
    }

    fn insert(&mut self, mut set: Value) -> Applied {
        if self.set.is_some() {
            return Applied::Moved;
        }
        set["metadata"]["resourceVersion"] = json!(self.version());
        set["metadata"]["generation"] = json!(1);
        self.set = Some(set);
        Applied::Done
    }

    /// What the garbage collector and the StatefulSet controller do when they run.
    pub(super) fn controllers(&mut self) {
        self.orphan();
        self.controller();
    }

    fn orphan(&mut self) {
        let Some(set) = self.set.as_ref() else { return };
        let uid = set["metadata"]["uid"].as_str().unwrap().to_owned();
        let finalizers = set["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        if !finalizers.contains(&json!("orphan")) {
            return;
        }
        for dependent in self.all() {
            dependent.owners.retain(|owner| owner["uid"] != uid.as_str());
        }
        self.edit(|set| {
            set["metadata"]["finalizers"].as_array_mut().unwrap().retain(|name| name != "orphan");
        });
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Dependent> {
        let claims = self.claims.iter_mut().map(|claim| &mut claim.object);
        self.pods.iter_mut().chain(self.revisions.iter_mut()).chain(claims)
    }

    fn controller(&mut self) {
        let Some(set) = self.set.as_mut().filter(|set| set["metadata"]["deletionTimestamp"].is_null()) else { return };
        let uid = set["metadata"]["uid"].as_str().unwrap().to_owned();
        let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
        let update = if image == "busybox:1" { "db-1" } else { "db-2" };
        let count = self.pods.len();
        let status = json!({
            "observedGeneration": set["metadata"]["generation"], "replicas": count, "readyReplicas": count,
            "availableReplicas": count, "currentRevision": "db-1", "updateRevision": update,
        });
        let owns_claims = set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete";
        if set["status"] != status {
            set["status"] = status;
            let version = self.version();
            self.set.as_mut().unwrap()["metadata"]["resourceVersion"] = json!(version);
        }
        for dependent in self.pods.iter_mut().chain(&mut self.revisions) {
            if dependent.owners.is_empty() {
                dependent.owners.push(controller_of(&uid));
            }
        }
        // It manages the PVCs of the Pods that it runs, and no others.
        let replicas = self.set.as_ref().and_then(|set| set["spec"]["replicas"].as_u64()).unwrap_or(1);
        let is_its_own = |claim: &&mut Claim| {
            let ordinal = claim.object.name.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse::<u64>().ok());
            ordinal.is_some_and(|ordinal| ordinal < replicas)
        };
        for claim in self.claims.iter_mut().filter(is_its_own) {
            claim.object.owners.retain(|owner| owner["uid"] != uid.as_str());
            if owns_claims {
                claim.object.owners.push(controller_of(&uid));
            }
        }
    }

    pub(super) fn apply(&mut self, action: &Action) -> Applied {
        match action {
            Action::CreateJournal(journal) => {
                if self.journals.iter().any(|(known, _)| known.name() == journal.name()) {
                    return Applied::Moved;
                }
                let guard = Precondition { uid: Uid::new(journal.name()), resource_version: self.version() };
                self.journals.push((*journal.clone(), guard));
            }
            Action::UpdateJournal { journal, guard } => {
                let version = self.version();
                let Some(known) = self.journals.iter_mut().find(|(_, known)| known == guard) else {
                    return Applied::Moved;
                };
                known.0 = *journal.clone();
                known.1.resource_version = version;
            }
            Action::DeleteJournal { guard, .. } => self.journals.retain(|(_, known)| known != guard),
            Action::CreateBackup(object) => {
                let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                let number = backup::number_of(&set_name(), &name).unwrap();
                let transaction = object["metadata"]["annotations"][TRANSACTION].as_str().map(str::to_owned);
                let guard = Precondition { uid: Uid::new(name.as_str()), resource_version: "1".to_owned() };
                self.backups.insert(number, BackupHead { name, guard, transaction, deleting: false });
            }
            Action::DeleteBackup { guard, .. } => self.backups.retain(|_, head| head.guard != *guard),
            Action::SetOwners { kind, name, guard, owners, .. } => {
                let version = self.version();
                // A Pod and a ControllerRevision may have the same name.
                let wanted = |known: &&mut Dependent| known.kind == *kind && known.name == *name;
                let Some(dependent) = self.all().find(wanted) else {
                    return Applied::Moved;
                };
                if dependent.guard() != *guard {
                    return Applied::Moved;
                }
                dependent.owners.clone_from(owners);
                dependent.resource_version = version;
                self.collect();
            }
            Action::Create(object) => {
                let mut set = *object.clone();
                self.creates += 1;
                set["metadata"]["uid"] = json!(format!("uid-new-{}", self.creates));
                let fields = json!({ "f:spec": { "f:template": {}, "f:replicas": {} } });
                let entry = json!({ "manager": manifest::MANAGER, "operation": "Update", "fieldsV1": fields });
                set["metadata"]["managedFields"] = json!([entry]);
                return self.insert(set);
            }
            other => return self.patch_set(other),
        }
        Applied::Done
    }

    fn patch_set(&mut self, action: &Action) -> Applied {
        if !self.is_at(action.guard().unwrap()) {
            return Applied::Moved;
        }
        match action {
            Action::PatchTemplates { templates, .. } => {
                self.edit(|set| set["spec"]["volumeClaimTemplates"] = templates.clone());
            }
            Action::SetRetention { when_deleted, .. } => self.edit(|set| {
                set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] = json!(when_deleted.as_str());
            }),
            Action::SetFinalizers { finalizers, .. } | Action::Release { finalizers, .. } => {
                self.edit(|set| set["metadata"]["finalizers"] = json!(finalizers));
            }
            Action::Delete { .. } => {
                self.deletes += 1;
                self.delete(&["orphan"]);
            }
            Action::RestoreSpec { spec, .. } => self.edit(|set| json_patch::merge(&mut set["spec"], spec)),
            Action::RestoreOwnership { managed_fields, .. } => self.edit(|set| {
                set["metadata"]["managedFields"] = managed_fields.clone();
                set["metadata"]["annotations"].as_object_mut().unwrap().remove(TRANSACTION);
            }),
            other => panic!("{other:?} is not a patch of a StatefulSet"),
        }
        Applied::Done
    }

    /// Whether nothing of rso is left.
    pub(super) fn is_clean(&self) -> bool {
        let marked = self.set.as_ref().is_some_and(|set| {
            let held = set["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!(HOLD)));
            held || !set["metadata"]["annotations"][TRANSACTION].is_null()
        });
        let protected = self.claims.iter().any(|claim| claim.is_protected_by(&self.namespace.uid));
        !marked && !protected && self.journals.is_empty()
    }

    pub(super) fn size(&self) -> &str {
        let set = self.set.as_ref().expect("the StatefulSet exists");
        set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"].as_str().unwrap()
    }
}

/// One iteration of the loop: observe, read more, decide, at most one write. `applied` is `None` when nothing was
/// written.
pub(super) struct Pass {
    pub(super) step: Step,
    pub(super) applied: Option<Applied>,
}

/// The answer that no other workload selects the Pods of the observed StatefulSet.
pub(super) fn nobody_else(seen: &Observed) -> Option<Rivals> {
    Some(Rivals { of: seen.live().unwrap().guard(), found: Found::Rivals(Vec::new()) })
}

/// Decides with everything that can be read.
pub(super) fn decide(world: &World) -> Step {
    let mut seen = world.observe();
    for _ in 0..4 {
        match next(&seen, world.now) {
            Step::Read(Read::Probes(request)) => seen.probes = Some(world.probe(&request)),
            Step::Read(Read::Rivals(request)) => {
                seen.rivals = Some(Rivals { of: request.of, found: world.rivals.clone() });
            }
            Step::Read(Read::LastObject { of, transaction }) => seen.last = world.last_object(&of, &transaction),
            step => return step,
        }
    }
    panic!("it only reads and never decides");
}

/// More iterations than any test needs.
const MOST: usize = 1_000;

/// Runs one iteration.
pub(super) fn pass(world: &mut World) -> Pass {
    let step = decide(world);
    world.passes += 1;
    assert!(world.passes < MOST, "it never ends: {step:?}");
    let applied = match &step {
        Step::Write(action) => Some(world.apply(action)),
        Step::Wait(wait) => {
            world.now += wait.at_most;
            None
        }
        Step::Done { again } => {
            world.now += again.unwrap_or_default();
            None
        }
        Step::Refuse(_) => None,
        Step::Read(_) => unreachable!("decide carries out every read"),
    };
    Pass { step, applied }
}
