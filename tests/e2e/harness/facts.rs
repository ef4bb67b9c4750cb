//! What was true before and after, and may the two differ?

use std::collections::{BTreeMap, BTreeSet};

use rso::api::annotations::{REQUESTED, TRANSACTION};
use rso::api::bytes::Bytes;
use serde_json::{Value, json};

use super::api::Kind;
use super::live::Live;

/// A pod, as far as a resize must not touch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub uid: String,
    pub revision: String,
    /// Container name → (id, restarts).
    pub containers: BTreeMap<String, (String, u64)>,
}

/// A claim, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub uid: String,
    pub volume: String,
    pub requested: Bytes,
    pub capacity: Bytes,
    /// Asked for more than it has, or somebody is still at it.
    pub growing: bool,
    pub deleting: bool,
}

/// A set and all that hangs on it.
#[derive(Clone, Debug)]
pub struct Facts {
    pub set: Value,
    pub pods: BTreeMap<String, Pod>,
    pub claims: BTreeMap<String, Claim>,
    pub revisions: BTreeSet<String>,
}

impl Facts {
    /// Reads it all.
    pub async fn gather(live: &Live<'_>) -> Self {
        let (api, namespace) = (&live.space.api, &live.space.name);
        let set = live.object().await.unwrap_or(Value::Null);
        let selector = format!("app={}", live.name());
        let pods = api.list(Kind::Pod, namespace, &selector).await;
        let claims = api.list(Kind::Claim, namespace, &selector).await;
        let revisions = api.list(Kind::Revision, namespace, &selector).await;
        Self {
            set,
            pods: pods.iter().map(|pod| (name(pod), read_pod(pod))).collect(),
            claims: claims.iter().map(|claim| (name(claim), read_claim(claim))).collect(),
            revisions: revisions.iter().map(name).collect(),
        }
    }

    /// `metadata.uid` of the set.
    pub fn uid(&self) -> &str {
        self.set["metadata"]["uid"].as_str().unwrap_or_default()
    }

    /// The claims that this template gives to the pods there are.
    pub fn claims_in_use(&self, template: &str) -> impl Iterator<Item = (&String, &Claim)> {
        let names: BTreeSet<String> = self.pods.keys().map(|pod| format!("{template}-{pod}")).collect();
        self.claims.iter().filter(move |(name, _)| names.contains(*name))
    }

    /// What each claim asks for.
    pub fn requests(&self) -> BTreeMap<&str, Bytes> {
        self.claims.iter().map(|(name, claim)| (name.as_str(), claim.requested)).collect()
    }

    // ── comparisons; each ends the test if it does not hold ──

    /// The promise of the product: a larger template, and nobody noticed.
    pub fn only_grew_since(&self, before: &Self) {
        self.pods_are_the_same_as(before);
        self.claims_only_grew_since(before);
        self.revision_is_the_same_as(before);
        self.fields_have_the_managers_of(before);
        self.only_sizes_differ_from(before);
    }

    /// Not one was restarted or replaced.
    pub fn pods_are_the_same_as(&self, before: &Self) {
        assert_eq!(self.pods, before.pods, "a pod was restarted or replaced");
    }

    /// No claim is gone, smaller, moved or going.
    pub fn claims_only_grew_since(&self, before: &Self) {
        for (name, old) in &before.claims {
            let new = self.claims.get(name).unwrap_or_else(|| panic!("the claim {name} is gone"));
            assert_eq!((&new.uid, &new.volume), (&old.uid, &old.volume), "{name} is another claim");
            assert!(new.requested >= old.requested, "{name} asks for less: {old:?} then {new:?}");
            assert!(!new.deleting, "{name} is being deleted");
        }
    }

    /// No rollout was started: the same revisions, and the same one is current.
    pub fn revision_is_the_same_as(&self, before: &Self) {
        for field in ["updateRevision", "currentRevision"] {
            assert_eq!(self.set["status"][field], before.set["status"][field], "{field}");
        }
        assert_eq!(self.revisions, before.revisions, "the revisions");
    }

    /// Server-side appliers still own what they owned.
    pub fn fields_have_the_managers_of(&self, before: &Self) {
        assert_eq!(managers(&self.set), managers(&before.set), "the managed fields");
    }

    /// The object is the same but for sizes of templates and what the server writes.
    pub fn only_sizes_differ_from(&self, before: &Self) {
        assert_eq!(without_sizes(&self.set), without_sizes(&before.set), "more than sizes differs");
    }

    /// Not even the set's resource version's worth of change: sizes, identity and managers are as they were.
    pub fn nothing_happened_since(&self, before: &Self) {
        assert_eq!(self.uid(), before.uid(), "the set was replaced");
        assert_eq!(self.requests(), before.requests(), "a claim was asked to grow");
        self.only_grew_since(before);
    }
}

/// What the set's template of that name asks for.
pub fn size_in_template(set: &Value, template: &str) -> Option<Bytes> {
    let templates = set["spec"]["volumeClaimTemplates"].as_array()?;
    let found = templates.iter().find(|one| one["metadata"]["name"] == template)?;
    found["spec"]["resources"]["requests"]["storage"].as_str()?.parse().ok()
}

/// What a claim asks for.
pub fn requested(claim: &Value) -> Bytes {
    size(&claim["spec"]["resources"]["requests"]["storage"])
}

fn size(value: &Value) -> Bytes {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn read_pod(pod: &Value) -> Pod {
    let statuses = ["initContainerStatuses", "containerStatuses"].map(|field| pod["status"][field].as_array());
    let containers = statuses.into_iter().flatten().flatten();
    Pod {
        uid: text(&pod["metadata"]["uid"]),
        revision: text(&pod["metadata"]["labels"]["controller-revision-hash"]),
        containers: containers
            .map(|one| (text(&one["name"]), (text(&one["containerID"]), one["restartCount"].as_u64().unwrap_or(0))))
            .collect(),
    }
}

fn read_claim(claim: &Value) -> Claim {
    let (metadata, status) = (&claim["metadata"], &claim["status"]);
    let requested = requested(claim);
    let capacity = size(&status["capacity"]["storage"]);
    Claim {
        uid: text(&metadata["uid"]),
        volume: text(&claim["spec"]["volumeName"]),
        requested,
        capacity,
        growing: capacity < requested || !status["allocatedResourceStatuses"].is_null(),
        deleting: !metadata["deletionTimestamp"].is_null(),
    }
}

/// Who manages which field, but for the status, which the controller manager writes all the time.
fn managers(set: &Value) -> BTreeSet<String> {
    let entries = set["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .filter(|entry| entry["subresource"] != "status")
        .map(|entry| json!([entry["manager"], entry["operation"], entry["fieldsV1"]]).to_string())
        .collect()
}

fn without_sizes(set: &Value) -> Value {
    let mut set = set.clone();
    set["status"] = Value::Null;
    for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
        set["metadata"][field] = Value::Null;
    }
    for key in [REQUESTED, TRANSACTION] {
        if let Some(annotations) = set["metadata"]["annotations"].as_object_mut() {
            annotations.remove(key);
        }
    }
    for template in set["spec"]["volumeClaimTemplates"].as_array_mut().into_iter().flatten() {
        template["spec"]["resources"]["requests"]["storage"] = Value::Null;
    }
    set
}
