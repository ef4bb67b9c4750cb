//! How a caller wants to use a volume: capability in, a checked [`Usage`] out. Pure.

use crate::csi::error::Fault;
use crate::csi::proto::v1::VolumeCapability;
use crate::csi::proto::v1::volume_capability::AccessType;
use crate::csi::proto::v1::volume_capability::access_mode::Mode;

/// A use that this driver can serve: a mounted filesystem on one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// `xfs`, `ext4`, or empty.
    pub filesystem: String,
    /// Mount options.
    pub flags: Vec<String>,
    /// Nobody may write.
    pub read_only: bool,
}

impl Usage {
    /// # Errors
    /// INVALID_ARGUMENT that says what cannot be done.
    pub fn parse(capability: Option<&VolumeCapability>) -> Result<Self, Fault> {
        let capability = capability.ok_or_else(|| Fault::Invalid("volume_capability is missing".to_owned()))?;
        let read_only = match capability.access_mode.unwrap_or_default().mode() {
            Mode::SingleNodeWriter | Mode::SingleNodeSingleWriter | Mode::SingleNodeMultiWriter => false,
            Mode::SingleNodeReaderOnly => true,
            Mode::Unknown => return Err(Fault::Invalid("volume_capability has no access_mode".to_owned())),
            mode @ (Mode::MultiNodeReaderOnly | Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter) => {
                let mode = mode.as_str_name();
                return Err(Fault::Invalid(format!("{mode}: a local volume is on one node only; use ReadWriteOnce")));
            }
        };
        match &capability.access_type {
            Some(AccessType::Mount(mount)) => {
                let (filesystem, flags) = (mount.fs_type.clone(), mount.mount_flags.clone());
                Ok(Self { filesystem, flags, read_only })
            }
            Some(AccessType::Block(_)) => {
                Err(Fault::Invalid("volumeMode Block is not supported; use Filesystem".to_owned()))
            }
            None => Err(Fault::Invalid("volume_capability has no access_type".to_owned())),
        }
    }

    /// Checks every capability of a volume and returns the filesystem that they ask for; empty: none in particular.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when there is none, one cannot be served, or two ask for different filesystems.
    pub fn filesystem_of(capabilities: &[VolumeCapability]) -> Result<String, Fault> {
        if capabilities.is_empty() {
            return Err(Fault::Invalid("volume_capabilities is empty".to_owned()));
        }
        let mut agreed = String::new();
        for capability in capabilities {
            let asked = Self::parse(Some(capability))?.filesystem;
            if !asked.is_empty() && !agreed.is_empty() && asked != agreed {
                return Err(Fault::Invalid(format!("the volume cannot be {agreed} and {asked} at once")));
            }
            agreed = if asked.is_empty() { agreed } else { asked };
        }
        Ok(agreed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csi::proto::v1::volume_capability::{AccessMode, BlockVolume, MountVolume};

    fn mount(filesystem: &str, mode: Mode) -> VolumeCapability {
        let access_type = AccessType::Mount(MountVolume { fs_type: filesystem.to_owned(), mount_flags: vec![] });
        VolumeCapability { access_type: Some(access_type), access_mode: Some(AccessMode { mode: mode.into() }) }
    }

    #[test]
    fn only_filesystems_on_one_node_are_served() {
        let check = |capability: VolumeCapability, expected: Option<bool>| {
            let got = Usage::parse(Some(&capability)).ok().map(|usage| usage.read_only);
            assert_eq!(got, expected, "{capability:?}");
        };
        check(mount("xfs", Mode::SingleNodeWriter), Some(false));
        check(mount("", Mode::SingleNodeReaderOnly), Some(true));
        check(mount("", Mode::SingleNodeSingleWriter), Some(false));
        check(mount("", Mode::MultiNodeMultiWriter), None);
        check(mount("", Mode::Unknown), None);
        check(VolumeCapability { access_type: None, ..mount("", Mode::SingleNodeWriter) }, None);
        let block = Some(AccessType::Block(BlockVolume {}));
        check(VolumeCapability { access_type: block, ..mount("", Mode::SingleNodeWriter) }, None);
        assert!(Usage::parse(None).is_err());
    }

    #[test]
    fn two_capabilities_must_agree_on_the_filesystem() {
        let of = |names: &[&str]| {
            let all: Vec<_> = names.iter().map(|name| mount(name, Mode::SingleNodeWriter)).collect();
            Usage::filesystem_of(&all).ok()
        };
        assert_eq!(of(&["", "ext4", ""]).as_deref(), Some("ext4"));
        assert_eq!(of(&[""]).as_deref(), Some(""));
        assert_eq!(of(&["xfs", "ext4"]), None);
        assert_eq!(of(&[]), None);
    }
}
