//! How many Events may one namespace bring about by what it sends? A bounded number in a window of time, and all together too.
//!
//! Each Event is bounded by what it says already (see `cluster::events`), but a StatefulSet that is made again and again is
//! another object each time.

use std::collections::HashMap;
use std::time::Duration;

/// The window.
const WINDOW: Duration = Duration::from_secs(600);
/// In one window, for one namespace.
const FOR_A_NAMESPACE: u32 = 20;
/// In one window, for all: a fraction of the queue of Events, which belongs to what the operator itself has to say.
const FOR_ALL: u32 = 200;

/// What was told in this window.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    since: Duration,
    told: HashMap<String, u32>,
    all: u32,
}

impl Allowance {
    /// Whether one more may be told about this namespace; then it counts. `now`: time since boot.
    pub(super) fn allows(&mut self, namespace: &str, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= WINDOW {
            *self = Self { since: now, ..Self::default() };
        }
        if self.all >= FOR_ALL {
            return false;
        }
        let told = self.told.entry(namespace.to_owned()).or_default();
        let allowed = *told < FOR_A_NAMESPACE;
        if allowed {
            *told += 1;
            self.all += 1;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_does_not_use_up_what_the_others_may() {
        let mut allowance = Allowance::default();
        let mut told = |namespace: &str, times: u32, at: u64| {
            (0..times).filter(|_| allowance.allows(namespace, Duration::from_secs(at))).count() as u32
        };
        assert_eq!(told("a", 1_500, 1_000), FOR_A_NAMESPACE);
        assert_eq!(told("b", 5, 1_000), 5);
        assert_eq!(told("a", 5, 1_599), 0);
        assert_eq!(told("a", 5, 1_600), 5);
        let all: u32 = (0..1_500).map(|n| told(&format!("n{n}"), 1, 3_000)).sum();
        assert_eq!(all, FOR_ALL);
    }
}
