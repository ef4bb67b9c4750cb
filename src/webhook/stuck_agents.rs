//! Where does a new pod get no agent, because another one waits for its own? In the same namespace, for ten minutes.
//!
//! An image that a node cannot pull keeps the pod from starting. The first such pod waits until the image can be had or
//! somebody deletes it; the others of its namespace, and itself when it is made again, start without an agent, and the kubelet
//! measures them. What one namespace does, with credentials that fail or a pod that only looks like this, costs no other
//! namespace its agents.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A pod that is deleted for that reason is gone before it is made again, so it is remembered for a while.
const STUCK_AGENT_RETENTION: Duration = Duration::from_secs(600);

/// When such a pod was last seen, by namespace, as time since boot.
#[derive(Debug, Default)]
pub(super) struct StuckAgents(Mutex<HashMap<String, Duration>>);

impl StuckAgents {
    /// These have one now.
    pub(super) fn record(&self, namespaces: BTreeSet<String>, now: Duration) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, at| is_recent(*at, now));
        seen.extend(namespaces.into_iter().map(|namespace| (namespace, now)));
    }

    /// Whether this one has, or had one lately.
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
    fn a_pod_that_waits_for_its_agent_counts_in_its_namespace_and_for_a_while() {
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
