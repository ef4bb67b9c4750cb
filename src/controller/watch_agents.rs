//! The held requests to agents, each in a task of its own beside the polls. An agent answers when a volume reaches the share
//! at which rso would act, so it is noticed within a fraction of a second, and otherwise an agent is asked once a minute.
//!
//! An agent that does not hold its request is polled instead.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::future::Abortable;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::context::Context;
use super::gauges::Question;
use super::held_requests::HeldRequest;
use super::measure::{PodUsage, view};
use super::measurements::POLL_GUARD;
use super::queue::Triggers;
use crate::api::held::HeldQuery;
use crate::api::names::{Ordinal, SetName, pod_name};
use crate::cluster::clock;
use crate::cluster::pods::PodView;
use crate::cluster::usage::{self, Pace, Unheld, UsageByClaim, pause_after};

/// Sends the held requests until it is dropped, which closes all their connections. `reconciles`: triggers
/// reconciliations.
pub(super) async fn run(context: &Arc<Context>, reconciles: &Triggers) {
    let Some(mut requests) = context.measuring.held.receiver() else { return std::future::pending().await };
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(mut request) = requests.next() => {
                let (_, unused) = futures::future::AbortHandle::new_pair();
                let abort = std::mem::replace(&mut request.abort, unused);
                open.push(Abortable::new(follow(context, reconciles, request), abort));
            }
            Some(_) = open.next(), if !open.is_empty() => {}
            else => return std::future::pending().await,
        }
        context.telemetry.metrics.held_requests(open.len());
    }
}

/// What follows an answer.
enum Next {
    /// The same agent is asked again, after a pause.
    Ask(Question, Duration),
    /// It is polled: when its volumes are due or, without an answer, after a pause.
    Poll(Unheld, Option<Duration>),
    /// Its volumes are queried as soon as they are due: it has nothing to answer, or is gone.
    End,
}

/// Sends one request, and sends it again after each answer, as long as the agent holds it.
async fn follow(context: &Context, reconciles: &Triggers, mut request: HeldRequest) {
    let (set, ordinal) = request.place.clone();
    let (mut pace, mut delay) = (Pace::default(), request.delay);
    loop {
        tokio::time::sleep(delay).await;
        match ask(context, reconciles, &request, &mut pace).await {
            Next::Ask(question, pause) => {
                if !context.measuring.held.again(&request, question) {
                    return;
                }
                context.measuring.postpone(&set, ordinal, POLL_GUARD);
                (delay, request.full) = (pause, question.full);
            }
            Next::Poll(why, pause) => {
                let (namespace, pod) = (&set.namespace, pod_name(&set, ordinal));
                tracing::debug!(namespace, pod, reason = why.as_str(), "agent does not hold requests; polling it");
                context.measuring.held.ended(&request);
                return match pause {
                    Some(pause) => context.measuring.query_after(&set, ordinal, pause),
                    None => context.measuring.due.now(set),
                };
            }
            Next::End => {
                context.measuring.held.ended(&request);
                return context.measuring.query_after(&set, ordinal, Duration::ZERO);
            }
        }
    }
}

/// Sends the request, and takes the answer.
async fn ask(context: &Context, reconciles: &Triggers, request: &HeldRequest, pace: &mut Pace) -> Next {
    let (set, ordinal) = &request.place;
    let asked = Instant::now();
    // The rest of the Pod is not kept while the agent holds the request.
    let Some(claims) = pod_of(context, request).map(|pod| pod.claims) else { return Next::End };
    let query = HeldQuery { wait: pace.wait(spread(request)), full: request.full };
    let (namespace, name, agent) = (&set.namespace, &pod_name(set, *ordinal), Some(request.agent));
    let of_pod = usage::Pod { namespace, name, agent, node: None, claims: &claims, started: None };
    let (results, unheld) = context.sources.hold(&of_pod, request.agent, query).await;
    let took = asked.elapsed();
    if let Some(why) = unheld.filter(|_| results.is_empty()) {
        return Next::Poll(why, Some(pause_after(took)));
    }
    // The Pod may have ended meanwhile, and another one may have its name.
    let Some(pod) = pod_of(context, request) else { return Next::End };
    let Some(question) = take(context, reconciles, (set, *ordinal), pod, results) else { return Next::End };
    match (unheld, pace.after(took)) {
        (Some(why), _) => Next::Poll(why, None),
        (None, Some(pause)) => Next::Ask(question, pause),
        (None, None) => {
            context.sources.answers_at_once(request.agent);
            Next::Poll(Unheld::AtOnce, None)
        }
    }
}

/// The Pod to whose agent the request is, if it is still there.
fn pod_of(context: &Context, request: &HeldRequest) -> Option<PodView> {
    let pod = view(context, &request.place.0, request.place.1, clock::now())?;
    (pod.uid == request.uid && pod.agent == Some(request.agent)).then_some(pod)
}

/// Stores the answer, and triggers a reconciliation if it requires one. Returns what to ask next, if anything.
fn take(
    context: &Context,
    reconciles: &Triggers,
    (set, ordinal): (&SetName, Ordinal),
    pod: PodView,
    mut results: UsageByClaim,
) -> Option<Question> {
    let claims = context.measuring.lock().get(set)?.of_agent(ordinal);
    let of_claims = claims.into_iter().map(|claim| {
        let result = results.remove(&claim.name).unwrap_or_else(|| Err("the agent did not report this PVC".to_owned()));
        (claim, result.map_err(|why| pod.unknown(why)))
    });
    let of_claims = of_claims.collect();
    if context.take(set, PodUsage { ordinal, pod: Some(pod), of_claims })? {
        reconciles.now(set.clone());
    }
    context.measuring.lock().get(set)?.question(ordinal)
}

/// A number that differs between agents and requests.
fn spread(request: &HeldRequest) -> u64 {
    let mut hash = DefaultHasher::new();
    (&request.place, clock::now().as_millisecond()).hash(&mut hash);
    hash.finish()
}
