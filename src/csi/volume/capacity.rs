//! The size of a volume and the disk space that can be allocated: how large can a volume be? Pure.

use super::class::{Overcommit, VolumeClass};
use crate::csi::error::CallError;
use crate::csi::proto::v1::CapacityRange;

/// The size of a volume for which the caller requires no size, bytes.
pub const DEFAULT_VOLUME_SIZE: u64 = 1 << 30;

/// A validated [`CapacityRange`], bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeRange {
    /// The minimum; 0 means that the caller requires none.
    pub required: u64,
    /// The maximum.
    pub limit: Option<u64>,
}

impl SizeRange {
    /// Validates the range of a request.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for negative sizes, OUT_OF_RANGE when the limit is less than the required size.
    pub fn parse(range: Option<&CapacityRange>) -> Result<Self, CallError> {
        let CapacityRange { required_bytes, limit_bytes } = range.copied().unwrap_or_default();
        let (Ok(required), Ok(limit)) = (u64::try_from(required_bytes), u64::try_from(limit_bytes)) else {
            return Err(CallError::InvalidArgument(format!(
                "capacity_range must not be negative: required_bytes is {required_bytes}, limit_bytes is {limit_bytes}"
            )));
        };
        if limit != 0 && limit < required {
            return Err(CallError::OutOfRange(format!(
                "capacity_range: limit_bytes {limit} is less than required_bytes {required}"
            )));
        }
        Ok(Self { required, limit: (limit != 0).then_some(limit) })
    }

    /// Whether a volume of this size is in the range.
    #[must_use]
    pub fn contains(self, size: u64) -> bool {
        size >= self.required && self.limit.is_none_or(|limit| size <= limit)
    }
}

/// The size of a new volume: exactly what is required, unless the filesystem needs more.
///
/// # Errors
/// OUT_OF_RANGE when it exceeds the limit of the caller or `maxSize` of the class.
pub fn size_of_new(range: SizeRange, class: &VolumeClass) -> Result<u64, CallError> {
    let requested = if range.required == 0 {
        let maximum = range.limit.unwrap_or(u64::MAX).min(class.max_size.unwrap_or(u64::MAX));
        DEFAULT_VOLUME_SIZE.min(maximum)
    } else {
        range.required
    };
    let minimum = class.minimum_size();
    let size = requested.max(minimum);
    if let Some(limit) = range.limit.filter(|limit| size > *limit) {
        let filesystem = class.filesystem.name();
        return Err(CallError::OutOfRange(format!(
            "a volume with {filesystem} needs at least {minimum} bytes, which exceeds the limit of {limit} bytes"
        )));
    }
    check_max_size(size, class)?;
    Ok(size)
}

/// What an expansion must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expansion {
    /// The allocated size is sufficient; only ensure that the volume has it.
    Keep,
    /// Allocate more.
    To {
        /// The new size, bytes.
        size: u64,
        /// The difference to the current size, bytes.
        additional: u64,
    },
}

/// What must be done so that a volume of `size` bytes is in the range.
///
/// # Errors
/// OUT_OF_RANGE when the volume would have to be shrunk or to exceed `maxSize` of the class.
pub fn plan_expansion(size: u64, range: SizeRange, class: &VolumeClass) -> Result<Expansion, CallError> {
    if let Some(limit) = range.limit.filter(|limit| *limit < size) {
        return Err(CallError::OutOfRange(format!(
            "the volume has {size} bytes and cannot be shrunk to the limit of {limit} bytes"
        )));
    }
    if range.required <= size {
        return Ok(Expansion::Keep);
    }
    check_max_size(range.required, class)?;
    Ok(Expansion::To { size: range.required, additional: range.required - size })
}

fn check_max_size(size: u64, class: &VolumeClass) -> Result<(), CallError> {
    match class.max_size {
        Some(maximum) if size > maximum => Err(CallError::OutOfRange(format!(
            "{size} bytes exceed the {maximum} bytes that the StorageClass allows for a volume (maxSize); request a smaller size"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// The space of the disk that stores the volumes, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Available to a process that is not root.
    pub available: u64,
    /// Occupied by the data of volumes.
    pub in_volumes: u64,
}

/// With less available space than this, nothing is allocated, regardless of the overcommit, bytes. The log of a new XFS uses
/// this space, and the expansion of a filesystem writes tables, which must not fail halfway.
pub const MIN_AVAILABLE_BYTES: u64 = 64 << 20;

/// Bytes that can still be allocated. Space that other files on the same disk occupy is never allocated.
#[must_use]
pub fn unallocated(disk: DiskSpace, allocated: u64, overcommit: Overcommit) -> u64 {
    if disk.available < MIN_AVAILABLE_BYTES {
        return 0;
    }
    overcommit.allocatable(disk.available.saturating_add(disk.in_volumes)).saturating_sub(allocated)
}

/// A size as CSI messages contain it.
#[must_use]
pub fn wire_bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csi::volume::class::{BackendKind, Filesystem};

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn class(max_size: Option<u64>) -> VolumeClass {
        VolumeClass { backend: BackendKind::Image, filesystem: Filesystem::Xfs, overcommit: Overcommit::NONE, max_size }
    }

    fn range(required: u64, limit: u64) -> Result<SizeRange, tonic::Code> {
        let wire = CapacityRange { required_bytes: wire_bytes(required), limit_bytes: wire_bytes(limit) };
        SizeRange::parse(Some(&wire)).map_err(|error| error.code())
    }

    #[test]
    fn a_new_volume_has_the_required_size() {
        let check = |required, limit, expected: Result<u64, tonic::Code>| {
            let got = range(required, limit)
                .and_then(|range| size_of_new(range, &class(Some(100 * GIB))).map_err(|error| error.code()));
            assert_eq!(got, expected, "required {required}, limit {limit}");
        };
        check(5 * GIB, 0, Ok(5 * GIB));
        check(700_000_000, 0, Ok(700_000_000));
        check(5 * GIB, 5 * GIB, Ok(5 * GIB));
        check(0, 0, Ok(DEFAULT_VOLUME_SIZE));
        check(0, 500 * MIB, Ok(500 * MIB));
        check(0, 5 * GIB, Ok(DEFAULT_VOLUME_SIZE));
        check(1, 0, Ok(300 * MIB));
        check(MIB, 299 * MIB, Err(tonic::Code::OutOfRange));
        check(0, 299 * MIB, Err(tonic::Code::OutOfRange));
        check(2 * GIB, GIB, Err(tonic::Code::OutOfRange));
        check(101 * GIB, 0, Err(tonic::Code::OutOfRange));
    }

    #[test]
    fn a_negative_size_is_invalid() {
        let wire = CapacityRange { required_bytes: -1, limit_bytes: 0 };
        assert_eq!(SizeRange::parse(Some(&wire)).unwrap_err().code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn the_default_size_does_not_exceed_the_maximum_of_the_class() {
        assert_eq!(size_of_new(range(0, 0).unwrap(), &class(Some(400 * MIB))).unwrap(), 400 * MIB);
    }

    #[test]
    fn a_volume_is_expanded_to_the_required_size_and_never_shrunk() {
        let check = |required, limit, expected: Result<Expansion, tonic::Code>| {
            let got = range(required, limit)
                .and_then(|range| plan_expansion(GIB, range, &class(Some(4 * GIB))).map_err(|error| error.code()));
            assert_eq!(got, expected, "required {required}, limit {limit}");
        };
        check(2 * GIB, 0, Ok(Expansion::To { size: 2 * GIB, additional: GIB }));
        check(4 * GIB, 0, Ok(Expansion::To { size: 4 * GIB, additional: 3 * GIB }));
        check(GIB, 0, Ok(Expansion::Keep));
        check(0, 0, Ok(Expansion::Keep));
        check(MIB, 2 * GIB, Ok(Expansion::Keep));
        check(MIB, 2 * MIB, Err(tonic::Code::OutOfRange));
        check(4 * GIB + 1, 0, Err(tonic::Code::OutOfRange));
    }

    const fn disk(available: u64, in_volumes: u64) -> DiskSpace {
        DiskSpace { available: available * GIB, in_volumes: in_volumes * GIB }
    }

    #[test]
    fn what_the_disk_has_minus_what_is_allocated_can_be_allocated() {
        assert_eq!(unallocated(disk(60, 40), 30 * GIB, Overcommit::NONE), 70 * GIB);
        assert_eq!(unallocated(disk(60, 40), 130 * GIB, Overcommit::NONE), 0);
    }

    #[test]
    fn a_write_to_a_volume_does_not_change_what_can_be_allocated() {
        let after = |written: u64| unallocated(disk(60 - written, 40 + written), 50 * GIB, Overcommit::NONE);
        assert_eq!(after(0), after(10));
    }

    #[test]
    fn nothing_is_allocated_on_a_full_disk() {
        let full = DiskSpace { available: MIN_AVAILABLE_BYTES - 1, in_volumes: 100 * GIB };
        assert_eq!(unallocated(full, 0, Overcommit::NONE), 0);
    }
}
