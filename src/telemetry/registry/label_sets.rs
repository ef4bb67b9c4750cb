//! The label sets of the metrics, and the volumes that they describe.

use jiff::Timestamp;

use super::series::labels;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName};

labels! {
    OfSet { namespace: String, statefulset: String, result: &'static str }
    OfTemplate { namespace: String, statefulset: String, volume_claim_template: String }
    OfClaim { namespace: String, statefulset: String, volume_claim_template: String, persistentvolumeclaim: String }
    OfVolume {
        namespace: String, statefulset: String, volume_claim_template: String, persistentvolumeclaim: String, pod: String,
    }
    OfDecision {
        namespace: String, statefulset: String, volume_claim_template: String, decision: &'static str, reason: &'static str,
    }
    OfResize {
        namespace: String, statefulset: String, volume_claim_template: String, trigger: &'static str, result: &'static str,
    }
    OfPhase { phase: &'static str }
    OfClass { storageclass: String }
    OfWebhook { webhook: &'static str, code: u16 }
    OfReconcile { controller: &'static str, result: &'static str }
    OfController { controller: &'static str }
    OfQueue { name: &'static str }
    OfRequest { code: String, method: String }
    OfUsageRequest { source: &'static str, result: &'static str }
    OfBuild { version: &'static str }
}

/// A volume: a PVC of a StatefulSet, and the Pod that uses it.
#[derive(Clone, Copy, Debug)]
pub struct Volume<'a> {
    /// The StatefulSet.
    pub set: &'a SetName,
    /// The template of the PVC.
    pub template: &'a TemplateName,
    /// The PVC.
    pub claim: &'a ClaimName,
    /// The Pod.
    pub pod: &'a str,
}

/// The usage of a volume.
#[derive(Clone, Copy, Debug)]
pub struct VolumeUsage {
    /// The size of the filesystem.
    pub capacity: Bytes,
    /// The used space.
    pub used: Bytes,
    /// The space that an unprivileged user can still write.
    pub available: Bytes,
    /// All inodes and those in use, if there is a fixed number.
    pub inodes: Option<(u64, u64)>,
    /// When it was measured.
    pub at: Timestamp,
}

impl Volume<'_> {
    pub(super) fn labels(&self) -> OfVolume {
        let OfTemplate { namespace, statefulset, volume_claim_template } = of_template(self.set, self.template);
        let (persistentvolumeclaim, pod) = (self.claim.to_string(), self.pod.to_owned());
        OfVolume { namespace, statefulset, volume_claim_template, persistentvolumeclaim, pod }
    }
}

/// The labels of a template.
pub(super) fn of_template(set: &SetName, template: &TemplateName) -> OfTemplate {
    OfTemplate {
        namespace: set.namespace.clone(),
        statefulset: set.name.clone(),
        volume_claim_template: template.to_string(),
    }
}
