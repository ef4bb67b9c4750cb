//! A Pod whose kubelet has a filesystem to expand is annotated once, and nothing of it changes otherwise.

use rso::api::annotations::RESIZE_SEEN;
use serde_json::Value;

use crate::harness::api::Kind;
use crate::harness::audit;
use crate::harness::live::Live;
use crate::harness::rewrite::{Rewrite, Rewritten};
use crate::harness::set::Set;
use crate::harness::space::{Space, in_namespace};

async fn pod(space: &Space, name: &str) -> Value {
    space.api.get(Kind::Pod, &space.name, name).await.unwrap()
}

/// The writes of the operator to the Pods of the namespace.
fn nudges(space: &Space, since: &str) -> Vec<String> {
    let writes = audit::requests_of_the_operator(since).into_iter();
    let writes = writes.filter(|one| one.namespace == space.name && one.resource == "pods" && one.is_a_write());
    writes.map(|one| format!("{} {} {}", one.verb, one.uri.split('?').next().unwrap_or_default(), one.code)).collect()
}

async fn two_replicas(space: &Space) -> Live<'_> {
    space.run(&Set::named("db").replicas(2).parallel().template("data", "400Mi")).await
}

#[tokio::test]
async fn a_pod_is_annotated_once_for_each_expansion_and_stays_as_it_is() {
    in_namespace("nudge", async |space| {
        let set = two_replicas(space).await;
        let (before, since) = (set.facts().await, audit::now());
        let first = pod(space, "db-0").await;
        set.asks("resize-0", "500Mi").await;
        set.reaches("data", "500Mi").await;
        let patch = |name: &str| format!("patch /api/v1/namespaces/{}/pods/{name} 200", space.name);
        let sorted = |mut all: Vec<String>| {
            all.sort();
            all
        };
        assert_eq!(sorted(nudges(space, &since)), [patch("db-0"), patch("db-1")]);
        let after = pod(space, "db-0").await;
        assert!(after["metadata"]["annotations"][RESIZE_SEEN].is_string(), "{}", after["metadata"]);
        for part in ["/metadata/uid", "/metadata/generation", "/metadata/labels", "/spec"] {
            assert_eq!(after.pointer(part), first.pointer(part), "{part}");
        }
        set.asks("resize-0", "600Mi").await;
        set.reaches("data", "600Mi").await;
        assert_eq!(nudges(space, &since).len(), 4);
        set.facts().await.pods_are_the_same_as(&before);
    })
    .await;
}

#[tokio::test]
async fn a_pod_whose_image_a_policy_would_replace_is_left_alone_and_its_volume_is_expanded() {
    in_namespace("nudge-policy", async |space| {
        // A recreation would have the garbage collector write to the Pods, and the policy is about every writer.
        let set = Set::named("db").replicas(2).parallel().template("data", "400Mi").asks("template-sync", "Never");
        let set = space.run(&set).await;
        let (before, since) = (set.facts().await, audit::now());
        let policy = Rewrite::of(&space.api, &space.name, "UPDATE", Rewritten::PodImage).await;
        set.asks("resize-0", "500Mi").await;
        set.claims_have_grown("data", "500Mi").await;
        assert_eq!(nudges(space, &since), Vec::<String>::new());
        policy.lift().await;
        set.facts().await.pods_are_the_same_as(&before);
        // It is the policy that kept it from being annotated.
        set.asks("resize-0", "600Mi").await;
        set.claims_have_grown("data", "600Mi").await;
        assert_eq!(nudges(space, &since).len(), 2);
    })
    .await;
}
