//! The error of a CSI call, and the gRPC code that it is returned with.
//!
//! The code decides what Kubernetes does next: the provisioner tries another node on RESOURCE_EXHAUSTED only, and the
//! kubelet gives up an expansion (`NodeResizeInfeasible`, KEP-1790) on INVALID_ARGUMENT, OUT_OF_RANGE, and NOT_FOUND only.

use std::path::PathBuf;

use tonic::{Code, Status};

use super::host::durable::is_disk_full;
use super::host::tool::ToolError;

/// A call that was rejected or failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request itself is invalid; a retry cannot succeed.
    #[error("{0}")]
    InvalidArgument(String),
    /// The volume does not exist, or is not mounted at a path.
    #[error("{0}")]
    NotFound(String),
    /// Something else already has that name or is mounted at that path.
    #[error("{0}")]
    AlreadyExists(String),
    /// This node has no space for the volume, or is not where the volume is needed: try another node.
    #[error("{0}")]
    ResourceExhausted(String),
    /// A size that this node can never provide.
    #[error("{0}")]
    OutOfRange(String),
    /// The request is valid, but not in the current state; the message says what must change.
    #[error("{0}")]
    FailedPrecondition(String),
    /// Another call is using the volume.
    #[error("another call is using volume {0}; retry when it has ended")]
    VolumeBusy(String),
    /// ListVolumes was called with a token that this driver did not return.
    #[error("starting_token {0:?} was not returned by this driver; list the volumes without a token")]
    InvalidToken(String),
    /// A record cannot be encoded. Cannot happen for our own types; kept so that nothing panics.
    #[error("failed to encode the record of a volume")]
    Encode(#[from] serde_json::Error),
    /// A program of the host failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A system call failed.
    #[error("failed to {action} {}", path.display())]
    Io {
        /// What the driver tried to do: "create", "rename".
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// The error of the kernel.
        #[source]
        source: std::io::Error,
    },
}

impl CallError {
    /// For `map_err`: the failed action, and its path.
    pub fn io<E: Into<std::io::Error>>(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source: source.into() }
    }

    /// The gRPC code, which decides what Kubernetes does next.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::InvalidArgument(_) => Code::InvalidArgument,
            Self::NotFound(_) => Code::NotFound,
            Self::AlreadyExists(_) => Code::AlreadyExists,
            Self::ResourceExhausted(_) => Code::ResourceExhausted,
            Self::OutOfRange(_) => Code::OutOfRange,
            Self::FailedPrecondition(_) => Code::FailedPrecondition,
            Self::VolumeBusy(_) | Self::InvalidToken(_) => Code::Aborted,
            Self::Tool(error) if error.is_disk_full() => Code::ResourceExhausted,
            Self::Io { source, .. } if is_disk_full(source) => Code::ResourceExhausted,
            Self::Encode(_) | Self::Tool(_) | Self::Io { .. } => Code::Internal,
        }
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        Self::new(error.code(), chain(&error))
    }
}

/// The error and its causes in one line: Events and sidecar logs show nothing else.
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
    fn a_full_disk_makes_the_provisioner_try_another_node() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let status = Status::from(CallError::io("write", "/x")(full));
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().starts_with("failed to write /x: "), "{}", status.message());
    }

    #[test]
    fn any_other_failed_system_call_is_internal() {
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(CallError::io("write", "/x")(denied).code(), Code::Internal);
    }
}
