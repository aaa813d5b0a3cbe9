//! What bulk sync is told and what it asks for.

use super::{
    check::{RangeCheck, RangeChecked},
    progress::Progress,
    refusal::Refusal,
};
use crate::effect::EpochInfo;
use bytes::Bytes;
use std::{fmt, net::SocketAddr, sync::Arc};
use sundog_types::{
    Hash, Pubkey, Slot,
    peer::Peer,
    shred::{Shred, Signed},
};

/// A link to another node. The shell numbers them and uses no number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

impl LinkId {
    /// The link with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where this node stands on its chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainState {
    /// Its root.
    pub root: Slot,
    /// The block id (the Merkle root of the last FEC set) of the root's block, if it is known.
    pub root_id: Option<Hash>,
    /// The first slot of which its ledger has all finalised blocks from there on.
    pub lowest: Slot,
    /// The highest slot of which it has a complete block.
    pub highest: Slot,
    /// The last slot that it executed.
    pub applied: Slot,
    /// The block id of that block, if it is known.
    pub applied_id: Option<Hash>,
    /// The highest slot that the cluster is said to work on: from votes, gossip, shreds. It only makes the node look
    /// whether it is behind; nothing else depends on it.
    pub heard: Slot,
}

/// A block out of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredBlock {
    /// Its slot.
    pub slot: Slot,
    /// All of its data shreds, by index.
    pub shreds: Vec<Bytes>,
}

/// What to read from the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadWhat {
    /// The finalised blocks of the slots `from..from + count`, in order: at or below the root and on its chain. Stop
    /// after the block with which `bytes_max` bytes of shreds are reached.
    Range {
        /// The first slot.
        from: Slot,
        /// Slots to look at.
        count: u64,
        /// Bytes of shreds at which to stop.
        bytes_max: usize,
    },
    /// One complete block, finalised or not.
    Block {
        /// Its slot.
        slot: Slot,
        /// The Merkle root of its last FEC set. If the ledger has another block in the slot: none.
        block_id: Hash,
    },
}

/// A read from the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Comes back with the answer.
    pub id: u64,
    /// What to read.
    pub what: LoadWhat,
}

/// What may happen to bulk sync.
#[derive(Debug)]
pub enum Input {
    /// A link is open, and the transport has proven who is at the other end.
    Opened {
        /// The link.
        link: LinkId,
        /// The other node.
        peer: Pubkey,
        /// Its address. For a dialed link: the address that was dialed.
        address: SocketAddr,
        /// Whether this node asked for it with [`Effect::Dial`].
        dialed: bool,
    },
    /// A dial came to nothing.
    DialFailed {
        /// The node that was dialed.
        peer: Pubkey,
        /// The address.
        address: SocketAddr,
    },
    /// A frame arrived, without its length field.
    Frame {
        /// The link.
        link: LinkId,
        /// The frame.
        bytes: Bytes,
    },
    /// A frame is announced that is longer than [`super::SyncConfig::frame_bytes_max`]. It is not read, nor is
    /// anything after it.
    Oversized {
        /// The link.
        link: LinkId,
        /// The length that it claims.
        bytes: u64,
    },
    /// A link is gone, whoever closed it.
    Closed {
        /// The link.
        link: LinkId,
    },
    /// The registry changed.
    Peers(Arc<Vec<Peer>>),
    /// An epoch became known, or changed.
    Epoch(EpochInfo),
    /// This node's chain moved.
    Chain(ChainState),
    /// The answer to [`Effect::Load`]. No blocks: there are none, or the read failed.
    Loaded {
        /// Of the effect.
        id: u64,
        /// The blocks by slot.
        blocks: Vec<StoredBlock>,
        /// The first slot that was not looked at: `from + count`, or less when `bytes_max` was reached. Not used for
        /// a single block.
        next: Slot,
        /// The first slot of which the ledger has all finalised blocks from there on.
        lowest: Slot,
    },
    /// The answer to [`Effect::Check`].
    Checked(Box<RangeChecked>),
    /// A block that came out of [`Effect::Block`] turned out bad when it was executed.
    Dead {
        /// Its slot.
        slot: Slot,
    },
    /// A block that the node lacks and knows by its id: fetch it.
    Wanted {
        /// Its slot.
        slot: Slot,
        /// The Merkle root of its last FEC set.
        block_id: Hash,
    },
}

/// What bulk sync asks for.
#[derive(Debug)]
pub enum Effect {
    /// Open a link, then [`Input::Opened`] or [`Input::DialFailed`].
    Dial {
        /// Who should be there.
        peer: Pubkey,
        /// Where to.
        address: SocketAddr,
    },
    /// Send a frame. Its length field is added when it is written.
    Send {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: Bytes,
    },
    /// Close a link when all that was sent on it is written. Nothing of it comes in any more.
    Close {
        /// The link.
        link: LinkId,
    },
    /// Read from the ledger and come back with [`Input::Loaded`].
    Load(Load),
    /// Run [`RangeCheck::run`] on the pool and come back with [`Input::Checked`].
    Check(Box<RangeCheck>),
    /// A block that its leader signed, complete. Those of the chain come in order, each on the one before. After a
    /// rewind slots come again, perhaps with another block.
    Block {
        /// Who served it.
        from: Pubkey,
        /// Its slot.
        slot: Slot,
        /// All of its data shreds, by index.
        shreds: Vec<Shred<Signed>>,
    },
    /// Repair should leave slots below this one alone. Slot 0: it repairs all again.
    RepairFrom(Slot),
    /// How far the node has come. At most once a second.
    Progress(Progress),
    /// The node is close to its peers' roots; Turbine and repair do the rest.
    CaughtUp {
        /// The last slot that was executed.
        at: Slot,
    },
    /// No peer has the next block any more. Reported once: the operator must start from a snapshot or a newer ledger.
    Stranded {
        /// The lowest slot that any peer has.
        lowest: Slot,
        /// The last slot that was executed.
        applied: Slot,
    },
    /// This node refused a peer. For the log; the peer is told with a frame.
    Refused {
        /// The peer.
        peer: Pubkey,
        /// Its address.
        address: SocketAddr,
        /// Why.
        why: Refusal,
    },
    /// A peer refused this node. For the log.
    RefusedBy {
        /// The peer.
        peer: Pubkey,
        /// Its address.
        address: SocketAddr,
        /// Why, as it says.
        why: Refusal,
        /// In its words.
        detail: String,
    },
}
