//! The admission webhook of `rso controller`: any apply succeeds, every new PVC is large enough, and every Pod is
//! measured.
//!
//! ```text
//!  API server ──TLS, AdmissionReview──► server ──► hook (pure: object, oldObject, cache lookups) ──► patch, warnings
//!                                         ▲
//!  Secret ──certificate manager (every replica serves it, the leader renews it and writes the caBundle)──┘
//! ```
//!
//! The API server proves itself with a token in the path of its requests; other callers get nothing that the operator
//! knows.
//!
//! Every replica serves the webhook. A response needs no request of our own and never denies anything, and the API
//! server continues without the webhook after two or three seconds (`failurePolicy: Ignore`): the worst case is
//! Kubernetes without rso.

pub mod absorb;
pub mod args;
pub mod bounded_parse;
mod certificate_manager;
pub mod endpoint;
mod event_limit;
pub mod facts;
pub mod floor;
pub mod hook;
pub mod inject;
pub mod patch;
pub mod review;
pub mod server;
mod stuck_agents;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::api::objects::Address;

pub use self::args::Args;
use self::event_limit::EventLimiter;
use self::floor::Siblings;
use self::hook::{Caller, Hook, Lookup, Reply};
pub use self::server::ServeError;
use self::server::{ApiServerTokens, ReviewHandler, ServedCertificate};
use self::stuck_agents::StuckAgents;
use crate::api::names::{ClaimName, SetName, Uid};
use crate::cluster::client::Client;
use crate::cluster::clock::{now, since_boot};
use crate::cluster::events::{Recorder, Subject};
use crate::cluster::lease::Leadership;
use crate::cluster::watch::Cache;
use crate::policy::settings::Limits;
use crate::telemetry::Telemetry;
use crate::telemetry::stop::Stop;

/// The `action` of an Event.
const EVENT_ACTION: &str = "Admit";
/// How often the cache is searched for agents that cannot start.
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
    /// The objects in the cluster.
    pub cache: Arc<Cache>,
    /// Records Events.
    pub recorder: Recorder,
    /// Metrics and health.
    pub telemetry: Telemetry,
    /// The administrator's limits.
    pub limits: Limits,
}

/// Serves until a grace period after the stop. Without an address, it only waits for the stop.
///
/// # Errors
/// When the port cannot be bound.
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

/// Searches all Pods, therefore not once a request: a StatefulSet creates its Pods one after the other, or all of them
/// before the first one can be stuck.
async fn watch_stuck_agents(context: &Context, agent: Option<&str>, stuck: &StuckAgents) {
    let Some(image) = agent else { return std::future::pending().await };
    loop {
        tokio::time::sleep(STUCK_AGENT_POLL_INTERVAL).await;
        stuck.record(facts::namespaces_with_stuck_agent(&context.cache, &context.limits, image), since_boot());
    }
}

/// Handles requests from the cache, counts them, and records Events.
struct Handler {
    context: Context,
    agent: Option<String>,
    stuck: Arc<StuckAgents>,
    event_limiter: Mutex<EventLimiter>,
}

impl Handler {
    /// Whether the StatefulSet exists with this UID. An Event about any other object would rest on the word of a
    /// client.
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
        // One Pod that waits for its agent is enough: until it is gone, the kubelet measures the other Pods.
        if self.stuck.is_in(namespace, since_boot()) {
            tracing::warn!(namespace, image, "skipped agent injection: another agent in the namespace cannot start");
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
