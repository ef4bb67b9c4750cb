//! Layer 1: which PVCs belong together, and what is the next step for them? Pure: no I/O and no clock, `now` is an argument.
//!
//! ```text
//!  caches of the operator ─┐
//!                          ├─► snapshot: StatefulSet, settings, groups of PVCs ─► plan: Rest | Grow | Sync
//!  lists of the CLI ───────┘
//! ```

pub mod claims;
mod expansion;
pub mod group;
pub mod nudge;
pub mod objects;
pub mod plan;
pub mod snapshot;
pub mod statefulset;
