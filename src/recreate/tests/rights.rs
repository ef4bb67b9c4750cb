//! The fields of a pod template that are rights, and those that are not.

use serde_json::{Value, json};

use super::super::rights::{Rights, same_template};

/// Two containers, the second with a read-only root filesystem.
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

/// The new rights of the template after this change.
fn new_rights(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut template = known();
    change(&mut template["spec"]);
    Rights::of(&template).beyond(&[Rights::of(&known())])
}

#[test]
fn a_value_that_grants_nothing_is_not_a_right() {
    let check = |field: &str, value: Value| {
        let new =
            new_rights(|spec| *spec.pointer_mut("/containers/0").unwrap() = json!({ "name": "db", field: value }));
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
fn a_mount_that_propagates_to_the_node_is_a_right() {
    let new = new_rights(|spec| spec["containers"][0]["volumeMounts"][0]["mountPropagation"] = json!("Bidirectional"));
    assert_eq!(new, ["spec.containers[db].volumeMounts.mountPropagation: Bidirectional"]);
}

#[test]
fn the_root_group_is_a_right() {
    let new = new_rights(|spec| spec["securityContext"] = json!({ "runAsGroup": 0, "fsGroup": 0 }));
    assert_eq!(new, ["spec.securityContext.fsGroup: 0", "spec.securityContext.runAsGroup: 0"]);
}

#[test]
fn another_runtime_class_is_a_right_and_a_missing_one_is_a_lost_protection() {
    let check =
        |value: Value, expected: &str| assert_eq!(new_rights(|spec| spec["runtimeClassName"] = value), [expected]);
    check(json!("runc"), "spec.runtimeClassName: runc");
    check(Value::Null, "without spec.runtimeClassName");
}

#[test]
fn a_protection_is_lost_only_if_its_container_remains() {
    let new = new_rights(|spec| spec["containers"][1]["securityContext"] = Value::Null);
    assert_eq!(new, ["without spec.containers[log].securityContext.readOnlyRootFilesystem"]);
    let gone = new_rights(|spec| spec["containers"] = json!([spec["containers"][0]]));
    assert_eq!(gone, [""; 0]);
}

#[test]
fn nulls_and_the_patch_marker_of_a_revision_do_not_make_a_template_different() {
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
