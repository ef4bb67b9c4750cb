//! The modules that decide, alone: what they need builds in a second, the whole crate does not.

pub mod api;
pub mod policy;
pub mod recreate;
