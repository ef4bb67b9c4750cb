//! The concurrency limit of recreations, checked before any request to the API server.
//!
//! A StatefulSet that may not begin waits in a line, in the order of its first request, and is triggered when a place
//! becomes free. This costs no request, and nothing has to be rolled back. The limit counts the recreations that this
//! process runs, and the journals in the cache. The cache may be stale, so the preflight checks of the recreation check
//! the limit again, consistently.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::api::names::SetName;
use crate::recreate::concurrency::Flight;

/// How long a triggered StatefulSet keeps its place in line: one that does not begin in that time no longer needs a
/// recreation.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The recreations that run, and those that wait. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct RecreationLimit(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
}

/// The permission to run a recreation; dropping it frees the place.
#[derive(Debug)]
pub struct Permit {
    limit: RecreationLimit,
    set: SetName,
}

/// The result of a request to begin.
#[derive(Debug)]
pub enum Admission {
    /// It may begin.
    Granted(Permit),
    /// Others are first; the StatefulSet is triggered later.
    Waits {
        /// The time of the first request.
        since: Timestamp,
    },
}

#[derive(Debug, Default)]
struct Queue {
    running: HashSet<SetName>,
    waiting: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    set: SetName,
    since: Timestamp,
    called: Option<Timestamp>,
}

impl RecreationLimit {
    /// Requests to begin a recreation, beside these recreations in flight; at most `most` run at the same time.
    pub fn ask(&self, set: &SetName, flights: &[Flight], most: usize, now: Timestamp) -> Admission {
        match self.lock().ask(set, flights, most, now) {
            Ok(()) => Admission::Granted(Permit { limit: self.clone(), set: set.clone() }),
            Err(since) => Admission::Waits { since },
        }
    }

    /// The StatefulSets that may begin now, each returned once, to be triggered.
    pub fn call(&self, flights: &[Flight], most: usize, now: Timestamp) -> Vec<SetName> {
        self.lock().call(flights, most, now)
    }

    /// Reports a change that may free a place.
    pub fn change(&self) {
        self.0.changed.notify_one();
    }

    /// Waits for a change that may free a place.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limit.lock().running.remove(&self.set);
        self.limit.change();
    }
}

impl Queue {
    /// The error: the time of the first request.
    fn ask(&mut self, set: &SetName, flights: &[Flight], most: usize, now: Timestamp) -> Result<(), Timestamp> {
        self.drop_expired(now);
        if !self.waiting.iter().any(|waiter| waiter.set == *set) {
            self.waiting.push(Waiter { set: set.clone(), since: now, called: None });
        }
        let is_first = self.first(flights, most, now).contains(set);
        let place = self.waiting.iter().position(|waiter| waiter.set == *set);
        let Some(waiter) = place.map(|place| &self.waiting[place]) else { return Err(now) };
        if !is_first {
            return Err(waiter.since);
        }
        self.waiting.retain(|waiter| waiter.set != *set);
        self.running.insert(set.clone());
        Ok(())
    }

    fn call(&mut self, flights: &[Flight], most: usize, now: Timestamp) -> Vec<SetName> {
        self.drop_expired(now);
        let first = self.first(flights, most, now);
        let called = self.waiting.iter_mut().filter(|waiter| first.contains(&waiter.set) && waiter.called.is_none());
        called
            .map(|waiter| {
                waiter.called = Some(now);
                waiter.set.clone()
            })
            .collect()
    }

    /// The StatefulSets that may begin now: one a namespace, and up to the limit in the cluster, in the order of the
    /// line.
    fn first(&self, flights: &[Flight], most: usize, now: Timestamp) -> BTreeSet<SetName> {
        let holding = flights.iter().filter(|flight| flight.holds_namespace(now)).map(|flight| &flight.set);
        let mut namespaces: HashSet<&str> = holding.chain(&self.running).map(|set| set.namespace.as_str()).collect();
        let unmanaged = flights.iter().filter(|flight| flight.is_unmanaged(now)).map(|flight| &flight.set);
        let mut taken = unmanaged.chain(&self.running).collect::<HashSet<_>>().len();
        let mut first = BTreeSet::new();
        for waiter in &self.waiting {
            if taken >= most {
                break;
            }
            if namespaces.insert(&waiter.set.namespace) {
                first.insert(waiter.set.clone());
                taken += 1;
            }
        }
        first
    }

    fn drop_expired(&mut self, now: Timestamp) {
        self.waiting.retain(|waiter| {
            waiter.called.is_none_or(|called| now.duration_since(called).unsigned_abs() < CALL_TIMEOUT)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recreate::phase::Phase;

    fn set(name: &str) -> SetName {
        let (namespace, name) = name.split_once('/').unwrap();
        SetName::new(namespace, name)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn flight(name: &str, phase: Phase, since: i64) -> Flight {
        Flight { set: set(name), phase, since: at(since) }
    }

    fn granted(limit: &RecreationLimit, name: &str, flights: &[Flight], second: i64) -> Option<Permit> {
        match limit.ask(&set(name), flights, 2, at(second)) {
            Admission::Granted(ticket) => Some(ticket),
            Admission::Waits { .. } => None,
        }
    }

    #[test]
    fn one_recreation_runs_in_a_namespace_and_the_next_in_line_follows() {
        let limit = RecreationLimit::default();
        let first = granted(&limit, "shop/a", &[], 0);
        assert!(first.is_some());
        assert!(granted(&limit, "shop/b", &[], 1).is_none());
        assert!(granted(&limit, "shop/c", &[], 2).is_none());
        assert!(limit.call(&[], 2, at(3)).is_empty());
        drop(first);
        assert!(granted(&limit, "shop/c", &[], 4).is_none(), "b is first in line");
        assert_eq!(limit.call(&[], 2, at(4)), [set("shop/b")]);
        assert!(limit.call(&[], 2, at(5)).is_empty(), "it is triggered once");
        assert!(granted(&limit, "shop/b", &[], 5).is_some());
    }

    #[test]
    fn a_triggered_statefulset_that_does_not_begin_does_not_block_the_others() {
        let limit = RecreationLimit::default();
        let first = granted(&limit, "shop/a", &[], 0);
        assert!(granted(&limit, "shop/gone", &[], 1).is_none());
        assert!(granted(&limit, "shop/c", &[], 2).is_none());
        drop(first);
        assert_eq!(limit.call(&[], 2, at(3)), [set("shop/gone")]);
        assert_eq!(limit.call(&[], 2, at(13)), [set("shop/c")]);
        assert!(granted(&limit, "shop/c", &[], 13).is_some());
    }

    #[test]
    fn the_limit_in_the_cluster_does_not_count_stuck_recreations() {
        let limit = RecreationLimit::default();
        let held = [granted(&limit, "a/db", &[], 0), granted(&limit, "b/db", &[], 0)];
        assert!(held.iter().all(Option::is_some));
        assert!(granted(&limit, "c/db", &[], 0).is_none());
        drop(held);
        let check = |flights: &[Flight], second, expected: bool| {
            assert_eq!(
                granted(&RecreationLimit::default(), "c/db", flights, second).is_some(),
                expected,
                "{flights:?} {second}"
            );
        };
        let adopting: Vec<_> = (0..10).map(|n| flight(&format!("ns-{n}/db"), Phase::Adopting, 0)).collect();
        check(&adopting, 59, false);
        check(&adopting, 60, true);
        let absent: Vec<_> = (0..2).map(|n| flight(&format!("ns-{n}/db"), Phase::Releasing, 0)).collect();
        check(&absent, 3_600, false);
        check(&[flight("c/other", Phase::Prepared, 0)], 1, false);
        check(&[flight("c/other", Phase::Adopting, 0)], 61, true);
        check(&[flight("c/other", Phase::Guarded, 0)], 1, true);
    }

    #[test]
    fn a_statefulset_has_one_place_in_line_since_its_first_request() {
        let limit = RecreationLimit::default();
        let _first = granted(&limit, "shop/a", &[], 0);
        for second in 1..5 {
            let asked = limit.ask(&set("shop/b"), &[], 2, at(second));
            assert!(matches!(asked, Admission::Waits { since } if since == at(1)));
        }
        assert_eq!(limit.lock().waiting.len(), 1);
    }
}
