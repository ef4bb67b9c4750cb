//! The cause for which a Pod does not run, from its status.

use std::time::Duration;

use jiff::Timestamp;

use super::object::{Container, End};
use super::{Seen, age};
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
pub(super) fn trouble<'a>(seen: &Seen<'a>, now: Timestamp) -> Option<Trouble<'a>> {
    let (pod, writes) = (seen.pod, seen.writes());
    // If another container runs, the Pod runs, and the kubelet knows its volumes.
    if seen.phase != "Running" || !writes {
        let init = pod.init.iter().map(|container| (Part::InitContainer(container.name.to_string()), container));
        let main = pod.main.iter().map(|container| (Part::Container(container.name.to_string()), container));
        // What fails on a full disk is another container; the agent comes last.
        let (agents, others): (Vec<_>, Vec<_>) = init.chain(main).partition(|(_, container)| container.is_agent());
        let of_container = others.into_iter().chain(agents).find_map(|(part, container)| Trouble::of(part, container));
        if of_container.is_some() {
            return of_container;
        }
    }
    if let Some(said) = &pod.unscheduled {
        return Some(Trouble::of_pod(said.reason.as_deref().unwrap_or("Unschedulable"), said.message.as_deref()));
    }
    if let Some(said) = &pod.failed {
        return Some(Trouble::of_pod(said.reason.as_deref().unwrap_or("Failed"), said.message.as_deref()));
    }
    match seen.phase {
        // A volume is not attached or not mounted, or an image is still being pulled: the Events of the Pod say which.
        // With an init container, all containers wait in PodInitializing.
        "Pending" if !writes && pod.began.is_some_and(|at| age(at, now) >= LONG_START) => {
            let (reason, message) = seen.others().find_map(Container::waiting)?;
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
    fn of(part: Part, container: &'a Container) -> Option<Self> {
        let Some((reason, message)) = container.waiting() else {
            let end = container.end().filter(|end| end.exit_code != 0)?;
            return Some(Self::of_end(part, end.said.reason.as_deref().unwrap_or("Error"), end));
        };
        if reason.is_empty() || NORMAL.contains(&reason) {
            return None;
        }
        match container.last.as_deref().filter(|_| reason == CRASH_LOOP) {
            Some(end) => Some(Self::of_end(part, reason, end)),
            None => Some(Self { part, reason, exit_code: None, message }),
        }
    }

    fn of_end(part: Part, reason: &'a str, end: &'a End) -> Self {
        Self { part, reason, exit_code: Some(end.exit_code), message: end.said.message.as_deref().unwrap_or_default() }
    }
}
