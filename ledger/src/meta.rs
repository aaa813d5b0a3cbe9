//! What is known of a slot.

use serde::{Deserialize, Serialize};
use sundog_types::{Hash, Pubkey, Slot};

/// What is known of a slot. The parts are filled in as the block is received and executed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotMeta {
    /// The slot of the block before it; slot 0 names itself.
    pub parent: Slot,
    /// The index of its last data shred, once known.
    pub last_index: Option<u32>,
    /// How many data shreds are stored.
    pub received: u32,
    /// Whether every data shred is stored.
    pub full: bool,
    /// Whether the block can never become valid.
    pub dead: bool,
    /// The hash of its last tick. Default (zeros): it was not executed.
    pub blockhash: Hash,
    /// The hash of its parent's last tick.
    pub previous_blockhash: Hash,
    /// How many blocks are before it on its fork.
    pub block_height: u64,
    /// Its time by the Clock sysvar, in seconds since the Unix epoch.
    pub block_time: i64,
    /// The hash of the state after it.
    pub bank_hash: Hash,
    /// What was paid out with it.
    pub rewards: Vec<Reward>,
    /// Whether it is rooted: kept beside the metadata, and filled in when this is read.
    #[serde(skip)]
    pub rooted: bool,
}

impl SlotMeta {
    /// Whether the block was executed to its end.
    #[must_use]
    pub fn executed(&self) -> bool {
        self.blockhash != Hash::default()
    }
}

/// What a payment was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RewardKind {
    /// The leader's share of the fees.
    Fee,
    /// Rent, which is no longer collected.
    Rent,
    /// A staker's share of inflation.
    Staking,
    /// A voter's commission on it.
    Voting,
}

/// What an account got with a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reward {
    /// Who got it.
    pub pubkey: Pubkey,
    /// How much, in lamports; negative for rent.
    pub lamports: i64,
    /// The account's balance afterwards, in lamports.
    pub post_balance: u64,
    /// What it was for.
    pub kind: RewardKind,
    /// The vote account's commission in percent, for staking and voting.
    pub commission: Option<u8>,
}
