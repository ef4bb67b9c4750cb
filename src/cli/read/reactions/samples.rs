//! The samples of the reaction in the text format of Prometheus and OpenMetrics.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Reactions;
use crate::policy::reaction::Longest;

const TIME: &str = "rso_expansion_reaction_seconds";
const SAMPLES: &str = "rso_expansion_reaction_samples";
const CLASS: &str = "storageclass";

/// The StorageClasses with a time and with the number of expansions of which it is the longest.
pub(super) fn reactions(text: &str) -> Reactions {
    let times = by_class(text, TIME, |value| Duration::try_from_secs_f64(value.parse().ok()?).ok());
    let mut samples = by_class(text, SAMPLES, |value| value.parse().ok().filter(|of| *of > 0));
    let both = |(class, time)| samples.remove(&class).map(|of| (class, Longest { time, of }));
    times.into_iter().filter_map(both).collect()
}

/// The values of a metric by StorageClass, those that can be read.
fn by_class<T>(text: &str, metric: &str, read: impl Fn(&str) -> Option<T>) -> BTreeMap<String, T> {
    let value = |line| {
        let (mut labels, rest) = labels(str::strip_prefix(line, metric)?.strip_prefix('{')?)?;
        // A timestamp may follow.
        let value = rest.strip_prefix(' ')?.split_whitespace().next()?;
        Some((labels.remove(CLASS)?, read(value)?))
    };
    text.lines().filter_map(value).collect()
}

/// The labels after `{`, and the text after `}`; `None` if they are malformed.
fn labels(mut text: &str) -> Option<(BTreeMap<&str, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let (value, rest) = quoted(rest)?;
        labels.insert(name, value);
        text = rest.strip_prefix(',').or(Some(rest).filter(|rest| rest.starts_with('}')))?;
    }
}

/// The value before the closing quotation mark, without its escapes, and the text after the mark.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), text.chars());
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(match characters.next()? {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::registry::Metrics;

    fn read(text: &str) -> Vec<(String, u64, usize)> {
        let read =
            |(class, Longest { time, of }): (String, Longest)| (class, u64::try_from(time.as_millis()).unwrap(), of);
        reactions(text).into_iter().map(read).collect()
    }

    #[test]
    fn what_the_operator_exports_is_read() {
        let metrics = Metrics::default();
        assert_eq!(read(&metrics.render()), []);
        metrics.reaction("fast", Duration::from_millis(900), 1);
        metrics.reaction("fast", Duration::from_millis(400), 3);
        metrics.reaction("slow", Duration::from_secs(90), 8);
        metrics.reaction("a\"b\\c\nd", Duration::from_secs(1), 2);
        let expected = [("a\"b\\c\nd", 1_000, 2), ("fast", 400, 3), ("slow", 90_000, 8)];
        assert_eq!(read(&metrics.render()), expected.map(|(class, millis, of)| (class.to_owned(), millis, of)));
    }

    #[test]
    fn what_is_malformed_or_impossible_is_no_measurement() {
        let check = |time: &str, samples: &str, expected: Option<(&str, u64, usize)>| {
            let text =
                format!("# HELP {TIME} x\n{TIME}{time}\n{SAMPLES}{samples}\nother{{storageclass=\"fast\"}} 1\n# EOF\n");
            let expected: Vec<_> =
                expected.map(|(class, millis, of)| (class.to_owned(), millis, of)).into_iter().collect();
            assert_eq!(read(&text), expected, "{text}");
        };
        let (three, fast) = ("{storageclass=\"fast\"} 3", Some(("fast", 400, 3)));
        check("{storageclass=\"fast\"} 0.4", three, fast);
        check("{storageclass=\"fast\"} 4e-1 1700000000", three, fast);
        check("{pod=\"a,b}=\\\"c\",storageclass=\"fast\",} 0.4", three, fast);
        check("{storageclass=\"\"} 0.4", "{storageclass=\"\"} 1", Some(("", 400, 1)));
        for time in ["NaN", "+Inf", "-1", "1e300", "fast", "", "0,4"] {
            check(&format!("{{storageclass=\"fast\"}} {time}"), three, None);
        }
        for samples in ["0", "-1", "NaN", "1.5", "", "99999999999999999999999"] {
            check("{storageclass=\"fast\"} 0.4", &format!("{{storageclass=\"fast\"}} {samples}"), None);
        }
        for time in [
            " 0.4",
            "{} 0.4",
            "{class=\"fast\"} 0.4",
            "{storageclass=\"slow\"} 0.4",
            "{storageclass=\"fast\"}0.4",
            "{storageclass=\"fast} 0.4",
            "{storageclass=\"fast\\",
            "{storageclass=\"fa\\st\"} 0.4",
            "{storageclass=\"fast\"pod=\"a\"} 0.4",
            "{storageclass=fast} 0.4",
            "_total{storageclass=\"fast\"} 0.4",
        ] {
            check(time, three, None);
        }
    }
}
