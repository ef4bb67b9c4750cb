//! What is known of the sets when an object comes in? Looks into the caches; no request is made.

use std::collections::BTreeSet;

use serde_json::Value;

use super::floor::Siblings;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName, Uid};
use crate::cluster::sets::SetView;
use crate::cluster::watch::Cache;
use crate::policy::settings::{Auto, Limits, Settings, concerns_us};

/// The other claims of the template that a new claim is made from; none unless exactly one set that we look after can
/// have a claim of that name.
pub fn siblings(cache: &Cache, limits: &Limits, namespace: &str, claim: &ClaimName) -> Option<Siblings> {
    let sets = cache.sets_of_claim(namespace, claim);
    let mut found = sets.iter().filter_map(|name| {
        let set = SetView::of(cache.set(name)?.as_ref())?;
        let template = set.template_names().into_iter().find(|template| claim.ordinal_of(template, name).is_some())?;
        grows(&set, limits, &template).then_some((set, template))
    });
    let (set, template) = found.next()?;
    if found.next().is_some() {
        return None;
    }
    let running = set.claims_of(&template).filter_map(|(_, name)| cache.claim(namespace, &name));
    let left = cache.leftovers(&set.name, &template, &set.ordinals);
    let sizes = running.chain(left).filter(|sibling| sibling.metadata.deletion_timestamp.is_none());
    let largest = sizes.filter_map(|sibling| requested(&sibling)).max()?;
    Some(Siblings { template, largest })
}

/// Whether a pod belongs to a set that is measured.
pub fn is_measured(cache: &Cache, limits: &Limits, namespace: &str, pod: &Value) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
    let owner = owners.iter().find(|owner| owner["controller"] == true && owner["kind"] == "StatefulSet");
    let Some((name, uid)) = owner.and_then(|owner| owner["name"].as_str().zip(owner["uid"].as_str())) else {
        return false;
    };
    let set = cache.set(&SetName::new(namespace, name)).and_then(|set| SetView::of(&set));
    // A pod that is made while its set is being replaced still names the old one.
    set.is_some_and(|set| (set.uid == Uid::new(uid) || set.marked) && measures(&set, limits))
}

/// The namespaces in which a pod of a measured set cannot start because of an agent of this image. What somebody else calls
/// an agent, or puts beside a pod of no set of ours, counts for nobody.
pub fn namespaces_with_stuck_agent(cache: &Cache, limits: &Limits, image: &str) -> BTreeSet<String> {
    let measured = |name: &SetName| {
        let set = cache.set(name).and_then(|set| SetView::of(&set));
        set.is_some_and(|set| measures(&set, limits))
    };
    let stuck = cache.sets_with_stuck_agent(image);
    stuck.into_iter().filter(|set| measured(set)).map(|set| set.namespace).collect()
}

fn settings(set: &SetView, limits: &Limits) -> Option<Settings> {
    concerns_us(&set.annotations, &set.labels)
        .then(|| Settings::read(&set.annotations, &set.labels, &set.template_names(), limits).0)
}

/// Whether we may make a claim of this template larger.
fn grows(set: &SetView, limits: &Limits, template: &TemplateName) -> bool {
    let settings = settings(set, limits).filter(|settings| !settings.paused);
    let template = settings.as_ref().and_then(|settings| settings.templates.get(template));
    template.is_some_and(|template| template.auto == Auto::On || template.requested.is_some())
}

fn measures(set: &SetView, limits: &Limits) -> bool {
    settings(set, limits).is_some_and(|settings| settings.templates.values().any(|template| template.auto != Auto::Off))
}

fn requested(claim: &k8s_openapi::api::core::v1::PersistentVolumeClaim) -> Option<Bytes> {
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.parse().ok()
}
