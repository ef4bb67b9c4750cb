//! `rso explain KEY`: what an annotation means.

use serde_json::{Value, json};

use crate::api::annotations::{Family, KEYS, KeyDoc, PREFIX};
use crate::cli::failure::Failure;
use crate::cli::show::explanation::draw_key;
use crate::cli::show::terminal::Terminal;

/// The annotation that the argument names: `max-size`, `max-size.data`, `resize-0`, with or without the prefix.
pub(super) fn find(argument: &str) -> Option<&'static KeyDoc> {
    let key = argument.strip_prefix(PREFIX).unwrap_or(argument);
    let is_index = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    let named = match key.split_once('.') {
        Some(("resize", _)) => "resize.<template>",
        Some((base, _)) => base,
        None if key.strip_prefix("resize-").is_some_and(is_index) => "resize-<N>",
        None => key,
    };
    KEYS.iter().find(|doc| doc.key == named)
}

/// The failure, with the key that was perhaps meant.
pub(super) fn suggest(failure: Failure, argument: &str) -> Failure {
    let nearest = crate::policy::settings::nearest_key(argument);
    match (argument.contains('/'), nearest, &failure.hint) {
        (false, Some(key), Some(hint)) => {
            let hint = format!("{hint}\n  If you mean an annotation, run `rso explain {key}`.");
            failure.hint(hint)
        }
        (_, _, _) => failure,
    }
}

/// The text for a terminal.
pub(super) fn text(doc: &KeyDoc, terminal: Terminal) -> String {
    let mut lines = vec![("Annotation", format!("{PREFIX}{}", doc.key)), ("Value", plain(doc.value))];
    if !doc.default.is_empty() {
        lines.push(("Default", plain(doc.default)));
    }
    if doc.per_template {
        lines.push(("One template", format!("{PREFIX}{}.<template>", doc.key)));
    }
    lines.push(("Written by", writer(doc.family).to_owned()));
    draw_key(doc.key, &plain(doc.meaning), &lines, terminal)
}

/// The object for programs.
pub(super) fn to_json(doc: &KeyDoc) -> Value {
    json!({
        "key": doc.key, "annotation": format!("{PREFIX}{}", doc.key), "value": plain(doc.value),
        "default": plain(doc.default), "perTemplate": doc.per_template, "meaning": plain(doc.meaning),
        "writtenBy": writer(doc.family),
    })
}

const fn writer(family: Family) -> &'static str {
    match family {
        Family::Intent => "you and your deployment tools",
        Family::State => "rso; do not change it",
    }
}

/// The text of the reference page without its marks.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::cli::show::table::Paint;

    #[test]
    fn a_key_is_found_with_and_without_its_prefix_and_template() {
        let check = |argument: &str, expected: Option<&str>| {
            assert_eq!(find(argument).map(|doc| doc.key), expected, "{argument}");
        };
        check("max-size", Some("max-size"));
        check("resize-statefulset-operator/max-size", Some("max-size"));
        check("max-size.data", Some("max-size"));
        check("resize-0", Some("resize-<N>"));
        check("resize.data", Some("resize.<template>"));
        check("resized-at", Some("resized-at"));
        check("resize-db", None);
        check("db", None);
        check("statefulset/max-size", None);
    }

    #[test]
    fn a_key_is_explained_at_80_columns() {
        let terminal = Terminal { width: 80, height: None, paint: Paint::Plain };
        let all: Vec<String> =
            ["auto-scaled", "rescue", "resized-at"].iter().filter_map(|key| Some(text(find(key)?, terminal))).collect();
        assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn a_misspelled_key_is_suggested() {
        let check = |argument: &str, expected: bool| {
            let failure = suggest(Failure::negative("not found").hint("Pass -n."), argument);
            assert_eq!(failure.hint.unwrap_or_default().contains("rso explain threshold"), expected, "{argument}");
        };
        check("treshold", true);
        check("orders-database", false);
        check("statefulset/treshold", false);
    }
}
