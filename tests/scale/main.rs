//! Is the operator killed by its own memory limit, or slow, where there is much? The real program, with the rights and the
//! memory limit of the chart, on a control plane of its own.
//!
//! `tests/scale/scale.sh` starts a control plane (etcd, API server, controller-manager; no node) and runs this in its network
//! namespace. One operator runs from before the first object is created until the last resize has ended; then another starts
//! with all of that there. One that ends before it is told to fails the test.
//!
//! | Module | Question it answers |
//! |---|---|
//! | [`load`] | How large is the load? |
//! | [`stage`] | Where is the load, and when is it at rest? |
//! | [`addresses`] | Which address has a pod where there is no node? |
//! | [`agents`] | Who says how full the volumes are, where there are too many of them for real ones? |
//! | [`stub`] | Who makes pods ready and claims bound and large, where there is no node? |
//! | [`recorder`] | What was every state that the API server stored? |
//! | [`bound`] | How is a program kept to a memory limit? |
//! | [`operator`] | How is the operator started, and what does it take? |
//! | [`measure`] | What does a resize cost, and how long does it take? |
//! | [`report`] | How is it told? |
//!
//! `SCALE=full`: all of it, and the table goes to `docs/proof/load.md`. Else a sample.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    missing_docs
)]

#[path = "../faults/addresses.rs"]
mod addresses;
mod agents;
mod bound;
#[path = "../e2e/harness/mod.rs"]
#[allow(dead_code, reason = "shared with the tests on the cluster, which use the rest")]
mod harness;
mod load;
mod measure;
mod operator;
#[path = "../page/mod.rs"]
#[allow(dead_code, reason = "shared with the model, which looks at the text")]
mod page;
#[path = "../faults/recorder.rs"]
#[allow(dead_code, reason = "shared with the sweep of faults, which uses the rest")]
mod recorder;
mod report;
mod stage;
#[path = "../faults/stub.rs"]
#[allow(dead_code, reason = "shared with the sweep of faults, which uses the rest")]
mod stub;

use std::time::{Duration, Instant};

use rso::api::annotations::PREFIX;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::bound::Bound;
use self::harness::api::Kind;
use self::harness::set::Set;
use self::load::Load;
use self::measure::{Meter, Resize, claim};
use self::report::Row;
use self::stage::Stage;

/// Volumes of one StatefulSet where there are many.
const REPLICAS: usize = 10;
/// Bytes of a large set's Pod template.
const LARGE: usize = 1_000_000;
/// So many that the operator just takes it on: of the 1,572,864 that etcd takes it leaves 65,536 free, and with what the
/// API server adds a set has some 5,000 more.
const LARGEST: usize = 1_490_000;
/// Bytes of one environment variable in it.
const VARIABLE: usize = 50_000;
/// How long it may take until every agent has been asked.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() {
    let load = Load::wanted();
    println!("{load:?}");
    let bound = Bound::of_the_chart();
    bound.is_enforced().await;
    let mut stage = Stage::set(bound.clone()).await;
    let mut rows = vec![burst(&mut stage, &load).await, one_of_many(&mut stage, &load).await];
    rows.extend(large(&mut stage, &load).await);
    rows.push(start(stage).await);
    let table = report::table(&rows, bound.limit);
    println!("{table}");
    if load::is_full() {
        page::write("scale", &table);
    }
}

/// Some of many sets in one namespace cross their threshold in the same moment.
async fn burst(stage: &mut Stage, load: &Load) -> Row {
    let set = |nth| named(nth).template("data", agents::SIZE).asks("auto-scaled", "true").with_agent();
    let sets: Vec<Set> = (0..load.sets).map(set).collect();
    let namespace = &stage.populate("burst", &sets, 0).await;
    stage.until(PATIENCE, "every agent to be asked", |stage| stage.agents.asked() == load.sets).await;
    // Spread over all of them.
    let crossing: Vec<String> = (0..load.crossing).map(|nth| name(nth * load.sets / load.crossing)).collect();
    let what = format!("{} StatefulSets cross their threshold at once", load.crossing);
    let beside = format!("{} StatefulSets of one volume in the namespace", load.sets);
    let resize = Resize { namespace, sets: crossing.clone(), replicas: 1, from: agents::SIZE.parse().unwrap() };
    let cross = async |stage: &Stage| crossing.iter().for_each(|set| stage.agents.fill(namespace, &claim(set, 0)));
    resize.measure(stage, what, beside, cross).await
}

/// One set is resized by an annotation where there are many volumes.
async fn one_of_many(stage: &mut Stage, load: &Load) -> Row {
    let set = |nth| named(nth).template("data", "1Gi").replicas(REPLICAS as u32).parallel();
    let sets: Vec<Set> = (0..load.volumes / REPLICAS).map(set).collect();
    let namespace = &stage.populate("volumes", &sets, 0).await;
    let what = format!("One `resize-0` on a StatefulSet of {REPLICAS} volumes");
    let beside = format!("{} volumes in the namespace", load.volumes);
    by_annotation(stage, namespace, &[name(0)], REPLICAS, what, beside).await
}

/// Sets of 1 MB are resized where there are many Pods of others, and then one that is as large as can be.
async fn large(stage: &mut Stage, load: &Load) -> [Row; 2] {
    let sets: Vec<Set> = (0..load.large).map(|nth| of_size(named(nth), LARGE)).collect();
    let namespace = &stage.populate("large", &sets, load.foreign).await;
    let resized: Vec<String> = (0..load.resized).map(name).collect();
    let what = format!("`resize-0` on {} StatefulSets of {:.1} MB", load.resized, LARGE as f64 / 1e6);
    let beside = format!("{} of that size and {} other Pods in the namespace", load.large, load.foreign);
    let some = by_annotation(stage, namespace, &resized, 1, what, beside.clone()).await;
    stage.add(namespace, &[of_size(named(load.large), LARGEST)]).await;
    let what = format!("`resize-0` on one of {:.2} MB, near the limit of etcd", LARGEST as f64 / 1e6);
    let largest = by_annotation(stage, namespace, &[name(load.large)], 1, what, beside).await;
    [some, largest]
}

/// Another operator starts, with all of that there.
async fn start(stage: Stage) -> Row {
    let began = Instant::now();
    let mut stage = stage.start_again().await;
    let agents = stage.agents.len();
    stage.until(PATIENCE, "every agent to be asked", |stage| stage.agents.asked() == agents).await;
    let what = "A start, until every agent was asked".to_owned();
    let row = Meter::of_a_start(began).stop(&mut stage, what, "all of the above".to_owned()).await;
    stage.operator.stop().await;
    row
}

async fn by_annotation(
    stage: &mut Stage,
    namespace: &str,
    sets: &[String],
    replicas: usize,
    what: String,
    beside: String,
) -> Row {
    let resize = Resize { namespace, sets: sets.to_vec(), replicas, from: "1Gi".parse().unwrap() };
    let ask = async |stage: &Stage| {
        let patch = json!({"metadata": {"annotations": {format!("{PREFIX}resize-0"): "2Gi"}}});
        for set in sets {
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

/// A set whose Pod template has so many bytes. A third of it does not compress, as in configurations with keys and
/// certificates.
fn of_size(set: Set, bytes: usize) -> Set {
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
    set.template("data", "1Gi").with(&json!({"template": {"spec": {"containers": container}}}))
}
