//! Another controller whose selector matches the Pods: while the set is replaced it would take them, and delete what is too
//! many. It is named, and nothing is touched.

use rso::api::bytes::Bytes;
use rso::api::reasons::Reason;
use serde_json::{Value, json};

use crate::harness::api::Kind;
use crate::harness::facts::size_in_template;
use crate::harness::live::Live;
use crate::harness::programs::kubectl_reading;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, operator, until};

/// What runs in the Pods of a rival: nothing that anybody needs.
fn pods_of_a_rival(restart: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "db"}},
        "spec": {
            "terminationGracePeriodSeconds": 1, "restartPolicy": restart,
            "containers": [{"name": "c", "image": "localhost/busybox:1", "command": ["sleep", "86400"]}],
        },
    })
}

fn by_labels() -> Value {
    json!({"matchLabels": {"app": "db"}})
}

/// Creates it as a person does, and waits until each of its Pods runs.
async fn applied(space: &Space, rival: &Value, pods: usize) {
    kubectl_reading(&rival.to_string(), &["-n", &space.name, "apply", "-f", "-"]).await.ok();
    until("every Pod to run", PATIENCE, async || {
        let all = space.api.list(Kind::Pod, &space.name, "").await;
        let runs = |pod: &&Value| pod["status"]["containerStatuses"].to_string().contains("\"running\"");
        let running = all.iter().filter(runs).count();
        expect(running == pods, || format!("{running} of {pods}"))
    })
    .await;
}

async fn two_replicas(space: &Space) -> Live<'_> {
    space.run(&Set::named("db").replicas(2).parallel().template("data", "400Mi")).await
}

/// The claims grow; of the set and its Pods nothing changes, and who stands in the way is told.
async fn is_named_and_nothing_is_touched(set: &Live<'_>, kind: &str, name: &str) {
    let before = set.facts().await;
    set.asks("resize-0", "500Mi").await;
    set.claims_have_grown("data", "500Mi").await;
    let note = set.says(Reason::TemplateSyncBlocked).await;
    assert!(note.contains(kind) && note.contains(name), "the note does not name {kind} {name}: {note}");
    nothing_is_touched(set, &before).await;
}

async fn nothing_is_touched(set: &Live<'_>, before: &crate::harness::facts::Facts) {
    set.leaves_no_trace().await;
    let after = set.facts().await;
    assert_eq!(after.uid(), before.uid(), "the set was replaced");
    assert_eq!(size_in_template(&after.set, "data"), Some(Bytes::mib(400)));
    assert_eq!(after.set["spec"]["updateStrategy"], before.set["spec"]["updateStrategy"]);
    after.pods_are_the_same_as(before);
    assert_eq!(set.events(Reason::TemplateSynced).await, Vec::<String>::new());
    let restarts = operator::metric(&set.space.api, "rso_pod_restarts_caused_total", "").await;
    assert!(restarts.abs() < 0.5, "{restarts} Pods were restarted");
}

#[tokio::test]
async fn a_replicaset_that_selects_the_pods_is_named_and_nothing_is_touched() {
    in_namespace("rival-replicaset", async |space| {
        let set = two_replicas(space).await;
        let rival = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
            "spec": {"replicas": 1, "selector": by_labels(), "template": pods_of_a_rival("Always")},
        });
        applied(space, &rival, 3).await;
        is_named_and_nothing_is_touched(&set, "ReplicaSet", "web").await;
        // Once it is gone, the template follows.
        let before = set.facts().await;
        space.kubectl(&["delete", "replicaset", "web", "--wait=true"]).await;
        set.patches(&json!({"metadata": {"labels": {"looked": "at"}}})).await;
        set.template_is("data", "500Mi").await;
        let after = set.facts().await;
        for pod in ["db-0", "db-1"] {
            assert_eq!(after.pods[pod], before.pods[pod], "{pod} was restarted or replaced");
        }
    })
    .await;
}

#[tokio::test]
async fn a_replicaset_of_no_replicas_with_expressions_for_a_selector_is_named_as_well() {
    in_namespace("rival-expressions", async |space| {
        let set = two_replicas(space).await;
        let selector = json!({"matchExpressions": [
            {"key": "app", "operator": "In", "values": ["db", "web"]}, {"key": "old", "operator": "DoesNotExist"},
        ]});
        let rival = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "idle"},
            "spec": {"replicas": 0, "selector": selector, "template": pods_of_a_rival("Always")},
        });
        applied(space, &rival, 2).await;
        is_named_and_nothing_is_touched(&set, "ReplicaSet", "idle").await;
    })
    .await;
}

#[tokio::test]
async fn a_replicationcontroller_that_selects_the_pods_is_named_and_nothing_is_touched() {
    in_namespace("rival-rc", async |space| {
        let set = two_replicas(space).await;
        let rival = json!({
            "apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "old-web"},
            "spec": {"replicas": 1, "selector": {"app": "db"}, "template": pods_of_a_rival("Always")},
        });
        applied(space, &rival, 3).await;
        is_named_and_nothing_is_touched(&set, "ReplicationController", "old-web").await;
    })
    .await;
}

#[tokio::test]
async fn a_daemonset_that_selects_the_pods_is_named_and_nothing_is_touched() {
    in_namespace("rival-daemonset", async |space| {
        let set = two_replicas(space).await;
        let nodes = space.api.send(http::Method::GET, "/api/v1/nodes", None).await.unwrap();
        let nodes = nodes["items"].as_array().unwrap().len();
        let rival = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "exporter"},
            "spec": {"selector": by_labels(), "template": pods_of_a_rival("Always")},
        });
        applied(space, &rival, 2 + nodes).await;
        is_named_and_nothing_is_touched(&set, "DaemonSet", "exporter").await;
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_selector_somebody_wrote_by_hand_is_named_and_nothing_is_touched() {
    in_namespace("rival-job", async |space| {
        let set = two_replicas(space).await;
        let rival = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "backup"},
            "spec": {"manualSelector": true, "selector": by_labels(), "template": pods_of_a_rival("Never")},
        });
        applied(space, &rival, 3).await;
        is_named_and_nothing_is_touched(&set, "Job", "backup").await;
    })
    .await;
}

#[tokio::test]
async fn a_second_statefulset_with_the_same_selector_blocks_by_name() {
    in_namespace("rival-statefulset", async |space| {
        let set = two_replicas(space).await;
        let same = json!({"selector": by_labels(), "template": {"metadata": {"labels": {"app": "db"}}}});
        space.run(&Set::named("cache").template("cache", "400Mi").with(&same)).await;
        is_named_and_nothing_is_touched(&set, "StatefulSet", "cache").await;
    })
    .await;
}

#[tokio::test]
async fn controllers_of_other_pods_stand_in_nobodys_way() {
    in_namespace("no-rival", async |space| {
        let set = two_replicas(space).await;
        let mut pods = pods_of_a_rival("Always");
        pods["metadata"]["labels"] = json!({"app": "db", "tier": "web"});
        // It asks for one label more than the Pods of the set have.
        let other = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "db", "tier": "web"}}, "template": pods},
        });
        applied(space, &other, 3).await;
        let before = set.facts().await;
        set.asks("resize-0", "500Mi").await;
        set.reaches("data", "500Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}
