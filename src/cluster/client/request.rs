//! The parts of a request: its description for messages, and the options of a deletion.

use serde_json::{Value, json};

use super::{Call, Effect};
use crate::api::objects::{Address, Resource};
use crate::api::write::{Dependents, Precondition};

/// Whether a write is a dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// The write is stored.
    Real,
    /// `dryRun=All`.
    Dry,
}

/// The description of a request.
pub(super) fn call(
    verb: &'static str,
    resource: &Resource,
    subresource: Option<&str>,
    object: String,
    effect: Effect,
) -> Call {
    // `proxy/disk` is a path below the subresource `proxy`, which is the name in RBAC rules.
    let part = subresource.and_then(|part| part.split('/').next()).map(|part| format!("/{part}")).unwrap_or_default();
    let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
    Call { verb, resource: format!("{}{part}{group}", resource.plural), object, effect }
}

/// The effect of a write.
pub(super) fn effect(run: Run) -> Effect {
    match run {
        Run::Real => Effect::Writes,
        Run::Dry => Effect::Reads,
    }
}

/// The address of a DELETE. In its query, `dryRun` is for people and programs that read the audit log, which has no
/// bodies: without it, the dry run is the same there as the DELETE.
pub(super) fn delete_path(object: &Address, run: Run) -> String {
    let dry = match run {
        Run::Real => "",
        Run::Dry => "?dryRun=All",
    };
    format!("{}{dry}", object.path())
}

/// `dryRun` is in the body: in the query of a DELETE that has a body, the server ignores it and deletes the object
/// (observed on 1.37.1).
pub(super) fn delete_options(dependents: Dependents, only: &Precondition, run: Run) -> Value {
    let mut options = json!({
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": match dependents {
            Dependents::Orphan => "Orphan",
            Dependents::Background => "Background",
        },
        "preconditions": { "uid": only.uid.as_str(), "resourceVersion": only.resource_version },
    });
    if run == Run::Dry {
        options["dryRun"] = json!(["All"]);
    }
    options
}
