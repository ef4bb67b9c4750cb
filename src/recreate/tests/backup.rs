//! Tests of backups: their names, their labels, and that nothing but what was written is read.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::backup::BackupError;
use super::super::{backup, manifest};
use super::world::{World, set_name};
use crate::api::names::{SetName, Uid};

fn encoded(world: &World) -> Value {
    let seen = world.observe();
    backup::encode(&set_name(), seen.live().unwrap(), 7, "transaction", "larger", world.now).unwrap()
}

#[test]
fn a_backup_says_what_it_is_of_and_holds_what_somebody_could_apply() {
    let world = World::settled();
    let saved = encoded(&world);
    assert_eq!(saved["metadata"]["name"], "db-backup-7");
    assert_eq!(saved["metadata"]["namespace"], "shop");
    assert_eq!(saved["immutable"], true);
    let told = ["reason", "uid", "sizes"].map(|key| saved["data"][key].as_str().unwrap());
    assert_eq!(told, ["larger", "uid-1", "data=1Gi"]);
    assert_eq!(saved["data"]["taken-at"], world.now.to_string());
    assert_eq!(backup::decode(&saved).unwrap(), manifest::bare(world.set.as_ref().unwrap()));
    // The selector finds it: both of its labels, by these words.
    let labels = &saved["metadata"]["labels"];
    let selector = backup::selector_of(&set_name());
    let pairs = selector.split(',').map(|pair| pair.split_once('=').unwrap());
    assert_eq!(pairs.map(|(key, value)| assert_eq!(labels[key], value)).count(), 2);
    assert_eq!(backup::label_of(&set_name()), "db");
}

#[test]
fn a_backup_that_is_not_what_was_written_is_refused() {
    let changed = |change: fn(&mut Value)| {
        let mut saved = encoded(&World::settled());
        change(&mut saved);
        backup::decode(&saved)
    };
    assert!(changed(|_| {}).is_ok());
    assert_eq!(changed(|saved| saved["data"]["sha256"] = json!("0")), Err(BackupError::Checksum));
    assert_eq!(changed(|saved| saved["binaryData"] = json!({})), Err(BackupError::Missing(backup::BODY)));
    let damaged = changed(|saved| saved["binaryData"][backup::BODY] = json!("?"));
    assert!(matches!(damaged, Err(BackupError::Damaged(_))));
    let told = damaged.unwrap_err().to_string();
    assert!(told.contains("backup") && !told.contains("journal"), "{told}");
}

/// The name of a backup of a StatefulSet with such a name, and the label.
fn named(name: &str, number: u64) -> (String, String) {
    let set = SetName::new("shop", name);
    (backup::name_of(&set, number), backup::label_of(&set))
}

#[test]
fn a_name_is_cut_only_where_it_must_be_and_stays_one_of_its_own() {
    assert_eq!(named("db", 1), ("db-backup-1".to_owned(), "db".to_owned()));
    // As long as it may be: 253 for a name, 63 for a label.
    let longest = "n".repeat(253 - "-backup-1".len());
    assert_eq!(named(&longest, 1).0, format!("{longest}-backup-1"));
    assert_eq!(named(&"n".repeat(63), 1).1, "n".repeat(63));
    let long = |last: char| format!("{}{last}", "n".repeat(250));
    let (name, label) = named(&long('a'), 1);
    assert_eq!((name.len(), label.len()), (253, 63));
    assert!(name.starts_with("nnnn") && label.starts_with("nnnn"), "{name} {label}");
    let all: BTreeSet<String> = ['a', 'b', 'c'].iter().map(|last| named(&long(*last), 1).1).collect();
    assert_eq!(all.len(), 3, "the hash distinguishes them");
    // No part of a name ends with a dot or a hyphen.
    let dotted = format!("{}.-{}", "n".repeat(51), "n".repeat(40));
    assert!(named(&dotted, 1).1.starts_with(&format!("{}-", "n".repeat(51))), "{}", named(&dotted, 1).1);
}

#[test]
fn the_number_of_a_backup_is_read_from_its_name_and_from_no_other() {
    let number = |name: &str| backup::number_of(&set_name(), name);
    assert_eq!(number("db-backup-12"), Some(12));
    let strange = ["db-backup-012", "other-backup-12", "db-backup-", "db-12", "db"];
    assert_eq!(strange.map(number), [None; 5]);
}

#[test]
fn the_heads_are_those_of_this_set_with_what_a_write_needs() {
    let metadata = |name: &str| json!({ "name": name, "uid": "u", "resourceVersion": "3" });
    let mut with_id = metadata("db-backup-2");
    with_id["annotations"] = json!({ crate::api::annotations::TRANSACTION: "t" });
    let all = [with_id, metadata("db-backup-9"), metadata("other-backup-1"), json!({ "name": "db-backup-4" })];
    let heads = backup::heads_of(&set_name(), all.iter());
    assert_eq!(heads.keys().copied().collect::<Vec<_>>(), [2, 9]);
    assert_eq!((heads[&2].name.as_str(), heads[&2].transaction.as_deref()), ("db-backup-2", Some("t")));
    assert_eq!((heads[&9].guard.uid.as_str(), heads[&9].transaction.as_deref()), ("u", None));
    assert!(!heads[&9].deleting);
}

#[test]
fn the_head_of_a_backup_that_is_being_deleted_is_marked() {
    let going = json!({
        "name": "db-backup-2", "uid": "u", "resourceVersion": "3", "deletionTimestamp": "2026-01-01T00:00:00Z",
    });
    assert!(backup::heads_of(&set_name(), std::iter::once(&going))[&2].deleting);
}

#[test]
fn a_number_far_beyond_the_time_of_its_object_is_nobodys() {
    let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let clock = 1_767_323_045_000;
    let year = 365 * 24 * 60 * 60 * 1000;
    let made_then = |number: u64| {
        let name = backup::name_of(&set_name(), number);
        json!({ "name": name, "uid": "u", "resourceVersion": "3", "creationTimestamp": at.to_string() })
    };
    let numbers = |all: &[u64]| -> Vec<u64> {
        let all: Vec<Value> = all.iter().copied().map(made_then).collect();
        backup::heads_of(&set_name(), all.iter()).into_keys().collect()
    };
    // A number from a wrong clock is found; forged numbers are neither the newest nor do they block the next.
    assert_eq!(numbers(&[7, clock, clock + year, clock + year + 1, u64::MAX]), [7, clock, clock + year]);
    let last = numbers(&[7, u64::MAX]).last().copied();
    assert_eq!(backup::numbers_above(last, at).next(), Some(8));
    // Who takes the names above one that still counts, as anything else, does not take that of the clock.
    assert_eq!(backup::numbers_above(Some(u64::MAX), at).last(), Some(clock));
    assert!(backup::is_plausible(7, &json!({})) && !backup::is_plausible(clock, &json!({})));
}

#[test]
fn each_transaction_has_an_id_of_its_own() {
    let now = World::settled().now;
    let later = now + std::time::Duration::from_nanos(1);
    let ids: BTreeSet<String> = [("uid-1", now), ("uid-2", now), ("uid-1", later)]
        .map(|(uid, at)| backup::transaction_id(&Uid::new(uid), at))
        .into();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| id.len() == 16), "{ids:?}");
}

#[test]
fn names_that_somebody_has_taken_cost_a_few_tries_and_then_the_clock_gives_the_number() {
    let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let check = |last, expected: &[u64]| {
        assert_eq!(backup::numbers_above(last, at).collect::<Vec<_>>(), expected, "{last:?}");
    };
    check(None, &[1, 2, 3, 1_767_323_045_000]);
    check(Some(7), &[8, 9, 10, 1_767_323_045_000]);
    check(Some(1_900_000_000_000), &[1_900_000_000_001, 1_900_000_000_002, 1_900_000_000_003, 1_767_323_045_000]);
}
