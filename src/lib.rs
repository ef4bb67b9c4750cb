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
//! | 1 | [`workload`] | Which PVCs belong together, and what is the next step for them? |
//! | 2 | [`cluster`] | What is there, and how is it changed? The only place that talks to Kubernetes |
//! | 3 | [`controller`], [`agent`], [`csi`], [`cli`] | The programs: wiring and loops |
//! | 3 | [`webhook`] | What is changed on its way in? |
//! | 3 | [`telemetry`] | Logs, metrics, health |
//!
//! Layers 0 and 1 are pure: no I/O and no clock, `now` is an argument. `docs/architecture.md` tells the rest.

// Without the feature, nothing is public but what the programs call.
#![cfg_attr(not(feature = "testing"), allow(unreachable_pub))]

/// Modules that are public with the feature `testing` only.
macro_rules! rooms {
    ($($room:ident)+) => {
        $(
            #[cfg(feature = "testing")]
            pub mod $room;
            #[cfg(not(feature = "testing"))]
            mod $room;
        )+
    };
}

rooms! { agent api cli cluster controller csi policy recreate telemetry webhook workload }

pub use agent::main as run_agent;
pub use cli::main as run;
