//! Is the operator killed by its own memory limit, or slow, or dear, where there is much? The real program, with the rights
//! and the memory limit of the chart, on a control plane of its own.
//!
//! `tests/scale/scale.sh` starts a control plane (etcd, API server, controller-manager; no node) and runs this in its network
//! namespace. An operator that ends before it is told to fails the test.
//!
//! | Module | Question it answers |
//! |---|---|
//! | [`load`] | What is measured, and how large is the load? |
//! | [`scenarios`] | What happens where there is much, at once, or where something is broken? |
//! | [`steady`] | What do volumes cost at which nothing happens? |
//! | [`sizing`] | How much memory is to be enough? |
//! | [`stage`] | Where is the load, and when is it at rest? |
//! | [`fleet`] | How do many volumes in many namespaces come to be? |
//! | [`addresses`] | Which address has a pod where there is no node? |
//! | [`agents`] | Who says how full the volumes are, where there are too many of them for real ones? |
//! | [`stub`] | Who makes pods ready and claims bound and large, where there is no node? |
//! | [`recorder`] | What was every state that the API server stored? |
//! | [`bound`] | How is a program kept to a memory limit? |
//! | [`operator`] | How is the operator started, and what does it take? |
//! | [`peer`], [`kubelets`] | What does another program take for the same volumes? |
//! | [`process`] | How much memory and time does a process take? |
//! | [`measure`] | What does a resize cost, and how long does it take? |
//! | [`report`] | How is it told? |
//!
//! `SCALE=load`: many at once; the table goes to `docs/proof/load.md`. `SCALE=small`, `SCALE=large`: up to 10,000 volumes at
//! rest; the tables go to `docs/scale.md`. Else a sample of both. `PEER=…`: a program `pvc-autoresizer` that is measured beside.
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
#[path = "../faults/answers.rs"]
#[allow(dead_code, reason = "shared with the sweep of faults, which uses the rest")]
mod answers;
mod bound;
mod fleet;
#[path = "../e2e/harness/mod.rs"]
#[allow(dead_code, reason = "shared with the tests on the cluster, which use the rest")]
mod harness;
mod kubelets;
mod load;
mod measure;
mod operator;
#[path = "../page/mod.rs"]
#[allow(dead_code, reason = "shared with the model, which looks at the text")]
mod page;
mod peer;
mod process;
#[path = "../faults/recorder.rs"]
#[allow(dead_code, reason = "shared with the sweep of faults, which uses the rest")]
mod recorder;
mod report;
mod scenarios;
mod sizing;
mod stage;
mod steady;
#[path = "../faults/stub.rs"]
#[allow(dead_code, reason = "shared with the sweep of faults, which uses the rest")]
mod stub;

use self::bound::Bound;
use self::load::Part;
use self::stage::Stage;

/// How large the volumes are where there are no fleets.
const SIZE: &str = "10Gi";

#[tokio::main]
async fn main() {
    let part = Part::wanted();
    println!("{part:?}");
    let limit = bound::of_the_chart();
    Bound::new(limit, "hungry").is_enforced().await;
    let mut stage = Stage::set(limit, part.fleet().map_or(SIZE, |fleet| fleet.size)).await;
    if let Some(fleet) = part.fleet() {
        let rows;
        (stage, rows) = steady::measure(stage, &fleet).await;
        let table = report::fleet_table(&rows);
        println!("{table}");
        match part {
            Part::Fleet(fleet) if fleet.size == SIZE => page::write("fleet-small", &table),
            Part::Fleet(_) => page::write("fleet-large", &table),
            Part::Sample | Part::Load => {}
        }
    }
    if let Some(load) = part.load() {
        stage.post.limit = limit;
        stage = stage.start_again().await;
        let rows;
        (stage, rows) = scenarios::all(stage, &load).await;
        let table = report::table(&rows, limit);
        println!("{table}");
        if part == Part::Load {
            page::write("scale", &table);
        }
    }
    if part != Part::Sample {
        page::write("sizing", &report::sizing_table(limit));
    }
    stage.operator.stop().await;
}
