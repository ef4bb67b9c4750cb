//! How many Events may one namespace bring about by what it sends? A bounded number in a window of time, and all together too.
//!
//! Each Event is bounded by what it says already (see `cluster::events`), but a StatefulSet that is made again and again is
//! another object each time.

use std::collections::HashMap;
use std::time::Duration;

/// The window.
const LIMIT_WINDOW: Duration = Duration::from_secs(600);
/// In one window, for one namespace.
const MAX_EVENTS_PER_NAMESPACE: u32 = 20;
/// In one window, for all: a fraction of the queue of Events, which belongs to what the operator itself has to say.
const MAX_EVENTS: u32 = 200;

/// What was told in this window.
#[derive(Debug, Default)]
pub(super) struct EventLimiter {
    since: Duration,
    recorded: HashMap<String, u32>,
    total: u32,
}

impl EventLimiter {
    /// Whether one more may be told about this namespace; then it counts. `now`: time since boot.
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
    fn one_namespace_does_not_use_up_what_the_others_may() {
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
