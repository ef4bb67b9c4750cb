//! What `rescue` requires: the expansion of a PVC whose usage nothing measures, if there is evidence that it is full.

use std::collections::BTreeMap;

use super::look::Look;
use super::step::Rule;
use crate::api::bytes::Bytes;
use crate::api::names::ClaimName;
use crate::api::reasons::{Note, Reason};
use crate::policy::claim::{Claim, Phase};
use crate::policy::rescue::{Judgement, MOST_STEPS, No, Taken, judge};
use crate::policy::settings::TemplateSettings;
use crate::policy::usage::{Rate, Reading, Unknown};

/// An expansion without a measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescue {
    /// The PVC that is full, as far as that is known.
    pub claim: ClaimName,
    /// How many such steps there are with this one, since the usage was last measured.
    pub steps: u32,
}

/// What `rescue` requires.
pub(super) enum Unmeasured {
    /// Nothing.
    None,
    /// An expansion to this size.
    Grow { rescue: Rescue, to: Bytes, note: Note },
    /// An expansion that is not allowed.
    Refused(Note),
}

impl Look<'_> {
    /// What the PVCs that nothing measures require.
    pub(super) fn unmeasured(&self, readings: &BTreeMap<ClaimName, Reading>) -> Unmeasured {
        // Without a limit, no evidence is good enough; that is reported by itself.
        if !self.settings.rescue || self.settings.max_size.is_none() {
            return Unmeasured::None;
        }
        let steps = self.claims.iter().map(|claim| self.steps(claim, readings.get(&claim.name))).max();
        let taken = Taken { steps: steps.unwrap_or(0), last: self.last_expansion() };
        let is_blind = |claim: &&Claim| {
            let is_fit = claim.phase == Phase::Bound && !claim.is_leaving() && claim.is_done();
            is_fit && self.is_blind(claim, readings.get(&claim.name))
        };
        let mut refused = Unmeasured::None;
        for claim in self.claims.iter().filter(is_blind) {
            match (self.rescued(claim, &taken), &refused) {
                (Unmeasured::None, _) => {}
                (grow @ Unmeasured::Grow { .. }, _) => return grow,
                (first @ Unmeasured::Refused(_), Unmeasured::None) => refused = first,
                (Unmeasured::Refused(_), _) => {}
            }
        }
        refused
    }

    /// Whether nothing measures this PVC, and a larger volume could help.
    fn is_blind(&self, claim: &Claim, reading: Option<&Reading>) -> bool {
        match reading.map(|reading| (reading, reading.current(claim, self.now))) {
            // The kept reading of a Pod that does not run: what its containers report since then is newer.
            Some((Reading::Idle { .. }, Ok(_))) => true,
            Some((_, Ok(_))) | None => false,
            Some((_, Err(why))) => match why {
                Unknown::NoPod
                | Unknown::NotRunning(_)
                | Unknown::Silent(_)
                | Unknown::Stale
                | Unknown::BeforeGrowth => true,
                // The source responds, or will; or a larger volume is no help.
                Unknown::NotYet
                | Unknown::BlockMode
                | Unknown::Behind { .. }
                | Unknown::Implausible(_)
                | Unknown::NotIsolated => false,
            },
        }
    }

    /// The steps of this PVC that no reading has followed.
    fn steps(&self, claim: &Claim, reading: Option<&Reading>) -> u32 {
        let last = claim.rescue.evidence.last.map(|last| last.at);
        let current = reading.and_then(|reading| Some(reading.current(claim, self.now).ok()?.0.at));
        let is_measured = last.max(current).is_some_and(|at| claim.grown_at(self.now).is_none_or(|grown| at > grown));
        if is_measured { 0 } else { claim.rescue.steps }
    }

    fn rescued(&self, claim: &Claim, taken: &Taken) -> Unmeasured {
        let refused = |case: &str, why: String| {
            let text = format!("PVC {} is not expanded: {why}", claim.name);
            Unmeasured::Refused(Note::new(Reason::RescueRefused, case, text).about(&claim.name))
        };
        let proof = match judge(&claim.rescue.evidence, taken, self.now) {
            Judgement::Step(proof) => proof,
            Judgement::No(No::Exhausted) => {
                let why = format!(
                    "rso expanded its template {MOST_STEPS} times without a measurement of its usage, and it still seems to \
                     be full. Check Pod {}; to expand the PVC anyway, request a size with resize.{}",
                    claim.pod(),
                    self.settings.name
                );
                return refused("steps", why);
            }
            Judgement::No(No::Evidence) | Judgement::Wait(_) => return Unmeasured::None,
        };
        // A volume that is full is an emergency.
        if self.cooldown_left(true).is_some() {
            return Unmeasured::None;
        }
        let Some(capacity) = claim.capacity else { return Unmeasured::None };
        let rule = Rule { settings: self.settings, driver: self.driver };
        let to = self.capped(rule.step(capacity, None, Rate::default()).to);
        if to <= capacity {
            let why = format!("{proof}, but it has {capacity}, the largest size allowed; raise max-size");
            return refused("size", why);
        }
        let rescue = Rescue { claim: claim.name.clone(), steps: taken.steps + 1 };
        Unmeasured::Grow { note: self.triggered(claim, &rescue, to, &proof), rescue, to }
    }

    fn triggered(&self, claim: &Claim, rescue: &Rescue, to: Bytes, proof: &str) -> Note {
        let text = format!(
            "nothing measures the usage of PVC {}, and {proof}: {} an expansion of template {} from {} to {to} (step {} of \
             {MOST_STEPS}). Check what fills the volume: kubectl describe pod {}",
            claim.name,
            self.action(),
            self.settings.name,
            claim.capacity.unwrap_or(claim.requested),
            rescue.steps,
            claim.pod()
        );
        Note::new(Reason::RescueTriggered, to, text).about(&claim.name)
    }
}

/// The warning about `rescue` without a limit.
pub(super) fn without_limit(settings: &TemplateSettings) -> Option<Note> {
    (settings.rescue && settings.max_size.is_none()).then(|| {
        let text = format!(
            "template {}: rescue has no effect without max-size, because rso expands no volume without a measurement and \
             without a limit; set max-size",
            settings.name
        );
        Note::new(Reason::RescueRefused, "max-size", text).about(&settings.name)
    })
}
