//! What cannot be done is said, and harms nothing.

use std::time::Duration;

use rso::api::bytes::Bytes;
use rso::api::reasons::Reason;
use serde_json::json;

use crate::harness::api::Kind;
use crate::harness::facts::size_in_template;
use crate::harness::set::Set;
use crate::harness::space::in_namespace;

#[tokio::test]
async fn a_quota_too_small_is_told_and_when_it_is_raised_the_set_grows() {
    in_namespace("quota", async |space| {
        let set = space.run(&Set::named("db").replicas(2).parallel().template("data", "400Mi")).await;
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
            "spec": {"hard": {"requests.storage": "850Mi"}},
        });
        space.api.create(Kind::Quota, &space.name, &quota).await.unwrap();
        crate::harness::until("the quota to be counted", crate::harness::PATIENCE, async || {
            let quota = space.api.get(Kind::Quota, &space.name, "small").await.unwrap();
            crate::harness::expect(quota["status"]["used"]["requests.storage"] == "800Mi", || {
                quota["status"].to_string()
            })
        })
        .await;
        let before = set.facts().await;
        set.asks("resize-0", "600Mi").await;
        set.says(Reason::QuotaExceeded).await;
        let refused = set.facts().await;
        assert_eq!(refused.uid(), before.uid(), "the set was recreated although its claims could not grow");
        assert_eq!(size_in_template(&refused.set, "data"), Some(Bytes::mib(400)));

        let more = json!({"spec": {"hard": {"requests.storage": "2Gi"}}});
        space.api.patch(Kind::Quota, &space.name, "small", &more).await.unwrap();
        set.reaches("data", "600Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}

#[tokio::test]
async fn a_class_that_cannot_grow_is_told_and_nothing_is_changed() {
    in_namespace("fixed-class", async |space| {
        let set = space.run(&Set::named("db").template_of_class("data", "400Mi", "local-fixed")).await;
        let before = set.facts().await;
        set.asks("resize-0", "500Mi").await;
        let note = set.says(Reason::StorageClassNotExpandable).await;
        assert!(note.contains("local-fixed"), "the note does not name the class: {note}");
        let after = set.facts().await;
        assert_eq!(after.uid(), before.uid());
        assert_eq!(after.requests(), before.requests());
    })
    .await;
}

#[tokio::test]
async fn a_set_that_a_controller_owns_gets_larger_claims_and_keeps_its_template() {
    in_namespace("owned", async |space| {
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "the-operator"}});
        let owner = space.api.create(Kind::ConfigMap, &space.name, &owner).await.unwrap();
        let reference = json!({"ownerReferences": [{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "the-operator", "uid": owner["metadata"]["uid"], "controller": true,
        }]});
        let set = space.run(&Set::named("db").template("data", "400Mi").with_metadata(&reference)).await;
        let before = set.facts().await;
        set.asks("resize-0", "500Mi").await;
        set.claims_have_grown("data", "500Mi").await;
        let note = set.says(Reason::TemplateSyncBlocked).await;
        assert!(note.contains("ConfigMap"), "the note does not say who owns it: {note}");
        let after = set.facts().await;
        assert_eq!(after.uid(), before.uid());
        assert_eq!(size_in_template(&after.set, "data"), Some(Bytes::mib(400)));

        set.asks("allow-owner", "ConfigMap").await;
        set.reaches("data", "500Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
        assert_eq!(set.object().await.unwrap()["metadata"]["ownerReferences"][0]["name"], "the-operator");
    })
    .await;
}

#[tokio::test]
async fn a_foreign_finalizer_blocks_the_recreate_until_it_is_gone() {
    in_namespace("finalizer", async |space| {
        let foreign = json!({"finalizers": ["example.com/cleans-up"]});
        let set = space.run(&Set::named("db").template("data", "400Mi").with_metadata(&foreign)).await;
        let before = set.facts().await;
        set.asks("resize-0", "500Mi").await;
        set.claims_have_grown("data", "500Mi").await;
        let note = set.says(Reason::TemplateSyncBlocked).await;
        assert!(note.contains("example.com/cleans-up"), "the note does not name the finalizer: {note}");
        assert_eq!(set.facts().await.uid(), before.uid());
        set.patches(&json!({"metadata": {"finalizers": null}})).await;
        set.template_is("data", "500Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}

#[tokio::test]
async fn malformed_words_are_told_one_by_one_and_disturb_no_other() {
    in_namespace("malformed", async |space| {
        let bad = Set::named("bad").template("data", "400Mi").template("wal", "400Mi");
        let bad =
            bad.asks("resize-0", "10gi").asks("threshold", "NaN%").asks("treshold", "70%").asks("resize-7", "1Gi");
        let bad = space.create(&bad.asks("resize.wal", "500Mi").asks("cooldown", "-5m")).await;
        let good = space.create(&Set::named("good").template("data", "400Mi").asks("resize-0", "500Mi")).await;
        bad.is_ready().await;
        good.is_ready().await;
        good.reaches("data", "500Mi").await;
        // What can be read of the malformed set still counts.
        bad.reaches("wal", "500Mi").await;
        bad.template_is("data", "400Mi").await;
        bad.says(Reason::InvalidAnnotation).await;
        let unknown = bad.says(Reason::UnknownAnnotation).await;
        assert!(unknown.contains("threshold"), "the nearest known key is not named: {unknown}");
        crate::harness::until("an event that quotes the bad size", crate::harness::PATIENCE, async || {
            let notes = bad.events(Reason::InvalidAnnotation).await;
            crate::harness::expect(notes.iter().any(|note| note.contains("10gi")), || format!("{notes:?}"))
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_smaller_size_is_not_followed() {
    in_namespace("smaller", async |space| {
        let set = space.run(&Set::named("db").template("data", "500Mi")).await;
        let before = set.facts().await;
        set.asks("resize-0", "400Mi").await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        let after = set.facts().await;
        assert_eq!(after.uid(), before.uid());
        assert_eq!(after.requests(), before.requests());
    })
    .await;
}
