//! The gRPC services of the driver: what the provisioner, the resizer, and the kubelet call.

pub mod capability;
pub mod controller;
pub mod identity;
pub mod node;
pub mod registration;
