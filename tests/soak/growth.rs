//! How is a set asked to grow, and what must be true then?

use std::time::Duration;

use rso::api::bytes::Bytes;
use serde_json::json;

use crate::harness::chance::Chance;
use crate::harness::facts::{Facts, size_in_template};
use crate::harness::live::Live;
use crate::harness::programs::kubectl_reading;
use crate::harness::set::Set;
use crate::harness::space::Space;
use crate::harness::{expect, until};
use crate::people::{Deed, Plan, is_there};

/// The name of every set.
pub const NAME: &str = "db";
/// How many kinds of set there are.
pub const SHAPES: usize = 6;

/// A killed operator, a lease that has to end, containers that are started again: longer than any test waits.
const PATIENCE: Duration = Duration::from_secs(300);
const STEP: u64 = 16;

/// How a set is asked to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Annotation,
    Apply,
    Usage,
}

/// A set that grows from round to round.
pub struct Growing<'a> {
    live: Live<'a>,
    shape: usize,
    manifest: Set,
    replicas: u32,
    start: u32,
    before: Facts,
    size: Bytes,
}

fn shape(nth: usize) -> Set {
    let set = Set::named(NAME).replicas(2).template("data", "400Mi");
    match nth % SHAPES {
        0 => set.parallel(),
        1 => set.parallel().with(&json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}})),
        2 => set.parallel().template("wal", "400Mi"),
        3 => set.parallel().with(&json!({"updateStrategy": {"type": "OnDelete"}})),
        4 => set.parallel().with(&json!({"ordinals": {"start": 5}})),
        _ => set,
    }
}

impl<'a> Growing<'a> {
    pub async fn start(nth: usize, space: &'a Space) -> Self {
        let manifest = shape(nth);
        let manifest = manifest.asks("auto-scaled", "true").asks("threshold", "50%");
        let manifest = manifest.asks("increase", &format!("{STEP}Mi")).asks("min-increase", "1Mi");
        apply(space, &manifest).await;
        let live = Live::named(space, NAME);
        live.is_ready().await;
        let before = live.facts().await;
        let start = if nth % SHAPES == 4 { 5 } else { 0 };
        Self { live, shape: nth % SHAPES, manifest, replicas: 2, start, before, size: Bytes::mib(400) }
    }

    pub const fn live(&self) -> Live<'a> {
        self.live
    }

    /// Whether a change of its pod template replaces its pods.
    pub const fn rolls_out(&self) -> bool {
        self.shape != 3
    }

    pub fn first_pod(&self) -> String {
        format!("{NAME}-{}", self.start)
    }

    pub fn replicas_after(&self, plan: &Plan) -> u32 {
        match plan.deed {
            Deed::Scale if self.replicas == 2 => 3,
            Deed::Scale => 2,
            _ => self.replicas,
        }
    }

    /// Asks for at least one step more, in one of the three ways.
    pub async fn is_asked_to_grow(&mut self, chance: &mut Chance) {
        let wanted = Bytes(self.size.0 + STEP * Bytes::MIB);
        match chance.one(&[Trigger::Annotation, Trigger::Apply, Trigger::Usage]) {
            Trigger::Annotation => {
                self.live.asks("resize-0", &wanted.to_string()).await;
                self.size = wanted;
            }
            Trigger::Apply => {
                let mut manifest = self.manifest.manifest();
                manifest["spec"]["replicas"] = json!(self.replicas);
                manifest["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!(wanted);
                let args = ["-n", &self.live.space.name, "apply", "-f", "-"];
                kubectl_reading(&manifest.to_string(), &args).await.ok();
                self.size = wanted;
            }
            Trigger::Usage => {
                // A little above the threshold of what `df` calls its size: one step or more, as it comes out.
                let mib = self.live.filesystem(self.start, "data").await.0 / Bytes::MIB;
                // XFS wants room for all of a file that is allocated again, so it goes first.
                self.live.exec(self.start, &["rm", "-f", "/data/filled"]).await;
                self.live.fills(self.start, "data", mib * 51 / 100).await;
                self.size = wanted;
            }
        }
    }

    /// It is as large as it was asked to be, with everything that people did, and nobody noticed.
    pub async fn is_as_asked(&mut self, plan: &Plan) {
        self.replicas = self.replicas_after(plan);
        let name = &self.live.space.name;
        until(&format!("{name} to be as asked ({plan:?})"), PATIENCE, async || {
            let Some(set) = self.live.object().await else { return Err("the set is absent".to_owned()) };
            let template = size_in_template(&set, "data").unwrap_or_default();
            expect(template >= self.size, || format!("the template has {template}, not {}", self.size))?;
            is_there(&set, plan, self.replicas)
        })
        .await;
        self.live.is_ready().await;
        let after = until(&format!("the claims of {name} to be as large as its template"), PATIENCE, async || {
            let facts = self.live.facts().await;
            let template = size_in_template(&facts.set, "data").unwrap_or_default();
            let in_use: Vec<_> = facts.claims_in_use("data").collect();
            let fits = in_use.iter().all(|(_, claim)| claim.requested == template && !claim.growing);
            expect(fits && facts.pods.len() == self.replicas as usize, || format!("{template}: {in_use:?}"))?;
            // What people did to pods is over.
            let status = &facts.set["status"];
            let (same, all) = (&status["currentRevision"], self.replicas);
            let rolled = status["updateRevision"] == *same && status["readyReplicas"] == all;
            let first = |facts: &Facts| facts.pods.get(&self.first_pod()).map(|pod| pod.uid.clone());
            let replaced = plan.deed != Deed::DeletePod || first(&facts) != first(&self.before);
            expect(rolled && replaced && facts.pods.values().all(|pod| pod.revision == *same), || {
                format!("pods are being replaced: {status}")
            })?;
            Ok(facts)
        })
        .await;
        self.live.leaves_no_trace().await;
        after.claims_only_grew_since(&self.before);
        self.pods_are_untouched(&after, plan);
        self.size = size_in_template(&after.set, "data").unwrap();
        self.before = self.live.facts().await;
    }

    /// But for those that somebody deleted, rolled out or scaled away.
    fn pods_are_untouched(&self, after: &Facts, plan: &Plan) {
        if plan.deed == Deed::RollOut {
            return;
        }
        for (name, pod) in &self.before.pods {
            let gone = plan.deed == Deed::DeletePod && *name == self.first_pod()
                || plan.deed == Deed::Scale && !after.pods.contains_key(name);
            assert!(
                gone || after.pods.get(name) == Some(pod),
                "{name} was restarted or replaced ({plan:?}): {pod:?} {after:?}"
            );
        }
    }
}

async fn apply(space: &Space, set: &Set) {
    kubectl_reading(&set.manifest().to_string(), &["-n", &space.name, "apply", "-f", "-"]).await.ok();
}
