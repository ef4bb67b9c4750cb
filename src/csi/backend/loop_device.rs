//! Loop devices: which image is behind one, and letting it see that the image has grown.
//!
//! Read from sysfs, which answers without a child process or an ioctl. `mount -o loop` makes the devices, with autoclear:
//! the last unmount frees them, so nothing is left behind whatever dies.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::image::file_name;
use crate::csi::error::Fault;
use crate::csi::host::mounts::Device;
use crate::csi::host::tool::Tools;
use crate::csi::volume::id::VolumeId;

/// What the kernel adds to the name of a backing file that was removed.
const REMOVED: &str = " (deleted)";

/// Whether the device is a loop device over the image of that volume.
///
/// Only the file's name is compared: the kernel shows its path as the mount namespace of whoever attached it had it,
/// which a restarted driver in a container does not share.
///
/// # Errors
/// When sysfs cannot be read.
pub fn is_image_of(device: Device, id: &VolumeId) -> Result<bool, Fault> {
    backing(&sysfs(device), id)
}

/// Whether any loop device is over the image of that volume: it is mounted somewhere, if not here.
///
/// # Errors
/// When sysfs cannot be read.
pub fn is_attached(id: &VolumeId) -> Result<bool, Fault> {
    let folder = Path::new("/sys/block");
    for entry in fs::read_dir(folder).map_err(Fault::io("list", folder))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("loop") && backing(&entry.path(), id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes the device as large as its image (LOOP_SET_CAPACITY), while it is in use.
///
/// # Errors
/// As losetup says.
pub fn refresh(tools: &Tools, device: Device) -> Result<(), Fault> {
    tools.run("losetup", &["--set-capacity".as_ref(), node(device)?.as_os_str()])?;
    Ok(())
}

/// The device's file in `/dev`.
///
/// # Errors
/// When there is no such device.
pub fn node(device: Device) -> Result<PathBuf, Fault> {
    let path = sysfs(device);
    let target = fs::read_link(&path).map_err(Fault::io("look up", &path))?;
    Ok(Path::new("/dev").join(target.file_name().unwrap_or_default()))
}

fn sysfs(device: Device) -> PathBuf {
    PathBuf::from(format!("/sys/dev/block/{}:{}", device.major, device.minor))
}

fn backing(sysfs: &Path, id: &VolumeId) -> Result<bool, Fault> {
    let path = sysfs.join("loop/backing_file");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(names(&text, id)),
        // No loop device, or one that is over nothing, or that goes away just now.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => Ok(false),
        Err(error) => Err(Fault::io("read", path)(error)),
    }
}

fn names(backing_file: &str, id: &VolumeId) -> bool {
    let path = backing_file.trim_end_matches('\n');
    let path = path.strip_suffix(REMOVED).unwrap_or(path);
    Path::new(path).file_name().is_some_and(|name| name == file_name(id).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backing_file_is_known_by_its_whole_name() {
        let id = VolumeId::from_name("pvc-1");
        for (text, expected) in [
            ("/state/volumes/pvc-1.img\n", true),
            ("/volumes/pvc-1.img (deleted)\n", true),
            ("/state/volumes/pvc-11.img\n", false),
            ("/state/volumes/xpvc-1.img\n", false),
            ("/state/pvc-1.img/other\n", false),
            ("", false),
        ] {
            assert_eq!(names(text, &id), expected, "{text:?}");
        }
    }
}
