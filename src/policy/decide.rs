//! Should a template grow, to what, and why?
//!
//! One template at a time. The wanted size is the largest of: what an annotation or an apply asks for, what usage asks
//! for, and what the claims and the template have. Nothing ever shrinks. The fullest replica decides, all grow alike.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::claim::Claim;
use super::drivers::Driver;
use super::settings::{Auto, Request, TemplateSettings, TemplateSync};
use super::usage::Reading;
use crate::api::bytes::{Bytes, Percent};
use crate::api::names::{ClaimName, TemplateName};
use crate::api::reasons::{Note, Reason};

mod wish;
pub use wish::{EMERGENCY, reaches_threshold};
use wish::{UsageWish, Wish};

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
    let usage = wish::by_usage(settings, driver, claims, readings, now);
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

#[cfg(test)]
mod tests;
