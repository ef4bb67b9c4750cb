//! Growth is decided for each PVC: what is wrong with one, or scarce, does not keep the full one small.

use http::Method;
use rso::api::bytes::Bytes;
use rso::api::reasons::Reason;
use serde_json::json;

use crate::harness::api::Kind;
use crate::harness::live::Live;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, until};

fn growing(replicas: u32, size: &str) -> Set {
    Set::named("db").replicas(replicas).parallel().template("data", size).grows_by_usage().with_agent()
}

async fn requests(set: &Live<'_>, claim: &str, size: Bytes) {
    until(&format!("{claim} to request {size}"), PATIENCE, async || {
        let facts = set.facts().await;
        let requested = facts.claims.get(claim).map(|claim| claim.requested);
        expect(requested == Some(size), || format!("{requested:?}"))
    })
    .await;
}

async fn says(set: &Live<'_>, reason: Reason, words: &str) {
    until(&format!("{reason} with {words:?}"), PATIENCE, async || {
        let notes = set.events(reason).await;
        expect(notes.iter().any(|note| note.contains(words)), || format!("{notes:?}"))
    })
    .await;
}

async fn quota(space: &Space, hard: &serde_json::Value) {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": hard},
    });
    space.api.create(Kind::Quota, &space.name, &quota).await.unwrap();
    until("the quota to be counted", PATIENCE, async || {
        let quota = space.api.get(Kind::Quota, &space.name, "small").await.unwrap();
        expect(quota["status"]["used"].is_object(), || quota["status"].to_string())
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_is_down_does_not_keep_its_full_sibling_small() {
    in_namespace("one-down", async |space| {
        let set = space.run(&growing(2, "400Mi").with(&json!({"updateStrategy": {"type": "OnDelete"}}))).await;
        set.patches(&json!({"spec": {"template": {"spec": {"nodeSelector": {"no": "such"}}}}})).await;
        space.api.delete(Kind::Pod, &space.name, "db-1", &json!({})).await.unwrap();
        set.asks("resize.data", "500Mi").await;
        until("the PVC of the Pod that is down to wait for it", PATIENCE, async || {
            let claim = space.api.get(Kind::Claim, &space.name, "data-db-1").await.unwrap();
            expect(claim["status"]["allocatedResourceStatuses"]["storage"] == "NodeResizePending", || {
                claim["status"].to_string()
            })
        })
        .await;
        // A step is reckoned from the capacity, so what its Pod runs on has to have grown before it is filled.
        until("the PVC of the Pod that runs to have grown", PATIENCE, async || {
            let claim = space.api.get(Kind::Claim, &space.name, "data-db-0").await.unwrap();
            expect(claim["status"]["capacity"]["storage"] == "500Mi", || claim["status"].to_string())
        })
        .await;
        set.fills(0, "data", 280).await;
        requests(&set, "data-db-0", Bytes::mib(700)).await;
        requests(&set, "data-db-1", Bytes::mib(700)).await;
    })
    .await;
}

#[tokio::test]
async fn where_a_quota_has_room_for_one_the_fullest_gets_it() {
    in_namespace("quota-for-one", async |space| {
        let set = space.run(&growing(3, "400Mi")).await;
        quota(space, &json!({"requests.storage": "1450Mi"})).await;
        set.fills(2, "data", 230).await;
        requests(&set, "data-db-2", Bytes::mib(600)).await;
        says(&set, Reason::QuotaExceeded, "raise requests.storage in ResourceQuota small to at least 1600Mi").await;
        let facts = set.facts().await;
        for small in ["data-db-0", "data-db-1"] {
            assert_eq!(facts.claims[small].requested, Bytes::mib(400), "{small} is not full");
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_volume_takes_what_a_limit_range_or_a_quota_leaves() {
    in_namespace("smaller-step", async |space| {
        let path = format!("/api/v1/namespaces/{}/limitranges", space.name);
        let limits = json!([{"type": "PersistentVolumeClaim", "max": {"storage": "550Mi"}}]);
        let range = json!({
            "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {"limits": limits},
        });
        let set = space.run(&growing(1, "400Mi")).await;
        space.api.send(Method::POST, &path, Some(&range)).await.unwrap();
        quota(space, &json!({"requests.storage": "500Mi"})).await;
        set.fills(0, "data", 230).await;
        requests(&set, "data-db-0", Bytes::mib(500)).await;
        until("a word on the limit", PATIENCE, async || {
            let (quota, range) = (set.events(Reason::QuotaExceeded).await, set.events(Reason::MaxSizeReached).await);
            let told = quota.iter().chain(&range).any(|note| note.contains("rso requests 500Mi instead"));
            expect(told, || format!("{quota:?} {range:?}"))
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_scale_up_that_failed_and_was_taken_back_does_not_hold_the_template() {
    in_namespace("scale-up-failed", async |space| {
        let set = space.run(&growing(2, "400Mi")).await;
        quota(space, &json!({"pods": "2"})).await;
        set.patches(&json!({"spec": {"replicas": 4}})).await;
        until("a PVC without a Pod", PATIENCE, async || {
            let claim = space.api.get(Kind::Claim, &space.name, "data-db-2").await;
            expect(claim.as_ref().is_some_and(|claim| claim["status"]["phase"] == "Pending"), || format!("{claim:?}"))
        })
        .await;
        set.fills(1, "data", 230).await;
        requests(&set, "data-db-1", Bytes::mib(600)).await;
        set.patches(&json!({"spec": {"replicas": 2}})).await;
        set.template_is("data", "600Mi").await;
    })
    .await;
}

#[tokio::test]
async fn a_pvc_that_is_being_deleted_under_its_pod_grows_and_that_its_data_goes_is_told() {
    in_namespace("terminating", async |space| {
        let set = space.run(&growing(2, "400Mi")).await;
        space.api.delete(Kind::Claim, &space.name, "data-db-1", &json!({})).await.unwrap();
        set.fills(1, "data", 230).await;
        requests(&set, "data-db-1", Bytes::mib(600)).await;
        says(&set, Reason::TemplateSyncBlocked, "PVC data-db-1 is being deleted").await;
        assert!(set.facts().await.claims["data-db-1"].requested == Bytes::mib(600));
    })
    .await;
}

#[tokio::test]
async fn siblings_of_a_pvc_that_somebody_made_larger_follow_with_a_word() {
    in_namespace("levelled", async |space| {
        let set = space.run(&growing(2, "400Mi")).await;
        let patch = r#"{"spec":{"resources":{"requests":{"storage":"500Mi"}}}}"#;
        space.kubectl(&["patch", "pvc", "data-db-0", "-p", patch]).await;
        requests(&set, "data-db-1", Bytes::mib(500)).await;
        says(&set, Reason::ResizeRequested, "PVC data-db-0 was set to 500Mi by kubectl").await;
        set.template_is("data", "500Mi").await;
    })
    .await;
}

#[tokio::test]
async fn the_cooldown_holds_when_its_annotation_is_taken_off() {
    in_namespace("cooldown-kept", async |space| {
        let set = space.run(&growing(1, "400Mi").asks("cooldown", "1h")).await;
        set.fills(0, "data", 180).await;
        set.reaches("data", "600Mi").await;
        space.kubectl(&["annotate", "pvc", "data-db-0", "resize-statefulset-operator/resized-at-"]).await;
        set.exec(0, &["fallocate", "-l", "200000000", "/data/more"]).await;
        set.says(Reason::CooldownActive).await;
        assert_eq!(set.facts().await.claims["data-db-0"].requested, Bytes::mib(600));
    })
    .await;
}
