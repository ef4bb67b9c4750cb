//! How do bytes become a cluster? A settled set whose claims have grown, and at any place something that is not so: only
//! what a server would take.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::{Result, Unstructured};
use jiff::Timestamp;
use rso::api::annotations::{HOLD, PAUSED, TRANSACTION};
use rso::api::bytes::Bytes;
use rso::api::names::{ClaimName, Ordinal, SetName, TemplateName, Uid};
use rso::api::reasons::Note;
use rso::api::write::Precondition;
use rso::recreate::assemble::Rest;
use rso::recreate::backup::BackupHead;
use rso::recreate::dependent::{Claim, Dependent, Kind};
use rso::recreate::journal::{Journal, JournalHead, Snapshot, VERSION};
use rso::recreate::manifest::{self, MANAGER};
use rso::recreate::observed::{Backups, Departure, Intent, LastObject, Namespace, Observed, Rules};
use rso::recreate::phase::{Ending, Phase};
use rso::recreate::probes::{PodAnswer, Probes, Verdict};
use rso::recreate::raw;
use rso::recreate::rivals::{Found, Rivals};
use rso::recreate::set::{LiveSet, WhenDeleted};
use serde_json::{Map, Value, json};

use super::draw;

/// The namespace of the set.
pub const NAMESPACE: &str = "shop";
/// The name of the set.
pub const NAME: &str = "db";
/// The templates that a set may have.
pub const TEMPLATES: [&str; 2] = ["data", "wal"];
/// The object that is replaced, one that replaces it, and a stranger.
const UIDS: [&str; 3] = ["uid-old", "uid-new", "uid-foreign"];
/// The uid of the namespace.
const NAMESPACE_UID: &str = "uid-namespace";
/// The ids of transactions.
const IDS: [&str; 2] = ["id", "other"];
const SIZES: [&str; 8] = ["1Gi", "1024Mi", "2Gi", "2147483648", "1.5Gi", "3Gi", "1", "7Ei"];
const WORDS: [&str; 10] =
    ["name", "labels", "f:spec", "f:template", "metadata", "status", "newField", "annotations", "1Gi", ""];

fn now() -> Timestamp {
    Timestamp::from_second(draw::NOW).unwrap_or(Timestamp::MIN)
}

/// Sizes for templates, mostly the one that everybody wants.
pub fn targets(u: &mut Unstructured<'_>) -> Result<BTreeMap<TemplateName, Bytes>> {
    let mut targets = BTreeMap::from([(TemplateName::from("data"), Bytes::gib(2))]);
    if draw::rarely(u)? {
        targets.insert(draw::one(u, &["data", "wal", "gone"])?.into(), draw::size(u)?);
    }
    Ok(targets)
}

/// A set as a server keeps it.
pub fn set(u: &mut Unstructured<'_>) -> Result<Value> {
    let generation = u.int_in_range(1..=3_i64)?;
    let replicas: u32 = u.int_in_range(0..=2)?;
    let mut set = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(u, generation)?,
        "spec": spec(u, replicas)?,
        "status": {
            "observedGeneration": generation, "replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
            "currentRevision": "db-1", "updateRevision": "db-1",
        },
    });
    if draw::rarely(u)? {
        let field =
            draw::one(u, &["observedGeneration", "replicas", "readyReplicas", "currentRevision", "updateRevision"])?;
        set["status"][field] = draw::json(u, &["db-1", "db-2", ""], 1)?;
    }
    if draw::rarely(u)? {
        set["status"] = Value::Null;
    }
    if draw::rarely(u)? {
        set[draw::one(u, &["newField", "data"])?] = draw::json(u, &WORDS, 2)?;
    }
    Ok(set)
}

fn metadata(u: &mut Unstructured<'_>, generation: i64) -> Result<Value> {
    let mut metadata = json!({
        "namespace": NAMESPACE, "name": NAME, "uid": draw::one(u, &UIDS)?, "resourceVersion": draw::one(u, &["1", "2"])?,
        "generation": generation, "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": managed_fields(u)?,
    });
    if u.int_in_range(0..=2_u8)? == 2 {
        metadata["deletionTimestamp"] = json!(draw::time(u)?);
        metadata["deletionGracePeriodSeconds"] = json!(0);
    }
    match u.int_in_range(0..=5_u8)? {
        0 | 1 => {}
        2 | 3 => metadata["finalizers"] = json!([HOLD]),
        4 => metadata["finalizers"] = json!([HOLD, "orphan"]),
        _ => {
            let all = [HOLD, "orphan", "foregroundDeletion", "example.com/cleanup"];
            metadata["finalizers"] = json!(draw::list(u, 3, |u| draw::one(u, &all))?);
        }
    }
    if u.arbitrary()? {
        metadata["annotations"] = annotations(u)?;
    }
    if draw::rarely(u)? {
        let kinds = ["Postgresql", "StatefulSet"];
        let owner = json!({ "kind": draw::one(u, &kinds)?, "name": "main", "uid": "uid-owner", "controller": u.arbitrary::<bool>()? });
        metadata["ownerReferences"] = json!([owner]);
    }
    if draw::rarely(u)? {
        metadata[draw::one(u, &["labels", "newField", "selfLink"])?] = Value::Object(draw::members(u, &WORDS, 2)?);
    }
    Ok(metadata)
}

fn annotations(u: &mut Unstructured<'_>) -> Result<Value> {
    let entry = |u: &mut Unstructured<'_>| {
        let key = draw::one(u, &[TRANSACTION, PAUSED, "note", "kubectl.kubernetes.io/last-applied-configuration"])?;
        Ok((key.to_owned(), Value::from(draw::one(u, &["id", "other", "true", ""])?)))
    };
    Ok(Value::Object(draw::list(u, 3, entry)?.into_iter().collect()))
}

/// The server keeps one entry for each manager, operation and version.
fn managed_fields(u: &mut Unstructured<'_>) -> Result<Value> {
    let mut entries = BTreeMap::new();
    for _ in 0..u.int_in_range(0..=3)? {
        let manager = draw::one(u, &["helm", "kubectl", MANAGER, "kube-controller-manager"])?;
        let operation = draw::one(u, &["Apply", "Update"])?;
        let subresource = if draw::rarely(u)? { json!("status") } else { Value::Null };
        let mut entry = json!({
            "manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "time": draw::time(u)?, "fieldsV1": fields(u, 2)?,
        });
        if !subresource.is_null() {
            entry["subresource"] = subresource.clone();
        }
        entries.insert((manager, operation, subresource.to_string()), entry);
    }
    Ok(entries.into_values().collect())
}

fn fields(u: &mut Unstructured<'_>, depth: u8) -> Result<Value> {
    let mut tree = Map::new();
    if depth > 0 {
        for _ in 0..u.int_in_range(0..=2)? {
            let key = draw::one(u, &["f:spec", "f:template", "f:replicas", "f:metadata", "f:ownerReferences"])?;
            tree.insert(key.to_owned(), fields(u, depth - 1)?);
        }
    }
    Ok(Value::Object(tree))
}

fn spec(u: &mut Unstructured<'_>, replicas: u32) -> Result<Value> {
    let mut spec = json!({
        "replicas": replicas,
        "template": { "spec": { "containers": [{ "name": "c", "image": draw::one(u, &["busybox:1", "busybox:2"])? }] } },
        "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } },
        "persistentVolumeClaimRetentionPolicy": {
            "whenDeleted": draw::one(u, &["Retain", "Retain", "Delete"])?, "whenScaled": draw::one(u, &["Retain", "Delete"])?,
        },
    });
    if draw::rarely(u)? {
        spec["updateStrategy"] = json!({ "type": "OnDelete" });
    }
    if draw::rarely(u)? {
        spec["ordinals"] = json!({ "start": *u.choose(&[1, 5, u32::MAX])? });
    }
    if draw::rarely(u)? {
        let key = draw::one(u, &["persistentVolumeClaimRetentionPolicy", "updateStrategy", "ordinals", "replicas"])?;
        spec.as_object_mut().map(|spec| spec.remove(key));
    }
    if draw::rarely(u)? {
        spec["newField"] = draw::json(u, &WORDS, 3)?;
    }
    let names = *u.choose(&[&["data"][..], &["data"], &["data", "wal"], &["wal"], &[]])?;
    let templates = names.iter().map(|name| template(u, name)).collect::<Result<Vec<_>>>()?;
    spec["volumeClaimTemplates"] = json!(templates);
    Ok(spec)
}

fn template(u: &mut Unstructured<'_>, name: &str) -> Result<Value> {
    let size = if draw::rarely(u)? { draw::one(u, &SIZES)? } else { "1Gi" };
    let mut template = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "name": name, "creationTimestamp": null },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } },
        "status": { "phase": "Pending" },
    });
    if draw::rarely(u)? {
        template["spec"]["newField"] = draw::json(u, &WORDS, 2)?;
    }
    if draw::rarely(u)? {
        template["metadata"]["labels"] = Value::Object(draw::members(u, &WORDS, 1)?);
    }
    Ok(template)
}

/// A journal about this set, or about another state of it.
pub fn journal(u: &mut Unstructured<'_>, set: &Value) -> Result<Journal> {
    let mut image = if draw::rarely(u)? { self::set(u)? } else { set.clone() };
    if draw::rarely(u)? {
        image["spec"]["template"]["spec"]["newField"] = draw::json(u, &WORDS, 2)?;
    }
    let own = set["metadata"]["uid"].as_str().unwrap_or_default();
    let uid = if draw::rarely(u)? { draw::one(u, &UIDS)? } else { own };
    let spec_says = set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete";
    Ok(Journal {
        version: VERSION,
        id: draw::one(u, &IDS)?.to_owned(),
        set: SetName::new(NAMESPACE, NAME),
        uid: Uid::new(uid),
        successor: draw::maybe(u, |u| draw::one(u, &UIDS))?.map(Uid::new),
        phase: *u.choose(&Phase::ALL)?,
        started_at: draw::time(u)?,
        phase_at: draw::time(u)?,
        targets: targets(u)?,
        reason: if draw::rarely(u)? { draw::text(u, 20)? } else { "asked".to_owned() },
        allow_owner: draw::maybe(u, |u| draw::word(u, &["Postgresql"]))?,
        when_deleted: if spec_says != draw::rarely(u)? { WhenDeleted::Delete } else { WhenDeleted::Retain },
        snapshot: snapshot(u, &image)?,
        image: manifest::image(&image),
        incidents: draw::list(u, 1, |u| Ok(Note::blocked("drawn", draw::text(u, 20)?)))?,
        ending: draw::maybe(u, |u| u.choose(&[Ending::Landed, Ending::Undone]).copied())?,
        adopted: false,
        // What was found before stays what it was: nothing is drawn.
        owned: ["data-db-0", "data-db-7", "data-db-9", "by-hand"].map(ClaimName::new).into(),
        lost: BTreeSet::new(),
    })
}

fn snapshot(u: &mut Unstructured<'_>, image: &Value) -> Result<Snapshot> {
    let uids = |names: Vec<&str>| names.into_iter().map(|name| (name.to_owned(), uid_of(name))).collect();
    Ok(Snapshot {
        update_revision: draw::one(u, &["db-1", "db-1", "db-2", ""])?.to_owned(),
        template: if draw::rarely(u)? { String::new() } else { manifest::template_checksum(image) },
        pods: uids(draw::list(u, 2, |u| draw::one(u, &["db-0", "db-1"]))?),
        revisions: uids(draw::list(u, 1, |u| draw::one(u, &["db-1"]))?),
    })
}

fn uid_of(name: &str) -> Uid {
    Uid::new(format!("uid-of-{name}"))
}

/// One round's knowledge. None when the set is one that cannot be read.
pub fn observed(u: &mut Unstructured<'_>) -> Result<Option<(Observed, Timestamp)>> {
    let mut set = self::set(u)?;
    let mut journal = journal(u, &set)?;
    if u.ratio(1, 3)? {
        succeeds(u, &mut journal, &mut set)?;
    }
    let Ok(live) = LiveSet::read(set.clone()) else { return Ok(None) };
    let (id, uid) = (journal.id.clone(), live.uid.clone());
    let targets = if draw::rarely(u)? { targets(u)? } else { journal.targets.clone() };
    let (spec, now) = (live.spec.clone(), now());
    let intent = Intent {
        set: SetName::new(NAMESPACE, NAME),
        uid: draw::maybe(u, |u| draw::one(u, &UIDS))?.map(Uid::new),
        targets,
        reason: "asked".to_owned(),
        allow_owner: draw::maybe(u, |u| draw::word(u, &["Postgresql"]))?,
    };
    let pods = spec.ordinals().take(2).map(|ordinal| pod(u, ordinal, &uid)).collect::<Result<Vec<_>>>()?;
    // The order of the draws is that of the first corpus: what was found before is still what it was.
    let last = last(u, &set, &journal)?;
    let pods = some(u, pods)?;
    let revisions = draw::list(u, 1, |u| dependent(u, Kind::Revision, "db-1", &uid))?;
    let claims = claims(u, &live)?;
    let namespace = Namespace { uid: Uid::new(NAMESPACE_UID), terminating: draw::rarely(u)? };
    let probes = draw::maybe(u, |u| probes(u, &live, &intent.targets))?;
    let others = draw::list(u, 2, head)?;
    let backups = backups(u, &id)?;
    let own = stored(u, &journal)?;
    let intent = draw::maybe(u, |_| Ok(intent))?;
    let rivals = draw::maybe(u, |u| rivals(u, &live))?;
    let departure = departure(u, &uid)?;
    let is_absent = u.int_in_range(0..=3_u8)? == 3;
    let of_pods = of_pods(u, &pods)?;
    let probes = probes.map(|probes| Probes { pods: of_pods, ..probes });
    let objects = raw::Objects {
        live: (!is_absent).then_some(set),
        namespace: Some(raw::namespace(&namespace)),
        journals: others.iter().map(raw::head).chain(own).collect(),
        pods: pods.iter().map(raw::dependent).collect(),
        revisions: revisions.iter().map(raw::dependent).collect(),
        claims: claims.iter().map(raw::claim).collect(),
    };
    let rest = Rest { backups, departure, intent, rules: Rules::default() };
    let assembled = objects.assemble(&SetName::new(NAMESPACE, NAME), rest);
    Ok(assembled.ok().map(|seen| (Observed { last, probes, rivals, ..seen }, now)))
}

/// The set becomes the one that was created for the journal.
fn succeeds(u: &mut Unstructured<'_>, journal: &mut Journal, set: &mut Value) -> Result<()> {
    let uid = set["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    journal.uid = Uid::new(UIDS.iter().find(|other| **other != uid).copied().unwrap_or_default());
    if !draw::rarely(u)? {
        (journal.successor, journal.phase) = (Some(Uid::new(uid)), Phase::Adopting);
    }
    if u.arbitrary()? {
        set["metadata"]["annotations"] = json!({ TRANSACTION: journal.id });
    }
    if u.arbitrary()? {
        set["spec"]["updateStrategy"] = json!({ "type": "OnDelete" });
    }
    Ok(())
}

/// All of them, or rarely not.
fn some<T>(u: &mut Unstructured<'_>, mut all: Vec<T>) -> Result<Vec<T>> {
    if draw::rarely(u)? {
        all.pop();
    }
    Ok(all)
}

/// The ConfigMap of the journal, whole or damaged; or none.
fn stored(u: &mut Unstructured<'_>, journal: &Journal) -> Result<Option<Value>> {
    let guard = Precondition { uid: Uid::new("uid-journal"), resource_version: "9".to_owned() };
    let kind = u.int_in_range(0..=7_u8)?;
    let Ok(mut config_map) = raw::journal(journal, &guard) else { return Ok(None) };
    match kind {
        6 => config_map["data"]["sha256"] = json!("another"),
        7 => config_map["data"]["version"] = json!((VERSION + 1).to_string()),
        0 | 1 => return Ok(None),
        _ => {}
    }
    Ok(Some(config_map))
}

fn last(u: &mut Unstructured<'_>, set: &Value, journal: &Journal) -> Result<LastObject> {
    Ok(match u.int_in_range(0..=4_u8)? {
        0 => LastObject::NotAsked,
        1 => LastObject::Unknown,
        2 => LastObject::SuccessorGone,
        3 => LastObject::Seen(Box::new(set.clone())),
        _ => LastObject::Seen(Box::new(journal.image.clone())),
    })
}

fn reference(uid: &str, kind: &str, name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": kind == "StatefulSet" })
}

fn dependent(u: &mut Unstructured<'_>, kind: Kind, name: &str, owner: &Uid) -> Result<Dependent> {
    let mut owners = vec![reference(owner.as_str(), "StatefulSet", NAME)];
    if u.arbitrary()? {
        owners.clear();
    }
    if draw::rarely(u)? {
        owners.push(reference(draw::one(u, &UIDS)?, "StatefulSet", NAME));
    }
    if draw::rarely(u)? {
        owners.push(reference("uid-other", "Other", "else"));
    }
    let revision = if draw::rarely(u)? { "db-2" } else { "db-1" }.to_owned();
    Ok(Dependent {
        kind,
        name: name.to_owned(),
        uid: if draw::rarely(u)? { Uid::new("uid-x") } else { uid_of(name) },
        resource_version: u.int_in_range(1..=3_u8)?.to_string(),
        generation: (kind == Kind::Pod).then_some(1),
        owners,
        revision: (kind == Kind::Pod).then_some(revision),
        labels: BTreeMap::from([("app".to_owned(), NAME.to_owned())]),
        deleting: draw::rarely(u)?,
        owners_changed: if draw::rarely(u)? { draw::maybe(u, draw::time)? } else { Some(Timestamp::UNIX_EPOCH) },
    })
}

fn pod(u: &mut Unstructured<'_>, ordinal: Ordinal, owner: &Uid) -> Result<Dependent> {
    let mut pod = dependent(u, Kind::Pod, &format!("{NAME}-{ordinal}"), owner)?;
    if !draw::rarely(u)? {
        pod.owners = vec![reference(owner.as_str(), "StatefulSet", NAME)];
    }
    Ok(pod)
}

fn claims(u: &mut Unstructured<'_>, live: &LiveSet) -> Result<Vec<Claim>> {
    let set = SetName::new(NAMESPACE, NAME);
    let mut claims = Vec::new();
    let beyond = if draw::rarely(u)? { vec![Ordinal(7)] } else { Vec::new() };
    for (template, _) in &live.spec.templates {
        for ordinal in live.spec.ordinals().take(2).chain(beyond.clone()) {
            let name = ClaimName::of(template, &set, ordinal);
            let mut object = dependent(u, Kind::Claim, name.as_str(), &live.uid)?;
            if u.arbitrary()? {
                object.owners.push(reference(NAMESPACE_UID, "Namespace", NAMESPACE));
            }
            let requested = if draw::rarely(u)? { draw::size(u)? } else { Bytes::gib(2) };
            claims.push(Claim { object, requested });
        }
    }
    some(u, claims)
}

fn verdict(u: &mut Unstructured<'_>, usual: Verdict) -> Result<Verdict> {
    if !draw::rarely(u)? {
        return Ok(usual);
    }
    let why = || "no".to_owned();
    let all = [
        Verdict::Accepted,
        Verdict::AlreadyExists,
        Verdict::Conflict,
        Verdict::Refused(why()),
        Verdict::Changed(vec![why()]),
        Verdict::Unknown(why()),
    ];
    u.choose(&all).cloned()
}

fn departure(u: &mut Unstructured<'_>, uid: &Uid) -> Result<Departure> {
    let claims = ["data-db-0", "wal-db-0"].map(ClaimName::new).into();
    let with_claims = Departure::WithClaims { uid: uid.clone(), claims };
    u.choose(&[Departure::Unknown, Departure::Orphaned, with_claims]).cloned()
}

fn rivals(u: &mut Unstructured<'_>, live: &LiveSet) -> Result<Rivals> {
    let found = if draw::rarely(u)? {
        u.choose(&[
            Found::Rivals(vec!["ReplicaSet web".to_owned()]),
            Found::Forbidden("no".to_owned()),
            Found::Unknown("no".to_owned()),
        ])?
        .clone()
    } else {
        Found::Rivals(Vec::new())
    };
    Ok(Rivals { of: live.guard(), found })
}

/// An answer about each Pod, or rarely one less.
fn of_pods(u: &mut Unstructured<'_>, pods: &[Dependent]) -> Result<BTreeMap<String, PodAnswer>> {
    let mut answers = BTreeMap::new();
    for pod in pods {
        let verdict = verdict(u, Verdict::Accepted)?;
        answers.insert(pod.name.clone(), PodAnswer { uid: pod.uid.clone(), verdict });
    }
    if draw::rarely(u)? {
        answers.pop_last();
    }
    Ok(answers)
}

fn probes(u: &mut Unstructured<'_>, live: &LiveSet, targets: &BTreeMap<TemplateName, Bytes>) -> Result<Probes> {
    Ok(Probes {
        uid: live.uid.clone(),
        generation: live.generation,
        targets: targets.clone(),
        at: if draw::rarely(u)? { draw::time(u)? } else { now() },
        create: verdict(u, Verdict::AlreadyExists)?,
        delete: verdict(u, Verdict::Accepted)?,
        hold: verdict(u, Verdict::Accepted)?,
        backup: verdict(u, Verdict::Accepted)?,
        native: if u.ratio(1, 4)? { Verdict::Accepted } else { verdict(u, Verdict::Refused("immutable".to_owned()))? },
        copy: verdict(u, Verdict::Accepted)?,
        // What was found before stays what it was: nothing is drawn.
        spec: Verdict::Accepted,
        protect: Verdict::Accepted,
        pods: BTreeMap::new(),
    })
}

fn head(u: &mut Unstructured<'_>) -> Result<JournalHead> {
    let name = draw::one(u, &["rso-journal-a", "rso-journal-z"])?;
    Ok(JournalHead {
        name: name.to_owned(),
        guard: Precondition { uid: uid_of(name), resource_version: u.int_in_range(1..=3_u8)?.to_string() },
        set: SetName::new(draw::one(u, &[NAMESPACE, "else"])?, draw::one(u, &[NAME, "else"])?),
        phase: *u.choose(&Phase::ALL)?,
        phase_at: draw::time(u)?,
    })
}

fn backups(u: &mut Unstructured<'_>, id: &str) -> Result<Backups> {
    let mut taken = BTreeMap::new();
    for number in 0..u.int_in_range(0..=5_u64)? {
        let name = format!("{NAME}-backup-{number}");
        let guard = Precondition { uid: uid_of(&name), resource_version: "1".to_owned() };
        let transaction =
            draw::maybe(u, |u| if draw::rarely(u)? { draw::one(u, &IDS) } else { Ok(id) })?.map(str::to_owned);
        taken.insert(number, BackupHead { name, guard, transaction, deleting: false });
    }
    let next = u64::try_from(taken.len()).unwrap_or_default();
    Ok(Backups { taken, next })
}
