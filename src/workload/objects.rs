//! The objects that a snapshot is read from.

use std::sync::Arc;

use super::claims::ClaimView;
use super::statefulset::StatefulSetView;
use crate::api::names::{ClaimName, TemplateName};
use crate::policy::claim::Class;

/// Where PVCs and StorageClasses are read: in the operator's caches, or in what the command line listed.
pub trait Objects {
    /// A PVC, if it exists.
    fn claim(&self, namespace: &str, name: &ClaimName) -> Option<Arc<ClaimView>>;
    /// The PVCs of a template that belong to no ordinal that the StatefulSet runs now.
    fn retained(&self, set: &StatefulSetView, template: &TemplateName) -> Vec<Arc<ClaimView>>;
    /// A StorageClass, if it exists and can be read.
    fn class(&self, name: &str) -> Option<Class>;
    /// Whether StorageClasses can be read at all.
    fn has_classes(&self) -> bool;
}
