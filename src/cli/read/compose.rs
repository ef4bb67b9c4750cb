//! What does all that was read of a set amount to? The same pure decisions as the operator's, put into what is shown.

mod news;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, Ordinal, pod_name};
use crate::api::reasons::{Note, Reason, Severity};
use crate::cli::show::view::{
    self, ClaimStatus, EventStatus, Growth, Rule, SetStatus, State, TemplateStatus, UsageStatus,
};
use crate::cluster::sets::{SetView, Template};
use crate::policy::claim::{self, Claim, ClaimStep, Phase, Resize};
use crate::policy::decide::{Decision, Verdict, decide};
use crate::policy::drivers::{Driver, Drivers};
use crate::policy::settings::{Auto, Increase, Limits, Settings, TemplateSettings, concerns_us};
use crate::policy::usage::{Reading, Source, Unknown};

/// What was read of one set.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its volumes.
    pub(crate) set: SetView,
    /// `status.readyReplicas`.
    pub(crate) ready: u32,
    /// The claims of its replicas.
    pub(crate) claims: Vec<Claim>,
    /// How full they are.
    pub(crate) readings: BTreeMap<ClaimName, Reading>,
    /// The Events about it and its claims.
    pub(crate) events: Vec<EventStatus>,
    /// Whether this person may not ask how full they are; the operator may, so that nothing is wrong.
    pub(crate) blind: bool,
}

impl Seen {
    /// Whether the operator cares for the set.
    pub(crate) fn is_managed(set: &SetView) -> bool {
        concerns_us(&set.annotations, &set.labels)
    }

    /// The settings of the set, and what is wrong with its annotations. The administrator's limits are flags of the
    /// operator, which a person's rights do not show.
    pub(crate) fn settings(set: &SetView) -> (Settings, Vec<Note>) {
        Settings::read(&set.annotations, &set.labels, &set.template_names(), &Limits::default())
    }

    /// The claims of one template.
    pub(crate) fn claims_of(&self, template: &Template) -> Vec<Claim> {
        self.claims.iter().filter(|claim| claim.template == template.name).cloned().collect()
    }
}

impl Seen {
    /// Whether this person may not ask, and nothing else is known to keep the volumes from being measured.
    fn is_unknown_for_want_of_rights(&self, template: &Template) -> bool {
        let fails =
            |claim: &Claim| matches!(self.readings.get(&claim.name), Some(Reading::Unknown(Unknown::NotRunning(_))));
        self.blind && !self.claims_of(template).iter().any(fails)
    }
}

/// The driver of the claims; an unknown class is taken for a well-behaved one.
pub(crate) fn driver(claims: &[Claim]) -> Driver {
    let class = claims.iter().find_map(|claim| claim.class.as_ref());
    class.map(|class| Drivers::default().get(&class.provisioner)).unwrap_or_default()
}

/// Puts it together.
pub(crate) fn compose(seen: &Seen, now: Timestamp) -> SetStatus {
    let set = &seen.set;
    let (settings, mut notes) = Seen::settings(set);
    notes.extend(owner_note(set, &settings));
    let templates = set.templates.iter().enumerate();
    let mut templates: Vec<TemplateStatus> = templates
        .filter_map(|(index, template)| {
            Some(compose_template(seen, index, template, settings.templates.get(&template.name)?, now))
        })
        .collect();
    for template in &mut templates {
        let refusals = news::refusals(&seen.events, now);
        if refusals.iter().any(|event| template.claims.iter().any(|claim| news::is_about(event, &claim.name))) {
            template.notes.retain(|note| !news::is_announcement(note.reason));
        }
    }
    let told: Vec<Note> =
        templates.iter().flat_map(|template| template.notes.iter().cloned()).chain(notes.clone()).collect();
    SetStatus {
        namespace: set.name.namespace.clone(),
        name: set.name.name.clone(),
        replicas: set.ordinals.end.saturating_sub(set.ordinals.start),
        ready_replicas: seen.ready,
        managed: Seen::is_managed(set),
        phase: phase(set, &settings),
        templates,
        notes,
        events: news::news(&seen.events, &told, now),
    }
}

fn phase(set: &SetView, settings: &Settings) -> view::Phase {
    match () {
        () if set.marked => view::Phase::SyncingTemplate,
        () if set.deleting => view::Phase::Deleting,
        () if settings.paused => view::Phase::Paused,
        () => view::Phase::Settled,
    }
}

/// A set that another controller owns: its claims grow, its template does not.
fn owner_note(set: &SetView, settings: &Settings) -> Option<Note> {
    let (kind, name) = set.owner.as_ref().filter(|_| Seen::is_managed(set))?;
    (settings.allow_owner.as_ref() != Some(kind)).then(|| {
        let text = format!(
            "{kind} {name} owns the set: its claims grow, but its template stays. Change the size in the {kind}, or set \
             the annotation allow-owner: {kind}"
        );
        Note::new(Reason::TemplateSyncBlocked, text)
    })
}

fn compose_template(
    seen: &Seen,
    index: usize,
    template: &Template,
    settings: &TemplateSettings,
    now: Timestamp,
) -> TemplateStatus {
    let claims = seen.claims_of(template);
    let driver = driver(&claims);
    let size = template.size.unwrap_or_default();
    let decision = decide(settings, &driver, size, &claims, &seen.readings, now);
    let claim = |(ordinal, name): (Ordinal, ClaimName)| {
        let claim = claims.iter().find(|claim| claim.name == name);
        claim_status(seen, ordinal, name, claim, &driver, now)
    };
    TemplateStatus {
        name: template.name.to_string(),
        index,
        size,
        wanted: wanted(&decision, size),
        growth: growth(settings),
        notes: notes(&decision, &claims, &driver, now)
            .into_iter()
            .filter(|note| note.reason != Reason::UsageUnknown || !seen.is_unknown_for_want_of_rights(template))
            .collect(),
        claims: seen.set.claims_of(&template.name).map(claim).collect(),
    }
}

/// The size that the template or its claims are to have, when that is more than the template has.
fn wanted(decision: &Decision, size: Bytes) -> Option<Bytes> {
    let to = match decision.verdict {
        Verdict::Grow { to, .. } => Some(to),
        Verdict::Keep | Verdict::Recommend { .. } | Verdict::Refuse(_) => None,
    };
    to.max(decision.template).filter(|wanted| *wanted > size)
}

fn growth(settings: &TemplateSettings) -> Growth {
    let increase = match settings.increase {
        Increase::Share(share) => share.to_string(),
        Increase::Size(size) => size.to_string(),
    };
    let rule = Rule { threshold: settings.threshold, increase, max_size: settings.max_size };
    match settings.auto {
        Auto::Off => Growth::OnRequest,
        Auto::Recommend => Growth::Recommend(rule),
        Auto::On => Growth::ByUsage(rule),
    }
}

/// What the decision says, then what stands in the way of single claims; each text once.
fn notes(decision: &Decision, claims: &[Claim], driver: &Driver, now: Timestamp) -> Vec<Note> {
    let mut notes = decision.notes.clone();
    let target = match decision.verdict {
        Verdict::Grow { to, .. } => to,
        Verdict::Keep | Verdict::Recommend { .. } | Verdict::Refuse(_) => Bytes(0),
    };
    for claim in claims {
        let note = match claim::next(claim, target, None, driver, now) {
            ClaimStep::Wait(note) | ClaimStep::Blocked(note) => note,
            // What is on its way is told by the columns.
            ClaimStep::Settled | ClaimStep::Patch { .. } => continue,
        };
        let by_column = note.reason.severity() == Severity::Normal;
        if !by_column && !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

fn claim_status(
    seen: &Seen,
    ordinal: Ordinal,
    name: ClaimName,
    claim: Option<&Claim>,
    driver: &Driver,
    now: Timestamp,
) -> ClaimStatus {
    let reading = claim.and_then(|claim| Some((claim, seen.readings.get(&claim.name)?)));
    let reading = reading
        .map(|(claim, reading)| reading.current(claim, now).map(|(usage, _)| usage).map_err(|why| why.told(claim)));
    let (usage, unknown) = match reading {
        Some(Ok(usage)) => (Some(usage_status(usage)), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    ClaimStatus {
        pod: pod_name(&seen.set.name, ordinal),
        class: claim.and_then(|claim| Some(claim.class.as_ref()?.name.clone())),
        requested: claim.map(|claim| claim.requested),
        capacity: claim.and_then(|claim| claim.capacity),
        state: claim.map_or(State::Missing, |claim| state(claim, driver)),
        usage,
        unknown,
        resized_at: claim.and_then(|claim| claim.resized_at),
        name: name.to_string(),
    }
}

fn usage_status(usage: &crate::policy::usage::Usage) -> UsageStatus {
    UsageStatus {
        used: usage.used,
        available: usage.available,
        total: usage.total,
        full: usage.fullness().unwrap_or(crate::api::bytes::Percent::whole(100)),
        inodes_full: usage.inode_fullness(),
        source: match usage.source {
            Source::Agent => "agent",
            Source::Kubelet => "kubelet",
        },
        at: usage.at,
    }
}

/// Where a claim is.
pub(crate) fn state(claim: &Claim, driver: &Driver) -> State {
    match claim.phase {
        _ if claim.deleting => return State::Deleting,
        Phase::Pending => return State::Pending,
        Phase::Lost => return State::Lost,
        Phase::Bound => {}
    }
    match claim.resize {
        Resize::ControllerInfeasible | Resize::NodeInfeasible => State::Infeasible,
        _ if claim.is_done() => State::Settled,
        _ if driver.growth == crate::policy::drivers::Growth::Offline => State::WaitingForPod,
        Resize::None | Resize::ControllerInProgress => State::Growing,
        Resize::NodePending | Resize::NodeInProgress | Resize::FileSystemResizePending => State::GrowingFilesystem,
    }
}

/// An Event of the operator; what others say of a set is left to `kubectl describe`.
pub(crate) fn event(event: &Value) -> Option<EventStatus> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let reason = text("/reason")?;
    Reason::ALL.iter().find(|known| known.as_str() == reason)?;
    let times = ["/series/lastObservedTime", "/eventTime", "/deprecatedLastTimestamp", "/metadata/creationTimestamp"];
    Some(EventStatus {
        at: times.into_iter().find_map(|pointer| text(pointer)?.parse().ok())?,
        reason: reason.to_owned(),
        warning: text("/type") == Some("Warning"),
        note: text("/note").unwrap_or_default().to_owned(),
        claim: text("/regarding/name")
            .filter(|_| text("/regarding/kind") == Some("PersistentVolumeClaim"))
            .map(Into::into),
    })
}

#[cfg(test)]
mod tests;
