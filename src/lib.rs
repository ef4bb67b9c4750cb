//! `rso`, the resize-statefulset-operator: keeps the volumes of StatefulSets large enough, without a restarted pod and
//! without breaking the tool that deployed them.
//!
//! ```text
//!  cluster ──observe──► Observed ──decide / next──► Step ──act──► Outcome ──report──► events, metrics, log
//!    ▲                  (typed, validated, timed)  (a value)      (a value)              │
//!    └─────────────────────────────  next trigger  ◄──────────────────────────────────────┘
//! ```
//!
//! The rooms, each knowing only those before it:
//!
//! | Layer | Module | Question it answers |
//! |---|---|---|
//! | 0 | [`api`] | What are things called? |
//! | 1 | [`policy`] | How big should a volume be? |
//! | 1 | [`recreate`] | How does the template catch up? |
//! | 2 | [`cluster`] | What is there, and how is it changed? The only place that talks to Kubernetes |
//! | 3 | [`controller`], [`agent`], [`csi`], [`cli`] | The programs: wiring and loops |
//! | 3 | [`webhook`] | What is changed on its way in? |
//! | 3 | [`telemetry`] | Logs, metrics, health |
//!
//! Layers 0 and 1 are pure: no I/O and no clock, `now` is an argument. `docs/architecture.md` tells the rest.

pub mod agent;
pub mod api;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod csi;
pub mod policy;
pub mod recreate;
pub mod telemetry;
pub mod webhook;
