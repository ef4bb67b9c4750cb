//! StatefulSets whose containers fail: databases on a full disk, and broken programs on an empty one.

use std::time::Duration;

use rso::api::bytes::Bytes;
use serde_json::{Value, json};

use crate::harness::api::Kind;
use crate::harness::facts::requested;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, until};

/// What the container runs that fails on its full disk.
const DATABASE: &str = include_str!("database.sh");
/// What the container runs that is broken.
const BROKEN: &str = "sleep 1; echo 'panic: runtime error: index out of range' >&2; exit 2";
/// The size of each volume at first.
const SIZE: &str = "300Mi";
/// How long a database runs before its disk is full, in seconds: the operator has measured the volume by then.
const START: &str = "15";
/// How long an empty disk of a broken program is watched.
pub const WATCHED: Duration = Duration::from_secs(120);

/// A StatefulSet of one Pod whose volume is expanded by usage, with a folder that outlives its containers.
pub fn expands(name: &str) -> Set {
    let set = Set::named(name).template("data", SIZE).asks("auto-scaled", "true").asks("max-size", "3Gi");
    let state = json!([{"name": "state", "emptyDir": {}}]);
    set.with(&json!({"template": {"spec": {"volumes": state}}}))
}

/// These containers instead of the usual one.
pub fn containers(container: &Value) -> Value {
    json!({"template": {"spec": {"containers": [container]}}})
}

/// A database that fills its disk and fails; with a word in `ends`, it ends when it could start again.
pub fn database(name: &str, ends: &str) -> Value {
    let environment = json!([{"name": "START", "value": START}, {"name": "ENDS", "value": ends}]);
    container(name, DATABASE, &environment)
}

/// A container that does nothing.
pub fn nothing(name: &str) -> Value {
    container(name, "trap 'exit 0' TERM; while :; do sleep 1; done", &json!([]))
}

fn container(name: &str, script: &str, environment: &Value) -> Value {
    json!({
        "name": name, "image": "localhost/busybox:1", "command": ["sh", "-c", script], "env": environment,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "state", "mountPath": "/state"}],
    })
}

/// No agent is added to the Pods of this namespace.
pub async fn no_agents(space: &Space) {
    let ignore = json!({"metadata": {"labels": {"resize-statefulset-operator/admission": "ignore"}}});
    space.api.patch(Kind::Namespace, "", &space.name, &ignore).await.unwrap();
}

/// How many of that many volumes were expanded, whose programs are broken and whose disks are empty.
pub async fn on_empty_disks(count: u64) -> usize {
    let mut expanded = 0;
    in_namespace("bench-broken", async |space| {
        no_agents(space).await;
        for nth in 0..count {
            let set = expands(&format!("db{nth}")).asks("rescue", "true");
            space.create(&set.with(&containers(&container("db", BROKEN, &json!([]))))).await;
        }
        all_have_failed(space, count).await;
        tokio::time::sleep(WATCHED).await;
        let (claims, size) = (space.api.list(Kind::Claim, &space.name, "").await, SIZE.parse::<Bytes>().unwrap());
        expanded = claims.iter().filter(|claim| requested(claim) > size).count();
    })
    .await;
    expanded
}

async fn all_have_failed(space: &Space, count: u64) {
    until("every program to have failed twice", PATIENCE, async || {
        let pods = space.api.list(Kind::Pod, &space.name, "").await;
        let restarts = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0);
        let failed = pods.iter().filter(|pod| restarts(pod) >= 2).count();
        expect(failed as u64 == count, || format!("{failed} have"))
    })
    .await;
}
