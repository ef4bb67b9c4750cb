//! The record of a volume: a JSON file for each volume, written so that a crash leaves it complete.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::class::VolumeClass;
use super::files;
use super::id::VolumeId;
use crate::csi::error::CallError;
use crate::csi::host::durable;

const RECORD_EXTENSION: &str = "json";
/// The record of a volume that is marked for deletion.
const DELETED_RECORD_EXTENSION: &str = "json.deleted";

/// The record of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// The ID that callers use.
    pub id: VolumeId,
    /// The name from the CreateVolume request.
    pub name: String,
    /// The allocated size, bytes.
    pub size: u64,
    /// The parameters of the StorageClass.
    pub class: VolumeClass,
}

/// What the records say about a volume ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    /// The volume has a record.
    Recorded,
    /// The volume is marked for deletion.
    MarkedForDeletion,
    /// There is no record.
    Absent,
}

/// The directory of records.
#[derive(Debug, Clone)]
pub struct RecordFiles {
    directory: PathBuf,
}

impl RecordFiles {
    /// The records in an existing directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Whether a volume has a record or is marked for deletion.
    #[must_use]
    pub fn state(&self, id: &VolumeId) -> RecordState {
        if self.marker_path(id).exists() {
            RecordState::MarkedForDeletion
        } else if self.path(id).exists() {
            RecordState::Recorded
        } else {
            RecordState::Absent
        }
    }

    /// The IDs of all volumes that have a record.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn list(&self) -> Result<Vec<VolumeId>, CallError> {
        files::ids_with(&self.directory, RECORD_EXTENSION)
    }

    /// Reads the record of a volume.
    ///
    /// # Errors
    /// What is wrong with the record, and in which file.
    pub fn read(&self, id: &VolumeId) -> Result<VolumeRecord, String> {
        let path = self.path(id);
        let bytes = fs::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let record: VolumeRecord =
            serde_json::from_slice(&bytes).map_err(|error| format!("{} is damaged: {error}", path.display()))?;
        if record.id != *id {
            return Err(format!("{} is the record of another volume, {}", path.display(), record.id));
        }
        Ok(record)
    }

    /// Writes the record of a volume.
    ///
    /// # Errors
    /// When the file cannot be written; the old record then still exists.
    pub fn write(&self, record: &VolumeRecord) -> Result<(), CallError> {
        let path = self.path(&record.id);
        durable::write(&path, &serde_json::to_vec_pretty(record)?).map_err(CallError::io("write", &path))
    }

    /// Marks a volume for deletion, also one without a record.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn mark_for_deletion(&self, id: &VolumeId) -> Result<(), CallError> {
        let marker = self.marker_path(id);
        match durable::rename(&self.path(id), &marker) {
            // It has no record, or an earlier call marked it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => durable::write(&marker, b""),
            other => other,
        }
        .map_err(CallError::io("write", &marker))
    }

    /// The IDs of all volumes that are marked for deletion.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn marked_for_deletion(&self) -> Result<Vec<VolumeId>, CallError> {
        files::ids_with(&self.directory, DELETED_RECORD_EXTENSION)
    }

    /// Removes the mark of a volume whose data no longer exists.
    ///
    /// # Errors
    /// When the mark cannot be removed.
    pub fn remove_marked(&self, id: &VolumeId) -> Result<(), CallError> {
        let marker = self.marker_path(id);
        durable::remove(&marker).map_err(CallError::io("remove", &marker))
    }

    /// Removes temporary files that an interrupted write left.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove_temporary(&self) -> Result<(), CallError> {
        for (stem, extension) in files::list(&self.directory)? {
            if extension.ends_with(durable::TEMPORARY_EXTENSION) {
                let path = self.directory.join(format!("{stem}.{extension}"));
                durable::remove(&path).map_err(CallError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn path(&self, id: &VolumeId) -> PathBuf {
        files::path(&self.directory, id, RECORD_EXTENSION)
    }

    fn marker_path(&self, id: &VolumeId) -> PathBuf {
        files::path(&self.directory, id, DELETED_RECORD_EXTENSION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csi::volume::class::{BackendKind, Filesystem, Overcommit};

    #[test]
    fn a_record_has_the_fields_that_existing_volumes_have() {
        let directory = tempfile::tempdir().unwrap();
        let records = RecordFiles::new(directory.path());
        let (filesystem, overcommit) = (Filesystem::Ext4, Overcommit::NONE);
        let class = VolumeClass { backend: BackendKind::Image, filesystem, overcommit, max_size: Some(2 << 30) };
        let record = VolumeRecord { id: VolumeId::from_name("pvc-1"), name: "pvc-1".to_owned(), size: 1 << 30, class };
        records.write(&record).unwrap();
        let json: serde_json::Value =
            serde_json::from_slice(&fs::read(directory.path().join("pvc-1.json")).unwrap()).unwrap();
        let class = serde_json::json!({"backend": "image", "filesystem": "ext4", "overcommit": 1000, "max_size": 2_147_483_648_u64});
        let expected = serde_json::json!({"id": "pvc-1", "name": "pvc-1", "size": 1_073_741_824, "class": class});
        assert_eq!(json, expected);
        assert_eq!(records.read(&record.id), Ok(record));
    }
}
