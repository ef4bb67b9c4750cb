//! What is there? Reads sets with all that belongs to them: claims, pods, classes, Events, and how full the volumes are.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, try_join_all};
use serde_json::Value;

use super::compose::{self, Seen};
use super::measure::{Key, measure};
use crate::api::names::{ClaimName, SetName};
use crate::cli::failure::Failure;
use crate::cli::show::view::EventStatus;
use crate::cluster::claims;
use crate::cluster::client::resources::{CLAIMS, EVENTS, PODS, STATEFUL_SETS, STORAGE_CLASSES};
use crate::cluster::client::{Address, Client, Error, Resource, Selector};
use crate::cluster::sets::SetView;
use crate::policy::claim::{Claim, Class};

/// Which sets are meant.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// These, managed or not.
    Named(Vec<SetName>),
    /// The managed ones of a namespace, or of all.
    Managed(Option<String>),
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Picture {
    /// The sets, by namespace and name.
    pub(crate) sets: Vec<Seen>,
    /// What could not be seen, and what to do about it.
    pub(crate) hints: Vec<String>,
}

/// Looks at the sets and measures their volumes.
pub(crate) async fn look(client: &Client, scope: &Scope) -> Result<Picture, Failure> {
    let sets = sets(client, scope).await?;
    let namespaces: BTreeSet<&str> = sets.iter().map(|(set, _)| set.name.namespace.as_str()).collect();
    // One list of everything, or one for each namespace that matters.
    let places: Vec<Option<&str>> = match scope {
        Scope::Managed(None) if !sets.is_empty() => vec![None],
        Scope::Managed(_) | Scope::Named(_) => namespaces.into_iter().map(Some).collect(),
    };
    let classes = classes(client).await?;
    let (claims, pods) = join(list(client, &CLAIMS, &places, ""), list(client, &PODS, &places, "")).await;
    let claims = claims_of(&sets, &claims?, &classes);
    let by_key = claims.iter().map(|(namespace, claim)| ((namespace.clone(), claim.name.clone()), claim.clone()));
    let by_key: BTreeMap<Key, Claim> = by_key.collect();
    let (pods, forbidden) = allowed(pods)?;
    let (measured, events) = join(measure(client, &pods, &by_key), events(client, &places)).await;
    let events = events?;
    let seen = |(set, ready): (SetView, u32)| {
        let own = |(namespace, claim): &(String, Claim)| {
            let own =
                *namespace == set.name.namespace && set.claims_of(&claim.template).any(|(_, name)| name == claim.name);
            own.then(|| claim.clone())
        };
        let claims: Vec<Claim> = claims.iter().filter_map(own).collect();
        let readings = measured.of(&set.name, &claims);
        let events = events_of(&set, &events);
        Seen { set, ready, claims, readings, events, blind: measured.is_blind() || forbidden.is_some() }
    };
    let sets: Vec<Seen> = sets.into_iter().map(seen).collect();
    let missing = measured.missing_rights.iter().cloned().chain(forbidden);
    let hints = rights_hint(&sets, missing.collect());
    Ok(Picture { sets, hints })
}

/// One set with its claims; nothing is measured.
pub(crate) async fn look_at(client: &Client, set: &SetName) -> Result<Option<(Value, Seen)>, Failure> {
    let Some(object) = client.get(&Address::set(set)).await? else { return Ok(None) };
    let view =
        read(&object).ok_or_else(|| Failure::no(format!("failed to read StatefulSet {set}: it is malformed")))?;
    let places = [Some(set.namespace.as_str())];
    let classes = classes(client).await?;
    let claims = list(client, &CLAIMS, &places, "").await?;
    let sets = [view];
    let claims = claims_of(&sets, &claims, &classes).into_iter().map(|(_, claim)| claim).collect();
    let [(set, ready)] = sets;
    Ok(Some((object, Seen { set, ready, claims, readings: BTreeMap::new(), events: Vec::new(), blind: false })))
}

async fn sets(client: &Client, scope: &Scope) -> Result<Vec<(SetView, u32)>, Failure> {
    match scope {
        Scope::Managed(namespace) => {
            let sets = client.list(&STATEFUL_SETS, namespace.as_deref(), Selector::default()).await?;
            let mut sets: Vec<(SetView, u32)> = sets.items.iter().filter_map(read).collect();
            sets.retain(|(set, _)| Seen::is_managed(set));
            Ok(sets)
        }
        Scope::Named(names) => try_join_all(names.iter().map(|name| named(client, name))).await,
    }
}

async fn named(client: &Client, name: &SetName) -> Result<(SetView, u32), Failure> {
    let object = client.get(&Address::set(name)).await?.ok_or_else(|| absent(name))?;
    read(&object).ok_or_else(|| Failure::no(format!("failed to read StatefulSet {name}: it is malformed")))
}

/// There is no such set.
pub(crate) fn absent(name: &SetName) -> Failure {
    Failure::no(format!("there is no StatefulSet {name}")).hint(format!(
        "another namespace is named by -n; `rso backup list {} -n {}` tells whether it can be restored",
        name.name, name.namespace
    ))
}

fn read(object: &Value) -> Option<(SetView, u32)> {
    let ready = object.pointer("/status/readyReplicas").and_then(Value::as_u64).unwrap_or(0);
    let set = SetView::of(&serde_json::from_value(object.clone()).ok()?)?;
    Some((set, u32::try_from(ready).unwrap_or(u32::MAX)))
}

async fn list(
    client: &Client,
    resource: &'static Resource,
    places: &[Option<&str>],
    fields: &str,
) -> Result<Vec<Value>, Error> {
    let selector = Selector { labels: None, fields: Some(fields) };
    let lists = try_join_all(places.iter().map(|place| client.list(resource, *place, selector))).await?;
    Ok(lists.into_iter().flat_map(|list| list.items).collect())
}

/// The classes by name; `None` when nobody may know.
type Classes = Option<BTreeMap<String, Class>>;

/// The classes; `None` when this person may not read them, which people who own a namespace seldom may.
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

/// The claims of the replicas of these sets. One that cannot be read is left out, as the operator leaves it.
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

/// A class that cannot be read is taken for one that can grow: the operator, who can read it, will say otherwise.
fn class(classes: &Classes, name: String) -> Option<Class> {
    match classes {
        Some(classes) => classes.get(&name).cloned(),
        None => Some(Class { name, expandable: true, provisioner: String::new() }),
    }
}

/// Pods, or the right that is missing to read them.
fn allowed(pods: Result<Vec<Value>, Error>) -> Result<(Vec<Value>, Option<String>), Failure> {
    match pods {
        Ok(pods) => Ok((pods, None)),
        Err(Error::NotAllowed { call, .. }) => Ok((Vec::new(), Some(format!("{} {}", call.verb, call.resource)))),
        Err(error) => Err(error.into()),
    }
}

/// The Events about sets and claims; none when this person may not read them.
async fn events(client: &Client, places: &[Option<&str>]) -> Result<Vec<Value>, Failure> {
    let lists = ["regarding.kind=StatefulSet", "regarding.kind=PersistentVolumeClaim"];
    let lists = try_join_all(lists.map(|fields| list(client, &EVENTS, places, fields))).await;
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

/// Told once, and only if something is unknown for it.
fn rights_hint(sets: &[Seen], missing: BTreeSet<String>) -> Vec<String> {
    let unknown = |seen: &Seen| {
        let known = |claim: &&Claim| {
            matches!(seen.readings.get(&claim.name), Some(crate::policy::usage::Reading::Measured { .. }))
        };
        seen.claims.len() - seen.claims.iter().filter(known).count()
    };
    let unknown: usize = sets.iter().map(unknown).sum();
    if unknown == 0 || missing.is_empty() {
        return Vec::new();
    }
    let missing: Vec<String> = missing.into_iter().collect();
    vec![format!(
        "How full {unknown} of the volumes are is not shown: you lack the right to {}. The operator has its own rights.",
        missing.join(" and to ")
    )]
}
