//! The settings of the kubelet that decide how soon a Pod sees a larger volume, as the kubelet itself reports them.

use std::time::Duration;

use serde_json::Value;

use crate::harness::programs::kubectl;

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

    /// For the head of a table.
    pub fn text(&self) -> String {
        let text = humantime::format_duration;
        format!("syncFrequency {}, volumeStatsAggPeriod {}", text(self.sync), text(self.stats))
    }
}
