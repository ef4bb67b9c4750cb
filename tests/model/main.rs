//! Does the protocol hold, whatever happens between any two of its steps?
//!
//! `stateright` explores the *production* [`rso::recreate::next`]: every state of a small cluster is turned into the
//! `Observed` that the real one would give, and what comes back is carried out on it. What is checked, with which bounds and
//! results, is in `docs/proof/model.md`. `cargo test --test model` is the small run; `make model` the full one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "a test fails loudly")]
#![allow(clippy::print_stdout, reason = "a long run tells how far it is")]

mod checker;
mod explore;
mod known;
mod mutants;
mod others;
#[path = "../page/mod.rs"]
mod page;
mod report;
mod runs;
mod state;
mod system;
mod translate;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use checker::SITUATIONS;
use mutants::Mutant;
use runs::{Outcome, RUNS, Run};

/// `MODEL=full`: the full run. `MODEL=small`: what `make check` runs. Either writes the tables.
fn is_full() -> bool {
    std::env::var("MODEL").is_ok_and(|word| word == "full")
}

/// `MODEL_ONLY=word`: only the runs that have this word in their names. Then no table is written.
fn is_wanted(run: &Run) -> bool {
    std::env::var("MODEL_ONLY").map_or(true, |word| run.name.contains(&word))
}

/// Whether every small run is explored.
fn is_whole() -> bool {
    !is_full() && std::env::var("MODEL_ONLY").is_err()
}

fn writes() -> bool {
    std::env::var("MODEL").is_ok() && std::env::var("MODEL_ONLY").is_err()
}

#[test]
fn nothing_breaks_whatever_happens_and_the_interesting_things_do_happen() {
    let (mut found, mut rows, mut broken) = (BTreeSet::new(), Vec::new(), Vec::new());
    let small: &[Run] = if is_full() { &[] } else { &RUNS };
    for run in small.iter().filter(|run| is_wanted(run)) {
        let outcome = run.explore(run.small, None, 1, None);
        tell(run, &outcome, &mut broken);
        assert!(outcome.is_complete, "{} is not explored to its end", run.name);
        rows.push(report::row(run, run.small, &outcome));
        found.extend(outcome.found);
    }
    if is_full() {
        rows = explore_far(&mut broken);
    }
    assert!(broken.is_empty(), "these do not hold; how is told above: {broken:?}");
    let missing: Vec<&str> = SITUATIONS.iter().map(|known| known.0).filter(|name| !found.contains(name)).collect();
    assert!(!is_whole() || missing.is_empty(), "never occurs, so that nothing is proved about it: {missing:?}");
    if writes() {
        page::write("runs", &report::table_of_runs(rows.iter()));
    }
}

/// The full run, two at a time. What was finished before by the very same program is not explored again, and the table says
/// at any time what is finished.
fn explore_far(broken: &mut Vec<(&'static str, &'static str)>) -> Vec<report::Row> {
    let most = report::most();
    let next = AtomicUsize::new(0);
    let unfinished: BTreeMap<_, _> = RUNS.iter().map(report::unfinished).enumerate().collect();
    let done = Mutex::new((broken, unfinished));
    let work = || {
        let wanted = || RUNS.iter().enumerate().filter(|(_, run)| is_wanted(run));
        while let Some((index, run)) = wanted().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let key = report::key(run, most);
            let (row, outcome) = match report::kept(&key) {
                Some(row) => (row, None),
                None => {
                    let outcome = run.explore_far(most);
                    (report::row(run, run.full, &outcome), Some(outcome))
                }
            };
            let (broken, rows) = &mut *done.lock().unwrap();
            if let Some(outcome) = &outcome {
                tell(run, outcome, broken);
                if !outcome.failed.is_empty() {
                    continue;
                }
                report::keep(&key, &row);
            }
            rows.insert(index, row);
            if writes() {
                page::write("runs", &report::table_of_runs(rows.values()));
            }
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    done.into_inner().unwrap().1.into_values().collect()
}

fn tell(run: &Run, outcome: &Outcome, broken: &mut Vec<(&'static str, &'static str)>) {
    println!("{}: {} states, depth {}, {:?}", run.name, outcome.unique, outcome.depth, outcome.took);
    for (property, path) in &outcome.failed {
        println!("{}: {property} does not hold:\n{path}", run.name);
        broken.push((run.name, *property));
    }
}

#[test]
fn every_seeded_bug_is_caught() {
    let mut rows = Vec::new();
    let mut missed = Vec::new();
    // `MODEL_BUG=word`: only those that have this word in their names.
    let word = std::env::var("MODEL_BUG").unwrap_or_default();
    for mutant in Mutant::ALL.into_iter().filter(|mutant| mutant.spoken().contains(&word)) {
        match runs::hunt(mutant) {
            Some((run, broken)) => rows.push((mutant.spoken(), run, broken.join("; "))),
            None => missed.push(mutant),
        }
        println!("{}: {:?}", mutant.spoken(), rows.last());
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
    if writes() && word.is_empty() {
        page::write("bugs", &report::table_of_bugs(&rows));
    }
}

#[test]
fn the_page_names_every_run_every_property_and_every_seeded_bug() {
    report::check_page();
}
