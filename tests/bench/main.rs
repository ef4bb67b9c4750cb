//! How fast, how small, how quiet? Measured on the cluster, told with the number of runs and min, median, max.
//!
//! `make bench` deploys the operator and runs this. `RUNS` is how often a volume is filled (10), `SETS` how many are
//! managed while the API requests at rest are counted (50), `REST` for how long (`10m`). `ONLY` names one part: `admission`,
//! `growth`, `rest`.
//!
//! How soon a Pod sees its larger volume depends on the kubelet: the first line says with which settings it runs. `make bench
//! SYNC=1m` measures with the kubelet's own defaults, without SYNC with those of the tests; the rows of the expansion are
//! written to `docs/proof/load.md`, to the table of that profile.
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
mod figures;
mod growth;
#[path = "../e2e/harness/mod.rs"]
mod harness;
mod kubelet;
mod memory;
mod moments;
#[path = "../page/mod.rs"]
mod page;
mod rest;

use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let runs = variable("RUNS").and_then(|n| n.parse().ok()).unwrap_or(10);
    let sets = variable("SETS").and_then(|n| n.parse().ok()).unwrap_or(50);
    let rest = variable("REST").and_then(|text| humantime::parse_duration(&text).ok());
    let wanted = |part: &str| variable("ONLY").is_none_or(|only| only == part);
    let kubelet = kubelet::Kubelet::read().await;
    println!("kubelet: {}", kubelet.text());
    figures::title();
    if wanted("admission") {
        admission::measure().await;
    }
    if wanted("growth") {
        growth::measure(runs, &kubelet).await;
    }
    if wanted("rest") {
        rest::measure(sets, rest.unwrap_or(Duration::from_secs(600))).await;
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
