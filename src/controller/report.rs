//! The report of a reconciliation: the one exit to Events, metrics, and the log. It decides nothing.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::context::Context;
use super::recreate::{Advance, Advanced};
use super::requeue::Next;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName};
use crate::api::objects::Address;
use crate::api::reasons::{Note, Reason, Severity};
use crate::api::refusal::{Kind, Refusal};
use crate::api::requested::Remaining;
use crate::cluster::claims::Growth;
use crate::cluster::client::chain;
use crate::cluster::events::Subject;
use crate::cluster::observe::ObserveError;
use crate::policy::brief;
use crate::policy::claim::Claim;
use crate::policy::decide::{Trigger, Verdict};
use crate::policy::reaction::Longest;
use crate::telemetry::registry::{ReconcileResult, Volume};
use crate::workload::plan::{Plan, Template};
use crate::workload::snapshot::Workload;

/// The `action` of every Event.
const ACTION: &str = "Resize";

/// How a reconciliation ended, and when the next one is.
pub(super) fn ended(
    context: &Context,
    set: &SetName,
    result: &Result<Option<Next>, ObserveError>,
    next: Option<Next>,
    took: Duration,
) {
    let outcome = match result {
        Ok(Some(Next::After(_))) => ReconcileResult::RequeueAfter,
        Ok(Some(Next::Change) | None) => ReconcileResult::Success,
        Err(error) => {
            let retry_in = next.and_then(Next::delay).unwrap_or_default();
            warn!(
                namespace = set.namespace,
                statefulset = set.name,
                error = chain(error),
                ?retry_in,
                "reconcile failed"
            );
            ReconcileResult::Error
        }
    };
    context.telemetry.metrics.reconciled(outcome, took);
    debug!(namespace = set.namespace, statefulset = set.name, ?next, ?took, "reconciled");
}

/// What a recreation did, reported on the object that exists now.
pub(super) fn advanced(context: &Context, set: &SetName, advanced: &Advanced, now: Timestamp) {
    let metrics = &context.telemetry.metrics;
    let uid = advanced.uid.clone().or_else(|| context.cache.uid(set));
    for note in &advanced.notes {
        log(set, None, note);
        if let Some(uid) = uid.clone() {
            context.recorder.record(&Subject { address: Address::set(set), uid }, ACTION, note, now);
        }
    }
    for (claim, uid, note) in &advanced.of_claims {
        log(set, Some(claim), note);
        let subject = Subject { address: Address::claim(&set.namespace, claim), uid: uid.clone() };
        context.recorder.record(&subject, ACTION, note, now);
    }
    if let Advance::Ended(report) = &advanced.result {
        metrics.recreated(set, report.ending.as_str());
        metrics.restarts_caused(report.outcome.lost.len() as u64);
        report.absent.into_iter().for_each(|time| metrics.absent(time));
        report.unmanaged.into_iter().for_each(|time| metrics.resize_took("recreate", time));
    }
}

/// Annotations that have no effect, and PVCs that cannot be read.
pub(super) fn problems(context: &Context, workload: &Workload, now: Timestamp) {
    workload.problems.iter().for_each(|problem| of_set(context, workload, problem, now));
    for unreadable in workload.groups.iter().flat_map(|group| &group.unreadable) {
        warn!(
            namespace = workload.set.name.namespace,
            statefulset = workload.set.name.name,
            error = unreadable.to_string(),
            "skipped unreadable PVC"
        );
    }
}

/// The sizes that an apply requested and the webhook recorded.
pub(super) fn absorbed(context: &Context, workload: &Workload, now: Timestamp) {
    if let Remaining::All(record) = workload.set.remaining_requests() {
        let text = format!(
            "an apply requests {record}; rso recorded the size, expands the PVCs, and then updates the template"
        );
        of_set(context, workload, &Note::new(Reason::RequestAbsorbed, record, text), now);
    }
}

/// What the plan reports about the StatefulSet and its PVCs.
pub(super) fn planned(context: &Context, workload: &Workload, templates: &[Template<'_>], plan: &Plan, now: Timestamp) {
    plan.of_the_set.iter().for_each(|note| of_set(context, workload, note, now));
    let known = || templates.iter().flat_map(|template| template.claims.iter().chain(&template.retained));
    for (name, note) in &plan.of_claims {
        if let Some(claim) = known().find(|claim| claim.name == *name) {
            of_claim(context, workload, claim, note, now);
        }
    }
}

/// Ends the series of PVCs that scaling down took out of the StatefulSet: their last values would remain for ever.
pub(super) fn ended_claims(context: &Context, set: &SetName, ended: &[ClaimName]) {
    ended.iter().for_each(|claim| context.telemetry.metrics.remove_pvc(set, claim));
}

/// An attempt to expand a PVC.
pub(super) struct Attempt<'a> {
    /// The PVC as it was read.
    pub(super) claim: &'a Claim,
    /// The requested size.
    pub(super) wanted: Bytes,
    /// Why it is expanded.
    pub(super) trigger: Trigger,
    /// How the attempt ended.
    pub(super) growth: &'a Growth,
}

/// A PVC whose expansion is done.
pub(super) struct Arrival<'a> {
    /// The PVC.
    pub(super) claim: &'a Claim,
    /// Its capacity before.
    pub(super) from: Bytes,
    /// Its capacity now.
    pub(super) to: Bytes,
    /// The time since the request.
    pub(super) took: Duration,
    /// Whether that time is exact: this leader requested the expansion.
    pub(super) is_exact: bool,
    /// Why it was expanded.
    pub(super) trigger: Trigger,
}

/// How an attempt to expand a PVC ended.
pub(super) fn grown(context: &Context, workload: &Workload, attempt: &Attempt<'_>, now: Timestamp) {
    let Attempt { claim, wanted, trigger, growth } = *attempt;
    let set = &workload.set.name;
    let result = match growth {
        Growth::Committed { to, less } => {
            if let Some(refusal) = less {
                of_claim(context, workload, claim, &less_than_wanted(claim, wanted, *to, refusal), now);
            }
            info!(namespace = set.namespace, statefulset = set.name, claim = %claim.name, from = %claim.requested, %to,
                  trigger = trigger.as_str(), "requested PVC expansion");
            "committed"
        }
        Growth::Conflict | Growth::Gone | Growth::NotLeading => {
            debug!(namespace = set.namespace, statefulset = set.name, claim = %claim.name, ?growth, "requeued");
            return;
        }
        Growth::Refused(refusal) => {
            of_claim(context, workload, claim, &refused(claim, wanted, refusal), now);
            result(refusal)
        }
    };
    context.telemetry.metrics.resized(set, &claim.template, trigger.as_str(), result);
}

/// Records an Event about the StatefulSet with this name.
pub(super) fn note(context: &Context, set: &SetName, note: &Note, now: Timestamp) {
    log(set, None, note);
    if let Some(uid) = context.cache.uid(set) {
        context.recorder.record(&Subject { address: Address::set(set), uid }, ACTION, note, now);
    }
}

fn of_set(context: &Context, workload: &Workload, note: &Note, now: Timestamp) {
    log(&workload.set.name, None, note);
    let subject = Subject { address: Address::set(&workload.set.name), uid: workload.set.uid.clone() };
    context.recorder.record(&subject, ACTION, note, now);
}

/// Records an Event on the PVC and on its StatefulSet: `kubectl describe` of either shows it.
fn of_claim(context: &Context, workload: &Workload, claim: &Claim, note: &Note, now: Timestamp) {
    log(&workload.set.name, Some(&claim.name), note);
    let set = Subject { address: Address::set(&workload.set.name), uid: workload.set.uid.clone() };
    context.recorder.record(&set, ACTION, note, now);
    let address = Address::claim(&workload.set.name.namespace, &claim.name);
    context.recorder.record(&Subject { address, uid: claim.uid.clone() }, ACTION, note, now);
}

/// The API server refused the wanted size, and accepted a smaller one.
fn less_than_wanted(claim: &Claim, wanted: Bytes, to: Bytes, refusal: &Refusal) -> Note {
    let text = format!(
        "PVC {} is full and needs {wanted}, but the API server refuses that: {}. rso requests {to} instead; {}",
        claim.name,
        refusal.words,
        refusal.advice()
    );
    Note::new(refusal.reason(), format_args!("less: {}", refusal.case()), text).about(&claim.name)
}

/// The API server refused the larger size.
fn refused(claim: &Claim, wanted: Bytes, refusal: &Refusal) -> Note {
    let text = format!(
        "PVC {} stays at {}, although it needs {wanted}: the API server refuses the larger size: {}; {}",
        claim.name,
        claim.requested,
        refusal.words,
        refusal.advice()
    );
    Note::new(refusal.reason(), refusal.case(), text).about(&claim.name)
}

/// The label of the metric.
fn result(refusal: &Refusal) -> &'static str {
    match refusal.kind {
        Kind::StorageQuota(_) | Kind::ObjectQuota(_) => "quota_exceeded",
        Kind::Invalid | Kind::TooLong { .. } => "invalid",
        Kind::LimitRange { .. }
        | Kind::Policy { .. }
        | Kind::Webhook { .. }
        | Kind::Lowered { .. }
        | Kind::NotResizable
        | Kind::Rights
        | Kind::Other => "forbidden",
    }
}

/// Logs the message of an Event. The Event is for users who check now; the log is for later.
fn log(set: &SetName, claim: Option<&ClaimName>, note: &Note) {
    let claim = claim.map(ClaimName::as_str);
    match note.reason.severity() {
        Severity::Normal => {
            debug!(namespace = set.namespace, statefulset = set.name, claim, reason = %note.reason, "{}", note.text)
        }
        Severity::Warning => {
            debug!(namespace = set.namespace, statefulset = set.name, claim, reason = %note.reason, attention = true, "{}", note.text)
        }
    }
}

/// The decision about each template, and the sizes of its PVCs.
pub(super) fn measured(context: &Context, workload: &Workload, templates: &[Template<'_>]) {
    templates.iter().for_each(|template| measured_template(context, workload, template));
}

fn measured_template(context: &Context, workload: &Workload, template: &Template<'_>) {
    let (metrics, set, name) = (&context.telemetry.metrics, &workload.set.name, &template.settings.name);
    let reason = match template.decision.verdict {
        Verdict::Refuse(reason) => Some(reason),
        Verdict::Keep | Verdict::Grow { .. } | Verdict::Recommend { .. } => {
            template.decision.notes.first().map(|note| note.reason)
        }
    };
    metrics.decided(set, name, template.decision.verdict.as_str(), reason);
    if let Some(size) = workload.set.templates.iter().find(|known| known.name == *name).and_then(|known| known.size) {
        metrics.template_requested(set, name, size);
    }
    for claim in &template.claims {
        metrics.claim_requested(Volume { set, template: name, ordinal: claim.ordinal }, claim.requested);
    }
}

/// The longest of the last expansions in a StorageClass.
pub(super) fn reacted(context: &Context, class: &str, reaction: Option<Longest>) {
    if let Some(reaction) = reaction {
        context.telemetry.metrics.reaction(class, reaction.time, reaction.of);
    }
}

/// A PVC whose expansion is done.
pub(super) fn arrived(context: &Context, workload: &Workload, arrival: &Arrival<'_>, now: Timestamp) {
    let Arrival { claim, from, to, took, is_exact, trigger } = *arrival;
    let within = if is_exact { format!(" in {}", brief(took)) } else { String::new() };
    let text = format!("expanded PVC {} and its filesystem from {from} to {to}{within}", claim.name);
    of_claim(context, workload, claim, &Note::new(Reason::ClaimExpanded, to, text).about(&claim.name), now);
    let set = &workload.set.name;
    info!(namespace = set.namespace, statefulset = set.name, claim = %claim.name, %from, %to, ?took, "PVC expanded");
    context.telemetry.metrics.resized(set, &claim.template, trigger.as_str(), "expanded");
    context.telemetry.metrics.resize_took("expand", took);
}
