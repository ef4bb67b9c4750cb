//! Does a PVCPolicy mean to the API server what it means to the operator? The code of the API server is asked: a program in
//! `tests/cluster/schema`, built from the modules of the test cluster's Kubernetes, checks the definition and each object.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rso::api::crd::schema::pvc_policy;
use rso::policy::pvc_policy::Policy;
use serde_json::{Value, json};

use crate::{pages, tree};

/// An object with this `spec`, whose selector selects everything unless it has its own.
fn object(spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "resize-statefulset-operator.io/v1alpha1", "kind": "PVCPolicy",
        "metadata": {"name": "database-policy", "namespace": "production", "creationTimestamp": "2026-11-30T03:00:00Z"},
        "spec": {"selector": {}},
    });
    json_patch::merge(&mut object["spec"], &spec);
    object
}

/// A policy with this `template`, which has a ceiling.
fn template(fields: Value) -> Value {
    let mut spec = json!({"template": {"maxSize": "1Ti"}});
    json_patch::merge(&mut spec["template"], &fields);
    object(spec)
}

/// The objects that are refused, each with a part of what the API server says.
fn bad() -> Vec<(Value, &'static str)> {
    const SHARE: &str = "write a share of more than 0% and at most 100%, such as 80%";
    const SIZE: &str = "write a size above 0, such as 10Gi or 1.5Ti";
    const STEP: &str = "write a share such as 20% or a size such as 10Gi, above 0";
    const DURATION: &str = "write a duration such as 30s, 15m or 1h30m";
    const VALUES: &str = "In and NotIn need values; Exists and DoesNotExist take none";
    const CEILING: &str =
        "a policy that expands PVCs needs a ceiling: set template.maxSize, limits.maxSize or limits.totalSize";
    let expression = |expression: Value| {
        let mut object = template(json!({}));
        object["spec"]["selector"] = json!({"matchExpressions": [expression]});
        object
    };
    vec![
        (template(json!({"threshold": "85"})), SHARE),
        (template(json!({"threshold": "101%"})), SHARE),
        (template(json!({"inodesThreshold": "0%"})), SHARE),
        (template(json!({"threshold": 85})), "spec.template.threshold in body must be of type string: \"integer\""),
        (template(json!({"maxSize": "10GB"})), SIZE),
        (template(json!({"maxSize": "-1Gi"})), SIZE),
        (template(json!({"maxSize": 0})), SIZE),
        (object(json!({"template": {}, "limits": {"maxStep": "0", "maxSize": "1Ti"}})), SIZE),
        (template(json!({"maxSize": "5Gi", "initialSize": "10Gi"})), "initialSize 10Gi is above maxSize 5Gi"),
        (object(json!({"template": {}})), CEILING),
        (object(json!({"template": {"mode": "Auto"}, "limits": {"maxStep": "1Gi"}})), CEILING),
        (template(json!({"increase": "lots"})), STEP),
        (template(json!({"increase": "0%"})), STEP),
        (template(json!({"minIncrease": "1 Gi"})), "write a size such as 10Gi or 1.5Ti"),
        (template(json!({"cooldown": "6 centuries"})), DURATION),
        (template(json!({"leadTime": "15"})), DURATION),
        (template(json!({"tresholt": "80%"})), "strict decoding error: unknown field \"spec.template.tresholt\""),
        (template(json!({"providerConfig": {"iops": 3000}})), "providerConfig needs provider"),
        (template(json!({"provider": "ibm"})), "supported values: \"aws\", \"gcp\", \"azure\", \"vsphere\""),
        (template(json!({"mode": "Sometimes"})), "supported values: \"Auto\", \"Recommend\", \"Off\""),
        (template(json!({"templateSync": "never"})), "supported values: \"Always\", \"OnUserChange\", \"Never\""),
        (expression(json!({"key": "a", "operator": "In"})), VALUES),
        (expression(json!({"key": "a", "operator": "Exists", "values": ["b"]})), VALUES),
        (object(json!({"priority": 1001})), "should be less than or equal to 1000"),
        (object(json!({"selector": null})), "spec.selector: Required value"),
        (object(json!({"limits": {"minCooldown": "1d12"}})), DURATION),
    ]
}

/// The objects that are accepted.
fn good() -> Vec<Value> {
    let seed = json!({
        "selector": {"matchLabels": {"workload": "database"}},
        "template": {
            "initialSize": "100Gi", "threshold": "85%", "increase": "25%", "maxSize": "2000Gi", "minIncrease": "50Gi",
            "provider": "aws", "providerConfig": {"volumeType": "gp3", "iops": 3000},
        },
    });
    let whole = json!({
        "priority": 1000,
        "selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}, {"key": "c", "operator": "Exists"}]},
        "namespaceSelector": {"matchLabels": {"team": "a"}},
        "template": {
            "mode": "Recommend", "threshold": "82.5%", "inodesThreshold": "100%", "minFree": "20Gi", "increase": "10Gi",
            "minIncrease": "0", "cooldown": "6h", "leadTime": "1h 30m", "templateSync": "OnUserChange", "rescue": "Enabled",
            "agent": "Never", "volumeAttributesClassName": "fast",
        },
        "limits": {"maxSize": "4Ti", "maxStep": "500Gi", "minCooldown": "1h", "totalSize": "20Ti"},
    });
    let mut all = vec![
        object(seed),
        object(whole),
        object(json!({})),
        object(json!({"template": {"mode": "Recommend"}})),
        object(json!({"template": {"mode": "Off"}})),
        object(json!({"template": {}, "limits": {"totalSize": "1Ti"}})),
    ];
    for size in ["1e12", "1.5Ti", "0.5", "7E", "1000m", ".5Gi"] {
        all.push(template(json!({ "maxSize": size })));
    }
    all.push(template(json!({"maxSize": 1_099_511_627_776_u64})));
    for cooldown in ["0s", "1h30m", "2days", "1 h 30 mins", "1week"] {
        all.push(template(json!({ "cooldown": cooldown })));
    }
    all
}

#[test]
fn each_bad_object_is_refused_with_what_to_write() {
    let bad = bad();
    assert!(bad.len() >= 20);
    let objects: Vec<Value> = bad.iter().map(|(object, _)| object.clone()).collect();
    for ((object, expected), said) in bad.iter().zip(api_server(&objects)) {
        let is_said = said.iter().any(|one| one.contains(expected));
        assert!(is_said, "expected: {expected}\nsaid: {said:#?}\n{}", object["spec"]);
        // A rule that is not checked hides what else is wrong.
        assert!(said.len() <= 2, "{said:#?}");
    }
}

#[test]
fn a_good_object_is_accepted() {
    let good = good();
    for (object, said) in good.iter().zip(api_server(&good)) {
        assert_eq!(said, Vec::<String>::new(), "{}", object["spec"]);
    }
}

/// An object may be older than the schema, so the operator checks it too; it accepts what the schema accepts.
#[test]
fn the_operator_finds_what_the_api_server_refuses() {
    for (object, expected) in bad() {
        let read = Policy::read(&object);
        let errors = read.as_ref().map_or(1, |(_, errors)| errors.len());
        assert!(errors > 0, "{expected}: {}", object["spec"]);
        // Whatever is wrong with it, nothing is expanded without a ceiling or by a misspelled mode.
        if expected.contains("ceiling") || expected.contains("Recommend") {
            let (policy, _) = read.unwrap();
            let is_auto = policy.settings.iter().any(|(key, value)| *key == "auto-scaled" && value == "true");
            assert!(!is_auto, "{}", object["spec"]);
        }
    }
    for object in good() {
        let (_, errors) = Policy::read(&object).unwrap();
        assert_eq!(errors, [], "{}", object["spec"]);
    }
}

/// A feature that does nothing must not be visible.
#[test]
fn the_chart_does_not_install_what_the_operator_does_not_act_on() {
    let helm = tree::root().join(".cluster/bin/helm");
    let program = if helm.exists() { helm } else { PathBuf::from("helm") };
    let output = Command::new(program).args(["template", "rso", "chart"]).current_dir(tree::root()).output().unwrap();
    assert!(output.status.success());
    assert!(!String::from_utf8_lossy(&output.stdout).contains("CustomResourceDefinition"));
}

/// What the code of the API server says of each object; it accepts the definition first.
fn api_server(objects: &[Value]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let definition = folder.path().join("definition.yaml");
    std::fs::write(&definition, pages::definition(&pvc_policy())).unwrap();
    let ours = tree::root().join(".cluster/bin/schema");
    let program = if ours.exists() { ours } else { PathBuf::from("schema") };
    let mut asked = Command::new(&program)
        .arg(&definition)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("schema cannot be run ({error}): `make tools` brings it"));
    let lines: String = objects.iter().map(|object| format!("{object}\n")).collect();
    let mut input = asked.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = asked.wait_with_output().unwrap();
    assert!(output.status.success(), "the API server refuses the definition");
    writer.join().unwrap().unwrap();
    let said: Vec<Vec<String>> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), objects.len());
    said
}
