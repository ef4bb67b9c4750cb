//! Lists StatefulSets with what belongs to them: PVCs, Pods, StorageClasses, Events, and the usage of the volumes.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, join3, try_join_all};
use serde_json::Value;

use super::compose::{self, Snapshot};
use super::listed::{Listed, classes};
use super::measure::{Key, measure};
use super::reactions::{Reactions, reactions};
use crate::api::names::SetName;
use crate::api::objects::{Address, CLAIMS, EVENTS, PODS, Resource, STATEFUL_SETS};
use crate::cli::failure::Failure;
use crate::cli::show::view::EventStatus;
use crate::cluster::client::{Client, Error, Selector};
use crate::policy::claim::Claim;
use crate::policy::settings::Limits;
use crate::policy::usage::Reading;
use crate::workload::snapshot::Workload;
use crate::workload::statefulset::StatefulSetView;

/// The StatefulSets to read.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// These, managed or not.
    Named(Vec<SetName>),
    /// The managed ones of a namespace, or of all namespaces.
    Managed(Option<String>),
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Snapshots {
    /// The StatefulSets, by namespace and name.
    pub(crate) sets: Vec<Snapshot>,
    /// What this user cannot read, and which permission is missing.
    pub(crate) hints: Vec<String>,
}

/// Lists the StatefulSets and measures their volumes. The operator in `operator_namespace` knows how long expansions take.
///
/// # Errors
/// If a StatefulSet does not exist, or a request fails.
pub(crate) async fn snapshots(client: &Client, scope: &Scope, operator_namespace: &str) -> Result<Snapshots, Failure> {
    let sets = sets(client, scope).await?;
    let namespaces = namespaces(scope, &sets);
    let classes = classes(client).await?;
    let (claims, pods) = join(list(client, &CLAIMS, &namespaces, ""), list(client, &PODS, &namespaces, "")).await;
    let listed = Listed::new(claims?, classes);
    let (pods, denied) = allowed(pods)?;
    let workload = |(set, ready)| (Workload::read(&listed, set, &Limits::default()), ready);
    let workloads: Vec<(Workload, u32)> = sets.into_iter().map(workload).collect();
    let claims = workloads.iter().flat_map(|(workload, _)| keyed(workload)).collect();
    let measuring = measure(client, &pods, &claims);
    let reactions = reactions(client, operator_namespace, &claims);
    let (measured, events, reactions) = join3(measuring, events(client, &namespaces), reactions).await;
    let events = events?;
    let usage_denied = measured.is_denied() || denied.is_some();
    let snapshot = |(mut workload, ready): (Workload, u32)| {
        measured.add_evidence(&mut workload);
        let rates = measured.rates_of(&workload.set.name);
        let readings = measured.of(&workload.set.name, workload.claims());
        let (events, reactions) = (events_of(&workload.set, &events), reactions_of(&workload, &reactions));
        Snapshot { workload, ready, readings, rates, reactions, events, usage_denied }
    };
    let sets: Vec<Snapshot> = workloads.into_iter().map(snapshot).collect();
    let missing = measured.missing_permissions.iter().cloned().chain(denied);
    let hints = permission_hint(&sets, missing.collect()).into_iter().collect();
    Ok(Snapshots { sets, hints })
}

/// The namespaces to list: one list of all namespaces, or one for each namespace of a StatefulSet.
fn namespaces(scope: &Scope, sets: &[(StatefulSetView, u32)]) -> Vec<Option<String>> {
    let used: BTreeSet<String> = sets.iter().map(|(set, _)| set.name.namespace.clone()).collect();
    match scope {
        Scope::Managed(None) if !sets.is_empty() => vec![None],
        Scope::Managed(_) | Scope::Named(_) => used.into_iter().map(Some).collect(),
    }
}

/// The PVCs of a StatefulSet, by namespace and name.
fn keyed(workload: &Workload) -> impl Iterator<Item = (Key, Claim)> {
    let namespace = &workload.set.name.namespace;
    workload.claims().map(|claim| ((namespace.clone(), claim.name.clone()), claim.clone()))
}

/// One StatefulSet and its PVCs, without their usage; `None` if it does not exist.
///
/// # Errors
/// If the StatefulSet is malformed, or a request fails.
pub(crate) async fn snapshot_of(client: &Client, set: &SetName) -> Result<Option<(Value, Snapshot)>, Failure> {
    let Some(object) = client.get(&Address::set(set)).await? else { return Ok(None) };
    let (view, ready) = read(&object).ok_or_else(|| malformed(set))?;
    let namespaces = [Some(set.namespace.clone())];
    let classes = classes(client).await?;
    let claims = list(client, &CLAIMS, &namespaces, "").await?;
    let workload = Workload::read(&Listed::new(claims, classes), view, &Limits::default());
    let (readings, rates, reactions) = (BTreeMap::new(), BTreeMap::new(), Reactions::new());
    let (events, usage_denied) = (Vec::new(), false);
    Ok(Some((object, Snapshot { workload, ready, readings, rates, reactions, events, usage_denied })))
}

async fn sets(client: &Client, scope: &Scope) -> Result<Vec<(StatefulSetView, u32)>, Failure> {
    match scope {
        Scope::Managed(namespace) => {
            let sets = client.list(&STATEFUL_SETS, namespace.as_deref(), Selector::default()).await?;
            let mut sets: Vec<(StatefulSetView, u32)> = sets.items.iter().filter_map(read).collect();
            sets.retain(|(set, _)| set.is_managed());
            Ok(sets)
        }
        Scope::Named(names) => try_join_all(names.iter().map(|name| named(client, name))).await,
    }
}

async fn named(client: &Client, name: &SetName) -> Result<(StatefulSetView, u32), Failure> {
    let object = client.get(&Address::set(name)).await?.ok_or_else(|| not_found(name))?;
    read(&object).ok_or_else(|| malformed(name))
}

/// The StatefulSet does not exist.
pub(crate) fn not_found(set: &SetName) -> Failure {
    Failure::negative(format!("StatefulSet {set} not found")).hint(format!(
        "To select another namespace, pass -n. To check for a backup, run `rso backup list {} -n {}`.",
        set.name, set.namespace
    ))
}

fn malformed(set: &SetName) -> Failure {
    Failure::negative(format!("failed to parse StatefulSet {set}"))
        .hint(format!("Check the object: kubectl get statefulset {} -n {} -o yaml", set.name, set.namespace))
}

fn read(object: &Value) -> Option<(StatefulSetView, u32)> {
    let ready = object.pointer("/status/readyReplicas").and_then(Value::as_u64).unwrap_or(0);
    let set = StatefulSetView::read(object)?;
    Some((set, u32::try_from(ready).unwrap_or(u32::MAX)))
}

async fn list(
    client: &Client,
    resource: &'static Resource,
    namespaces: &[Option<String>],
    fields: &str,
) -> Result<Vec<Value>, Error> {
    let selector = Selector { labels: None, fields: Some(fields) };
    let lists =
        try_join_all(namespaces.iter().map(|namespace| client.list(resource, namespace.as_deref(), selector))).await?;
    Ok(lists.into_iter().flat_map(|list| list.items).collect())
}

/// Pods, or the permission that is missing to list them.
fn allowed(pods: Result<Vec<Value>, Error>) -> Result<(Vec<Value>, Option<String>), Failure> {
    match pods {
        Ok(pods) => Ok((pods, None)),
        Err(Error::NotAllowed { call, .. }) => Ok((Vec::new(), Some(format!("{} {}", call.verb, call.resource)))),
        Err(error) => Err(error.into()),
    }
}

/// The Events about StatefulSets and PVCs; none if this user may not list them.
async fn events(client: &Client, namespaces: &[Option<String>]) -> Result<Vec<Value>, Failure> {
    let lists = ["regarding.kind=StatefulSet", "regarding.kind=PersistentVolumeClaim"];
    let lists = try_join_all(lists.map(|fields| list(client, &EVENTS, namespaces, fields))).await;
    match lists {
        Ok(lists) => Ok(lists.into_iter().flatten().collect()),
        Err(Error::NotAllowed { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn events_of(set: &StatefulSetView, events: &[Value]) -> Vec<EventStatus> {
    let about = |event: &&Value| {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = text("/regarding/name");
        text("/regarding/namespace") == set.name.namespace
            && match text("/regarding/kind") {
                "StatefulSet" => name == set.name.name,
                _ => set
                    .templates
                    .iter()
                    .any(|template| set.claims_of(&template.name).any(|(_, claim)| claim.as_str() == name)),
            }
    };
    events.iter().filter(about).filter_map(compose::event).collect()
}

/// How long expansions take in the StorageClasses of a StatefulSet.
fn reactions_of(workload: &Workload, reactions: &Reactions) -> Reactions {
    let classes = workload.claims().filter_map(|claim| claim.class.as_ref());
    classes.filter_map(|class| Some((class.name.clone(), *reactions.get(&class.name)?))).collect()
}

/// The permissions that this user lacks, if a usage is unknown.
fn permission_hint(sets: &[Snapshot], missing: BTreeSet<String>) -> Option<String> {
    let unknown: usize = sets.iter().map(unknown_usages).sum();
    if unknown == 0 || missing.is_empty() {
        return None;
    }
    let volumes = if unknown == 1 { "1 volume" } else { &format!("{unknown} volumes") };
    let missing: Vec<String> = missing.into_iter().collect();
    Some(format!(
        "The usage of {volumes} is not shown: you lack the permission to {}. The operator has permissions of its own.",
        missing.join(" and to ")
    ))
}

fn unknown_usages(snapshot: &Snapshot) -> usize {
    let is_known = |claim: &&Claim| matches!(snapshot.readings.get(&claim.name), Some(Reading::Measured { .. }));
    snapshot.workload.claims().count() - snapshot.workload.claims().filter(is_known).count()
}
