//! The gates of an expansion by usage, in their order: `decide` stops at the first closed one, and `rso explain` prints them
//! all.

mod table;

pub use table::{Checked, Fix, State, Subject, all};

/// A condition that must hold before rso expands a template by usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The StatefulSet asks for it.
    Managed,
    /// The usage of a replica is known.
    Usage,
    /// A replica is over a threshold.
    Threshold,
    /// No expansion of that replica is in progress.
    Progress,
    /// A larger size is allowed.
    MaxSize,
    /// The last expansion is long enough ago.
    Cooldown,
    /// The StatefulSet is not paused. The controller checks it after the decision.
    NotPaused,
    /// The StorageClass and its driver can expand volumes. It is checked for each PVC, after the decision.
    Expandable,
}

impl Gate {
    /// All of them, in the order in which they are checked.
    pub const ALL: [Self; 8] = [
        Self::Managed,
        Self::Usage,
        Self::Threshold,
        Self::Progress,
        Self::MaxSize,
        Self::Cooldown,
        Self::NotPaused,
        Self::Expandable,
    ];

    /// What holds if it is open, in a few words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Usage => "usage known",
            Self::Threshold => "over threshold",
            Self::Progress => "none in progress",
            Self::MaxSize => "below max-size",
            Self::Cooldown => "cooldown over",
            Self::NotPaused => "not paused",
            Self::Expandable => "expandable",
        }
    }
}
