//! What the caches keep of an object: what decisions need, and no more.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Container, PersistentVolumeClaim, Pod, PodSpec, Volume};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ObjectMeta;

use super::pods;
use crate::workload::claims::only_the_sizer;

/// Removes the Pod template, which can be large and can contain secrets that do not belong in a cache.
pub(super) fn set(set: &mut StatefulSet) {
    lean_meta(&mut set.metadata);
    set.spec.template = Default::default();
    set.status = None;
}

pub(super) fn claim(claim: &mut PersistentVolumeClaim) {
    let managed = claim.metadata.managed_fields.take();
    lean_meta(&mut claim.metadata);
    claim.metadata.managed_fields = managed.and_then(only_the_sizer);
}

pub(super) fn pod(pod: &mut Pod) {
    lean_meta(&mut pod.metadata);
    pod.metadata.annotations = None;
    if let Some(spec) = &mut pod.spec {
        let (node, volumes) = (spec.node_name.take(), spec.volumes.take());
        let agents =
            std::mem::take(&mut spec.init_containers).into_iter().flatten().chain(std::mem::take(&mut spec.containers));
        let containers = agents.map(lean_container).collect();
        *spec = PodSpec { node_name: node, volumes: volumes.map(only_claims), containers, ..Default::default() };
    }
    if let Some(status) = &mut pod.status {
        pods::lean(status);
    }
}

fn lean_container(container: Container) -> Container {
    Container { name: container.name, ports: container.ports, ..Default::default() }
}

fn only_claims(volumes: Vec<Volume>) -> Vec<Volume> {
    volumes.into_iter().filter(|volume| volume.persistent_volume_claim.is_some()).collect()
}

pub(super) fn class(class: &mut StorageClass) {
    lean_meta(&mut class.metadata);
}

fn lean_meta(meta: &mut ObjectMeta) {
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}
