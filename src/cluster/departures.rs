//! How were StatefulSets deleted that are gone, and which PVCs were to go with them? What a watch tells of it is told once,
//! so it is remembered for a while.
//!
//! The guards of a recreate keep the garbage collector from finding that out; see hazard 17 of `docs/recreate.md`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ObjectMeta;
use kube::runtime::watcher::Event;

use crate::api::names::{ClaimName, SetName, Uid};
use crate::recreate::observed::Departure;

/// The finalizers that the API server adds for a propagation policy.
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Longer than guards stay.
const KEPT: Duration = Duration::from_secs(15 * 60);
/// By this much the watch of the PVCs may be ahead of that of the StatefulSets.
const AHEAD: Duration = Duration::from_secs(5);

/// A StatefulSet that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How it was deleted.
    pub departure: Departure,
    /// That of its deletion.
    pub resource_version: String,
}

/// The StatefulSets that went, as the watch told. Times are those since boot.
#[derive(Debug, Default)]
pub struct Departures(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    going: HashMap<Uid, Going>,
    gone: HashMap<SetName, Gone>,
    /// The PVCs that are guarded, by namespace and name.
    guarded: HashMap<(String, ClaimName), Owners>,
}

/// The StatefulSets that a PVC refers to; with a time, until then.
type Owners = HashMap<Uid, Option<Duration>>;

/// A StatefulSet on its way out.
#[derive(Clone, Copy, Debug)]
struct Going {
    since: Duration,
    orphaned: bool,
    foreground: bool,
}

/// What is remembered of one that went.
#[derive(Clone, Debug)]
struct Gone {
    uid: Uid,
    is_orphaned: bool,
    resource_version: String,
    since: Duration,
    at: Duration,
}

impl Departures {
    /// How the StatefulSet of this name went, if it is gone and that was seen.
    pub fn of(&self, set: &SetName, now: Duration) -> Option<Seen> {
        let state = self.lock();
        let gone = state.gone.get(set).filter(|gone| gone.is_kept(now))?;
        let departure = if gone.is_orphaned {
            Departure::Orphaned
        } else {
            Departure::WithClaims { uid: gone.uid.clone(), claims: state.referring(&set.namespace, gone) }
        };
        Some(Seen { departure, resource_version: gone.resource_version.clone() })
    }

    /// Takes in what the watch of the StatefulSets tells.
    pub(super) fn set(&self, event: &Event<StatefulSet>, now: Duration) {
        let mut state = self.lock();
        match event {
            Event::Apply(set) | Event::InitApply(set) => state.is_there(set, now),
            Event::Delete(set) => state.went(set, now),
            // Who vanishes between two lists went unseen.
            Event::Init => state.going.clear(),
            Event::InitDone => {}
        }
    }

    /// Takes in what the watch of the PVCs tells.
    pub(super) fn claim(&self, event: &Event<PersistentVolumeClaim>, now: Duration) {
        match event {
            Event::Apply(claim) | Event::InitApply(claim) => self.lock().refers(&claim.metadata, now),
            Event::Delete(claim) => {
                claim_key(&claim.metadata).and_then(|key| self.lock().guarded.remove(&key));
            }
            Event::Init | Event::InitDone => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_there(&mut self, set: &StatefulSet, now: Duration) {
        let Some((name, uid)) = identity(&set.metadata) else { return };
        self.gone.remove(&name);
        if set.metadata.deletion_timestamp.is_some() {
            let going = self.going.entry(uid).or_insert_with(|| Going::since(now));
            let has = |finalizer| set.metadata.finalizers.iter().flatten().any(|name| name == finalizer);
            going.orphaned |= has(ORPHAN);
            going.foreground |= has(FOREGROUND);
        }
    }

    fn went(&mut self, set: &StatefulSet, now: Duration) {
        let Some((name, uid)) = identity(&set.metadata) else { return };
        let Going { since, orphaned, foreground } = self.going.remove(&uid).unwrap_or_else(|| Going::since(now));
        let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
        let takes_claims = policy.and_then(|policy| policy.when_deleted.as_deref()) == Some("Delete");
        // Without a timestamp there was no finalizer: it was deleted at once, in the background.
        let is_sure = set.metadata.deletion_timestamp.is_none() || foreground;
        self.gone.retain(|_, gone| gone.is_kept(now));
        if orphaned || takes_claims && is_sure {
            let resource_version = set.metadata.resource_version.clone().unwrap_or_default();
            let gone = Gone { uid, is_orphaned: orphaned, resource_version, since, at: now };
            self.gone.insert(name, gone);
        }
    }

    fn refers(&mut self, claim: &ObjectMeta, now: Duration) {
        let Some(key) = claim_key(claim) else { return };
        let owners = || claim.owner_references.iter().flatten();
        if !owners().any(|owner| owner.kind == "Namespace") {
            self.guarded.remove(&key);
            return;
        }
        let sets: BTreeSet<&str> =
            owners().filter(|owner| owner.kind == "StatefulSet").map(|owner| owner.uid.as_str()).collect();
        let known = self.guarded.entry(key).or_default();
        let former = known.iter_mut().filter(|(uid, _)| !sets.contains(uid.as_str()));
        former.for_each(|(_, until)| *until = until.or_else(|| Some(now)));
        known.extend(sets.into_iter().map(|uid| (Uid::new(uid), None)));
    }

    /// The guarded PVCs that referred to a StatefulSet when it was deleted. The garbage collector takes such a reference off.
    fn referring(&self, namespace: &str, gone: &Gone) -> BTreeSet<ClaimName> {
        let referred = |owners: &Owners| match owners.get(&gone.uid) {
            Some(Some(until)) => *until + AHEAD >= gone.since,
            Some(None) => true,
            None => false,
        };
        let claims = self.guarded.iter().filter(|((of, _), owners)| of == namespace && referred(owners));
        claims.map(|((_, claim), _)| claim.clone()).collect()
    }
}

impl Going {
    const fn since(since: Duration) -> Self {
        Self { since, orphaned: false, foreground: false }
    }
}

impl Gone {
    fn is_kept(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) < KEPT
    }
}

fn identity(meta: &ObjectMeta) -> Option<(SetName, Uid)> {
    Some((SetName::new(meta.namespace.clone()?, meta.name.clone()?), Uid::new(meta.uid.clone()?)))
}

fn claim_key(meta: &ObjectMeta) -> Option<(String, ClaimName)> {
    Some((meta.namespace.clone()?, ClaimName::new(meta.name.clone()?)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(when_deleted: &str, metadata: &Value) -> StatefulSet {
        let mut object = json!({
            "metadata": {"namespace": "shop", "name": "db", "uid": "new", "resourceVersion": "7"},
            "spec": {"serviceName": "", "selector": {}, "template": {}, "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": when_deleted, "whenScaled": "Retain"
            }}
        });
        object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        serde_json::from_value(object).unwrap()
    }

    fn leaving(finalizers: &Value) -> Value {
        json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers})
    }

    /// An event of the PVC of ordinal 0, with these owners.
    fn claim(owners: &[&str]) -> Event<PersistentVolumeClaim> {
        let owner = |owner: &&str| {
            let (kind, uid) = owner.split_once('/').unwrap();
            json!({"apiVersion": "v1", "kind": kind, "name": "x", "uid": uid})
        };
        let owners: Vec<Value> = owners.iter().map(owner).collect();
        let meta = json!({"namespace": "shop", "name": "data-db-0", "ownerReferences": owners});
        Event::Apply(serde_json::from_value(json!({"metadata": meta, "spec": {}})).unwrap())
    }

    fn db() -> SetName {
        SetName::new("shop", "db")
    }

    const NOW: Duration = Duration::from_secs(100);

    fn of(departures: &Departures) -> Departure {
        of_at(departures, NOW)
    }

    fn of_at(departures: &Departures, now: Duration) -> Departure {
        departures.of(&db(), now).map_or(Departure::Unknown, |seen| seen.departure)
    }

    fn after(events: impl IntoIterator<Item = Event<StatefulSet>>) -> Departure {
        let departures = Departures::default();
        events.into_iter().for_each(|event| departures.set(&event, NOW));
        of(&departures)
    }

    fn with_claims(claims: &[&str]) -> Departure {
        Departure::WithClaims {
            uid: Uid::new("new"),
            claims: claims.iter().map(|name| ClaimName::new(*name)).collect(),
        }
    }

    #[test]
    fn a_set_deleted_at_once_takes_its_claims_along_where_its_policy_says_so() {
        let gone = |policy| Event::Delete(set(policy, &json!({})));
        assert_eq!(after([gone("Delete")]), with_claims(&[]));
        assert_eq!(after([gone("Retain")]), Departure::Unknown);
    }

    #[test]
    fn in_the_foreground_it_does_too_and_orphaned_it_does_not() {
        let went = |finalizer: &str| {
            let on_its_way = |finalizers: &Value| set("Delete", &leaving(finalizers));
            let last = on_its_way(&json!([]));
            [Event::Apply(on_its_way(&json!([finalizer]))), Event::Apply(last.clone()), Event::Delete(last)]
        };
        assert_eq!(after(went("foregroundDeletion")), with_claims(&[]));
        assert_eq!(after(went("orphan")), Departure::Orphaned);
        // Somebody's own finalizer: beside it another may have come and gone unseen.
        assert_eq!(after(went("example.com/mine")), Departure::Unknown);
    }

    #[test]
    fn what_is_there_again_or_was_missed_is_not_remembered() {
        let gone = || Event::Delete(set("Delete", &json!({})));
        assert_eq!(after([gone(), Event::Apply(set("Delete", &json!({"uid": "newer"})))]), Departure::Unknown);
        let foreground = Event::Apply(set("Delete", &leaving(&json!(["foregroundDeletion"]))));
        let relisted = [foreground, Event::Init, Event::InitDone, Event::Delete(set("Delete", &leaving(&json!([]))))];
        assert_eq!(after(relisted), Departure::Unknown);
    }

    #[test]
    fn the_claims_are_those_that_referred_to_it_when_it_was_deleted() {
        let check = |events: &[&[&str]], expected: &[&str]| {
            let departures = Departures::default();
            events.iter().for_each(|owners| departures.claim(&claim(owners), NOW));
            departures.set(&Event::Delete(set("Delete", &json!({}))), NOW);
            assert_eq!(of(&departures), with_claims(expected), "{events:?}");
        };
        check(&[&["Namespace/shop", "StatefulSet/new"]], &["data-db-0"]);
        // The garbage collector was faster than the news.
        check(&[&["Namespace/shop", "StatefulSet/new"], &["Namespace/shop"]], &["data-db-0"]);
        // One that it never owned, and one that has no guard.
        check(&[&["Namespace/shop"]], &[]);
        check(&[&["Namespace/shop", "StatefulSet/old"]], &[]);
        check(&[&["Namespace/shop", "StatefulSet/new"], &["StatefulSet/new"]], &[]);
    }

    #[test]
    fn a_claim_that_it_gave_up_before_is_not_its_own_and_all_is_forgotten_in_time() {
        let departures = Departures::default();
        departures.claim(&claim(&["Namespace/shop", "StatefulSet/new"]), NOW - AHEAD * 3);
        departures.claim(&claim(&["Namespace/shop"]), NOW - AHEAD * 2);
        departures.set(&Event::Delete(set("Delete", &json!({}))), NOW);
        assert_eq!(of(&departures), with_claims(&[]));
        assert_eq!(of_at(&departures, NOW + KEPT), Departure::Unknown);
    }
}
