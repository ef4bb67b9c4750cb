//! Was this told already? What is remembered of Events, so that they are series and not a log. Pure.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::api::names::Uid;
use crate::api::reasons::{Note, Reason, Severity};

/// An unchanged reason is not repeated within this time.
pub(super) const QUIET: Duration = Duration::from_secs(3600);

/// The most different notes that one reason of one object may bring within [`QUIET`], whatever its text does.
const DIFFERENT: usize = 10;

/// The most that is remembered, each less than a hundred bytes. An object has a handful of notes at a time, so this is
/// more than all volumes that one operator can look after bring at once: what is in use is not dropped.
const REMEMBERED: usize = 200_000;

/// What makes two notes the same: the object, the reason, and the text without what varies by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    uid: Uid,
    reason: Reason,
    gist: String,
}

/// What is to be done with a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not told before, or forgotten: a new Event.
    Tell,
    /// Told more than an hour ago, and so many times since it was first told: the Event becomes a series.
    Again {
        /// Times seen, this one included.
        count: u32,
    },
    /// Told lately.
    Keep,
}

#[derive(Debug)]
struct Entry {
    told: Timestamp,
    used: u64,
    count: u32,
}

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// By the digest of the key.
    entries: HashMap<[u8; 8], Entry>,
    /// Notes of one reason of one object since the time given, by the digest of both.
    different: HashMap<[u8; 8], (Timestamp, usize)>,
    uses: u64,
}

impl Key {
    /// The key of a note about the object.
    pub(super) fn new(uid: &Uid, note: &Note) -> Self {
        Self { uid: uid.clone(), reason: note.reason, gist: gist(note) }
    }

    /// The same key gives the same number, on every replica and after every restart: Events are named by it.
    pub(super) fn digest(&self) -> String {
        self.short().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn short(&self) -> [u8; 8] {
        short(&[self.uid.as_str(), self.reason.as_str(), &self.gist])
    }
}

fn short(parts: &[&str]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    let mut short = [0; 8];
    short.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    short
}

impl Memory {
    /// Judges a note and remembers that it was judged.
    pub(super) fn judge(&mut self, key: &Key, now: Timestamp) -> Verdict {
        self.uses += 1;
        let short = key.short();
        if let Some(entry) = self.entries.get_mut(&short) {
            entry.used = self.uses;
            entry.count = entry.count.saturating_add(1);
            if older(entry.told, now) {
                entry.told = now;
                return Verdict::Again { count: entry.count };
            }
            return Verdict::Keep;
        }
        if self.too_many(key, now) {
            return Verdict::Keep;
        }
        self.make_room();
        self.entries.insert(short, Entry { told: now, used: self.uses, count: 1 });
        Verdict::Tell
    }

    /// The note did not reach the server: the next one like it is told.
    pub(super) fn forget(&mut self, key: &Key) {
        self.entries.remove(&key.short());
    }

    fn too_many(&mut self, key: &Key, now: Timestamp) -> bool {
        let (since, count) = self.different.entry(short(&[key.uid.as_str(), key.reason.as_str()])).or_insert((now, 0));
        if older(*since, now) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count > DIFFERENT
    }

    /// Drops the quarter that was used least lately: seldom, so that it costs nothing on average.
    fn make_room(&mut self) {
        if self.different.len() >= REMEMBERED {
            self.different.clear();
        }
        if self.entries.len() < REMEMBERED {
            return;
        }
        let mut uses: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        let (_, oldest, _) = uses.select_nth_unstable(REMEMBERED / 4);
        let oldest = *oldest;
        self.entries.retain(|_, entry| entry.used > oldest);
    }
}

fn older(then: Timestamp, now: Timestamp) -> bool {
    now.duration_since(then).unsigned_abs() >= QUIET
}

/// The text without what changes while the meaning stays.
///
/// Shares and times vary by themselves (`82% full`, `for 5m`). Sizes too, in a warning: the same trouble with other figures.
/// In a normal note a size is what was decided, and another size is news. What is quoted, and digits inside a name
/// (`data-db-0`), always count.
fn gist(note: &Note) -> String {
    let mut gist = String::with_capacity(note.text.len());
    let mut quote = None;
    for word in note.text.split_inclusive(char::is_whitespace) {
        let quoted = quote.is_some() || word.starts_with(['"', '`']);
        for mark in word.chars().filter(|c| matches!(c, '"' | '`')) {
            quote = if quote == Some(mark) { None } else { quote.or(Some(mark)) };
        }
        if !quoted && varies(word.trim(), note.reason.severity()) {
            gist.push('#');
            continue;
        }
        gist.push_str(word);
    }
    gist
}

fn varies(word: &str, severity: Severity) -> bool {
    let bare = word.trim_matches(['(', ')', '[', ']', ',', ';', ':', '.', '~', '≥', '<', '>']);
    if !bare.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let share = bare.strip_suffix('%').is_some_and(is_number);
    let time = humantime::parse_duration(bare).is_ok() || bare.parse::<Timestamp>().is_ok();
    let figure = || is_number(bare) || bare.trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse::<f64>().is_ok();
    match severity {
        Severity::Normal => share || time,
        Severity::Warning => share || time || bare.split('/').all(|part| !part.is_empty()) && figure(),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn key(uid: &str, reason: Reason, text: &str) -> Key {
        Key::new(&Uid::new(uid), &Note::new(reason, text))
    }

    #[test]
    fn figures_that_vary_by_themselves_do_not_make_a_note_new() {
        let check = |reason, a: &str, b: &str, same: bool| {
            assert_eq!(key("u", reason, a) == key("u", reason, b), same, "{a} | {b}");
        };
        let full = Reason::MaxSizeReached;
        check(
            full,
            "data-db-0 is 95% full (9.5Gi of 10Gi); raise max-size",
            "data-db-0 is 96.1% full (9.6Gi of 10Gi); raise max-size",
            true,
        );
        check(full, "data-db-0 is 95% full", "data-db-1 is 95% full", false);
        check(Reason::CooldownActive, "grew 5m ago", "grew 6m ago", true);
        check(Reason::CooldownActive, "until 2026-01-01T00:00:00Z.", "until 2026-01-02T00:00:00Z.", true);
        check(Reason::InvalidAnnotation, "threshold \"80 %\" is not", "threshold \"90 %\" is not", false);
        check(Reason::InvalidAnnotation, "resize-0: `10 Gib` is", "resize-0: `12 Gib` is", false);
        check(Reason::ResizeRequested, "from 10Gi to 20Gi", "from 10Gi to 30Gi", false);
        check(Reason::AutoResizeTriggered, "82% full, to 20Gi", "83% full, to 20Gi", true);
        check(Reason::QuotaExceeded, "requested 12Gi, used 3, limited 10", "requested 13Gi, used 4, limited 10", true);
    }

    #[test]
    fn an_unchanged_reason_is_told_once_an_hour_as_a_series() {
        let mut memory = Memory::default();
        let key = key("u", Reason::UsageUnknown, "nobody answers");
        let mut check = |seconds, expected| assert_eq!(memory.judge(&key, at(seconds)), expected, "at {seconds}");
        check(0, Verdict::Tell);
        check(1, Verdict::Keep);
        check(3_599, Verdict::Keep);
        check(3_600, Verdict::Again { count: 4 });
        check(3_601, Verdict::Keep);
        check(7_200, Verdict::Again { count: 6 });
    }

    #[test]
    fn what_was_not_delivered_is_told_again() {
        let mut memory = Memory::default();
        let key = key("u", Reason::UsageUnknown, "nobody answers");
        assert_eq!(memory.judge(&key, at(0)), Verdict::Tell);
        memory.forget(&key);
        assert_eq!(memory.judge(&key, at(1)), Verdict::Tell);
    }

    #[test]
    fn a_text_that_never_stays_the_same_is_still_bounded() {
        let mut memory = Memory::default();
        let told = (0..1_000).filter(|n| {
            let key = key("u", Reason::ResizeRequested, &format!("to {n}Gi"));
            memory.judge(&key, at(1)) == Verdict::Tell
        });
        assert_eq!(told.count(), DIFFERENT);
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_in_use() {
        let mut memory = Memory::default();
        let lasting = key("lasting", Reason::UsageUnknown, "nobody answers");
        memory.judge(&lasting, at(0));
        for n in 0..2 * REMEMBERED {
            memory.judge(&key(&n.to_string(), Reason::UsageUnknown, "x"), at(1));
            memory.judge(&lasting, at(1));
        }
        assert!(memory.entries.len() <= REMEMBERED && memory.different.len() <= REMEMBERED);
        assert_eq!(memory.judge(&lasting, at(2)), Verdict::Keep);
    }

    #[test]
    fn the_standing_notes_of_many_sets_in_trouble_do_not_become_a_log() {
        let mut memory = Memory::default();
        let keys: Vec<Key> = (0..60_000).map(|n| key(&n.to_string(), Reason::UsageUnknown, "nobody answers")).collect();
        let told = |memory: &mut Memory, second| {
            keys.iter().filter(|key| memory.judge(key, at(second)) != Verdict::Keep).count()
        };
        assert_eq!(told(&mut memory, 0), keys.len());
        assert_eq!(told(&mut memory, 10), 0);
        assert_eq!(told(&mut memory, 3_600), keys.len(), "once an hour, as a series");
    }

    #[test]
    fn a_digest_is_the_same_after_a_restart() {
        assert_eq!(key("u", Reason::UsageUnknown, "x").digest(), key("u", Reason::UsageUnknown, "x").digest());
        assert_ne!(key("u", Reason::UsageUnknown, "x").digest(), key("v", Reason::UsageUnknown, "x").digest());
    }
}
