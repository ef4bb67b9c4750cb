//! What is done to a set that runs, and what is waited for?

use std::collections::BTreeMap;
use std::time::Duration;

use rso::api::annotations::{HOLD, PREFIX, TRANSACTION};
use rso::api::bytes::Bytes;
use rso::api::reasons::Reason;
use serde_json::{Value, json};

use super::api::Kind;
use super::facts::{Facts, size_in_template};
use super::operator;
use super::programs::kubectl;
use super::space::Space;
use super::{PATIENCE, expect, until};

/// A set in the namespace of a test.
#[derive(Clone, Copy)]
pub struct Live<'a> {
    pub space: &'a Space,
    pub name: &'a str,
}

impl<'a> Live<'a> {
    /// The set of that name, whether or not it is there.
    pub fn named(space: &'a Space, name: &str) -> Self {
        // A name for each set of a test run: leaking it costs less than a lifetime on every test.
        Self { space, name: String::from(name).leak() }
    }

    /// Its name.
    pub const fn name(&self) -> &'a str {
        self.name
    }

    // ── what is done ──

    /// Writes one of our annotations, without its prefix, as a person does.
    pub async fn asks(&self, key: &str, value: &str) {
        self.annotates(&[(key, value)]).await;
    }

    /// Writes several of our annotations at once.
    pub async fn annotates(&self, pairs: &[(&str, &str)]) {
        let annotations: BTreeMap<_, _> = pairs.iter().map(|(key, value)| (format!("{PREFIX}{key}"), value)).collect();
        self.patches(&json!({"metadata": {"annotations": annotations}})).await;
    }

    /// Merges anything into it.
    pub async fn patches(&self, patch: &Value) {
        let patched = self.space.api.patch(Kind::StatefulSet, &self.space.name, self.name, patch).await;
        patched.unwrap_or_else(|e| panic!("cannot patch {}: {e:?}", self.name));
    }

    /// Puts a file of that many MiB on the volume of a pod.
    pub async fn fills(&self, ordinal: u32, template: &str, mib: u64) {
        let file = format!("/{template}/filled");
        // Blocks are used as soon as they are allocated, and nothing has to be written.
        self.exec(ordinal, &["fallocate", "-l", &(mib * Bytes::MIB).to_string(), &file]).await;
    }

    /// Runs something in a pod, and gives what it printed.
    pub async fn exec(&self, ordinal: u32, command: &[&str]) -> String {
        let pod = format!("{}-{ordinal}", self.name);
        let mut args = vec!["-n", &self.space.name, "exec", &pod, "-c", "db", "--"];
        args.extend(command);
        kubectl(&args).await.ok()
    }

    /// What `df` says in the pod: the size of the filesystem.
    pub async fn filesystem(&self, ordinal: u32, template: &str) -> Bytes {
        let table = self.exec(ordinal, &["df", "-k", "-P", &format!("/{template}")]).await;
        let kib =
            table.lines().nth(1).and_then(|line| line.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok());
        Bytes(kib.unwrap_or_else(|| panic!("df printed {table:?}")) * 1024)
    }

    // ── what is true now ──

    /// The object, if it is there.
    pub async fn object(&self) -> Option<Value> {
        self.space.api.get(Kind::StatefulSet, &self.space.name, self.name).await
    }

    /// All that may not change by a resize.
    pub async fn facts(&self) -> Facts {
        Facts::gather(self).await
    }

    /// Its Events of that reason, and those of its claims.
    pub async fn events(&self, reason: Reason) -> Vec<String> {
        let events = self.space.api.list(Kind::Event, &self.space.name, "").await;
        let ours = events.iter().filter(|event| event["reason"] == reason.as_str());
        ours.filter(|event| self.is_about_us(&event["regarding"]))
            .map(|event| event["note"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    fn is_about_us(&self, regarding: &Value) -> bool {
        let name = regarding["name"].as_str().unwrap_or_default();
        match regarding["kind"].as_str() {
            Some("StatefulSet") => name == self.name,
            Some("PersistentVolumeClaim") => name.contains(&format!("-{}-", self.name)),
            _ => false,
        }
    }

    // ── what is waited for ──

    /// Every pod is there and ready, and the set has seen its own spec.
    pub async fn is_ready(&self) {
        until(&format!("{} to be ready", self.name), PATIENCE, async || {
            let Some(set) = self.object().await else { return Err("no set".to_owned()) };
            let (status, wanted) = (&set["status"], set["spec"]["replicas"].as_u64().unwrap_or(1));
            let count = |field: &str| status[field].as_u64().unwrap_or(0);
            let seen = status["observedGeneration"] == set["metadata"]["generation"];
            let ready = seen && count("replicas") == wanted && count("readyReplicas") == wanted;
            expect(ready, || format!("{status}"))
        })
        .await;
    }

    /// All claims of the template that a pod of the set uses have become that large, filesystem included.
    pub async fn claims_have_grown(&self, template: &str, size: &str) {
        let wanted: Bytes = size.parse().unwrap();
        until(&format!("the claims {template} of {} to have {size}", self.name), PATIENCE, async || {
            let facts = self.facts().await;
            let in_use = facts.claims_in_use(template);
            let short: Vec<_> = in_use.filter(|(_, claim)| claim.requested < wanted || claim.growing).collect();
            expect(short.is_empty(), || format!("{short:?}"))
        })
        .await;
    }

    /// The template carries the size, and the operator has let go of the set.
    pub async fn template_is(&self, template: &str, size: &str) {
        let wanted: Bytes = size.parse().unwrap();
        until(&format!("the template {template} of {} to be {size}, at rest", self.name), PATIENCE, async || {
            let Some(set) = self.object().await else { return Err("no set".to_owned()) };
            let has = size_in_template(&set, template);
            expect(has == Some(wanted), || format!("the template has {has:?}"))?;
            self.rests(&set).await
        })
        .await;
    }

    /// The whole way: claims, filesystems, template; and nothing of ours is left.
    pub async fn reaches(&self, template: &str, size: &str) {
        self.claims_have_grown(template, size).await;
        self.template_is(template, size).await;
    }

    /// No hold, no transaction, no journal, no guard.
    pub async fn leaves_no_trace(&self) {
        until(&format!("{} to be at rest", self.name), PATIENCE, async || {
            let Some(set) = self.object().await else { return Err("no set".to_owned()) };
            self.rests(&set).await
        })
        .await;
    }

    async fn rests(&self, set: &Value) -> Result<(), String> {
        let metadata = &set["metadata"];
        expect(metadata["deletionTimestamp"].is_null(), || "it is being deleted".to_owned())?;
        expect(metadata["annotations"][TRANSACTION].is_null(), || "it carries a transaction".to_owned())?;
        let held = metadata["finalizers"].as_array().is_some_and(|all| all.iter().any(|one| one == HOLD));
        expect(!held, || "it is held".to_owned())?;
        let journals = operator::journals_about(&self.space.api, &self.space.name, self.name).await;
        expect(journals.iter().all(|phase| phase == "Guarded"), || format!("there is a journal: {journals:?}"))?;
        // Only while such a journal remembers to take the guards off may there be any.
        let claims = self.space.api.list(Kind::Claim, &self.space.name, &format!("app={}", self.name)).await;
        let guarded = claims.iter().any(|claim| claim["metadata"]["ownerReferences"].to_string().contains("Namespace"));
        expect(!guarded || !journals.is_empty(), || "a claim is guarded and nobody remembers".to_owned())
    }

    /// An Event of that reason on the set or one of its claims; its note.
    pub async fn says(&self, reason: Reason) -> String {
        until(&format!("the event {reason} of {}", self.name), PATIENCE, async || {
            self.events(reason).await.into_iter().next().ok_or_else(|| "no such event".to_owned())
        })
        .await
    }

    /// For a while, nothing about the set or its claims changes.
    pub async fn stays_as_it_is(&self, long: Duration) {
        let before = self.facts().await;
        tokio::time::sleep(long).await;
        let after = self.facts().await;
        after.nothing_happened_since(&before);
    }
}
