//! Sets that are in the middle of something else.

use rso::api::bytes::Bytes;
use rso::api::reasons::Reason;
use serde_json::json;

use crate::harness::facts::size_in_template;
use crate::harness::set::Set;
use crate::harness::space::in_namespace;
use crate::harness::{PATIENCE, expect, until};

#[tokio::test]
async fn while_a_rollout_is_in_flight_claims_grow_and_the_template_follows_later() {
    in_namespace("rollout", async |space| {
        let set = space.run(&Set::named("db").replicas(2).template("data", "400Mi")).await;
        let before = set.facts().await;
        // A version that is ready only when told to be.
        let probe = json!({"exec": {"command": ["test", "-f", "/tmp/ready"]}, "periodSeconds": 1});
        let mut template = set.object().await.unwrap()["spec"]["template"].clone();
        template["spec"]["containers"][0]["readinessProbe"] = probe;
        set.patches(&json!({"spec": {"template": template}})).await;
        set.asks("resize-0", "500Mi").await;
        set.claims_have_grown("data", "500Mi").await;
        set.says(Reason::TemplateSyncDeferred).await;
        let deferred = set.object().await.unwrap();
        assert_eq!(deferred["metadata"]["uid"], before.set["metadata"]["uid"], "recreated during a rollout");
        assert_eq!(size_in_template(&deferred, "data"), Some(Bytes::mib(400)));

        for ordinal in [1, 0] {
            until("the new version of the pod to run", PATIENCE, async || {
                let pod = format!("db-{ordinal}");
                let changed = set.facts().await.pods.get(&pod).is_some_and(|new| new.uid != before.pods[&pod].uid);
                expect(changed, || "the old one".to_owned())?;
                let args = ["-n", &space.name, "exec", &pod, "--", "touch", "/tmp/ready"];
                let touched = crate::harness::programs::kubectl(&args).await;
                expect(touched.code == 0, || touched.err)
            })
            .await;
        }
        set.is_ready().await;
        let rolled_out = set.facts().await;
        set.template_is("data", "500Mi").await;
        set.facts().await.pods_are_the_same_as(&rolled_out);
    })
    .await;
}

#[tokio::test]
async fn a_canary_is_not_lost_and_the_template_follows_when_it_is_over() {
    in_namespace("canary", async |space| {
        let partition =
            |n: u32| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": n}}});
        let set =
            space.run(&Set::named("db").replicas(2).parallel().template("data", "400Mi").with(&partition(1))).await;
        let old = set.facts().await;
        set.patches(&json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}})).await;
        until("the canary to run", PATIENCE, async || {
            let facts = set.facts().await;
            let new = facts.pods.get("db-1").is_some_and(|pod| pod.uid != old.pods["db-1"].uid);
            expect(new, || "the old pod".to_owned())
        })
        .await;
        set.is_ready().await;
        let canary = set.facts().await;
        set.asks("resize-0", "500Mi").await;
        set.claims_have_grown("data", "500Mi").await;
        set.says(Reason::TemplateSyncDeferred).await;
        let deferred = set.facts().await;
        deferred.pods_are_the_same_as(&canary);
        assert_eq!(deferred.uid(), canary.uid(), "recreated with two revisions");

        set.patches(&json!({"spec": partition(0)})).await;
        set.template_is("data", "500Mi").await;
        let after = set.facts().await;
        assert_eq!(after.pods["db-1"], canary.pods["db-1"]);
        assert_eq!(after.pods["db-0"].revision, after.pods["db-1"].revision);
    })
    .await;
}
