//! Every row of the resume table, every gate, and whole recreates with a crash or somebody's action at every step.
#![allow(clippy::wildcard_enum_match_arm, reason = "what a test does not expect fails it, whatever it is")]

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
