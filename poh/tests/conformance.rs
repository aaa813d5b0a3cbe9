//! Golden vectors of the reference: poh.json whole, and the chains of entries.json.

use base64::Engine as _;
use serde_json::Value;
use solana_transaction::versioned::VersionedTransaction;
use std::path::PathBuf;
use sundog_poh::{Chain, EntryFault, Step, hash_budget, mixin, next_hash, verify_entries, verify_tick_hash_count};
use sundog_types::entry::{Entry, decode_batch};
use sundog_types::{Hash, transaction::decode_whole_transaction};

fn load(file: &str) -> Value {
    let directory = std::env::var_os("SUNDOG_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")), PathBuf::from);
    let bytes = std::fs::read(directory.join(file)).expect("the vectors are there");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("list")
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("text");
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}

fn hash(value: &Value) -> Hash {
    value.as_str().expect("hash").parse().expect("base58")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("number")
}

fn step(value: &Value) -> Option<Step> {
    (!value.is_null()).then(|| Step { num_hashes: number(&value["num_hashes"]), hash: hash(&value["hash"]) })
}

fn transactions(value: &Value) -> Vec<VersionedTransaction> {
    list(value).iter().map(|t| decode_whole_transaction(&bytes(t)).expect("a transaction").transaction).collect()
}

#[test]
fn chains_run_tick_and_record_as_the_reference_does() {
    for (number_of_chain, case) in list(&load("poh.json")["chains"]).iter().enumerate() {
        let mut chain = Chain::new(hash(&case["start"]), case["hashes_per_tick"].as_u64());
        for (place, expected) in list(&case["steps"]).iter().enumerate() {
            let at = format!("chain {number_of_chain}, step {place}: {}", expected["op"]);
            match expected["op"].as_str().expect("operation") {
                "hash" => {
                    let must_tick = chain.advance(number(&expected["n"]));
                    assert_eq!(Some(must_tick), expected["must_tick_next"].as_bool(), "{at}");
                }
                "record" => {
                    let made = chain.record(&hash(&expected["mixin"]));
                    assert_eq!(made, step(&expected["entry"]), "{at}");
                }
                "record_batches" => {
                    let mixins: Vec<Hash> = list(&expected["mixins"]).iter().map(hash).collect();
                    let entries = expected["entries"].as_array();
                    let entries = entries.map(|all| all.iter().filter_map(step).collect());
                    assert_eq!(chain.record_batches(&mixins), entries, "{at}");
                }
                "tick" => assert_eq!(chain.tick(), step(&expected["entry"]), "{at}"),
                other => panic!("unknown operation {other}"),
            }
            assert_eq!(chain.hash(), hash(&expected["hash_after"]), "{at}");
        }
    }
}

#[test]
fn signatures_are_mixed_in_as_in_the_reference() {
    for case in list(&load("poh.json")["mixins"]) {
        let transactions = transactions(&case["transactions"]);
        assert_eq!(mixin(&transactions), hash(&case["mixin"]), "{}", case["name"]);
        let num_hashes = number(&case["num_hashes"]);
        let entry = Entry { num_hashes, transactions, ..Entry::default() };
        let after = next_hash(hash(&case["start"]), &entry);
        assert_eq!(after, hash(&case["entry_hash"]), "{}", case["name"]);
    }
}

#[test]
fn entries_verify_as_in_the_reference() {
    for case in list(&load("poh.json")["entry_verification"]) {
        let entries: Vec<Entry> = list(&case["entries"])
            .iter()
            .map(|entry| Entry {
                num_hashes: number(&entry["num_hashes"]),
                hash: hash(&entry["hash"]),
                transactions: transactions(&entry["transactions"]),
            })
            .collect();
        let verdict = verify_entries(hash(&case["start"]), &entries, hash_budget(64, None));
        assert!(!matches!(verdict, Err(EntryFault::TooManyHashes { .. })));
        assert_eq!(Some(verdict.is_ok()), case["hashes_verify"].as_bool(), "{}", case["name"]);
        let ticks = entries.iter().filter(|entry| entry.is_tick()).count();
        assert_eq!(ticks as u64, number(&case["tick_count"]));
        for count in list(&case["tick_hash_count"]) {
            let mut carried = number(&count["carry_in"]);
            let hashes_per_tick = count["hashes_per_tick"].as_u64();
            let ok = verify_tick_hash_count(&entries, hashes_per_tick, &mut carried);
            assert_eq!(Some(ok), count["ok"].as_bool(), "{}: {count}", case["name"]);
            assert_eq!(carried, number(&count["carry_out"]), "{}: {count}", case["name"]);
        }
    }
}

#[test]
fn batches_of_the_reference_verify() {
    for batch in list(&load("entries.json")["batches"]) {
        let entries = decode_batch(&bytes(&batch["bytes"])).expect("a batch");
        let verdict = verify_entries(hash(&batch["start"]), &entries, u64::MAX);
        assert_eq!(verdict, Ok(()), "{}", batch["name"]);
    }
}
