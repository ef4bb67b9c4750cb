//! The parts of the status of a Pod that the cache keeps.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, PodCondition, PodStatus};

use super::{is_running, unscheduled};
use crate::api::names::AGENT_CONTAINER;
use crate::policy::failure::excerpt;

/// The maximum length of a message about the whole Pod that is kept, bytes: more than is ever displayed.
pub(super) const MESSAGE: usize = 400;

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
