//! How do bytes become a case? Small numbers of small things, with the words and the limits that matter more likely.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use jiff::Timestamp;
use rso::api::bytes::Bytes;
use serde_json::{Map, Value};

/// The time around which everything happens, in seconds.
pub const NOW: i64 = 1_800_000_000;

/// One of these.
pub fn one<'a>(u: &mut Unstructured<'_>, words: &[&'a str]) -> Result<&'a str> {
    u.choose(words).copied()
}

/// One of these, or rarely any text.
pub fn word(u: &mut Unstructured<'_>, words: &[&str]) -> Result<String> {
    if rarely(u)? { text(u, 24) } else { one(u, words).map(str::to_owned) }
}

/// Any text of so many bytes at most.
pub fn text(u: &mut Unstructured<'_>, most: usize) -> Result<String> {
    let length = u.int_in_range(0..=most)?.min(u.len());
    Ok(String::from_utf8_lossy(u.bytes(length)?).into_owned())
}

/// Once in ten; never when the bytes are used up.
pub fn rarely(u: &mut Unstructured<'_>) -> Result<bool> {
    Ok(u.arbitrary::<u8>()? >= 230)
}

/// Up to so many.
pub fn list<'a, T>(
    u: &mut Unstructured<'a>,
    most: usize,
    mut make: impl FnMut(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = u.int_in_range(0..=most)?;
    (0..count).map(|_| make(u)).collect()
}

/// One, or none.
pub fn maybe<'a, T>(
    u: &mut Unstructured<'a>,
    make: impl FnOnce(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Option<T>> {
    if u.arbitrary()? { make(u).map(Some) } else { Ok(None) }
}

/// A number: a few units, or close to one of the ends, or any.
pub fn number(u: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match u.int_in_range(0..=7_u8)? {
        0 => 0,
        1 => u64::from(u.arbitrary::<u8>()?),
        2 => u64::from(u.arbitrary::<u16>()?) << 20,
        3 | 4 => u64::from(u.arbitrary::<u8>()?) << 30,
        5 => Bytes::MAX.0 - u64::from(u.arbitrary::<u8>()?),
        6 => u64::MAX - u64::from(u.arbitrary::<u8>()?),
        _ => u.arbitrary()?,
    })
}

/// A size that Kubernetes can hold.
pub fn size(u: &mut Unstructured<'_>) -> Result<Bytes> {
    Ok(Bytes(number(u)?).min(Bytes::MAX))
}

/// A time: seconds or hours around [`NOW`], or any.
pub fn time(u: &mut Unstructured<'_>) -> Result<Timestamp> {
    let seconds = match u.int_in_range(0..=3_u8)? {
        0 => NOW,
        1 => NOW + i64::from(u.arbitrary::<i8>()?),
        2 => NOW + i64::from(u.arbitrary::<i16>()?) * 4,
        _ => u.int_in_range(Timestamp::MIN.as_second()..=Timestamp::MAX.as_second())?,
    };
    Ok(Timestamp::from_second(seconds).unwrap_or(Timestamp::MIN))
}

/// A span of time.
pub fn span(u: &mut Unstructured<'_>) -> Result<Duration> {
    Ok(Duration::from_secs(match u.int_in_range(0..=3_u8)? {
        0 => 0,
        1 => u64::from(u.arbitrary::<u8>()?),
        2 => u64::from(u.arbitrary::<u16>()?),
        _ => u.arbitrary()?,
    }))
}

/// Any JSON that a server keeps: no fractions, which Kubernetes forbids in its objects.
pub fn json(u: &mut Unstructured<'_>, words: &[&str], depth: u8) -> Result<Value> {
    let most = if depth == 0 { 3 } else { 5 };
    Ok(match u.int_in_range(0..=most)? {
        0 => Value::Null,
        1 => Value::from(u.arbitrary::<bool>()?),
        2 => Value::from(u.arbitrary::<i64>()?),
        3 => Value::from(word(u, words)?),
        4 => Value::Array(list(u, 3, |u| json(u, words, depth - 1))?),
        _ => Value::Object(members(u, words, depth)?),
    })
}

/// The members of such an object.
pub fn members(u: &mut Unstructured<'_>, words: &[&str], depth: u8) -> Result<Map<String, Value>> {
    let depth = depth.saturating_sub(1);
    Ok(list(u, 3, |u| Ok((word(u, words)?, json(u, words, depth)?)))?.into_iter().collect())
}
