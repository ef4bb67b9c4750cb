//! `rso controller` as admission webhook: any apply succeeds, every new claim fits, every pod is measured.
//!
//! ```text
//!  API server ──TLS, AdmissionReview──► server ──► hook (pure: object, oldObject, facts from the cache) ──► patch, warnings
//!                                         ▲
//!  Secret ──keeper (every replica shows it, the leader renews it and writes the caBundle)──┘
//! ```
//!
//! Every replica answers. No answer needs a request of ours, none denies anything, and the API server goes on without us
//! after two or three seconds (`failurePolicy: Ignore`): the worst case is Kubernetes as it is.

pub mod absorb;
pub mod args;
pub mod facts;
pub mod floor;
pub mod hook;
pub mod inject;
mod keeper;
pub mod patch;
pub mod review;
pub mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

pub use self::args::Args;
use self::floor::Siblings;
use self::hook::{Answered, Facts, Hook};
use self::server::{Answers, ServeError, Shown};
use crate::api::names::ClaimName;
use crate::cluster::client::{Address, Client};
use crate::cluster::clock::{now, since_boot};
use crate::cluster::events::{Recorder, Subject};
use crate::cluster::lease::Leadership;
use crate::cluster::watch::Cache;
use crate::policy::settings::Limits;
use crate::telemetry::Telemetry;
use crate::telemetry::stop::Stop;

/// What was being done, for the `action` of an Event.
const ACTION: &str = "Admit";

/// What the webhook shares with the rest of the process.
#[derive(Clone)]
pub struct Ground {
    /// Talks to the API server.
    pub client: Client,
    /// The operator's own namespace.
    pub namespace: String,
    /// Whether this replica may write.
    pub leadership: Leadership,
    /// What is there.
    pub cache: Arc<Cache>,
    /// Where Events go.
    pub recorder: Recorder,
    /// Metrics and health.
    pub telemetry: Telemetry,
    /// The administrator's limits.
    pub limits: Limits,
}

/// Serves until some time after the stop; at once over when no address is given.
///
/// # Errors
/// When the port cannot be had.
pub async fn run(args: Args, ground: Ground, stop: Stop) -> Result<(), ServeError> {
    let Some(address) = args.webhook_address else {
        stop.wait().await;
        return Ok(());
    };
    ground.telemetry.health.condition(keeper::READY, false);
    let shown = Arc::new(Shown::default());
    let stuck = Arc::new(Stuck::default());
    let clerk = Clerk { ground: ground.clone(), agent: args.agent_image.clone(), stuck: stuck.clone() };
    tokio::select! {
        ended = server::serve(address, shown.clone(), clerk, stop) => ended,
        () = keeper::keep(&ground, &args, &shown) => Ok(()),
        () = stuck.watch(&ground.cache) => Ok(()),
    }
}

/// Answers from the cache, counts, and tells.
struct Clerk {
    ground: Ground,
    agent: Option<String>,
    stuck: Arc<Stuck>,
}

/// When a pod was last seen that cannot start because of its agent, in milliseconds since boot; 0: never. A pod that is
/// deleted for that reason is gone before it is made again, so it is remembered for a while.
#[derive(Debug, Default)]
struct Stuck(AtomicU64);

impl Stuck {
    const LOOK: Duration = Duration::from_secs(2);
    const REMEMBERED: Duration = Duration::from_secs(600);

    fn look(&self, cache: &Cache) {
        if cache.has_stuck_agent() {
            let now = u64::try_from(since_boot().as_millis()).unwrap_or(u64::MAX);
            self.0.store(now, Ordering::Relaxed);
        }
    }

    fn is_recent(&self) -> bool {
        let seen = self.0.load(Ordering::Relaxed);
        seen > 0 && since_boot() < Duration::from_millis(seen).saturating_add(Self::REMEMBERED)
    }

    async fn watch(&self, cache: &Cache) {
        loop {
            tokio::time::sleep(Self::LOOK).await;
            self.look(cache);
        }
    }
}

impl Facts for Clerk {
    fn siblings(&self, namespace: &str, claim: &ClaimName) -> Option<Siblings> {
        facts::siblings(&self.ground.cache, &self.ground.limits, namespace, claim)
    }

    fn agent(&self, namespace: &str, pod: &Value) -> Option<&str> {
        let image = self.agent.as_deref()?;
        if !facts::is_measured(&self.ground.cache, &self.ground.limits, namespace, pod) {
            return None;
        }
        // One pod that waits for its agent is one too many: the kubelet measures the others until that one has gone.
        self.stuck.look(&self.ground.cache);
        if self.stuck.is_recent() {
            tracing::warn!(namespace, image, "no agent for a new pod: there is a pod whose agent cannot start");
            return None;
        }
        Some(image)
    }
}

impl Answers for Clerk {
    fn answer(&self, hook: Hook, body: &[u8]) -> Answered {
        hook.answer(body, self)
    }

    fn sent(&self, hook: Hook, answered: &Answered) {
        self.ground.telemetry.metrics.webhook(hook.as_str(), answered.code);
        if let Some((set, uid, notes)) = &answered.told {
            let subject = Subject { address: Address::set(set), uid: uid.clone() };
            notes.iter().for_each(|note| self.ground.recorder.record(&subject, ACTION, note, now()));
        }
    }
}
