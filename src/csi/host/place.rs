//! What is at a caller's path: nothing, the volume in question, or something that is not to be touched?

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::mounts::{self, Mount, Table};
use crate::csi::backend::loop_device;
use crate::csi::error::Fault;
use crate::csi::volume::id::VolumeId;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::csi) enum Occupant {
    /// No mount.
    Nothing,
    /// A mount of the volume in question.
    ThisVolume(Mount),
    /// A mount of anything else.
    Another,
}

/// What is mounted at a path that is free of symbolic links.
pub(in crate::csi) fn occupant(table: &Table, path: &Path, id: &VolumeId) -> Result<Occupant, Fault> {
    Ok(match table.at(path) {
        None => Occupant::Nothing,
        Some(mount) if loop_device::is_image_of(mount.device, id)? => Occupant::ThisVolume(mount.clone()),
        Some(_) => Occupant::Another,
    })
}

/// The mount of that volume at a caller's path.
pub(in crate::csi) fn mounted_at(path: &str, id: &VolumeId) -> Result<(PathBuf, Mount), Fault> {
    // A path without our mount shows the node's own disk: measuring or growing that would be a lie.
    let not_there = || Fault::NotFound(format!("volume {id} is not mounted at {path}"));
    let real = existing(path)?.ok_or_else(not_there)?;
    match occupant(&Table::read()?, &real, id)? {
        Occupant::ThisVolume(mount) => Ok((real, mount)),
        Occupant::Nothing | Occupant::Another => Err(not_there()),
    }
}

/// Takes every mount of that volume away from a path; `None` when there is no such path.
pub(in crate::csi) fn unmounted(path: &str, id: &VolumeId) -> Result<Option<PathBuf>, Fault> {
    let Some(path) = existing(path)? else { return Ok(None) };
    loop {
        match occupant(&Table::read()?, &path, id)? {
            Occupant::ThisVolume(_) => mounts::detach(&path)?,
            Occupant::Nothing => return Ok(Some(path)),
            Occupant::Another => {
                return Err(Fault::NotNow(format!(
                    "{} is the mount of something else than volume {id}",
                    path.display()
                )));
            }
        }
    }
}

/// A caller's path without symbolic links, as the mount table has it; `None` when it is not there, as no relative one is.
pub(in crate::csi) fn existing(path: &str) -> Result<Option<PathBuf>, Fault> {
    if Path::new(path).is_relative() {
        return Ok(None);
    }
    match fs::canonicalize(path) {
        Ok(path) => Ok(Some(path)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Fault::io("look at", path)(error)),
    }
}

/// The folder at a caller's path, made when it is not there.
pub(in crate::csi) fn folder(path: &str) -> Result<PathBuf, Fault> {
    if Path::new(path).is_relative() {
        return Err(Fault::Invalid(format!("{path:?} is not an absolute path")));
    }
    fs::create_dir_all(path).map_err(Fault::io("create", path))?;
    fs::canonicalize(path).map_err(Fault::io("look at", path))
}
