//! Each gate with its value, the origin of the value, and what opens it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Gate;
use crate::api::bytes::Bytes;
use crate::api::names::ClaimName;
use crate::policy::claim::{self, Claim};
use crate::policy::decide::Decision;
use crate::policy::drivers::{Driver, Growth};
use crate::policy::settings::{Auto, Increase, Origin, TemplateSettings};
use crate::policy::usage::{Reading, Source};
use crate::policy::{elapsed, spoken};

/// Whether a gate is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is open.
    Open,
    /// It is closed.
    Closed,
    /// The decision stopped before it.
    NotReached,
}

impl State {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::NotReached => "notReached",
        }
    }
}

/// What opens a gate, or says more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Set this annotation of the StatefulSet, without the prefix; `None`: remove it.
    Annotate(String, Option<String>),
    /// Describe this Pod.
    DescribePod(String),
    /// Describe this PVC.
    DescribeClaim(ClaimName),
    /// Allow expansion in this StorageClass.
    AllowExpansion(String),
}

/// A gate as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The gate.
    pub gate: Gate,
    /// Whether it is open.
    pub state: State,
    /// What was compared.
    pub value: String,
    /// Where the value comes from.
    pub from: String,
    /// What opens it; only of a closed one.
    pub fix: Option<Fix>,
}

/// One template and the decision on it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its settings.
    pub settings: &'a TemplateSettings,
    /// Whether the StatefulSet is paused.
    pub is_paused: bool,
    /// The driver of its PVCs.
    pub driver: &'a Driver,
    /// The PVCs of its replicas.
    pub claims: &'a [Claim],
    /// Their readings.
    pub readings: &'a BTreeMap<ClaimName, Reading>,
    /// The decision.
    pub decision: &'a Decision,
    /// The time.
    pub now: Timestamp,
}

/// Every gate, in order.
pub fn all(subject: &Subject<'_>) -> Vec<Checked> {
    Gate::ALL.map(|gate| subject.checked(gate)).to_vec()
}

impl Subject<'_> {
    /// The size of the largest PVC after one step as the settings say; `None` without a PVC.
    pub fn next_size(&self) -> Option<Bytes> {
        let largest = self.claims.iter().filter_map(|claim| claim.capacity).max()?;
        Some(self.after_a_step(largest))
    }

    fn checked(&self, gate: Gate) -> Checked {
        let state = self.state(gate);
        let (value, from) = match gate {
            Gate::Managed => (auto(self.settings.auto).to_owned(), self.origin("auto-scaled")),
            Gate::Usage => self.usage(),
            Gate::Threshold => (self.settings.threshold.to_string(), self.origin("threshold")),
            Gate::Progress => self.progress(),
            Gate::MaxSize => self.max_size(),
            Gate::Cooldown => self.cooldown(),
            Gate::NotPaused if self.is_paused => ("paused".to_owned(), "annotation paused".to_owned()),
            Gate::NotPaused => ("not paused".to_owned(), "default".to_owned()),
            Gate::Expandable => self.class(),
        };
        let fix = if state == State::Closed { self.fix(gate) } else { None };
        Checked { gate, state, value, from, fix }
    }

    fn state(&self, gate: Gate) -> State {
        let order = |gate: Gate| Gate::ALL.iter().position(|known| *known == gate);
        match (gate, self.decision.stops_at) {
            (Gate::NotPaused, _) => open_unless(self.is_paused),
            (Gate::Expandable, _) => open_unless(self.not_expandable().is_some()),
            (_, Some(stop)) if gate == stop => State::Closed,
            (_, Some(stop)) if order(gate) > order(stop) => State::NotReached,
            (_, Some(_) | None) => State::Open,
        }
    }

    fn fix(&self, gate: Gate) -> Option<Fix> {
        match gate {
            Gate::Managed => Some(Fix::Annotate("auto-scaled".to_owned(), Some("true".to_owned()))),
            Gate::Usage => {
                let is_unknown =
                    |claim: &&Claim| self.readings.get(&claim.name).is_none_or(|r| r.current(claim, self.now).is_err());
                self.claims.iter().find(is_unknown).map(|claim| Fix::DescribePod(claim.pod().to_owned()))
            }
            // The volume has room, or the time has to pass.
            Gate::Threshold | Gate::Cooldown => None,
            Gate::Progress => self.in_progress().map(|claim| Fix::DescribeClaim(claim.name.clone())),
            Gate::MaxSize => self.larger_max_size(),
            Gate::NotPaused => Some(Fix::Annotate("paused".to_owned(), None)),
            Gate::Expandable => {
                let class = self.not_expandable()?.class.as_ref().filter(|class| !class.expandable)?;
                (self.driver.growth != Growth::Never).then(|| Fix::AllowExpansion(class.name.clone()))
            }
        }
    }

    fn origin(&self, key: &str) -> String {
        self.settings.origins.get(key).map_or_else(|| "default".to_owned(), ToString::to_string)
    }

    /// `83% (data-db-1), 3 of 3 PVCs` from `agent, 2s ago`.
    fn usage(&self) -> (String, String) {
        let Some(fullest) = &self.decision.fullest else {
            return ("unknown".to_owned(), format!("0 of {} PVCs", self.claims.len()));
        };
        let claim = self.claims.iter().find(|claim| claim.name == fullest.claim);
        let reading = claim.and_then(|claim| self.readings.get(&claim.name)?.current(claim, self.now).ok());
        let from = reading.map(|(usage, _)| {
            let source = match usage.source {
                Source::Agent => "agent",
                Source::Kubelet => "kubelet",
            };
            format!("{source}, {} ago", spoken(elapsed(usage.at, self.now)))
        });
        let known = format!("{} of {} PVCs", self.decision.measured.len(), self.claims.len());
        (
            format!("{} in {}", fullest.share, fullest.claim),
            from.map_or(known.clone(), |from| format!("{from}; {known}")),
        )
    }

    fn in_progress(&self) -> Option<&Claim> {
        self.claims.iter().find(|claim| !claim.is_done())
    }

    fn progress(&self) -> (String, String) {
        self.in_progress().map_or_else(
            || ("none".to_owned(), "PVC status".to_owned()),
            |claim| {
                let capacity = claim.capacity.map_or("?".to_owned(), |capacity| capacity.to_string());
                (format!("{capacity} → {}", claim.requested), format!("PVC {}", claim.name))
            },
        )
    }

    /// The largest size of the driver, if it is the smaller one.
    fn max_of_driver(&self) -> Option<Bytes> {
        self.driver.max_size.filter(|max| self.settings.max_size.is_none_or(|own| *max < own))
    }

    fn max_size(&self) -> (String, String) {
        match (self.max_of_driver(), self.settings.max_size) {
            (Some(max), _) => (max.to_string(), "CSI driver".to_owned()),
            (None, Some(max)) => (max.to_string(), self.origin("max-size")),
            (None, None) => ("none".to_owned(), "default".to_owned()),
        }
    }

    /// One step more. A limit of the administrator, a policy, or the driver is not for the owner of the StatefulSet to raise.
    fn larger_max_size(&self) -> Option<Fix> {
        let max = self.settings.max_size.filter(|_| self.max_of_driver().is_none())?;
        let key = match self.settings.origins.get("max-size")? {
            Origin::Annotation(key) => key.clone(),
            Origin::Label(_) | Origin::ClaimLabel(..) | Origin::ClaimAnnotation(..) | Origin::NamespaceLabel => {
                return None;
            }
            Origin::Policy(_) | Origin::OperatorPolicy(_) => "max-size".to_owned(),
            Origin::PolicyLimit(_) | Origin::Limit => return None,
        };
        Some(Fix::Annotate(key, Some(self.after_a_step(max).to_string())))
    }

    /// This size after one step as the settings say.
    fn after_a_step(&self, size: Bytes) -> Bytes {
        let step = match self.settings.increase {
            Increase::Share(share) => size.share(share),
            Increase::Size(step) => step,
        };
        size.saturating_add(step.max(self.settings.min_increase)).round_up_to(Bytes::mib(1))
    }

    fn cooldown(&self) -> (String, String) {
        let own = self.settings.cooldown.unwrap_or(self.driver.cooldown);
        let cooldown = own.max(self.settings.min_cooldown);
        let last = self.claims.iter().filter_map(|claim| claim.grown_at(self.now)).max();
        let last = last.map(|at| format!("; last {} ago", spoken(elapsed(at, self.now)))).unwrap_or_default();
        let from = match self.settings.cooldown {
            _ if cooldown > own => "limit of the administrator".to_owned(),
            Some(_) => self.origin("cooldown"),
            None if own.is_zero() => "default".to_owned(),
            None => "CSI driver".to_owned(),
        };
        (format!("{}{last}", spoken(cooldown)), from)
    }

    fn not_expandable(&self) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim::not_expandable(claim, self.driver).is_some())
    }

    fn class(&self) -> (String, String) {
        let growth = match self.driver.growth {
            Growth::Online => "online",
            Growth::Offline => "only while no Pod uses it",
            Growth::Never => "never",
        };
        let value = if self.not_expandable().is_some() { "no" } else { growth };
        let class = self.not_expandable().or(self.claims.first()).and_then(|claim| claim.class.as_ref());
        (value.to_owned(), class.map_or("no StorageClass".to_owned(), |class| format!("StorageClass {}", class.name)))
    }
}

fn open_unless(is_closed: bool) -> State {
    if is_closed { State::Closed } else { State::Open }
}

/// The value of `auto-scaled`.
const fn auto(auto: Auto) -> &'static str {
    match auto {
        Auto::Off => "off",
        Auto::Recommend => "recommend",
        Auto::On => "on",
    }
}

#[cfg(test)]
mod tests;
