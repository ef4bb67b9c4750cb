//! Loop devices: which file backs a device, and how a device follows the size of its file.
//!
//! Both are read from sysfs, which needs no child process and no ioctl. `mount -o loop` creates the devices with autoclear:
//! the last unmount frees a device, so none is left after a crash.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::csi::error::CallError;
use crate::csi::host::mounts::DeviceNumber;
use crate::csi::host::tool::Tools;

/// What the kernel appends to the path of a backing file that was removed.
const REMOVED_FILE_SUFFIX: &str = " (deleted)";

/// Whether a device is a loop device over a file of this name.
///
/// Only the file name is compared: the kernel shows the path in the mount namespace of the process that attached the file,
/// which a restarted driver in a container does not share.
///
/// # Errors
/// When sysfs cannot be read.
pub(super) fn is_backed_by(device: DeviceNumber, file_name: &str) -> Result<bool, CallError> {
    has_backing_file(&sysfs_path(device), file_name)
}

/// Whether any loop device is over a file of this name: it is mounted somewhere, perhaps in another mount namespace.
///
/// # Errors
/// When sysfs cannot be read.
pub(super) fn is_attached(file_name: &str) -> Result<bool, CallError> {
    let directory = Path::new("/sys/block");
    for entry in fs::read_dir(directory).map_err(CallError::io("list", directory))?.flatten() {
        let is_loop_device = entry.file_name().to_string_lossy().starts_with("loop");
        if is_loop_device && has_backing_file(&entry.path(), file_name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes a device as large as its backing file (LOOP_SET_CAPACITY), while it is in use.
///
/// # Errors
/// When `losetup` fails.
pub(super) fn refresh_size(tools: &Tools, device: DeviceNumber) -> Result<(), CallError> {
    tools.run("losetup", &["--set-capacity".as_ref(), path(device)?.as_os_str()])?;
    Ok(())
}

/// The path of a device in `/dev`.
///
/// # Errors
/// When the device does not exist.
pub(super) fn path(device: DeviceNumber) -> Result<PathBuf, CallError> {
    let path = sysfs_path(device);
    let target = fs::read_link(&path).map_err(CallError::io("resolve", &path))?;
    Ok(Path::new("/dev").join(target.file_name().unwrap_or_default()))
}

fn sysfs_path(device: DeviceNumber) -> PathBuf {
    PathBuf::from(format!("/sys/dev/block/{}:{}", device.major, device.minor))
}

fn has_backing_file(sysfs_path: &Path, file_name: &str) -> Result<bool, CallError> {
    let path = sysfs_path.join("loop/backing_file");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(is_path_of(&text, file_name)),
        // Not a loop device, or one without a backing file, or one that is being freed.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => Ok(false),
        Err(error) => Err(CallError::io("read", path)(error)),
    }
}

fn is_path_of(backing_file: &str, file_name: &str) -> bool {
    let path = backing_file.trim_end_matches('\n');
    let path = path.strip_suffix(REMOVED_FILE_SUFFIX).unwrap_or(path);
    Path::new(path).file_name().is_some_and(|name| name == file_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backing_file_is_identified_by_its_whole_name() {
        for (text, expected) in [
            ("/state/volumes/pvc-1.img\n", true),
            ("/volumes/pvc-1.img (deleted)\n", true),
            ("/state/volumes/pvc-11.img\n", false),
            ("/state/volumes/xpvc-1.img\n", false),
            ("/state/pvc-1.img/other\n", false),
            ("", false),
        ] {
            assert_eq!(is_path_of(text, "pvc-1.img"), expected, "{text:?}");
        }
    }
}
