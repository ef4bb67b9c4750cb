//! `rso`, the resize-statefulset-operator: keeps the volumes of StatefulSets large enough without restarting a Pod and
//! without breaking the tool that deployed them.
//!
//! ```text
//!  cluster ──observe──► Observed ──decide / next──► Step ──act──► Outcome ──report──► events, metrics, log
//!    ▲                  (typed, validated, timed)  (a value)      (a value)              │
//!    └─────────────────────────────  next trigger  ◄──────────────────────────────────────┘
//! ```
//!
//! The layers, each of which depends only on those before it:
//!
//! | Layer | Module | Question it answers |
//! |---|---|---|
//! | 0 | [`api`] | What are things called? |
//! | 1 | [`policy`] | How big should a volume be? |
//! | 1 | [`recreate`] | How does the template catch up? |
//! | 1 | [`workload`] | Which PVCs belong together, and what is the next step for them? |
//! | 2 | [`cluster`] | What is there, and how is it changed? The only place that talks to Kubernetes |
//! | 3 | [`controller`], [`agent`], [`csi`] | The programs and their loops |
//! | 3 | [`webhook`] | What is changed on its way in? |
//! | 3 | [`telemetry`] | Logs, metrics, health |
//! | 4 | [`operator`] | The composition root: controller, webhook and telemetry in one process |
//! | 5 | [`cli`] | The command line |
//!
//! Layers 0 and 1 are pure: no I/O and no clock, `now` is an argument. `docs/architecture.md` describes the rest.

// Without the feature, only what the programs call is public.
#![cfg_attr(not(feature = "testing"), allow(unreachable_pub))]

// No macro writes these lines: rustfmt follows only modules that it sees.
#[cfg(not(feature = "testing"))]
mod agent;
#[cfg(not(feature = "testing"))]
mod api;
#[cfg(not(feature = "testing"))]
mod cli;
#[cfg(not(feature = "testing"))]
mod cluster;
#[cfg(not(feature = "testing"))]
mod controller;
#[cfg(not(feature = "testing"))]
mod csi;
#[cfg(not(feature = "testing"))]
mod operator;
#[cfg(not(feature = "testing"))]
mod policy;
#[cfg(not(feature = "testing"))]
mod recreate;
#[cfg(not(feature = "testing"))]
mod telemetry;
#[cfg(not(feature = "testing"))]
mod webhook;
#[cfg(not(feature = "testing"))]
mod workload;

#[cfg(feature = "testing")]
pub mod agent;
#[cfg(feature = "testing")]
pub mod api;
#[cfg(feature = "testing")]
pub mod cli;
#[cfg(feature = "testing")]
pub mod cluster;
#[cfg(feature = "testing")]
pub mod controller;
#[cfg(feature = "testing")]
pub mod csi;
#[cfg(feature = "testing")]
pub mod operator;
#[cfg(feature = "testing")]
pub mod policy;
#[cfg(feature = "testing")]
pub mod recreate;
#[cfg(feature = "testing")]
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod webhook;
#[cfg(feature = "testing")]
pub mod workload;

pub use agent::main as run_agent;
pub use cli::main as run;
