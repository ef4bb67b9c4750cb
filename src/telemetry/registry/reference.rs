//! The reference page of the metrics, generated from the registry.

#[cfg(feature = "testing")]
use std::fmt::Write;

use prometheus_client::metrics::MetricType;

#[cfg(feature = "testing")]
use super::Metrics;

/// A metric on the page.
#[derive(Debug)]
#[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "used only for the page"))]
pub(super) struct Described {
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

#[cfg(feature = "testing")]
impl Described {
    /// The name in a scrape: OpenMetrics adds `_total` to counters.
    pub(super) fn scraped(&self) -> String {
        match self.kind {
            MetricType::Counter => format!("{}_total", self.name),
            MetricType::Gauge | MetricType::Histogram | MetricType::Info | MetricType::Unknown => self.name.to_owned(),
        }
    }

    fn kind(&self) -> &'static str {
        match self.kind {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::Info | MetricType::Unknown => "other",
        }
    }
}

/// The text of `docs/reference/metrics.md`.
#[cfg(feature = "testing")]
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n<!-- Made from src/telemetry/registry by `make gen`; do not edit. -->\n\n\
         Served on port 8080 at `/metrics`, in the OpenMetrics text format.\n\
         Sizes are bytes, and times are seconds.\n\
         The series of a StatefulSet or PVC are removed with it.\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n",
    );
    for metric in Metrics::default().described {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, help) = (metric.scraped(), metric.kind(), metric.help);
        // Writing into a String cannot fail.
        let _ = writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
    page
}
