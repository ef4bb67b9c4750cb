//! Others at work on the same set: a tool that creates it in the gap, another webhook, a pruning applier, an owner.

use rso::api::annotations::{KIND_LABEL, PREFIX, REQUESTED};
use rso::api::reasons::Reason;
use serde_json::{Value, json};

use super::{applied, reaches, send, small};
use crate::harness::api::Kind;
use crate::harness::facts::size_in_template;
use crate::harness::live::Live;
use crate::harness::policy::{Moment, Stop};
use crate::harness::programs::kubectl_reading;
use crate::harness::space::{Space, in_namespace};
use crate::harness::{PATIENCE, expect, until};

#[tokio::test]
async fn a_tool_that_creates_the_set_in_the_gap_wins_and_its_volumes_still_fit() {
    // As large as was asked for, and as small as git was before.
    for (size, verb) in [("500Mi", &["apply"][..]), ("400Mi", &["apply", "--server-side", "--force-conflicts"])] {
        in_namespace("in-the-gap", async |space| {
            let set = applied(space, &small("400Mi").manifest()).await;
            let before = set.facts().await;
            let stop = Stop::at(space, Moment::Creating).await;
            send(space, &["apply"], &small("500Mi").manifest()).await.ok();
            until("the name to be free", PATIENCE, async || {
                expect(set.object().await.is_none(), || "it is there".to_owned())
            })
            .await;
            let mut theirs = small(size).manifest();
            theirs["metadata"]["labels"] = json!({"made-by": "tool"});
            send(space, verb, &theirs).await.ok();
            stop.lift().await;
            set.leaves_no_trace().await;
            // It is the tool's set now, which asks for nothing but what it carries; its next apply is absorbed as ever.
            send(space, verb, &theirs).await.ok();
            theirs["spec"]["volumeClaimTemplates"] = small("500Mi").manifest()["spec"]["volumeClaimTemplates"].clone();
            send(space, verb, &theirs).await.ok();
            set.reaches("data", "500Mi").await;
            let after = set.facts().await;
            after.pods_are_the_same_as(&before);
            after.claims_only_grew_since(&before);
            assert_eq!(after.set["metadata"]["labels"]["made-by"], "tool");
        })
        .await;
    }
}

/// A policy of the cluster's administrator: in this namespace no template is smaller than 450Mi. Like any mutating webhook it
/// is asked again when another one, ours, has changed the object.
fn at_least_450(space: &Space) -> [Value; 2] {
    let group = "admissionregistration.k8s.io/v1";
    let policy = json!({
        "apiVersion": group, "kind": "MutatingAdmissionPolicy", "metadata": {"name": space.name},
        "spec": {
            "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {"resourceRules": [
                {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["statefulsets"]},
            ]},
            "matchConditions": [{"name": "small", "expression":
                "quantity(object.spec.volumeClaimTemplates[0].spec.resources.requests.storage).isLessThan(quantity('450Mi'))"}],
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression":
                "[JSONPatch{op: 'replace', path: '/spec/volumeClaimTemplates/0/spec/resources/requests/storage', value: '450Mi'}]"}}],
        },
    });
    let binding = json!({
        "apiVersion": group, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": space.name},
        "spec": {
            "policyName": space.name,
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}}},
        },
    });
    [policy, binding]
}

#[tokio::test]
async fn another_mutator_of_the_templates_is_absorbed_like_a_person() {
    in_namespace("mutator", async |space| {
        let set = applied(space, &small("400Mi").manifest()).await;
        let before = set.facts().await;
        for object in at_least_450(space) {
            kubectl_reading(&object.to_string(), &["apply", "-f", "-"]).await.ok();
        }
        // Not one write is refused, whoever makes it and whether or not the policy is in force yet.
        let mut nth = 0;
        until("the mutator to be absorbed", PATIENCE, async || {
            nth += 1;
            set.patches(&json!({"metadata": {"labels": {"nth": nth.to_string()}}})).await;
            let has = set.object().await.unwrap_or_default();
            let asked = &has["metadata"]["annotations"][REQUESTED];
            let grown = size_in_template(&has, "data") == "450Mi".parse().ok();
            expect(grown || asked == "data=450Mi", || asked.to_string())
        })
        .await;
        set.claims_have_grown("data", "450Mi").await;
        // Our own hold would be changed in the same way: that is found out before anything is touched.
        let note = set.says(Reason::TemplateSyncBlocked).await;
        assert!(note.contains("finalizer") && note.contains("volumeClaimTemplates"), "{note}");
        for kind in ["mutatingadmissionpolicybinding", "mutatingadmissionpolicy"] {
            space.kubectl(&["delete", kind, &space.name]).await;
        }
        send(space, &["apply"], &small("500Mi").manifest()).await.ok();
        reaches(&set, "500Mi").await;
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}

/// The backup is in the namespace of the set, where tools clean up what they think is theirs.
pub async fn backups_and_claims_are_there(space: &Space) {
    let backups = space.api.list(Kind::ConfigMap, &space.name, &format!("{KIND_LABEL}=backup")).await;
    assert_eq!(backups.len(), 1, "the backup is gone");
    let metadata = &backups[0]["metadata"];
    let marks = ["annotations", "labels"].map(|field| metadata[field].as_object().cloned().unwrap_or_default());
    let ours = marks.iter().flat_map(|marks| marks.keys()).all(|key| key.starts_with(PREFIX));
    assert!(ours && metadata["ownerReferences"].is_null(), "a tool may take it for its own: {metadata}");
    assert_eq!(space.api.list(Kind::Claim, &space.name, "").await.len(), 2, "a claim is gone");
}

#[tokio::test]
async fn a_pruning_apply_leaves_the_backups() {
    in_namespace("prune", async |space| {
        let mut manifest = small("400Mi").manifest();
        manifest["metadata"]["labels"] = json!({"app": "db", "argocd.argoproj.io/instance": "shop"});
        let set = applied(space, &manifest).await;
        set.asks("resize-0", "500Mi").await;
        set.reaches("data", "500Mi").await;
        let other =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "labels": {"app": "db"}}});
        let kinds = ["--prune-allowlist=core/v1/ConfigMap", "--prune-allowlist=apps/v1/StatefulSet"];
        // Everything of that application that is not in the manifest goes: the set among it.
        let ran = send(space, &[&["apply", "--prune", "-l", "app=db"][..], &kinds].concat(), &other).await;
        assert!(ran.ok().contains("db pruned"), "nothing was pruned");
        backups_and_claims_are_there(space).await;
    })
    .await;
}

#[tokio::test]
async fn a_set_of_another_operator_gets_larger_claims_and_its_owner_is_never_refused() {
    in_namespace("owner", async |space| {
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "the-operator"}});
        let owner = space.api.create(Kind::ConfigMap, &space.name, &owner).await.unwrap();
        let reference = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "the-operator", "uid": owner["metadata"]["uid"], "controller": true,
        }]);
        let manifest = |size: &str| small(size).with_metadata(&json!({"ownerReferences": reference})).manifest();
        let set: Live<'_> = applied(space, &manifest("400Mi")).await;
        let before = set.facts().await;
        send(space, &["apply"], &manifest("500Mi")).await.ok();
        set.claims_have_grown("data", "500Mi").await;
        assert!(set.says(Reason::TemplateSyncBlocked).await.contains("ConfigMap"));
        // It goes on with what it knows: the old size, and the new one.
        for size in ["400Mi", "500Mi"] {
            send(space, &["apply"], &manifest(size)).await.ok();
        }
        let after = set.facts().await;
        assert_eq!(after.uid(), before.uid());
        assert_eq!(size_in_template(&after.set, "data"), "400Mi".parse().ok());
        after.pods_are_the_same_as(&before);
    })
    .await;
}
