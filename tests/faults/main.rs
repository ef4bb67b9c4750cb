//! What if any write, any read, or the operator itself fails, at any point? The real operator against a real API server,
//! with a proxy in between that fails on purpose.
//!
//! `make faults` starts a control plane of its own (etcd, API server, controller-manager; no node) and runs this. A run is
//! one set in one namespace: the set is asked to grow, one fault is injected at the n-th write of the operator, and the run
//! ends when everything is at rest. A recorder has seen every state there was; [`checker`] asks all of them.
//!
//! | Module | Question it answers |
//! |---|---|
//! | [`plane`] | How is the control plane reached? |
//! | [`stub`] | Who makes pods ready and claims bound and large, where there is no node? |
//! | [`addresses`] | Which address has a pod where there is no node? |
//! | [`agents`] | Who tells how full the volumes are, where no pod runs? |
//! | [`recorder`] | What was every state that the API server stored? |
//! | [`fault`] | What can go wrong with a request? |
//! | [`asked`] | What was asked, and what came of it? |
//! | [`answers`] | What does an answer look like that the API server did not give, or not so? |
//! | [`proxy`] | How does a request go wrong? |
//! | [`process`] | How is the operator started, killed, stopped and continued? |
//! | [`scenario`] | What is going on when it goes wrong? |
//! | [`run`] | How does one run go, from an empty namespace to rest? |
//! | [`history`] | What is known when a run is over? |
//! | [`checker`] | Did anything happen that must never happen? |
//! | [`counter`] | Does the count of what went wrong move when it does? |
//! | [`sweep`] | Which runs are there, and did all of them do what they should? |
//! | [`leaders`] | What if the leader stands still, another takes over, and the old one wakes? |
//! | [`report`] | How is it told? |
//!
//! `FAULTS=full` runs all there is, else a sample runs that meets every write and every kind of fault. `ONLY=<text>` keeps
//! the runs whose name contains it, `JOBS` is how many go side by side, `KEEP=1` keeps the logs of those that went well.
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

mod addresses;
mod agents;
mod answers;
mod asked;
mod checker;
mod counter;
mod fault;
#[path = "../e2e/harness/mod.rs"]
#[allow(dead_code, reason = "shared with the tests on the cluster, which use the rest")]
mod harness;
mod history;
mod leaders;
#[path = "../page/mod.rs"]
#[allow(dead_code, reason = "shared with the model, which looks at the text")]
mod page;
mod plane;
mod process;
mod proxy;
mod recorder;
mod report;
mod run;
mod scenario;
mod stub;
mod sweep;
