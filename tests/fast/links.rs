//! Does every link between the documents lead somewhere?

use std::collections::BTreeSet;
use std::path::Path;

use crate::tree;

#[test]
fn no_link_is_dead() {
    let mut dead = Vec::new();
    for page in tree::files(".", "md") {
        let folder = Path::new(&page).parent().unwrap();
        for target in targets(&tree::read(&page)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { tree::root().join(&page) } else { tree::root().join(folder).join(file) };
            let leads = path.exists()
                && (heading.is_empty() || headings(&std::fs::read_to_string(&path).unwrap()).contains(heading));
            if !leads {
                dead.push(format!("{page} → {target}"));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn headings_become_anchors_as_on_github() {
    let check = |heading: &str, expected: &str| assert!(headings(heading).contains(expected), "{heading}");
    check("# Events and what to do", "events-and-what-to-do");
    check("## 3 a.m.: a set is gone", "3-am-a-set-is-gone");
    check("### `rso status`", "rso-status");
}

/// What stands in `](…)`, outside of code.
fn targets(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(page) {
        for part in line.split("](").skip(1) {
            found.extend(part.split_once(')').map(|(target, _)| target.to_owned()));
        }
    }
    found
}

fn headings(page: &str) -> BTreeSet<String> {
    let kept = |c: &char| c.is_alphanumeric() || *c == '-' || *c == '_' || *c == ' ';
    prose(page)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

/// The lines outside of fenced code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    page.lines().filter(move |line| {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            return false;
        }
        !inside
    })
}
