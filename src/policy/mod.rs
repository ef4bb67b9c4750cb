//! Layer 1: how big should a volume be? Pure: no I/O and no clock, `now` is an argument.
//!
//! ```text
//!  annotations, labels, limits ──► settings ─┐
//!  agent or kubelet body ────────► usage ────┼─► decide: Keep | Grow | Recommend | Refuse ─► claim::next, per claim
//!  provisioner ──────────────────► drivers ──┘
//! ```

use std::time::Duration;

use jiff::Timestamp;

pub mod claim;
pub mod decide;
pub mod drivers;
pub mod failure;
pub mod gates;
pub mod next_share;
mod overrides;
// The operator does not watch policies yet, so it ships without them.
#[cfg(feature = "testing")]
pub mod pvc_policy;
pub mod reaction;
pub mod rescue;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(feature = "testing")]
pub mod select;
pub mod settings;
pub mod usage;
mod values;

/// The time from `since` to `now`; zero when a clock ran backwards.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO)
}

/// A duration as people write it, without the parts below a second: `5m 3s`.
fn spoken(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// A duration as people write it, with tenths below ten seconds: `0.4s`, `3s`, `1m 30s`.
pub fn brief(duration: Duration) -> String {
    let tenths = duration.as_millis().div_ceil(100);
    match tenths {
        100.. => spoken(Duration::from_millis(u64::try_from(tenths).unwrap_or(u64::MAX).saturating_mul(100))),
        _ if tenths.is_multiple_of(10) => format!("{}s", tenths / 10),
        _ => format!("{}.{}s", tenths / 10, tenths % 10),
    }
}

/// A rate as people write it: `50 MB/s`.
fn per_second(bytes: u64) -> String {
    match bytes {
        1_000_000.. => format!("{} MB/s", bytes / 1_000_000),
        1_000.. => format!("{} kB/s", bytes / 1_000),
        _ => format!("{bytes} B/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_durations_and_rates_are_written_as_people_do() {
        let check = |millis: u64, expected: &str| assert_eq!(brief(Duration::from_millis(millis)), expected);
        check(0, "0s");
        check(1, "0.1s");
        check(400, "0.4s");
        check(3_000, "3s");
        check(9_901, "10s");
        check(90_500, "1m 30s");
        let check = |bytes: u64, expected: &str| assert_eq!(per_second(bytes), expected);
        check(999, "999 B/s");
        check(1_500, "1 kB/s");
        check(50_400_000, "50 MB/s");
    }
}
