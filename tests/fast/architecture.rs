//! Does each room know only the rooms it may, and do the documents tell the truth about the code?
//!
//! One crate has no compiler wall between its modules; this is the wall.

use std::collections::{BTreeMap, BTreeSet};

use rso::api::annotations::KEYS;
use rso::api::reasons::Reason;
use rso::recreate::phase::{Phase, State};

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
fn no_files_use_each_other_in_a_circle() {
    let files: BTreeMap<Vec<String>, String> =
        tree::files("src", "rs").into_iter().filter(|file| !is_test(file)).map(|file| (path_of(&file), file)).collect();
    let uses = |module: &Vec<String>| -> BTreeSet<Vec<String>> {
        let text = code(&tree::read(&files[module]));
        let own = text.split("#[cfg(test)]").next().unwrap_or_default();
        let of_module = imports(own).into_iter().filter_map(|import| resolve(module, &import, &files));
        // A file and what is below it are one room: `mod` and `super` tie them in any case.
        of_module.filter(|used| !used.starts_with(module) && !module.starts_with(used)).collect()
    };
    let graph: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> =
        files.keys().map(|module| (module.clone(), uses(module))).collect();
    assert!(graph.values().map(BTreeSet::len).sum::<usize>() > 300, "the search sees no imports");
    let circles: Vec<String> = graph.keys().filter_map(|module| circle(module, &graph)).collect();
    assert!(circles.is_empty(), "files that use each other in a circle:\n{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found_and_a_path_without_one_is_none() {
    let module = |name: &str| vec![name.to_owned()];
    let graph = |edges: &[(&str, &str)]| {
        let mut graph: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
        for (from, to) in edges {
            graph.entry(module(from)).or_default().insert(module(to));
        }
        graph
    };
    assert_eq!(circle(&module("a"), &graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    let found = circle(&module("a"), &graph(&[("a", "b"), ("b", "c"), ("c", "a")]));
    assert_eq!(found.as_deref(), Some("a -> b -> c -> a"));
    let expected: BTreeSet<Vec<String>> = [["crate", "a", "b"], ["crate", "a", "c"], ["super", "d", "self"]]
        .map(|path| path.map(str::to_owned).to_vec())
        .into();
    assert_eq!(imports("use crate::a::{b, c as e};\npub use super::d::{\n    self,\n};\nlet used = 1;"), expected);
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

fn is_test(file: &str) -> bool {
    file.split(['/', '.']).any(|part| part == "tests") || file.ends_with("samples.rs")
}

/// The path of the module in a file: `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`.
fn path_of(file: &str) -> Vec<String> {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inner.split('/').map(str::to_owned).filter(|part| part != "lib" && part != "main").collect()
}

/// Every path that a `use` names, its braces written out.
fn imports(text: &str) -> BTreeSet<Vec<String>> {
    let statements = text.split(';').filter_map(|statement| {
        let line = statement.rsplit_once("use ").filter(|(before, _)| {
            let before = before.lines().next_back().unwrap_or_default().trim();
            before.is_empty() || before.starts_with("pub")
        });
        line.map(|(_, path)| path.split_whitespace().collect::<Vec<_>>().join(" "))
    });
    statements.flat_map(|statement| written_out(&statement)).collect()
}

fn written_out(tree: &str) -> Vec<Vec<String>> {
    let Some((stem, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut parts) = (0_i32, vec![String::new()]);
    for letter in inner.chars() {
        depth += match letter {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    let whole = parts.iter().filter(|part| !part.trim().is_empty()).map(|part| format!("{stem}{}", part.trim()));
    whole.flat_map(|path| written_out(&path)).collect()
}

/// The module of this crate that a path leads to, as far as it is a file.
fn resolve(from: &[String], import: &[String], files: &BTreeMap<Vec<String>, String>) -> Option<Vec<String>> {
    let (first, rest) = import.split_first()?;
    let mut path = match first.as_str() {
        "crate" => Vec::new(),
        "self" => from.to_vec(),
        "super" => from[..from.len().saturating_sub(1)].to_vec(),
        child => from.iter().cloned().chain([child.to_owned()]).collect(),
    };
    for part in rest {
        if part == "super" {
            path.pop();
        } else {
            path.push(part.clone());
        }
    }
    while !path.is_empty() && !files.contains_key(&path) {
        path.pop();
    }
    (!path.is_empty()).then_some(path)
}

/// A way from a module back to it.
fn circle(start: &[String], graph: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> Option<String> {
    let mut paths = vec![vec![start.to_vec()]];
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop() {
        for next in path.last().and_then(|last| graph.get(last)).into_iter().flatten() {
            let longer: Vec<_> = path.iter().cloned().chain([next.clone()]).collect();
            if next == start {
                return Some(longer.iter().map(|module| module.join("::")).collect::<Vec<_>>().join(" -> "));
            }
            if seen.insert(next.clone()) {
                paths.push(longer);
            }
        }
    }
    None
}
