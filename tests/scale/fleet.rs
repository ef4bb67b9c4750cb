//! How do many volumes in many namespaces come to be?

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::api::Kind;
use crate::harness::set::Set;
use crate::measure::{Place, claim};
use crate::peer;
use crate::stage::Stage;

/// Pods of each StatefulSet.
pub const REPLICAS: usize = 3;
/// StatefulSets of each namespace: about 50 volumes.
const IN_NAMESPACE: usize = 17;

/// StatefulSets of three replicas, each with one volume.
pub struct Fleet {
    name: &'static str,
    sets: Vec<Place>,
    crossed: HashSet<usize>,
}

impl Fleet {
    /// None yet. `name`: what the names of its namespaces begin with.
    pub fn named(name: &'static str) -> Self {
        Self { name, sets: Vec::new(), crossed: HashSet::new() }
    }

    /// How many volumes there are.
    pub fn volumes(&self) -> usize {
        self.sets.len() * REPLICAS
    }

    /// Creates StatefulSets until there are so many volumes, and waits until all are ready.
    pub async fn grow(&mut self, stage: &mut Stage, volumes: usize) {
        let began = Instant::now();
        let mut spaces: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for nth in self.sets.len()..volumes.div_ceil(REPLICAS) {
            spaces.entry(nth / IN_NAMESPACE).or_default().push(nth);
        }
        let mut ready = Vec::new();
        for (space, sets) in spaces {
            let namespace = self.space(stage, space).await;
            let size = stage.agents.size().to_string();
            let manifests: Vec<Value> = sets.iter().map(|nth| manifest(*nth, &size)).collect();
            stage.create(Kind::StatefulSet, &namespace, &manifests).await;
            self.sets.extend(sets.iter().map(|nth| (namespace.clone(), name(*nth))));
            let of_it = self.sets.iter().filter(|(of, _)| *of == namespace).count();
            ready.push((namespace, of_it));
        }
        stage.until_ready(&ready).await;
        println!("{} volumes after {:?}", self.volumes(), began.elapsed());
    }

    async fn space(&self, stage: &Stage, nth: usize) -> String {
        let before = self.sets.get(nth * IN_NAMESPACE).map(|(namespace, _)| namespace.clone());
        match before {
            Some(namespace) => namespace,
            None => stage.namespace(&format!("{}-{nth}", self.name)).await,
        }
    }

    /// So many StatefulSets, from all namespaces, which have not crossed their threshold before.
    pub fn some(&mut self, count: usize) -> Vec<Place> {
        let rest: Vec<usize> = (0..self.sets.len()).filter(|nth| !self.crossed.contains(nth)).collect();
        assert!(count <= rest.len(), "{count} of {} StatefulSets", rest.len());
        let chosen: Vec<usize> = (0..count).map(|nth| rest[nth * rest.len() / count]).collect();
        self.crossed.extend(&chosen);
        chosen.into_iter().map(|nth| self.sets[nth].clone()).collect()
    }

    /// All PVCs.
    pub fn claims(&self) -> Vec<Place> {
        let of = |(namespace, set): &Place| {
            (0..REPLICAS).map(|ordinal| (namespace.clone(), claim(set, ordinal))).collect::<Vec<_>>()
        };
        self.sets.iter().flat_map(of).collect()
    }

    /// Nothing that happened until now is needed any more.
    pub fn forget(&self, stage: &Stage) {
        self.sets.iter().for_each(|(namespace, _)| stage.recorder.forget(namespace));
    }
}

/// StatefulSets that the operator has nothing to do with.
pub async fn others(stage: &mut Stage, count: usize) {
    let namespace = stage.namespace("others").await;
    let sets: Vec<Value> = (0..count).map(|nth| Set::named(&name(nth)).replicas(0).manifest()).collect();
    stage.create(Kind::StatefulSet, &namespace, &sets).await;
    stage.until_ready(&[(namespace, count)]).await;
}

fn name(nth: usize) -> String {
    format!("s{nth}")
}

fn manifest(nth: usize, size: &str) -> Value {
    let set = Set::named(&name(nth)).template("data", size).asks("auto-scaled", "true").with_agent();
    let mut manifest = set.replicas(REPLICAS as u32).parallel().manifest();
    if peer::is_wanted() {
        manifest["spec"]["volumeClaimTemplates"][0]["metadata"]["annotations"] = json!({peer::LIMIT: "100Ti"});
    }
    manifest
}
