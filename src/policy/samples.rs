//! PVCs and readings for the tests of this module: healthy ones, in which each test changes what it is about.

use jiff::Timestamp;

use super::claim::{Claim, Class, Phase, Resize};
use super::usage::{Inodes, Reading, Source, Usage};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, Ordinal};

/// The `now` of the tests plus so many seconds.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
}

/// `data-db-<ordinal>`, bound, with that capacity, in an expandable StorageClass.
pub(crate) fn claim(ordinal: u32, size: Bytes) -> Claim {
    Claim {
        name: ClaimName::new(format!("data-db-{ordinal}")),
        template: "data".into(),
        ordinal: Ordinal(ordinal),
        uid: "f6c1".into(),
        resource_version: "42".to_owned(),
        phase: Phase::Bound,
        deleting: false,
        protected: true,
        block_mode: false,
        requested: size,
        capacity: Some(size),
        resize: Resize::None,
        class: Some(Class { name: "fast".to_owned(), expandable: true, provisioner: "csi.example.com".to_owned() }),
        resized_at: None,
        sizer: None,
        rescue: Default::default(),
    }
}

/// A PVC whose expansion from one size to another is in progress.
pub(crate) fn growing(from: Bytes, to: Bytes, resize: Resize) -> Claim {
    Claim { requested: to, resize, ..claim(0, from) }
}

/// The usage that the agent reports for a filesystem as large as its PVC, with this percentage in use.
pub(crate) fn usage(claim: &Claim, percent: u64) -> Usage {
    let total = claim.capacity.unwrap_or_default();
    let used = Bytes(u64::try_from(u128::from(total.0) * u128::from(percent) / 100).expect("no larger"));
    Usage {
        claim: claim.name.clone(),
        total,
        used,
        available: total.saturating_sub(used),
        inodes: Some(Inodes { total: 1000, free: 900 }),
        shared: false,
        write_rate: None,
        at: at(0),
        source: Source::Agent,
    }
}

/// The reading of that usage.
pub(crate) fn reading(claim: &Claim, percent: u64) -> Reading {
    Reading::Measured {
        usage: usage(claim, percent),
        rate: Default::default(),
        capacity: claim.capacity.unwrap_or_default(),
    }
}
