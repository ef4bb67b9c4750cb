//! The current state of one StatefulSet: consistent reads, never a cache, for the recreation.
//!
//! The reads of a round run in parallel. If one of them fails, the round fails: no step is chosen on incomplete data.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{StreamExt, iter};
use futures::try_join;
use serde_json::Value;

use super::client::{Class, Client, Error, Form, Outcome, Selector, chain};
use super::clock::{now, since_boot};
use super::environment::Environment;
use super::history;
use crate::api::annotations::KIND_LABEL;
use crate::api::names::SetName;
use crate::api::objects::{
    Address, CLAIMS, CONFIG_MAPS, CONTROLLER_REVISIONS, DAEMON_SETS, JOBS, NAMESPACES, PODS, REPLICA_SETS,
    REPLICATION_CONTROLLERS, Resource, STATEFUL_SETS,
};
use crate::api::write::Write;
use crate::recreate::assemble::{self, Outline, Related, Rest};
use crate::recreate::dependent::{Claim, Dependent, Kind};
use crate::recreate::observed::{Backups, Departure, Intent, Observed};
use crate::recreate::probes::{Orphan, PodAnswer, ProbeRequest, Probes, Verdict};
use crate::recreate::rivals::{Found, Rivals, RivalsRequest, selects};
use crate::recreate::set::{Malformed, Spec};
use crate::recreate::{backup, compare, journal, write};

/// How many times rso waits for the watch of the PVCs.
const CATCH_UPS: u32 = 20;
/// How long it waits each time.
const CATCH_UP: Duration = Duration::from_millis(100);
/// How many dry runs of Pods are sent at the same time: a StatefulSet can have hundreds, and each may call webhooks.
const MAX_CONCURRENT_POD_DRY_RUNS: usize = 8;

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The API server did not respond as it should.
    #[error(transparent)]
    Read(#[from] Error),
    /// The StatefulSet is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// All journals. Journals about other StatefulSets are kept without their body.
async fn journals(environment: &Environment, set: &SetName) -> Result<Vec<Value>, Error> {
    let labels = format!("{KIND_LABEL}={}", journal::KIND);
    let selector = Selector { labels: Some(&labels), fields: None };
    let keep = |config_map| Some(assemble::without_foreign_body(config_map, set));
    environment.client.select(&CONFIG_MAPS, Some(&environment.namespace), selector, Form::Whole, keep).await
}

/// Everything that the next step of the recreation of this StatefulSet depends on.
///
/// The identity of the StatefulSet is read first, because of the Pods, ControllerRevisions, and PVCs of the namespace,
/// only those that concern it are kept.
///
/// # Errors
/// When a read fails, or the StatefulSet cannot be parsed.
pub async fn observe(
    environment: &Environment,
    set: &SetName,
    intent: Option<&Intent>,
) -> Result<Observed, ObserveError> {
    let client = &environment.client;
    let (object, home) = (Address::set(set), NAMESPACES.global(&set.namespace));
    let (live, namespace, journals) = try_join!(client.get(&object), client.get(&home), journals(environment, set))?;
    let outline = Outline::read(set, live, namespace.as_ref(), &journals)?;
    drop(journals);
    let (pods, revisions, claims, backups) = try_join!(
        dependents(client, &outline, set, (Kind::Pod, &PODS)),
        dependents(client, &outline, set, (Kind::Revision, &CONTROLLER_REVISIONS)),
        claims(client, &outline, set),
        backups(environment, set, intent.is_some() || outline.is_prepared()),
    )?;
    let departure = if outline.is_absent() { departure(environment, set, &claims).await } else { Departure::Unknown };
    let (intent, rules) = (intent.cloned(), environment.rules);
    let related = Related { pods, revisions, claims };
    Ok(outline.complete(related, Rest { backups, departure, intent, rules }))
}

/// Reads a kind of which only the metadata matters.
async fn dependents(
    client: &Client,
    outline: &Outline,
    set: &SetName,
    (kind, resource): (Kind, &'static Resource),
) -> Result<Vec<Dependent>, Error> {
    let keep = |object| outline.dependent(kind, &object);
    client.select(resource, Some(&set.namespace), Selector::default(), Form::Metadata, keep).await
}

async fn claims(client: &Client, outline: &Outline, set: &SetName) -> Result<Vec<Claim>, Error> {
    let keep = |object| outline.claim(&object);
    client.select(&CLAIMS, Some(&set.namespace), Selector::default(), Form::Whole, keep).await
}

/// How the StatefulSet was deleted, if it is certain that what the watches reported is the latest state of it and of
/// its PVCs.
async fn departure(environment: &Environment, set: &SetName, claims: &[Claim]) -> Departure {
    let seen = || environment.departures.of(set, since_boot());
    let Some(first) = seen() else { return Departure::Unknown };
    if !history::is_silent(environment, set, &first.resource_version).await {
        return Departure::Unknown;
    }
    let is_behind = || claims.iter().any(|claim| !environment.departures.knows(&set.namespace, &claim.object));
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

/// The backups, and a number above theirs.
async fn backups(environment: &Environment, set: &SetName, is_needed: bool) -> Result<Backups, Error> {
    let labels = backup::selector_of(set);
    let selector = Selector { labels: Some(&labels), fields: None };
    let keep = |mut object: Value| Some(object["metadata"].take());
    let found = environment.client.select(&CONFIG_MAPS, Some(&set.namespace), selector, Form::Metadata, keep).await?;
    let taken = backup::heads_of(set, found.iter());
    let mut numbers = backup::numbers_above(taken.keys().last().copied(), now());
    let mut next = numbers.next().unwrap_or(1);
    for other in numbers {
        let name = backup::name_of(set, next);
        if !is_needed || environment.client.get(&CONFIG_MAPS.of(&set.namespace, name)).await?.is_none() {
            break;
        }
        next = other;
    }
    Ok(Backups { taken, next })
}

// ── Dry runs ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Sends each write that is to come to the API server as a dry run, and then those to the Pods that the garbage collector
/// and the StatefulSet controller will send.
pub async fn probe(environment: &Environment, set: &SetName, request: &ProbeRequest) -> Probes {
    let (client, writes) = (&environment.client, write::probes(request, set));
    let (create, copy, delete, hold, backup, native, spec, protect) = futures::join!(
        client.dry_run(&writes.create),
        client.dry_run(&writes.copy),
        client.dry_run(&writes.delete),
        client.dry_run(&writes.hold),
        client.dry_run(&writes.backup),
        client.dry_run(&writes.native),
        dry_run_of(client, writes.spec.as_ref()),
        dry_run_of(client, writes.protect.as_ref()),
    );
    let pods = probe_pods(client, set, request).await;
    let patched = |write: &Write| compare::patched(&request.object, write.merge_patch().unwrap_or(&Value::Null));
    Probes {
        uid: request.guard.uid.clone(),
        generation: request.generation,
        targets: request.targets.clone(),
        // With many Pods, the dry runs take long: their results are valid from the last one on.
        at: now(),
        create: verdict(create),
        copy: as_asked(&request.copy, copy),
        delete: verdict(delete),
        hold: as_asked(&patched(&writes.hold), hold),
        backup: verdict(backup),
        native: has_grown(native, &patched(&writes.native), request),
        spec: spec.map_or(Verdict::Accepted, |(write, answer)| as_asked(&patched(write), answer)),
        protect: protect.map_or(Verdict::Accepted, |(_, answer)| verdict(answer)),
        pods,
    }
}

/// A few at a time: each response is a whole Pod, of which only the decision is kept.
async fn probe_pods(client: &Client, set: &SetName, request: &ProbeRequest) -> BTreeMap<String, PodAnswer> {
    let selector = &request.object["spec"]["selector"];
    let ask = async |orphan: &Orphan| {
        let verdict = match client.dry_run(&write::orphan(orphan, set)).await {
            Ok(Outcome::Done(pod)) => orphan.verdict(&pod, selector),
            answer => verdict(answer),
        };
        (orphan.pod.name.clone(), PodAnswer { uid: orphan.pod.uid.clone(), verdict })
    };
    iter(&request.pods).map(ask).buffer_unordered(MAX_CONCURRENT_POD_DRY_RUNS).collect().await
}

/// Sends a write, if there is one, as a dry run, and returns it with the response.
async fn dry_run_of<'a>(
    client: &Client,
    write: Option<&'a Write>,
) -> Option<(&'a Write, Result<Outcome<Value>, Error>)> {
    let write = write?;
    Some((write, client.dry_run(write).await))
}

/// The decision about a write of the StatefulSet, whose response must match the request.
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

/// A server that accepts the PATCH but drops the change has no native support.
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

/// The other workloads of the namespace that would adopt the objects that the StatefulSet releases.
pub async fn rivals(environment: &Environment, set: &SetName, request: &RivalsRequest) -> Rivals {
    let searches = SELECTING.iter().map(|kind| selecting(environment, set, kind, request));
    let found = match futures::future::try_join_all(searches).await {
        Ok(names) => Found::Rivals(names.into_iter().flatten().collect()),
        Err(error) => match error.class() {
            Class::Permanent => Found::Forbidden(chain(&error)),
            Class::Retry { .. } | Class::Unknown => Found::Unknown(chain(&error)),
        },
    };
    Rivals { of: request.of.clone(), found }
}

/// Every kind in Kubernetes whose controller adopts objects without an owner by a selector.
const SELECTING: [&Resource; 5] = [&STATEFUL_SETS, &REPLICA_SETS, &DAEMON_SETS, &REPLICATION_CONTROLLERS, &JOBS];

async fn selecting(
    environment: &Environment,
    set: &SetName,
    kind: &'static Resource,
    request: &RivalsRequest,
) -> Result<Vec<String>, Error> {
    // Only the names of rivals are kept: the objects of a namespace can be large.
    let keep = |object: Value| {
        let is_other = object["metadata"]["uid"] != request.of.uid.as_str();
        let is_rival = is_other && request.labels.iter().any(|labels| selects(&object["spec"]["selector"], labels));
        let name = object["metadata"]["name"].as_str().filter(|_| is_rival)?;
        Some(format!("{} {name}", kind.kind))
    };
    environment.client.select(kind, Some(&set.namespace), Selector::default(), Form::Whole, keep).await
}
