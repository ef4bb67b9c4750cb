//! How much memory can JSON take once it is parsed? A count that is known before it is.
//!
//! A text of eight megabytes is no danger, and `[{"":0},{"":0},…` parsed into maps takes a hundred times as much: up to 700
//! bytes for each comma and bracket.

/// The commas and opening brackets of a JSON text: at least as many as it has members and items. Those inside strings count
/// too, so a text of few parts is what it says, and one of many may be harmless.
pub fn parts(text: &[u8]) -> usize {
    text.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_and_item_counts() {
        let check = |text: &str, expected: usize| assert_eq!(parts(text.as_bytes()), expected, "{text}");
        check("", 0);
        check("7", 0);
        check("[]", 1);
        check("[1,2]", 2);
        check(r#"{"a":[{"":0},{"":0}]}"#, 5);
        check(r#"{"a":"b,c"}"#, 2);
    }
}
