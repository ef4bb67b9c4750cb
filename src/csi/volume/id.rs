//! The ID of a volume, which is always safe as a file name.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The maximum length of an ID, bytes; with `.img.new`, it is still a valid file name on every filesystem.
const MAX_ID_LENGTH: usize = 64;

/// The prefix of an ID that is the hash of a name. No other ID contains `_`.
const HASHED_ID_PREFIX: &str = "h_";

/// The ID of a volume: lowercase letters, digits, `-`, and `_`, beginning with a letter or a digit. It cannot contain a
/// path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeId(String);

/// A text that is not a valid volume ID.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a volume ID of this driver (a-z, 0-9, '-', '_', at most {MAX_ID_LENGTH} characters)")]
pub struct InvalidId(String);

impl VolumeId {
    /// Parses the ID that a caller sent.
    ///
    /// # Errors
    /// When [`VolumeId::from_name`] cannot have returned it.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let is_allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
        let begins_with_letter_or_digit =
            text.bytes().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if begins_with_letter_or_digit && text.len() <= MAX_ID_LENGTH && text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId(text.chars().take(MAX_ID_LENGTH).collect()))
        }
    }

    /// The ID of the volume with this name: the name itself if it is a valid ID without `_` (as `pvc-<uid>` of the
    /// provisioner is), which lets an administrator find the file; otherwise a hash of it. The same name always results
    /// in the same ID, so parallel calls with one name use one ID.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match Self::parse(name) {
            Ok(id) if !name.contains('_') => id,
            Ok(_) | Err(_) => {
                let digest = Sha256::digest(name.as_bytes());
                let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
                Self(format!("{HASHED_ID_PREFIX}{hex}"))
            }
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for VolumeId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::parse(&text)
    }
}

impl From<VolumeId> for String {
    fn from(id: VolumeId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_a_path_is_rejected() {
        for bad in
            ["", "..", "../x", "/etc", "a/b", "a\0b", ".hidden", "-rf", "_x", "A", "a b", "a.img", &"x".repeat(65)]
        {
            assert!(VolumeId::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_name_results_in_an_id_that_is_a_plain_file_name(name: String) {
            let id = VolumeId::from_name(&name);
            proptest::prop_assert_eq!(VolumeId::parse(id.as_str()).ok(), Some(id.clone()));
            proptest::prop_assert_eq!(std::path::Path::new(id.as_str()).components().count(), 1);
        }
    }

    #[test]
    fn a_name_of_the_provisioner_is_its_own_id() {
        let name = "pvc-0b1d9c2e-5d1c-4a1e-9f57-3f0f1a2b3c4d";
        assert_eq!(VolumeId::from_name(name).as_str(), name);
    }

    #[test]
    fn any_other_name_results_in_a_valid_id_that_no_plain_name_has() {
        for name in ["../x", "Größe", &"long".repeat(32), "h_0123", "", "a_b"] {
            let id = VolumeId::from_name(name);
            assert!(VolumeId::parse(id.as_str()).is_ok(), "{name:?}");
            assert!(id.as_str().starts_with(HASHED_ID_PREFIX), "{name:?}");
            assert_eq!(VolumeId::from_name(name), id);
            assert_ne!(VolumeId::from_name(id.as_str()), id, "a name that resembles a hash is another volume");
        }
    }
}
