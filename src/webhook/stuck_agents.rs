//! The namespaces in which an agent cannot start. New Pods there get no agent for ten minutes.
//!
//! If a node cannot pull the image, the Pod does not start. The first such Pod waits until the image can be pulled or
//! until the Pod is deleted; the other Pods of its namespace, and its own replacement, start without an agent, and the
//! kubelet measures them. Nothing in one namespace, such as invalid credentials or a Pod that only resembles this,
//! affects the agents of another namespace.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a namespace is remembered: a stuck Pod that is deleted is gone before its replacement is created.
const STUCK_AGENT_RETENTION: Duration = Duration::from_secs(600);

/// The time (since boot) at which a stuck Pod was last observed, by namespace.
#[derive(Debug, Default)]
pub(super) struct StuckAgents(Mutex<HashMap<String, Duration>>);

impl StuckAgents {
    /// Records the namespaces that have a stuck agent now.
    pub(super) fn record(&self, namespaces: BTreeSet<String>, now: Duration) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, at| is_recent(*at, now));
        seen.extend(namespaces.into_iter().map(|namespace| (namespace, now)));
    }

    /// Whether the namespace has, or recently had, a stuck agent.
    pub(super) fn is_in(&self, namespace: &str, now: Duration) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(namespace).is_some_and(|at| is_recent(*at, now))
    }
}

fn is_recent(at: Duration, now: Duration) -> bool {
    now < at.saturating_add(STUCK_AGENT_RETENTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_agent_counts_in_its_own_namespace_and_for_ten_minutes() {
        let stuck = StuckAgents::default();
        let at = Duration::from_secs;
        stuck.record(BTreeSet::from(["a".to_owned()]), at(100));
        let check = |namespace: &str, now: u64, expected: bool| {
            assert_eq!(stuck.is_in(namespace, at(now)), expected, "{namespace} at {now}");
        };
        check("a", 100, true);
        check("b", 100, false);
        check("a", 699, true);
        check("a", 700, false);
        stuck.record(BTreeSet::new(), at(300));
        check("a", 699, true);
        stuck.record(BTreeSet::from(["b".to_owned()]), at(700));
        check("a", 300, false);
        check("b", 700, true);
    }
}
