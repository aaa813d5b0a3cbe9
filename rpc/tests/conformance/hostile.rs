//! Whatever comes, there is an answer and no panic.

use crate::fake::{Fake, base64, hash, key, transfer, transfer_v0};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::sync::Arc;
use sundog_rpc::{Rpc, SubscriptionInput, Subscriptions};
use sundog_types::{Machine, Now};

/// Some value, often one that means something somewhere.
fn value(rng: &mut ChaCha8Rng, depth: u32) -> Value {
    let numbers = [0, 1, 156, 158, 160, 163, u64::MAX, u64::MAX - 1, 1 << 63];
    let words = [
        "",
        "processed",
        "finalized",
        "base64",
        "jsonParsed",
        "base58",
        "all",
        "💥",
        "11111111111111111111111111111111",
    ];
    let names = [
        "commitment",
        "encoding",
        "minContextSlot",
        "dataSlice",
        "offset",
        "length",
        "filters",
        "memcmp",
        "bytes",
        "dataSize",
        "limit",
        "accounts",
        "addresses",
        "mint",
        "programId",
        "range",
        "firstSlot",
        "lastSlot",
        "identity",
        "sigVerify",
        "skipPreflight",
        "replaceRecentBlockhash",
        "innerInstructions",
        "transactionDetails",
        "maxSupportedTransactionVersion",
        "mentions",
    ];
    match rng.gen_range(0..if depth == 0 { 7 } else { 9 }) {
        0 => Value::Null,
        1 => json!(rng.r#gen::<bool>()),
        2 => json!(numbers.choose(rng)),
        3 => json!(words.choose(rng)),
        4 => json!(key([2, 3, 9, 20, 21, 30].choose(rng).copied().unwrap_or(2)).to_string()),
        5 => json!(base64(&if rng.r#gen() { transfer(hash(8)) } else { transfer_v0(hash(9)) })),
        6 => json!(rng.r#gen::<f64>() * 1e20 - 5e19),
        7 => (0..rng.gen_range(0..4)).map(|_| value(rng, depth - 1)).collect(),
        _ => {
            let fields = (0..rng.gen_range(0..4))
                .map(|_| ((*names.choose(rng).unwrap_or(&"")).to_owned(), value(rng, depth - 1)));
            Value::Object(fields.collect())
        }
    }
}

#[test]
fn every_method_answers_whatever_its_parameters() {
    let (rpc, fake) = (Rpc::new(), Fake { room: usize::MAX, ..Fake::default() });
    let methods: Vec<_> = rpc.metrics().calls.keys().copied().collect();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for method in methods {
        for _ in 0..400 {
            let params: Vec<_> = (0..rng.gen_range(0..4)).map(|_| value(&mut rng, 3)).collect();
            let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
            let reply = rpc.call(&fake, body.as_bytes());
            let reply: Value = serde_json::from_slice(&reply.body).expect("JSON");
            assert!(reply.get("result").is_some() != reply.get("error").is_some(), "{body}: {reply}");
        }
    }
}

#[test]
fn mutated_transactions_are_answered() {
    let (rpc, fake) = (Rpc::new(), Fake { room: usize::MAX, ..Fake::default() });
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    use base64::Engine;
    for round in 0..4_000 {
        let mut bytes = bincode::serialize(&if round % 2 == 0 { transfer(hash(8)) } else { transfer_v0(hash(8)) })
            .expect("it serialises");
        for _ in 0..rng.gen_range(1..4) {
            let at = rng.gen_range(0..bytes.len());
            bytes[at] = rng.r#gen();
        }
        bytes.truncate(rng.gen_range(bytes.len() / 2..bytes.len() * 2));
        let text = base64::prelude::BASE64_STANDARD.encode(bytes);
        for (method, config) in [
            ("sendTransaction", json!({ "encoding": "base64", "skipPreflight": true })),
            ("simulateTransaction", json!({ "encoding": "base64", "innerInstructions": true })),
            ("getFeeForMessage", Value::Null),
        ] {
            let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": [text, config] }).to_string();
            assert!(!rpc.call(&fake, body.as_bytes()).body.is_empty());
        }
    }
}

#[test]
fn json_that_is_too_deep_is_refused() {
    let reply = Fake::default().post(&"[".repeat(40_000));
    assert!(reply.contains("-32700"), "{reply}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Rpc::new().call(&Fake::default(), &bytes);
    }

    #[test]
    fn any_text_over_a_websocket_is_survived(texts in proptest::collection::vec(".{0,80}", 0..8), method in "(account|logs|program|root|signature|slot|slotsUpdates|x)(Uns|S)ubscribe", seed in any::<u64>()) {
        let mut machine = Subscriptions::new(Default::default(), Arc::new(Fake::default()));
        let now = Now { mono_us: 0, unix_ms: 0 };
        let mut out = Vec::new();
        machine.handle(now, SubscriptionInput::Opened(1), &mut out);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": [value(&mut rng, 3), value(&mut rng, 3)] }).to_string();
        for text in texts.into_iter().chain([call]) {
            machine.handle(now, SubscriptionInput::Text { connection: 1, text }, &mut out);
        }
        machine.handle(now, SubscriptionInput::Event(sundog_rpc::ChainEvent::Moved), &mut out);
        machine.handle(now, SubscriptionInput::Closed(1), &mut out);
        prop_assert_eq!(machine.metrics().subscriptions, 0);
    }
}
