//! The status of a StatefulSet at one moment: what `-o json` prints and what the screen draws.
//!
//! The names and values in JSON are an interface; where a Rust name differs, `serde` maps it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::api::bytes::{Bytes, Percent};
use crate::api::reasons::{Note, Severity};
use crate::policy::reaction::Longest;

/// A StatefulSet.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetStatus {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) replicas: u32,
    pub(crate) ready_replicas: u32,
    /// Whether rso manages it.
    pub(crate) managed: bool,
    /// What happens to the StatefulSet itself.
    pub(crate) phase: Phase,
    pub(crate) templates: Vec<TemplateStatus>,
    /// What the user should know about the StatefulSet as a whole.
    #[serde(serialize_with = "notes")]
    pub(crate) notes: Vec<Note>,
    /// Recent Events: Warnings first, then the newest.
    pub(crate) events: Vec<EventStatus>,
}

/// What happens to a StatefulSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Phase {
    /// Nothing.
    #[serde(rename = "Settled")]
    Stable,
    /// A user paused it: rso starts nothing.
    Paused,
    /// rso is recreating it with larger templates; its Pods keep running.
    #[serde(rename = "SyncingTemplate")]
    Recreating,
    /// It is being deleted.
    Deleting,
}

impl Phase {
    /// The text on the screen; a stable StatefulSet has none.
    pub(crate) const fn text(self) -> Option<&'static str> {
        match self {
            Self::Stable => None,
            Self::Paused => Some("paused"),
            Self::Recreating => Some("recreation in progress; Pods keep running"),
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
    /// The size it should have, if that is larger.
    pub(crate) wanted: Option<Bytes>,
    #[serde(rename = "growth")]
    pub(crate) expansion: Expansion,
    /// What is in progress, or why nothing is.
    #[serde(serialize_with = "notes")]
    pub(crate) notes: Vec<Note>,
    pub(crate) claims: Vec<ClaimStatus>,
}

/// Whether and how rso expands a template by usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "mode", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Expansion {
    /// Only on request.
    OnRequest,
    /// By usage, as a dry run: rso reports what it would do and changes nothing.
    Recommend(Rule),
    /// By usage.
    ByUsage(Rule),
}

/// When rso expands a template by usage, and by how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    #[serde(serialize_with = "text")]
    pub(crate) threshold: Percent,
    /// A percentage or a size, as in the annotation.
    pub(crate) increase: String,
    pub(crate) max_size: Option<Bytes>,
}

impl Expansion {
    /// The usage at which rso expands it.
    pub(crate) const fn threshold(&self) -> Option<Percent> {
        match self {
            Self::OnRequest => None,
            Self::Recommend(rule) | Self::ByUsage(rule) => Some(rule.threshold),
        }
    }
}

/// The PVC of one replica.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimStatus {
    pub(crate) name: String,
    pub(crate) pod: String,
    pub(crate) class: Option<String>,
    pub(crate) requested: Option<Bytes>,
    /// The size of the volume.
    pub(crate) capacity: Option<Bytes>,
    pub(crate) state: State,
    /// The usage, if it is known.
    pub(crate) usage: Option<UsageStatus>,
    /// Why the usage is unknown.
    pub(crate) unknown: Option<String>,
    /// The time of its last expansion.
    pub(crate) resized_at: Option<Timestamp>,
}

/// The state of a PVC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum State {
    /// It has the size that it requests.
    #[serde(rename = "Settled")]
    Stable,
    /// The CSI driver is expanding the volume.
    #[serde(rename = "Growing")]
    Expanding,
    /// The volume is expanded; the filesystem is not yet.
    #[serde(rename = "GrowingFilesystem")]
    ExpandingFilesystem,
    /// The volume is expanded when its Pod restarts.
    WaitingForPod,
    /// The CSI driver cannot provide the size.
    Infeasible,
    /// It has no volume yet.
    Pending,
    /// Its volume is lost.
    Lost,
    /// It is being deleted.
    Deleting,
    /// The replica has no PVC.
    Missing,
}

impl State {
    /// The text on the screen; a stable PVC has none.
    pub(crate) const fn text(self) -> Option<&'static str> {
        match self {
            Self::Stable => None,
            Self::Expanding => Some("expanding"),
            Self::ExpandingFilesystem => Some("expanding fs"),
            Self::WaitingForPod => Some("restart required"),
            Self::Infeasible => Some("infeasible"),
            Self::Pending => Some("pending"),
            Self::Lost => Some("lost"),
            Self::Deleting => Some("being deleted"),
            Self::Missing => Some("missing"),
        }
    }

    /// Whether a user has to act.
    pub(crate) const fn needs_action(self) -> bool {
        match self {
            Self::Stable | Self::Expanding | Self::ExpandingFilesystem | Self::Pending => false,
            Self::WaitingForPod | Self::Infeasible | Self::Lost | Self::Deleting | Self::Missing => true,
        }
    }
}

/// A measurement of a volume.
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
    /// When the volume is full at its present rate, if that is within an hour.
    #[serde(rename = "fullInSeconds", serialize_with = "seconds")]
    pub(crate) full_in: Option<Duration>,
    /// How long expansions take in the StorageClass, if the operator has measured it.
    #[serde(rename = "reactionSeconds", serialize_with = "longest_seconds")]
    pub(crate) reaction: Option<Longest>,
}

/// An Event of rso.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventStatus {
    pub(crate) at: Timestamp,
    pub(crate) reason: String,
    pub(crate) warning: bool,
    pub(crate) note: String,
    /// The PVC that it regards; `None`: the StatefulSet.
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

fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

fn longest_seconds<S: Serializer>(longest: &Option<Longest>, serializer: S) -> Result<S::Ok, S::Error> {
    seconds(&longest.map(|longest| longest.time), serializer)
}

pub(super) fn notes<S: Serializer>(notes: &[Note], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Printed<'a> {
        reason: &'static str,
        warning: bool,
        text: &'a str,
    }
    serializer.collect_seq(notes.iter().map(|note| Printed {
        reason: note.reason.as_str(),
        warning: note.reason.severity() == Severity::Warning,
        text: &note.text,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_and_values_in_json_stay_the_same() {
        let check = |value: serde_json::Value, expected: &str| assert_eq!(value, serde_json::json!(expected));
        let json = |state: State| serde_json::to_value(state).unwrap();
        check(json(State::Stable), "Settled");
        check(json(State::Expanding), "Growing");
        check(json(State::ExpandingFilesystem), "GrowingFilesystem");
        check(json(State::WaitingForPod), "WaitingForPod");
        check(serde_json::to_value(Phase::Stable).unwrap(), "Settled");
        check(serde_json::to_value(Phase::Recreating).unwrap(), "SyncingTemplate");
        let (size, expansion) = (Bytes::gib(10), Expansion::OnRequest);
        let (notes, claims) = (Vec::new(), Vec::new());
        let template =
            TemplateStatus { name: "data".to_owned(), index: 0, size, wanted: None, expansion, notes, claims };
        let json = serde_json::to_value(template).unwrap();
        assert_eq!(json["growth"], serde_json::json!({"mode": "onRequest"}), "{json}");
    }

    #[test]
    fn an_age_has_one_unit() {
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
