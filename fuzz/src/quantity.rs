//! What must hold of any text that is read as a quantity? That it means what it means to Kubernetes is another question:
//! `tests/fast/quantity.rs` asks the original.

use rso::api::bytes::{Bytes, Percent};

/// A size is read exactly, printed so that it is read back, and a refusal is short.
pub fn a_text(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match text.parse::<Bytes>() {
        Ok(size) => is_exact(text, size),
        Err(error) => assert!(error.to_string().len() < 200, "a long refusal: {error}"),
    }
    if let Ok(percent) = text.parse::<Percent>() {
        assert_eq!(percent.to_string().parse(), Ok(percent), "{text:?} is not read back");
    }
}

fn is_exact(text: &str, size: Bytes) {
    assert!(size <= Bytes::MAX);
    let printed = size.to_string();
    assert_eq!(printed.parse(), Ok(size), "{text:?} is printed as {printed}");
    assert!(printed.len() <= 19, "{printed} is long");
    assert!(size.human().len() <= 8, "{} is long", size.human());
    let bare = text.strip_prefix('+').unwrap_or(text);
    assert_eq!(format!("+0{bare}").parse(), Ok(size), "a sign and a zero before {bare:?} change it");
    assert_eq!(format!("-{bare}").parse::<Bytes>().ok(), None, "-{bare} is a size");
}
