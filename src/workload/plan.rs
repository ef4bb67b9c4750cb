//! The plan for a StatefulSet: the one next step, from what its PVCs need and what its templates need.
//!
//! PVCs first, one write for each reconciliation, then the templates: nothing is recreated before every PVC of the
//! template has accepted its size. The fullest PVC of all templates comes first, because quota and storage can be
//! scarce. A PVC that cannot be expanded prevents the update of its own template only.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, TemplateName};
use crate::api::percent::Percent;
use crate::api::reasons::{Note, Reason, Severity};
use crate::policy::claim::{self, Claim, ClaimStep, Phase, Refusal};
use crate::policy::decide::{Decision, Fullness, Trigger, Verdict};
use crate::policy::drivers::Driver;
use crate::policy::settings::{Auto, TemplateSettings};

/// A template with its PVCs and the decision about it.
#[derive(Clone, Debug)]
pub struct Template<'a> {
    /// Its settings.
    pub settings: &'a TemplateSettings,
    /// The limits of the CSI driver.
    pub driver: Driver,
    /// The result of [`crate::policy::decide::decide`].
    pub decision: Decision,
    /// The PVCs of the replicas.
    pub claims: Vec<Claim>,
    /// The retained PVCs of scaled-down replicas. They are used again when the StatefulSet is scaled up, so they are
    /// expanded too.
    pub retained: Vec<Claim>,
}

/// The next step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing, until something changes.
    Rest,
    /// Request a larger size for a PVC, or a smaller one than was refused.
    Grow {
        /// The PVC as it was read: its resourceVersion is the precondition.
        claim: Box<Claim>,
        /// The size to request.
        to: Bytes,
        /// Why it is expanded.
        trigger: Trigger,
        /// Its own volume is full: a smaller size is better than none.
        is_full: bool,
        /// How many expansions without a measurement there are with this one, if it is one.
        rescue: Option<u32>,
    },
    /// Update the templates to the size of their PVCs.
    Sync(BTreeMap<TemplateName, Bytes>),
}

/// The next step, and what to report.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The next step.
    pub step: Step,
    /// Event messages about the StatefulSet.
    pub of_the_set: Vec<Note>,
    /// Event messages about PVCs.
    pub of_claims: Vec<(ClaimName, Note)>,
}

/// Chooses the next step for all templates of a StatefulSet.
///
/// A PVC that is `held_back` is not expanded now: the API server has just refused it.
pub fn plan(
    templates: &[Template<'_>],
    refused: &HashMap<ClaimName, Refusal>,
    held_back: impl Fn(&ClaimName) -> bool,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan { step: Step::Rest, of_the_set: Vec::new(), of_claims: Vec::new() };
    let mut fullest: Option<Candidate<'_>> = None;
    for template in templates {
        let steps = template.steps(refused, now);
        let mut patches = steps.iter().filter(|(_, step)| matches!(step, ClaimStep::Patch { .. })).peekable();
        // An expansion that is refused for all PVCs is not announced.
        let is_refused = patches.peek().is_some() && patches.all(|(claim, _)| held_back(&claim.name));
        let announces =
            |note: &Note| note.reason.severity() == Severity::Normal || note.reason == Reason::RescueTriggered;
        let holds = |note: &&Note| !(is_refused && announces(note));
        plan.of_the_set.extend(template.decision.notes.iter().filter(holds).cloned());
        for (claim, step) in steps {
            if let Some(note) = claim::goes_with_its_pod(claim) {
                plan.of_claims.push((claim.name.clone(), note));
            }
            if held_back(&claim.name) {
                continue;
            }
            if let Some((to, note)) = plan.take(claim, step) {
                let candidate = Candidate { template, claim, to, note };
                // Of equally full PVCs the first, in the order of templates and ordinals.
                if fullest.as_ref().is_none_or(|known| candidate.share() > known.share()) {
                    fullest = Some(candidate);
                }
            }
        }
    }
    if let Some(candidate) = fullest {
        plan.grow(candidate);
    }
    if plan.step == Step::Rest {
        let ready =
            templates.iter().filter_map(|template| template.follows(&mut plan.of_the_set)).collect::<BTreeMap<_, _>>();
        if !ready.is_empty() {
            plan.step = Step::Sync(ready);
        }
    }
    plan
}

/// A PVC that can be expanded.
struct Candidate<'a> {
    template: &'a Template<'a>,
    claim: &'a Claim,
    to: Bytes,
    note: Note,
}

impl Candidate<'_> {
    fn fullness(&self) -> Option<Fullness> {
        self.template.decision.measured.get(&self.claim.name).copied()
    }

    /// A volume that is expanded without a measurement is full, as far as that is known.
    fn share(&self) -> Percent {
        match self.rescue() {
            Some(_) => Percent::whole(100),
            None => self.fullness().map_or(Percent(0), |fullness| fullness.share),
        }
    }

    /// How many expansions without a measurement there are with this one, if it is one.
    fn rescue(&self) -> Option<u32> {
        let rescue = self.template.decision.rescue.as_ref()?;
        (rescue.claim == self.claim.name).then_some(rescue.steps)
    }
}

impl Plan {
    /// Adds what to report about a PVC; returns the size to request, if it can be requested now.
    fn take(&mut self, claim: &Claim, step: ClaimStep) -> Option<(Bytes, Note)> {
        match step {
            ClaimStep::Settled => None,
            // It was reported when the expansion was requested.
            ClaimStep::Wait(note) if note.reason == Reason::ClaimExpanding => None,
            ClaimStep::Wait(note) | ClaimStep::Blocked(note) => {
                self.of_claims.push((claim.name.clone(), note));
                None
            }
            ClaimStep::Patch { to, note } => Some((to, note)),
        }
    }

    /// The other PVCs follow in later reconciliations.
    fn grow(&mut self, candidate: Candidate<'_>) {
        let rescue = candidate.rescue();
        let is_full = rescue.is_some() || candidate.fullness().is_some_and(|fullness| fullness.is_over);
        let trigger = candidate.template.trigger();
        self.of_claims.push((candidate.claim.name.clone(), candidate.note));
        self.step = Step::Grow { claim: Box::new(candidate.claim.clone()), to: candidate.to, trigger, is_full, rescue };
    }
}

impl Template<'_> {
    /// Whether rso may change anything of it.
    fn is_ours(&self) -> bool {
        self.settings.auto == Auto::On || self.settings.requested.is_some()
    }

    fn steps(&self, refused: &HashMap<ClaimName, Refusal>, now: Timestamp) -> Vec<(&Claim, ClaimStep)> {
        if !self.is_ours() {
            return Vec::new();
        }
        let target = self.target();
        let all = self.of_concern().map(|claim| {
            let size = target.max(claim.requested);
            (claim, claim::next(claim, size, refused.get(&claim.name), &self.driver, now))
        });
        all.collect()
    }

    /// The PVCs that are expanded, and that the template waits for.
    ///
    /// A retained PVC without a volume, or one that is being deleted, cannot be expanded, so the template does not wait
    /// for it. It becomes a PVC of a replica when a Pod uses it.
    fn of_concern(&self) -> impl Iterator<Item = &Claim> {
        let can_grow = |claim: &&Claim| claim.phase == Phase::Bound && !claim.deleting;
        self.claims.iter().chain(self.retained.iter().filter(can_grow))
    }

    fn trigger(&self) -> Trigger {
        match self.decision.verdict {
            Verdict::Grow { trigger, .. } => trigger,
            Verdict::Keep | Verdict::Recommend { .. } | Verdict::Refuse(_) => Trigger::Siblings,
        }
    }

    /// The size that every PVC of it is to have; 0 if each keeps its own.
    fn target(&self) -> Bytes {
        let by_claims = match self.decision.verdict {
            Verdict::Grow { to, .. } => to,
            Verdict::Keep | Verdict::Recommend { .. } | Verdict::Refuse(_) => Bytes(0),
        };
        by_claims.max(self.decision.template.unwrap_or_default())
    }

    /// The size that the template can have now; or none, and why.
    fn follows(&self, notes: &mut Vec<Note>) -> Option<(TemplateName, Bytes)> {
        let size = self.decision.template?;
        let small = |claim: &&Claim| !claim.is_committed(size);
        let stay: Vec<_> = self.of_concern().filter(small).collect();
        let Some(first) = stay.first() else { return Some((self.settings.name.clone(), size)) };
        let text = format!(
            "template {} is not updated until PVC {}{} requests {size}; see the Events of the PVC",
            self.settings.name,
            first.name,
            if stay.len() > 1 { format!(" and {} more", stay.len() - 1) } else { String::new() }
        );
        notes.push(Note::deferred("pvc-smaller", text).about(&first.name));
        None
    }
}

#[cfg(test)]
mod tests;
