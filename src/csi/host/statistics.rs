//! The usage of a filesystem, as `statvfs` reports it.

use std::path::Path;

use crate::csi::error::CallError;

/// How much of a resource exists, and how much is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// All of it.
    pub total: u64,
    /// In use.
    pub used: u64,
    /// Available to a process that is not root.
    pub available: u64,
}

/// The usage of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeStatistics {
    /// Bytes.
    pub bytes: Amount,
    /// Inodes.
    pub inodes: Amount,
}

/// The usage of the filesystem that is mounted at a path.
///
/// # Errors
/// When `statvfs` fails.
pub fn of_filesystem(path: &Path) -> Result<VolumeStatistics, CallError> {
    let stat = rustix::fs::statvfs(path).map_err(CallError::io("get the usage of", path))?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(VolumeStatistics {
        bytes: Amount {
            total: bytes(stat.f_blocks),
            used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
            available: bytes(stat.f_bavail),
        },
        inodes: Amount {
            total: stat.f_files,
            used: stat.f_files.saturating_sub(stat.f_ffree),
            available: stat.f_favail,
        },
    })
}
