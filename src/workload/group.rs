//! The PVCs of one template of a StatefulSet.

use super::claims::{self, ClaimView, ReadError};
use super::objects::Objects;
use super::statefulset::{StatefulSetView, Template};
use crate::policy::claim::{Claim, Class};
use crate::policy::drivers::{Driver, Drivers};

/// The PVCs that the replicas of a StatefulSet have of one template.
#[derive(Clone, Debug)]
pub struct VolumeGroup {
    /// The template.
    pub template: Template,
    /// The PVCs, in the order of the ordinals.
    pub claims: Vec<Claim>,
    /// Why a PVC with a name of this group is not among them: rso does not change it.
    pub unreadable: Vec<ReadError>,
}

impl VolumeGroup {
    /// Reads the PVCs of a template. A PVC that does not exist is left out.
    pub fn read(objects: &impl Objects, set: &StatefulSetView, template: &Template) -> Self {
        let mut group = Self { template: template.clone(), claims: Vec::new(), unreadable: Vec::new() };
        for (_, name) in set.claims_of(&template.name) {
            let Some(object) = objects.claim(&set.name.namespace, &name) else { continue };
            match read(objects, set, template, &object) {
                Ok(claim) => group.claims.push(claim),
                Err(error) => group.unreadable.push(error),
            }
        }
        group
    }

    /// The retained PVCs of scaled-down replicas, which belong to no ordinal that the StatefulSet runs now.
    ///
    /// This can take a walk over many PVCs, so they are read apart: only when something is about to change.
    pub fn retained(objects: &impl Objects, set: &StatefulSetView, template: &Template) -> Vec<Claim> {
        let objects_of = objects.retained(set, &template.name);
        objects_of.iter().filter_map(|object| read(objects, set, template, object).ok()).collect()
    }

    /// The limits of the CSI driver; the default ones if the StorageClass is unknown.
    pub fn driver(&self, drivers: &Drivers) -> Driver {
        let class = self.claims.iter().find_map(|claim| claim.class.as_ref());
        drivers.get(class.map_or("", |class| class.provisioner.as_str()))
    }
}

fn read(
    objects: &impl Objects,
    set: &StatefulSetView,
    template: &Template,
    object: &ClaimView,
) -> Result<Claim, ReadError> {
    claims::read(object, &set.name, &template.name, class_of(objects, object))
}

fn class_of(objects: &impl Objects, claim: &ClaimView) -> Option<Class> {
    let name = claims::class_name(claim)?;
    match objects.class(name) {
        Some(class) => Some(class),
        None if objects.has_classes() => None,
        None => Some(claims::class_unread(claim, name)),
    }
}
