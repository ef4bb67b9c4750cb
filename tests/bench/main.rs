//! How fast, how small, how quiet? Measured on the cluster, told with the number of runs and min, median, max.
//!
//! `make bench` deploys the operator and runs this. `ONLY` names one part:
//!
//! | Part | What it measures | Variables |
//! |---|---|---|
//! | `agent` | The agent while it holds a request; needs no cluster | |
//! | `admission` | The webhook | |
//! | `growth` | An expansion, link by link | `RUNS`: how often a volume is filled (10) |
//! | `burst` | Writes at 50 MB/s | `RUNS`: for each volume (20); `AT_ONCE`: runs in parallel, as far as the disk carries them (1) |
//! | `rescue` | Databases that fail on a full disk | `RUNS`: for each case (20) |
//! | `rest` | Requests when there is nothing to do | `SETS`: how many are managed (50); `REST`: for how long (`10m`) |
//!
//! How soon a Pod sees its larger volume depends on the kubelet: the first line says with which settings it runs. `make bench
//! SYNC=1m` measures with the kubelet's own defaults, without SYNC with those of the tests. Tables are written to
//! `docs/proof/load.md`; those of `growth`, `burst` and `rescue` to the one of that profile.
//!
//! Times come from whoever knows best: what a pod saw from its container's log (the runtime stamps each line), what the
//! API server did from its audit log. Both are of the same clock, as the cluster is of one machine.
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
    missing_docs,
    dead_code
)]

mod admission;
mod agent;
mod burst;
mod failing;
mod figures;
mod growth;
#[path = "../e2e/harness/mod.rs"]
mod harness;
mod kubelet;
mod memory;
mod moments;
#[path = "../page/mod.rs"]
mod page;
mod rescue;
mod rest;

use std::time::Duration;

const PARTS: [&str; 6] = ["agent", "admission", "growth", "burst", "rescue", "rest"];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let only = variable("ONLY");
    assert!(only.as_deref().is_none_or(|only| PARTS.contains(&only)), "ONLY is {only:?}, not one of {PARTS:?}");
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    figures::title();
    if wanted("agent") {
        agent::measure();
    }
    if PARTS[1..].iter().any(|part| wanted(part)) {
        on_the_cluster(wanted).await;
    }
}

async fn on_the_cluster(wanted: impl Fn(&str) -> bool) {
    let runs = variable("RUNS").and_then(|n| n.parse().ok());
    let kubelet = kubelet::Kubelet::read().await;
    println!("kubelet: {}", kubelet.text());
    if wanted("admission") {
        admission::measure().await;
    }
    if wanted("growth") {
        growth::measure(runs.unwrap_or(10), &kubelet).await;
    }
    if wanted("burst") {
        let at_once = variable("AT_ONCE").and_then(|n| n.parse::<u64>().ok()).unwrap_or(1).max(1);
        burst::measure(runs.unwrap_or(20), at_once, &kubelet).await;
    }
    if wanted("rescue") {
        rescue::measure(runs.unwrap_or(20), &kubelet).await;
    }
    if wanted("rest") {
        let sets = variable("SETS").and_then(|n| n.parse().ok()).unwrap_or(50);
        let long = variable("REST").and_then(|text| humantime::parse_duration(&text).ok());
        rest::measure(sets, long.unwrap_or(Duration::from_secs(600))).await;
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
