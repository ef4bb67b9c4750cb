//! The driver's access to the host: mounts, programs, sockets, and files.

pub mod durable;
pub mod mounts;
pub(super) mod place;
pub mod socket;
pub mod tool;
