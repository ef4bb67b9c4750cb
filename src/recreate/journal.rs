//! The journal of a recreation: what the recreation intends, and which phase it has reached.
//!
//! The journal is a ConfigMap in the operator's own namespace. The operator writes it before the first change and reads
//! it at startup, so a crash at any point only pauses the recreation. Tenants cannot write in that namespace, so none
//! of them can make the operator create a StatefulSet of their choosing (hazard 13). The body is gzip of JSON with a
//! checksum: a flipped byte is refused, and the unpacked size is limited.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::archive::{
    ArchiveError, MOST_PARTS, MOST_STORED, MOST_UNPACKED, base64_of, bytes_of, checksum, pack, unpack,
};
use super::phase::{Ending, Phase};
use super::set::WhenDeleted;
use crate::api::annotations::KIND_LABEL;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName, Uid};
use crate::api::reasons::Note;
use crate::api::write::Precondition;

/// The version of the format that this operator writes. It reads older versions forever and refuses a newer one.
pub const VERSION: u32 = 1;
/// The key of the body.
const BODY: &str = "journal.json.gz";
/// The value of the kind label.
pub const KIND: &str = "journal";

/// The state before the recreation changes anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `status.updateRevision`.
    pub update_revision: String,
    /// SHA-256 of the canonical Pod template.
    pub template: String,
    /// The Pods by name.
    pub pods: BTreeMap<String, Uid>,
    /// The ControllerRevisions by name.
    pub revisions: BTreeMap<String, Uid>,
}

/// The durable intent of one recreation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// The version of the format.
    pub version: u32,
    /// The ID of the transaction. The new StatefulSet has it as an annotation, by which the operator recognizes the
    /// object that it created.
    pub id: String,
    /// The StatefulSet.
    pub set: SetName,
    /// The UID of the object that is replaced.
    pub uid: Uid,
    /// The UID of the object that replaces it, once that object exists.
    pub successor: Option<Uid>,
    /// The phase that the recreation has reached.
    pub phase: Phase,
    /// When the transaction began.
    pub started_at: Timestamp,
    /// When the phase began. Another write in the same phase keeps this time.
    pub phase_at: Timestamp,
    /// The target size of each template to expand.
    pub targets: BTreeMap<TemplateName, Bytes>,
    /// The reason for the recreation.
    pub reason: String,
    /// The kind of a controller that may own the StatefulSet.
    pub allow_owner: Option<String>,
    /// The final value of `whenDeleted`.
    pub when_deleted: WhenDeleted,
    /// The state before the recreation.
    pub snapshot: Snapshot,
    /// The object to create again, as it was last read: with its uid and resourceVersion, without its status.
    pub image: Value,
    /// Incidents to report to a person at the end.
    pub incidents: Vec<Note>,
    /// How the recreation ended, while the journal waits for the removal of the protective owner references.
    /// [`Ending::Undone`] is set as soon as the rollback begins.
    pub ending: Option<Ending>,
    /// The new StatefulSet has adopted what it could. What it could not adopt is among the incidents and is no longer
    /// waited for.
    #[serde(default)]
    pub adopted: bool,
    /// Pods of the snapshot that were deleted or replaced before the DELETE.
    #[serde(default)]
    pub lost: BTreeSet<String>,
    /// PVCs that referred to the StatefulSet when they got their protective owner references. The StatefulSet
    /// controller restores the references of the PVCs of Pods, but not those of the retained PVCs of scaled-down
    /// replicas.
    #[serde(default)]
    pub owned: BTreeSet<ClaimName>,
}

/// Why a journal cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A part is missing.
    #[error("failed to read the journal: {0} is missing")]
    Missing(&'static str),
    /// The body is not what the operator wrote.
    #[error("failed to read the journal: its checksum is not that of its body; another client changed it")]
    Checksum,
    /// The body cannot be unpacked.
    #[error("failed to unpack the journal: {0}")]
    Unpack(String),
    /// The body unpacks to more than any StatefulSet can be.
    #[error("failed to unpack the journal: it holds more than {MOST_UNPACKED} bytes, or {MOST_PARTS} parts")]
    Bomb,
    /// The body is not a journal.
    #[error("failed to decode the journal: {0}")]
    Decode(String),
    /// A newer operator wrote the journal.
    #[error(
        "failed to decode the journal: version {0} is newer than this operator's {VERSION}; run the newer operator"
    )]
    Newer(u32),
    /// The head and the body differ.
    #[error("failed to read the journal: its {0} differs between head and body; another client changed it")]
    Head(&'static str),
    /// The journal does not fit into a ConfigMap.
    #[error("failed to pack the journal: {0} bytes after compression, a ConfigMap holds {MOST_STORED}")]
    TooLarge(usize),
}

impl From<ArchiveError> for JournalError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Unpack(why) => Self::Unpack(why),
            ArchiveError::Bomb => Self::Bomb,
            ArchiveError::Decode(why) => Self::Decode(why),
            ArchiveError::TooLarge(size) => Self::TooLarge(size),
        }
    }
}

impl Journal {
    /// The name of the ConfigMap.
    pub fn name(&self) -> String {
        name_of(&self.uid)
    }

    /// The same journal in another phase, which begins now.
    pub fn at(&self, phase: Phase, now: Timestamp) -> Self {
        Self { phase, phase_at: now, ..self.clone() }
    }

    /// The ConfigMap, without the precondition that an update adds.
    ///
    /// # Errors
    /// If the journal does not fit.
    pub fn encode(&self, namespace: &str) -> Result<Value, JournalError> {
        let body = pack(&serde_json::to_value(self).map_err(|error| JournalError::Decode(error.to_string()))?)?;
        let mut data = self.head();
        data.insert("version", VERSION.to_string());
        data.insert("sha256", checksum(&body));
        Ok(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.name(),
                "namespace": namespace,
                "labels": { KIND_LABEL: KIND },
            },
            "data": data,
            "binaryData": { BODY: base64_of(&body) },
        }))
    }

    /// The data that is readable without unpacking, by a watch or by a person with `kubectl describe`.
    fn head(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("set", self.set.to_string()),
            ("phase", self.phase.as_str().to_owned()),
            ("phase-at", self.phase_at.to_string()),
        ])
    }

    /// Reads a journal from a ConfigMap, and refuses anything that is not exactly what the operator wrote.
    ///
    /// # Errors
    /// Why the journal cannot be trusted.
    pub fn decode(config_map: &Value) -> Result<Self, JournalError> {
        let data = &config_map["data"];
        let body = config_map["binaryData"][BODY].as_str().ok_or(JournalError::Missing("body"))?;
        let body = bytes_of(body)?;
        if data["sha256"].as_str().ok_or(JournalError::Missing("checksum"))? != checksum(&body) {
            return Err(JournalError::Checksum);
        }
        let version = data["version"].as_str().and_then(|text| text.parse().ok());
        let version: u32 = version.ok_or(JournalError::Missing("version"))?;
        if version > VERSION {
            return Err(JournalError::Newer(version));
        }
        let journal: Self =
            serde_json::from_value(unpack(&body)?).map_err(|error| JournalError::Decode(error.to_string()))?;
        journal.agrees_with(config_map, version)?;
        Ok(journal)
    }

    fn agrees_with(&self, config_map: &Value, version: u32) -> Result<(), JournalError> {
        if self.version != version {
            return Err(JournalError::Head("version"));
        }
        if config_map["metadata"]["name"] != self.name() {
            return Err(JournalError::Head("name"));
        }
        for (key, value) in self.head() {
            if config_map["data"][key] != value {
                return Err(JournalError::Head(key));
            }
        }
        Ok(())
    }
}

/// The name of the journal for the object with this UID.
pub fn name_of(uid: &Uid) -> String {
    format!("rso-journal-{uid}")
}

/// The UID of the object that a journal with this name is for.
pub fn uid_in(name: &str) -> Option<Uid> {
    name.strip_prefix("rso-journal-").map(Uid::new)
}

/// A journal without its body: enough to list the other recreations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalHead {
    /// The ConfigMap's name.
    pub name: String,
    /// The precondition of a write to it.
    pub guard: Precondition,
    /// The StatefulSet.
    pub set: SetName,
    /// The phase that the recreation has reached.
    pub phase: Phase,
    /// When that phase began.
    pub phase_at: Timestamp,
}

/// Reads the head of a journal without unpacking it; `None` if the data is not a valid head.
pub fn head_of(config_map: &Value) -> Option<JournalHead> {
    let data = |key: &str| config_map["data"][key].as_str();
    let (namespace, name) = data("set")?.split_once('/')?;
    let phase = data("phase")?;
    Some(JournalHead {
        name: config_map["metadata"]["name"].as_str()?.to_owned(),
        guard: Precondition::of(&config_map["metadata"])?,
        set: SetName::new(namespace, name),
        phase: Phase::ALL.into_iter().find(|known| known.as_str() == phase)?,
        phase_at: data("phase-at")?.parse().ok()?,
    })
}
