//! Does the count of what went wrong move when it does? Without the operator: a Pod is really deleted, and the checker says so.

use std::collections::BTreeMap;

use serde_json::json;

use crate::checker;
use crate::harness::api::Kind as Stored;
use crate::harness::rewrite::{Rewrite, Rewritten};
use crate::history::History;
use crate::plane::Plane;
use crate::recorder::Kind;
use crate::run::Stage;
use crate::scenario::{NAME, SCENARIOS};

const LOST: &str = "no pod is deleted or restarted";

/// Plays a scenario up to the wish, lets `what` happen, and gives what the checker finds when a Pod has gone.
async fn found_after(plane: &Plane, name: &str, what: impl AsyncFnOnce(&Plane, &str)) -> Vec<String> {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap();
    let place = plane.place().await;
    let stage = Stage { plane, scenario, place: &place };
    stage.set_up().await;
    let settled = stage.version();
    let uids = || {
        let pods = plane.recorder.live(&place.sets, Kind::Pod);
        pods.iter().map(|pod| pod["metadata"]["uid"].to_string()).collect::<Vec<_>>()
    };
    let before = uids();
    what(plane, &place.sets).await;
    let is_gone = || {
        let now = uids();
        before.iter().any(|uid| !now.contains(uid))
    };
    stage.until("a Pod to be gone", is_gone).await.unwrap();
    let history = History {
        events: plane.recorder.take([&place.sets, &place.home]).await,
        asked: Vec::new(),
        deeds: Vec::new(),
        settled,
        end: scenario.end,
        pods: scenario.pods,
        fault: None,
        targets: BTreeMap::new(),
    };
    plane.clean(&place).await;
    checker::violations(&history)
}

#[tokio::test]
async fn a_pod_that_is_really_deleted_is_counted() {
    let plane = Plane::connect().await;
    let found = found_after(&plane, "a ReplicaSet selects the pods", async |plane, namespace| {
        // What the operator did before it looked for others: the Pods are orphaned, and the ReplicaSet takes them.
        let orphaned = json!({"propagationPolicy": "Orphan"});
        plane.api.delete(Stored::StatefulSet, namespace, NAME, &orphaned).await.unwrap();
    })
    .await;
    assert!(found.iter().any(|one| one.starts_with(LOST)), "{found:?}");

    let found = found_after(&plane, "one replica", async |plane, namespace| {
        // Or it put its hold on, and a policy changed the Pod template with it.
        let _policy = Rewrite::of(&plane.api, namespace, "UPDATE", Rewritten::TemplateLabel).await;
        let touched = json!({"metadata": {"labels": {"touched": "yes"}}});
        plane.api.patch(Stored::StatefulSet, namespace, NAME, &touched).await.unwrap();
    })
    .await;
    assert!(found.iter().any(|one| one.starts_with(LOST)), "{found:?}");
}
