//! How is it told? A table, which the full run writes to `docs/proof/load.md`.

use std::time::Duration;

use rso::api::bytes::Bytes;

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
            format!("{:.0} MiB", self.peak.0 as f64 / Bytes::MIB as f64),
            format!("{:.1} s", self.cpu),
            format!("{:.0}", self.requests),
            self.load.clone(),
        ];
        format!("| {} |", cells.join(" | "))
    }
}

/// All rows under their head.
pub fn table(rows: &[Row], limit: Bytes) -> String {
    let head = [
        "| Scenario | Beside it | PVC patched after: min, median, max | Template follows after: min, median, max | \
         StatefulSet absent: min, median, max | Pods without owner: min, median, max | Took | Peak memory | CPU | API requests | Load average |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ];
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
    let end = format!("\n{date}, {cores} cores, a memory limit of {limit}. No restart, nothing rolled back.");
    head.into_iter().map(str::to_owned).chain(rows.iter().map(Row::line)).chain([end]).collect::<Vec<_>>().join("\n")
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
