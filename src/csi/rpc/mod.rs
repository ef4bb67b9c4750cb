//! The gRPC services of the driver, which the provisioner, the resizer, and the kubelet call.
//!
//! Each call parses its request, plans with pure functions, and then uses a backend and the host.

pub mod capability;
pub mod controller;
pub mod identity;
pub mod node;
pub mod registration;
mod request;
