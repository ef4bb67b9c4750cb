//! The parts of the status of a Pod that the cache keeps.

use super::object::{Container, Pod, Said, State};
use crate::policy::failure::excerpt;

/// The maximum length of a message about the whole Pod that is kept, bytes: more than is ever displayed.
pub(super) const MESSAGE: usize = 400;

impl Pod {
    /// Keeps what is needed of every Pod of the cluster: of the status of one that runs well, the state of its agent.
    #[must_use]
    pub fn lean(mut self) -> Self {
        // All main containers or none: one that runs beside one that does not must be visible.
        let plain = |container: &Container| container.is_running() && container.last.is_none();
        let well = &*self.phase == "Running" && self.main.iter().all(plain);
        let kept = |all: Box<[Container]>| {
            let kept = all.into_iter().filter(|container| container.is_agent() || !well);
            kept.map(lean_container).collect()
        };
        (self.init, self.main) = (kept(self.init), kept(self.main));
        for said in [&mut self.unscheduled, &mut self.failed].into_iter().flatten() {
            said.shorten(short);
        }
        self
    }
}

impl Said {
    fn shorten(&mut self, short: fn(&str) -> &str) {
        if let Some(message) = &mut self.message {
            *message = short(message).to_owned();
        }
    }
}

fn lean_container(mut container: Container) -> Container {
    // The image matters only where the agent cannot start, to check whether it is rso's.
    if !container.is_agent() || container.waiting().is_none() {
        container.image = Box::default();
    }
    match &mut container.state {
        Some(State::Waiting(said)) => said.shorten(excerpt),
        Some(State::Ended(end)) => end.said.shorten(excerpt),
        Some(State::Running(_) | State::Other) | None => {}
    }
    if let Some(end) = &mut container.last {
        end.said.shorten(excerpt);
    }
    container
}

fn short(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE)]
}
