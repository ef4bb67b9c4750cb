//! A person asks for a size.

use rso::api::annotations::KIND_LABEL;
use rso::api::bytes::Bytes;
use rso::api::reasons::Reason;

use crate::harness::api::Kind;
use crate::harness::programs::rso;
use crate::harness::set::Set;
use crate::harness::space::in_namespace;

#[tokio::test]
async fn a_size_asked_by_index_reaches_claims_filesystems_and_template() {
    in_namespace("by-index", async |space| {
        let set = space.run(&Set::named("db").replicas(3).parallel().template("data", "400Mi")).await;
        let (before, small) = (set.facts().await, set.filesystem(2, "data").await);
        set.asks("resize-0", "600Mi").await;
        set.reaches("data", "600Mi").await;
        let mut before = before;
        // The annotation is the one thing that the person changed.
        before.set["metadata"]["annotations"] = set.object().await.unwrap()["metadata"]["annotations"].clone();
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        after.claims_only_grew_since(&before);
        after.revision_is_the_same_as(&before);
        after.only_sizes_differ_from(&before);
        assert!(
            set.filesystem(2, "data").await >= small.saturating_add(Bytes::mib(190)),
            "the filesystem did not grow"
        );

        for reason in [Reason::ResizeRequested, Reason::ClaimExpanded, Reason::BackupCreated, Reason::TemplateSynced] {
            set.says(reason).await;
        }
        let backups = space.api.list(Kind::ConfigMap, &space.name, &format!("{KIND_LABEL}=backup")).await;
        assert_eq!(backups.len(), 1);
        assert_eq!(backups[0]["immutable"], true);
    })
    .await;
}

#[tokio::test]
async fn a_size_asked_by_name_with_the_command_line_grows_that_template() {
    in_namespace("by-name", async |space| {
        let two = Set::named("db").replicas(2).parallel().template("data", "400Mi").template("wal", "300Mi");
        let set = space.run(&two).await;
        let before = set.facts().await;
        let asked = rso(&["resize", "db", "500Mi", "-n", &space.name, "--template", "wal", "--wait"]).await;
        asked.ok();
        set.reaches("wal", "500Mi").await;
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        assert_eq!(after.claims["data-db-0"].requested, Bytes::mib(400));
    })
    .await;
}

#[tokio::test]
async fn of_two_templates_only_the_second_is_asked_and_only_it_grows() {
    in_namespace("sparse-index", async |space| {
        let two = Set::named("db").replicas(2).parallel().template("data", "400Mi").template("wal", "300Mi");
        let set = space.run(&two).await;
        let before = set.facts().await;
        set.asks("resize-1", "500Mi").await;
        set.reaches("wal", "500Mi").await;
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        after.claims_only_grew_since(&before);
        for claim in ["data-db-0", "data-db-1"] {
            assert_eq!(after.claims[claim], before.claims[claim], "{claim} was touched");
        }
        set.template_is("data", "400Mi").await;
    })
    .await;
}

#[tokio::test]
async fn two_templates_grow_in_one_recreate_and_the_larger_of_two_wishes_counts() {
    in_namespace("both", async |space| {
        let two = Set::named("db").replicas(2).parallel().template("data", "400Mi").template("wal", "300Mi");
        let set = space.run(&two).await;
        let before = set.facts().await;
        set.annotates(&[("resize-0", "500Mi"), ("resize.data", "600Mi"), ("resize.wal", "400Mi")]).await;
        set.reaches("data", "600Mi").await;
        set.reaches("wal", "400Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
        let backups = space.api.list(Kind::ConfigMap, &space.name, &format!("{KIND_LABEL}=backup")).await;
        assert_eq!(backups.len(), 1, "more than one recreate");
    })
    .await;
}

#[tokio::test]
async fn every_spelling_of_a_size_is_understood() {
    in_namespace("spellings", async |space| {
        let spellings =
            [("ti", "0.25Ti"), ("mega", "700M"), ("part", "0.6Gi"), ("bytes", "629145600"), ("power", "1e9")];
        for (name, size) in spellings {
            // XFS grown from 400Mi would have thousands of allocation groups to write, and a disk that is nearly full promises no Ti.
            let from = if size == "0.25Ti" { "200Gi" } else { "400Mi" };
            space.create(&Set::named(name).template("data", from).asks("resize-0", size)).await;
        }
        for (name, size) in spellings {
            let set = crate::harness::live::Live::named(space, name);
            set.is_ready().await;
            set.reaches("data", size).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_second_and_a_third_size_are_reached_too_and_three_backups_are_kept() {
    in_namespace("again", async |space| {
        let set = space.run(&Set::named("db").template("data", "400Mi")).await;
        let before = set.facts().await;
        for size in ["420Mi", "440Mi", "460Mi", "480Mi"] {
            set.asks("resize-0", size).await;
            set.reaches("data", size).await;
        }
        set.facts().await.pods_are_the_same_as(&before);
        let backups = space.api.list(Kind::ConfigMap, &space.name, &format!("{KIND_LABEL}=backup")).await;
        assert_eq!(backups.len(), 3, "the newest three are kept");
    })
    .await;
}
