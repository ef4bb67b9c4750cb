//! One reconciliation of one StatefulSet, as a table of contents: observe → measure → decide → plan → act, and at one
//! exit, report.
//!
//! It makes at most one write outside of a recreation; the change that the write causes triggers the next
//! reconciliation. Nothing is carried from one to the next except [`Memory`], which may be lost at any time.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::context::Context;
use super::expand::{expand, held_back};
use super::measure;
use super::memory::{Growing, Memory};
use super::pass::Pass;
use super::report::{self, Arrival};
use super::requeue::{self, Next};
use super::sync::{self, Unfinished, unfinished};
use crate::api::names::{ClaimName, SetName};
use crate::api::requested::Remaining;
use crate::cluster::claims::{OrLess, Wanted};
use crate::cluster::clock;
use crate::cluster::observe::ObserveError;
use crate::cluster::requests::{self, Shortened};
use crate::policy::claim::refusal;
use crate::policy::decide::{Trigger, decide};
use crate::policy::settings::TemplateSettings;
use crate::policy::usage::Reading;
use crate::workload::claims::Rescued;
use crate::workload::group::VolumeGroup;
use crate::workload::plan::{self, Plan, Step, Template};
use crate::workload::snapshot::Workload;
use crate::workload::statefulset::StatefulSetView;

/// Reconciles one StatefulSet and returns the requeue delay.
pub async fn reconcile(context: &Context, name: &SetName) -> Option<Duration> {
    let began = clock::since_boot();
    let remembered = context.memories.take(name);
    let is_known = remembered.is_some();
    let mut memory = remembered.unwrap_or_default();
    let result = run(&mut Pass { context, name, memory: &mut memory, now: clock::now() }).await;
    let next = next(&result, &mut memory, name);
    report::ended(context, name, &result, next, clock::since_boot().saturating_sub(began));
    match next {
        None if is_known => context.forget(name),
        None => {}
        Some(_) => context.memories.keep(name.clone(), memory),
    }
    next.and_then(Next::delay)
}

/// When the StatefulSet is reconciled again; `None` if rso does not manage it.
fn next(result: &Result<Option<Next>, ObserveError>, memory: &mut Memory, name: &SetName) -> Option<Next> {
    match result {
        Ok(next) => {
            memory.errors = 0;
            *next
        }
        Err(error) => {
            memory.errors = memory.errors.saturating_add(1);
            Some(Next::After(requeue::after_error(error, memory.errors, name)))
        }
    }
}

/// `None`: rso does not manage the StatefulSet.
async fn run(pass: &mut Pass<'_>) -> Result<Option<Next>, ObserveError> {
    let (context, name, now) = (pass.context, pass.name, pass.now);
    let unfinished = unfinished(pass).await?; // client, if a recreation is in flight
    let Some(set) = context.cache.set(name).filter(|set| set.is_managed() && !set.deleting) else {
        return Ok(unfinished.or_none());
    };
    let mut workload = snapshot(context, set, now); // cache
    report::problems(context, &workload, now);
    report::absorbed(context, &workload, now);
    if workload.settings.paused {
        context.measuring.forget(name);
        return Ok(Some(unfinished.or_change()));
    }
    let readings = measure::readings(context, &workload, now); // what is known; measured apart
    measure::evidence(context, &mut workload, now); // what is known of the others
    remember(pass, &workload);
    let templates = decided(pass, &workload, &readings); // pure
    let plan = planned(pass, &templates); // pure
    report::planned(context, &workload, &templates, &plan, now);
    report::ended_claims(context, name, &pass.memory.ended_claims(&workload));
    report::measured(context, &workload, &templates);
    arrivals(pass, &workload).iter().for_each(|arrival| report::arrived(context, &workload, arrival, now));
    if matches!(unfinished, Unfinished::Busy(_)) && !matches!(plan.step, Step::Grow { .. }) {
        return Ok(Some(unfinished.or_change()));
    }
    let next = act(pass, &workload, plan).await?; // client, one write or one recreation
    Ok(Some(Next::soonest([next, unfinished.or_change(), held_back(pass)])))
}

/// Reads what belongs to a StatefulSet, with the expansions that this leader remembers: an annotation can have been removed.
fn snapshot(context: &Context, set: StatefulSetView, now: Timestamp) -> Workload {
    let mut workload = Workload::read(context.cache.as_ref(), set, &context.limits);
    for claim in workload.claims_mut() {
        if let Some(grown) = context.memories.grown(&claim.uid) {
            claim.remember_growth(grown.at, grown.steps, now);
        }
    }
    workload
}

/// Remembers the sizes that a driver refused, and the PVCs that are being expanded.
fn remember(pass: &mut Pass<'_>, workload: &Workload) {
    let (memory, now) = (&mut *pass.memory, pass.now);
    memory.held_back.retain(|name, held| held.until > now || workload.claims().any(|claim| claim.name == *name));
    for claim in workload.claims() {
        match refusal(claim, memory.refused.get(&claim.name), now) {
            Some(refused) => memory.refused.insert(claim.name.clone(), refused),
            None => memory.refused.remove(&claim.name),
        };
        if let Some(from) = claim.capacity.filter(|_| !claim.is_done()) {
            let since = claim.grown_at(now).unwrap_or(now);
            let growing = || Growing { from, since, trigger: Trigger::Siblings, is_ours: false };
            memory.growing.entry(claim.name.clone()).or_insert_with(growing);
        }
    }
}

fn decided<'a>(pass: &Pass<'_>, workload: &'a Workload, readings: &BTreeMap<ClaimName, Reading>) -> Vec<Template<'a>> {
    let (context, now) = (pass.context, pass.now);
    let decided = |(group, settings): (&'a VolumeGroup, &'a TemplateSettings)| {
        let driver = measure::driver(context, group);
        let claims = group.claims.clone();
        let decision = decide(settings, &driver, group.template.size?, &claims, readings, now);
        // Retained PVCs are worth their walk only if something is about to change.
        let retained = match decision.template {
            Some(_) => VolumeGroup::retained(context.cache.as_ref(), &workload.set, &group.template),
            None => Vec::new(),
        };
        Some(Template { settings, driver, decision, claims, retained })
    };
    workload.configured().filter_map(decided).collect()
}

/// The plan, with those Event messages that are due.
fn planned(pass: &mut Pass<'_>, templates: &[Template<'_>]) -> Plan {
    let (memory, now) = (&mut *pass.memory, pass.now);
    let is_held = |claim: &ClaimName| memory.held_back.get(claim).is_some_and(|held| held.until > now);
    let mut plan = plan::plan(templates, &memory.refused, is_held, now);
    plan.of_the_set.retain(|note| memory.standing.is_told(None, note, now));
    plan.of_claims.retain(|(name, note)| memory.standing.is_told(Some(name), note, now));
    plan
}

/// The PVCs whose expansion is done, and forgets that they were being expanded.
fn arrivals<'a>(pass: &mut Pass<'_>, workload: &'a Workload) -> Vec<Arrival<'a>> {
    let mut arrivals = Vec::new();
    for claim in workload.claims().filter(|claim| claim.is_done()) {
        let to = claim.capacity.unwrap_or(claim.requested);
        let Some(growing) = pass.memory.growing.remove(&claim.name) else { continue };
        if to > growing.from {
            let took = Duration::try_from(pass.now.duration_since(growing.since)).unwrap_or_default();
            if let Some(class) = claim.class.as_ref().filter(|_| growing.is_ours) {
                let reaction = pass.context.memories.reacted(&class.name, took);
                report::reacted(pass.context, &class.name, reaction);
            }
            arrivals.push(Arrival {
                claim,
                from: growing.from,
                to,
                took,
                is_exact: growing.is_ours,
                trigger: growing.trigger,
            });
        }
    }
    arrivals
}

async fn act(pass: &mut Pass<'_>, workload: &Workload, plan: Plan) -> Result<Next, ObserveError> {
    match plan.step {
        Step::Rest => tidy(pass.context, workload).await,
        Step::Grow { claim, to, trigger, is_full, rescue } => {
            let or_less = if is_full { OrLess::Yes } else { OrLess::No };
            let rescued = match rescue {
                Some(steps) => Rescued::Steps(steps),
                None if trigger == Trigger::Usage && is_full => Rescued::Over,
                None => Rescued::Unchanged,
            };
            expand(pass, workload, &claim, Wanted { size: to, or_less, rescued }, trigger).await
        }
        Step::Sync(targets) => sync::update(pass, workload, targets).await,
    }
}

/// Removes fulfilled requests from the `requested` annotation.
async fn tidy(context: &Context, workload: &Workload) -> Result<Next, ObserveError> {
    let Remaining::Part(left) = workload.set.remaining_requests() else { return Ok(Next::Change) };
    Ok(match requests::shorten(&context.client, &context.leadership, &workload.set, left.as_deref()).await? {
        Shortened::Settled => Next::Change,
        // Not reported: the requests are fulfilled, and the annotation only stays for now.
        Shortened::Changed => Next::After(Duration::from_secs(600)),
        // The watch reports the newer version, but it may have done so before.
        Shortened::Conflict => Next::After(Duration::from_secs(1)),
    })
}
