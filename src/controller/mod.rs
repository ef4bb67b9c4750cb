//! Layer 3: the operator: triggers, the pass over one set, shutdown.

pub mod plan;
pub mod queue;
pub mod recreate;
