//! What a StorageClass asks of its volumes: parameters in, a checked [`Class`] out. Pure.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::api::bytes::Bytes;
use crate::csi::error::Fault;

/// What every volume of a class has in common. Kept with each volume, so that growing asks the class it was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// How the volume is isolated.
    pub backend: Backend,
    /// What is in it.
    pub filesystem: Filesystem,
    /// How much may be promised for each byte of disk.
    pub overcommit: Overcommit,
    /// The administrator's ceiling for one volume, bytes.
    pub max_size: Option<u64>,
}

/// How a volume is kept apart from its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A sparse file on the host's filesystem, mounted through a loop device.
    #[default]
    Image,
}

/// The filesystems a volume can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// Grows while mounted, everywhere.
    #[default]
    Xfs,
    /// Grows while mounted only where the driver has CAP_SYS_RESOURCE.
    Ext4,
}

impl Filesystem {
    /// The name `mount` knows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
        }
    }

    /// The smallest one that can be made, bytes: mkfs.xfs refuses less than 300 MiB; an ext4 below 16 MiB is mostly
    /// its own tables.
    #[must_use]
    pub const fn least(self) -> u64 {
        match self {
            Self::Xfs => 300 << 20,
            Self::Ext4 => 16 << 20,
        }
    }

    /// By name; empty means the default.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn parse(name: &str) -> Result<Self, Fault> {
        match name {
            "" | "xfs" => Ok(Self::Xfs),
            "ext4" => Ok(Self::Ext4),
            other => Err(Fault::Invalid(format!("filesystem {other:?} is not supported: use xfs or ext4"))),
        }
    }
}

/// Bytes that may be promised for each byte the disk has, in thousandths: 1000 is honest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Overcommit(u64);

impl Overcommit {
    /// Promise what there is.
    pub const HONEST: Self = Self(1000);

    /// What may be promised on `bytes` of disk.
    #[must_use]
    pub fn of(self, bytes: u64) -> u64 {
        u64::try_from(u128::from(bytes) * u128::from(self.0) / 1000).unwrap_or(u64::MAX)
    }

    /// From `"1"`, `"1.5"`, `"100"`: at least 1, at most a million, three decimals.
    fn parse(text: &str) -> Result<Self, Fault> {
        let wrong =
            || Fault::Invalid(format!("overcommit: {text:?} is not a ratio from 1 to 1000000, such as \"1.5\""));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |t: &str, longest| !t.is_empty() && t.len() <= longest && t.bytes().all(|c| c.is_ascii_digit());
        if !digits(whole, 7) || !digits(fraction, 3) {
            return Err(wrong());
        }
        let thousandths = format!("{whole}{fraction:0<3}").parse().map_err(|_| wrong())?;
        if (1000..=1_000_000_000).contains(&thousandths) { Ok(Self(thousandths)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Overcommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// Every parameter of a StorageClass that means something here.
pub const PARAMETERS: [&str; 4] = ["backend", "fsType", "overcommit", "maxSize"];

/// Parameters that are for the sidecars; they may come through, and mean nothing here.
const SIDECARS: &str = "csi.storage.k8s.io/";

/// The sidecars' own word for the filesystem, which older ones hand through.
const SIDECAR_FS_TYPE: &str = "csi.storage.k8s.io/fstype";

impl Class {
    /// Reads a StorageClass. `asked_fs` is what the volume's capabilities say; where both speak they must agree.
    ///
    /// # Errors
    /// INVALID_ARGUMENT that names the parameter and what it may be.
    pub fn parse(parameters: &HashMap<String, String>, asked_fs: &str) -> Result<Self, Fault> {
        let mut class = Self {
            backend: Backend::Image,
            filesystem: Filesystem::Xfs,
            overcommit: Overcommit::HONEST,
            max_size: None,
        };
        let mut fs_name = asked_fs.to_owned();
        for (key, value) in parameters {
            match key.as_str() {
                "backend" => class.backend = backend(value)?,
                "fsType" | SIDECAR_FS_TYPE => fs_name = agree(fs_name, value)?,
                "overcommit" => class.overcommit = Overcommit::parse(value)?,
                "maxSize" => class.max_size = Some(size(key, value)?),
                sidecars if sidecars.starts_with(SIDECARS) => {}
                unknown => return Err(unknown_parameter(unknown)),
            }
        }
        class.filesystem = Filesystem::parse(&fs_name)?;
        Ok(class)
    }
}

fn backend(value: &str) -> Result<Backend, Fault> {
    match value {
        "image" => Ok(Backend::Image),
        other => Err(Fault::Invalid(format!("backend: {other:?} is not known: use \"image\""))),
    }
}

fn agree(known: String, value: &str) -> Result<String, Fault> {
    if known.is_empty() || known == value {
        return Ok(value.to_owned());
    }
    Err(Fault::Invalid(format!(
        "fsType: {value:?} contradicts {known:?}, which the volume's capability or class asks for"
    )))
}

fn size(key: &str, value: &str) -> Result<u64, Fault> {
    let bytes: Result<Bytes, _> = value.parse();
    bytes.map(|bytes| bytes.0).map_err(|why| Fault::Invalid(format!("{key}: {value:?} is not a size: {why}")))
}

fn unknown_parameter(key: &str) -> Fault {
    Fault::Invalid(format!("parameter {key:?} is not known; known are {}", PARAMETERS.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parameters: &[(&str, &str)], asked_fs: &str) -> Result<Class, String> {
        let map = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Class::parse(&map, asked_fs).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_class_without_parameters_is_an_honest_xfs_image() {
        let class = parse(&[], "").unwrap();
        assert_eq!((class.filesystem, class.overcommit, class.max_size), (Filesystem::Xfs, Overcommit::HONEST, None));
    }

    #[test]
    fn overcommit_is_an_exact_ratio() {
        for (text, of_1000) in [("1", 1000), ("1.5", 1500), ("2.25", 2250), ("1.001", 1001), ("1000000", 1_000_000_000)]
        {
            assert_eq!(parse(&[("overcommit", text)], "").unwrap().overcommit.of(1000), of_1000, "{text}");
        }
        for bad in ["", "0", "0.9", "-1", "1.", ".5", "1e3", "1.2345", "1000001", "two", "+1"] {
            assert!(parse(&[("overcommit", bad)], "").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn overcommit_of_a_huge_disk_does_not_overflow() {
        assert_eq!(parse(&[("overcommit", "1000000")], "").unwrap().overcommit.of(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_parameter_with_a_typing_error_is_named() {
        let error = parse(&[("overCommit", "2")], "").unwrap_err();
        assert!(error.contains("\"overCommit\"") && error.contains("overcommit"), "{error}");
    }

    #[test]
    fn what_the_sidecars_add_is_no_error() {
        assert!(parse(&[("csi.storage.k8s.io/pvc/name", "data-db-0")], "xfs").is_ok());
    }

    #[test]
    fn a_ceiling_is_any_quantity() {
        assert_eq!(parse(&[("maxSize", "1.5Gi")], "").unwrap().max_size, Some(3 << 29));
        let error = parse(&[("maxSize", "2GB")], "").unwrap_err();
        assert!(error.contains("maxSize: \"2GB\""), "{error}");
    }

    #[test]
    fn every_parameter_is_in_the_reference() {
        let page = include_str!("../../../docs/reference/csi.md");
        for parameter in PARAMETERS {
            assert!(page.contains(&format!("| `{parameter}` |")), "{parameter}");
        }
    }

    #[test]
    fn filesystems_must_agree() {
        assert_eq!(parse(&[("fsType", "ext4")], "").unwrap().filesystem, Filesystem::Ext4);
        assert_eq!(parse(&[("csi.storage.k8s.io/fstype", "ext4")], "ext4").unwrap().filesystem, Filesystem::Ext4);
        assert!(parse(&[("fsType", "ext4")], "xfs").is_err());
        assert!(parse(&[], "btrfs").is_err());
    }
}
