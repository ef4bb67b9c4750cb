//! Policies that write something else than was sent. What they would change is found by dry runs, and told; nothing is
//! touched that they would change.

use std::time::Duration;

use rso::api::bytes::Bytes;
use rso::api::reasons::Reason;
use serde_json::json;

use crate::harness::api::Kind;
use crate::harness::facts::{Facts, size_in_template};
use crate::harness::live::Live;
use crate::harness::operator;
use crate::harness::rewrite::{Rewrite, Rewritten};
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};

async fn two_replicas(space: &Space) -> Live<'_> {
    space.run(&Set::named("db").replicas(2).parallel().template("data", "400Mi")).await
}

async fn nothing_is_touched(set: &Live<'_>, before: &Facts) {
    set.leaves_no_trace().await;
    let after = set.facts().await;
    assert_eq!(after.uid(), before.uid(), "the set was replaced");
    assert_eq!(size_in_template(&after.set, "data"), Some(Bytes::mib(400)));
    assert_eq!(after.set["spec"]["template"], before.set["spec"]["template"]);
    assert_eq!(after.set["spec"]["updateStrategy"], before.set["spec"]["updateStrategy"]);
    after.revision_is_the_same_as(before);
    after.pods_are_the_same_as(before);
    assert_eq!(set.events(Reason::TemplateSynced).await, Vec::<String>::new());
    let restarts = operator::metric(&set.space.api, "rso_pod_restarts_caused_total", "").await;
    assert!(restarts.abs() < 0.5, "{restarts} Pods were restarted");
}

/// A set that is asked to grow under this policy: its claims do, and the note names the field that the policy would change.
async fn blocks_and_names(space: &Space, operation: &'static str, what: Rewritten, field: &str) {
    let set = two_replicas(space).await;
    let _policy = Rewrite::of(&space.api, &space.name, operation, what).await;
    let before = set.facts().await;
    set.asks("resize-0", "500Mi").await;
    set.claims_have_grown("data", "500Mi").await;
    let note = set.says(Reason::TemplateSyncBlocked).await;
    assert!(note.contains(field), "the note does not name the field: {note}");
    nothing_is_touched(&set, &before).await;
}

#[tokio::test]
async fn a_policy_that_changes_pod_templates_on_update_restarts_nothing() {
    in_namespace("policy-update", async |space| {
        let set = Set::named("db").replicas(2).parallel().template("data", "400Mi").grows_by_usage().with_agent();
        let set = space.run(&set).await;
        let policy = Rewrite::of(&space.api, &space.name, "UPDATE", Rewritten::TemplateLabel).await;
        let before = set.facts().await;
        // Nobody but the operator has a reason to write to the set.
        set.fills(0, "data", 240).await;
        set.claims_have_grown("data", "600Mi").await;
        let note = set.says(Reason::TemplateSyncBlocked).await;
        assert!(note.contains("template"), "the note does not name the field: {note}");
        nothing_is_touched(&set, &before).await;
        policy.lift().await;
        set.patches(&json!({"metadata": {"labels": {"looked": "at"}}})).await;
        set.template_is("data", "600Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_caps_sizes_on_create_blocks_before_anything_is_touched() {
    in_namespace("policy-cap", async |space| {
        blocks_and_names(space, "CREATE", Rewritten::SizeCap, "volumeClaimTemplates").await;
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_labels_pods_on_create_blocks_before_anything_is_touched() {
    in_namespace("policy-pods", async |space| {
        let set = two_replicas(space).await;
        let policy = Rewrite::of(&space.api, &space.name, "CREATE", Rewritten::TemplateLabel).await;
        let before = set.facts().await;
        set.asks("resize-0", "500Mi").await;
        set.claims_have_grown("data", "500Mi").await;
        let note = set.says(Reason::TemplateSyncBlocked).await;
        assert!(note.contains("template"), "the note does not name the field: {note}");
        nothing_is_touched(&set, &before).await;
        policy.lift().await;
        set.patches(&json!({"metadata": {"labels": {"looked": "at"}}})).await;
        set.template_is("data", "500Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_takes_annotations_off_on_create_blocks_before_anything_is_touched() {
    in_namespace("policy-bare", async |space| {
        blocks_and_names(space, "CREATE", Rewritten::Annotations, "annotations").await;
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_labels_metadata_is_carried_and_reported() {
    in_namespace("policy-labels", async |space| {
        let set = two_replicas(space).await;
        let _policy = Rewrite::of(&space.api, &space.name, "CREATE", Rewritten::MetadataLabel).await;
        let before = set.facts().await;
        set.asks("resize-0", "500Mi").await;
        set.reaches("data", "500Mi").await;
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        assert_eq!(after.set["metadata"]["labels"]["team"], "x");
        assert_eq!(after.set["spec"]["updateStrategy"], before.set["spec"]["updateStrategy"]);
        crate::harness::until("an Event that names the label", crate::harness::PATIENCE, async || {
            let events = space.api.list(Kind::Event, &space.name, "").await;
            let ours = events.iter().filter(|event| event["regarding"]["kind"] == "StatefulSet");
            let notes: Vec<&str> = ours.filter_map(|event| event["note"].as_str()).collect();
            crate::harness::expect(notes.iter().any(|note| note.contains("labels")), || format!("{notes:?}"))
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_lowers_the_size_of_a_claim_is_told_and_a_full_volume_takes_what_it_leaves() {
    in_namespace("policy-claim", async |space| {
        let set = Set::named("db").template("data", "400Mi").grows_by_usage().with_agent();
        let set = space.run(&set).await;
        let _policy = Rewrite::of(&space.api, &space.name, "UPDATE", Rewritten::ClaimCap).await;
        set.asks("resize-0", "600Mi").await;
        let note = set.says(Reason::ExpansionInfeasible).await;
        assert!(note.contains("lowers it to 450Mi"), "{note}");
        let claim = async || space.api.get(Kind::Claim, &space.name, "data-db-0").await.unwrap();
        assert_eq!(claim().await["spec"]["resources"]["requests"]["storage"], "400Mi", "nobody asked for 450Mi");
        set.fills(0, "data", 230).await;
        set.claims_have_grown("data", "450Mi").await;
        // It is not asked again and again for what it does not get.
        let before = claim().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(claim().await["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_replaces_the_image_of_pods_on_update_restarts_nothing() {
    in_namespace("policy-image", async |space| {
        let set = two_replicas(space).await;
        // Pods that are older than the policy: the garbage collector's next write would give them another image.
        let policy = Rewrite::of(&space.api, &space.name, "UPDATE", Rewritten::PodImage).await;
        let before = set.facts().await;
        set.asks("resize-0", "500Mi").await;
        set.claims_have_grown("data", "500Mi").await;
        let note = set.says(Reason::TemplateSyncBlocked).await;
        assert!(note.contains("changes spec of Pod db-0, db-1"), "the note does not name the Pods: {note}");
        nothing_is_touched(&set, &before).await;
        policy.lift().await;
        set.patches(&json!({"metadata": {"labels": {"looked": "at"}}})).await;
        set.template_is("data", "500Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_looks_at_changes_of_the_spec_alone_is_found_before_anything_is_touched() {
    in_namespace("policy-spec", async |space| {
        blocks_and_names(space, "UPDATE", Rewritten::TemplateLabelOfSpec, "template").await;
    })
    .await;
}

#[tokio::test]
async fn what_a_policy_makes_of_this_one_name_alone_is_put_back_before_a_pod_restarts() {
    in_namespace("policy-name", async |space| {
        let set = two_replicas(space).await;
        let before = set.facts().await;
        let _policy = Rewrite::of(&space.api, &space.name, "CREATE", Rewritten::TemplateLabelByName).await;
        set.asks("resize-0", "500Mi").await;
        set.template_is("data", "500Mi").await;
        set.leaves_no_trace().await;
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        assert_eq!(after.set["spec"]["updateStrategy"], before.set["spec"]["updateStrategy"]);
        assert_eq!(after.set["spec"]["template"], before.set["spec"]["template"]);
    })
    .await;
}
