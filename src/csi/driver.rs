//! What all calls share: the node's volumes, and the one way in and out of a call.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use tonic::{Response, Status};

use super::backend::image::Images;
use super::error::Fault;
use super::host::tool::Tools;
use super::proto::v1::Topology;
use super::volume::id::VolumeId;
use super::volume::locks::Locks;
use super::volume::record::{Entry, OpenError, Store, Volume};

/// One node's driver. All its work is system calls and short child processes, so calls run on the blocking pool.
#[derive(Debug)]
pub struct Driver {
    /// The driver's name in the cluster.
    pub name: String,
    /// The node's name in the cluster.
    pub node_id: String,
    pub(in crate::csi) store: Store,
    pub(in crate::csi) images: Images,
    pub(in crate::csi) tools: Tools,
    pub(in crate::csi) locks: Locks,
}

impl Driver {
    /// Takes over the state folder.
    ///
    /// # Errors
    /// When the folder cannot be used, or another driver uses it.
    pub fn open(name: String, node_id: String, state: &Path) -> Result<Self, OpenError> {
        // Whole disks of pods are in there: nobody but root looks inside.
        let create = |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        create(&state.join("trash")).map_err(Fault::io("create", state))?;
        let state = fs::canonicalize(state).map_err(Fault::io("look at", state))?;
        let (volumes, trash) = (state.join("volumes"), state.join("trash"));
        let (store, lock) = Store::open(&volumes)?;
        let tools = Tools::holding(lock);
        let images = Images::new(volumes, trash, tools.clone());
        Ok(Self { name, node_id, store, images, tools, locks: Locks::default() })
    }

    /// The topology key of the node.
    #[must_use]
    pub fn topology_key(&self) -> String {
        format!("{}/node", self.name)
    }

    /// Where this node is.
    #[must_use]
    pub fn topology(&self) -> Topology {
        Topology { segments: [(self.topology_key(), self.node_id.clone())].into() }
    }

    /// Whether this node is at that place.
    #[must_use]
    pub fn is_at(&self, place: &Topology) -> bool {
        place.segments.get(&self.topology_key()).is_none_or(|node| *node == self.node_id)
    }

    /// The volume of a caller's id.
    pub(in crate::csi) fn volume(&self, id: &VolumeId) -> Result<Volume, Fault> {
        match self.store.get(id) {
            Some(Entry::Sound(volume)) => Ok(volume),
            Some(Entry::Quarantined { reason, .. }) => Err(out_of_service(id, &reason)),
            None => Err(Fault::NotFound(format!("there is no volume {id} on node {}", self.node_id))),
        }
    }

    /// Runs one call on the blocking pool. Once begun it runs to its end, even when its caller has gone; the next call on
    /// the same volume then finds it done. The one place where a call's outcome is logged.
    pub(in crate::csi) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        volume: String,
        work: impl FnOnce(&Self) -> Result<T, Fault> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let driver = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&driver)).await {
            Ok(Ok(answer)) => {
                tracing::debug!(call = name, volume, "done");
                Ok(Response::new(answer))
            }
            Ok(Err(fault)) => {
                let status = Status::from(fault);
                tracing::warn!(call = name, volume, code = ?status.code(), error = status.message(), "refused");
                Err(status)
            }
            Err(broken) => {
                tracing::error!(call = name, volume, error = %broken, "a bug in the driver");
                Err(Status::internal(format!("{name} broke off: {broken}")))
            }
        }
    }
}

/// The answer about a quarantined volume.
pub(in crate::csi) fn out_of_service(id: &VolumeId, reason: &str) -> Fault {
    Fault::NotNow(format!("volume {id} is out of service: {reason}"))
}

/// An id as callers send it, where it must be there. One that cannot be ours is a volume that is not there.
pub(in crate::csi) fn known_id(text: &str) -> Result<VolumeId, Fault> {
    required("volume_id", text)?;
    VolumeId::parse(text).map_err(|error| Fault::NotFound(error.to_string()))
}

/// A field that may not be empty.
pub(in crate::csi) fn required(field: &str, text: &str) -> Result<(), Fault> {
    if text.is_empty() { Err(Fault::Invalid(format!("{field} is missing"))) } else { Ok(()) }
}
