//! What Kubernetes reports about a container that does not run: its reason and its last words, bounded, with the words
//! about a full disk in them if it has any.

use jiff::Timestamp;

/// The maximum length of a message that is kept, bytes.
const KEPT: usize = 256;
/// How many bytes are kept before the words about a full disk: the path or the file is there.
const BEFORE: usize = 128;

/// The words with which programs report that a disk is full, in lower case.
const FULL: [&str; 6] = [
    "no space left on device",
    "enospc",
    "disk full",
    "disk quota exceeded",
    "insufficient disk space",
    "low-disk-space",
];

/// A container that has failed, and does not run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFailure {
    /// The container.
    pub container: String,
    /// The reason that Kubernetes reports: `CrashLoopBackOff`, `Error`, `OOMKilled`.
    pub reason: String,
    /// The message that Kubernetes or the container itself reports: at most 256 bytes of it ([`excerpt`]), or empty.
    pub message: String,
    /// The exit code with which it ended; `None` if it waits.
    pub exit_code: Option<i32>,
    /// When it ended, if that is known.
    pub at: Option<Timestamp>,
}

/// At most 256 bytes of a message: those around the words about a full disk, if it has any, otherwise its beginning.
///
/// A program often says why it failed in its last line, after many others.
pub fn excerpt(message: &str) -> &str {
    let (at, end) = about_full_disk(message).unwrap_or_default();
    let start = if end <= KEPT { 0 } else { message.ceil_char_boundary(at.saturating_sub(BEFORE)) };
    &message[start..message.floor_char_boundary(start + KEPT)]
}

/// Where a text first says that a disk is full: the byte at which that begins, and the one after it.
pub fn about_full_disk(text: &str) -> Option<(usize, usize)> {
    let text = text.to_ascii_lowercase();
    FULL.iter().filter_map(|words| text.find(words).map(|at| (at, at + words.len()))).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_about_a_full_disk_are_found_in_any_case() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(about_full_disk(text).map(|(at, end)| &text[at..end]), expected, "{text}");
        };
        check("dd: error writing '/data/f': No space left on device", Some("No space left on device"));
        check("Error: ENOSPC: no space left on device, write", Some("ENOSPC"));
        check("DISK FULL", Some("DISK FULL"));
        check("write: Disk quota exceeded", Some("Disk quota exceeded"));
        check("Insufficient disk space to continue", Some("Insufficient disk space"));
        check("entering low-disk-space mode", Some("low-disk-space"));
        check("panic: index out of range", None);
        check("no space left", None);
        check("", None);
        // A letter whose lower case has another length.
        check("İİİ disk full", Some("disk full"));
    }

    #[test]
    fn at_most_256_bytes_are_kept_with_the_words_about_a_full_disk() {
        let check = |message: &str| {
            let kept = excerpt(message);
            assert!(kept.len() <= KEPT, "{kept}");
            assert_eq!(about_full_disk(kept).is_some(), about_full_disk(message).is_some(), "{kept}");
            assert!(message.contains(kept));
        };
        check("");
        check("x");
        check(&"ä".repeat(10_000));
        for before in 0..400 {
            for letter in ["x", "ä", "語"] {
                check(&format!("{}No space left on device{}", letter.repeat(before), letter.repeat(400)));
                check(&format!("{}no space left on device", letter.repeat(before)));
            }
        }
        let log = format!("{}cp: No space left on device\n", "starting\n".repeat(300));
        assert!(excerpt(&log).ends_with("cp: No space left on device\n"));
        assert_eq!(excerpt(&"x".repeat(300)), "x".repeat(256));
    }
}
