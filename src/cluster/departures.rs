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
mod tests;
