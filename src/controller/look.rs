//! What is there of one set? A look into the caches: no request, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::memory::Memories;

use crate::api::names::{ClaimName, SetName, TemplateName};
use crate::cluster::claims::{self, ReadError};
use crate::cluster::sets::SetView;
use crate::cluster::watch::Cache;
use crate::policy::claim::{Claim, Class};

/// A set with its claims.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The set.
    pub set: SetView,
    /// The claims of its replicas, by template, in the order of the ordinals.
    pub claims: BTreeMap<TemplateName, Vec<Claim>>,
    /// Claims that have a name of the set's but cannot be read: they are left alone.
    pub unreadable: Vec<String>,
}

/// Looks at a set. `None`: there is none of that name.
pub(super) fn look(cache: &Cache, name: &SetName) -> Option<Seen> {
    let set = SetView::of(cache.set(name)?.as_ref())?;
    let mut seen = Seen { claims: BTreeMap::new(), unreadable: Vec::new(), set };
    for template in seen.set.template_names() {
        let names: Vec<ClaimName> = seen.set.claims_of(&template).map(|(_, claim)| claim).collect();
        let found = names.iter().filter_map(|claim| cache.claim(&name.namespace, claim));
        let read: Vec<_> = found.map(|claim| read(cache, &seen.set.name, &template, &claim)).collect();
        let claims = read.into_iter().filter_map(|claim| seen.keep(claim)).collect();
        seen.claims.insert(template, claims);
    }
    Some(seen)
}

/// The claims that scaling down has left. A walk over all claims, so it is done only when something is about to change.
pub(super) fn leftovers(cache: &Cache, set: &SetView, template: &TemplateName) -> Vec<Claim> {
    let found = cache.leftovers(&set.name, template, &set.ordinals);
    found.iter().filter_map(|claim| read(cache, &set.name, template, claim).ok()).collect()
}

impl Seen {
    /// Whether scaling down has made a pod the owner of a claim that a recreate still guards. The same walk.
    pub(super) fn has_guarded_leftover(&self, cache: &Cache) -> bool {
        let owned_by = |claim: &PersistentVolumeClaim, kind| {
            claim.metadata.owner_references.iter().flatten().any(|owner| owner.kind == kind)
        };
        let is_guarded = |claim: &Arc<PersistentVolumeClaim>| owned_by(claim, "Namespace") && owned_by(claim, "Pod");
        let of = |template: &TemplateName| cache.leftovers(&self.set.name, template, &self.set.ordinals);
        self.set.template_names().iter().any(|template| of(template).iter().any(is_guarded))
    }

    /// Adds what this leader remembers of its claims' growths: an annotation may have been taken off.
    pub(super) fn remember_growths(&mut self, memories: &Memories, now: Timestamp) {
        for claim in self.claims.values_mut().flatten() {
            if let Some(at) = memories.grown_at(&claim.uid) {
                claim.remember_growth(at, now);
            }
        }
    }

    fn keep(&mut self, claim: Result<Claim, ReadError>) -> Option<Claim> {
        claim.map_err(|error| self.unreadable.push(error.to_string())).ok()
    }
}

fn read(
    cache: &Cache,
    set: &SetName,
    template: &TemplateName,
    claim: &Arc<PersistentVolumeClaim>,
) -> Result<Claim, ReadError> {
    claims::read_typed(claim, set, template, class_of(cache, claim))
}

fn class_of(cache: &Cache, claim: &PersistentVolumeClaim) -> Option<Class> {
    let name = claims::class_name(claim)?;
    match cache.class(name) {
        Some(class) => Some(claims::class_typed(&class)),
        None if cache.reads_classes() => None,
        None => Some(claims::class_unread(claim, name)),
    }
}
