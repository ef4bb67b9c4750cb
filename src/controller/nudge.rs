//! Nudges of Pods whose kubelet has a filesystem to expand, beside the reconciliations: neither a recreation nor a queue
//! delays one.
//!
//! A nudge that does not arrive costs only time, because the kubelet synchronizes the Pod within a minute or so anyway.
//! Therefore it is sent once for each expansion and never repeated, and every obstacle is one line in the debug log.

use std::sync::{Arc, PoisonError};

use futures::StreamExt;

use super::context::Context;
use super::nudges::Nudge;
use crate::api::names::{ClaimName, Ordinal, SetName};
use crate::cluster::act::act;
use crate::cluster::client::{Error, Outcome, chain};
use crate::cluster::clock;
use crate::cluster::pods::Pod;
use crate::workload::nudge::{Target, changes_no_spec, nudge};
use crate::workload::objects::Objects;

/// Nudges that are sent at the same time.
const MAX_CONCURRENT: usize = 16;

/// Considers a PVC that changed.
pub(super) fn changed(context: &Context, namespace: &str, claim: &ClaimName, sets: &[SetName]) {
    let nudges = &context.nudges;
    let Some(object) = context.cache.claim(namespace, claim).filter(|_| nudges.enabled) else { return };
    let owners: Vec<_> = sets.iter().filter_map(|set| Some((set, ordinal(context, set, claim)?))).collect();
    // A paused StatefulSet may be resumed while the expansion still waits.
    if owners.is_empty() || !nudges.is_due(&object) {
        return;
    }
    for (set, ordinal) in owners {
        let nudge = Nudge { set: set.clone(), claim: claim.clone(), ordinal };
        // Fails only after the receiver has stopped, when nothing is written anymore.
        let _ = nudges.send.unbounded_send(nudge);
    }
}

/// The ordinal of a PVC of a StatefulSet that rso manages.
fn ordinal(context: &Context, set: &SetName, claim: &ClaimName) -> Option<Ordinal> {
    let view = context.cache.set(set).filter(|view| view.is_managed() && !view.deleting)?;
    if view.settings(&context.limits).0.paused {
        return None;
    }
    view.templates.iter().find_map(|template| claim.ordinal_of(&template.name, set))
}

/// Sends the nudges until it is dropped.
pub(super) async fn run(context: &Arc<Context>) {
    let waiting = context.nudges.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(waiting) = waiting else { return std::future::pending().await };
    waiting.for_each_concurrent(MAX_CONCURRENT, |nudge| async move { send(context, &nudge).await }).await;
}

async fn send(context: &Context, nudge: &Nudge) {
    let Nudge { set, claim, ordinal } = nudge;
    let what = match context.cache.pod(set, *ordinal).filter(|pod| mounts(pod, claim)) {
        Some(pod) => match annotate(context, &pod).await {
            Ok(what) => what.to_owned(),
            Err(error) => chain(&error),
        },
        None => "no Pod of the StatefulSet has the volume mounted".to_owned(),
    };
    tracing::debug!(namespace = set.namespace, statefulset = set.name, claim = claim.as_str(), what, "nudge");
}

/// Whether a kubelet can have mounted this PVC for the Pod.
fn mounts(pod: &Pod, claim: &ClaimName) -> bool {
    pod.node.is_some() && !pod.deleting && pod.claims.contains(claim)
}

/// Annotates a Pod, if a dry run shows that nothing else changes. Returns what happened.
async fn annotate(context: &Context, pod: &Pod) -> Result<&'static str, Error> {
    let write = nudge(Target { namespace: &pod.namespace, name: &pod.name, uid: &pod.uid }, clock::now());
    match context.client.dry_run(&write).await? {
        Outcome::Done(answer) if !changes_no_spec(pod.generation, &answer) => {
            return Ok(
                "not sent: admission would change the spec of the Pod, or the server does not count its changes",
            );
        }
        Outcome::Done(_) => {}
        Outcome::NotFound | Outcome::Conflict(_) | Outcome::AlreadyExists => return Ok("the Pod is gone"),
    }
    Ok(match act(&context.client, &context.leadership, &write).await? {
        Some(Outcome::Done(_)) => "sent",
        Some(Outcome::NotFound | Outcome::Conflict(_) | Outcome::AlreadyExists) => "the Pod is gone",
        None => "not sent: another replica leads",
    })
}
