//! `rso controller` as admission webhook: any apply succeeds, every new claim fits, every pod is measured.
//!
//! ```text
//!  API server ──TLS, AdmissionReview──► server ──► hook (pure: object, oldObject, facts from the cache) ──► patch, warnings
//! ```
//!
//! Every replica answers. No answer needs a request of ours, none denies anything, and the API server goes on without us
//! after two or three seconds (`failurePolicy: Ignore`): the worst case is Kubernetes as it is.

pub mod absorb;
pub mod facts;
pub mod floor;
pub mod hook;
pub mod inject;
pub mod patch;
pub mod review;
