//! `rso controller` as admission webhook: any apply succeeds, every new claim fits, every pod is measured.
//!
//! ```text
//!  API server ──TLS, AdmissionReview──► server ──► hook (pure: object, oldObject, facts from the cache) ──► patch, warnings
//!                                         ▲
//!  Secret ──keeper (every replica shows it, the leader renews it and writes the caBundle)──┘
//! ```
//!
//! The API server is known by a token in the path of its questions; anybody else hears nothing that the operator knows.
//!
//! Every replica answers. No answer needs a request of ours, none denies anything, and the API server goes on without us
//! after two or three seconds (`failurePolicy: Ignore`): the worst case is Kubernetes as it is.

pub mod absorb;
mod event_limit;
pub mod args;
pub mod facts;
pub mod floor;
pub mod hook;
pub mod inject;
mod certificate_manager;
pub mod bounded_parse;
pub mod patch;
pub mod review;
pub mod server;
mod stuck_agents;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use self::event_limit::Allowance;
pub use self::args::Args;
use self::floor::Siblings;
use self::hook::{Answered, Asker, Facts, Hook};
use self::server::{Answers, Known, ServeError, Shown};
use self::stuck_agents::Stuck;
use crate::api::names::{ClaimName, SetName, Uid};
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
/// Agents that cannot start are looked for this often.
const LOOK: Duration = Duration::from_secs(2);

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
    ground.telemetry.health.condition(certificate_manager::READY, false);
    let (shown, known) = (Arc::new(Shown::default()), Arc::new(Known::default()));
    let stuck = Arc::new(Stuck::default());
    let (agent, told) = (args.agent_image.clone(), Mutex::default());
    let clerk = Clerk { ground: ground.clone(), agent: agent.clone(), stuck: stuck.clone(), told };
    tokio::select! {
        ended = server::serve(address, shown.clone(), known.clone(), clerk, stop) => ended,
        () = certificate_manager::keep(&ground, &args, &shown, &known) => Ok(()),
        () = look_for_stuck_agents(&ground, agent.as_deref(), &stuck) => Ok(()),
    }
}

/// A walk over all pods, so not for each question: a set makes its pods one after the other, or all of them before the first
/// can be stuck.
async fn look_for_stuck_agents(ground: &Ground, agent: Option<&str>, stuck: &Stuck) {
    let Some(image) = agent else { return std::future::pending().await };
    loop {
        tokio::time::sleep(LOOK).await;
        stuck.saw(facts::namespaces_with_stuck_agent(&ground.cache, &ground.limits, image), since_boot());
    }
}

/// Answers from the cache, counts, and tells.
struct Clerk {
    ground: Ground,
    agent: Option<String>,
    stuck: Arc<Stuck>,
    told: Mutex<Allowance>,
}

impl Clerk {
    /// Whether the set is there, and it is this one. An Event about anything else would be written on somebody's word.
    fn is_there(&self, set: &SetName, uid: &Uid) -> bool {
        self.ground.cache.uid(set).as_ref() == Some(uid)
    }

    fn may_tell(&self, namespace: &str) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).allows(namespace, since_boot())
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
        if self.stuck.is_in(namespace, since_boot()) {
            tracing::warn!(
                namespace,
                image,
                "no agent for a new pod: in this namespace there is one that cannot start"
            );
            return None;
        }
        Some(image)
    }
}

impl Answers for Clerk {
    fn answer(&self, hook: Hook, asker: Asker, body: &[u8]) -> Answered {
        hook.answer(asker, body, self)
    }

    fn sent(&self, hook: Hook, answered: &Answered) {
        self.ground.telemetry.metrics.webhook(hook.as_str(), answered.code);
        if let Some((set, uid, notes)) = &answered.told
            && self.is_there(set, uid)
        {
            let subject = Subject { address: Address::set(set), uid: uid.clone() };
            let notes = notes.iter().filter(|_| self.may_tell(&set.namespace));
            notes.for_each(|note| self.ground.recorder.record(&subject, ACTION, note, now()));
        }
    }
}
