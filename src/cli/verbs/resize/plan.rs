//! The effect of a resize request, or why it is refused: the operator's own decision, on the StatefulSet with the annotation.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::annotations::{PREFIX, RESIZE_NAME};
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, TemplateName};
use crate::cli::failure::Failure;
use crate::cli::read::compose::Snapshot;
use crate::policy::claim::{self, Claim, ClaimStep};
use crate::policy::decide::{Verdict, decide};
use crate::policy::drivers::{Driver, Drivers};
use crate::policy::settings::{Limits, Origin, Settings, TemplateSettings, TemplateSync};
use crate::workload::statefulset::StatefulSetView;

/// What the user requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) template: TemplateName,
    pub(super) size: Bytes,
}

/// The effect of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// None; the text says why.
    Nothing(String),
    /// These changes.
    Change(Change),
}

/// What will change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The size that the PVCs and the template will have.
    pub(super) to: Bytes,
    /// The PVCs that will be expanded, with the present and the new size.
    pub(super) claims: Vec<Expansion>,
    /// The same for the template, if it will be updated.
    pub(super) template: Option<(Bytes, Bytes)>,
    /// What else the user should know.
    pub(super) remarks: Vec<String>,
}

/// A PVC that will be expanded, with the present and the new size.
type Expansion = (ClaimName, Bytes, Bytes);

/// Plans a request.
///
/// # Errors
/// If it would make a volume smaller, or cannot be fulfilled.
pub(super) fn plan(snapshot: &Snapshot, request: &Request, now: Timestamp) -> Result<Plan, Failure> {
    let set = &snapshot.workload.set;
    let group = snapshot.workload.group(&request.template);
    let template_size = group.and_then(|group| group.template.size).unwrap_or_default();
    let claims = group.map_or(&[][..], |group| &group.claims);
    if set.deleting && !set.marked {
        return Err(Failure::refused(format!("StatefulSet {} is being deleted", set.name)));
    }
    is_not_smaller(snapshot, request, template_size, claims)?;
    let annotated = annotated(set, request);
    let (settings, _) = annotated.settings(&Limits::default());
    let Some(own) = settings.templates.get(&request.template) else {
        return Err(Failure::usage(format!("StatefulSet {} has no template {}", set.name, request.template)));
    };
    is_within_max_size(set, request, own)?;
    let driver = group.map(|group| group.driver(&Drivers::default())).unwrap_or_default();
    let decision = decide(own, &driver, template_size, claims, &BTreeMap::new(), now);
    let to = match decision.verdict {
        Verdict::Grow { to, .. } => to,
        Verdict::Keep | Verdict::Recommend { .. } | Verdict::Refuse(_) => decision.template.unwrap_or(request.size),
    };
    let (claims, mut remarks) = expansions(claims, to, &driver, now)?;
    let obstacle = template_obstacle(&annotated, &settings);
    let template = decision.template.filter(|_| obstacle.is_none()).map(|to| (template_size, to));
    if claims.is_empty() && template.is_none() {
        return Ok(Plan::Nothing(format!("statefulset.apps/{} {} already has {to}", set.name.name, request.template)));
    }
    remarks.extend(settings_remarks(request, &settings, own));
    remarks.extend(match (&template, obstacle) {
        (Some(_), _) => Some(recreation(snapshot)),
        (None, Some(why)) if template_size < to => Some(why),
        (None, _) => None,
    });
    Ok(Plan::Change(Change { to, claims, template, remarks }))
}

/// Refuses a size above `max-size`.
fn is_within_max_size(set: &StatefulSetView, request: &Request, own: &TemplateSettings) -> Result<(), Failure> {
    let Some(max) = own.max_size.filter(|max| *max < request.size) else { return Ok(()) };
    let (name, key, size) = (&set.name, max_size_key(own), request.size);
    Err(Failure::refused(format!("{size} exceeds the max-size of {max} of StatefulSet {name}")).hint(format!(
        "Raise the limit first: kubectl annotate statefulset {} -n {} --overwrite {PREFIX}{key}={size}",
        name.name, name.namespace
    )))
}

/// What the annotations mean for the request.
fn settings_remarks(request: &Request, settings: &Settings, own: &TemplateSettings) -> Vec<String> {
    let paused = settings
        .paused
        .then(|| "The StatefulSet is paused: rso starts nothing until you remove the annotation `paused`.".to_owned());
    let larger = own.requested.as_ref().filter(|other| other.size > request.size).map(|other| {
        format!("The annotation {} requests {}, which has precedence because it is larger.", other.key, other.size)
    });
    paused.into_iter().chain(larger).collect()
}

/// When the operator recreates the StatefulSet, and what it waits for.
fn recreation(snapshot: &Snapshot) -> String {
    let set = &snapshot.workload.set;
    let replicas = set.ordinals.len();
    let ready = usize::try_from(snapshot.ready).unwrap_or(usize::MAX);
    if set.marked {
        return "rso updates the template after the recreation in progress; the Pods keep running.".to_owned();
    }
    if ready != replicas {
        return format!(
            "rso expands the volumes now and updates the template once all replicas are ready ({ready} of {replicas} are). To \
             see why they are not: kubectl get pods -n {}",
            set.name.namespace
        );
    }
    "Once every PVC has accepted its size, rso recreates the StatefulSet with the larger template; the Pods keep running."
        .to_owned()
}

/// Refuses a size below that of a volume, or of the template.
fn is_not_smaller(
    snapshot: &Snapshot,
    request: &Request,
    template_size: Bytes,
    claims: &[Claim],
) -> Result<(), Failure> {
    let largest = claims.iter().max_by_key(|claim| claim.requested);
    let (what, size) = match largest {
        Some(claim) if claim.requested > template_size => (format!("PVC {}", claim.name), claim.requested),
        Some(_) | None => (format!("template {} of {}", request.template, snapshot.workload.set.name), template_size),
    };
    match request.size < size {
        true => Err(Failure::refused(format!("{what} has {size}, more than {}: volumes cannot shrink", request.size))
            .hint("To use smaller volumes, copy the data to a new StatefulSet.")),
        false => Ok(()),
    }
}

/// The key of the annotation that sets the limit: `max-size`, or `max-size.data`.
fn max_size_key(settings: &TemplateSettings) -> &str {
    match settings.origins.get("max-size") {
        Some(Origin::Annotation(key)) => key,
        Some(
            Origin::Label(_)
            | Origin::ClaimLabel(..)
            | Origin::ClaimAnnotation(..)
            | Origin::NamespaceLabel
            | Origin::Policy(_)
            | Origin::OperatorPolicy(_)
            | Origin::PolicyLimit(_)
            | Origin::Limit,
        )
        | None => "max-size",
    }
}

fn annotated(set: &StatefulSetView, request: &Request) -> StatefulSetView {
    let mut set = set.clone();
    set.annotations.insert(format!("{RESIZE_NAME}{}", request.template), request.size.to_string());
    set
}

/// The PVCs that will be expanded, and what delays some of them; refused if one of them cannot be expanded.
fn expansions(
    claims: &[Claim],
    to: Bytes,
    driver: &Driver,
    now: Timestamp,
) -> Result<(Vec<Expansion>, Vec<String>), Failure> {
    let (mut expansions, mut remarks) = (Vec::new(), Vec::new());
    for claim in claims {
        match claim::next(claim, to, None, driver, now) {
            ClaimStep::Settled => continue,
            ClaimStep::Blocked(note) => return Err(Failure::refused(note.text)),
            ClaimStep::Wait(note) => remarks.push(note.text),
            ClaimStep::Patch { .. } => {}
        }
        if claim.requested < to {
            expansions.push((claim.name.clone(), claim.requested, to));
        }
    }
    Ok((expansions, remarks))
}

/// Why the operator does not update the template.
fn template_obstacle(set: &StatefulSetView, settings: &Settings) -> Option<String> {
    if settings.template_sync == TemplateSync::Never {
        return Some("rso does not update the template, because template-sync is Never.".to_owned());
    }
    let (kind, name) = set.owner.as_ref().filter(|(kind, _)| settings.allow_owner.as_ref() != Some(kind))?;
    Some(format!(
        "rso does not update the template, because {kind} {name} owns the StatefulSet. Change the size in the {kind} too, or \
         set the annotation allow-owner: {kind}"
    ))
}

#[cfg(test)]
mod tests;
