//! The volumes of a node: their IDs, sizes, classes, and records.

pub mod capacity;
pub mod class;
pub mod files;
pub mod id;
pub mod locks;
pub mod record;
pub mod store;
