//! What a person reads about a backup before it is restored, and after.

use serde_json::Value;

use crate::api::names::SetName;
use crate::cli::failure::Failure;
use crate::recreate::confirm::Findings;
use crate::recreate::restore::Raised;

/// Paths that are shown of a long difference.
const MOST_PATHS: usize = 20;

/// What is known about the backup, one fact a line.
pub(super) fn facts(findings: &Findings, backup: &str) -> Vec<String> {
    let mut lines = Vec::new();
    match (&findings.confirmed_by, &findings.differs) {
        (Some(_), _) => {}
        (None, Some((revision, paths))) => {
            lines.push(format!("the pod template of backup {backup} differs from ControllerRevision {revision} in:"));
            lines.extend(paths.iter().take(MOST_PATHS).map(|path| format!("  spec.template.{path}")));
            if let Some(more @ 1..) = paths.len().checked_sub(MOST_PATHS) {
                lines.push(format!("  and {more} more"));
            }
        }
        (None, None) if findings.runs => lines.push(format!(
            "no ControllerRevision of the StatefulSet is left: only the rights in backup {backup} are compared, with its running Pods"
        )),
        (None, None) => lines.push(format!(
            "no ControllerRevision and no running Pod of the StatefulSet is left: nothing confirms the pod template in backup {backup}"
        )),
    }
    lines.extend(findings.owners.iter().map(|owner| {
        format!("the backup has an owner, {owner}: if that is gone, the garbage collector deletes the StatefulSet and its Pods")
    }));
    lines
}

/// The refusal of rights that nothing confirms.
pub(super) fn refused(set: &SetName, backup: &str, rights: &[String]) -> Failure {
    let rights: Vec<String> = rights.iter().map(|right| format!("\n    {right}")).collect();
    Failure::refused(format!(
        "backup {backup} of StatefulSet {set} asks for rights that no ControllerRevision and no running Pod of it has:{}",
        rights.concat()
    ))
    .hint(format!(
        "whoever may write ConfigMaps in namespace {} can write a backup; read it with `rso backup show {} -n {}`, \
         and if it is what you want, run the command again with --allow-new-rights",
        set.namespace, set.name, set.namespace
    ))
}

/// The refusal to let running Pods go.
pub(super) fn below(set: &SetName, pods: &[String]) -> Failure {
    Failure::refused(format!(
        "StatefulSet {set} in the backup begins at a later ordinal: Kubernetes would delete {}",
        pods.join(", ")
    ))
    .hint("if that is what you want, run the command again with --replace-pods")
}

/// The refusal for want of an answer.
pub(super) fn unanswered(set: &SetName, backup: &str) -> Failure {
    Failure::refused(format!("backup {backup} of StatefulSet {set} is not confirmed, and nobody is there to ask"))
        .hint("read the lines above, then run the command again with --yes")
}

/// What remains to be done by a person afterwards.
pub(super) fn afterwards(set: &SetName, wanted: &Value, created: &Value) -> Vec<String> {
    let patch = |spec: Value| {
        let patch = serde_json::json!({ "spec": spec });
        format!("  kubectl -n {} patch statefulset {} --type merge -p '{patch}'", set.namespace, set.name)
    };
    let mut lines = Vec::new();
    let (before, now) = (&wanted["spec"]["updateStrategy"], &created["spec"]["updateStrategy"]);
    if before["type"] != "OnDelete" && now["type"] == "OnDelete" {
        let before = if before.is_object() { before.clone() } else { serde_json::json!({"type": "RollingUpdate"}) };
        lines.push(
            "its update strategy is OnDelete, so no running Pod is replaced; to let Kubernetes replace them:".into(),
        );
        lines.push(patch(serde_json::json!({ "updateStrategy": before })));
    }
    let (before, now) = (&wanted["spec"]["replicas"], &created["spec"]["replicas"]);
    if before != now && !before.is_null() {
        lines.push(format!(
            "it has {now} replicas, because so many Pods run; the backup has {before}. To delete the others:"
        ));
        lines.push(patch(serde_json::json!({ "replicas": before })));
    }
    lines
}

/// A template that is larger than in the backup.
pub(super) fn raised(raised: &Raised) -> String {
    let Raised { template, from, to, claim } = raised;
    format!("template {template}: {from} in the backup, raised to {to}, which claim {claim} has")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_confirms_a_backup_is_named_and_so_is_what_does_not() {
        let check = |findings: Findings, expected: &[&str]| assert_eq!(facts(&findings, "7"), expected);
        let confirmed = Findings { confirmed_by: Some("db-a".into()), ..Findings::default() };
        check(confirmed, &[]);
        let differs = Some(("db-a".to_owned(), vec!["spec.hostPID".to_owned()]));
        check(
            Findings { differs, ..Findings::default() },
            &["the pod template of backup 7 differs from ControllerRevision db-a in:", "  spec.template.spec.hostPID"],
        );
        let nothing = "no ControllerRevision and no running Pod of the StatefulSet is left: nothing confirms the pod template in backup 7";
        check(Findings::default(), &[nothing]);
        let running = "no ControllerRevision of the StatefulSet is left: only the rights in backup 7 are compared, with its running Pods";
        check(Findings { runs: true, ..Findings::default() }, &[running]);
    }

    #[test]
    fn a_long_difference_is_cut() {
        let paths: Vec<String> = (0..25).map(|n| format!("spec.x{n}")).collect();
        let found = Findings { differs: Some(("db-a".into(), paths)), ..Findings::default() };
        let lines = facts(&found, "7");
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (22, Some("  and 5 more")));
    }

    #[test]
    fn what_was_softened_is_told_with_the_command_that_takes_it_back() {
        let set = SetName::new("shop", "db");
        let wanted = json!({"spec": {"replicas": 2, "updateStrategy": {"type": "RollingUpdate"}}});
        assert_eq!(afterwards(&set, &wanted, &wanted), [""; 0]);
        let created = json!({"spec": {"replicas": 5, "updateStrategy": {"type": "OnDelete"}}});
        let lines = afterwards(&set, &wanted, &created);
        let patch = "  kubectl -n shop patch statefulset db --type merge -p ";
        assert_eq!(lines[1], format!(r#"{patch}'{{"spec":{{"updateStrategy":{{"type":"RollingUpdate"}}}}}}'"#));
        assert_eq!(lines[3], format!(r#"{patch}'{{"spec":{{"replicas":2}}}}'"#));
    }

    #[test]
    fn new_rights_are_refused_by_name() {
        let failure = refused(&SetName::new("shop", "db"), "99", &["spec.hostPID: true".into()]);
        assert_eq!(failure.exit, crate::cli::failure::Exit::Refused);
        assert!(failure.to_string().contains("    spec.hostPID: true\n"), "{failure}");
        assert!(failure.to_string().contains("--allow-new-rights"), "{failure}");
    }
}
