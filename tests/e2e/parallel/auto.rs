//! Volumes that grow by how full they are.

use std::time::Duration;

use rso::api::bytes::Bytes;
use rso::api::reasons::Reason;
use serde_json::json;

use crate::harness::api::Kind;
use crate::harness::set::Set;
use crate::harness::space::in_namespace;
use crate::harness::{audit, operator};

/// Two pods whose volumes of 400Mi (336 for files) grow at half full, in steps of 200Mi.
fn growing() -> Set {
    Set::named("db").replicas(2).parallel().template("data", "400Mi").grows_by_usage()
}

#[tokio::test]
async fn the_fullest_replica_decides_and_all_grow_alike_told_by_the_agent() {
    in_namespace("agent", async |space| {
        let set = space.run(&growing().with_agent()).await;
        let before = set.facts().await;
        set.fills(1, "data", 180).await;
        set.reaches("data", "600Mi").await;
        let after = set.facts().await;
        after.only_grew_since(&before);
        assert_eq!(after.claims["data-db-0"].requested, after.claims["data-db-1"].requested);
        let note = set.says(Reason::AutoResizeTriggered).await;
        assert!(note.contains("data"), "the note does not name the template: {note}");
    })
    .await;
}

#[tokio::test]
async fn without_an_agent_the_kubelet_tells_how_full_it_is() {
    in_namespace("kubelet", async |space| {
        // Pods that are there already get no agent.
        let set = space.run(&Set::named("db").replicas(2).parallel().template("data", "400Mi")).await;
        let pods = space.api.list(Kind::Pod, &space.name, "").await;
        assert!(pods.iter().all(|pod| pod["spec"]["initContainers"].is_null()), "{pods:#?}");
        let since = audit::now();
        let usage = [("auto-scaled", "true"), ("threshold", "50%"), ("increase", "200Mi"), ("min-increase", "1Mi")];
        set.annotates(&usage).await;
        let before = set.facts().await;
        set.fills(0, "data", 180).await;
        set.reaches("data", "600Mi").await;
        set.facts().await.only_grew_since(&before);
        let asked = audit::requests_of_the_operator(&since);
        assert!(asked.iter().any(|one| one.resource == "nodes"), "where the kubelet listens was not asked: {asked:#?}");
        // It got the token of an account that may read statistics and nothing else.
        let accounts = audit::accounts_at_kubelets(&since);
        let ours = accounts.iter().filter(|account| account.contains(operator::NAMESPACE));
        assert_eq!(ours.collect::<Vec<_>>(), ["system:serviceaccount:rso-system:rso-kubelet"], "{accounts:?}");
    })
    .await;
}

#[tokio::test]
async fn a_label_counts_like_the_annotation_and_the_annotation_wins() {
    in_namespace("label", async |space| {
        let quick = |name: &str| {
            let set = Set::named(name).template("data", "400Mi").with_agent().labelled("auto-scaled", "true");
            set.asks("threshold", "50%").asks("increase", "200Mi").asks("min-increase", "1Mi")
        };
        let by_label = space.create(&quick("labelled")).await;
        let overruled = space.create(&quick("overruled").asks("auto-scaled", "false")).await;
        by_label.is_ready().await;
        overruled.is_ready().await;
        overruled.fills(0, "data", 180).await;
        by_label.fills(0, "data", 180).await;
        by_label.reaches("data", "600Mi").await;
        overruled.template_is("data", "400Mi").await;
        assert_eq!(overruled.facts().await.claims["data-overruled-0"].requested, Bytes::mib(400));
    })
    .await;
}

#[tokio::test]
async fn a_step_that_would_pass_the_largest_size_stops_at_it_and_then_says_so() {
    in_namespace("max-size", async |space| {
        let set = space.run(&growing().with_agent().asks("max-size", "450Mi")).await;
        let before = set.facts().await;
        set.fills(0, "data", 200).await;
        set.reaches("data", "450Mi").await;
        set.says(Reason::MaxSizeReached).await;
        let after = set.facts().await;
        after.only_grew_since(&before);
        assert_eq!(after.claims["data-db-0"].requested, Bytes::mib(450));
    })
    .await;
}

#[tokio::test]
async fn between_two_growths_the_cooldown_passes() {
    in_namespace("cooldown", async |space| {
        let set = space.run(&growing().with_agent().asks("cooldown", "1h")).await;
        set.fills(0, "data", 180).await;
        set.reaches("data", "600Mi").await;
        // Full again, and told why nothing happens.
        set.exec(0, &["fallocate", "-l", "200000000", "/data/more"]).await;
        set.says(Reason::CooldownActive).await;
        assert_eq!(set.facts().await.claims["data-db-0"].requested, Bytes::mib(600));
    })
    .await;
}

#[tokio::test]
async fn a_recommendation_is_told_and_nothing_is_changed() {
    in_namespace("recommend", async |space| {
        let set = space.run(&growing().with_agent().asks("auto-scaled", "recommend")).await;
        let before = set.facts().await;
        set.fills(0, "data", 180).await;
        let note = set.says(Reason::AutoResizeTriggered).await;
        assert!(note.contains("600Mi"), "the note does not say the size: {note}");
        set.stays_as_it_is(Duration::from_secs(5)).await;
        set.facts().await.nothing_happened_since(&before);
    })
    .await;
}

#[tokio::test]
async fn each_template_has_its_own_settings() {
    in_namespace("per-template", async |space| {
        let two =
            growing().template("wal", "400Mi").with_agent().asks("threshold.wal", "95%").asks("increase.data", "100Mi");
        let set = space.run(&two).await;
        set.fills(0, "wal", 180).await;
        set.fills(0, "data", 180).await;
        set.reaches("data", "500Mi").await;
        set.template_is("wal", "400Mi").await;
        assert_eq!(set.facts().await.claims["wal-db-0"].requested, Bytes::mib(400));
    })
    .await;
}

#[tokio::test]
async fn when_inodes_run_out_the_volume_grows() {
    in_namespace("inodes", async |space| {
        let one = Set::named("db").template("data", "300Mi").with_agent().grows_by_usage().asks("threshold", "99%");
        let set = space.run(&one.asks("inodes-threshold", "20%")).await;
        // XFS of 300Mi holds some 150,000 inodes at most; empty files use inodes and little else.
        set.exec(0, &["sh", "-c", "mkdir /data/many && cd /data/many && seq 1 40000 | xargs touch"]).await;
        set.reaches("data", "500Mi").await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_hangs_and_one_that_lies_disturb_no_other_set() {
    in_namespace("bad-agents", async |space| {
        let pretends = |name: &str, command: &str| {
            let container = json!([{
                "name": "rso-agent", "image": "localhost/busybox:1", "restartPolicy": "Always",
                "command": ["sh", "-c", command],
                "ports": [{"name": "rso-agent", "containerPort": 1251}],
            }]);
            let set = Set::named(name).template("data", "400Mi").grows_by_usage();
            set.with(&json!({"template": {"spec": {"initContainers": container}}}))
        };
        // One accepts and says nothing; one says a petabyte is full, of a volume of 400Mi.
        let hangs = space.create(&pretends("hangs", "while :; do nc -l -p 1251 -e sleep 3600; done")).await;
        let lie = r#"printf 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[{"dir":"/data","pvc_name":"data-lies-0","all_bytes":1125899906842624,"free_bytes":0,"available_bytes":0,"inodes":100,"inodes_free":0}]'"#;
        let lies = space.create(&pretends("lies", &format!("echo \"{}\" > /tmp/a; while :; do nc -l -p 1251 -e sh -c \"cat /tmp/a\"; done", lie.replace('"', "\\\"")))).await;
        let honest = space.create(&growing().with_agent()).await;
        for set in [&hangs, &lies, &honest] {
            set.is_ready().await;
        }
        let before = lies.facts().await;
        honest.fills(0, "data", 180).await;
        honest.reaches("data", "600Mi").await;
        lies.facts().await.nothing_happened_since(&before);
        // The kubelet is asked instead of the one that hangs.
        hangs.fills(0, "data", 180).await;
        hangs.reaches("data", "600Mi").await;
    })
    .await;
}
