//! Where the golden vectors lie, and their encodings of bytes.

use ::base64::Engine as _;
use serde_json::Value;
use std::path::PathBuf;

/// The directory of the vectors: `SUNDOG_VECTORS`, or the copy in this repository.
pub fn directory() -> PathBuf {
    std::env::var_os("SUNDOG_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")), PathBuf::from)
}

/// One family of vectors, whole.
#[track_caller]
pub fn load(file: &str) -> Value {
    let path = directory().join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Bytes written in base64.
#[track_caller]
pub fn base64(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("base64 text");
    ::base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}

/// Bytes written in base58: keys, hashes, signatures.
#[track_caller]
pub fn base58(value: &Value) -> Vec<u8> {
    bs58::decode(value.as_str().expect("base58 text")).into_vec().expect("base58")
}
