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
pub mod next_share;
mod overrides;
#[cfg(test)]
pub(crate) mod samples;
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
