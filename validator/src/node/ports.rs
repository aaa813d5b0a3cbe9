//! What goes into a node and what comes out of it.

use super::{
    job::{Done, Job},
    waiting::Attendance,
};
use bytes::Bytes;
use std::{net::SocketAddr, sync::Arc};
use sundog_gulfstream::Source;
use sundog_poh::{RecorderEffect, RecorderInput};
use sundog_rpc::subscriptions::FrozenBlock;
use sundog_turbine::sync::Progress;
use sundog_types::{Hash, Pubkey, Slot, store::Batch, vote::VoteOnWire};

/// A UDP socket of the node, named by what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Socket {
    /// Gossip messages, both ways.
    Gossip,
    /// Repair requests of this node leave here, and their answers arrive here.
    Repair,
    /// Repair requests of others arrive here, and answers to them leave here.
    ServeRepair,
    /// Votes straight to the next leaders.
    TpuVote,
}

/// What may happen to a node.
#[derive(Debug)]
pub enum Input {
    /// A datagram on the gossip socket.
    Gossip {
        /// Who sent it, as the packet claims.
        from: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// A shred by Turbine, over QUIC or UDP.
    Shred {
        /// Who sent it.
        from: sundog_turbine::Sender,
        /// The datagram.
        bytes: Bytes,
    },
    /// A datagram on the repair socket.
    RepairResponse {
        /// Who sent it.
        from: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// A datagram on the serve-repair socket.
    RepairRequest {
        /// Who sent it.
        from: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Transactions from clients, RPC or other validators.
    Transactions {
        /// Where they came from.
        source: Source,
        /// One transaction each.
        packets: Vec<Bytes>,
    },
    /// A transaction that the RPC was given, with its conditions.
    Submit {
        /// The transaction.
        packet: Bytes,
        /// The block height after which it cannot land.
        last_valid_block_height: Option<u64>,
        /// How often to send it again at most.
        retries_max: Option<u64>,
    },
    /// A piece of work is done.
    Done(Done),
    /// The Proof of History recorder says something.
    Poh(RecorderEffect),
    /// A durable write is on disk.
    Durable {
        /// Which.
        id: u64,
    },
    /// What happens on the links of bulk sync.
    Sync(sundog_turbine::sync::Input),
    /// Shreds from the ledger directory, after a restart.
    Stored {
        /// Their payloads, in order.
        shreds: Vec<Bytes>,
    },
}

impl Input {
    /// Whether it brings blocks of others.
    pub(super) const fn brings_blocks(&self) -> bool {
        matches!(self, Self::Shred { .. } | Self::RepairResponse { .. })
    }
}

/// What a node asks of the world.
#[derive(Debug)]
pub enum Effect {
    /// Send a datagram.
    SendUdp {
        /// From which socket.
        socket: Socket,
        /// Where to.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Send a shred to a peer: a QUIC datagram if it offers that, else UDP.
    SendShred {
        /// Who.
        to: Pubkey,
        /// Where it listens.
        addresses: sundog_turbine::Route,
        /// The shred.
        shred: Bytes,
    },
    /// Send transactions, each on a QUIC stream of its own.
    SendTransactions {
        /// Who.
        to: Pubkey,
        /// Where it takes transactions.
        address: SocketAddr,
        /// One transaction each.
        transactions: Vec<Bytes>,
    },
    /// Dial, send or close a link of bulk sync.
    Sync(sundog_turbine::sync::Effect),
    /// Do heavy work somewhere else; its [`Done`] comes back as an input.
    Run(Job),
    /// Tell the Proof of History recorder.
    Poh(RecorderInput),
    /// Change the ledger.
    Write {
        /// The changes, atomic.
        batch: Batch,
        /// Set: make them durable, then answer [`Input::Durable`] with this id.
        durable: Option<u64>,
    },
    /// Replace the tower file durably, then answer [`Input::Durable`].
    SaveTower {
        /// The id to answer with.
        id: u64,
        /// The file's content.
        bytes: Vec<u8>,
    },
    /// Give readers a new view of the node.
    Publish(Arc<super::View>),
    /// Tell subscribers and the log what happened.
    Event(Event),
    /// End this node: another instance runs with the same identity.
    Stop {
        /// Why, for the operator.
        why: String,
    },
}

/// Something that a person or a subscriber wants to know.
#[derive(Clone, Debug)]
pub enum Event {
    /// A slot began: its first shred was seen, or this node leads it.
    SlotStarted {
        /// Which.
        slot: Slot,
        /// Who leads it.
        leader: Pubkey,
        /// Whether that is this node.
        mine: bool,
    },
    /// A block is whole, executed and frozen.
    BlockComplete {
        /// Which.
        slot: Slot,
        /// The slot it builds on.
        parent: Slot,
        /// Data shreds in it.
        shreds: u32,
        /// Data shreds that erasure coding brought back.
        recovered: u32,
        /// Data shreds that repair brought.
        repaired: u32,
        /// Transactions in it.
        transactions: u64,
        /// From its first shred to frozen, milliseconds.
        ms: u64,
        /// Its bank hash.
        bank_hash: Hash,
        /// The node's root then.
        root: Slot,
        /// What subscribers are told of it.
        block: Arc<FrozenBlock>,
    },
    /// A slot has no block on the chosen fork.
    Skipped {
        /// Which.
        slot: Slot,
        /// Who should have led.
        leader: Pubkey,
    },
    /// An executed block was thrown away, because the cluster chose another version of it or of one that it is built on.
    Lost {
        /// Which slot.
        slot: Slot,
        /// The bank hash that it had.
        hash: Hash,
    },
    /// A block can never become valid.
    Dead {
        /// Which slot.
        slot: Slot,
        /// Why.
        why: String,
    },
    /// A vote left this node.
    Voted {
        /// For which slot.
        slot: Slot,
        /// The tower's root then.
        root: Slot,
        /// All that it says.
        vote: Arc<VoteOnWire>,
    },
    /// The tower's root moved.
    Rooted {
        /// To which slot.
        slot: Slot,
    },
    /// Two thirds of the stake voted for this very block.
    Confirmed {
        /// Which slot.
        slot: Slot,
    },
    /// Two thirds of the stake rooted this slot.
    Finalized {
        /// Which slot.
        slot: Slot,
    },
    /// This node is far behind and fetches blocks in bulk.
    CatchingUp {
        /// How far it has come.
        progress: Progress,
    },
    /// This node is near its peers' roots; Turbine and repair do the rest.
    CaughtUp {
        /// The last slot executed.
        slot: Slot,
    },
    /// No peer has the blocks any more that this node needs next.
    Stranded {
        /// The lowest slot that any peer has.
        lowest: Slot,
        /// The last slot executed.
        applied: Slot,
    },
    /// An own slot is left out: nobody has the last own block, and building on it alone would help nobody.
    Unpropagated {
        /// The slot left out.
        slot: Slot,
        /// The last own block.
        last: Slot,
    },
    /// This node executes a block differently from the others, and votes no more.
    Diverged(Box<Divergence>),
    /// A block that two thirds of the stake had confirmed was left behind by the root.
    Abandoned {
        /// Its slot.
        slot: Slot,
        /// Its bank hash.
        hash: Hash,
        /// The root that left it behind.
        root: Slot,
    },
    /// The cluster is restarted, and too few are there yet.
    Waiting(Box<Attendance>),
    /// Enough are there: the cluster goes on.
    GoesOn(Box<Attendance>),
    /// Gossip notices something that keeps this node apart from others.
    Gossip(sundog_gossip::Trouble),
    /// The leader of a slot signed two versions of it.
    Duplicate {
        /// Which slot.
        slot: Slot,
        /// What contradicts.
        why: String,
    },
}

/// A block that executes to another bank hash here than at the others.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// The block's slot.
    pub slot: Slot,
    /// The bank hash here.
    pub ours: Hash,
    /// The bank hash there.
    pub theirs: Hash,
    /// Stake that voted for the other one, in lamports.
    pub stake: u64,
    /// All stake, in lamports.
    pub total: u64,
    /// Who voted for the other one.
    pub voters: Vec<Pubkey>,
}

impl Event {
    /// Writes the line that a person greps for.
    pub fn log(&self) {
        match self {
            Self::SlotStarted { slot, leader, mine } => tracing::info!(%slot, %leader, mine, "slot started"),
            Self::BlockComplete { slot, parent, shreds, recovered, repaired, transactions, ms, bank_hash, .. } => {
                let txs = transactions;
                tracing::info!(%slot, %parent, shreds, recovered, repaired, txs, ms, %bank_hash, "block complete");
            }
            Self::Skipped { slot, leader } => tracing::info!(%slot, %leader, "skipped"),
            Self::Lost { slot, hash } => tracing::warn!(%slot, %hash, "lost to another version"),
            Self::Dead { slot, why } => tracing::warn!(%slot, why, "dead"),
            Self::Voted { slot, root, .. } => tracing::info!(%slot, %root, "vote"),
            Self::Rooted { slot } => tracing::info!(%slot, "root"),
            Self::Confirmed { slot } => tracing::debug!(%slot, "confirmed"),
            Self::Finalized { slot } => tracing::debug!(%slot, "finalized"),
            Self::CatchingUp { progress } => tracing::info!(
                at = %progress.at,
                target = %progress.target,
                slots_to_go = progress.slots_left(),
                slots_per_second = progress.milli_slots_per_second / 1_000,
                seconds_left = progress.left.map(|left| left.as_secs()),
                "catching up"
            ),
            Self::CaughtUp { slot } => tracing::info!(%slot, "caught up"),
            Self::Stranded { lowest, applied } => tracing::error!(
                %applied,
                "no peer has the next block any more, the oldest kept anywhere is of slot {lowest}; stop this node, put a copy of the ledger directory of a stopped node that has caught up in the place of its own, keep its own tower file in there, and start it again"
            ),
            Self::Unpropagated { slot, last } => tracing::warn!(
                %slot,
                %last,
                "own slot left out: too few nodes have the last own block; if this goes on, look whether this node's shreds reach the others"
            ),
            Self::Diverged(found) => {
                let voters: Vec<String> = found.voters.iter().map(ToString::to_string).collect();
                tracing::error!(
                    slot = %found.slot, ours = %found.ours, theirs = %found.theirs, stake = found.stake, total = found.total,
                    voters = voters.join(" "),
                    "this node executes the block differently from the others and votes no more; compare its version and its genesis with theirs, and start it anew from a copy of their ledger"
                );
            }
            Self::Abandoned { slot, hash, root } => tracing::error!(
                %slot, %hash, %root,
                "a confirmed block was left behind by the root: more than a third of the stake broke its promises"
            ),
            Self::Waiting(who) => {
                tracing::info!(slot = %who.slot, percent = who.percent(), "waiting for supermajority: {who}")
            }
            Self::GoesOn(who) => {
                tracing::info!(slot = %who.slot, percent = who.percent(), "the cluster goes on: {who}")
            }
            Self::Gossip(trouble) => tracing::warn!(kind = trouble.kind().name(), "{trouble}"),
            Self::Duplicate { slot, why } => tracing::warn!(%slot, why, "duplicate"),
        }
    }
}
