//! What is known of a set at one moment, ready to be shown: what `-o json` prints and what the screen draws.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::api::bytes::{Bytes, Percent};
use crate::api::reasons::{Note, Severity};

/// A StatefulSet.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetStatus {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) replicas: u32,
    pub(crate) ready_replicas: u32,
    /// Whether the operator cares for it.
    pub(crate) managed: bool,
    /// What happens to the set itself.
    pub(crate) phase: Phase,
    pub(crate) templates: Vec<TemplateStatus>,
    /// What a person should know of the set as a whole.
    #[serde(serialize_with = "notes")]
    pub(crate) notes: Vec<Note>,
    /// What was told lately, newest first.
    pub(crate) events: Vec<EventStatus>,
}

/// What happens to a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Phase {
    /// Nothing.
    Settled,
    /// Nothing is started for it, because a person said so.
    Paused,
    /// It is being replaced by one with larger templates; its pods run on.
    SyncingTemplate,
    /// Somebody is deleting it.
    Deleting,
}

impl Phase {
    /// The words on the screen; a settled set needs none.
    pub(crate) const fn words(self) -> Option<&'static str> {
        match self {
            Self::Settled => None,
            Self::Paused => Some("paused"),
            Self::SyncingTemplate => Some("the template is being replaced; pods run on"),
            Self::Deleting => Some("being deleted"),
        }
    }
}

/// An entry of `volumeClaimTemplates`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TemplateStatus {
    pub(crate) name: String,
    pub(crate) index: usize,
    /// The size in the template.
    pub(crate) size: Bytes,
    /// The size it should have, when that is larger.
    pub(crate) wanted: Option<Bytes>,
    pub(crate) growth: Growth,
    /// What is going on, or why nothing is.
    #[serde(serialize_with = "notes")]
    pub(crate) notes: Vec<Note>,
    pub(crate) claims: Vec<ClaimStatus>,
}

/// Whether and how a template grows by usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "mode", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Growth {
    /// Only when asked.
    OnRequest,
    /// Decides and tells, but changes nothing.
    Recommend(Rule),
    /// By usage.
    ByUsage(Rule),
}

/// When a template grows, and by how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    #[serde(serialize_with = "text")]
    pub(crate) threshold: Percent,
    /// A share or a size, as it is written.
    pub(crate) increase: String,
    pub(crate) max_size: Option<Bytes>,
}

impl Growth {
    /// From where on it grows.
    pub(crate) const fn threshold(&self) -> Option<Percent> {
        match self {
            Self::OnRequest => None,
            Self::Recommend(rule) | Self::ByUsage(rule) => Some(rule.threshold),
        }
    }
}

/// The claim of one replica.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimStatus {
    pub(crate) name: String,
    pub(crate) pod: String,
    pub(crate) class: Option<String>,
    pub(crate) requested: Option<Bytes>,
    /// What the volume has.
    pub(crate) capacity: Option<Bytes>,
    pub(crate) state: State,
    /// How full it is, when somebody says so.
    pub(crate) usage: Option<UsageStatus>,
    /// Why nobody says so.
    pub(crate) unknown: Option<String>,
    /// When it grew last.
    pub(crate) resized_at: Option<Timestamp>,
}

/// Where a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum State {
    /// It has what it asks for.
    Settled,
    /// The driver is at it.
    Growing,
    /// The disk is larger; the filesystem follows.
    GrowingFilesystem,
    /// It grows when its pod starts anew.
    WaitingForPod,
    /// The driver cannot make that size.
    Infeasible,
    /// No volume yet.
    Pending,
    /// Its volume is gone.
    Lost,
    /// It is being deleted.
    Deleting,
    /// There should be one, and there is none.
    Missing,
}

impl State {
    /// The words on the screen; a settled claim needs none.
    pub(crate) const fn words(self) -> Option<&'static str> {
        match self {
            Self::Settled => None,
            Self::Growing => Some("growing"),
            Self::GrowingFilesystem => Some("growing fs"),
            Self::WaitingForPod => Some("wants restart"),
            Self::Infeasible => Some("infeasible"),
            Self::Pending => Some("pending"),
            Self::Lost => Some("lost"),
            Self::Deleting => Some("being deleted"),
            Self::Missing => Some("missing"),
        }
    }

    /// Whether a person has to look.
    pub(crate) const fn is_bad(self) -> bool {
        match self {
            Self::Settled | Self::Growing | Self::GrowingFilesystem | Self::Pending => false,
            Self::WaitingForPod | Self::Infeasible | Self::Lost | Self::Deleting | Self::Missing => true,
        }
    }
}

/// A reading of a volume.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageStatus {
    pub(crate) used: Bytes,
    pub(crate) available: Bytes,
    pub(crate) total: Bytes,
    #[serde(serialize_with = "text")]
    pub(crate) full: Percent,
    #[serde(serialize_with = "optional_text")]
    pub(crate) inodes_full: Option<Percent>,
    /// `agent` or `kubelet`.
    pub(crate) source: &'static str,
    pub(crate) at: Timestamp,
}

/// An Event of ours.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventStatus {
    pub(crate) at: Timestamp,
    pub(crate) reason: String,
    pub(crate) warning: bool,
    pub(crate) note: String,
    /// The PVC that it is about; `None`: the StatefulSet.
    pub(crate) claim: Option<String>,
}

/// How long ago, in one unit: `5s`, `3m`, `2h`, `4d`.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn text<S: Serializer>(value: &Percent, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn optional_text<S: Serializer>(value: &Option<Percent>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn notes<S: Serializer>(notes: &[Note], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Told<'a> {
        reason: &'static str,
        warning: bool,
        text: &'a str,
    }
    serializer.collect_seq(notes.iter().map(|note| Told {
        reason: note.reason.as_str(),
        warning: note.reason.severity() == Severity::Warning,
        text: &note.text,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_one_unit() {
        let check = |seconds: i64, expected: &str| {
            let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds);
            assert_eq!(ago(Timestamp::UNIX_EPOCH, now), expected);
        };
        check(-5, "0s");
        check(119, "119s");
        check(120, "2m");
        check(7_199, "119m");
        check(7_200, "2h");
        check(172_800, "2d");
    }
}
