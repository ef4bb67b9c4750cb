//! Whoever wishes us ill: words that mean nothing, agents that lie, and state of ours that somebody changed.
//!
//! `HOSTILE` is how long the agents go on (30s).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use futures::StreamExt;
use rso::api::annotations::{KIND_LABEL, PREFIX};
use rso::api::bytes::Bytes;
use rso::api::names::{AGENT_CONTAINER, AGENT_PORT};
use rso::api::reasons::Reason;
use serde_json::{Value, json};

use crate::harness::api::{Api, Kind};
use crate::harness::live::Live;
use crate::harness::policy::{Moment, Stop};
use crate::harness::programs::{rso, shell};
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, operator, until};

// ── Words ──

/// Values that no key understands.
const NONSENSE: [&str; 16] = [
    "",
    " ",
    "-5Gi",
    "NaN",
    "1e",
    "0x10",
    "5 Gi",
    "80%%",
    "ture",
    "\u{0}\u{1}",
    "🐳",
    "null",
    "{\"a\":1}",
    "-0.0.1",
    "∞",
    "\n\n",
];

/// Keys with a value of some form, and one that does not exist.
const KEYS: [&str; 10] = [
    "threshold",
    "increase",
    "min-increase",
    "max-size",
    "cooldown",
    "template-sync",
    "auto-scaled",
    "resize-0",
    "resize.data",
    "sizee",
];

/// The nth of a thousand: every key with every nonsense, then ever longer ones.
fn hostile(nth: usize) -> (String, String) {
    let value = NONSENSE[nth % NONSENSE.len()].repeat(1 + nth / 160);
    let key = KEYS[(nth / NONSENSE.len()) % KEYS.len()];
    (format!("{PREFIX}{key}"), value)
}

#[tokio::test]
async fn a_thousand_sets_with_nonsense_get_one_event_each_and_the_operator_does_not_mind() {
    in_namespace("nonsense", async |space| {
        let before = containers(&space.api).await;
        let sets = futures::stream::iter(0..1_000).map(async |nth| {
            let (key, value) = hostile(nth);
            let set = Set::named(&format!("n{nth}")).replicas(0).template("data", "1Gi");
            space
                .create(&set.asks("auto-scaled", "recommend").with_metadata(&json!({"annotations": {key: value}})))
                .await;
        });
        sets.buffer_unordered(20).collect::<Vec<()>>().await;
        let told = until("an Event about each", PATIENCE, async || {
            let told = events_by_set(space).await;
            expect(told.len() == 1_000, || format!("{} sets have one", told.len()))?;
            Ok(told)
        })
        .await;
        // Nothing comes after it.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(events_by_set(space).await, told);
        for (set, events) in told {
            let known =
                events == [Reason::InvalidAnnotation.as_str()] || events == [Reason::UnknownAnnotation.as_str()];
            assert!(known, "{set}: {events:?}");
        }
        assert_eq!(containers(&space.api).await, before, "the operator was started again");
    })
    .await;
}

async fn events_by_set(space: &Space) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in space.api.list(Kind::Event, &space.name, "").await {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if event["reportingController"].as_str().is_some_and(|who| who.contains("rso") || who.contains("resize")) {
            told.entry(text(&event["regarding"]["name"])).or_default().push(text(&event["reason"]));
        }
    }
    told
}

/// Which container of each operator runs, and how often it was started.
pub(super) async fn containers(api: &Api) -> Vec<(String, u64)> {
    let pods = operator::pods(api).await;
    let of = |pod: &Value| {
        let status = &pod["status"]["containerStatuses"][0];
        (status["containerID"].as_str().unwrap_or_default().to_owned(), status["restartCount"].as_u64().unwrap_or(0))
    };
    pods.iter().map(of).collect()
}

// ── Agents ──

/// What each says to a connection, as a shell script that speaks to it.
const AGENTS: [(&str, &str); 7] = [
    // Always full, of a volume of which nobody knows the size.
    (
        "lies",
        "C=$(cat /tmp/claim); B=\"[{\\\"pvc_name\\\":\\\"$C\\\",\\\"all_bytes\\\":9007199254740993,\\\"free_bytes\\\":0}]\"; printf 'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s' ${#B} \"$B\"",
    ),
    // Full, and as large as it may really be.
    (
        "plausible",
        "C=$(cat /tmp/claim); B=\"[{\\\"pvc_name\\\":\\\"$C\\\",\\\"all_bytes\\\":400000000,\\\"free_bytes\\\":0}]\"; printf 'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s' ${#B} \"$B\"",
    ),
    ("stalls", "sleep 3600"),
    ("drips", "while printf H; do sleep 1; done"),
    (
        "redirects",
        "printf 'HTTP/1.1 302 Found\\r\\nLocation: http://127.0.0.1:8081/livez\\r\\nContent-Length: 0\\r\\n\\r\\n'",
    ),
    ("giant", "printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 1073741824\\r\\n\\r\\n'; head -c 1073741824 /dev/zero"),
    ("headers", "printf 'HTTP/1.1 200 OK\\r\\n'; while printf 'X-%s: y\\r\\n' $$; do :; done"),
];

/// A set whose pod has such an agent.
fn with_agent(name: &str, script: &str) -> Set {
    let start = format!(
        "echo data-{name}-0 >/tmp/claim; printf '%s\\n' '#!/bin/sh' \"$SCRIPT\" >/tmp/agent; chmod +x /tmp/agent; exec nc -ll -p {AGENT_PORT} -e /tmp/agent"
    );
    let agent = json!([{
        "name": AGENT_CONTAINER, "image": "localhost/busybox:1", "restartPolicy": "Always",
        "command": ["sh", "-c", start], "env": [{"name": "SCRIPT", "value": script}],
        "ports": [{"name": AGENT_CONTAINER, "containerPort": AGENT_PORT}],
    }]);
    let set = Set::named(name).template("data", "400Mi").grows_by_usage().asks("max-size", "600Mi");
    set.with(&json!({"template": {"spec": {"initContainers": agent}}}))
}

#[tokio::test]
async fn agents_that_lie_stall_drip_redirect_and_flood_cost_nothing_but_what_was_allowed() {
    let long =
        std::env::var("HOSTILE").map_or(Duration::from_secs(30), |text| humantime::parse_duration(&text).unwrap());
    in_namespace("agents", async |space| {
        let honest = space.run(&Set::named("db").template("data", "400Mi").grows_by_usage().with_agent()).await;
        let hostile: Vec<Live<'_>> =
            futures::future::join_all(AGENTS.map(async |(name, script)| space.run(&with_agent(name, script)).await))
                .await;
        let started = containers(&space.api).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let before = memory(&space.api).await;
        let began = Instant::now();
        let mut most = before;
        while began.elapsed() < long {
            most = most.max(memory(&space.api).await);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        println!("hostile agents for {} s: memory {before} KiB before, {most} KiB at most", long.as_secs());
        assert!(most < before + 8 * 1_024, "memory rose from {before} to {most} KiB");
        assert_eq!(containers(&space.api).await, started, "the operator was started again");
        for set in &hostile {
            let most = set.facts().await.requests().into_values().max().unwrap();
            assert!(most <= Bytes::mib(600), "{} grew to {most}, beyond its max-size", set.name());
            if set.name() != "plausible" {
                assert_eq!(most, Bytes::mib(400), "{} was believed", set.name());
            }
        }
        // Meanwhile others are served as ever.
        honest.fills(0, "data", 230).await;
        honest.reaches("data", "600Mi").await;
    })
    .await;
}

/// The largest resident set of the operators, in KiB.
async fn memory(api: &Api) -> u64 {
    most_of(api, "VmRSS").await
}

/// The largest figure of that name that the kernel has of an operator, in KiB.
pub(super) async fn most_of(api: &Api, figure: &str) -> u64 {
    let mut most = 0;
    for pod in operator::pods(api).await {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let folders = format!("{{ grep -l 'pod{uid}' /proc/[0-9]*/cgroup 2>/dev/null || true; }} | cut -d/ -f3");
        let sizes =
            shell(&format!("for pid in $({folders}); do grep -h {figure} /proc/$pid/status 2>/dev/null || true; done"))
                .await;
        let sizes = sizes
            .out
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .collect::<Vec<_>>();
        most = most.max(sizes.into_iter().max().unwrap_or(0));
    }
    most
}

// ── State of ours ──

/// The ConfigMap with its packed object replaced by one that somebody made: another image in the pod template.
async fn tampered(api: &Api, namespace: &str, map: &Value, key: &str) -> Value {
    let packed = map["binaryData"][key].as_str().unwrap();
    let object = base64::engine::general_purpose::STANDARD.decode(packed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("object");
    std::fs::write(&file, object).unwrap();
    let line = format!(
        "gunzip -c <{0} | sed 's#localhost/busybox:1#localhost/evil:1#g' | gzip -nc | base64 -w0",
        file.display()
    );
    let forged = shell(&line).await.ok();
    let mut map = map.clone();
    assert_ne!(map["binaryData"][key], forged);
    map["binaryData"][key] = json!(forged);
    let name = map["metadata"]["name"].as_str().unwrap().to_owned();
    api.delete(Kind::ConfigMap, namespace, &name, &json!({})).await.unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        map["metadata"].as_object_mut().unwrap().remove(field);
    }
    api.create(Kind::ConfigMap, namespace, &map).await.unwrap();
    map
}

#[tokio::test]
async fn a_journal_that_somebody_changed_is_never_applied_and_a_person_is_told_what_to_do() {
    in_namespace("journal", async |space| {
        let set = space.run(&Set::named("db").replicas(2).parallel().template("data", "400Mi")).await;
        let before = set.facts().await;
        let stop = Stop::at(space, Moment::Creating).await;
        set.asks("resize-0", "500Mi").await;
        until("the name to be free", PATIENCE, async || expect(set.object().await.is_none(), || "it is there".into()))
            .await;
        let journals = space.api.list(Kind::ConfigMap, operator::NAMESPACE, &format!("{KIND_LABEL}=journal")).await;
        let ours = journals.iter().find(|map| map["data"]["set"] == format!("{}/db", space.name)).expect("no journal");
        let key = ours["binaryData"].as_object().unwrap().keys().next().unwrap().clone();
        let changed = tampered(&space.api, operator::NAMESPACE, ours, &key).await;
        // A CREATE from the journal as it was may be on its way; it is refused as long as this is not seen.
        let told = until("what to do", PATIENCE, async || {
            let notes = set.events(Reason::TemplateSyncBlocked).await;
            notes.iter().find(|note| note.contains("rso restore")).cloned().ok_or_else(|| format!("{notes:?}"))
        })
        .await;
        stop.lift().await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert!(set.object().await.is_none(), "it was created from a journal that somebody changed");
        let name = changed["metadata"]["name"].as_str().unwrap();
        assert!(told.contains(name), "it does not name the ConfigMap: {told}");
        // As told.
        rso(&["restore", "db", "-n", &space.name]).await.ok();
        set.is_ready().await;
        set.reaches("data", "500Mi").await;
        let after = set.facts().await;
        after.pods_are_the_same_as(&before);
        after.claims_only_grew_since(&before);
    })
    .await;
}

#[tokio::test]
async fn a_backup_that_somebody_changed_is_not_restored() {
    in_namespace("backup", async |space| {
        let set = space.run(&Set::named("db").template("data", "400Mi")).await;
        set.asks("resize-0", "500Mi").await;
        set.reaches("data", "500Mi").await;
        let backups = space.api.list(Kind::ConfigMap, &space.name, &format!("{KIND_LABEL}=backup")).await;
        tampered(&space.api, &space.name, &backups[0], "statefulset.json.gz").await;
        space.kubectl(&["delete", "statefulset", "db", "--cascade=orphan"]).await;
        let ran = rso(&["restore", "db", "-n", &space.name]).await;
        assert!(ran.code != 0 && ran.err.contains("db-backup-1"), "{}{}", ran.out, ran.err);
        assert!(set.object().await.is_none(), "it was restored from a backup that somebody changed");
    })
    .await;
}
