//! A bank: the state of one fork after (or during) one block.

mod commit;
mod epoch;
mod execute;
mod freeze;
mod groups;
mod natives;
mod new;
mod reads;
mod saved;
mod simulate;
mod sysvars;

pub use commit::Committed;
pub use execute::Executed;
pub use new::BankError;
pub use reads::VoteAccount;
pub use saved::RestoreError;
pub use simulate::Simulation;

use crate::{
    accounts::{RootedAccounts, Stored},
    blockhash_queue::BlockhashQueue,
    genesis::GenesisConfig,
    lattice::Lattice,
    layers::{Layer, Layers},
    stakes::Stakes,
    status_cache::{BlockStatuses, StatusCache},
    svm::{Features, Svm},
};
use epoch::PendingRewards;
use serde::{Deserialize, Serialize};
use solana_account::AccountSharedData;
use solana_epoch_schedule::EpochSchedule;
use solana_rent::Rent;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};
use sundog_types::{Epoch, HardForks, Hash, Pubkey, Slot, stakes::EpochStakes};

/// What the genesis and the operators fixed for all banks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parameters {
    pub(crate) genesis_hash: Hash,
    pub(crate) creation_time: i64,
    pub(crate) ticks_per_slot: u64,
    pub(crate) hashes_per_tick: Option<u64>,
    pub(crate) nanoseconds_per_slot: u64,
    pub(crate) epoch_schedule: EpochSchedule,
    pub(crate) rent: Rent,
    pub(crate) target_lamports_per_signature: u64,
    pub(crate) target_signatures_per_slot: u64,
    /// Kept with the ledger, not here.
    #[serde(skip)]
    pub(crate) hard_forks: HardForks,
}

impl Parameters {
    fn new(config: &GenesisConfig, rent: Rent) -> Self {
        Self {
            genesis_hash: config.hash(),
            creation_time: config.creation_time,
            ticks_per_slot: config.ticks_per_slot,
            hashes_per_tick: config.hashes_per_tick(),
            nanoseconds_per_slot: u64::try_from(config.nanoseconds_per_slot()).unwrap_or(u64::MAX),
            epoch_schedule: config.epoch_schedule.clone(),
            rent,
            target_lamports_per_signature: config.fee_rate_governor.target_lamports_per_signature,
            target_signatures_per_slot: config.fee_rate_governor.target_signatures_per_slot,
            hard_forks: HardForks::default(),
        }
    }
}

/// Where a bank stands on the chain, and what it counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) slot: u64,
    pub(crate) epoch: u64,
    pub(crate) parent_slot: u64,
    pub(crate) parent_hash: Hash,
    pub(crate) parent_blockhash: Hash,
    pub(crate) block_height: u64,
    pub(crate) collector: Pubkey,
    pub(crate) tick_height: u64,
    pub(crate) max_tick_height: u64,
    pub(crate) lamports_per_signature: u64,
    pub(crate) capitalization: u64,
    pub(crate) transaction_count: u64,
    pub(crate) signature_count: u64,
}

/// Fees taken in this block, in lamports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fees {
    /// For signatures.
    pub base: u64,
    /// For priority.
    pub priority: u64,
    /// What of both the leader got; set when the bank is frozen.
    pub deposited: u64,
    /// What was destroyed; set when the bank is frozen.
    pub burnt: u64,
}

/// What an account was before a block.
enum Before {
    /// It is still to be looked up.
    Unknown,
    /// Whoever changed it knew; `None`: it did not exist.
    Known(Option<AccountSharedData>),
}

/// The state of one fork at one slot.
///
/// It belongs to one owner until it is frozen; then it is shared. What it does not have in its own
/// changes, it reads from its parents and at last from the rooted accounts.
pub struct Bank {
    place: Place,
    parameters: Arc<Parameters>,
    features: Arc<Features>,
    parent: RwLock<Option<Arc<Bank>>>,
    rooted_accounts: Arc<RootedAccounts>,
    /// Whether the rooted accounts have this bank's accounts.
    rooted: AtomicBool,
    /// What this block changed; nobody else has it before the bank is frozen.
    changed: Arc<Layer>,
    /// What each of these accounts was before this block; until the bank is frozen.
    before: Vec<Before>,
    /// What the blocks below changed since the root.
    below: Arc<Layers>,
    /// The same with this block on top, for its children; set when the bank is frozen.
    above: Arc<Layers>,
    queue: BlockhashQueue,
    statuses: StatusCache,
    /// The statuses of this block, which move to `statuses` when the bank is frozen.
    own_statuses: BlockStatuses,
    stakes: Stakes,
    epoch_stakes: BTreeMap<u64, Arc<EpochStakes>>,
    rewards: Option<Arc<PendingRewards>>,
    lattice: Lattice,
    fees: Fees,
    /// Set when the bank is frozen.
    hash: Option<Hash>,
    /// Counts commits, so that nothing is committed that was executed on another state.
    generation: u64,
    svm: Svm,
}

impl Bank {
    /// An account as of this bank, with the slot that wrote it last; also one without lamports.
    fn lookup(&self, key: &Pubkey) -> Option<Stored> {
        self.changed.get(key).or_else(|| self.lookup_before(key))
    }

    /// The same before this block.
    fn lookup_before(&self, key: &Pubkey) -> Option<Stored> {
        self.below.get(key).or_else(|| self.rooted_accounts.get(key))
    }

    fn parent(&self) -> Option<Arc<Self>> {
        self.parent.read().expect("no panic while the parent is locked").clone()
    }

    /// Stores an account in this block.
    fn store(&mut self, key: Pubkey, account: AccountSharedData) {
        self.stakes.follow(&key, &account);
        self.put(key, account, Before::Unknown);
    }

    /// The same for an account that neither is nor was one that stakes or votes. `before`: what it was before this
    /// block, if this is the first time that the block writes it.
    fn put(&mut self, key: Pubkey, account: AccountSharedData, before: Before) {
        let own = Arc::get_mut(&mut self.changed).expect("a layer is shared only once its bank is frozen");
        if own.accounts.insert(key, account).is_none() {
            self.before.push(before);
        }
    }

    /// Whether the bank is complete and has its hash.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.hash.is_some()
    }

    /// Its hash.
    ///
    /// # Panics
    /// If it is not frozen.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash.expect("only a frozen bank has a hash")
    }

    /// Its slot.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot::new(self.place.slot)
    }

    /// The slot of the block below; for slot 0 itself.
    #[must_use]
    pub fn parent_slot(&self) -> Slot {
        Slot::new(self.place.parent_slot)
    }

    /// The bank hash of the block below; for slot 0 zeros.
    #[must_use]
    pub fn parent_hash(&self) -> Hash {
        self.place.parent_hash
    }

    /// The hash of the last tick of the block below; for slot 0 the genesis hash.
    #[must_use]
    pub fn parent_blockhash(&self) -> Hash {
        self.place.parent_blockhash
    }

    /// Its epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch::new(self.place.epoch)
    }

    /// How many blocks there are below it.
    #[must_use]
    pub fn block_height(&self) -> u64 {
        self.place.block_height
    }

    /// The identity of the node that leads its slot.
    #[must_use]
    pub fn leader(&self) -> Pubkey {
        self.place.collector
    }

    /// Whether the store has what this bank has.
    #[must_use]
    pub fn is_rooted(&self) -> bool {
        self.rooted.load(Ordering::Acquire)
    }
}

impl Drop for Bank {
    /// Frees a long line of parents one after another rather than one inside another.
    fn drop(&mut self) {
        let take = |bank: &mut Self| bank.parent.get_mut().ok().and_then(Option::take);
        let mut next = take(self);
        while let Some(parent) = next {
            next = Arc::into_inner(parent).and_then(|mut bank| take(&mut bank));
        }
    }
}

impl std::fmt::Debug for Bank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bank").field("slot", &self.place.slot).field("hash", &self.hash).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
