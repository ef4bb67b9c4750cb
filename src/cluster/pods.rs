//! The parts of a Pod that the measurement of its volumes depends on: where its agent listens, since when no container
//! has run that could write, and why it does not run. The same code serves the watch of the operator and the list of a
//! CLI user.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod, PodCondition, PodStatus};

use crate::api::names::{AGENT_CONTAINER, AGENT_PORT, ClaimName};
use crate::policy::failure::{ContainerFailure, excerpt};
use crate::policy::usage::{Failing, Unknown};

/// The kubelet computes the usage of volumes once a minute, and responds with the previous result: two rounds.
const JUST_STARTED: Duration = Duration::from_secs(2 * 60);
/// A Pod whose containers are still being created after this time does not start: images are pulled and disks are
/// attached within it.
const LONG_START: Duration = Duration::from_secs(5 * 60);
/// The maximum length of a message about the whole Pod that is kept, bytes: more than is ever displayed.
const MESSAGE: usize = 400;
/// The reasons for which a container waits in a Pod that starts normally.
const NORMAL: [&str; 2] = ["PodInitializing", "ContainerCreating"];

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
            failing: seen.failing(pod, now),
            failures: seen.failures(),
            young: seen.started(pod).is_some_and(|at| age(at, now) < JUST_STARTED),
        }
    }

    /// Why the usage of its volumes is unknown; `said` is what all sources reported.
    pub fn unknown(&self, said: String) -> Unknown {
        match &self.failing {
            Some(failing) => Unknown::NotRunning(failing.clone()),
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
    /// ([`lean`]).
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

    /// The latest start of the Pod or of one of its containers.
    fn started(&self, pod: &Pod) -> Option<Timestamp> {
        let of_containers =
            self.all().filter_map(|status| Some(status.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0));
        of_containers.chain(began(pod)).max()
    }

    fn failing(&self, pod: &Pod, now: Timestamp) -> Option<Failing> {
        let failing = |container: Option<&str>, reason: &str, message: &str| Failing {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            container: container.map(ToOwned::to_owned),
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        // If another container runs, the Pod runs, and the kubelet knows its volumes.
        let mut of_containers = self.all().filter(|_| self.phase != "Running" || !self.writes());
        if let Some((name, reason, message)) = of_containers.find_map(trouble) {
            return Some(failing(Some(name), reason, &message));
        }
        if let Some(condition) = pod.status.as_ref().and_then(unscheduled) {
            let reason = condition.reason.as_deref().unwrap_or("Unschedulable");
            return Some(failing(None, reason, condition.message.as_deref().unwrap_or_default()));
        }
        match self.phase {
            "Failed" => {
                let status = pod.status.as_ref();
                let reason = status.and_then(|status| status.reason.as_deref()).unwrap_or("Failed");
                Some(failing(None, reason, status.and_then(|status| status.message.as_deref()).unwrap_or_default()))
            }
            "Pending" if began(pod).is_some_and(|at| age(at, now) >= LONG_START) => {
                let waits = self.all().find_map(|status| Some((status.name.as_str(), waiting(status)?.0)));
                let (name, reason) = waits.filter(|(_, reason)| *reason == NORMAL[1])?;
                Some(failing(Some(name), reason, ""))
            }
            _ => None,
        }
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

/// What prevents a container from running: its name, the reason, and the message.
fn trouble(status: &ContainerStatus) -> Option<(&str, &str, String)> {
    if let Some((reason, message)) = waiting(status) {
        let normal = reason.is_empty() || NORMAL.contains(&reason);
        return (!normal).then(|| (status.name.as_str(), reason, message.to_owned()));
    }
    let end = status.state.as_ref()?.terminated.as_ref().filter(|end| end.exit_code != 0)?;
    let message = end.message.clone().unwrap_or_else(|| format!("exit code {}", end.exit_code));
    Some((status.name.as_str(), end.reason.as_deref().unwrap_or("Error"), message))
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

/// Keeps the parts of a status that are needed of every Pod of the cluster: of a Pod that runs well, the state of its
/// agent.
pub fn lean(status: &mut PodStatus) {
    let runs = status.phase.as_deref() == Some("Running");
    // All main containers or none: one that runs beside one that does not must be visible.
    let plain = |status: &ContainerStatus| is_running(status) && !has_restarted(status);
    let well = runs && status.container_statuses.iter().flatten().all(plain);
    let kept = |list: Option<Vec<ContainerStatus>>, all: bool| {
        let kept = list?.into_iter().filter(|status| status.name == AGENT_CONTAINER || all);
        let kept: Vec<_> = kept.map(lean_container).collect();
        (!kept.is_empty()).then_some(kept)
    };
    let failed = status.phase.as_deref() == Some("Failed");
    *status = PodStatus {
        init_container_statuses: kept(status.init_container_statuses.take(), !well),
        container_statuses: kept(status.container_statuses.take(), !well),
        conditions: unscheduled(status).cloned().map(|condition| vec![lean_condition(condition)]),
        phase: status.phase.take(),
        pod_ip: status.pod_ip.take(),
        host_ip: status.host_ip.take(),
        start_time: status.start_time.take(),
        reason: status.reason.take().filter(|_| failed),
        message: status.message.take().filter(|_| failed).map(short),
        ..Default::default()
    };
}

fn has_restarted(status: &ContainerStatus) -> bool {
    status.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
}

fn lean_container(mut status: ContainerStatus) -> ContainerStatus {
    let state = |state: Option<ContainerState>| {
        let mut state = state?;
        if let Some(waiting) = &mut state.waiting {
            waiting.message = waiting.message.take().map(|message| excerpt(&message).to_owned());
        }
        if let Some(end) = &mut state.terminated {
            end.message = end.message.take().map(|message| excerpt(&message).to_owned());
            end.container_id = None;
        }
        Some(state)
    };
    ContainerStatus {
        // Only the image of the agent is used, to check whether it is rso's.
        image: if status.name == AGENT_CONTAINER { status.image } else { String::new() },
        name: status.name,
        state: state(status.state.take()),
        last_state: state(status.last_state.take()),
        ..Default::default()
    }
}

fn lean_condition(condition: PodCondition) -> PodCondition {
    PodCondition {
        type_: condition.type_,
        status: condition.status,
        reason: condition.reason,
        message: condition.message.map(short),
        ..Default::default()
    }
}

fn short(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE));
    message.shrink_to_fit();
    message
}

#[cfg(test)]
mod tests;
