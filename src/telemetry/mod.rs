//! What reports on the operator: logs, metrics, and health; and the signal to stop.

pub mod health;
pub mod logs;
pub mod port;
pub mod registry;
pub mod serve;
pub mod stop;

use std::sync::Arc;

use http::Method;

use self::health::Health;
use self::registry::Metrics;
use crate::cluster::client::RequestObserver;

/// Where all parts of the operator report to. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The state behind the probes.
    pub health: Arc<Health>,
}

impl RequestObserver for Telemetry {
    fn request_completed(&self, method: &Method, code: &str) {
        self.metrics.api_request(method, code);
    }

    fn watch_active(&self, watch: &str) {
        self.health.beat(watch, health::MAX_WATCH_SILENCE);
    }

    fn usage_requested(&self, who: &'static str, result: &'static str) {
        self.metrics.usage_requested(who, result);
    }
}
