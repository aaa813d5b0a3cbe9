//! What a node's tower and its tree of forks look like, as `sundog_getTower` and `sundog_getForks` tell it.
//!
//! Solana's RPC has no such methods; the shapes are this project's own, in the field's usual spelling.

use serde::{Deserialize, Serialize};

/// Blocks told of a tree at most, the newest: what is below them is said as a number.
pub const BLOCKS_MAX: usize = 1_024;

/// A node's tower: its votes that still bind, and what it would do next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TowerFacts {
    /// The node, in base58.
    pub identity: String,
    /// The account that it votes with, in base58; none for a node that only follows.
    pub vote_account: Option<String>,
    /// The tower's root.
    pub root: Option<u64>,
    /// The votes, oldest first.
    pub votes: Vec<TowerVote>,
    /// The bank hash that the newest vote is for, in base58, if it is known.
    pub voted_hash: Option<String>,
    /// When the newest vote was cast, seconds since the Unix epoch; 0 before any.
    pub voted_at: i64,
    /// The newest slot that the node's account has voted for on chain, as the heaviest block knows it.
    pub landed: Option<u64>,
    /// What the node decided last; none before its first block, and for a node that does not run.
    pub decision: Option<LastDecision>,
    /// The last block not voted for, and why not; newer votes may have been cast since.
    pub abstained: Option<Abstention>,
}

/// What a node decided last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastDecision {
    /// The heaviest block.
    pub heaviest: u64,
    /// What became of the question whether to vote for it: `vote`, `saving` (the vote is being written), `nothing` (no
    /// stake, or nothing above the root), or the name of the reason not to, of which `not_newer` means that it was voted
    /// for already.
    pub verdict: String,
    /// The verdict with its facts, for people.
    pub why: String,
    /// The block that the next own one would build on.
    pub builds_on: u64,
    /// Why there: `heaviest`, `switched`, `own_fork`, `deepest`, `rollback`, `other_version`, `purged`, `stray`.
    pub builds_because: String,
}

/// A vote of a tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TowerVote {
    /// The slot voted for.
    pub slot: u64,
    /// How many votes deep it lies, itself included.
    pub confirmation_count: u32,
    /// The last slot at which it binds.
    pub expires: u64,
}

/// A block that was not voted for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Abstention {
    /// Its slot.
    pub slot: u64,
    /// The kind of reason.
    pub reason: String,
    /// The reason with its facts, for people.
    pub why: String,
}

/// The tree of blocks above a node's root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForksFacts {
    /// The root that the tree grows from.
    pub root: u64,
    /// The newest block that two thirds of the stake voted for.
    pub confirmed: u64,
    /// The newest block that two thirds of the stake have rooted.
    pub finalized: u64,
    /// The tip that the heaviest valid children lead to.
    pub heaviest: u64,
    /// The slot that this node voted for last.
    pub own_vote: Option<u64>,
    /// All stake, in lamports.
    pub total_stake: u64,
    /// The blocks, ascending; the newest [`BLOCKS_MAX`].
    pub blocks: Vec<ForkBlock>,
    /// Blocks that are left out because there are more.
    pub left_out: usize,
    /// Why a stopped node's tower cannot be read; its own vote and its root are not known then. Absent if nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tower_unreadable: Option<String>,
}

/// A block of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForkBlock {
    /// Its slot.
    pub slot: u64,
    /// Its bank hash, in base58.
    pub bank_hash: String,
    /// The slot of the block it is built on; none for the root.
    pub parent: Option<u64>,
    /// Who made it, in base58, where the schedule is known.
    pub leader: Option<String>,
    /// Stake of voters whose newest vote is this block, in lamports.
    pub stake_at: u64,
    /// Stake of voters whose newest vote is this block or what is built on it, in lamports.
    pub stake_above: u64,
    /// Accounts whose newest vote is this block, in base58.
    pub voters: Vec<String>,
    /// Whether it may be chosen: neither it nor an ancestor is an unconfirmed duplicate.
    pub valid: bool,
    /// Whether 52 % of the stake settled that this version of the slot is the real one.
    pub settled: bool,
}
