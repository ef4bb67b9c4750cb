//! The driver of one node: its volumes, and what all calls share.

use std::path::Path;
use std::sync::Arc;

use tonic::{Response, Status};

use super::backend::Backends;
use super::error::CallError;
use super::host::place::MountedVolume;
use super::host::state_directory::{OpenError, StateDirectory};
use super::host::tool::Tools;
use super::proto::v1::Topology;
use super::recovery;
use super::volume::id::VolumeId;
use super::volume::locks::VolumeLocks;
use super::volume::record::{RecordFiles, VolumeRecord};
use super::volume::store::{VolumeEntry, VolumeStore};

/// The driver of one node. A call consists of system calls and short child processes, so it runs on the blocking pool.
#[derive(Debug)]
pub struct Driver {
    /// The name of the driver in the cluster.
    pub name: String,
    /// The name of the node in the cluster.
    pub node_id: String,
    pub(in crate::csi) store: VolumeStore,
    pub(in crate::csi) backends: Backends,
    pub(in crate::csi) locks: VolumeLocks,
}

impl Driver {
    /// Opens the state directory and recovers its volumes.
    ///
    /// # Errors
    /// When the directory cannot be used, or another driver uses it.
    pub fn open(name: String, node_id: String, state: &Path) -> Result<Self, OpenError> {
        let (state, lock) = StateDirectory::open(state)?;
        let backends = Backends::new(&state, Tools::holding(lock));
        let store = recovery::recover(RecordFiles::new(&state.volumes), &backends)?;
        Ok(Self { name, node_id, store, backends, locks: VolumeLocks::default() })
    }

    /// The topology key of the node.
    #[must_use]
    pub fn topology_key(&self) -> String {
        format!("{}/node", self.name)
    }

    /// The topology of the node.
    #[must_use]
    pub fn topology(&self) -> Topology {
        Topology { segments: [(self.topology_key(), self.node_id.clone())].into() }
    }

    /// Whether a topology includes this node.
    #[must_use]
    pub fn is_in(&self, topology: &Topology) -> bool {
        topology.segments.get(&self.topology_key()).is_none_or(|node| *node == self.node_id)
    }

    /// Frees the space of deleted volumes, which can take seconds.
    pub fn free_deleted(&self) {
        self.backends.all().for_each(|backend| backend.free_deleted());
    }

    /// The record of a volume.
    pub(in crate::csi) fn volume(&self, id: &VolumeId) -> Result<VolumeRecord, CallError> {
        match self.store.get(id) {
            Some(VolumeEntry::Available(record)) => Ok(record),
            Some(VolumeEntry::Unavailable { reason, .. }) => Err(unavailable(id, &reason)),
            None => Err(CallError::NotFound(format!("volume {id} does not exist on node {}", self.node_id))),
        }
    }

    /// Runs `work` with the means to recognize the mounts of a volume, which need no record of it.
    pub(in crate::csi) fn with_mounts<T>(&self, id: &VolumeId, work: impl FnOnce(&MountedVolume<'_>) -> T) -> T {
        work(&MountedVolume { id: id.as_str(), owns: &|mount| Ok(self.backends.of_mount(mount, id)?.is_some()) })
    }

    /// Runs one call on the blocking pool, and logs its outcome; no other place does. A call runs to its end even when the
    /// caller has disconnected; the next call on the same volume then finds it done.
    pub(in crate::csi) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        volume: String,
        work: impl FnOnce(&Self) -> Result<T, CallError> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let driver = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&driver)).await {
            Ok(Ok(response)) => {
                tracing::debug!(call = name, volume, "call completed");
                Ok(Response::new(response))
            }
            Ok(Err(error)) => {
                let status = Status::from(error);
                tracing::warn!(call = name, volume, code = ?status.code(), error = status.message(), "call failed");
                Err(status)
            }
            Err(error) => {
                tracing::error!(call = name, volume, %error, "call ended unexpectedly: a bug in the driver");
                Err(Status::internal(format!("{name} ended unexpectedly: {error}")))
            }
        }
    }
}

/// The error of a call for an unavailable volume.
pub(in crate::csi) fn unavailable(id: &VolumeId, reason: &str) -> CallError {
    CallError::FailedPrecondition(format!("volume {id} is unavailable: {reason}"))
}
