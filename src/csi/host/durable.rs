//! Durable file operations: after a crash at any moment, each one is either complete or not done.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// The extension that is added to the name of a file while it is being written.
pub const TEMPORARY_EXTENSION: &str = "tmp";

/// Replaces the content of `path` so that after a crash it is either the old or the new content: temporary file, fsync,
/// rename, fsync of the directory.
///
/// # Errors
/// The error of the filesystem; the old content then still exists.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_added_extension(TEMPORARY_EXTENSION);
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    rename(&temporary, path)
}

/// Renames a file within one directory, durably.
///
/// # Errors
/// The error of the filesystem.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory_of(to)
}

/// Removes a file, durably. A file that does not exist is not an error.
///
/// # Errors
/// The error of the filesystem.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_directory_of(path),
    }
}

/// Makes the names in the directory of `path` survive a power loss.
///
/// # Errors
/// The error of the filesystem.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Whether an error says that the disk is full or the quota is used up.
#[must_use]
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_leaves_no_temporary_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn removing_a_file_that_does_not_exist_succeeds() {
        let directory = tempfile::tempdir().unwrap();
        remove(&directory.path().join("never")).unwrap();
    }
}
