//! The explanation of a StatefulSet from what was read of it: the decision of the operator, gate by gate.

use jiff::Timestamp;

use super::compose::{Snapshot, compose};
use crate::api::annotations::PREFIX;
use crate::api::bytes::Bytes;
use crate::api::names::SetName;
use crate::cli::show::explanation::{Explanation, GateLine, SettingLine, TemplateExplanation};
use crate::cli::show::view::TemplateStatus;
use crate::policy::decide::{Decision, Trigger, Verdict, decide};
use crate::policy::drivers::Drivers;
use crate::policy::gates::{self, Checked, Fix, Gate, State, Subject};
use crate::policy::settings::TemplateSettings;
use crate::workload::group::VolumeGroup;

/// Settings that a gate shows.
const SHOWN_BY_GATES: [&str; 4] = ["auto-scaled", "threshold", "max-size", "cooldown"];

/// The result if the user lacks a permission.
const DENIED: &str = "unknown: you lack the permission to read its usage";

/// The explanation of a StatefulSet. The limits of the administrator are flags of the operator, which users cannot read.
pub(crate) fn explain(snapshot: &Snapshot, now: Timestamp) -> Explanation {
    let status = compose(snapshot, now);
    let configured = snapshot.workload.configured().zip(status.templates);
    let explained = |((group, settings), status): ((&VolumeGroup, &TemplateSettings), TemplateStatus)| {
        Explained { snapshot, group, settings, now }.template(status)
    };
    Explanation {
        namespace: status.namespace,
        name: status.name,
        templates: configured.map(explained).collect(),
        notes: status.notes,
    }
}

/// One template.
#[derive(Clone, Copy)]
struct Explained<'a> {
    snapshot: &'a Snapshot,
    group: &'a VolumeGroup,
    settings: &'a TemplateSettings,
    now: Timestamp,
}

impl Explained<'_> {
    fn template(self, status: TemplateStatus) -> TemplateExplanation {
        let driver = self.group.driver(&Drivers::default());
        let Self { snapshot, group, settings, now } = self;
        let (claims, readings) = (group.claims.as_slice(), &snapshot.readings);
        let decision = decide(settings, &driver, status.size, claims, readings, now);
        let is_paused = snapshot.workload.settings.paused;
        let subject = Subject { settings, is_paused, driver: &driver, claims, readings, decision: &decision, now };
        let gates = gates::all(&subject);
        let stop = gates.iter().find(|checked| checked.state == State::Closed);
        let set = &snapshot.workload.set.name;
        // The operator has permissions of its own, so it may know more.
        let is_denied = snapshot.usage_denied && stop.is_some_and(|stop| stop.gate == Gate::Usage);
        TemplateExplanation {
            result: if is_denied { DENIED.to_owned() } else { result(&decision, stop, is_paused) },
            expands_to: expands_to(&decision),
            stops_at: stop.map(|checked| checked.gate.as_str()),
            fix: stop.filter(|_| !is_denied).and_then(|checked| checked.fix.as_ref()).map(|fix| command(fix, set)),
            resize: self.resize(&decision, stop, subject.next_size()),
            settings: listed(settings),
            gates: gates.into_iter().map(line).collect(),
            name: status.name,
            size: status.size,
            notes: status.notes,
        }
    }

    /// The command that requests the next size; none if that size is requested already, or not allowed.
    fn resize(self, decision: &Decision, stop: Option<&Checked>, next: Option<Bytes>) -> Option<String> {
        let is_by_request = matches!(decision.verdict, Verdict::Grow { .. });
        let is_possible = stop.is_some_and(|stop| match stop.gate {
            Gate::Managed | Gate::Usage | Gate::Threshold | Gate::Cooldown => true,
            Gate::Progress | Gate::MaxSize | Gate::NotPaused | Gate::Expandable => false,
        });
        let to =
            next.filter(|to| !is_by_request && is_possible && self.settings.max_size.is_none_or(|max| *to <= max))?;
        let set = &self.snapshot.workload.set.name;
        Some(format!("rso resize {} {to} -t {} -n {}", set.name, self.settings.name, set.namespace))
    }
}

/// What rso does, in a few words.
fn result(decision: &Decision, stop: Option<&Checked>, is_paused: bool) -> String {
    match decision.verdict {
        Verdict::Grow { to, .. } if is_paused => format!("paused; would expand to {to}"),
        Verdict::Grow { to, trigger: Trigger::Annotation | Trigger::Apply } => format!("expands to {to}, as requested"),
        Verdict::Grow { to, trigger: Trigger::Siblings } => format!("expands to {to}, as its siblings"),
        Verdict::Grow { to, trigger: Trigger::Usage | Trigger::Rescue } => match stop {
            Some(stop) => format!("no expansion to {to}: not {}", stop.gate.as_str()),
            None => format!("expands to {to}"),
        },
        Verdict::Recommend { to } => format!("recommends {to}"),
        Verdict::Refuse(reason) => format!("no expansion: {reason}"),
        Verdict::Keep => "no expansion".to_owned(),
    }
}

fn expands_to(decision: &Decision) -> Option<Bytes> {
    match decision.verdict {
        Verdict::Grow { to, .. } | Verdict::Recommend { to } => Some(to),
        Verdict::Keep | Verdict::Refuse(_) => None,
    }
}

fn line(checked: Checked) -> GateLine {
    GateLine { gate: checked.gate.as_str(), state: checked.state, value: checked.value, from: checked.from }
}

fn listed(settings: &TemplateSettings) -> Vec<SettingLine> {
    let listed = settings.listed().into_iter().filter(|listed| !SHOWN_BY_GATES.contains(&listed.key));
    let line = |listed: crate::policy::settings::Listed<'_>| SettingLine {
        key: listed.key,
        value: listed.value,
        from: listed.origin.map_or_else(|| "default".to_owned(), ToString::to_string),
    };
    listed.map(line).collect()
}

/// The command of a fix.
fn command(fix: &Fix, set: &SetName) -> String {
    let SetName { namespace, name } = set;
    match fix {
        Fix::Annotate(key, Some(value)) => {
            format!("kubectl annotate statefulset {name} -n {namespace} --overwrite {PREFIX}{key}={value}")
        }
        Fix::Annotate(key, None) => format!("kubectl annotate statefulset {name} -n {namespace} {PREFIX}{key}-"),
        Fix::DescribePod(pod) => format!("kubectl describe pod {pod} -n {namespace}"),
        Fix::DescribeClaim(claim) => format!("kubectl describe pvc {claim} -n {namespace}"),
        Fix::AllowExpansion(class) => {
            format!("kubectl patch storageclass {class} -p '{{\"allowVolumeExpansion\":true}}'")
        }
    }
}

#[cfg(test)]
mod tests;
