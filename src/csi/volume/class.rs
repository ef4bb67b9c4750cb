//! The parameters of a StorageClass, parsed into a [`VolumeClass`]. Pure.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::api::bytes::Bytes;
use crate::csi::error::CallError;

/// The parameters of a StorageClass. Each volume stores a copy, so an expansion uses the parameters that the volume was created
/// with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeClass {
    /// How the volume is stored.
    pub backend: BackendKind,
    /// The filesystem of the volume.
    pub filesystem: Filesystem,
    /// How many bytes can be allocated for each byte of disk space.
    pub overcommit: Overcommit,
    /// The maximum size of one volume, bytes.
    pub max_size: Option<u64>,
}

/// How a volume is stored: the names of the backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// A sparse file on the filesystem of the node, mounted through a loop device.
    #[default]
    Image,
}

impl BackendKind {
    /// Every kind.
    pub const ALL: [Self; 1] = [Self::Image];
}

/// The filesystems a volume can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// Can always be expanded while mounted.
    #[default]
    Xfs,
    /// Can be expanded while mounted only if the driver has CAP_SYS_RESOURCE.
    Ext4,
}

impl Filesystem {
    /// The name for `mount -t`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
        }
    }

    /// The minimum size, bytes: mkfs.xfs rejects less than 300 MiB, and an ext4 of less than 16 MiB consists mostly of its own
    /// tables.
    #[must_use]
    pub const fn minimum_size(self) -> u64 {
        match self {
            Self::Xfs => 300 << 20,
            Self::Ext4 => 16 << 20,
        }
    }

    /// The filesystem with this name; the default if the name is empty.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the driver does not support it.
    pub fn parse(name: &str) -> Result<Self, CallError> {
        match name {
            "" | "xfs" => Ok(Self::Xfs),
            "ext4" => Ok(Self::Ext4),
            other => Err(CallError::InvalidArgument(format!("filesystem {other:?} is not supported; use xfs or ext4"))),
        }
    }
}

/// Bytes that can be allocated for each byte of disk space, in thousandths: 1000 allocates what the disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Overcommit(u64);

impl Overcommit {
    /// Allocates what the disk has.
    pub const NONE: Self = Self(1000);

    /// How many bytes can be allocated on a disk of `bytes`.
    #[must_use]
    pub fn allocatable(self, bytes: u64) -> u64 {
        u64::try_from(u128::from(bytes) * u128::from(self.0) / 1000).unwrap_or(u64::MAX)
    }

    /// From `"1"`, `"1.5"`, `"100"`: at least 1, at most a million, three decimals.
    fn parse(text: &str) -> Result<Self, CallError> {
        let invalid = || {
            CallError::InvalidArgument(format!(
                "parameter overcommit: {text:?} must be a ratio from 1 to 1000000 with at most three decimals, such as \"1.5\""
            ))
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |t: &str, max_length| !t.is_empty() && t.len() <= max_length && t.bytes().all(|c| c.is_ascii_digit());
        if !digits(whole, 7) || !digits(fraction, 3) {
            return Err(invalid());
        }
        let thousandths = format!("{whole}{fraction:0<3}").parse().map_err(|_| invalid())?;
        if (1000..=1_000_000_000).contains(&thousandths) { Ok(Self(thousandths)) } else { Err(invalid()) }
    }
}

impl fmt::Display for Overcommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// Every parameter of a StorageClass that the driver supports.
pub const CLASS_PARAMETERS: [&str; 4] = ["backend", "fsType", "overcommit", "maxSize"];

/// The prefix of parameters for the sidecars. They can reach the driver, which ignores them.
const SIDECAR_PARAMETER_PREFIX: &str = "csi.storage.k8s.io/";

/// The filesystem parameter of the sidecars, which older versions pass to the driver.
const SIDECAR_FS_TYPE_PARAMETER: &str = "csi.storage.k8s.io/fstype";

impl VolumeClass {
    /// The minimum size of a volume, bytes.
    #[must_use]
    pub const fn minimum_size(&self) -> u64 {
        match self.backend {
            BackendKind::Image => self.filesystem.minimum_size(),
        }
    }

    /// Parses the parameters of a StorageClass. `requested_fs` is the filesystem in the capabilities of the volume; if both name
    /// one, they must be equal.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with the parameter and its valid values.
    pub fn parse(parameters: &HashMap<String, String>, requested_fs: &str) -> Result<Self, CallError> {
        let mut class = Self {
            backend: BackendKind::Image,
            filesystem: Filesystem::Xfs,
            overcommit: Overcommit::NONE,
            max_size: None,
        };
        let mut fs_name = requested_fs.to_owned();
        for (key, value) in parameters {
            match key.as_str() {
                "backend" => class.backend = backend(value)?,
                "fsType" | SIDECAR_FS_TYPE_PARAMETER => fs_name = same_filesystem(fs_name, value)?,
                "overcommit" => class.overcommit = Overcommit::parse(value)?,
                "maxSize" => class.max_size = Some(size(key, value)?),
                sidecar if sidecar.starts_with(SIDECAR_PARAMETER_PREFIX) => {}
                unknown => return Err(unknown_parameter(unknown)),
            }
        }
        class.filesystem = Filesystem::parse(&fs_name)?;
        Ok(class)
    }
}

fn backend(value: &str) -> Result<BackendKind, CallError> {
    match value {
        "image" => Ok(BackendKind::Image),
        other => {
            Err(CallError::InvalidArgument(format!("parameter backend: {other:?} is not supported; use \"image\"")))
        }
    }
}

fn same_filesystem(known: String, value: &str) -> Result<String, CallError> {
    if known.is_empty() || known == value {
        return Ok(value.to_owned());
    }
    Err(CallError::InvalidArgument(format!(
        "parameter fsType: {value:?} contradicts {known:?} in the capability of the volume or in the StorageClass; use one \
         filesystem in both"
    )))
}

fn size(key: &str, value: &str) -> Result<u64, CallError> {
    let bytes: Result<Bytes, _> = value.parse();
    bytes
        .map(|bytes| bytes.0)
        .map_err(|why| CallError::InvalidArgument(format!("parameter {key}: {value:?} is not a valid quantity: {why}")))
}

fn unknown_parameter(key: &str) -> CallError {
    CallError::InvalidArgument(format!(
        "parameter {key:?} is unknown; the driver supports {}",
        CLASS_PARAMETERS.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parameters: &[(&str, &str)], requested_fs: &str) -> Result<VolumeClass, String> {
        let map = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        VolumeClass::parse(&map, requested_fs).map_err(|error| error.to_string())
    }

    #[test]
    fn a_class_without_parameters_is_an_xfs_image_without_overcommit() {
        let class = parse(&[], "").unwrap();
        assert_eq!((class.filesystem, class.overcommit, class.max_size), (Filesystem::Xfs, Overcommit::NONE, None));
    }

    #[test]
    fn overcommit_is_an_exact_ratio() {
        for (text, from_1000) in
            [("1", 1000), ("1.5", 1500), ("2.25", 2250), ("1.001", 1001), ("1000000", 1_000_000_000)]
        {
            assert_eq!(parse(&[("overcommit", text)], "").unwrap().overcommit.allocatable(1000), from_1000, "{text}");
        }
        for bad in ["", "0", "0.9", "-1", "1.", ".5", "1e3", "1.2345", "1000001", "two", "+1"] {
            assert!(parse(&[("overcommit", bad)], "").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn overcommit_of_a_huge_disk_does_not_overflow() {
        assert_eq!(parse(&[("overcommit", "1000000")], "").unwrap().overcommit.allocatable(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_misspelled_parameter_is_named_in_the_error() {
        let error = parse(&[("overCommit", "2")], "").unwrap_err();
        assert!(error.contains("\"overCommit\"") && error.contains("overcommit"), "{error}");
    }

    #[test]
    fn a_parameter_of_the_sidecars_is_ignored() {
        assert!(parse(&[("csi.storage.k8s.io/pvc/name", "data-db-0")], "xfs").is_ok());
    }

    #[test]
    fn the_maximum_size_is_any_quantity() {
        assert_eq!(parse(&[("maxSize", "1.5Gi")], "").unwrap().max_size, Some(3 << 29));
        let error = parse(&[("maxSize", "2GB")], "").unwrap_err();
        assert!(error.contains("maxSize: \"2GB\""), "{error}");
    }

    #[test]
    fn every_parameter_is_documented() {
        let page = include_str!("../../../docs/reference/csi.md");
        for parameter in CLASS_PARAMETERS {
            assert!(page.contains(&format!("| `{parameter}` |")), "{parameter}");
        }
    }

    #[test]
    fn the_capability_and_the_parameter_must_name_the_same_filesystem() {
        assert_eq!(parse(&[("fsType", "ext4")], "").unwrap().filesystem, Filesystem::Ext4);
        assert_eq!(parse(&[("csi.storage.k8s.io/fstype", "ext4")], "ext4").unwrap().filesystem, Filesystem::Ext4);
        assert!(parse(&[("fsType", "ext4")], "xfs").is_err());
        assert!(parse(&[], "btrfs").is_err());
    }
}
