//! The ways to store a volume on the node.

pub mod filesystem;
pub mod image;
pub mod loop_device;
