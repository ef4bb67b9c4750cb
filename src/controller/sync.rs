//! The update of the templates: a recreation that is in flight, or one that is to begin.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::context::Context;
use super::deferral::{About, HeldBack};
use super::limit::Admission;
use super::pass::Pass;
use super::recreate::{self, Advance};
use super::repetition::Again;
use super::report;
use super::requeue::{self, Next};
use crate::api::bytes::Bytes;
use crate::api::names::TemplateName;
use crate::api::reasons::Note;
use crate::cluster::clock;
use crate::cluster::observe::ObserveError;
use crate::recreate::concurrency::Flight;
use crate::recreate::observed::Intent;
use crate::recreate::outcome::Report;
use crate::recreate::phase::{Ending, Phase};
use crate::workload::snapshot::{Workload, has_protected_retained};

/// The caches have what a recreation wrote within this time; if not, the next reconciliation changes nothing either.
const CACHE_DELAY: Duration = Duration::from_millis(500);
/// If a StatefulSet waits longer than this for its recreation, rso reports why.
const LONG_WAIT: Duration = Duration::from_secs(60);
/// A StatefulSet that waits for its recreation is triggered; should that be missed, it asks again after this time.
const LIMIT_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// What an earlier reconciliation began.
#[derive(Clone, Copy)]
pub(super) enum Unfinished {
    /// A recreation. Meanwhile rso expands PVCs, and does nothing else.
    Busy(Next),
    /// Protective owner references, which are removed later.
    Later(Duration),
    /// Nothing.
    Nothing,
}

impl Unfinished {
    pub(super) fn or_none(self) -> Option<Next> {
        match self {
            Self::Busy(next) => Some(next),
            Self::Later(delay) => Some(Next::After(delay)),
            Self::Nothing => None,
        }
    }

    pub(super) fn or_change(self) -> Next {
        self.or_none().unwrap_or(Next::Change)
    }
}

/// Continues a recreation that has begun. It comes before everything else, regardless of the annotations.
pub(super) async fn unfinished(pass: &mut Pass<'_>) -> Result<Unfinished, ObserveError> {
    let (context, name, now) = (pass.context, pass.name, pass.now);
    let set = context.cache.set(name);
    let marked = set.as_ref().is_some_and(|set| set.marked);
    let journals = context.cache.journals_of(name);
    if !marked && journals.is_empty() {
        return Ok(Unfinished::Nothing);
    }
    // A protective owner reference blocks a StatefulSet, or a Pod, that is to be deleted together with its PVCs.
    let is_blocking = || match &set {
        Some(set) => has_protected_retained(context.cache.as_ref(), set),
        None => context.environment.departures.of(name, clock::since_boot()).is_some(),
    };
    let left = protection_left(&journals, context.environment.rules.protect_for, now);
    if let Some(left) = left.filter(|_| !marked && !is_blocking()) {
        return Ok(Unfinished::Later(left));
    }
    let about = About {
        what: format!("{journals:?}"),
        resource_version: set.as_ref().map(|set| set.resource_version.clone()).unwrap_or_default(),
    };
    // An absent StatefulSet is created again as soon as possible.
    if let Some(left) = pass.memory.stalled.left(&about, now).filter(|_| set.is_some()) {
        return Ok(Unfinished::Busy(Next::After(left)));
    }
    Ok(match advance(pass, None).await? {
        Advance::Rest(Some(delay)) => Unfinished::Later(delay),
        Advance::Rest(None) => Unfinished::Nothing,
        Advance::Refused(note) => {
            let next = refused(pass, note, About { what: "in flight".to_owned(), ..about.clone() });
            pass.memory.stalled.refused(about, now);
            Unfinished::Busy(next)
        }
        // What it waits for is watched, except the revisions.
        Advance::Waiting(delay) if set.is_some() => {
            let delay = delay.max(requeue::spread(pass.memory.stalled.refused(about, now), name));
            Unfinished::Busy(Next::After(delay))
        }
        Advance::Waiting(delay) => Unfinished::Busy(Next::After(delay)),
        Advance::Ended(report) => {
            ended(pass, &report);
            Unfinished::Busy(Next::After(CACHE_DELAY))
        }
        Advance::NotLeading => Unfinished::Busy(Next::Change),
    })
}

/// Remembers how a recreation ended: one that was rolled back is not begun again at once.
fn ended(pass: &mut Pass<'_>, report: &Report) {
    let (memory, now) = (&mut *pass.memory, pass.now);
    pass.context.memories.recreated(pass.name, report, now);
    memory.taken_back = match report.ending {
        Ending::Undone => Some(HeldBack::again(memory.taken_back.as_ref(), now)),
        Ending::Landed | Ending::PutBack | Ending::Superseded | Ending::Deleted | Ending::NamespaceGone => None,
    };
    memory.stalled.done();
}

/// How long the protective owner references still stay, if nothing else is in flight. From the cache: no request.
fn protection_left(journals: &[Option<Flight>], protect_for: Duration, now: Timestamp) -> Option<Duration> {
    let mut longest = Duration::ZERO;
    for journal in journals {
        let flight = journal.as_ref().filter(|flight| flight.phase == Phase::Guarded)?;
        let age = Duration::try_from(now.duration_since(flight.since)).unwrap_or_default();
        longest = longest.max(protect_for.saturating_sub(age));
    }
    (!longest.is_zero()).then_some(longest)
}

/// Executes the recreation as far as it goes now, and reports it.
async fn advance(pass: &Pass<'_>, intent: Option<&Intent>) -> Result<Advance, ObserveError> {
    let context = pass.context;
    let advanced = recreate::advance(&context.environment, &context.leadership, pass.name, intent).await?;
    report::advanced(context, pass.name, &advanced, pass.now);
    Ok(advanced.result)
}

/// Updates the templates to the size of their PVCs.
pub(super) async fn update(
    pass: &mut Pass<'_>,
    workload: &Workload,
    targets: BTreeMap<TemplateName, Bytes>,
) -> Result<Next, ObserveError> {
    let (context, name, now) = (pass.context, pass.name, pass.now);
    let about = About {
        what: format!("{} {targets:?} {:?}", workload.set.uid, workload.settings.allow_owner),
        resource_version: workload.set.resource_version.clone(),
    };
    if let Some(left) = pass.memory.deferral.left(&about, now) {
        return Ok(Next::After(left));
    }
    if let Some(left) = pass.memory.taken_back.as_ref().and_then(|held| held.left(now)) {
        return Ok(Next::After(left));
    }
    if let Some(again) = context.memories.forbids(&targets, workload, now) {
        report::note(context, name, &again.note(), now);
        return Ok(match again {
            Again::Never => Next::Change,
            Again::After(left) => Next::After(left),
        });
    }
    let _permit =
        match context.recreations.ask(name, &context.cache.flights(), context.environment.rules.concurrent, now) {
            Admission::Granted(ticket) => ticket,
            Admission::Waits { since } => {
                if now.duration_since(since).unsigned_abs() > LONG_WAIT {
                    report::note(context, name, &waits(context), now);
                }
                return Ok(Next::After(LIMIT_RETRY_INTERVAL));
            }
        };
    let intent = Intent {
        set: name.clone(),
        uid: Some(workload.set.uid.clone()),
        reason: reason(&targets),
        targets,
        allow_owner: workload.settings.allow_owner.clone(),
    };
    Ok(match advance(pass, Some(&intent)).await? {
        Advance::Ended(report) => {
            ended(pass, &report);
            pass.memory.deferral.done();
            Next::After(CACHE_DELAY)
        }
        Advance::Rest(_) => {
            pass.memory.deferral.done();
            Next::After(CACHE_DELAY)
        }
        Advance::Refused(note) => refused(pass, note, about),
        Advance::Waiting(delay) => Next::After(delay),
        Advance::NotLeading => Next::Change,
    })
}

fn refused(pass: &mut Pass<'_>, note: Note, about: About) -> Next {
    if pass.memory.standing.is_told(None, &note, pass.now) {
        report::note(pass.context, pass.name, &note, pass.now);
    }
    Next::After(requeue::spread(pass.memory.deferral.refused(about, pass.now), pass.name))
}

fn waits(context: &Context) -> Note {
    let text = format!(
        "waiting: other StatefulSets are being recreated, one at a time in a namespace, {} in the cluster (--max-recreates). rso \
         updates the template afterwards, and expands the PVCs meanwhile",
        context.environment.rules.concurrent
    );
    Note::deferred("busy", text)
}

fn reason(targets: &BTreeMap<TemplateName, Bytes>) -> String {
    let sizes: Vec<_> = targets.iter().map(|(template, size)| format!("{template} to {size}")).collect();
    format!("raise {}", sizes.join(", "))
}
