//! The parts of a Pod that the measurement of its volumes depends on: where its agent listens, since when no container
//! has run that could write, and why it does not run. The same code serves the watch of the operator and the list of a
//! CLI user.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition, PodStatus};

use crate::api::names::{AGENT_CONTAINER, AGENT_PORT, ClaimName};
use crate::policy::failure::{ContainerFailure, excerpt};
use crate::policy::usage::{Failing, Unknown};

mod lean;
mod trouble;

pub use lean::lean;
use trouble::{LONG_START, NORMAL, Trouble, trouble};

/// The kubelet computes the usage of volumes once a minute, and responds with the previous result: two rounds.
const JUST_STARTED: Duration = Duration::from_secs(2 * 60);

/// A Pod as observed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The node that it is assigned to.
    pub node: Option<String>,
    /// The address of its agent; only while the container of the agent runs.
    pub agent: Option<SocketAddr>,
    /// The PVCs that it uses.
    pub claims: Vec<ClaimName>,
    /// When one of its containers, other than the agent, last ran; `None` if none ever did.
    pub ran: Option<Timestamp>,
    /// When the newest of its running containers, other than the agent, started; `None` if none runs. The cache does not
    /// keep it of a Pod that runs well (`lean`).
    pub started: Option<Timestamp>,
    /// Why it does not start, or does not keep running.
    pub failing: Option<Failing>,
    /// What is reported about its containers, other than the agent, that do not run: the present state first, then the
    /// end before it.
    pub failures: Vec<ContainerFailure>,
    /// It, or one of its containers, started so recently that its volumes cannot have been measured yet.
    pub young: bool,
}

impl PodView {
    /// Reads a Pod.
    pub fn of(pod: &Pod, now: Timestamp) -> Self {
        let seen = Seen::of(pod);
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            agent: agent(pod, &seen),
            claims: claims(pod),
            ran: seen.ran(now),
            started: seen.others().filter_map(started_at).max(),
            failing: seen.failing(pod, now),
            failures: seen.failures(),
            young: seen.started(pod).is_some_and(|at| age(at, now) < seen.start_takes()),
        }
    }

    /// Why the usage of its volumes is unknown; `said` is what all sources reported.
    pub fn unknown(&self, said: String) -> Unknown {
        match &self.failing {
            Some(failing) => Unknown::NotRunning(Box::new(failing.clone())),
            None if self.young => Unknown::NotYet,
            None => Unknown::Silent(said),
        }
    }
}

/// The parts of a status that are evaluated.
struct Seen<'a> {
    phase: &'a str,
    init: &'a [ContainerStatus],
    main: &'a [ContainerStatus],
}

impl<'a> Seen<'a> {
    fn of(pod: &'a Pod) -> Self {
        let status = pod.status.as_ref();
        let list = |list: Option<&'a Vec<ContainerStatus>>| list.map_or(&[][..], Vec::as_slice);
        Self {
            phase: status.and_then(|status| status.phase.as_deref()).unwrap_or_default(),
            init: list(status.and_then(|status| status.init_container_statuses.as_ref())),
            main: list(status.and_then(|status| status.container_statuses.as_ref())),
        }
    }

    fn all(&self) -> impl Iterator<Item = &'a ContainerStatus> {
        self.init.iter().chain(self.main)
    }

    fn others(&self) -> impl Iterator<Item = &'a ContainerStatus> {
        self.all().filter(|status| status.name != AGENT_CONTAINER)
    }

    fn agent_runs(&self) -> bool {
        self.all().any(|status| status.name == AGENT_CONTAINER && is_running(status))
    }

    /// Whether a container other than the agent runs. For a Pod that runs well, the cache keeps no status of them
    /// (`lean`).
    fn writes(&self) -> bool {
        let idle = |status: &ContainerStatus| !is_running(status) && status.state.is_some();
        let main = || self.main.iter().filter(|status| status.name != AGENT_CONTAINER);
        match self.phase {
            "Running" if main().next().is_none() || !main().all(idle) => true,
            _ => self.others().any(is_running),
        }
    }

    fn ran(&self, now: Timestamp) -> Option<Timestamp> {
        if self.writes() {
            return Some(now);
        }
        self.others().flat_map(|status| ended(status, now)).max()
    }

    /// A container that runs again says nothing: what it said before may be over.
    fn failures(&self) -> Vec<ContainerFailure> {
        self.others().filter(|status| !is_running(status)).flat_map(failures).collect()
    }

    /// How long a Pod in this state takes to be measured, if it starts normally.
    fn start_takes(&self) -> Duration {
        if self.phase == "Pending" && !self.writes() { LONG_START } else { JUST_STARTED }
    }

    /// The latest start of the Pod or of one of its containers.
    fn started(&self, pod: &Pod) -> Option<Timestamp> {
        self.all().filter_map(started_at).chain(began(pod)).max()
    }

    fn failing(&self, pod: &Pod, now: Timestamp) -> Option<Failing> {
        let Trouble { part, reason, exit_code, message } = trouble(self, pod, now)?;
        Some(Failing {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            part,
            reason: reason.to_owned(),
            exit_code,
            message: message.to_owned(),
        })
    }
}

fn age(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at)).unwrap_or_default()
}

/// When the kubelet acknowledged the Pod, or when the Pod was created.
fn began(pod: &Pod) -> Option<Timestamp> {
    let taken = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    taken.or(pod.metadata.creation_timestamp.as_ref()).map(|time| time.0)
}

fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn started_at(status: &ContainerStatus) -> Option<Timestamp> {
    Some(status.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0)
}

fn waiting(status: &ContainerStatus) -> Option<(&str, &str)> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    Some((waiting.reason.as_deref().unwrap_or_default(), waiting.message.as_deref().unwrap_or_default()))
}

/// The known terminations of a container; one without a time may have been just now.
fn ended(status: &ContainerStatus, now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let states = [status.state.as_ref(), status.last_state.as_ref()];
    let ends = states.into_iter().flatten().filter_map(|state| state.terminated.as_ref());
    ends.map(move |end| end.finished_at.as_ref().map_or(now, |time| time.0)).collect::<Vec<_>>().into_iter()
}

fn failures(status: &ContainerStatus) -> impl Iterator<Item = ContainerFailure> {
    let failure = |reason: &str, message: Option<&str>| ContainerFailure {
        container: status.name.clone(),
        reason: reason.to_owned(),
        message: excerpt(message.unwrap_or_default()).to_owned(),
        exit_code: None,
        at: None,
    };
    let waits = waiting(status).filter(|(reason, _)| !reason.is_empty() && !NORMAL.contains(reason));
    let waits = waits.map(|(reason, message)| failure(reason, Some(message)));
    let states = [status.state.as_ref(), status.last_state.as_ref()];
    let ends = states.into_iter().flatten().filter_map(|state| state.terminated.as_ref());
    let ends = ends.filter(|end| end.exit_code != 0).map(|end| ContainerFailure {
        exit_code: Some(end.exit_code),
        at: end.finished_at.as_ref().map(|time| time.0),
        ..failure(end.reason.as_deref().unwrap_or("Error"), end.message.as_deref())
    });
    waits.into_iter().chain(ends).collect::<Vec<_>>().into_iter()
}

fn unscheduled(status: &PodStatus) -> Option<&PodCondition> {
    let conditions = status.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
}

fn claims(pod: &Pod) -> Vec<ClaimName> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    claims.map(|volume| ClaimName::new(volume.claim_name.clone())).collect()
}

/// The address of the agent of the Pod, while its container runs: also before the Pod runs.
fn agent(pod: &Pod, seen: &Seen<'_>) -> Option<SocketAddr> {
    let spec = pod.spec.as_ref()?;
    let mut containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let container = containers.find(|container| container.name == AGENT_CONTAINER).filter(|_| seen.agent_runs())?;
    let ip = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    Some(SocketAddr::new(ip, port(container).unwrap_or(AGENT_PORT)))
}

fn port(container: &Container) -> Option<u16> {
    u16::try_from(container.ports.iter().flatten().next()?.container_port).ok()
}

/// Whether the Pod waits for an agent with this image that cannot be pulled, or whose container cannot be created.
pub fn has_stuck_agent(pod: &Pod, image: &str) -> bool {
    const STUCK: [&str; 5] =
        ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError"];
    Seen::of(pod).init.iter().any(|status| {
        status.name == AGENT_CONTAINER
            && status.image == image
            && waiting(status).is_some_and(|(reason, _)| STUCK.contains(&reason))
    })
}

#[cfg(test)]
mod tests;
