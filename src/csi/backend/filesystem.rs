//! The filesystem in an image file: create it, mount it, and expand it.

use std::ffi::OsStr;
use std::path::Path;

use rustix::mount::MountFlags;

use super::loop_device;
use crate::csi::error::CallError;
use crate::csi::host::mounts::{Mount, MountTable};
use crate::csi::host::tool::{ToolError, Tools};
use crate::csi::volume::class::Filesystem;

/// Creates an empty filesystem in a new image file.
///
/// # Errors
/// When mkfs fails.
pub(super) fn format(tools: &Tools, filesystem: Filesystem, image: &Path) -> Result<(), CallError> {
    let image = image.as_os_str();
    match filesystem {
        // -K: a new sparse file has nothing to discard.
        Filesystem::Xfs => tools.run("mkfs.xfs", &["-q".as_ref(), "-K".as_ref(), image])?,
        // -m 0: no blocks reserved for root, since the Pod gets all that is allocated. nodiscard: as above.
        Filesystem::Ext4 => {
            let options = ["-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"];
            let arguments: Vec<_> = options.into_iter().map(OsStr::new).chain([image]).collect();
            tools.run("mkfs.ext4", &arguments)?
        }
    };
    Ok(())
}

/// Mounts an image file with the options of the caller, through a loop device that is freed by the last unmount. If a device
/// is already over this file, `mount` uses it: a second one would corrupt the data.
///
/// # Errors
/// When `mount` fails.
pub(super) fn mount(
    tools: &Tools,
    filesystem: Filesystem,
    image: &Path,
    target: &Path,
    options: &[String],
) -> Result<(), CallError> {
    let options = std::iter::once("loop").chain(options.iter().map(String::as_str)).collect::<Vec<_>>().join(",");
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

/// Expands a mounted filesystem to the size of its device. Can be repeated.
///
/// # Errors
/// FAILED_PRECONDITION when no mount of it is writable, or the kernel does not expand it while it is mounted.
pub(super) fn expand_mounted(
    tools: &Tools,
    filesystem: Filesystem,
    mount: &Mount,
    table: &MountTable,
) -> Result<(), CallError> {
    let writable = table.of(mount.device).find(|mount| !mount.flags.contains(MountFlags::RDONLY));
    let Some(writable) = writable else {
        return Err(CallError::FailedPrecondition(
            "the volume is mounted read-only, and can be expanded only through a writable mount".to_owned(),
        ));
    };
    match filesystem {
        Filesystem::Xfs => tools.run("xfs_growfs", &["-d".as_ref(), writable.point.as_os_str()])?,
        Filesystem::Ext4 => tools.run("resize2fs", &[loop_device::path(mount.device)?]).map_err(ext4_error)?,
    };
    Ok(())
}

/// Expands a filesystem that is not mounted anywhere to the size of its image file: what [`expand_mounted`] could not do.
///
/// # Errors
/// When a program fails.
pub(super) fn expand_unmounted(tools: &Tools, filesystem: Filesystem, image: &Path) -> Result<(), CallError> {
    match filesystem {
        // XFS can be expanded only while it is mounted.
        Filesystem::Xfs => Ok(()),
        Filesystem::Ext4 => {
            if tools.run("resize2fs", &[image]).is_ok() {
                return Ok(());
            }
            // It requires a check first, unless the size is already right. Status 1: e2fsck corrected an error.
            match tools.run("e2fsck", &["-f".as_ref(), "-p".as_ref(), image.as_os_str()]) {
                Err(ToolError::Failed { status, .. }) if status.code() == Some(1) => {}
                other => drop(other?),
            }
            tools.run("resize2fs", &[image])?;
            Ok(())
        }
    }
}

/// The kernel expands a mounted ext4 only for CAP_SYS_RESOURCE. On FAILED_PRECONDITION, the kubelet waits for the Pod to end
/// and does not retry forever.
fn ext4_error(error: ToolError) -> CallError {
    match error {
        ToolError::Failed { output, .. } if output.contains("Permission denied") => CallError::FailedPrecondition(
            "this ext4 filesystem cannot be expanded while it is mounted, because the driver does not have \
             CAP_SYS_RESOURCE; it is expanded when the Pod is next started; restart the Pod, or use XFS, which does not \
             need that capability"
                .to_owned(),
        ),
        other @ (ToolError::Failed { .. } | ToolError::Start { .. }) => other.into(),
    }
}
