//! One file of vectors, two ways to absorb: the webhook, and the policy that the API server runs by itself. Both have to
//! answer as `tests/vectors/absorb.json` says, on the real API server.

use rso::api::annotations::{PREFIX, REQUESTED};
use rso::api::bytes::Bytes;
use serde_json::{Value, json};

use crate::harness::api::Kind;
use crate::harness::operator;
use crate::harness::programs::{helm, kubectl, kubectl_reading};
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, until};

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../vectors/absorb.json")).unwrap()
}

fn templates(short: &Value) -> Value {
    let template = |short: &Value| {
        let mut template = json!({
            "metadata": {"name": short["name"]},
            "spec": {
                "accessModes": [short["mode"].as_str().unwrap_or("ReadWriteOnce")],
                "resources": {"requests": {"storage": short["size"]}},
            },
        });
        if let Some(class) = short["class"].as_str() {
            template["spec"]["storageClassName"] = json!(class);
        }
        if !short["labels"].is_null() {
            template["metadata"]["labels"] = short["labels"].clone();
        }
        template
    };
    short.as_array().unwrap().iter().map(template).collect()
}

/// A set without pods that the operator leaves alone, as far as it can be told so.
fn set(name: &str, vector: &Value) -> Value {
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "replicas": 0, "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "localhost/busybox:1"}]},
            },
            "volumeClaimTemplates": templates(&vector["live"]),
        },
    });
    if vector["bare"] != true {
        set["metadata"]["annotations"] = json!({ format!("{PREFIX}paused"): "true" });
    }
    set
}

async fn check(space: &Space, index: usize, vector: &Value, untouched: bool) {
    let case = &vector["case"];
    let name = format!("set-{index}");
    space.api.create(Kind::StatefulSet, &space.name, &set(&name, vector)).await.unwrap();
    if let Some(recorded) = vector["recorded"].as_str() {
        // Written by the one who may.
        let account = format!("--as=system:serviceaccount:{}:{}", operator::NAMESPACE, operator::NAME);
        let pair = format!("{REQUESTED}={recorded}");
        kubectl(&["-n", &space.name, &account, "annotate", "statefulset", &name, &pair]).await.ok();
    }
    let live = space.api.get(Kind::StatefulSet, &space.name, &name).await.unwrap();
    let change = json!({"spec": {"volumeClaimTemplates": templates(&vector["asked"])}});
    let answer = space.api.patch(Kind::StatefulSet, &space.name, &name, &change).await;
    if untouched {
        let refused = answer.expect_err("Kubernetes refuses it");
        assert_eq!(refused.code, 422, "{case}: {}", refused.message);
        return;
    }
    let done = answer.unwrap_or_else(|refused| panic!("{case}: {refused:?}"));
    assert_eq!(by_value(&done), by_value(&live), "{case}");
    if vector["asked"] != vector["live"] {
        assert_eq!(done["metadata"]["annotations"][REQUESTED], vector["requested"], "{case}");
    }
}

/// The templates with their sizes in bytes: which of two spellings is kept is up to the server.
fn by_value(set: &Value) -> Value {
    let mut templates = set["spec"]["volumeClaimTemplates"].clone();
    for template in templates.as_array_mut().into_iter().flatten() {
        let size = &mut template["spec"]["resources"]["requests"]["storage"];
        *size = json!(size.as_str().unwrap().parse::<Bytes>().unwrap().0);
    }
    templates
}

#[tokio::test]
async fn the_webhook_answers_as_the_vectors_say() {
    in_namespace("vectors", async |space| {
        for (index, vector) in vectors().iter().enumerate() {
            check(space, index, vector, vector["kept"] != true).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_policy_answers_as_the_vectors_say() {
    in_namespace("policy", async |space| {
        // The webhook leaves this namespace alone, and the policy is for this one only.
        let label = json!({"metadata": {"labels": {"resize-statefulset-operator/admission": "ignore"}}});
        space.api.patch(Kind::Namespace, "", &space.name, &label).await.unwrap();
        let policy = policy(space).await;
        kubectl_reading(&policy, &["apply", "-f", "-"]).await.ok();
        let probe = json!({"live": [{"name": "data", "size": "1Gi"}], "asked": [{"name": "data", "size": "2Gi"}]});
        space.api.create(Kind::StatefulSet, &space.name, &set("probe", &probe)).await.unwrap();
        until("the policy to be in force", PATIENCE, async || {
            let change = json!({"spec": {"volumeClaimTemplates": templates(&probe["asked"])}});
            let answer = space.api.patch(Kind::StatefulSet, &space.name, "probe", &change).await;
            expect(answer.is_ok(), || format!("{answer:?}"))
        })
        .await;
        for (index, vector) in vectors().iter().enumerate() {
            check(space, index, vector, vector["kept"] != true || vector["policy"] == "untouched").await;
        }
        kubectl_reading(&policy, &["delete", "-f", "-"]).await.ok();
    })
    .await;
}

/// The chart's policy under another name, for one namespace, and strict: an error in it is an error of the test.
async fn policy(space: &Space) -> String {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/chart");
    let args = ["template", &space.name, chart, "--namespace", operator::NAMESPACE, "--kube-version", "1.37"];
    let values = ["--set", "admission.enabled=true,admission.mode=policy,admission.policyFailure=Fail"];
    let rendered = helm(&[&args[..], &values, &["--show-only", "templates/admission.yaml"]].concat()).await.ok();
    let only_here = format!(
        "policyName: {0}-absorb\n  matchResources:\n    namespaceSelector:\n      matchLabels: {{kubernetes.io/metadata.name: {0}}}",
        space.name
    );
    rendered
        .replace("values: [ignore]", "values: [nobody]")
        .replace(&format!("policyName: {}-absorb", space.name), &only_here)
}
