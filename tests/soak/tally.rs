//! What came of it all?

use std::collections::BTreeMap;
use std::time::Duration;

use crate::chaos::{Break, How};
use crate::people::{Deed, Plan};

/// The figures of a run. What may not happen ends it; so what is left to count is how much did.
pub struct Tally {
    seed: u64,
    pub resizes: usize,
    pub took: Duration,
    breaks: BTreeMap<&'static str, (usize, usize)>,
    deeds: BTreeMap<Deed, usize>,
    recovered: Vec<Duration>,
    absences: Vec<Duration>,
}

impl Tally {
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            resizes: 0,
            took: Duration::ZERO,
            breaks: BTreeMap::new(),
            deeds: BTreeMap::new(),
            recovered: Vec::new(),
            absences: Vec::new(),
        }
    }

    /// A round that went well.
    pub fn add(&mut self, breaks: &[Break], plans: &[Plan], recovered: &[Duration], absences: &[Duration]) {
        self.resizes += plans.len();
        for one in breaks {
            let (kills, stops) = self.breaks.entry(one.victim.name()).or_default();
            match one.how {
                How::Kill => *kills += 1,
                How::Stop(_) => *stops += 1,
            }
        }
        plans.iter().for_each(|plan| *self.deeds.entry(plan.deed).or_default() += 1);
        self.recovered.extend(recovered);
        self.absences.extend(absences);
    }

    /// How far it is.
    pub fn line(&self, since: Duration) -> String {
        let breaks: usize = self.breaks.values().map(|(kills, stops)| kills + stops).sum();
        let slowest = self.recovered.iter().max().copied().unwrap_or_default();
        format!(
            "{:>5} s  {} resizes, {breaks} breaks, slowest recovery {:.1} s",
            since.as_secs(),
            self.resizes,
            slowest.as_secs_f64()
        )
    }

    /// For the page.
    pub fn table(&self) -> String {
        let breaks: Vec<String> =
            self.breaks.iter().map(|(name, (kills, stops))| format!("{name} {kills} / {stops}")).collect();
        let deed = |deed: Deed| self.deeds.get(&deed).copied().unwrap_or(0);
        let people = format!(
            "{} pods deleted, {} scaled, {} roll-outs, {} edits",
            deed(Deed::DeletePod),
            deed(Deed::Scale),
            deed(Deed::RollOut),
            deed(Deed::Label)
        );
        let today = jiff::Zoned::now().strftime("%Y-%m-%d").to_string();
        let rows = [
            ("Resizes done", self.resizes.to_string()),
            ("Pods restarted by us", "0".to_owned()),
            ("Claims lost, claims smaller", "0, 0".to_owned()),
            ("Sets lost, edits lost", "0, 0".to_owned()),
            ("Broken meanwhile (killed / stopped)", breaks.join(", ")),
            ("Done by people meanwhile", people),
            ("Absences of 100 ms or more", spread(&self.absences)),
            ("All as asked, after everything answers again", spread(&self.recovered)),
            ("Took", format!("{} min, {today}, seed {}", self.took.as_secs() / 60, self.seed)),
        ];
        let lines = rows.iter().map(|(what, figure)| format!("| {what} | {figure} |"));
        ["| What | Figure |".to_owned(), "|---|---|".to_owned()].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
    }
}

fn spread(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64();
    if times.is_empty() {
        return "none".to_owned();
    }
    format!("{}: p50 {:.1} s, p99 {:.1} s, max {:.1} s", times.len(), at(50), at(99), at(100))
}
