//! Records of how StatefulSets were deleted, and which PVCs were to be deleted with them. A watch reports each deletion
//! once, so this module remembers it for a while.
//!
//! The protective owner references of a recreation prevent the garbage collector from determining this; see hazard 17
//! of `docs/recreate.md`.
//!
//! A PVC is deleted with its StatefulSet if it referred to the StatefulSet at the deletion. While the PVC has a
//! protective owner reference, the garbage collector removes the reference to the StatefulSet; a user who wants to keep
//! the data removes it too, a moment before the deletion. The order of two writes distinguishes the two cases: the
//! write after which the reference was missing, and the deletion. A reference that is uncertain counts as missing: a
//! PVC that is kept can still be deleted.
//!
//! The resourceVersions give the order. Kubernetes guarantees it within one kind (KEP-5504, conformance from 1.35 on),
//! but not between two kinds. Between StatefulSets and PVCs it holds because both are revisions of one etcd, which
//! counts all writes. Where StatefulSets or PVCs have an etcd of their own (`--etcd-servers-overrides`), or the storage
//! is not etcd, the numbers are unrelated, and nothing that can be read says so. Then a larger number may be the older
//! one. Therefore the clock has to agree, and a reference that was missing long before the watch reported the deletion
//! does not count. What remains there is a reference that was removed within the five seconds of `AHEAD` before.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::runtime::watcher::Event;

use super::item::Item;
use crate::api::names::{ClaimName, SetName, Uid};
use crate::api::received::{Meta, PersistentVolumeClaim, StatefulSet};
use crate::recreate::dependent::Dependent;
use crate::recreate::observed::Departure;

/// The finalizers that the API server adds for a propagation policy.
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// How long a deletion is remembered: longer than the protective owner references exist.
const KEPT: Duration = Duration::from_secs(15 * 60);
/// How far the watch of the PVCs may be ahead of the watch of the StatefulSets. A larger difference means that the
/// resourceVersions of the two are not comparable.
const AHEAD: Duration = Duration::from_secs(5);

/// A StatefulSet that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How it was deleted.
    pub departure: Departure,
    /// The resourceVersion of its deletion.
    pub resource_version: String,
}

/// The StatefulSets whose deletion the watch reported. Times are since boot.
#[derive(Debug, Default)]
pub struct Departures(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    going: HashMap<Uid, Going>,
    gone: HashMap<SetName, Gone>,
    /// The PVCs that have a protective owner reference, by namespace and name.
    guarded: HashMap<(String, ClaimName), Guarded>,
}

/// A PVC with a protective owner reference, as the watch reported it.
#[derive(Debug, Default)]
struct Guarded {
    /// The StatefulSets that it refers to or referred to.
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

/// A write that the watch reported.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// Its resourceVersion; `None` if unknown.
    version: Option<u64>,
    /// When the watch reported it.
    heard: Duration,
}

/// A StatefulSet that is being deleted.
#[derive(Clone, Copy, Debug, Default)]
struct Going {
    orphaned: bool,
    /// When its foreground deletion began.
    foreground: Option<Moment>,
}

/// What is remembered of a deleted StatefulSet.
#[derive(Clone, Debug)]
struct Gone {
    uid: Uid,
    is_orphaned: bool,
    resource_version: String,
    /// When the garbage collector begins to remove references to it.
    deleted: Moment,
    at: Duration,
}

impl Departures {
    /// How the StatefulSet with this name was deleted, if it no longer exists and the watch reported the deletion.
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

    /// Whether the watch has reported this state of a PVC, or a later one. Until then, a missing reference may count as
    /// present.
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

    /// Records what the watch of the StatefulSets reports.
    pub(super) fn set(&self, event: &Event<Item<StatefulSet>>, now: Duration) {
        let mut state = self.lock();
        match event {
            Event::Apply(set) | Event::InitApply(set) => state.is_there(&set.fields, now),
            Event::Delete(set) => state.went(&set.fields, now),
            // The watch does not report a StatefulSet that disappears between two lists.
            Event::Init => state.going.clear(),
            Event::InitDone => {}
        }
    }

    /// Records what the watch of the PVCs reports.
    pub(super) fn claim(&self, event: &Event<Item<PersistentVolumeClaim>>, now: Duration) {
        match event {
            Event::Apply(Item { fields, .. }) => {
                self.lock().refers(&fields.metadata, Moment::of(&fields.metadata, now));
            }
            // A list has only the last write of a PVC. The write that removed the reference may be an older one.
            Event::InitApply(Item { fields, .. }) => {
                self.lock().refers(&fields.metadata, Moment { version: None, heard: now });
            }
            Event::Delete(Item { fields, .. }) => {
                claim_key(&fields.metadata).and_then(|key| self.lock().guarded.remove(&key));
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
            let has = |finalizer| set.metadata.has_finalizer(finalizer);
            going.orphaned |= has(ORPHAN);
            if has(FOREGROUND) {
                // In a list, it may be the version of a later write: then fewer references count.
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

    fn refers(&mut self, claim: &Meta, written: Moment) {
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

    /// The PVCs with a protective owner reference that referred to a StatefulSet when it was deleted.
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
    fn of(meta: &Meta, heard: Duration) -> Self {
        Self { version: meta.resource_version.as_ref().and_then(|version| version.parse().ok()), heard }
    }

    /// Whether this write is certainly the later one.
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

fn identity(meta: &Meta) -> Option<(SetName, Uid)> {
    Some((SetName::new(meta.namespace.clone()?, meta.name.clone()?), Uid::new(meta.uid.clone()?)))
}

fn claim_key(meta: &Meta) -> Option<(String, ClaimName)> {
    Some((meta.namespace.clone()?, ClaimName::new(meta.name.clone()?)))
}

#[cfg(test)]
mod tests;
