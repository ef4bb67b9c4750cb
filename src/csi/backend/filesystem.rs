//! Mounting an image, and growing the filesystem in it.

use std::ffi::OsStr;
use std::path::Path;

use rustix::mount::MountFlags;

use super::loop_device;
use crate::csi::error::Fault;
use crate::csi::host::mounts::{Mount, Table};
use crate::csi::host::tool::{ToolError, Tools};
use crate::csi::volume::class::Filesystem;

/// Mounts an image with the caller's options, through a loop device that frees itself with the last unmount. `mount`
/// takes a device that is over this image already rather than a second one, which would tear the data.
///
/// # Errors
/// As mount says.
pub fn mount(
    tools: &Tools,
    filesystem: Filesystem,
    image: &Path,
    target: &Path,
    flags: &[String],
) -> Result<(), Fault> {
    let options = std::iter::once("loop").chain(flags.iter().map(String::as_str)).collect::<Vec<_>>().join(",");
    let arguments: [&OsStr; 6] = [
        "-t".as_ref(),
        filesystem.name().as_ref(),
        "-o".as_ref(),
        options.as_ref(),
        image.as_os_str(),
        target.as_os_str(),
    ];
    tools.run("mount", &arguments)?;
    Ok(())
}

/// Makes the filesystem fill its device, while it is in use. Once done, doing it again is a success.
///
/// # Errors
/// FAILED_PRECONDITION when it is mounted read-only everywhere; else as the program says.
pub fn grow(tools: &Tools, filesystem: Filesystem, mount: &Mount, table: &Table) -> Result<(), Fault> {
    let writable = table.of(mount.device).find(|mount| !mount.flags.contains(MountFlags::RDONLY));
    let Some(writable) = writable else {
        return Err(Fault::NotNow(
            "the volume is mounted read-only, and grows only where it can be written".to_owned(),
        ));
    };
    match filesystem {
        Filesystem::Xfs => tools.run("xfs_growfs", &["-d".as_ref(), writable.point.as_os_str()])?,
        Filesystem::Ext4 => tools.run("resize2fs", &[loop_device::node(mount.device)?]).map_err(not_while_mounted)?,
    };
    Ok(())
}

/// Makes the filesystem of an image that is not mounted anywhere fill it: what [`grow`] could not do while it was.
///
/// # Errors
/// As the program says.
pub fn grow_offline(tools: &Tools, filesystem: Filesystem, image: &Path) -> Result<(), Fault> {
    match filesystem {
        // Grows while mounted, and only then.
        Filesystem::Xfs => Ok(()),
        Filesystem::Ext4 => {
            if tools.run("resize2fs", &[image]).is_ok() {
                return Ok(());
            }
            // It wants a check first, unless there is nothing to do. 1: something small was put right.
            match tools.run("e2fsck", &["-f".as_ref(), "-p".as_ref(), image.as_os_str()]) {
                Err(ToolError::Failed { status, .. }) if status.code() == Some(1) => {}
                other => drop(other?),
            }
            tools.run("resize2fs", &[image])?;
            Ok(())
        }
    }
}

/// The kernel grows a mounted ext4 only for CAP_SYS_RESOURCE. FAILED_PRECONDITION makes the kubelet wait for the pod to
/// end instead of trying for ever.
fn not_while_mounted(error: ToolError) -> Fault {
    match error {
        ToolError::Failed { said, .. } if said.contains("Permission denied") => Fault::NotNow(
            "this ext4 cannot grow while it is mounted, since the driver has no CAP_SYS_RESOURCE: it grows when the pod \
             is next started; XFS has no such limit"
                .to_owned(),
        ),
        other @ (ToolError::Failed { .. } | ToolError::Start { .. }) => other.into(),
    }
}
