//! What is told of a pass: the one exit to Events, metrics and the log.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::context::Context;
use super::memory::{Again, Growing, Memory};
use super::reconcile::Next;
use super::recreate::{Advance, Advanced};
use super::retry;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName};
use crate::api::reasons::{Note, Reason, Severity};
use crate::api::refusal::{Kind, Refusal};
use crate::api::requested::Remaining;
use crate::cluster::claims::Growth;
use crate::cluster::client::{Address, Class, chain};
use crate::cluster::events::Subject;
use crate::cluster::observe::ObserveError;
use crate::policy::claim::Claim;
use crate::policy::decide::{Trigger, Verdict};
use crate::telemetry::registry::Pass;
use crate::workload::plan::{Plan, Template};
use crate::workload::snapshot::Workload;

/// What was being done, for the `action` of an Event.
const ACTION: &str = "Resize";

/// How a pass ended: counts it, and answers when to come back.
pub(super) fn ended(
    context: &Context,
    set: &SetName,
    memory: &mut Memory,
    ended: Result<Option<Next>, ObserveError>,
    took: Duration,
) -> Option<Next> {
    let metrics = &context.telemetry.metrics;
    let next = match ended {
        Ok(next) => {
            let pass = if matches!(next, Some(Next::After(_))) { Pass::RequeueAfter } else { Pass::Success };
            metrics.passed(pass, took);
            next
        }
        Err(error) => {
            memory.errors = memory.errors.saturating_add(1);
            let delay = retry::spread(retry::delay(class(&error), memory.errors), set);
            metrics.passed(Pass::Error, took);
            warn!(namespace = set.namespace, statefulset = set.name, error = chain(&error), retry_in = ?delay, "pass failed");
            Some(Next::After(delay))
        }
    };
    debug!(namespace = set.namespace, statefulset = set.name, ?next, ?took, "passed");
    next
}

fn class(error: &ObserveError) -> Class {
    match error {
        ObserveError::Read(error) => error.class(),
        ObserveError::Malformed(_) => Class::Permanent,
    }
}

/// What a recreate did, told about the object that is there now.
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

/// Why a recreate that was done before is not begun again, and when to come back.
pub(super) fn not_again(again: &Again) -> (Note, Next) {
    match again {
        Again::Never => (
            Note::blocked(
                "size-reverted",
                "rso recreated the StatefulSet with larger templates, and an admission policy or a controller reverted the \
                 size. rso does not recreate it again until its spec or the requested size changes; raise the size there, or \
                 exempt this StatefulSet",
            ),
            Next::Change,
        ),
        Again::After(left) => (
            Note::blocked(
                "recreated-smaller",
                "another client keeps creating the StatefulSet with the smaller size after rso updated its template. Set the \
                 size in its manifest or in the object that owns it; rso retries later each time",
            ),
            Next::After(*left),
        ),
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

/// What was decided and planned, and which PVCs are expanded meanwhile.
pub(super) fn planned(
    context: &Context,
    workload: &Workload,
    templates: &[Template<'_>],
    plan: &Plan,
    memory: &mut Memory,
    now: Timestamp,
) {
    for note in plan.of_the_set.iter().filter(|note| memory.standing.is_told(None, note, now)) {
        of_set(context, workload, note, now);
    }
    let known = || templates.iter().flat_map(|template| template.claims.iter().chain(&template.retained));
    for (name, note) in plan.of_claims.iter().filter(|(name, note)| memory.standing.is_told(Some(name), note, now)) {
        if let Some(claim) = known().find(|claim| claim.name == *name) {
            of_claim(context, workload, claim, note, now);
        }
    }
    ended_claims(context, workload, memory);
    templates.iter().for_each(|template| measured(context, workload, template));
    for claim in workload.claims().filter(|claim| claim.is_done()) {
        if let Some(growing) = memory.growing.remove(&claim.name) {
            arrived(context, workload, claim, &growing, now);
        }
    }
}

/// Ends the series of PVCs that scaling down took out of the StatefulSet: their last values would remain for ever.
fn ended_claims(context: &Context, workload: &Workload, memory: &mut Memory) {
    let claims = workload.claims().map(|claim| claim.name.clone()).collect();
    let before = std::mem::replace(&mut memory.claims, claims);
    for ended in before.difference(&memory.claims) {
        context.telemetry.metrics.forget_claim(&workload.set.name, ended);
    }
}

/// How an attempt to expand a PVC ended.
pub(super) fn grown(
    context: &Context,
    workload: &Workload,
    claim: &Claim,
    wanted: Bytes,
    trigger: Trigger,
    growth: &Growth,
    now: Timestamp,
) {
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

/// A note about the StatefulSet, by name.
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

/// On the PVC and on its StatefulSet, so that `kubectl describe` of either shows it.
fn of_claim(context: &Context, workload: &Workload, claim: &Claim, note: &Note, now: Timestamp) {
    log(&workload.set.name, Some(&claim.name), note);
    let set = Subject { address: Address::set(&workload.set.name), uid: workload.set.uid.clone() };
    context.recorder.record(&set, ACTION, note, now);
    let address = Address::claim(&workload.set.name.namespace, &claim.name);
    context.recorder.record(&Subject { address, uid: claim.uid.clone() }, ACTION, note, now);
}

/// The API server has refused the wanted size, and accepted a smaller one.
fn less_than_wanted(claim: &Claim, wanted: Bytes, to: Bytes, refusal: &Refusal) -> Note {
    let text = format!(
        "PVC {} is full and needs {wanted}, but the API server refuses that: {}. rso requests {to} instead; {}",
        claim.name,
        refusal.words,
        refusal.advice()
    );
    Note::new(refusal.reason(), format_args!("less: {}", refusal.case()), text).about(&claim.name)
}

/// The API server has refused the larger size.
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

/// The Event is the word for people; the log has it for those who come later.
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

fn measured(context: &Context, workload: &Workload, template: &Template<'_>) {
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
        metrics.claim_requested(set, name, &claim.name, claim.requested);
    }
}

fn arrived(context: &Context, workload: &Workload, claim: &Claim, growing: &Growing, now: Timestamp) {
    let to = claim.capacity.unwrap_or(claim.requested);
    if to <= growing.from {
        return;
    }
    let took = Duration::try_from(now.duration_since(growing.since)).unwrap_or_default();
    let text = format!("expanded PVC {} from {} to {to}, its filesystem too", claim.name, growing.from);
    of_claim(context, workload, claim, &Note::new(Reason::ClaimExpanded, to, text).about(&claim.name), now);
    let set = &workload.set.name;
    info!(namespace = set.namespace, statefulset = set.name, claim = %claim.name, from = %growing.from, %to, ?took, "PVC expanded");
    context.telemetry.metrics.resized(set, &growing.template, growing.trigger.as_str(), "expanded");
    context.telemetry.metrics.resize_took("expand", took);
}
