//! The operator on a real cluster: nothing here is simulated.
//!
//! `make test` starts the cluster, deploys the operator, and runs this twice: `parallel::` four at a time, each test in
//! a namespace of its own; then `serial::`, which takes the operator away from the others. A test that fails leaves what
//! its namespace looked like in `.cluster/failed/<test>/`.
// A test ends by panicking, and says what it saw on the way.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    missing_docs
)]

mod harness;
mod parallel;
mod serial;
