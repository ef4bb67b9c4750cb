//! Why something happened or did not: the reasons of Events, one list for Events, metrics, logs and the command line.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a person has to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// All goes as it should.
    Normal,
    /// Somebody may have to act; the note ends with what to do.
    Warning,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $severity:ident $reason:ident,)+) => {
        /// A published Event reason. `docs/guide.md` tells what to do about each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[doc = $doc])+ $reason,)+
        }

        impl Reason {
            /// Every reason, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)+];

            /// The word in the Event.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => stringify!($reason),)+
                }
            }

            /// Whether a person has to look.
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$reason => Severity::$severity,)+
                }
            }

            /// What it means, one sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$reason => concat!($($doc,)+).trim_ascii(),)+
                }
            }
        }
    };
}

reasons! {
    /// An annotation, an apply, or a sibling that somebody made larger, asks for a larger size.
    Normal ResizeRequested,
    /// Usage reached the threshold and a size was chosen.
    Normal AutoResizeTriggered,
    /// A claim was asked to grow and the driver is at it.
    Normal ClaimExpanding,
    /// The filesystem of a claim is larger.
    Normal ClaimExpanded,
    /// The recreate with the larger template has begun.
    Normal TemplateSyncing,
    /// The set carries the larger template; no pod was restarted.
    Normal TemplateSynced,
    /// An apply asked for a template that cannot be changed in place; it was recorded instead.
    Normal RequestAbsorbed,
    /// The set was saved to a ConfigMap before it was touched.
    Normal BackupCreated,
    /// The set was made again from a backup.
    Normal RestoredFromBackup,
    /// The storage class does not allow expansion.
    Warning StorageClassNotExpandable,
    /// A quota leaves no room for the larger size.
    Warning QuotaExceeded,
    /// The volume should grow, but has the largest size that max-size, a LimitRange or the driver allows.
    Warning MaxSizeReached,
    /// The volume should grow, but grew too recently.
    Warning CooldownActive,
    /// Nobody says how full the volume is.
    Warning UsageUnknown,
    /// The driver grows a volume only while no pod uses it.
    Warning OfflineExpansionNeeded,
    /// The driver, or a policy of the cluster, refuses this size.
    Warning ExpansionInfeasible,
    /// The driver has been growing a volume for too long.
    Warning ExpansionStuck,
    /// The template follows later: the set is not settled.
    Warning TemplateSyncDeferred,
    /// The template cannot follow until a person acts.
    Warning TemplateSyncBlocked,
    /// A StatefulSet was deleted soon after a recreate, and its PVC stays although its retention policy may say otherwise.
    Warning ClaimKept,
    /// An annotation cannot be read and has no effect.
    Warning InvalidAnnotation,
    /// A key under the prefix that does not exist.
    Warning UnknownAnnotation,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reason with what a person should know: what, how much, and at the end what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The word.
    pub reason: Reason,
    /// The sentence.
    pub text: String,
}

impl Note {
    /// Joins a reason and its sentence.
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_shown_with_its_reason() {
        assert_eq!(Note::new(Reason::MaxSizeReached, "it is full").to_string(), "MaxSizeReached: it is full");
    }
}
