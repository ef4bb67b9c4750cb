//! When did what happen? What a Pod printed, from the log of its container; what a client asked, from the audit log.

use jiff::Timestamp;

use crate::harness::audit::{self, Request};
use crate::harness::space::Space;

/// The lines that a container has printed, each with the time at which the runtime read it.
pub async fn printed(space: &Space, pod: &str, container: &str) -> Vec<(Timestamp, String)> {
    let log = space.kubectl(&["logs", pod, "-c", container, "--timestamps"]).await;
    let lines = log.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(at, text)| Some((at.parse().ok()?, text.to_owned()))).collect()
}

/// What the operator asked in this namespace.
pub fn operator_in(space: &Space, since: Timestamp) -> Vec<Request> {
    let all = audit::requests_of_the_operator(&since.to_string());
    all.into_iter().filter(|one| one.namespace == space.name).collect()
}

/// When the server had received it.
pub fn begun(request: &Request) -> Timestamp {
    request.at.parse().unwrap()
}

/// When the server had answered it.
pub fn done(request: &Request) -> Timestamp {
    request.answered.parse().unwrap()
}

/// From one to the other, in milliseconds.
pub fn ms(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_millis_f64()
}
