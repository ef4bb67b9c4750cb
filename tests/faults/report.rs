//! How is it told? A table in `docs/proof/faults.md`, written by the full sweep.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::asked::Class;
use crate::fault::{Fault, WriteFault};
use crate::run::Outcome;
use crate::scenario::Scenario;

/// How many kinds of faults a write can meet.
const KINDS: usize = WriteFault::ALL.len();

/// What came of all runs of a scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    name: String,
    writes: usize,
    /// Write → the kinds of faults that have happened at it.
    met: BTreeMap<usize, BTreeSet<String>>,
    runs: usize,
    /// Reads and watches of a run without a fault.
    #[serde(default)]
    looks: usize,
    /// Those that failed.
    #[serde(default)]
    looked: BTreeSet<String>,
    violations: usize,
    /// Milliseconds from the fault to rest.
    recoveries: Vec<u64>,
    date: String,
}

impl Row {
    /// A scenario whose run without a fault went so.
    pub fn of(scenario: &'static Scenario, reference: &Outcome) -> Self {
        Self {
            name: scenario.name.to_owned(),
            writes: reference.count(Class::Write),
            met: BTreeMap::new(),
            runs: 0,
            looks: reference.count(Class::Read) + reference.count(Class::Watch),
            looked: BTreeSet::new(),
            violations: 0,
            recoveries: Vec::new(),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        }
    }

    /// Counts a run.
    pub fn take(&mut self, fault: Fault, outcome: &Outcome) {
        match fault {
            Fault::Write(number, kind) => {
                if outcome.fired {
                    self.runs += 1;
                    self.met.entry(number).or_default().insert(kind.as_str().to_owned());
                }
            }
            Fault::Read(..) | Fault::Watch(..) => {
                self.looked.extend(outcome.fired.then(|| fault.to_string()));
            }
        }
        self.violations += outcome.violations.len();
        let recovery = outcome.recovery.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.recoveries.extend(recovery);
    }

    /// Every write was hit by every kind, four of five reads and watches have failed (how many a run needs differs), and
    /// nothing was violated.
    pub fn is_whole(&self) -> bool {
        let is_hit = self.met.len() == self.writes && self.met.values().all(|kinds| kinds.len() == KINDS);
        self.violations == 0 && is_hit && self.looks > 0 && 5 * self.looked.len() >= 4 * self.looks
    }

    /// Whether this fault has not happened yet.
    pub fn lacks(&self, fault: Fault) -> bool {
        match fault {
            Fault::Write(number, kind) => !self.met.get(&number).is_some_and(|kinds| kinds.contains(kind.as_str())),
            Fault::Read(..) | Fault::Watch(..) => !self.looked.contains(&fault.to_string()),
        }
    }

    /// With what an earlier sweep of the same writes has done.
    pub fn resumed(self) -> Self {
        let (writes, looks) = (self.writes, self.looks);
        let kept = kept(&self.name).filter(|kept| kept.writes == writes && kept.violations == 0);
        kept.map_or(self, |kept| Self { looks, ..kept })
    }

    /// Of which scenario.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn kinds(&self) -> usize {
        self.met.values().flatten().collect::<BTreeSet<_>>().len()
    }

    fn line(&self) -> String {
        let hit = (100 * self.met.len()).checked_div(self.writes).unwrap_or(100);
        let cells = [
            self.name.clone(),
            self.writes.to_string(),
            format!("{hit} %"),
            format!("{} of {KINDS}", self.kinds()),
            self.runs.to_string(),
            self.looked.len().to_string(),
            self.violations.to_string(),
            recovery(&self.recoveries),
            self.date.clone(),
        ];
        format!("| {} |", cells.join(" | "))
    }
}

/// The table of all scenarios.
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        "| Scenario | Writes | Hit | Kinds | Runs: writes | Runs: reads, watches | Violations | From the fault to rest: p50, p99, max | Begun |".to_owned(),
        "|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(rows.iter().map(Row::line));
    let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    let all: Vec<u64> = rows.iter().flat_map(|row| row.recoveries.iter().copied()).collect();
    lines.push(format!(
        "| **Together** | **{}** | | | **{}** | **{}** | **{}** | **{}** | |",
        sum(|row| row.writes),
        sum(|row| row.runs),
        sum(|row| row.looked.len()),
        sum(|row| row.violations),
        recovery(&all),
    ));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let date = rows.iter().map(|row| row.date.as_str()).max().unwrap_or_default();
    lines.push(String::new());
    lines.push(format!("{date}, {cores} cores."));
    lines.join("\n")
}

/// Keeps a row of the full sweep, so that a sweep that was interrupted need not begin anew.
pub fn keep(row: &Row) {
    std::fs::create_dir_all(rows_folder()).unwrap();
    let path = rows_folder().join(format!("{}.json", row.name.replace(' ', "-")));
    fs::write(path, serde_json::to_string(row).unwrap()).unwrap();
}

/// Begins anew.
pub fn forget() {
    let _ = fs::remove_dir_all(rows_folder());
}

/// The row that was kept of a scenario.
pub fn kept(name: &str) -> Option<Row> {
    let text = fs::read_to_string(rows_folder().join(format!("{}.json", name.replace(' ', "-")))).ok()?;
    serde_json::from_str(&text).ok()
}

fn rows_folder() -> PathBuf {
    crate::plane::folder().join("rows")
}

/// p50, p99 and the longest, in seconds.
pub fn recovery(times: &[u64]) -> String {
    if times.is_empty() {
        return String::new();
    }
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| sorted[(sorted.len() - 1) * percent / 100] as f64 / 1000.0;
    format!("{:.1}, {:.1}, {:.1} s", at(50), at(99), at(100))
}
