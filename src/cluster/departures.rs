//! How were StatefulSets deleted that are gone, and which PVCs were to go with them? What a watch tells of it is told once,
//! so it is remembered for a while.
//!
//! The guards of a recreate keep the garbage collector from finding that out; see hazard 17 of `docs/recreate.md`.
//!
//! A PVC goes with its StatefulSet when it referred to it at the deletion. While it is guarded, the garbage collector
//! takes the reference off; a person who wants to keep the data does the same a moment before. Which of both it was,
//! the order of two writes tells: the one after which the reference was missing, and the deletion. A reference that
//! nobody is sure about was not there: data that stays can still be deleted.
//!
//! The order is that of the resourceVersions. Kubernetes promises it within one kind (KEP-5504, conformance from 1.35
//! on), and not between two. It holds there because both are revisions of one etcd, which counts all writes. Where
//! StatefulSets or PVCs have an etcd of their own (`--etcd-servers-overrides`), or the storage is something else, the
//! numbers have nothing to do with each other, and nothing that can be read says so. Then a larger one may be the
//! older: that is why the clock has to agree, and nothing counts that was missing long before the deletion was heard
//! of. What remains there is a reference taken off within the five seconds of `AHEAD` before.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ObjectMeta;
use kube::runtime::watcher::Event;

use crate::api::names::{ClaimName, SetName, Uid};
use crate::recreate::observed::{Departure, Dependent};

/// The finalizers that the API server adds for a propagation policy.
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Longer than guards stay.
const KEPT: Duration = Duration::from_secs(15 * 60);
/// By this much the watch of the PVCs may be ahead of that of the StatefulSets. More says that the resourceVersions of
/// the two are not comparable.
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
    guarded: HashMap<(String, ClaimName), Guarded>,
}

/// A guarded PVC, as the watch told.
#[derive(Debug, Default)]
struct Guarded {
    /// The StatefulSets that it refers to, or did.
    owners: HashMap<Uid, Reference>,
    /// Its resourceVersion.
    version: String,
}

/// The reference of a PVC to a StatefulSet.
#[derive(Clone, Copy, Debug)]
enum Reference {
    There,
    /// Missing, since this write.
    Missing(Moment),
}

/// A write that the watch told of.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// Its resourceVersion. `None`: not known.
    version: Option<u64>,
    /// When it was heard of.
    heard: Duration,
}

/// A StatefulSet on its way out.
#[derive(Clone, Copy, Debug, Default)]
struct Going {
    orphaned: bool,
    /// Since when it has been deleted in the foreground.
    foreground: Option<Moment>,
}

/// What is remembered of one that went.
#[derive(Clone, Debug)]
struct Gone {
    uid: Uid,
    is_orphaned: bool,
    resource_version: String,
    /// From when on the garbage collector takes references to it off.
    deleted: Moment,
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

    /// Whether the watch has told of this state of a PVC, or of a later one. Until it has, a reference that is missing may
    /// count as there.
    pub(super) fn knows(&self, namespace: &str, claim: &Dependent) -> bool {
        let state = self.lock();
        let known = state.guarded.get(&(namespace.to_owned(), ClaimName::new(claim.name.as_str())));
        let number = |version: &str| version.parse::<u64>().ok();
        known.is_none_or(|known| {
            let is_later =
                number(&known.version).zip(number(&claim.resource_version)).is_some_and(|(told, read)| told >= read);
            is_later || known.version == claim.resource_version
        })
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
            Event::Apply(claim) => self.lock().refers(&claim.metadata, Moment::of(&claim.metadata, now)),
            // Of a list only the last write is known. The one that took the reference off may be an older one.
            Event::InitApply(claim) => self.lock().refers(&claim.metadata, Moment { version: None, heard: now }),
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
            let going = self.going.entry(uid).or_default();
            let has = |finalizer| set.metadata.finalizers.iter().flatten().any(|name| name == finalizer);
            going.orphaned |= has(ORPHAN);
            if has(FOREGROUND) {
                // From a list it may be that of a later write: then fewer references count.
                going.foreground.get_or_insert(Moment::of(&set.metadata, now));
            }
        }
    }

    fn went(&mut self, set: &StatefulSet, now: Duration) {
        let Some((name, uid)) = identity(&set.metadata) else { return };
        let Going { orphaned, foreground } = self.going.remove(&uid).unwrap_or_default();
        let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
        let takes_claims = policy.and_then(|policy| policy.when_deleted.as_deref()) == Some("Delete");
        // Without a timestamp there was no finalizer: it was deleted at once, in the background. The resourceVersion in
        // the event is that of the deletion.
        let is_sure = set.metadata.deletion_timestamp.is_none() || foreground.is_some();
        let deleted = foreground.unwrap_or_else(|| Moment::of(&set.metadata, now));
        self.gone.retain(|_, gone| gone.is_kept(now));
        if orphaned || takes_claims && is_sure {
            let resource_version = set.metadata.resource_version.clone().unwrap_or_default();
            let gone = Gone { uid, is_orphaned: orphaned, resource_version, deleted, at: now };
            self.gone.insert(name, gone);
        }
    }

    fn refers(&mut self, claim: &ObjectMeta, written: Moment) {
        let Some(key) = claim_key(claim) else { return };
        let owners = || claim.owner_references.iter().flatten();
        if !owners().any(|owner| owner.kind == "Namespace") {
            self.guarded.remove(&key);
            return;
        }
        let sets: BTreeSet<&str> =
            owners().filter(|owner| owner.kind == "StatefulSet").map(|owner| owner.uid.as_str()).collect();
        let known = self.guarded.entry(key).or_default();
        known.version = claim.resource_version.clone().unwrap_or_default();
        let known = &mut known.owners;
        for (_, reference) in known.iter_mut().filter(|(uid, _)| !sets.contains(uid.as_str())) {
            if matches!(reference, Reference::There) {
                *reference = Reference::Missing(written);
            }
        }
        known.extend(sets.into_iter().map(|uid| (Uid::new(uid), Reference::There)));
    }

    /// The guarded PVCs that referred to a StatefulSet when it was deleted.
    fn referring(&self, namespace: &str, gone: &Gone) -> BTreeSet<ClaimName> {
        let referred = |known: &Guarded| match known.owners.get(&gone.uid) {
            Some(Reference::Missing(since)) => since.is_after(gone.deleted),
            Some(Reference::There) => true,
            None => false,
        };
        let claims = self.guarded.iter().filter(|((of, _), known)| of == namespace && referred(known));
        claims.map(|((_, claim), _)| claim.clone()).collect()
    }
}

impl Moment {
    fn of(meta: &ObjectMeta, heard: Duration) -> Self {
        Self { version: meta.resource_version.as_ref().and_then(|version| version.parse().ok()), heard }
    }

    /// Whether this write is surely the later one.
    fn is_after(self, other: Self) -> bool {
        let by_version = self.version.zip(other.version).is_some_and(|(ours, theirs)| ours > theirs);
        by_version && self.heard + AHEAD >= other.heard
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

    /// The PVC of ordinal 0, written with these owners.
    fn claim(version: &str, owners: &[&str]) -> PersistentVolumeClaim {
        let owner = |owner: &&str| {
            let (kind, uid) = owner.split_once('/').unwrap();
            json!({"apiVersion": "v1", "kind": kind, "name": "x", "uid": uid})
        };
        let owners: Vec<Value> = owners.iter().map(owner).collect();
        let mut meta = json!({"namespace": "shop", "name": "data-db-0", "ownerReferences": owners});
        meta["resourceVersion"] = json!(version);
        serde_json::from_value(json!({"metadata": meta, "spec": {}})).unwrap()
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

    const OWNED: &[&str] = &["Namespace/shop", "StatefulSet/new"];
    const GUARDED: &[&str] = &["Namespace/shop"];

    /// The claims that went with the set, whose deletion has the resourceVersion 7, after these events of its PVC.
    fn gone_with(events: impl IntoIterator<Item = Event<PersistentVolumeClaim>>) -> Departure {
        let departures = Departures::default();
        events.into_iter().for_each(|event| departures.claim(&event, NOW));
        departures.set(&Event::Delete(set("Delete", &json!({}))), NOW);
        of(&departures)
    }

    #[test]
    fn the_claims_are_those_that_referred_to_it_when_it_was_deleted() {
        let check = |events: &[(&str, &[&str])], expected: &[&str]| {
            let told = events.iter().map(|(version, owners)| Event::Apply(claim(version, owners)));
            assert_eq!(gone_with(told), with_claims(expected), "{events:?}");
        };
        check(&[("5", OWNED)], &["data-db-0"]);
        // The garbage collector was faster than the news; and somebody who took it off before, to keep the data.
        check(&[("5", OWNED), ("8", GUARDED)], &["data-db-0"]);
        check(&[("5", OWNED), ("6", GUARDED)], &[]);
        // What counts is the first write without it, and the last with it.
        check(&[("4", OWNED), ("5", GUARDED), ("8", GUARDED)], &[]);
        check(&[("3", OWNED), ("4", GUARDED), ("5", OWNED), ("8", GUARDED)], &["data-db-0"]);
        // Numbers, not text; and what is none says nothing.
        check(&[("5", OWNED), ("10", GUARDED)], &["data-db-0"]);
        check(&[("5", OWNED), ("later", GUARDED)], &[]);
        check(&[("5", OWNED), ("", GUARDED)], &[]);
        // One that it never owned, and one that has no guard.
        check(&[("8", GUARDED)], &[]);
        check(&[("5", &["Namespace/shop", "StatefulSet/old"])], &[]);
        check(&[("5", OWNED), ("8", &["StatefulSet/new"])], &[]);
    }

    #[test]
    fn in_the_foreground_the_garbage_collector_begins_long_before_the_set_is_gone() {
        let check = |written: &str, expected: &[&str]| {
            let departures = Departures::default();
            let leaving = |version: &str, finalizers: &Value| {
                let mut meta = leaving(finalizers);
                meta["resourceVersion"] = json!(version);
                set("Delete", &meta)
            };
            departures.claim(&Event::Apply(claim("10", OWNED)), NOW);
            departures.set(&Event::Apply(leaving("20", &json!(["foregroundDeletion"]))), NOW);
            departures.claim(&Event::Apply(claim(written, GUARDED)), NOW);
            departures.set(&Event::Apply(leaving("30", &json!(["foregroundDeletion"]))), NOW);
            departures.set(&Event::Delete(leaving("40", &json!([]))), NOW + AHEAD * 9);
            assert_eq!(of_at(&departures, NOW + AHEAD * 9), with_claims(expected), "{written}");
            assert_eq!(departures.of(&db(), NOW).unwrap().resource_version, "40");
        };
        check("21", &["data-db-0"]);
        check("19", &[]);
    }

    #[test]
    fn a_list_does_not_say_which_write_took_the_reference_off() {
        let [owned, later] = [claim("5", OWNED), claim("8", GUARDED)];
        let relisted = |last| [Event::Apply(owned.clone()), Event::Init, Event::InitApply(last), Event::InitDone];
        assert_eq!(gone_with(relisted(owned.clone())), with_claims(&["data-db-0"]));
        // Written again after the deletion, by whomever: somebody may have taken it off before.
        assert_eq!(gone_with(relisted(later)), with_claims(&[]));
    }

    #[test]
    fn where_the_clock_contradicts_the_resource_versions_are_of_different_stores_and_all_is_forgotten_in_time() {
        let departures = Departures::default();
        departures.claim(&Event::Apply(claim("5", OWNED)), NOW - AHEAD * 3);
        departures.claim(&Event::Apply(claim("8", GUARDED)), NOW - AHEAD * 2);
        departures.set(&Event::Delete(set("Delete", &json!({}))), NOW);
        assert_eq!(of(&departures), with_claims(&[]));
        assert_eq!(of_at(&departures, NOW + KEPT), Departure::Unknown);
    }

    #[test]
    fn what_was_read_is_known_once_the_watch_has_told_of_it() {
        let departures = Departures::default();
        let read = |version: &str| Dependent {
            kind: crate::recreate::observed::Kind::Claim,
            name: "data-db-0".to_owned(),
            uid: Uid::new("claim"),
            resource_version: version.to_owned(),
            owners: Vec::new(),
            revision: None,
            labels: std::collections::BTreeMap::new(),
            deleting: false,
            owners_changed: None,
        };
        assert!(departures.knows("shop", &read("8")), "it is not guarded, as far as the watch has told");
        departures.claim(&Event::Apply(claim("9", &["Namespace/shop", "StatefulSet/new"])), NOW);
        for (version, expected) in [("8", true), ("9", true), ("10", false)] {
            assert_eq!(departures.knows("shop", &read(version)), expected, "{version}");
        }
    }
}
