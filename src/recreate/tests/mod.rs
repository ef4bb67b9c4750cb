//! Tests of every row of the resume table, every preflight check, and whole recreations with a crash or an action of another
//! client at every step.
#![allow(clippy::wildcard_enum_match_arm, reason = "any variant that a test does not expect fails it")]

mod archive;
mod assemble;
mod backup;
mod confirm;
mod departed;
mod details;
mod dry_run;
mod journal;
mod manifest;
mod observed;
mod outcome;
mod preflight;
mod rights;
mod rows;
mod simulation;
mod world;
