//! `rso doctor` reports the harmful settings of deployment tools, in objects of their own kinds.

use serde_json::{Value, json};

use crate::harness::kinds::Foreign;
use crate::harness::programs::{kubectl_reading, rso};
use crate::harness::space::{Space, in_namespace};

const APPLICATION: Foreign = Foreign("argoproj.io", "v1alpha1", "Application", "applications");
const KUSTOMIZATION: Foreign = Foreign("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations");
const RELEASE: Foreign = Foreign("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases");

async fn apply(space: &Space, object: &Value) {
    kubectl_reading(&object.to_string(), &["-n", &space.name, "apply", "-f", "-"]).await.ok();
}

/// A finding of that level about the object, and a fix under it.
fn has(told: &str, level: &str, about: &str, words: &str) {
    let line = told.lines().position(|line| line.starts_with(level) && line.contains(about) && line.contains(words));
    let line = line.unwrap_or_else(|| panic!("no {level} about {about} with {words:?}:\n{told}"));
    assert!(told.lines().nth(line + 1).is_some_and(|fix| fix.starts_with("   ")), "no fix for {about}:\n{told}");
}

#[tokio::test]
async fn doctor_reports_the_harmful_settings_and_no_others() {
    for kind in [APPLICATION, KUSTOMIZATION, RELEASE] {
        kind.install().await;
    }
    in_namespace("deployers", async |space| {
        let harmless = [
            APPLICATION.object("fine", &json!({"spec": {"syncPolicy": {"syncOptions": ["ServerSideApply=true"]}}})),
            KUSTOMIZATION.object("fine", &json!({"spec": {"force": false}})),
            RELEASE.object("fine", &json!({"spec": {"upgrade": {"cleanupOnFail": true}}})),
        ];
        for object in &harmless {
            apply(space, object).await;
        }
        let told = rso(&["doctor"]).await.out;
        assert!(told.contains("no harmful setting of Argo CD or Flux found"), "{told}");
        let compare =
            json!({"metadata": {"annotations": {"argocd.argoproj.io/compare-options": "ServerSideDiff=true"}}});
        let harmful = [
            APPLICATION.object("replaces", &json!({"spec": {"syncPolicy": {"syncOptions": ["Replace=true"]}}})),
            APPLICATION.object("compares", &compare),
            KUSTOMIZATION.object("forces", &json!({"spec": {"force": true}})),
            RELEASE.object("forces", &json!({"spec": {"upgrade": {"force": true}}})),
        ];
        for object in &harmful {
            apply(space, object).await;
        }
        let ran = rso(&["doctor"]).await;
        assert_eq!(ran.code, 1, "{}", ran.err);
        let about = |kind: &str, name: &str| format!("{kind} {}/{name}", space.name);
        has(&ran.out, "PROBLEM", &about("Application", "replaces"), "Replace=true");
        has(&ran.out, "warning", &about("Application", "compares"), "IncludeMutationWebhook");
        has(&ran.out, "PROBLEM", &about("Kustomization", "forces"), "force: true");
        has(&ran.out, "PROBLEM", &about("HelmRelease", "forces"), "force: true");
        assert!(!ran.out.contains("/fine"), "{}", ran.out);
    })
    .await;
    for kind in [APPLICATION, KUSTOMIZATION, RELEASE] {
        kind.remove().await;
    }
}
