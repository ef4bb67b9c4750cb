//! The ways to store volumes on a node: the [`Backend`] trait and its implementations.
//!
//! To add a backend, write one file in this directory, add its name to [`BackendKind`], and add it to [`Backends`]; the
//! compiler reports each `match` that needs it. The services in `rpc` use only the trait.

mod filesystem;
mod image;
mod loop_device;

use std::fmt;
use std::path::{Path, PathBuf};

use image::ImageBackend;

use crate::csi::error::CallError;
use crate::csi::host::mounts::Mount;
use crate::csi::host::state_directory::StateDirectory;
use crate::csi::host::statistics::VolumeStatistics;
use crate::csi::host::tool::Tools;
use crate::csi::volume::capacity::DiskSpace;
use crate::csi::volume::class::{BackendKind, VolumeClass};
use crate::csi::volume::id::VolumeId;
use crate::csi::volume::record::{RecordState, VolumeRecord};

/// A way to store volumes on a node. All methods can be repeated. A method that changes one volume is called with the
/// lock of that volume, except at start.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Checks that the node has what volumes of this backend need.
    ///
    /// # Errors
    /// FAILED_PRECONDITION with what is missing.
    fn check(&self) -> Result<(), CallError>;

    /// The space of the disk that stores the volumes.
    ///
    /// # Errors
    /// When the space cannot be read.
    fn disk_space(&self) -> Result<DiskSpace, CallError>;

    /// Completes or rolls back what an earlier process left: commits the data of a volume that has a record, and
    /// removes the uncommitted data of one that has none and all data of one that is marked for deletion.
    ///
    /// # Errors
    /// When a file cannot be listed, renamed, or removed.
    fn recover(&self, record_state: &dyn Fn(&VolumeId) -> RecordState) -> Result<(), CallError>;

    /// The volumes that have committed data.
    ///
    /// # Errors
    /// When the data cannot be listed.
    fn list(&self) -> Result<Vec<VolumeId>, CallError>;

    /// Where the committed data of a volume is, for messages.
    fn path(&self, id: &VolumeId) -> PathBuf;

    /// The size of a volume's committed data, bytes; `None` when there is none.
    fn size(&self, id: &VolumeId) -> Option<u64>;

    /// Creates the data of an empty volume, uncommitted. Leaves nothing behind when it fails.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when the disk is full, OUT_OF_RANGE when the disk cannot hold a volume of that size.
    fn create(&self, id: &VolumeId, size: u64, class: &VolumeClass) -> Result<(), CallError>;

    /// Commits the data of a volume whose record is written.
    ///
    /// # Errors
    /// When the data does not exist or cannot be renamed.
    fn commit(&self, id: &VolumeId) -> Result<(), CallError>;

    /// Makes the data of a volume at least `size` bytes large, without a change to its filesystem. Uses no disk space.
    ///
    /// # Errors
    /// OUT_OF_RANGE when the disk cannot hold a volume of that size.
    fn extend(&self, id: &VolumeId, size: u64) -> Result<(), CallError>;

    /// Whether a volume is mounted in any mount namespace.
    ///
    /// # Errors
    /// When the state of the host cannot be read.
    fn is_mounted(&self, id: &VolumeId) -> Result<bool, CallError>;

    /// Deletes the data of a volume. Returns before the space is freed; [`Backend::free_deleted`] frees it.
    ///
    /// # Errors
    /// When the data cannot be removed. Data that no longer exists is not an error.
    fn delete(&self, id: &VolumeId) -> Result<(), CallError>;

    /// Frees the space of deleted volumes. What cannot be freed is logged, and freed by a later call.
    fn free_deleted(&self);

    /// Mounts a volume at a path with these options, and expands its filesystem first where that is only possible while
    /// it is not mounted.
    ///
    /// # Errors
    /// When a program fails.
    fn stage(&self, volume: &VolumeRecord, target: &Path, options: &[String]) -> Result<(), CallError>;

    /// Whether a mount is a mount of this volume.
    ///
    /// # Errors
    /// When the state of the host cannot be read.
    fn owns(&self, mount: &Mount, id: &VolumeId) -> Result<bool, CallError>;

    /// Expands the data and the filesystem of a mounted volume to the size in its record.
    ///
    /// # Errors
    /// FAILED_PRECONDITION when that is not possible while it is mounted, or while it is mounted read-only.
    fn expand(&self, volume: &VolumeRecord, mount: &Mount) -> Result<(), CallError>;

    /// The usage of a volume that is mounted at a path.
    ///
    /// # Errors
    /// When the usage cannot be read.
    fn statistics(&self, path: &Path) -> Result<VolumeStatistics, CallError>;
}

/// All backends of a node.
#[derive(Debug)]
pub struct Backends {
    image: ImageBackend,
}

impl Backends {
    /// The backends that store volumes in this state directory.
    #[must_use]
    pub fn new(state: &StateDirectory, tools: Tools) -> Self {
        Self { image: ImageBackend::new(state, tools) }
    }

    /// The backend of this kind.
    #[must_use]
    pub fn get(&self, kind: BackendKind) -> &dyn Backend {
        match kind {
            BackendKind::Image => &self.image,
        }
    }

    /// Every backend.
    pub fn all(&self) -> impl Iterator<Item = &dyn Backend> {
        BackendKind::ALL.into_iter().map(|kind| self.get(kind))
    }

    /// The backend that mounted this volume, or `None` when the mount is of something else. It does not depend on a
    /// record: a Pod can end even when the record is lost.
    ///
    /// # Errors
    /// When the state of the host cannot be read.
    pub fn of_mount(&self, mount: &Mount, id: &VolumeId) -> Result<Option<&dyn Backend>, CallError> {
        for backend in self.all() {
            if backend.owns(mount, id)? {
                return Ok(Some(backend));
            }
        }
        Ok(None)
    }
}
