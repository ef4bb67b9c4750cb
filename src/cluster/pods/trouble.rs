//! The cause for which a Pod does not run, from its status.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use super::{Seen, age, began, unscheduled, waiting};
use crate::api::names::AGENT_CONTAINER;
use crate::policy::usage::{CRASH_LOOP, Part};

/// A Pod whose containers are still being created after this time does not start: images are pulled and disks are
/// attached within it.
pub(super) const LONG_START: Duration = Duration::from_secs(5 * 60);
/// The reasons for which a container waits in a Pod that starts normally.
pub(super) const NORMAL: [&str; 2] = ["PodInitializing", "ContainerCreating"];

/// What prevents a Pod from running.
pub(super) struct Trouble<'a> {
    pub(super) part: Part,
    pub(super) reason: &'a str,
    pub(super) exit_code: Option<i32>,
    pub(super) message: &'a str,
}

/// What prevents this Pod from running; `None` if it runs, or has not had the time to start.
pub(super) fn trouble<'a>(seen: &Seen<'a>, pod: &'a Pod, now: Timestamp) -> Option<Trouble<'a>> {
    let writes = seen.writes();
    // If another container runs, the Pod runs, and the kubelet knows its volumes.
    if seen.phase != "Running" || !writes {
        let init = seen.init.iter().map(|status| (Part::InitContainer(status.name.clone()), status));
        let main = seen.main.iter().map(|status| (Part::Container(status.name.clone()), status));
        // What fails on a full disk is another container; the agent comes last.
        let (agents, others): (Vec<_>, Vec<_>) =
            init.chain(main).partition(|(_, status)| status.name == AGENT_CONTAINER);
        let of_container = others.into_iter().chain(agents).find_map(|(part, status)| Trouble::of(part, status));
        if of_container.is_some() {
            return of_container;
        }
    }
    let status = pod.status.as_ref()?;
    if let Some(condition) = unscheduled(status) {
        let reason = condition.reason.as_deref().unwrap_or("Unschedulable");
        return Some(Trouble::of_pod(reason, condition.message.as_deref()));
    }
    match seen.phase {
        "Failed" => Some(Trouble::of_pod(status.reason.as_deref().unwrap_or("Failed"), status.message.as_deref())),
        // A volume is not attached or not mounted, or an image is still being pulled: the Events of the Pod say which.
        // With an init container, all containers wait in PodInitializing.
        "Pending" if !writes && began(pod).is_some_and(|at| age(at, now) >= LONG_START) => {
            let (reason, message) = seen.others().find_map(waiting)?;
            Some(Trouble::of_pod(reason, Some(message)))
        }
        _ => None,
    }
}

impl<'a> Trouble<'a> {
    fn of_pod(reason: &'a str, message: Option<&'a str>) -> Self {
        Self { part: Part::Pod, reason, exit_code: None, message: message.unwrap_or_default() }
    }

    /// What prevents this container from running. While it waits for its next start, the cause is its last end.
    fn of(part: Part, status: &'a ContainerStatus) -> Option<Self> {
        let Some((reason, message)) = waiting(status) else {
            let end = end(status.state.as_ref()).filter(|end| end.exit_code != 0)?;
            return Some(Self::of_end(part, end.reason.as_deref().unwrap_or("Error"), end));
        };
        if reason.is_empty() || NORMAL.contains(&reason) {
            return None;
        }
        match end(status.last_state.as_ref()).filter(|_| reason == CRASH_LOOP) {
            Some(end) => Some(Self::of_end(part, reason, end)),
            None => Some(Self { part, reason, exit_code: None, message }),
        }
    }

    fn of_end(part: Part, reason: &'a str, end: &'a ContainerStateTerminated) -> Self {
        Self { part, reason, exit_code: Some(end.exit_code), message: end.message.as_deref().unwrap_or_default() }
    }
}

fn end(state: Option<&ContainerState>) -> Option<&ContainerStateTerminated> {
    state?.terminated.as_ref()
}
