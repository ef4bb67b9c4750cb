//! The measurements of the last seconds, and the rate at which each volume was written. Pure: the time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The period over which a rate is measured, if there are samples of it.
const RATE_PERIOD: Duration = Duration::from_secs(1);
/// A rate over less than this is mostly chance: filesystems allocate in batches.
pub(super) const MIN_RATE_PERIOD: Duration = Duration::from_millis(100);
/// Samples older than this are dropped: what was written before is not the present rate.
const MAX_AGE: Duration = Duration::from_secs(2);
/// The maximum number of samples, more than are taken within [`MAX_AGE`].
const MAX_SAMPLES: usize = 32;

/// The used bytes of each volume, `None` if it could not be measured, at a few moments.
#[derive(Debug, Default)]
pub(super) struct Samples(VecDeque<(Instant, Vec<Option<u64>>)>);

impl Samples {
    /// Adds a sample, and drops those that are too old.
    pub(super) fn add(&mut self, at: Instant, used: Vec<Option<u64>>) {
        while self.0.front().is_some_and(|(old, _)| at.saturating_duration_since(*old) > MAX_AGE)
            || self.0.len() >= MAX_SAMPLES
        {
            self.0.pop_front();
        }
        self.0.push_back((at, used));
    }

    /// Whether the samples are far enough apart for a rate.
    pub(super) fn has_rate(&self) -> bool {
        self.period().is_some_and(|(_, period)| period >= MIN_RATE_PERIOD)
    }

    /// The bytes per second by which the used space of this volume has increased in the last second; 0 if it has not, or
    /// if that is unknown.
    pub(super) fn rate(&self, volume: usize) -> u64 {
        let (Some((first, period)), Some((_, last))) = (self.period(), self.0.back()) else { return 0 };
        let used = |sample: &[Option<u64>]| sample.get(volume).copied().flatten();
        let (Some(before), Some(now)) = (used(first), used(last)) else { return 0 };
        let written = u128::from(now.saturating_sub(before)) * 1_000_000;
        let rate = written.checked_div(period.as_micros()).unwrap_or(0);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// The sample from a second before the last one, or the first of all, and the time between them.
    fn period(&self) -> Option<(&[Option<u64>], Duration)> {
        let (last, _) = self.0.back()?;
        let age = |at: &Instant| last.saturating_duration_since(*at);
        let first = self.0.iter().rev().find(|(at, _)| age(at) >= RATE_PERIOD).or_else(|| self.0.front());
        first.map(|(at, used)| (used.as_slice(), age(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let start = Instant::now();
        let check = |points: &[(u64, u64)], expected: Option<u64>| {
            let mut samples = Samples::default();
            points
                .iter()
                .for_each(|(at, used)| samples.add(start + Duration::from_millis(*at), vec![None, Some(*used)]));
            assert_eq!(samples.has_rate().then(|| samples.rate(1)), expected, "{points:?}");
            assert_eq!((samples.rate(0), samples.rate(7)), (0, 0), "a volume that was not measured");
        };
        check(&[], None);
        check(&[(0, 5)], None);
        check(&[(0, 5), (99, 1_000)], None);
        check(&[(0, 0), (100, 1_000)], Some(10_000));
        check(&[(0, 0), (500, 1_000), (1_000, 1_500)], Some(1_500));
        check(&[(0, 0), (500, 1_000), (1_000, 1_500), (1_500, 1_500)], Some(500));
        // Files were deleted.
        check(&[(0, 9_000), (500, 9_500), (1_000, 1_000)], Some(0));
        // What was measured for an earlier request is no rate of the present.
        check(&[(0, 0), (10_000, 90_000)], None);
        check(&[(0, 0), (10_000, 90_000), (11_000, 90_000)], Some(0));
        check(&[(0, 0), (1_000, u64::MAX)], Some(u64::MAX));
        check(&[(0, 0), (100, u64::MAX)], Some(u64::MAX));
    }

    #[test]
    fn few_samples_are_kept() {
        let (start, mut samples) = (Instant::now(), Samples::default());
        (0..10_000).for_each(|i| samples.add(start + Duration::from_millis(i), vec![Some(i)]));
        assert_eq!(samples.0.len(), MAX_SAMPLES);
        assert!(samples.0.capacity() <= 4 * MAX_SAMPLES);
    }
}
