//! What is asked of the node: a few facts, three banks, a history, and two things to do.

use crate::{
    commitment::Commitment,
    votes::{ForksFacts, TowerFacts},
};
use solana_account::AccountSharedData;
use solana_message::VersionedMessage;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;
use std::{ops::RangeInclusive, sync::Arc};
use sundog_ledger::{AddressRecord, Block, Located, StatusMeta};
use sundog_types::{Hash, Pubkey, Signature, Slot, peer::Peer, schedule::Leaders};

/// What never changes while a node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its identity.
    pub identity: Pubkey,
    /// The version of its software: three numbers with dots, and nothing that is not semantic
    /// versioning, because clients parse it.
    pub version: String,
    /// Identifies the set of feature gates it knows.
    pub feature_set: u32,
    /// The hash of the chain's genesis.
    pub genesis_hash: Hash,
    /// Peers on another shred version are on another chain (reference 3.11).
    pub shred_version: u16,
}

/// Whether the node keeps up with its cluster (reference 10.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It keeps up.
    Ok,
    /// It is this many slots behind.
    Behind(u64),
    /// Nothing has been confirmed yet that it could compare itself with.
    Unknown,
    /// The cluster is restarted at this slot, and this share of the stake is there, percent; more is waited for.
    Waiting {
        /// The slot.
        slot: u64,
        /// The share.
        percent: u64,
    },
}

/// The highest slots the node has heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heights {
    /// The highest slot of which it passed a shred on.
    pub retransmitted: Slot,
    /// The highest slot of which it stored a shred.
    pub stored: Slot,
}

/// How busy the chain was during a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerformanceSample {
    /// The slot at which the stretch ended.
    pub slot: Slot,
    /// Transactions executed, votes included.
    pub transactions: u64,
    /// Transactions executed that are not votes.
    pub non_vote_transactions: u64,
    /// How many slots it covers.
    pub slots: u64,
    /// How long it was, in seconds.
    pub seconds: u16,
}

/// What became of a transaction that was looked for by its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureStatus {
    /// The slot of its block.
    pub slot: Slot,
    /// Whether it succeeded.
    pub status: Result<(), TransactionError>,
    /// How sure it is that its block stays.
    pub commitment: Commitment,
    /// Blocks confirmed on top of it; says nothing once it is finalized.
    pub confirmations: u64,
}

/// A transaction to bring to the next leaders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The bytes as they were signed.
    pub bytes: Vec<u8>,
    /// Its first signature, which names it.
    pub signature: Signature,
    /// The block height after which it can no longer land; `None` if that is not known, as for a
    /// durable nonce.
    pub last_valid_block_height: Option<u64>,
    /// How often to send it again at most; `None` leaves that to the node.
    pub retries_max: Option<usize>,
}

/// Why a submission was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitRefusal {
    /// The node holds as many unsent transactions as it may.
    #[error("Node holds too many unsent transactions; send it again later")]
    Full,
}

/// Why an airdrop did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AirdropRefusal {
    /// The node has no faucet.
    #[error("Invalid request")]
    NoFaucet,
    /// The faucet does not pay that much, or cannot pay now.
    #[error("{0}")]
    Refused(String),
}

/// What is asked of the node.
///
/// Every method answers from what the node has published and must not wait for it.
pub trait Chain: Send + Sync {
    /// What never changes while the node runs.
    fn node(&self) -> &NodeFacts;
    /// Whether the node keeps up.
    fn health(&self) -> Health;
    /// Every node known to gossip, this one included.
    fn peers(&self) -> Arc<Vec<Peer>>;
    /// Who leads when, and the epoch schedule.
    fn leaders(&self) -> Arc<Leaders>;
    /// The newest frozen bank that is at least this sure.
    fn bank(&self, commitment: Commitment) -> Arc<dyn BankView>;
    /// What is remembered of blocks.
    fn history(&self) -> &dyn History;
    /// What became of a transaction: in the recent blocks of the processed fork, and in the rooted
    /// history too if `search_history`.
    fn signature_status(&self, signature: &Signature, search_history: bool) -> Option<SignatureStatus>;
    /// The newest samples first, at most `limit`.
    fn performance_samples(&self, limit: usize) -> Vec<PerformanceSample>;
    /// The lowest price per compute unit, in micro-lamports, at which a transaction that writes all
    /// of `accounts` landed, for each of the recent blocks.
    fn prioritization_fees(&self, accounts: &[Pubkey]) -> Vec<(Slot, u64)>;
    /// The highest slots the node has heard of.
    fn heights(&self) -> Heights;
    /// The node's votes that still bind.
    fn tower(&self) -> TowerFacts;
    /// The blocks above the root, with the stake behind each.
    fn forks(&self) -> ForksFacts;
    /// Takes a transaction to bring it to the next leaders.
    ///
    /// # Errors
    /// If the node has no room for it.
    fn submit(&self, submission: Submission) -> Result<(), SubmitRefusal>;
    /// Lets the faucet pay `lamports` to `to`, on `blockhash` or a recent one.
    ///
    /// # Errors
    /// If there is no faucet or it refuses.
    fn airdrop(&self, to: &Pubkey, lamports: u64, blockhash: Option<Hash>) -> Result<Signature, AirdropRefusal>;
}

/// A blockhash, and the last block height at which it is usable (reference 1.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestBlockhash {
    /// The hash.
    pub hash: Hash,
    /// The last block height at which a transaction on it can land.
    pub last_valid_block_height: u64,
}

/// A vote account as a bank knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteAccountFacts {
    /// Its address.
    pub vote_account: Pubkey,
    /// The node that votes with it.
    pub node: Pubkey,
    /// Active stake delegated to it, in lamports.
    pub stake: u64,
    /// Whether it has stake in the current epoch's leader schedule.
    pub in_epoch: bool,
    /// Its part of its stakers' rewards, in percent.
    pub commission: u8,
    /// Epoch, credits at its end, credits at its start; oldest first.
    pub epoch_credits: Vec<(u64, u64, u64)>,
    /// The newest slot it voted for.
    pub last_vote: Option<Slot>,
    /// Its root.
    pub root: Option<Slot>,
}

/// How new lamports come into being. All zero on a chain without inflation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Inflation {
    /// Yearly rate at the start, as a fraction.
    pub initial: f64,
    /// Yearly rate that is never gone below.
    pub terminal: f64,
    /// By which fraction the rate falls in a year.
    pub taper: f64,
    /// The foundation's part, as a fraction of the rate.
    pub foundation: f64,
    /// For how many years the foundation gets its part.
    pub foundation_term: f64,
    /// Slots in a year.
    pub slots_per_year: f64,
}

/// What a transaction would do if it landed now.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// What would become of it.
    pub meta: StatusMeta,
    /// Bytes of account data it loads.
    pub loaded_accounts_data_size: u32,
    /// Its accounts afterwards. Empty if it failed.
    pub accounts: Vec<(Pubkey, AccountSharedData)>,
}

/// A frozen bank: the state after one block.
pub trait BankView: Send + Sync {
    /// The block's slot.
    fn slot(&self) -> Slot;
    /// How many blocks are before it on its fork.
    fn block_height(&self) -> u64;
    /// Transactions executed since genesis.
    fn transaction_count(&self) -> u64;
    /// All lamports there are.
    fn capitalization(&self) -> u64;
    /// An account; `None` if it has no lamports.
    fn account(&self, address: &Pubkey) -> Option<AccountSharedData>;
    /// Shows every account that `owner` owns to `visit`, until that says `false`.
    fn accounts_of(&self, owner: &Pubkey, visit: &mut dyn FnMut(&Pubkey, &AccountSharedData) -> bool);
    /// The newest blockhash.
    fn latest_blockhash(&self) -> LatestBlockhash;
    /// The last block height at which a transaction on `blockhash` can land; `None` if it already
    /// cannot, or never could.
    fn last_valid_block_height(&self, blockhash: &Hash) -> Option<u64>;
    /// The fee of a message in lamports; `None` if its blockhash is not usable.
    fn fee_for_message(&self, message: &VersionedMessage) -> Option<u64>;
    /// Lamports that an account with `data_len` bytes of data needs so as not to pay rent.
    fn minimum_balance(&self, data_len: usize) -> u64;
    /// The least stake that may be delegated, in lamports.
    fn stake_minimum_delegation(&self) -> u64;
    /// How new lamports come into being.
    fn inflation(&self) -> Inflation;
    /// Every vote account, with or without stake.
    fn vote_accounts(&self) -> Vec<VoteAccountFacts>;
    /// What a transaction would do if it landed now. Signatures are not looked at.
    fn simulate(&self, transaction: &VersionedTransaction) -> Simulation;
}

/// What is remembered of blocks, both rooted ones and those above the root.
pub trait History: Send + Sync {
    /// How sure it is that the block of `slot` stays; `None` if there is none, or it is on a fork
    /// that this node has left.
    fn standing(&self, slot: Slot) -> Option<Commitment>;
    /// The block of `slot`.
    fn block(&self, slot: Slot) -> Option<Block>;
    /// The time of the block of `slot`, in seconds since the Unix epoch. Slot 0 has the genesis time.
    fn block_time(&self, slot: Slot) -> Option<i64>;
    /// The slots within `range` whose blocks are at least this sure, ascending, at most `limit`.
    fn slots(&self, range: RangeInclusive<u64>, at_least: Commitment, limit: usize) -> Vec<Slot>;
    /// The first slot of which everything is kept.
    fn first_available(&self) -> Slot;
    /// A transaction by its first signature.
    fn transaction(&self, signature: &Signature) -> Option<Located>;
    /// Transactions that name `address`, newest first.
    fn signatures_of(&self, address: &Pubkey, window: &AddressWindow) -> Vec<AddressRecord>;
}

/// Which part of an address's history is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressWindow {
    /// Only what is older than this.
    pub before: Option<Signature>,
    /// Only what is newer than this.
    pub until: Option<Signature>,
    /// Only blocks that are at least this sure.
    pub at_least: Commitment,
    /// At most so many.
    pub limit: usize,
}
