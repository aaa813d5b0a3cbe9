//! The machine: what comes in, where it goes.

use crate::ballots::Ballots;
use crate::buffer::{Buffer, Offer};
use crate::dedup::{Seen, SeenKey};
use crate::forward::{Horizon, Outbox, Way};
use crate::ingress::Ingress;
use crate::lanes::{Lanes, Origin};
use crate::retry::{RETRIES_PER_CALL_MAX, Retries, Turn};
use crate::{DropReason, IngressConfig, Metrics, VerifiedTransaction};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use sundog_types::machine::earliest;
use sundog_types::transaction::TRANSACTION_BYTES_MAX;
use sundog_types::{Effects, Machine, Now, Pubkey, Signature, Slot, peer::Peer};

/// Blocks that a transaction may wait to land when RPC does not say: MAX_PROCESSING_AGE (reference 1.11).
const VALID_BLOCKS: u64 = 150;

/// Transactions left over from leading that are passed on when it ends.
const LEFTOVERS_MAX: usize = 1_024;

/// Of this node's own slot, the distance at which clients' transactions are held and not forwarded.
const HOLD_ONLY_SLOTS: u64 = 1;

/// Where transactions come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client by QUIC; who, if its certificate was read.
    Client(Option<Pubkey>),
    /// This node's RPC: repeated until it lands or expires.
    Rpc,
    /// A validator by the port for forwarded ones: never forwarded again.
    Forwarded(Pubkey),
    /// A vote, by the vote ports or by gossip.
    Vote,
    /// This node itself: no limit, sent to the next leaders, votes by their vote port.
    Internal,
}

/// What may happen to Gulf Stream.
#[derive(Clone, Debug)]
pub enum Input {
    /// Packets, one transaction each.
    Packets {
        /// By which way.
        source: Source,
        /// As they came.
        packets: Vec<Bytes>,
    },
    /// A transaction that RPC was given, with its conditions; without them it is as one of
    /// [`Input::Packets`] from [`Source::Rpc`].
    Submit {
        /// The transaction.
        packet: Bytes,
        /// Block height after which it can not land.
        last_valid_block_height: Option<u64>,
        /// How often to send it again at most.
        retries_max: Option<u64>,
    },
    /// The answer to [`Effect::Check`].
    Checked {
        /// Of the batch.
        id: u64,
        /// One for each packet, in order.
        results: Vec<Result<VerifiedTransaction, DropReason>>,
    },
    /// Leaders of the coming slots, by slot.
    Leaders(Arc<Vec<(Slot, Pubkey)>>),
    /// The registry changed.
    Peers(Arc<Vec<Peer>>),
    /// Which slot it is by the clock, and how high the chain is.
    Tip {
        /// The slot.
        slot: Slot,
        /// Block height of the rooted chain, by which transactions expire.
        block_height: u64,
    },
    /// This node makes a block for this slot now, or has stopped to.
    Leading {
        /// The slot.
        slot: Option<Slot>,
    },
    /// Transactions that are in a block.
    Landed(Vec<Signature>),
}

/// What Gulf Stream asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Run [`crate::check_packet`] on each and answer with [`Input::Checked`].
    Check {
        /// Comes back with the answer.
        id: u64,
        /// At most [`crate::CHECK_BATCH_MAX`].
        packets: Vec<Bytes>,
    },
    /// Send transactions to a leader, by QUIC, one stream each.
    Forward {
        /// The leader's identity.
        to: Pubkey,
        /// Where it takes them.
        addr: SocketAddr,
        /// Packets as they came in, checked.
        transactions: Vec<Bytes>,
        /// Whether they are votes, and `addr` is the vote port.
        votes: bool,
    },
}

/// How Gulf Stream is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GulfstreamConfig {
    /// Limits on what comes in.
    pub ingress: IngressConfig,
    /// Clients' transactions that are passed on to leaders per second at most.
    pub relays_per_second: u64,
}

impl Default for GulfstreamConfig {
    /// Relays: the reference's 12 MB/s in packets of full size.
    fn default() -> Self {
        Self {
            ingress: IngressConfig::default(),
            relays_per_second: 10_000,
        }
    }
}

/// Carries transactions to where they will be executed.
pub struct Gulfstream {
    relays_per_second: u64,
    relays_left: u64,
    relays_counted_since: Option<Now>,
    salt: [u8; 32],
    ingress: Ingress,
    seen_packets: Seen,
    seen_messages: Seen,
    lanes: Lanes,
    buffer: Buffer,
    ballots: Ballots,
    retries: Retries,
    horizon: Horizon,
    outbox: Outbox,
    leading: Option<Slot>,
    block_height: u64,
    metrics: Metrics,
}

impl Gulfstream {
    /// An empty one for the node `me`. `seed` salts the table of packets seen.
    #[must_use]
    pub fn new(config: GulfstreamConfig, me: Pubkey, seed: [u8; 32]) -> Self {
        Self {
            relays_per_second: config.relays_per_second,
            relays_left: config.relays_per_second,
            relays_counted_since: None,
            salt: seed,
            ingress: Ingress::new(config.ingress),
            seen_packets: Seen::default(),
            seen_messages: Seen::default(),
            lanes: Lanes::default(),
            buffer: Buffer::default(),
            ballots: Ballots::default(),
            retries: Retries::default(),
            horizon: Horizon::new(me),
            outbox: Outbox::default(),
            leading: None,
            block_height: 0,
            metrics: Metrics::default(),
        }
    }

    /// What it has counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Transactions and votes that wait for this node to lead.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len() + self.ballots.len()
    }

    /// For the leader loop: at most `max` transactions of at most `bytes_max` bytes together. Up to half
    /// are votes, then the best paying transactions, then votes again if there is room.
    pub fn take(&mut self, max: usize, bytes_max: usize) -> Vec<VerifiedTransaction> {
        let mut taken = Vec::new();
        let mut bytes_left = bytes_max;
        let mut fill =
            |count: usize, next: &mut dyn FnMut(usize) -> Option<VerifiedTransaction>| {
                while taken.len() < count
                    && let Some(transaction) = next(bytes_left)
                {
                    bytes_left -= transaction.packet().len();
                    taken.push(transaction);
                }
            };
        fill(max.div_ceil(2), &mut |bytes| self.ballots.take_best(bytes));
        fill(max, &mut |bytes| self.buffer.take_best(bytes));
        fill(max, &mut |bytes| self.ballots.take_best(bytes));
        self.metrics.taken += taken.len() as u64;
        taken
    }

    /// Takes back what the leader loop could not put into its block. It keeps its age.
    pub fn give_back(&mut self, transactions: Vec<VerifiedTransaction>) {
        self.metrics.given_back += transactions.len() as u64;
        for transaction in transactions {
            if let Some(since) = transaction.held_since {
                let is_ballot = transaction.is_vote()
                    && self.offer_vote(transaction.clone()) != Err(DropReason::NotAVote);
                if !is_ballot {
                    self.hold(since, transaction);
                }
            }
        }
    }

    fn packet_in(&mut self, now: Now, origin: Origin, packet: Bytes) {
        self.metrics.received += 1;
        if let Err(why) = self.admit(now, origin, packet) {
            self.metrics.drop(why);
        }
    }

    /// The cheap part, before signatures.
    fn admit(&mut self, now: Now, origin: Origin, packet: Bytes) -> Result<(), DropReason> {
        if packet.len() > TRANSACTION_BYTES_MAX {
            return Err(DropReason::TooLarge);
        }
        if matches!(origin.source, Source::Forwarded(_)) && !self.leads_now_or_soon() {
            return Err(DropReason::NotLeadingSoon);
        }
        if !self.ingress.admit(now, origin.source) {
            return Err(DropReason::RateLimited);
        }
        let key = Sha256::new()
            .chain_update(self.salt)
            .chain_update(&packet)
            .finalize();
        if !self.seen_packets.note(now, half(&key)) {
            return Err(DropReason::Duplicate);
        }
        self.lanes.push(origin, packet)
    }

    fn send_checks(&mut self, out: &mut Effects<Effect>) {
        while let Some(batch) = self.lanes.next_batch() {
            self.metrics.checks += batch.packets.len() as u64;
            out.push(Effect::Check {
                id: batch.id,
                packets: batch.packets,
            });
        }
    }

    fn checked(
        &mut self,
        now: Now,
        origin: Origin,
        result: Result<VerifiedTransaction, DropReason>,
    ) -> Result<(), DropReason> {
        let mut transaction = result?;
        self.metrics.verified += 1;
        transaction.held_since = Some(now);
        if !self
            .seen_messages
            .note(now, half(transaction.message_hash().as_ref()))
        {
            return Err(DropReason::Duplicate);
        }
        match origin.source {
            Source::Vote if self.leads_now_or_soon() => self.offer_vote(transaction),
            Source::Vote => Err(DropReason::NotLeadingSoon),
            Source::Forwarded(_) if self.leads_now_or_soon() => {
                transaction.forwarded = true;
                self.hold(now, transaction);
                Ok(())
            }
            Source::Forwarded(_) => Err(DropReason::NotLeadingSoon),
            Source::Rpc => self.submitted(now, origin, transaction),
            Source::Internal => self.send_own(now, transaction),
            Source::Client(_) => self.from_client(now, transaction),
        }
    }

    /// Sent by RPC: kept until it lands, and sent off at once unless it can be executed right here.
    fn submitted(
        &mut self,
        now: Now,
        origin: Origin,
        transaction: VerifiedTransaction,
    ) -> Result<(), DropReason> {
        let last_valid = origin
            .last_valid_block_height
            .unwrap_or(self.block_height.saturating_add(VALID_BLOCKS));
        let item = (transaction.signature(), transaction.packet().clone());
        if !self.retries.keep(now, item, last_valid, origin.retries_max) {
            self.metrics.drop(DropReason::RetriesFull);
        }
        self.send_own(now, transaction)
    }

    /// Not limited by the budget for relays.
    fn send_own(
        &mut self,
        now: Now,
        mut transaction: VerifiedTransaction,
    ) -> Result<(), DropReason> {
        let way = if transaction.is_vote() {
            Way::Vote
        } else {
            Way::Client
        };
        if self.leading.is_none() {
            let sent = self.outbox.put(&self.horizon, way, transaction.packet());
            self.metrics.forwarded += sent;
            transaction.forwarded = sent > 0;
            if !self.horizon.is_next() {
                return if sent > 0 {
                    Ok(())
                } else {
                    Err(DropReason::NoLeader)
                };
            }
        }
        self.hold(now, transaction);
        Ok(())
    }

    /// Held if this node leads soon; forwarded unless it leads next.
    fn from_client(
        &mut self,
        now: Now,
        mut transaction: VerifiedTransaction,
    ) -> Result<(), DropReason> {
        let distance = self.horizon.slots_to_own();
        let alone = self.leading.is_some() || distance.is_some_and(|d| d <= HOLD_ONLY_SLOTS);
        let relayed = if alone {
            Ok(())
        } else {
            self.relay(now, &mut transaction)
        };
        if alone || self.horizon.leads_soon() {
            self.hold(now, transaction);
            return Ok(());
        }
        relayed
    }

    /// Passes a transaction on, once, within the budget.
    fn relay(&mut self, now: Now, transaction: &mut VerifiedTransaction) -> Result<(), DropReason> {
        let second = std::time::Duration::from_secs(1);
        if self
            .relays_counted_since
            .is_none_or(|since| now.since(since) >= second)
        {
            self.relays_counted_since = Some(now);
            self.relays_left = self.relays_per_second;
        }
        if self.relays_left == 0 {
            return Err(DropReason::RelayBudget);
        }
        let sent = self
            .outbox
            .put(&self.horizon, Way::Relay, transaction.packet());
        if sent == 0 {
            return Err(DropReason::NoLeader);
        }
        self.relays_left -= 1;
        self.metrics.forwarded += sent;
        transaction.forwarded = true;
        Ok(())
    }

    fn offer_vote(&mut self, vote: VerifiedTransaction) -> Result<(), DropReason> {
        let stake = self.ingress.stake(&vote.payer());
        if self.ballots.offer(stake, vote)? {
            self.metrics.drop(DropReason::VotesFull);
        }
        self.metrics.held += 1;
        Ok(())
    }

    fn hold(&mut self, since: Now, transaction: VerifiedTransaction) {
        let offer = self.buffer.offer(since, transaction);
        match offer {
            Offer::Held => {}
            Offer::Displaced | Offer::Outbid => self.metrics.drop(DropReason::Outbid),
            Offer::Duplicate => self.metrics.drop(DropReason::Duplicate),
        }
        self.metrics.held += u64::from(matches!(offer, Offer::Held | Offer::Displaced));
    }

    /// Its slots are over: what is left goes to the next leaders, and stays for the next own slots.
    fn pass_on_leftovers(&mut self, now: Now) {
        let mut leftovers: Vec<_> = self.buffer.unforwarded(LEFTOVERS_MAX).cloned().collect();
        leftovers.retain_mut(|transaction| self.relay(now, transaction).is_ok());
        for transaction in leftovers {
            self.buffer.mark_forwarded(&transaction.signature());
        }
    }

    fn leads_now_or_soon(&self) -> bool {
        self.leading.is_some() || self.horizon.leads_soon()
    }

    fn retry(&mut self, now: Now) {
        for _ in 0..RETRIES_PER_CALL_MAX {
            match self.retries.turn(now, self.block_height) {
                Some(Turn::Again(packet)) => {
                    self.metrics.retried += 1;
                    self.metrics.forwarded += self.outbox.put(&self.horizon, Way::Client, &packet);
                }
                Some(Turn::Expired) => self.metrics.drop(DropReason::Expired),
                None => return,
            }
        }
    }
}

fn half(hash: &[u8]) -> SeenKey {
    hash.first_chunk().copied().unwrap_or_default()
}

impl Machine for Gulfstream {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match input {
            Input::Packets { source, packets } => {
                for packet in packets {
                    self.packet_in(now, source.into(), packet);
                }
                self.send_checks(out);
            }
            Input::Submit {
                packet,
                last_valid_block_height,
                retries_max,
            } => {
                let source = Source::Rpc;
                let origin = Origin {
                    source,
                    last_valid_block_height,
                    retries_max,
                };
                self.packet_in(now, origin, packet);
                self.send_checks(out);
            }
            Input::Checked { id, results } => {
                for (origin, result) in self.lanes.returned(id).into_iter().zip(results) {
                    if let Err(why) = self.checked(now, origin, result) {
                        self.metrics.drop(why);
                    }
                }
                self.send_checks(out);
            }
            Input::Leaders(leaders) => self.horizon.set_leaders(leaders),
            Input::Peers(peers) => {
                let staked = peers.iter().filter(|peer| peer.stake > 0);
                self.ingress
                    .weigh(staked.map(|peer| (peer.identity, peer.stake)).collect());
                self.horizon.set_peers(&peers);
            }
            Input::Tip { slot, block_height } => {
                self.horizon.set_tip(slot);
                self.block_height = block_height;
            }
            Input::Leading { slot } => {
                let over = self.leading.is_some() && slot.is_none();
                self.leading = slot;
                if over {
                    self.pass_on_leftovers(now);
                }
            }
            Input::Landed(signatures) => {
                for signature in &signatures {
                    self.metrics.landed += u64::from(self.retries.landed(signature));
                    self.buffer.forget(signature);
                }
            }
        }
        self.outbox.send(&self.horizon, out);
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        self.retry(now);
        for _ in 0..self.buffer.expire(now) {
            self.metrics.drop(DropReason::Stale);
        }
        self.outbox.send(&self.horizon, out);
    }

    fn poll_timeout(&self) -> Option<Now> {
        earliest(self.retries.next_due(), self.buffer.next_expiry())
    }
}
