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

use self::event_limit::EventLimiter;
pub use self::args::Args;
use self::floor::Siblings;
use self::hook::{Reply, Caller, Lookup, Hook};
use self::server::{ReviewHandler, ApiServerTokens, ServeError, ServedCertificate};
use self::stuck_agents::StuckAgents;
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
const EVENT_ACTION: &str = "Admit";
/// Agents that cannot start are looked for this often.
const STUCK_AGENT_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// What the webhook shares with the rest of the process.
#[derive(Clone)]
pub struct Context {
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
pub async fn run(args: Args, context: Context, stop: Stop) -> Result<(), ServeError> {
    let Some(address) = args.webhook_address else {
        stop.wait().await;
        return Ok(());
    };
    context.telemetry.health.condition(certificate_manager::READY_CONDITION, false);
    let (certificate, tokens) = (Arc::new(ServedCertificate::default()), Arc::new(ApiServerTokens::default()));
    let stuck = Arc::new(StuckAgents::default());
    let (agent, event_limiter) = (args.agent_image.clone(), Mutex::default());
    let handler = Handler { context: context.clone(), agent: agent.clone(), stuck: stuck.clone(), event_limiter };
    tokio::select! {
        ended = server::serve(address, certificate.clone(), tokens.clone(), handler, stop) => ended,
        () = certificate_manager::run(&context, &args, &certificate, &tokens) => Ok(()),
        () = watch_stuck_agents(&context, agent.as_deref(), &stuck) => Ok(()),
    }
}

/// A walk over all pods, so not for each question: a set makes its pods one after the other, or all of them before the first
/// can be stuck.
async fn watch_stuck_agents(context: &Context, agent: Option<&str>, stuck: &StuckAgents) {
    let Some(image) = agent else { return std::future::pending().await };
    loop {
        tokio::time::sleep(STUCK_AGENT_POLL_INTERVAL).await;
        stuck.record(facts::namespaces_with_stuck_agent(&context.cache, &context.limits, image), since_boot());
    }
}

/// Answers from the cache, counts, and tells.
struct Handler {
    context: Context,
    agent: Option<String>,
    stuck: Arc<StuckAgents>,
    event_limiter: Mutex<EventLimiter>,
}

impl Handler {
    /// Whether the set is there, and it is this one. An Event about anything else would be written on somebody's word.
    fn is_there(&self, set: &SetName, uid: &Uid) -> bool {
        self.context.cache.uid(set).as_ref() == Some(uid)
    }

    fn may_record_event(&self, namespace: &str) -> bool {
        self.event_limiter.lock().unwrap_or_else(PoisonError::into_inner).allows(namespace, since_boot())
    }
}

impl Lookup for Handler {
    fn siblings(&self, namespace: &str, claim: &ClaimName) -> Option<Siblings> {
        facts::siblings(&self.context.cache, &self.context.limits, namespace, claim)
    }

    fn agent(&self, namespace: &str, pod: &Value) -> Option<&str> {
        let image = self.agent.as_deref()?;
        if !facts::is_measured(&self.context.cache, &self.context.limits, namespace, pod) {
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

impl ReviewHandler for Handler {
    fn handle(&self, hook: Hook, caller: Caller, body: &[u8]) -> Reply {
        hook.handle(caller, body, self)
    }

    fn replied(&self, hook: Hook, reply: &Reply) {
        self.context.telemetry.metrics.webhook(hook.as_str(), reply.code);
        if let Some((set, uid, notes)) = &reply.events
            && self.is_there(set, uid)
        {
            let subject = Subject { address: Address::set(set), uid: uid.clone() };
            let notes = notes.iter().filter(|_| self.may_record_event(&set.namespace));
            notes.for_each(|note| self.context.recorder.record(&subject, EVENT_ACTION, note, now()));
        }
    }
}
