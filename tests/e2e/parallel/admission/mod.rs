//! What comes in: any apply succeeds, every new claim fits, every pod is measured.

mod agents;
mod applies;
mod claims;
mod managers;
mod neutrality;
mod vectors;

use rso::api::annotations::REQUESTED;
use serde_json::Value;

use crate::harness::live::Live;
use crate::harness::programs::{Ran, kubectl_reading};
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

/// The object once nobody writes to it any more.
async fn at_rest(set: &Live<'_>) -> Value {
    let mut seen = Value::Null;
    until("the set to rest", PATIENCE, async || {
        let before = std::mem::replace(&mut seen, set.object().await.unwrap_or_default());
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        expect(before == seen, || "it changes".to_owned())
    })
    .await;
    seen
}
