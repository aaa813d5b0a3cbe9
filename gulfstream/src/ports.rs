//! What goes in and out of the machine.

use crate::{DropReason, IngressConfig, VerifiedTransaction};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use sundog_types::{Pubkey, Signature, Slot, peer::Peer};

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
        Self { ingress: IngressConfig::default(), relays_per_second: 10_000 }
    }
}
