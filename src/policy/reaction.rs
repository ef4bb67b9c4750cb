//! How long an expansion takes, by StorageClass: from the request until the filesystem is larger.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// How many expansions of a StorageClass are remembered.
const KEPT: usize = 8;
/// How many StorageClasses are remembered: more than any cluster has.
const MAX_CLASSES: usize = 1_024;
/// An expansion that takes longer waited for something else: a Pod, a person, or a driver that is down.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// How long an expansion takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// The longest of the last expansions in the StorageClass.
    Measured(Duration),
    /// There was none yet.
    Assumed(Duration),
}

impl Reaction {
    /// The kubelet is nudged: 0.6 to 1.9 s (measured), and more if several volumes are expanded at once.
    pub const NUDGED: Self = Self::Assumed(Duration::from_secs(5));
    /// The kubelet expands the filesystem when it next synchronizes the Pod, which takes 34 to 69 s with its default
    /// settings (measured), and up to 90 s by its code.
    pub const NOT_NUDGED: Self = Self::Assumed(Duration::from_secs(90));

    /// The time.
    pub const fn time(self) -> Duration {
        match self {
            Self::Measured(time) | Self::Assumed(time) => time,
        }
    }
}

impl Default for Reaction {
    fn default() -> Self {
        Self::NOT_NUDGED
    }
}

/// The longest of the last expansions in a StorageClass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Longest {
    /// How long it took.
    pub time: Duration,
    /// How many expansions it is the longest of: at least one, at most eight.
    pub of: usize,
}

/// The last expansions of each StorageClass.
#[derive(Clone, Debug, Default)]
pub struct Reactions(HashMap<String, VecDeque<Duration>>);

impl Reactions {
    /// Adds an expansion. One that took more than 10 minutes is left out.
    pub fn add(&mut self, class: &str, took: Duration) {
        if took > LONGEST || (self.0.len() >= MAX_CLASSES && !self.0.contains_key(class)) {
            return;
        }
        let of_class = self.0.entry(class.to_owned()).or_default();
        if of_class.len() == KEPT {
            of_class.pop_front();
        }
        of_class.push_back(took);
    }

    /// The longest of the last eight expansions; `None` if there was none.
    pub fn longest(&self, class: &str) -> Option<Longest> {
        let of_class = self.0.get(class)?;
        Some(Longest { time: of_class.iter().max().copied()?, of: of_class.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_the_last_eight_expansions_counts() {
        let check = |took: &[u64], expected: Option<(u64, usize)>| {
            let mut reactions = Reactions::default();
            took.iter().for_each(|millis| reactions.add("fast", Duration::from_millis(*millis)));
            let expected = expected.map(|(millis, of)| Longest { time: Duration::from_millis(millis), of });
            assert_eq!(reactions.longest("fast"), expected, "{took:?}");
            assert_eq!(reactions.longest("slow"), None);
        };
        check(&[], None);
        check(&[400], Some((400, 1)));
        check(&[400, 900, 200], Some((900, 3)));
        check(&[9_000, 1, 2, 3, 4, 5, 6, 7], Some((9_000, 8)));
        check(&[9_000, 1, 2, 3, 4, 5, 6, 7, 8], Some((8, 8)));
        // A Pod that was restarted the next day.
        check(&[400, 86_400_000], Some((400, 1)));
        check(&[600_001], None);
        check(&[600_000], Some((600_000, 1)));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut reactions = Reactions::default();
        (0..5_000).for_each(|n| reactions.add(&format!("class-{n}"), Duration::from_secs(1)));
        assert_eq!(reactions.0.len(), MAX_CLASSES);
        (0..100).for_each(|n| reactions.add("class-0", Duration::from_secs(n)));
        assert_eq!(reactions.0["class-0"].len(), KEPT);
    }
}
