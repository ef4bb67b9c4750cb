//! How large may a volume be? Sizes from a caller's range, and the room that honest promises leave. Pure.

use super::class::{Class, Overcommit};
use crate::csi::error::Fault;
use crate::csi::proto::v1::CapacityRange;

/// Given when the caller does not mind. Never "unlimited".
pub const DEFAULT_SIZE: u64 = 1 << 30;

/// A checked [`CapacityRange`], bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// At least; 0: does not mind.
    pub required: u64,
    /// At most.
    pub limit: Option<u64>,
}

impl Range {
    /// # Errors
    /// INVALID_ARGUMENT for negative sizes, OUT_OF_RANGE when the limit is below what is required.
    pub fn parse(range: Option<&CapacityRange>) -> Result<Self, Fault> {
        let CapacityRange { required_bytes, limit_bytes } = range.copied().unwrap_or_default();
        let (Ok(required), Ok(limit)) = (u64::try_from(required_bytes), u64::try_from(limit_bytes)) else {
            return Err(Fault::Invalid(format!("a size below zero: required {required_bytes}, limit {limit_bytes}")));
        };
        if limit != 0 && limit < required {
            return Err(Fault::OutOfRange(format!("the limit of {limit} bytes is below the required {required}")));
        }
        Ok(Self { required, limit: (limit != 0).then_some(limit) })
    }

    /// Whether a volume of that size will do.
    #[must_use]
    pub fn admits(self, size: u64) -> bool {
        size >= self.required && self.limit.is_none_or(|limit| size <= limit)
    }
}

/// The size of a new volume: what is required, exactly, unless the filesystem needs more.
///
/// # Errors
/// OUT_OF_RANGE when the caller's limit or the class's `maxSize` forbids it.
pub fn size_of_new(range: Range, class: &Class) -> Result<u64, Fault> {
    let wished = if range.required == 0 {
        let ceiling = range.limit.unwrap_or(u64::MAX).min(class.max_size.unwrap_or(u64::MAX));
        DEFAULT_SIZE.min(ceiling)
    } else {
        range.required
    };
    let least = class.filesystem.least();
    let size = wished.max(least);
    if range.limit.is_some_and(|limit| size > limit) {
        let fs = class.filesystem.name();
        return Err(Fault::OutOfRange(format!("{fs} needs at least {least} bytes, more than the limit of {wished}")));
    }
    under_ceiling(size, class)?;
    Ok(size)
}

/// What an expansion has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// The promise is large enough: only make sure that it is kept.
    Keep,
    /// Promise more.
    To {
        /// New size, bytes.
        size: u64,
        /// How much more that is, bytes.
        more: u64,
    },
}

/// How a volume of `size` bytes meets the range.
///
/// # Errors
/// OUT_OF_RANGE when it would have to shrink or to pass the class's `maxSize`.
pub fn growth(size: u64, range: Range, class: &Class) -> Result<Growth, Fault> {
    if let Some(limit) = range.limit.filter(|limit| *limit < size) {
        return Err(Fault::OutOfRange(format!("the volume has {size} bytes and cannot shrink to {limit}")));
    }
    if range.required <= size {
        return Ok(Growth::Keep);
    }
    under_ceiling(range.required, class)?;
    Ok(Growth::To { size: range.required, more: range.required - size })
}

fn under_ceiling(size: u64, class: &Class) -> Result<(), Fault> {
    match class.max_size {
        Some(most) if size > most => Err(Fault::OutOfRange(format!(
            "{size} bytes is more than the {most} that the StorageClass allows one volume (maxSize): ask for less"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// What the disk under the images has, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Still free for an ordinary user.
    pub available: u64,
    /// In use by the images: theirs to use again.
    pub in_images: u64,
}

/// Nothing is promised on a disk with less than this left, however large the overcommit: the log of a new XFS takes it,
/// and a filesystem that grows writes tables, which must not fail halfway.
pub const HEADROOM: u64 = 64 << 20;

/// What can still be promised, bytes. What others keep on the same disk is never promised.
#[must_use]
pub fn room(disk: Disk, promised: u64, overcommit: Overcommit) -> u64 {
    if disk.available < HEADROOM {
        return 0;
    }
    overcommit.of(disk.available.saturating_add(disk.in_images)).saturating_sub(promised)
}

/// A size as the wire has it.
#[must_use]
pub fn wire(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csi::volume::class::{Backend, Filesystem};

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn class(max_size: Option<u64>) -> Class {
        Class { backend: Backend::Image, filesystem: Filesystem::Xfs, overcommit: Overcommit::HONEST, max_size }
    }

    fn range(required: u64, limit: u64) -> Result<Range, tonic::Code> {
        let wire = CapacityRange { required_bytes: wire(required), limit_bytes: wire(limit) };
        Range::parse(Some(&wire)).map_err(|fault| fault.code())
    }

    #[test]
    fn a_new_volume_has_the_size_that_was_required() {
        let check = |required, limit, expected: Result<u64, tonic::Code>| {
            let got =
                range(required, limit).and_then(|r| size_of_new(r, &class(Some(100 * GIB))).map_err(|f| f.code()));
            assert_eq!(got, expected, "required {required}, limit {limit}");
        };
        check(5 * GIB, 0, Ok(5 * GIB));
        check(700_000_000, 0, Ok(700_000_000));
        check(5 * GIB, 5 * GIB, Ok(5 * GIB));
        check(0, 0, Ok(DEFAULT_SIZE));
        check(0, 500 * MIB, Ok(500 * MIB));
        check(0, 5 * GIB, Ok(DEFAULT_SIZE));
        check(1, 0, Ok(300 * MIB));
        check(MIB, 299 * MIB, Err(tonic::Code::OutOfRange));
        check(0, 299 * MIB, Err(tonic::Code::OutOfRange));
        check(2 * GIB, GIB, Err(tonic::Code::OutOfRange));
        check(101 * GIB, 0, Err(tonic::Code::OutOfRange));
    }

    #[test]
    fn a_size_below_zero_is_invalid() {
        let wire = CapacityRange { required_bytes: -1, limit_bytes: 0 };
        assert_eq!(Range::parse(Some(&wire)).unwrap_err().code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn the_default_size_respects_the_ceiling_of_the_class() {
        assert_eq!(size_of_new(range(0, 0).unwrap(), &class(Some(400 * MIB))).unwrap(), 400 * MIB);
    }

    #[test]
    fn a_volume_grows_to_what_is_required_and_never_shrinks() {
        let check = |required, limit, expected: Result<Growth, tonic::Code>| {
            let got = range(required, limit).and_then(|r| growth(GIB, r, &class(Some(4 * GIB))).map_err(|f| f.code()));
            assert_eq!(got, expected, "required {required}, limit {limit}");
        };
        check(2 * GIB, 0, Ok(Growth::To { size: 2 * GIB, more: GIB }));
        check(4 * GIB, 0, Ok(Growth::To { size: 4 * GIB, more: 3 * GIB }));
        check(GIB, 0, Ok(Growth::Keep));
        check(0, 0, Ok(Growth::Keep));
        check(MIB, 2 * GIB, Ok(Growth::Keep));
        check(MIB, 2 * MIB, Err(tonic::Code::OutOfRange));
        check(4 * GIB + 1, 0, Err(tonic::Code::OutOfRange));
    }

    const fn disk(available: u64, in_images: u64) -> Disk {
        Disk { available: available * GIB, in_images: in_images * GIB }
    }

    #[test]
    fn room_is_what_the_disk_has_less_what_is_promised() {
        assert_eq!(room(disk(60, 40), 30 * GIB, Overcommit::HONEST), 70 * GIB);
        assert_eq!(room(disk(60, 40), 130 * GIB, Overcommit::HONEST), 0);
    }

    #[test]
    fn writing_into_a_volume_leaves_the_room_as_it_is() {
        let after = |written: u64| room(disk(60 - written, 40 + written), 50 * GIB, Overcommit::HONEST);
        assert_eq!(after(0), after(10));
    }

    #[test]
    fn nothing_is_promised_on_a_disk_that_is_physically_full() {
        let full = Disk { available: HEADROOM - 1, in_images: 100 * GIB };
        assert_eq!(room(full, 0, Overcommit::HONEST), 0);
    }
}
