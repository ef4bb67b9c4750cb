//! The path that a caller sends as a mount target, and what is mounted there: nothing, the volume, or something else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::mounts::{self, Mount, MountTable};
use crate::csi::error::CallError;

/// What is mounted at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetState {
    /// Nothing.
    NotMounted,
    /// The volume.
    Volume(Mount),
    /// Anything else. The driver never unmounts it.
    OtherMount,
}

/// A volume, and how to recognize its mounts.
pub struct MountedVolume<'a> {
    /// The ID of the volume.
    pub id: &'a str,
    /// Whether a mount is a mount of the volume.
    pub owns: &'a dyn Fn(&Mount) -> Result<bool, CallError>,
}

impl MountedVolume<'_> {
    /// What is mounted at a path that contains no symbolic links.
    ///
    /// # Errors
    /// When the state of the host cannot be read.
    pub fn state_at(&self, table: &MountTable, path: &Path) -> Result<TargetState, CallError> {
        Ok(match table.at(path) {
            None => TargetState::NotMounted,
            Some(mount) if (self.owns)(mount)? => TargetState::Volume(mount.clone()),
            Some(_) => TargetState::OtherMount,
        })
    }

    /// The mount of the volume at a path of a caller.
    ///
    /// # Errors
    /// NOT_FOUND when the volume is not mounted there.
    pub fn mount_at(&self, path: &str) -> Result<(PathBuf, Mount), CallError> {
        // Without a mount of the volume, the path is on the disk of the node, which is not to be measured or expanded.
        let not_mounted = || not_mounted(self.id, path);
        let resolved = existing(path)?.ok_or_else(not_mounted)?;
        match self.state_at(&MountTable::read()?, &resolved)? {
            TargetState::Volume(mount) => Ok((resolved, mount)),
            TargetState::NotMounted | TargetState::OtherMount => Err(not_mounted()),
        }
    }

    /// Unmounts every mount of the volume at a path. Returns `None` when the path does not exist.
    ///
    /// # Errors
    /// FAILED_PRECONDITION when something else is mounted there.
    pub fn unmount_all(&self, path: &str) -> Result<Option<PathBuf>, CallError> {
        let Some(path) = existing(path)? else { return Ok(None) };
        loop {
            match self.state_at(&MountTable::read()?, &path)? {
                TargetState::Volume(_) => mounts::detach(&path)?,
                TargetState::NotMounted => return Ok(Some(path)),
                TargetState::OtherMount => {
                    let (path, id) = (path.display(), self.id);
                    return Err(CallError::FailedPrecondition(format!(
                        "{path} is not a mount of volume {id}; unmount what is mounted there"
                    )));
                }
            }
        }
    }
}

/// The error of a call for a volume that is not mounted at a path.
#[must_use]
pub fn not_mounted(id: &str, path: &str) -> CallError {
    CallError::NotFound(format!("volume {id} is not mounted at {path}"))
}

/// A path of a caller without symbolic links, as in the mount table. Returns `None` when it does not exist or is relative.
///
/// # Errors
/// When the path cannot be resolved.
pub fn existing(path: &str) -> Result<Option<PathBuf>, CallError> {
    if Path::new(path).is_relative() {
        return Ok(None);
    }
    match fs::canonicalize(path) {
        Ok(path) => Ok(Some(path)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(CallError::io("resolve", path)(error)),
    }
}

/// The directory at a path of a caller, created if it does not exist, without symbolic links.
///
/// # Errors
/// INVALID_ARGUMENT when the path is relative.
pub fn create_directory(path: &str) -> Result<PathBuf, CallError> {
    if Path::new(path).is_relative() {
        return Err(CallError::InvalidArgument(format!("path {path:?} must be absolute")));
    }
    fs::create_dir_all(path).map_err(CallError::io("create", path))?;
    fs::canonicalize(path).map_err(CallError::io("resolve", path))
}
