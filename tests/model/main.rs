//! Does the protocol hold, whatever happens between any two of its steps?
//!
//! `stateright` explores the *production* [`rso::recreate::next`]: every state of a small cluster is turned into the
//! `Observed` that the real one would give, and what comes back is carried out on it. What is checked, with which bounds and
//! results, is in `docs/reliability.md`. `cargo test --test model` is the small run; `make model` the full one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "a test fails loudly")]

mod checker;
mod known;
mod mutants;
mod report;
mod runs;
mod state;
mod system;
mod translate;
mod world;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use checker::SITUATIONS;
use mutants::Mutant;
use runs::RUNS;

/// `MODEL=full`: the full run. `MODEL=small`: what `make check` runs. Either writes the tables.
fn is_full() -> bool {
    std::env::var("MODEL").is_ok_and(|word| word == "full")
}

fn writes() -> bool {
    std::env::var("MODEL").is_ok()
}

#[test]
fn nothing_breaks_whatever_happens_and_the_interesting_things_do_happen() {
    let (mut found, mut rows, mut broken) = (BTreeSet::new(), Vec::new(), Vec::new());
    for run in &RUNS {
        let (events, sample, most) = if is_full() { (run.full, 16, report::most()) } else { (run.small, 1, None) };
        let key = report::key(run, events, most);
        if let Some(row) = report::kept(&key).filter(|_| is_full()) {
            rows.push(row);
            continue;
        }
        let outcome = run.explore(events, None, sample, most.and_then(NonZeroUsize::new));
        println!("{}: {} states, depth {}, {:?}", run.name, outcome.unique, outcome.depth, outcome.took);
        for (property, path) in &outcome.failed {
            println!("{}: {property} does not hold:\n{path}", run.name);
            broken.push((run.name, *property));
        }
        assert!(outcome.is_complete || most.is_some(), "{} is not explored to its end", run.name);
        found.extend(outcome.found.iter().copied());
        let row = report::row(run, events, &outcome);
        if outcome.failed.is_empty() {
            report::keep(&key, &row);
        }
        rows.push(row);
    }
    assert!(broken.is_empty(), "these do not hold; how is told above: {broken:?}");
    let missing: Vec<&str> = SITUATIONS.iter().map(|known| known.0).filter(|name| !found.contains(name)).collect();
    assert!(is_full() || missing.is_empty(), "never occurs, so that nothing is proved about it: {missing:?}");
    if writes() {
        report::write("runs", &report::table_of_runs(&rows));
    }
}

#[test]
fn every_seeded_bug_is_caught() {
    let mut rows = Vec::new();
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        match runs::hunt(mutant) {
            Some((run, broken)) => rows.push((mutant.spoken(), run, broken.join("; "))),
            None => missed.push(mutant),
        }
        println!("{}: {:?}", mutant.spoken(), rows.last());
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
    if writes() {
        report::write("bugs", &report::table_of_bugs(&rows));
    }
}

#[test]
fn the_page_names_every_run_every_property_and_every_seeded_bug() {
    report::check_page();
}
