//! What the caches say about the StatefulSet that an object belongs to; no request is sent.

use std::collections::BTreeSet;

use serde_json::Value;

use super::floor::Siblings;
use crate::api::names::{ClaimName, SetName, TemplateName, Uid};
use crate::cluster::watch::Cache;
use crate::policy::settings::{Auto, Limits, Settings};
use crate::workload::group::VolumeGroup;
use crate::workload::statefulset::{StatefulSetView, Template};

/// The other PVCs of the template that a new PVC belongs to; none unless exactly one managed StatefulSet can have a PVC
/// of that name.
pub fn siblings(cache: &Cache, limits: &Limits, namespace: &str, claim: &ClaimName) -> Option<Siblings> {
    let sets = cache.sets_of_claim(namespace, claim);
    let mut found = sets.iter().filter_map(|name| {
        let set = cache.set(name)?;
        let is_own = |template: &&Template| claim.ordinal_of(&template.name, name).is_some();
        let template = set.templates.iter().find(is_own)?.clone();
        grows(&set, limits, &template.name).then_some((set, template))
    });
    let (set, template) = found.next()?;
    if found.next().is_some() {
        return None;
    }
    let running = VolumeGroup::read(cache, &set, &template).claims;
    let all = running.into_iter().chain(VolumeGroup::retained(cache, &set, &template));
    let largest = all.filter(|sibling| !sibling.deleting).map(|sibling| sibling.requested).max()?;
    Some(Siblings { template: template.name, largest })
}

/// Whether a Pod belongs to a StatefulSet whose volumes rso measures.
pub fn is_measured(cache: &Cache, limits: &Limits, namespace: &str, pod: &Value) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
    let owner = owners.iter().find(|owner| owner["controller"] == true && owner["kind"] == "StatefulSet");
    let Some((name, uid)) = owner.and_then(|owner| owner["name"].as_str().zip(owner["uid"].as_str())) else {
        return false;
    };
    let set = cache.set(&SetName::new(namespace, name));
    // A Pod that is created while its StatefulSet is being recreated still names the old one.
    set.is_some_and(|set| (set.uid == Uid::new(uid) || set.marked) && measures(&set, limits))
}

/// The namespaces in which a Pod of a measured StatefulSet cannot start because of an agent of this image. What another
/// client calls an agent, or adds to a Pod of an unmanaged StatefulSet, does not count.
pub fn namespaces_with_stuck_agent(cache: &Cache, limits: &Limits, image: &str) -> BTreeSet<String> {
    let measured = |name: &SetName| cache.set(name).is_some_and(|set| measures(&set, limits));
    let stuck = cache.sets_with_stuck_agent(image);
    stuck.into_iter().filter(|set| measured(set)).map(|set| set.namespace).collect()
}

fn settings(set: &StatefulSetView, limits: &Limits) -> Option<Settings> {
    set.is_managed().then(|| set.settings(limits).0)
}

/// Whether rso may expand a PVC of this template.
fn grows(set: &StatefulSetView, limits: &Limits, template: &TemplateName) -> bool {
    let settings = settings(set, limits).filter(|settings| !settings.paused);
    let template = settings.as_ref().and_then(|settings| settings.templates.get(template));
    template.is_some_and(|template| template.auto == Auto::On || template.requested.is_some())
}

fn measures(set: &StatefulSetView, limits: &Limits) -> bool {
    settings(set, limits).is_some_and(|settings| settings.templates.values().any(|template| template.auto != Auto::Off))
}
