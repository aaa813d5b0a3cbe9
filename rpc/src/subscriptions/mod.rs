//! Who wants to hear of what, and telling them (reference 10.6).

mod news;
mod topic;

use crate::{
    chain::Chain,
    commitment::Commitment,
    error::RpcError,
    params::Params,
    request::{self, Body, Call},
};
use news::News;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use sundog_types::{Effects, Machine, Now, Pubkey, Signature, Slot};
use topic::{Topic, slot_update};

/// How much may be subscribed to. Beyond it a subscription is refused with an error, a connection
/// by closing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionLimits {
    /// Connections at once.
    pub connections: usize,
    /// Subscriptions of one connection: more than a wallet needs, and few enough that one caller
    /// cannot take them all.
    pub per_connection: usize,
    /// Subscriptions of all connections. Each costs a look-up for every block.
    pub total: usize,
}

impl Default for SubscriptionLimits {
    fn default() -> Self {
        Self { connections: 1_000, per_connection: 1_000, total: 20_000 }
    }
}

/// A transaction of a block, as far as subscribers are told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutedTransaction {
    /// Its first signature.
    pub signature: Signature,
    /// Whether it succeeded.
    pub status: Result<(), solana_transaction_error::TransactionError>,
    /// What its programs logged.
    pub logs: Vec<String>,
    /// All its accounts.
    pub accounts: Vec<Pubkey>,
    /// Whether it is a vote.
    pub vote: bool,
}

/// A block that was executed whole.
#[derive(Clone, Debug, PartialEq)]
pub struct FrozenBlock {
    /// Its slot.
    pub slot: Slot,
    /// The slot of the block before it.
    pub parent: Slot,
    /// Entries with transactions.
    pub entries: u64,
    /// The most transactions in one entry.
    pub entry_transactions_max: u64,
    /// Its transactions in order.
    pub transactions: Vec<ExecutedTransaction>,
    /// The accounts it changed.
    pub changed: Vec<Pubkey>,
}

/// What happened on the chain.
#[derive(Clone, Debug)]
pub enum ChainEvent {
    /// The first shred of a slot came.
    FirstShred(Slot),
    /// All shreds of a slot are here.
    Completed(Slot),
    /// Execution of a block began.
    Created {
        /// Its slot.
        slot: Slot,
        /// The slot of the block before it.
        parent: Slot,
        /// The node's root at that moment.
        root: Slot,
    },
    /// A block was executed whole.
    Frozen(Arc<FrozenBlock>),
    /// A block can never become valid.
    Dead {
        /// Its slot.
        slot: Slot,
        /// Why, for people.
        why: String,
    },
    /// A block was optimistically confirmed.
    Confirmed(Slot),
    /// The node's root moved to this slot.
    Rooted(Slot),
    /// One of the three banks of [`Chain::bank`] may be another one now.
    Moved,
    /// Transactions came in, to be executed when this node leads.
    Received(Vec<Signature>),
}

/// What may happen to [`Subscriptions`].
#[derive(Clone, Debug)]
pub enum SubscriptionInput {
    /// A WebSocket was opened. The caller numbers them and never uses a number again.
    Opened(u64),
    /// A text message came over a WebSocket.
    Text {
        /// Which WebSocket.
        connection: u64,
        /// The message.
        text: String,
    },
    /// A WebSocket is gone.
    Closed(u64),
    /// Something happened on the chain.
    Event(ChainEvent),
}

/// What [`Subscriptions`] asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionEffect {
    /// Send a text message. Whoever does not read fast enough should be closed, not waited for.
    Send {
        /// To which WebSocket.
        connection: u64,
        /// The message.
        text: String,
    },
    /// Close a WebSocket: there are too many.
    Close {
        /// Which.
        connection: u64,
    },
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionMetrics {
    /// Subscriptions that stand now.
    pub subscriptions: u64,
    /// Subscriptions that were refused because there are too many.
    pub refused_subscriptions: u64,
    /// WebSockets that were closed because there are too many.
    pub refused_connections: u64,
    /// Notifications sent.
    pub notifications: u64,
}

/// The WebSocket side of the RPC as a machine.
pub struct Subscriptions {
    limits: SubscriptionLimits,
    chain: Arc<dyn Chain>,
    connections: BTreeMap<u64, BTreeMap<u64, Topic>>,
    next_id: u64,
    news: News,
    metrics: SubscriptionMetrics,
}

impl Subscriptions {
    /// Without any connection yet.
    #[must_use]
    pub fn new(limits: SubscriptionLimits, chain: Arc<dyn Chain>) -> Self {
        Self {
            limits,
            chain,
            connections: BTreeMap::new(),
            next_id: 0,
            news: News::default(),
            metrics: SubscriptionMetrics::default(),
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn metrics(&self) -> &SubscriptionMetrics {
        &self.metrics
    }

    fn open(&mut self, connection: u64, out: &mut Effects<SubscriptionEffect>) {
        if self.connections.len() >= self.limits.connections {
            self.metrics.refused_connections += 1;
            out.push(SubscriptionEffect::Close { connection });
        } else {
            self.connections.entry(connection).or_default();
        }
    }

    fn close(&mut self, connection: u64) {
        let topics = self.connections.remove(&connection).unwrap_or_default();
        self.metrics.subscriptions -= topics.len() as u64;
    }

    fn text(&mut self, connection: u64, text: &str, out: &mut Effects<SubscriptionEffect>) {
        if !self.connections.contains_key(&connection) {
            return;
        }
        let reply = match request::parse(text.as_bytes()) {
            Err(error) => Some(request::reply(&Value::Null, Err(error))),
            Ok(Body::Single(call)) => self.answer(connection, call),
            Ok(Body::Batch(calls)) => {
                let replies: Vec<_> = calls.into_iter().filter_map(|call| self.answer(connection, call)).collect();
                (!replies.is_empty()).then_some(Value::Array(replies))
            }
        };
        out.extend(reply.map(|reply| SubscriptionEffect::Send { connection, text: reply.to_string() }));
    }

    fn answer(&mut self, connection: u64, call: Call) -> Option<Value> {
        call.answer(|method, mut params| {
            if let Some(name) = method.strip_suffix("Unsubscribe").filter(|name| topic::NAMES.contains(name)) {
                return self.unsubscribe(connection, name, params);
            }
            let Some(name) = method.strip_suffix("Subscribe").filter(|name| topic::NAMES.contains(name)) else {
                return Err(RpcError::method_not_found());
            };
            let topic = Topic::parse(name, &mut params, &*self.chain)?;
            self.subscribe(connection, topic)
        })
    }

    fn subscribe(&mut self, connection: u64, topic: Topic) -> Result<Value, RpcError> {
        let full = self.metrics.subscriptions >= self.limits.total as u64;
        let topics =
            self.connections.get_mut(&connection).filter(|topics| !full && topics.len() < self.limits.per_connection);
        let Some(topics) = topics else {
            self.metrics.refused_subscriptions += 1;
            return Err(RpcError::internal("Internal Error: Subscription refused. Node subscription limit reached"));
        };
        let id = self.next_id;
        self.next_id += 1;
        self.metrics.subscriptions += 1;
        topics.insert(id, topic);
        Ok(json!(id))
    }

    fn unsubscribe(&mut self, connection: u64, name: &str, mut params: Params) -> Result<Value, RpcError> {
        params.arity(1, 1)?;
        let id: u64 = params.take(0)?;
        let topics = self.connections.get_mut(&connection);
        let removed = topics
            .and_then(|topics| topics.get(&id).is_some_and(|topic| topic.name() == name).then(|| topics.remove(&id)));
        if removed.is_none() {
            return Err(RpcError::invalid_params("Invalid subscription id."));
        }
        self.metrics.subscriptions -= 1;
        Ok(json!(true))
    }

    fn event(&mut self, now: Now, event: &ChainEvent, out: &mut Effects<SubscriptionEffect>) {
        if let Some(update) = slot_update(now, event) {
            self.tell_all("slotsUpdates", &update, out);
        }
        match event {
            ChainEvent::Created { slot, parent, root } => {
                let info = json!({ "slot": slot.get(), "parent": parent.get(), "root": root.get() });
                self.tell_all("slot", &info, out);
            }
            ChainEvent::Rooted(slot) => self.tell_all("root", &json!(slot.get()), out),
            ChainEvent::Frozen(block) => self.news.keep(Arc::clone(block)),
            ChainEvent::Moved => self.moved(out),
            ChainEvent::Received(signatures) => self.received(signatures, out),
            ChainEvent::FirstShred(_)
            | ChainEvent::Completed(_)
            | ChainEvent::Dead { .. }
            | ChainEvent::Confirmed(_) => {}
        }
    }

    /// Tells everybody who subscribed to the topic of this name the same.
    fn tell_all(&mut self, name: &str, result: &Value, out: &mut Effects<SubscriptionEffect>) {
        for (connection, topics) in &self.connections {
            for (id, _) in topics.iter().filter(|(_, topic)| topic.name() == name) {
                self.metrics.notifications += 1;
                out.push(notification(*connection, *id, name, result));
            }
        }
    }

    /// Looks at the three banks, and tells what is new in them.
    fn moved(&mut self, out: &mut Effects<SubscriptionEffect>) {
        for commitment in Commitment::ALL {
            let bank = self.chain.bank(commitment);
            let blocks = self.news.advance(commitment, bank.slot());
            let moment = topic::Moment { chain: &*self.chain, bank: &*bank, commitment, blocks: &blocks };
            for (connection, topics) in &mut self.connections {
                let mut over = Vec::new();
                for (id, topic) in topics.iter_mut() {
                    let told = topic.tell(&moment);
                    for value in &told.results {
                        let result = json!({ "context": { "slot": bank.slot().get() }, "value": value });
                        out.push(notification(*connection, *id, topic.name(), &result));
                        self.metrics.notifications += 1;
                    }
                    if told.over {
                        over.push(*id);
                    }
                }
                for id in over {
                    topics.remove(&id);
                    self.metrics.subscriptions -= 1;
                }
            }
        }
    }

    /// Tells that transactions came in, to those who wait for them.
    fn received(&mut self, signatures: &[Signature], out: &mut Effects<SubscriptionEffect>) {
        let slot = self.chain.bank(Commitment::Processed).slot().get();
        for (connection, topics) in &mut self.connections {
            for (id, topic) in topics.iter_mut() {
                if topic.receives(signatures) {
                    let result = json!({ "context": { "slot": slot }, "value": "receivedSignature" });
                    out.push(notification(*connection, *id, topic.name(), &result));
                    self.metrics.notifications += 1;
                }
            }
        }
    }
}

impl Machine for Subscriptions {
    type Input = SubscriptionInput;
    type Effect = SubscriptionEffect;

    fn handle(&mut self, now: Now, input: SubscriptionInput, out: &mut Effects<SubscriptionEffect>) {
        match input {
            SubscriptionInput::Opened(connection) => self.open(connection, out),
            SubscriptionInput::Text { connection, text } => self.text(connection, &text, out),
            SubscriptionInput::Closed(connection) => self.close(connection),
            SubscriptionInput::Event(event) => self.event(now, &event, out),
        }
    }

    fn handle_timeout(&mut self, _: Now, _: &mut Effects<SubscriptionEffect>) {}

    fn poll_timeout(&self) -> Option<Now> {
        None
    }
}

fn notification(connection: u64, id: u64, name: &str, result: &Value) -> SubscriptionEffect {
    let params = json!({ "result": result, "subscription": id });
    let text = json!({ "jsonrpc": "2.0", "method": format!("{name}Notification"), "params": params }).to_string();
    SubscriptionEffect::Send { connection, text }
}
