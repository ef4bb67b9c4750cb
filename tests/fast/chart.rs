//! Is the chart what it says: every value documented and checked, rights no more than needed, pods restricted?

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

use rso::recreate::preflight::answers;
use serde_json::Value as Json;

use crate::tree;

/// A value of the chart: where it is, what it is when nobody says, what it does.
pub(crate) struct Value {
    pub(crate) path: String,
    pub(crate) default: String,
    pub(crate) meaning: String,
}

/// The values of `chart/values.yaml`. Only the YAML of that file: maps by indent, everything else on the key's line.
pub(crate) fn values() -> Vec<Value> {
    let text = tree::read("chart/values.yaml");
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in lines {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        if let Some(words) = body.strip_prefix('#') {
            comment.push(words.trim());
        } else if let Some((key, default)) = body.split_once(':') {
            parents.retain(|(depth, _)| *depth < indent);
            if default.is_empty() {
                parents.push((indent, key.to_owned()));
            } else {
                let names = parents.iter().map(|(_, name)| name.as_str()).chain([key]);
                found.push(Value {
                    path: names.collect::<Vec<_>>().join("."),
                    default: default.trim().to_owned(),
                    meaning: comment.join(" "),
                });
            }
            comment.clear();
        } else {
            comment.clear();
        }
    }
    found
}

/// The rendered roles, as helm writes them.
pub(crate) fn roles(arguments: &[&str]) -> String {
    template(&[&["--show-only", "templates/rbac.yaml"], arguments].concat())
}

#[test]
fn every_value_says_what_it_does() {
    let silent: Vec<String> =
        values().into_iter().filter(|value| value.meaning.is_empty()).map(|value| value.path).collect();
    assert!(silent.is_empty(), "without a comment in chart/values.yaml: {silent:?}");
}

#[test]
fn the_schema_has_the_values_and_no_others() {
    let schema: Json = serde_json::from_str(&tree::read("chart/values.schema.json")).unwrap();
    let mut known = BTreeSet::new();
    leaves(&schema, "", &mut known);
    let given: BTreeSet<String> = values().into_iter().map(|value| value.path).collect();
    // Helm's own, and a resource that nobody needs to set.
    let extra = [
        "global",
        "resources.requests.ephemeral-storage",
        "resources.limits.ephemeral-storage",
        "resources.limits.cpu",
    ];
    let expected: BTreeSet<String> = given.iter().cloned().chain(extra.map(str::to_owned)).collect();
    assert_eq!(known, expected);
}

/// Objects of Kubernetes (`affinity`) and maps of strings are leaves.
fn leaves(schema: &Json, path: &str, found: &mut BTreeSet<String>) {
    let open = schema["additionalProperties"] != Json::Bool(false);
    match schema["properties"].as_object() {
        Some(properties) if path != "affinity" => {
            assert!(!open, "additionalProperties is not false at `{path}`");
            for (name, property) in properties {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(property, &format!("{path}{dot}{name}"), found);
            }
        }
        Some(_) | None => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn a_value_that_is_not_there_or_cannot_be_meant_is_refused() {
    let check = |setting: &str, word: &str| {
        let output = helm(&["template", "rso", "chart", "--set", setting]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(word), "{setting}: {said}");
    };
    check("replica=3", "replica");
    check("image.tags=1", "tags");
    check("image.digest=latest", "digest");
    check("limits.maxSize=100GB", "maxSize");
    check("limits.minCooldown=soon", "minCooldown");
    check("resources.limits.mem=1Gi", "mem");
    check("watchNamespaces={Not_A_Name}", "watchNamespaces");
    check("replicas=0", "replicas");
}

#[test]
fn nothing_is_granted_that_could_hurt() {
    for rendered in [roles(&[]), roles(&["--set", "watchNamespaces={team-a}"])] {
        let rendered: String =
            rendered.lines().filter(|line| !line.starts_with('#')).fold(String::new(), |all, line| all + line + "\n");
        for word in ["\"*\"", "'*'", "[*]", "pods/exec", "nodes/proxy", "escalate", "impersonate", "bind]"] {
            assert!(!rendered.contains(word), "`{word}` in the roles");
        }
        for rule in rendered.split("- apiGroups:").skip(1) {
            let deletes = rule.lines().any(|line| line.contains("verbs:") && line.contains("delete"));
            let of_ours = rule.contains("[statefulsets]") || rule.contains("[configmaps]");
            assert!(!deletes || of_ours, "a right to delete:{rule}");
            // Of the Secrets its own certificate, by name; RBAC cannot limit `create` so, which reads nothing.
            let only_makes = rule.contains("verbs: [create]");
            let by_name = rule.contains("resourceNames: [rso-webhook]");
            assert!(!rule.contains("secrets") || only_makes || by_name, "a right to Secrets:{rule}");
        }
    }
}

#[test]
fn namespaced_mode_makes_nothing_that_belongs_to_the_cluster() {
    let rendered = template(&["--set", "watchNamespaces={team-a,team-b}"]);
    let kinds: BTreeSet<&str> = rendered.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
    let of_the_cluster = kinds.iter().filter(|kind| kind.starts_with("Cluster") || kind.contains("Admission")).count();
    assert_eq!(of_the_cluster, 0, "{kinds:?}");
    assert!(rendered.contains("--watch-namespaces=team-a,team-b"));
    assert!(!rendered.contains("nodes"), "a Role cannot grant what belongs to nodes");
}

#[test]
fn an_image_is_named_by_its_digest_when_it_has_one() {
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let rendered = template(&["--set", &format!("image.digest={digest},image.tag=ignored")]);
    let images: Vec<&str> = rendered.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
    assert!(!images.is_empty());
    assert!(images.iter().all(|image| image.ends_with(&format!("rso@{digest}"))), "{images:?}");
}

#[test]
fn no_hook_can_keep_anybody_from_anything() {
    let rendered = template(&["--show-only", "templates/admission.yaml"]);
    let hooks: Vec<&str> = rendered.split("\n  - name: ").skip(1).collect();
    assert_eq!(hooks.len(), 4);
    for hook in &hooks {
        for line in
            ["failurePolicy: Ignore", "matchConditions:", "values: [kube-system, rso-system]", "values: [ignore]"]
        {
            assert!(hook.contains(line), "`{line}` is missing in {hook}");
        }
        let seconds = hook.split("timeoutSeconds: ").nth(1).and_then(|rest| rest.chars().next());
        assert!(matches!(seconds, Some('2' | '3')), "{hook}");
        assert!(hook.contains("sideEffects: None"), "{hook}");
    }
    // Deployment tools that knew it would write it back.
    assert!(!rendered.lines().any(|line| line.trim_start().starts_with("caBundle:")));
}

#[test]
fn admission_has_two_modes_and_can_be_left_out() {
    let kinds = |values: &str| {
        let rendered = template(&["--kube-version", "1.37", "--set", values]);
        let kinds: BTreeSet<String> =
            rendered.lines().filter_map(|line| line.strip_prefix("kind: ")).map(str::to_owned).collect();
        (kinds, rendered)
    };
    let (webhook, _) = kinds("admission.mode=webhook");
    assert!(webhook.contains("MutatingWebhookConfiguration") && webhook.contains("Service"));
    let (policy, rendered) = kinds("admission.mode=policy");
    assert!(policy.contains("MutatingAdmissionPolicy") && !policy.contains("MutatingWebhookConfiguration"));
    assert!(!rendered.contains("--webhook-address") && !rendered.contains("resources: [secrets]"));
    let (off, rendered) = kinds("admission.enabled=false");
    assert!(!off.contains("MutatingAdmissionPolicy") && !off.contains("MutatingWebhookConfiguration"));
    assert!(!rendered.contains("--webhook-address") && !rendered.contains("resources: [secrets]"));
    let (foreign, rendered) = kinds("admission.certManager.enabled=true");
    assert!(foreign.contains("Certificate") && foreign.contains("Issuer"));
    assert!(rendered.contains("--webhook-certificates=external") && !rendered.contains("verbs: [create]\n# Created"));
}

/// What Pod Security `restricted` asks for, in every pod of the chart.
#[test]
fn every_pod_is_restricted() {
    let rendered = template(&[]);
    let pods: Vec<&str> = rendered.split("\n---").filter(|part| part.contains("containers:")).collect();
    assert_eq!(pods.len(), 2, "the Deployment and the Job before an uninstall");
    for pod in pods {
        for line in [
            "runAsNonRoot: true",
            "runAsUser: 65532",
            "seccompProfile: {type: RuntimeDefault}",
            "allowPrivilegeEscalation: false",
            "readOnlyRootFilesystem: true",
            "capabilities: {drop: [ALL]}",
        ] {
            assert!(pod.contains(line), "`{line}` is missing in {}", pod.lines().take(6).collect::<Vec<_>>().join(" "));
        }
    }
}

fn template(arguments: &[&str]) -> String {
    let output = helm(&[&["template", "rso", "chart", "--namespace", "rso-system"], arguments].concat());
    assert!(output.status.success(), "helm: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The helm that the cluster's programs bring, else the one of the machine.
fn helm(arguments: &[&str]) -> Output {
    let ours = tree::root().join(".cluster/bin/helm");
    let program = if ours.exists() { ours } else { PathBuf::from("helm") };
    Command::new(program)
        .args(arguments)
        .current_dir(tree::root())
        .output()
        .unwrap_or_else(|error| panic!("helm cannot be run ({error}): `make tools` brings it"))
}

#[test]
fn kubelets_are_asked_as_an_account_of_their_own_or_not_at_all() {
    let rendered = template(&[]);
    assert!(rendered.contains("--kubelet-account=rso-kubelet") && !rendered.contains("--no-kubelet"));
    // The right is in one role, which is bound to that account alone.
    assert_eq!(rendered.matches("nodes/stats").count(), 1);
    for settings in ["watchNamespaces={team-a}", "usage.kubelet=false"] {
        let rendered = template(&["--set", settings]);
        assert!(rendered.contains("--no-kubelet") && !rendered.contains("rso-kubelet"), "{settings}");
        assert!(!rendered.contains("serviceaccounts/token"), "{settings}");
    }
}

#[test]
fn the_policy_about_the_operator_is_about_nobody_else() {
    let rendered = template(&["--show-only", "templates/operatorpolicy.yaml"]);
    let condition = "request.userInfo.username == 'system:serviceaccount:rso-system:rso'";
    assert_eq!(rendered.matches(condition).count(), 1, "{rendered}");
    assert!(rendered.contains("failurePolicy: Fail"));
    for message in [answers::OWN_POLICY, answers::OWN_POLICY_OF_PODS] {
        assert!(rendered.contains(message), "the operator would not know its own policy by {message:?}");
    }
    for settings in ["watchNamespaces={team-a}", "operatorPolicy.enabled=false"] {
        assert!(!template(&["--set", settings]).contains("name: rso-operator"), "{settings}");
    }
}
