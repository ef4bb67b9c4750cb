//! The status of a StatefulSet from what was read of it. It uses the same functions as the operator to decide.

mod recent_events;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::reactions::Reactions;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, Ordinal, pod_name};
use crate::api::reasons::{Note, Reason, Severity};
use crate::cli::show::view::{
    self, ClaimStatus, EventStatus, Expansion, Rule, SetStatus, State, TemplateStatus, UsageStatus,
};
use crate::policy::claim::{self, Claim, ClaimStep, Phase, Resize};
use crate::policy::decide::{Decision, Verdict, decide};
use crate::policy::drivers::{Driver, Drivers};
use crate::policy::settings::{Auto, Increase, Settings, TemplateSettings};
use crate::policy::usage::{Reading, Source, Unknown, Usage};
use crate::workload::group::VolumeGroup;
use crate::workload::snapshot::Workload;
use crate::workload::statefulset::StatefulSetView;

/// A rate of one second says nothing about a later time.
const SOON: Duration = Duration::from_secs(3_600);

/// What was read of one StatefulSet.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The StatefulSet and its PVCs. Its settings are without the administrator's limits: those are flags of the
    /// operator, which users cannot read.
    pub(crate) workload: Workload,
    /// `status.readyReplicas`.
    pub(crate) ready: u32,
    /// Their usage.
    pub(crate) readings: BTreeMap<ClaimName, Reading>,
    /// How fast they fill, in bytes per second, as far as that was measured.
    pub(crate) rates: BTreeMap<ClaimName, u64>,
    /// How long expansions take in the StorageClasses of its PVCs, as far as that was measured.
    pub(crate) reactions: Reactions,
    /// The Events about the StatefulSet and its PVCs.
    pub(crate) events: Vec<EventStatus>,
    /// Whether this user lacks a permission to read the usage. The operator has permissions of its own, so an unknown usage
    /// is then not an error.
    pub(crate) usage_denied: bool,
}

impl Snapshot {
    /// Whether the usage is unknown only because this user lacks a permission.
    fn is_only_denied(&self, group: &VolumeGroup) -> bool {
        let fails =
            |claim: &Claim| matches!(self.readings.get(&claim.name), Some(Reading::Unknown(Unknown::NotRunning(_))));
        self.usage_denied && !group.claims.iter().any(fails)
    }
}

/// The status of a StatefulSet.
pub(crate) fn compose(snapshot: &Snapshot, now: Timestamp) -> SetStatus {
    let Workload { set, settings, problems, .. } = &snapshot.workload;
    let notes: Vec<Note> = problems.iter().cloned().chain(owner_note(set, settings)).collect();
    let templates = templates(snapshot, now);
    let shown: Vec<Note> =
        templates.iter().flat_map(|template| template.notes.iter().cloned()).chain(notes.clone()).collect();
    SetStatus {
        namespace: set.name.namespace.clone(),
        name: set.name.name.clone(),
        replicas: set.ordinals.end.saturating_sub(set.ordinals.start),
        ready_replicas: snapshot.ready,
        managed: set.is_managed(),
        phase: phase(set, settings),
        templates,
        notes,
        events: recent_events::select(&snapshot.events, &shown, now),
    }
}

fn phase(set: &StatefulSetView, settings: &Settings) -> view::Phase {
    match () {
        () if set.marked => view::Phase::Recreating,
        () if set.deleting => view::Phase::Deleting,
        () if settings.paused => view::Phase::Paused,
        () => view::Phase::Stable,
    }
}

/// For a StatefulSet that another controller owns: rso expands its PVCs but does not update its template.
fn owner_note(set: &StatefulSetView, settings: &Settings) -> Option<Note> {
    let (kind, name) = set.owner.as_ref().filter(|_| set.is_managed())?;
    (settings.allow_owner.as_ref() != Some(kind)).then(|| {
        let text = format!(
            "{kind} {name} owns the StatefulSet: rso expands its PVCs but does not update its template. Change the size in \
             the {kind}, or set the annotation allow-owner: {kind}"
        );
        Note::blocked("owner", text)
    })
}

/// The status of each template. An announcement of an expansion that is refused is not shown.
fn templates(snapshot: &Snapshot, now: Timestamp) -> Vec<TemplateStatus> {
    let refusals = recent_events::refusals(&snapshot.events, now);
    let is_refused = |template: &TemplateStatus| {
        refusals.iter().any(|event| template.claims.iter().any(|claim| recent_events::is_about(event, &claim.name)))
    };
    let status = |(index, (group, settings)): (usize, (&VolumeGroup, &TemplateSettings))| {
        let driver = group.driver(&Drivers::default());
        let mut status = TemplateView { snapshot, group, settings, driver, now }.status(index);
        if is_refused(&status) {
            status.notes.retain(|note| !recent_events::is_announcement(note.reason));
        }
        status
    };
    snapshot.workload.configured().enumerate().map(status).collect()
}

/// One template with all that its status depends on.
struct TemplateView<'a> {
    snapshot: &'a Snapshot,
    group: &'a VolumeGroup,
    settings: &'a TemplateSettings,
    driver: Driver,
    now: Timestamp,
}

impl TemplateView<'_> {
    fn status(&self, index: usize) -> TemplateStatus {
        let template = &self.group.template;
        let size = template.size.unwrap_or_default();
        let decision = decide(self.settings, &self.driver, size, &self.group.claims, &self.snapshot.readings, self.now);
        let is_shown = |note: &Note| note.reason != Reason::UsageUnknown || !self.snapshot.is_only_denied(self.group);
        let claims = self.snapshot.workload.set.claims_of(&template.name);
        TemplateStatus {
            name: template.name.to_string(),
            index,
            size,
            wanted: wanted(&decision, size),
            expansion: expansion(self.settings),
            notes: self.notes(&decision).into_iter().filter(is_shown).collect(),
            claims: claims.map(|(ordinal, name)| self.claim_status(ordinal, &name)).collect(),
        }
    }

    /// The messages of the decision, then what prevents the expansion of single PVCs; each text once.
    fn notes(&self, decision: &Decision) -> Vec<Note> {
        let mut notes = decision.notes.clone();
        let target = expands_to(decision).unwrap_or_default();
        for claim in &self.group.claims {
            let note = match claim::next(claim, target, None, &self.driver, self.now) {
                ClaimStep::Wait(note) | ClaimStep::Blocked(note) => note,
                // The columns show an expansion in progress.
                ClaimStep::Settled | ClaimStep::Patch { .. } => continue,
            };
            let is_in_columns = note.reason.severity() == Severity::Normal;
            if !is_in_columns && !notes.contains(&note) {
                notes.push(note);
            }
        }
        notes
    }

    fn claim_status(&self, ordinal: Ordinal, name: &ClaimName) -> ClaimStatus {
        let claim = self.group.claims.iter().find(|claim| claim.name == *name);
        let (usage, unknown) = claim.map(|claim| self.usage(claim)).unwrap_or_default();
        ClaimStatus {
            pod: pod_name(&self.snapshot.workload.set.name, ordinal),
            class: claim.and_then(|claim| Some(claim.class.as_ref()?.name.clone())),
            requested: claim.map(|claim| claim.requested),
            capacity: claim.and_then(|claim| claim.capacity),
            state: claim.map_or(State::Missing, |claim| state(claim, &self.driver)),
            usage,
            unknown,
            resized_at: claim.and_then(|claim| claim.resized_at),
            name: name.to_string(),
        }
    }

    /// The usage of a PVC, or why it is unknown; neither if it was not measured.
    fn usage(&self, claim: &Claim) -> (Option<UsageStatus>, Option<String>) {
        let reading = self.snapshot.readings.get(&claim.name);
        match reading.map(|reading| reading.current(claim, self.now)) {
            Some(Ok((usage, _))) => {
                let reaction = claim.class.as_ref().and_then(|class| self.snapshot.reactions.get(&class.name));
                let status = usage_status(usage, self.snapshot.rates.get(&claim.name));
                (Some(UsageStatus { reaction: reaction.copied(), ..status }), None)
            }
            Some(Err(why)) => (None, Some(why.explained(claim))),
            None => (None, None),
        }
    }
}

/// The size to which the decision expands the PVCs, if it does.
fn expands_to(decision: &Decision) -> Option<Bytes> {
    match decision.verdict {
        Verdict::Grow { to, .. } => Some(to),
        Verdict::Keep | Verdict::Recommend { .. } | Verdict::Refuse(_) => None,
    }
}

/// The size that the template or its PVCs are to have, if it is larger than that of the template.
fn wanted(decision: &Decision, size: Bytes) -> Option<Bytes> {
    expands_to(decision).max(decision.template).filter(|wanted| *wanted > size)
}

fn expansion(settings: &TemplateSettings) -> Expansion {
    let increase = match settings.increase {
        Increase::Share(share) => share.to_string(),
        Increase::Size(size) => size.to_string(),
    };
    let rule = Rule { threshold: settings.threshold, increase, max_size: settings.max_size };
    match settings.auto {
        Auto::Off => Expansion::OnRequest,
        Auto::Recommend => Expansion::Recommend(rule),
        Auto::On => Expansion::ByUsage(rule),
    }
}

fn usage_status(usage: &Usage, rate: Option<&u64>) -> UsageStatus {
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
        full_in: rate.and_then(|rate| full_in(usage, *rate)),
        reaction: None,
    }
}

/// When the volume is full at this rate, if that is soon.
fn full_in(usage: &Usage, rate: u64) -> Option<Duration> {
    let millis = (u128::from(usage.available.0) * 1_000).checked_div(u128::from(rate))?;
    Some(Duration::from_millis(u64::try_from(millis).ok()?)).filter(|left| *left <= SOON)
}

/// The state of a PVC.
pub(crate) fn state(claim: &Claim, driver: &Driver) -> State {
    match claim.phase {
        _ if claim.deleting => return State::Deleting,
        Phase::Pending => return State::Pending,
        Phase::Lost => return State::Lost,
        Phase::Bound => {}
    }
    match claim.resize {
        Resize::ControllerInfeasible | Resize::NodeInfeasible => State::Infeasible,
        _ if claim.is_done() => State::Stable,
        _ if driver.growth == crate::policy::drivers::Growth::Offline => State::WaitingForPod,
        Resize::None | Resize::ControllerInProgress => State::Expanding,
        Resize::NodePending | Resize::NodeInProgress | Resize::FileSystemResizePending => State::ExpandingFilesystem,
    }
}

/// An Event of the operator; `kubectl describe` shows those of other clients.
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
pub(super) mod tests;
