//! An exact percentage without floats.

use std::fmt;
use std::str::FromStr;

/// A share of a whole in thousandths of a percent: `80%` is 80 000. It needs no float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(pub u32);

/// Why a text is not a percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PercentError {
    /// `80` alone: it could be bytes.
    #[error("must end with %; use a percentage such as 80%")]
    NoSign,
    /// Anything but digits and one point before the sign.
    #[error("must be a decimal number before the %; use a percentage such as 80%")]
    NoNumber,
    /// More digits than are kept.
    #[error("must have at most three decimal places")]
    TooFine,
    /// More than four million percent.
    #[error("must be at most 4000000%")]
    TooLarge,
}

impl Percent {
    /// The whole.
    pub const WHOLE: u64 = 100_000;

    /// A whole number of percent.
    pub const fn whole(percent: u32) -> Self {
        Self(percent.saturating_mul(1_000))
    }

    /// The share of `part` in `whole`, rounded down; `None` if `whole` is 0.
    pub fn of(part: u64, whole: u64) -> Option<Self> {
        let share = (u128::from(part) * u128::from(Self::WHOLE)).checked_div(u128::from(whole))?;
        Some(Self(u32::try_from(share).unwrap_or(u32::MAX)))
    }

    /// Whether `part` is at least this share of `whole`, exactly. A whole of 0 has no room at all, so it is full.
    pub fn is_reached(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(Self::WHOLE) >= u128::from(whole) * u128::from(self.0)
    }

    /// The next whole percent above it, at most 100%.
    #[must_use]
    pub const fn next_whole(self) -> Self {
        let next = Self::whole(self.0 / 1_000 + 1);
        if next.0 < Self::whole(100).0 { next } else { Self::whole(100) }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000, self.0 % 1_000);
        if part == 0 {
            return write!(f, "{whole}%");
        }
        let digits = format!("{part:03}");
        write!(f, "{whole}.{}%", digits.trim_end_matches('0'))
    }
}

impl FromStr for Percent {
    type Err = PercentError;

    fn from_str(text: &str) -> Result<Self, PercentError> {
        let number = text.strip_suffix('%').ok_or(PercentError::NoSign)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !plain(whole) || !plain(part) {
            return Err(PercentError::NoNumber);
        }
        let part = part.trim_end_matches('0');
        if part.len() > 3 {
            return Err(PercentError::TooFine);
        }
        let thousandths: u32 = format!("{part:0<3}").parse().map_err(|_| PercentError::NoNumber)?;
        let whole: u32 = whole.parse().map_err(|_| PercentError::TooLarge)?;
        let total = whole.checked_mul(1_000).and_then(|n| n.checked_add(thousandths));
        total.map(Self).ok_or(PercentError::TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_printed_without_zeros() {
        assert_eq!(Percent::whole(80).to_string(), "80%");
        assert_eq!(Percent(80_250).to_string(), "80.25%");
        assert_eq!(Percent(500).to_string(), "0.5%");
    }

    #[test]
    fn a_percentage_is_read_exactly_or_refused_with_its_reason() {
        let check =
            |text: &str, expected: Result<u32, PercentError>| assert_eq!(text.parse(), expected.map(Percent), "{text}");
        check("80%", Ok(80_000));
        check("80.5%", Ok(80_500));
        check("80.125%", Ok(80_125));
        check("80.5000%", Ok(80_500));
        check("080%", Ok(80_000));
        check("0%", Ok(0));
        check("300%", Ok(300_000));
        check("80", Err(PercentError::NoSign));
        check("", Err(PercentError::NoSign));
        check("%", Err(PercentError::NoNumber));
        check("80%%", Err(PercentError::NoNumber));
        check("80 %", Err(PercentError::NoNumber));
        check("80.%", Err(PercentError::NoNumber));
        check(".5%", Err(PercentError::NoNumber));
        check("NaN%", Err(PercentError::NoNumber));
        check("inf%", Err(PercentError::NoNumber));
        check("-5%", Err(PercentError::NoNumber));
        check("+5%", Err(PercentError::NoNumber));
        check("1e3%", Err(PercentError::NoNumber));
        check("1.2.3%", Err(PercentError::NoNumber));
        check("８０%", Err(PercentError::NoNumber));
        check("80.1234%", Err(PercentError::TooFine));
        check("4294968%", Err(PercentError::TooLarge));
        check("99999999999999999999%", Err(PercentError::TooLarge));
    }

    #[test]
    fn a_share_is_reached_to_the_byte() {
        let check = |part: u64, whole: u64, share: u32, expected: bool| {
            assert_eq!(Percent(share).is_reached(part, whole), expected, "{part}/{whole} {share}");
        };
        check(80, 100, 80_000, true);
        check(79_999, 100_000, 80_000, false);
        check(u64::MAX, u64::MAX, 100_000, true);
        check(u64::MAX - 1, u64::MAX, 100_000, false);
        check(0, 0, 80_000, true);
        check(0, 1, 1, false);
    }

    #[test]
    fn the_next_whole_percent_is_above_and_at_most_the_whole() {
        let check = |share: u32, expected: u32| assert_eq!(Percent(share).next_whole(), Percent::whole(expected));
        check(0, 1);
        check(85_000, 86);
        check(85_999, 86);
        check(99_001, 100);
        check(100_000, 100);
        check(u32::MAX, 100);
    }

    #[test]
    fn a_share_of_nothing_is_no_share() {
        assert_eq!(Percent::of(1, 0), None);
        assert_eq!(Percent::of(1, 3), Some(Percent(33_333)));
        assert_eq!(Percent::of(u64::MAX, u64::MAX), Some(Percent::whole(100)));
    }
}
