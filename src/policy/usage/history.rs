//! How fast does a volume fill? A line through its last readings.

use std::collections::VecDeque;

use super::Usage;

/// How many readings are kept.
const KEPT: usize = 64;
/// Readings closer together than this, in milliseconds, are one: a forecast of hours needs no seconds.
const SPACING: i64 = 30 * 1_000;
/// A line through less than this, in milliseconds, says nothing.
const LEAST_SPAN: i64 = 5 * 60 * 1_000;

/// The last readings of one volume, at least 30 s apart: Unix time in milliseconds, and bytes in use. There is one for each
/// volume, so a time is no larger than it has to be.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<(i64, u64)>);

impl History {
    /// Adds a reading; one that is older than, or too close to, the last is left out.
    pub fn add(&mut self, usage: &Usage) {
        let at = usage.at.as_millisecond();
        let apart = self.0.back().is_none_or(|(last, _)| at - last >= SPACING);
        if !apart {
            return;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((at, usage.used.0));
    }

    /// Bytes per second: the slope of the least-squares line, 0 when it falls or the readings span under five minutes.
    pub fn rate(&self) -> u64 {
        let (Some((first, _)), Some((last, _))) = (self.0.front(), self.0.back()) else { return 0 };
        if last - first < LEAST_SPAN {
            return 0;
        }
        let count = i128::try_from(self.0.len()).unwrap_or(1);
        let points = || self.0.iter().map(|(at, used)| (i128::from((at - first) / 1_000), i128::from(*used)));
        let sum_x: i128 = points().map(|(x, _)| x).sum();
        // The distances from the mean add up to zero, so that those of the sizes need not be taken from theirs. Times fit in
        // 40 bits, sizes in 63, 64 readings add 6 twice and once more in the sum: the products stay within 128.
        let (over, under) = points().fold((0_i128, 0_i128), |(over, under), (x, y)| {
            let from_mean = count * x - sum_x;
            (over + from_mean * count * y, under + from_mean * from_mean)
        });
        u64::try_from(over.checked_div(under).unwrap_or(0)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::bytes::Bytes;
    use crate::policy::usage::Source;

    fn usage(seconds: i64, used: u64) -> Usage {
        Usage {
            claim: "data-db-0".into(),
            total: Bytes::MAX,
            used: Bytes(used),
            available: Bytes(0),
            inodes: None,
            shared: false,
            write_rate: None,
            at: Timestamp::from_second(1_700_000_000 + seconds).expect("in range"),
            source: Source::Agent,
        }
    }

    #[test]
    fn the_rate_is_the_slope_of_the_line_through_the_readings() {
        let check = |points: &[(i64, u64)], expected: u64| {
            let mut history = History::default();
            points.iter().for_each(|(at, used)| history.add(&usage(*at, *used)));
            assert_eq!(history.rate(), expected, "{points:?}");
        };
        check(&[], 0);
        check(&[(0, 5)], 0);
        check(&[(0, 0), (60, 6_000)], 0);
        check(&[(0, 0), (150, 15_000), (299, 29_900)], 0);
        check(&[(0, 0), (150, 15_000), (300, 30_000)], 100);
        // Not evenly spaced, and above zero.
        check(&[(0, 7_000), (60, 13_000), (600, 67_000)], 100);
        check(&[(0, 30_000), (150, 15_000), (300, 0)], 0);
        check(&[(0, 0), (1, u64::MAX), (300, 30_000)], 100);
        check(&[(0, 0), (300, 30_000), (200, u64::MAX)], 100);
        check(&[(0, 0), (300, Bytes::MAX.0)], Bytes::MAX.0 / 300);
    }

    #[test]
    fn only_the_last_readings_count() {
        let mut history = History::default();
        (0..1000).for_each(|i| history.add(&usage(i * 60, 0)));
        (1000..1064).for_each(|i| history.add(&usage(i * 60, u64::try_from(i).expect("positive") * 600)));
        assert_eq!(history.rate(), 10);
    }
}
