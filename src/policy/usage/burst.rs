//! The rate at which a volume fills now: the slope of its last readings, over space that it has not used before.
//!
//! A file that is allocated at once is no burst, and neither is a compaction that uses again what it freed: only what
//! was written for three seconds counts, and only above the most that was in use within the last 12 hours.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::policy::elapsed;

/// How many readings are kept.
const KEPT: usize = 8;
/// Readings closer together than this are one.
const SPACING: Duration = Duration::from_secs(1);
/// Older readings say nothing about now.
const WINDOW: Duration = Duration::from_secs(10);
/// What is written within less is a file that was allocated, or copied, at once.
const LEAST: Duration = Duration::from_secs(3);
/// What is written in fewer intervals between readings is the same.
const LEAST_INTERVALS: usize = 2;
/// Between any two readings, at least this part of the mean must be written: a pause ends a burst.
const STEADY: u64 = 4;
/// The high-water mark is kept by the half hour, for 12 hours.
const BUCKET_SECONDS: i64 = 30 * 60;
const BUCKETS: i64 = 24;

/// How fast a volume fills, in bytes per second; 0 if it does not, or if that is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Over minutes and hours ([`History::rate`](super::History::rate)).
    pub trend: u64,
    /// Now ([`Burst::rate`]).
    pub burst: u64,
}

impl Rate {
    /// The rate for what happens within minutes.
    pub fn fastest(self) -> u64 {
        self.trend.max(self.burst)
    }

    /// The rate as a reading of this age shows it: a burst is over unless it was observed just now.
    #[must_use]
    pub fn aged(self, age: Duration) -> Self {
        if age <= WINDOW { self } else { Self { burst: 0, ..self } }
    }
}

/// The last readings of one volume, and the most that was in use before them.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    /// The time of each reading, and the bytes in use.
    readings: VecDeque<(Timestamp, u64)>,
    /// The rate that the source itself measured, with the last reading.
    reported: Option<u64>,
    high_water: VecDeque<(i64, u64)>,
}

impl Burst {
    /// Adds a reading: the bytes in use at that time, and the bytes per second that the source measured, if it does.
    /// One that is not later than the last is left out.
    pub fn add(&mut self, at: Timestamp, used: u64, reported: Option<u64>) {
        if self.readings.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        let before_last = self.readings.len().checked_sub(2).and_then(|index| self.readings.get(index));
        if before_last.is_some_and(|(before, _)| elapsed(*before, at) < SPACING) {
            self.readings.pop_back();
        }
        self.readings.push_back((at, used));
        self.reported = reported;
        while self.readings.len() > KEPT || self.readings.front().is_some_and(|(first, _)| elapsed(*first, at) > WINDOW)
        {
            let Some((at, used)) = self.readings.pop_front() else { break };
            self.keep_high_water(at, used);
        }
        while self.high_water.front().is_some_and(|(first, _)| bucket(at) - *first > BUCKETS) {
            self.high_water.pop_front();
        }
    }

    /// Bytes per second.
    pub fn rate(&self) -> u64 {
        let (Some(first), Some((_, used))) = (self.readings.front(), self.readings.back()) else { return 0 };
        let mark = self.high_water.iter().map(|(_, used)| *used).max().unwrap_or(first.1);
        let points: Vec<_> = self.readings.iter().map(|(at, used)| (*at, used.saturating_sub(mark))).collect();
        let (observed, most) = (steepest(&points), used.saturating_sub(mark) / LEAST.as_secs());
        // What the source reports is of its last second or so: alone, it cannot tell a burst from a file that was allocated at
        // once. It says whether the burst goes on, and how fast, but not more than three seconds of it that are there.
        match self.reported {
            Some(reported) if reported < observed / STEADY => 0,
            Some(reported) if observed > 0 => observed.max(reported.min(most)),
            Some(_) | None => observed,
        }
    }

    fn keep_high_water(&mut self, at: Timestamp, used: u64) {
        let bucket = bucket(at);
        match self.high_water.back_mut() {
            Some((last, most)) if *last >= bucket => *most = used.max(*most),
            Some(_) | None => self.high_water.push_back((bucket, used)),
        }
    }
}

/// The half hour of a time.
fn bucket(at: Timestamp) -> i64 {
    at.as_second().div_euclid(BUCKET_SECONDS)
}

/// The steepest slope that ends now, over at least [`LEAST`], without a pause.
fn steepest(points: &[(Timestamp, u64)]) -> u64 {
    let Some((now, used)) = points.last() else { return 0 };
    let starts = points.iter().enumerate().filter(|(_, (at, _))| elapsed(*at, *now) >= LEAST);
    let slopes = starts.filter_map(|(start, (at, before))| {
        let slope = slope((*at, *before), (*now, *used));
        is_steady(&points[start..], slope / STEADY).then_some(slope)
    });
    slopes.max().unwrap_or(0)
}

/// Whether there are several intervals of at least [`SPACING`], and none is flatter than `least`. One interval shows nothing:
/// a file that is allocated at once is in one.
fn is_steady(points: &[(Timestamp, u64)], least: u64) -> bool {
    let Some((mut end, before)) = points.split_last() else { return false };
    let mut intervals = 0;
    for point in before.iter().rev() {
        if elapsed(point.0, end.0) >= SPACING {
            if slope(*point, *end) < least.max(1) {
                return false;
            }
            intervals += 1;
            end = point;
        }
    }
    intervals >= LEAST_INTERVALS
}

/// Bytes per second from one reading to another; 0 if it falls.
fn slope(from: (Timestamp, u64), to: (Timestamp, u64)) -> u64 {
    let millis = elapsed(from.0, to.0).as_millis();
    let bytes = u128::from(to.1.saturating_sub(from.1));
    u64::try_from((bytes * 1_000).checked_div(millis).unwrap_or(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::samples::at;

    fn millis(millis: i64) -> Timestamp {
        at(0) + jiff::SignedDuration::from_millis(millis)
    }

    /// The rate after readings at these milliseconds.
    fn after(readings: &[(i64, u64)]) -> u64 {
        let mut burst = Burst::default();
        readings.iter().for_each(|(at, used)| burst.add(millis(*at), *used, None));
        burst.rate()
    }

    #[test]
    fn the_rate_is_the_steepest_slope_that_lasts_for_three_seconds() {
        let check = |readings: &[(i64, u64)], expected: u64| assert_eq!(after(readings), expected, "{readings:?}");
        check(&[], 0);
        check(&[(0, 5)], 0);
        check(&[(0, 0), (1_000, 50), (2_000, 100)], 0);
        check(&[(0, 0), (1_000, 50), (2_000, 100), (3_000, 150)], 50);
        check(&[(0, 0), (1_000, 0), (2_000, 50), (3_000, 100), (4_000, 150)], 50);
        check(&[(0, 0), (1_000, 10), (2_000, 20), (3_000, 70), (4_000, 130), (5_000, 180)], 53);
        // Uneven, but without a pause.
        check(&[(0, 0), (1_000, 80), (2_000, 100), (3_000, 150)], 50);
        // It almost paused.
        check(&[(0, 0), (1_000, 80), (2_000, 85), (3_000, 150)], 0);
        // A file that is allocated at once, between two readings or over two of them.
        check(&[(0, 0), (1_000, 0), (2_000, 500), (3_000, 500), (4_000, 500)], 0);
        check(&[(0, 0), (1_000, 250), (2_000, 500), (3_000, 500)], 0);
        check(&[(0, 0), (1_000, 0), (2_000, 250), (3_000, 500)], 0);
        // It has stopped.
        check(&[(0, 0), (1_000, 50), (2_000, 100), (3_000, 150), (4_000, 150)], 0);
        // Nobody looked for ten seconds.
        check(&[(0, 0), (11_000, 550)], 0);
        // The same reading again, and one from before.
        check(&[(0, 0), (1_000, 50), (2_000, 100), (3_000, 150), (3_000, 900), (2_500, 900)], 50);
        // Ten readings a second are as good as one.
        let often: Vec<_> = (0..=40).map(|i| (i * 100, u64::try_from(i).unwrap() * 5)).collect();
        check(&often, 50);
    }

    #[test]
    fn a_burst_that_was_observed_more_than_ten_seconds_ago_is_over() {
        let rate = Rate { trend: 3, burst: 50 };
        assert_eq!((rate.fastest(), rate.aged(Duration::from_secs(10))), (50, rate));
        assert_eq!(rate.aged(Duration::from_millis(10_001)), Rate { trend: 3, burst: 0 });
    }

    #[test]
    fn space_that_was_used_before_within_12_hours_is_no_burst() {
        let rise = |burst: &mut Burst, start: i64, from: u64| {
            for second in 0..6 {
                burst.add(at(start + second), from + u64::try_from(second).unwrap() * 50, None);
            }
        };
        let mut burst = Burst::default();
        rise(&mut burst, 0, 0);
        assert_eq!(burst.rate(), 50, "new ground");
        burst.add(at(30), 0, None);
        rise(&mut burst, 60, 0);
        assert_eq!(burst.rate(), 0, "the same ground again");
        burst.add(at(90), 100, None);
        rise(&mut burst, 120, 225);
        assert_eq!(burst.rate(), 50, "only what is above the mark of 250 counts");
        burst.add(at(150), 0, None);
        rise(&mut burst, 11 * 3_600, 0);
        assert_eq!(burst.rate(), 0, "11 hours later, it is not");
        burst.add(at(11 * 3_600 + 30), 0, None);
        rise(&mut burst, 24 * 3_600, 0);
        assert_eq!(burst.rate(), 50, "12 hours later it is new ground again");
        assert!(burst.high_water.len() <= 25);
        // Each mark counts for 12 hours, not only the first.
        let mut burst = Burst::default();
        rise(&mut burst, 0, 0);
        rise(&mut burst, 11 * 3_600, 250);
        burst.add(at(11 * 3_600 + 30), 0, None);
        rise(&mut burst, 13 * 3_600, 0);
        assert_eq!(burst.rate(), 0, "the mark of 500 is two hours old");
    }

    #[test]
    fn a_rate_that_the_source_reports_refines_what_the_readings_show_and_shows_nothing_alone() {
        let check = |readings: &[(i64, u64)], reported: u64, expected: u64| {
            let mut burst = Burst::default();
            let (last, before) = readings.split_last().unwrap();
            before.iter().for_each(|(at, used)| burst.add(millis(*at), *used, None));
            burst.add(millis(last.0), last.1, Some(reported));
            assert_eq!(burst.rate(), expected, "{readings:?} {reported}");
        };
        check(&[(0, 0)], 50, 0);
        // A file that was allocated at once has a rate, too.
        check(&[(0, 0), (55_000, 600)], 50, 0);
        check(&[(0, 0), (1_000, 300), (2_000, 600)], 50, 0);
        check(&[(0, 0), (5_000, 600)], 200, 0);
        check(&[(0, 0), (5_000, 0), (10_000, 600)], 200, 0);
        check(&[(0, 0), (2_000, 80), (4_000, 160)], 40, 40);
        check(&[(0, 0), (2_000, 80), (4_000, 160)], 50, 50);
        check(&[(0, 0), (2_000, 80), (4_000, 160)], u64::MAX, 53);
        // It has just ended.
        check(&[(0, 0), (2_000, 80), (4_000, 160)], 9, 0);
    }

    proptest! {
        #[test]
        fn a_burst_is_never_faster_than_what_was_written(readings in proptest::collection::vec((0_i64..20_000, 0_u64..1 << 50), 0..40)) {
            let mut burst = Burst::default();
            let mut now = 0;
            for (apart, used) in readings {
                now += apart;
                burst.add(millis(now), used, Some(used));
                let most = burst.readings.iter().map(|(_, used)| *used).max().unwrap_or(0);
                prop_assert!(burst.rate() <= most / LEAST.as_secs());
                prop_assert!(burst.readings.len() <= KEPT && burst.high_water.len() <= 25);
            }
        }

        #[test]
        fn a_volume_that_fills_evenly_has_that_rate(rate in 1_u64..1 << 40, from in 0_u64..1 << 50) {
            let readings: Vec<_> = (0..8).map(|i| (i * 1_000, from + u64::try_from(i).unwrap() * rate)).collect();
            prop_assert_eq!(after(&readings), rate);
        }
    }
}
