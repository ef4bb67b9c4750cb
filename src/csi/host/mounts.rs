//! What is mounted where (`/proc/self/mountinfo`), and bind mounts.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};

use crate::csi::error::Fault;

/// A block device's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Kind of device: 7 for loop.
    pub major: u32,
    /// Which of them.
    pub minor: u32,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The device that is mounted.
    pub device: Device,
    /// Where.
    pub point: PathBuf,
    /// Options of this mount (not of the filesystem), as flags.
    pub flags: MountFlags,
}

/// All mounts that this process sees, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Table(Vec<Mount>);

/// The mount options that belong to a mount and not to the filesystem, so that each bind mount can have its own.
const PER_MOUNT: [(&str, MountFlags); 7] = [
    ("ro", MountFlags::RDONLY),
    ("nosuid", MountFlags::NOSUID),
    ("nodev", MountFlags::NODEV),
    ("noexec", MountFlags::NOEXEC),
    ("noatime", MountFlags::NOATIME),
    ("nodiratime", MountFlags::NODIRATIME),
    ("relatime", MountFlags::RELATIME),
];

impl Table {
    /// Reads the table of this process.
    ///
    /// # Errors
    /// When `/proc` is not there.
    pub fn read() -> Result<Self, Fault> {
        let path = Path::new("/proc/self/mountinfo");
        let bytes = std::fs::read(path).map_err(Fault::io("read", path))?;
        Ok(Self::parse(&bytes))
    }

    /// Lines that are not understood are not ours and are left out.
    fn parse(bytes: &[u8]) -> Self {
        Self(bytes.split(|byte| *byte == b'\n').filter_map(parse_line).collect())
    }

    /// The topmost mount at exactly that path, which must be free of symbolic links.
    #[must_use]
    pub fn at(&self, path: &Path) -> Option<&Mount> {
        self.0.iter().rev().find(|mount| mount.point == path)
    }

    /// All mounts of a device.
    pub fn of(&self, device: Device) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |mount| mount.device == device)
    }
}

/// The options among `names` that belong to a mount.
#[must_use]
pub fn flags<'a>(names: impl IntoIterator<Item = &'a str>) -> MountFlags {
    let known = |name| PER_MOUNT.iter().find(|(known, _)| *known == name).map(|(_, flag)| *flag);
    names.into_iter().filter_map(known).fold(MountFlags::empty(), MountFlags::union)
}

/// Shows the folder `source` at `target` as well.
///
/// # Errors
/// As the kernel says.
pub fn bind(source: &Path, target: &Path) -> Result<(), Fault> {
    mount_bind(source, target).map_err(Fault::io("bind-mount to", target))
}

/// Gives a bind mount exactly these flags.
///
/// # Errors
/// As the kernel says.
pub fn set_flags(target: &Path, flags: MountFlags) -> Result<(), Fault> {
    mount_remount(target, flags | MountFlags::BIND, "").map_err(Fault::io("set mount options of", target))
}

/// Takes the topmost mount at `target` away. Never lazily: a mount in use is an error, not a surprise for later.
///
/// # Errors
/// As the kernel says.
pub fn detach(target: &Path) -> Result<(), Fault> {
    unmount(target, UnmountFlags::NOFOLLOW).map_err(Fault::io("unmount", target))
}

// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let (major, minor) = std::str::from_utf8(words.next()?).ok()?.split_once(':')?;
    let device = Device { major: major.parse().ok()?, minor: minor.parse().ok()? };
    let point = unescape(words.nth(1)?);
    let options = std::str::from_utf8(words.next()?).ok()?;
    Some(Mount { device, point, flags: flags(options.split(',')) })
}

// Space, tab, newline and backslash are written as three octal digits.
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
        let table = Table::parse(TABLE);
        assert_eq!(table.at(Path::new("/pods/1")).map(|m| m.device), Some(Device { major: 0, minor: 40 }));
        assert_eq!(table.at(Path::new("/pods")), None);
    }

    #[test]
    fn a_path_with_a_space_is_found() {
        let table = Table::parse(TABLE);
        let mount = table.at(Path::new("/var/lib/kubelet/a b")).unwrap();
        assert_eq!((mount.device, mount.flags), (Device { major: 7, minor: 3 }, MountFlags::NOATIME));
    }

    #[test]
    fn every_mount_of_a_device_is_found_with_its_own_flags() {
        let table = Table::parse(TABLE);
        let read_only: Vec<_> =
            table.of(Device { major: 7, minor: 3 }).map(|m| m.flags.contains(MountFlags::RDONLY)).collect();
        assert_eq!(read_only, [false, true]);
    }

    proptest::proptest! {
        #[test]
        fn no_table_breaks_the_reader(bytes: Vec<u8>) {
            Table::parse(&bytes);
        }

        #[test]
        fn a_path_is_read_as_the_kernel_writes_it(name in "[ a-z\\\\\t\n]{1,12}") {
            let escaped: String = name.chars().map(|c| match c {
                ' ' | '\\' | '\t' | '\n' => format!("\\{:03o}", u32::from(c)),
                plain => plain.to_string(),
            }).collect();
            let table = Table::parse(format!("1 2 7:0 / /{escaped} rw - xfs /dev/loop0 rw").as_bytes());
            let path = PathBuf::from(format!("/{name}"));
            proptest::prop_assert!(table.at(&path).is_some());
        }
    }

    #[test]
    fn options_of_the_filesystem_are_no_flags_of_a_mount() {
        assert_eq!(flags(["ro", "discard", "noexec"]), MountFlags::RDONLY | MountFlags::NOEXEC);
    }
}
