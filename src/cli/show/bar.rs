//! A usage bar with a mark at the threshold.

use crate::api::bytes::Percent;

/// How urgent a usage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Below the threshold.
    Normal,
    /// At or above the threshold: rso expands the volume.
    AboveThreshold,
    /// Nearly full.
    NearlyFull,
}

/// From here on a volume is nearly full, regardless of its threshold.
const NEARLY_FULL: Percent = Percent::whole(95);

/// How urgent a usage is, given the threshold.
pub(crate) fn urgency(full: Percent, threshold: Option<Percent>) -> Urgency {
    match threshold {
        _ if full >= NEARLY_FULL => Urgency::NearlyFull,
        Some(threshold) if full >= threshold => Urgency::AboveThreshold,
        Some(_) | None => Urgency::Normal,
    }
}

/// A bar of exactly `width` cells. Only a full volume has a full bar, and only an empty volume an empty one; the mark is in
/// the cell that fills when the usage reaches the threshold.
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

/// The bar of a volume whose usage is unknown.
pub(crate) fn unknown(width: usize) -> String {
    "·".repeat(width)
}

/// Whole percent, rounded down: `80%` is shown only if the usage reaches a threshold of 80 %.
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
    fn a_bar_of_no_cells_is_empty() {
        assert_eq!(bar(Percent::whole(50), Some(Percent::whole(80)), 0), "");
    }

    #[test]
    fn the_threshold_is_shown_only_when_the_usage_reaches_it() {
        let check = |full: u32, text: &str, expected: Urgency| {
            assert_eq!(percent(Percent(full)), text);
            assert_eq!(urgency(Percent(full), Some(Percent::whole(80))), expected, "{full}");
        };
        check(79_999, "79%", Urgency::Normal);
        check(80_000, "80%", Urgency::AboveThreshold);
        check(94_999, "94%", Urgency::AboveThreshold);
        check(95_000, "95%", Urgency::NearlyFull);
    }
}
