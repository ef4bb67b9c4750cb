//! What is the one next thing to do for a set? Joins what the claims need with what the template needs; pure.
//!
//! Claims first, one write a pass, then the template: nothing is recreated before every claim that would be affected has
//! accepted its size. The fullest claim of all templates comes first, so that scarce room goes where it is needed. A claim
//! that nobody can grow keeps its own template from following, not the others.

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

/// What is known and decided of one template.
#[derive(Clone, Debug)]
pub struct Template<'a> {
    /// Its settings.
    pub settings: &'a TemplateSettings,
    /// The limits of its claims' driver.
    pub driver: Driver,
    /// What [`crate::policy::decide::decide`] said.
    pub decision: Decision,
    /// The claims of the replicas.
    pub claims: Vec<Claim>,
    /// The claims of ordinals that the set does not run now. They come back when it is scaled up, so they grow along.
    pub leftovers: Vec<Claim>,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing, until something changes.
    Rest,
    /// Ask for a larger claim (or for less than was refused).
    Grow {
        /// The claim as it was seen: its resourceVersion is the precondition.
        claim: Box<Claim>,
        /// The size to ask for.
        to: Bytes,
        /// Why it grows.
        trigger: Trigger,
        /// Its own volume is full: a smaller size is better than none.
        is_full: bool,
    },
    /// Let the templates follow their claims.
    Sync(BTreeMap<TemplateName, Bytes>),
}

/// The step, and what is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The next thing to do.
    pub step: Step,
    /// Notes about the set.
    pub of_the_set: Vec<Note>,
    /// Notes about claims.
    pub of_claims: Vec<(ClaimName, Note)>,
}

/// Chooses the next thing to do for all templates of a set.
///
/// A claim that is `held_back` is not asked to grow now: the API server has just refused it.
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
        // What is refused to all is not told as if it were done.
        let is_refused = patches.peek().is_some() && patches.all(|(claim, _)| held_back(&claim.name));
        let holds = |note: &&Note| !(is_refused && note.reason.severity() == Severity::Normal);
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
                // Of equals the first: in the order of templates and ordinals.
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

/// A claim that can be asked to grow.
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

    fn share(&self) -> Percent {
        self.fullness().map_or(Percent(0), |fullness| fullness.share)
    }
}

impl Plan {
    /// Takes what is to be told of a claim; answers the size to ask for, if it can be asked now.
    fn take(&mut self, claim: &Claim, step: ClaimStep) -> Option<(Bytes, Note)> {
        match step {
            ClaimStep::Settled => None,
            // That it grows was told when it was asked to.
            ClaimStep::Wait(note) if note.reason == Reason::ClaimExpanding => None,
            ClaimStep::Wait(note) | ClaimStep::Blocked(note) => {
                self.of_claims.push((claim.name.clone(), note));
                None
            }
            ClaimStep::Patch { to, note } => Some((to, note)),
        }
    }

    /// The others have their turn with a later pass.
    fn grow(&mut self, candidate: Candidate<'_>) {
        let is_full = candidate.fullness().is_some_and(|fullness| fullness.is_over);
        let trigger = candidate.template.trigger();
        self.of_claims.push((candidate.claim.name.clone(), candidate.note));
        self.step = Step::Grow { claim: Box::new(candidate.claim.clone()), to: candidate.to, trigger, is_full };
    }
}

impl Template<'_> {
    /// Whether anything of it may be changed at all.
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

    /// The claims that grow and that the template waits for; one list, for both.
    ///
    /// What scaling down has left without a volume, or on its way out, cannot grow. It is no replica either, and a pod that
    /// it gets one day makes it one, so the template does not wait for it.
    fn of_concern(&self) -> impl Iterator<Item = &Claim> {
        let can_grow = |claim: &&Claim| claim.phase == Phase::Bound && !claim.deleting;
        self.claims.iter().chain(self.leftovers.iter().filter(can_grow))
    }

    fn trigger(&self) -> Trigger {
        match self.decision.verdict {
            Verdict::Grow { trigger, .. } => trigger,
            Verdict::Keep | Verdict::Recommend { .. } | Verdict::Refuse(_) => Trigger::Siblings,
        }
    }

    /// The size that every claim of it should have, 0 when each keeps its own.
    fn target(&self) -> Bytes {
        let by_claims = match self.decision.verdict {
            Verdict::Grow { to, .. } => to,
            Verdict::Keep | Verdict::Recommend { .. } | Verdict::Refuse(_) => Bytes(0),
        };
        by_claims.max(self.decision.template.unwrap_or_default())
    }

    /// The size that the template may have now; or nothing, and why.
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
