//! The webhook when something of it is gone: its certificate, or all of it.

use std::time::Instant;

use serde_json::Value;

use crate::harness::live::Live;
use crate::harness::programs::{Ran, kubectl, kubectl_reading, rso};
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, operator, until};

const SECRET: &str = "rso-webhook";

async fn apply(space: &Space, manifest: &Value) -> Ran {
    kubectl_reading(&manifest.to_string(), &["-n", &space.name, "apply", "-f", "-"]).await
}

fn set(size: &str, note: &str) -> Value {
    let mut manifest = Set::named("db").template("data", size).manifest();
    manifest["spec"]["template"]["metadata"]["annotations"] = serde_json::json!({ "note": note });
    manifest
}

async fn applied(space: &Space) -> Live<'_> {
    apply(space, &set("400Mi", "one")).await.ok();
    let live = Live::named(space, "db");
    live.is_ready().await;
    live
}

async fn certificate() -> String {
    let path = "-o=jsonpath={.data.tls\\.crt}";
    kubectl(&["-n", operator::NAMESPACE, "get", "secret", SECRET, path]).await.out
}

pub async fn is_well() {
    until("doctor to be content", PATIENCE, async || {
        let told = rso(&["doctor"]).await;
        expect(!told.out.contains("PROBLEM  certificate") && told.out.contains("valid for"), || told.out.clone())
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_is_deleted_or_broken_is_made_anew_and_no_apply_is_refused_meanwhile() {
    in_namespace("certificate", async |space| {
        applied(space).await;
        let breaks: [&[&str]; 3] = [
            &["delete", "secret", SECRET],
            &["patch", "secret", SECRET, "-p", "{\"data\":{\"tls.crt\":\"anVuaw==\"}}"],
            &["patch", "secret", SECRET, "-p", "{\"data\":{\"ca.crt\":null,\"tls.key\":\"\"}}"],
        ];
        for (index, broken) in breaks.into_iter().enumerate() {
            let before = certificate().await;
            kubectl(&[&["-n", operator::NAMESPACE], broken].concat()).await.ok();
            let since = Instant::now();
            // Old and new certificate are both trusted, so that every moment of the change is a good one for an apply.
            while since.elapsed().as_secs() < 12 {
                let size = format!("{}Mi", 300 + since.elapsed().as_secs());
                apply(space, &set(&size, &format!("{index}"))).await.ok();
            }
            let now = certificate().await;
            assert!(!now.is_empty() && now != before && now != "anVuaw==", "no new certificate");
            is_well().await;
        }
    })
    .await;
}

#[tokio::test]
async fn without_the_operator_kubernetes_is_as_it_always_was() {
    in_namespace("down", async |space| {
        let live = applied(space).await;
        operator::scale(&space.api, 0).await;
        let ran = apply(space, &set("500Mi", "one")).await;
        assert!(ran.code != 0 && ran.err.contains("spec.volumeClaimTemplates"), "{}", ran.err);
        apply(space, &set("400Mi", "two")).await.ok();
        live.is_ready().await;
        let told = rso(&["doctor"]).await;
        assert!(told.code == 1 && told.out.contains("no replica is ready to answer"), "{}", told.out);
        operator::scale(&space.api, 2).await;
        until("the webhook to be back", PATIENCE, async || {
            let ran = apply(space, &set("500Mi", "two")).await;
            expect(ran.code == 0, || ran.err)
        })
        .await;
        live.reaches("data", "500Mi").await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_does_not_answer_delays_an_apply_by_a_few_seconds_and_others_not_at_all() {
    in_namespace("slow", async |space| {
        let live = applied(space).await;
        operator::signal("STOP").await;
        let began = Instant::now();
        apply(space, &set("400Mi", "two")).await.ok();
        let other = began.elapsed();
        let ran = apply(space, &set("500Mi", "two")).await;
        let ours = began.elapsed() - other;
        operator::signal("CONT").await;
        assert!(ran.code != 0 && ran.err.contains("spec.volumeClaimTemplates"), "{}", ran.err);
        // Three seconds of the webhook's timeout, and as much again for a machine with other things to do.
        assert!(ours.as_secs() < 10, "an apply of another size took {ours:?} (of the same size {other:?})");
        live.is_ready().await;
        until("the webhook to answer again", PATIENCE, async || {
            let ran = apply(space, &set("500Mi", "two")).await;
            expect(ran.code == 0, || ran.err)
        })
        .await;
        live.reaches("data", "500Mi").await;
    })
    .await;
}
