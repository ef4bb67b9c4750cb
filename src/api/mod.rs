//! Layer 0, the words of the product: annotation keys, event reasons, names, sizes. No I/O and no clock.

pub mod annotations;
pub mod bytes;
// The operator does not watch policies yet, so it ships without them.
#[cfg(feature = "testing")]
pub mod crd;
pub mod held;
pub mod names;
pub mod objects;
pub mod parts;
pub mod percent;
pub mod reasons;
pub mod received;
pub mod refusal;
pub mod requested;
pub mod storage;
pub mod write;
