//! Do the properties of the fuzz targets hold of every file of their corpora, and of so many random bytes?
//!
//! `make fuzz` looks for more. What it finds becomes a file in `fuzz/corpus`, and so a test here.

use std::fs;
use std::io::Write;
use std::panic::catch_unwind;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use rso::recreate::archive::{self, ArchiveError};
use rso::recreate::step::{Action, OwnersChange};

use crate::tree;

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "it is a crate of its own for libFuzzer")]
pub(crate) mod properties;

use properties::TARGETS;

/// Random inputs for each target: seconds in all.
const RANDOM: u32 = 300;
/// Random inputs after which each write of a recreate has occurred.
const RANDOM_ROUNDS: u32 = 20_000;
/// The longest of them. A whole cluster takes about three hundred.
const LONGEST: usize = 512;

#[test]
fn every_file_of_the_corpora_is_well() {
    let mut wrong = Vec::new();
    for (name, property) in TARGETS {
        for path in corpus(name) {
            let data = fs::read(&path).unwrap();
            if catch_unwind(|| property(&data)).is_err() {
                wrong.push(path);
            }
        }
    }
    assert!(wrong.is_empty(), "the messages are above; run one with `make fuzz TARGET=…`: {wrong:#?}");
}

#[test]
fn every_property_holds_of_random_bytes() {
    for (name, property) in TARGETS {
        // The same bytes in every run: the exploring is done by `make fuzz`.
        let config = Config { cases: RANDOM, failure_persistence: None, ..Config::default() };
        let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let bytes = prop::collection::vec(any::<u8>(), 0..LONGEST);
        let outcome = runner.run(&bytes, |data| {
            property(&data);
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn every_target_has_its_file_and_its_corpus() {
    let manifest = tree::read("fuzz/Cargo.toml");
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} has no [[bin]]");
        let program = tree::read(&format!("fuzz/fuzz_targets/{name}.rs"));
        assert!(program.starts_with("//! ") && program.contains("libfuzzer_sys::fuzz_target!"), "{name}");
        assert!(!corpus(name).is_empty(), "fuzz/corpus/{name} is empty");
    }
    assert_eq!(tree::files("fuzz/fuzz_targets", "rs").len(), TARGETS.len(), "a program that is no target");
}

/// Gives the corpus of `next`, and then random bytes, to `check` until it returns `false`.
pub(crate) fn each_input_of_next(mut check: impl FnMut(&[u8]) -> bool) {
    let mut runner = TestRunner::deterministic();
    let bytes = prop::collection::vec(any::<u8>(), LONGEST);
    let random = (0..RANDOM_ROUNDS).map(|_| bytes.new_tree(&mut runner).unwrap().current());
    let known: Vec<Vec<u8>> = corpus("next").iter().map(|path| fs::read(path).unwrap()).collect();
    for data in known.into_iter().chain(random) {
        if !check(&data) {
            return;
        }
    }
}

pub(crate) fn word(action: &Action) -> &'static str {
    match action {
        Action::PatchTemplates { .. } => "PatchTemplates",
        Action::CreateJournal(_) => "CreateJournal",
        Action::UpdateJournal { .. } => "UpdateJournal",
        Action::DeleteJournal { .. } => "DeleteJournal",
        Action::CreateBackup(_) => "CreateBackup",
        Action::DeleteBackup { .. } => "DeleteBackup",
        Action::SetOwners { why: OwnersChange::Protect, .. } => "SetOwners Protect",
        Action::SetOwners { why: OwnersChange::Strip, .. } => "SetOwners Strip",
        Action::SetOwners { why: OwnersChange::Restore, .. } => "SetOwners Restore",
        Action::SetOwners { why: OwnersChange::Unprotect, .. } => "SetOwners Unprotect",
        Action::SetRetention { .. } => "SetRetention",
        Action::SetFinalizers { .. } => "SetFinalizers",
        Action::Delete { .. } => "Delete",
        Action::Release { .. } => "Release",
        Action::Create(_) => "Create",
        Action::RestoreSpec { .. } => "RestoreSpec",
        Action::RestoreOwnership { .. } => "RestoreOwnership",
    }
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_refused() {
    let check = |what: &str, content: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        let unpacked = archive::unpack(&encoder.finish().unwrap());
        assert_eq!(unpacked.err(), Some(ArchiveError::Bomb), "{what}");
    };
    let most = usize::try_from(archive::MOST_UNPACKED).unwrap();
    check("zeros", &vec![0; 8 * most]);
    check("one byte too many", [b"{}".to_vec(), vec![b' '; most - 1]].concat().as_slice());
    // A small text, and much memory.
    check("maps", format!("[{}0]", r#"{"":0},"#.repeat(archive::MOST_PARTS / 2)).as_bytes());
    check("lists", format!("[{}0]", "[0],".repeat(archive::MOST_PARTS / 2)).as_bytes());
    check("numbers", format!("[{}0]", "0,".repeat(archive::MOST_PARTS)).as_bytes());
}

fn corpus(target: &str) -> Vec<std::path::PathBuf> {
    let folder = tree::root().join("fuzz/corpus").join(target);
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
