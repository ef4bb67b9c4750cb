//! The settings of the kubelet that decide how soon a Pod sees a larger volume, as the kubelet itself reports them.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::harness::programs::kubectl;

/// A profile of the test cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `SYNC=2s`: no test waits for a minute.
    Tests,
    /// `SYNC=1m`: the kubelet's own defaults.
    Defaults,
}

/// What the figures were measured with.
pub struct Kubelet {
    /// How often the kubelet synchronizes a Pod, at least: it then expands a filesystem whose volume is larger.
    pub sync: Duration,
    /// How often the kubelet computes the usage of volumes.
    pub stats: Duration,
}

impl Kubelet {
    /// The settings of the first node.
    pub async fn read() -> Self {
        let node = kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]).await.ok();
        let config = kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/configz")]).await.ok();
        let config: Value = serde_json::from_str(&config).unwrap();
        let duration = |field: &str| {
            let text = config["kubeletconfig"][field].as_str().unwrap_or_else(|| panic!("no {field} in {config}"));
            humantime::parse_duration(text).unwrap()
        };
        Self { sync: duration("syncFrequency"), stats: duration("volumeStatsAggPeriod") }
    }

    /// The profile that these settings are of, if it is one.
    pub fn profile(&self) -> Option<Profile> {
        match (self.sync.as_secs(), self.stats.as_secs()) {
            (2, 5) => Some(Profile::Tests),
            (60, 60) => Some(Profile::Defaults),
            _ => None,
        }
    }

    /// The line below a table: the day and the settings.
    pub fn dated(&self) -> String {
        format!("{}, kubelet: {}.", today(), self.text())
    }

    /// For the head of a table.
    pub fn text(&self) -> String {
        let text = humantime::format_duration;
        format!("syncFrequency {}, volumeStatsAggPeriod {}", text(self.sync), text(self.stats))
    }
}

/// The day of the run.
pub fn today() -> String {
    Timestamp::now().strftime("%Y-%m-%d").to_string()
}
