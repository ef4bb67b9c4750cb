//! Recovery at start: completes or rolls back what a driver left when it stopped, and finds the volumes of this node.
//!
//! A volume is created in this order: data under a temporary name, record, data under its final name. Data under the
//! temporary name is therefore complete if it has a record, and was never returned to a caller if it has none. A volume is
//! deleted in this order: mark, data, mark removed.
//!
//! A record that cannot be read, or data without a record, makes that volume unavailable ([`VolumeEntry::Unavailable`]) and
//! no other.

use std::collections::{BTreeMap, BTreeSet};

use super::backend::Backends;
use super::error::CallError;
use super::volume::id::VolumeId;
use super::volume::record::RecordFiles;
use super::volume::store::{VolumeEntry, VolumeStore};

/// Recovers the volumes of these records and backends.
///
/// # Errors
/// When a file cannot be renamed or removed, or a directory cannot be listed. An unreadable record is not an error.
pub fn recover(records: RecordFiles, backends: &Backends) -> Result<VolumeStore, CallError> {
    for backend in backends.all() {
        backend.recover(&|id| records.state(id))?;
    }
    for id in records.marked_for_deletion()? {
        records.remove_marked(&id)?;
    }
    records.remove_temporary()?;
    let entries = load(&records, backends)?;
    for (id, entry) in &entries {
        if let VolumeEntry::Unavailable { reason, .. } = entry {
            tracing::warn!(volume = %id, reason, "volume unavailable");
        }
    }
    Ok(VolumeStore::new(records, entries))
}

fn load(records: &RecordFiles, backends: &Backends) -> Result<BTreeMap<VolumeId, VolumeEntry>, CallError> {
    let mut ids: BTreeSet<VolumeId> = records.list()?.into_iter().collect();
    for backend in backends.all() {
        ids.extend(backend.list()?);
    }
    let entries = ids.into_iter().map(|id| {
        let entry = entry(records, backends, &id);
        (id, entry)
    });
    Ok(entries.collect())
}

/// Whether record and data form a volume.
fn entry(records: &RecordFiles, backends: &Backends, id: &VolumeId) -> VolumeEntry {
    let unavailable = |problem: String| VolumeEntry::Unavailable {
        reason: format!("{problem}; restore the file and restart the driver, or delete the PersistentVolume"),
        size: backends.all().find_map(|backend| backend.size(id)).unwrap_or(0),
    };
    let record = match records.read(id) {
        Ok(record) => record,
        Err(problem) => return unavailable(problem),
    };
    let backend = backends.get(record.class.backend);
    if backend.size(id).is_none() {
        return unavailable(format!("{} is missing", backend.path(id).display()));
    }
    VolumeEntry::Available(record)
}

#[cfg(test)]
mod tests;
