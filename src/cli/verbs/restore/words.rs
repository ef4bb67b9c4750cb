//! Messages about a backup, before and after the restore.

use serde_json::Value;

use crate::api::names::SetName;
use crate::cli::failure::Failure;
use crate::recreate::confirm::Findings;
use crate::recreate::restore::Raised;

/// The largest number of different paths to show.
const MAX_PATHS: usize = 20;

/// What the comparison found, a line for each fact.
pub(super) fn findings(findings: &Findings, backup: &str) -> Vec<String> {
    let mut lines = Vec::new();
    match (&findings.confirmed_by, &findings.differs) {
        (Some(_), _) => {}
        (None, Some((revision, paths))) => {
            lines.push(format!("The Pod template of backup {backup} differs from ControllerRevision {revision} in:"));
            lines.extend(paths.iter().take(MAX_PATHS).map(|path| format!("  spec.template.{path}")));
            if let Some(more @ 1..) = paths.len().checked_sub(MAX_PATHS) {
                lines.push(format!("  and {more} more"));
            }
        }
        (None, None) if findings.runs => lines.push(format!(
            "No ControllerRevision of the StatefulSet is left: only the privileges in backup {backup} were compared, with the \
             running Pods."
        )),
        (None, None) => lines.push(format!(
            "No ControllerRevision and no running Pod of the StatefulSet is left: nothing confirms the Pod template in backup \
             {backup}."
        )),
    }
    lines.extend(findings.owners.iter().map(|owner| {
        format!(
            "The backup has the owner {owner}: if that owner no longer exists, the garbage collector deletes the \
             StatefulSet and its Pods."
        )
    }));
    lines
}

/// The refusal of privileges that nothing confirms.
pub(super) fn refused(set: &SetName, backup: &str, privileges: &[String]) -> Failure {
    let privileges: Vec<String> = privileges.iter().map(|privilege| format!("\n    {privilege}")).collect();
    Failure::refused(format!(
        "backup {backup} of StatefulSet {set} contains privileges that no ControllerRevision and no running Pod has:{}",
        privileges.concat()
    ))
    .hint(format!(
        "Anyone who can write ConfigMaps in namespace {} can write a backup. Review it: `rso backup show {} -n {} --backup \
         {backup}`. To restore it with these privileges, run the command again with --allow-new-rights.",
        set.namespace, set.name, set.namespace
    ))
}

/// The refusal of a restore after which Kubernetes deletes running Pods.
pub(super) fn below(set: &SetName, pods: &[String]) -> Failure {
    Failure::refused(format!(
        "StatefulSet {set} starts at a higher ordinal in the backup: Kubernetes would delete {}",
        pods.join(", ")
    ))
    .hint("To restore it and let Kubernetes delete these Pods, run the command again with --replace-pods.")
}

/// The refusal of a restore that nobody confirmed.
pub(super) fn unconfirmed(set: &SetName, backup: &str) -> Failure {
    Failure::refused(format!(
        "backup {backup} of StatefulSet {set} needs confirmation, but stdin or stderr is not a terminal"
    ))
    .hint("Read the lines above, then run the command again with --yes.")
}

/// What differs from the backup after the restore, with the command that changes it.
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
            "The update strategy is OnDelete, so Kubernetes does not replace running Pods. To let it replace them:"
                .into(),
        );
        lines.push(patch(serde_json::json!({ "updateStrategy": before })));
    }
    let (before, now) = (&wanted["spec"]["replicas"], &created["spec"]["replicas"]);
    if before != now && !before.is_null() {
        lines.push(format!(
            "The StatefulSet has {now} replicas, because that many Pods run; the backup has {before}. To delete the others:"
        ));
        lines.push(patch(serde_json::json!({ "replicas": before })));
    }
    lines
}

/// A template that is larger than in the backup.
pub(super) fn raised(raised: &Raised) -> String {
    let Raised { template, from, to, claim } = raised;
    format!("Template {template}: raised from {from} in the backup to {to}, the size of PVC {claim}.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_finding_that_does_not_confirm_the_backup_is_a_line() {
        let check = |findings: Findings, expected: &[&str]| assert_eq!(super::findings(&findings, "7"), expected);
        let confirmed = Findings { confirmed_by: Some("db-a".into()), ..Findings::default() };
        check(confirmed, &[]);
        let differs = Some(("db-a".to_owned(), vec!["spec.hostPID".to_owned()]));
        check(
            Findings { differs, ..Findings::default() },
            &["The Pod template of backup 7 differs from ControllerRevision db-a in:", "  spec.template.spec.hostPID"],
        );
        let nothing = "No ControllerRevision and no running Pod of the StatefulSet is left: nothing confirms the Pod template in backup 7.";
        check(Findings::default(), &[nothing]);
        let running = "No ControllerRevision of the StatefulSet is left: only the privileges in backup 7 were compared, with the running Pods.";
        check(Findings { runs: true, ..Findings::default() }, &[running]);
    }

    #[test]
    fn a_long_difference_is_cut() {
        let paths: Vec<String> = (0..25).map(|n| format!("spec.x{n}")).collect();
        let found = Findings { differs: Some(("db-a".into(), paths)), ..Findings::default() };
        let lines = findings(&found, "7");
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (22, Some("  and 5 more")));
    }

    #[test]
    fn a_difference_from_the_backup_is_shown_with_the_command_that_removes_it() {
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
    fn a_refusal_names_the_new_privileges() {
        let failure = refused(&SetName::new("shop", "db"), "99", &["spec.hostPID: true".into()]);
        assert_eq!(failure.exit, crate::cli::failure::Exit::Refused);
        assert!(failure.to_string().contains("    spec.hostPID: true\n"), "{failure}");
        assert!(failure.to_string().contains("--allow-new-rights"), "{failure}");
    }
}
