//! Whoever can reach the operator's ports: what is asked there without the API server, held open, or pretended.

use std::time::{Duration, Instant};

use rso::api::names::AGENT_CONTAINER;
use rso::api::reasons::Reason;
use serde_json::{Value, json};

use super::hostile::{containers, most_of};
use crate::harness::api::{Api, Kind};
use crate::harness::programs::kubectl_reading;
use crate::harness::set::Set;
use crate::harness::space::in_namespace;
use crate::harness::{PATIENCE, asking, expect, operator, until};

/// Memory that the chart's limit of 256Mi has to spare beside the caches of a large cluster, in KiB.
const SPARE: u64 = 48 << 10;

/// A text of that length in which every few bytes are a map.
fn bomb(bytes: usize) -> String {
    let maps = r#"{"":0},"#.repeat(bytes / 7);
    format!(r#"{{"a":[{maps}0]}}"#)
}

/// A review about a set whose object has a bomb in a place that is read.
fn bomb_in_a_review(bytes: usize) -> String {
    let object =
        format!(r#"{{"metadata":{{"annotations":{0}}},"spec":{{"volumeClaimTemplates":{0}}}}}"#, bomb(bytes / 4));
    format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"0-1","kind":{{"group":"apps","version":"v1","kind":"StatefulSet"}},"operation":"UPDATE","namespace":"x","name":"y","object":{object},"oldObject":{object}}}}}"#
    )
}

/// How long ago the lease was renewed.
async fn since_renewal(api: &Api) -> Duration {
    let lease = api.get(Kind::Lease, operator::NAMESPACE, "rso").await.unwrap_or_default();
    let renewed: jiff::Timestamp = lease["spec"]["renewTime"].as_str().unwrap_or_default().parse().unwrap();
    jiff::Timestamp::now().duration_since(renewed).unsigned_abs()
}

#[tokio::test]
async fn a_review_that_is_a_bomb_costs_a_bounded_amount_of_memory_and_holds_up_neither_the_lease_nor_others() {
    in_namespace("bombs", async |space| {
        let set = space.run(&Set::named("db").template("data", "400Mi")).await;
        let started = containers(&space.api).await;
        let before = most_of(&space.api, "VmHWM").await;
        const MIB: f64 = 1_048_576.0;
        let bombs: Vec<String> = [1.0, 4.0, 7.9]
            .into_iter()
            .flat_map(|mib: f64| [bomb((mib * MIB) as usize), bomb_in_a_review((mib * MIB) as usize)])
            .chain([1 << 17, 7 << 20].map(|depth| "[".repeat(depth)))
            .chain([format!("\"{}\"", "x".repeat(7 << 20))])
            .collect();
        let operators = asking::operators(&space.api).await;
        let token = asking::token().await;
        let mut late = Duration::ZERO;
        let attack = async {
            for path in ["/agent".to_owned(), "/absorb".to_owned(), format!("/absorb/{token}")] {
                // Each of them several times at once, to every operator.
                let asked = bombs.iter().chain(&bombs).flat_map(|body| operators.iter().map(move |to| (to, body)));
                let asked: Vec<_> = asked.collect();
                for some in asked.chunks(12) {
                    let answers = some.iter().map(|(to, body)| asking::post(to, &path, body.as_bytes()));
                    futures::future::join_all(answers).await;
                }
            }
        };
        let meanwhile = async {
            loop {
                late = late.max(since_renewal(&space.api).await);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::select! { () = attack => {} () = meanwhile => {} }
        let after = most_of(&space.api, "VmHWM").await;
        println!("bombs: at most {before} KiB before, {after} KiB after; the lease was renewed every {late:?}");
        assert!(after < before + SPARE, "memory rose from {before} to {after} KiB");
        assert!(late < Duration::from_secs(8), "the lease was not renewed for {late:?}");
        assert_eq!(containers(&space.api).await, started, "the operator was started again");
        // An apply is absorbed as ever.
        let bigger = Set::named("db").template("data", "500Mi").manifest();
        kubectl_reading(&bigger.to_string(), &["-n", &space.name, "apply", "-f", "-"]).await.ok();
        set.reaches("data", "500Mi").await;
    })
    .await;
}

#[tokio::test]
async fn a_review_that_nobody_verified_writes_nothing_and_learns_nothing() {
    in_namespace("forger", async |space| {
        let set =
            space.run(&Set::named("db").template("data", "400Mi").asks("max-size", "700Mi").grows_by_usage()).await;
        set.asks("resize-0", "500Mi").await;
        set.reaches("data", "500Mi").await;
        let live = set.object().await.unwrap();
        let mut forged = live.clone();
        forged["metadata"]["annotations"]["resize-statefulset-operator/requested"] = json!("data=9Ti");
        let small = json!({"metadata": {"name": "data-db-7"}, "spec": {"resources": {"requests": {"storage": "1Mi"}}}});
        let state = |old: &Value, name: &str| {
            asking::review(("apps", "v1", "StatefulSet"), "UPDATE", &space.name, name, &forged, old)
        };
        let mut other = live.clone();
        other["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
        let floor = asking::review(
            ("", "v1", "PersistentVolumeClaim"),
            "CREATE",
            &space.name,
            "data-db-7",
            &small,
            &Value::Null,
        );
        let token = asking::token().await;
        for to in asking::operators(&space.api).await {
            for path in ["/state", "/state/", &format!("/state/{}", "0".repeat(64))] {
                asking::post(&to, path, state(&live, "db").to_string().as_bytes()).await;
            }
            // Not even the API server is believed about what is not there.
            asking::post(&to, &format!("/state/{token}"), state(&other, "db").to_string().as_bytes()).await;
            asking::post(&to, &format!("/state/{token}"), state(&live, "gone").to_string().as_bytes()).await;
            let answer = asking::post(&to, "/floor", floor.to_string().as_bytes()).await;
            assert!(
                answer.contains("\"allowed\":true") && !answer.contains("500Mi") && !answer.contains("patch"),
                "{answer}"
            );
            // The counter can move: who knows the token is told.
            let answer = asking::post(&to, &format!("/floor/{token}"), floor.to_string().as_bytes()).await;
            assert!(answer.contains("500Mi") && answer.contains("patch"), "{answer}");
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(set.events(Reason::InvalidAnnotation).await, [""; 0]);
        let events = space.api.list(Kind::Event, &space.name, "").await;
        assert!(!events.iter().any(|event| event["regarding"]["name"] == "gone"), "{events:?}");
        let operators = asking::operators(&space.api).await;
        asking::post(&operators[0], &format!("/state/{token}"), state(&live, "db").to_string().as_bytes()).await;
        set.says(Reason::InvalidAnnotation).await;
    })
    .await;
}

#[tokio::test]
async fn connections_that_say_nothing_keep_neither_the_kubelet_nor_the_api_server_out() {
    in_namespace("silent", async |space| {
        let set = space.run(&Set::named("db").template("data", "400Mi")).await;
        let started = containers(&space.api).await;
        let mut silent = Vec::new();
        for to in asking::operators(&space.api).await {
            let host = to.strip_suffix(":9443").unwrap();
            for port in [8080, 8081, 9443] {
                for _ in 0..400 {
                    silent.push(tokio::net::TcpStream::connect((host, port)).await.unwrap());
                }
                let port_of = |port: u16| format!("{host}:{port}");
                let asked = Instant::now();
                let health = operator::http_get(&port_of(8081), "/livez").await;
                assert!(health.contains("200 OK") && asked.elapsed() < Duration::from_secs(2), "{health}");
                let metrics = operator::http_get(&port_of(8080), "/metrics").await;
                assert!(metrics.contains("# EOF"), "no metrics beside the silent");
            }
        }
        let bigger = Set::named("db").template("data", "500Mi").manifest();
        kubectl_reading(&bigger.to_string(), &["-n", &space.name, "apply", "-f", "-"]).await.ok();
        set.reaches("data", "500Mi").await;
        assert_eq!(containers(&space.api).await, started, "the operator was started again");
        drop(silent);
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_waits_for_what_it_calls_an_agent_costs_no_other_its_own() {
    in_namespace("stuck", async |space| {
        let agent = json!([{"name": AGENT_CONTAINER, "image": "localhost/nowhere:1", "restartPolicy": "Always"}]);
        let stuck = Set::named("stuck").template("data", "100Mi").grows_by_usage();
        space.create(&stuck.with(&json!({"template": {"spec": {"initContainers": agent}}}))).await;
        until("a pod that cannot pull it", PATIENCE, async || {
            let pod = space.api.get(Kind::Pod, &space.name, "stuck-0").await.unwrap_or_default();
            let waiting = pod["status"]["initContainerStatuses"][0]["state"]["waiting"]["reason"].clone();
            expect(waiting == "ErrImagePull" || waiting == "ImagePullBackOff" || waiting == "ErrImageNeverPull", || {
                pod["status"].to_string()
            })
        })
        .await;
        // Two looks of the operator.
        tokio::time::sleep(Duration::from_secs(5)).await;
        space.run(&Set::named("db").template("data", "100Mi").grows_by_usage()).await;
        let pod = space.api.get(Kind::Pod, &space.name, "db-0").await.unwrap();
        assert_eq!(pod["spec"]["initContainers"][0]["name"], AGENT_CONTAINER, "injection is off: {}", pod["spec"]);
    })
    .await;
}
