//! A rate limit for the Events that requests to the webhook cause: per namespace, and in total.
//!
//! Repeated Events of one object are limited already (see `cluster::events`), but a StatefulSet that is created again
//! and again is a new object each time.

use std::collections::HashMap;
use std::time::Duration;

/// The window of time.
const LIMIT_WINDOW: Duration = Duration::from_secs(600);
/// Events per window for one namespace.
const MAX_EVENTS_PER_NAMESPACE: u32 = 20;
/// Events per window in total: a fraction of the queue of Events, most of which is for the operator's own.
const MAX_EVENTS: u32 = 200;

/// The Events of this window.
#[derive(Debug, Default)]
pub(super) struct EventLimiter {
    since: Duration,
    recorded: HashMap<String, u32>,
    total: u32,
}

impl EventLimiter {
    /// Whether one more Event about this namespace may be recorded; if so, it counts. `now`: time since boot.
    pub(super) fn allows(&mut self, namespace: &str, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= LIMIT_WINDOW {
            *self = Self { since: now, ..Self::default() };
        }
        if self.total >= MAX_EVENTS {
            return false;
        }
        let recorded = self.recorded.entry(namespace.to_owned()).or_default();
        let allowed = *recorded < MAX_EVENTS_PER_NAMESPACE;
        if allowed {
            *recorded += 1;
            self.total += 1;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_does_not_use_up_the_events_of_others() {
        let mut limiter = EventLimiter::default();
        let mut recorded = |namespace: &str, times: u32, at: u64| {
            (0..times).filter(|_| limiter.allows(namespace, Duration::from_secs(at))).count() as u32
        };
        assert_eq!(recorded("a", 1_500, 1_000), MAX_EVENTS_PER_NAMESPACE);
        assert_eq!(recorded("b", 5, 1_000), 5);
        assert_eq!(recorded("a", 5, 1_599), 0);
        assert_eq!(recorded("a", 5, 1_600), 5);
        let total: u32 = (0..1_500).map(|n| recorded(&format!("n{n}"), 1, 3_000)).sum();
        assert_eq!(total, MAX_EVENTS);
    }
}
