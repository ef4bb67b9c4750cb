//! Which runs are there, and did all of them do what they should?

use std::time::Instant;

use futures::StreamExt;

use crate::asked::Class;
use crate::fault::{Fault, ReadFault, WatchFault, WriteFault};
use crate::page;
use crate::plane::Plane;
use crate::report::{self, Row};
use crate::run::{Outcome, run};
use crate::scenario::{SCENARIOS, Scenario};

/// Scenarios of which the sample takes every write; of the others it takes one.
const SAMPLED: usize = 3;

#[tokio::test]
async fn whatever_fails_nothing_is_lost_and_everything_ends_as_without_a_fault() {
    let plane = Plane::connect().await;
    let full = std::env::var("FAULTS").is_ok_and(|which| which == "full");
    let resumes = full && std::env::var_os("RESUME").is_some();
    if full && !resumes {
        report::forget();
    }
    let references = references(&plane, &wanted(resumes), if full { 3 } else { 1 }).await;
    let rows = references.iter().map(|(scenario, outcome)| Row::of(scenario, outcome));
    let mut rows: Vec<Row> = rows.map(|row| if resumes { row.resumed() } else { row }).collect();
    let mut plan = plan(&references, full);
    plan.retain(|(at, fault)| rows[*at].lacks(*fault));
    if full {
        rows.iter().for_each(report::keep);
    }
    println!("{} runs, {} at a time", plan.len(), jobs());
    let began = Instant::now();
    let mut left: Vec<usize> = (0..rows.len()).map(|at| plan.iter().filter(|(of, _)| *of == at).count()).collect();
    let mut bad = Vec::new();
    let mut done = futures::stream::iter(&plan)
        .map(|(at, fault)| async {
            let (scenario, reference) = &references[*at];
            (*at, *fault, run(&plane, scenario, Some(*fault), Some(&reference.summary)).await)
        })
        .buffer_unordered(jobs());
    let (mut count, mut missed) = (0, 0);
    while let Some((at, fault, outcome)) = done.next().await {
        count += 1;
        rows[at].take(fault, &outcome);
        missed += usize::from(!outcome.fired);
        if !outcome.violations.is_empty() {
            println!("{}", told(&outcome));
            bad.push(outcome.name);
        }
        left[at] -= 1;
        if full {
            report::keep(&rows[at]);
        }
        if full && left[at] == 0 {
            println!("{count} of {} after {} s: {}", plan.len(), began.elapsed().as_secs(), rows[at].name());
        }
    }
    drop(done);
    println!("{}\n{count} runs in {} s", report::table(&rows), began.elapsed().as_secs());
    if full {
        tell();
    }
    assert!(bad.is_empty(), "{} runs went wrong: {bad:#?}", bad.len());
    if full {
        let open: Vec<_> = rows.iter().filter(|row| !row.is_whole()).map(Row::name).collect();
        assert!(
            open.is_empty(),
            "not every fault has hit every write, or too few reads have failed; `RESUME=1 make faults` goes on with {open:?}"
        );
    }
    // A run now and then needs a request less than the one without a fault. For a sweep that is resumed those are what is left.
    assert!(resumes || 10 * missed <= plan.len(), "{missed} of {} faults did not happen", plan.len());
}

/// Writes the page, with what has been swept so far.
fn tell() {
    let kept: Vec<Row> = SCENARIOS.iter().filter_map(|scenario| report::kept(scenario.name)).collect();
    let (rows, open): (Vec<Row>, Vec<Row>) = kept.into_iter().partition(Row::is_whole);
    open.iter().for_each(|row| println!("still open: {}", row.name()));
    let extent = format!("{} of {} scenarios; `RESUME=1 make faults` sweeps the rest.", rows.len(), SCENARIOS.len());
    let extent = if rows.len() < SCENARIOS.len() { extent } else { "Every scenario.".to_owned() };
    page::write("faults", &format!("{} {extent}", report::table(&rows)));
}

/// The scenarios of this sweep: all, or those that `ONLY` names; when it is resumed, without those that are done.
fn wanted(resumes: bool) -> Vec<&'static Scenario> {
    let only = std::env::var("ONLY").unwrap_or_default();
    let is_named = |scenario: &&Scenario| only.split('|').any(|part| scenario.name.contains(part));
    let is_open = |scenario: &&Scenario| !resumes || !report::kept(scenario.name).is_some_and(|row| row.is_whole());
    SCENARIOS.iter().filter(is_named).filter(is_open).collect()
}

/// How many runs go side by side. They mostly wait.
pub fn jobs() -> usize {
    std::env::var("JOBS").ok().and_then(|text| text.parse().ok()).unwrap_or(16)
}

/// What went wrong, and where to look.
pub fn told(outcome: &Outcome) -> String {
    let fired = if outcome.fired { "" } else { "\n  the fault did not happen" };
    let violations: String = outcome.violations.iter().map(|one| format!("\n  {one}")).collect();
    format!("{}{fired}{violations}\n  see {}", outcome.name, outcome.folder.display())
}

/// Each scenario without a fault. It must do well, or nothing is learned from the others.
async fn references(plane: &Plane, wanted: &[&'static Scenario], tries: usize) -> Vec<(&'static Scenario, Outcome)> {
    let all: Vec<_> = futures::stream::iter(wanted)
        .map(|scenario| async move { (*scenario, shortest(plane, scenario, tries).await) })
        .buffered(jobs())
        .collect()
        .await;
    let bad: Vec<String> = all.iter().filter(|(_, one)| !one.violations.is_empty()).map(|(_, one)| told(one)).collect();
    assert!(bad.is_empty(), "without any fault:\n{}", bad.join("\n"));
    all
}

/// Of some runs the one with the fewest writes, all of which are there in every run: a status that changes at an unlucky
/// moment costs a further attempt.
async fn shortest(plane: &Plane, scenario: &'static Scenario, tries: usize) -> Outcome {
    let mut best = run(plane, scenario, None, None).await;
    for _ in 1..tries {
        let other = run(plane, scenario, None, None).await;
        if best.violations.is_empty()
            && (!other.violations.is_empty() || other.count(Class::Write) < best.count(Class::Write))
        {
            best = other;
        }
    }
    best
}

fn plan(references: &[(&'static Scenario, Outcome)], full: bool) -> Vec<(usize, Fault)> {
    let mut plan = Vec::new();
    for (at, (scenario, reference)) in references.iter().enumerate() {
        let place = SCENARIOS.iter().position(|other| other.name == scenario.name).unwrap_or(0);
        let (writes, kinds) = (reference.count(Class::Write), WriteFault::ALL);
        for number in 1..=writes {
            let one = Fault::Write(number, kinds[(number + 5 * place) % kinds.len()]);
            match (full, place < SAMPLED) {
                (true, _) => plan.extend(kinds.map(|kind| (at, Fault::Write(number, kind)))),
                (false, true) => plan.push((at, one)),
                (false, false) if number == 1 + (5 * place) % writes => plan.push((at, one)),
                (false, false) => {}
            }
        }
        // Nobody came back to the record of an apply, the last write there is, when its answer was a conflict.
        if !full && place < SAMPLED {
            plan.push((at, Fault::Write(writes, WriteFault::ConflictInstead)));
        }
        plan.extend(looks(reference, place, full).into_iter().map(|fault| (at, fault)));
    }
    plan
}

/// Faults of reads and watches: of the first scenario all kinds, of the others one kind for each read and each watch, a
/// different one from scenario to scenario. Of the sample every ninth read of the first.
fn looks(reference: &Outcome, place: usize, full: bool) -> Vec<Fault> {
    if place > 0 && !full {
        return Vec::new();
    }
    let all = full && place == 0;
    let mut faults = Vec::new();
    for number in (1..=reference.count(Class::Read)).filter(|number| full || number % 9 == 0) {
        let kinds = ReadFault::ALL;
        let one = kinds[(number + place) % kinds.len()];
        faults.extend(kinds.into_iter().filter(|kind| all || *kind == one).map(|kind| Fault::Read(number, kind)));
    }
    // Each dry run of a write to the set is answered otherwise, in the sample too.
    let dry = reference.asked.iter().filter(|asked| asked.is_a_dry_run_of_the_set()).map(|asked| asked.number);
    faults.extend(dry.map(|number| Fault::Read(number, ReadFault::AnotherBody)));
    faults.sort();
    faults.dedup();
    for number in 1..=reference.count(Class::Watch) {
        let kinds = WatchFault::ALL;
        let one = kinds[(number + place) % kinds.len()];
        faults.extend(kinds.into_iter().filter(|kind| all || *kind == one).map(|kind| Fault::Watch(number, kind)));
    }
    faults
}
