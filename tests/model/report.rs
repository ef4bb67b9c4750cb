//! The tables in `docs/proof/model.md`, and that the page is in step with the model.

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::checker::{LIVENESS, SAFETY, SITUATIONS};
use super::explore::fingerprint;
use super::mutants::Mutant;
use super::page;
use super::runs::{Outcome, RUNS, Run, spoken};
use super::system::Event;

/// A run in the table.
pub(crate) struct Row {
    line: String,
    unique: usize,
}

/// How many states of each run are generated at most: `MODEL_STATES`, which counts those met twice as well.
pub(crate) fn most() -> NonZeroUsize {
    let given = std::env::var("MODEL_STATES").unwrap_or_else(|_| "40_000_000".to_owned());
    given.replace('_', "").parse().unwrap()
}

/// What a run was: its name and bounds, and the very program that made it.
pub(crate) fn key(run: &Run, most: NonZeroUsize) -> String {
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    format!("{}; {}; {most}; {:x}", run.name, spoken(run.full), fingerprint(&program))
}

fn kept_runs() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("model-runs.tsv")
}

/// The line of a run that held before, of a full run that did not come to its end.
pub(crate) fn kept(key: &str) -> Option<Row> {
    let text = fs::read_to_string(kept_runs()).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'))?;
    let (unique, line) = rest.split_once('\t')?;
    Some(Row { line: line.to_owned(), unique: unique.parse().unwrap() })
}

/// Remembers the line of a run that held, so that a full run goes on where it was stopped.
pub(crate) fn keep(key: &str, row: &Row) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(kept_runs()).unwrap();
    writeln!(file, "{key}\t{}\t{}", row.unique, row.line).unwrap();
}

/// The line of a run.
pub(crate) fn row(run: &Run, events: &[(Event, u8)], outcome: &Outcome) -> Row {
    let extent = if outcome.is_complete { "all" } else { "bounded" };
    let line = format!(
        "| {} | {} | {} | {} | {} | {} | {} s | holds |",
        run.name,
        run.operators,
        spoken(events),
        thousands(outcome.unique),
        outcome.depth,
        extent,
        outcome.took.as_secs().max(1),
    );
    Row { line, unique: outcome.unique }
}

/// The line of a run that is not finished yet.
pub(crate) fn unfinished(run: &Run) -> Row {
    let line = format!("| {} | {} | {} | | | not finished | | |", run.name, run.operators, spoken(run.full));
    Row { line, unique: 0 }
}

/// The table of all runs.
pub(crate) fn table_of_runs<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> String {
    let mut lines = vec![
        "| Run | Operators | What may happen, how often | Unique states | Depth | Explored | Took | Verdict |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(rows.clone().map(|row| row.line.clone()));
    let total = rows.map(|row| row.unique).sum();
    lines.push(format!("| **Together** | | | **{}** | | | | **0 violations** |", thousands(total)));
    lines.join("\n")
}

/// The table of all seeded bugs.
pub(crate) fn table_of_bugs(rows: &[(String, &str, String)]) -> String {
    let mut lines = vec!["| The bug | Caught in the run | By |".to_owned(), "|---|---|---|".to_owned()];
    lines.extend(rows.iter().map(|(bug, run, by)| format!("| {bug} | {run} | {by} |")));
    lines.join("\n")
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let grouped: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
    grouped.join(",")
}

/// Every name of the model is on the page.
pub(crate) fn check_page() {
    let text = page::text();
    let properties = SAFETY.iter().chain(&LIVENESS).chain(&SITUATIONS).map(|known| known.0.to_owned());
    let names = RUNS.iter().map(|run| run.name.to_owned()).chain(Mutant::ALL.map(Mutant::spoken)).chain(properties);
    let missing: Vec<String> = names.filter(|name| !text.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/proof/model.md says nothing of these; run `make model`: {missing:#?}");
}
