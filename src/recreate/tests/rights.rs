//! Which fields of a pod template are rights, and which are none.

use serde_json::{Value, json};

use super::super::rights::{Rights, same_template};

/// Two containers; the second one is kept from more than the first.
fn known() -> Value {
    json!({
        "spec": {
            "runtimeClassName": "gvisor",
            "containers": [
                { "name": "db", "volumeMounts": [{ "name": "data", "mountPath": "/data" }] },
                { "name": "log", "securityContext": { "readOnlyRootFilesystem": true } },
            ],
        },
    })
}

/// What is new in the template after this change.
fn new_rights(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut template = known();
    change(&mut template["spec"]);
    Rights::of(&template).beyond(&[Rights::of(&known())])
}

#[test]
fn a_value_that_lets_a_pod_do_nothing_is_no_right() {
    let check = |field: &str, value: Value| {
        let new = new_rights(|spec| *spec.pointer_mut("/containers/0").unwrap() = json!({ "name": "db", field: value }));
        assert_eq!(new, [""; 0], "{field}");
    };
    check("envFrom", json!([{ "configMapRef": { "name": "settings" }, "prefix": "DB_" }]));
    check("volumeMounts", json!([{ "name": "data", "mountPath": "/data", "mountPropagation": "None" }]));
    check("securityContext", json!({ "privileged": false, "readOnlyRootFilesystem": false, "procMount": "Default" }));
    let new = new_rights(|spec| {
        for field in ["hostPID", "hostIPC", "hostNetwork", "shareProcessNamespace"] {
            spec[field] = json!(false);
        }
        for field in ["automountServiceAccountToken", "hostUsers"] {
            spec[field] = json!(true);
        }
        spec["serviceAccountName"] = json!("default");
        spec["serviceAccount"] = json!("default");
        spec["securityContext"] = json!({
            "runAsGroup": 999, "fsGroup": 999, "fsGroupChangePolicy": "Always", "supplementalGroupsPolicy": "Merge",
        });
    });
    assert_eq!(new, [""; 0]);
}

#[test]
fn a_mount_that_reaches_the_node_is_a_right() {
    let new = new_rights(|spec| spec["containers"][0]["volumeMounts"][0]["mountPropagation"] = json!("Bidirectional"));
    assert_eq!(new, ["spec.containers[db].volumeMounts.mountPropagation: Bidirectional"]);
}

#[test]
fn the_group_of_root_is_a_right() {
    let new = new_rights(|spec| spec["securityContext"] = json!({ "runAsGroup": 0, "fsGroup": 0 }));
    assert_eq!(new, ["spec.securityContext.fsGroup: 0", "spec.securityContext.runAsGroup: 0"]);
}

#[test]
fn another_runtime_class_is_a_right_and_none_is_a_lost_protection() {
    let check = |value: Value, expected: &str| assert_eq!(new_rights(|spec| spec["runtimeClassName"] = value), [expected]);
    check(json!("runc"), "spec.runtimeClassName: runc");
    check(Value::Null, "without spec.runtimeClassName");
}

#[test]
fn a_protection_is_lost_only_with_its_container_still_there() {
    let new = new_rights(|spec| spec["containers"][1]["securityContext"] = Value::Null);
    assert_eq!(new, ["without spec.containers[log].securityContext.readOnlyRootFilesystem"]);
    let gone = new_rights(|spec| spec["containers"] = json!([spec["containers"][0]]));
    assert_eq!(gone, [""; 0]);
}

#[test]
fn two_templates_are_the_same_with_other_nulls_and_the_mark_of_a_revision() {
    let check = |change: fn(&mut Value), expected: bool| {
        let mut other = known();
        change(&mut other);
        assert_eq!(same_template(&known(), &other), expected, "{other}");
    };
    check(|_| {}, true);
    check(|template| template["$patch"] = json!("replace"), true);
    check(|template| template["spec"]["nodeName"] = Value::Null, true);
    check(|template| template["spec"]["hostPID"] = json!(true), false);
}
