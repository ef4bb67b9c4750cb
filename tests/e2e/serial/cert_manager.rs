//! The webhook's certificate is made by somebody else. The test is that somebody: it does what cert-manager and its injector
//! do with the objects of the chart.

use rso::cluster::certificate::Material;
use rso::cluster::clock::now;
use serde_json::{Value, json};

use crate::harness::kinds::Foreign;
use crate::harness::live::Live;
use crate::harness::programs::{Ran, helm, kubectl, kubectl_reading};
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, operator, until};

const CERTIFICATE: Foreign = Foreign("cert-manager.io", "v1", "Certificate", "certificates");
const ISSUER: Foreign = Foreign("cert-manager.io", "v1", "Issuer", "issuers");
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/chart");

#[tokio::test]
async fn a_certificate_of_cert_manager_is_served_renewed_without_a_restart_and_never_written() {
    for kind in [CERTIFICATE, ISSUER] {
        kind.install().await;
    }
    let upgrade = ["upgrade", "rso", CHART, "-n", operator::NAMESPACE, "--reuse-values", "--wait", "--timeout=3m"];
    helm(&[&upgrade[..], &["--set=admission.certManager.enabled=true"]].concat()).await.ok();
    in_namespace("cert-manager", async |space| {
        let set = small("400Mi");
        apply(space, &set).await.ok();
        let live = Live::named(space, "db");
        live.is_ready().await;
        // The pods of before the upgrade are gone.
        operator::scale(&space.api, 2).await;
        let pods = names_and_restarts().await;
        for size in ["500Mi", "600Mi"] {
            let made = issue().await;
            until("the new certificate to be served", PATIENCE, async || {
                let ran = apply(space, &small(size)).await;
                expect(ran.code == 0, || ran.err)
            })
            .await;
            live.reaches("data", size).await;
            assert_eq!(secret().await["data"], made.data(), "somebody else wrote the Secret");
        }
        assert_eq!(names_and_restarts().await, pods, "a renewal restarted the operator");
    })
    .await;
    helm(&[&upgrade[..], &["--set=admission.certManager.enabled=false"]].concat()).await.ok();
    for kind in [CERTIFICATE, ISSUER] {
        kind.remove().await;
    }
    // What was cert-manager's is left behind; from now on the operator makes its own.
    kubectl(&["-n", operator::NAMESPACE, "delete", "secret", "rso-webhook"]).await.ok();
    super::admission::is_well().await;
}

fn small(size: &str) -> Value {
    Set::named("db").template("data", size).manifest()
}

async fn apply(space: &Space, manifest: &Value) -> Ran {
    kubectl_reading(&manifest.to_string(), &["-n", &space.name, "apply", "-f", "-"]).await
}

async fn get(kind: &str, name: &str) -> Value {
    serde_json::from_str(&kubectl(&["-n", operator::NAMESPACE, "get", kind, name, "-o", "json"]).await.ok()).unwrap()
}

async fn secret() -> Value {
    get("secret", "rso-webhook").await
}

/// What cert-manager does for the chart's Certificate, and its injector for the annotated webhook.
async fn issue() -> Material {
    let asked = get(&CERTIFICATE.name(), "rso-webhook").await;
    assert_eq!(asked["spec"]["secretName"], "rso-webhook");
    let service = format!("rso.{}.svc", operator::NAMESPACE);
    assert!(asked["spec"]["dnsNames"].as_array().unwrap().contains(&json!(service)), "{asked}");
    let issuer = asked["spec"]["issuerRef"]["name"].as_str().unwrap();
    assert_eq!(get(&ISSUER.name(), issuer).await["spec"]["selfSigned"], json!({}));
    let webhook = get("mutatingwebhookconfiguration", "rso").await;
    let from = format!("{}/rso-webhook", operator::NAMESPACE);
    assert_eq!(webhook["metadata"]["annotations"]["cert-manager.io/inject-ca-from"], from);

    let made = Material::issue("rso", operator::NAMESPACE, now()).unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "rso-webhook", "namespace": operator::NAMESPACE}, "data": made.data(),
    });
    // The type of a Secret cannot be changed; the one that was there is the operator's own, of an earlier installation.
    kubectl(&["-n", operator::NAMESPACE, "delete", "secret", "rso-webhook", "--ignore-not-found"]).await.ok();
    kubectl_reading(&secret.to_string(), &["create", "-f", "-"]).await.ok();
    let bundle = &made.data()["ca.crt"];
    let hooks = webhook["webhooks"].as_array().unwrap().len();
    let patch: Vec<Value> = (0..hooks)
        .map(|n| json!({"op": "add", "path": format!("/webhooks/{n}/clientConfig/caBundle"), "value": bundle}))
        .collect();
    let patch = Value::from(patch).to_string();
    kubectl(&["patch", "mutatingwebhookconfiguration", "rso", "--type=json", "-p", &patch]).await.ok();
    made
}

async fn names_and_restarts() -> Vec<String> {
    let path =
        "-o=jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    let pods =
        kubectl(&["-n", operator::NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/name=rso", path]).await.ok();
    pods.lines().map(str::to_owned).collect()
}
