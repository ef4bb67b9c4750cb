//! The protective owner references of PVCs: which PVC gets one, and when it is removed again.

use serde_json::{Value, json};

use super::super::dependent::Claim;
use super::super::observed::{Departure, Live, Observed};
use super::super::set::{LiveSet, WhenDeleted};
use super::super::step::{OwnersChange, Step};
use super::{Transaction, set_owners};
use crate::api::names::{ClaimName, Uid};

impl Transaction<'_> {
    /// Restores the owner references of retained PVCs of scaled-down replicas once `whenDeleted: Delete` is in force
    /// again: these PVCs belong to the StatefulSet as before. No other component restores them, because the StatefulSet
    /// controller only manages the PVCs of Pods.
    pub(super) fn restore_owner(&self, live: &LiveSet) -> Option<Step> {
        let is_leftover = |claim: &&Claim| {
            let name = ClaimName::new(claim.object.name.as_str());
            self.journal.owned.contains(&name)
                && !live.spec.has_pod_for(&name, &self.seen.set)
                && !claim.object.refers_to(&live.uid)
                && claim.is_protected_by(&self.seen.namespace.uid)
        };
        if live.spec.when_deleted != WhenDeleted::Delete {
            return None;
        }
        let claim = self.seen.claims.iter().find(is_leftover)?;
        let owners = claim.object.owners.iter().cloned().chain([owner_of(self.seen, &live.uid)]).collect();
        Some(set_owners(&claim.object, owners, OwnersChange::Restore))
    }
}

/// Removes the protective owner reference of a PVC that is deleted with its Pod, because the StatefulSet is scaled down
/// with `whenScaled: Delete`: the StatefulSet controller has made the Pod the owner of the PVC.
pub(super) fn remove_protection_of_scaled_down(seen: &Observed) -> Option<Step> {
    let live = seen.live().filter(|live| {
        live.deleting.is_none() && live.object["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Delete"
    })?;
    let goes = |claim: &&Claim| {
        let has_pod = live.spec.has_pod_for(&claim.object.name.as_str().into(), &seen.set);
        let is_owned_by_it = claim.object.owners.iter().any(|owner| owner["kind"] == "Pod");
        !has_pod && is_owned_by_it && claim.is_protected_by(&seen.namespace.uid)
    };
    seen.claims.iter().find(goes).map(|claim| unprotect(seen, claim))
}

/// Removes a protective owner reference, and with it what a controller with a stale cache has written in the meantime:
/// a reference to a StatefulSet of this name that no longer exists. With only such a reference, the garbage collector
/// would delete the PVC.
///
/// That deletion is intended if the StatefulSet was deleted with its PVCs. While the PVC had the protective owner
/// reference, the garbage collector removed the reference to the StatefulSet instead; this function restores it, and
/// the garbage collector then deletes the PVC.
pub(super) fn remove_protection(seen: &Observed) -> Option<Step> {
    seen.claims.iter().find(|claim| claim.is_protected_by(&seen.namespace.uid)).map(|claim| unprotect(seen, claim))
}

pub(super) fn unprotect(seen: &Observed, claim: &Claim) -> Step {
    let protective = protective_owner(seen);
    let is_stale = |owner: &Value| {
        let ours = owner["kind"] == "StatefulSet" && owner["name"] == seen.set.name.as_str();
        // If the StatefulSet no longer exists, the client that deleted it has decided about its PVCs.
        ours && match &seen.live {
            Live::Present(live) => owner["uid"] != live.uid.as_str(),
            Live::Absent => seen.departure == Departure::Orphaned,
        }
    };
    let stays = |owner: &&Value| owner["uid"] != protective["uid"] && !is_stale(owner);
    let departed = departed_with(seen, claim).filter(|uid| !claim.object.refers_to(uid));
    let owners = claim.object.owners.iter().filter(stays).cloned().chain(departed.map(|uid| owner_of(seen, uid)));
    set_owners(&claim.object, owners.collect(), OwnersChange::Unprotect)
}

/// The StatefulSet that was deleted together with this PVC and does not exist again.
fn departed_with<'a>(seen: &'a Observed, claim: &Claim) -> Option<&'a Uid> {
    match (&seen.live, &seen.departure) {
        (Live::Absent, Departure::WithClaims { uid, claims })
            if claims.contains(&ClaimName::new(claim.object.name.as_str())) =>
        {
            Some(uid)
        }
        (Live::Absent | Live::Present(_), _) => None,
    }
}

/// The reference that the StatefulSet controller gives to a PVC with `whenDeleted: Delete`.
pub(super) fn owner_of(seen: &Observed, uid: &Uid) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": seen.set.name,
        "uid": uid.as_str(),
    })
}

pub(super) fn protective_owner(seen: &Observed) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "name": seen.set.namespace,
        "uid": seen.namespace.uid.as_str(),
    })
}
