//! The image backend: each volume is a sparse image file with its own filesystem, mounted through a loop device.
//!
//! `<id>.img.new` is an image that is being created; it was never returned to a caller. `<id>.img` contains the data of a
//! volume: the driver never formats or shortens it, and only [`Backend::delete`] and [`Backend::recover`] remove it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Backend, filesystem, loop_device};
use crate::csi::error::CallError;
use crate::csi::host::durable;
use crate::csi::host::mounts::{Mount, MountTable};
use crate::csi::host::state_directory::StateDirectory;
use crate::csi::host::statistics::{self, VolumeStatistics};
use crate::csi::host::tool::{self, Tools};
use crate::csi::volume::capacity::DiskSpace;
use crate::csi::volume::class::{Filesystem, VolumeClass};
use crate::csi::volume::files;
use crate::csi::volume::id::VolumeId;
use crate::csi::volume::record::{RecordState, VolumeRecord};

const IMAGE_EXTENSION: &str = "img";
/// An image that is being created.
const NEW_IMAGE_EXTENSION: &str = "img.new";

/// The size of an image file is a multiple of the page size, which is also the block size of the filesystems. Otherwise the
/// last blocks of a `700M` volume could not be used.
const BLOCK_SIZE: u64 = 4096;

/// The device without which the kernel has no loop devices.
const LOOP_CONTROL: &str = "/dev/loop-control";

/// Image files in the state directory.
#[derive(Debug)]
pub(super) struct ImageBackend {
    directory: PathBuf,
    deleted_files: PathBuf,
    tools: Tools,
}

impl ImageBackend {
    /// The image files in this state directory.
    pub(super) fn new(state: &StateDirectory, tools: Tools) -> Self {
        Self { directory: state.volumes.clone(), deleted_files: state.deleted_files.clone(), tools }
    }

    fn new_path(&self, id: &VolumeId) -> PathBuf {
        files::path(&self.directory, id, NEW_IMAGE_EXTENSION)
    }

    /// Bytes that the image files occupy on the disk.
    fn occupied(&self) -> Result<u64, CallError> {
        let mut bytes = 0_u64;
        for entry in fs::read_dir(&self.directory).map_err(CallError::io("list", &self.directory))?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == IMAGE_EXTENSION) {
                // An image that is deleted meanwhile occupies nothing.
                bytes += entry.metadata().map_or(0, |metadata| metadata.blocks() * 512);
            }
        }
        Ok(bytes)
    }
}

impl Backend for ImageBackend {
    fn check(&self) -> Result<(), CallError> {
        let missing = tool::missing();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(CallError::FailedPrecondition(format!("not in PATH: {missing}; install the missing programs")));
        }
        if !Path::new(LOOP_CONTROL).exists() {
            let problem = format!("{LOOP_CONTROL} does not exist; run `modprobe loop` on the node");
            return Err(CallError::FailedPrecondition(problem));
        }
        self.disk_space().map(|_| ())
    }

    fn disk_space(&self) -> Result<DiskSpace, CallError> {
        let stat = rustix::fs::statvfs(&self.directory).map_err(CallError::io("get the usage of", &self.directory))?;
        Ok(DiskSpace { available: stat.f_bavail.saturating_mul(stat.f_frsize), in_volumes: self.occupied()? })
    }

    fn recover(&self, record_state: &dyn Fn(&VolumeId) -> RecordState) -> Result<(), CallError> {
        for id in files::ids_with(&self.directory, NEW_IMAGE_EXTENSION)? {
            if record_state(&id) == RecordState::Recorded && !self.path(&id).exists() {
                self.commit(&id)?;
            } else {
                remove(&self.new_path(&id))?;
            }
        }
        for id in self.list()? {
            if record_state(&id) == RecordState::MarkedForDeletion {
                remove(&self.path(&id))?;
            }
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<VolumeId>, CallError> {
        files::ids_with(&self.directory, IMAGE_EXTENSION)
    }

    fn path(&self, id: &VolumeId) -> PathBuf {
        self.directory.join(file_name(id))
    }

    fn size(&self, id: &VolumeId) -> Option<u64> {
        self.path(id).metadata().map(|metadata| metadata.len()).ok()
    }

    fn create(&self, id: &VolumeId, size: u64, class: &VolumeClass) -> Result<(), CallError> {
        let path = self.new_path(id);
        let created = create(&self.tools, &path, size, class.filesystem);
        if created.is_err() {
            let _ = durable::remove(&path);
        }
        created
    }

    fn commit(&self, id: &VolumeId) -> Result<(), CallError> {
        let (new, path) = (self.new_path(id), self.path(id));
        match durable::rename(&new, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.exists() => Ok(()),
            other => other.map_err(CallError::io("rename a new image to", path)),
        }
    }

    fn extend(&self, id: &VolumeId, size: u64) -> Result<(), CallError> {
        let path = self.path(id);
        let file = OpenOptions::new().write(true).open(&path).map_err(CallError::io("open", &path))?;
        let length = file.metadata().map_err(CallError::io("get the size of", &path))?.len();
        if length < size {
            set_length(&file, &path, size)?;
            file.sync_all().map_err(CallError::io("write", &path))?;
        }
        Ok(())
    }

    fn is_mounted(&self, id: &VolumeId) -> Result<bool, CallError> {
        loop_device::is_attached(&file_name(id))
    }

    fn delete(&self, id: &VolumeId) -> Result<(), CallError> {
        let path = self.path(id);
        let inode = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata.map_err(CallError::io("get the inode of", &path))?.ino(),
        };
        // The inode distinguishes two volumes of one name, created one after the other.
        let deleted = self.deleted_files.join(format!("{id}.{inode}"));
        fs::rename(&path, &deleted).map_err(CallError::io("move to the deleted files", &path))?;
        durable::sync_directory_of(&deleted).map_err(CallError::io("sync the directory of", &deleted))?;
        durable::sync_directory_of(&path).map_err(CallError::io("sync the directory of", &path))
    }

    fn free_deleted(&self) {
        for entry in fs::read_dir(&self.deleted_files).into_iter().flatten().flatten() {
            match fs::remove_file(entry.path()) {
                // Another call removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let path = entry.path();
                    tracing::warn!(path = %path.display(), %error, "failed to free the space of a deleted volume");
                }
                Ok(()) => {}
            }
        }
    }

    fn stage(&self, volume: &VolumeRecord, target: &Path, options: &[String]) -> Result<(), CallError> {
        let (filesystem, image) = (volume.class.filesystem, self.path(&volume.id));
        if !self.is_mounted(&volume.id)? {
            filesystem::expand_unmounted(&self.tools, filesystem, &image)?;
        }
        filesystem::mount(&self.tools, filesystem, &image, target, options)
    }

    fn owns(&self, mount: &Mount, id: &VolumeId) -> Result<bool, CallError> {
        loop_device::is_backed_by(mount.device, &file_name(id))
    }

    fn expand(&self, volume: &VolumeRecord, mount: &Mount) -> Result<(), CallError> {
        // Also when the record already has that size: an earlier call may have ended right after it wrote the record.
        self.extend(&volume.id, volume.size)?;
        loop_device::refresh_size(&self.tools, mount.device)?;
        filesystem::expand_mounted(&self.tools, volume.class.filesystem, mount, &MountTable::read()?)
    }

    fn statistics(&self, path: &Path) -> Result<VolumeStatistics, CallError> {
        statistics::of_filesystem(path)
    }
}

/// The name of a volume's image file, which the kernel shows as the backing file of the loop device.
fn file_name(id: &VolumeId) -> String {
    format!("{id}.{IMAGE_EXTENSION}")
}

fn remove(path: &Path) -> Result<(), CallError> {
    durable::remove(path).map_err(CallError::io("remove", path))
}

fn create(tools: &Tools, path: &Path, size: u64, filesystem: Filesystem) -> Result<(), CallError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).open(path).map_err(CallError::io("create", path))?;
    set_length(&file, path, size)?;
    filesystem::format(tools, filesystem, path)?;
    file.sync_all().map_err(CallError::io("write", path))
}

fn set_length(file: &fs::File, path: &Path, size: u64) -> Result<(), CallError> {
    let length = size.checked_next_multiple_of(BLOCK_SIZE).unwrap_or(u64::MAX);
    file.set_len(length).map_err(|error| {
        if matches!(error.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput) {
            let path = path.display();
            return CallError::OutOfRange(format!(
                "the filesystem of the node cannot hold a file of {size} bytes ({path}); request a smaller size"
            ));
        }
        CallError::io("extend", path)(error)
    })
}
