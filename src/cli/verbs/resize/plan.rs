//! What would a request do, and must it be refused? The operator's own decision, on the set as it would be annotated.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::annotations::{PREFIX, RESIZE_NAME};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, TemplateName};
use crate::cli::failure::Failure;
use crate::cli::read::compose::{Seen, driver};
use crate::cluster::sets::SetView;
use crate::policy::claim::{self, Claim, ClaimStep};
use crate::policy::decide::{Verdict, decide};
use crate::policy::settings::{Origin, Settings, TemplateSettings, TemplateSync};

/// What a person wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) template: TemplateName,
    pub(super) size: Bytes,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// All is as it should be; says so.
    Nothing(String),
    /// This.
    Change(Change),
}

/// What will change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The size that claims and template will have.
    pub(super) to: Bytes,
    /// Claims that grow, from and to what.
    pub(super) claims: Vec<(ClaimName, Bytes, Bytes)>,
    /// The template, when it follows.
    pub(super) template: Option<(Bytes, Bytes)>,
    /// What else to know.
    pub(super) remarks: Vec<String>,
}

/// Plans it.
///
/// # Errors
/// When it would make something smaller, or cannot come true.
pub(super) fn plan(seen: &Seen, asked: &Asked, now: Timestamp) -> Result<Plan, Failure> {
    let set = &seen.set;
    let template = set.templates.iter().find(|template| template.name == asked.template);
    let template_size = template.and_then(|template| template.size).unwrap_or_default();
    let claims = template.map(|template| seen.claims_of(template)).unwrap_or_default();
    if set.deleting && !set.marked {
        return Err(Failure::refused(format!("StatefulSet {} is being deleted", set.name)));
    }
    not_smaller(seen, asked, template_size, &claims)?;
    let annotated = annotated(set, asked);
    let (settings, _) = Seen::settings(&annotated);
    let Some(own) = settings.templates.get(&asked.template) else {
        return Err(Failure::usage(format!("StatefulSet {} has no template {}", set.name, asked.template)));
    };
    if let Some(max) = own.max_size.filter(|max| *max < asked.size) {
        return Err(Failure::refused(format!("{} is more than the max-size of {max} that the set allows", asked.size))
            .hint(format!("raise the annotation {PREFIX}{} first", max_size_key(own))));
    }
    let driver = driver(&claims);
    let decision = decide(own, &driver, template_size, &claims, &BTreeMap::new(), now);
    let to = match decision.verdict {
        Verdict::Grow { to, .. } => to,
        Verdict::Keep | Verdict::Recommend { .. } | Verdict::Refuse(_) => decision.template.unwrap_or(asked.size),
    };
    let (grown, mut remarks) = grown(&claims, to, &driver, now)?;
    let stays = template_stays(&annotated, &settings);
    let template = decision.template.filter(|_| stays.is_none()).map(|to| (template_size, to));
    if grown.is_empty() && template.is_none() {
        return Ok(Plan::Nothing(format!("statefulset.apps/{} {} is {to} already", set.name.name, asked.template)));
    }
    remarks.extend(
        settings.paused.then(|| "The set is paused: nothing starts until its annotation `paused` is gone.".to_owned()),
    );
    remarks.extend(own.requested.as_ref().filter(|request| request.size > asked.size).map(|request| {
        format!("The annotation {} asks for {}, which counts, because it is larger.", request.key, request.size)
    }));
    remarks.extend(match (&template, stays) {
        (Some(_), _) => Some(recreate(seen)),
        (None, Some(why)) if template_size < to => Some(why),
        (None, _) => None,
    });
    Ok(Plan::Change(Change { to, claims: grown, template, remarks }))
}

/// What happens to the StatefulSet: at once, or after what holds it up.
fn recreate(seen: &Seen) -> String {
    let (set, replicas) = (&seen.set, seen.set.ordinals.len());
    let ready = usize::try_from(seen.ready).unwrap_or(usize::MAX);
    if set.marked {
        return "The template follows after the recreate that is in flight; the pods run on.".to_owned();
    }
    if ready != replicas {
        return format!(
            "The volumes grow now; the template follows when all replicas are ready, and {ready} of {replicas} are. See \
             why: kubectl get pods -n {}",
            set.name.namespace
        );
    }
    "When the volumes have grown, the StatefulSet is replaced by one with the larger template; its pods run on."
        .to_owned()
}

/// A volume cannot be made smaller, nor a template than its volumes.
fn not_smaller(seen: &Seen, asked: &Asked, template_size: Bytes, claims: &[Claim]) -> Result<(), Failure> {
    let largest = claims.iter().max_by_key(|claim| claim.requested);
    let (whose, has) = match largest {
        Some(claim) if claim.requested > template_size => (format!("claim {}", claim.name), claim.requested),
        Some(_) | None => (format!("template {} of {}", asked.template, seen.set.name), template_size),
    };
    match asked.size < has {
        true => Err(Failure::refused(format!(
            "{whose} has {has}, more than {}: no volume is ever made smaller",
            asked.size
        ))
        .hint("to move to smaller volumes, copy the data to a new set")),
        false => Ok(()),
    }
}

/// The annotation that says so: `max-size`, or `max-size.data`.
fn max_size_key(settings: &TemplateSettings) -> &str {
    match settings.origins.get("max-size") {
        Some(Origin::Annotation(key)) => key,
        Some(Origin::Label(_) | Origin::Limit) | None => "max-size",
    }
}

fn annotated(set: &SetView, asked: &Asked) -> SetView {
    let mut set = set.clone();
    set.annotations.insert(format!("{RESIZE_NAME}{}", asked.template), asked.size.to_string());
    set
}

type Grown = Vec<(ClaimName, Bytes, Bytes)>;

/// The claims that grow and what holds some up; refused when one never can.
fn grown(
    claims: &[Claim],
    to: Bytes,
    driver: &crate::policy::drivers::Driver,
    now: Timestamp,
) -> Result<(Grown, Vec<String>), Failure> {
    let (mut grown, mut remarks) = (Vec::new(), Vec::new());
    for claim in claims {
        match claim::next(claim, to, None, driver, now) {
            ClaimStep::Settled => continue,
            ClaimStep::Blocked(note) => return Err(Failure::refused(note.text)),
            ClaimStep::Wait(note) => remarks.push(note.text),
            ClaimStep::Patch { .. } => {}
        }
        if claim.requested < to {
            grown.push((claim.name.clone(), claim.requested, to));
        }
    }
    Ok((grown, remarks))
}

/// Why the template will not follow.
fn template_stays(set: &SetView, settings: &Settings) -> Option<String> {
    if settings.template_sync == TemplateSync::Never {
        return Some("The template stays as it is: template-sync is Never.".to_owned());
    }
    let (kind, name) = set.owner.as_ref().filter(|(kind, _)| settings.allow_owner.as_ref() != Some(kind))?;
    Some(format!(
        "The template stays as it is: {kind} {name} owns the set. Change the size there too, or annotate allow-owner."
    ))
}

#[cfg(test)]
mod tests;
