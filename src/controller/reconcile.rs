//! One pass over one set, as a table of contents: look → measure → decide → plan → act, and at one exit, report.
//!
//! A pass makes at most one write outside of a recreate; the change that the write causes begins the next pass. Nothing is
//! carried from one pass to the next but [`Memory`], which may be lost at any time.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::context::Context;
use super::measure;
use super::memory::{About, Growing, HeldBack, Memory};
use super::recreate::{self, Advance};
use super::report;
use super::retry;
use super::turns::Asked;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName};
use crate::api::reasons::Note;
use crate::api::requested::Remaining;
use crate::cluster::claims::{self, Growth, OrLess};
use crate::cluster::clock;
use crate::cluster::observe::ObserveError;
use crate::cluster::requests::{self, Shortened};
use crate::policy::claim::{Claim, refusal};
use crate::policy::decide::{Trigger, decide};
use crate::policy::settings::TemplateSettings;
use crate::policy::usage::Reading;
use crate::recreate::turn::Flight;
use crate::recreate::{Ending, Intent, Phase, Report};
use crate::workload::group::VolumeGroup;
use crate::workload::plan::{self, Plan, Step, Template};
use crate::workload::snapshot::{Workload, has_protected_retained};
use crate::workload::statefulset::SetView;

/// The caches have what a recreate made within this; if not, the next look changes nothing either.
const SETTLE: Duration = Duration::from_millis(500);

/// Who waits longer than this for a turn is told why.
const LONG_WAIT: Duration = Duration::from_secs(60);
/// Who waits for a turn is called; should that be missed, it asks again after this.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// When the set is to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something changes.
    Change,
    /// After this, or when something changes.
    After(Duration),
}

/// Passes over a set and reports how it went. Answers when to come back.
pub async fn reconcile(context: &Context, name: &SetName) -> Option<Duration> {
    let began = clock::since_boot();
    let remembered = context.memories.take(name);
    let is_known = remembered.is_some();
    let mut memory = remembered.unwrap_or_default();
    let errors = memory.errors;
    let ended = pass(context, name, &mut memory, clock::now()).await;
    if ended.is_ok() && memory.errors == errors {
        memory.errors = 0;
    }
    let next = report::ended(context, name, &mut memory, ended, clock::since_boot().saturating_sub(began));
    match next {
        None if is_known => context.forget(name),
        None => {}
        Some(_) => context.memories.keep(name.clone(), memory),
    }
    match next {
        Some(Next::After(delay)) => Some(delay),
        Some(Next::Change) | None => None,
    }
}

/// `None`: the set is none of ours.
async fn pass(
    context: &Context,
    name: &SetName,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Option<Next>, ObserveError> {
    let unfinished = unfinished(context, name, memory, now).await?; // client, if a recreate is in flight
    let Some(set) = context.cache.set(name).filter(|set| set.is_managed() && !set.deleting) else {
        return Ok(unfinished.or_none());
    };
    let workload = snapshot(context, set, now); // cache
    report::problems(context, &workload, now);
    report::absorbed(context, &workload, now);
    if workload.settings.paused {
        context.measuring.forget(name);
        return Ok(Some(unfinished.or_change()));
    }
    let readings = measure::readings(context, &workload, now); // what is known; measured apart
    remember(memory, &workload, now);
    let templates = decided(context, &workload, &readings, now); // pure
    let is_held = |claim: &ClaimName| memory.held_back.get(claim).is_some_and(|held| held.until > now);
    let plan = plan::plan(&templates, &memory.refused, is_held, now); // pure
    report::planned(context, &workload, &templates, &plan, memory, now);
    if matches!(unfinished, Unfinished::Busy(_)) && !matches!(plan.step, Step::Grow { .. }) {
        return Ok(Some(unfinished.or_change()));
    }
    let next = act(context, &workload, plan, memory, now).await?; // client, one write or one recreate
    let nexts = [next, unfinished.or_change(), held_back(memory, now)];
    Ok(Some(soonest(nexts)))
}

/// Reads what belongs to a StatefulSet, with the expansions that this leader remembers: an annotation can have been removed.
fn snapshot(context: &Context, set: SetView, now: Timestamp) -> Workload {
    let mut workload = Workload::read(context.cache.as_ref(), set, &context.limits);
    for claim in workload.claims_mut() {
        if let Some(at) = context.memories.grown_at(&claim.uid) {
            claim.remember_growth(at, now);
        }
    }
    workload
}

/// What is in flight from before.
#[derive(Clone, Copy)]
enum Unfinished {
    /// A recreate. Meanwhile claims grow, and nothing else is done.
    Busy(Next),
    /// Guards to drop, later.
    Later(Duration),
    /// Nothing.
    Nothing,
}

impl Unfinished {
    fn or_none(self) -> Option<Next> {
        match self {
            Self::Busy(next) => Some(next),
            Self::Later(delay) => Some(Next::After(delay)),
            Self::Nothing => None,
        }
    }

    fn or_change(self) -> Next {
        self.or_none().unwrap_or(Next::Change)
    }
}

/// A recreate that has begun comes before everything else, whatever the annotations say now.
async fn unfinished(
    context: &Context,
    name: &SetName,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Unfinished, ObserveError> {
    let set = context.cache.set(name);
    let marked = set.as_ref().is_some_and(|set| set.marked);
    let journals = context.cache.journals_of(name);
    if !marked && journals.is_empty() {
        return Ok(Unfinished::Nothing);
    }
    // Guards are in the way of a set, or a pod, that is to be deleted together with its claims.
    let is_in_the_way = || match &set {
        Some(set) => has_protected_retained(context.cache.as_ref(), set),
        None => context.ground.departures.of(name, clock::since_boot()).is_some(),
    };
    let left = guards_left(&journals, context.ground.rules.guard_for, now);
    if let Some(left) = left.filter(|_| !marked && !is_in_the_way()) {
        return Ok(Unfinished::Later(left));
    }
    let about = About {
        what: format!("{journals:?}"),
        resource_version: set.as_ref().map(|set| set.resource_version.clone()).unwrap_or_default(),
    };
    // A set that is absent is brought back as soon as that can be done.
    if let Some(left) = memory.stalled.left(&about, now).filter(|_| set.is_some()) {
        return Ok(Unfinished::Busy(Next::After(left)));
    }
    Ok(match advance(context, name, None, now).await? {
        Advance::Rest(Some(delay)) => Unfinished::Later(delay),
        Advance::Rest(None) => Unfinished::Nothing,
        Advance::Refused(note) => {
            let next =
                refused(context, name, memory, note, About { what: "in flight".to_owned(), ..about.clone() }, now);
            memory.stalled.refused(about, now);
            Unfinished::Busy(next)
        }
        // What it waits for is watched, all but the revisions.
        Advance::Waiting(delay) if set.is_some() => {
            let delay = delay.max(retry::spread(memory.stalled.refused(about, now), name));
            Unfinished::Busy(Next::After(delay))
        }
        Advance::Waiting(delay) => Unfinished::Busy(Next::After(delay)),
        // What is there now comes with the watch.
        Advance::Ended(report) => {
            ended(context, name, memory, &report, now);
            Unfinished::Busy(Next::After(SETTLE))
        }
        Advance::NotLeading => Unfinished::Busy(Next::Change),
    })
}

/// Remembers how a recreate ended: one that was taken back is not begun again at once.
fn ended(context: &Context, name: &SetName, memory: &mut Memory, report: &Report, now: Timestamp) {
    context.memories.recreated(name, report, now);
    memory.taken_back = match report.ending {
        Ending::Undone => Some(HeldBack::again(memory.taken_back.as_ref(), now)),
        Ending::Landed | Ending::PutBack | Ending::Superseded | Ending::Deleted | Ending::NamespaceGone => None,
    };
    memory.stalled.done();
}

/// How long the guards of claims still stay, when nothing else is in flight. As the cache knows it: no request.
fn guards_left(journals: &[Option<Flight>], guard_for: Duration, now: Timestamp) -> Option<Duration> {
    let mut longest = Duration::ZERO;
    for journal in journals {
        let flight = journal.as_ref().filter(|flight| flight.phase == Phase::Guarded)?;
        let age = Duration::try_from(now.duration_since(flight.since)).unwrap_or_default();
        longest = longest.max(guard_for.saturating_sub(age));
    }
    (!longest.is_zero()).then_some(longest)
}

/// Drives the recreate of a set as far as it goes now, and tells what is to be told.
async fn advance(
    context: &Context,
    name: &SetName,
    intent: Option<&Intent>,
    now: Timestamp,
) -> Result<Advance, ObserveError> {
    let advanced = recreate::advance(&context.ground, &context.leadership, name, intent).await?;
    report::advanced(context, name, &advanced, now);
    Ok(advanced.result)
}

/// What the last look taught: sizes that a driver refused, claims that are on their way.
fn remember(memory: &mut Memory, workload: &Workload, now: Timestamp) {
    memory.held_back.retain(|name, held| held.until > now || workload.claims().any(|claim| claim.name == *name));
    for claim in workload.claims() {
        match refusal(claim, memory.refused.get(&claim.name), now) {
            Some(refused) => memory.refused.insert(claim.name.clone(), refused),
            None => memory.refused.remove(&claim.name),
        };
        if let Some(from) = claim.capacity.filter(|_| !claim.is_done()) {
            let since = claim.grown_at(now).unwrap_or(now);
            let growing = || Growing { template: claim.template.clone(), from, since, trigger: Trigger::Siblings };
            memory.growing.entry(claim.name.clone()).or_insert_with(growing);
        }
    }
}

fn decided<'a>(
    context: &Context,
    workload: &'a Workload,
    readings: &BTreeMap<ClaimName, Reading>,
    now: Timestamp,
) -> Vec<Template<'a>> {
    let decided = |(group, settings): (&'a VolumeGroup, &'a TemplateSettings)| {
        let driver = group.driver(&context.drivers);
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

async fn act(
    context: &Context,
    workload: &Workload,
    plan: Plan,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Next, ObserveError> {
    match plan.step {
        Step::Rest => tidy(context, workload).await,
        Step::Grow { claim, to, trigger, is_full } => {
            let or_less = if is_full { OrLess::Yes } else { OrLess::No };
            grow(context, workload, &claim, (to, or_less), trigger, memory, now).await
        }
        Step::Sync(targets) => follow(context, workload, targets, memory, now).await,
    }
}

/// Removes fulfilled requests from the `requested` annotation.
async fn tidy(context: &Context, workload: &Workload) -> Result<Next, ObserveError> {
    let Remaining::Part(left) = workload.set.remaining_requests() else { return Ok(Next::Change) };
    Ok(match requests::shorten(&context.client, &context.leadership, &workload.set, left.as_deref()).await? {
        Shortened::Settled => Next::Change,
        // Not worth a word: what was asked for has been done, and the record is only not taken out yet.
        Shortened::Changed => Next::After(Duration::from_secs(600)),
        // The watch tells of the version that was in the way; but it may have done so before.
        Shortened::Conflict => Next::After(Duration::from_secs(1)),
    })
}

async fn grow(
    context: &Context,
    workload: &Workload,
    claim: &Claim,
    wanted: (Bytes, OrLess),
    trigger: Trigger,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Next, ObserveError> {
    let namespace = &workload.set.name.namespace;
    let growth = claims::grow(&context.client, &context.leadership, namespace, claim, wanted, now).await?;
    report::grown(context, workload, claim, wanted.0, trigger, &growth, now);
    Ok(match growth {
        Growth::Committed { .. } => {
            context.memories.grew(claim.uid.clone(), now);
            memory.held_back.remove(&claim.name);
            let from = claim.capacity.unwrap_or(claim.requested);
            let growing = Growing { template: claim.template.clone(), from, since: now, trigger };
            memory.growing.insert(claim.name.clone(), growing);
            // The watch tells of the write; should it be slow, the next pass meets a Conflict and changes nothing.
            Next::After(Duration::from_secs(2))
        }
        Growth::Conflict | Growth::Gone => Next::After(Duration::from_millis(100)),
        Growth::NotLeading => Next::Change,
        Growth::Refused(_) => {
            let held = HeldBack::again(memory.held_back.get(&claim.name), now);
            memory.held_back.insert(claim.name.clone(), held);
            // The others have their turn at once.
            Next::After(Duration::ZERO)
        }
    })
}

/// Lets the templates follow their claims.
async fn follow(
    context: &Context,
    workload: &Workload,
    targets: BTreeMap<TemplateName, Bytes>,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Next, ObserveError> {
    let name = &workload.set.name;
    let about = About {
        what: format!("{} {targets:?} {:?}", workload.set.uid, workload.settings.allow_owner),
        resource_version: workload.set.resource_version.clone(),
    };
    if let Some(left) = memory.deferral.left(&about, now) {
        return Ok(Next::After(left));
    }
    if let Some(left) = memory.taken_back.as_ref().and_then(|held| held.left(now)) {
        return Ok(Next::After(left));
    }
    if let Some(again) = context.memories.forbids(&targets, &workload.set, now) {
        let (note, delay) = report::not_again(&again);
        report::note(context, name, &note, now);
        return Ok(delay);
    }
    let _turn = match context.turns.ask(name, &context.cache.flights(), context.ground.rules.concurrent, now) {
        Asked::Granted(ticket) => ticket,
        Asked::Waits { since } => {
            if now.duration_since(since).unsigned_abs() > LONG_WAIT {
                report::note(context, name, &waits(context), now);
            }
            return Ok(Next::After(ASK_AGAIN));
        }
    };
    let intent = Intent {
        set: name.clone(),
        uid: Some(workload.set.uid.clone()),
        reason: reason(&targets),
        targets,
        allow_owner: workload.settings.allow_owner.clone(),
    };
    Ok(match advance(context, name, Some(&intent), now).await? {
        Advance::Ended(report) => {
            ended(context, name, memory, &report, now);
            memory.deferral.done();
            Next::After(SETTLE)
        }
        Advance::Rest(_) => {
            memory.deferral.done();
            Next::After(SETTLE)
        }
        Advance::Refused(note) => refused(context, name, memory, note, about, now),
        Advance::Waiting(delay) => Next::After(delay),
        Advance::NotLeading => Next::Change,
    })
}

fn refused(context: &Context, name: &SetName, memory: &mut Memory, note: Note, about: About, now: Timestamp) -> Next {
    if memory.standing.is_told(None, &note, now) {
        report::note(context, name, &note, now);
    }
    Next::After(retry::spread(memory.deferral.refused(about, now), name))
}

fn waits(context: &Context) -> Note {
    let text = format!(
        "waiting: other StatefulSets are being recreated, one at a time in a namespace, {} in the cluster (--max-recreates). rso \
         updates the template afterwards, and expands the PVCs meanwhile",
        context.ground.rules.concurrent
    );
    Note::deferred("busy", text)
}

fn reason(targets: &BTreeMap<TemplateName, Bytes>) -> String {
    let sizes: Vec<_> = targets.iter().map(|(template, size)| format!("{template} to {size}")).collect();
    format!("raise {}", sizes.join(", "))
}

/// When a claim whose growth was refused may be tried again.
fn held_back(memory: &Memory, now: Timestamp) -> Next {
    let first = memory.held_back.values().map(|held| held.until).filter(|until| *until > now).min();
    first.map_or(Next::Change, |until| Next::After(Duration::try_from(until.duration_since(now)).unwrap_or_default()))
}

fn soonest<const N: usize>(nexts: [Next; N]) -> Next {
    let delays = nexts.into_iter().filter_map(|next| match next {
        Next::After(delay) => Some(delay),
        Next::Change => None,
    });
    delays.min().map_or(Next::Change, Next::After)
}
