//! Does each room know only the rooms it may, and do the documents tell the truth about the code?
//!
//! One crate has no compiler wall between its modules; this is the wall.

use std::collections::BTreeSet;

use rso::api::annotations::KEYS;
use rso::api::reasons::Reason;
use rso::recreate::{Phase, State};

use crate::tree;

/// Each module of `src/` with those it may use. `api ← policy, recreate ← workload ← cluster ← the programs`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("policy", &["api"]),
    ("recreate", &["api"]),
    ("workload", &["api", "policy", "recreate"]),
    ("cluster", &["api", "policy", "recreate", "workload"]),
    // What the cluster room tells goes through a trait of that room; telemetry is one that listens.
    ("telemetry", &["api", "cluster"]),
    ("controller", &["api", "policy", "recreate", "workload", "telemetry", "cluster"]),
    ("webhook", &["api", "policy", "recreate", "workload", "telemetry", "cluster"]),
    ("agent", &["api"]),
    ("csi", &["api", "telemetry"]),
    // The composition root. Its arguments name the programs; nothing else of the command line does.
    ("operator", &["api", "policy", "recreate", "telemetry", "cluster", "controller", "webhook"]),
    ("cli", &["api", "policy", "recreate", "workload", "telemetry", "cluster"]),
];

/// The one place where a program is chosen may know the programs.
const CHOOSERS: &[&str] = &["src/cli/args.rs", "src/cli/mod.rs"];

/// Modules that decide. They get what they need as arguments, the time too.
const PURE: &[&str] = &["api", "policy", "recreate", "workload"];

/// Words that a pure module does not contain.
const IMPURE: &[&str] = &[
    "tokio::",
    "kube::",
    "hyper::",
    "axum::",
    "rustix::",
    "tracing::",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "io::stdin",
    "io::stdout",
    "io::stderr",
    "std::thread",
    "Timestamp::now",
    "Zoned::now",
    "SystemTime",
    "Instant::now",
    "println!",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "manager", "misc"];

#[test]
fn a_module_uses_only_what_its_layer_allows() {
    let mut wrong = Vec::new();
    for file in tree::files("src", "rs") {
        let Some(module) = module_of(&file) else { continue };
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{file}: the module `{module}` has no row in MAY_USE"));
            continue;
        };
        if CHOOSERS.contains(&file.as_str()) {
            continue;
        }
        for used in used_modules(&code(&tree::read(&file))) {
            if used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{file} uses crate::{used}; `{module}` may use {allowed:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_decides_neither_acts_nor_asks_a_clock() {
    let mut wrong = Vec::new();
    for file in tree::files("src", "rs") {
        if !module_of(&file).is_some_and(|module| PURE.contains(&module)) {
            continue;
        }
        for (number, line) in code(&tree::read(&file)).lines().enumerate() {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{file}:{}: `{word}` in a pure module", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_says_what_is_inside() {
    let bad: Vec<String> = tree::files("src", "rs")
        .into_iter()
        .filter(|file| file.split(['/', '.']).any(|part| EMPTY_NAMES.contains(&part)))
        .collect();
    assert!(bad.is_empty(), "names that say nothing: {bad:?}");
}

#[test]
fn a_file_begins_with_the_question_it_answers() {
    let silent: Vec<String> = tree::files("src", "rs")
        .into_iter()
        .filter(|file| !file.ends_with("tests.rs") && !tree::read(file).starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "without a module doc: {silent:?}");
}

#[test]
fn the_map_in_the_architecture_page_is_the_tree() {
    let page = tree::read("docs/architecture.md");
    let named: BTreeSet<&str> = page
        .split(|c: char| c.is_whitespace() || "`()|,;".contains(c))
        .map(|word| word.trim_end_matches([':', '.']))
        .filter(|word| word.starts_with("src/") && !word.contains('<'))
        .collect();
    let gone: Vec<_> = named.iter().filter(|path| !tree::root().join(path).exists()).collect();
    assert!(gone.is_empty(), "docs/architecture.md names what is not there: {gone:?}");

    let modules: BTreeSet<String> = tree::files("src", "rs")
        .iter()
        .filter_map(|file| module_of(file))
        .map(|module| format!("src/{module}/"))
        .collect();
    let unnamed: Vec<_> = modules.iter().filter(|module| !page.contains(module.as_str())).collect();
    assert!(unnamed.is_empty(), "docs/architecture.md does not name {unnamed:?}");
}

#[test]
fn the_guide_explains_every_annotation_and_every_reason() {
    let guide = tree::read("docs/guide.md");
    let keys = KEYS.iter().map(|doc| format!("`{}`", doc.key));
    let reasons = Reason::ALL.iter().map(|reason| format!("`{reason}`"));
    let missing: Vec<_> = keys.chain(reasons).filter(|word| !guide.contains(word.as_str())).collect();
    assert!(missing.is_empty(), "docs/guide.md does not explain {missing:?}");
}

#[test]
fn the_recreate_page_has_every_state_and_every_phase() {
    let page = tree::read("docs/recreate.md");
    let states = State::ALL.iter().map(|state| format!("| `{}` |", state.as_str()));
    let phases = Phase::ALL.iter().map(|phase| format!("| {}", phase.as_str()));
    let missing: Vec<_> = states.chain(phases).filter(|cell| !page.contains(cell.as_str())).collect();
    assert!(missing.is_empty(), "docs/recreate.md has no row for {missing:?}");
}

#[test]
fn uses_are_found_in_every_spelling() {
    let check = |text: &str, expected: &[&str]| {
        let found: Vec<String> = used_modules(&code(text)).into_iter().collect();
        assert_eq!(found, expected, "{text}");
    };
    check("use crate::api::bytes::Bytes;", &["api"]);
    check("use crate::{api::{bytes::Bytes, names}, policy, cluster::client};", &["api", "cluster", "policy"]);
    check("let x = crate::csi::run(1); // crate::cli", &["csi"]);
    check("pub(crate) fn a() {}\n/// [`crate::cli`]\nfn b() {}", &[]);
    check("mycrate::api::x()", &[]);
}

/// `src/policy/usage.rs` is of `policy`; `main.rs`, `lib.rs` and the programs in `bin` are of none.
fn module_of(file: &str) -> Option<&str> {
    let inside = file.strip_prefix("src/")?;
    match inside.split_once('/') {
        Some(("bin", _)) => None,
        Some((module, _)) => Some(module),
        None => inside.strip_suffix(".rs").filter(|name| !["main", "lib"].contains(name)),
    }
}

/// The text without its comments.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The first names of all paths that begin with `crate::`.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => used.extend(first_names(group)),
            None => used.extend(name(rest)),
        }
    }
    used
}

/// The names at the top of `a::b, c::{d, e}, f}`, up to the brace that closes it.
fn first_names(group: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut depth = 0;
    let mut expects_name = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expects_name = true,
            c if expects_name && !c.is_whitespace() => {
                names.extend(name(&group[at..]));
                expects_name = false;
            }
            _ => {}
        }
    }
    names
}

fn name(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}
