//! The codec of the `requested` annotation, `data=50Gi,wal=10Gi`: the sizes that applies requested and that the
//! templates do not have yet. The webhook writes it, and the controller removes what is done.
//!
//! Sizes keep the notation in which they are written: a user sees only quantities that they wrote.

use std::cmp::Ordering;
use std::fmt;

use super::bytes::{Bytes, QuantityError};

/// One entry, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name of the template.
    pub template: &'a str,
    /// Its requested size.
    pub quantity: &'a str,
}

impl Entry<'_> {
    /// The requested size.
    ///
    /// # Errors
    /// If it is not a quantity.
    pub fn size(&self) -> Result<Bytes, QuantityError> {
        self.quantity.parse()
    }

    fn is_larger_than(&self, size: Bytes) -> bool {
        self.size().is_ok_and(|requested| requested > size)
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.template, self.quantity)
    }
}

/// An entry without an equals sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be <template>=<quantity>,…")]
pub struct NoEntry;

/// The entries of the annotation, in their order.
pub fn entries(text: &str) -> impl Iterator<Item = Result<Entry<'_>, NoEntry>> {
    let entry = |part| {
        let (template, quantity) = str::split_once(part, '=').ok_or(NoEntry)?;
        Ok(Entry { template, quantity })
    };
    text.split(',').map(entry)
}

/// The annotation with these entries; `None` if there are none, because it is removed then.
pub fn print<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> Option<String> {
    let entries: Vec<String> = entries.into_iter().map(|entry| entry.to_string()).collect();
    (!entries.is_empty()).then(|| entries.join(","))
}

/// The largest size that the annotation requests for a template.
pub fn largest(text: &str, template: &str) -> Option<Bytes> {
    let of_template = entries(text).flatten().filter(|entry| entry.template == template);
    of_template.filter_map(|entry| entry.size().ok()).max()
}

/// The annotation after an apply, which has an entry and the present size of each template. An earlier request for a
/// template stands until an apply requests another size.
pub fn merge<'a>(before: &'a str, applied: impl IntoIterator<Item = (Entry<'a>, Bytes)>) -> Option<String> {
    let earlier = |template: &str| entries(before).flatten().filter(|entry| entry.template == template).last();
    let entry = |(entry, live): (Entry<'a>, Bytes)| match entry.size().ok()?.cmp(&live) {
        Ordering::Greater => Some(entry),
        Ordering::Less => None,
        Ordering::Equal => earlier(entry.template).filter(|entry| entry.is_larger_than(live)),
    };
    print(applied.into_iter().filter_map(entry))
}

/// What of the annotation is left to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remaining {
    /// Nothing: the annotation is missing, or invalid, which the settings report.
    None,
    /// All of it.
    All(String),
    /// Only this: the templates have the other sizes, or do not exist.
    Part(Option<String>),
}

/// Removes what is done. `live`: the size of a template, if it exists and can be parsed.
pub fn remaining(text: &str, live: impl Fn(&str) -> Option<Bytes>) -> Remaining {
    let sized = entries(text).map(|entry| entry.ok().and_then(|entry| Some((entry, entry.size().ok()?))));
    let Some(all) = sized.collect::<Option<Vec<_>>>() else { return Remaining::None };
    let is_open = |(entry, size): &(Entry<'_>, Bytes)| live(entry.template).is_some_and(|live| live < *size);
    let open: Vec<Entry<'_>> = all.iter().copied().filter(is_open).map(|(entry, _)| entry).collect();
    if open.len() == all.len() {
        return Remaining::All(text.to_owned());
    }
    Remaining::Part(print(open))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_parsed_and_printed_as_it_is_written() {
        let check = |text: &str, expected: &[Option<&str>]| {
            let found: Vec<_> = entries(text).map(|entry| entry.ok().map(|entry| entry.to_string())).collect();
            let expected: Vec<_> = expected.iter().map(|entry| entry.map(str::to_owned)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("data=51200Mi,wal=1e9", &[Some("data=51200Mi"), Some("wal=1e9")]);
        check("data=a=b,wal", &[Some("data=a=b"), None]);
        check("", &[None]);
        assert_eq!(print(entries("data=51200Mi,wal=1e9").flatten()).as_deref(), Some("data=51200Mi,wal=1e9"));
        assert_eq!(print([]), None);
    }

    #[test]
    fn the_largest_request_for_a_template_counts() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(largest(text, "data"), expected.map(Bytes::gib), "{text}");
        };
        check("", None);
        check("wal=5Gi", None);
        check("data=5Gi,wal=9Gi,data=7Gi", Some(7));
        check("data=lots,data=7Gi,x", Some(7));
    }

    #[test]
    fn an_apply_replaces_the_request_for_each_template_that_it_changes() {
        let check = |before: &str, applied: [&str; 2], expected: Option<&str>| {
            let entry = |(template, quantity)| (Entry { template, quantity }, Bytes::gib(5));
            let applied = ["data", "wal"].into_iter().zip(applied).map(entry);
            assert_eq!(merge(before, applied).as_deref(), expected, "{before}");
        };
        check("", ["5Gi", "5Gi"], None);
        check("", ["6144Mi", "5120Mi"], Some("data=6144Mi"));
        check("data=9Gi,wal=8Gi", ["5Gi", "5Gi"], Some("data=9Gi,wal=8Gi"));
        check("data=9Gi,wal=8Gi", ["6Gi", "1Gi"], Some("data=6Gi"));
        check("gone=9Gi,data=4Gi,wal=lots,x", ["5Gi", "5Gi"], None);
        // Of two entries for one template, the last one counts.
        check("data=9Gi,data=lots", ["5Gi", "5Gi"], None);
    }

    #[test]
    fn a_request_remains_until_the_template_has_its_size() {
        let live = |template: &str| match template {
            "data" => Some(Bytes::gib(50)),
            "wal" => Some(Bytes::gib(1)),
            _ => None,
        };
        let check = |text: &str, expected: Remaining| assert_eq!(remaining(text, live), expected, "{text}");
        check("", Remaining::None);
        check("data=60Gi,lots", Remaining::None);
        check("data=lots", Remaining::None);
        check("data=60Gi,wal=2Gi", Remaining::All("data=60Gi,wal=2Gi".into()));
        check("data=50Gi,wal=2Gi", Remaining::Part(Some("wal=2Gi".into())));
        check("data=51200Mi", Remaining::Part(None));
        check("gone=1Gi", Remaining::Part(None));
    }
}
