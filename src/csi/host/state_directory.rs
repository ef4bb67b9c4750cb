//! The state directory of the driver: its layout, and the lock that keeps a second driver out.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::csi::error::CallError;

/// How long a start waits for the programs of a driver that was killed.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a start tries to take the lock.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Where the data of deleted volumes is until its space is freed. On disk, so the name cannot change.
const DELETED_FILES_DIRECTORY: &str = "trash";

/// Why the driver cannot use its state directory.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be read or written.
    #[error(transparent)]
    Files(#[from] CallError),
    /// Two drivers on one directory would allocate the same disk space twice.
    #[error("another driver is using {}; stop it first", .0.display())]
    InUse(PathBuf),
}

/// The paths in the state directory.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    /// Records and data of volumes.
    pub volumes: PathBuf,
    /// Data of deleted volumes whose space is not freed yet.
    pub deleted_files: PathBuf,
}

impl StateDirectory {
    /// Opens the directory, creates what is missing, and locks it. The lock is held while any process has the returned file
    /// open.
    ///
    /// # Errors
    /// When the directory cannot be used, or another driver uses it.
    pub fn open(path: &Path) -> Result<(Self, File), OpenError> {
        Self::open_within(path, LOCK_TIMEOUT)
    }

    fn open_within(path: &Path, timeout: Duration) -> Result<(Self, File), OpenError> {
        // It contains the data of all Pods, so only root can read it.
        let create = |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        create(&path.join(DELETED_FILES_DIRECTORY)).map_err(CallError::io("create", path))?;
        let path = fs::canonicalize(path).map_err(CallError::io("resolve", path))?;
        let directory = Self { volumes: path.join("volumes"), deleted_files: path.join(DELETED_FILES_DIRECTORY) };
        fs::create_dir_all(&directory.volumes).map_err(CallError::io("create", &directory.volumes))?;
        let lock = lock(&directory.volumes, timeout)?;
        Ok((directory, lock))
    }
}

fn lock(directory: &Path, timeout: Duration) -> Result<File, OpenError> {
    let path = directory.join("lock");
    let file = File::create(&path).map_err(CallError::io("create", &path))?;
    let mut waited = Duration::ZERO;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if waited >= timeout {
            return Err(OpenError::InUse(directory.to_owned()));
        }
        std::thread::sleep(LOCK_POLL_INTERVAL);
        waited += LOCK_POLL_INTERVAL;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_drivers_cannot_share_a_state_directory() {
        let directory = tempfile::tempdir().unwrap();
        let (_, lock) = StateDirectory::open(directory.path()).unwrap();
        let second = || StateDirectory::open_within(directory.path(), Duration::ZERO).map(|_| ());
        assert!(matches!(second(), Err(OpenError::InUse(_))));
        drop(lock);
        second().unwrap();
    }

    #[test]
    fn a_driver_waits_for_the_programs_of_the_previous_driver() {
        let directory = tempfile::tempdir().unwrap();
        let (_, lock) = StateDirectory::open(directory.path()).unwrap();
        let mut program = std::process::Command::new("sleep").arg("0.2").stdin(lock).spawn().unwrap();
        assert!(StateDirectory::open_within(directory.path(), Duration::ZERO).is_err());
        StateDirectory::open(directory.path()).unwrap();
        assert!(program.try_wait().unwrap().is_some());
    }
}
