//! Sets of every shape: how many pods, in which order, from which ordinal, under which names.

use rso::api::bytes::Bytes;
use serde_json::json;

use crate::harness::api::Kind;
use crate::harness::live::Live;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};

/// Grows `data` of a running set to 500Mi and holds it to the promise.
async fn grows<'a>(space: &'a Space, set: &Set) -> Live<'a> {
    let live = space.run(&set.clone().template("data", "400Mi")).await;
    let before = live.facts().await;
    live.asks("resize-0", "500Mi").await;
    live.reaches("data", "500Mi").await;
    let after = live.facts().await;
    after.pods_are_the_same_as(&before);
    after.claims_only_grew_since(&before);
    after.revision_is_the_same_as(&before);
    assert_eq!(after.set["spec"]["updateStrategy"], before.set["spec"]["updateStrategy"]);
    live
}

#[tokio::test]
async fn a_set_without_pods_gets_its_larger_template() {
    in_namespace("none", async |space| {
        let set = grows(space, &Set::named("db").replicas(0)).await;
        set.patches(&json!({"spec": {"replicas": 1}})).await;
        set.is_ready().await;
        assert_eq!(set.facts().await.claims["data-db-0"].requested, Bytes::mib(500));
    })
    .await;
}

#[tokio::test]
async fn twelve_pods_started_together_grow_and_a_thirteenth_starts_large() {
    in_namespace("twelve", async |space| {
        let set = grows(space, &Set::named("db").replicas(12).parallel()).await;
        set.patches(&json!({"spec": {"replicas": 13}})).await;
        set.is_ready().await;
        assert_eq!(set.facts().await.claims["data-db-12"].requested, Bytes::mib(500));
    })
    .await;
}

#[tokio::test]
async fn pods_started_one_by_one_grow_where_none_may_be_disrupted() {
    in_namespace("ordered", async |space| {
        let spec = json!({"maxUnavailable": 0, "selector": {"matchLabels": {"app": "db"}}});
        let budget =
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "db"}, "spec": spec});
        space.api.create(Kind::Budget, &space.name, &budget).await.unwrap();
        grows(space, &Set::named("db").replicas(3)).await;
    })
    .await;
}

#[tokio::test]
async fn a_set_that_is_updated_by_hand_stays_updated_by_hand() {
    in_namespace("on-delete", async |space| {
        grows(space, &Set::named("db").replicas(2).parallel().with(&json!({"updateStrategy": {"type": "OnDelete"}})))
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_partition_is_kept() {
    in_namespace("partition", async |space| {
        let strategy = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}});
        grows(space, &Set::named("db").replicas(2).parallel().with(&strategy)).await;
    })
    .await;
}

#[tokio::test]
async fn ordinals_that_start_at_five_are_found() {
    in_namespace("from-five", async |space| {
        let set = grows(space, &Set::named("db").replicas(2).parallel().with(&json!({"ordinals": {"start": 5}}))).await;
        let facts = set.facts().await;
        assert_eq!(facts.claims.keys().collect::<Vec<_>>(), ["data-db-5", "data-db-6"]);
    })
    .await;
}

#[tokio::test]
async fn a_claim_left_by_scaling_down_comes_back_large() {
    in_namespace("leftover", async |space| {
        let live = space.run(&Set::named("db").replicas(2).parallel().template("data", "400Mi")).await;
        live.patches(&json!({"spec": {"replicas": 1}})).await;
        live.is_ready().await;
        let before = live.facts().await;
        live.asks("resize-0", "500Mi").await;
        live.reaches("data", "500Mi").await;
        let after = live.facts().await;
        after.pods_are_the_same_as(&before);
        after.claims_only_grew_since(&before);
        // Its filesystem waits for a pod, and is asked for yet more meanwhile.
        live.asks("resize-0", "600Mi").await;
        live.reaches("data", "600Mi").await;
        live.patches(&json!({"spec": {"replicas": 2}})).await;
        live.is_ready().await;
        live.reaches("data", "600Mi").await;
        assert!(live.filesystem(1, "data").await > Bytes::mib(500));
    })
    .await;
}

#[tokio::test]
async fn names_that_can_be_read_two_ways_are_read_right() {
    in_namespace("two-ways", async |space| {
        // The claim data-db-1-0 is ordinal 0 of the set db-1, not one of the set db; the template data-db of the set 1
        // would make a claim of the very same look.
        let db = space.create(&Set::named("db").replicas(2).parallel().template("data", "400Mi")).await;
        let db_1 =
            space.create(&Set::named("db-1").parallel().template("data", "400Mi").template("data-0", "400Mi")).await;
        db.is_ready().await;
        db_1.is_ready().await;
        let before = (db.facts().await, db_1.facts().await);
        db.asks("resize.data", "500Mi").await;
        db.reaches("data", "500Mi").await;
        db_1.facts().await.nothing_happened_since(&before.1);
        let grown = db.facts().await;
        db_1.asks("resize.data", "600Mi").await;
        db_1.reaches("data", "600Mi").await;
        db.facts().await.nothing_happened_since(&grown);
        let after = db_1.facts().await;
        after.pods_are_the_same_as(&before.1);
        assert_eq!(after.claims["data-0-db-1-0"].requested, Bytes::mib(400));
    })
    .await;
}

#[tokio::test]
async fn claims_that_go_with_their_set_outlive_its_recreate_and_no_more() {
    in_namespace("when-deleted", async |space| {
        let policy = json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"}});
        let live = space.run(&Set::named("db").replicas(2).parallel().template("data", "400Mi").with(&policy)).await;
        let before = live.facts().await;
        live.asks("resize-0", "500Mi").await;
        live.reaches("data", "500Mi").await;
        let after = live.facts().await;
        after.pods_are_the_same_as(&before);
        after.claims_only_grew_since(&before);
        // Again, while the claims still carry the guards of the first time.
        live.asks("resize-0", "600Mi").await;
        live.reaches("data", "600Mi").await;
        let after = live.facts().await;
        after.pods_are_the_same_as(&before);
        after.claims_only_grew_since(&before);
        let kept = &after.set["spec"]["persistentVolumeClaimRetentionPolicy"];
        assert_eq!(kept, &before.set["spec"]["persistentVolumeClaimRetentionPolicy"]);

        // The claims belong to the new set again: they go with it, as their owner wanted, whatever guards them still.
        belong_to_it(&live).await;
        goes_with_its_claims(&live, "Foreground").await;
    })
    .await;
}

#[tokio::test]
async fn claims_go_with_a_set_that_is_deleted_soon_after_its_recreate_and_stay_where_it_is_orphaned() {
    in_namespace("deleted-soon", async |space| {
        let policy = json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"}});
        let set = |name: &str| Set::named(name).replicas(2).parallel().template("data", "400Mi").with(&policy);
        let (gone, orphaned) = (space.run(&set("gone")).await, space.run(&set("orphaned")).await);
        for live in [&gone, &orphaned] {
            live.asks("resize-0", "500Mi").await;
            live.reaches("data", "500Mi").await;
            belong_to_it(live).await;
        }
        let orphan = json!({"propagationPolicy": "Orphan"});
        space.api.delete(Kind::StatefulSet, &space.name, "orphaned", &orphan).await.unwrap();
        goes_with_its_claims(&gone, "Background").await;
        assert_eq!(claims_of(&orphaned).await.len(), 2, "what was orphaned stays");
    })
    .await;
}

#[tokio::test]
async fn what_scaling_down_leaves_or_takes_along_is_the_same_after_a_recreate() {
    in_namespace("scaled-soon", async |space| {
        let set = |name: &str, when_scaled: &str| {
            let policy = json!({"whenDeleted": "Delete", "whenScaled": when_scaled});
            let policy = json!({"persistentVolumeClaimRetentionPolicy": policy});
            Set::named(name).replicas(2).parallel().template("data", "400Mi").with(&policy)
        };
        let (keeps, drops) = (space.run(&set("keeps", "Retain")).await, space.run(&set("drops", "Delete")).await);
        keeps.patches(&json!({"spec": {"replicas": 1}})).await;
        for live in [&keeps, &drops] {
            live.asks("resize-0", "500Mi").await;
            live.reaches("data", "500Mi").await;
        }
        // The claim that scaling down has left belongs to the new set, too, and goes with it.
        belong_to_it(&keeps).await;
        goes_with_its_claims(&keeps, "Background").await;
        // The claim of a Pod that scaling down deletes goes with it, though it was guarded a moment ago.
        belong_to_it(&drops).await;
        drops.patches(&json!({"spec": {"replicas": 1}})).await;
        crate::harness::until("the claim to go with its Pod", crate::harness::PATIENCE, async || {
            let claims = claims_of(&drops).await;
            crate::harness::expect(claims.len() == 1, || format!("{claims:?}"))
        })
        .await;
    })
    .await;
}

/// The claims of a set, by name: it may be gone.
async fn claims_of(live: &Live<'_>) -> Vec<serde_json::Value> {
    let is_its_own = |claim: &serde_json::Value| {
        claim["metadata"]["name"].as_str().unwrap_or_default().starts_with(&format!("data-{}-", live.name))
    };
    live.space.api.list(Kind::Claim, &live.space.name, "").await.into_iter().filter(is_its_own).collect()
}

async fn belong_to_it(live: &Live<'_>) {
    crate::harness::until("the claims to belong to the new set", crate::harness::PATIENCE, async || {
        let claims = claims_of(live).await;
        let uid = live.facts().await.uid().to_owned();
        let ours = |claim: &serde_json::Value| claim["metadata"]["ownerReferences"].to_string().contains(&uid);
        crate::harness::expect(claims.iter().all(ours), || format!("{claims:?}"))
    })
    .await;
}

async fn goes_with_its_claims(live: &Live<'_>, cascade: &str) {
    assert_eq!(claims_of(live).await.len(), 2, "there is nothing to see");
    let options = json!({"propagationPolicy": cascade});
    live.space.api.delete(Kind::StatefulSet, &live.space.name, live.name, &options).await.unwrap();
    crate::harness::until("the claims to go with their set", crate::harness::PATIENCE, async || {
        let claims = claims_of(live).await;
        crate::harness::expect(claims.is_empty(), || format!("{claims:?}"))
    })
    .await;
}
