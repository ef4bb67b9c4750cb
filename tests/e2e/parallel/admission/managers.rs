//! Server-side apply, as deployment tools send it: under their field managers, forced or not.

use serde_json::{Value, json};

use super::{reaches, send, small};
use crate::harness::facts::size_in_template;
use crate::harness::live::Live;
use crate::harness::programs::Ran;
use crate::harness::space::{Space, in_namespace};

/// As Argo CD and Flux do: forced, under a name of their own.
const FORCED: [&str; 2] = ["argocd-controller", "kustomize-controller"];

/// As Terraform's `kubernetes_manifest` does.
const UNFORCED: &str = "Terraform";

async fn apply(space: &Space, manager: &str, force: bool, manifest: &Value) -> Ran {
    let manager = format!("--field-manager={manager}");
    let mut verb = vec!["apply", "--server-side", &manager];
    if force {
        verb.push("--force-conflicts");
    }
    send(space, &verb, manifest).await
}

/// What GitOps tools and people's tools hang on an object. It must survive a replaced set byte for byte.
fn owned(size: &str) -> Value {
    small(size)
        .with_metadata(&json!({
            "annotations": {
                "argocd.argoproj.io/tracking-id": "shop:apps/StatefulSet:shop/db",
                "meta.helm.sh/release-name": "db",
                "odd": " spaces, \"quotes\" and ünïcode\n",
            },
            "labels": {"kustomize.toolkit.fluxcd.io/name": "shop", "app.kubernetes.io/managed-by": "Helm"},
        }))
        .manifest()
}

#[tokio::test]
async fn forced_server_side_apply_grows_and_never_shrinks() {
    in_namespace("forced", async |space| {
        for (manager, [from, to]) in FORCED.into_iter().zip([["400Mi", "500Mi"], ["500Mi", "600Mi"]]) {
            apply(space, manager, true, &owned(from)).await.ok();
            let set = Live::named(space, "db");
            set.is_ready().await;
            let before = set.facts().await;
            apply(space, manager, true, &owned(to)).await.ok();
            reaches(&set, to).await;
            let after = set.facts().await;
            after.pods_are_the_same_as(&before);
            for kept in ["annotations", "labels"] {
                assert_eq!(after.set["metadata"][kept], before.set["metadata"][kept], "{manager}");
            }
            // What Flux compares before it applies: a dry run gives back what is there, so that nothing has drifted.
            let verb = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-o=json"];
            let field_manager = format!("--field-manager={manager}");
            let dry = send(space, &[&verb[..], &[&field_manager]].concat(), &owned(from)).await.ok();
            let dry: Value = serde_json::from_str(&dry).unwrap();
            let live = set.object().await.unwrap();
            assert_eq!(dry["spec"], live["spec"], "{manager} sees a drift");
            for kept in ["annotations", "labels"] {
                assert_eq!(dry["metadata"][kept], live["metadata"][kept], "{manager} sees a drift");
            }
            apply(space, manager, true, &owned(from)).await.ok();
            assert_eq!(size_in_template(&set.object().await.unwrap(), "data"), to.parse().ok());
        }
    })
    .await;
}

#[tokio::test]
async fn an_applier_that_does_not_force_meets_no_conflict_after_its_set_was_replaced() {
    in_namespace("unforced", async |space| {
        apply(space, UNFORCED, false, &owned("400Mi")).await.ok();
        let set = Live::named(space, "db");
        set.is_ready().await;
        apply(space, UNFORCED, false, &owned("400Mi")).await.ok();
        let before = set.facts().await;
        apply(space, UNFORCED, false, &owned("500Mi")).await.ok();
        set.reaches("data", "500Mi").await;
        set.facts().await.fields_have_the_managers_of(&before);
        for size in ["500Mi", "400Mi", "600Mi"] {
            apply(space, UNFORCED, false, &owned(size)).await.ok();
        }
        reaches(&set, "600Mi").await;
    })
    .await;
}

#[tokio::test]
async fn a_second_applier_is_told_of_the_first_as_without_us() {
    in_namespace("second", async |space| {
        apply(space, "one", false, &small("400Mi").manifest()).await.ok();
        Live::named(space, "db").is_ready().await;
        // The conflict is Kubernetes' own, found before any webhook is asked.
        let ran = apply(space, "two", false, &small("500Mi").manifest()).await;
        assert!(ran.code != 0 && ran.err.contains("with \"one\""), "{}", ran.err);
        apply(space, "two", true, &small("500Mi").manifest()).await.ok();
        Live::named(space, "db").reaches("data", "500Mi").await;
    })
    .await;
}

#[tokio::test]
async fn server_side_apply_takes_over_from_client_side_apply_as_without_us() {
    in_namespace("migrate", async |space| {
        let set = super::applied(space, &small("400Mi").manifest()).await;
        // The server has filled in defaults, so the list as applied is not the list as stored: Kubernetes' own conflict, even
        // when nothing changes. Whoever changes over has to force once.
        let unchanged = send(space, &["apply", "--server-side"], &small("400Mi").manifest()).await;
        assert!(unchanged.err.contains("conflict with \"kubectl-client-side-apply\""), "{}", unchanged.err);
        send(space, &["apply", "--server-side", "--force-conflicts"], &small("500Mi").manifest()).await.ok();
        reaches(&set, "500Mi").await;
        send(space, &["apply", "--server-side"], &small("400Mi").manifest()).await.ok();
        assert_eq!(size_in_template(&set.object().await.unwrap(), "data"), "500Mi".parse().ok());
    })
    .await;
}
