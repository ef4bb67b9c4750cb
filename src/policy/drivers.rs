//! The limits of each CSI driver: data, not code. The administrator can override each line.
//!
//! rso assumes that a driver that is not listed expands volumes online and without limits, which is what the CSI
//! specification asks of a driver that offers expansion.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reaction::Reaction;
use crate::api::bytes::{Bytes, QuantityError};

/// When a driver can expand a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// While a Pod uses it.
    #[default]
    Online,
    /// Only while no Pod uses it.
    Offline,
    /// Never.
    Never,
}

/// The unit to which a size chosen by usage is rounded up. Sizes that a person requests are used unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// Nothing beyond whole MiB or GiB.
    #[default]
    None,
    /// A multiple of this.
    Multiple(Bytes),
    /// A power of two: disks that are billed by tier (4, 8, 16, … GiB) cost the same up to the tier's end.
    PowerOfTwo,
}

/// The limits of one driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Driver {
    /// The minimum time between two expansions of one volume, if no annotation sets another.
    pub cooldown: Duration,
    /// That time for a volume that is nearly full (95% of it in use); `None`: the same as `cooldown`.
    pub emergency_cooldown: Option<Duration>,
    /// The unit to which a size is rounded up.
    pub rounding: Rounding,
    /// The largest volume that it provides.
    pub max_size: Option<Bytes>,
    /// When it can expand a volume.
    pub growth: Growth,
    /// How long its expansions take in this StorageClass: no limit, but measured.
    pub reaction: Reaction,
}

/// Why an administrator's line about a driver is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DriverError {
    /// There is no `name:` at its start.
    #[error("failed to parse the limits of a CSI driver in {0:?}: use <provisioner>:<field>=<value>,…")]
    NoName(String),
    /// Not a field, or not one of its values.
    #[error(
        "failed to parse {0:?}: the fields are `cooldown=<duration>`, `emergency-cooldown=<duration>`, \
         `round=<quantity>|power-of-two|none`, `max-size=<quantity>`, `growth=online|offline|never`"
    )]
    UnknownField(String),
    /// An invalid duration.
    #[error("failed to parse the duration in {field:?}")]
    Duration {
        /// The field with its value.
        field: String,
        /// What is wrong with it.
        #[source]
        source: humantime::DurationError,
    },
    /// An invalid size.
    #[error("failed to parse the size in {field:?}")]
    Size {
        /// The field with its value.
        field: String,
        /// What is wrong with it.
        #[source]
        source: QuantityError,
    },
}

const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

const ONLINE: Driver = Driver {
    cooldown: Duration::ZERO,
    emergency_cooldown: None,
    rounding: Rounding::None,
    max_size: None,
    growth: Growth::Online,
    reaction: Reaction::NOT_NUDGED,
};
const NEVER: Driver = Driver { growth: Growth::Never, ..ONLINE };
const TIB: u64 = 1 << 40;

/// The drivers whose limits rso knows.
const KNOWN: &[(&str, Driver)] = &[
    // Four modifications in any 24 hours, each started after the last one is complete. At one in six hours, the fourth
    // is always left; a volume that is nearly full may use it.
    (
        "ebs.csi.aws.com",
        Driver {
            cooldown: hours(6),
            emergency_cooldown: Some(Duration::from_secs(15 * 60)),
            rounding: Rounding::Multiple(Bytes::gib(1)),
            max_size: Some(Bytes(64 * TIB)),
            ..ONLINE
        },
    ),
    // Hyperdisk types allow one change in four hours. The driver's name does not show the type, so this limit is left
    // to `cooldown`.
    (
        "pd.csi.storage.gke.io",
        Driver { rounding: Rounding::Multiple(Bytes::gib(1)), max_size: Some(Bytes(64 * TIB)), ..ONLINE },
    ),
    // Billed by tier.
    ("disk.csi.azure.com", Driver { rounding: Rounding::PowerOfTwo, max_size: Some(Bytes(32 * TIB)), ..ONLINE }),
    // Online since vSphere 7.0U2.
    ("csi.vsphere.vmware.com", ONLINE),
    ("driver.longhorn.io", ONLINE),
    ("topolvm.io", Driver { rounding: Rounding::Multiple(Bytes::gib(1)), ..ONLINE }),
    ("rbd.csi.ceph.com", ONLINE),
    ("local.csi.openebs.io", ONLINE),
    ("local.csi.resize-statefulset-operator", ONLINE),
    ("rancher.io/local-path", NEVER),
    ("kubernetes.io/no-provisioner", NEVER),
];

/// The limits of every driver: the built-in ones, overridden by those that the administrator sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drivers(BTreeMap<String, Driver>);

impl Default for Drivers {
    fn default() -> Self {
        Self(KNOWN.iter().map(|(name, driver)| ((*name).to_owned(), *driver)).collect())
    }
}

impl Drivers {
    /// The limits of this provisioner; if it is not known, those of a driver without limits.
    pub fn get(&self, provisioner: &str) -> Driver {
        self.0.get(provisioner).copied().unwrap_or_default()
    }

    /// Overrides one driver by a line such as `ebs.csi.aws.com:cooldown=1h,max-size=16Ti`. Fields that the line does
    /// not name keep their values.
    ///
    /// # Errors
    /// Returns which part of the line is invalid, and changes nothing.
    pub fn set(&mut self, line: &str) -> Result<(), DriverError> {
        let (name, fields) = line.split_once(':').ok_or_else(|| DriverError::NoName(line.to_owned()))?;
        let mut driver = self.get(name);
        for field in fields.split(',') {
            driver = with_field(driver, field)?;
        }
        self.0.insert(name.to_owned(), driver);
        Ok(())
    }
}

fn with_field(driver: Driver, field: &str) -> Result<Driver, DriverError> {
    let duration = |text: &str| {
        humantime::parse_duration(text).map_err(|source| DriverError::Duration { field: field.to_owned(), source })
    };
    let size =
        |text: &str| text.parse::<Bytes>().map_err(|source| DriverError::Size { field: field.to_owned(), source });
    Ok(match field.split_once('=').unwrap_or((field, "")) {
        ("cooldown", text) => Driver { cooldown: duration(text)?, ..driver },
        ("emergency-cooldown", text) => Driver { emergency_cooldown: Some(duration(text)?), ..driver },
        ("round", "none") => Driver { rounding: Rounding::None, ..driver },
        ("round", "power-of-two") => Driver { rounding: Rounding::PowerOfTwo, ..driver },
        ("round", text) => Driver { rounding: Rounding::Multiple(size(text)?), ..driver },
        ("max-size", text) => Driver { max_size: Some(size(text)?), ..driver },
        ("growth", "online") => Driver { growth: Growth::Online, ..driver },
        ("growth", "offline") => Driver { growth: Growth::Offline, ..driver },
        ("growth", "never") => Driver { growth: Growth::Never, ..driver },
        _ => return Err(DriverError::UnknownField(field.to_owned())),
    })
}

impl Driver {
    /// This size as the driver provides it: never smaller.
    pub fn round_up(&self, size: Bytes) -> Bytes {
        match self.rounding {
            Rounding::None => size,
            Rounding::Multiple(unit) => size.round_up_to(unit),
            Rounding::PowerOfTwo => size.0.checked_next_power_of_two().map_or(Bytes::MAX, Bytes).min(Bytes::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_rounded_up_to_what_the_driver_makes() {
        let check = |rounding: Rounding, size: Bytes, expected: Bytes| {
            assert_eq!(Driver { rounding, ..ONLINE }.round_up(size), expected, "{rounding:?} {size}");
        };
        check(Rounding::None, Bytes(5), Bytes(5));
        check(Rounding::Multiple(Bytes::gib(1)), Bytes::mib(1500), Bytes::gib(2));
        check(Rounding::Multiple(Bytes::gib(1)), Bytes::gib(2), Bytes::gib(2));
        check(Rounding::PowerOfTwo, Bytes::gib(33), Bytes::gib(64));
        check(Rounding::PowerOfTwo, Bytes::gib(64), Bytes::gib(64));
        check(Rounding::PowerOfTwo, Bytes::MAX, Bytes::MAX);
        check(Rounding::PowerOfTwo, Bytes(0), Bytes(1));
    }

    #[test]
    fn an_unknown_driver_grows_online_and_without_limits() {
        assert_eq!(Drivers::default().get("csi.example.com"), ONLINE);
        assert_eq!(Drivers::default().get("rancher.io/local-path").growth, Growth::Never);
    }

    #[test]
    fn what_is_built_in_is_what_each_driver_documents() {
        let check = |name: &str, rounding: Rounding, max_tib: Option<u64>| {
            let driver = Drivers::default().get(name);
            let max_size = max_tib.map(|tib| Bytes::gib(1024 * tib));
            assert_eq!((driver.rounding, driver.max_size), (rounding, max_size), "{name}");
        };
        let whole_gib = Rounding::Multiple(Bytes::gib(1));
        check("ebs.csi.aws.com", whole_gib, Some(64));
        check("pd.csi.storage.gke.io", whole_gib, Some(64));
        check("disk.csi.azure.com", Rounding::PowerOfTwo, Some(32));
        check("topolvm.io", whole_gib, None);
        check("driver.longhorn.io", Rounding::None, None);
        let ebs = Drivers::default().get("ebs.csi.aws.com");
        let minutes = |n: u64| Duration::from_secs(n * 60);
        assert_eq!((ebs.cooldown, ebs.emergency_cooldown), (minutes(360), Some(minutes(15))));
    }

    #[test]
    fn every_field_can_be_overridden_by_itself() {
        let start = Driver {
            cooldown: hours(1),
            emergency_cooldown: Some(hours(1)),
            rounding: Rounding::Multiple(Bytes::gib(3)),
            max_size: Some(Bytes(TIB)),
            growth: Growth::Offline,
            reaction: Reaction::NUDGED,
        };
        let check = |field: &str, expected: Driver| assert_eq!(with_field(start, field), Ok(expected), "{field}");
        check("cooldown=2h", Driver { cooldown: hours(2), ..start });
        check("emergency-cooldown=2h", Driver { emergency_cooldown: Some(hours(2)), ..start });
        check("round=none", Driver { rounding: Rounding::None, ..start });
        check("round=power-of-two", Driver { rounding: Rounding::PowerOfTwo, ..start });
        check("round=4Gi", Driver { rounding: Rounding::Multiple(Bytes::gib(4)), ..start });
        check("max-size=2Ti", Driver { max_size: Some(Bytes::gib(2048)), ..start });
        check("growth=online", Driver { growth: Growth::Online, ..start });
        check("growth=never", Driver { growth: Growth::Never, ..start });
        assert_eq!(with_field(ONLINE, "growth=offline"), Ok(Driver { growth: Growth::Offline, ..ONLINE }));
    }

    #[test]
    fn the_administrator_overrides_single_fields() {
        let mut drivers = Drivers::default();
        assert_eq!(drivers.set("ebs.csi.aws.com:cooldown=1h,growth=offline"), Ok(()));
        let ebs = drivers.get("ebs.csi.aws.com");
        assert_eq!((ebs.cooldown, ebs.growth), (hours(1), Growth::Offline));
        assert_eq!(ebs.max_size, Some(Bytes(64 * TIB)));
        assert_eq!(drivers.set("new.example.com:round=power-of-two,max-size=1Ti"), Ok(()));
        assert_eq!(drivers.get("new.example.com").max_size, Some(Bytes(TIB)));
    }

    #[test]
    fn a_line_that_is_not_understood_is_refused_and_changes_nothing() {
        let check = |line: &str, part: &str| {
            let mut drivers = Drivers::default();
            let told = drivers.set(line).expect_err(line).to_string();
            assert!(told.contains(part), "{told}");
            assert_eq!(drivers, Drivers::default());
        };
        check("ebs.csi.aws.com", "<provisioner>:");
        check("ebs.csi.aws.com:", "the fields are");
        check("ebs.csi.aws.com:colldown=1h", "the fields are");
        check("ebs.csi.aws.com:cooldown=soon", "the duration in \"cooldown=soon\"");
        check("ebs.csi.aws.com:cooldown=1h,max-size=lots", "the size in \"max-size=lots\"");
        check("ebs.csi.aws.com:growth=sideways", "the fields are");
    }
}
