//! The state of the measurement: the readings of every StatefulSet, and which are due.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::gauges::Gauges;
use super::queue::{self, Requests, Triggers};
use crate::api::names::SetName;

/// The state of the measurement of all StatefulSets.
#[derive(Debug)]
pub struct Measuring {
    sets: Mutex<HashMap<SetName, Gauges>>,
    pub(super) due: Triggers,
    pub(super) requests: Mutex<Option<Requests>>,
}

impl Default for Measuring {
    fn default() -> Self {
        let (due, requests) = queue::triggers();
        Self { sets: Mutex::default(), due, requests: Mutex::new(Some(requests)) }
    }
}

impl Measuring {
    /// Stops measuring a StatefulSet, until a reconciliation requests it again.
    pub fn forget(&self, set: &SetName) {
        self.lock().remove(set);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<SetName, Gauges>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
