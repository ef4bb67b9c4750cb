//! Full, and nobody can say how full: what a container says before it ends is believed, if it is asked for.

use std::time::Duration;

use rso::api::annotations::RESCUED;
use rso::api::bytes::Bytes;
use rso::api::reasons::Reason;
use serde_json::{Value, json};

use crate::harness::api::Kind;
use crate::harness::live::Live;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, until};

/// A database that needs 4 MB of room to start, and ends when it is asked to.
const DATABASE: &str = "dd if=/dev/zero of=/data/.lock bs=1M count=4 conv=fsync || exit 1; rm /data/.lock; \
                        trap 'exit 0' TERM; while :; do [ -e /tmp/die ] && exit 1; sleep 1; done";
/// A program that is broken, on a disk that is not full.
const BROKEN: &str = "echo 'panic: runtime error: index out of range' >&2; exit 2";

/// One volume of 300Mi, which may grow once it is asked to. Its pod gets no agent: it is there before that.
fn blind(name: &str, script: &str) -> Set {
    let container = json!({
        "name": "db", "image": "localhost/busybox:1", "imagePullPolicy": "Never", "command": ["sh", "-c", script],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    });
    let set = Set::named(name).template("data", "300Mi").grows_by_usage().asks("auto-scaled", "false");
    set.with(&json!({"template": {"spec": {"containers": [container]}}}))
}

async fn claim(space: &Space, set: &str) -> Value {
    space.api.get(Kind::Claim, &space.name, &format!("data-{set}-0")).await.unwrap_or_default()
}

fn requested(claim: &Value) -> &Value {
    &claim["spec"]["resources"]["requests"]["storage"]
}

/// Fills the disk and lets the container end; what is told when the volume is larger. `None`: the kubelet has looked in the
/// second before the crash, so that the volume was measured and there was nothing to rescue.
async fn fails(space: &Space, set: &Live<'_>, name: &str) -> Option<String> {
    set.annotates(&[("rescue", "true"), ("max-size", "2Gi"), ("auto-scaled", "true")]).await;
    set.exec(0, &["sh", "-c", "dd if=/dev/zero of=/data/fill bs=1M; touch /tmp/die"]).await;
    until("the volume to be larger, although nobody can measure it", PATIENCE, async || {
        let claim = claim(space, name).await;
        expect(requested(&claim) != "300Mi", || claim["spec"].to_string())
    })
    .await;
    until("the event about it", PATIENCE, async || {
        let rescued = set.events(Reason::RescueTriggered).await.into_iter().next();
        let by_usage = !set.events(Reason::AutoResizeTriggered).await.is_empty();
        if rescued.is_some() || by_usage { Ok(rescued) } else { Err("no such event".to_owned()) }
    })
    .await
}

#[tokio::test]
async fn a_database_that_fails_on_a_full_disk_that_nobody_measures_is_rescued() {
    in_namespace("rescue", async |space| {
        for name in ["db", "db2", "db3"] {
            let set = space.run(&blind(name, DATABASE)).await;
            let pods = space.api.list(Kind::Pod, &space.name, "").await;
            assert!(pods.iter().all(|pod| pod["spec"]["initContainers"].is_null()), "{pods:#?}");
            let Some(note) = fails(space, &set, name).await else { continue };
            assert!(note.contains("No space left on device") && note.contains("step 1 of 3"), "{note}");
            let claim = claim(space, name).await;
            assert_eq!(claim["metadata"]["annotations"][RESCUED], "1", "{claim:#}");
            // It starts again by itself, and it is the same pod.
            set.is_ready().await;
            set.template_is("data", "500Mi").await;
            return;
        }
        panic!("the kubelet has looked in the second before the crash three times");
    })
    .await;
}

#[tokio::test]
async fn a_broken_program_on_an_empty_disk_gets_no_larger_one() {
    in_namespace("rescue-broken", async |space| {
        let set = blind("db", BROKEN).asks("rescue", "true").asks("max-size", "2Gi").asks("auto-scaled", "true");
        let set = space.create(&set).await;
        until("the container to have failed four times", PATIENCE, async || {
            let pods = space.api.list(Kind::Pod, &space.name, "").await;
            let restarts = pods.iter().filter_map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64());
            let restarts = restarts.max().unwrap_or(0);
            expect(restarts >= 3, || format!("{restarts} restarts"))
        })
        .await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(requested(&claim(space, "db").await), "300Mi");
        assert_eq!(set.events(Reason::RescueTriggered).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_rescue_without_a_limit_or_with_another_word_is_told() {
    in_namespace("rescue-told", async |space| {
        let set = space.run(&blind("db", DATABASE)).await;
        set.annotates(&[("rescue", "yes"), ("auto-scaled", "true")]).await;
        let note = set.says(Reason::InvalidAnnotation).await;
        assert!(
            note.contains("rescue") && note.contains("\"yes\"") && note.contains("\"true\" or \"false\""),
            "{note}"
        );
        set.annotates(&[("rescue", "true")]).await;
        let note = set.says(Reason::RescueRefused).await;
        assert!(note.contains("max-size"), "{note}");
        assert_eq!(set.facts().await.claims["data-db-0"].requested, Bytes::mib(300));
    })
    .await;
}
