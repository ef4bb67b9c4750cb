//! How does a figure get onto its page? Between two marks, by the command that measured it. The page is the one that has the
//! marks: `docs/reliability.md` and `docs/scale.md`, for users, or one of `docs/proof/`, for maintainers.

use std::fs;
use std::path::{Path, PathBuf};

/// Every page that may have figures.
fn pages() -> Vec<PathBuf> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let proof = fs::read_dir(docs.join("proof")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = proof.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.extend(["reliability.md", "scale.md"].map(|page| docs.join(page)));
    pages
}

/// All of these pages together.
pub(crate) fn text() -> String {
    pages().iter().map(|page| fs::read_to_string(page).unwrap()).collect()
}

/// Writes what stands between `<!-- name: begin, written by … -->` and `<!-- name: end -->`.
pub(crate) fn write(name: &str, table: &str) {
    let (begin, end) = (format!("<!-- {name}: begin, "), format!("<!-- {name}: end -->"));
    let texts = pages().into_iter().map(|page| (fs::read_to_string(&page).unwrap(), page));
    let found: Vec<_> = texts.filter(|(text, _)| text.contains(&begin)).collect();
    let [(text, page)] = &found[..] else { panic!("{begin}… --> is on {} pages, not on one", found.len()) };
    let at = text.find(&begin).unwrap();
    let from = at + text[at..].find("-->").unwrap() + "-->".len();
    let to = from + text[from..].find(&end).unwrap_or_else(|| panic!("{end} is missing in {}", page.display()));
    fs::write(page, format!("{}\n{}\n{}", &text[..from], table.trim(), &text[to..])).unwrap();
}
