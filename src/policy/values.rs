//! Values of annotations: their types, how each is parsed, and how an invalid one is shown to a person.

use std::time::Duration;

use crate::api::annotations::{PREFIX, REQUESTED};
use crate::api::bytes::{Bytes, Percent};
use crate::api::requested;

/// The most characters of a value that are shown.
const SHOWN: usize = 64;

/// Whether a template is expanded by usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auto {
    /// No.
    #[default]
    Off,
    /// Only recommended: the Events say what would be done.
    Recommend,
    /// Yes.
    On,
}

/// When the template of a StatefulSet is updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TemplateSync {
    /// Whenever its PVCs are larger.
    #[default]
    Always,
    /// When a person or an apply requested a larger size.
    OnUserChange,
    /// Never.
    Never,
}

/// The size of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Increase {
    /// A share of the present capacity.
    Share(Percent),
    /// That much.
    Size(Bytes),
}

/// A requested size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The size.
    pub size: Bytes,
    /// The annotation that requests it, without the prefix.
    pub key: String,
}

impl Request {
    /// Whether it is from an apply that the webhook absorbed, not from an annotation that a person wrote.
    pub fn is_from_apply(&self) -> bool {
        REQUESTED.strip_prefix(PREFIX) == Some(self.key.as_str())
    }
}

/// The parsed value, or why it is invalid, for a person. That text is bounded, regardless of the length of the value.
pub(super) type Meaning<T> = Result<T, String>;

/// The value in quotes, at most 64 characters of it. Characters that do not print (control characters, characters that
/// change the direction of writing) are escaped: no value can make an Event say something else.
pub(super) fn quote(value: &str) -> String {
    quote_up_to(value, SHOWN)
}

/// The same with another maximum length.
pub(super) fn quote_up_to(value: &str, most: usize) -> String {
    let mut shown = String::new();
    for (count, piece) in value.chars().map(|c| c.escape_debug().to_string()).enumerate() {
        if count == most || shown.len() + piece.len() > 2 * most {
            return format!("\"{shown}…\" ({} bytes)", value.len());
        }
        shown.push_str(&piece);
    }
    format!("\"{shown}\"")
}

/// A key as it is shown: the API server allows only plain characters in it, but not everybody asks the API server.
pub(super) fn shown(key: &str) -> String {
    key.chars().take(128).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// `"true"`, `"recommend"`, `"false"`.
pub(super) fn auto(text: &str) -> Meaning<Auto> {
    match text {
        "true" => Ok(Auto::On),
        "recommend" => Ok(Auto::Recommend),
        "false" => Ok(Auto::Off),
        _ => Err("must be \"true\", \"recommend\" or \"false\"".to_owned()),
    }
}

/// `"true"`, `"false"`.
pub(super) fn truth(text: &str) -> Meaning<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be \"true\" or \"false\"".to_owned()),
    }
}

/// `Always`, `OnUserChange`, `Never`.
pub(super) fn template_sync(text: &str) -> Meaning<TemplateSync> {
    match text {
        "Always" => Ok(TemplateSync::Always),
        "OnUserChange" => Ok(TemplateSync::OnUserChange),
        "Never" => Ok(TemplateSync::Never),
        _ => Err("must be Always, OnUserChange or Never".to_owned()),
    }
}

/// A size, zero included.
pub(super) fn size(text: &str) -> Meaning<Bytes> {
    text.parse::<Bytes>().map_err(|error| error.to_string())
}

/// A size above zero.
pub(super) fn some_size(text: &str) -> Meaning<Bytes> {
    match size(text)? {
        Bytes(0) => Err("must be more than 0".to_owned()),
        size => Ok(size),
    }
}

/// A percentage above zero, at most the whole.
pub(super) fn threshold(text: &str) -> Meaning<Percent> {
    let percent = text.parse::<Percent>().map_err(|error| error.to_string())?;
    if percent == Percent(0) || percent > Percent::whole(100) {
        return Err("must be more than 0% and at most 100%".to_owned());
    }
    Ok(percent)
}

/// A percentage or a size, above zero.
pub(super) fn increase(text: &str) -> Meaning<Increase> {
    if !text.ends_with('%') {
        return some_size(text).map(Increase::Size);
    }
    match text.parse::<Percent>().map_err(|error| error.to_string())? {
        Percent(0) => Err("must be more than 0%".to_owned()),
        percent => Ok(Increase::Share(percent)),
    }
}

/// A duration such as `15m` or `1h 30m`.
pub(super) fn duration(text: &str) -> Meaning<Duration> {
    // The library's own words quote the value without a bound.
    humantime::parse_duration(text).map_err(|_| "must be a duration such as 30s, 15m, or 1h 30m".to_owned())
}

/// The kind of an owner, such as `Postgresql`.
pub(super) fn kind(text: &str) -> Meaning<String> {
    let starts = text.starts_with(|c: char| c.is_ascii_uppercase());
    if starts && text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err("must be the kind of the owner, such as Postgresql".to_owned())
}

/// `data=50Gi,wal=10Gi`: the templates with their sizes.
pub(super) fn requested(text: &str) -> Meaning<Vec<(&str, Bytes)>> {
    let sized = requested::entries(text).map(|entry| {
        let entry = entry.map_err(|error| error.to_string())?;
        Ok((entry.template, some_size(entry.quantity)?))
    });
    sized.collect()
}

/// How many single letters must be changed, added or removed to make one word of the other.
pub(super) fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_so_that_it_can_harm_nobody() {
        let check = |value: &str, expected: &str| assert_eq!(quote(value), expected);
        check("", "\"\"");
        check("10GB", "\"10GB\"");
        check("a\"b\\c", "\"a\\\"b\\\\c\"");
        check("line\nbreak\u{7}\u{1b}[31m", "\"line\\nbreak\\u{7}\\u{1b}[31m\"");
        check("10Gi\u{202e}iG01", "\"10Gi\\u{202e}iG01\"");
        check("zero\u{200b}width\u{feff}", "\"zero\\u{200b}width\\u{feff}\"");
        check(&"x".repeat(64), &format!("\"{}\"", "x".repeat(64)));
        check(&"x".repeat(300 << 10), &format!("\"{}…\" (307200 bytes)", "x".repeat(64)));
        // Escapes count as they are written: 128 letters of them.
        check(&"\u{202e}".repeat(16), &format!("\"{}\"", "\\u{202e}".repeat(16)));
        check(&"\u{202e}".repeat(17), &format!("\"{}…\" (51 bytes)", "\\u{202e}".repeat(16)));
    }

    #[test]
    fn the_distance_counts_letters() {
        let check = |a: &str, b: &str, expected: usize| assert_eq!(distance(a, b), expected, "{a} {b}");
        check("", "", 0);
        check("threshold", "threshold", 0);
        check("treshold", "threshold", 1);
        check("max-szie", "max-size", 2);
        check("", "abc", 3);
        check("abc", "", 3);
    }
}
