//! How does a figure get onto `docs/reliability.md`? Between two marks, by the command that measured it.

use std::fs;
use std::path::PathBuf;

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md")
}

/// The whole page.
pub(crate) fn text() -> String {
    fs::read_to_string(page()).unwrap()
}

/// Writes what stands between `<!-- name: begin, written by … -->` and `<!-- name: end -->`.
pub(crate) fn write(name: &str, table: &str) {
    let text = text();
    let (begin, end) = (format!("<!-- {name}: begin, "), format!("<!-- {name}: end -->"));
    let at = text.find(&begin).unwrap_or_else(|| panic!("{begin}… --> is missing in the page"));
    let from = at + text[at..].find("-->").unwrap() + "-->".len();
    let to = from + text[from..].find(&end).unwrap_or_else(|| panic!("{end} is missing in the page"));
    fs::write(page(), format!("{}\n{}\n{}", &text[..from], table.trim(), &text[to..])).unwrap();
}
