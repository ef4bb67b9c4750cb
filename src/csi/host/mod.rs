//! The driver's access to the host: mounts, programs, sockets, and files.

pub mod durable;
pub mod mounts;
pub mod place;
pub mod socket;
pub mod state_directory;
pub mod statistics;
pub mod tool;
