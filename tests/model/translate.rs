//! From the few bytes of the model to what the production code reads, and from what it answers back.
//!
//! Nothing is decided here. Both directions are total: what the production code may answer and the model does not know is a
//! panic, which fails the run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rso::api::annotations::{HOLD, TRANSACTION};
use rso::api::bytes::Bytes;
use rso::api::names::{ClaimName, SetName, TemplateName, Uid as Name};
use rso::api::reasons::Note;
use rso::api::write::Precondition;
use rso::recreate::assemble::Rest;
use rso::recreate::backup::BackupHead;
use rso::recreate::dependent::{Claim as RealClaim, Dependent, Kind};
use rso::recreate::journal::{self, Journal as RealJournal};
use rso::recreate::observed::{
    Backups, Departure as RealDeparture, Intent, LastObject, Namespace, Observed, Rules, Stored,
};
use rso::recreate::phase::{Ending, Phase};
use rso::recreate::probes::{Orphan, PodAnswer, Probes, Verdict};
use rso::recreate::rivals::{Found, Rivals};
use rso::recreate::set::{LiveSet, WhenDeleted};
use rso::recreate::step::{Action, Read, Step as RealStep};
use rso::recreate::{self, compare, manifest, outcome, raw};
use serde_json::{Value, json};

use super::state::*;

const NAMESPACE_UID: &str = "uid-of-shop";

/// The time of every decision; what has passed is told by the times in the objects.
pub(crate) fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn ago(seconds: u64) -> Timestamp {
    now() - Duration::from_secs(seconds)
}

fn name_of(uid: Uid) -> Name {
    Name::new(format!("uid-{uid}"))
}

fn uid_of(name: &str) -> Uid {
    name.strip_prefix("uid-").and_then(|uid| uid.parse().ok()).unwrap_or_else(|| panic!("{name:?} is no uid"))
}

fn bytes(size: Size) -> Bytes {
    Bytes::mib(u64::from(size) * 128)
}

fn size_of(bytes: Bytes) -> Size {
    Size::try_from(bytes.0 / (128 * Bytes::MIB)).unwrap()
}

fn set_name() -> SetName {
    SetName::new("shop", "db")
}

fn data() -> TemplateName {
    TemplateName::from("data")
}

/// The id of the transaction that replaces this object: made of its uid and the time, and the time stands still.
fn id_of(uid: Uid) -> String {
    format!("transaction-{uid}")
}

fn transaction_of(id: &str) -> Uid {
    id.strip_prefix("transaction-").and_then(|uid| uid.parse().ok()).unwrap_or_else(|| panic!("{id:?} is no id"))
}

fn guard(uid: &str) -> Precondition {
    Precondition { uid: Name::new(uid), resource_version: "1".to_owned() }
}

// ── To the production code ─────────────────────────────────────────────────────────────────────────────────────────────

/// What an operator knows, through the assembly that it uses.
pub(crate) fn observed(view: &View) -> Observed {
    let cluster = &view.cluster;
    let rest = Rest {
        departure: match cluster.departure {
            Departure::Unknown => RealDeparture::Unknown,
            Departure::Orphaned => RealDeparture::Orphaned,
            Departure::WithClaims(uid, claims) => {
                RealDeparture::WithClaims { uid: name_of(uid), claims: claim_names(claims) }
            }
        },
        backups: backups(cluster),
        intent: (cluster.wanted > 0).then(|| Intent {
            set: set_name(),
            uid: cluster.set.map(|set| name_of(set.uid)),
            targets: BTreeMap::from([(data(), bytes(cluster.wanted))]),
            reason: "the model".to_owned(),
            allow_owner: None,
        }),
        rules: Rules::default(),
    };
    Observed {
        last: match view.history {
            History::NotAsked => LastObject::NotAsked,
            History::Unknown => LastObject::Unknown,
            History::Seen(uid, content) => LastObject::Seen(Box::new(image(uid, content))),
            History::SuccessorGone => LastObject::SuccessorGone,
        },
        probes: view.probe.map(|probe| probes(cluster, probe, view.policy)),
        rivals: cluster.set.as_ref().zip(view.rivals).map(|(set, rivals)| rivals_of(cluster, set, rivals)),
        ..objects(cluster).assemble(&set_name(), rest).unwrap()
    }
}

/// The cluster as the API server shows it.
fn objects(cluster: &Cluster) -> raw::Objects {
    let namespace = Namespace { uid: Name::new(NAMESPACE_UID), terminating: cluster.namespace_terminating };
    raw::Objects {
        live: cluster.set.as_ref().map(|set| object(cluster, set)),
        namespace: Some(raw::namespace(&namespace)),
        journals: cluster.journals.iter().flatten().map(config_map).collect(),
        pods: (0..2).filter_map(|index| pod(cluster, index)).map(|pod| raw::dependent(&pod)).collect(),
        revisions: cluster.revision.iter().map(|owners| raw::dependent(&revision(cluster, *owners))).collect(),
        claims: (0..2).filter_map(|index| claim(cluster, index)).map(|claim| raw::claim(&claim)).collect(),
    }
}

/// The ConfigMap of a journal. Encoded once for each journal: compression is slow.
fn config_map(journal: &Journal) -> Value {
    static ENCODED: LazyLock<Mutex<HashMap<Journal, Value>>> = LazyLock::new(Mutex::default);
    let known = ENCODED.lock().unwrap().get(journal).cloned();
    known.unwrap_or_else(|| {
        let guard = guard(&format!("uid-of-journal-{}", journal.uid));
        let object = raw::journal(&real_journal(journal), &guard).unwrap();
        ENCODED.lock().unwrap().insert(*journal, object.clone());
        object
    })
}

fn phase(stage: Stage) -> Phase {
    match stage {
        Stage::Prepared => Phase::Prepared,
        Stage::Deleting => Phase::Deleting,
        Stage::Releasing => Phase::Releasing,
        Stage::Adopting => Phase::Adopting,
        Stage::Guarded => Phase::Guarded,
    }
}

fn phase_at(journal: &Journal) -> Timestamp {
    ago(if journal.late { 3600 } else { 1 })
}

fn backups(cluster: &Cluster) -> Backups {
    let head = |uid: Uid| BackupHead {
        name: "db-backup-1".to_owned(),
        guard: guard("uid-of-backup"),
        transaction: Some(id_of(uid)),
        deleting: false,
    };
    Backups { taken: cluster.backup.iter().map(|uid| (1, head(*uid))).collect(), next: 2 }
}

fn rivals_of(cluster: &Cluster, set: &Set, found: Option<RivalKind>) -> Rivals {
    let named = |kind| {
        let (kind, name) = called(kind);
        format!("{kind} {name}")
    };
    let of = LiveSet::read(object(cluster, set)).unwrap().guard();
    Rivals { of, found: Found::Rivals(found.map(named).into_iter().collect()) }
}

/// What the API server would make of an object that is created or updated.
fn admitted(policy: Option<Policy>, object: &Value, is_new: bool) -> Value {
    let mut made = object.clone();
    let rewrites = |change: fn(&mut Value)| move |made: &mut Value| change(made);
    let to_template = rewrites(|made| made["spec"]["template"] = template(MUTATED));
    match (policy, is_new) {
        (Some(Policy::TemplateAlways), _)
        | (Some(Policy::TemplateOnCreate), true)
        | (Some(Policy::TemplateOnUpdate), false) => to_template(&mut made),
        (Some(Policy::SizeOnCreate), true) => {
            made["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!(bytes(GIB));
        }
        (Some(Policy::AnnotationOnCreate), true) => {
            made["metadata"].as_object_mut().unwrap().remove("annotations");
        }
        (Some(Policy::TemplateOnCreate | Policy::SizeOnCreate | Policy::AnnotationOnCreate), false)
        | (Some(Policy::TemplateOnUpdate), true)
        | (Some(Policy::ImageOfPodsOnUpdate) | None, _) => {}
    }
    made
}

/// As the operator judges the answer to a dry run.
fn verdict_on(policy: Option<Policy>, asked: &Value, is_new: bool) -> Verdict {
    let changed = compare::changes(asked, &admitted(policy, asked, is_new)).serious;
    if changed.is_empty() { Verdict::Accepted } else { Verdict::Changed(changed) }
}

/// The same about each Pod that a recreate lets go of: an image that the policy replaces is another generation.
fn of_pods(cluster: &Cluster, set: &Set, policy: Option<Policy>) -> BTreeMap<String, PodAnswer> {
    let answer = |pod: Dependent| {
        let orphan = Orphan { owners: pod.owners_without(&name_of(set.uid)), pod };
        let mut response = raw::dependent(&orphan.pod);
        if policy == Some(Policy::ImageOfPodsOnUpdate) {
            response["metadata"]["generation"] = json!(2);
        }
        let verdict = orphan.verdict(&response, &json!({}));
        (orphan.pod.name, PodAnswer { uid: orphan.pod.uid, verdict })
    };
    (0..2).filter_map(|index| pod(cluster, index)).map(answer).collect()
}

fn probes(cluster: &Cluster, probe: Probe, policy: Option<Policy>) -> Probes {
    let set = cluster.set.unwrap();
    let live = object(cluster, &set);
    let target = cluster.in_flight().map_or(cluster.wanted, |journal| journal.target);
    let targets = BTreeMap::from([(data(), bytes(target))]);
    let copy = manifest::renamed(&manifest::to_create(&live, &targets, &id_of(set.uid)), &id_of(set.uid));
    let held = compare::patched(&live, &json!({ "metadata": { "finalizers": [HOLD] } }));
    let (mut create, mut native) = (Verdict::AlreadyExists, Verdict::Refused("immutable".to_owned()));
    match probe {
        Probe::Fine => {}
        Probe::Refused => create = Verdict::Refused("a policy".to_owned()),
        Probe::Unknown => create = Verdict::Unknown("a timeout".to_owned()),
        Probe::Native => native = Verdict::Accepted,
    }
    Probes {
        uid: name_of(set.uid),
        generation: generation(&set),
        targets,
        at: now(),
        create,
        copy: verdict_on(policy, &copy, true),
        delete: Verdict::Accepted,
        hold: verdict_on(policy, &held, false),
        backup: Verdict::Accepted,
        native,
        spec: manifest::no_restart_patch(&live).map_or(Verdict::Accepted, |spec| {
            verdict_on(policy, &compare::patched(&live, &json!({ "spec": spec })), false)
        }),
        protect: Verdict::Accepted,
        pods: of_pods(cluster, &set, policy),
    }
}

fn generation(_set: &Set) -> i64 {
    5
}

/// An object as the journal keeps it: with its uid, without its status.
fn image(uid: Uid, content: Content) -> Value {
    let strategy = if content.on_delete {
        json!({ "type": "OnDelete" })
    } else {
        json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } })
    };
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "namespace": "shop", "name": "db", "uid": name_of(uid).as_str(), "resourceVersion": "1",
            "generation": 5,
            "labels": { "edit": content.edit.to_string() },
            "managedFields": managed(Fields::Tools),
        },
        "spec": {
            "replicas": content.replicas,
            "template": template(content.template),
            "updateStrategy": strategy,
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": if content.claims_go { "Delete" } else { "Retain" },
                "whenScaled": "Retain",
            },
            "volumeClaimTemplates": [{
                "metadata": { "name": "data" },
                "spec": { "resources": { "requests": { "storage": bytes(content.size) } } },
            }],
        },
    })
}

fn template(number: u8) -> Value {
    json!({ "spec": { "containers": [{ "name": "c", "image": number.to_string() }] } })
}

fn managed(fields: Fields) -> Value {
    let all = || json!({ "f:spec": { "f:template": {}, "f:replicas": {} } });
    let entry = |manager: &str| json!({ "manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": all() });
    match fields {
        Fields::Tools => json!([entry("helm")]),
        Fields::Operator => json!([entry(manifest::MANAGER)]),
        Fields::Both => json!([entry(manifest::MANAGER), entry("helm")]),
    }
}

fn object(cluster: &Cluster, set: &Set) -> Value {
    let mut object = image(set.uid, set.content);
    let metadata = &mut object["metadata"];
    metadata["managedFields"] = managed(set.fields);
    if set.deleting {
        metadata["deletionTimestamp"] = json!(ago(if set.long_deleting { 3600 } else { 1 }));
    }
    let Finalizers { hold, orphan, foreground } = set.finalizers;
    let names = [(foreground, "foregroundDeletion"), (orphan, "orphan"), (hold, HOLD)];
    metadata["finalizers"] = names.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| json!(name)).collect();
    if let Some(marker) = set.marker {
        metadata["annotations"] = json!({ TRANSACTION: id_of(marker) });
    }
    let owned = || cluster.pods.iter().flatten().filter(|pod| pod.owners & bit(set.uid) != 0);
    let current = owned().map(|pod| pod.template).find(|template| *template != set.update).unwrap_or(set.update);
    let count = owned().count();
    let ready = owned().filter(|pod| !pod.deleting).count();
    object["status"] = json!({
        "observedGeneration": if set.observed { 5 } else { 4 },
        "replicas": count, "readyReplicas": ready, "availableReplicas": ready,
        "currentRevision": revision_of(current), "updateRevision": revision_of(set.update),
    });
    object
}

fn revision_of(template: u8) -> String {
    format!("db-r{template}")
}

fn template_of_revision(revision: &str) -> u8 {
    revision.strip_prefix("db-r").and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{revision:?}"))
}

fn owners(cluster: &Cluster, owners: u8, is_guarded: bool) -> Vec<Value> {
    let controller = |uid: Uid| {
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": name_of(uid).as_str(),
            "controller": true,
        })
    };
    let guard = json!({ "apiVersion": "v1", "kind": "Namespace", "name": "shop", "uid": NAMESPACE_UID });
    let controllers = (0..RIVAL).filter(|uid| owners & bit(*uid) != 0).map(controller);
    let rival = cluster.rival.filter(|_| owners & bit(RIVAL) != 0).map(|rival| {
        let (kind, name) = called(rival.kind);
        json!({ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": name_of(RIVAL).as_str(), "controller": true })
    });
    controllers.chain(rival).chain(is_guarded.then_some(guard)).collect()
}

/// The kind and the name of a rival.
fn called(kind: RivalKind) -> (&'static str, &'static str) {
    match kind {
        RivalKind::Replicas => ("ReplicaSet", "rival"),
        RivalKind::Stateful => ("StatefulSet", "rival"),
        RivalKind::Daemons => ("DaemonSet", "rival"),
    }
}

fn dependent(cluster: &Cluster, kind: Kind, name: String, uid: String, all: Vec<Value>) -> Dependent {
    let is_restless = if kind == Kind::Claim { cluster.restless_claims } else { cluster.restless };
    Dependent {
        kind,
        name,
        uid: Name::new(uid),
        resource_version: "1".to_owned(),
        generation: (kind == Kind::Pod).then_some(1),
        owners: all,
        revision: None,
        labels: BTreeMap::new(),
        deleting: false,
        owners_changed: Some(ago(if is_restless { 1 } else { 3600 })),
    }
}

fn pod(cluster: &Cluster, index: u8) -> Option<Dependent> {
    let pod = cluster.pods[usize::from(index)]?;
    let uid = format!("uid-of-pod-{index}-{}", pod.birth);
    let mut real = dependent(cluster, Kind::Pod, format!("db-{index}"), uid, owners(cluster, pod.owners, false));
    real.deleting = pod.deleting;
    real.revision = Some(revision_of(pod.template));
    Some(real)
}

fn revision(cluster: &Cluster, all: u8) -> Dependent {
    dependent(cluster, Kind::Revision, "db-r0".to_owned(), "uid-of-revision".to_owned(), owners(cluster, all, false))
}

fn claim(cluster: &Cluster, index: u8) -> Option<RealClaim> {
    let claim = cluster.claims[usize::from(index)]?;
    let uid = format!("uid-of-claim-{index}");
    let all = owners(cluster, claim.owners, claim.guard);
    let object = dependent(cluster, Kind::Claim, format!("data-db-{index}"), uid, all);
    Some(RealClaim { object, requested: bytes(claim.size) })
}

fn real_journal(journal: &Journal) -> RealJournal {
    let image = image(journal.uid, journal.image);
    let pods = (0..2_u8).filter_map(|index| Some((index, journal.snapshot.pods[usize::from(index)]?)));
    RealJournal {
        version: journal::VERSION,
        id: id_of(journal.uid),
        set: set_name(),
        uid: name_of(journal.uid),
        successor: journal.successor.map(name_of),
        phase: phase(journal.stage),
        started_at: ago(3600),
        phase_at: phase_at(journal),
        targets: BTreeMap::from([(data(), bytes(journal.target))]),
        reason: "the model".to_owned(),
        allow_owner: None,
        when_deleted: if journal.claims_go { WhenDeleted::Delete } else { WhenDeleted::Retain },
        snapshot: journal::Snapshot {
            update_revision: revision_of(journal.snapshot.update),
            template: checksum_of(journal.snapshot.template),
            pods: pods
                .map(|(index, birth)| (format!("db-{index}"), Name::new(format!("uid-of-pod-{index}-{birth}"))))
                .collect(),
            revisions: journal
                .snapshot
                .revision
                .then(|| ("db-r0".to_owned(), Name::new("uid-of-revision")))
                .into_iter()
                .collect(),
        },
        image,
        incidents: Vec::new(),
        ending: journal.undone.then_some(Ending::Undone),
        adopted: journal.adopted,
        lost: (0..2).filter(|index| journal.lost & bit(*index) != 0).map(|index| format!("db-{index}")).collect(),
        owned: claim_names(journal.owned),
    }
}

fn claim_name(index: u8) -> ClaimName {
    ClaimName::new(format!("data-db-{index}"))
}

fn claim_names(bits: u8) -> BTreeSet<ClaimName> {
    (0..2).filter(|index| bits & bit(*index) != 0).map(claim_name).collect()
}

fn checksum_of(number: u8) -> String {
    manifest::template_checksum(&json!({ "spec": { "template": template(number) } }))
}

// ── From the production code ───────────────────────────────────────────────────────────────────────────────────────────

/// The step of the production code.
pub(crate) fn next(view: &View) -> Step {
    match recreate::next(&observed(view), now()) {
        RealStep::Done { again } => Step::Done(again.is_some()),
        RealStep::Refuse(note) => Step::Refuse(told(&note)),
        RealStep::Wait(wait) => Step::Wait(wait.note.as_ref().map_or(Told::Nothing, told)),
        RealStep::Read(Read::Probes(_)) => Step::Probe,
        RealStep::Read(Read::Rivals(_)) => Step::Rivals,
        RealStep::Read(Read::LastObject { .. }) => Step::History,
        RealStep::Write(action) => Step::Write(act(&action)),
    }
}

/// Whether people are told of a rival by the write that follows from this: by what is written down for the end, or, where it
/// is the end, by the pods that are not what they were.
pub(crate) fn tells_of_a_rival(view: &View, is_end: bool) -> bool {
    let seen = observed(view);
    if let RealStep::Write(Action::UpdateJournal { journal, .. }) = recreate::next(&seen, now())
        && journal.incidents.iter().any(|note| told(note) == Told::WhoElse)
    {
        return true;
    }
    match &seen.journal {
        _ if !is_end => false,
        Stored::Some { journal, .. } => !outcome::of(&seen, journal).lost.is_empty(),
        Stored::None | Stored::Unreadable { .. } => false,
    }
}

fn told(note: &Note) -> Told {
    let is_named = ["rival", "policy"].iter().any(|word| note.text.contains(word));
    if is_named { Told::WhoElse } else { Told::Something }
}

fn act(action: &Action) -> Act {
    match action {
        Action::PatchTemplates { guard, templates } => {
            let size = templates[0]["spec"]["resources"]["requests"]["storage"].as_str().unwrap().parse().unwrap();
            Act::PatchTemplates(uid_of(guard.uid.as_str()), size_of(size))
        }
        Action::CreateJournal(journal) => Act::CreateJournal(small_journal(journal)),
        Action::UpdateJournal { journal, .. } => Act::UpdateJournal(small_journal(journal)),
        Action::DeleteJournal { name, .. } => Act::DeleteJournal(uid_of(name.strip_prefix("rso-journal-").unwrap())),
        Action::CreateBackup(object) => {
            let transaction = object["metadata"]["annotations"][TRANSACTION].as_str().unwrap();
            Act::CreateBackup(transaction_or_begun(transaction))
        }
        Action::DeleteBackup { .. } => panic!("there are never so many backups"),
        Action::SetOwners { kind, name, owners, .. } => {
            let index = || name.rsplit_once('-').unwrap().1.parse().unwrap();
            let owned = match kind {
                Kind::Pod => Owned::Pod(index()),
                Kind::Revision => Owned::Revision,
                Kind::Claim => Owned::Claim(index()),
            };
            let is_guarded = owners.iter().any(|owner| owner["uid"] == NAMESPACE_UID);
            let others = owners.iter().filter(|owner| owner["uid"] != NAMESPACE_UID);
            let bits = others.map(|owner| bit(uid_of(owner["uid"].as_str().unwrap()))).fold(0, |all, one| all | one);
            Act::SetOwners(owned, bits, is_guarded)
        }
        Action::SetRetention { guard, when_deleted } => {
            Act::SetRetention(uid_of(guard.uid.as_str()), *when_deleted == WhenDeleted::Delete)
        }
        Action::SetFinalizers { guard, finalizers: all } => {
            Act::SetFinalizers(uid_of(guard.uid.as_str()), finalizers(all))
        }
        Action::Delete { guard } => Act::Delete(uid_of(guard.uid.as_str())),
        Action::Release { guard, finalizers: all } => Act::Release(uid_of(guard.uid.as_str()), finalizers(all)),
        Action::Create(object) => {
            let marker = object["metadata"]["annotations"][TRANSACTION].as_str().map(transaction_of);
            let held = object["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!(HOLD)));
            Act::Create(Creation { content: content(object), marker, held })
        }
        Action::RestoreSpec { guard, spec } => Act::RestoreSpec {
            uid: uid_of(guard.uid.as_str()),
            template: spec["template"]["spec"]["containers"][0]["image"].as_str().map(|image| image.parse().unwrap()),
            on_delete: spec["updateStrategy"]["type"].as_str().map(|kind| kind == "OnDelete"),
            claims_go: spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"]
                .as_str()
                .map(|word| word == "Delete"),
        },
        Action::RestoreOwnership { guard, managed_fields } => {
            let mine = |entry: &Value| entry["manager"] == manifest::MANAGER;
            let entries = managed_fields.as_array().unwrap();
            let fields = match (entries.iter().any(mine), entries.iter().all(mine)) {
                (false, _) => Fields::Tools,
                (true, true) => Fields::Operator,
                (true, false) => Fields::Both,
            };
            Act::RestoreOwnership(uid_of(guard.uid.as_str()), fields)
        }
    }
}

/// A transaction that begins has an id of its own; here it is that of its object.
fn transaction_or_begun(id: &str) -> Uid {
    if let Some(uid) = id.strip_prefix("transaction-") {
        return uid.parse().unwrap();
    }
    panic!("{id:?} is no transaction of the model")
}

fn finalizers(all: &[String]) -> Finalizers {
    let has = |name: &str| all.iter().any(|finalizer| finalizer == name);
    Finalizers { hold: has(HOLD), orphan: has("orphan"), foreground: has("foregroundDeletion") }
}

fn content(object: &Value) -> Content {
    let spec = &object["spec"];
    let number = |value: &Value| value.as_str().unwrap().parse().unwrap();
    let storage = spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"].as_str().unwrap();
    Content {
        edit: number(&object["metadata"]["labels"]["edit"]),
        template: number(&spec["template"]["spec"]["containers"][0]["image"]),
        replicas: u8::try_from(spec["replicas"].as_u64().unwrap()).unwrap(),
        size: size_of(storage.parse().unwrap()),
        on_delete: spec["updateStrategy"]["type"] == "OnDelete",
        claims_go: spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete",
    }
}

fn small_journal(real: &RealJournal) -> Journal {
    let birth = |index: u8| {
        let uid = real.snapshot.pods.get(&format!("db-{index}"))?;
        Some(uid.as_str().rsplit_once('-').unwrap().1.parse().unwrap())
    };
    let is_late = now().duration_since(real.phase_at).as_secs() > 60;
    Journal {
        uid: uid_of(real.uid.as_str()),
        stage: match real.phase {
            Phase::Prepared => Stage::Prepared,
            Phase::Deleting => Stage::Deleting,
            Phase::Releasing => Stage::Releasing,
            Phase::Adopting => Stage::Adopting,
            Phase::Guarded => Stage::Guarded,
        },
        late: is_late,
        successor: real.successor.as_ref().map(|uid| uid_of(uid.as_str())),
        undone: real.ending == Some(Ending::Undone),
        adopted: real.adopted,
        lost: (0..2).filter(|index| real.lost.contains(&format!("db-{index}"))).fold(0, |all, index| all | bit(index)),
        owned: (0..2).filter(|index| real.owned.contains(&claim_name(*index))).fold(0, |all, index| all | bit(index)),
        target: real.targets.get(&data()).map_or(0, |size| size_of(*size)),
        claims_go: real.when_deleted == WhenDeleted::Delete,
        image: content(&real.image),
        snapshot: Snapshot {
            update: template_of_revision(&real.snapshot.update_revision),
            template: (0..=MUTATED).find(|number| checksum_of(*number) == real.snapshot.template).unwrap(),
            pods: [birth(0), birth(1)],
            revision: !real.snapshot.revisions.is_empty(),
        },
    }
}
