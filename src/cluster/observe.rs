//! What is known of one set right now? Consistent reads, never a cache, for the recreate.
//!
//! The reads of a round run side by side. Should one fail, the round fails: no step is chosen on half the knowledge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::try_join;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::resources::{
    CLAIMS, CONFIG_MAPS, CONTROLLER_REVISIONS, DAEMON_SETS, JOBS, NAMESPACES, PODS, REPLICA_SETS,
    REPLICATION_CONTROLLERS, Resource, STATEFUL_SETS,
};
use super::client::{
    Address, Class, Client, Dependents, Error, Form, Outcome, Patch, Precondition, Run, Selector, chain,
};
use super::clock::{now, since_boot};
use super::departures::Departures;
use super::history;
use crate::api::annotations::KIND_LABEL;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, Uid, pod_name};
use crate::recreate::journal::{self, Journal, JournalError};
use crate::recreate::observed::{
    Backups, Claim, Departure, Dependent, Found, Guard, JournalHead, Kind, LastObject, Live, LiveSet, Malformed,
    Namespace, Probes, Rivals, Spec, Stored, Verdict, owners_changed,
};
use crate::recreate::rivals::selects;
use crate::recreate::{Intent, Observed, Phase, ProbeRequest, Protection, RivalsRequest, Rules, backup, compare};

/// The watch of the PVCs is waited for so many times.
const CATCH_UPS: u32 = 20;
/// And so long each time.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Where a recreate is carried out.
#[derive(Clone)]
pub struct Ground {
    /// Talks to the API server.
    pub client: Client,
    /// The operator's own namespace: the journals are there.
    pub namespace: String,
    /// The numbers.
    pub rules: Rules,
    /// How StatefulSets that are gone were deleted.
    pub departures: Arc<Departures>,
}

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The API server did not answer as it should.
    #[error(transparent)]
    Read(#[from] Error),
    /// The set is not one.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// All journals. The body is kept of those that are about `of`, and of those that do not say what they are about; of all
/// others only the head counts.
async fn journals_about(ground: &Ground, of: Option<&SetName>) -> Result<Vec<Value>, Error> {
    let labels = format!("{KIND_LABEL}={}", journal::KIND);
    let selector = Selector { labels: Some(&labels), fields: None };
    let keep = |mut config_map: Value| {
        let is_of_another = journal::head_of(&config_map).is_some_and(|head| Some(&head.set) != of);
        if let Some(object) = config_map.as_object_mut().filter(|_| is_of_another) {
            object.remove("binaryData");
        }
        Some(config_map)
    };
    ground.client.select(&CONFIG_MAPS, Some(&ground.namespace), selector, Form::Whole, keep).await
}

/// Everything that the next step of a recreate of this set depends on.
///
/// Who the set is comes first, because of a namespace's pods, revisions and claims only those are kept that concern it.
///
/// # Errors
/// When a read fails, or the set cannot be read.
pub async fn observe(ground: &Ground, set: &SetName, intent: Option<&Intent>) -> Result<Observed, ObserveError> {
    let client = &ground.client;
    let (object, home) = (Address::set(set), NAMESPACES.global(&set.namespace));
    let (live, namespace, journals) =
        try_join!(client.get(&object), client.get(&home), journals_about(ground, Some(set)))?;
    let live = match live {
        None => Live::Absent,
        Some(object) => Live::Present(Box::new(LiveSet::read(object)?)),
    };
    let (journal, others, guarded) = sort_journals(set, &live, &journals);
    drop(journals);
    let concern = Concern::of(set, &live, &journal, &guarded);
    let (pods, revisions, claims, backups) = try_join!(
        concern.dependents(client, Kind::Pod, &PODS),
        concern.dependents(client, Kind::Revision, &CONTROLLER_REVISIONS),
        concern.claims(client),
        backups(ground, set, intent.is_some() || is_prepared(&journal)),
    )?;
    let departure = departure(ground, set, &live, &claims).await;
    Ok(Observed {
        set: set.clone(),
        last: LastObject::NotAsked,
        departure,
        pods,
        revisions,
        claims,
        namespace: read_namespace(namespace.as_ref()),
        live,
        journal,
        others,
        backups,
        intent: intent.cloned(),
        probes: None,
        rivals: None,
        rules: ground.rules,
    })
}

/// How the set went, if it is sure that what the watches told is the latest of it and of its claims.
async fn departure(ground: &Ground, set: &SetName, live: &Live, claims: &[Claim]) -> Departure {
    let seen = || ground.departures.of(set, since_boot());
    let Some(first) = seen().filter(|_| matches!(live, Live::Absent)) else { return Departure::Unknown };
    if !history::is_silent(ground, set, &first.resource_version).await {
        return Departure::Unknown;
    }
    let is_behind = || claims.iter().any(|claim| !ground.departures.knows(&set.namespace, &claim.object));
    for _ in 0..CATCH_UPS {
        if !is_behind() {
            return seen()
                .filter(|last| last.resource_version == first.resource_version)
                .map(|last| last.departure)
                .unwrap_or_default();
        }
        tokio::time::sleep(CATCH_UP).await;
    }
    Departure::Unknown
}

fn read_namespace(namespace: Option<&Value>) -> Namespace {
    let Some(namespace) = namespace else { return Namespace { uid: Uid::new(""), terminating: true } };
    let uid = Uid::new(namespace["metadata"]["uid"].as_str().unwrap_or_default());
    Namespace { uid, terminating: namespace["status"]["phase"] == "Terminating" }
}

fn is_prepared(journal: &Stored) -> bool {
    matches!(journal, Stored::Some { journal, .. } if journal.phase <= Phase::Deleting)
}

/// The journal in flight for this set, the heads of all others, and what the guarded ones of this set remember.
fn sort_journals(set: &SetName, live: &Live, stored: &[Value]) -> (Stored, Vec<JournalHead>, Vec<Value>) {
    let (mut own, mut others, mut guarded) = (Stored::None, Vec::new(), Vec::new());
    let by_uid = match live {
        Live::Present(live) => Some(journal::name_of(&live.uid)),
        Live::Absent => None,
    };
    for config_map in stored {
        let head = journal::head_of(config_map);
        let named = by_uid.is_some() && config_map["metadata"]["name"].as_str() == by_uid.as_deref();
        match head {
            Some(head) if head.set == *set && head.phase == Phase::Guarded => {
                guarded.extend(Journal::decode(config_map).ok().map(|journal| journal.image));
                others.push(head);
            }
            Some(head) if head.set == *set => own = read_journal(config_map),
            // An object has one name all its life, so somebody changed the head.
            Some(head) if named => {
                own = Stored::Unreadable { name: head.name, guard: head.guard, error: JournalError::Head("set") };
            }
            Some(head) => others.push(head),
            None if named => own = read_journal(config_map),
            None => {}
        }
    }
    (own, others, guarded)
}

/// The journal in a ConfigMap: one of a list, or what a write to it answered.
pub fn read_journal(config_map: &Value) -> Stored {
    let Some(guard) = journal::guard_of(&config_map["metadata"]) else { return Stored::None };
    match Journal::decode(config_map) {
        Ok(journal) => Stored::Some { journal: Box::new(journal), guard },
        Err(error) => {
            let name = config_map["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            Stored::Unreadable { name, guard, error }
        }
    }
}

/// Which pods, revisions and claims concern a set: by name, or because they refer to it, old or new.
struct Concern<'a> {
    set: &'a SetName,
    uids: Vec<&'a Uid>,
    specs: Vec<Spec>,
    revisions: Vec<&'a String>,
}

impl<'a> Concern<'a> {
    fn of(set: &'a SetName, live: &'a Live, journal: &'a Stored, guarded: &[Value]) -> Self {
        let (mut uids, mut specs, mut revisions) = (Vec::new(), Vec::new(), Vec::new());
        if let Live::Present(live) = live {
            uids.push(&live.uid);
            specs.push(live.spec.clone());
        }
        if let Stored::Some { journal, .. } = journal {
            uids.push(&journal.uid);
            uids.extend(&journal.successor);
            specs.extend(Spec::read(&journal.image));
            revisions.extend(journal.snapshot.revisions.keys());
        }
        specs.extend(guarded.iter().filter_map(|image| Spec::read(image).ok()));
        Self { set, uids, specs, revisions }
    }

    fn concerns(&self, dependent: &Dependent) -> bool {
        self.is_named(dependent) || self.is_referring(dependent)
    }

    /// Of these kinds the metadata is all that counts.
    async fn dependents(
        &self,
        client: &Client,
        kind: Kind,
        resource: &'static Resource,
    ) -> Result<Vec<Dependent>, Error> {
        let keep = |object| dependent(kind, &object).filter(|dependent| self.concerns(dependent));
        client.select(resource, Some(&self.set.namespace), Selector::default(), Form::Metadata, keep).await
    }

    async fn claims(&self, client: &Client) -> Result<Vec<Claim>, Error> {
        let keep = |object| claim(&object).filter(|claim| self.concerns(&claim.object));
        client.select(&CLAIMS, Some(&self.set.namespace), Selector::default(), Form::Whole, keep).await
    }

    fn is_referring(&self, dependent: &Dependent) -> bool {
        self.uids.iter().any(|uid| dependent.refers_to(uid))
    }

    fn is_named(&self, dependent: &Dependent) -> bool {
        match dependent.kind {
            Kind::Pod => dependent
                .name
                .rsplit_once('-')
                .and_then(|(_, ordinal)| ordinal.parse().ok())
                .is_some_and(|ordinal| pod_name(self.set, crate::api::names::Ordinal(ordinal)) == dependent.name),
            Kind::Revision => self.revisions.contains(&&dependent.name),
            Kind::Claim => {
                let name = ClaimName::new(dependent.name.as_str());
                self.specs.iter().any(|spec| spec.place_of(&name, self.set).is_some())
            }
        }
    }
}

fn dependent(kind: Kind, object: &Value) -> Option<Dependent> {
    let metadata = &object["metadata"];
    let Guard { uid, resource_version } = journal::guard_of(metadata)?;
    Some(Dependent {
        kind,
        name: metadata["name"].as_str()?.to_owned(),
        uid,
        resource_version,
        owners: metadata["ownerReferences"].as_array().cloned().unwrap_or_default(),
        revision: metadata["labels"]["controller-revision-hash"].as_str().map(str::to_owned),
        labels: labels(&metadata["labels"]),
        deleting: !metadata["deletionTimestamp"].is_null(),
        owners_changed: owners_changed(metadata),
    })
}

fn labels(of: &Value) -> BTreeMap<String, String> {
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    of.as_object().into_iter().flatten().filter_map(text).collect()
}

fn claim(object: &Value) -> Option<Claim> {
    // What cannot be read counts as nothing: below every target, so that nothing begins.
    let size = |path: &str| {
        let text = object.pointer(path).and_then(Value::as_str);
        text.and_then(|text| text.parse().ok()).unwrap_or(Bytes(0))
    };
    // A driver may make more than was requested: then the size is there without asking.
    let requested = size("/spec/resources/requests/storage").max(size("/status/capacity/storage"));
    Some(Claim { object: dependent(Kind::Claim, object)?, requested })
}

/// The backups, and a number above them.
async fn backups(ground: &Ground, set: &SetName, is_needed: bool) -> Result<Backups, Error> {
    let labels = backup::selector_of(set);
    let selector = Selector { labels: Some(&labels), fields: None };
    let keep = |mut object: Value| Some(object["metadata"].take());
    let found = ground.client.select(&CONFIG_MAPS, Some(&set.namespace), selector, Form::Metadata, keep).await?;
    let taken = backup::heads_of(set, found.iter());
    let mut numbers = backup::numbers_above(taken.keys().last().copied(), now());
    let mut next = numbers.next().unwrap_or(1);
    for other in numbers {
        let name = backup::name_of(set, next);
        if !is_needed || ground.client.get(&CONFIG_MAPS.of(&set.namespace, name)).await?.is_none() {
            break;
        }
        next = other;
    }
    Ok(Backups { taken, next })
}

// ── Dry runs ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Asks the API server what it would say to each write that is to come.
pub async fn probe(ground: &Ground, set: &SetName, request: &ProbeRequest, now: Timestamp) -> Probes {
    let (client, within) = (&ground.client, Some(set.namespace.as_str()));
    let object = Address::set(set);
    let sets = object.resource;
    let only = precondition(&request.guard);
    let mut hold = guarded_patch(&request.guard);
    hold["metadata"]["finalizers"] = json!(request.finalizers);
    let mut native = guarded_patch(&request.guard);
    native["spec"] = json!({ "volumeClaimTemplates": request.templates });
    let (hold_patch, native_patch) = (Patch::Merge(hold.clone()), Patch::Merge(native.clone()));
    let spec = patch_of_spec(request);
    let (create, copy, delete, held, backup, native_answer, spec, protect) = futures::join!(
        client.create(sets, within, &request.create, Run::Dry),
        client.create(sets, within, &request.copy, Run::Dry),
        client.delete(&object, Dependents::Orphan, &only, Run::Dry),
        client.patch(&object, &hold_patch, Run::Dry),
        client.create(&CONFIG_MAPS, within, &request.backup, Run::Dry),
        client.patch(&object, &native_patch, Run::Dry),
        dry_patch(client, &object, spec),
        protect(client, set, request),
    );
    Probes {
        uid: request.guard.uid.clone(),
        generation: request.generation,
        targets: request.targets.clone(),
        at: now,
        create: verdict(create),
        copy: as_asked(&request.copy, copy),
        delete: verdict(delete),
        hold: as_asked(&compare::patched(&request.object, &hold), held),
        backup: verdict(backup),
        native: has_grown(native_answer, &compare::patched(&request.object, &native), request),
        spec: spec
            .map_or(Verdict::Accepted, |(asked, answer)| as_asked(&compare::patched(&request.object, &asked), answer)),
        protect: protect.map_or(Verdict::Accepted, verdict),
    }
}

fn patch_of_spec(request: &ProbeRequest) -> Option<Value> {
    let mut patch = guarded_patch(&request.guard);
    patch["spec"] = request.spec.clone()?;
    Some(patch)
}

type Answer = Result<Outcome<Value>, Error>;

/// Tries a patch, if there is one, and gives it back with the answer.
async fn dry_patch(client: &Client, object: &Address, patch: Option<Value>) -> Option<(Value, Answer)> {
    let patch = patch?;
    let answer = client.patch(object, &Patch::Merge(patch.clone()), Run::Dry).await;
    Some((patch, answer))
}

async fn protect(client: &Client, set: &SetName, request: &ProbeRequest) -> Option<Answer> {
    let Protection { claim, guard, owners } = request.protect.as_ref()?;
    let mut patch = guarded_patch(guard);
    patch["metadata"]["ownerReferences"] = json!(owners);
    Some(client.patch(&CLAIMS.of(&set.namespace, claim.clone()), &Patch::Merge(patch), Run::Dry).await)
}

/// The verdict on a write of the set, whose answer must be what was asked for.
fn as_asked(asked: &Value, answer: Result<Outcome<Value>, Error>) -> Verdict {
    match answer {
        Ok(Outcome::Done(object)) => match compare::changes(asked, &object).serious {
            changed if changed.is_empty() => Verdict::Accepted,
            changed => Verdict::Changed(changed),
        },
        answer => verdict(answer),
    }
}

fn verdict(answer: Result<Outcome<Value>, Error>) -> Verdict {
    match answer {
        Ok(Outcome::Done(_)) => Verdict::Accepted,
        Ok(Outcome::AlreadyExists) => Verdict::AlreadyExists,
        Ok(Outcome::Conflict(_)) => Verdict::Conflict,
        Ok(Outcome::NotFound) => Verdict::Unknown("it is gone".to_owned()),
        Err(error) => match error.class() {
            Class::Permanent => Verdict::Refused(chain(&error)),
            Class::Retry { .. } | Class::Unknown => Verdict::Unknown(chain(&error)),
        },
    }
}

/// A server that takes the PATCH and drops the change is no native support.
fn has_grown(answer: Result<Outcome<Value>, Error>, asked: &Value, request: &ProbeRequest) -> Verdict {
    let grown = |object: &Value| {
        let spec = Spec::read(object).ok();
        spec.is_some_and(|spec| request.targets.iter().all(|(name, size)| spec.size_of(name) >= Some(*size)))
    };
    match answer {
        Ok(Outcome::Done(object)) if !grown(&object) => Verdict::Refused("the change was dropped".to_owned()),
        answer => as_asked(asked, answer),
    }
}

// ── Rivals ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Who else in the namespace would adopt what the StatefulSet lets go of.
pub async fn rivals(ground: &Ground, set: &SetName, request: &RivalsRequest) -> Rivals {
    let searches = SELECTING.iter().map(|kind| selecting(ground, set, kind, request));
    let found = match futures::future::try_join_all(searches).await {
        Ok(names) => Found::Rivals(names.into_iter().flatten().collect()),
        Err(error) => match error.class() {
            Class::Permanent => Found::Forbidden(chain(&error)),
            Class::Retry { .. } | Class::Unknown => Found::Unknown(chain(&error)),
        },
    };
    Rivals { of: request.of.clone(), found }
}

/// Every kind of Kubernetes whose controller adopts by a selector what has no owner.
const SELECTING: [&Resource; 5] = [&STATEFUL_SETS, &REPLICA_SETS, &DAEMON_SETS, &REPLICATION_CONTROLLERS, &JOBS];

async fn selecting(
    ground: &Ground,
    set: &SetName,
    kind: &'static Resource,
    request: &RivalsRequest,
) -> Result<Vec<String>, Error> {
    // Of a namespace of large objects only the names of rivals are kept.
    let keep = |object: Value| {
        let is_other = object["metadata"]["uid"] != request.of.uid.as_str();
        let is_rival = is_other && request.labels.iter().any(|labels| selects(&object["spec"]["selector"], labels));
        let name = object["metadata"]["name"].as_str().filter(|_| is_rival)?;
        Some(format!("{} {name}", kind.kind))
    };
    ground.client.select(kind, Some(&set.namespace), Selector::default(), Form::Whole, keep).await
}

/// The start of a merge patch that only this object in this state takes.
pub(super) fn guarded_patch(guard: &Guard) -> Value {
    json!({ "metadata": { "uid": guard.uid.as_str(), "resourceVersion": guard.resource_version } })
}

/// The same for a DELETE.
pub(super) fn precondition(guard: &Guard) -> Precondition {
    Precondition { uid: Some(guard.uid.clone()), resource_version: Some(guard.resource_version.clone()) }
}
