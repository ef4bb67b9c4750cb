//! How is it told? In tables, which the full runs write to `docs/proof/load.md` and `docs/scale.md`.

use std::time::Duration;

use rso::api::bytes::Bytes;

use crate::sizing;

/// What one scenario took.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub what: String,
    /// What was there beside it.
    pub beside: String,
    /// Seconds until each PVC was patched.
    pub patched: Vec<f64>,
    /// Seconds until each StatefulSet was there with its larger template.
    pub followed: Vec<f64>,
    /// Seconds for which each name had no StatefulSet, as the operator says.
    pub absent: Vec<f64>,
    /// Seconds from the DELETE until the new StatefulSet had adopted all Pods, as the operator says.
    pub unmanaged: Vec<f64>,
    pub took: Duration,
    pub peak: Bytes,
    pub cpu: f64,
    pub requests: f64,
    /// The recreates that were rolled back.
    pub undone: f64,
    /// The load average of the machine at the end.
    pub load: String,
}

impl Row {
    /// The row of the table.
    pub fn line(&self) -> String {
        let cells = [
            self.what.clone(),
            self.beside.clone(),
            seconds(&self.patched, 1),
            seconds(&self.followed, 1),
            seconds(&self.absent, 3),
            seconds(&self.unmanaged, 1),
            format!("{:.0} s", self.took.as_secs_f64()),
            mib(self.peak),
            format!("{:.1} s", self.cpu),
            format!("{:.0}", self.requests),
            format!("{}", self.undone as u64),
            self.load.clone(),
        ];
        line(&cells)
    }
}

/// What a program took in a window of time, each minute.
#[derive(Clone, Debug, Default)]
pub struct Used {
    /// Seconds.
    pub cpu: f64,
    pub resident: Bytes,
    pub peak: Bytes,
    /// API requests for the Lease.
    pub leases: f64,
    /// Other API requests, except for watches.
    pub requests: f64,
}

/// What a program took for so many volumes at rest.
#[derive(Clone, Debug, Default)]
pub struct FleetRow {
    pub program: String,
    pub volumes: usize,
    /// StatefulSets of others.
    pub others: usize,
    pub used: Used,
    pub standby: Option<Used>,
    /// Requests to agents or kubelets each minute.
    pub asked: f64,
    /// The age of the oldest reading, seconds.
    pub oldest: Option<f64>,
    /// From the start until every agent was asked.
    pub started: Option<Duration>,
    /// Seconds from the threshold to the patch.
    pub patched: Vec<f64>,
    /// What was to be enough.
    pub formula: Option<Bytes>,
    pub load: String,
}

impl FleetRow {
    /// The row of the table.
    pub fn line(&self) -> String {
        let Self { used, standby, .. } = self;
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let others = if self.others == 0 { String::new() } else { format!(", {} other StatefulSets", self.others) };
        let requests = |used: &Used| format!("{:.0} (+ {:.0})", used.requests, used.leases);
        let cells = [
            self.program.clone(),
            format!("{}{others}", self.volumes),
            format!("{:.2} s", used.cpu),
            format!("{:.0}", self.asked),
            or_dash(self.oldest.map(|oldest| format!("{oldest:.0} s"))),
            format!("{}, {}", mib(used.resident), mib(used.peak)),
            or_dash(standby.as_ref().map(|used| format!("{}, {}", mib(used.resident), mib(used.peak)))),
            or_dash(self.formula.map(mib)),
            requests(used),
            or_dash(standby.as_ref().map(requests)),
            or_dash(self.started.map(|took| format!("{:.1} s", took.as_secs_f64()))),
            seconds(&self.patched, 2),
            self.load.clone(),
        ];
        line(&cells)
    }
}

/// All rows of scenarios under their head.
pub fn table(rows: &[Row], limit: Bytes) -> String {
    let head = [
        "Scenario",
        "Beside it",
        "PVC patched after: min, median, max",
        "Template follows after: min, median, max",
        "StatefulSet absent: min, median, max",
        "Pods without owner: min, median, max",
        "Took",
        "Peak memory",
        "CPU",
        "API requests",
        "Rolled back",
        "Load average",
    ];
    let lines = rows.iter().map(Row::line);
    under(&head, lines, &format!("{}, a memory limit of {limit}. No restart.", circumstances()))
}

/// All rows of fleets under their head.
pub fn fleet_table(rows: &[FleetRow]) -> String {
    let head = [
        "Program",
        "Volumes",
        "CPU each minute",
        "Agents or kubelets asked each minute",
        "Oldest reading",
        "Memory: now, peak",
        "Other replica: now, peak",
        "Memory limit",
        "API requests each minute (+ for the Lease)",
        "Those of the other replica",
        "Start → all agents asked",
        "Threshold crossed → PVC patched: min, median, max",
        "Load average",
    ];
    under(&head, rows.iter().map(FleetRow::line), &format!("{}.", circumstances()))
}

/// Memory limits by the formula.
pub fn sizing_table(chart: Bytes) -> String {
    let mebi = |bytes: Bytes| format!("{}Mi", bytes.0.div_ceil(Bytes::MIB));
    let row = |volumes: usize| {
        let limits = [0, 1_000, 10_000].map(|others| mebi(sizing::limit(volumes, others)));
        line(&[&[volumes.to_string()], &limits[..]].concat())
    };
    let rows = [100, 1_000, 5_000, 10_000, 50_000, 100_000].map(row);
    let head = ["Volumes", "No other StatefulSet", "1,000 other StatefulSets", "10,000 other StatefulSets"];
    let end = format!("The default of the chart, {chart}, is enough for {} volumes.", sizing::volumes(chart));
    under(&head, rows.into_iter(), &end)
}

fn circumstances() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
    format!("{date}, {cores} cores")
}

fn under(head: &[&str], rows: impl Iterator<Item = String>, end: &str) -> String {
    let head = [line(head), format!("|{}", "---|".repeat(head.len()))];
    head.into_iter().chain(rows).chain([format!("\n{end}")]).collect::<Vec<_>>().join("\n")
}

fn line(cells: &[impl AsRef<str>]) -> String {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |", cells.join(" | "))
}

fn mib(bytes: Bytes) -> String {
    format!("{:.0} MiB", bytes.0 as f64 / Bytes::MIB as f64)
}

fn seconds(times: &[f64], digits: usize) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return "–".to_owned() };
    format!("{min:.digits$}, {:.digits$}, {max:.digits$} s", sorted[sorted.len() / 2])
}

/// The load average of the last minute.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
