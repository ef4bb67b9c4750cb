//! What has nothing to do with volumes never comes to us. The API server's audit log names every webhook it asked.

use serde_json::{Value, json};

use super::{applied, send, small, with_note};
use crate::harness::live::Live;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, cluster_dir, cluster_suffix, expect, until};

/// The hooks that were asked about StatefulSets of the namespace, each question once.
fn asked(space: &Space) -> Vec<String> {
    let path = cluster_dir().join(format!("audit{}.log", cluster_suffix()));
    let log = std::fs::read_to_string(&path).unwrap();
    let here = format!("\"namespace\":\"{}\"", space.name);
    let events = log.lines().filter(|line| line.contains(&here)).filter_map(|line| serde_json::from_str(line).ok());
    let of_sets = events.filter(|event: &Value| event["objectRef"]["resource"] == "statefulsets");
    let done = of_sets.filter(|event| event["stage"] == "ResponseComplete");
    done.flat_map(|event| {
        let annotations = event["annotations"].as_object().cloned().unwrap_or_default();
        annotations
            .into_iter()
            .filter(|(key, _)| key.starts_with("mutation.webhook.admission.k8s.io/"))
            .map(|(_, value)| value.as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    })
    .collect()
}

#[tokio::test]
async fn an_update_that_leaves_the_templates_alone_asks_no_hook() {
    in_namespace("neutral", async |space| {
        let set: Live<'_> = applied(space, &with_note("400Mi", "one")).await;
        send(space, &["apply"], &with_note("400Mi", "two")).await.ok();
        space.kubectl(&["rollout", "restart", "statefulset/db"]).await;
        set.is_ready().await;
        space.kubectl(&["rollout", "undo", "statefulset/db"]).await;
        space.kubectl(&["scale", "statefulset/db", "--replicas=1"]).await;
        space.kubectl(&["set", "env", "statefulset/db", "A=b"]).await;
        set.patches(&json!({"metadata": {"labels": {"a": "b"}}})).await;
        set.is_ready().await;
        // An autoscaler writes the same subresource as `scale`. Below its minimum it acts without any metrics.
        space.kubectl(&["autoscale", "statefulset/db", "--min=2", "--max=3"]).await;
        until("the autoscaler to act", PATIENCE, async || {
            let replicas = &set.object().await.unwrap_or_default()["spec"]["replicas"];
            expect(replicas == 2, || replicas.to_string())
        })
        .await;
        set.is_ready().await;
        assert_eq!(asked(space), [""; 0]);
        // So that the silence above means something.
        send(space, &["apply"], &small("500Mi").manifest()).await.ok();
        assert!(asked(space).iter().any(|hook| hook.contains("absorb.")), "{:?}", asked(space));
    })
    .await;
}

#[tokio::test]
async fn a_namespace_can_say_no() {
    in_namespace("optout", async |space| {
        let label = json!({"metadata": {"labels": {"resize-statefulset-operator/admission": "ignore"}}});
        space.api.patch(crate::harness::api::Kind::Namespace, "", &space.name, &label).await.unwrap();
        applied(space, &small("400Mi").manifest()).await;
        let ran = send(space, &["apply"], &small("500Mi").manifest()).await;
        assert!(ran.code != 0 && ran.err.contains("spec.volumeClaimTemplates"), "{}", ran.err);
        assert_eq!(asked(space), [""; 0]);
    })
    .await;
}
