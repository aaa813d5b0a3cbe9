//! Answers as stock clients read them: into the published types, and back to what was put in.

use crate::fake::{Fake, base64, hash, key, meta, transfer, transfer_v0};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use solana_rpc_client_types::response::{
    Response, RpcBlockProduction, RpcBlockhash, RpcContactInfo, RpcIdentity, RpcKeyedAccount, RpcPerfSample,
    RpcSimulateTransactionResult, RpcSupply, RpcVersionInfo, RpcVoteAccountStatus, UiAccount, UiTokenAmount,
};
use solana_transaction_status_client_types::{
    EncodedConfirmedTransactionWithStatusMeta, TransactionStatus, UiConfirmedBlock,
};

#[track_caller]
fn read<T: DeserializeOwned>(method: &str, params: Value) -> T {
    let result = Fake::default().result(method, params);
    serde_json::from_value(result.clone()).unwrap_or_else(|e| panic!("{method}: {e}: {result}"))
}

#[test]
fn stock_clients_can_read_every_answer_with_a_published_type() {
    let address = key(2).to_string();
    read::<RpcVersionInfo>("getVersion", json!([]));
    read::<RpcIdentity>("getIdentity", json!([]));
    read::<Vec<RpcContactInfo>>("getClusterNodes", json!([]));
    read::<RpcVoteAccountStatus>("getVoteAccounts", json!([]));
    read::<Response<RpcBlockhash>>("getLatestBlockhash", json!([]));
    read::<Response<RpcBlockProduction>>("getBlockProduction", json!([]));
    read::<Response<RpcSupply>>("getSupply", json!([]));
    read::<Vec<RpcPerfSample>>("getRecentPerformanceSamples", json!([]));
    read::<Response<Option<UiAccount>>>("getAccountInfo", json!([address, { "encoding": "base64+zstd" }]));
    read::<Vec<RpcKeyedAccount>>("getProgramAccounts", json!([key(9).to_string(), { "encoding": "base64" }]));
    read::<Response<UiTokenAmount>>("getTokenSupply", json!([key(20).to_string()]));
    read::<Response<Vec<Option<TransactionStatus>>>>("getSignatureStatuses", json!([[]]));
    let config = json!({ "encoding": "base64", "innerInstructions": true });
    read::<Response<RpcSimulateTransactionResult>>("simulateTransaction", json!([base64(&transfer(hash(8))), config]));
}

#[test]
fn packed_account_data_can_be_unpacked() {
    let account: Response<UiAccount> =
        read("getAccountInfo", json!([key(3).to_string(), { "encoding": "base64+zstd" }]));
    let solana_rpc_client_types::response::UiAccountData::Binary(text, _) = account.value.data else {
        panic!("not packed")
    };
    use base64::Engine;
    let packed = base64::prelude::BASE64_STANDARD.decode(text).expect("base64");
    assert_eq!(zstd::decode_all(packed.as_slice()).expect("zstd"), vec![0; 200]);
}

#[test]
fn a_transaction_survives_the_binary_encodings() {
    for encoding in ["base58", "base64", "binary"] {
        for transaction in [transfer(hash(8)), transfer_v0(hash(8))] {
            let config = json!({ "encoding": encoding, "maxSupportedTransactionVersion": 0 });
            let answer: EncodedConfirmedTransactionWithStatusMeta =
                read("getTransaction", json!([transaction.signatures[0].to_string(), config]));
            assert_eq!(answer.transaction.transaction.decode(), Some(transaction), "{encoding}");
            assert_eq!(answer.block_time, Some(1_700_000_000));
        }
    }
}

#[test]
fn a_transaction_in_json() {
    let transaction = transfer(hash(8));
    let ask = |config: Value| {
        Fake::default().result("getTransaction", json!([transaction.signatures[0].to_string(), config]))
    };
    let payer = transaction.message.static_account_keys()[0].to_string();
    let system = "11111111111111111111111111111111";
    let data = bs58::encode([2, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]).into_string();
    let answer = ask(Value::Null);
    let message = json!({
        "header": { "numRequiredSignatures": 1, "numReadonlySignedAccounts": 0, "numReadonlyUnsignedAccounts": 1 },
        "accountKeys": [payer, key(2).to_string(), system],
        "recentBlockhash": hash(8).to_string(),
        "instructions": [{ "programIdIndex": 2, "accounts": [0, 1], "data": data, "stackHeight": 1 }],
    });
    assert_eq!(
        answer["transaction"],
        json!({ "signatures": [transaction.signatures[0].to_string()], "message": message })
    );
    assert_eq!(answer.get("version"), None);
    assert_eq!(answer["slot"], json!(158));
    let meta = json!({
        "err": null, "status": { "Ok": null }, "fee": 5000, "preBalances": [10000, 0, 1], "postBalances": [4995, 5, 1],
        "innerInstructions": [{ "index": 0, "instructions": [{ "programIdIndex": 2, "accounts": [0, 1], "data": "A", "stackHeight": 2 }] }],
        "logMessages": meta().logs, "preTokenBalances": [], "rewards": [], "loadedAddresses": { "writable": [], "readonly": [] },
        "postTokenBalances": [{
            "accountIndex": 1, "mint": key(20).to_string(), "owner": key(30).to_string(), "programId": crate::fake::TOKEN_PROGRAM,
            "uiTokenAmount": { "amount": "1500", "decimals": 3, "uiAmount": 1.5, "uiAmountString": "1.5" },
        }],
        "returnData": { "programId": key(9).to_string(), "data": ["AQID", "base64"] },
        "computeUnitsConsumed": 150, "costUnits": 1481,
    });
    assert_eq!(answer["meta"], meta);
    let parsed = ask(json!({ "encoding": "jsonParsed", "maxSupportedTransactionVersion": 0 }));
    assert_eq!(parsed["version"], json!("legacy"));
    let instruction = json!({
        "program": "system", "programId": system, "stackHeight": 1,
        "parsed": { "type": "transfer", "info": { "source": payer, "destination": key(2).to_string(), "lamports": 5 } },
    });
    assert_eq!(parsed["transaction"]["message"]["instructions"], json!([instruction]));
    let keys = &parsed["transaction"]["message"]["accountKeys"];
    assert_eq!(keys[0], json!({ "pubkey": payer, "writable": true, "signer": true, "source": "transaction" }));
    assert_eq!(keys[2], json!({ "pubkey": system, "writable": false, "signer": false, "source": "transaction" }));
    let inner = &parsed["meta"]["innerInstructions"][0]["instructions"][0];
    assert_eq!(
        *inner,
        json!({ "programId": system, "accounts": [payer, key(2).to_string()], "data": "A", "stackHeight": 2 })
    );
}

#[test]
fn an_unknown_transaction_is_null_and_an_old_encoding_parameter_still_works() {
    let fake = Fake::default();
    assert_eq!(fake.result("getTransaction", json!([solana_signature::Signature::default().to_string()])), Value::Null);
    let signature = transfer(hash(8)).signatures[0].to_string();
    let answer = fake.result("getTransaction", json!([signature, "base64"]));
    assert_eq!(answer["transaction"][1], json!("base64"));
}

#[test]
fn a_block_comes_with_as_much_detail_as_asked_for() {
    let ask = |config: Value| Fake::default().result("getBlock", json!([158, config]));
    let head = |mut rest: Value| {
        rest["previousBlockhash"] = json!(hash(3).to_string());
        rest["blockhash"] = json!(hash(4).to_string());
        rest["parentSlot"] = json!(157);
        rest["blockTime"] = json!(1_700_000_000);
        rest["blockHeight"] = json!(156);
        rest
    };
    let signature = transfer(hash(8)).signatures[0].to_string();
    assert_eq!(ask(json!({ "transactionDetails": "none", "rewards": false })), head(json!({})));
    assert_eq!(
        ask(json!({ "transactionDetails": "signatures" })),
        head(json!({ "signatures": [signature], "rewards": [] }))
    );
    let accounts = ask(json!({ "transactionDetails": "accounts", "rewards": false }));
    assert_eq!(accounts["transactions"][0]["transaction"]["accountKeys"][1]["pubkey"], json!(key(2).to_string()));
    assert_eq!(accounts["transactions"][0]["meta"].get("logMessages"), None);
    let block: UiConfirmedBlock =
        serde_json::from_value(ask(json!({ "encoding": "base64", "maxSupportedTransactionVersion": 0 })))
            .expect("a block");
    let transactions = block.transactions.expect("transactions");
    assert_eq!(transactions[0].transaction.decode(), Some(transfer(hash(8))));
}

#[test]
fn a_version_the_caller_does_not_know_is_refused() {
    let error = Fake::default().error("getBlock", json!([160]));
    assert_eq!(error["code"], json!(-32015));
    let message = error["message"].as_str().expect("text");
    assert!(message.starts_with("Transaction version (0) is not supported by the requesting client."), "{message}");
    let block = Fake::default().result("getBlock", json!([160, { "maxSupportedTransactionVersion": 0 }]));
    assert_eq!(block["transactions"][0]["version"], json!(0));
    assert_eq!(block["transactions"][0]["transaction"]["message"]["addressTableLookups"], json!([]));
}
