//! The size to which usage requires rso to expand a template.
//!
//! rso computes a step by usage in this order:
//!
//! 1. The step is `increase` of the PVC's capacity, at least `min-increase`.
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

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Fullest, Fullness};
use crate::api::bytes::{Bytes, Percent};
use crate::api::names::ClaimName;
use crate::api::reasons::{Note, Reason};
use crate::policy::claim::{Claim, Phase};
use crate::policy::drivers::Driver;
use crate::policy::settings::{Auto, Increase, TemplateSettings};
use crate::policy::usage::{Inodes, Reading, Unknown, Usage};
use crate::policy::{elapsed, spoken};

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
}

/// What the readings of the replicas require.
pub(super) fn by_usage(
    settings: &TemplateSettings,
    driver: &Driver,
    claims: &[Claim],
    readings: &BTreeMap<ClaimName, Reading>,
    now: Timestamp,
) -> UsageWish {
    Look { settings, driver, claims, now }.usage(readings)
}

/// A replica that is over one of its thresholds.
struct Crossing<'a> {
    claim: &'a Claim,
    capacity: Bytes,
    usage: &'a Usage,
    why: String,
}

/// One template and its PVCs, as observed now.
struct Look<'a> {
    settings: &'a TemplateSettings,
    driver: &'a Driver,
    claims: &'a [Claim],
    now: Timestamp,
}

impl Look<'_> {
    fn usage(&self, readings: &BTreeMap<ClaimName, Reading>) -> UsageWish {
        let mut nothing =
            UsageWish { wish: Wish::None, fullest: None, measured: BTreeMap::new(), at_limit: None, unknown: None };
        if self.settings.auto == Auto::Off {
            return nothing;
        }
        let mut known = Vec::new();
        let mut unknown = Vec::new();
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
        nothing.unknown = self.unknown(&unknown);
        let share = |usage: &Usage| usage.fullness().max(usage.inode_fullness());
        // A filesystem without any room is full.
        let full = |usage: &Usage| share(usage).unwrap_or(Percent::whole(100));
        let crossing: Vec<_> =
            known.iter().filter_map(|(claim, usage, rate)| self.crossing(claim, usage, *rate)).collect();
        let is_over = |claim: &Claim| crossing.iter().any(|crossing| crossing.claim.name == claim.name);
        nothing.measured = known
            .iter()
            .map(|(claim, usage, _)| (claim.name.clone(), Fullness { share: full(usage), is_over: is_over(claim) }))
            .collect();
        nothing.fullest = known
            .iter()
            .filter_map(|(claim, usage, _)| Some(Fullest { claim: claim.name.clone(), share: share(usage)? }))
            .max_by_key(|fullest| fullest.share);
        let wishes = crossing
            .into_iter()
            .map(|crossing| (self.capped(self.next_size(&crossing)), crossing))
            // rso waits for an expansion in progress to that size or a larger one.
            .filter(|(to, crossing)| crossing.claim.takes_more(self.driver) && self.is_more(crossing.claim, *to));
        let (grow, at_limit): (Vec<_>, Vec<_>) = wishes.partition(|(to, crossing)| *to > crossing.capacity);
        let at_limit = self.at_limit(&at_limit);
        // The fullest of all replicas decides the urgency, regardless of which replica decides the size.
        let emergency = known.iter().any(|(_, usage, _)| usage.fullness() >= Some(EMERGENCY));
        // A replica at its limit does not keep rso from expanding a smaller one.
        match (grow.into_iter().max_by_key(|(to, _)| *to), at_limit) {
            (Some((to, crossing)), at_limit) => {
                UsageWish { wish: self.allowed(&crossing, to, emergency), at_limit, ..nothing }
            }
            (None, Some(note)) => UsageWish { wish: Wish::Refused(note), ..nothing },
            (None, None) => nothing,
        }
    }

    /// Whether this size counts. For a finished PVC any size does, if only to report why it cannot have it; for a PVC
    /// that is being expanded, only a size above its request.
    fn is_more(&self, claim: &Claim, to: Bytes) -> bool {
        claim.is_done() || to > claim.requested
    }

    /// One Event message for all PVCs that are full and have the largest size allowed.
    fn at_limit(&self, at_limit: &[(Bytes, Crossing<'_>)]) -> Option<Note> {
        let ((_, Crossing { claim, capacity, why, .. }), others) = at_limit.split_first()?;
        let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
        let text = format!(
            "PVC {} is {why} and has {capacity}, the largest size allowed{more}; raise max-size, or free space in the volume",
            claim.name
        );
        Some(Note::new(Reason::MaxSizeReached, "usage", text).about(&claim.name))
    }

    /// Whether this replica is over a threshold, and which.
    fn crossing<'a>(&self, claim: &'a Claim, usage: &'a Usage, rate: u64) -> Option<Crossing<'a>> {
        Some(Crossing { claim, capacity: claim.capacity?, usage, why: crossed(self.settings, usage, rate)? })
    }

    /// The size after as many steps as are needed.
    fn next_size(&self, crossing: &Crossing<'_>) -> Bytes {
        let capacity = crossing.capacity;
        let step = match self.settings.increase {
            Increase::Share(share) => capacity.share(share),
            Increase::Size(size) => size,
        };
        let step = step.max(self.settings.min_increase).max(Bytes::mib(1));
        let steps = self.missing(crossing).0.div_ceil(step.0).clamp(1, (capacity.0 / step.0).max(1));
        let growth = Bytes(step.0.saturating_mul(steps));
        let unit = if step >= Bytes::gib(1) { Bytes::gib(1) } else { Bytes::mib(1) };
        let size = self.driver.round_up(capacity.saturating_add(growth).round_up_to(unit));
        [self.settings.max_step.map(|step| capacity.saturating_add(step)), self.driver.max_size]
            .into_iter()
            .flatten()
            .fold(size, Bytes::min)
    }

    /// How much larger the volume must be to be below its thresholds at its current usage.
    fn missing(&self, crossing: &Crossing<'_>) -> Bytes {
        let usage = crossing.usage;
        let whole = usage.used.saturating_add(usage.available);
        let bytes = least_whole(usage.used.0, self.settings.threshold).saturating_sub(whole);
        let inodes = usage.inodes.map_or(Bytes(0), |Inodes { total, free }| {
            // A larger filesystem gets more inodes in proportion.
            let short = least_whole(total.saturating_sub(free), self.settings.inodes_threshold).0.saturating_sub(total);
            let bytes = (u128::from(short) * u128::from(crossing.capacity.0)).div_ceil(u128::from(total.max(1)));
            Bytes(u64::try_from(bytes).unwrap_or(Bytes::MAX.0))
        });
        bytes.max(inodes)
    }

    /// The size, capped at the largest size allowed.
    fn capped(&self, to: Bytes) -> Bytes {
        self.settings.max_size.map_or(to, |max| to.min(max))
    }

    /// The expansion to this size, or the reason why it is not allowed now.
    fn allowed(&self, crossing: &Crossing<'_>, to: Bytes, emergency: bool) -> Wish {
        let (claim, capacity) = (&crossing.claim.name, crossing.capacity);
        if let Some(left) = self.cooldown_left(emergency) {
            let text = format!(
                "PVC {claim} is {} and needs {to}, but its template was expanded less than {} ago; rso expands it later. To \
                 expand it now, lower cooldown, or request the size with resize.{}",
                crossing.why,
                spoken(left),
                self.settings.name
            );
            return Wish::Refused(Note::new(Reason::CooldownActive, "", text).about(claim));
        }
        let action = if self.settings.auto == Auto::Recommend { "recommending" } else { "requesting" };
        let text = format!(
            "PVC {claim} is {}: {action} an expansion of template {} from {capacity} to {to}",
            crossing.why, self.settings.name
        );
        Wish::Grow { to, note: Note::new(Reason::AutoResizeTriggered, to, text).about(claim) }
    }

    /// The cooldown, if it is not over.
    fn cooldown_left(&self, emergency: bool) -> Option<Duration> {
        let of_driver = match self.driver.emergency_cooldown {
            Some(shorter) if emergency => shorter,
            Some(_) | None => self.driver.cooldown,
        };
        let cooldown = self.settings.cooldown.unwrap_or(of_driver).max(self.settings.min_cooldown);
        let last = self.claims.iter().filter_map(|claim| claim.grown_at(self.now)).max()?;
        (elapsed(last, self.now) < cooldown).then_some(cooldown)
    }

    /// One Event message for all replicas whose usage is unknown.
    fn unknown(&self, unknown: &[(&Claim, Unknown)]) -> Option<Note> {
        let ((claim, why), others) = unknown.split_first()?;
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        let text = format!("usage of PVC {}{more} is unknown: {}", claim.name, why.explained(claim));
        Some(Note::new(Reason::UsageUnknown, why.case(), text).about(&claim.name))
    }
}

/// Whether a volume is over one of the thresholds of its template, which may change the decision.
pub fn reaches_threshold(settings: &TemplateSettings, usage: &Usage, rate: u64) -> bool {
    crossed(settings, usage, rate).is_some()
}

/// The threshold that a volume is over, in words.
fn crossed(settings: &TemplateSettings, usage: &Usage, rate: u64) -> Option<String> {
    let whole = usage.used.saturating_add(usage.available);
    let full_bytes = settings.threshold.is_reached(usage.used.0, whole.0);
    let full_inodes = usage
        .inodes
        .is_some_and(|Inodes { total, free }| settings.inodes_threshold.is_reached(total.saturating_sub(free), total));
    let left = usage.available.0.checked_div(rate).map(Duration::from_secs);
    if full_bytes {
        Some(format!("{} full, threshold {}", rounded(usage.fullness()), settings.threshold))
    } else if full_inodes {
        let (share, threshold) = (rounded(usage.inode_fullness()), settings.inodes_threshold);
        Some(format!("{share} of its inodes in use, threshold {threshold}"))
    } else if left.zip(settings.lead_time).is_some_and(|(left, lead)| left <= lead) {
        Some(format!("full in {} at the current rate", spoken(left.unwrap_or_default())))
    } else {
        None
    }
}

/// The smallest whole of which this part is less than the threshold.
fn least_whole(part: u64, threshold: Percent) -> Bytes {
    let whole = (u128::from(part) * u128::from(Percent::WHOLE)).checked_div(u128::from(threshold.0)).unwrap_or(0) + 1;
    Bytes(u64::try_from(whole).unwrap_or(Bytes::MAX.0).min(Bytes::MAX.0))
}

/// A share without its fraction; with it, an Event message would change with every byte.
fn rounded(share: Option<Percent>) -> Percent {
    Percent::whole(share.unwrap_or(Percent::whole(100)).0 / 1_000)
}
