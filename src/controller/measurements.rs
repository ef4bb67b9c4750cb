//! The state of the measurement: the readings of every StatefulSet, and which are due.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::gauges::Gauges;
use super::held_requests::HeldRequests;
use super::queue::{self, Requests, Triggers};
use crate::api::names::{Ordinal, SetName};
use crate::cluster::clock;

/// Longer than a held request takes: if its answer is lost, the volumes are polled.
pub(super) const POLL_GUARD: Duration = Duration::from_secs(70);

/// The state of the measurement of all StatefulSets.
#[derive(Debug)]
pub struct Measuring {
    sets: Mutex<HashMap<SetName, Gauges>>,
    pub(super) due: Triggers,
    pub(super) requests: Mutex<Option<Requests>>,
    pub(super) held: HeldRequests,
}

impl Default for Measuring {
    fn default() -> Self {
        let (due, requests) = queue::triggers();
        Self { sets: Mutex::default(), due, requests: Mutex::new(Some(requests)), held: HeldRequests::default() }
    }
}

impl Measuring {
    /// Stops measuring a StatefulSet, until a reconciliation requests it again.
    pub fn forget(&self, set: &SetName) {
        self.lock().remove(set);
        self.held.forget(set);
    }

    /// The volumes of this Pod that its agent measures are not polled for that time.
    pub(super) fn postpone(&self, set: &SetName, ordinal: Ordinal, time: Duration) {
        if let (Some(gauges), Ok(until)) = (self.lock().get_mut(set), clock::now().checked_add(time)) {
            gauges.postpone(ordinal, until);
        }
    }

    /// The volumes of this Pod are queried when they are due, but after that time at the latest.
    pub(super) fn query_after(&self, set: &SetName, ordinal: Ordinal, time: Duration) {
        if let (Some(gauges), Ok(at)) = (self.lock().get_mut(set), clock::now().checked_add(time)) {
            gauges.advance(ordinal, at);
        }
        self.due.after(set.clone(), time);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<SetName, Gauges>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
