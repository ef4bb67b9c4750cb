//! What is the one next thing to do for a set? Joins what the claims need with what the template needs; pure.
//!
//! Claims first, one write a pass, then the template: nothing is recreated before every claim that would be affected has
//! accepted its size. A claim that nobody can grow keeps its own template from following, not the others.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, TemplateName};
use crate::api::reasons::{Note, Reason};
use crate::policy::claim::{self, Claim, ClaimStep, Phase, Refusal};
use crate::policy::decide::{Decision, Trigger, Verdict};
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
    for template in templates {
        plan.of_the_set.extend(template.decision.notes.iter().cloned());
        for (claim, step) in template.steps(refused, now) {
            if !held_back(&claim.name) {
                plan.take(template, claim, step);
            }
        }
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

impl Plan {
    fn take(&mut self, template: &Template<'_>, claim: &Claim, step: ClaimStep) {
        match step {
            ClaimStep::Settled => {}
            // That it grows was told when it was asked to.
            ClaimStep::Wait(note) if note.reason == Reason::ClaimExpanding => {}
            ClaimStep::Wait(note) | ClaimStep::Blocked(note) => self.of_claims.push((claim.name.clone(), note)),
            ClaimStep::Patch { to, note } if self.step == Step::Rest => {
                self.of_claims.push((claim.name.clone(), note));
                self.step = Step::Grow { claim: Box::new(claim.clone()), to, trigger: template.trigger() };
            }
            // Its turn comes with a later pass.
            ClaimStep::Patch { .. } => {}
        }
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
        let all = self
            .claims
            .iter()
            .chain(self.leftovers.iter().filter(|claim| claim.phase == Phase::Bound && !claim.deleting));
        all.map(|claim| {
            let size = target.max(claim.requested);
            (claim, claim::next(claim, size, refused.get(&claim.name), &self.driver, now))
        })
        .collect()
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
        let stay: Vec<_> = self.claims.iter().chain(&self.leftovers).filter(small).collect();
        let Some(first) = stay.first() else { return Some((self.settings.name.clone(), size)) };
        notes.push(Note::new(
            Reason::TemplateSyncDeferred,
            format!(
                "template {} stays as it is until claim {}{} has {size}; see the Events of the claim",
                self.settings.name,
                first.name,
                if stay.len() > 1 { format!(" and {} more", stay.len() - 1) } else { String::new() }
            ),
        ));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::{Ordinal, Uid};
    use crate::policy::claim::{Class, Resize};
    use crate::policy::settings::{Limits, Request};

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn claim(ordinal: u32, gib: u64) -> Claim {
        Claim {
            name: ClaimName::new(format!("data-db-{ordinal}")),
            template: "data".into(),
            ordinal: Ordinal(ordinal),
            uid: Uid::new("1"),
            resource_version: "7".into(),
            phase: Phase::Bound,
            deleting: false,
            block_mode: false,
            requested: Bytes::gib(gib),
            capacity: Some(Bytes::gib(gib)),
            resize: Resize::None,
            class: Some(Class { name: "local".into(), expandable: true, provisioner: "csi".into() }),
            resized_at: None,
        }
    }

    fn settings(gib: u64) -> TemplateSettings {
        let mut settings = TemplateSettings::new("data".into(), &Limits::default());
        settings.requested = Some(Request { size: Bytes::gib(gib), key: "resize.data".into() });
        settings
    }

    fn template<'a>(
        settings: &'a TemplateSettings,
        template_gib: u64,
        claims: Vec<Claim>,
        leftovers: Vec<Claim>,
    ) -> Template<'a> {
        let driver = Driver::default();
        let size = Bytes::gib(template_gib);
        let decision = crate::policy::decide::decide(settings, &driver, size, &claims, &BTreeMap::new(), now());
        Template { settings, driver, decision, claims, leftovers }
    }

    fn grown(plan: &Plan) -> Option<(&str, Bytes)> {
        match &plan.step {
            Step::Grow { claim, to, .. } => Some((claim.name.as_str(), *to)),
            Step::Rest | Step::Sync(_) => None,
        }
    }

    #[test]
    fn claims_grow_one_a_pass_in_the_order_of_their_ordinals() {
        let settings = settings(2);
        let seen = plan(
            &[template(&settings, 1, vec![claim(0, 2), claim(1, 1), claim(2, 1)], vec![])],
            &HashMap::new(),
            |_| false,
            now(),
        );
        assert_eq!(grown(&seen), Some(("data-db-1", Bytes::gib(2))));
    }

    #[test]
    fn the_template_follows_when_every_claim_has_accepted_its_size() {
        let settings = settings(2);
        let mut growing = claim(1, 1);
        growing.requested = Bytes::gib(2);
        growing.resize = Resize::ControllerInProgress;
        let seen =
            plan(&[template(&settings, 1, vec![claim(0, 2), growing], vec![])], &HashMap::new(), |_| false, now());
        assert_eq!(seen.step, Step::Sync(BTreeMap::from([("data".into(), Bytes::gib(2))])));
    }

    #[test]
    fn claims_that_scaling_down_left_behind_grow_along() {
        let settings = settings(2);
        let seen =
            plan(&[template(&settings, 1, vec![claim(0, 2)], vec![claim(3, 1)])], &HashMap::new(), |_| false, now());
        assert_eq!(grown(&seen), Some(("data-db-3", Bytes::gib(2))));
    }

    #[test]
    fn a_set_without_replicas_gets_the_larger_template_at_once() {
        let settings = settings(2);
        let seen = plan(&[template(&settings, 1, vec![], vec![])], &HashMap::new(), |_| false, now());
        assert_eq!(seen.step, Step::Sync(BTreeMap::from([("data".into(), Bytes::gib(2))])));
    }

    #[test]
    fn a_claim_that_cannot_grow_keeps_its_template_and_says_so() {
        let settings = settings(2);
        let mut fixed = claim(0, 1);
        fixed.class = Some(Class { name: "fixed".into(), expandable: false, provisioner: "csi".into() });
        let seen = plan(&[template(&settings, 1, vec![fixed], vec![])], &HashMap::new(), |_| false, now());
        assert_eq!(seen.step, Step::Rest);
        assert_eq!(seen.of_claims[0].1.reason, Reason::StorageClassNotExpandable);
        assert!(seen.of_the_set.iter().any(|note| note.reason == Reason::TemplateSyncDeferred));
    }

    #[test]
    fn a_claim_that_is_held_back_lets_the_others_grow() {
        let settings = settings(2);
        let templates = [template(&settings, 1, vec![claim(0, 1), claim(1, 1)], vec![])];
        let seen = plan(&templates, &HashMap::new(), |claim| claim.as_str() == "data-db-0", now());
        assert_eq!(grown(&seen), Some(("data-db-1", Bytes::gib(2))));
    }

    #[test]
    fn several_templates_follow_in_one_recreate() {
        let data = settings(2);
        let mut wal = settings(3);
        wal.name = "wal".into();
        let templates = [template(&data, 1, vec![claim(0, 2)], vec![]), template(&wal, 1, vec![claim(0, 3)], vec![])];
        let seen = plan(&templates, &HashMap::new(), |_| false, now());
        assert_eq!(
            seen.step,
            Step::Sync(BTreeMap::from([("data".into(), Bytes::gib(2)), ("wal".into(), Bytes::gib(3))]))
        );
    }

    #[test]
    fn what_has_arrived_is_left_alone() {
        let settings = settings(2);
        let seen = plan(
            &[template(&settings, 2, vec![claim(0, 2), claim(1, 2)], vec![claim(5, 2)])],
            &HashMap::new(),
            |_| false,
            now(),
        );
        assert_eq!(seen, Plan { step: Step::Rest, of_the_set: vec![], of_claims: vec![] });
    }
}
