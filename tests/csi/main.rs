//! Tests of the CSI driver on a real kernel: the real program, real loop devices, and real XFS.
//!
//! They need root and a separate mount namespace, which `tests/cluster/sanity.sh` creates.

mod calls;
mod controller;
mod crash;
mod expand;
mod harness;
mod node;
