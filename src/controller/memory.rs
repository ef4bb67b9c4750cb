//! What is remembered of a set between two passes? Nothing that is needed: losing it costs a second look, never a mistake.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName};
use crate::policy::claim::Refusal;
use crate::policy::decide::Trigger;

use super::measure::Gauges;
use super::retry;

/// What is remembered of one set.
#[derive(Debug, Default)]
pub struct Memory {
    /// Sizes that the driver could not make.
    pub refused: HashMap<ClaimName, Refusal>,
    /// Claims on their way to a larger size.
    pub growing: HashMap<ClaimName, Growing>,
    /// How full the volumes are, and when to look again.
    pub gauges: Gauges,
    /// Errors in a row.
    pub errors: u32,
    /// Until when the guards of claims stay, after a recreate of a set that owns them.
    pub guards_until: Option<Timestamp>,
    /// Claims whose growth the API server has refused, and until when they are left alone.
    pub held_back: HashMap<ClaimName, Timestamp>,
    /// When the template may be tried again.
    pub deferral: Deferral,
}

/// A claim on its way.
#[derive(Clone, Debug)]
pub struct Growing {
    /// Of which template.
    pub template: TemplateName,
    /// What it had.
    pub from: Bytes,
    /// When it was asked to grow, or first seen growing.
    pub since: Timestamp,
    /// Why it grows.
    pub trigger: Trigger,
}

/// A template that could not follow is not tried again at every event.
#[derive(Debug)]
pub struct Deferral {
    about: Option<About>,
    in_a_row: u32,
    since: Timestamp,
}

/// What was to be done, and in which state of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// What was to be done; something else is tried at once.
    pub what: String,
    /// The set's resourceVersion; when it is another one, what was in the way may be gone.
    pub resource_version: String,
}

/// A set that changes all the time, as in a rollout, is not tried more often than this.
const AFTER_A_CHANGE: Duration = Duration::from_secs(2);

impl Default for Deferral {
    fn default() -> Self {
        Self { about: None, in_a_row: 0, since: Timestamp::UNIX_EPOCH }
    }
}

impl Deferral {
    /// How long to wait before `about` is tried, if at all.
    pub fn left(&self, about: &About, now: Timestamp) -> Option<Duration> {
        let refused = self.about.as_ref().filter(|refused| refused.what == about.what)?;
        let delay = retry::deferral(self.in_a_row);
        let delay = if refused == about { delay } else { delay.min(AFTER_A_CHANGE) };
        let left = delay.saturating_sub(Duration::try_from(now.duration_since(self.since)).unwrap_or_default());
        (!left.is_zero()).then_some(left)
    }

    /// It was refused: the next try is later each time.
    pub fn refused(&mut self, about: About, now: Timestamp) -> Duration {
        self.in_a_row = if self.about.as_ref() == Some(&about) { self.in_a_row.saturating_add(1) } else { 1 };
        self.since = now;
        self.about = Some(about);
        retry::deferral(self.in_a_row)
    }

    /// It went through.
    pub fn done(&mut self) {
        *self = Self::default();
    }
}

/// The memories of all sets. A pass takes its set's and puts it back, so none is ever shared.
#[derive(Debug, Default)]
pub struct Memories(Mutex<HashMap<SetName, Memory>>);

impl Memories {
    /// Takes what is remembered of a set.
    pub fn take(&self, set: &SetName) -> Memory {
        self.lock().remove(set).unwrap_or_default()
    }

    /// Puts it back.
    pub fn keep(&self, set: SetName, memory: Memory) {
        self.lock().insert(set, memory);
    }

    /// The sets that are remembered.
    pub fn known(&self) -> Vec<SetName> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SetName, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(what: &str, resource_version: &str) -> About {
        About { what: what.into(), resource_version: resource_version.into() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_refusal_holds_for_what_was_refused_only_and_longer_each_time() {
        let mut deferral = Deferral::default();
        assert_eq!(deferral.refused(about("a", "1"), at(0)), Duration::from_secs(1));
        assert_eq!(deferral.left(&about("a", "1"), at(0)), Some(Duration::from_secs(1)));
        assert_eq!(deferral.left(&about("b", "1"), at(0)), None);
        assert_eq!(deferral.left(&about("a", "1"), at(1)), None);
        assert_eq!(deferral.refused(about("a", "1"), at(1)), Duration::from_secs(2));
        assert_eq!(deferral.refused(about("b", "1"), at(1)), Duration::from_secs(1));
    }

    #[test]
    fn a_set_that_has_changed_is_tried_soon_however_long_it_was_refused() {
        let mut deferral = Deferral::default();
        for second in 0..20 {
            deferral.refused(about("a", "1"), at(second));
        }
        assert_eq!(deferral.left(&about("a", "1"), at(20)), Some(Duration::from_secs(119)));
        assert_eq!(deferral.left(&about("a", "2"), at(20)), Some(Duration::from_secs(1)));
        assert_eq!(deferral.left(&about("a", "2"), at(21)), None);
        assert_eq!(deferral.refused(about("a", "2"), at(21)), Duration::from_secs(1));
    }
}
