//! Should a template grow, to what, and why?
//!
//! One template at a time. The wanted size is the largest of: what an annotation or an apply asks for, what usage asks
//! for, and what the claims and the template have. Nothing ever shrinks. The fullest replica decides, all grow alike.
//!
//! A step by usage, in this order:
//!
//! 1. The step is `increase` of the claim's capacity, at least `min-increase`.
//! 2. As many steps as bring the volume below its threshold (a burst may need two), but no more than double it.
//! 3. Rounded up to whole GiB when the step is 1 GiB or more, otherwise to whole MiB; then to what the driver makes.
//! 4. Cut at the administrator's largest step, at `max-size`, and at the largest volume of the driver.
//!
//! No step is taken while an expansion of the template is unfinished, before the cooldown is over, or on the word of a
//! reading that is old, impossible, or from before the last growth. So a lying agent gains one step a cooldown, up to
//! `max-size`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::claim::{Claim, Phase};
use super::drivers::Driver;
use super::settings::{Auto, Increase, Request, TemplateSettings, TemplateSync};
use super::usage::{Inodes, Reading, Unknown, Usage};
use super::{elapsed, spoken};
use crate::api::bytes::{Bytes, Percent};
use crate::api::names::{ClaimName, TemplateName};
use crate::api::reasons::{Note, Reason};

/// From this fullness on a driver's shorter cooldown holds.
pub const EMERGENCY: Percent = Percent::whole(95);
/// A growth that is stamped later than this after `now` is nonsense, not a clock that is a little off.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(5 * 60);

/// Why a template grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// An annotation asks for a size.
    Annotation,
    /// An apply asked for a size, and the webhook recorded it.
    Apply,
    /// A replica is full.
    Usage,
    /// A claim is smaller than its siblings or its template.
    Siblings,
}

impl Trigger {
    /// The label of the metric, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Annotation => "annotation",
            Self::Apply => "apply",
            Self::Usage => "usage",
            Self::Siblings => "siblings",
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Keep,
    /// Every claim of the template should have this size.
    Grow {
        /// The size.
        to: Bytes,
        /// Why.
        trigger: Trigger,
    },
    /// It would grow by usage, but is only to be told.
    Recommend {
        /// The size.
        to: Bytes,
    },
    /// It should grow by usage, but must not.
    Refuse(Reason),
}

impl Verdict {
    const fn is_by_usage(self) -> bool {
        matches!(self, Self::Grow { trigger: Trigger::Usage, .. })
    }

    /// The label of the metric, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Grow { .. } => "grow",
            Self::Recommend { .. } => "recommend",
            Self::Refuse(_) => "refuse",
        }
    }
}

/// What a replica's volume is short of, as told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fullest {
    /// The claim.
    pub claim: ClaimName,
    /// The larger of the shares of bytes and of inodes in use.
    pub share: Percent,
}

/// The decision on one template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done with the claims.
    pub verdict: Verdict,
    /// The size the template should have once every claim is committed; none when it should stay as it is.
    pub template: Option<Bytes>,
    /// The fullest replica that is known.
    pub fullest: Option<Fullest>,
    /// What to tell, the verdict's reason first.
    pub notes: Vec<Note>,
}

/// Decides on one template. `claims` are those of the replicas in range; `template_size` is what the live template asks
/// for; `driver` is that of the claims' class.
pub fn decide(
    settings: &TemplateSettings,
    driver: &Driver,
    template_size: Bytes,
    claims: &[Claim],
    readings: &BTreeMap<ClaimName, Reading>,
    now: Timestamp,
) -> Decision {
    let asked = settings.requested.as_ref();
    if settings.auto == Auto::Off && asked.is_none() {
        return Decision { verdict: Verdict::Keep, template: None, fullest: None, notes: Vec::new() };
    }
    let usage = Look { settings, driver, claims, now }.usage(readings);
    let largest = claims.iter().map(|claim| claim.requested).max().unwrap_or_default();
    let present = largest.max(template_size);
    let by_person = asked.map_or(Bytes(0), |request| request.size);
    let by_usage = match (&usage.wish, settings.auto) {
        (Wish::Grow { to, .. }, Auto::On) => *to,
        (Wish::None | Wish::Grow { .. } | Wish::Refused(_), Auto::Off | Auto::Recommend | Auto::On) => Bytes(0),
    };
    // The siblings' sizes count only where something may be changed at all.
    let may_level = settings.auto == Auto::On || by_person > Bytes(0);
    let target = if may_level { present.max(by_person).max(by_usage) } else { Bytes(0) };
    let target = settings.max_size.map_or(target, |max| target.min(max));
    let smaller = claims.iter().any(|claim| !claim.deleting && claim.requested < target);
    let verdict = match usage.wish {
        _ if smaller => Verdict::Grow { to: target, trigger: trigger(asked, target, present, by_usage) },
        Wish::Grow { to, .. } if settings.auto == Auto::Recommend => Verdict::Recommend { to },
        Wish::Refused(ref note) => Verdict::Refuse(note.reason),
        Wish::None | Wish::Grow { .. } => Verdict::Keep,
    };
    let template = template_target(settings, template_size, target);
    Decision { verdict, template, fullest: usage.fullest.clone(), notes: notes(settings, claims, &usage, verdict) }
}

fn trigger(asked: Option<&Request>, target: Bytes, present: Bytes, by_usage: Bytes) -> Trigger {
    match asked {
        Some(request) if request.size >= target && request.size >= by_usage => {
            if request.is_from_apply() {
                Trigger::Apply
            } else {
                Trigger::Annotation
            }
        }
        Some(_) | None if by_usage > present => Trigger::Usage,
        Some(_) | None => Trigger::Siblings,
    }
}

/// The size the template should have, when that is more than it has and the mode of the set allows it.
fn template_target(settings: &TemplateSettings, template_size: Bytes, target: Bytes) -> Option<Bytes> {
    let asked = settings.requested.as_ref().map_or(Bytes(0), |request| request.size.min(target));
    let wanted = match settings.template_sync {
        TemplateSync::Always => target,
        TemplateSync::OnUserChange => asked,
        TemplateSync::Never => return None,
    };
    (wanted > template_size).then_some(wanted)
}

/// What is told, the reason of the verdict first.
fn notes(settings: &TemplateSettings, claims: &[Claim], usage: &UsageWish, verdict: Verdict) -> Vec<Note> {
    let name = &settings.name;
    let mut notes = Vec::new();
    match verdict {
        Verdict::Grow { to, trigger: Trigger::Annotation | Trigger::Apply } => notes.push(requested(settings, to)),
        // Else it is a growth under way, which was told when it began.
        Verdict::Grow { to, trigger: Trigger::Siblings } if claims.iter().all(Claim::is_done) => {
            notes.push(levelled(name, claims, to));
        }
        Verdict::Grow { trigger: Trigger::Siblings | Trigger::Usage, .. }
        | Verdict::Recommend { .. }
        | Verdict::Refuse(_)
        | Verdict::Keep => {}
    }
    match &usage.wish {
        Wish::Grow { note, .. } if settings.auto == Auto::Recommend || verdict.is_by_usage() => {
            notes.push(note.clone())
        }
        Wish::Refused(note) => notes.push(note.clone()),
        // More is asked for by a person anyway.
        Wish::None | Wish::Grow { .. } => {}
    }
    notes.extend(over_the_limit(settings));
    notes.extend(usage.unknown.clone());
    notes
}

fn levelled(template: &TemplateName, claims: &[Claim], to: Bytes) -> Note {
    let small = claims.iter().filter(|claim| claim.requested < to).count();
    let text =
        format!("template {template}: {small} of {} claims are raised to {to}, the size of the others", claims.len());
    Note::new(Reason::ResizeRequested, text)
}

fn requested(settings: &TemplateSettings, to: Bytes) -> Note {
    let key = settings.requested.as_ref().map_or("", |request| request.key.as_str());
    Note::new(Reason::ResizeRequested, format!("template {}: {key} asks for {to}; its claims grow", settings.name))
}

/// A person asked for more than is allowed.
fn over_the_limit(settings: &TemplateSettings) -> Option<Note> {
    let (request, max) = (settings.requested.as_ref()?, settings.max_size?);
    (request.size > max).then(|| {
        Note::new(
            Reason::MaxSizeReached,
            format!(
                "template {}: {} asks for {}, but the largest size allowed is {max}; raise max-size, or ask the cluster's \
                 administrator",
                settings.name, request.key, request.size
            ),
        )
    })
}

/// What usage asks for.
enum Wish {
    /// No replica is full, or nobody knows, or something is still growing.
    None,
    /// To grow to this.
    Grow { to: Bytes, note: Note },
    /// To grow, but it must not.
    Refused(Note),
}

struct UsageWish {
    wish: Wish,
    fullest: Option<Fullest>,
    unknown: Option<Note>,
}

/// A replica that is over one of its thresholds.
struct Crossing<'a> {
    claim: &'a Claim,
    capacity: Bytes,
    usage: &'a Usage,
    why: String,
}

struct Look<'a> {
    settings: &'a TemplateSettings,
    driver: &'a Driver,
    claims: &'a [Claim],
    now: Timestamp,
}

impl Look<'_> {
    fn usage(&self, readings: &BTreeMap<ClaimName, Reading>) -> UsageWish {
        let mut nothing = UsageWish { wish: Wish::None, fullest: None, unknown: None };
        if self.settings.auto == Auto::Off {
            return nothing;
        }
        let mut known = Vec::new();
        let mut unknown = Vec::new();
        for claim in self.claims.iter().filter(|claim| claim.phase == Phase::Bound && !claim.deleting) {
            let silent = || Err(Unknown::Silent("nobody was asked".to_owned()));
            match readings.get(&claim.name).map_or_else(silent, |reading| reading.current(claim, self.now)) {
                Ok((usage, rate)) => known.push((claim, usage, rate)),
                // Nobody can write to it, or the next look will tell.
                Err(Unknown::NoPod | Unknown::BeforeGrowth) => {}
                Err(why) => unknown.push((claim, why)),
            }
        }
        nothing.unknown = self.unknown(&unknown);
        let share = |usage: &Usage| usage.fullness().max(usage.inode_fullness());
        nothing.fullest = known
            .iter()
            .filter_map(|(claim, usage, _)| Some(Fullest { claim: claim.name.clone(), share: share(usage)? }))
            .max_by_key(|fullest| fullest.share);
        if self.claims.iter().any(|claim| claim.phase == Phase::Bound && !claim.is_done()) {
            return nothing;
        }
        let crossing = known.iter().filter_map(|(claim, usage, rate)| self.crossing(claim, usage, *rate));
        // One that is at its limit does not keep a smaller one from growing.
        let wish = crossing
            .map(|crossing| (self.capped(self.next_size(&crossing)), crossing))
            .max_by_key(|(to, crossing)| (*to > crossing.capacity, *to));
        // Whoever decides the size, the fullest of all decides how urgent it is.
        let emergency = known.iter().any(|(_, usage, _)| usage.fullness() >= Some(EMERGENCY));
        UsageWish { wish: wish.map_or(Wish::None, |(to, crossing)| self.allowed(&crossing, to, emergency)), ..nothing }
    }

    /// Is this replica over a threshold, and which?
    fn crossing<'a>(&self, claim: &'a Claim, usage: &'a Usage, rate: u64) -> Option<Crossing<'a>> {
        let settings = self.settings;
        let whole = usage.used.saturating_add(usage.available);
        let full_bytes = reaches(usage.used.0, whole.0, settings.threshold);
        let full_inodes = usage.inodes.is_some_and(|Inodes { total, free }| {
            reaches(total.saturating_sub(free), total, settings.inodes_threshold)
        });
        let left = usage.available.0.checked_div(rate).map(Duration::from_secs);
        let why = if full_bytes {
            format!("{} full, threshold {}", rounded(usage.fullness()), settings.threshold)
        } else if full_inodes {
            format!("{} of its inodes in use, threshold {}", rounded(usage.inode_fullness()), settings.inodes_threshold)
        } else if left.zip(settings.lead_time).is_some_and(|(left, lead)| left <= lead) {
            format!("full in {}, as it fills now", spoken(left.unwrap_or_default()))
        } else {
            return None;
        };
        Some(Crossing { claim, capacity: claim.capacity?, usage, why })
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

    /// How much larger the volume must be to be below its thresholds with what is in use.
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

    /// At most the largest size allowed.
    fn capped(&self, to: Bytes) -> Bytes {
        self.settings.max_size.map_or(to, |max| to.min(max))
    }

    /// The size, or why it must not be.
    fn allowed(&self, crossing: &Crossing<'_>, to: Bytes, emergency: bool) -> Wish {
        let (claim, capacity) = (&crossing.claim.name, crossing.capacity);
        if to <= capacity {
            return Wish::Refused(Note::new(
                Reason::MaxSizeReached,
                format!(
                    "claim {claim} is {} and has {capacity}, the largest size allowed; raise max-size, or make room",
                    crossing.why
                ),
            ));
        }
        if let Some(left) = self.cooldown_left(emergency) {
            return Wish::Refused(Note::new(
                Reason::CooldownActive,
                format!(
                    "claim {claim} is {} and should grow to {to}, but its template grew less than {} ago; it grows by \
                     itself later. Lower cooldown, or ask for the size with resize.{}",
                    crossing.why,
                    spoken(left),
                    self.settings.name
                ),
            ));
        }
        let grows = if self.settings.auto == Auto::Recommend { "should grow" } else { "grows" };
        let text = format!(
            "claim {claim} is {}: template {} {grows} from {capacity} to {to}",
            crossing.why, self.settings.name
        );
        Wish::Grow { to, note: Note::new(Reason::AutoResizeTriggered, text) }
    }

    /// The cooldown, while it is not over.
    fn cooldown_left(&self, emergency: bool) -> Option<Duration> {
        let of_driver = match self.driver.emergency_cooldown {
            Some(shorter) if emergency => shorter,
            Some(_) | None => self.driver.cooldown,
        };
        let cooldown = self.settings.cooldown.unwrap_or(of_driver).max(self.settings.min_cooldown);
        let honest = |at: &Timestamp| elapsed(self.now, *at) <= CLOCKS_DIFFER_BY;
        let last = self.claims.iter().filter_map(|claim| claim.resized_at).filter(honest).max()?;
        (elapsed(last, self.now) < cooldown).then_some(cooldown)
    }

    /// One note for all replicas that are not known.
    fn unknown(&self, unknown: &[(&Claim, Unknown)]) -> Option<Note> {
        let ((claim, why), others) = unknown.split_first()?;
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        let text = format!("nobody says how full claim {}{more} is: {}", claim.name, why.told());
        Some(Note::new(Reason::UsageUnknown, text))
    }
}

/// part/whole ≥ threshold, exactly. A filesystem with no room at all is full.
fn reaches(part: u64, whole: u64, threshold: Percent) -> bool {
    u128::from(part) * u128::from(Percent::WHOLE) >= u128::from(whole) * u128::from(threshold.0)
}

/// The smallest whole of which this part is less than the threshold.
fn least_whole(part: u64, threshold: Percent) -> Bytes {
    let whole = (u128::from(part) * u128::from(Percent::WHOLE)).checked_div(u128::from(threshold.0)).unwrap_or(0) + 1;
    Bytes(u64::try_from(whole).unwrap_or(Bytes::MAX.0).min(Bytes::MAX.0))
}

/// A share without its fraction, so that a note does not change with every byte.
fn rounded(share: Option<Percent>) -> Percent {
    Percent::whole(share.unwrap_or(Percent::whole(100)).0 / 1_000)
}

#[cfg(test)]
mod tests;
