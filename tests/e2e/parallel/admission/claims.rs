//! A new claim is as large as its siblings from the first moment on.

use rso::api::annotations::RESIZED_AT;
use serde_json::json;

use super::small;
use crate::harness::api::Kind;
use crate::harness::live::Live;
use crate::harness::programs::kubectl_reading;
use crate::harness::space::{Space, in_namespace};

async fn claim(space: &Space, name: &str) -> serde_json::Value {
    space.api.get(Kind::Claim, &space.name, name).await.unwrap()
}

#[tokio::test]
async fn a_new_replica_starts_at_its_siblings_size_although_the_template_lags() {
    in_namespace("floor", async |space| {
        let set = space.run(&small("400Mi").asks("template-sync", "Never").asks("resize-0", "500Mi")).await;
        set.claims_have_grown("data", "500Mi").await;
        set.patches(&json!({"spec": {"replicas": 3}})).await;
        set.is_ready().await;
        let new = claim(space, "data-db-2").await;
        assert_eq!(new["spec"]["resources"]["requests"]["storage"], "500Mi");
        assert!(new["metadata"]["annotations"][RESIZED_AT].is_null(), "it was made so, not grown: {new}");
    })
    .await;
}

#[tokio::test]
async fn a_claim_restored_from_a_snapshot_is_never_made_smaller_and_fits_its_siblings() {
    in_namespace("restored", async |space| {
        let set = space.run(&small("400Mi").asks("resize-0", "500Mi")).await;
        set.reaches("data", "500Mi").await;
        // As a person restores one replica: the claim is made before its pod is, from a snapshot of that size.
        for (asked, made) in [("300Mi", "500Mi"), ("500Mi", "500Mi"), ("700Mi", "700Mi")] {
            let restored = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-db-2"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
                    "resources": {"requests": {"storage": asked}},
                    "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "monday"},
                },
            });
            let args = ["-n", &space.name, "create", "--dry-run=server", "-o=json", "-f", "-"];
            let created: serde_json::Value =
                serde_json::from_str(&kubectl_reading(&restored.to_string(), &args).await.ok()).unwrap();
            assert_eq!(created["spec"]["resources"]["requests"]["storage"], made, "asked for {asked}");
            assert_eq!(created["spec"]["dataSource"]["name"], "monday");
        }
    })
    .await;
}

#[tokio::test]
async fn a_claim_of_nobody_that_we_look_after_is_left_alone() {
    in_namespace("nobody", async |space| {
        let set: Live<'_> = space.run(&small("400Mi")).await;
        let larger = json!({"spec": {"resources": {"requests": {"storage": "500Mi"}}}});
        for name in ["data-db-0", "data-db-1"] {
            space.api.patch(Kind::Claim, &space.name, name, &larger).await.unwrap();
        }
        set.patches(&json!({"spec": {"replicas": 3}})).await;
        set.is_ready().await;
        assert_eq!(claim(space, "data-db-2").await["spec"]["resources"]["requests"]["storage"], "400Mi");
    })
    .await;
}
