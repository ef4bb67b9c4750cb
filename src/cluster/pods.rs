//! The parts of a Pod that the measurement of its volumes depends on: where its agent listens, since when no container
//! has run that could write, and why it does not run. The same code serves the watch of the operator and the list of a
//! CLI user.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;

use self::object::Container;
use crate::api::names::{AGENT_PORT, ClaimName};
use crate::policy::failure::{ContainerFailure, excerpt};
use crate::policy::usage::{Failing, Unknown};

mod lean;
mod object;
mod trouble;

pub use object::Pod;
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
            namespace: pod.namespace.to_string(),
            name: pod.name.to_string(),
            uid: pod.uid.to_string(),
            node: pod.node.as_deref().map(str::to_owned),
            agent: seen.agent(),
            claims: pod.claims.to_vec(),
            ran: seen.ran(now),
            started: seen.others().filter_map(Container::started).max(),
            failing: seen.failing(now),
            failures: seen.failures(),
            young: seen.started().is_some_and(|at| age(at, now) < seen.start_takes()),
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

/// A Pod whose status is evaluated.
struct Seen<'a> {
    pod: &'a Pod,
    phase: &'a str,
}

impl<'a> Seen<'a> {
    fn of(pod: &'a Pod) -> Self {
        Self { pod, phase: &pod.phase }
    }

    fn all(&self) -> impl Iterator<Item = &'a Container> + use<'a> {
        self.pod.init.iter().chain(&self.pod.main)
    }

    fn others(&self) -> impl Iterator<Item = &'a Container> + use<'a> {
        self.all().filter(|container| !container.is_agent())
    }

    /// The address of the agent, while its container runs: also before the Pod runs.
    fn agent(&self) -> Option<SocketAddr> {
        let runs = self.all().any(|container| container.is_agent() && container.is_running());
        let agent = self.pod.agent.filter(|_| runs)?;
        Some(SocketAddr::new(self.pod.ip?, agent.port.unwrap_or(AGENT_PORT)))
    }

    /// Whether a container other than the agent runs. For a Pod that runs well, the cache keeps no status of them
    /// (`lean`).
    fn writes(&self) -> bool {
        let idle = |container: &Container| !container.is_running() && container.state.is_some();
        let main = || self.pod.main.iter().filter(|container| !container.is_agent());
        match self.phase {
            "Running" if main().next().is_none() || !main().all(idle) => true,
            _ => self.others().any(Container::is_running),
        }
    }

    /// An end without a time may have been just now.
    fn ran(&self, now: Timestamp) -> Option<Timestamp> {
        if self.writes() {
            return Some(now);
        }
        self.others().flat_map(Container::ends).map(|end| end.at.unwrap_or(now)).max()
    }

    /// A container that runs again says nothing: what it said before may be over.
    fn failures(&self) -> Vec<ContainerFailure> {
        self.others().filter(|container| !container.is_running()).flat_map(failures).collect()
    }

    /// How long a Pod in this state takes to be measured, if it starts normally.
    fn start_takes(&self) -> Duration {
        if self.phase == "Pending" && !self.writes() { LONG_START } else { JUST_STARTED }
    }

    /// The latest start of the Pod or of one of its containers.
    fn started(&self) -> Option<Timestamp> {
        self.all().filter_map(Container::started).chain(self.pod.began).max()
    }

    fn failing(&self, now: Timestamp) -> Option<Failing> {
        let Trouble { part, reason, exit_code, message } = trouble(self, now)?;
        Some(Failing {
            namespace: self.pod.namespace.to_string(),
            pod: self.pod.name.to_string(),
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

fn failures(container: &Container) -> impl Iterator<Item = ContainerFailure> {
    let failure = |reason: &str, message: Option<&str>| ContainerFailure {
        container: container.name.to_string(),
        reason: reason.to_owned(),
        message: excerpt(message.unwrap_or_default()).to_owned(),
        exit_code: None,
        at: None,
    };
    let waits = container.waiting().filter(|(reason, _)| !reason.is_empty() && !NORMAL.contains(reason));
    let waits = waits.map(|(reason, message)| failure(reason, Some(message)));
    let ends = container.ends().filter(|end| end.exit_code != 0).map(move |end| ContainerFailure {
        exit_code: Some(end.exit_code),
        at: end.at,
        ..failure(end.said.reason.as_deref().unwrap_or("Error"), end.said.message.as_deref())
    });
    waits.into_iter().chain(ends)
}

/// Whether the Pod waits for an agent with this image that cannot be pulled, or whose container cannot be created.
pub fn has_stuck_agent(pod: &Pod, image: &str) -> bool {
    const STUCK: [&str; 5] =
        ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError"];
    let is_stuck = |container: &Container| container.waiting().is_some_and(|(reason, _)| STUCK.contains(&reason));
    pod.init.iter().any(|container| container.is_agent() && &*container.image == image && is_stuck(container))
}

#[cfg(test)]
mod tests;
