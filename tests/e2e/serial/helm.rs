//! The chart is uninstalled while sets are resized, and installed again.

use std::time::Duration;

use futures::future::join_all;
use rso::api::annotations::HOLD;

use crate::harness::api::Api;
use crate::harness::live::Live;
use crate::harness::programs::{helm, kubectl};
use crate::harness::set::Set;
use crate::harness::space::in_namespace;
use crate::harness::{PATIENCE, expect, operator, until};

#[tokio::test]
async fn an_uninstall_midway_leaves_no_set_held_and_an_install_finishes_the_work() {
    let values = helm(&["get", "values", "rso", "-n", operator::NAMESPACE, "-o", "json"]).await.ok();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), values).unwrap();
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/chart");
    for wait in [100, 400, 1_000] {
        in_namespace(&format!("uninstall-{wait}"), async |space| {
            let set = |name: &str| Set::named(name).template("data", "400Mi");
            let sets: Vec<Live<'_>> = join_all(["a", "b", "c"].map(async |name| space.run(&set(name)).await)).await;
            let before = join_all(sets.iter().map(Live::facts)).await;
            join_all(sets.iter().map(|set| set.asks("resize-0", "500Mi"))).await;
            tokio::time::sleep(Duration::from_millis(wait)).await;
            helm(&["uninstall", "rso", "-n", operator::NAMESPACE, "--wait", "--timeout=3m"]).await.ok();
            for (set, before) in sets.iter().zip(&before) {
                is_left_alone(set).await;
                let after = set.facts().await;
                after.pods_are_the_same_as(before);
                after.claims_only_grew_since(before);
            }
            let values = format!("--values={}", file.path().display());
            helm(&["install", "rso", chart, "-n", operator::NAMESPACE, &values, "--wait", "--timeout=3m"]).await.ok();
            for (set, before) in sets.iter().zip(&before) {
                set.reaches("data", "500Mi").await;
                set.facts().await.pods_are_the_same_as(before);
            }
        })
        .await;
    }
    let left = kubectl(&["get", "statefulsets", "-A", "-o", "json"]).await.ok();
    assert!(!left.contains(HOLD), "a set is held");
    operator::scale(&Api::connect().await, 2).await;
}

/// The set is there, and nothing holds it.
async fn is_left_alone(set: &Live<'_>) {
    until("the set to be there and free", PATIENCE, async || {
        let object = set.object().await.ok_or("it is absent")?;
        expect(object["metadata"]["finalizers"].is_null(), || object["metadata"].to_string())?;
        expect(object["metadata"]["deletionTimestamp"].is_null(), || object["metadata"].to_string())
    })
    .await;
}
