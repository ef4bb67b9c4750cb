//! Recorded Events: which message was already recorded, so repetitions become a series and not a log. Pure.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::api::names::Uid;
use crate::api::reasons::{Note, Reason};

/// An unchanged reason is not recorded again within this time.
pub(super) const REPEAT_INTERVAL: Duration = Duration::from_secs(3600);

/// The maximum number of Events for one reason of one object within [`REPEAT_INTERVAL`], regardless of the number of cases.
const MAX_CASES: usize = 10;

/// The maximum number of entries, each smaller than a hundred bytes. An object has a handful of messages at a time, so
/// this is more than all volumes that one operator can manage produce at once: an entry that is in use is not dropped.
const MAX_ENTRIES: usize = 200_000;

/// What makes two messages the same Event: the object of the Event and the identity of the [`Note`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    uid: Uid,
    reason: Reason,
    object: String,
    case: String,
}

/// The decision about a [`Note`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not recorded before, or evicted: a new Event.
    Tell,
    /// Last recorded at least an hour ago, and seen this many times since it was first recorded: the Event becomes a
    /// series.
    Again {
        /// Times seen, this one included.
        count: u32,
    },
    /// Recorded recently.
    Keep,
}

#[derive(Debug)]
struct Entry {
    told: Timestamp,
    used: u64,
    count: u32,
}

/// The Events that were recorded.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// By the digest of the key.
    entries: HashMap<[u8; 8], Entry>,
    /// The number of messages for one reason of one object since the time given, by the digest of both.
    different: HashMap<[u8; 8], (Timestamp, usize)>,
    uses: u64,
}

impl Key {
    /// The key of a [`Note`] about the object.
    pub(super) fn new(uid: &Uid, note: &Note) -> Self {
        Self { uid: uid.clone(), reason: note.reason, object: note.object.clone(), case: note.case.clone() }
    }

    /// The same key results in the same digest on every replica and after every restart: Events are named by it.
    pub(super) fn digest(&self) -> String {
        self.short().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn short(&self) -> [u8; 8] {
        short(&[self.uid.as_str(), self.reason.as_str(), &self.object, &self.case])
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
    /// Decides what to do with a [`Note`], and remembers that it was seen.
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

    /// Evicts an Event that did not reach the server: the next one like it is recorded.
    pub(super) fn forget(&mut self, key: &Key) {
        self.entries.remove(&key.short());
    }

    fn too_many(&mut self, key: &Key, now: Timestamp) -> bool {
        let (since, count) = self.different.entry(short(&[key.uid.as_str(), key.reason.as_str()])).or_insert((now, 0));
        if older(*since, now) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count > MAX_CASES
    }

    /// Drops the least recently used quarter. This is rare, so it costs nothing on average.
    fn make_room(&mut self) {
        if self.different.len() >= MAX_ENTRIES {
            self.different.clear();
        }
        if self.entries.len() < MAX_ENTRIES {
            return;
        }
        let mut uses: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        let (_, oldest, _) = uses.select_nth_unstable(MAX_ENTRIES / 4);
        let oldest = *oldest;
        self.entries.retain(|_, entry| entry.used > oldest);
    }
}

fn older(then: Timestamp, now: Timestamp) -> bool {
    now.duration_since(then).unsigned_abs() >= REPEAT_INTERVAL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn key(uid: &str, reason: Reason, case: &str) -> Key {
        Key::new(&Uid::new(uid), &Note::new(reason, case, "a text"))
    }

    #[test]
    fn notes_are_the_same_by_reason_object_and_case_whatever_their_text() {
        let uid = Uid::new("u");
        let note =
            |reason, object: &str, case: &str, text: &str| Key::new(&uid, &Note::new(reason, case, text).about(object));
        let known = note(Reason::MaxSizeReached, "data-db-0", "max-size", "PVC data-db-0 is 95% full");
        let check = |other: Key, same: bool| {
            assert_eq!(known == other, same, "{other:?}");
            assert_eq!(known.digest() == other.digest(), same, "{other:?}");
        };
        check(note(Reason::MaxSizeReached, "data-db-0", "max-size", "PVC data-db-0 is 96.1% full; raise it"), true);
        check(note(Reason::MaxSizeReached, "data-db-1", "max-size", "PVC data-db-0 is 95% full"), false);
        check(note(Reason::MaxSizeReached, "data-db-0", "driver", "PVC data-db-0 is 95% full"), false);
        check(note(Reason::QuotaExceeded, "data-db-0", "max-size", "PVC data-db-0 is 95% full"), false);
        // The parts do not run into each other.
        check(note(Reason::MaxSizeReached, "data-db-0max", "-size", "PVC data-db-0 is 95% full"), false);
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
    fn cases_without_end_are_still_bounded() {
        let mut memory = Memory::default();
        let told = (0..1_000).filter(|n| {
            let key = key("u", Reason::ResizeRequested, &format!("{n}Gi"));
            memory.judge(&key, at(1)) == Verdict::Tell
        });
        assert_eq!(told.count(), MAX_CASES);
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_in_use() {
        let mut memory = Memory::default();
        let lasting = key("lasting", Reason::UsageUnknown, "nobody answers");
        memory.judge(&lasting, at(0));
        for n in 0..2 * MAX_ENTRIES {
            memory.judge(&key(&n.to_string(), Reason::UsageUnknown, "x"), at(1));
            memory.judge(&lasting, at(1));
        }
        assert!(memory.entries.len() <= MAX_ENTRIES && memory.different.len() <= MAX_ENTRIES);
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
