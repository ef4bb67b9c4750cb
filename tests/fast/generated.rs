//! Are the generated files what the code says today? `make gen` writes them again.

use std::fs;

use crate::{chart, pages, tree};

const HOW: &str = "run `make gen` and look at the difference before you commit it";

#[test]
fn the_reference_pages_are_those_of_the_code() {
    same("docs/reference/annotations.md", &pages::annotations());
    same("docs/reference/events.md", &pages::events());
    same("docs/reference/cli.md", &pages::command_line());
    same("docs/reference/metrics.md", &rso::telemetry::registry::reference());
    same("docs/reference/values.md", &pages::values(&chart::values()));
}

/// The chart does not contain it yet: nothing acts on a policy.
#[test]
fn the_definition_of_the_policies_is_that_of_the_code() {
    same("chart/files/crds/pvcpolicies.yaml", &pages::definition(&rso::api::crd::schema::pvc_policy()));
}

/// Whoever changes a right sees it here, and so does whoever reviews it.
#[test]
fn the_roles_are_the_golden_ones() {
    let check = |file: &str, arguments: &[&str]| same(file, &chart::roles(arguments));
    check("tests/fast/golden/roles.yaml", &[]);
    check("tests/fast/golden/roles-namespaced.yaml", &["--set", "watchNamespaces={team-a,team-b}"]);
}

/// Compares, or with REGENERATE set writes.
fn same(path: &str, expected: &str) {
    let file = tree::root().join(path);
    if std::env::var_os("REGENERATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, expected).unwrap();
        return;
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).position(|(a, b)| a != b);
    let first = differs.unwrap_or_else(|| found.lines().count().min(expected.lines().count()));
    assert!(
        found == expected,
        "{path} is not what the code says, from line {}:\n  file: {}\n  code: {}\n{HOW}",
        first + 1,
        found.lines().nth(first).unwrap_or("(ends)"),
        expected.lines().nth(first).unwrap_or("(ends)"),
    );
}
