//! The expansion of a volume whose usage nothing can measure: when the evidence that it is full is strong enough, and how
//! often rso believes it.
//!
//! The words are a container's own, and may be a lie: they buy three steps, up to a `max-size` that the same container
//! could fill with zeros, and they reach no other StatefulSet.

use std::time::Duration;

use jiff::Timestamp;

use super::elapsed;
use super::failure::{ContainerFailure, about_full_disk};
use super::values::quote_up_to;
use crate::api::bytes::Percent;

/// The largest number of steps until the usage is measured again.
pub const MOST_STEPS: u32 = 3;
/// The least time between two steps. A container that fails is restarted at least every five minutes, so its words after
/// the last step are known by then.
pub const PAUSE: Duration = Duration::from_secs(10 * 60);
/// How long a reading counts as evidence.
const READING_COUNTS: Duration = Duration::from_secs(24 * 3600);
/// The maximum number of characters that are shown of what a container said.
const SHOWN: usize = 100;
/// The container runtime's own failures: their messages are about the disk of the node.
const OF_THE_NODE: [&str; 3] = ["StartError", "ContainerCannotRun", "ContainerStatusUnknown"];

/// What is known of a volume whose usage nothing measures now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The last reading that there was, if it is known.
    pub last: Option<LastReading>,
    /// The containers of its Pod that do not run.
    pub failures: Vec<ContainerFailure>,
}

/// The last reading of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastReading {
    /// When the volume was measured.
    pub at: Timestamp,
    /// How full it was.
    pub share: Percent,
    /// Whether that is over one of its thresholds.
    pub is_over: bool,
}

/// The steps that were taken already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many since the usage was last measured.
    pub steps: u32,
    /// When the volume was last expanded, for any reason.
    pub last: Option<Timestamp>,
}

/// Whether to take a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Yes; the evidence, in words.
    Step(String),
    /// Later, after this time.
    Wait(Duration),
    /// No.
    No(No),
}

/// Why no step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// Nothing says that the volume is full. A program that fails for another reason needs no larger disk.
    Evidence,
    /// There were three steps, and nothing has measured the volume since.
    Exhausted,
}

/// Whether to take a step.
pub fn judge(evidence: &Evidence, taken: &Taken, now: Timestamp) -> Judgement {
    let Some(proof) = evidence.proof(taken.last, now) else { return Judgement::No(No::Evidence) };
    if taken.steps >= MOST_STEPS {
        return Judgement::No(No::Exhausted);
    }
    let left = taken.last.map_or(Duration::ZERO, |last| PAUSE.saturating_sub(elapsed(last, now)));
    if left.is_zero() { Judgement::Step(proof) } else { Judgement::Wait(left) }
}

impl Evidence {
    /// The evidence that the volume is full, in words: later than its last expansion and than its last reading, since
    /// either may have changed the case.
    fn proof(&self, expanded: Option<Timestamp>, now: Timestamp) -> Option<String> {
        let measured = self.last.as_ref().map(|last| last.at);
        let is_new = |at: Timestamp, since: Option<Timestamp>| since.is_none_or(|since| at > since);
        let said = self.failures.iter().filter_map(|failure| {
            let at = failure.at.filter(|at| is_new(*at, expanded) && is_new(*at, measured))?;
            Some((at, failure.words_about_full_disk()?))
        });
        if let Some((_, words)) = said.max_by_key(|(at, _)| *at) {
            return Some(words);
        }
        let last = self.last.filter(|last| last.is_over && is_new(last.at, expanded))?;
        let age = elapsed(last.at, now);
        (age <= READING_COUNTS).then(|| {
            let share = Percent::whole(last.share.0 / 1_000);
            format!("it was {share} full {} ago, when it was last measured", super::spoken(age))
        })
    }
}

impl ContainerFailure {
    /// `container db says "No space left on device"`, if it ended itself and said so.
    fn words_about_full_disk(&self) -> Option<String> {
        let ended = self.exit_code.is_some_and(|code| code != 0) && !OF_THE_NODE.contains(&self.reason.as_str());
        let said = [&self.message, &self.reason].into_iter().find(|text| about_full_disk(text).is_some());
        let line = line_of(said.filter(|_| ended)?);
        Some(format!("container {} says {}", self.container, quote_up_to(line, SHOWN)))
    }
}

/// The line that says that the disk is full, from so far before those words that they are shown.
fn line_of(text: &str) -> &str {
    let (at, end) = about_full_disk(text).unwrap_or_default();
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let stop = text[end..].find('\n').map_or(text.len(), |newline| end + newline);
    // Each character may be shown with two.
    let start = start.max(text.ceil_char_boundary(end.saturating_sub(SHOWN / 2 + SHOWN / 4).min(at)));
    text[start..stop].trim()
}

#[cfg(test)]
mod tests;
