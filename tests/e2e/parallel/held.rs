//! Agents that hold a request until there is something to report, and agents that do not.

use std::time::{Duration, Instant};

use rso::api::bytes::Bytes;
use rso::api::names::{AGENT_CONTAINER, AGENT_PORT};
use serde_json::json;

use crate::harness::live::Live;
use crate::harness::programs::kubectl;
use crate::harness::set::Set;
use crate::harness::space::in_namespace;
use crate::harness::{PATIENCE, expect, until};

#[tokio::test]
async fn a_volume_that_fills_while_its_agent_holds_a_request_is_expanded_at_once() {
    in_namespace("held", async |space| {
        let set = space.run(&Set::named("db").template("data", "400Mi").grows_by_usage().with_agent()).await;
        // Long enough for the first request, which waits for 5 s, and a part of the next.
        tokio::time::sleep(Duration::from_secs(15)).await;
        set.fills(0, "data", 180).await;
        let filled = Instant::now();
        until("the PVC to be patched", PATIENCE, async || {
            let asked = set.facts().await.claims["data-db-0"].requested;
            expect(asked > Bytes::mib(400), || format!("it asks for {asked}"))
        })
        .await;
        // 0.1 s to notice it; the machine is shared.
        assert!(filled.elapsed() < Duration::from_secs(10), "it took {:?}", filled.elapsed());
        set.reaches("data", "600Mi").await;
        // The larger volume is below its threshold again, and another file brings it over.
        set.exec(0, &["fallocate", "-l", "110000000", "/data/more"]).await;
        set.reaches("data", "800Mi").await;
    })
    .await;
}

/// A set whose agent answers everything at once, with this body, and writes down each request.
fn answers_at_once(name: &str, fields: &str) -> Set {
    let body = format!(r#"[{{"pvc_name":"data-{name}-0","all_bytes":400000000,"free_bytes":300000000{fields}}}]"#);
    let script =
        r#"echo asked >>/tmp/asked; printf 'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s' ${#BODY} "$BODY""#;
    let start = format!(
        "printf '%s\\n' '#!/bin/sh' \"$SCRIPT\" >/tmp/agent; chmod +x /tmp/agent; exec nc -ll -p {AGENT_PORT} -e /tmp/agent"
    );
    let agent = json!([{
        "name": AGENT_CONTAINER, "image": "localhost/busybox:1", "restartPolicy": "Always",
        "command": ["sh", "-c", start],
        "env": [{"name": "SCRIPT", "value": script}, {"name": "BODY", "value": body}],
        "ports": [{"name": AGENT_CONTAINER, "containerPort": AGENT_PORT}],
    }]);
    let set = Set::named(name).template("data", "400Mi").grows_by_usage();
    set.with(&json!({"template": {"spec": {"initContainers": agent}}}))
}

/// How often the agent was asked so far.
async fn asked(namespace: &str, set: &Live<'_>) -> u64 {
    let pod = format!("{}-0", set.name());
    let count =
        ["-n", namespace, "exec", &pod, "-c", AGENT_CONTAINER, "--", "sh", "-c", "touch /tmp/asked; wc -l </tmp/asked"];
    kubectl(&count).await.ok().trim().parse().unwrap()
}

#[tokio::test]
async fn an_agent_that_does_not_hold_requests_is_asked_once_a_second_at_most() {
    in_namespace("unheld", async |space| {
        let older = space.run(&answers_at_once("older", "")).await;
        let hasty = space.run(&answers_at_once("hasty", r#","rate_bytes":0,"waited_ms":0"#)).await;
        for set in [&older, &hasty] {
            let (before, start) = (asked(&space.name, set).await, Instant::now());
            tokio::time::sleep(Duration::from_secs(20)).await;
            let (after, took) = (asked(&space.name, set).await, start.elapsed());
            let most = took.as_secs() + 3;
            assert!(after - before <= most, "{} was asked {} times in {took:?}", set.name(), after - before);
            assert!(after > before, "{} is no longer asked", set.name());
        }
    })
    .await;
}
