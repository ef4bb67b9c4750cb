//! A Pod, as small as it is kept: what the measurement of its volumes depends on.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserialize;

use crate::api::names::{AGENT_CONTAINER, ClaimName, SetName};
use crate::api::received::Condition;
use crate::api::received::pod::{self, ContainerState, ContainerStatus, PodSpec, PodStatus};

/// A Pod.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "pod::Pod")]
pub struct Pod {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its UID.
    pub uid: Box<str>,
    /// `metadata.generation`, if the API server counts it.
    pub generation: Option<i64>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The name of the StatefulSet that controls it.
    set: Option<Box<str>>,
    /// The node that it is assigned to.
    pub node: Option<Box<str>>,
    /// The PVCs that it uses.
    pub claims: Box<[ClaimName]>,
    /// The container of its agent, if it has one.
    pub(super) agent: Option<Agent>,
    pub(super) ip: Option<IpAddr>,
    pub(super) phase: Box<str>,
    /// When the kubelet acknowledged the Pod, or when the Pod was created.
    pub(super) began: Option<Timestamp>,
    /// Why it cannot be scheduled.
    pub(super) unscheduled: Option<Box<Said>>,
    /// Why it failed as a whole.
    pub(super) failed: Option<Box<Said>>,
    pub(super) init: Box<[Container]>,
    pub(super) main: Box<[Container]>,
}

/// The container of an agent in the spec of a Pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agent {
    /// The port on which it listens, if it states one.
    pub(super) port: Option<u16>,
}

/// A reason and a message.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
}

/// The status of a container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: Box<str>,
    pub(super) image: Box<str>,
    /// `None`: the kubelet has reported nothing.
    pub(super) state: Option<State>,
    /// How it ended before.
    pub(super) last: Option<Box<End>>,
}

/// The state of a container.
#[derive(Clone, Debug)]
pub(super) enum State {
    Running(Option<Timestamp>),
    Waiting(Box<Said>),
    Ended(Box<End>),
    /// None of the states that are known.
    Other,
}

/// The end of a container.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) exit_code: i32,
    pub(super) said: Said,
    pub(super) at: Option<Timestamp>,
}

impl Pod {
    /// The StatefulSet that controls it.
    pub fn set(&self) -> Option<SetName> {
        self.set.as_deref().map(|name| SetName::new(&*self.namespace, name))
    }

    /// Whether a decision about a volume can depend on it.
    pub fn matters(&self) -> bool {
        !self.claims.is_empty() || self.agent.is_some()
    }
}

impl Container {
    pub(super) fn is_agent(&self) -> bool {
        &*self.name == AGENT_CONTAINER
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, Some(State::Running(_)))
    }

    pub(super) fn started(&self) -> Option<Timestamp> {
        match &self.state {
            Some(State::Running(at)) => *at,
            Some(State::Waiting(_) | State::Ended(_) | State::Other) | None => None,
        }
    }

    /// The reason and the message with which it waits.
    pub(super) fn waiting(&self) -> Option<(&str, &str)> {
        match &self.state {
            Some(State::Waiting(said)) => {
                Some((said.reason.as_deref().unwrap_or_default(), said.message.as_deref().unwrap_or_default()))
            }
            Some(State::Running(_) | State::Ended(_) | State::Other) | None => None,
        }
    }

    /// Its end, if it has ended and not started again.
    pub(super) fn end(&self) -> Option<&End> {
        match &self.state {
            Some(State::Ended(end)) => Some(end),
            Some(State::Running(_) | State::Waiting(_) | State::Other) | None => None,
        }
    }

    /// Its known ends, the last one first.
    pub(super) fn ends(&self) -> impl Iterator<Item = &End> {
        self.end().into_iter().chain(self.last.as_deref())
    }
}

impl From<pod::Pod> for Pod {
    fn from(pod: pod::Pod) -> Self {
        let (meta, spec, status) = (pod.metadata, pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
        let set = meta.controller().filter(|owner| owner.kind == "StatefulSet").map(|owner| owner.name.as_str().into());
        let (unscheduled, failed) = (unscheduled(&status), failed(&status));
        Self {
            agent: agent(&spec),
            set,
            node: spec.node_name.map(String::into_boxed_str),
            claims: claims(spec.volumes),
            namespace: meta.namespace.unwrap_or_default().into(),
            name: meta.name.unwrap_or_default().into(),
            uid: meta.uid.unwrap_or_default().into(),
            generation: meta.generation,
            deleting: meta.deletion_timestamp.is_some(),
            ip: status.pod_ip.and_then(|ip| ip.parse().ok()),
            phase: status.phase.unwrap_or_default().into(),
            began: status.start_time.or(meta.creation_timestamp),
            unscheduled,
            failed,
            init: containers(status.init_container_statuses),
            main: containers(status.container_statuses),
        }
    }
}

fn agent(spec: &PodSpec) -> Option<Agent> {
    let mut all = spec.init_containers.iter().chain(&spec.containers).flatten();
    let agent = all.find(|container| container.name == AGENT_CONTAINER)?;
    let port = agent.ports.iter().flatten().next();
    Some(Agent { port: port.and_then(|port| u16::try_from(port.container_port).ok()) })
}

fn claims(volumes: Option<Vec<pod::Volume>>) -> Box<[ClaimName]> {
    let claims = volumes.into_iter().flatten().filter_map(|volume| volume.persistent_volume_claim);
    claims.map(|volume| ClaimName::new(volume.claim_name)).collect()
}

fn unscheduled(status: &PodStatus) -> Option<Box<Said>> {
    let is_unscheduled = |condition: &&Condition| condition.kind == "PodScheduled" && condition.status == "False";
    let condition = status.conditions.iter().flatten().find(is_unscheduled)?;
    Some(Box::new(Said { reason: condition.reason.clone(), message: condition.message.clone() }))
}

fn failed(status: &PodStatus) -> Option<Box<Said>> {
    let said = || Box::new(Said { reason: status.reason.clone(), message: status.message.clone() });
    (status.phase.as_deref() == Some("Failed")).then(said)
}

fn containers(statuses: Option<Vec<ContainerStatus>>) -> Box<[Container]> {
    statuses.into_iter().flatten().map(Container::from).collect()
}

impl From<ContainerStatus> for Container {
    fn from(status: ContainerStatus) -> Self {
        let last = status.last_state.and_then(|state| state.terminated);
        Self {
            name: status.name.into(),
            image: status.image.into(),
            state: status.state.map(State::from),
            last: last.map(|end| Box::new(end.into())),
        }
    }
}

impl From<ContainerState> for State {
    fn from(state: ContainerState) -> Self {
        match state {
            ContainerState { running: Some(running), .. } => Self::Running(running.started_at),
            ContainerState { waiting: Some(waiting), .. } => {
                Self::Waiting(Box::new(Said { reason: waiting.reason, message: waiting.message }))
            }
            ContainerState { terminated: Some(end), .. } => Self::Ended(Box::new(end.into())),
            ContainerState { running: None, waiting: None, terminated: None } => Self::Other,
        }
    }
}

impl From<pod::Terminated> for End {
    fn from(end: pod::Terminated) -> Self {
        let said = Said { reason: end.reason, message: end.message };
        Self { exit_code: end.exit_code, said, at: end.finished_at }
    }
}
