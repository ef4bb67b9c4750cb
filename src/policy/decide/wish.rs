//! The size to which usage requires rso to expand a template.
//!
//! rso computes a step by usage in this order:
//!
//! 1. The step is `increase` of the PVC's capacity, at least `min-increase`, and at least what the volume consumes until
//!    it can be expanded again ([`super::step`]), up to the double size.
//! 2. As many steps as bring the volume below its threshold (a burst may need two), but no more than double it.
//! 3. The size is rounded up to whole GiB if the step is 1 GiB or more, otherwise to whole MiB; then to a size that the
//!    driver provides.
//! 4. The size is capped at the administrator's largest step, at `max-size`, and at the largest volume of the driver.
//!
//! rso evaluates each replica by itself: one that is down, infeasible, lost or stuck does not keep rso from expanding
//! the others. rso takes no step before the cooldown is over, and none that is based on:
//!
//! - a replica whose own expansion is unfinished. One that waits for its Pod, perhaps forever, is an exception: its
//!   step counts from the capacity, so it requests that step only once.
//! - a reading that is old, implausible, or from before the last expansion.
//!
//! A lying agent therefore gains one step per cooldown, up to `max-size`.

use jiff::Timestamp;
use std::collections::BTreeMap;

use super::crossing::{Crossed, crossed};
use super::look::Look;
use super::step::{Rule, Stepped};
use super::unmeasured::{Rescue, Unmeasured};
use super::{Fullest, Fullness};
use crate::api::bytes::{Bytes, Percent};
use crate::api::names::ClaimName;
use crate::api::reasons::{Note, Reason};
use crate::policy::claim::{Claim, Phase};
use crate::policy::drivers::Driver;
use crate::policy::gates::Gate;
use crate::policy::settings::{Auto, TemplateSettings};
use crate::policy::spoken;
use crate::policy::usage::{Rate, Reading, Unknown, Usage};

/// The fullness from which on a driver's shorter cooldown applies.
pub(super) const EMERGENCY: Percent = Percent::whole(95);

/// What usage requires.
pub(super) enum Wish {
    /// Nothing: no replica is full, usage is unknown, or an expansion is still in progress.
    None,
    /// An expansion to this size.
    Grow { to: Bytes, note: Note },
    /// An expansion that is not allowed.
    Refused(Note),
}

/// What usage requires, and what is known of usage.
pub(super) struct UsageWish {
    /// What it requires.
    pub(super) wish: Wish,
    /// The fullest replica whose usage is known.
    pub(super) fullest: Option<Fullest>,
    /// How full each replica is whose usage is known.
    pub(super) measured: BTreeMap<ClaimName, Fullness>,
    /// The Event message about the replicas that are full and have the largest size, in addition to what the others
    /// require.
    pub(super) at_limit: Option<Note>,
    /// The Event message about the replicas whose usage is unknown.
    pub(super) unknown: Option<Note>,
    /// The expansion that it requires, if that is one without a measurement.
    pub(super) rescue: Option<Rescue>,
    /// The gate at which it stops, if it does.
    pub(super) stops_at: Option<Gate>,
}

/// The gate that is closed, and what to report.
struct Closed {
    gate: Gate,
    note: Option<Note>,
}

/// Nothing to report.
const fn closed(gate: Gate) -> Closed {
    Closed { gate, note: None }
}

impl UsageWish {
    fn nothing() -> Self {
        Self {
            wish: Wish::None,
            fullest: None,
            measured: BTreeMap::new(),
            at_limit: None,
            unknown: None,
            rescue: None,
            stops_at: None,
        }
    }

    /// The same with what the PVCs that nothing measures require.
    fn or_rescued(self, unmeasured: Unmeasured) -> Self {
        match (unmeasured, &self.wish) {
            (Unmeasured::Grow { rescue, to, note }, _) => {
                Self { wish: Wish::Grow { to, note }, rescue: Some(rescue), stops_at: None, ..self }
            }
            (Unmeasured::Refused(note), Wish::None) => Self { wish: Wish::Refused(note), ..self },
            (Unmeasured::Refused(_) | Unmeasured::None, _) => self,
        }
    }
}

/// What the readings of the replicas and the state of their Pods require.
pub(super) fn by_usage(
    settings: &TemplateSettings,
    driver: &Driver,
    claims: &[Claim],
    readings: &BTreeMap<ClaimName, Reading>,
    now: Timestamp,
) -> UsageWish {
    let look = Look { settings, driver, claims, now };
    let wish = look.usage(readings);
    match wish.wish {
        // The others are expanded with it.
        Wish::Grow { .. } => wish,
        Wish::None | Wish::Refused(_) => wish.or_rescued(look.unmeasured(readings)),
    }
}

/// A replica whose usage is known.
type Known<'r, 'c> = (&'c Claim, &'r Usage, Rate);

/// The larger of the shares of bytes and of inodes in use.
fn share(usage: &Usage) -> Option<Percent> {
    usage.fullness().max(usage.inode_fullness())
}

/// How full each replica is. A filesystem without any room is full.
fn measured(known: &[Known<'_, '_>], crossing: &[Crossing<'_>]) -> BTreeMap<ClaimName, Fullness> {
    let is_over = |claim: &Claim| crossing.iter().any(|crossing| crossing.claim.name == claim.name);
    let fullness = |(claim, usage, _): &Known<'_, '_>| Fullness {
        share: share(usage).unwrap_or(Percent::whole(100)),
        is_over: is_over(claim),
    };
    known.iter().map(|replica| (replica.0.name.clone(), fullness(replica))).collect()
}

fn fullest(known: &[Known<'_, '_>]) -> Option<Fullest> {
    let shares = known.iter().filter_map(|(claim, usage, _)| Some((claim, share(usage)?)));
    let (claim, share) = shares.max_by_key(|(_, share)| *share)?;
    Some(Fullest { claim: claim.name.clone(), share })
}

/// A replica that is over one of its thresholds.
struct Crossing<'a> {
    claim: &'a Claim,
    capacity: Bytes,
    usage: &'a Usage,
    rate: Rate,
    crossed: Crossed,
}

impl Look<'_> {
    fn usage(&self, readings: &BTreeMap<ClaimName, Reading>) -> UsageWish {
        let mut wish = UsageWish::nothing();
        match self.pass(readings, &mut wish) {
            Ok((to, note)) => wish.wish = Wish::Grow { to, note },
            Err(Closed { gate, note }) => {
                wish.stops_at = Some(gate);
                wish.wish = note.map_or(Wish::None, Wish::Refused);
            }
        }
        wish
    }

    /// Passes the gates in the order of [`Gate::ALL`], and adds what is known of usage to `wish`.
    fn pass(&self, readings: &BTreeMap<ClaimName, Reading>, wish: &mut UsageWish) -> Result<(Bytes, Note), Closed> {
        if self.settings.auto == Auto::Off {
            return Err(closed(Gate::Managed));
        }
        let (known, unknown) = self.known(readings);
        wish.unknown = self.unknown(&unknown);
        if known.is_empty() {
            return Err(closed(Gate::Usage));
        }
        let crossing: Vec<_> =
            known.iter().filter_map(|(claim, usage, rate)| self.crossing(claim, usage, *rate)).collect();
        wish.measured = measured(&known, &crossing);
        wish.fullest = fullest(&known);
        if crossing.is_empty() {
            return Err(closed(Gate::Threshold));
        }
        let wishes: Vec<_> = crossing
            .into_iter()
            .map(|crossing| (self.step(&crossing), crossing))
            // rso waits for an expansion in progress to that size or a larger one.
            .filter(|(step, crossing)| crossing.claim.takes_more(self.driver) && self.is_more(crossing.claim, step.to))
            .collect();
        if wishes.is_empty() {
            return Err(closed(Gate::Progress));
        }
        let (grow, at_limit): (Vec<_>, Vec<_>) =
            wishes.into_iter().partition(|(step, crossing)| step.to > crossing.capacity);
        let at_limit = self.at_limit(&at_limit);
        // A replica at its limit does not keep rso from expanding a smaller one.
        let Some((step, crossing)) = grow.into_iter().max_by_key(|(step, _)| step.to) else {
            return Err(Closed { gate: Gate::MaxSize, note: at_limit });
        };
        wish.at_limit = at_limit;
        // The fullest of all replicas decides the urgency, regardless of which replica decides the size.
        let emergency = known.iter().any(|(_, usage, _)| usage.fullness() >= Some(EMERGENCY));
        self.allowed(&crossing, &step, emergency)
    }

    /// The replicas whose usage is known, and the others whose unknown usage is reported.
    fn known<'r>(&self, readings: &'r BTreeMap<ClaimName, Reading>) -> (Vec<Known<'r, '_>>, Vec<(&Claim, Unknown)>) {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for claim in self.claims.iter().filter(|claim| claim.phase == Phase::Bound && !claim.is_leaving()) {
            let silent = || Err(Unknown::Silent("not measured".to_owned()));
            match readings.get(&claim.name).map_or_else(silent, |reading| reading.current(claim, self.now)) {
                Ok((usage, rate)) => known.push((claim, usage, rate)),
                // Nothing can write to it, or the next reading is enough. A Pod that does not run is reported.
                Err(Unknown::NoPod | Unknown::NotYet | Unknown::BeforeGrowth) => {}
                Err(why) => unknown.push((claim, why)),
            }
        }
        // A Pod that does not run comes first: its Event message has a command.
        unknown.sort_by_key(|(_, why)| !matches!(why, Unknown::NotRunning(_)));
        (known, unknown)
    }

    /// Whether this size counts. For a finished PVC any size does, if only to report why it cannot have it; for a PVC
    /// that is being expanded, only a size above its request.
    fn is_more(&self, claim: &Claim, to: Bytes) -> bool {
        claim.is_done() || to > claim.requested
    }

    /// One Event message for all PVCs that are full and have the largest size allowed.
    fn at_limit(&self, at_limit: &[(Stepped, Crossing<'_>)]) -> Option<Note> {
        // What a burst would need is over with it.
        let mut at_limit = at_limit.iter().map(|(_, crossing)| crossing).filter(|crossing| !crossing.crossed.early);
        let Crossing { claim, capacity, crossed, .. } = at_limit.next()?;
        let why = &crossed.why;
        let others: Vec<_> = at_limit.collect();
        let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
        let text = format!(
            "PVC {} is {why} and has {capacity}, the largest size allowed{more}; raise max-size, or free space in the volume",
            claim.name
        );
        Some(Note::new(Reason::MaxSizeReached, "usage", text).about(&claim.name))
    }

    /// Whether this replica is over a threshold, and which.
    fn crossing<'a>(&self, claim: &'a Claim, usage: &'a Usage, rate: Rate) -> Option<Crossing<'a>> {
        let crossed = crossed(self.settings, self.driver, usage, rate)?;
        Some(Crossing { claim, capacity: claim.capacity?, usage, rate, crossed })
    }

    fn step(&self, crossing: &Crossing<'_>) -> Stepped {
        let rule = Rule { settings: self.settings, driver: self.driver };
        let step = rule.step(crossing.capacity, Some(crossing.usage), crossing.rate);
        let (to, without_rate) = (self.capped(step.to), self.capped(step.without_rate));
        Stepped { to, without_rate, lasts: step.lasts.filter(|_| to > without_rate) }
    }

    /// The expansion to this size, or the reason why it is not allowed now.
    fn allowed(&self, crossing: &Crossing<'_>, step: &Stepped, emergency: bool) -> Result<(Bytes, Note), Closed> {
        let (claim, capacity, Crossed { why, early }) = (&crossing.claim.name, crossing.capacity, &crossing.crossed);
        let Stepped { to, without_rate, lasts } = step;
        if *early && self.cooldown_left(emergency).is_some() {
            return Err(closed(Gate::Cooldown));
        }
        if let Some(left) = self.cooldown_left(emergency) {
            let text = format!(
                "PVC {claim} is {why} and needs {to}, but its template was expanded less than {} ago; rso expands it later. To \
                 expand it now, lower cooldown, or request the size with resize.{}",
                spoken(left),
                self.settings.name
            );
            let note = Note::new(Reason::CooldownActive, "", text).about(claim);
            return Err(Closed { gate: Gate::Cooldown, note: Some(note) });
        }
        let lasts = lasts.as_ref().map(|lasts| format!(", because {lasts}")).unwrap_or_default();
        let text = format!(
            "PVC {claim} is {why}: {} an expansion of template {} from {capacity} to {to}{lasts}",
            self.action(),
            self.settings.name
        );
        // The rate changes with each reading, and is no other Event.
        let case = if *early { format!("early {without_rate}") } else { without_rate.to_string() };
        Ok((*to, Note::new(Reason::AutoResizeTriggered, case, text).about(claim)))
    }

    /// One Event message for all replicas whose usage is unknown.
    fn unknown(&self, unknown: &[(&Claim, Unknown)]) -> Option<Note> {
        let ((claim, why), others) = unknown.split_first()?;
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        let text = format!("usage of PVC {}{more} is unknown: {}", claim.name, why.explained(claim));
        Some(Note::new(Reason::UsageUnknown, why.case(), text).about(&claim.name))
    }
}
