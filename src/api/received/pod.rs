//! A Pod of the API server, as far as rso reads it.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Condition, Meta};

/// A Pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// `metadata`.
    pub metadata: Meta,
    /// `spec`.
    pub spec: Option<PodSpec>,
    /// `status`.
    pub status: Option<PodStatus>,
}

/// `spec` of a Pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// `nodeName`.
    pub node_name: Option<String>,
    /// `volumes`.
    pub volumes: Option<Vec<Volume>>,
    /// `initContainers`.
    pub init_containers: Option<Vec<Container>>,
    /// `containers`.
    pub containers: Option<Vec<Container>>,
}

/// An entry of `spec.volumes`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// `persistentVolumeClaim`.
    pub persistent_volume_claim: Option<ClaimVolume>,
}

/// The PVC of a volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimVolume {
    /// `claimName`.
    pub claim_name: String,
}

/// A container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Container {
    /// `name`.
    pub name: String,
    /// `ports`.
    pub ports: Option<Vec<ContainerPort>>,
}

/// An entry of `ports`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// `containerPort`.
    pub container_port: i32,
}

/// `status` of a Pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `phase`.
    pub phase: Option<String>,
    /// `reason`.
    pub reason: Option<String>,
    /// `message`.
    pub message: Option<String>,
    /// `conditions`.
    pub conditions: Option<Vec<Condition>>,
    /// `podIP`.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// `startTime`.
    pub start_time: Option<Timestamp>,
    /// `initContainerStatuses`.
    pub init_container_statuses: Option<Vec<ContainerStatus>>,
    /// `containerStatuses`.
    pub container_statuses: Option<Vec<ContainerStatus>>,
}

/// The status of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// `name`.
    pub name: String,
    /// `image`.
    pub image: String,
    /// `state`.
    pub state: Option<ContainerState>,
    /// `lastState`.
    pub last_state: Option<ContainerState>,
}

/// The state of a container: one of these.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// `running`.
    pub running: Option<Running>,
    /// `waiting`.
    pub waiting: Option<Waiting>,
    /// `terminated`.
    pub terminated: Option<Terminated>,
}

/// `running`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Running {
    /// `startedAt`.
    pub started_at: Option<Timestamp>,
}

/// `waiting`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// `reason`.
    pub reason: Option<String>,
    /// `message`.
    pub message: Option<String>,
}

/// `terminated`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    /// `exitCode`.
    pub exit_code: i32,
    /// `reason`.
    pub reason: Option<String>,
    /// `message`.
    pub message: Option<String>,
    /// `finishedAt`.
    pub finished_at: Option<Timestamp>,
}
