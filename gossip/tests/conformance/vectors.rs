//! Reads the golden vectors: those beside the tests, or those in the folder that `SUNDOG_VECTORS` names, which may hold
//! more cases and other ones.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::{net::SocketAddr, path::PathBuf, str::FromStr};
use sundog_gossip::{CrdsValue, wire::Protocol};
use sundog_types::{Hash, Pubkey};

/// A file of the vectors.
pub fn file(name: &str) -> Value {
    let folder = std::env::var_os("SUNDOG_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")), PathBuf::from);
    let path = folder.join(name);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cases of a family, which must be there.
#[track_caller]
pub fn family<'a>(file: &'a Value, name: &str) -> &'a [Value] {
    let cases = file[name].as_array().unwrap_or_else(|| panic!("the family {name} is missing from the vectors"));
    assert!(!cases.is_empty(), "the family {name} of the vectors is empty");
    cases
}

/// A list.
#[track_caller]
pub fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// A text.
#[track_caller]
pub fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// A number, however it is written.
#[track_caller]
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| text(value).parse().expect("a number"))
}

/// A truth.
#[track_caller]
pub fn truth(value: &Value) -> bool {
    value.as_bool().expect("a truth")
}

/// Bytes in base64.
#[track_caller]
pub fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(text(value)).expect("base64")
}

/// A hash.
#[track_caller]
pub fn hash(value: &Value) -> Hash {
    Hash::from_str(text(value)).expect("a hash")
}

/// A public key.
#[track_caller]
pub fn pubkey(value: &Value) -> Pubkey {
    Pubkey::from_str(text(value)).expect("a public key")
}

/// An address, if there is one.
#[track_caller]
pub fn address(value: &Value) -> Option<SocketAddr> {
    value.as_str().map(|text| text.parse().expect("an address"))
}

/// The values in a message that carries values for the table.
pub fn values_of(message: &Protocol) -> &[CrdsValue] {
    match message {
        Protocol::PullResponse(_, values) | Protocol::PushMessage(_, values) => values,
        _ => &[],
    }
}
