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
#[derive(Debug, Default)]
pub struct Deferral {
    /// What was to be done, and for which state of the set; another one is tried at once.
    about: Option<String>,
    in_a_row: u32,
    until: Option<Timestamp>,
}

impl Deferral {
    /// How long to wait before `about` is tried, if at all.
    pub fn left(&self, about: &str, now: Timestamp) -> Option<Duration> {
        if self.about.as_deref() != Some(about) {
            return None;
        }
        let left = Duration::try_from(self.until?.duration_since(now)).ok()?;
        (!left.is_zero()).then_some(left)
    }

    /// It was refused: the next try is later each time.
    pub fn refused(&mut self, about: String, now: Timestamp) -> Duration {
        self.in_a_row = if self.about.as_ref() == Some(&about) { self.in_a_row.saturating_add(1) } else { 1 };
        let delay = retry::deferral(self.in_a_row);
        self.until = now.checked_add(delay).ok();
        self.about = Some(about);
        delay
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

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_refusal_holds_for_what_was_refused_only_and_longer_each_time() {
        let mut deferral = Deferral::default();
        assert_eq!(deferral.refused("a".into(), at(0)), Duration::from_secs(1));
        assert_eq!(deferral.left("a", at(0)), Some(Duration::from_secs(1)));
        assert_eq!(deferral.left("b", at(0)), None);
        assert_eq!(deferral.left("a", at(1)), None);
        assert_eq!(deferral.refused("a".into(), at(1)), Duration::from_secs(2));
        assert_eq!(deferral.refused("b".into(), at(1)), Duration::from_secs(1));
    }
}
