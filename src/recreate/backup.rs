//! What is saved of a set before it is touched, for people?
//!
//! A ConfigMap in the set's namespace that is restored with `kubectl` alone. The controller never reads its body: a tenant
//! can write there (hazard 13).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::journal::{self, JournalError, MOST_PARTS, MOST_STORED, MOST_UNPACKED, base64_of, bytes_of, checksum};
use super::manifest::bare;
use super::observed::{BackupHead, LiveSet};
use super::precondition::guard_of;
use crate::api::annotations::{KIND_LABEL, STATEFULSET_LABEL, TRANSACTION};
use crate::api::names::{SetName, Uid};

/// The value of the kind label.
pub const KIND: &str = "backup";
/// The key of the body.
pub const BODY: &str = "statefulset.json.gz";
/// Names of backups that are tried in a row.
const TRIES: u64 = 3;
/// By so many milliseconds, a year, may the number of a backup be beyond the time at which it was created. Numbers are
/// counted from 1 or taken from the clock, and a recreate takes longer than a millisecond, so they are never beyond the
/// clock that made them; no clock is wrong by a year. What is larger was written by somebody else, and there would be
/// no number above it.
const BEYOND: u64 = 365 * 24 * 60 * 60 * 1000;
/// The longest name of an object.
const LONGEST_NAME: usize = 253;
/// The longest value of a label.
const LONGEST_LABEL: usize = 63;

/// The name of a set's backup number `n`: `<set>-backup-<n>`, the set's name cut and hashed when that is too long.
pub fn name_of(set: &SetName, number: u64) -> String {
    let ending = format!("-backup-{number}");
    format!("{}{ending}", shortened(&set.name, LONGEST_NAME - ending.len()))
}

/// The numbers to try for a new backup, the next one first. Names that somebody else has taken cost a few requests:
/// then the number is taken from the clock, which nobody can take beforehand. It is below the last only where that is
/// beyond the clock.
pub fn numbers_above(last: Option<u64>, now: Timestamp) -> impl Iterator<Item = u64> {
    let first = last.map_or(1, |last| last.saturating_add(1));
    (0..TRIES).map(move |number| first.saturating_add(number)).chain([milliseconds(now)])
}

fn milliseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}

/// The value of the label that says which set a backup is of.
pub fn label_of(set: &SetName) -> String {
    shortened(&set.name, LONGEST_LABEL)
}

/// The selector of a set's backups.
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

/// The ConfigMap.
///
/// # Errors
/// When the set does not fit.
pub fn encode(
    set: &SetName,
    live: &LiveSet,
    number: u64,
    transaction: &str,
    reason: &str,
    now: Timestamp,
) -> Result<Value, BackupError> {
    let body = journal::pack(&bare(&live.object))?;
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
/// Why it cannot be read, or is not what was written.
pub fn decode(config_map: &Value) -> Result<Value, BackupError> {
    let body = config_map["binaryData"][BODY].as_str().ok_or(BackupError::Missing(BODY))?;
    let body = bytes_of(body)?;
    if config_map["data"]["sha256"] != checksum(&body) {
        return Err(BackupError::Checksum);
    }
    Ok(journal::unpack(&body)?)
}

/// Why a backup cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// A key of the ConfigMap is missing.
    #[error("failed to read the backup: the key {0} is missing")]
    Missing(&'static str),
    /// The body is not what was written.
    #[error("failed to read the backup: its checksum is not that of its body; somebody changed it")]
    Checksum,
    /// The body is not gzip of JSON.
    #[error("failed to unpack the backup: {0}")]
    Damaged(String),
    /// The body unpacks to more than any StatefulSet can be.
    #[error("failed to unpack the backup: it holds more than {MOST_UNPACKED} bytes, or {MOST_PARTS} parts")]
    Bomb,
    /// It does not fit a ConfigMap.
    #[error("failed to pack the backup: {0} bytes after compression, a ConfigMap holds {MOST_STORED}")]
    TooLarge(usize),
}

/// What a backup shares with a journal is how its body is packed.
impl From<JournalError> for BackupError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Missing(what) => Self::Missing(what),
            JournalError::Checksum => Self::Checksum,
            JournalError::Unpack(why) | JournalError::Decode(why) => Self::Damaged(why),
            JournalError::Bomb => Self::Bomb,
            JournalError::TooLarge(size) => Self::TooLarge(size),
            JournalError::Newer(_) | JournalError::Head(_) => Self::Damaged("it has no such part".to_owned()),
        }
    }
}

/// Whether a backup of this number can have been made when this object was: the API server writes the time.
pub fn is_plausible(number: u64, metadata: &Value) -> bool {
    let created = metadata["creationTimestamp"].as_str().and_then(|time| time.parse().ok()).map_or(0, milliseconds);
    number <= created.saturating_add(BEYOND)
}

/// The number of a backup of this set, by its name.
pub fn number_of(set: &SetName, name: &str) -> Option<u64> {
    let number = name.rsplit('-').next()?.parse().ok()?;
    (name_of(set, number) == name).then_some(number)
}

/// Reads the heads of the backups of a set from their metadata.
pub fn heads_of<'a>(set: &SetName, metadata: impl Iterator<Item = &'a Value>) -> BTreeMap<u64, BackupHead> {
    metadata.filter_map(|metadata| head_of(set, metadata)).collect()
}

fn head_of(set: &SetName, metadata: &Value) -> Option<(u64, BackupHead)> {
    let name = metadata["name"].as_str()?;
    let number = number_of(set, name).filter(|number| is_plausible(*number, metadata))?;
    let transaction = metadata["annotations"][TRANSACTION].as_str().map(str::to_owned);
    let deleting = !metadata["deletionTimestamp"].is_null();
    Some((number, BackupHead { name: name.to_owned(), guard: guard_of(metadata)?, transaction, deleting }))
}

/// The id of a transaction: different for each, and not to be guessed from the object alone.
pub(super) fn transaction_id(uid: &Uid, now: Timestamp) -> String {
    journal::checksum(format!("{uid} {}", now.as_nanosecond()).as_bytes())[..16].to_owned()
}
