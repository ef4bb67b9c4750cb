//! Checks of request fields that several calls have.

use crate::csi::error::CallError;
use crate::csi::volume::id::VolumeId;
use crate::csi::volume::record::VolumeRecord;

/// The ID of a volume that must exist. A text that is not a valid ID names a volume that does not exist.
pub(super) fn existing_volume(text: &str) -> Result<VolumeId, CallError> {
    required("volume_id", text)?;
    VolumeId::parse(text).map_err(|error| CallError::NotFound(error.to_string()))
}

/// Checks that a field is not empty.
pub(super) fn required(field: &str, text: &str) -> Result<(), CallError> {
    if text.is_empty() { Err(CallError::InvalidArgument(format!("{field} is required"))) } else { Ok(()) }
}

/// Checks that a volume has the requested filesystem; empty for any filesystem.
pub(super) fn check_filesystem(volume: &VolumeRecord, requested: &str) -> Result<(), CallError> {
    let filesystem = volume.class.filesystem.name();
    if requested.is_empty() || requested == filesystem {
        return Ok(());
    }
    let id = &volume.id;
    Err(CallError::InvalidArgument(format!("the filesystem of volume {id} is {filesystem}, not {requested}")))
}
