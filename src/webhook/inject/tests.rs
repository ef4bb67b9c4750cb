use super::super::patch::Op;
use super::*;

fn pod(spec: Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": "db-0"},
        "spec": {
            "containers": [{"name": "db", "image": "db", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}],
        },
    });
    spec.as_object().unwrap().iter().for_each(|(key, value)| pod["spec"][key] = value.clone());
    pod
}

fn injected(pod: &Value) -> Option<Value> {
    let response = inject(pod, "agent:1");
    assert!(response.patch.iter().all(is_allowed));
    if response.patch.is_empty() {
        return None;
    }
    let patch = Value::Array(response.patch.iter().map(Op::to_json).collect());
    let mut done = pod.clone();
    json_patch::patch(&mut done, &serde_json::from_value::<json_patch::Patch>(patch).unwrap()).unwrap();
    assert_eq!(inject(&done, "agent:1"), AdmissionResponse::default(), "a second call changes nothing");
    Some(done)
}

/// The agent of the pod.
fn agent(spec: Value) -> Value {
    let done = injected(&pod(spec)).expect("an agent");
    done["spec"]["initContainers"].as_array().unwrap().first().unwrap().clone()
}

#[test]
fn the_agent_mounts_the_volumes_read_only_and_has_no_permissions() {
    let agent = agent(json!({}));
    assert_eq!(agent["args"], json!(["--volume=data-db-0=/volumes/0"]));
    assert_eq!(
        agent["volumeMounts"],
        json!([
            {"name": "data", "mountPath": "/volumes/0", "readOnly": true},
            {"name": NO_TOKEN_VOLUME, "mountPath": TOKEN_MOUNT_PATH, "readOnly": true},
        ])
    );
    assert_eq!(agent["restartPolicy"], "Always");
    assert!(agent["readinessProbe"].is_null() && agent["livenessProbe"].is_null() && agent["startupProbe"].is_null());
    assert_eq!(agent["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    assert!(agent["resources"].is_null(), "a pod of class BestEffort stays one");
}

#[test]
fn the_agent_comes_first_of_the_init_containers_and_the_others_keep_their_order() {
    let check = |present: Value, expected: &[&str]| {
        let done = injected(&pod(json!({ "initContainers": present }))).unwrap();
        let names: Vec<_> = list(&done["spec"], "initContainers").iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{present}");
    };
    let proxy = json!({"name": "proxy", "restartPolicy": "Always"});
    check(json!([{"name": "prepare"}]), &[AGENT_CONTAINER, "prepare"]);
    check(json!([proxy, {"name": "prepare"}, {"name": "recover"}]), &[AGENT_CONTAINER, "proxy", "prepare", "recover"]);
    check(json!([]), &[AGENT_CONTAINER]);
    check(Value::Null, &[AGENT_CONTAINER]);
}

#[test]
fn a_volume_that_only_an_init_container_mounts_is_measured() {
    let prepare = json!([{"name": "prepare", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]);
    let agent = agent(json!({"initContainers": prepare, "containers": [{"name": "db"}]}));
    assert_eq!(agent["args"], json!(["--volume=data-db-0=/volumes/0"]));
}

#[test]
fn a_pod_without_a_token_needs_no_volume_in_its_place() {
    let done = injected(&pod(json!({"automountServiceAccountToken": false}))).unwrap();
    assert_eq!(done["spec"]["volumes"].as_array().unwrap().len(), 1);
}

#[test]
fn only_a_pod_with_a_mounted_pvc_gets_an_agent() {
    let check = |spec: Value, expected: bool| assert_eq!(injected(&pod(spec.clone())).is_some(), expected, "{spec}");
    check(json!({}), true);
    check(json!({"volumes": []}), false);
    check(json!({"volumes": [{"name": "data", "emptyDir": {}}]}), false);
    let device = json!([{"name": "db", "volumeDevices": [{"name": "data", "devicePath": "/dev/x"}]}]);
    check(json!({"containers": device}), false);
    check(json!({"hostNetwork": true}), false);
    check(json!({"os": {"name": "windows"}}), false);
    check(json!({"os": {"name": "linux"}}), true);
    check(json!({"initContainers": [{"name": AGENT_CONTAINER}]}), false);
    // One that an older version or a person put elsewhere stays where it is.
    check(json!({"initContainers": [{"name": "prepare"}, {"name": AGENT_CONTAINER}]}), false);
    let own = json!([{"name": "db", "volumeMounts": [{"name": "data"}], "ports": [{"containerPort": 1251}]}]);
    check(json!({"containers": own}), false);
}

#[test]
fn a_pvc_with_two_volume_names_is_measured_once() {
    let agent = agent(json!({
        "containers": [{"name": "db", "volumeMounts": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}],
        "volumes": [
            {"name": "a", "persistentVolumeClaim": {"claimName": "one"}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "one"}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "two"}},
        ],
    }));
    assert_eq!(agent["args"], json!(["--volume=one=/volumes/0", "--volume=two=/volumes/1"]));
}

#[test]
fn the_qos_class_of_the_pod_stays() {
    let check = |resources: &[Value], of_the_pod: Value, expected: Value| {
        let mounts = json!([{"name": "data", "mountPath": "/data"}]);
        let containers: Vec<Value> =
            resources.iter().map(|r| json!({"name": "c", "volumeMounts": mounts, "resources": r})).collect();
        let agent = agent(json!({"containers": containers, "resources": of_the_pod}));
        assert_eq!(agent["resources"], expected, "{resources:?}");
    };
    let guaranteed = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
    let ours = json!({"requests": {"cpu": AGENT_CPU, "memory": AGENT_MEMORY}, "limits": {"cpu": AGENT_CPU, "memory": AGENT_MEMORY}});
    check(std::slice::from_ref(&guaranteed), Value::Null, ours.clone());
    check(&[guaranteed.clone(), guaranteed.clone()], Value::Null, ours.clone());
    check(&[json!({"limits": {"cpu": "1", "memory": "1Gi"}})], Value::Null, ours);
    check(&[json!({"requests": {"cpu": "1"}})], Value::Null, json!({"requests": {"cpu": AGENT_CPU}}));
    check(&[guaranteed.clone(), json!({})], Value::Null, Value::Null);
    check(&[json!({})], Value::Null, Value::Null);
    check(&[json!({})], json!({"requests": {"cpu": "1"}}), Value::Null);
    check(&[guaranteed], json!({"limits": {"cpu": "1"}}), Value::Null);
}

#[test]
fn the_agent_does_not_run_as_root_in_a_pod_that_does() {
    let user = |context: Value| agent(json!({ "securityContext": context }))["securityContext"]["runAsUser"].clone();
    assert_eq!(user(json!({"runAsUser": 0})), 65532);
    assert_eq!(user(json!({"runAsUser": 999})), Value::Null);
    assert_eq!(user(json!({})), Value::Null);
}

/// The pointers that a patch of [`inject`] may touch, so that nothing else changes.
fn is_allowed(op: &Op) -> bool {
    ["/spec/volumes", "/spec/volumes/-", "/spec/initContainers", "/spec/initContainers/0"].contains(&op.path())
}
