//! How does a share look? A bar with a mark where growth begins.

use crate::api::bytes::Percent;

/// What the fill of a bar says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Below the threshold.
    Calm,
    /// At or above the threshold: it should grow.
    Due,
    /// Nearly full.
    Alarm,
}

/// From here on a volume is nearly full, whatever its threshold.
const ALARM: Percent = Percent::whole(95);

/// What a fullness says, given the threshold.
pub(crate) fn mood(full: Percent, threshold: Option<Percent>) -> Mood {
    match threshold {
        _ if full >= ALARM => Mood::Alarm,
        Some(threshold) if full >= threshold => Mood::Due,
        Some(_) | None => Mood::Calm,
    }
}

/// A bar of exactly `width` cells. It is never drawn full before it is, nor empty when there is something; the mark
/// stands in the cell that fills when the threshold is reached.
pub(crate) fn bar(full: Percent, threshold: Option<Percent>, width: usize) -> String {
    let filled = match cells(full, width) {
        0 if full.0 > 0 => 1.min(width),
        cells => cells,
    };
    let mark = threshold.filter(|t| u64::from(t.0) < Percent::WHOLE).map(|t| cells(t, width));
    (0..width)
        .map(|cell| match cell < filled {
            true => '█',
            false if Some(cell) == mark => '│',
            false => '░',
        })
        .collect()
}

/// A bar of a volume that nobody can tell about.
pub(crate) fn unknown(width: usize) -> String {
    "·".repeat(width)
}

/// Whole percent, rounded down: `80%` is only said when the threshold of 80 % is reached.
pub(crate) fn percent(full: Percent) -> String {
    format!("{}%", full.0 / 1_000)
}

fn cells(share: Percent, width: usize) -> usize {
    let whole = usize::try_from(Percent::WHOLE).unwrap_or(usize::MAX);
    (usize::try_from(share.0).unwrap_or(usize::MAX).saturating_mul(width) / whole).min(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_from_the_left_and_marks_the_threshold() {
        let check = |full: u32, threshold: Option<u32>, expected: &str| {
            let drawn = bar(Percent(full), threshold.map(Percent::whole), 10);
            assert_eq!(drawn, expected, "{full} of {threshold:?}");
        };
        check(0, Some(80), "░░░░░░░░│░");
        check(1, Some(80), "█░░░░░░░│░");
        check(50_000, Some(80), "█████░░░│░");
        check(79_999, Some(80), "███████░│░");
        check(80_000, Some(80), "████████│░");
        check(90_000, Some(80), "█████████░");
        check(99_999, None, "█████████░");
        check(100_000, None, "██████████");
        check(170_000, Some(80), "██████████");
        check(30_000, Some(100), "███░░░░░░░");
        check(30_000, None, "███░░░░░░░");
    }

    #[test]
    fn a_bar_without_room_is_empty() {
        assert_eq!(bar(Percent::whole(50), Some(Percent::whole(80)), 0), "");
    }

    #[test]
    fn the_threshold_is_only_said_when_it_is_reached() {
        let check = |full: u32, text: &str, expected: Mood| {
            assert_eq!(percent(Percent(full)), text);
            assert_eq!(mood(Percent(full), Some(Percent::whole(80))), expected, "{full}");
        };
        check(79_999, "79%", Mood::Calm);
        check(80_000, "80%", Mood::Due);
        check(94_999, "94%", Mood::Due);
        check(95_000, "95%", Mood::Alarm);
    }
}
