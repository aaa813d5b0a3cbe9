//! Reads the golden vectors.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::path::PathBuf;
use sundog_types::sign::Identity;

/// A file of the vectors.
pub fn file(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("SUNDOG_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")), PathBuf::from);
    let path = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A family of vectors.
pub fn family(name: &str) -> Value {
    serde_json::from_slice(&file(name)).expect("JSON")
}

/// A list in an object.
#[track_caller]
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list {key}"))
}

/// A number in an object.
#[track_caller]
pub fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no number {key}"))
}

/// A text in an object.
#[track_caller]
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key}"))
}

/// A list of indexes.
#[track_caller]
pub fn indexes(value: &Value) -> Vec<usize> {
    let list = value.as_array().expect("a list of indexes");
    list.iter().map(|i| i.as_u64().expect("index") as usize).collect()
}

/// Bytes written in base64.
#[track_caller]
pub fn base64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().expect("base64")).expect("base64")
}

/// Bytes of a known length written in base58.
#[track_caller]
pub fn array<const N: usize>(value: &Value) -> [u8; N] {
    let text = value.as_str().expect("base58");
    bs58::decode(text).into_vec().expect("base58").try_into().expect("length")
}

/// The signer of a key object.
pub fn signer(value: &Value) -> Identity {
    Identity::new(solana_keypair::Keypair::new_from_array(array(&value["secret"])))
}
