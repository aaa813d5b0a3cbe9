//! What Turbine is told and what it asks for.

use crate::{
    metrics::Refusal,
    recover::{RecoverError, RecoverJob},
    serve::ServedKind,
    shredder::FecSet,
    timeline::Timeline,
};
use bytes::Bytes;
use std::{fmt, net::SocketAddr, sync::Arc};
use sundog_types::{
    Epoch, Hash, Pubkey, ShredIndex, Signature, Slot,
    peer::{Addresses, Peer},
    schedule::LeaderSchedule,
    shred::{Gates, Shred, Signed},
    sign::Verifier,
    stakes::EpochStakes,
};

/// Who leads and who is staked in an epoch.
#[derive(Clone, Debug)]
pub struct EpochInfo {
    /// The epoch.
    pub epoch: Epoch,
    /// Its first slot.
    pub first_slot: Slot,
    /// How many slots it has.
    pub slots: u64,
    /// Its leader schedule.
    pub leaders: Arc<LeaderSchedule>,
    /// Its stakes: the weights of the trees.
    pub stakes: Arc<EpochStakes>,
    /// The changes of the rules that hold in it.
    pub gates: Gates,
}

/// Who handed a shred to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// A peer: its connection proves it.
    Peer(Pubkey),
    /// Somebody who claims to be at this address, as UDP packets do.
    Address(SocketAddr),
}

/// What may happen to Turbine.
#[derive(Debug)]
pub enum Input {
    /// A datagram that came by Turbine, over QUIC or UDP.
    Shred {
        /// The datagram.
        bytes: Bytes,
        /// Who sent it. Shreds are judged by their leader's signature; the sender only matters when so many wait for
        /// that judgement that each sender has to keep to its share.
        from: Sender,
    },
    /// Shreds of a block that bulk sync fetched and checked. They are gathered and stored, never passed on.
    Synced {
        /// Who served the block.
        from: Pubkey,
        /// Its data shreds.
        shreds: Vec<Shred<Signed>>,
    },
    /// Bulk sync fetches the slots below this one: repair leaves them alone. [`Slot::ZERO`]: it repairs all.
    RepairFrom(Slot),
    /// A datagram on the repair socket: a shred and a nonce, or a ping.
    RepairResponse {
        /// Where it came from.
        from: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// A datagram on the `serve_repair` socket.
    RepairRequest {
        /// Where it came from.
        from: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// The answer to [`Effect::Verify`], one truth for each item.
    Verified {
        /// Of the effect.
        id: u64,
        /// Whether each item holds.
        valid: Vec<bool>,
    },
    /// The answer to [`Effect::Recover`].
    Recovered {
        /// Of the job.
        id: u64,
        /// What [`RecoverJob::run`] returned.
        outcome: Result<Vec<Shred<Signed>>, RecoverError>,
    },
    /// Own shreds as leader: gathered and stored like others, sent to the roots of their trees.
    Own {
        /// A whole set.
        set: FecSet,
    },
    /// Shreds of an own block, out of the ledger, that too few nodes have: to the roots of their trees once more.
    OwnAgain {
        /// Their bytes.
        shreds: Vec<Bytes>,
    },
    /// Shreds out of the ledger after a restart. They were verified before they were stored; they are gathered, but
    /// neither retransmitted nor stored again.
    Stored {
        /// Their bytes.
        shreds: Vec<Bytes>,
    },
    /// An epoch became known, or changed.
    Epoch(EpochInfo),
    /// The registry changed.
    Peers(Arc<Vec<Peer>>),
    /// The root moved. It and what is below leave the memory.
    Root(Slot),
    /// The slot that should be running by the clock.
    Tip(Slot),
    /// A peer says that it has these slots whole: it is asked for them first. Noted within
    /// [`SLOTS_MAX`](crate::announced::SLOTS_MAX) above the root.
    Announced {
        /// The peer.
        from: Pubkey,
        /// The slots.
        slots: Vec<Slot>,
    },
    /// Slots that matter, most important first: parents that replay lacks, slots that were voted for.
    Wanted(Vec<Slot>),
    /// Forget what is gathered of a slot and fetch it afresh, in whatever version comes that was not said to have lost.
    Forget(Slot),
    /// Ask a sample of peers for the bank hashes of a slot and its ancestors. What over half of them agree on comes as
    /// [`Effect::Ancestors`]; otherwise nothing does.
    AskAncestors(Slot),
    /// Another version of a slot was confirmed than the one that is here. Forget that and gather no other than the
    /// confirmed one, for as long as the slot is above the root.
    Choose {
        /// The slot.
        slot: Slot,
        /// The Merkle root of the last FEC set of the confirmed version. `None`: it is not known; any that did not lose.
        block_id: Option<Hash>,
        /// The same of the version that lost, if one was whole.
        lost: Option<Hash>,
        /// Whether to search for it. Otherwise it is gathered if it comes.
        fetch: bool,
    },
}

/// A leader's signature to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyItem {
    /// Whose signature it should be.
    pub leader: Pubkey,
    /// What should be signed: the root of an FEC set.
    pub root: Hash,
    /// The signature.
    pub signature: Signature,
}

impl VerifyItem {
    /// Whether the leader signed the root: strict Ed25519, some 40 microseconds.
    #[must_use]
    pub fn check(&self, verifier: &Verifier) -> bool {
        verifier.holds_once(&self.leader, self.root.as_ref(), &self.signature)
    }
}

/// Where a node takes shreds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// As QUIC datagrams: the first choice.
    pub tvu_quic: Option<SocketAddr>,
    /// Over UDP.
    pub tvu: Option<SocketAddr>,
}

impl Route {
    /// A peer's. `None`: it takes no shreds.
    #[must_use]
    pub fn of(addresses: &Addresses) -> Option<Self> {
        let Addresses { tvu, tvu_quic, .. } = *addresses;
        (tvu.is_some() || tvu_quic.is_some()).then_some(Self { tvu_quic, tvu })
    }
}

/// Why a shred is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendKind {
    /// From the leader to the root of the tree.
    Broadcast,
    /// Received and passed on.
    Retransmit,
    /// Recovered and passed on.
    RetransmitRecovered,
}

/// What a repair requester sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairKind {
    /// For one shred.
    Window,
    /// For the highest shred of a slot.
    Highest,
    /// For a slot and its ancestors.
    Orphan,
    /// For the bank hashes of a slot and its ancestors.
    Ancestors,
    /// The answer to a server's ping.
    Pong,
}

/// Why a slot is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadReason {
    /// Its leader signed two versions of an FEC set.
    ForkedSet,
    /// A shred says that it is the last, but later ones are there.
    LastTooEarly,
    /// An FEC set, decoded, is not what its leader signed, or has shreds that none may have.
    CorruptSet,
    /// The shreds of one FEC set name different parents.
    Parent,
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForkedSet => "its leader signed two versions of an FEC set",
            Self::LastTooEarly => "its leader ended it before its last shred",
            Self::CorruptSet => "its leader signed an FEC set that does not decode to what was signed",
            Self::Parent => "its leader named two parents for it",
        })
    }
}

/// How two shreds of a leader contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DuplicateReason {
    /// One FEC set, two Merkle roots.
    ForkedSet,
    /// One shred, signed twice: same slot, index and kind, other bytes.
    SameIndex,
    /// One FEC set, two erasure codes.
    ErasureLayout,
    /// One is the last of the slot, the other lies beyond it.
    BeyondLast,
    /// They name different parents of the slot.
    Parent,
    /// Two neighbouring FEC sets, of which the second does not name the root of the first.
    ChainedRoot,
}

impl fmt::Display for DuplicateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForkedSet => "two versions of an FEC set",
            Self::SameIndex => "a shred signed twice",
            Self::ErasureLayout => "two erasure codes of an FEC set",
            Self::BeyondLast => "a shred beyond the last",
            Self::Parent => "two parents",
            Self::ChainedRoot => "an FEC set that does not continue the one before",
        })
    }
}

/// What Turbine asks for.
#[derive(Debug)]
pub enum Effect {
    /// Check signatures and come back with [`Input::Verified`].
    Verify {
        /// Comes back with the answer.
        id: u64,
        /// What to check.
        items: Vec<VerifyItem>,
    },
    /// Decode an FEC set on the pool and come back with [`Input::Recovered`].
    Recover(RecoverJob),
    /// Send a shred to a peer's TVU: by QUIC if it has `tvu_quic`, else by UDP to `tvu`.
    Send {
        /// The receiver.
        to: Pubkey,
        /// Where it listens.
        addresses: Route,
        /// The datagram.
        shred: Bytes,
        /// Why.
        kind: SendKind,
        /// The receiver's place in the tree: 0 for the root.
        layer: u8,
    },
    /// Send from the repair socket.
    SendRepair {
        /// Where to.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
        /// What it is.
        kind: RepairKind,
    },
    /// Send from the `serve_repair` socket.
    SendServed {
        /// Where to.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
        /// What it is.
        kind: ServedKind,
    },
    /// Keep these: data shreds received, recovered or made, and code shreds received or made.
    Store {
        /// The shreds.
        shreds: Vec<Shred<Signed>>,
    },
    /// The first data shred of a slot is here.
    SlotStarted {
        /// The slot.
        slot: Slot,
        /// What it builds on.
        parent: Slot,
    },
    /// An entry batch. Batches of a slot come in order, from index 0, without gaps.
    Data {
        /// The slot.
        slot: Slot,
        /// What it builds on.
        parent: Slot,
        /// The encoded entries. No bytes: no entries.
        batch: Bytes,
        /// Of the first shred of the batch.
        first_index: ShredIndex,
        /// Whether the block ends with it.
        last_in_slot: bool,
    },
    /// All data shreds of a slot are here, and all of its [`Effect::Data`] came before.
    Complete {
        /// The slot.
        slot: Slot,
        /// What it builds on.
        parent: Slot,
        /// Its data shreds.
        shreds: u32,
        /// How many of them came by erasure decoding.
        recovered: u32,
        /// How many of them came by repair.
        repaired: u32,
        /// The Merkle root of its last FEC set. `None`: the last 32 data shreds do not share one (reference 3.16).
        block_id: Option<Hash>,
    },
    /// A slot can not become a good block. Nothing more comes of it.
    Dead {
        /// The slot.
        slot: Slot,
        /// Why.
        why: DeadReason,
    },
    /// A slot's leader contradicted itself. Once for each slot and way to do so.
    Duplicate {
        /// The slot.
        slot: Slot,
        /// The shred that was here first.
        first: Bytes,
        /// The one that contradicts it.
        second: Bytes,
        /// How.
        why: DuplicateReason,
        /// What gossip carries to convince others ([`crate::proof`]), at most once for each slot. `None`: the pair is
        /// no proof to others, or the slot had one.
        proof: Option<Bytes>,
    },
    /// Over half of the peers that were asked say that these are the bank hashes of a slot and its ancestors, as the
    /// cluster confirmed them: the slot first, then downwards.
    Ancestors {
        /// The slot that was asked about.
        slot: Slot,
        /// Slots with their bank hashes.
        hashes: Vec<(Slot, Hash)>,
    },
    /// How the shreds of a slot arrived: when its block is complete, and again, if more came, when the root passes it.
    Timeline {
        /// The slot.
        slot: Slot,
        /// What came, when and from whom.
        timeline: Box<Timeline>,
    },
}

/// How a shred came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Turbine(Sender),
    Repair(Pubkey),
    Recovered,
    Own,
    Stored,
    Synced(Pubkey),
}

/// The outcome of judging something that arrived.
pub(crate) type Judged<T> = Result<T, Refusal>;
