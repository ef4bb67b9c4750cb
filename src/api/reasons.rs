//! Reasons of Events: one list for Events, metrics, logs and the command line.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a person may have to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// For information.
    Normal,
    /// A person may have to act; the message ends with what to do.
    Warning,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $severity:ident $reason:ident,)+) => {
        /// A published Event reason. `docs/guide.md` says what to do about each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[doc = $doc])+ $reason,)+
        }

        impl Reason {
            /// Every reason, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)+];

            /// The reason as the Event carries it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => stringify!($reason),)+
                }
            }

            /// Whether a person may have to act.
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$reason => Severity::$severity,)+
                }
            }

            /// What it means, one sentence.
            #[cfg(feature = "testing")]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$reason => concat!($($doc,)+).trim_ascii(),)+
                }
            }
        }
    };
}

reasons! {
    /// An annotation, an apply, or a larger PVC of the same template requests a larger size.
    Normal ResizeRequested,
    /// Usage reached the threshold, and rso chose a larger size.
    Normal AutoResizeTriggered,
    /// The CSI driver is expanding the volume.
    Normal ClaimExpanding,
    /// The filesystem of the PVC is larger.
    Normal ClaimExpanded,
    /// The StatefulSet is being recreated with larger templates.
    Normal TemplateSyncing,
    /// The StatefulSet has the larger templates.
    Normal TemplateSynced,
    /// An apply requested another size in a template, which cannot change in place; rso recorded the size.
    Normal RequestAbsorbed,
    /// The StatefulSet is saved in a ConfigMap.
    Normal BackupCreated,
    /// The StatefulSet was restored from a backup.
    Normal RestoredFromBackup,
    /// The StorageClass does not allow expansion.
    Warning StorageClassNotExpandable,
    /// A ResourceQuota does not allow the larger size.
    Warning QuotaExceeded,
    /// The volume has to be expanded, but has the largest size that max-size, a LimitRange, or the CSI driver allows.
    Warning MaxSizeReached,
    /// The volume has to be expanded, but its cooldown has not ended.
    Warning CooldownActive,
    /// The usage of the volume is unknown.
    Warning UsageUnknown,
    /// Nothing measures the volume, its Pod reports that the disk is full, and rso expands it: `rescue`.
    Warning RescueTriggered,
    /// Nothing measures the volume, and rso does not expand it: `rescue` has no `max-size`, or its steps are used up.
    Warning RescueRefused,
    /// The CSI driver expands the volume only while no Pod uses it.
    Warning OfflineExpansionNeeded,
    /// The CSI driver cannot provide this size, or a policy of the cluster rejects it.
    Warning ExpansionInfeasible,
    /// An expansion takes too long.
    Warning ExpansionStuck,
    /// rso updates the template later, because the StatefulSet is not stable.
    Warning TemplateSyncDeferred,
    /// rso does not update the template until you resolve the cause.
    Warning TemplateSyncBlocked,
    /// A StatefulSet was deleted soon after a recreation. Its PVC remains, even if the retention policy is to delete it.
    Warning ClaimKept,
    /// An annotation has an invalid value and has no effect.
    Warning InvalidAnnotation,
    /// An annotation with the prefix of rso has a name that rso does not know.
    Warning UnknownAnnotation,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An Event message with its reason: what happened, to which object, and for a Warning what to do.
///
/// Reason, object and case identify it: messages that have the same three are one Event, which becomes a series even if
/// their texts differ. The text is for people and is never compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The reason of the Event.
    pub reason: Reason,
    /// The subject of the message, if it is not the object of the Event: the name of a PVC, a template, an annotation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// Distinguishes what one reason reports about one object: a fixed word, the size that was decided, or the value
    /// that is invalid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub case: String,
    /// The sentence.
    pub text: String,
}

impl Note {
    /// An Event message about the object of the Event.
    pub fn new(reason: Reason, case: impl fmt::Display, text: impl Into<String>) -> Self {
        Self { reason, object: String::new(), case: case.to_string(), text: text.into() }
    }

    /// The template is updated later, without action by a person.
    pub fn deferred(case: impl fmt::Display, text: impl Into<String>) -> Self {
        Self::new(Reason::TemplateSyncDeferred, case, text)
    }

    /// The template is not updated until a person acts.
    pub fn blocked(case: impl fmt::Display, text: impl Into<String>) -> Self {
        Self::new(Reason::TemplateSyncBlocked, case, text)
    }

    /// The same Event message about another object.
    #[must_use]
    pub fn about(self, object: impl fmt::Display) -> Self {
        Self { object: object.to_string(), ..self }
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
        assert_eq!(Note::new(Reason::MaxSizeReached, "limit", "it is full").to_string(), "MaxSizeReached: it is full");
    }
}
