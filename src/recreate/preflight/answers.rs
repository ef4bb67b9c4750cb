//! The answers of the API server: what a refused dry run, a refused write, and a second selector mean.

use super::super::compare;
use super::super::probes::{Probes, Verdict};
use super::super::rivals::{Found, Rivals};
use crate::api::reasons::Note;
use crate::api::refusal::Refusal;

mod pods;

#[cfg(feature = "testing")]
pub use pods::OWN_POLICY as OWN_POLICY_OF_PODS;

/// The message with which the chart's policy for the operator's own account rejects a CREATE outside of a recreation.
pub const OWN_POLICY: &str = "rso may create a StatefulSet only during a recreation";

/// Evaluates the dry runs.
///
/// # Errors
/// What was refused.
pub fn evaluate(probes: &Probes) -> Result<(), Note> {
    if matches!(probes.native, Verdict::Unknown(_)) {
        // The server may take it, and then nothing has to be replaced.
        expect(&probes.native, &Verdict::Accepted, "updating the templates in place")?;
    }
    expect(&probes.create, &Verdict::AlreadyExists, "creating the StatefulSet")?;
    expect(&probes.copy, &Verdict::Accepted, "creating the StatefulSet under another name")?;
    expect(&probes.delete, &Verdict::Accepted, "deleting the StatefulSet with its Pods orphaned")?;
    expect(&probes.hold, &Verdict::Accepted, "adding a finalizer to the StatefulSet")?;
    expect(&probes.spec, &Verdict::Accepted, "changing updateStrategy and whenDeleted of the StatefulSet")?;
    expect(&probes.protect, &Verdict::Accepted, "adding an ownerReference to a PVC")?;
    expect(&probes.backup, &Verdict::Accepted, "saving the StatefulSet to a ConfigMap in its namespace")?;
    pods::evaluate(&probes.pods)
}

fn expect(verdict: &Verdict, wanted: &Verdict, what: &str) -> Result<(), Note> {
    if verdict == wanted {
        return Ok(());
    }
    match verdict {
        Verdict::Accepted | Verdict::Conflict => {
            let text = format!("the StatefulSet changed during a dry run of {what}; rso retries");
            Err(Note::deferred("dry-run-conflict", text))
        }
        Verdict::AlreadyExists => {
            let text = format!("a dry run of {what} found an object with the same name; rso retries");
            Err(Note::deferred("dry-run-exists", text))
        }
        Verdict::Changed(fields) => Err(changed(what, fields)),
        Verdict::Unknown(why) => {
            let text = format!("a dry run of {what} got no answer ({why}); rso retries");
            Err(Note::deferred("dry-run-unknown", text))
        }
        // It refuses no CREATE as it is sent, so something changed this one before.
        Verdict::Refused(why) if why.contains(OWN_POLICY) => {
            Err(changed(what, &["its annotations, updateStrategy or whenDeleted".to_owned()]))
        }
        Verdict::Refused(why) => {
            let refusal = Refusal::read(why);
            let advice = refusal.advice();
            let text = format!("the API server refused a dry run of {what}: {why}. Nothing was changed; {advice}");
            Err(Note::blocked(format_args!("dry-run-refused: {what}: {}", refusal.case()), text))
        }
    }
}

/// Admission would change more than was requested. Only the API server knows which policy does that.
pub fn changed(what: &str, fields: &[String]) -> Note {
    let fields = compare::listed(fields);
    let text = format!(
        "an admission policy or webhook changes {fields} when rso tries {what}, which could restart Pods or revert the new \
         size. Nothing was written. Exempt the operator's ServiceAccount from that policy (list the candidates with `kubectl \
         get mutatingadmissionpolicies,mutatingwebhookconfigurations`), or let the policy change the StatefulSet when a \
         restart is convenient, for example with an apply"
    );
    Note::blocked(format_args!("changed-by-admission: {what}: {fields}"), text)
}

/// The API server refused a write that no dry run covers, or that its dry run allowed.
pub fn refused(why: &str) -> Note {
    let refusal = Refusal::read(why);
    let text = format!("rso rolled the recreation back: a write was refused: {why}; {}", refusal.advice());
    Note::blocked(format_args!("write-refused: {}", refusal.case()), text)
}

/// Does no other selector match what the StatefulSet releases for a moment?
///
/// # Errors
/// The owners of such selectors, or why they are not known.
pub fn alone(rivals: &Rivals) -> Result<(), Note> {
    match &rivals.found {
        Found::Rivals(names) if names.is_empty() => Ok(()),
        Found::Rivals(names) => {
            let names = compare::listed(names);
            let text = format!(
                "the selector of {names} also matches the Pods of this StatefulSet. While the StatefulSet is recreated, its \
                 Pods have no owner, and the other controller would adopt them and might delete some. Give each workload \
                 labels and a selector of its own; until then, rso expands the PVCs and does not update the template"
            );
            Err(Note::blocked("same-pods-selected", text).about(names))
        }
        Found::Forbidden(why) => Err(Note::blocked(
            "selectors-forbidden",
            format!(
                "rso cannot check whether another workload selects the same Pods: {why}. Allow the operator to list \
                 statefulsets, replicasets, daemonsets, replicationcontrollers and jobs in this namespace, as the roles of \
                 the chart do"
            ),
        )),
        Found::Unknown(why) => Err(Note::deferred(
            "selectors-unknown",
            format!("rso cannot check whether another workload selects the same Pods ({why}); it retries"),
        )),
    }
}
