//! The usage of a volume, and the checks that decide whether a reading of it is plausible.
//!
//! A reading comes from a program in a tenant's Pod, so rso does not trust it until it proves plausible: rso compares
//! it with the capacity that the API server states. Usage without a plausible reading is unknown; rso assumes neither
//! empty nor full.

use std::time::Duration;

use jiff::Timestamp;

use super::claim::Claim;
use super::elapsed;
use crate::api::bytes::{Bytes, Percent};
use crate::api::names::ClaimName;

mod burst;
mod history;
mod pod;
mod read;

pub use burst::{Burst, Rate};
pub use history::History;
pub use pod::{CRASH_LOOP, Failing, Part};
pub use read::{
    AgentVolume, HeldAnswer, MAX_AGENT_BODY, MAX_SUMMARY_BODY, PodVolume, ReadError, read_agent, read_held,
    read_summary,
};

/// The program that measured the usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `rso-agent` in the Pod: current to the second.
    Agent,
    /// The kubelet's `/stats/summary`, which the kubelet recomputes every one to two minutes.
    Kubelet,
}

impl Source {
    /// The maximum age of its readings: three polls of a minute each, and the kubelet's own two minutes.
    pub const fn keeps(self) -> Duration {
        match self {
            Self::Agent => Duration::from_secs(3 * 60),
            Self::Kubelet => Duration::from_secs(5 * 60),
        }
    }

    /// How long after an expansion it may still report the smaller volume.
    const fn lags(self) -> Duration {
        match self {
            Self::Agent => Duration::ZERO,
            Self::Kubelet => Duration::from_secs(2 * 60),
        }
    }

    /// The minimum polling interval: polling more often returns nothing new.
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
    /// The number of all inodes.
    pub total: u64,
    /// The number of inodes that are not in use.
    pub free: u64,
}

/// The usage that a filesystem reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The PVC of the volume.
    pub claim: ClaimName,
    /// The size of the filesystem; less than that of the volume.
    pub total: Bytes,
    /// The space in use.
    pub used: Bytes,
    /// The space that an ordinary user may still write.
    pub available: Bytes,
    /// `None` if the filesystem creates inodes as needed (btrfs).
    pub inodes: Option<Inodes>,
    /// The path is not a mount point of its own: the numbers are those of a larger filesystem around it.
    pub shared: bool,
    /// The bytes per second by which the used space has increased in the last second; only in the answer of an agent to a
    /// held request.
    pub write_rate: Option<u64>,
    /// When it was measured.
    pub at: Timestamp,
    /// The program that measured it.
    pub source: Source,
}

/// Why the usage of a PVC is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// No Pod uses the volume, so nothing can measure it, and nothing can write to it.
    NoPod,
    /// There is no answer yet, and the Pod or the operator has only just started: the next answer is enough.
    NotYet,
    /// Its Pod does not start, or restarts again and again.
    NotRunning(Box<Failing>),
    /// A raw block volume: only its user knows its usage.
    BlockMode,
    /// Neither agent nor kubelet has answered; the reason, for a person.
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

/// What is known of the usage of one PVC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The usage is measured.
    Measured {
        /// The numbers.
        usage: Usage,
        /// How fast it fills.
        rate: Rate,
        /// The PVC's capacity when the usage was measured.
        capacity: Bytes,
    },
    /// The same, and nothing has run since then that could have written or freed anything: the reading is still valid.
    Idle {
        /// The numbers.
        usage: Usage,
        /// How fast it was filling.
        rate: Rate,
        /// The PVC's capacity when the usage was measured.
        capacity: Bytes,
        /// When something that could write last ran.
        since: Timestamp,
    },
    /// The usage is unknown.
    Unknown(Unknown),
}

impl Unknown {
    /// The word that distinguishes the Event messages about it.
    pub fn case(&self) -> String {
        let case = match self {
            Self::NoPod => "no-pod",
            Self::NotYet => "not-yet",
            Self::NotRunning(failing) => return failing.case(),
            Self::BlockMode => "block-mode",
            Self::Silent(_) => "silent",
            Self::Stale => "stale",
            Self::BeforeGrowth => "before-expansion",
            Self::Behind { .. } => "behind",
            Self::Implausible(_) => "implausible",
            Self::NotIsolated => "not-isolated",
        };
        case.to_owned()
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
                "its filesystem has {} of the {} of the volume; restart the Pod so that the node expands the filesystem",
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
    /// used/(used+available), as `df` computes it, rounded down; `None` if the filesystem has no room at all.
    pub fn fullness(&self) -> Option<Percent> {
        Percent::of(self.used.0, self.used.0.saturating_add(self.available.0))
    }

    /// The same for inodes.
    pub fn inode_fullness(&self) -> Option<Percent> {
        let inodes = self.inodes?;
        Percent::of(inodes.total.saturating_sub(inodes.free), inodes.total)
    }

    /// Why the numbers contradict each other, or the limits of Kubernetes.
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

/// Checks what a filesystem reports against the PVC to which it is said to belong, and which fills at this rate.
pub fn judge(usage: Usage, claim: &Claim, rate: Rate) -> Reading {
    if claim.block_mode {
        return Reading::Unknown(Unknown::BlockMode);
    }
    if let Some(why) = usage.contradiction() {
        return Reading::Unknown(Unknown::Implausible(why));
    }
    let Some(capacity) = claim.capacity else { return Reading::Unknown(Unknown::BeforeGrowth) };
    let total = usage.total;
    // A driver may round up, but no filesystem is larger than its volume by more than half: that is the node's disk.
    if usage.shared || total > capacity.saturating_add(Bytes(capacity.0 / 2)) {
        return Reading::Unknown(Unknown::NotIsolated);
    }
    // Metadata takes some space: 64 MiB for the log of a small XFS, up to a tenth for ext4. A filesystem that lacks
    // more is not expanded yet.
    let least = capacity.saturating_sub(Bytes(capacity.0 / 8)).saturating_sub(Bytes::mib(64));
    if total < least {
        return Reading::Unknown(Unknown::Behind { total, capacity });
    }
    Reading::Measured { usage, rate, capacity }
}

impl Reading {
    /// The reading as it counts now: one that is too old, or from before the volume was expanded, is unknown.
    pub fn current(&self, claim: &Claim, now: Timestamp) -> Result<(&Usage, Rate), Unknown> {
        let (usage, rate, capacity, until) = match self {
            Self::Unknown(why) => return Err(why.clone()),
            Self::Measured { usage, rate, capacity } => (usage, *rate, *capacity, now),
            // A reading ages only while something runs.
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
        Ok((usage, rate.aged(elapsed(usage.at, now))))
    }

    /// The reading, if nothing that could have changed the volume has run later than `since`.
    #[must_use]
    pub fn idle_since(self, since: Timestamp) -> Self {
        match self {
            Self::Measured { usage, rate, capacity } | Self::Idle { usage, rate, capacity, .. } => {
                Self::Idle { usage, rate, capacity, since }
            }
            Self::Unknown(why) => Self::Unknown(why),
        }
    }

    /// The fuller of two readings of one PVC, which several Pods may use; a reading takes precedence over none.
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

/// The time until the next poll. A volume with F bytes to its threshold cannot cross it earlier than F / the fastest
/// write rate (bytes per second). The time is at most a minute, so rso notices a source that does not answer.
pub fn next_look(usage: &Usage, threshold: Percent, fastest: u64) -> Duration {
    let room = usage.used.saturating_add(usage.available).share(threshold).saturating_sub(usage.used);
    let earliest = Duration::from_secs(room.0.checked_div(fastest).unwrap_or(u64::MAX).min(60));
    earliest.max(usage.source.soonest_look())
}

#[cfg(test)]
mod tests;
