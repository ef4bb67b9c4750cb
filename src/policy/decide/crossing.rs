//! Whether a volume is over one of the thresholds of its template, or fills so fast that the threshold comes too late.

use std::time::Duration;

use crate::api::bytes::Percent;
use crate::policy::drivers::Driver;
use crate::policy::reaction::Reaction;
use crate::policy::settings::TemplateSettings;
use crate::policy::usage::{Inodes, Rate, Usage};
use crate::policy::{brief, per_second, spoken};

/// An expansion that takes as long as the volume lasts would be late as often as not: it starts at twice that time.
const MARGIN: u32 = 2;

/// Why a volume is expanded.
pub(super) struct Crossed {
    /// In words, after "PVC … is".
    pub(super) why: String,
    /// Whether it is below its thresholds, and expanded because of its rate.
    pub(super) early: bool,
}

/// Whether a volume is over one of the thresholds of its template, which may change the decision.
pub fn reaches_threshold(settings: &TemplateSettings, driver: &Driver, usage: &Usage, rate: Rate) -> bool {
    crossed(settings, driver, usage, rate).is_some()
}

/// The time that must be left when an expansion starts.
pub(super) fn needed(driver: &Driver) -> Duration {
    driver.reaction.time().saturating_mul(MARGIN)
}

/// The threshold that a volume is over, in words.
pub(super) fn crossed(settings: &TemplateSettings, driver: &Driver, usage: &Usage, rate: Rate) -> Option<Crossed> {
    let whole = usage.used.saturating_add(usage.available);
    let full_bytes = reaches(usage.used.0, whole.0, settings.threshold);
    let full_inodes = usage
        .inodes
        .is_some_and(|Inodes { total, free }| reaches(total.saturating_sub(free), total, settings.inodes_threshold));
    let left = usage.available.0.checked_div(rate.trend).map(Duration::from_secs);
    let over = |why: String| Some(Crossed { why, early: false });
    if full_bytes {
        over(format!("{} full, threshold {}", rounded(usage.fullness()), settings.threshold))
    } else if full_inodes {
        let (share, threshold) = (rounded(usage.inode_fullness()), settings.inodes_threshold);
        over(format!("{share} of its inodes in use, threshold {threshold}"))
    } else if left.zip(settings.lead_time).is_some_and(|(left, lead)| left <= lead) {
        over(format!("full in {} at the current rate", spoken(left.unwrap_or_default())))
    } else {
        too_fast(settings, driver, usage, rate.burst).map(|why| Crossed { why, early: true })
    }
}

/// Why a volume that is below its thresholds is full before an expansion that starts at its threshold is done.
fn too_fast(settings: &TemplateSettings, driver: &Driver, usage: &Usage, burst: u64) -> Option<String> {
    let whole = usage.used.saturating_add(usage.available);
    // A volume that is less than half as full as its threshold is mostly filled for the first time, and not to the end.
    let half = Percent(settings.threshold.0 / 2);
    let left = millis_left(usage.available.0, burst)?;
    let late = left <= needed(driver) && reaches(usage.used.0, whole.0, half);
    late.then(|| {
        let takes = match driver.reaction {
            Reaction::Measured(time) => format!("takes {}", brief(time)),
            Reaction::Assumed(time) => format!("can take {}", brief(time)),
        };
        format!(
            "{} full (rso expects the volume to be full in {} at {}; an expansion {takes})",
            rounded(usage.fullness()),
            brief(left),
            per_second(burst)
        )
    })
}

/// How long this space lasts at this rate; `None` at none.
fn millis_left(available: u64, rate: u64) -> Option<Duration> {
    let millis = (u128::from(available) * 1_000).checked_div(u128::from(rate))?;
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

/// part/whole ≥ threshold, exactly. A filesystem with no room at all is full.
fn reaches(part: u64, whole: u64, threshold: Percent) -> bool {
    u128::from(part) * u128::from(Percent::WHOLE) >= u128::from(whole) * u128::from(threshold.0)
}

/// A share without its fraction; with it, an Event message would change with every byte.
fn rounded(share: Option<Percent>) -> Percent {
    Percent::whole(share.unwrap_or(Percent::whole(100)).0 / 1_000)
}
