//! What volumes are there, and how much is promised: one JSON file a volume, kept whole through crashes.
//!
//! A file that cannot be read takes its own volume out of service ([`Entry::Quarantined`]) and no other.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::capacity::{Disk, room};
use super::class::{Class, Overcommit};
use super::id::VolumeId;
use crate::csi::backend::image::{IMAGE, NEW};
use crate::csi::error::Fault;
use crate::csi::host::durable;

const RECORD: &str = "json";
/// A record of a volume that is being deleted.
const DOOMED: &str = "json.deleted";

/// How long a start waits for the programs of a driver that was killed.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// A volume's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// The name it was made by.
    pub name: String,
    /// What was promised, bytes.
    pub size: u64,
    /// What its StorageClass asked for.
    pub class: Class,
}

/// What is known under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A volume.
    Sound(Volume),
    /// Files that make no volume. Nothing is done with them but what a person asks for.
    Quarantined {
        /// What is wrong and what to do.
        reason: String,
        /// What they may still need, bytes.
        size: u64,
    },
}

impl Entry {
    fn promised(&self) -> u64 {
        match self {
            Self::Sound(volume) => volume.size,
            Self::Quarantined { size, .. } => *size,
        }
    }
}

/// Why the driver cannot use its state directory.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be read or written.
    #[error(transparent)]
    Files(#[from] Fault),
    /// Two drivers on one directory would allocate the same disk space twice.
    #[error("another driver is using {}: stop it first", .0.display())]
    InUse(PathBuf),
}

/// All volumes of this node.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    entries: BTreeMap<VolumeId, Entry>,
    /// Bytes promised to volumes that are just being made or grown.
    reserved: u64,
}

/// Bytes that nobody else can be promised, until dropped or turned into a record by [`Store::put`].
#[derive(Debug)]
pub struct Reservation<'a> {
    store: &'a Store,
    bytes: u64,
}

impl Store {
    /// Opens a folder of records, makes it when it is not there, finishes what a crash has interrupted, and removes what
    /// was never handed out. Comes with the lock file: the folder is ours while anybody has it open.
    ///
    /// # Errors
    /// When the folder cannot be used at all, or is in another driver's use. A record that cannot be read is no error.
    pub fn open(folder: &Path) -> Result<(Self, File), OpenError> {
        Self::open_within(folder, PATIENCE)
    }

    fn open_within(folder: &Path, patience: Duration) -> Result<(Self, File), OpenError> {
        fs::create_dir_all(folder).map_err(Fault::io("create", folder))?;
        let lock = lock(folder, patience)?;
        clean(folder)?;
        let entries = load(folder)?;
        for (id, entry) in &entries {
            if let Entry::Quarantined { reason, .. } = entry {
                tracing::warn!(volume = %id, reason, "a volume is out of service");
            }
        }
        Ok((Self { folder: folder.to_owned(), known: Mutex::new(Known { entries, reserved: 0 }) }, lock))
    }

    /// What is known under an id.
    #[must_use]
    pub fn get(&self, id: &VolumeId) -> Option<Entry> {
        self.known().entries.get(id).cloned()
    }

    /// The volumes after `after` in the order of their ids.
    #[must_use]
    pub fn list(&self, after: Option<&VolumeId>) -> Vec<Volume> {
        let known = self.known();
        let later = known.entries.iter().filter(|(id, _)| after.is_none_or(|after| *id > after));
        later
            .filter_map(|(_, entry)| if let Entry::Sound(volume) = entry { Some(volume.clone()) } else { None })
            .collect()
    }

    /// Bytes that can still be promised.
    #[must_use]
    pub fn room(&self, disk: Disk, overcommit: Overcommit) -> u64 {
        room(disk, self.known().promised(), overcommit)
    }

    /// Sets bytes aside, or says how many there are instead.
    ///
    /// # Errors
    /// The room there is, bytes, when it is less.
    pub fn reserve(&self, bytes: u64, disk: Disk, overcommit: Overcommit) -> Result<Reservation<'_>, u64> {
        let mut known = self.known();
        let room = room(disk, known.promised(), overcommit);
        if bytes > room {
            return Err(room);
        }
        known.reserved += bytes;
        Ok(Reservation { store: self, bytes })
    }

    /// Records a volume; from then on its size counts instead of the reservation.
    ///
    /// # Errors
    /// When it could not be written; the old record is then still there.
    pub fn put(&self, volume: Volume, reservation: Reservation<'_>) -> Result<(), Fault> {
        let path = self.record(&volume.id);
        durable::write(&path, &serde_json::to_vec_pretty(&volume)?).map_err(Fault::io("write", &path))?;
        let mut known = self.known();
        known.entries.insert(volume.id.clone(), Entry::Sound(volume));
        reservation.settle(&mut known);
        Ok(())
    }

    /// Decides that a volume is deleted: from here on the next start finishes it, whatever happens now.
    ///
    /// # Errors
    /// When the decision could not be recorded.
    pub fn doom(&self, id: &VolumeId) -> Result<(), Fault> {
        let (record, tombstone) = (self.record(id), self.file(id, DOOMED));
        match durable::rename(&record, &tombstone) {
            // Never recorded, or doomed before.
            Err(error) if error.kind() == io::ErrorKind::NotFound => durable::write(&tombstone, b""),
            other => other,
        }
        .map_err(Fault::io("write", &tombstone))?;
        if let Some(entry) = self.known().entries.get_mut(id) {
            *entry = Entry::Quarantined { reason: "it is being deleted".to_owned(), size: entry.promised() };
        }
        Ok(())
    }

    /// Forgets a doomed volume, whose image is gone.
    ///
    /// # Errors
    /// When the record could not be removed.
    pub fn forget(&self, id: &VolumeId) -> Result<(), Fault> {
        let tombstone = self.file(id, DOOMED);
        durable::remove(&tombstone).map_err(Fault::io("remove", &tombstone))?;
        self.known().entries.remove(id);
        Ok(())
    }

    fn record(&self, id: &VolumeId) -> PathBuf {
        self.file(id, RECORD)
    }

    fn file(&self, id: &VolumeId, extension: &str) -> PathBuf {
        self.folder.join(format!("{id}.{extension}"))
    }

    // Each change is one insert or remove, made after the disk has it: poison means nothing here.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn promised(&self) -> u64 {
        self.entries.values().map(Entry::promised).fold(self.reserved, u64::saturating_add)
    }
}

impl Reservation<'_> {
    fn settle(mut self, known: &mut Known) {
        known.reserved -= self.bytes;
        self.bytes = 0;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.store.known().reserved -= self.bytes;
        }
    }
}

fn lock(folder: &Path, patience: Duration) -> Result<File, OpenError> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(Fault::io("create", &path))?;
    let mut waited = Duration::ZERO;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if waited >= patience {
            return Err(OpenError::InUse(folder.to_owned()));
        }
        std::thread::sleep(PAUSE);
        waited += PAUSE;
    }
    Ok(file)
}

/// The files of the folder by extension (`img.new` is one).
fn files(folder: &Path) -> Result<Vec<(String, String)>, Fault> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Fault::io("list", folder))? {
        let entry = entry.map_err(Fault::io("list", folder))?;
        if let Some((stem, extension)) = entry.file_name().to_str().and_then(|name| name.split_once('.')) {
            files.push((stem.to_owned(), extension.to_owned()));
        }
    }
    Ok(files)
}

/// Finishes or undoes what a crash has interrupted. A volume is made in the order: image under its new name, record,
/// image under its name; so a new image with a record is complete, and one without was never handed out. It is deleted in
/// the order: doomed record, no image, no record.
fn clean(folder: &Path) -> Result<(), Fault> {
    for (stem, extension) in files(folder)? {
        let path = folder.join(format!("{stem}.{extension}"));
        if extension == NEW {
            let (image, record) = (folder.join(format!("{stem}.{IMAGE}")), folder.join(format!("{stem}.{RECORD}")));
            if record.exists() && !image.exists() {
                durable::rename(&path, &image).map_err(Fault::io("name", &image))?;
            } else {
                durable::remove(&path).map_err(Fault::io("remove", &path))?;
            }
        } else if extension == DOOMED {
            let image = folder.join(format!("{stem}.{IMAGE}"));
            durable::remove(&image).map_err(Fault::io("remove", &image))?;
            durable::remove(&path).map_err(Fault::io("remove", &path))?;
        } else if extension.ends_with(durable::UNFINISHED) {
            durable::remove(&path).map_err(Fault::io("remove", &path))?;
        }
    }
    Ok(())
}

fn load(folder: &Path) -> Result<BTreeMap<VolumeId, Entry>, Fault> {
    let mut entries = BTreeMap::new();
    for (stem, extension) in files(folder)? {
        let Ok(id) = VolumeId::parse(&stem) else { continue };
        if extension == RECORD || extension == IMAGE {
            let entry = judge(folder, &id);
            entries.insert(id, entry);
        }
    }
    Ok(entries)
}

/// Whether record and image make a volume.
fn judge(folder: &Path, id: &VolumeId) -> Entry {
    let image = folder.join(format!("{id}.{IMAGE}"));
    let record = folder.join(format!("{id}.{RECORD}"));
    let length = image.metadata().map(|m| m.len()).ok();
    let quarantine = |wrong: String| Entry::Quarantined {
        reason: format!("{wrong}: restore the file, or delete the PersistentVolume"),
        size: length.unwrap_or(0),
    };
    let volume: Volume = match fs::read(&record).map_err(|e| e.to_string()) {
        Err(error) => return quarantine(format!("{} cannot be read: {error}", record.display())),
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Err(error) => return quarantine(format!("{} is damaged: {error}", record.display())),
            Ok(volume) => volume,
        },
    };
    if volume.id != *id {
        return quarantine(format!("{} is the record of {}", record.display(), volume.id));
    }
    if length.is_none() {
        return quarantine(format!("{} is missing", image.display()));
    }
    Entry::Sound(volume)
}

#[cfg(test)]
mod tests;
