//! The mount table (`/proc/self/mountinfo`), and bind mounts.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};

use crate::csi::error::CallError;

/// The number of a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceNumber {
    /// The driver of the device: 7 for loop devices.
    pub major: u32,
    /// Which device of that driver.
    pub minor: u32,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The device that is mounted.
    pub device: DeviceNumber,
    /// The mount point.
    pub point: PathBuf,
    /// Options of this mount (not of the filesystem), as flags.
    pub flags: MountFlags,
}

/// All mounts in the mount namespace of this process, oldest first.
#[derive(Debug, Clone, Default)]
pub struct MountTable(Vec<Mount>);

/// The mount options that belong to a mount and not to the filesystem: each bind mount can have its own.
const PER_MOUNT_OPTIONS: [(&str, MountFlags); 7] = [
    ("ro", MountFlags::RDONLY),
    ("nosuid", MountFlags::NOSUID),
    ("nodev", MountFlags::NODEV),
    ("noexec", MountFlags::NOEXEC),
    ("noatime", MountFlags::NOATIME),
    ("nodiratime", MountFlags::NODIRATIME),
    ("relatime", MountFlags::RELATIME),
];

impl MountTable {
    /// Reads the table of this process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn read() -> Result<Self, CallError> {
        let path = Path::new("/proc/self/mountinfo");
        let bytes = std::fs::read(path).map_err(CallError::io("read", path))?;
        Ok(Self::parse(&bytes))
    }

    /// Skips lines that it cannot parse; they are not mounts of this driver.
    fn parse(bytes: &[u8]) -> Self {
        Self(bytes.split(|byte| *byte == b'\n').filter_map(parse_line).collect())
    }

    /// The topmost mount at exactly this path, which must not contain symbolic links.
    #[must_use]
    pub fn at(&self, path: &Path) -> Option<&Mount> {
        self.0.iter().rev().find(|mount| mount.point == path)
    }

    /// All mounts of a device.
    pub fn of(&self, device: DeviceNumber) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |mount| mount.device == device)
    }
}

/// The options among `names` that belong to a mount.
#[must_use]
pub fn flags<'a>(names: impl IntoIterator<Item = &'a str>) -> MountFlags {
    let known = |name| PER_MOUNT_OPTIONS.iter().find(|(known, _)| *known == name).map(|(_, flag)| *flag);
    names.into_iter().filter_map(known).fold(MountFlags::empty(), MountFlags::union)
}

/// Bind-mounts the directory `source` at `target`.
///
/// # Errors
/// The error of the kernel.
pub fn bind(source: &Path, target: &Path) -> Result<(), CallError> {
    mount_bind(source, target).map_err(CallError::io("bind-mount to", target))
}

/// Sets exactly these flags on a bind mount.
///
/// # Errors
/// The error of the kernel.
pub fn set_flags(target: &Path, flags: MountFlags) -> Result<(), CallError> {
    mount_remount(target, flags | MountFlags::BIND, "").map_err(CallError::io("set the mount options of", target))
}

/// Unmounts the topmost mount at `target`. Never lazily: for a mount in use, it fails.
///
/// # Errors
/// The error of the kernel.
pub fn detach(target: &Path) -> Result<(), CallError> {
    unmount(target, UnmountFlags::NOFOLLOW).map_err(CallError::io("unmount", target))
}

// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let (major, minor) = std::str::from_utf8(words.next()?).ok()?.split_once(':')?;
    let device = DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? };
    let point = unescape(words.nth(1)?);
    let options = std::str::from_utf8(words.next()?).ok()?;
    Some(Mount { device, point, flags: flags(options.split(',')) })
}

// The kernel writes space, tab, newline, and backslash as three octal digits.
fn unescape(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 7:3 / /var/lib/kubelet/a\\040b rw,noatime shared:5 - xfs /dev/loop3 rw,attr2
31 22 7:3 / /pods/1 ro,nosuid,noatime - xfs /dev/loop3 rw,attr2
32 31 0:40 / /pods/1 rw - tmpfs tmpfs rw
garbage
";

    #[test]
    fn the_topmost_mount_at_a_path_is_found() {
        let table = MountTable::parse(TABLE);
        assert_eq!(table.at(Path::new("/pods/1")).map(|m| m.device), Some(DeviceNumber { major: 0, minor: 40 }));
        assert_eq!(table.at(Path::new("/pods")), None);
    }

    #[test]
    fn a_path_with_a_space_is_found() {
        let table = MountTable::parse(TABLE);
        let mount = table.at(Path::new("/var/lib/kubelet/a b")).unwrap();
        assert_eq!((mount.device, mount.flags), (DeviceNumber { major: 7, minor: 3 }, MountFlags::NOATIME));
    }

    #[test]
    fn every_mount_of_a_device_is_found_with_its_own_flags() {
        let table = MountTable::parse(TABLE);
        let read_only: Vec<_> =
            table.of(DeviceNumber { major: 7, minor: 3 }).map(|m| m.flags.contains(MountFlags::RDONLY)).collect();
        assert_eq!(read_only, [false, true]);
    }

    proptest::proptest! {
        #[test]
        fn no_input_makes_the_parser_panic(bytes: Vec<u8>) {
            MountTable::parse(&bytes);
        }

        #[test]
        fn a_path_is_read_as_the_kernel_writes_it(name in "[ a-z\\\\\t\n]{1,12}") {
            let escaped: String = name.chars().map(|c| match c {
                ' ' | '\\' | '\t' | '\n' => format!("\\{:03o}", u32::from(c)),
                plain => plain.to_string(),
            }).collect();
            let table = MountTable::parse(format!("1 2 7:0 / /{escaped} rw - xfs /dev/loop0 rw").as_bytes());
            let path = PathBuf::from(format!("/{name}"));
            proptest::prop_assert!(table.at(&path).is_some());
        }
    }

    #[test]
    fn options_of_the_filesystem_are_not_flags_of_a_mount() {
        assert_eq!(flags(["ro", "discard", "noexec"]), MountFlags::RDONLY | MountFlags::NOEXEC);
    }
}
