//! What does admission cost? The time of an update that has nothing to do with volumes, with the webhook and where it is opted
//! out; of one that is absorbed; and both while the server is stopped (SIGSTOP) and cannot answer.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use crate::figures;
use crate::harness::api::Kind;
use crate::harness::operator;
use crate::harness::programs::kubectl;
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};

/// Updates in a row, about two a second; and in all at the higher rate: ten seconds, so that opening connections counts little.
const SLOW: u32 = 20;
const MANY: u32 = 2_000;
/// Sets that take turns: updates of one object would wait for each other.
const SETS: u32 = 20;
/// Between two updates of the higher rate: 200 a second.
const GAP: Duration = Duration::from_millis(5);

/// Measures each kind of update at one and at 200 a second, then with the server stopped.
pub async fn measure() {
    in_namespace("bench-with", async |with| {
        in_namespace("bench-without", async |without| {
            let ignore = json!({"metadata": {"labels": {"resize-statefulset-operator/admission": "ignore"}}});
            without.api.patch(Kind::Namespace, "", &without.name, &ignore).await.unwrap();
            for space in [with, without] {
                // No pods: nothing but the update itself is measured; paused: nothing comes of it.
                for nth in 0..SETS {
                    let set = Set::named(&name(nth)).replicas(0).template("data", "1Gi").asks("paused", "true");
                    space.create(&set).await;
                }
            }
            rates("update of a label, opted out", without, label).await;
            rates("update of a label", with, label).await;
            let before = asked().await;
            rates("update that is absorbed", with, template).await;
            hook_alone(before, asked().await);
            stopped(with).await;
        })
        .await;
    })
    .await;
}

fn name(nth: u32) -> String {
    format!("db{}", nth % SETS)
}

/// Leaves the templates alone.
fn label(nth: u32) -> Value {
    json!({"metadata": {"labels": {"nth": nth.to_string()}}})
}

/// Asks for less than there is, which is kept: nothing is stored.
fn template(_: u32) -> Value {
    json!({"spec": {"volumeClaimTemplates": [{
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "resources": {"requests": {"storage": "512Mi"}},
        },
    }]}})
}

/// How often the API server has asked the hook, and how often it had its answer within 5 ms.
async fn asked() -> (f64, f64) {
    let metrics = kubectl(&["get", "--raw", "/metrics"]).await.ok();
    let name = "apiserver_admission_webhook_admission_duration_seconds_bucket";
    let count = |bound: &str| {
        let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains("\"absorb."));
        let ours = lines.filter(|line| line.contains(bound));
        ours.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    (count("le=\"+Inf\""), count("le=\"0.005\""))
}

/// What the hook adds to a request, without the request: the API server's own histogram has one bucket that matters here.
fn hook_alone((asked, fast): (f64, f64), (asked_now, fast_now): (f64, f64)) {
    let (asked, fast) = (asked_now - asked, fast_now - fast);
    let share = 100.0 * fast / asked.max(1.0);
    figures::row(
        "the hook alone, as the API server counts",
        asked as usize,
        &format!("{share:.1} % within 5 ms (goal 99 %)"),
    );
}

async fn rates(what: &str, space: &Space, change: fn(u32) -> Value) {
    let mut slow = Vec::new();
    for nth in 0..SLOW {
        slow.push(update(space, nth, change).await.0);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    figures::times(&format!("{what}, now and then"), slow, "");
    let began = tokio::time::Instant::now();
    let each = (0..MANY).map(async |nth| {
        tokio::time::sleep_until(began + GAP * nth).await;
        update(space, nth, change).await.0
    });
    let mut many = join_all(each).await;
    many.sort_by(f64::total_cmp);
    let p99 = many[many.len() * 99 / 100];
    figures::times(&format!("{what}, 200 a second"), many, &format!("p99 {p99:.1} ms"));
}

/// Milliseconds, and whether it was accepted.
async fn update(space: &Space, nth: u32, change: fn(u32) -> Value) -> (f64, Result<(), String>) {
    let began = Instant::now();
    let answer = space.api.patch(Kind::StatefulSet, &space.name, &name(nth), &change(nth)).await;
    (began.elapsed().as_secs_f64() * 1_000.0, answer.map(|_| ()).map_err(|refused| refused.message))
}

async fn stopped(space: &Space) {
    operator::signal("STOP").await;
    let mut unrelated = Vec::new();
    for nth in 0..SLOW {
        let (time, answer) = update(space, nth, label).await;
        answer.unwrap();
        unrelated.push(time);
    }
    figures::times("server stopped: update of a label", unrelated, "as before");
    let mut refused = Vec::new();
    for nth in 0..3 {
        let (time, answer) = update(space, nth, template).await;
        let words = answer.expect_err("Kubernetes refuses it");
        assert!(words.contains("spec.volumeClaimTemplates"), "{words}");
        refused.push(time);
    }
    figures::times("server stopped: Kubernetes' own refusal", refused, "3 s at most");
    operator::signal("CONT").await;
}
