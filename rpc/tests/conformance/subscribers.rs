//! Lives of subscriptions.

use crate::fake::{Fake, FakeBank, account, key};
use serde_json::{Value, json};
use solana_transaction_error::TransactionError;
use std::sync::Arc;
use sundog_rpc::{
    ChainEvent, Commitment, SubscriptionEffect, SubscriptionInput, Subscriptions,
    chain::SignatureStatus,
    subscriptions::{ExecutedTransaction, FrozenBlock, SubscriptionLimits},
};
use sundog_types::{Machine, Now, Signature, Slot};

struct World {
    fake: Arc<Fake>,
    machine: Subscriptions,
}

/// Signature number `n`.
fn signature(n: u8) -> Signature {
    Signature::from([n; 64])
}

impl World {
    fn new() -> Self {
        Self::with(SubscriptionLimits::default())
    }

    fn with(limits: SubscriptionLimits) -> Self {
        let fake = Arc::new(Fake::default());
        let mut world = Self { machine: Subscriptions::new(limits, Arc::clone(&fake) as _), fake };
        assert_eq!(world.give(SubscriptionInput::Opened(1)), Vec::<(u64, Value)>::new());
        world
    }

    /// What is sent because of an input, by connection.
    fn give(&mut self, input: SubscriptionInput) -> Vec<(u64, Value)> {
        let mut out = Vec::new();
        self.machine.handle(Now { mono_us: 0, unix_ms: 1_234 }, input, &mut out);
        let sent = out.into_iter().map(|effect| match effect {
            SubscriptionEffect::Send { connection, text } => (connection, serde_json::from_str(&text).expect("JSON")),
            SubscriptionEffect::Close { connection } => (connection, json!("close")),
        });
        sent.collect()
    }

    fn say(&mut self, text: &str) -> Vec<(u64, Value)> {
        self.give(SubscriptionInput::Text { connection: 1, text: text.to_owned() })
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let mut sent = self.say(&call);
        assert_eq!(sent.len(), 1);
        sent.remove(0).1
    }

    /// The number of a new subscription.
    #[track_caller]
    fn subscribe(&mut self, method: &str, params: Value) -> u64 {
        let reply = self.call(method, params);
        reply["result"].as_u64().unwrap_or_else(|| panic!("{reply}"))
    }

    /// Notifications because of an event: method, subscription, result.
    fn event(&mut self, event: ChainEvent) -> Vec<(String, u64, Value)> {
        let sent = self.give(SubscriptionInput::Event(event)).into_iter().map(|(_, text)| {
            let params = &text["params"];
            (
                text["method"].as_str().expect("a method").to_owned(),
                params["subscription"].as_u64().expect("an id"),
                params["result"].clone(),
            )
        });
        sent.collect()
    }

    /// The values told because the banks moved.
    fn moved(&mut self) -> Vec<Value> {
        self.event(ChainEvent::Moved).into_iter().map(|(_, _, mut result)| result["value"].take()).collect()
    }

    fn bank(&self, commitment: Commitment, slot: u64, change: impl FnOnce(&mut FakeBank)) {
        let mut bank = FakeBank::new(slot);
        change(&mut bank);
        self.fake.set_bank(commitment, bank);
    }

    fn land(&self, commitment: Commitment, status: Result<(), TransactionError>) {
        self.fake
            .set_status(signature(5), SignatureStatus { slot: Slot::new(160), status, commitment, confirmations: 1 });
    }
}

fn frozen(slot: u64, parent: u64) -> FrozenBlock {
    let transaction = |n: u8, vote| ExecutedTransaction {
        signature: signature(n),
        status: Ok(()),
        logs: vec![format!("log {n}")],
        accounts: vec![key(n)],
        vote,
    };
    FrozenBlock {
        slot: Slot::new(slot),
        parent: Slot::new(parent),
        entries: 2,
        entry_transactions_max: 1,
        transactions: vec![transaction(1, false), transaction(2, true)],
        changed: vec![key(2), key(20)],
    }
}

#[test]
fn a_signature_is_told_once_when_it_is_sure_enough() {
    let mut world = World::new();
    let id = world.subscribe("signatureSubscribe", json!([signature(5).to_string(), { "commitment": "confirmed" }]));
    assert!(world.moved().is_empty());
    world.land(Commitment::Processed, Ok(()));
    assert!(world.moved().is_empty());
    world.land(Commitment::Confirmed, Ok(()));
    let expect = json!({ "context": { "slot": 161 }, "value": { "err": null } });
    assert_eq!(world.event(ChainEvent::Moved), [("signatureNotification".to_owned(), id, expect)]);
    assert!(world.moved().is_empty());
    assert_eq!(world.machine.metrics().subscriptions, 0);
    assert_eq!(world.call("signatureUnsubscribe", json!([id]))["error"]["code"], json!(-32602));
}

#[test]
fn a_signature_that_landed_before_is_told_at_the_next_event() {
    let mut world = World::new();
    world.land(Commitment::Finalized, Err(TransactionError::AccountNotFound));
    world.subscribe("signatureSubscribe", json!([signature(5).to_string()]));
    assert_eq!(world.moved(), [json!({ "err": "AccountNotFound" })]);
}

#[test]
fn receipt_is_told_once_to_those_who_asked() {
    let mut world = World::new();
    world.subscribe("signatureSubscribe", json!([signature(5).to_string(), { "enableReceivedNotification": true }]));
    world.subscribe("signatureSubscribe", json!([signature(5).to_string()]));
    let told = world.event(ChainEvent::Received(vec![signature(4), signature(5)]));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].2["value"], json!("receivedSignature"));
    assert!(world.event(ChainEvent::Received(vec![signature(5)])).is_empty());
}

#[test]
fn slots_roots_and_updates_are_told_as_they_happen() {
    let mut world = World::new();
    let slot = world.subscribe("slotSubscribe", Value::Null);
    let root = world.subscribe("rootSubscribe", json!([]));
    let updates = world.subscribe("slotsUpdatesSubscribe", json!([]));
    let created = ChainEvent::Created { slot: Slot::new(164), parent: Slot::new(163), root: Slot::new(150) };
    let update = |body: Value| ("slotsUpdatesNotification".to_owned(), updates, body);
    assert_eq!(
        world.event(created),
        [
            update(json!({ "type": "createdBank", "slot": 164, "parent": 163, "timestamp": 1234 })),
            ("slotNotification".to_owned(), slot, json!({ "slot": 164, "parent": 163, "root": 150 })),
        ]
    );
    assert_eq!(
        world.event(ChainEvent::Rooted(Slot::new(151))),
        [
            update(json!({ "type": "root", "slot": 151, "timestamp": 1234 })),
            ("rootNotification".to_owned(), root, json!(151))
        ]
    );
    let stats = json!({ "numTransactionEntries": 2, "numSuccessfulTransactions": 2, "numFailedTransactions": 0, "maxTransactionsPerEntry": 1 });
    assert_eq!(
        world.event(ChainEvent::Frozen(Arc::new(frozen(164, 163)))),
        [update(json!({ "type": "frozen", "slot": 164, "timestamp": 1234, "stats": stats }))]
    );
    assert_eq!(world.call("slotUnsubscribe", json!([slot]))["result"], json!(true));
    assert_eq!(world.event(ChainEvent::FirstShred(Slot::new(165))).len(), 1);
}

#[test]
fn an_account_is_told_when_it_changed_and_when_it_is_gone() {
    let mut world = World::new();
    world.subscribe(
        "accountSubscribe",
        json!([key(2).to_string(), { "encoding": "base64", "commitment": "confirmed" }]),
    );
    assert!(world.moved().is_empty());
    let changed = |bank: &mut FakeBank| drop(bank.accounts.insert(key(2), account(7, vec![9], key(9))));
    world.bank(Commitment::Processed, 164, changed);
    assert!(world.moved().is_empty(), "another commitment");
    world.bank(Commitment::Confirmed, 164, changed);
    let told = world.moved();
    assert_eq!((&told[0]["lamports"], &told[0]["data"]), (&json!(7), &json!(["CQ==", "base64"])));
    assert!(world.moved().is_empty());
    world.bank(Commitment::Confirmed, 165, |bank| drop(bank.accounts.remove(&key(2))));
    assert_eq!(world.moved()[0]["lamports"], json!(0));
}

#[test]
fn a_programs_changed_accounts_are_told_if_they_pass_the_filters() {
    let mut world = World::new();
    world.subscribe("programSubscribe", json!([key(9).to_string(), { "encoding": "base64", "commitment": "processed", "filters": [{ "dataSize": 4 }] }]));
    world.subscribe("programSubscribe", json!([key(9).to_string(), { "encoding": "base64", "commitment": "processed", "filters": [{ "dataSize": 5 }] }]));
    world.event(ChainEvent::Frozen(Arc::new(frozen(164, 163))));
    world.bank(Commitment::Processed, 164, |_| {});
    let told = world.moved();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["pubkey"], json!(key(2).to_string()));
    assert!(world.moved().is_empty());
}

#[test]
fn logs_are_told_once_per_block_and_without_votes_unless_wanted() {
    let mut world = World::new();
    let config = json!({ "commitment": "processed" });
    let all = world.subscribe("logsSubscribe", json!(["all", config]));
    let votes = world.subscribe("logsSubscribe", json!(["allWithVotes", config]));
    let mentions = world.subscribe("logsSubscribe", json!([{ "mentions": [key(2).to_string()] }, config]));
    world.subscribe("logsSubscribe", json!(["all"]));
    world.event(ChainEvent::Frozen(Arc::new(frozen(164, 163))));
    world.bank(Commitment::Processed, 164, |_| {});
    let told: Vec<_> = world
        .event(ChainEvent::Moved)
        .into_iter()
        .map(|(_, id, result)| (id, result["value"]["logs"][0].clone()))
        .collect();
    assert_eq!(
        told,
        [(all, json!("log 1")), (votes, json!("log 1")), (votes, json!("log 2")), (mentions, json!("log 2"))]
    );
    assert!(world.moved().is_empty());
    assert_eq!(world.call("logsSubscribe", json!([{ "mentions": [] }]))["error"]["code"], json!(-32602));
}

#[test]
fn a_ping_is_ignored_and_what_is_unknown_is_refused() {
    let mut world = World::new();
    assert!(world.say(r#"{"jsonrpc":"2.0","method":"ping"}"#).is_empty());
    assert!(world.say(r#"{"method":"ping","params":null}"#).is_empty());
    for method in ["blockSubscribe", "voteSubscribe", "getSlot", "Subscribe"] {
        assert_eq!(world.call(method, json!([]))["error"], json!({ "code": -32601, "message": "Method not found" }));
    }
    assert_eq!(
        world.call("slotUnsubscribe", json!([99]))["error"],
        json!({ "code": -32602, "message": "Invalid subscription id." })
    );
    assert_eq!(world.call("accountSubscribe", json!(["x"]))["error"]["code"], json!(-32602));
}

#[test]
fn a_connection_cannot_take_more_than_its_part() {
    let mut world = World::with(SubscriptionLimits { connections: 2, per_connection: 2, total: 3 });
    let refused =
        json!({ "code": -32603, "message": "Internal Error: Subscription refused. Node subscription limit reached" });
    let first = world.subscribe("slotSubscribe", json!([]));
    world.subscribe("slotSubscribe", json!([]));
    assert_eq!(world.call("slotSubscribe", json!([]))["error"], refused);
    world.call("slotUnsubscribe", json!([first]));
    world.subscribe("slotSubscribe", json!([]));
    assert_eq!(world.machine.metrics().refused_subscriptions, 1);
}

#[test]
fn all_connections_together_have_a_limit_and_what_closes_makes_room() {
    let mut world = World::with(SubscriptionLimits { connections: 2, per_connection: 2, total: 3 });
    world.give(SubscriptionInput::Opened(2));
    assert_eq!(world.give(SubscriptionInput::Opened(3)), [(3, json!("close"))]);
    let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "rootSubscribe" }).to_string();
    for _ in 0..2 {
        world.give(SubscriptionInput::Text { connection: 2, text: text.clone() });
    }
    world.subscribe("slotSubscribe", json!([]));
    assert_eq!(world.call("slotSubscribe", json!([]))["error"]["code"], json!(-32603));
    world.give(SubscriptionInput::Closed(2));
    assert_eq!(world.machine.metrics().subscriptions, 1);
    world.subscribe("slotSubscribe", json!([]));
    assert!(world.event(ChainEvent::Rooted(Slot::new(1))).is_empty(), "a closed connection hears nothing");
}

#[test]
fn a_subscription_belongs_to_its_connection_and_its_kind() {
    let mut world = World::new();
    let id = world.subscribe("slotSubscribe", json!([]));
    world.give(SubscriptionInput::Opened(2));
    let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "slotUnsubscribe", "params": [id] }).to_string();
    let sent = world.give(SubscriptionInput::Text { connection: 2, text });
    assert_eq!(sent[0].1["error"]["code"], json!(-32602));
    assert_eq!(world.call("rootUnsubscribe", json!([id]))["error"]["code"], json!(-32602));
    assert_eq!(world.call("slotUnsubscribe", json!([id]))["result"], json!(true));
}
