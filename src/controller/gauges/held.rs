//! The part of the gauges that held requests use: for which share the agent of a Pod is asked, when its volumes are due
//! meanwhile, and which StatefulSets are reconciled although nothing was measured.

use std::time::Duration;

use jiff::Timestamp;

use super::{Gauge, Gauges, RECONCILE_INTERVAL, Summary, Wanted};
use crate::api::bytes::Percent;
use crate::api::names::Ordinal;
use crate::policy::claim::Claim;
use crate::policy::next_share::{Watched, next_share};
use crate::policy::usage::{Rate, Reading, Source, Usage};

/// How often a volume above its threshold is reconciled without a new reading: its cooldown may be over.
const ABOVE_RECONCILE_INTERVAL: Duration = Duration::from_secs(5);

/// What is asked of the agent of a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller) struct Question {
    /// The share at which it answers.
    pub(in crate::controller) full: Percent,
    /// The bytes that are free until then on the volume that is nearest to it.
    pub(in crate::controller) room: u64,
}

/// When a StatefulSet is reconciled although nothing was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller) enum Recheck {
    /// Now.
    Now,
    /// At this time.
    At(Timestamp),
    /// Not at any time.
    Never,
}

impl Gauges {
    /// What is asked of the agent of this Pod; `None` if it measures no volume that rso wants.
    pub(in crate::controller) fn question(&self, ordinal: Ordinal) -> Option<Question> {
        let full = next_share(self.by_agent(ordinal))?;
        let room = self.by_agent(ordinal).map(|watched| room(watched.usage, full)).min()?;
        Some(Question { full, room })
    }

    /// The volumes of this Pod that its agent measures.
    pub(in crate::controller) fn of_agent(&self, ordinal: Ordinal) -> Vec<Claim> {
        let wanted = self.wanted.get(&ordinal).into_iter().flatten();
        let is_of_agent =
            |claim: &Claim| self.known.get(&claim.name).is_some_and(|gauge| gauge.usage_of_agent().is_some());
        wanted.map(|wanted| &wanted.claim).filter(|claim| is_of_agent(claim)).cloned().collect()
    }

    /// Postpones the queries of the volumes that the agent of this Pod measures: it answers before that time.
    pub(in crate::controller) fn postpone(&mut self, ordinal: Ordinal, until: Timestamp) {
        let wanted = self.wanted.get(&ordinal).into_iter().flatten();
        for Wanted { claim, .. } in wanted {
            if let Some(gauge) = self.known.get_mut(&claim.name).filter(|gauge| gauge.usage_of_agent().is_some()) {
                gauge.due = gauge.due.max(until);
            }
        }
    }

    /// Queries of the volumes of this Pod are due at that time at the latest.
    pub(in crate::controller) fn advance(&mut self, ordinal: Ordinal, at: Timestamp) {
        for Wanted { claim, .. } in self.wanted.get(&ordinal).into_iter().flatten() {
            if let Some(gauge) = self.known.get_mut(&claim.name) {
                gauge.due = gauge.due.min(at);
            }
        }
    }

    /// When the StatefulSet is to be reconciled although no volume was measured: its report may depend on the time.
    pub(in crate::controller) fn recheck(&self, now: Timestamp) -> Recheck {
        let times = self.known.values().filter_map(|gauge| {
            let (summary, at) = gauge.reconciled.as_ref()?;
            let interval = match summary {
                Summary::AboveThreshold => ABOVE_RECONCILE_INTERVAL,
                Summary::BelowThreshold => RECONCILE_INTERVAL,
                // It is queried often, and each query is a reason to reconcile.
                Summary::Idle | Summary::Unknown(_) => return None,
            };
            at.checked_add(interval).ok()
        });
        match times.min() {
            Some(at) if at <= now => Recheck::Now,
            Some(at) => Recheck::At(at),
            None => Recheck::Never,
        }
    }

    /// The volumes of a Pod whose last reading is of its agent.
    fn by_agent(&self, ordinal: Ordinal) -> impl Iterator<Item = Watched<'_>> {
        self.wanted.get(&ordinal).into_iter().flatten().filter_map(|Wanted { claim, settings, .. }| {
            let (usage, rate) = self.known.get(&claim.name)?.usage_of_agent()?;
            Some(Watched { settings, usage, rate })
        })
    }
}

impl Gauge {
    /// The last reading, if it is of an agent, and no later query failed.
    fn usage_of_agent(&self) -> Option<(&Usage, Rate)> {
        match self.measured.as_ref().filter(|_| self.unknown.is_none())? {
            Reading::Measured { usage, rate, .. } | Reading::Idle { usage, rate, .. } => {
                (usage.source == Source::Agent).then_some((usage, *rate))
            }
            Reading::Unknown(_) => None,
        }
    }
}

fn room(usage: &Usage, full: Percent) -> u64 {
    usage.used.saturating_add(usage.available).share(full).saturating_sub(usage.used).0
}

#[cfg(test)]
mod tests;
