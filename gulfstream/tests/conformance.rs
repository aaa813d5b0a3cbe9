//! Golden vectors of the reference: the transactions and signatures of misc.json.

use base64::Engine as _;
use serde_json::Value;
use solana_message::VersionedMessage;
use std::path::PathBuf;
use sundog_gulfstream::check;
use sundog_types::{Pubkey, Signature, transaction::decode_whole_transaction};

fn load() -> Value {
    let directory = std::env::var_os("SUNDOG_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")), PathBuf::from);
    let bytes = std::fs::read(directory.join("misc.json")).expect("the vectors are there");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn bytes(value: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text(value)).expect("base64")
}

#[test]
fn samples_are_accepted_and_read_as_in_the_reference() {
    for case in list(&load()["transactions"]["samples"]) {
        let (name, fields, packet) = (&case["name"], &case["fields"], bytes(&case["bytes"]));
        let verified = check(&packet).unwrap_or_else(|why| panic!("{name}: {why:?}"));
        assert_eq!(verified.packet(), &packet, "{name}");
        assert_eq!(verified.signature().to_string(), text(&fields["id"]), "{name}");
        assert_eq!(verified.message_hash().to_string(), text(&fields["message_hash"]), "{name}");
        assert_eq!(Some(verified.is_vote()), case["agave"]["simple_vote"].as_bool(), "{name}");
        let decoded = decode_whole_transaction(&packet).expect("checked");
        assert_eq!(decoded.message_bytes(&packet), bytes(&fields["message"]), "{name}");
        check_fields(&verified.into_transaction().message, fields);
    }
}

fn check_fields(message: &VersionedMessage, fields: &Value) {
    let header = message.header();
    let header =
        [header.num_required_signatures, header.num_readonly_signed_accounts, header.num_readonly_unsigned_accounts];
    assert_eq!(serde_json::json!(header), fields["header"]);
    assert_eq!(message.recent_blockhash().to_string(), text(&fields["recent_blockhash"]));
    let keys: Vec<String> = message.static_account_keys().iter().map(Pubkey::to_string).collect();
    assert_eq!(serde_json::json!(keys), fields["account_keys"]);
    let version =
        if matches!(message, VersionedMessage::Legacy(_)) { serde_json::json!("legacy") } else { serde_json::json!(0) };
    assert_eq!(version, fields["version"]);
    let expected = list(&fields["instructions"]);
    assert_eq!(message.instructions().len(), expected.len());
    for (instruction, expected) in message.instructions().iter().zip(expected) {
        let program = serde_json::json!(instruction.program_id_index);
        assert_eq!(program, expected["program_id_index"]);
        assert_eq!(serde_json::json!(instruction.accounts), expected["accounts"]);
        assert_eq!(instruction.data, bytes(&expected["data"]));
    }
    let lookups = message.address_table_lookups().unwrap_or_default();
    assert_eq!(lookups.len(), list(&fields["address_table_lookups"]).len());
}

#[test]
fn every_transaction_gets_the_verdict_of_the_reference() {
    let mut judged = [0, 0];
    for case in list(&load()["transactions"]["judged"]) {
        let verdict = check(&bytes(&case["bytes"]));
        let accepted = text(&case["agave"]["verdict"]) == "accept";
        assert_eq!(verdict.is_ok(), accepted, "{}: {verdict:?}", case["name"]);
        if let Ok(verified) = &verdict {
            let simple_vote = case["agave"]["simple_vote"].as_bool();
            assert_eq!(Some(verified.is_vote()), simple_vote, "{}", case["name"]);
        }
        judged[usize::from(accepted)] += 1;
    }
    assert!(judged[0] > 0 && judged[1] > 0);
}

#[test]
fn signatures_are_verified_strictly() {
    for case in list(&load()["ed25519"]) {
        let key = bs58::decode(text(&case["public_key"])).into_vec().expect("base58");
        let signature = bs58::decode(text(&case["signature"])).into_vec().expect("base58");
        let signature = Signature::try_from(signature.as_slice()).expect("64 bytes");
        let valid = signature.verify(&key, &bytes(&case["message"]));
        assert_eq!(Some(valid), case["valid"].as_bool(), "{}", case["name"]);
    }
}
