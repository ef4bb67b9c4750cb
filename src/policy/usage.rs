//! How full is a volume, and can the one who says so be believed?
//!
//! A reading comes from a program in somebody's pod, so it is hostile until proven plausible: it is compared with the
//! capacity that the API server states. What is not plausible is unknown; it is never taken for empty or for full.

use std::time::Duration;

use jiff::Timestamp;

use super::claim::Claim;
use super::elapsed;
use crate::api::bytes::{Bytes, Percent};
use crate::api::names::ClaimName;

mod history;
mod pod;
mod read;

pub use history::History;
pub use pod::Failing;
pub use read::{AgentVolume, MAX_AGENT_BODY, MAX_SUMMARY_BODY, PodVolume, ReadError, read_agent, read_summary};

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `rso-agent` in the pod: fresh to the second.
    Agent,
    /// The kubelet's `/stats/summary`, which it computes anew every one to two minutes.
    Kubelet,
}

impl Source {
    /// How old what it says may be: three looks of a minute each, and the kubelet's own two minutes.
    pub const fn keeps(self) -> Duration {
        match self {
            Self::Agent => Duration::from_secs(3 * 60),
            Self::Kubelet => Duration::from_secs(5 * 60),
        }
    }

    /// How long after a growth it may still speak of the smaller volume.
    const fn lags(self) -> Duration {
        match self {
            Self::Agent => Duration::ZERO,
            Self::Kubelet => Duration::from_secs(2 * 60),
        }
    }

    /// Looking more often than this shows nothing new.
    const fn soonest_look(self) -> Duration {
        match self {
            Self::Agent => Duration::from_secs(1),
            Self::Kubelet => Duration::from_secs(15),
        }
    }
}

/// The inodes of a filesystem that has a fixed number of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inodes {
    /// All of them.
    pub total: u64,
    /// Those in no use.
    pub free: u64,
}

/// What a filesystem says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The claim it is the volume of.
    pub claim: ClaimName,
    /// The size of the filesystem; less than that of the volume.
    pub total: Bytes,
    /// What is in use.
    pub used: Bytes,
    /// What an ordinary user may still write.
    pub available: Bytes,
    /// None where inodes are made as needed (btrfs).
    pub inodes: Option<Inodes>,
    /// The path is no mount of its own: the numbers are those of a larger filesystem around it.
    pub shared: bool,
    /// When it was measured.
    pub at: Timestamp,
    /// Who measured.
    pub source: Source,
}

/// Why the fullness of a claim is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// No Pod uses the volume, so nothing can measure it, and nothing can write to it.
    NoPod,
    /// There is no answer yet, and the Pod or the operator has only just started: the next answer is enough.
    NotYet,
    /// Its Pod does not start, or restarts again and again.
    NotRunning(Failing),
    /// A raw block volume: only its user knows.
    BlockMode,
    /// Neither agent nor kubelet has answered; why, for a person.
    Silent(String),
    /// The last answer is too old.
    Stale,
    /// The answer is from before the last expansion; the next one is enough.
    BeforeGrowth,
    /// The filesystem is much smaller than its volume: it was not expanded with it.
    Behind {
        /// The filesystem's size.
        total: Bytes,
        /// The volume's size.
        capacity: Bytes,
    },
    /// The numbers contradict each other.
    Implausible(String),
    /// The path is not a volume of its own, so its numbers are those of the node's disk.
    NotIsolated,
}

/// What is known of one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is this full.
    Measured {
        /// The numbers.
        usage: Usage,
        /// How fast it has filled lately, in bytes per second; 0 when it has not, or nobody knows.
        rate: u64,
        /// The claim's capacity when it was measured.
        capacity: Bytes,
    },
    /// The same, and nothing has run since that could have written or freed anything: it is as good as it was then.
    Idle {
        /// The numbers.
        usage: Usage,
        /// How fast it was filling.
        rate: u64,
        /// The claim's capacity when it was measured.
        capacity: Bytes,
        /// When something ran last that could write.
        since: Timestamp,
    },
    /// Nobody knows.
    Unknown(Unknown),
}

impl Unknown {
    /// The word by which notes about it are told apart.
    pub const fn case(&self) -> &'static str {
        match self {
            Self::NoPod => "no-pod",
            Self::NotYet => "not-yet",
            Self::NotRunning(_) => "not-running",
            Self::BlockMode => "block-mode",
            Self::Silent(_) => "silent",
            Self::Stale => "stale",
            Self::BeforeGrowth => "before-expansion",
            Self::Behind { .. } => "behind",
            Self::Implausible(_) => "implausible",
            Self::NotIsolated => "not-isolated",
        }
    }

    /// For a person: why the usage of this PVC is unknown, and what to do.
    pub fn explained(&self, claim: &Claim) -> String {
        match self {
            Self::NoPod => "no Pod uses it".to_owned(),
            Self::NotYet => "its Pod has just started, or has not been measured yet; wait a minute or two".to_owned(),
            Self::NotRunning(failing) => failing.explained(claim),
            Self::BlockMode => "it is a raw block volume; request sizes with resize.<template>".to_owned(),
            Self::Silent(why) => format!(
                "no answer ({why}); check the rso-agent container, or that the account of --kubelet-account may get nodes/stats"
            ),
            Self::Stale => "the last answer is too old; check the rso-agent container".to_owned(),
            Self::BeforeGrowth => "the last answer is from before its expansion; wait a minute or two".to_owned(),
            Self::Behind { total, capacity } => format!(
                "its filesystem has {} of the {} of the volume; restart the Pod, so that the node expands the filesystem",
                total.human(),
                capacity.human()
            ),
            Self::Implausible(why) => {
                format!("the reported usage is inconsistent ({why}); check the rso-agent container of the Pod")
            }
            Self::NotIsolated => {
                "it is a directory on the node's disk, not a separate filesystem, so expanding it has no effect"
                    .to_owned()
            }
        }
    }
}

impl Usage {
    /// used/(used+available), as `df` tells it, rounded down; none when the filesystem has no room at all.
    pub fn fullness(&self) -> Option<Percent> {
        Percent::of(self.used.0, self.used.0.saturating_add(self.available.0))
    }

    /// The same for inodes.
    pub fn inode_fullness(&self) -> Option<Percent> {
        let inodes = self.inodes?;
        Percent::of(inodes.total.saturating_sub(inodes.free), inodes.total)
    }

    /// The numbers contradict each other, or the limits of Kubernetes.
    fn contradiction(&self) -> Option<String> {
        let (total, used, available) = (self.total, self.used, self.available);
        if total == Bytes(0) || total > Bytes::MAX {
            return Some(format!("a filesystem of {} bytes", total.0));
        }
        if used > total || available > total.saturating_sub(used) {
            return Some(format!("{} used and {} available of {} bytes", used.0, available.0, total.0));
        }
        match self.inodes {
            Some(Inodes { total, free }) if free > total => Some(format!("{free} inodes free of {total}")),
            Some(_) | None => None,
        }
    }
}

/// Judges what a filesystem says against the claim it is said to be of. `rate` is [`History::rate`].
pub fn judge(usage: Usage, claim: &Claim, rate: u64) -> Reading {
    if claim.block_mode {
        return Reading::Unknown(Unknown::BlockMode);
    }
    if let Some(why) = usage.contradiction() {
        return Reading::Unknown(Unknown::Implausible(why));
    }
    let Some(capacity) = claim.capacity else { return Reading::Unknown(Unknown::BeforeGrowth) };
    let total = usage.total;
    // A driver may round up, but no filesystem is half as large again as its volume: that is the node's disk.
    if usage.shared || total > capacity.saturating_add(Bytes(capacity.0 / 2)) {
        return Reading::Unknown(Unknown::NotIsolated);
    }
    // Metadata takes some: the log of a small XFS 64 MiB, ext4 up to a tenth. What misses more has not grown yet.
    let least = capacity.saturating_sub(Bytes(capacity.0 / 8)).saturating_sub(Bytes::mib(64));
    if total < least {
        return Reading::Unknown(Unknown::Behind { total, capacity });
    }
    Reading::Measured { usage, rate, capacity }
}

impl Reading {
    /// The reading as it counts now: too old, or of the volume before it grew, is unknown.
    pub fn current(&self, claim: &Claim, now: Timestamp) -> Result<(&Usage, u64), Unknown> {
        let (usage, rate, capacity, until) = match self {
            Self::Unknown(why) => return Err(why.clone()),
            Self::Measured { usage, rate, capacity } => (usage, *rate, *capacity, now),
            // It ages only while something runs.
            Self::Idle { usage, rate, capacity, since } => (usage, *rate, *capacity, now.min(*since)),
        };
        let lagging = claim.resized_at.is_some_and(|at| {
            // An annotation from the future cannot be later than what was measured after it was read.
            at <= now && (usage.at <= at || elapsed(at, usage.at) < usage.source.lags())
        });
        if lagging || claim.capacity != Some(capacity) {
            return Err(Unknown::BeforeGrowth);
        }
        if elapsed(usage.at, until) > usage.source.keeps() {
            return Err(Unknown::Stale);
        }
        Ok((usage, rate))
    }

    /// The reading, when nothing has run later than `since` that could have changed the volume.
    #[must_use]
    pub fn idle_since(self, since: Timestamp) -> Self {
        match self {
            Self::Measured { usage, rate, capacity } | Self::Idle { usage, rate, capacity, .. } => {
                Self::Idle { usage, rate, capacity, since }
            }
            Self::Unknown(why) => Self::Unknown(why),
        }
    }

    /// Of two readings of one claim (several pods may use it): the fuller, and any before none.
    pub fn fuller(self, other: Self) -> Self {
        let fullness = |reading: &Self| match reading {
            Self::Measured { usage, .. } | Self::Idle { usage, .. } => {
                Some((usage.fullness().max(usage.inode_fullness()), usage.at))
            }
            Self::Unknown(_) => None,
        };
        if fullness(&other) > fullness(&self) { other } else { self }
    }
}

/// When to look again: a volume with F bytes to its threshold cannot cross it earlier than F / the fastest write rate
/// (bytes per second). At most a minute, so that silence is noticed.
pub fn next_look(usage: &Usage, threshold: Percent, fastest: u64) -> Duration {
    let room = usage.used.saturating_add(usage.available).share(threshold).saturating_sub(usage.used);
    let earliest = Duration::from_secs(room.0.checked_div(fastest).unwrap_or(u64::MAX).min(60));
    earliest.max(usage.source.soonest_look())
}

#[cfg(test)]
mod tests;
