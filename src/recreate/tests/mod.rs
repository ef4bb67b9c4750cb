//! Tests of every row of the resume table, every gate, and whole recreations with a crash or an action of another
//! client at every step.
#![allow(clippy::wildcard_enum_match_arm, reason = "any variant that a test does not expect fails it")]

mod archive;
mod backup;
mod confirm;
mod departed;
mod details;
mod dry_run;
mod gates;
mod journal;
mod manifest;
mod observed;
mod outcome;
mod rights;
mod rows;
mod simulation;
mod world;
