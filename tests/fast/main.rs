//! What can be checked without a cluster, a module per topic. One binary: each one links the whole crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails loudly")]

mod agent;
mod agent_held;
mod architecture;
mod chart;
mod cli;
mod dependencies;
mod figures;
mod fuzz;
mod generated;
mod hooks;
mod language;
mod links;
mod memory;
mod metrics;
mod mutants;
mod pages;
mod picture;
mod policies;
mod quantity;
mod tree;
mod writes;
