//! The archive in a ConfigMap: JSON that is compressed, limited in size, and encoded. Journal and backup use it.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::parts::parts;

/// The number of bytes that a ConfigMap may hold, without the base64 overhead.
pub const MOST_STORED: usize = 1 << 20;
/// The maximum number of unpacked bytes. etcd accepts no request above 1.5 MiB, so no StatefulSet is larger; the rest
/// is for the snapshot.
pub const MOST_UNPACKED: u64 = 8 << 20;
/// The maximum number of parts in the unpacked JSON. What an operator wrote must be readable forever, so this limit is
/// wide; the operator never writes a StatefulSet of more than [`MOST_PARTS_OF_A_SET`].
pub const MOST_PARTS: usize = 512 << 10;
/// The maximum number of parts of a StatefulSet that is recreated, `managedFields` included. Each part can take 700
/// bytes in memory, and a recreation holds up to five copies: more would exceed the memory of the operator's Pod and
/// end it in the middle of a recreation. A Pod template with 2,000 environment variables has 30,000 parts.
pub const MOST_PARTS_OF_A_SET: usize = 64 << 10;

/// Why an archive cannot be packed or unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes are not base64, or not gzip.
    #[error("failed to unpack: {0}")]
    Unpack(String),
    /// It unpacks to more than any StatefulSet can be.
    #[error("failed to unpack: it holds more than {MOST_UNPACKED} bytes, or {MOST_PARTS} parts")]
    Bomb,
    /// It is not JSON.
    #[error("failed to decode: {0}")]
    Decode(String),
    /// It does not fit into a ConfigMap.
    #[error("failed to pack: {0} bytes after compression, a ConfigMap holds {MOST_STORED}")]
    TooLarge(usize),
}

/// Packs JSON with gzip, small enough for a ConfigMap.
///
/// # Errors
/// If it does not fit.
pub fn pack(value: &Value) -> Result<Vec<u8>, ArchiveError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(value.to_string().as_bytes()).and_then(|()| encoder.finish());
    bounded(written.map_err(|error| ArchiveError::Decode(error.to_string()))?)
}

/// Checks the size against the limit. The API server counts keys and decoded values; 4 KiB remain for the checksum and
/// the other data beside the body.
pub(super) fn bounded(packed: Vec<u8>) -> Result<Vec<u8>, ArchiveError> {
    if packed.len() > MOST_STORED - 4096 {
        return Err(ArchiveError::TooLarge(packed.len()));
    }
    Ok(packed)
}

/// Unpacks gzip to JSON of at most [`MOST_UNPACKED`] bytes and [`MOST_PARTS`] parts.
///
/// # Errors
/// If the data is damaged, too large, or not JSON.
pub fn unpack(packed: &[u8]) -> Result<Value, ArchiveError> {
    let mut text = Vec::new();
    let mut bounded = GzDecoder::new(packed).take(MOST_UNPACKED + 1);
    bounded.read_to_end(&mut text).map_err(|error| ArchiveError::Unpack(error.to_string()))?;
    if text.len() as u64 > MOST_UNPACKED || parts(&text) > MOST_PARTS {
        return Err(ArchiveError::Bomb);
    }
    serde_json::from_slice(&text).map_err(|error| ArchiveError::Decode(error.to_string()))
}

/// SHA-256 in hexadecimal.
pub fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// base64 as Kubernetes writes `binaryData`.
pub fn base64_of(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

/// The bytes of a `binaryData` entry.
///
/// # Errors
/// If the text is not base64.
pub fn bytes_of(text: &str) -> Result<Vec<u8>, ArchiveError> {
    let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text);
    decoded.map_err(|error| ArchiveError::Unpack(error.to_string()))
}
