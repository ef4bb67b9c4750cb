//! Mounting an image, and growing the filesystem in it.

use std::ffi::OsStr;
use std::path::Path;

use rustix::mount::MountFlags;

use super::class::Filesystem;
use super::device;
use super::fault::Fault;
use super::mounts::{Mount, Table};
use super::tool;

/// Mounts an image with the caller's options, through a loop device that frees itself with the last unmount. `mount`
/// takes a device that is over this image already rather than a second one, which would tear the data.
///
/// # Errors
/// As mount says.
pub fn mount(filesystem: Filesystem, image: &Path, target: &Path, flags: &[String]) -> Result<(), Fault> {
    let options = std::iter::once("loop").chain(flags.iter().map(String::as_str)).collect::<Vec<_>>().join(",");
    let arguments: [&OsStr; 6] = [
        "-t".as_ref(),
        filesystem.name().as_ref(),
        "-o".as_ref(),
        options.as_ref(),
        image.as_os_str(),
        target.as_os_str(),
    ];
    tool::run("mount", &arguments)?;
    Ok(())
}

/// Makes the filesystem fill its device, while it is in use. Once done, doing it again is a success.
///
/// # Errors
/// FAILED_PRECONDITION when it is mounted read-only everywhere; else as the program says.
pub fn grow(filesystem: Filesystem, mount: &Mount, table: &Table) -> Result<(), Fault> {
    let writable = table.of(mount.device).find(|mount| !mount.flags.contains(MountFlags::RDONLY));
    let Some(writable) = writable else {
        return Err(Fault::NotNow(
            "the volume is mounted read-only, and grows only where it can be written".to_owned(),
        ));
    };
    match filesystem {
        Filesystem::Xfs => tool::run("xfs_growfs", &["-d".as_ref(), writable.point.as_os_str()])?,
        Filesystem::Ext4 => tool::run("resize2fs", &[device::node(mount.device)?])?,
    };
    Ok(())
}
