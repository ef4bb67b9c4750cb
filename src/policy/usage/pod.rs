//! The reason why a Pod does not run, which rso reports with the volume whose usage is unknown.

use crate::api::annotations::PREFIX;
use crate::api::bytes::Bytes;
use crate::policy::claim::Claim;
use crate::policy::values::quote_up_to;

/// The maximum number of characters of a message that rso shows.
const MESSAGE: usize = 100;

/// A Pod that does not start, or restarts again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The Pod's namespace.
    pub namespace: String,
    /// The Pod's name.
    pub pod: String,
    /// The container that does not run; `None` if it is the Pod as a whole.
    pub container: Option<String>,
    /// The reason that Kubernetes reports: `CrashLoopBackOff`, `ImagePullBackOff`, `Unschedulable`.
    pub reason: String,
    /// The message that Kubernetes reports with the reason, or empty.
    pub message: String,
}

impl Failing {
    /// For a person: which container waits for what, and the command that helps when the disk is full.
    pub fn explained(&self, claim: &Claim) -> String {
        let Self { namespace, pod, container, reason, message } = self;
        let what = match container {
            Some(container) => format!("container {container} is in {reason}"),
            None => format!("the Pod is in {reason}"),
        };
        let words = if message.is_empty() { String::new() } else { format!(" ({})", quote_up_to(message, MESSAGE)) };
        format!(
            "Pod {pod} does not run: {what}{words}. If its disk is full, request a size: kubectl annotate statefulset {} -n \
             {namespace} --overwrite {PREFIX}resize.{}={}",
            set_of(claim),
            claim.template,
            larger(claim.requested)
        )
    }
}

/// The StatefulSet in the name of a PVC, `<template>-<set>-<ordinal>`, whose template and ordinal are known.
fn set_of(claim: &Claim) -> &str {
    let name = claim.name.as_str().strip_prefix(claim.template.as_str()).unwrap_or_default();
    let name = name.strip_prefix('-').unwrap_or_default();
    name.rsplit_once('-').map_or(name, |(set, _)| set)
}

/// A size that is larger by half, as an example that can be typed.
fn larger(size: Bytes) -> Bytes {
    let unit = if size >= Bytes::gib(2) { Bytes::gib(1) } else { Bytes::mib(1) };
    size.saturating_add(Bytes(size.0 / 2)).round_up_to(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::claim;

    fn failing(container: Option<&str>, reason: &str, message: &str) -> Failing {
        Failing {
            namespace: "shop".to_owned(),
            pod: "db-0".to_owned(),
            container: container.map(ToOwned::to_owned),
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_pod_that_does_not_run_is_reported_with_its_cause_and_a_command_to_type() {
        let check = |failing: Failing, size: Bytes, expected: &str| {
            assert_eq!(failing.explained(&claim(0, size)), expected);
        };
        check(
            failing(Some("prepare"), "CrashLoopBackOff", "back-off 40s restarting failed container=prepare"),
            Bytes::mib(300),
            "Pod db-0 does not run: container prepare is in CrashLoopBackOff (\"back-off 40s restarting failed \
             container=prepare\"). If its disk is full, request a size: kubectl annotate statefulset db -n shop \
             --overwrite resize-statefulset-operator/resize.data=450Mi",
        );
        check(
            failing(None, "Unschedulable", ""),
            Bytes::gib(10),
            "Pod db-0 does not run: the Pod is in Unschedulable. If its disk is full, request a size: kubectl annotate \
             statefulset db -n shop --overwrite resize-statefulset-operator/resize.data=15Gi",
        );
    }

    #[test]
    fn a_message_is_cut_and_cannot_pretend_to_be_something_else() {
        let told = |message: &str| failing(Some("db"), "Error", message).explained(&claim(0, Bytes::gib(1)));
        assert!(told("a\nb\u{202e}c").contains(r#"("a\nb\u{202e}c")"#));
        let long = told(&"x".repeat(5_000));
        assert!(long.len() < 400, "{long}");
    }

    #[test]
    fn the_set_is_read_from_the_name_of_its_claim() {
        let check = |template: &str, name: &str, expected: &str| {
            let claim = Claim { template: template.into(), name: name.into(), ..claim(0, Bytes::gib(1)) };
            assert_eq!(set_of(&claim), expected);
        };
        check("data", "data-db-0", "db");
        check("data-a", "data-a-b-1-12", "b-1");
    }
}
