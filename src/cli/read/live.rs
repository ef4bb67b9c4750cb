//! Lists StatefulSets with what belongs to them: PVCs, Pods, StorageClasses, Events, and the usage of the volumes.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, try_join_all};
use serde_json::Value;

use super::compose::{self, Snapshot};
use super::measure::{Key, measure};
use crate::api::names::{ClaimName, SetName};
use crate::cli::failure::Failure;
use crate::cli::show::view::EventStatus;
use crate::cluster::claims;
use crate::cluster::client::resources::{CLAIMS, EVENTS, PODS, STATEFUL_SETS, STORAGE_CLASSES};
use crate::cluster::client::{Address, Client, Error, Resource, Selector};
use crate::cluster::sets::SetView;
use crate::policy::claim::{Claim, Class};
use crate::policy::usage::Reading;

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

/// Lists the StatefulSets and measures their volumes.
///
/// # Errors
/// If a StatefulSet does not exist, or a request fails.
pub(crate) async fn snapshots(client: &Client, scope: &Scope) -> Result<Snapshots, Failure> {
    let sets = sets(client, scope).await?;
    let namespaces = namespaces(scope, &sets);
    let classes = classes(client).await?;
    let (claims, pods) = join(list(client, &CLAIMS, &namespaces, ""), list(client, &PODS, &namespaces, "")).await;
    let claims = claims_of(&sets, &claims?, &classes);
    let by_key = claims.iter().map(|(namespace, claim)| ((namespace.clone(), claim.name.clone()), claim.clone()));
    let by_key: BTreeMap<Key, Claim> = by_key.collect();
    let (pods, denied) = allowed(pods)?;
    let (measured, events) = join(measure(client, &pods, &by_key), events(client, &namespaces)).await;
    let events = events?;
    let usage_denied = measured.is_denied() || denied.is_some();
    let snapshot = |(set, ready): (SetView, u32)| {
        let claims: Vec<Claim> = claims.iter().filter_map(|keyed| own_claim(&set, keyed)).collect();
        let readings = measured.of(&set.name, &claims);
        let events = events_of(&set, &events);
        Snapshot { set, ready, claims, readings, events, usage_denied }
    };
    let sets: Vec<Snapshot> = sets.into_iter().map(snapshot).collect();
    let missing = measured.missing_permissions.iter().cloned().chain(denied);
    let hints = permission_hint(&sets, missing.collect()).into_iter().collect();
    Ok(Snapshots { sets, hints })
}

/// The namespaces to list: one list of all namespaces, or one for each namespace of a StatefulSet.
fn namespaces<'a>(scope: &Scope, sets: &'a [(SetView, u32)]) -> Vec<Option<&'a str>> {
    let used: BTreeSet<&str> = sets.iter().map(|(set, _)| set.name.namespace.as_str()).collect();
    match scope {
        Scope::Managed(None) if !sets.is_empty() => vec![None],
        Scope::Managed(_) | Scope::Named(_) => used.into_iter().map(Some).collect(),
    }
}

fn own_claim(set: &SetView, (namespace, claim): &(String, Claim)) -> Option<Claim> {
    let mut names = set.claims_of(&claim.template);
    let is_own = *namespace == set.name.namespace && names.any(|(_, name)| name == claim.name);
    is_own.then(|| claim.clone())
}

/// One StatefulSet and its PVCs, without their usage; `None` if it does not exist.
///
/// # Errors
/// If the StatefulSet is malformed, or a request fails.
pub(crate) async fn snapshot_of(client: &Client, set: &SetName) -> Result<Option<(Value, Snapshot)>, Failure> {
    let Some(object) = client.get(&Address::set(set)).await? else { return Ok(None) };
    let view = read(&object).ok_or_else(|| malformed(set))?;
    let namespaces = [Some(set.namespace.as_str())];
    let classes = classes(client).await?;
    let claims = list(client, &CLAIMS, &namespaces, "").await?;
    let sets = [view];
    let claims = claims_of(&sets, &claims, &classes).into_iter().map(|(_, claim)| claim).collect();
    let [(set, ready)] = sets;
    let (readings, events) = (BTreeMap::new(), Vec::new());
    Ok(Some((object, Snapshot { set, ready, claims, readings, events, usage_denied: false })))
}

async fn sets(client: &Client, scope: &Scope) -> Result<Vec<(SetView, u32)>, Failure> {
    match scope {
        Scope::Managed(namespace) => {
            let sets = client.list(&STATEFUL_SETS, namespace.as_deref(), Selector::default()).await?;
            let mut sets: Vec<(SetView, u32)> = sets.items.iter().filter_map(read).collect();
            sets.retain(|(set, _)| Snapshot::is_managed(set));
            Ok(sets)
        }
        Scope::Named(names) => try_join_all(names.iter().map(|name| named(client, name))).await,
    }
}

async fn named(client: &Client, name: &SetName) -> Result<(SetView, u32), Failure> {
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

fn read(object: &Value) -> Option<(SetView, u32)> {
    let ready = object.pointer("/status/readyReplicas").and_then(Value::as_u64).unwrap_or(0);
    let set = SetView::of(&serde_json::from_value(object.clone()).ok()?)?;
    Some((set, u32::try_from(ready).unwrap_or(u32::MAX)))
}

async fn list(
    client: &Client,
    resource: &'static Resource,
    namespaces: &[Option<&str>],
    fields: &str,
) -> Result<Vec<Value>, Error> {
    let selector = Selector { labels: None, fields: Some(fields) };
    let lists = try_join_all(namespaces.iter().map(|namespace| client.list(resource, *namespace, selector))).await?;
    Ok(lists.into_iter().flat_map(|list| list.items).collect())
}

/// The StorageClasses by name; `None` if this user may not list them.
type Classes = Option<BTreeMap<String, Class>>;

/// The StorageClasses; `None` if this user may not list them, which is common for users with access to one namespace.
async fn classes(client: &Client) -> Result<Classes, Failure> {
    match client.list(&STORAGE_CLASSES, None, Selector::default()).await {
        Ok(list) => {
            let classes = list.items.iter().map(claims::class);
            Ok(Some(classes.map(|class| (class.name.clone(), class)).collect()))
        }
        Err(Error::NotAllowed { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The PVCs of the replicas of these StatefulSets. One that cannot be parsed is left out, as the operator does.
fn claims_of(sets: &[(SetView, u32)], objects: &[Value], classes: &Classes) -> Vec<(String, Claim)> {
    let text = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let keyed = |object: &'_ Value| {
        Some((text(object, "/metadata/namespace")?, ClaimName::new(text(object, "/metadata/name")?)))
    };
    let objects: BTreeMap<Key, &Value> = objects.iter().filter_map(|object| Some((keyed(object)?, object))).collect();
    let mut found = Vec::new();
    for (set, _) in sets {
        let namespace = &set.name.namespace;
        for template in &set.templates {
            for (_, name) in set.claims_of(&template.name) {
                let Some(object) = objects.get(&(namespace.clone(), name)) else { continue };
                let class = text(object, "/spec/storageClassName").and_then(|name| class(classes, name));
                let claim = claims::read(object, &set.name, &template.name, class);
                found.extend(claim.map(|claim| (namespace.clone(), claim)));
            }
        }
    }
    found
}

/// A StorageClass; if this user may not list them, one that allows expansion: the operator can list them, and decides.
fn class(classes: &Classes, name: String) -> Option<Class> {
    match classes {
        Some(classes) => classes.get(&name).cloned(),
        None => Some(Class { name, expandable: true, provisioner: String::new() }),
    }
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
async fn events(client: &Client, namespaces: &[Option<&str>]) -> Result<Vec<Value>, Failure> {
    let lists = ["regarding.kind=StatefulSet", "regarding.kind=PersistentVolumeClaim"];
    let lists = try_join_all(lists.map(|fields| list(client, &EVENTS, namespaces, fields))).await;
    match lists {
        Ok(lists) => Ok(lists.into_iter().flatten().collect()),
        Err(Error::NotAllowed { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn events_of(set: &SetView, events: &[Value]) -> Vec<EventStatus> {
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
    snapshot.claims.len() - snapshot.claims.iter().filter(is_known).count()
}
