//! What the machine hears and what it asks for.

use crate::tower::Abstain;
use std::sync::Arc;
use sundog_types::{Hash, Pubkey, Slot, stakes::EpochStakes, vote::VoteOnWire};

/// The block everything starts from: executed, final, and the ancestor of all that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootBlock {
    /// Its slot.
    pub slot: Slot,
    /// Its bank hash.
    pub hash: Hash,
}

/// A vote account, as a bank knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterState {
    /// The account.
    pub vote_account: Pubkey,
    /// Its stake in the bank's epoch, in lamports.
    pub stake: u64,
    /// Its tower: slots from oldest to newest with their confirmation counts.
    pub lockouts: Vec<(u64, u32)>,
    /// Its root.
    pub root: Option<u64>,
    /// The newest timestamp that it voted with, in seconds since the Unix epoch; 0 for none.
    pub last_timestamp: i64,
}

/// A block that was executed and frozen.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its slot.
    pub slot: Slot,
    /// The slot of the block it is built on.
    pub parent: Slot,
    /// The bank hash of the block it is built on.
    pub parent_hash: Hash,
    /// Its bank hash.
    pub hash: Hash,
    /// The Merkle root of its last FEC set.
    pub block_id: Hash,
    /// Whether this node produced it.
    pub mine: bool,
    /// Every vote account with stake in the block's epoch, as this bank knows it, and the own one even without.
    pub votes: Vec<VoterState>,
    /// All stake of the block's epoch, in lamports.
    pub total_stake: u64,
    /// Stakes of the epoch that the block is in: whose votes for it count, and for how much.
    pub epoch_stakes: Arc<EpochStakes>,
}

/// What may happen to [`crate::Consensus`].
#[derive(Clone, Debug)]
pub enum Input {
    /// A block was executed and frozen.
    Frozen(Block),
    /// The block of a slot can never be executed here.
    Dead(Slot),
    /// Two versions of the slot's block exist: a proof was seen.
    Duplicate(Slot),
    /// A vote seen in gossip, at the TPU or in a block, its signature and its authorised voter checked.
    VoteSeen {
        /// The account that voted.
        vote_account: Pubkey,
        /// The newest slot it voted for.
        slot: Slot,
        /// The bank hash it voted for.
        hash: Hash,
        /// The block id it voted for; zero if it is not told: a leader does not know that of its own block.
        block_id: Hash,
    },
    /// The stakes of an epoch, fixed by the root: whose votes for blocks of it count. Of an epoch that was not told, its
    /// first block tells.
    Epoch {
        /// The epoch's first slot.
        first: Slot,
        /// Its stakes.
        stakes: Arc<EpochStakes>,
    },
    /// A node says that it has the block of a slot (reference 6.13): it counts towards propagation.
    Announced {
        /// The node's identity.
        node: Pubkey,
        /// The slot.
        slot: Slot,
    },
    /// The answer to [`Effect::OtherVersion`]: this node's version of the slot is thrown away with all that was built
    /// on it, and the other one is on its way.
    Forgotten {
        /// The slot.
        slot: Slot,
        /// Whether the votes of more than 52 % say that the cluster chose another version. What peers alone say lets a
        /// block go, but no promise.
        proven: bool,
    },
    /// A vote of the own account, seen outside of blocks or known from the start: by this life, an earlier one or another
    /// instance.
    OwnVote(VoterState),
    /// This node has come to where the cluster is, and would have seen votes of an earlier life in blocks or gossip.
    CaughtUp,
    /// The blocks that an earlier life executed are executed again, or never will be: what they tell of own votes is known.
    Recalled,
    /// The tower of [`Effect::Save`] is durable.
    Saved {
        /// The id of the effect.
        id: u64,
    },
}

/// What [`crate::Consensus`] asks of the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write the tower file so that it survives a crash, then answer [`Input::Saved`]. The vote leaves
    /// only after that, and until then no other is decided.
    Save {
        /// To be answered with.
        id: u64,
        /// The whole file.
        bytes: Vec<u8>,
    },
    /// Sign and send a vote. Also comes again for a vote that has not landed, with a newer blockhash.
    Vote {
        /// What to vote.
        vote: VoteOnWire,
        /// The block whose last blockhash the transaction uses.
        blockhash_of: Slot,
        /// The slot voted for.
        last_slot: Slot,
    },
    /// The root moved: blocks that do not descend from it are gone.
    Root {
        /// The new root; executed here.
        slot: Slot,
    },
    /// Build on this block from now on.
    Reset {
        /// Executed here.
        slot: Slot,
    },
    /// More than two thirds of the stake voted for exactly this block, which is executed here. Ancestors
    /// are confirmed with it; slots only rise.
    Confirmed {
        /// Its slot.
        slot: Slot,
        /// Its bank hash.
        hash: Hash,
    },
    /// More than two thirds of the stake have this block or a descendant as root. Slots only rise, and
    /// [`Effect::Root`] has come for the slot or a later one.
    Finalized {
        /// The newest such slot.
        slot: Slot,
    },
    /// More than 52 % of the stake voted for a version of a block that this node does not have: its own
    /// has another bank hash, or is dead. Throw it away and repair the slot.
    OtherVersion {
        /// The slot.
        slot: Slot,
        /// The bank hash that was voted for.
        hash: Hash,
    },
    /// More than a third of the stake voted for another bank hash than this node has for the same block, and not enough
    /// for its own: it executes differently from the others. It votes no more until it is started again.
    Diverged {
        /// The block's slot.
        slot: Slot,
        /// The bank hash here.
        ours: Hash,
        /// The bank hash there.
        theirs: Hash,
        /// Stake that voted for the other one, in lamports.
        stake: u64,
        /// All stake, in lamports.
        total: u64,
        /// Who voted for the other one.
        voters: Vec<Pubkey>,
    },
    /// A block that more than two thirds of the stake had confirmed is not on the chain that was rooted: somebody
    /// broke a promise.
    Abandoned {
        /// The block's slot.
        slot: Slot,
        /// Its bank hash.
        hash: Hash,
        /// The root that left it behind.
        root: Slot,
    },
    /// No vote for the heaviest block. Told once per block and kind of reason.
    Abstained {
        /// The block.
        slot: Slot,
        /// Why not.
        why: Abstain,
    },
}
