//! The leader is told to go, by SIGTERM, or is killed, while sets are resized.

use futures::future::join_all;
use rso::api::annotations::RESIZE_SEEN;
use rso::api::bytes::Bytes;
use rso::api::reasons::Reason;
use serde_json::json;

use crate::harness::api::{Api, Kind};
use crate::harness::live::Live;
use crate::harness::set::Set;
use crate::harness::space::in_namespace;
use crate::harness::{PATIENCE, expect, operator, programs, until};

#[tokio::test]
async fn a_leader_that_is_told_to_go_hands_over_and_every_resize_ends_well() {
    let api = Api::connect().await;
    operator::scale(&api, 2).await;
    in_namespace("handover", async |space| {
        let set = Set::named("db").replicas(2).parallel().template("data", "400Mi");
        let set = space.run(&set).await;
        let before = set.facts().await;
        for round in 1..=3 {
            let size = Bytes::mib(400 + 16 * round).to_string();
            let (leader, pod) = leading_pod(&api).await;
            set.asks("resize-0", &size).await;
            api.delete(Kind::Pod, operator::NAMESPACE, &pod, &serde_json::json!({})).await.unwrap();
            until("another leader", PATIENCE, async || {
                let now = operator::leader(&api).await;
                expect(!now.is_empty() && now != leader, || format!("{now:?}"))
            })
            .await;
            set.reaches("data", &size).await;
        }
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_is_upgraded_midway_finishes_what_the_old_one_began() {
    in_namespace("upgrade", async |space| {
        let names = ["a", "b", "c"];
        let set = |name: &str| Set::named(name).template("data", "400Mi");
        let sets: Vec<Live<'_>> = join_all(names.map(async |name| space.run(&set(name)).await)).await;
        let before = join_all(sets.iter().map(Live::facts)).await;
        join_all(sets.iter().map(|set| set.asks("resize-0", "500Mi"))).await;
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/chart");
        let replaced = format!("podAnnotations.replaced-for={}", space.name);
        let upgrade = ["upgrade", "rso", chart, "-n", operator::NAMESPACE, "--reuse-values", "--set-string", &replaced];
        programs::helm(&[&upgrade[..], &["--wait", "--timeout=2m"]].concat()).await.ok();
        for (set, before) in sets.iter().zip(&before) {
            set.reaches("data", "500Mi").await;
            set.facts().await.pods_are_the_same_as(before);
        }
    })
    .await;
}

#[tokio::test]
async fn what_the_next_leader_tells_again_is_a_series_and_not_a_second_event() {
    let api = Api::connect().await;
    operator::scale(&api, 2).await;
    in_namespace("retold", async |space| {
        let set = space.run(&Set::named("db").template("data", "400Mi").asks("auto-scaled", "perhaps")).await;
        set.says(Reason::InvalidAnnotation).await;
        let (leader, pod) = leading_pod(&api).await;
        api.delete(Kind::Pod, operator::NAMESPACE, &pod, &serde_json::json!({})).await.unwrap();
        let events = until("the next leader to tell it", PATIENCE, async || {
            let mut events = api.list(Kind::Event, &space.name, "").await;
            events.retain(|event| event["reason"] == Reason::InvalidAnnotation.as_str());
            let again = events.iter().any(|event| event["series"]["count"] == 2);
            let now = operator::leader(&api).await;
            if again && now != leader { Ok(events) } else { Err(format!("{now:?}: {events:#?}")) }
        })
        .await;
        assert_eq!(events.len(), 1, "{events:#?}");
    })
    .await;
}

/// The set is paused while its disk becomes larger, so the leader of that time leaves the Pod to its kubelet, which is
/// stopped. Nothing changes when the set is resumed, and then the leader is killed: only the next one can know.
#[tokio::test]
async fn the_next_leader_annotates_a_pod_whose_larger_disk_the_last_one_left_to_the_kubelet() {
    let api = Api::connect().await;
    operator::scale(&api, 2).await;
    in_namespace("nudged-later", async |space| {
        let set = Set::named("db").template("data", "400Mi").asks("auto-scaled", "true").asks("template-sync", "Never");
        let set = space.run(&set.asks("paused", "true")).await;
        let before = set.facts().await;
        let claim = async || api.get(Kind::Claim, &space.name, "data-db-0").await.unwrap_or_default();
        let seen = async || {
            let pod = api.get(Kind::Pod, &space.name, "db-0").await.unwrap_or_default();
            pod["metadata"]["annotations"][RESIZE_SEEN].as_str().map(str::to_owned)
        };
        let kubelet = StoppedKubelet::stop();
        let larger = json!({"spec": {"resources": {"requests": {"storage": "500Mi"}}}});
        api.patch(Kind::Claim, &space.name, "data-db-0", &larger).await.unwrap();
        until("a larger disk that waits for the kubelet", PATIENCE, async || {
            let status = claim().await["status"].clone();
            expect(status["allocatedResourceStatuses"]["storage"] == "NodeResizePending", || status.to_string())
        })
        .await;
        set.asks("paused", "false").await;
        assert_eq!(seen().await, None, "it was paused");
        let (leader, pod) = leading_pod(&api).await;
        let pod = api.get(Kind::Pod, operator::NAMESPACE, &pod).await.unwrap();
        operator::signal_pod(pod["metadata"]["uid"].as_str().unwrap(), "KILL").await;
        until("another leader", PATIENCE, async || {
            let now = operator::leader(&api).await;
            expect(!now.is_empty() && now != leader, || format!("{now:?}"))
        })
        .await;
        until("an annotation of db-0", PATIENCE, async || {
            expect(seen().await.is_some(), || "there is none".to_owned())
        })
        .await;
        drop(kubelet);
        set.claims_have_grown("data", "500Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
    // The container that was killed runs again.
    operator::scale(&api, 2).await;
}

/// The kubelet, stopped until this is dropped, also when the test fails.
struct StoppedKubelet;

impl StoppedKubelet {
    fn stop() -> Self {
        Self::signal("STOP");
        Self
    }

    fn signal(name: &str) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/restart.sh");
        let status = std::process::Command::new(script).args(["kubelet", name]).status().unwrap();
        assert!(status.success(), "{name}: {status}");
    }
}

impl Drop for StoppedKubelet {
    fn drop(&mut self) {
        Self::signal("CONT");
    }
}

/// Who leads, and its pod, whose name the identity begins with. One that was killed leads until its lease has run out.
async fn leading_pod(api: &Api) -> (String, String) {
    until("a pod to lead", PATIENCE, async || {
        let (leader, pods) = (operator::leader(api).await, operator::pods(api).await);
        let names = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
        let pod = names.filter(|name| leader.starts_with(name)).max().map(str::to_owned);
        Ok((leader.clone(), pod.ok_or(leader)?))
    })
    .await
}
