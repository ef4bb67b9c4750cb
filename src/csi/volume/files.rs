//! The files of volumes in a directory: `<id>.<extension>`.

use std::fs;
use std::path::{Path, PathBuf};

use super::id::VolumeId;
use crate::csi::error::CallError;

/// The path of a volume's file.
#[must_use]
pub fn path(directory: &Path, id: &VolumeId, extension: &str) -> PathBuf {
    directory.join(format!("{id}.{extension}"))
}

/// The IDs of all volumes that have a file with this extension. `img.new` is one extension.
///
/// # Errors
/// When the directory cannot be listed.
pub fn ids_with(directory: &Path, extension: &str) -> Result<Vec<VolumeId>, CallError> {
    let files = list(directory)?.into_iter().filter(|(_, found)| found == extension);
    Ok(files.filter_map(|(stem, _)| VolumeId::parse(&stem).ok()).collect())
}

/// The names of all files in a directory, split at their first dot.
///
/// # Errors
/// When the directory cannot be listed.
pub fn list(directory: &Path) -> Result<Vec<(String, String)>, CallError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(CallError::io("list", directory))? {
        let entry = entry.map_err(CallError::io("list", directory))?;
        if let Some((stem, extension)) = entry.file_name().to_str().and_then(|name| name.split_once('.')) {
            files.push((stem.to_owned(), extension.to_owned()));
        }
    }
    Ok(files)
}
