//! The answers to the dry runs of the Pods: what admission would change or refuse when a recreation changes their owners.
//!
//! The garbage collector and the StatefulSet controller send these writes, not rso. An exemption of the operator's own
//! account from a policy therefore does not help, and the advice is another one than for the writes of rso.

use std::collections::BTreeMap;

use super::super::super::compare;
use super::super::super::probes::{LABELS, PodAnswer, Verdict};
use super::expect;
use crate::api::reasons::Note;
use crate::api::refusal::{Kind, Refusal};

/// The message with which the chart's policy for the operator's own account rejects another change of a Pod. The policy
/// of the chart does not evaluate dry runs of Pods; an earlier one did.
pub const OWN_POLICY: &str = "rso may change only the annotation resize-seen and metadata.ownerReferences of a Pod";

/// Why the exemption that rso asks for elsewhere is not the one for a policy about Pods.
const NOT_ENOUGH: &str = "(to exempt the operator's ServiceAccount is not enough, because the garbage collector and the \
     StatefulSet controller change the owner)";

/// Evaluates them. What requires a person is reported first, because the rest resolves by itself.
///
/// # Errors
/// What admission would change or refuse, or which answer is missing.
pub(super) fn evaluate(answers: &BTreeMap<String, PodAnswer>) -> Result<(), Note> {
    if let Some(fields) = answers.values().find_map(|answer| changed_fields(&answer.verdict)) {
        let same = |answer: &PodAnswer| changed_fields(&answer.verdict).as_ref() == Some(&fields);
        let pods = answers.iter().filter(|(_, answer)| same(answer)).map(|(pod, _)| pod.clone()).collect::<Vec<_>>();
        return Err(changed(&pods, &fields));
    }
    for (pod, answer) in answers {
        if let Verdict::Refused(why) = &answer.verdict {
            return Err(refused(pod, why));
        }
    }
    for (pod, answer) in answers {
        if answer.verdict == Verdict::Conflict {
            let text = format!("Pod {pod} changed during a dry run of a change of its owner; rso retries");
            return Err(Note::deferred("dry-run-conflict", text));
        }
        expect(&answer.verdict, &Verdict::Accepted, &what(pod))?;
    }
    Ok(())
}

fn what(pod: &str) -> String {
    format!("changing the owner of Pod {pod}")
}

fn changed_fields(verdict: &Verdict) -> Option<Vec<String>> {
    match verdict {
        Verdict::Changed(fields) => Some(fields.clone()),
        Verdict::Refused(why) if why.contains(OWN_POLICY) => Some(vec!["spec, labels, or annotations".to_owned()]),
        Verdict::Refused(_) | Verdict::Accepted | Verdict::AlreadyExists | Verdict::Conflict | Verdict::Unknown(_) => {
            None
        }
    }
}

fn changed(pods: &[String], fields: &[String]) -> Note {
    let (names, fields) = (compare::listed(pods), compare::listed(fields));
    let effect = if fields == LABELS {
        "the selector of the StatefulSet would no longer match, and the StatefulSet controller would replace the Pods"
    } else {
        "the containers could restart"
    };
    let first = pods.first().map_or("", String::as_str);
    let text = format!(
        "an admission policy or webhook changes {fields} of Pod {names} on every UPDATE. A recreation changes the owner of \
         each Pod, so {effect}. Nothing was written. Exempt the Pods from that policy {NOT_ENOUGH}; list the candidates with \
         `kubectl get mutatingadmissionpolicies,mutatingwebhookconfigurations`. Or give each of these Pods what the policy \
         asks for, by a restart when it is convenient: `kubectl delete pod {first}`"
    );
    Note::blocked(format_args!("pods-changed-by-admission: {fields}"), text)
}

fn refused(pod: &str, why: &str) -> Note {
    let refusal = Refusal::read(why);
    let advice = if matches!(refusal.kind, Kind::Policy { .. } | Kind::Webhook { .. }) {
        format!("exempt the Pods in it {NOT_ENOUGH}")
    } else {
        refusal.advice()
    };
    let what = what(pod);
    let text = format!("the API server refused a dry run of {what}: {why}. Nothing was changed; {advice}");
    Note::blocked(format_args!("dry-run-refused: changing the owner of a Pod: {}", refusal.case()), text)
}
