//! entries.json: batches as the reference serialises them, and altered ones.

use crate::vectors;
use serde_json::Value;
use solana_message::VersionedMessage;
use sundog_types::entry::{Entry, decode_batch, encode_batch};
use sundog_types::transaction::encode_transaction;

fn check_entry(entry: &Entry, expected: &Value) {
    assert_eq!(Some(entry.num_hashes), expected["num_hashes"].as_u64());
    assert_eq!(entry.hash.as_ref(), vectors::base58(&expected["hash"]));
    let transactions = expected["transactions"].as_array().expect("list");
    assert_eq!(entry.transactions.len(), transactions.len());
    assert_eq!(entry.is_tick(), transactions.is_empty());
    for (transaction, expected) in entry.transactions.iter().zip(transactions) {
        assert_eq!(encode_transaction(transaction), vectors::base64(&expected["bytes"]));
        let version = match transaction.message {
            VersionedMessage::Legacy(_) => serde_json::json!("legacy"),
            VersionedMessage::V0(_) => serde_json::json!(0),
            VersionedMessage::V1(_) => panic!("version 1 was decoded"),
        };
        assert_eq!(version, expected["version"]);
        let keys: Vec<String> = expected["account_keys"]
            .as_array()
            .expect("list")
            .iter()
            .map(|key| key.as_str().expect("key").to_owned())
            .collect();
        let found = transaction.message.static_account_keys();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), keys);
    }
}

#[test]
fn batches_decode_to_their_fields_and_encode_to_their_bytes() {
    let file = vectors::load("entries.json");
    for batch in file["batches"].as_array().expect("list") {
        let bytes = vectors::base64(&batch["bytes"]);
        let entries = decode_batch(&bytes).unwrap_or_else(|error| panic!("{}: {error}", batch["name"]));
        let expected = batch["entries"].as_array().expect("list");
        assert_eq!(entries.len(), expected.len(), "{}", batch["name"]);
        for (entry, expected) in entries.iter().zip(expected) {
            check_entry(entry, expected);
        }
        assert_eq!(encode_batch(&entries), bytes, "{}", batch["name"]);
    }
}

#[test]
fn altered_batches_get_the_verdict_of_the_reference() {
    let file = vectors::load("entries.json");
    for case in file["malformed"].as_array().expect("list") {
        let bytes = vectors::base64(&case["bytes"]);
        let verdict = decode_batch(&bytes).map(|entries| entries.len() as u64).ok();
        // A range without bytes never reaches the reference's decoder: it reads it as eight zero
        // bytes (`empty_range_deshreds_to` in shreds.json). Ours does that step itself.
        let expected = if bytes.is_empty() { Some(0) } else { case["verdict"]["ok"].as_u64() };
        assert_eq!(verdict, expected, "{}", case["name"]);
    }
}
