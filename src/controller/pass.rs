//! What the steps of one reconciliation of one StatefulSet share.

use jiff::Timestamp;

use super::context::Context;
use super::memory::Memory;
use crate::api::names::SetName;

/// One reconciliation of one StatefulSet.
pub(super) struct Pass<'a> {
    /// What all reconciliations share.
    pub(super) context: &'a Context,
    /// The StatefulSet.
    pub(super) name: &'a SetName,
    /// What is remembered of it.
    pub(super) memory: &'a mut Memory,
    /// When the reconciliation began.
    pub(super) now: Timestamp,
}
