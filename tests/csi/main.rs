//! Does the CSI driver keep its promises on a real kernel? The real program, real loop devices, real XFS.
//!
//! Needs root and a mount namespace that may be littered: `tests/cluster/sanity.sh` makes one.

mod controller;
mod crash;
mod grow;
mod harness;
mod node;
