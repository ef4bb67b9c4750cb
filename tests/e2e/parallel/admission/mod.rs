//! What comes in: any apply succeeds, every new claim fits, every pod is measured.

pub(super) mod agents;
mod applies;
mod charts;
mod claims;
mod managers;
mod neutrality;
mod others;
mod vectors;

use rso::api::annotations::REQUESTED;
use serde_json::Value;

use crate::harness::live::Live;
use crate::harness::programs::{Ran, kubectl_reading, rso};
use crate::harness::set::Set;
use crate::harness::space::Space;
use crate::harness::{PATIENCE, expect, until};

/// Two pods with a small volume each.
fn small(size: &str) -> Set {
    Set::named("db").replicas(2).parallel().template("data", size)
}

/// The same with something in the pod template that an image update would change.
fn with_note(size: &str, note: &str) -> Value {
    let mut manifest = small(size).manifest();
    manifest["spec"]["template"]["metadata"]["annotations"] = serde_json::json!({ "note": note });
    manifest
}

/// `kubectl <verb> … -f -` of a manifest.
async fn send(space: &Space, verb: &[&str], manifest: &Value) -> Ran {
    let args = [&["-n", &space.name], verb, &["-f", "-"]].concat();
    kubectl_reading(&manifest.to_string(), &args).await
}

/// Applied by kubectl, and running.
async fn applied<'a>(space: &'a Space, manifest: &Value) -> Live<'a> {
    send(space, &["apply"], manifest).await.ok();
    let set = Live::named(space, "db");
    set.is_ready().await;
    set
}

/// What an apply asked for is there, in every claim and in the template, and the record of it is gone.
async fn reaches(set: &Live<'_>, size: &str) {
    set.reaches("data", size).await;
    until("the record to be gone", PATIENCE, async || {
        let annotations = &set.object().await.unwrap_or_default()["metadata"]["annotations"];
        expect(annotations[REQUESTED].is_null(), || annotations.to_string())
    })
    .await;
}

/// An apply of what is there already writes nothing. Others may still write, about pods that become ready; so it is enough
/// that it is seen once.
async fn writes_nothing(set: &Live<'_>, space: &Space, manifest: &Value) {
    until("an apply that writes nothing", PATIENCE, async || {
        let before = set.object().await.unwrap_or_default();
        send(space, &["apply"], manifest).await.ok();
        let after = set.object().await.unwrap_or_default();
        expect(before == after, || format!("{before}\n{after}"))
    })
    .await;
}

/// `rso drift` knows what was sent last, and what should have been.
async fn git_should_carry(space: &Space) {
    let told = rso(&["drift", "-n", &space.name]).await;
    let row: Vec<&str> = told.out.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert!(told.code == 1 && row == [space.name.as_str(), "db", "data", "400Mi", "500Mi"], "{}{}", told.out, told.err);
    let values = rso(&["drift", "-n", &space.name, "-o", "values"]).await;
    assert_eq!(values.out, "db:\n  data: 500Mi\n");
}
