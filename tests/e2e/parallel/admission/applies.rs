//! A person edits a size in git and applies it with whatever tool; and git that lags behind harms nobody.

use rso::api::annotations::REQUESTED;
use rso::api::reasons::Reason;
use serde_json::json;

use super::{applied, git_should_carry, reaches, send, small, with_note, writes_nothing};
use crate::harness::facts::size_in_template;
use crate::harness::programs::shell;
use crate::harness::set::Set;
use crate::harness::space::in_namespace;

#[tokio::test]
async fn an_apply_with_a_larger_size_grows_the_volumes_and_no_pod_restarts() {
    in_namespace("larger", async |space| {
        let set = applied(space, &small("400Mi").manifest()).await;
        let before = set.facts().await;
        let ran = send(space, &["apply"], &small("500Mi").manifest()).await;
        assert!(ran.err.contains("expanding data from 400Mi to 500Mi in the background"), "{}", ran.err);
        ran.ok();
        reaches(&set, "500Mi").await;
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        after.revision_is_the_same_as(&before);
        set.says(Reason::RequestAbsorbed).await;
        // What was asked for is there; so nothing is left to say, to apply or to show.
        writes_nothing(&set, space, &small("500Mi").manifest()).await;
        assert_eq!(send(space, &["diff"], &small("500Mi").manifest()).await.ok(), "");
    })
    .await;
}

#[tokio::test]
async fn a_set_that_outgrew_git_takes_every_other_change() {
    in_namespace("image", async |space| {
        let set = applied(space, &with_note("400Mi", "one")).await;
        set.asks("resize-0", "500Mi").await;
        set.reaches("data", "500Mi").await;
        let ran = send(space, &["apply"], &with_note("400Mi", "two")).await;
        assert!(
            ran.err.contains("keeping data at 500Mi: the manifest requests 400Mi, and volumes cannot shrink"),
            "{}",
            ran.err
        );
        ran.ok();
        set.is_ready().await;
        let now = set.object().await.unwrap();
        assert_eq!(now["spec"]["template"]["metadata"]["annotations"]["note"], "two");
        assert_eq!(size_in_template(&now, "data"), "500Mi".parse().ok());
        assert_eq!(send(space, &["diff"], &with_note("400Mi", "two")).await.ok(), "", "git and cluster agree");
        writes_nothing(&set, space, &with_note("400Mi", "two")).await;
        git_should_carry(space).await;
    })
    .await;
}

#[tokio::test]
async fn replace_and_edit_are_absorbed_too() {
    in_namespace("replace", async |space| {
        let set = applied(space, &small("400Mi").manifest()).await;
        send(space, &["replace"], &small("500Mi").manifest()).await.ok();
        set.reaches("data", "500Mi").await;
        let edit = format!(
            "KUBE_EDITOR=\"sed -i 's/storage: 500Mi/storage: 600Mi/'\" kubectl -n {} edit statefulset db",
            space.name
        );
        shell(&edit).await.ok();
        set.reaches("data", "600Mi").await;
    })
    .await;
}

#[tokio::test]
async fn one_template_grows_and_another_shrinks_in_one_apply() {
    in_namespace("both", async |space| {
        let manifest = |data: &str, wal: &str| Set::named("db").template("data", data).template("wal", wal).manifest();
        let set = applied(space, &manifest("400Mi", "500Mi")).await;
        let before = set.facts().await;
        send(space, &["apply"], &manifest("500Mi", "400Mi")).await.ok();
        set.reaches("data", "500Mi").await;
        assert_eq!(size_in_template(&set.object().await.unwrap(), "wal"), "500Mi".parse().ok());
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}

#[tokio::test]
async fn what_kubernetes_refuses_is_refused_in_its_own_words_and_with_a_hint() {
    in_namespace("foreign", async |space| {
        applied(space, &small("400Mi").manifest()).await;
        let other = Set::named("db").replicas(2).parallel().template_of_class("data", "500Mi", "other").manifest();
        let ran = send(space, &["apply"], &other).await;
        assert_ne!(ran.code, 0);
        assert!(ran.err.contains("spec.storageClassName of data cannot be changed, only its size"), "{}", ran.err);
        assert!(ran.err.contains("volumeClaimTemplates"), "{}", ran.err);
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    in_namespace("dry", async |space| {
        let set = applied(space, &small("400Mi").manifest()).await;
        let before = set.facts().await;
        send(space, &["apply", "--dry-run=server"], &small("500Mi").manifest()).await.ok();
        let mut forged = small("400Mi").manifest();
        forged["metadata"]["annotations"] = json!({ REQUESTED: "data=9Gi" });
        send(space, &["apply", "--dry-run=server"], &forged).await.ok();
        // The diff shows what would be written down, and writes nothing.
        let diff = send(space, &["diff"], &small("500Mi").manifest()).await;
        assert!(diff.code == 1 && diff.out.contains("data=500Mi"), "{}", diff.out);
        set.stays_as_it_is(std::time::Duration::from_secs(3)).await;
        set.facts().await.nothing_happened_since(&before);
        assert_eq!(set.events(Reason::InvalidAnnotation).await, [""; 0]);
        assert_eq!(set.events(Reason::RequestAbsorbed).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn state_that_a_manifest_brings_along_is_ignored_and_told() {
    in_namespace("forged", async |space| {
        let set = applied(space, &small("400Mi").manifest()).await;
        let mut forged = small("400Mi").manifest();
        forged["metadata"]["annotations"] = json!({ REQUESTED: "data=500Mi" });
        let ran = send(space, &["apply"], &forged).await;
        assert!(ran.err.contains("is managed by rso"), "{}", ran.err);
        ran.ok();
        assert!(set.object().await.unwrap()["metadata"]["annotations"][REQUESTED].is_null());
        assert!(set.says(Reason::InvalidAnnotation).await.contains("resize.<template>"));
        assert_eq!(size_in_template(&set.object().await.unwrap(), "data"), "400Mi".parse().ok());
    })
    .await;
}

#[tokio::test]
async fn the_mode_of_the_set_decides_whether_the_template_follows_an_apply() {
    in_namespace("modes", async |space| {
        let with_mode = |size: &str, mode: &str| small(size).asks("template-sync", mode).manifest();
        let set = applied(space, &with_mode("400Mi", "Never")).await;
        send(space, &["apply"], &with_mode("500Mi", "Never")).await.ok();
        set.claims_have_grown("data", "500Mi").await;
        set.leaves_no_trace().await;
        let now = set.object().await.unwrap();
        assert_eq!(size_in_template(&now, "data"), "400Mi".parse().ok());
        assert_eq!(now["metadata"]["annotations"][REQUESTED], "data=500Mi");
        assert_eq!(send(space, &["diff"], &with_mode("500Mi", "Never")).await.ok(), "", "git and cluster agree");
        send(space, &["apply"], &with_mode("500Mi", "OnUserChange")).await.ok();
        set.template_is("data", "500Mi").await;
    })
    .await;
}

#[tokio::test]
async fn a_set_without_templates_is_applied_as_ever() {
    in_namespace("none", async |space| {
        for templates in [json!([]), json!(null)] {
            let manifest = |note: &str| {
                let mut manifest = Set::named("db").with(&json!({"volumeClaimTemplates": templates})).manifest();
                manifest["spec"]["template"]["metadata"]["annotations"] = json!({ "note": note });
                manifest
            };
            applied(space, &manifest("one")).await;
            let ran = send(space, &["apply"], &manifest("two")).await;
            assert!(!ran.err.contains("Warning"), "{}", ran.err);
            ran.ok();
            space.kubectl(&["delete", "statefulset", "db"]).await;
        }
    })
    .await;
}
