//! The volumes of a node: their names, sizes, classes, and records.

pub mod capacity;
pub mod class;
pub mod id;
pub mod locks;
pub mod record;
