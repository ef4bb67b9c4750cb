//! What a volume is called, and why that is safe to use as a file name.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest id; with `.img.new` it is still a legal file name everywhere.
const LONGEST: usize = 64;

/// Marks an id made from a name that could not be used as it is. `_` appears in no other id.
const HASHED: &str = "h_";

/// A volume's id: lower-case letters, digits, `-` and `_`, beginning with a letter or a digit. No path can hide in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeId(String);

/// A text that is no volume id.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a volume id of this driver (a-z, 0-9, '-', '_', at most {LONGEST} long)")]
pub struct BadId(String);

impl VolumeId {
    /// Takes an id from a caller.
    ///
    /// # Errors
    /// When it was never made by [`VolumeId::from_name`].
    pub fn parse(text: &str) -> Result<Self, BadId> {
        let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
        let begins_well = text.bytes().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if begins_well && text.len() <= LONGEST && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadId(text.chars().take(LONGEST).collect()))
        }
    }

    /// The id of the volume of that name: the name itself where it is short and plain (as the provisioner's
    /// `pvc-<uid>` is), so that a person finds the file; else a hash of it. The same name always gives the same id, so
    /// parallel calls of one name meet at one id.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match Self::parse(name) {
            Ok(id) if !name.contains('_') => id,
            Ok(_) | Err(_) => {
                let digest = Sha256::digest(name.as_bytes());
                let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
                Self(format!("{HASHED}{hex}"))
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
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
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
    fn an_id_that_is_a_path_is_refused() {
        for bad in
            ["", "..", "../x", "/etc", "a/b", "a\0b", ".hidden", "-rf", "_x", "A", "a b", "a.img", &"x".repeat(65)]
        {
            assert!(VolumeId::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_name_gives_an_id_that_is_a_plain_file_name(name: String) {
            let id = VolumeId::from_name(&name);
            proptest::prop_assert_eq!(VolumeId::parse(id.as_str()).ok(), Some(id.clone()));
            proptest::prop_assert_eq!(std::path::Path::new(id.as_str()).components().count(), 1);
        }
    }

    #[test]
    fn a_provisioners_name_is_its_own_id() {
        let name = "pvc-0b1d9c2e-5d1c-4a1e-9f57-3f0f1a2b3c4d";
        assert_eq!(VolumeId::from_name(name).as_str(), name);
    }

    #[test]
    fn any_other_name_gives_a_legal_id_that_no_plain_name_can_have() {
        for name in ["../x", "Größe", &"long".repeat(32), "h_0123", "", "a_b"] {
            let id = VolumeId::from_name(name);
            assert!(VolumeId::parse(id.as_str()).is_ok(), "{name:?}");
            assert!(id.as_str().starts_with(HASHED), "{name:?}");
            assert_eq!(VolumeId::from_name(name), id);
            assert_ne!(VolumeId::from_name(id.as_str()), id, "a name that looks like the hash is another volume");
        }
    }
}
