//! Has every table of figures its marks on exactly one page? A long run would fail at its end without them.

use std::collections::BTreeMap;

use crate::tree;

#[test]
fn every_table_of_figures_has_its_marks_on_one_page() {
    let written = written();
    assert!(written.len() > 5, "only {:?} are written", written.keys());
    let pages: Vec<(String, String)> =
        tree::files("docs", "md").into_iter().map(|page| (tree::read(&page), page)).collect();
    for (name, program) in &written {
        let count = |mark: &str| pages.iter().map(|(text, _)| text.matches(mark).count()).sum::<usize>();
        let both = (count(&format!("<!-- {name}: begin, ")), count(&format!("<!-- {name}: end -->")));
        assert_eq!(both, (1, 1), "{program} writes `{name}`: the marks of its begin and end are on so many pages");
    }
    for (text, page) in &pages {
        for name in text.split("\n<!-- ").skip(1).filter_map(|rest| Some(rest.split_once(": begin, ")?.0)) {
            let (is_written, is_found) = (written.contains_key(name), may_have_figures(page));
            assert!(is_written && is_found, "{page}: `{name}` is written: {is_written}; is looked for: {is_found}");
        }
    }
}

/// The pages among which a program looks for its marks.
fn may_have_figures(page: &str) -> bool {
    matches!(page, "docs/reliability.md" | "docs/scale.md") || page.starts_with("docs/proof/")
}

/// The names of all tables, with the program that writes each.
fn written() -> BTreeMap<String, String> {
    let programs = tree::files("tests", "rs").into_iter().map(|file| (file, "page::write(\""));
    let scripts = ["fuzz/run.sh", "tests/mutants/table.sh"].map(|file| (file.to_owned(), "begin='<!-- "));
    let names = |(file, before): (String, &'static str)| {
        let text = tree::read(&file);
        let name = |rest: &str| rest.split([':', '"']).next().unwrap().to_owned();
        text.split(before).skip(1).map(|rest| (name(rest), file.clone())).collect::<Vec<_>>()
    };
    programs.filter(|(file, _)| !file.starts_with("tests/fast/")).chain(scripts).flat_map(names).collect()
}
