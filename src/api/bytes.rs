//! A size in bytes, exact, in the full Kubernetes quantity grammar.
//!
//! Own code, because what exists goes through floats: `1Ei` is refused and `1.5Gi` loses bytes. The grammar is that of
//! `k8s.io/apimachinery/pkg/api/resource`: a signed decimal number, then a binary suffix (`Ki` … `Ei`), a decimal suffix
//! (`n u m k M G T P E`, none) or an exponent (`e3`, `E-2`). A fraction of a byte is rounded up, as Kubernetes does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use super::percent::Percent;

/// A number of bytes.
///
/// Parses every spelling of a quantity; prints the shortest exact one (`10Gi`, `700M`, `629145601`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Nothing there.
    #[error("must not be empty; use a size such as 10Gi")]
    Empty,
    /// Below zero.
    #[error("must not be negative")]
    Negative,
    /// No number at the start.
    #[error("must begin with a number; use a size such as 10Gi")]
    NoNumber,
    /// A suffix that Kubernetes does not know.
    #[error("{0:?} is not a unit; the units are Ki Mi Gi Ti Pi Ei and n u m k M G T P E")]
    UnknownUnit(String),
    /// More than 2^63-1 bytes, the most that Kubernetes can hold.
    #[error("must be at most 2^63-1 bytes, the largest size in Kubernetes")]
    TooLarge,
}

const BINARY: [(&str, u64); 6] =
    [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40), ("Pi", 1 << 50), ("Ei", 1 << 60)];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

impl Bytes {
    /// The largest size that Kubernetes can hold, 2^63-1.
    pub const MAX: Self = Self(i64::MAX as u64);
    /// 1 MiB.
    pub const MIB: u64 = 1 << 20;
    /// 1 GiB.
    pub const GIB: u64 = 1 << 30;

    /// That many GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n.saturating_mul(Self::GIB))
    }

    /// That many MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n.saturating_mul(Self::MIB))
    }

    /// The sum, at most [`Bytes::MAX`]: sizes never wrap.
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0)).min(Self::MAX)
    }

    /// The difference, at least zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// That share of it, rounded up, at most [`Bytes::MAX`].
    pub fn share(self, percent: Percent) -> Self {
        let product = u128::from(self.0) * u128::from(percent.0);
        let share = product.div_ceil(u128::from(Percent::WHOLE));
        Self(u64::try_from(share).unwrap_or(Self::MAX.0).min(Self::MAX.0))
    }

    /// The next multiple of `unit` at or above it, at most [`Bytes::MAX`]. A unit of zero changes nothing.
    pub fn round_up_to(self, unit: Self) -> Self {
        match self.0.checked_next_multiple_of(unit.0) {
            Some(rounded) => Self(rounded).min(Self::MAX),
            None if unit.0 == 0 => self,
            None => Self::MAX,
        }
    }

    /// For a person: two or three digits and a binary unit, `1.4Gi`. Not exact; never parse it.
    pub fn human(self) -> String {
        let Some((suffix, unit)) = BINARY.iter().rev().find(|(_, unit)| self.0 >= *unit) else {
            return format!("{}B", self.0);
        };
        let tenths = (u128::from(self.0) * 10 + u128::from(*unit) / 2) / u128::from(*unit);
        if tenths >= 100 || tenths.is_multiple_of(10) {
            return format!("{}{suffix}", (tenths + 5) / 10);
        }
        format!("{}.{}{suffix}", tenths / 10, tenths % 10)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |unit: u64| self.0 != 0 && self.0.is_multiple_of(unit);
        if let Some((suffix, unit)) = BINARY.iter().rev().find(|(_, unit)| whole(*unit)) {
            return write!(f, "{}{suffix}", self.0 / unit);
        }
        let decimal = DECIMAL.iter().rev().take_while(|(suffix, _)| !suffix.is_empty());
        for (suffix, power) in decimal {
            let unit = 10_u64.pow(power.unsigned_abs());
            if whole(unit) {
                return write!(f, "{}{suffix}", self.0 / unit);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// The digits before and after the point, and the rest.
struct Number<'a> {
    digits: String,
    scale: i64,
    suffix: &'a str,
}

fn split(text: &str) -> Result<Number<'_>, QuantityError> {
    let unsigned = match text.as_bytes().first() {
        None => return Err(QuantityError::Empty),
        Some(b'-') => return Err(QuantityError::Negative),
        Some(b'+') => &text[1..],
        Some(_) => text,
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.contains('.') || (whole.is_empty() && part.is_empty()) {
        return Err(QuantityError::NoNumber);
    }
    let part = part.trim_end_matches('0');
    let digits = format!("{whole}{part}").trim_start_matches('0').to_owned();
    Ok(Number { digits, scale: i64::try_from(part.len()).unwrap_or(i64::MAX), suffix })
}

fn exponent(suffix: &str) -> Option<i64> {
    let digits = suffix.strip_prefix(['e', 'E'])?;
    // What 64 bits do not hold is no exponent to Kubernetes. One beyond a hundred thousand is decided by its sign alone: too
    // large, or less than a byte.
    Some(digits.parse::<i64>().ok()?.clamp(-100_000, 100_000))
}

/// Quotes the start of what stands where a unit should: the value may be as long as an annotation may be.
fn unknown_unit(suffix: &str) -> QuantityError {
    QuantityError::UnknownUnit(suffix.chars().take(16).collect())
}

/// digits × 10^power × unit, rounded up.
fn scaled(digits: &str, power: i64, unit: u64) -> Result<Bytes, QuantityError> {
    if digits.is_empty() {
        return Ok(Bytes(0));
    }
    // 2^63 has 19 digits. Longer numbers are cut to 40 digits after their first: what is cut only matters for rounding.
    let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    if length.saturating_add(power) > 19 {
        return Err(QuantityError::TooLarge);
    }
    // The whole part and the fraction apart, so that 128 bits are enough however long the fraction is.
    let point = usize::try_from(length.saturating_add(power).max(0)).unwrap_or(0);
    let whole_digits: String = digits.chars().chain(std::iter::repeat('0')).take(point).collect();
    let whole: u128 =
        if whole_digits.is_empty() { 0 } else { whole_digits.parse().map_err(|_| QuantityError::TooLarge)? };
    let zeros = usize::try_from(length.saturating_add(power).min(0).unsigned_abs()).unwrap_or(usize::MAX).min(40);
    let fraction: String = std::iter::repeat_n('0', zeros).chain(digits.chars().skip(point)).collect();
    let total = (whole * u128::from(unit)).saturating_add(fraction_of(&fraction, unit));
    match u64::try_from(total) {
        Ok(bytes) if bytes <= Bytes::MAX.0 => Ok(Bytes(bytes)),
        Ok(_) | Err(_) => Err(QuantityError::TooLarge),
    }
}

/// 0.`digits` × unit, rounded up: long multiplication from the last digit, one carry and "was anything cut" kept.
fn fraction_of(digits: &str, unit: u64) -> u128 {
    let (mut carry, mut cut) = (0_u128, false);
    for digit in digits.bytes().rev() {
        let value = u128::from(digit - b'0') * u128::from(unit) + carry;
        cut |= !value.is_multiple_of(10);
        carry = value / 10;
    }
    carry + u128::from(cut)
}

impl FromStr for Bytes {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Number { digits, scale, suffix } = split(text)?;
        if let Some((_, unit)) = BINARY.iter().find(|(name, _)| *name == suffix) {
            return scaled(&digits, -scale, *unit);
        }
        let power = DECIMAL.iter().find(|(name, _)| *name == suffix).map(|(_, power)| i64::from(*power));
        let power = power.or_else(|| exponent(suffix)).ok_or_else(|| unknown_unit(suffix))?;
        scaled(&digits, power.saturating_sub(scale), 1)
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_a_quantity_is_read_exactly() {
        let check = |text: &str, expected: u64| assert_eq!(text.parse(), Ok(Bytes(expected)), "{text}");
        check("0", 0);
        check("10Gi", 10 << 30);
        check("1Ti", 1 << 40);
        check("1Ei", 1 << 60);
        check("7.999Ei", 9_222_219_115_350_168_962);
        check("700M", 700_000_000);
        check("0.6Gi", 644_245_095);
        check("1.5Gi", 1_610_612_736);
        check(".5Gi", 536_870_912);
        check("5.Gi", 5 << 30);
        check("629145600", 629_145_600);
        check("1e9", 1_000_000_000);
        check("1E9", 1_000_000_000);
        check("1e+3", 1_000);
        check("12e-1", 2);
        check("1E", 1_000_000_000_000_000_000);
        check("1k", 1_000);
        check("100m", 1);
        check("1500m", 2);
        check("1n", 1);
        check("2500000u", 3);
        check("0.0000000001", 1);
        check("1e-99999", 1);
        check("+1Gi", 1 << 30);
        check("0e99999", 0);
        check("00010Mi", 10 << 20);
        check("9223372036854775807", i64::MAX as u64);
        check("9223372036854775806.5", i64::MAX as u64);
        check("10240Mi", 10 << 30);
    }

    #[test]
    fn what_is_not_a_quantity_is_refused_with_its_reason() {
        let check = |text: &str, expected: QuantityError| assert_eq!(text.parse::<Bytes>(), Err(expected), "{text}");
        check("", QuantityError::Empty);
        check("-1Gi", QuantityError::Negative);
        check("Gi", QuantityError::NoNumber);
        check(".", QuantityError::NoNumber);
        check("1.2.3", QuantityError::NoNumber);
        check("+", QuantityError::NoNumber);
        check("+-1", QuantityError::NoNumber);
        check("10gi", QuantityError::UnknownUnit("gi".into()));
        check("10GB", QuantityError::UnknownUnit("GB".into()));
        check("1K", QuantityError::UnknownUnit("K".into()));
        check("10 Gi", QuantityError::UnknownUnit(" Gi".into()));
        check("1e", QuantityError::UnknownUnit("e".into()));
        check("1e1.5", QuantityError::UnknownUnit("e1.5".into()));
        check("1e+", QuantityError::UnknownUnit("e+".into()));
        check("1e+-1", QuantityError::UnknownUnit("e+-1".into()));
        check("1e-9223372036854775809", QuantityError::UnknownUnit("e-92233720368547".into()));
        check("１Gi", QuantityError::NoNumber);
        check("NaN", QuantityError::NoNumber);
        check("8Ei", QuantityError::TooLarge);
        check("9223372036854775808", QuantityError::TooLarge);
        check("1e400", QuantityError::TooLarge);
        check("99999999999999999999999999999999999999999999999", QuantityError::TooLarge);
    }

    #[test]
    fn a_size_is_told_to_a_person_in_few_digits() {
        let check = |bytes: u64, expected: &str| assert_eq!(Bytes(bytes).human(), expected);
        check(0, "0B");
        check(1023, "1023B");
        check(1024, "1Ki");
        check(1_610_612_736, "1.5Gi");
        check(644_245_095, "614Mi");
        // 1.26, to the nearest.
        check(1_352_914_698, "1.3Gi");
        check(10 << 30, "10Gi");
    }

    #[test]
    fn a_size_is_printed_in_the_largest_unit_that_is_exact() {
        let check = |bytes: u64, expected: &str| assert_eq!(Bytes(bytes).to_string(), expected);
        check(0, "0");
        check(1, "1");
        check(1023, "1023");
        check(1000, "1k");
        check(1024, "1Ki");
        check(700_000_000, "700M");
        check(629_145_600, "600Mi");
        check(629_145_601, "629145601");
        check(1 << 40, "1Ti");
        check(3_000_000_000_000_000_001, "3000000000000000001");
        check(1_000_000_000_000_001_000, "1000000000000001k");
    }

    #[test]
    fn a_size_is_kept_as_a_text() {
        assert_eq!(serde_json::to_string(&Bytes::gib(10)).ok().as_deref(), Some("\"10Gi\""));
        let read = |json: &str| serde_json::from_str::<Bytes>(json).map_err(|error| error.to_string());
        assert_eq!(read("\"1.5Gi\""), Ok(Bytes::mib(1536)));
        assert!(read("10").is_err(), "a bare number");
        assert!(read("\"10GB\"").is_err_and(|error| error.contains("not a unit")));
    }

    #[test]
    fn a_size_is_rounded_up_to_its_unit_and_never_wraps() {
        let check = |size: u64, unit: u64, expected: Bytes| assert_eq!(Bytes(size).round_up_to(Bytes(unit)), expected);
        check(7, 5, Bytes(10));
        check(10, 5, Bytes(10));
        check(7, 0, Bytes(7));
        check(Bytes::MAX.0, 1 << 40, Bytes::MAX);
        check(u64::MAX, 1 << 40, Bytes::MAX);
    }

    #[test]
    fn a_sum_never_wraps() {
        assert_eq!(Bytes(1).saturating_add(Bytes(2)), Bytes(3));
        assert_eq!(Bytes::MAX.saturating_add(Bytes(1)), Bytes::MAX);
        assert_eq!(Bytes(u64::MAX).saturating_add(Bytes(1)), Bytes::MAX);
    }

    #[test]
    fn a_share_is_rounded_up_and_never_wraps() {
        assert_eq!(Bytes(10).share(Percent::whole(25)), Bytes(3));
        assert_eq!(Bytes::MAX.share(Percent::whole(400)), Bytes::MAX);
        assert_eq!(Bytes(0).share(Percent::whole(20)), Bytes(0));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back_exactly(bytes in 0..=Bytes::MAX.0) {
            prop_assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-+0-9.eEKMGTPnumki ]{0,24}") {
            let _ = text.parse::<Bytes>();
        }

        #[test]
        fn rounding_up_never_makes_it_smaller(bytes in 0..=Bytes::MAX.0, unit in 0..=Bytes::MAX.0) {
            prop_assert!(Bytes(bytes).round_up_to(Bytes(unit)) >= Bytes(bytes));
        }
    }
}
