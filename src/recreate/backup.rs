//! The backup of a StatefulSet, which rso saves for people before it changes the StatefulSet.
//!
//! The backup is a ConfigMap in the namespace of the StatefulSet, and you can restore it with `kubectl` alone. The
//! controller never reads its body, because a tenant can write there (hazard 13).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::archive::{self, ArchiveError, MOST_PARTS, MOST_STORED, MOST_UNPACKED, base64_of, bytes_of, checksum};
use super::manifest::bare;
use super::set::LiveSet;
use crate::api::annotations::{KIND_LABEL, STATEFULSET_LABEL, TRANSACTION};
use crate::api::names::{SetName, Uid};
use crate::api::write::Precondition;

/// The value of the kind label.
pub const KIND: &str = "backup";
/// The key of the body.
pub const BODY: &str = "statefulset.json.gz";
/// The number of backup names to try in a row.
const TRIES: u64 = 3;
/// The number of milliseconds, a year, by which the number of a backup may exceed the time at which it was created.
/// Numbers are counted from 1 or taken from the clock, and a recreation takes longer than a millisecond, so a number
/// never exceeds the clock that produced it; no clock is wrong by a year. A larger number was written by another
/// client, and no number would be left above it.
const BEYOND: u64 = 365 * 24 * 60 * 60 * 1000;
/// The longest name of an object.
const LONGEST_NAME: usize = 253;
/// The longest value of a label.
const LONGEST_LABEL: usize = 63;

/// The name of backup number `n` of a StatefulSet: `<set>-backup-<n>`. If that is too long, the name of the StatefulSet
/// is cut and a hash is appended to it.
pub fn name_of(set: &SetName, number: u64) -> String {
    let ending = format!("-backup-{number}");
    format!("{}{ending}", shortened(&set.name, LONGEST_NAME - ending.len()))
}

/// The numbers to try for a new backup, the next one first. Names that another client has taken cost a few requests;
/// after that, the number is taken from the clock, which no client can take beforehand. That number is below the last
/// one only if the last one exceeds the clock.
pub fn numbers_above(last: Option<u64>, now: Timestamp) -> impl Iterator<Item = u64> {
    let first = last.map_or(1, |last| last.saturating_add(1));
    (0..TRIES).map(move |number| first.saturating_add(number)).chain([milliseconds(now)])
}

fn milliseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}

/// The value of the label that names the StatefulSet of a backup.
pub fn label_of(set: &SetName) -> String {
    shortened(&set.name, LONGEST_LABEL)
}

/// The label selector for the backups of a StatefulSet.
pub fn selector_of(set: &SetName) -> String {
    format!("{KIND_LABEL}={KIND},{STATEFULSET_LABEL}={}", label_of(set))
}

fn shortened(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    let hash = &checksum(name.as_bytes())[..10];
    // A name is ASCII; a cut may leave a dot at the end, before which no name may end.
    let kept: String = name.chars().take(longest - hash.len() - 1).collect();
    format!("{}-{hash}", kept.trim_end_matches(['.', '-']))
}

/// Returns the ConfigMap of a backup.
///
/// # Errors
/// If the StatefulSet does not fit.
pub fn encode(
    set: &SetName,
    live: &LiveSet,
    number: u64,
    transaction: &str,
    reason: &str,
    now: Timestamp,
) -> Result<Value, BackupError> {
    let body = archive::pack(&bare(&live.object))?;
    let sizes: Vec<String> = live.spec.templates.iter().map(|(name, size)| format!("{name}={size}")).collect();
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name_of(set, number),
            "namespace": set.namespace,
            "labels": { KIND_LABEL: KIND, STATEFULSET_LABEL: label_of(set) },
            "annotations": { TRANSACTION: transaction },
        },
        "immutable": true,
        "data": {
            "taken-at": now.to_string(),
            "reason": reason,
            "uid": live.uid.as_str(),
            "resource-version": live.resource_version,
            "sizes": sizes.join(","),
            "sha256": checksum(&body),
        },
        "binaryData": { BODY: base64_of(&body) },
    }))
}

/// The StatefulSet in a backup.
///
/// # Errors
/// Why the backup cannot be read, or why it is not what rso wrote.
pub fn decode(config_map: &Value) -> Result<Value, BackupError> {
    let body = config_map["binaryData"][BODY].as_str().ok_or(BackupError::Missing(BODY))?;
    let body = bytes_of(body)?;
    if config_map["data"]["sha256"] != checksum(&body) {
        return Err(BackupError::Checksum);
    }
    Ok(archive::unpack(&body)?)
}

/// A backup without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupHead {
    /// The ConfigMap's name.
    pub name: String,
    /// The precondition of a write to it.
    pub guard: Precondition,
    /// The transaction that created it.
    pub transaction: Option<String>,
    /// It is being deleted. A finalizer of another controller may keep it forever.
    pub deleting: bool,
}

/// Why a backup cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// A key of the ConfigMap is missing.
    #[error("failed to read the backup: the key {0} is missing")]
    Missing(&'static str),
    /// The body is not what rso wrote.
    #[error("failed to read the backup: its checksum is not that of its body; another client changed it")]
    Checksum,
    /// The body is not gzip of JSON.
    #[error("failed to unpack the backup: {0}")]
    Damaged(String),
    /// The body unpacks to more than any StatefulSet can be.
    #[error("failed to unpack the backup: it holds more than {MOST_UNPACKED} bytes, or {MOST_PARTS} parts")]
    Bomb,
    /// The backup does not fit into a ConfigMap.
    #[error("failed to pack the backup: {0} bytes after compression, a ConfigMap holds {MOST_STORED}")]
    TooLarge(usize),
}

impl From<ArchiveError> for BackupError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Unpack(why) | ArchiveError::Decode(why) => Self::Damaged(why),
            ArchiveError::Bomb => Self::Bomb,
            ArchiveError::TooLarge(size) => Self::TooLarge(size),
        }
    }
}

/// Whether a backup with this number can have been created when this object was. The API server sets the creation time.
pub fn is_plausible(number: u64, metadata: &Value) -> bool {
    let created = metadata["creationTimestamp"].as_str().and_then(|time| time.parse().ok()).map_or(0, milliseconds);
    number <= created.saturating_add(BEYOND)
}

/// The number of a backup of the given StatefulSet, from the name of the backup.
pub fn number_of(set: &SetName, name: &str) -> Option<u64> {
    let number = name.rsplit('-').next()?.parse().ok()?;
    (name_of(set, number) == name).then_some(number)
}

/// Reads the heads of the backups of a StatefulSet from their metadata.
pub fn heads_of<'a>(set: &SetName, metadata: impl Iterator<Item = &'a Value>) -> BTreeMap<u64, BackupHead> {
    metadata.filter_map(|metadata| head_of(set, metadata)).collect()
}

fn head_of(set: &SetName, metadata: &Value) -> Option<(u64, BackupHead)> {
    let name = metadata["name"].as_str()?;
    let number = number_of(set, name).filter(|number| is_plausible(*number, metadata))?;
    let transaction = metadata["annotations"][TRANSACTION].as_str().map(str::to_owned);
    let deleting = !metadata["deletionTimestamp"].is_null();
    Some((number, BackupHead { name: name.to_owned(), guard: Precondition::of(metadata)?, transaction, deleting }))
}

/// The ID of a transaction: different for each one, and not predictable from the object alone.
pub(super) fn transaction_id(uid: &Uid, now: Timestamp) -> String {
    archive::checksum(format!("{uid} {}", now.as_nanosecond()).as_bytes())[..16].to_owned()
}
