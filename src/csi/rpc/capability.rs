//! The capability of a volume in a request, validated as a [`MountRequest`]. Pure.

use crate::csi::error::CallError;
use crate::csi::proto::v1::VolumeCapability;
use crate::csi::proto::v1::volume_capability::AccessType;
use crate::csi::proto::v1::volume_capability::access_mode::Mode;

/// How a caller mounts a volume: as a filesystem, on one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountRequest {
    /// `xfs`, `ext4`, or empty for any filesystem.
    pub filesystem: String,
    /// Mount options.
    pub options: Vec<String>,
    /// Whether the mount is read-only.
    pub read_only: bool,
}

impl MountRequest {
    /// Validates one capability.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with what is not supported.
    pub fn parse(capability: Option<&VolumeCapability>) -> Result<Self, CallError> {
        let capability =
            capability.ok_or_else(|| CallError::InvalidArgument("volume_capability is required".to_owned()))?;
        let read_only = match capability.access_mode.unwrap_or_default().mode() {
            Mode::SingleNodeWriter | Mode::SingleNodeSingleWriter | Mode::SingleNodeMultiWriter => false,
            Mode::SingleNodeReaderOnly => true,
            Mode::Unknown => {
                return Err(CallError::InvalidArgument("volume_capability.access_mode is required".to_owned()));
            }
            mode @ (Mode::MultiNodeReaderOnly | Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter) => {
                let mode = mode.as_str_name();
                return Err(CallError::InvalidArgument(format!(
                    "access mode {mode} is not supported, because a local volume is on one node; use ReadWriteOnce"
                )));
            }
        };
        match &capability.access_type {
            Some(AccessType::Mount(mount)) => {
                let (filesystem, options) = (mount.fs_type.clone(), mount.mount_flags.clone());
                Ok(Self { filesystem, options, read_only })
            }
            Some(AccessType::Block(_)) => {
                Err(CallError::InvalidArgument("volumeMode Block is not supported; use Filesystem".to_owned()))
            }
            None => Err(CallError::InvalidArgument("volume_capability.access_type is required".to_owned())),
        }
    }

    /// Validates every capability of a volume and returns the filesystem that they request; empty for any filesystem.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when there is none, one is not supported, or two request different filesystems.
    pub fn common_filesystem(capabilities: &[VolumeCapability]) -> Result<String, CallError> {
        if capabilities.is_empty() {
            return Err(CallError::InvalidArgument("volume_capabilities is required".to_owned()));
        }
        let mut common = String::new();
        for capability in capabilities {
            let requested = Self::parse(Some(capability))?.filesystem;
            if !requested.is_empty() && !common.is_empty() && requested != common {
                return Err(CallError::InvalidArgument(format!(
                    "volume_capabilities request both {common} and {requested}; request one filesystem"
                )));
            }
            common = if requested.is_empty() { common } else { requested };
        }
        Ok(common)
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
    fn only_filesystems_on_one_node_are_supported() {
        let check = |capability: VolumeCapability, expected: Option<bool>| {
            let got = MountRequest::parse(Some(&capability)).ok().map(|request| request.read_only);
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
        assert!(MountRequest::parse(None).is_err());
    }

    #[test]
    fn two_capabilities_must_request_the_same_filesystem() {
        let of = |names: &[&str]| {
            let all: Vec<_> = names.iter().map(|name| mount(name, Mode::SingleNodeWriter)).collect();
            MountRequest::common_filesystem(&all).ok()
        };
        assert_eq!(of(&["", "ext4", ""]).as_deref(), Some("ext4"));
        assert_eq!(of(&[""]).as_deref(), Some(""));
        assert_eq!(of(&["xfs", "ext4"]), None);
        assert_eq!(of(&[]), None);
    }
}
