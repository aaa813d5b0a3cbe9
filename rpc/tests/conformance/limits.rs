//! JSON-RPC itself, and everything a caller can ask too much of.

use crate::fake::{Fake, FakeBank, account, key};
use serde_json::{Value, json};
use sundog_rpc::{
    Commitment, Rpc,
    request::{BATCH_MAX, BODY_BYTES_MAX},
};

#[track_caller]
fn check(body: &str, expect: Value) {
    let reply = Fake::default().post(body);
    assert_eq!(serde_json::from_str::<Value>(&reply).expect("JSON"), expect);
}

fn failure(id: Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "error": { "code": code, "message": message }, "id": id })
}

#[test]
fn calls_come_one_by_one_or_in_batches() {
    check(r#"{"jsonrpc":"2.0","id":1,"method":"getSlot"}"#, json!({ "jsonrpc": "2.0", "result": 160, "id": 1 }));
    check(
        r#"{"jsonrpc":"2.0","id":"a","method":"getSlot","params":null}"#,
        json!({ "jsonrpc": "2.0", "result": 160, "id": "a" }),
    );
    check(
        r#"[{"jsonrpc":"2.0","id":1,"method":"getSlot"},{"jsonrpc":"2.0","method":"getSlot"},{"jsonrpc":"2.0","id":2,"method":"nope"},7]"#,
        json!([
            { "jsonrpc": "2.0", "result": 160, "id": 1 },
            failure(json!(2), -32601, "Method not found"),
            failure(Value::Null, -32600, "Invalid request"),
        ]),
    );
}

#[test]
fn what_is_no_call_is_refused() {
    check("{", failure(Value::Null, -32700, "Parse error"));
    check("", failure(Value::Null, -32700, "Parse error"));
    check("7", failure(Value::Null, -32600, "Invalid request"));
    check("[]", failure(Value::Null, -32600, "Invalid request"));
    check(r#"{"id":1,"method":"getSlot"}"#, failure(json!(1), -32600, "Unsupported JSON-RPC protocol version"));
    check(r#"{"jsonrpc":"2.0","id":{},"method":"getSlot"}"#, failure(Value::Null, -32600, "Invalid request"));
    check(r#"{"jsonrpc":"2.0","id":1}"#, failure(json!(1), -32600, "Invalid request"));
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"getSlot","params":{}}"#,
        failure(json!(1), -32602, "`params` should be an array"),
    );
}

#[test]
fn a_notification_gets_no_answer() {
    assert_eq!(Fake::default().post(r#"{"jsonrpc":"2.0","method":"getSlot"}"#), "");
    assert_eq!(Fake::default().post(r#"[{"method":"ping"}]"#), "");
}

#[test]
fn a_body_that_is_too_long_is_not_read() {
    let rpc = Rpc::new();
    assert_eq!(rpc.call(&Fake::default(), &vec![b' '; BODY_BYTES_MAX + 1]).status, 413);
    assert_eq!(rpc.call(&Fake::default(), &vec![b' '; BODY_BYTES_MAX]).status, 200);
}

#[test]
fn a_full_batch_is_answered_and_a_longer_one_refused_whole() {
    let batch =
        |calls: usize| json!(vec![json!({ "jsonrpc": "2.0", "id": 1, "method": "getSlot" }); calls]).to_string();
    let full: Value = serde_json::from_str(&Fake::default().post(&batch(BATCH_MAX))).expect("JSON");
    assert_eq!(full.as_array().map(Vec::len), Some(BATCH_MAX));
    check(&batch(BATCH_MAX + 1), failure(Value::Null, -32600, "Too many requests in one batch; max 256"));
}

#[test]
fn calls_are_counted() {
    let (rpc, fake) = (Rpc::new(), Fake::default());
    for method in ["getSlot", "getSlot", "nope"] {
        let _ = rpc.call(&fake, json!({ "jsonrpc": "2.0", "id": 1, "method": method }).to_string().as_bytes());
    }
    let metrics = rpc.metrics();
    assert_eq!((metrics.bodies, metrics.errors, metrics.unknown, metrics.calls["getSlot"]), (3, 1, 1, 2));
}

#[test]
fn every_list_has_a_limit() {
    let refused = |method: &str, params: Value, message: &str| {
        let error = Fake::default().error(method, params);
        assert_eq!(error, json!({ "code": -32602, "message": message }), "{method}");
    };
    let keys = |n: usize| vec![key(2).to_string(); n];
    let signatures = vec![solana_signature::Signature::default().to_string(); 257];
    refused("getMultipleAccounts", json!([keys(101)]), "Too many inputs provided; max 100");
    refused("getSignatureStatuses", json!([signatures]), "Too many inputs provided; max 256");
    refused("getRecentPrioritizationFees", json!([keys(129)]), "Too many inputs provided; max 128");
    refused("getSlotLeaders", json!([0, 5001]), "Invalid limit; max 5000");
    refused("getRecentPerformanceSamples", json!([721]), "Invalid limit; max 720");
    refused("getSignaturesForAddress", json!([key(2).to_string(), { "limit": 1001 }]), "Invalid limit; max 1000");
    refused("getBlocksWithLimit", json!([0, 500001]), "Limit too large; max 500000");
    let filters = vec![json!({ "dataSize": 1 }); 5];
    refused(
        "getProgramAccounts",
        json!([key(9).to_string(), { "filters": filters }]),
        "Too many filters provided; max 4",
    );
    assert!(Fake::default().result("getMultipleAccounts", json!([keys(100)]))["value"].is_array());
}

#[test]
fn a_scan_that_finds_too_much_is_refused() {
    let fake = Fake::default();
    let mut bank = FakeBank::new(160);
    for n in 100..108 {
        bank.accounts.insert(key(n), account(1, vec![0; 10 * 1024 * 1024], key(99)));
    }
    fake.set_bank(Commitment::Finalized, bank);
    let config = json!({ "encoding": "base64", "dataSlice": { "offset": 0, "length": 0 } });
    assert_eq!(fake.error("getProgramAccounts", json!([key(99).to_string(), config]))["code"], json!(-32012));
}

#[test]
fn a_batch_whose_replies_grow_too_long_is_answered_with_refusals_from_there_on() {
    let fake = Fake::default();
    let mut bank = FakeBank::new(160);
    bank.accounts.insert(key(99), account(1, vec![0; 10 * 1024 * 1024], key(9)));
    fake.set_bank(Commitment::Finalized, bank);
    let params = json!([key(99).to_string(), { "encoding": "base64" }]);
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "getAccountInfo", "params": params });
    let replies: Vec<Value> = serde_json::from_str(&fake.post(&json!(vec![call; 8]).to_string())).expect("JSON");
    let answered = replies.iter().filter(|reply| reply.get("result").is_some()).count();
    assert_eq!((replies.len(), answered), (8, 5));
    assert_eq!(replies[7]["error"]["code"], json!(-32603));
}
