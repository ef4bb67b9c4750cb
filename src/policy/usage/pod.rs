//! The reason why a Pod does not run, which rso reports with the volume whose usage is unknown.

use crate::api::annotations::PREFIX;
use crate::api::bytes::Bytes;
use crate::api::names::AGENT_CONTAINER;
use crate::policy::claim::Claim;
use crate::policy::failure::about_full_disk;
use crate::policy::values::quote_up_to;

/// The maximum number of characters of a message that rso shows.
const MESSAGE: usize = 100;
/// The reason that Kubernetes reports while a container waits for its next start.
pub const CRASH_LOOP: &str = "CrashLoopBackOff";

/// A Pod that does not start, or restarts again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The Pod's namespace.
    pub namespace: String,
    /// The Pod's name.
    pub pod: String,
    /// What does not run.
    pub part: Part,
    /// The reason that Kubernetes reports: `CrashLoopBackOff`, `ImagePullBackOff`, `Unschedulable`.
    pub reason: String,
    /// The exit code of a container that ended.
    pub exit_code: Option<i32>,
    /// The message of the container that ended, or the one that Kubernetes reports with the reason; or empty.
    pub message: String,
}

/// The part of a Pod that does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The Pod as a whole.
    Pod,
    /// A container.
    Container(String),
    /// An init container.
    InitContainer(String),
}

impl Failing {
    /// The word that distinguishes the Event messages about it: the Pod, the container, and what happened. A container
    /// that crashes changes between several reasons, and so does one whose image cannot be pulled.
    pub(super) fn case(&self) -> String {
        let container = self.container().unwrap_or_default();
        let what = match self.reason.as_str() {
            _ if self.has_crashed() => "crash",
            "ErrImagePull" | "ImagePullBackOff" => "image",
            reason => reason,
        };
        format!("not-running {} {container} {what}", self.pod)
    }

    /// For a person: which container does not run and why, and a command.
    pub(super) fn explained(&self, claim: &Claim) -> String {
        let Self { namespace, pod, .. } = self;
        let what = format!("Pod {pod} does not run ({})", self.cause());
        if self.has_crashed() && self.container() != Some(AGENT_CONTAINER) {
            let (set, template) = (set_of(claim), &claim.template);
            return format!(
                "{what}. If its disk is full, request a size: kubectl annotate statefulset {set} -n {namespace} --overwrite \
                 {PREFIX}resize.{template}={}",
                larger(claim.requested)
            );
        }
        format!("{what}. For more details, run: kubectl describe pod {pod} -n {namespace}")
    }

    fn container(&self) -> Option<&str> {
        match &self.part {
            Part::Pod => None,
            Part::Container(name) | Part::InitContainer(name) => Some(name),
        }
    }

    fn has_crashed(&self) -> bool {
        self.exit_code.is_some() || self.reason == CRASH_LOOP
    }

    /// `init container initdb: CrashLoopBackOff, exit code 1, "No space left on device"`.
    fn cause(&self) -> String {
        let part = match &self.part {
            Part::Pod => String::new(),
            Part::Container(name) => format!("container {name}: "),
            Part::InitContainer(name) => format!("init container {name}: "),
        };
        let exit_code = self.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
        let message = excerpt(&self.message).map(|message| format!(", {message}")).unwrap_or_default();
        format!("{part}{}{exit_code}{message}", self.reason)
    }
}

/// The first characters of a message in quotes; if it says later that a disk is full, those characters.
fn excerpt(message: &str) -> Option<String> {
    let message = message.trim();
    let (_, end) = about_full_disk(message).unwrap_or_default();
    let start = message.ceil_char_boundary(end.saturating_sub(MESSAGE));
    (!message.is_empty()).then(|| quote_up_to(&message[start..], MESSAGE))
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

    fn failing(part: Part, reason: &str, exit_code: Option<i32>, message: &str) -> Failing {
        Failing {
            namespace: "shop".to_owned(),
            pod: "db-0".to_owned(),
            part,
            reason: reason.to_owned(),
            exit_code,
            message: message.to_owned(),
        }
    }

    fn init() -> Part {
        Part::InitContainer("initdb".to_owned())
    }

    fn db() -> Part {
        Part::Container("db".to_owned())
    }

    #[test]
    fn a_pod_that_does_not_run_is_reported_with_its_cause_and_a_command_to_type() {
        let check = |failing: Failing, size: Bytes, cause: &str, command: &str| {
            assert_eq!(failing.explained(&claim(0, size)), format!("Pod db-0 does not run ({cause}). {command}"));
        };
        let size = |size: &str| {
            "If its disk is full, request a size: kubectl annotate statefulset db -n shop --overwrite \
             resize-statefulset-operator/resize.data="
                .to_owned()
                + size
        };
        let details = "For more details, run: kubectl describe pod db-0 -n shop";
        check(
            failing(init(), "CrashLoopBackOff", Some(1), "No space left on device\n"),
            Bytes::mib(300),
            "init container initdb: CrashLoopBackOff, exit code 1, \"No space left on device\"",
            &size("450Mi"),
        );
        check(
            failing(db(), "OOMKilled", Some(137), ""),
            Bytes::gib(10),
            "container db: OOMKilled, exit code 137",
            &size("15Gi"),
        );
        // The last end of a container is not always known.
        check(
            failing(db(), "CrashLoopBackOff", None, ""),
            Bytes::gib(10),
            "container db: CrashLoopBackOff",
            &size("15Gi"),
        );
        check(
            failing(db(), "ImagePullBackOff", None, "Back-off pulling image \"db:2\""),
            Bytes::gib(10),
            r#"container db: ImagePullBackOff, "Back-off pulling image \"db:2\"""#,
            details,
        );
        // The agent writes nothing.
        let agent = Part::InitContainer(AGENT_CONTAINER.to_owned());
        check(
            failing(agent, "OOMKilled", Some(137), ""),
            Bytes::gib(10),
            "init container rso-agent: OOMKilled, exit code 137",
            details,
        );
        check(
            failing(Part::Pod, "Unschedulable", None, "no nodes"),
            Bytes::gib(10),
            "Unschedulable, \"no nodes\"",
            details,
        );
    }

    #[test]
    fn its_event_depends_on_the_pod_the_container_and_what_happened_but_on_no_text_that_changes() {
        let check = |a: &Failing, b: &Failing, same: bool| assert_eq!(a.case() == b.case(), same, "{a:?} {b:?}");
        let crash = failing(init(), "CrashLoopBackOff", Some(1), "back-off 10s");
        check(&crash, &failing(init(), "Error", Some(1), "No space left on device"), true);
        check(&crash, &failing(init(), "OOMKilled", Some(137), ""), true);
        check(&crash, &failing(db(), "CrashLoopBackOff", Some(1), "back-off 10s"), false);
        check(&crash, &Failing { pod: "db-1".to_owned(), ..crash.clone() }, false);
        let image = failing(init(), "ErrImagePull", None, "");
        check(&image, &failing(init(), "ImagePullBackOff", None, ""), true);
        check(&image, &crash, false);
        check(&image, &failing(init(), "CreateContainerConfigError", None, ""), false);
        check(
            &failing(Part::Pod, "Unschedulable", None, "0/3"),
            &failing(Part::Pod, "Unschedulable", None, "0/4"),
            true,
        );
    }

    #[test]
    fn a_message_is_cut_and_cannot_pretend_to_be_something_else() {
        let reported = |message: &str| failing(db(), "Error", Some(1), message).explained(&claim(0, Bytes::gib(1)));
        assert!(reported("a\nb\u{202e}c").contains(r#", "a\nb\u{202e}c")"#));
        let long = reported(&"x".repeat(5_000));
        assert!(long.len() < 400, "{long}");
    }

    #[test]
    fn what_a_message_says_about_a_full_disk_is_shown_wherever_it_stands() {
        for letter in ["x", "ä", "語"] {
            for before in 0..200 {
                let message = format!("{}No space left on device{}", letter.repeat(before), letter.repeat(200));
                let shown = excerpt(&message).unwrap();
                assert!(shown.contains("No space left on device"), "{shown}");
            }
        }
        assert_eq!(excerpt(" \n"), None);
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
