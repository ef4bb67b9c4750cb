//! What is going on when it goes wrong? A set, a wish, and perhaps somebody else who moves at the same time.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use rso::api::annotations::{PREFIX, REQUESTED, RESIZE_NAME};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::asked::Asked;
use crate::harness::api::{Api, Kind};
use crate::harness::rewrite::{Rewrite, Rewritten};
use crate::harness::set::Set;
use crate::proxy::Beside;

/// The name of every set.
pub const NAME: &str = "db";

/// How a run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Claims and templates have the wanted sizes.
    Grown,
    /// Somebody deleted the set: it is gone, and stays so.
    Deleted,
    /// The claims grow, if they can, and the template stays as it is: something forbids to replace the set.
    ClaimsOnly,
    /// Somebody deleted the namespace: it comes to its end, which nothing of ours holds up.
    NamespaceGone,
}

impl End {
    /// Whether there is to be no set any more.
    pub fn is_without_a_set(self) -> bool {
        matches!(self, Self::Deleted | Self::NamespaceGone)
    }
}

/// Which pods a person's own deeds may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// None.
    Stay,
    /// All of them: a person rolls out or scales.
    MayChange,
}

/// Something that a person does.
#[derive(Clone, Debug)]
pub enum Deed {
    /// A merge patch of the set.
    Patch(Value),
    /// The set is deleted, with this propagation.
    Delete(&'static str),
    /// The set is created, by somebody who does not know of the recreate.
    Create(Value),
    /// The namespace is deleted.
    DeleteNamespace,
    /// A merge patch of one of its claims.
    PatchClaim(&'static str, Value),
    /// One of its claims is lost: deleted, though a pod uses it.
    LoseClaim(&'static str),
    /// The set gets this ConfigMap as its controller.
    Own(&'static str),
    /// The administrator puts a policy up that makes something else of what this operation sends.
    Rewrite(&'static str, Rewritten),
    /// Another controller of this kind is created whose selector matches the Pods.
    Rival(Kind),
}

impl Deed {
    /// Whether the set goes, sooner or later, or others go for its Pods.
    pub fn deletes(&self) -> bool {
        matches!(self, Self::Delete(_) | Self::DeleteNamespace | Self::Rival(_))
    }
}

/// When somebody moves.
#[derive(Clone, Copy, Debug)]
pub struct Midway {
    /// At which request of the operator, and whether before it arrives.
    pub when: fn(&Asked) -> bool,
    pub before: bool,
    pub deed: fn() -> Deed,
}

/// A scenario.
pub struct Scenario {
    pub name: &'static str,
    pub set: fn() -> Set,
    /// What else is there before the set.
    pub others: fn() -> Vec<(Kind, Value)>,
    /// What is done when the set is settled, before anything is asked for.
    pub before: Option<fn() -> Deed>,
    /// The wish.
    pub asks: fn() -> Value,
    pub targets: &'static [(&'static str, &'static str)],
    pub midway: Option<Midway>,
    pub end: End,
    pub pods: Pods,
}

impl Scenario {
    /// A set that is asked to grow to 2Gi, and nothing else.
    const fn plain(name: &'static str, set: fn() -> Set) -> Self {
        Self {
            name,
            set,
            others: Vec::new,
            before: None,
            asks: || json!({"metadata": {"annotations": {format!("{PREFIX}resize-0"): "2Gi"}}}),
            targets: &[("data", "2Gi")],
            midway: None,
            end: End::Grown,
            pods: Pods::Stay,
        }
    }

    /// What the proxy has to do for it.
    pub fn beside(&self, api: &Api, namespace: &str, done: &Deeds) -> Option<Beside> {
        let midway = self.midway?;
        let (api, namespace, done) = (api.clone(), namespace.to_owned(), done.clone());
        let act = move || {
            let (api, namespace, done) = (api.clone(), namespace.clone(), done.clone());
            async move { done.does(&api, &namespace, (midway.deed)()).await }.boxed() as BoxFuture<'static, ()>
        };
        Some(Beside { when: midway.when, before: midway.before, act: Box::new(act) })
    }
}

/// What people have done to the set in one run, with the resourceVersion that each deed has led to.
#[derive(Clone, Default)]
pub struct Deeds(Arc<std::sync::Mutex<Vec<(Deed, u64)>>>);

impl Deeds {
    /// Does it, and remembers that the API server has accepted it.
    pub async fn does(&self, api: &Api, namespace: &str, deed: Deed) {
        let answer = match &deed {
            Deed::Patch(patch) => api.patch(Kind::StatefulSet, namespace, NAME, patch).await,
            Deed::Create(manifest) => api.create(Kind::StatefulSet, namespace, manifest).await,
            Deed::Delete(how) => {
                api.delete(Kind::StatefulSet, namespace, NAME, &json!({"propagationPolicy": how})).await
            }
            Deed::DeleteNamespace => api.delete(Kind::Namespace, "", namespace, &json!({})).await,
            Deed::PatchClaim(claim, patch) => api.patch(Kind::Claim, namespace, claim, patch).await,
            Deed::LoseClaim(claim) => {
                api.delete(Kind::Claim, namespace, claim, &json!({})).await.unwrap();
                let unprotected = json!({"metadata": {"finalizers": null}});
                api.patch(Kind::Claim, namespace, claim, &unprotected).await
            }
            Deed::Own(map) => {
                let uid = api.get(Kind::ConfigMap, namespace, map).await.unwrap()["metadata"]["uid"].clone();
                let owner =
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": map, "uid": uid, "controller": true});
                let owned = json!({"metadata": {"ownerReferences": [owner]}});
                api.patch(Kind::StatefulSet, namespace, NAME, &owned).await
            }
            Deed::Rewrite(operation, what) => {
                let policy = Rewrite::of(api, namespace, operation, *what).await;
                Ok(policy.object().await)
            }
            Deed::Rival(kind) => api.create(*kind, namespace, &rival(*kind)).await,
        };
        if let Ok(object) = answer {
            self.0.lock().unwrap().push((deed, crate::recorder::version(&object)));
        }
    }

    /// All of them, in order.
    pub fn all(&self) -> Vec<(Deed, u64)> {
        self.0.lock().unwrap().clone()
    }
}

// ── moments ──

fn is_set(asked: &Asked) -> bool {
    asked.path.contains("/statefulsets")
}

fn hold(asked: &Asked) -> bool {
    is_set(asked) && asked.method == Method::PATCH && asked.body["metadata"]["finalizers"].to_string().contains("hold")
}

fn delete(asked: &Asked) -> bool {
    is_set(asked) && asked.method == Method::DELETE
}

fn release(asked: &Asked) -> bool {
    is_set(asked) && asked.method == Method::PATCH && asked.body["metadata"]["finalizers"] == json!([])
}

fn create(asked: &Asked) -> bool {
    is_set(asked) && asked.method == Method::POST
}

fn journal(asked: &Asked) -> bool {
    asked.method == Method::POST && asked.object().contains("rso-journal-")
}

const fn before(when: fn(&Asked) -> bool, deed: fn() -> Deed) -> Option<Midway> {
    Some(Midway { when, before: true, deed })
}

const fn after(when: fn(&Asked) -> bool, deed: fn() -> Deed) -> Option<Midway> {
    Some(Midway { when, before: false, deed })
}

// ── deeds ──

/// Nothing of it concerns the pods.
fn edit() -> Deed {
    Deed::Patch(json!({"metadata": {"labels": {"team": "blue"}}, "spec": {"revisionHistoryLimit": 7}}))
}

fn roll_out() -> Deed {
    Deed::Patch(json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}))
}

fn two_replicas() -> Deed {
    Deed::Patch(json!({"spec": {"replicas": 2}}))
}

fn three_replicas() -> Deed {
    Deed::Patch(json!({"spec": {"replicas": 3}}))
}

fn want_more() -> Deed {
    Deed::Patch(json!({"metadata": {"annotations": {format!("{PREFIX}resize-0"): "3Gi"}}}))
}

fn want_nothing() -> Deed {
    Deed::Patch(json!({"metadata": {"annotations": {format!("{PREFIX}resize-0"): null}}}))
}

fn delete_it() -> Deed {
    Deed::Delete("Orphan")
}

fn delete_with_pods() -> Deed {
    Deed::Delete("Background")
}

fn delete_pods_first() -> Deed {
    Deed::Delete("Foreground")
}

fn delete_namespace() -> Deed {
    Deed::DeleteNamespace
}

/// The driver has no room for the second volume to grow, and has said so to somebody who asked before. (Where it says so only
/// when the recreate has begun, it is a matter of chance whether that goes on.)
fn no_room() -> Deed {
    let asked = json!({"resources": {"requests": {"storage": "1536Mi"}}});
    Deed::PatchClaim("data-db-1", json!({"metadata": {"annotations": {crate::stub::MOST: "1Gi"}}, "spec": asked}))
}

fn lose_a_claim() -> Deed {
    Deed::LoseClaim("data-db-1")
}

fn own() -> Deed {
    Deed::Own("operator")
}

/// From now on every update of the set changes its Pod template.
fn change_updates() -> Deed {
    Deed::Rewrite("UPDATE", Rewritten::TemplateLabel)
}

/// From now on every new set has another Pod template.
fn change_creations() -> Deed {
    Deed::Rewrite("CREATE", Rewritten::TemplateLabel)
}

/// From now on no new set has templates of more than 400Mi.
fn cap_sizes() -> Deed {
    Deed::Rewrite("CREATE", Rewritten::SizeCap)
}

fn select_the_pods() -> Deed {
    Deed::Rival(Kind::ReplicaSet)
}

/// It wants no Pod of its own, so that every one that it takes is one too many.
fn rival(kind: Kind) -> Value {
    let mut rival = Set::named(NAME).replicas(0).manifest();
    rival["metadata"]["name"] = json!("rival");
    if kind == Kind::ReplicaSet {
        rival["kind"] = json!("ReplicaSet");
        rival["spec"].as_object_mut().unwrap().remove("serviceName");
    }
    rival
}

fn replica_set() -> Vec<(Kind, Value)> {
    vec![(Kind::ReplicaSet, rival(Kind::ReplicaSet))]
}

fn second_set() -> Vec<(Kind, Value)> {
    vec![(Kind::StatefulSet, rival(Kind::StatefulSet))]
}

/// A tool that sees the set missing and applies it again, with the wish.
fn create_it() -> Deed {
    Deed::Create(one().asks("resize-0", "2Gi").manifest())
}

// ── sets ──

fn one() -> Set {
    Set::named(NAME).template("data", "1Gi")
}

fn two() -> Set {
    one().replicas(2).parallel()
}

fn three() -> Set {
    one().replicas(3)
}

fn goes_with_the_set(set: Set) -> Set {
    set.with(&json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}))
}

/// It counts the set while it is being replaced: the dry run of its creation is refused, and nothing begins.
fn quota() -> Vec<(Kind, Value)> {
    let hard = json!({"count/statefulsets.apps": "1"});
    vec![(
        Kind::Quota,
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}),
    )]
}

fn foreign_backup() -> Vec<(Kind, Value)> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "db-backup-1"}, "data": {"of": "another"}});
    vec![(Kind::ConfigMap, map)]
}

/// It forbids to evict any pod. Nobody evicts one.
fn budget() -> Vec<(Kind, Value)> {
    let spec = json!({"maxUnavailable": 0, "selector": {"matchLabels": {"app": NAME}}});
    let budget =
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": NAME}, "spec": spec});
    vec![(Kind::Budget, budget)]
}

/// 180 kB of annotations, of the 256 KiB that the API server allows, which do not compress well.
fn large() -> Set {
    let line = |nth: u32| format!("{:x}", Sha256::digest(nth.to_be_bytes()));
    let note: String = (0..2_800).map(line).collect();
    one().with_metadata(&json!({"annotations": {"note": note}}))
}

fn operator() -> Vec<(Kind, Value)> {
    vec![(Kind::ConfigMap, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "operator"}}))]
}

/// Their volumes are too full as soon as anybody asks.
fn full() -> Set {
    Set::named(NAME).template("data", crate::agents::SIZE).replicas(2).parallel().with_agent()
}

/// The node's stand-in leaves its pod alone.
fn unready() -> Set {
    one().with(&json!({"template": {"metadata": {"annotations": {crate::stub::BROKEN: "yes"}}}}))
}

// ── scenarios ──

/// All of them. The sample takes every write of the first three.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::plain("one replica", one),
    Scenario {
        asks: || {
            json!({"metadata": {"annotations": {
                format!("{RESIZE_NAME}data"): "2Gi", format!("{RESIZE_NAME}wal"): "3Gi",
            }}})
        },
        targets: &[("data", "2Gi"), ("wal", "3Gi")],
        ..Scenario::plain("three replicas, two templates, claims go with the set", || {
            goes_with_the_set(three().template("wal", "1Gi"))
        })
    },
    Scenario {
        asks: || json!({"metadata": {"annotations": {REQUESTED: "data=2Gi"}}}),
        midway: after(delete, edit),
        ..Scenario::plain("by an apply, with an edit while the set is on its way out", two)
    },
    Scenario::plain("no replica", || one().replicas(0)),
    Scenario::plain("three replicas, OnDelete", || three().with(&json!({"updateStrategy": {"type": "OnDelete"}}))),
    Scenario::plain("three replicas, a partition", || {
        three().with(&json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}))
    }),
    Scenario::plain("two replicas from ordinal 5 on", || two().with(&json!({"ordinals": {"start": 5}}))),
    Scenario::plain("three templates, the first of them grows", || {
        two().template("wal", "1Gi").template("logs", "1Gi")
    }),
    Scenario { midway: before(delete, edit), ..Scenario::plain("an edit just before the delete", two) },
    Scenario { midway: before(release, edit), ..Scenario::plain("an edit just before the release", two) },
    Scenario { midway: after(release, create_it), ..Scenario::plain("somebody else creates the set in the gap", one) },
    Scenario {
        midway: after(create, want_more),
        targets: &[("data", "3Gi")],
        ..Scenario::plain("a larger wish while the new set is adopted", one)
    },
    Scenario {
        midway: after(hold, want_nothing),
        ..Scenario::plain("the wish is withdrawn while the set is held", one)
    },
    Scenario { midway: before(delete, delete_it), ..Scenario::plain("somebody deletes the set while it is held", one) },
    Scenario {
        midway: before(delete, delete_with_pods),
        ..Scenario::plain("somebody deletes the set and its pods while it is held", one)
    },
    Scenario {
        midway: after(create, delete_it),
        end: End::Deleted,
        pods: Pods::MayChange,
        ..Scenario::plain("somebody deletes the set right after it was created again", one)
    },
    Scenario {
        midway: after(journal, delete_it),
        end: End::Deleted,
        pods: Pods::MayChange,
        ..Scenario::plain("somebody deletes the set before it is held", one)
    },
    Scenario {
        midway: after(delete, three_replicas),
        pods: Pods::MayChange,
        ..Scenario::plain("scaled up while the set is on its way out", two)
    },
    Scenario {
        midway: before(hold, roll_out),
        pods: Pods::MayChange,
        ..Scenario::plain("a roll-out just before the hold", two)
    },
    Scenario {
        others: foreign_backup,
        ..Scenario::plain("a ConfigMap of somebody else with the name of our backup", one)
    },
    Scenario { others: quota, end: End::ClaimsOnly, ..Scenario::plain("a quota without room for a second set", one) },
    Scenario {
        before: Some(two_replicas),
        ..Scenario::plain("a claim that scaling down has left", || three().parallel())
    },
    Scenario { end: End::ClaimsOnly, ..Scenario::plain("a pod that is not ready", unready) },
    Scenario { others: budget, ..Scenario::plain("a budget that allows no disruption", one) },
    Scenario::plain("a set of 180 kB", large),
    Scenario::plain("ten replicas", || one().replicas(10).parallel()),
    Scenario {
        asks: || {
            let words = [("auto-scaled", "true"), ("threshold", "50%"), ("increase", "16Mi"), ("min-increase", "1Mi")];
            let words: Map<String, Value> =
                words.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), json!(value))).collect();
            json!({"metadata": {"annotations": words}})
        },
        targets: &[("data", "32Mi")],
        ..Scenario::plain("by usage", full)
    },
    Scenario {
        midway: before(delete, delete_pods_first),
        pods: Pods::MayChange,
        ..Scenario::plain("somebody deletes the pods and then the set while it is held", one)
    },
    Scenario {
        midway: after(delete, delete_namespace),
        end: End::NamespaceGone,
        pods: Pods::MayChange,
        ..Scenario::plain("the namespace is deleted while the set is on its way out", two)
    },
    Scenario {
        before: Some(no_room),
        end: End::ClaimsOnly,
        ..Scenario::plain("one of three volumes cannot grow", || three().parallel())
    },
    Scenario {
        before: Some(lose_a_claim),
        end: End::ClaimsOnly,
        ..Scenario::plain("a claim is missing", || three().parallel())
    },
    Scenario {
        others: operator,
        before: Some(own),
        end: End::ClaimsOnly,
        ..Scenario::plain("another controller owns the set", one)
    },
    Scenario {
        targets: &[],
        end: End::ClaimsOnly,
        ..Scenario::plain("a class that does not allow expansion", || {
            Set::named(NAME).template_of_class("data", "1Gi", "local-fixed")
        })
    },
    Scenario {
        midway: after(journal, change_updates),
        end: End::ClaimsOnly,
        ..Scenario::plain("a policy comes that changes updates", two)
    },
    Scenario {
        before: Some(change_creations),
        end: End::ClaimsOnly,
        ..Scenario::plain("a policy changes creations", two)
    },
    Scenario { before: Some(cap_sizes), end: End::ClaimsOnly, ..Scenario::plain("a policy caps sizes", two) },
    Scenario {
        midway: before(delete, cap_sizes),
        end: End::ClaimsOnly,
        ..Scenario::plain("a policy comes that caps sizes", two)
    },
    Scenario { others: replica_set, end: End::ClaimsOnly, ..Scenario::plain("a ReplicaSet selects the pods", two) },
    Scenario {
        others: second_set,
        end: End::ClaimsOnly,
        ..Scenario::plain("a second StatefulSet selects the pods", two)
    },
    Scenario {
        midway: after(delete, select_the_pods),
        pods: Pods::MayChange,
        ..Scenario::plain("a ReplicaSet comes that selects the pods while the set is on its way out", two)
    },
    Scenario::plain("fifty replicas", || one().replicas(50).parallel()),
];
