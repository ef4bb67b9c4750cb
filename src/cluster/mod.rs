//! Layer 2: what exists, and how is it changed? The only place that talks to Kubernetes and to what runs in it.

pub mod act;
pub mod certificate;
pub mod claims;
pub mod client;
pub mod clock;
pub mod departures;
pub mod environment;
pub mod events;
pub mod history;
pub mod hook_path;
mod item;
pub mod lease;
pub mod observe;
pub mod pods;
pub mod recreation;
pub mod requests;
mod store;
pub mod usage;
pub mod watch;
mod watching;
