//! The decision whether to expand a template, to what size, and why.
//!
//! rso decides on one template at a time. The desired size is the largest of the size that an annotation or an apply
//! requests, the size that usage requires, and the sizes that the PVCs and the template have. rso never shrinks a
//! volume. The fullest replica decides, and rso expands all replicas to the same size.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::claim::Claim;
use super::drivers::Driver;
use super::gates::Gate;
use super::settings::{Auto, Request, TemplateSettings, TemplateSync};
use super::usage::Reading;
use crate::api::bytes::{Bytes, Percent};
use crate::api::names::ClaimName;
use crate::api::reasons::{Note, Reason};

mod crossing;
mod look;
mod step;
mod unmeasured;
mod wish;
pub use crossing::reaches_threshold;
pub use unmeasured::Rescue;
use wish::{UsageWish, Wish};

/// Why rso expands a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// An annotation requests a size.
    Annotation,
    /// An apply requested a size, and the webhook recorded it.
    Apply,
    /// A replica is full.
    Usage,
    /// Nothing measures a replica, and there is evidence that it is full.
    Rescue,
    /// A PVC is smaller than its siblings or its template.
    Siblings,
}

impl Trigger {
    /// The label of the metric, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Annotation => "annotation",
            Self::Apply => "apply",
            Self::Usage => "usage",
            Self::Rescue => "rescue",
            Self::Siblings => "siblings",
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Keep,
    /// Every PVC of the template needs this size.
    Grow {
        /// The size.
        to: Bytes,
        /// Why.
        trigger: Trigger,
    },
    /// Usage requires an expansion, but rso only recommends it.
    Recommend {
        /// The size.
        to: Bytes,
    },
    /// Usage requires an expansion, but it is not allowed.
    Refuse(Reason),
}

impl Verdict {
    const fn is_by_usage(self) -> bool {
        matches!(self, Self::Grow { trigger: Trigger::Usage | Trigger::Rescue, .. })
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

/// The fullest replica, as rso reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fullest {
    /// The PVC.
    pub claim: ClaimName,
    /// The larger of the shares of bytes and of inodes in use.
    pub share: Percent,
}

/// How full the volume of one PVC is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fullness {
    /// The larger of the shares of bytes and of inodes in use.
    pub share: Percent,
    /// Whether it is over a threshold of its settings.
    pub is_over: bool,
}

/// The decision on one template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to do with the PVCs.
    pub verdict: Verdict,
    /// The size that the template needs once every PVC is committed; `None` if the template keeps its size.
    pub template: Option<Bytes>,
    /// The fullest replica whose usage is known.
    pub fullest: Option<Fullest>,
    /// How full each PVC is whose usage is known.
    pub measured: BTreeMap<ClaimName, Fullness>,
    /// The PVC that is expanded without a measurement.
    pub rescue: Option<Rescue>,
    /// The gate at which an expansion by usage stops; `None` if all are open.
    pub stops_at: Option<Gate>,
    /// The Event messages to report, the one with the reason for the decision first.
    pub notes: Vec<Note>,
}

/// Decides on one template. `claims` are the PVCs of the replicas in range; `template_size` is the size that the live
/// template requests; `driver` is the driver of the PVCs' StorageClass.
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
        let measured = BTreeMap::new();
        let (notes, rescue, stops_at) = (Vec::new(), None, Some(Gate::Managed));
        return Decision { verdict: Verdict::Keep, template: None, fullest: None, measured, rescue, stops_at, notes };
    }
    let usage = wish::by_usage(settings, driver, claims, readings, now);
    // The other PVCs do not follow to a size that the driver has refused.
    let size = |claim: &Claim| if claim.is_infeasible() { claim.capacity.unwrap_or_default() } else { claim.requested };
    let largest = claims.iter().map(size).max().unwrap_or_default();
    let present = largest.max(template_size);
    let by_person = asked.map_or(Bytes(0), |request| request.size);
    let by_usage = match (&usage.wish, settings.auto) {
        (Wish::Grow { to, .. }, Auto::On) => *to,
        (Wish::None | Wish::Grow { .. } | Wish::Refused(_), Auto::Off | Auto::Recommend | Auto::On) => Bytes(0),
    };
    // The siblings' sizes count only if rso may change anything at all.
    let may_level = settings.auto == Auto::On || by_person > Bytes(0);
    let target = if may_level { present.max(by_person).max(by_usage) } else { Bytes(0) };
    let target = settings.max_size.map_or(target, |max| target.min(max));
    let smaller = claims.iter().any(|claim| is_behind(claim, target));
    let verdict = match usage.wish {
        _ if smaller => Verdict::Grow { to: target, trigger: trigger(asked, target, present, &usage, by_usage) },
        Wish::Grow { to, .. } if settings.auto == Auto::Recommend => Verdict::Recommend { to },
        Wish::Refused(ref note) => Verdict::Refuse(note.reason),
        Wish::None | Wish::Grow { .. } => Verdict::Keep,
    };
    let template = template_target(settings, template_size, target);
    let notes = notes(settings, template_size, claims, &usage, verdict);
    let rescue = usage.rescue.filter(|_| matches!(verdict, Verdict::Grow { trigger: Trigger::Rescue, .. }));
    let UsageWish { fullest, measured, stops_at, .. } = usage;
    Decision { verdict, template, fullest, measured, rescue, stops_at, notes }
}

fn is_behind(claim: &Claim, target: Bytes) -> bool {
    !claim.is_leaving() && !claim.is_committed(target)
}

fn trigger(asked: Option<&Request>, target: Bytes, present: Bytes, usage: &UsageWish, by_usage: Bytes) -> Trigger {
    match asked {
        Some(request) if request.size >= target && request.size >= by_usage => {
            if request.is_from_apply() {
                Trigger::Apply
            } else {
                Trigger::Annotation
            }
        }
        Some(_) | None if by_usage > present && usage.rescue.is_some() => Trigger::Rescue,
        Some(_) | None if by_usage > present => Trigger::Usage,
        Some(_) | None => Trigger::Siblings,
    }
}

/// The size for the template, if it is larger than the current one and the `template-sync` mode of the StatefulSet
/// allows it.
fn template_target(settings: &TemplateSettings, template_size: Bytes, target: Bytes) -> Option<Bytes> {
    let asked = settings.requested.as_ref().map_or(Bytes(0), |request| request.size.min(target));
    let wanted = match settings.template_sync {
        TemplateSync::Always => target,
        TemplateSync::OnUserChange => asked,
        TemplateSync::Never => return None,
    };
    (wanted > template_size).then_some(wanted)
}

/// The Event messages to report, the one with the reason for the decision first.
fn notes(
    settings: &TemplateSettings,
    template_size: Bytes,
    claims: &[Claim],
    usage: &UsageWish,
    verdict: Verdict,
) -> Vec<Note> {
    let mut notes = Vec::new();
    match verdict {
        Verdict::Grow { to, trigger: Trigger::Annotation | Trigger::Apply } => {
            notes.push(requested(settings, claims, to));
        }
        Verdict::Grow { to, trigger: Trigger::Siblings } => notes.extend(levelled(settings, template_size, claims, to)),
        Verdict::Grow { trigger: Trigger::Usage | Trigger::Rescue, .. }
        | Verdict::Recommend { .. }
        | Verdict::Refuse(_)
        | Verdict::Keep => {}
    }
    match &usage.wish {
        Wish::Grow { note, .. } if settings.auto == Auto::Recommend || verdict.is_by_usage() => {
            notes.push(note.clone())
        }
        Wish::Refused(note) => notes.push(note.clone()),
        // A larger size is requested anyway.
        Wish::None | Wish::Grow { .. } => {}
    }
    notes.extend(usage.at_limit.clone());
    notes.extend(over_the_limit(settings));
    notes.extend(unmeasured::without_limit(settings).filter(|_| settings.auto != Auto::Off));
    notes.extend(usage.unknown.clone());
    notes
}

/// The Event message about PVCs that rso expands because others, or the template, are larger: it says whose size that
/// is, and who set it.
///
/// If rso itself requested that size and is still expanding, it reported the expansion when it began; there is no
/// message.
fn levelled(settings: &TemplateSettings, template_size: Bytes, claims: &[Claim], to: Bytes) -> Option<Note> {
    let largest = claims.iter().filter(|claim| claim.requested >= to && !claim.is_infeasible());
    let largest = largest.max_by_key(|claim| claim.requested);
    let is_ours = |claim: &Claim| claim.sizer.as_ref().is_some_and(|sizer| sizer.is_ours);
    if largest.is_some_and(is_ours) && !claims.iter().all(Claim::is_done) {
        return None;
    }
    let whose = match largest {
        Some(claim) => match claim.sizer.as_ref().filter(|sizer| !sizer.is_ours && sizer.manager != CREATOR) {
            Some(sizer) => format!("PVC {} was set to {} by {}", claim.name, claim.requested, short(&sizer.manager)),
            None => format!("PVC {} requests {}", claim.name, claim.requested),
        },
        None => format!("the template requests {template_size}"),
    };
    let limit = settings.max_size.map(|max| format!(", up to max-size {max}")).unwrap_or_default();
    let text =
        format!("template {}: {whose}; {} request less and need {to}{limit}", settings.name, counted(claims, to));
    Some(Note::new(Reason::ResizeRequested, to, text).about(&settings.name))
}

/// The field manager of the controller that makes the PVCs of StatefulSets.
const CREATOR: &str = "kube-controller-manager";

/// The name of a field manager, which any client can choose, without control characters and cut to 64 characters.
fn short(manager: &str) -> String {
    manager.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn counted(claims: &[Claim], to: Bytes) -> String {
    format!("{} of {} PVCs", claims.iter().filter(|claim| is_behind(claim, to)).count(), claims.len())
}

/// The Event message about a requested size. Only the API server knows whether it accepts the size.
fn requested(settings: &TemplateSettings, claims: &[Claim], to: Bytes) -> Note {
    let key = settings.requested.as_ref().map_or("", |request| request.key.as_str());
    let text = format!("template {}: {key} requests {to}; {} request less", settings.name, counted(claims, to));
    Note::new(Reason::ResizeRequested, to, text).about(&settings.name)
}

/// The warning that a request exceeds the largest size allowed.
fn over_the_limit(settings: &TemplateSettings) -> Option<Note> {
    let (request, max) = (settings.requested.as_ref()?, settings.max_size?);
    (request.size > max).then(|| {
        let text = format!(
            "template {}: {} requests {}, but the largest size allowed is {max}; raise max-size, or ask the administrator of \
             the cluster",
            settings.name, request.key, request.size
        );
        Note::new(Reason::MaxSizeReached, "request", text).about(&settings.name)
    })
}

#[cfg(test)]
mod tests;
