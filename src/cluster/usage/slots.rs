//! Limits on concurrent queries: separate for agents that failed last time, and for each namespace. If the
//! NetworkPolicy of a tenant blocks the operator, its silent agents do not use up the slots of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Concurrent queries to agents that responded last time or were never queried.
const MAX_CONCURRENT: usize = 64;
/// The same for agents that failed: 16 a second if all are silent.
const MAX_CONCURRENT_FAILING: usize = 32;
/// The same in one namespace, of either kind: with responses in milliseconds, thousands a second.
const MAX_CONCURRENT_IN_NAMESPACE: usize = 8;
/// At this number, namespaces without queries are evicted.
const MAX_NAMESPACES: usize = 1_000;

/// The slots of all namespaces.
#[derive(Debug)]
pub(super) struct Slots {
    healthy: Pool,
    failing: Pool,
}

#[derive(Debug)]
struct Pool {
    all: Arc<Semaphore>,
    of_namespaces: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A slot, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _of_all: Option<OwnedSemaphorePermit>,
    _of_namespace: Option<OwnedSemaphorePermit>,
}

impl Default for Slots {
    fn default() -> Self {
        Self { healthy: Pool::new(MAX_CONCURRENT), failing: Pool::new(MAX_CONCURRENT_FAILING) }
    }
}

impl Slots {
    /// Waits for a slot. That of the namespace comes first: a query that waits for it takes no shared one.
    pub(super) async fn take(&self, namespace: &str, failing: bool) -> Slot {
        let pool = if failing { &self.failing } else { &self.healthy };
        let of_namespace = pool.of(namespace).acquire_owned().await;
        // No semaphore is ever closed.
        Slot { _of_namespace: of_namespace.ok(), _of_all: pool.all.clone().acquire_owned().await.ok() }
    }
}

impl Pool {
    fn new(all: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), of_namespaces: Mutex::default() }
    }

    fn of(&self, namespace: &str) -> Arc<Semaphore> {
        let mut known = self.of_namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_NAMESPACES {
            // A permit, and a query that waits for one, hold a clone.
            known.retain(|_, slots| Arc::strong_count(slots) > 1);
        }
        known
            .entry(namespace.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(MAX_CONCURRENT_IN_NAMESPACE)))
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_free(slots: &Slots, namespace: &str, failing: bool) -> bool {
        tokio::time::timeout(Duration::from_millis(20), slots.take(namespace, failing)).await.is_ok()
    }

    async fn taken(slots: &Slots, namespace: &str, failing: bool, count: usize) -> Vec<Slot> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(slots.take(namespace, failing).await);
        }
        taken
    }

    #[tokio::test]
    async fn a_namespace_uses_up_only_its_own_slots() {
        let slots = Slots::default();
        let held = taken(&slots, "silent", false, MAX_CONCURRENT_IN_NAMESPACE).await;
        assert!(!is_free(&slots, "silent", false).await);
        assert!(is_free(&slots, "shop", false).await);
        drop(held);
        assert!(is_free(&slots, "silent", false).await);
    }

    #[tokio::test]
    async fn failing_agents_do_not_delay_the_others() {
        let slots = Slots::default();
        let mut held = Vec::new();
        for namespace in 0..MAX_CONCURRENT_FAILING / MAX_CONCURRENT_IN_NAMESPACE {
            held.extend(taken(&slots, &namespace.to_string(), true, MAX_CONCURRENT_IN_NAMESPACE).await);
        }
        assert!(!is_free(&slots, "more", true).await);
        assert!(is_free(&slots, "0", false).await && is_free(&slots, "shop", false).await);
    }

    #[tokio::test]
    async fn unused_namespaces_are_evicted() {
        let slots = Slots::default();
        let _held = slots.take("kept", false).await;
        for namespace in 0..3 * MAX_NAMESPACES {
            drop(slots.take(&namespace.to_string(), false).await);
        }
        let known = slots.healthy.of_namespaces.lock().unwrap();
        assert!(known.len() <= MAX_NAMESPACES && known.contains_key("kept"));
    }
}
