//! Full, and not running: what fails because its disk is full must not be left alone because it fails.

use jiff::Timestamp;
use rso::api::reasons::Reason;
use serde_json::{Value, json};

use crate::harness::api::Kind;
use crate::harness::live::Live;
use crate::harness::programs::rso;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, until};
use crate::parallel::admission::agents::are_shown;

/// Writes 4 MB to the volume and takes them away again: fails when it is full.
const NEEDS_ROOM: &str = "dd if=/dev/zero of=/data/.lock bs=1M count=4 conv=fsync || exit 1; rm /data/.lock";

/// One volume of 300Mi that may not grow yet.
fn limited() -> Set {
    Set::named("db").template("data", "300Mi").grows_by_usage().asks("max-size", "300Mi")
}

fn container(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": "localhost/busybox:1", "imagePullPolicy": "Never", "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

/// A database that needs room to start, and ends when it is asked to.
fn needy() -> Set {
    let script = format!("{NEEDS_ROOM}; trap 'exit 0' TERM; while :; do [ -e /tmp/die ] && exit 1; sleep 1; done");
    limited().with(&json!({"template": {"spec": {"containers": [container("db", &script)]}}}))
}

/// Waits until a container of the pod waits for this.
async fn waits_in(space: &Space, list: &str, name: &str, reason: &str) {
    until(&format!("{name} to wait in {reason}"), PATIENCE, async || {
        let pods = space.api.list(Kind::Pod, &space.name, "").await;
        let found = pods.iter().flat_map(|pod| pod["status"][list].as_array().cloned().unwrap_or_default());
        let waits = |status: &Value| status["name"] == name && status["state"]["waiting"]["reason"] == reason;
        expect(found.clone().any(|status| waits(&status)), || format!("{:#?}", found.collect::<Vec<_>>()))
    })
    .await;
}

#[tokio::test]
async fn an_init_container_that_needs_room_on_a_full_disk_gets_it_when_the_limit_is_raised() {
    in_namespace("init-full", async |space| {
        are_shown(space).await;
        let init = json!([container("prepare", NEEDS_ROOM)]);
        let set = space.run(&limited().with(&json!({"template": {"spec": {"initContainers": init}}}))).await;
        set.exec(0, &["sh", "-c", "dd if=/dev/zero of=/data/fill bs=1M; true"]).await;
        space.kubectl(&["delete", "pod", "db-0"]).await;
        waits_in(space, "initContainerStatuses", "prepare", "CrashLoopBackOff").await;
        // What is measured is not unknown, whatever the phase of the pod.
        let told = rso(&["status", "-n", &space.name, "-o", "json"]).await;
        assert!(told.out.contains("\"agent\""), "{} {}", told.out, told.err);
        set.annotates(&[("max-size", "2Gi")]).await;
        set.claims_have_grown("data", "500Mi").await;
        set.is_ready().await;
        status_shows_the_reaction(space).await;
    })
    .await;
}

/// Waits until `rso status` shows what the leader measured: in the table, and in JSON as seconds.
async fn status_shows_the_reaction(space: &Space) {
    until("status to show the reaction", PATIENCE, async || {
        let shown = rso(&["status", "-n", &space.name]).await;
        let data = rso(&["status", "-n", &space.name, "-o", "json"]).await;
        let sets: Value = serde_json::from_str(&data.out).unwrap_or_default();
        let seconds = sets["sets"][0]["templates"][0]["claims"][0]["usage"]["reactionSeconds"].as_f64();
        let is_shown = shown.out.contains("reaction ") && shown.out.contains(" (last ");
        expect(is_shown && seconds.is_some_and(|seconds| seconds > 0.0), || format!("{} {}", shown.out, data.out))
    })
    .await;
}

#[tokio::test]
async fn an_init_container_that_fills_the_disk_of_a_new_pod_and_fails_gets_room() {
    in_namespace("init-fills", async |space| {
        are_shown(space).await;
        // More than the volume has: a restore from a backup.
        let restore = container("restore", "dd if=/dev/zero of=/data/restored bs=1M count=300 conv=fsync");
        let set = Set::named("db").template("data", "300Mi").grows_by_usage().asks("max-size", "2Gi");
        let set = set.with(&json!({"template": {"spec": {"initContainers": [restore]}}}));
        let set = space.create(&set).await;
        set.claims_have_grown("data", "500Mi").await;
        let pod = space.api.get(Kind::Pod, &space.name, "db-0").await.unwrap();
        assert_eq!(pod["spec"]["initContainers"][0]["name"], "rso-agent", "{}", pod["spec"]);
        set.is_ready().await;
        let after = space.api.get(Kind::Pod, &space.name, "db-0").await.unwrap();
        assert_eq!(after["metadata"]["uid"], pod["metadata"]["uid"], "the Pod was replaced");
        let restarts = &after["status"]["initContainerStatuses"][1]["restartCount"];
        assert!(restarts.as_u64() >= Some(1), "it never failed: {}", after["status"]);
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_does_not_start_for_another_reason_is_reported_with_that_reason() {
    in_namespace("no-image", async |space| {
        // Without an agent, and without a container that the kubelet could measure.
        let set = space.run(&limited().asks("auto-scaled", "false")).await;
        let missing = json!({"name": "prepare", "image": "localhost/missing:1", "imagePullPolicy": "Never"});
        set.patches(&json!({"spec": {"template": {"spec": {"initContainers": [missing]}}}})).await;
        waits_in(space, "initContainerStatuses", "prepare", "ErrImageNeverPull").await;
        set.annotates(&[("auto-scaled", "true")]).await;
        let note = set.says(Reason::UsageUnknown).await;
        assert!(note.contains("Pod db-0 does not run (init container prepare: ErrImageNeverPull, \""), "{note}");
        let command = format!("kubectl describe pod db-0 -n {}", space.name);
        assert!(note.ends_with(&command), "{note}");
        let status = rso(&["status", "-n", &space.name, "-o", "json"]).await;
        assert!(status.out.contains(&command), "{} {}", status.out, status.err);
    })
    .await;
}

#[tokio::test]
async fn a_container_that_crashes_on_a_full_disk_beside_an_agent_gets_room() {
    in_namespace("crash-full", async |space| {
        let set = space.run(&needy().with_agent()).await;
        set.exec(0, &["sh", "-c", "dd if=/dev/zero of=/data/fill bs=1M; touch /tmp/die"]).await;
        waits_in(space, "containerStatuses", "db", "CrashLoopBackOff").await;
        set.annotates(&[("max-size", "2Gi")]).await;
        set.claims_have_grown("data", "500Mi").await;
        set.is_ready().await;
    })
    .await;
}

/// Fills the disk of a pod without an agent and lets it crash, until nobody can say how full it is; what is told then.
///
/// The kubelet may look in the second before the crash. Then the volume grows, as it should, and the pod is well: there is
/// something to see only when it has not looked.
async fn full_and_blind(space: &Space, set: &Live<'_>) -> String {
    for _ in 0..5 {
        let before = requested(space).await;
        // One that fails on its full disk runs for a moment, too.
        until("the container to run for a while", PATIENCE, async || {
            let pod = space.api.get(Kind::Pod, &space.name, "db-0").await.unwrap_or_default();
            let state = &pod["status"]["containerStatuses"][0]["state"];
            let since: Option<Timestamp> = state["running"]["startedAt"].as_str().and_then(|at| at.parse().ok());
            let stays = since.is_some_and(|at| Timestamp::now().duration_since(at).as_secs() >= 4);
            expect(stays, || state.to_string())
        })
        .await;
        set.exec(0, &["sh", "-c", "dd if=/dev/zero of=/data/fill bs=1M; touch /tmp/die"]).await;
        waits_in(space, "containerStatuses", "db", "CrashLoopBackOff").await;
        set.annotates(&[("max-size", "2Gi"), ("auto-scaled", "true")]).await;
        let note = until("the crash loop to be told, or the volume to grow", PATIENCE, async || {
            if let Some(note) = set.events(Reason::UsageUnknown).await.into_iter().next() {
                return Ok(Some(note));
            }
            let requested = requested(space).await;
            if requested == before { Err(requested.to_string()) } else { Ok(None) }
        })
        .await;
        if let Some(note) = note {
            return note;
        }
        set.is_ready().await;
        set.leaves_no_trace().await;
        set.annotates(&[("auto-scaled", "false")]).await;
    }
    panic!("the kubelet has looked in the second before the crash five times");
}

async fn requested(space: &Space) -> Value {
    let claim = space.api.get(Kind::Claim, &space.name, "data-db-0").await.unwrap_or_default();
    claim["spec"]["resources"]["requests"]["storage"].clone()
}

#[tokio::test]
async fn a_crash_loop_that_nobody_can_measure_is_told_with_its_cause_and_a_command() {
    in_namespace("crash-blind", async |space| {
        // A pod from before: it has no agent, and the kubelet forgets the volumes of a pod that does not run.
        let calm = needy().asks("auto-scaled", "false");
        let set = space.run(&calm).await;
        let pods = space.api.list(Kind::Pod, &space.name, "").await;
        assert!(pods.iter().all(|pod| pod["spec"]["initContainers"].is_null()), "{pods:#?}");
        let command = format!(
            "kubectl annotate statefulset db -n {} --overwrite resize-statefulset-operator/resize.data=",
            space.name
        );
        let note = full_and_blind(space, &set).await;
        assert!(note.contains("Pod db-0 does not run (container db: "), "{note}");
        assert!(note.contains(", exit code 1, \"") && note.contains("No space left on device"), "{note}");
        // Half as much again as the volume has.
        let (_, size) = note.split_once(&command).unwrap_or_else(|| panic!("{note}"));
        assert!(["450Mi", "750Mi", "1050Mi"].contains(&size), "{note}");
        let command = command + size;
        let told = rso(&["status", "-n", &space.name, "-o", "json"]).await;
        assert!(told.out.contains(&command), "{} {}", told.out, told.err);
        // The command does what it promises.
        let arguments: Vec<&str> = command.split(' ').skip(1).collect();
        space.kubectl(&arguments).await;
        set.claims_have_grown("data", size).await;
        set.is_ready().await;
    })
    .await;
}

#[tokio::test]
async fn a_fresh_set_is_not_warned_about() {
    in_namespace("calm", async |space| {
        let set = space.run(&Set::named("db").replicas(2).template("data", "300Mi").grows_by_usage()).await;
        set.annotates(&[("resize.data", "400Mi")]).await;
        set.reaches("data", "400Mi").await;
        for reason in [Reason::UsageUnknown, Reason::TemplateSyncDeferred] {
            let events = set.events(reason).await;
            assert!(events.is_empty(), "{events:?}");
        }
    })
    .await;
}
