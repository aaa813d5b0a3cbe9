//! What is asked, and what exactly is answered.

use crate::fake::{Fake, FakeBank, base64, hash, key, transfer, transfer_v0};
use serde_json::{Value, json};
use solana_transaction_error::TransactionError;
use sundog_rpc::{
    Commitment,
    chain::{Health, SignatureStatus},
};
use sundog_types::{Signature, Slot};

#[track_caller]
fn check(method: &str, params: Value, expect: Value) {
    assert_eq!(Fake::default().result(method, params), expect, "{method}");
}

#[track_caller]
fn refused(method: &str, params: Value, code: i64, message: &str) {
    let error = Fake::default().error(method, params);
    assert_eq!((error["code"].as_i64(), error["message"].as_str()), (Some(code), Some(message)), "{method}");
}

/// A value from the bank at `slot`.
fn at(slot: u64, value: Value) -> Value {
    json!({ "context": { "slot": slot, "apiVersion": "3.1.12" }, "value": value })
}

fn text(n: u8) -> String {
    key(n).to_string()
}

#[test]
fn the_node_tells_who_it_is() {
    check("getHealth", json!([]), json!("ok"));
    check("getHealth", Value::Null, json!("ok"));
    check("getVersion", json!([]), json!({ "solana-core": "3.1.12", "feature-set": 77 }));
    check("getIdentity", json!([]), json!({ "identity": text(1) }));
    check("getGenesisHash", json!([]), json!(hash(6).to_string()));
    check("getMaxRetransmitSlot", json!([]), json!(164));
    check("getMaxShredInsertSlot", json!([]), json!(165));
}

#[test]
fn a_node_that_is_behind_says_by_how_much() {
    let behind = Fake { health: Health::Behind(200), ..Fake::default() };
    let expect = json!({ "code": -32005, "message": "Node is behind by 200 slots", "data": { "numSlotsBehind": 200 } });
    assert_eq!(behind.error("getHealth", json!([])), expect);
    let unknown = Fake { health: Health::Unknown, ..Fake::default() };
    let expect = json!({ "code": -32005, "message": "Node is unhealthy", "data": { "numSlotsBehind": null } });
    assert_eq!(unknown.error("getHealth", json!([])), expect);
    let waiting = Fake { health: Health::Waiting { slot: 57, percent: 60 }, ..Fake::default() };
    let message = "Node waits at slot 57 for a supermajority of the stake: 60% is there";
    let expect = json!({ "code": -32005, "message": message, "data": { "numSlotsBehind": null } });
    assert_eq!(waiting.error("getHealth", json!([])), expect);
}

#[test]
fn only_peers_on_the_same_chain_are_listed() {
    let at = "127.0.0.1:8003";
    let node = json!({
        "pubkey": text(1), "gossip": at, "tvu": null, "tpu": null, "tpuQuic": at, "tpuForwards": null,
        "tpuForwardsQuic": null, "tpuVote": null, "serveRepair": null, "rpc": null, "pubsub": null,
        "version": "3.1.12", "clientId": "3", "featureSet": 77, "shredVersion": 4711,
    });
    check("getClusterNodes", json!([]), json!([node]));
}

#[test]
fn a_vote_account_is_current_if_it_voted_within_128_slots() {
    let entry = |n: u8, last_vote: u64, stake: u64| {
        json!({
            "votePubkey": text(n), "nodePubkey": text(n + 1), "activatedStake": stake, "commission": 5,
            "epochVoteAccount": stake > 0, "lastVote": last_vote, "rootSlot": 0,
            "epochCredits": [[2, 30, 20], [3, 40, 30], [4, 50, 40], [5, 60, 50], [6, 70, 60]],
        })
    };
    let (current, delinquent) = (entry(50, 159, 1_000), entry(52, 0, 600));
    check("getVoteAccounts", json!([]), json!({ "current": [current], "delinquent": [delinquent] }));
    let all = json!({ "current": [current], "delinquent": [delinquent, entry(54, 0, 0)] });
    check("getVoteAccounts", json!([{ "keepUnstakedDelinquents": true }]), all);
    let only = json!({ "current": [], "delinquent": [delinquent] });
    check("getVoteAccounts", json!([{ "votePubkey": text(52), "commitment": "finalized" }]), only);
}

#[test]
fn each_commitment_has_its_bank_and_old_names_still_mean_one() {
    for (name, slot) in [
        ("processed", 163),
        ("recent", 163),
        ("confirmed", 161),
        ("single", 161),
        ("singleGossip", 161),
        ("finalized", 160),
        ("root", 160),
        ("max", 160),
    ] {
        check("getSlot", json!([{ "commitment": name }]), json!(slot));
    }
    check("getSlot", Value::Null, json!(160));
    check("getSlot", json!([null]), json!(160));
    check("getSlot", json!([{}]), json!(160));
    check("getBlockHeight", json!([{ "commitment": "processed" }]), json!(162));
    check("getTransactionCount", json!([]), json!(1600));
    refused("getSlot", json!([{ "commitment": "sure" }]), -32602, "Invalid params: unknown commitment `sure`.");
}

#[test]
fn a_bank_older_than_asked_for_is_refused() {
    check("getSlot", json!([{ "minContextSlot": 160 }]), json!(160));
    let error = Fake::default().error("getBalance", json!([text(2), { "minContextSlot": 161 }]));
    let expect = json!({ "code": -32016, "message": "Minimum context slot has not been reached", "data": { "contextSlot": 160 } });
    assert_eq!(error, expect);
}

#[test]
fn epochs_and_leaders_follow_the_schedule() {
    let info = json!({
        "epoch": 5, "slotIndex": 0, "slotsInEpoch": 32, "absoluteSlot": 160, "blockHeight": 159, "transactionCount": 1600,
    });
    check("getEpochInfo", json!([]), info);
    let schedule = json!({
        "slotsPerEpoch": 32, "leaderScheduleSlotOffset": 32, "warmup": false, "firstNormalEpoch": 0, "firstNormalSlot": 0,
    });
    check("getEpochSchedule", json!([]), schedule);
    check("getSlotLeader", json!([]), json!(text(1)));
    check("getSlotLeaders", json!([160, 2]), json!([text(1), text(1)]));
    let all: Vec<u64> = (0..32).collect();
    check("getLeaderSchedule", json!([]), json!({ text(1): all }));
    check("getLeaderSchedule", json!([130]), json!({ text(1): all }));
    check("getLeaderSchedule", json!([null, { "identity": text(1) }]), json!({ text(1): all }));
    check("getLeaderSchedule", json!([{ "identity": text(2) }]), json!({}));
    check("getLeaderSchedule", json!([9_999]), Value::Null);
    refused(
        "getSlotLeaders",
        json!([191, 2]),
        -32602,
        "Invalid slot range: leader schedule for epoch 6 is unavailable",
    );
}

#[test]
fn block_production_counts_made_and_missed_slots() {
    let value = json!({ "byIdentity": { text(1): [5, 4] }, "range": { "firstSlot": 156, "lastSlot": 160 } });
    check("getBlockProduction", json!([{ "range": { "firstSlot": 156 } }]), at(160, value));
    let value = json!({ "byIdentity": { text(1): [4, 3] }, "range": { "firstSlot": 160, "lastSlot": 163 } });
    check("getBlockProduction", json!([{ "commitment": "processed" }]), at(163, value));
    refused(
        "getBlockProduction",
        json!([{ "range": { "firstSlot": 9, "lastSlot": 2 } }]),
        -32602,
        "lastSlot, 2, cannot be less than firstSlot, 9",
    );
}

#[test]
fn blockhashes_and_fees() {
    let latest = json!({ "blockhash": hash(8).to_string(), "lastValidBlockHeight": 312 });
    check("getLatestBlockhash", json!([{ "commitment": "processed" }]), at(163, latest));
    check("isBlockhashValid", json!([hash(8).to_string(), { "commitment": "processed" }]), at(163, json!(true)));
    check("isBlockhashValid", json!([hash(9).to_string()]), at(160, json!(false)));
    let message = |transaction: solana_transaction::versioned::VersionedTransaction| {
        use base64::Engine;
        base64::prelude::BASE64_STANDARD.encode(transaction.message.serialize())
    };
    check("getFeeForMessage", json!([message(transfer(hash(8)))]), at(160, json!(5_000)));
    check("getFeeForMessage", json!([message(transfer_v0(hash(8)))]), at(160, json!(5_000)));
    check("getFeeForMessage", json!([message(transfer(hash(9)))]), at(160, Value::Null));
    check("getMinimumBalanceForRentExemption", json!([0]), json!(890_880));
    check("getMinimumBalanceForRentExemption", json!([165, { "commitment": "confirmed" }]), json!(2_039_280));
    check("getStakeMinimumDelegation", json!([]), at(160, json!(1)));
    check("getRecentPrioritizationFees", json!([[text(2)]]), json!([{ "slot": 160, "prioritizationFee": 1 }]));
    check("getRecentPrioritizationFees", json!([]), json!([{ "slot": 160, "prioritizationFee": 0 }]));
}

#[test]
fn supply_and_inflation() {
    let total = 500_000_000_000_000_001u64;
    let value = json!({ "total": total, "circulating": total, "nonCirculating": 0, "nonCirculatingAccounts": [] });
    check("getSupply", json!([{ "excludeNonCirculatingAccountsList": true }]), at(160, value));
    let zero = json!({ "initial": 0.0, "terminal": 0.0, "taper": 0.0, "foundation": 0.0, "foundationTerm": 0.0 });
    check("getInflationGovernor", json!([]), zero);
    check("getInflationRate", json!([]), json!({ "total": 0.0, "validator": 0.0, "foundation": 0.0, "epoch": 5 }));
    check("getInflationReward", json!([[text(2), text(3)]]), json!([null, null]));
    check("getBlockCommitment", json!([160]), json!({ "commitment": null, "totalStake": 1600 }));
}

#[test]
fn performance_samples() {
    let sample = json!({ "slot": 160, "numTransactions": 9, "numNonVoteTransactions": 4, "numSlots": 150, "samplePeriodSecs": 60 });
    check("getRecentPerformanceSamples", json!([1]), json!([sample]));
}

/// Account 2 with its data in some form.
fn account_2(data: Value) -> Value {
    json!({
        "lamports": 1000, "data": data, "owner": text(9), "executable": false, "rentEpoch": 18446744073709551615u64, "space": 4,
    })
}

#[test]
fn accounts_come_in_the_encoding_asked_for() {
    let ask = |config: Value| Fake::default().result("getAccountInfo", json!([text(2), config]));
    assert_eq!(ask(Value::Null), at(160, account_2(json!("2VfUX"))));
    assert_eq!(ask(json!({ "encoding": "base58" })), at(160, account_2(json!(["2VfUX", "base58"]))));
    assert_eq!(ask(json!({ "encoding": "base64" })), at(160, account_2(json!(["AQIDBA==", "base64"]))));
    assert_eq!(ask(json!({ "encoding": "jsonParsed" })), at(160, account_2(json!(["AQIDBA==", "base64"]))));
    let slice = json!({ "encoding": "base64", "dataSlice": { "offset": 1, "length": 2 } });
    assert_eq!(ask(slice), at(160, account_2(json!(["AgM=", "base64"]))));
    let beyond = json!({ "encoding": "base64", "dataSlice": { "offset": 9, "length": 18446744073709551615u64 } });
    assert_eq!(ask(beyond), at(160, account_2(json!(["", "base64"]))));
    check("getAccountInfo", json!([text(99)]), at(160, Value::Null));
    check("getBalance", json!([text(2)]), at(160, json!(1000)));
    check("getBalance", json!([text(99)]), at(160, json!(0)));
}

#[test]
fn long_data_in_base58_is_refused() {
    let message = "Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding.";
    refused("getAccountInfo", json!([text(3)]), -32600, message);
    refused("getAccountInfo", json!([text(3), { "encoding": "base58" }]), -32600, message);
}

#[test]
fn a_wrong_address_is_refused() {
    refused("getBalance", json!(["0"]), -32602, "Invalid param: Invalid");
    refused("getBalance", json!(["11"]), -32602, "Invalid param: WrongSize");
    refused("getBalance", json!([]), -32602, "`params` should have at least 1 argument(s)");
    refused("getBalance", json!([5]), -32602, "Invalid params: invalid type: integer `5`, expected a string.");
    refused("getBalance", json!([text(2), {}, 5]), -32602, "Invalid parameters: Expected from 1 to 2 parameters.");
}

#[test]
fn many_accounts_come_in_the_order_asked_for() {
    let accounts = json!([null, account_2(json!(["AQIDBA==", "base64"]))]);
    check("getMultipleAccounts", json!([[text(99), text(2)]]), at(160, accounts));
}

#[test]
fn program_accounts_pass_all_filters_and_are_sorted() {
    let names = |config: Value| {
        let found = Fake::default().result("getProgramAccounts", json!([text(9), config]));
        found
            .as_array()
            .expect("a list")
            .iter()
            .map(|a| a["pubkey"].as_str().expect("text").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(json!({ "encoding": "base64" })), [text(2), text(3)]);
    assert_eq!(names(json!({ "encoding": "base64", "filters": [{ "dataSize": 4 }] })), [text(2)]);
    let memcmp =
        |bytes: &str| json!({ "encoding": "base64", "filters": [{ "memcmp": { "offset": 1, "bytes": bytes } }] });
    let base58 = |bytes: [u8; 2]| bs58::encode(bytes).into_string();
    assert_eq!(names(memcmp(&base58([2, 3]))), [text(2)]);
    assert_eq!(names(memcmp(&base58([2, 4]))), Vec::<String>::new());
    let found = Fake::default().result(
        "getProgramAccounts",
        json!([text(9), { "withContext": true, "dataSlice": { "offset": 0, "length": 0 } }]),
    );
    assert_eq!(found["value"][0], json!({ "pubkey": text(2), "account": account_2(json!("")) }));
}

#[test]
fn tokens_are_read() {
    let amount = |amount: &str, ui: f64, text: &str| json!({ "amount": amount, "decimals": 3, "uiAmount": ui, "uiAmountString": text });
    check("getTokenAccountBalance", json!([text(21)]), at(160, amount("1500", 1.5, "1.5")));
    check("getTokenSupply", json!([text(20)]), at(160, amount("1234500", 1234.5, "1234.5")));
    let mut largest = amount("1500", 1.5, "1.5");
    largest["address"] = json!(text(21));
    check("getTokenLargestAccounts", json!([text(20)]), at(160, json!([largest])));
    let owned = Fake::default()
        .result("getTokenAccountsByOwner", json!([text(30), { "mint": text(20) }, { "encoding": "jsonParsed" }]));
    assert_eq!(owned["value"][0]["pubkey"], json!(text(21)));
    let parsed = json!({
        "program": "spl-token", "space": 165,
        "parsed": { "type": "account", "info": {
            "mint": text(20), "owner": text(30), "state": "initialized", "isNative": false, "tokenAmount": amount("1500", 1.5, "1.5"),
        } },
    });
    assert_eq!(owned["value"][0]["account"]["data"], parsed);
    check("getTokenAccountsByDelegate", json!([text(30), { "mint": text(20) }]), at(160, json!([])));
    refused("getTokenAccountBalance", json!([text(2)]), -32602, "Invalid param: not a Token account");
    refused("getTokenAccountBalance", json!([text(99)]), -32602, "Invalid param: could not find account");
    refused("getTokenSupply", json!([text(21)]), -32602, "Invalid param: not a Token mint");
    refused(
        "getTokenAccountsByOwner",
        json!([text(30), { "programId": text(9) }]),
        -32602,
        "Invalid param: unrecognized Token program id",
    );
}

#[test]
fn blocks_are_listed_by_how_sure_they_are() {
    check("getBlocks", json!([156]), json!([156, 157, 158, 160]));
    check("getBlocks", json!([157, 158]), json!([157, 158]));
    check("getBlocks", json!([157, { "commitment": "confirmed" }]), json!([157, 158, 160, 161]));
    check("getBlocks", json!([157, null, { "commitment": "confirmed" }]), json!([157, 158, 160, 161]));
    check("getBlocks", json!([158, 156]), json!([]));
    check("getBlocks", json!([9_999]), json!([]));
    check("getBlocksWithLimit", json!([157, 2]), json!([157, 158]));
    check("getBlocksWithLimit", json!([157, 0]), json!([]));
    refused(
        "getBlocks",
        json!([0, null, { "commitment": "processed" }]),
        -32602,
        "Method does not support commitment below `confirmed`",
    );
    check("getFirstAvailableBlock", json!([]), json!(156));
    check("minimumLedgerSlot", json!([]), json!(156));
    refused("getHighestSnapshotSlot", json!([]), -32008, "No snapshot");
}

#[test]
fn block_times_and_the_reasons_why_there_is_none() {
    check("getBlockTime", json!([160]), json!(1_700_000_000));
    check("getBlockTime", json!([0]), json!(1_600_000_000));
    refused(
        "getBlockTime",
        json!([159]),
        -32007,
        "Slot 159 was skipped, or missing due to ledger jump to recent snapshot",
    );
    refused("getBlockTime", json!([163]), -32004, "Block not available for slot 163");
    refused("getBlock", json!([5]), -32001, "Block 5 cleaned up, does not exist on node. First available block: 156");
    refused("getBlock", json!([161]), -32004, "Block not available for slot 161");
}

#[test]
fn statuses_have_confirmations_exactly_until_they_are_finalized() {
    let fake = Fake::default();
    let signature = |n: u8| Signature::from([n; 64]);
    let status = |commitment, status| SignatureStatus { slot: Slot::new(158), status, commitment, confirmations: 7 };
    fake.set_status(signature(1), status(Commitment::Finalized, Ok(())));
    fake.set_status(signature(2), status(Commitment::Confirmed, Err(TransactionError::AccountNotFound)));
    let signatures = [1, 2, 3].map(|n| signature(n).to_string());
    let found = fake.result("getSignatureStatuses", json!([signatures]));
    let expect = json!([
        { "slot": 158, "confirmations": null, "status": { "Ok": null }, "err": null, "confirmationStatus": "finalized" },
        { "slot": 158, "confirmations": 7, "status": { "Err": "AccountNotFound" }, "err": "AccountNotFound", "confirmationStatus": "confirmed" },
        null,
    ]);
    assert_eq!(found, at(163, expect));
}

#[test]
fn an_address_has_a_history() {
    let line = json!({
        "signature": Signature::from([5; 64]).to_string(), "slot": 158, "err": null, "memo": "[2] hi",
        "blockTime": 1_700_000_000, "confirmationStatus": "finalized",
    });
    check("getSignaturesForAddress", json!([text(2), { "limit": 1 }]), json!([line]));
}

#[test]
fn the_faucet_pays_or_says_why_not() {
    check(
        "requestAirdrop",
        json!([text(2), 5, { "recentBlockhash": hash(8).to_string(), "commitment": "confirmed" }]),
        json!(Signature::from([5; 64]).to_string()),
    );
    refused("requestAirdrop", json!([text(2), 0]), -32600, "Invalid request");
    refused("requestAirdrop", json!([text(2), 101]), -32603, "the faucet pays at most 100 lamports");
}

#[test]
fn a_sent_transaction_is_named_by_its_first_signature() {
    let fake = Fake { room: 2, ..Fake::default() };
    let transaction = transfer(hash(8));
    let signature = transaction.signatures[0];
    let sent = fake.result("sendTransaction", json!([base64(&transaction), { "encoding": "base64", "maxRetries": 3 }]));
    assert_eq!(sent, json!(signature.to_string()));
    let text = bs58::encode(bincode::serialize(&transaction).expect("it serialises")).into_string();
    assert_eq!(fake.result("sendTransaction", json!([text])), json!(signature.to_string()));
    let submitted = fake.submitted.lock().expect("no panic");
    assert_eq!(submitted[0].signature, signature);
    assert_eq!(submitted[0].last_valid_block_height, Some(309));
    assert_eq!(submitted[0].retries_max, Some(3));
    assert_eq!(submitted[0].bytes, submitted[1].bytes);
}

#[test]
fn a_full_node_refuses_to_send() {
    let fake = Fake { room: 0, ..Fake::default() };
    let error = fake.error("sendTransaction", json!([base64(&transfer(hash(8))), { "encoding": "base64" }]));
    assert_eq!(error["code"], json!(-32603));
}

/// What preflight says to a transaction, and whether it was sent.
fn preflight(fake: &Fake, transaction: &solana_transaction::versioned::VersionedTransaction) -> Value {
    let error = fake.error("sendTransaction", json!([base64(transaction), { "encoding": "base64" }]));
    assert!(fake.submitted.lock().expect("no panic").is_empty());
    error
}

#[test]
fn preflight_says_what_would_go_wrong_in_the_words_clients_match() {
    let error = preflight(&Fake::default(), &transfer(hash(9)));
    assert_eq!(error["code"], json!(-32002));
    assert_eq!(error["message"], json!("Transaction simulation failed: Blockhash not found"));
    assert_eq!(error["data"]["err"], json!("BlockhashNotFound"));
    assert_eq!(error["data"]["logs"], json!(["a log"]));
    assert_eq!(error["data"]["unitsConsumed"], json!(150));
    assert_eq!(error["data"]["accounts"], Value::Null);
    let fake = Fake::default();
    fake.set_bank(
        Commitment::Finalized,
        FakeBank { outcome: Err(TransactionError::AccountNotFound), ..FakeBank::new(160) },
    );
    let message = "Transaction simulation failed: Attempt to debit an account but found no record of a prior credit.";
    assert_eq!(preflight(&fake, &transfer(hash(8)))["message"], json!(message));
}

#[test]
fn preflight_checks_signatures_and_health_first() {
    let mut transaction = transfer(hash(8));
    transaction.signatures[0] = Signature::from([1; 64]);
    let error = preflight(&Fake::default(), &transaction);
    assert_eq!(error, json!({ "code": -32003, "message": "Transaction signature verification failure" }));
    let behind = Fake { health: Health::Behind(9), ..Fake::default() };
    assert_eq!(preflight(&behind, &transfer(hash(8)))["code"], json!(-32005));
}

#[test]
fn without_preflight_nothing_is_simulated() {
    let fake = Fake { health: Health::Unknown, ..Fake::default() };
    let config = json!({ "encoding": "base64", "skipPreflight": true });
    fake.result("sendTransaction", json!([base64(&transfer(hash(9))), config]));
    assert_eq!(fake.submitted.lock().expect("no panic")[0].last_valid_block_height, None);
}

#[test]
fn what_is_no_transaction_is_not_sent() {
    let send =
        |text: &str, encoding: &str| Fake::default().error("sendTransaction", json!([text, { "encoding": encoding }]));
    let name = "solana_transaction::versioned::VersionedTransaction";
    let long = send(&"A".repeat(1_645), "base64");
    assert_eq!(
        long["message"],
        json!(format!("base64 encoded {name} too large: 1645 bytes (max: encoded/raw 1644/1232)"))
    );
    let long = send(&"1".repeat(1_684), "base58");
    assert_eq!(
        long["message"],
        json!(format!("base58 encoded {name} too large: 1684 bytes (max: encoded/raw 1683/1232)"))
    );
    assert!(send("!", "base64")["message"].as_str().expect("text").starts_with("invalid base64 encoding: "));
    assert!(
        send("AQ==", "base64")["message"]
            .as_str()
            .expect("text")
            .starts_with(&format!("failed to deserialize {name}: "))
    );
    assert_eq!(
        send("AQ==", "json")["message"],
        json!("unsupported encoding: json. Supported encodings: base58, base64")
    );
    let mut unsigned = transfer(hash(8));
    unsigned.signatures.clear();
    let error = send(&base64(&unsigned), "base64");
    assert_eq!(error["code"], json!(-32602));
    assert!(error["message"].as_str().expect("text").starts_with("invalid transaction: "), "{error}");
    let mut trailing = bincode::serialize(&transfer(hash(8))).expect("it serialises");
    trailing.push(0);
    use base64::Engine;
    let error = send(&base64::prelude::BASE64_STANDARD.encode(trailing), "base64");
    assert_eq!(error["code"], json!(-32602));
}

#[test]
fn a_simulation_can_replace_the_blockhash_and_show_accounts() {
    let config = json!({
        "encoding": "base64", "replaceRecentBlockhash": true, "innerInstructions": true,
        "accounts": { "encoding": "base64", "addresses": [text(2), text(99)] },
    });
    let result = Fake::default().result("simulateTransaction", json!([base64(&transfer(hash(9))), config]));
    let value = &result["value"];
    assert_eq!(value["err"], Value::Null);
    assert_eq!(value["replacementBlockhash"], json!({ "blockhash": hash(8).to_string(), "lastValidBlockHeight": 309 }));
    assert_eq!(value["accounts"][0]["lamports"], json!(1005));
    assert_eq!(value["accounts"][1], Value::Null);
    assert_eq!(value["unitsConsumed"], json!(150));
    assert_eq!(value["returnData"], json!({ "programId": text(9), "data": ["AQID", "base64"] }));
    assert_eq!(value["innerInstructions"][0]["index"], json!(0));
    let failed =
        Fake::default().result("simulateTransaction", json!([base64(&transfer(hash(9))), { "encoding": "base64" }]));
    assert_eq!(failed["value"]["err"], json!("BlockhashNotFound"));
}

#[test]
fn a_simulation_checks_signatures_only_if_asked() {
    let mut transaction = transfer(hash(8));
    transaction.signatures[0] = Signature::default();
    let ask = |config: Value| Fake::default().reply("simulateTransaction", json!([base64(&transaction), config]));
    assert_eq!(ask(json!({ "encoding": "base64" }))["result"]["value"]["err"], Value::Null);
    assert_eq!(ask(json!({ "encoding": "base64", "sigVerify": true }))["error"]["code"], json!(-32003));
    let both = ask(json!({ "encoding": "base64", "sigVerify": true, "replaceRecentBlockhash": true }));
    assert_eq!(both["error"]["message"], json!("sigVerify may not be used with replaceRecentBlockhash"));
}

#[test]
fn plain_pages_tell_health_and_supply() {
    use sundog_rpc::rest::{Page, get};
    let page = |health, path: &str| get(&Fake { health, ..Fake::default() }, path);
    let ok = |body: &str| Page { status: 200, body: body.to_owned() };
    assert_eq!(page(Health::Ok, "/health"), ok("ok"));
    assert_eq!(page(Health::Behind(1), "/health"), ok("behind"));
    assert_eq!(page(Health::Unknown, "/health"), ok("unknown"));
    assert_eq!(page(Health::Ok, "/v0/total-supply"), ok("500000000.000000001"));
    assert_eq!(page(Health::Ok, "/other").status, 404);
}
