//! What does a recreate intend, and how far is it?
//!
//! The journal is a ConfigMap in the operator's own namespace. It is written before the first change and read at start-up, so
//! that a crash at any point is only a pause; tenants cannot write there, so that nobody can make the operator create a
//! set of his choosing (hazard 13). The body is gzip of JSON with a checksum: a flipped byte is refused, and what it
//! unpacks to is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Ending;
use super::precondition::{Guard, guard_of};
use super::set::WhenDeleted;
use crate::api::annotations::KIND_LABEL;
use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, SetName, TemplateName, Uid};
use crate::api::parts::parts;
use crate::api::reasons::Note;

/// The version of the format that is written. Older ones are read for ever; a newer one is refused.
pub const VERSION: u32 = 1;
/// The most a ConfigMap may hold, base64 not counted.
pub const MOST_STORED: usize = 1 << 20;
/// The most that is unpacked: etcd takes no request above 1.5 MiB, so no set is larger; the rest is the snapshot.
pub const MOST_UNPACKED: u64 = 8 << 20;
/// The most parts in what is unpacked. What an operator wrote must be readable for ever, so this bound is wide; a set of more
/// than [`MOST_PARTS_OF_A_SET`] is never written.
pub const MOST_PARTS: usize = 512 << 10;
/// The most parts of a set that is replaced, managedFields included. Each can take 700 bytes once it is read, and a recreate
/// holds up to five copies: more would not fit the memory of the operator's pod, and end it in the middle of a recreate. A
/// pod template with 2,000 environment variables has 30,000.
pub const MOST_PARTS_OF_A_SET: usize = 64 << 10;
/// The key of the body.
const BODY: &str = "journal.json.gz";
/// The value of the kind label.
pub const KIND: &str = "journal";

/// How far a recreate is. Written *before* the action that it permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Permits the backup, the guards, `Retain` and the hold: all of it can be undone.
    Prepared,
    /// Permits the orphaning DELETE of the held object in the image.
    Deleting,
    /// Permits the release of the held object in the image, and then the CREATE.
    Releasing,
    /// The new object is there, and it is ours. Permits to restore what was changed for the CREATE.
    Adopting,
    /// Landed. The claims keep their guards for a while.
    Guarded,
}

impl Phase {
    /// Every phase in order.
    pub const ALL: [Self; 5] = [Self::Prepared, Self::Deleting, Self::Releasing, Self::Adopting, Self::Guarded];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "Prepared",
            Self::Deleting => "Deleting",
            Self::Releasing => "Releasing",
            Self::Adopting => "Adopting",
            Self::Guarded => "Guarded",
        }
    }
}

/// What was there before anything was touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `status.updateRevision`.
    pub update_revision: String,
    /// SHA-256 of the canonical pod template.
    pub template: String,
    /// The pods by name.
    pub pods: BTreeMap<String, Uid>,
    /// The ControllerRevisions by name.
    pub revisions: BTreeMap<String, Uid>,
}

/// The durable intent of one recreate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// The version of the format.
    pub version: u32,
    /// The id of the transaction: on the new set as an annotation, so that we know our own.
    pub id: String,
    /// The set.
    pub set: SetName,
    /// The object that is replaced.
    pub uid: Uid,
    /// The object that replaces it, once it was created.
    pub successor: Option<Uid>,
    /// How far it is.
    pub phase: Phase,
    /// When the transaction began.
    pub started_at: Timestamp,
    /// When the phase began; what is written again in the same phase keeps it.
    pub phase_at: Timestamp,
    /// The size of each template that grows.
    pub targets: BTreeMap<TemplateName, Bytes>,
    /// Why.
    pub reason: String,
    /// The kind of a controller that may own the set.
    pub allow_owner: Option<String>,
    /// What `whenDeleted` is to be in the end.
    pub when_deleted: WhenDeleted,
    /// What was there before.
    pub snapshot: Snapshot,
    /// The object to bring back, as it was last read, with its uid and resourceVersion, without its status.
    pub image: Value,
    /// What a person should hear of at the end.
    pub incidents: Vec<Note>,
    /// How it ended, while it waits to drop the guards; [`Ending::Undone`] already while it is taken back.
    pub ending: Option<Ending>,
    /// The new StatefulSet has adopted what it could; what it could not is among the incidents and no longer waited for.
    #[serde(default)]
    pub adopted: bool,
    /// Pods of the snapshot that were deleted or replaced before the DELETE.
    #[serde(default)]
    pub lost: BTreeSet<String>,
    /// PVCs that referred to the StatefulSet when they got their guards. The StatefulSet controller refers to those of the Pods
    /// again; what scaling down has left it forgets.
    #[serde(default)]
    pub owned: BTreeSet<ClaimName>,
}

/// Why a journal cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A part is missing.
    #[error("failed to read the journal: {0} is missing")]
    Missing(&'static str),
    /// The body is not what was written.
    #[error("failed to read the journal: its checksum is not that of its body; somebody changed it")]
    Checksum,
    /// The body cannot be unpacked.
    #[error("failed to unpack the journal: {0}")]
    Unpack(String),
    /// The body unpacks to more than any set can be.
    #[error("failed to unpack the journal: it holds more than {MOST_UNPACKED} bytes, or {MOST_PARTS} parts")]
    Bomb,
    /// The body is not a journal.
    #[error("failed to decode the journal: {0}")]
    Decode(String),
    /// Written by a newer operator.
    #[error(
        "failed to decode the journal: version {0} is newer than this operator's {VERSION}; run the newer operator"
    )]
    Newer(u32),
    /// Head and body differ.
    #[error("failed to read the journal: its {0} differs between head and body; somebody changed it")]
    Head(&'static str),
    /// It does not fit a ConfigMap.
    #[error("failed to pack the journal: {0} bytes after compression, a ConfigMap holds {MOST_STORED}")]
    TooLarge(usize),
}

impl Journal {
    /// The name of the ConfigMap.
    pub fn name(&self) -> String {
        name_of(&self.uid)
    }

    /// The same, one phase on.
    pub fn at(&self, phase: Phase, now: Timestamp) -> Self {
        Self { phase, phase_at: now, ..self.clone() }
    }

    /// The ConfigMap, without the precondition that an update adds.
    ///
    /// # Errors
    /// When it does not fit.
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

    /// What can be told without unpacking, by a watch or by a person with `kubectl describe`.
    fn head(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("set", self.set.to_string()),
            ("phase", self.phase.as_str().to_owned()),
            ("phase-at", self.phase_at.to_string()),
        ])
    }

    /// Reads a ConfigMap. Whatever is not exactly what was written is refused.
    ///
    /// # Errors
    /// Why it cannot be trusted.
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

/// The name of the journal about this object.
pub fn name_of(uid: &Uid) -> String {
    format!("rso-journal-{uid}")
}

/// The object that a journal of this name is about.
pub fn uid_in(name: &str) -> Option<Uid> {
    name.strip_prefix("rso-journal-").map(Uid::new)
}

/// A journal without its body: enough to know who else is at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalHead {
    /// The ConfigMap's name.
    pub name: String,
    /// The precondition of a write to it.
    pub guard: Guard,
    /// The set.
    pub set: SetName,
    /// How far it is.
    pub phase: Phase,
    /// When it came there.
    pub phase_at: Timestamp,
}

/// Reads the head of a journal without unpacking it; none when it is not a head.
pub fn head_of(config_map: &Value) -> Option<JournalHead> {
    let data = |key: &str| config_map["data"][key].as_str();
    let (namespace, name) = data("set")?.split_once('/')?;
    let phase = data("phase")?;
    Some(JournalHead {
        name: config_map["metadata"]["name"].as_str()?.to_owned(),
        guard: guard_of(&config_map["metadata"])?,
        set: SetName::new(namespace, name),
        phase: Phase::ALL.into_iter().find(|known| known.as_str() == phase)?,
        phase_at: data("phase-at")?.parse().ok()?,
    })
}

/// gzip of JSON, small enough for a ConfigMap.
///
/// # Errors
/// When it is not.
pub fn pack(value: &Value) -> Result<Vec<u8>, JournalError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(value.to_string().as_bytes()).and_then(|()| encoder.finish());
    bounded(written.map_err(|error| JournalError::Decode(error.to_string()))?)
}

/// The server counts keys and decoded values; 4 KiB are left for the checksum and what else stands beside the body.
pub(super) fn bounded(packed: Vec<u8>) -> Result<Vec<u8>, JournalError> {
    if packed.len() > MOST_STORED - 4096 {
        return Err(JournalError::TooLarge(packed.len()));
    }
    Ok(packed)
}

/// The JSON in a gzip, at most [`MOST_UNPACKED`] bytes and [`MOST_PARTS`] parts of it.
///
/// # Errors
/// When it is damaged, too large, or not JSON.
pub fn unpack(packed: &[u8]) -> Result<Value, JournalError> {
    let mut text = Vec::new();
    let mut bounded = GzDecoder::new(packed).take(MOST_UNPACKED + 1);
    bounded.read_to_end(&mut text).map_err(|error| JournalError::Unpack(error.to_string()))?;
    if text.len() as u64 > MOST_UNPACKED || parts(&text) > MOST_PARTS {
        return Err(JournalError::Bomb);
    }
    serde_json::from_slice(&text).map_err(|error| JournalError::Decode(error.to_string()))
}

/// SHA-256 in hexadecimal.
pub fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// base64 as Kubernetes writes `binaryData`.
pub fn base64_of(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

/// The bytes of a `binaryData` entry.
///
/// # Errors
/// When it is not base64.
pub fn bytes_of(text: &str) -> Result<Vec<u8>, JournalError> {
    let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text);
    decoded.map_err(|error| JournalError::Unpack(error.to_string()))
}
