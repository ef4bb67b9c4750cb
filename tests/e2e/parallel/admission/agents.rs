//! New pods of sets that grow by usage have the agent beside them, and are otherwise the pods they would have been.

use serde_json::{Value, json};

use crate::harness::api::Kind;
use crate::harness::programs::{kubectl_reading, rso};
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, until};

const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

async fn pod(space: &Space) -> Value {
    space.api.get(Kind::Pod, &space.name, "db-0").await.unwrap()
}

fn agent(pod: &Value) -> Option<&Value> {
    pod["spec"]["initContainers"].as_array()?.iter().find(|container| container["name"] == "rso-agent")
}

/// New pods are shown to the webhook. For a moment after an install they are not: the API server has to hear of it, and the
/// node of the way to its pods; what is created meanwhile is admitted as it is.
pub(in crate::parallel) async fn are_shown(space: &Space) {
    let set = space.create(&Set::named("none").replicas(0).template("data", "400Mi").grows_by_usage()).await;
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "none", "controller": true,
        "uid": set.object().await.unwrap()["metadata"]["uid"],
    });
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-none-0"}}]);
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "none-0", "ownerReferences": [owner]},
        "spec": restricted(&json!({})),
    });
    pod["spec"]["volumes"] = volumes;
    until("new pods to be shown to the webhook", PATIENCE, async || {
        let args = ["-n", &space.name, "create", "--dry-run=server", "-o", "json", "-f", "-"];
        let tried = kubectl_reading(&pod.to_string(), &args).await;
        expect(tried.out.contains("\"rso-agent\""), || format!("{tried:?}"))
    })
    .await;
}

/// The containers as Pod Security `restricted` wants them, with these resources.
fn restricted(resources: &Value) -> Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "db",
            "image": "localhost/busybox:1",
            "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            "resources": resources,
        }],
    })
}

#[tokio::test]
async fn the_agent_is_admitted_where_pods_are_restricted_and_the_pod_stays_what_it_is() {
    in_namespace("restricted", async |space| {
        are_shown(space).await;
        let enforce = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        space.api.patch(Kind::Namespace, "", &space.name, &enforce).await.unwrap();
        let some = json!({"cpu": "20m", "memory": "16Mi"});
        for (resources, class) in [
            (json!({"requests": some, "limits": some}), "Guaranteed"),
            (json!({"requests": {"cpu": "20m"}}), "Burstable"),
            (json!({}), "BestEffort"),
        ] {
            let set = Set::named("db").template("data", "400Mi").grows_by_usage();
            let set = set.with(&json!({"template": {"spec": restricted(&resources)}}));
            space.run(&set).await;
            let pod = pod(space).await;
            assert_eq!(pod["status"]["qosClass"], class);
            let agent = agent(&pod).unwrap_or_else(|| panic!("no agent in {}", pod["spec"]));
            assert!(agent["readinessProbe"].is_null() && agent["restartPolicy"] == "Always");
            let mounts = agent["volumeMounts"].as_array().unwrap();
            assert!(mounts.iter().all(|mount| mount["readOnly"] == true), "{mounts:?}");
            let at_token: Vec<_> = mounts.iter().filter(|mount| mount["mountPath"] == TOKEN).collect();
            assert_eq!(at_token.len(), 1);
            assert_eq!(at_token[0]["name"], "rso-agent-no-token", "the agent was given a token");
            space.kubectl(&["delete", "statefulset,persistentvolumeclaim", "--all"]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_agent_starts_before_the_other_init_containers_which_keep_their_order() {
    in_namespace("order", async |space| {
        are_shown(space).await;
        let init = |name: &str| json!({"name": name, "image": "localhost/busybox:1", "command": ["true"]});
        let mut proxy = init("proxy");
        proxy["command"] = json!(["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"]);
        proxy["restartPolicy"] = json!("Always");
        let init = json!([init("prepare"), proxy, init("check")]);
        let set = Set::named("db").template("data", "400Mi").grows_by_usage();
        space.run(&set.with(&json!({"template": {"spec": {"initContainers": init}}}))).await;
        let pod = pod(space).await;
        let names = |list: &Value| -> Vec<_> {
            list.as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&pod["spec"]["initContainers"]), ["rso-agent", "prepare", "proxy", "check"]);
        let statuses = &pod["status"]["initContainerStatuses"];
        let agent = statuses[0]["state"]["running"]["startedAt"].as_str().expect("the agent runs");
        let prepare = statuses[1]["state"]["terminated"]["startedAt"].as_str().expect("the next one has ended");
        assert!(agent <= prepare, "{statuses}");
    })
    .await;
}

#[tokio::test]
async fn a_pod_from_before_is_measured_by_its_kubelet_until_it_is_replaced() {
    in_namespace("sources", async |space| {
        let set = space.run(&Set::named("db").template("data", "400Mi")).await;
        let before = set.facts().await;
        assert!(agent(&pod(space).await).is_none(), "a set that does not grow by usage gets no agent");
        set.annotates(&[("auto-scaled", "true"), ("threshold", "95%")]).await;
        is_measured_by(space, "kubelet").await;
        set.facts().await.pods_are_the_same_as(&before);
        space.kubectl(&["delete", "pod", "db-0"]).await;
        set.is_ready().await;
        assert!(agent(&pod(space).await).is_some());
        is_measured_by(space, "agent").await;
    })
    .await;
}

async fn is_measured_by(space: &Space, source: &str) {
    until(&format!("status to name {source}"), PATIENCE, async || {
        let told = rso(&["status", "-n", &space.name, "-o", "json"]).await;
        expect(told.out.contains(&format!("\"{source}\"")), || format!("{} {}", told.out, told.err))
    })
    .await;
}
