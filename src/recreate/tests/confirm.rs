//! What a backup may bring back: what a ControllerRevision or a running Pod had, and no more.

use serde_json::{Value, json};

use super::super::confirm::{Findings, Remains, examine};
use super::super::rights::Rights;
use crate::api::names::SetName;

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "db"}, "creationTimestamp": null},
        "spec": {
            "serviceAccountName": "db",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "db", "image": "db:1",
                "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "config", "configMap": {"name": "db"}}],
        },
    })
}

fn backup() -> Value {
    json!({
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {
            "replicas": 2, "template": template(), "updateStrategy": {"type": "RollingUpdate"},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],
        },
    })
}

fn revision(name: &str, template: Value) -> Value {
    let mut template = template;
    template["$patch"] = json!("replace");
    json!({"metadata": {"name": name}, "data": {"spec": {"template": template}}})
}

/// A Pod as it runs: with what the server and webhooks have added.
fn pod(ordinal: u32, revision: &str) -> Value {
    let mut pod = template();
    pod["metadata"] = json!({"name": format!("db-{ordinal}"), "labels": {"controller-revision-hash": revision}});
    pod["spec"]["nodeName"] = json!("node-1");
    pod["status"] = json!({"phase": "Running"});
    pod
}

fn examined(backup: &Value, revisions: &[Value], pods: &[Value]) -> Findings {
    examine(&SetName::new("shop", "db"), backup, Remains { revisions, pods, claims: &[] })
}

fn changed(pointer: &str, value: Value) -> Value {
    let mut changed = backup();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match changed.pointer_mut(parent).unwrap() {
        Value::Array(array) => array.push(value),
        parent if value.is_null() => drop(parent.as_object_mut().unwrap().remove(key)),
        parent => parent[key] = value,
    }
    changed
}

#[test]
fn a_template_that_a_revision_has_is_restored_without_a_word() {
    let found = examined(&backup(), &[revision("db-a", template())], &[pod(0, "db-a"), pod(1, "db-a")]);
    let expected = Findings { confirmed_by: Some("db-a".into()), runs: true, ..Findings::default() };
    assert_eq!(found, expected);
    assert!(!found.needs_a_person());
    assert_eq!(found.gentle(&backup()), backup());
}

#[test]
fn a_right_that_no_revision_and_no_pod_has_is_found() {
    let check = |pointer: &str, value: Value, expected: &str| {
        let backup = changed(&format!("/spec/template/{pointer}"), value.clone());
        let found = examined(&backup, &[revision("db-a", template())], &[pod(0, "db-a")]);
        assert_eq!(found.new_rights, [expected], "{pointer}: {value}");
        assert!(found.needs_a_person());
        let (name, paths) = found.differs.unwrap();
        assert!(name == "db-a" && !paths.is_empty());
    };
    let container = |key: &str| format!("spec/containers/0/{key}");
    check("spec/hostPID", json!(true), "spec.hostPID: true");
    check("spec/hostNetwork", json!(true), "spec.hostNetwork: true");
    check("spec/hostIPC", json!(true), "spec.hostIPC: true");
    check("spec/serviceAccountName", json!("admin"), "spec.serviceAccountName: admin");
    check("spec/automountServiceAccountToken", json!("x"), "spec.automountServiceAccountToken: x");
    check("spec/nodeName", json!("node-7"), "spec.nodeName: node-7");
    check("spec/aFieldOfTomorrow", json!({"a": [1]}), "spec.aFieldOfTomorrow.a: 1");
    check("spec/securityContext/supplementalGroups", json!([6]), "spec.securityContext.supplementalGroups: 6");
    check("spec/securityContext/runAsNonRoot", Value::Null, "without spec.securityContext.runAsNonRoot");
    check("spec/volumes/-", json!({"name": "r", "hostPath": {"path": "/"}}), r#"spec.volumes.hostPath: {"path":"/"}"#);
    check(
        "spec/volumes/-",
        json!({"name": "s", "secret": {"secretName": "admin"}}),
        r#"spec.volumes.secret: {"secretName":"admin"}"#,
    );
    check(
        "spec/volumes/-",
        json!({"name": "p", "projected": {"sources": [{"secret": {"name": "admin"}}]}}),
        "spec.volumes.projected.secret.name: admin",
    );
    let of_other = json!({"name": "o", "persistentVolumeClaim": {"claimName": "other"}});
    check("spec/volumes/-", of_other, r#"spec.volumes.persistentVolumeClaim: {"claimName":"other"}"#);
    let path = container("securityContext/privileged");
    check(&path, json!(true), "spec.containers[db].securityContext.privileged: true");
    let path = container("securityContext/capabilities/add");
    check(&path, json!(["SYS_ADMIN"]), "spec.containers[db].securityContext.capabilities.add: SYS_ADMIN");
    let path = container("securityContext/capabilities/drop");
    check(&path, json!(["NET_RAW"]), "without spec.containers[db].securityContext.capabilities.drop: ALL");
    let path = container("securityContext/seLinuxOptions");
    check(&path, json!({"type": "spc_t"}), "spec.containers[db].securityContext.seLinuxOptions.type: spc_t");
    let path = container("envFrom");
    check(&path, json!([{"secretRef": {"name": "admin"}}]), "spec.containers[db].envFrom.secretRef.name: admin");
    let path = container("ports");
    check(&path, json!([{"containerPort": 1, "hostPort": 22}]), "spec.containers[db].ports.hostPort: 22");
    let path = container("livenessProbe");
    check(&path, json!({"httpGet": {"host": "10.0.0.1"}}), "spec.containers[db].livenessProbe.httpGet.host: 10.0.0.1");
    check("spec/initContainers", json!([{"name": "x", "image": "y"}]), "a container x");
    check("spec/ephemeralContainers", json!([{"name": "x"}]), "a container x");
}

#[test]
fn root_in_place_of_another_user_is_a_right() {
    let backup = changed("/spec/template/spec/securityContext/runAsUser", json!(0));
    let found = examined(&backup, &[revision("db-a", template())], &[]).new_rights;
    assert_eq!(found, ["spec.securityContext.runAsUser: 0", "without spec.securityContext.runAsUser"]);
}

#[test]
fn what_takes_no_right_is_shown_and_not_refused() {
    let check = |pointer: &str, value: Value| {
        let backup = changed(&format!("/spec/template/{pointer}"), value);
        let found = examined(&backup, &[revision("db-a", template())], &[]);
        assert_eq!(found.new_rights, [""; 0], "{pointer}");
        assert!(found.needs_a_person() && found.differs.is_some(), "{pointer}");
    };
    check("spec/containers/0/image", json!("db:2"));
    check("spec/containers/0/resources", json!({"limits": {"memory": "1Gi"}}));
    check("spec/containers/0/readinessProbe", json!({"exec": {"command": ["true"]}}));
    check("spec/tolerations", json!([{"operator": "Exists"}]));
    check("metadata/annotations", json!({"a": "b"}));
    check("spec/volumes/-", json!({"name": "e", "emptyDir": {}}));
    check("spec/securityContext/runAsUser", json!(1000));
}

#[test]
fn a_running_pod_or_an_older_revision_confirms_a_right_too() {
    let backup = changed("/spec/template/spec/hostPID", json!(true));
    let mut running = pod(0, "db-b");
    running["spec"]["hostPID"] = json!(true);
    assert_eq!(examined(&backup, &[revision("db-a", template())], &[running]).new_rights, [""; 0]);
    let older = revision("db-0", backup["spec"]["template"].clone());
    let found = examined(&backup, &[revision("db-a", template()), older], &[pod(0, "db-a")]);
    assert_eq!((found.confirmed_by.as_deref(), found.new_rights.len()), (Some("db-0"), 0));
    // The Pod runs another one: it is not replaced.
    assert_eq!(found.outdated, ["db-0"]);
    assert_eq!(found.gentle(&backup)["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
}

#[test]
fn with_nothing_left_every_grant_is_new() {
    let found = examined(&backup(), &[], &[]);
    let password = "spec.containers[db].env[PASSWORD].secretKeyRef";
    let expected =
        [&format!("{password}.key: password"), &format!("{password}.name: db"), "spec.serviceAccountName: db"];
    assert_eq!(found.new_rights, expected);
    assert!(found.needs_a_person() && !found.runs && found.differs.is_none());
}

#[test]
fn a_revision_of_somebody_else_confirms_nothing() {
    let check = |object: Value| {
        let found = examined(&backup(), &[object], &[]);
        assert_eq!((found.confirmed_by, found.differs), (None, None));
    };
    check(revision("db-2-a", template()));
    check(revision("web-a", template()));
    let mut adopted = revision("db-a", template());
    adopted["metadata"]["ownerReferences"] = json!([{"kind": "StatefulSet", "name": "web", "controller": true}]);
    check(adopted);
    let mut of_another_kind = revision("db-a", template());
    of_another_kind["metadata"]["ownerReferences"] = json!([{"kind": "DaemonSet", "name": "db", "controller": true}]);
    check(of_another_kind);
}

#[test]
fn a_revision_that_the_statefulset_controls_confirms_its_template() {
    let mut own = revision("db-a", template());
    own["metadata"]["ownerReferences"] = json!([{"kind": "StatefulSet", "name": "db", "controller": true}]);
    assert_eq!(examined(&backup(), &[own], &[]).confirmed_by.as_deref(), Some("db-a"));
}

#[test]
fn of_equal_revisions_the_one_that_pods_run_confirms_the_template() {
    for run in ["db-a", "db-b"] {
        let revisions = ["db-a", "db-b"].map(|name| revision(name, template()));
        assert_eq!(examined(&backup(), &revisions, &[pod(0, run)]).confirmed_by.as_deref(), Some(run));
    }
}

#[test]
fn no_running_pod_is_scaled_away() {
    let check = |replicas: u32, start: u32, expected: Option<u32>, below: &[&str]| {
        let mut backup = backup();
        backup["spec"]["replicas"] = json!(replicas);
        backup["spec"]["ordinals"] = json!({"start": start});
        let pods = [pod(0, "db-a"), pod(4, "db-a")];
        let found = examined(&backup, &[revision("db-a", template())], &pods);
        assert_eq!(
            (found.replicas, found.below.as_slice()),
            (expected, below.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>().as_slice())
        );
        let gentle = &found.gentle(&backup)["spec"]["replicas"];
        assert_eq!(gentle, &json!(expected.unwrap_or(replicas)));
    };
    check(5, 0, None, &[]);
    check(2, 0, Some(5), &[]);
    check(0, 0, Some(5), &[]);
    check(4, 1, None, &["db-0"]);
    check(1, 1, Some(4), &["db-0"]);
}

#[test]
fn a_pod_that_has_ended_or_goes_keeps_nobody() {
    let check = |pointer: &str, value: Value| {
        let mut ended = pod(4, "db-a");
        *ended.pointer_mut(pointer).unwrap() = value;
        ended["metadata"]["labels"]["controller-revision-hash"] = json!("db-b");
        let found = examined(&backup(), &[revision("db-a", template())], &[ended]);
        assert_eq!((found.replicas, found.outdated.len(), found.runs), (None, 0, false));
    };
    check("/status/phase", json!("Failed"));
    check("/status/phase", json!("Succeeded"));
    let mut going = pod(4, "db-b");
    going["metadata"]["deletionTimestamp"] = json!("2026-05-01T12:00:00Z");
    assert!(!examined(&backup(), &[], &[going]).runs);
}

#[test]
fn an_owner_is_named() {
    let owner = json!([{"kind": "Postgres", "name": "shop"}]);
    let found = examined(&changed("/metadata/ownerReferences", owner), &[revision("db-a", template())], &[]);
    assert_eq!(found.owners, ["Postgres shop"]);
    assert!(found.needs_a_person());
}

#[test]
fn data_of_somebody_else_is_confirmed_by_a_claim_alone() {
    let source = json!({"kind": "PersistentVolumeClaim", "name": "other"});
    let backup = changed("/spec/volumeClaimTemplates/0/spec/dataSource", source.clone());
    let claim = |source: Value| json!({"metadata": {"name": "data-db-0"}, "spec": {"dataSource": source}});
    let check = |claim: Value, expected: usize| {
        let revisions = [revision("db-a", template())];
        let remains = Remains { revisions: &revisions, pods: &[], claims: &[claim] };
        let found = examine(&SetName::new("shop", "db"), &backup, remains);
        assert_eq!(found.new_rights.len(), expected, "{:?}", found.new_rights);
    };
    check(claim(source), 0);
    check(claim(json!(null)), 2);
}

#[test]
fn an_older_way_to_switch_a_protection_off_is_a_right() {
    let mut loud = template();
    loud["metadata"]["annotations"] = json!({"container.apparmor.security.beta.kubernetes.io/db": "unconfined"});
    assert_eq!(Rights::of(&loud).beyond(&[Rights::of(&template())]).len(), 1);
}
