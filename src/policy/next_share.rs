//! The share at which an agent answers a held request: the next one that can change a decision.
//!
//! An agent watches all volumes of its Pod for one share, so it is the smallest of those that they still have to reach. A
//! volume that is over its threshold already (it waits for its cooldown, is expanding, or has its largest size) counts
//! with its next whole percent: the agent reports its progress, and does not answer at once again and again.
//!
//! Below its threshold, a volume also counts with shares halfway to it, from half the threshold on. A volume that fills in
//! seconds is then measured several times on the way, and its rate is known before its threshold is reached.

use super::settings::TemplateSettings;
use super::usage::{Inodes, Rate, Usage};
use crate::api::bytes::Percent;

/// A measured volume, as far as it decides about the share.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    /// The settings of its template.
    pub settings: &'a TemplateSettings,
    /// The last measurement.
    pub usage: &'a Usage,
    /// How fast it fills, bytes per second; 0 if that is unknown.
    pub rate: Rate,
}

/// The smallest share of bytes or inodes that one of the volumes still has to reach; `None` without volumes.
pub fn next_share<'a>(volumes: impl IntoIterator<Item = Watched<'a>>) -> Option<Percent> {
    volumes.into_iter().map(of_volume).min()
}

fn of_volume(volume: Watched<'_>) -> Percent {
    let Watched { settings, usage, .. } = volume;
    let whole = usage.used.saturating_add(usage.available).0;
    let bytes = on_the_way(usage.used.0, whole, settings.threshold);
    let of_inodes = |Inodes { total, free }| to_reach(total.saturating_sub(free), total, settings.inodes_threshold);
    let inodes = usage.inodes.map(of_inodes);
    [Some(bytes), inodes, by_forecast(volume, whole)].into_iter().flatten().min().unwrap_or(bytes)
}

/// The shares on the way to a threshold end this close to it.
const NEAR: Percent = Percent::whole(1);

/// A share on the way to the threshold: half the threshold, or halfway from here; near the threshold, the threshold.
fn on_the_way(part: u64, whole: u64, threshold: Percent) -> Percent {
    let half = Percent(threshold.0 / 2);
    let share = Percent::of(part, whole).unwrap_or(Percent::whole(100));
    if threshold.is_reached(part, whole) || threshold.0.saturating_sub(share.0) <= 2 * NEAR.0 {
        to_reach(part, whole, threshold)
    } else if half.is_reached(part, whole) {
        Percent(share.0 + (threshold.0 - share.0) / 2)
    } else {
        half
    }
}

/// The threshold, or the next whole percent if it is reached.
fn to_reach(part: u64, whole: u64, threshold: Percent) -> Percent {
    if !threshold.is_reached(part, whole) {
        return threshold;
    }
    Percent::of(part, whole).unwrap_or(Percent::whole(100)).next_whole()
}

/// The share at which the rest will be full within the lead time, at the current rate; `None` if it is reached.
fn by_forecast(volume: Watched<'_>, whole: u64) -> Option<Percent> {
    let lead = volume.settings.lead_time?.as_secs();
    let rest = volume.rate.trend.checked_mul(lead)?;
    let used = whole.checked_sub(rest).filter(|used| *used > volume.usage.used.0)?;
    let share = (u128::from(used) * u128::from(Percent::WHOLE)).div_ceil(u128::from(whole));
    Some(Percent(u32::try_from(share).ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::bytes::Bytes;
    use crate::policy::samples::{claim, usage};
    use crate::policy::settings::Limits;

    const WHOLE: Bytes = Bytes(10_000_000_000);

    fn settings(threshold: u32, inodes: u32) -> TemplateSettings {
        let mut settings = TemplateSettings::new("data".into(), &Limits::default());
        (settings.threshold, settings.inodes_threshold) = (Percent(threshold), Percent(inodes));
        settings
    }

    /// A volume with so many thousandths of a percent of its bytes, and percent of its inodes, in use.
    fn used(bytes: u64, inodes: u64) -> Usage {
        let usage = usage(&claim(0, WHOLE), 0);
        let part = Bytes(WHOLE.0 / 100_000 * bytes);
        let available = WHOLE.saturating_sub(part);
        Usage { used: part, available, inodes: Some(Inodes { total: 100, free: 100 - inodes }), ..usage }
    }

    #[test]
    fn a_volume_below_its_threshold_is_watched_on_the_way_to_it_and_one_above_for_the_next_percent() {
        let check = |settings: TemplateSettings, usage: Usage, expected: u32| {
            let watched = Watched { settings: &settings, usage: &usage, rate: Rate::default() };
            assert_eq!(next_share([watched]), Some(Percent(expected)), "{usage:?}");
        };
        check(settings(80_000, 80_000), used(0, 0), 40_000);
        check(settings(80_000, 80_000), used(39_999, 0), 40_000);
        check(settings(80_000, 80_000), used(40_000, 0), 60_000);
        check(settings(80_000, 80_000), used(77_000, 0), 78_500);
        check(settings(80_000, 80_000), used(78_000, 0), 80_000);
        check(settings(80_000, 80_000), used(79_999, 0), 80_000);
        check(settings(94_500, 95_000), used(50_000, 0), 72_250);
        // It waits for its cooldown, or has its largest size.
        check(settings(80_000, 99_000), used(80_000, 0), 81_000);
        check(settings(80_000, 99_000), used(85_300, 0), 86_000);
        check(settings(80_000, 99_000), used(94_999, 0), 95_000);
        check(settings(80_000, 100_000), used(99_500, 0), 100_000);
        // Its bytes are over their threshold, and its inodes are not.
        check(settings(80_000, 90_000), used(95_000, 0), 90_000);
        check(settings(80_000, 90_000), used(85_000, 0), 86_000);
        check(settings(99_000, 20_000), used(5_000, 10), 20_000);
        check(settings(99_000, 20_000), used(50_000, 10), 20_000);
        check(settings(99_000, 20_000), used(5_000, 25), 26_000);
        // Nothing more can be reached: the agent answers at the end of the wait.
        let full = Usage { used: WHOLE, available: Bytes(0), ..used(0, 100) };
        check(settings(80_000, 80_000), full, 100_000);
        let without_room = Usage { used: Bytes(0), available: Bytes(0), inodes: None, ..used(0, 0) };
        check(settings(80_000, 80_000), without_room, 100_000);
        check(settings(80_000, 10_000), Usage { inodes: None, ..used(0, 0) }, 40_000);
    }

    #[test]
    fn of_several_volumes_the_smallest_share_that_is_to_be_reached_counts() {
        let check = |volumes: &[(u32, u64)], expected: Option<u32>| {
            let volumes: Vec<(TemplateSettings, Usage)> =
                volumes.iter().map(|(threshold, bytes)| (settings(*threshold, 100_000), used(*bytes, 0))).collect();
            let watched = volumes.iter().map(|(settings, usage)| Watched { settings, usage, rate: Rate::default() });
            assert_eq!(next_share(watched), expected.map(Percent), "{volumes:?}");
        };
        check(&[], None);
        check(&[(80_000, 10_000), (95_000, 60_000)], Some(40_000));
        // One waits above its threshold, and the other is still watched for its own.
        check(&[(80_000, 85_300), (80_000, 79_000)], Some(80_000));
        check(&[(80_000, 85_300), (95_000, 90_000)], Some(86_000));
        check(&[(80_000, 96_000), (95_000, 94_000)], Some(95_000));
    }

    #[test]
    fn a_lead_time_moves_the_share_to_where_the_forecast_reaches_it() {
        let check = |lead: Option<u64>, rate: u64, bytes: u64, expected: u32| {
            let mut settings = settings(80_000, 80_000);
            settings.lead_time = lead.map(Duration::from_secs);
            let usage = used(bytes, 0);
            let watched = Watched { settings: &settings, usage: &usage, rate: Rate { trend: rate, burst: 0 } };
            assert_eq!(next_share([watched]), Some(Percent(expected)), "{lead:?} {rate} {bytes}");
        };
        // 5 GB of 10 at 1 MB/s last 5,000 s.
        check(Some(5_000), 1_000_000, 45_000, 50_000);
        check(Some(5_000), 1_000_000, 50_000, 65_000);
        check(Some(5_000), 1_000_000, 79_000, 80_000);
        check(Some(1_000), 1_000_000, 79_000, 80_000);
        check(None, 1_000_000, 45_000, 62_500);
        check(Some(5_000), 0, 45_000, 62_500);
        check(Some(u64::MAX), u64::MAX, 10_000, 40_000);
    }
}
