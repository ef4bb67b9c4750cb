//! Whole days of a volume, second by second: the operator measures, decides and expands, while a program writes.

use super::*;
use crate::policy::reaction::Reaction;
use crate::policy::usage::{Burst, History};

const MB: u64 = 1_000_000;

/// A volume, and what the operator knows of it.
struct Volume {
    /// Its size at the start.
    size: Bytes,
    /// How long an expansion takes, milliseconds.
    takes: i64,
    /// How long the operator believes it to take.
    reaction: Option<Duration>,
    /// Whether rates count; without them it is the rule of thresholds alone.
    by_rate: bool,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    expansions: usize,
    was_full: bool,
}

impl Volume {
    /// `used`: the bytes that the program has written after so many milliseconds.
    fn run(&self, seconds: i64, used: impl Fn(i64) -> u64) -> Outcome {
        let (mut claim, mut done_at) = (claim(0, self.size), None);
        let (mut history, mut burst) = (History::default(), Burst::default());
        let (mut expansions, mut was_full) = (0, false);
        let reaction = self.reaction.map(Reaction::Measured).unwrap_or_default();
        let driver = Driver { reaction, ..Driver::default() };
        let settings = settings(|settings| settings.min_increase = Bytes::mib(200));
        for millis in (0..seconds * 1_000).step_by(100) {
            let now = at(0) + jiff::SignedDuration::from_millis(millis);
            if done_at.is_some_and(|done| millis >= done) {
                (claim.capacity, done_at) = (Some(claim.requested), None);
            }
            let capacity = claim.capacity.unwrap();
            was_full |= used(millis) > capacity.0;
            if millis % 1_000 != 0 {
                continue;
            }
            let used = Bytes(used(millis).min(capacity.0));
            let reading = Usage { used, available: capacity.saturating_sub(used), at: now, ..usage(&claim, 0) };
            history.add(&reading);
            burst.add(now, used.0, None);
            let measured = Rate { trend: history.rate(), burst: burst.rate() };
            let rate = if self.by_rate { measured } else { Rate::default() };
            let reading = Reading::Measured { usage: reading, rate, capacity };
            let readings = BTreeMap::from([(claim.name.clone(), reading)]);
            let decision = decide(&settings, &driver, self.size, std::slice::from_ref(&claim), &readings, now);
            if let (Verdict::Grow { to, .. }, None) = (decision.verdict, done_at) {
                (claim.requested, claim.resized_at) = (to, Some(now));
                done_at = Some(millis + self.takes);
                expansions += 1;
            }
        }
        Outcome { expansions, was_full }
    }
}

fn share(size: Bytes, permille: u64) -> u64 {
    size.0 / 1_000 * permille
}

/// What is written after so many milliseconds at this rate, up to `most`.
fn written(from: u64, rate: u64, most: u64) -> impl Fn(i64) -> u64 {
    move |millis| most.min(from + rate / 1_000 * u64::try_from(millis).unwrap())
}

/// Up and down between two shares of the size, once a minute.
fn sawtooth(size: Bytes, low: u64, high: u64) -> impl Fn(i64) -> u64 {
    move |millis| {
        let phase = u64::try_from(millis % 60_000).unwrap();
        let up = if phase < 30_000 { phase } else { 60_000 - phase };
        share(size, low) + share(size, high - low) / 30_000 * up
    }
}

const TIMES: [(i64, Option<u64>); 5] =
    [(400, Some(400)), (1_900, Some(1_900)), (400, None), (56_000, Some(69_000)), (56_000, None)];

#[test]
fn a_sawtooth_is_expanded_no_more_often_than_by_thresholds_alone() {
    for size in [Bytes::mib(600), TEN, Bytes::gib(500)] {
        for (takes, reaction) in TIMES {
            let run = |by_rate: bool| {
                let reaction = reaction.map(Duration::from_millis);
                Volume { size, takes, reaction, by_rate }.run(7_200, sawtooth(size, 700, 850)).expansions
            };
            assert!(run(true) <= run(false), "{size} {takes} {reaction:?}");
        }
    }
}

#[test]
fn a_file_that_is_allocated_at_once_expands_nothing_below_the_threshold() {
    for size in [Bytes::mib(600), TEN] {
        for (takes, reaction) in TIMES {
            for (start, end) in [(0, 790), (100, 600), (500, 790), (700, 790)] {
                for at in [4_000, 4_300, 4_950] {
                    // At once, and within a second.
                    for lasts in [0, 500, 1_000] {
                        let used = |millis: i64| {
                            let done = u64::try_from((millis - at).clamp(0, lasts)).unwrap();
                            let done = if millis < at {
                                0
                            } else {
                                (done * 1_000).checked_div(lasts.unsigned_abs()).unwrap_or(1_000)
                            };
                            share(size, start + (end - start) * done / 1_000)
                        };
                        let volume =
                            Volume { size, takes, reaction: reaction.map(Duration::from_millis), by_rate: true };
                        let outcome = volume.run(60, used);
                        assert_eq!(outcome, Outcome { expansions: 0, was_full: false }, "{start} {end} {at} {lasts}");
                    }
                }
            }
        }
    }
}

/// Whether a volume that is so full, in percent, is full before it is larger: by thresholds alone, and by its rate.
fn is_full(size: Bytes, percent: u64, megabytes: u64, takes: i64, reaction: Option<u64>) -> [bool; 2] {
    [false, true].map(|by_rate| {
        let from = share(size, percent * 10);
        let volume = Volume { size, takes, reaction: reaction.map(Duration::from_millis), by_rate };
        volume.run(120, written(from, megabytes * MB, from + 2 * size.0)).was_full
    })
}

#[test]
fn a_volume_that_fills_faster_than_the_threshold_allows_is_not_full() {
    let check = |size: Bytes, percent: u64, megabytes: u64, takes: i64, reaction: Option<u64>, expected: [bool; 2]| {
        let found = is_full(size, percent, megabytes, takes, reaction);
        assert_eq!(found, expected, "{size} {percent} {megabytes} {takes} {reaction:?}");
    };
    let small = Bytes::mib(600);
    // The kubelet is nudged; measured: 0.55 to 1.9 s.
    check(small, 10, 50, 550, Some(1_900), [false, false]);
    check(small, 40, 50, 1_900, Some(1_900), [true, false]);
    check(small, 10, 80, 1_900, None, [true, false]);
    check(small, 10, 150, 550, Some(1_900), [true, false]);
    check(TEN, 10, 500, 5_000, Some(5_000), [true, false]);
    // A kubelet as it comes: 34 to 69 s.
    check(TEN, 45, 50, 56_000, None, [true, false]);
    check(TEN, 10, 100, 56_000, None, [true, false]);
    check(TEN, 45, 150, 34_000, Some(69_000), [true, false]);
    // Too late for everybody.
    check(TEN, 75, 50, 56_000, Some(69_000), [true, true]);
    check(small, 10, 200, 550, Some(1_900), [true, true]);
}

#[test]
fn no_volume_is_full_that_would_not_be_by_thresholds_alone() {
    let (mut by_thresholds, mut by_rate) = (0, 0);
    for (size, percents) in [(Bytes::mib(600), [10, 40, 60]), (TEN, [10, 45, 75])] {
        for (percent, megabytes) in
            percents.into_iter().flat_map(|p| [20, 50, 80, 100, 150, 200, 300, 500].map(|m| (p, m)))
        {
            for (takes, reaction) in [(550, Some(1_900)), (1_900, None), (5_000, Some(5_000)), (56_000, None)] {
                let [before, now] = is_full(size, percent, megabytes, takes, reaction);
                assert!(before || !now, "{size} {percent} {megabytes} {takes} {reaction:?}");
                by_thresholds += u32::from(before);
                by_rate += u32::from(now);
            }
        }
    }
    // Of 192.
    assert_eq!((by_thresholds, by_rate), (97, 85));
}
