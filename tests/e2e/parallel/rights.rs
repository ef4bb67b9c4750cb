//! What may the operator's accounts do? Each try is made as that account.

use rso::api::reasons::Reason;
use rso::recreate::preflight::answers::OWN_POLICY;
use serde_json::{Value, json};

use crate::harness::operator;
use crate::harness::programs::{Ran, kubectl, kubectl_reading};
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};

const OPERATOR: &str = "--as=system:serviceaccount:rso-system:rso";

/// As the operator, in this namespace.
async fn tries(space: &Space, args: &[&str]) -> Ran {
    kubectl(&[&[OPERATOR, "-n", &space.name], args].concat()).await
}

async fn creates(namespace: &str, object: &Value) -> Ran {
    kubectl_reading(&object.to_string(), &[OPERATOR, "-n", namespace, "create", "-f", "-"]).await
}

fn refused(ran: &Ran, words: &str) {
    assert!(ran.code != 0 && ran.err.contains(words), "expected a refusal with {words:?}: {ran:?}");
}

fn foreign_set(name: &str) -> Value {
    let pod = json!({"metadata": {"labels": {"app": name}}, "spec": {
        "hostPID": true,
        "containers": [{"name": "x", "image": "localhost/busybox:1", "securityContext": {"privileged": true}}],
    }});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {"serviceName": name, "replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": pod},
    })
}

#[tokio::test]
async fn the_operators_token_does_nothing_that_a_recreate_does_not() {
    in_namespace("token", async |space| {
        let set = space.run(&Set::named("db").template("data", "400Mi")).await;
        let before = set.facts().await;
        // `kubectl patch` reads first, which the operator has no right to: what it writes is what is tried.
        let kinds = "--resource=pods,persistentvolumeclaims,controllerrevisions.apps";
        space.kubectl(&["create", "role", "reader", "--verb=get", kinds]).await;
        space.kubectl(&["create", "rolebinding", "reader", "--role=reader", "--serviceaccount=rso-system:rso"]).await;
        let patch = async |what: &[&str], patch: &str| {
            tries(space, &[&["patch"], what, &["--type=merge", "-p", patch]].concat()).await
        };
        let (pod, claim, set_of_it) = (&["pod", "db-0"][..], &["pvc", "data-db-0"][..], &["statefulset", "db"][..]);
        refused(&creates(&space.name, &foreign_set("evil")).await, OWN_POLICY);
        refused(&creates("kube-system", &foreign_set("evil")).await, OWN_POLICY);
        let of_pod = "may change only the annotation resize-seen and metadata.ownerReferences of a Pod";
        let image = r#"{"spec":{"containers":[{"name":"db","image":"localhost/evil:1"}]}}"#;
        refused(&tries(space, &["patch", "pod", "db-0", "-p", image]).await, of_pod);
        refused(&patch(pod, r#"{"metadata":{"labels":{"app":"other"}}}"#).await, of_pod);
        refused(&patch(pod, r#"{"metadata":{"annotations":{"a":"b"}}}"#).await, of_pod);
        space.kubectl(&["annotate", "pod", "db-0", "team=a"]).await;
        refused(&patch(pod, r#"{"metadata":{"annotations":{"team":"b"}}}"#).await, of_pod);
        refused(&patch(pod, r#"{"metadata":{"annotations":{"team":null}}}"#).await, of_pod);
        refused(&patch(pod, r#"{"metadata":{"finalizers":["a.b/c"]}}"#).await, of_pod);
        let of_claim =
            "may change only the storage request, the annotations resized-at and rescued, and metadata.ownerReferences of a";
        space.kubectl(&["label", "pvc", "data-db-0", "team=a"]).await;
        space.kubectl(&["annotate", "pvc", "data-db-0", "team=a"]).await;
        refused(&patch(claim, r#"{"metadata":{"labels":{"team":"b"}}}"#).await, of_claim);
        refused(&patch(claim, r#"{"metadata":{"labels":{"team":null}}}"#).await, of_claim);
        refused(&patch(claim, r#"{"metadata":{"annotations":{"team":"b"}}}"#).await, of_claim);
        refused(&patch(claim, r#"{"metadata":{"finalizers":null}}"#).await, of_claim);
        let smaller = r#"{"spec":{"resources":{"requests":{"storage":"300Mi"}}}}"#;
        refused(&patch(claim, smaller).await, "");
        let of_set = "may change only finalizers, annotations, updateStrategy";
        refused(&patch(set_of_it, r#"{"spec":{"replicas":0}}"#).await, of_set);
        refused(&patch(set_of_it, r#"{"spec":{"template":{"metadata":{"labels":{"a":"b"}}}}}"#).await, of_set);
        let of_delete = "may delete a StatefulSet only during a recreation";
        refused(&tries(space, &["delete", "statefulset", "db"]).await, of_delete);
        let orphan = ["delete", "statefulset", "db", "--cascade=orphan"];
        refused(&tries(space, &orphan).await, of_delete);
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}});
        let of_map = "may create and delete only ConfigMaps that are backups";
        refused(&creates(&space.name, &map).await, of_map);
        space.kubectl(&["create", "configmap", "settings", "--from-literal=a=b"]).await;
        refused(&tries(space, &["delete", "configmap", "settings"]).await, of_map);
        // RBAC says no to an update before the policy is asked.
        refused(&patch(&["configmap", "settings"], r#"{"data":{"a":"c"}}"#).await, "forbidden");
        let revisions = space.kubectl(&["get", "controllerrevision", "-o", "name"]).await;
        let revision = revisions.lines().next().unwrap();
        refused(
            &patch(&[revision], r#"{"revision":99}"#).await,
            "may change only metadata.ownerReferences of a ControllerRevision",
        );
        // Nobody else is asked about.
        space.kubectl(&["label", "pod", "db-0", "team=a"]).await;
        set.facts().await.pods_are_the_same_as(&before);
        // And what a recreate does still goes through.
        set.asks("resize-0", "500Mi").await;
        set.reaches("data", "500Mi").await;
        set.says(Reason::TemplateSynced).await;
    })
    .await;
}

/// As large as a set can be and still be saved: its template and its annotations.
#[tokio::test]
async fn a_large_set_is_recreated_under_the_operators_policy() {
    in_namespace("large", async |space| {
        let mut manifest = Set::named("db").template("data", "400Mi").manifest();
        let variables: Vec<Value> =
            (0..4000).map(|n| json!({"name": format!("V{n}"), "value": format!("{n:0>80}")})).collect();
        manifest["spec"]["template"]["spec"]["containers"][0]["env"] = json!(variables);
        for n in 0..4000 {
            manifest["metadata"]["annotations"][format!("example.com/a{n}")] = json!(format!("{n:0>20}"));
        }
        let set = space.create_manifest(&manifest).await;
        set.is_ready().await;
        let before = set.facts().await;
        set.asks("resize-0", "500Mi").await;
        set.reaches("data", "500Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}

#[tokio::test]
async fn the_account_that_kubelets_see_reads_statistics_and_nothing_else() {
    let as_it = format!("--as=system:serviceaccount:{}:rso-kubelet", operator::NAMESPACE);
    let may = async |verb: &str, what: &str| {
        let (kind, part) = what.split_once('/').unwrap_or((what, ""));
        kubectl(&["auth", "can-i", verb, kind, &format!("--subresource={part}"), "-A", &as_it]).await.code == 0
    };
    assert!(may("get", "nodes/stats").await);
    for verb in ["get", "list", "create", "patch", "delete"] {
        for what in
            ["pods", "secrets", "nodes", "nodes/proxy", "statefulsets.apps", "configmaps", "serviceaccounts/token"]
        {
            assert!(!may(verb, what).await, "{verb} {what}");
        }
    }
    // And the operator's own account asks no kubelet.
    assert_ne!(kubectl(&["auth", "can-i", "get", "nodes", "--subresource=stats", OPERATOR]).await.code, 0);
}
