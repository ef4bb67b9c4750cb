//! How much memory is to be enough for the operator? The one place that says it: the pages and the chart quote it, and each
//! measurement is compared with it.

use rso::api::bytes::Bytes;

/// What the operator needs without a volume, and for the recreations of large StatefulSets.
pub(crate) const BASE: Bytes = Bytes(128 * Bytes::MIB);
/// What each volume adds that it measures: its PVC, its Pod, its metrics, and its part of the StatefulSet.
pub(crate) const VOLUME: Bytes = Bytes(32 << 10);
/// What each StatefulSet adds that it does not manage.
pub(crate) const OTHER: Bytes = Bytes(12 << 10);

/// The memory limit for so many volumes and StatefulSets of others.
pub(crate) fn limit(volumes: usize, others: usize) -> Bytes {
    Bytes(BASE.0 + volumes as u64 * VOLUME.0 + others as u64 * OTHER.0)
}

/// The formula as the pages quote it.
#[allow(dead_code, reason = "only the test of the pages quotes it")]
pub(crate) fn formula() -> String {
    let kib = |bytes: Bytes| bytes.0 >> 10;
    format!("{BASE} + {}Ki for each volume + {}Ki for each other StatefulSet", kib(VOLUME), kib(OTHER))
}

/// The most volumes for which a limit is enough, down to a whole thousand.
pub(crate) fn volumes(limit: Bytes) -> u64 {
    limit.0.saturating_sub(BASE.0) / VOLUME.0 / 1_000 * 1_000
}
