//! Why a call is refused, and which gRPC code says so.
//!
//! The code decides what Kubernetes does next, so each variant names that:
//! the provisioner moves the pod to another node on RESOURCE_EXHAUSTED only, and the kubelet gives up an expansion
//! (`NodeResizeInfeasible`, KEP-1790) on INVALID_ARGUMENT, OUT_OF_RANGE and NOT_FOUND only.

use std::path::PathBuf;

use tonic::{Code, Status};

use super::host::durable::is_disk_full;
use super::host::tool::ToolError;

/// A refused or failed call.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The request itself is wrong; repeating it cannot help.
    #[error("{0}")]
    Invalid(String),
    /// The volume, or what should be mounted at a path, is not there.
    #[error("{0}")]
    NotFound(String),
    /// There is something else under that name or at that path already.
    #[error("{0}")]
    Conflict(String),
    /// No room, or not from here: try another node.
    #[error("{0}")]
    Exhausted(String),
    /// A size that can never be given here.
    #[error("{0}")]
    OutOfRange(String),
    /// Right, but not in the present state; the message says what must change.
    #[error("{0}")]
    NotNow(String),
    /// Another call holds the volume.
    #[error("another call is working on volume {0}: it will be tried again")]
    Busy(String),
    /// The list of volumes was paged with a token that is not ours.
    #[error("starting_token {0:?} was not made by this driver: list from the beginning")]
    Token(String),
    /// A record cannot be encoded. Cannot happen for our own types; kept so that nothing panics.
    #[error("failed to encode the record of a volume")]
    Encode(#[from] serde_json::Error),
    /// A program of the system failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A system call failed.
    #[error("failed to {what} {}", path.display())]
    Io {
        /// What was tried: "create", "measure".
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

impl Fault {
    /// For `map_err`: the failed call, and on what.
    pub fn io<E: Into<std::io::Error>>(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source: source.into() }
    }

    /// The gRPC code that makes Kubernetes do the right thing.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidArgument,
            Self::NotFound(_) => Code::NotFound,
            Self::Conflict(_) => Code::AlreadyExists,
            Self::Exhausted(_) => Code::ResourceExhausted,
            Self::OutOfRange(_) => Code::OutOfRange,
            Self::NotNow(_) => Code::FailedPrecondition,
            Self::Busy(_) | Self::Token(_) => Code::Aborted,
            Self::Tool(error) if error.is_disk_full() => Code::ResourceExhausted,
            Self::Io { source, .. } if is_disk_full(source) => Code::ResourceExhausted,
            Self::Encode(_) | Self::Tool(_) | Self::Io { .. } => Code::Internal,
        }
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        Self::new(fault.code(), chain(&fault))
    }
}

/// The error and its causes in one line: events and sidecar logs show nothing else.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_sends_the_pod_to_another_node() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let status = Status::from(Fault::io("write", "/x")(full));
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().starts_with("failed to write /x: "), "{}", status.message());
    }

    #[test]
    fn any_other_failed_system_call_is_internal() {
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(Fault::io("write", "/x")(denied).code(), Code::Internal);
    }
}
