//! Where the golden vectors lie, and how their values read.

use serde_json::Value;
use std::path::PathBuf;
use sundog_types::{Hash, Pubkey, Slot};

/// One family of vectors, whole.
#[track_caller]
pub fn load(file: &str) -> Value {
    let directory = std::env::var_os("SUNDOG_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")), PathBuf::from);
    let path = directory.join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A list.
#[track_caller]
pub fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// A number.
#[track_caller]
pub fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// An index into a list.
#[track_caller]
pub fn index(value: &Value) -> usize {
    usize::try_from(number(value)).expect("an index")
}

/// A flag.
#[track_caller]
pub fn flag(value: &Value) -> bool {
    value.as_bool().expect("a flag")
}

/// A slot.
#[track_caller]
pub fn slot(value: &Value) -> Slot {
    Slot::new(number(value))
}

/// Pairs of a slot and a confirmation count.
#[track_caller]
pub fn stack(value: &Value) -> Vec<(u64, u32)> {
    let pair = |v: &Value| (number(&v[0]), u32::try_from(number(&v[1])).expect("a count"));
    list(value).iter().map(pair).collect()
}

/// 32 bytes in base58.
#[track_caller]
fn bytes32(value: &Value) -> [u8; 32] {
    let text = value.as_str().expect("base58 text");
    bs58::decode(text).into_vec().expect("base58").try_into().expect("32 bytes")
}

/// A hash in base58.
#[track_caller]
pub fn hash(value: &Value) -> Hash {
    Hash::new_from_array(bytes32(value))
}

/// A key in base58.
#[track_caller]
pub fn key(value: &Value) -> Pubkey {
    Pubkey::new_from_array(bytes32(value))
}

/// A key for a number.
pub fn numbered(number: usize) -> Pubkey {
    let mut bytes = [0; 32];
    bytes[0] = u8::try_from(number).expect("a small number");
    Pubkey::new_from_array(bytes)
}
