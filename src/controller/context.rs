//! What every pass has at hand.

use std::sync::Arc;

use crate::api::names::SetName;
use crate::cluster::client::Client;
use crate::cluster::environment::Environment;
use crate::cluster::events::Recorder;
use crate::cluster::lease::Leadership;
use crate::cluster::usage::UsageSources;
use crate::cluster::watch::Cache;
use crate::policy::drivers::Drivers;
use crate::policy::settings::Limits;
use crate::telemetry::Telemetry;

use super::limit::RecreationLimit;
use super::measurements::Measuring;
use super::memory::Memories;
use super::nudges::Nudges;

/// What every pass has at hand. One for the process.
pub struct Context {
    /// Talks to the API server.
    pub client: Client,
    /// Whether this replica may write.
    pub leadership: Leadership,
    /// What is there.
    pub cache: Arc<Cache>,
    /// Who is asked how full a volume is.
    pub sources: UsageSources,
    /// Where Events go.
    pub recorder: Recorder,
    /// Metrics and health.
    pub telemetry: Telemetry,
    /// The administrator's limits.
    pub limits: Limits,
    /// What the storage drivers allow.
    pub drivers: Drivers,
    /// Where recreates are carried out.
    pub environment: Environment,
    /// What is remembered between passes.
    pub memories: Memories,
    /// How full the volumes are.
    pub measuring: Measuring,
    /// Pods whose kubelet has a filesystem to expand.
    pub nudges: Nudges,
    /// Who may begin a recreate.
    pub recreations: RecreationLimit,
}

impl Context {
    /// A set that was known is gone, or none of ours any more. This walks over all series, so it is not for sets that never
    /// were ours.
    pub fn forget(&self, set: &SetName) {
        self.measuring.forget(set);
        self.telemetry.metrics.remove_statefulset(set);
    }
}
