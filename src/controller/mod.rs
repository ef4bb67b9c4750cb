//! The controller: follows the cluster and, as the leader, reconciles its StatefulSets until the process is stopped.

pub mod args;
pub mod context;
mod deferral;
mod expand;
mod gauges;
mod held_requests;
pub mod limit;
mod measure;
mod measurements;
pub mod memory;
mod nudge;
mod nudges;
mod pass;
pub mod queue;
pub mod reconcile;
pub mod recreate;
mod repetition;
mod report;
mod requeue;
mod standing;
mod sync;
mod watch_agents;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

pub use self::args::Args;
pub use self::context::Context;
pub use self::measurements::Measuring;
pub use self::nudges::Nudges;
use self::queue::Triggers;
use crate::cluster::clock;
use crate::cluster::lease::Role;
use crate::cluster::watch::{Change, Changes};
use crate::telemetry::stop::Stop;

/// StatefulSets that are reconciled at the same time, beside those that are recreated. Most reconciliations send no
/// request.
const MAX_CONCURRENT_RECONCILES: usize = 64;
/// How often the concurrency limit is checked: which recreations are stuck, and which may begin. Costs no request.
const LIMIT_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The time to finish what is in progress at the stop. What is then unfinished is in the journal, and the next leader
/// continues it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(40);

/// Why the controller ended before it was stopped.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// A watch ended permanently, which must never happen.
    #[error("failed to watch the cluster: a watch has ended")]
    WatchEnded,
    /// Another replica may lead by now, so this process must not write anything more.
    #[error("lost the lease; exiting so that a new process takes part in the election")]
    LeaseLost,
}

/// Follows the cluster on every replica; as the leader, reconciles its StatefulSets. Ends after the stop, when what was
/// in progress is finished.
///
/// # Errors
/// When a watch ends, or the lease is lost.
pub async fn run(context: &Arc<Context>, changes: Changes, stop: &Stop) -> Result<(), ControllerError> {
    let (triggers, requests) = queue::triggers();
    let mut leadership = context.leadership.clone();
    let lead = async {
        if !context.cache.ready().await {
            return Err(ControllerError::WatchEnded);
        }
        context.telemetry.health.condition("caches", true);
        if !leadership.becomes(Role::Leader).await {
            return Ok(());
        }
        context.telemetry.metrics.leads(true);
        context.cache.sets().into_iter().chain(context.cache.journalled()).for_each(|set| triggers.now(set));
        // Expansions that began under another leader.
        for (namespace, claim) in context.cache.claims() {
            nudge::changed(context, &namespace, &claim, &context.cache.sets_of_claim(&namespace, &claim));
        }
        let work = |set| {
            let context = context.clone();
            async move { reconcile::reconcile(&context, &set).await }
        };
        // A recreation lasts seconds, so recreations have slots of their own: no expansion ever waits for one.
        let at_most = MAX_CONCURRENT_RECONCILES.saturating_add(context.environment.rules.concurrent);
        let depth = |waiting| context.telemetry.metrics.queued(waiting);
        let passes = queue::run(requests, at_most, depth, async { stop.wait().await }, work);
        let overtime = async {
            stop.wait().await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        let mut role = context.leadership.clone();
        tokio::select! {
            () = passes => Ok(()),
            () = measure::run(context, &triggers) => Ok(()),
            () = watch_agents::run(context, &triggers) => Ok(()),
            () = overtime => Ok(()),
            () = call_next(context, &triggers) => Ok(()),
            () = nudge::run(context) => Ok(()),
            _ = role.becomes(Role::Follower) => Err(ControllerError::LeaseLost),
        }
    };
    let waiting = async {
        // A follower that is stopped has nothing to finish.
        stop.wait().await;
        if context.leadership.role() == Role::Leader {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = lead => ended,
        ended = follow(context, changes, &triggers) => ended,
        () = waiting => Ok(()),
    }
}

/// Triggers the StatefulSets that may be recreated now, as soon as a slot is free.
async fn call_next(context: &Context, triggers: &Triggers) {
    loop {
        let (flights, now) = (context.cache.flights(), clock::now());
        context.telemetry.metrics.stuck(flights.iter().filter(|flight| flight.is_stuck(now)).count());
        let called = context.recreations.call(&flights, context.environment.rules.concurrent, now);
        called.into_iter().for_each(|set| triggers.now(set));
        let _ = tokio::time::timeout(LIMIT_CHECK_INTERVAL, context.recreations.changed()).await;
    }
}

/// Turns changes into triggers while this replica leads. Until then, changes only reach the caches: a new leader
/// reconciles everything once.
async fn follow(context: &Context, mut changes: Changes, triggers: &Triggers) -> Result<(), ControllerError> {
    while let Some(change) = changes.next().await {
        match change {
            Ok(_) if context.leadership.role() == Role::Follower => {}
            Ok(Change::Set(set)) => triggers.now(set),
            Ok(Change::Journal(set)) => {
                triggers.now(set);
                context.recreations.change();
            }
            Ok(Change::Claim(namespace, claim)) => {
                let sets = context.cache.sets_of_claim(&namespace, &claim);
                nudge::changed(context, &namespace, &claim, &sets);
                sets.into_iter().for_each(|set| triggers.now(set));
            }
            Err(error) => tracing::warn!(error = crate::cluster::client::chain(&error), "watch restarted"),
        }
    }
    Err(ControllerError::WatchEnded)
}
