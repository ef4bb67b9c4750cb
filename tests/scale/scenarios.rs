//! What happens where there is much, at once, or where something is broken?

use std::time::{Duration, Instant};

use rso::api::annotations::PREFIX;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fleet::Fleet;
use crate::harness::api::Kind;
use crate::harness::set::Set;
use crate::load::Load;
use crate::measure::{Meter, Place, Resize, claim};
use crate::report::Row;
use crate::stage::Stage;

/// Volumes of one StatefulSet where there are many in a namespace.
const REPLICAS: usize = 10;
/// Bytes of a large set's Pod template.
const LARGE: usize = 1_000_000;
/// So many that the operator just takes it on: of the 1,572,864 that etcd takes it leaves 65,536 free, and with what the
/// API server adds a set has some 5,000 more.
const LARGEST: usize = 1_490_000;
/// Bytes of one environment variable in it.
const VARIABLE: usize = 50_000;

/// All of them, in the order of the table.
pub async fn all(mut stage: Stage, load: &Load) -> (Stage, Vec<Row>) {
    let mut rows = vec![burst(&mut stage, load).await];
    let mut fleet = Fleet::named("spread");
    fleet.grow(&mut stage, load.spread).await;
    rows.push(spread(&mut stage, &mut fleet, load).await);
    rows.push(hanging(&mut stage, &mut fleet, load).await);
    rows.push(one_of_many(&mut stage, load).await);
    rows.extend(large(&mut stage, load).await);
    let (stage, row) = start(stage).await;
    rows.push(row);
    (stage, rows)
}

/// Some of many sets in one namespace cross their threshold in the same moment.
async fn burst(stage: &mut Stage, load: &Load) -> Row {
    let sets: Vec<Value> = (0..load.sets).map(|nth| measured(stage, nth)).collect();
    let namespace = &stage.populate("burst", &sets, 0).await;
    stage.until_asked().await;
    // Spread over all of them.
    let sets = (0..load.crossing).map(|nth| (namespace.clone(), name(nth * load.sets / load.crossing))).collect();
    let what = format!("{} StatefulSets cross their threshold at once", load.crossing);
    let beside = format!("{} StatefulSets of one volume in the namespace", load.sets);
    cross(stage, sets, what, beside).await
}

/// The same in many namespaces.
async fn spread(stage: &mut Stage, fleet: &mut Fleet, load: &Load) -> Row {
    stage.until_asked().await;
    let sets = fleet.some(load.spread_crossing);
    let what = format!("{} StatefulSets of 3 replicas cross their threshold at once", sets.len());
    let namespaces = sets.iter().map(|(namespace, _)| namespace).collect::<std::collections::BTreeSet<_>>().len();
    let beside = format!("{} volumes in {namespaces} namespaces", fleet.volumes());
    cross(stage, sets, what, beside).await
}

/// Some cross their threshold while no agent of another namespace answers.
async fn hanging(stage: &mut Stage, fleet: &mut Fleet, load: &Load) -> Row {
    let sets: Vec<Value> = (0..load.hanging).map(|nth| measured(stage, nth)).collect();
    let namespace = stage.populate("hanging", &sets, 0).await;
    stage.until_asked().await;
    stage.agents.hang(&namespace);
    // Until those that are held are over, and many are asked in vain.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let sets = fleet.some(load.broken_crossing);
    let what = format!("{} StatefulSets of 3 replicas cross their threshold at once", sets.len());
    let beside = format!("{} agents of another namespace accept requests and do not answer", load.hanging);
    cross(stage, sets, what, beside).await
}

async fn cross(stage: &mut Stage, sets: Vec<Place>, what: String, beside: String) -> Row {
    let resize = Resize { sets: sets.clone(), claims: 1, from: stage.agents.size() };
    let cross = async |stage: &Stage| sets.iter().for_each(|(space, set)| stage.agents.fill(space, &claim(set, 0)));
    resize.measure(stage, what, beside, cross).await
}

/// One set is resized by an annotation where there are many volumes.
async fn one_of_many(stage: &mut Stage, load: &Load) -> Row {
    let set = |nth| named(nth).template("data", "1Gi").replicas(REPLICAS as u32).parallel().manifest();
    let sets: Vec<Value> = (0..load.volumes / REPLICAS).map(set).collect();
    let namespace = stage.populate("volumes", &sets, 0).await;
    let what = format!("One `resize-0` on a StatefulSet of {REPLICAS} volumes");
    let beside = format!("{} volumes in the namespace", load.volumes);
    by_annotation(stage, vec![(namespace, name(0))], REPLICAS, what, beside).await
}

/// Sets of 1 MB are resized where there are many Pods of others, and then one that is as large as can be.
async fn large(stage: &mut Stage, load: &Load) -> [Row; 2] {
    let sets: Vec<Value> = (0..load.large).map(|nth| of_size(named(nth), LARGE)).collect();
    let namespace = stage.populate("large", &sets, load.foreign).await;
    let resized = (0..load.resized).map(|nth| (namespace.clone(), name(nth))).collect();
    let what = format!("`resize-0` on {} StatefulSets of {:.1} MB", load.resized, LARGE as f64 / 1e6);
    let beside = format!("{} of that size and {} other Pods in the namespace", load.large, load.foreign);
    let some = by_annotation(stage, resized, 1, what, beside.clone()).await;
    stage.add(&namespace, &[of_size(named(load.large), LARGEST)]).await;
    let what = format!("`resize-0` on one of {:.2} MB, near the limit of etcd", LARGEST as f64 / 1e6);
    let largest = by_annotation(stage, vec![(namespace, name(load.large))], 1, what, beside).await;
    [some, largest]
}

/// Another operator starts, with all of that there.
async fn start(stage: Stage) -> (Stage, Row) {
    let began = Instant::now();
    let mut stage = stage.start_again().await;
    stage.until_asked().await;
    let what = "A start, until every agent was asked".to_owned();
    let row = Meter::of_a_start(began).stop(&mut stage, what, "all of the above".to_owned()).await;
    (stage, row)
}

async fn by_annotation(stage: &mut Stage, sets: Vec<Place>, claims: usize, what: String, beside: String) -> Row {
    let resize = Resize { sets: sets.clone(), claims, from: "1Gi".parse().unwrap() };
    let ask = async |stage: &Stage| {
        let patch = json!({"metadata": {"annotations": {format!("{PREFIX}resize-0"): "2Gi"}}});
        for (namespace, set) in &sets {
            stage.api.patch(Kind::StatefulSet, namespace, set, &patch).await.unwrap();
        }
    };
    resize.measure(stage, what, beside, ask).await
}

fn name(nth: usize) -> String {
    format!("s{nth}")
}

fn named(nth: usize) -> Set {
    Set::named(&name(nth))
}

/// A set of one volume that is expanded by usage.
fn measured(stage: &Stage, nth: usize) -> Value {
    let size = stage.agents.size().to_string();
    named(nth).template("data", &size).asks("auto-scaled", "true").with_agent().manifest()
}

/// A set whose Pod template has so many bytes. A third of it does not compress, as in configurations with keys and
/// certificates.
fn of_size(set: Set, bytes: usize) -> Value {
    let line = |nth: usize| format!("key {nth:06} is {:x}; timeout 30s; ", Sha256::digest(nth.to_be_bytes()));
    let text: String = (0..bytes / line(0).len()).map(line).collect();
    let variables = text.as_bytes().chunks(VARIABLE).enumerate();
    let variables: Vec<Value> = variables
        .map(|(nth, part)| json!({"name": format!("CONFIG_{nth}"), "value": String::from_utf8_lossy(part)}))
        .collect();
    let container = json!([{
        "name": "db", "image": "localhost/busybox:1", "env": variables,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }]);
    set.template("data", "1Gi").with(&json!({"template": {"spec": {"containers": container}}})).manifest()
}
