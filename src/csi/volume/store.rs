//! The volumes of this node and the disk space that is allocated to them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::capacity::{DiskSpace, unallocated};
use super::class::Overcommit;
use super::id::VolumeId;
use super::record::{RecordFiles, VolumeRecord};
use crate::csi::error::CallError;

/// What the driver knows about a volume ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeEntry {
    /// A volume that can be used.
    Available(VolumeRecord),
    /// Files that do not form a volume. The driver keeps them until a call deletes the volume.
    Unavailable {
        /// What is wrong, and what to do.
        reason: String,
        /// The size that remains allocated, bytes.
        size: u64,
    },
}

impl VolumeEntry {
    fn allocated(&self) -> u64 {
        match self {
            Self::Available(record) => record.size,
            Self::Unavailable { size, .. } => *size,
        }
    }
}

/// All volumes of this node.
#[derive(Debug)]
pub struct VolumeStore {
    records: RecordFiles,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    entries: BTreeMap<VolumeId, VolumeEntry>,
    /// Bytes reserved for volumes that are being created or expanded.
    reserved: u64,
}

/// Bytes that no other call can allocate, until the reservation is dropped or [`VolumeStore::put`] records it.
#[derive(Debug)]
pub struct Reservation<'a> {
    store: &'a VolumeStore,
    bytes: u64,
}

impl VolumeStore {
    /// A store with the volumes that exist at start.
    #[must_use]
    pub fn new(records: RecordFiles, entries: BTreeMap<VolumeId, VolumeEntry>) -> Self {
        Self { records, index: Mutex::new(Index { entries, reserved: 0 }) }
    }

    /// The entry of a volume ID.
    #[must_use]
    pub fn get(&self, id: &VolumeId) -> Option<VolumeEntry> {
        self.index().entries.get(id).cloned()
    }

    /// The available volumes after `after`, ordered by ID.
    #[must_use]
    pub fn list(&self, after: Option<&VolumeId>) -> Vec<VolumeRecord> {
        let index = self.index();
        let later = index.entries.iter().filter(|(id, _)| after.is_none_or(|after| *id > after));
        let available = |(_, entry): (_, &VolumeEntry)| match entry {
            VolumeEntry::Available(record) => Some(record.clone()),
            VolumeEntry::Unavailable { .. } => None,
        };
        later.filter_map(available).collect()
    }

    /// Bytes that can still be allocated.
    #[must_use]
    pub fn unallocated(&self, disk: DiskSpace, overcommit: Overcommit) -> u64 {
        unallocated(disk, self.index().allocated(), overcommit)
    }

    /// Reserves bytes.
    ///
    /// # Errors
    /// The number of bytes that can be allocated, when it is smaller.
    pub fn reserve(&self, bytes: u64, disk: DiskSpace, overcommit: Overcommit) -> Result<Reservation<'_>, u64> {
        let mut index = self.index();
        let unallocated = unallocated(disk, index.allocated(), overcommit);
        if bytes > unallocated {
            return Err(unallocated);
        }
        index.reserved += bytes;
        Ok(Reservation { store: self, bytes })
    }

    /// Records a volume. From then on, its size counts instead of the reservation.
    ///
    /// # Errors
    /// When the record cannot be written; the old record then still exists.
    pub fn put(&self, record: VolumeRecord, reservation: Reservation<'_>) -> Result<(), CallError> {
        self.records.write(&record)?;
        let mut index = self.index();
        index.entries.insert(record.id.clone(), VolumeEntry::Available(record));
        reservation.release(&mut index);
        Ok(())
    }

    /// Marks a volume for deletion. From then on, the next start completes the deletion if this process does not.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn mark_for_deletion(&self, id: &VolumeId) -> Result<(), CallError> {
        self.records.mark_for_deletion(id)?;
        if let Some(entry) = self.index().entries.get_mut(id) {
            let (reason, size) = ("it is being deleted".to_owned(), entry.allocated());
            *entry = VolumeEntry::Unavailable { reason, size };
        }
        Ok(())
    }

    /// Removes a volume that is marked for deletion and whose data no longer exists.
    ///
    /// # Errors
    /// When the mark cannot be removed.
    pub fn remove_marked(&self, id: &VolumeId) -> Result<(), CallError> {
        self.records.remove_marked(id)?;
        self.index().entries.remove(id);
        Ok(())
    }

    // Each change is one insert or remove, after it is on disk. A poisoned lock therefore guards a consistent value.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn allocated(&self) -> u64 {
        self.entries.values().map(VolumeEntry::allocated).fold(self.reserved, u64::saturating_add)
    }
}

impl Reservation<'_> {
    fn release(mut self, index: &mut Index) {
        index.reserved -= self.bytes;
        self.bytes = 0;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.store.index().reserved -= self.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csi::volume::class::{BackendKind, Filesystem, VolumeClass};

    const GIB: u64 = 1 << 30;
    const DISK: DiskSpace = DiskSpace { available: 100 * GIB, in_volumes: 0 };

    #[test]
    fn parallel_callers_cannot_allocate_more_than_the_disk_space() {
        let directory = tempfile::tempdir().unwrap();
        let store = VolumeStore::new(RecordFiles::new(directory.path()), BTreeMap::new());
        let first = store.reserve(60 * GIB, DISK, Overcommit::NONE).unwrap();
        assert_eq!(store.reserve(41 * GIB, DISK, Overcommit::NONE).unwrap_err(), 40 * GIB);
        let class = VolumeClass {
            backend: BackendKind::Image,
            filesystem: Filesystem::Xfs,
            overcommit: Overcommit::NONE,
            max_size: None,
        };
        let record = VolumeRecord { id: VolumeId::from_name("a"), name: "a".to_owned(), size: 60 * GIB, class };
        store.put(record, first).unwrap();
        assert_eq!(store.unallocated(DISK, Overcommit::NONE), 40 * GIB, "counted once");
        drop(store.reserve(40 * GIB, DISK, Overcommit::NONE).unwrap());
        assert_eq!(store.unallocated(DISK, Overcommit::NONE), 40 * GIB, "a failed call releases its reservation");
    }
}
