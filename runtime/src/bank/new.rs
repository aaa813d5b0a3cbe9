//! How banks come to be: from the genesis, and from their parents.

use super::{Bank, Fees, Parameters, Place, natives};
use crate::{
    accounts::RootedAccounts,
    blockhash_queue::BlockhashQueue,
    genesis::{GenesisConfig, Inflation},
    lattice::Lattice,
    layers::{Layer, Seeded},
    stakes::{StakeHistory, Stakes, Warmup},
    status_cache::{BlockStatuses, StatusCache},
    svm::{Features, Svm},
};
use solana_account::{AccountSharedData, ReadableAccount};
use solana_rent::Rent;
use solana_sdk_ids::{feature, sysvar};
use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock, atomic::AtomicBool},
};
use sundog_types::{Hash, Pubkey, Slot};

/// The gate that folds the rent threshold into the price of a byte (SIMD-0194).
const RENT_THRESHOLD_GATE: Pubkey = Pubkey::from_str_const("rent6iVy6PDoViPBeJ6k5EJQrkj62h7DPyLbWGHwjrC");
/// The gate that lowers the rate at which stake warms up and cools down.
const WARMUP_GATE: Pubkey = Pubkey::from_str_const("GwtDQBghCTBgmX2cpEGNPxTEBUTQRaDMGTr5qychdGMj");

/// Why a chain cannot be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BankError {
    /// Lamports would be minted for stakers, which is not implemented.
    #[error("the genesis has inflation, which is not supported; make a genesis with inflation zero")]
    Inflation,
}

impl Bank {
    /// Bank 0 as the genesis makes it, without its ticks.
    ///
    /// # Errors
    /// If the genesis asks for something that cannot be done.
    pub fn from_genesis(config: &GenesisConfig, accounts: Arc<RootedAccounts>) -> Result<Self, BankError> {
        if config.inflation != Inflation::default() {
            return Err(BankError::Inflation);
        }
        let gate = |id: &Pubkey| config.accounts.get(id).and_then(|account| activation(&account.clone().into()));
        let features = Arc::new(Features::read(&gate));
        let rent = if gate(&RENT_THRESHOLD_GATE).is_some() { folded(&config.rent) } else { config.rent.clone() };
        let parameters = Arc::new(Parameters::new(config, rent));
        let mut bank = Self::first(parameters, features, accounts);
        bank.place.capitalization = config.capitalization();
        for (key, account) in &config.accounts {
            bank.store(*key, AccountSharedData::from(account.clone()));
        }
        for (key, account) in natives::accounts(&|id| gate(id).is_some()) {
            let held = bank.account(&key).map_or(0, |before| before.lamports());
            bank.place.capitalization = bank.place.capitalization + account.lamports() - held;
            bank.store(key, account);
        }
        bank.fix_first_stakes();
        bank.update_stake_history();
        bank.update_clock(None);
        bank.write_fixed_sysvars();
        bank.update_recent_blockhashes();
        bank.svm.read_sysvars(&bank);
        Ok(bank)
    }

    /// Bank 0 with its ticks, frozen: where every node starts.
    ///
    /// # Errors
    /// As [`Self::from_genesis`].
    pub fn genesis_block(config: &GenesisConfig, accounts: Arc<RootedAccounts>) -> Result<Arc<Self>, BankError> {
        let mut bank = Self::from_genesis(config, accounts)?;
        for (_, hash) in config.slot_zero_ticks() {
            bank.register_tick(&hash);
        }
        bank.freeze();
        Ok(Arc::new(bank))
    }

    fn first(parameters: Arc<Parameters>, features: Arc<Features>, accounts: Arc<RootedAccounts>) -> Self {
        let genesis_hash = parameters.genesis_hash;
        let place = Place {
            slot: 0,
            epoch: 0,
            parent_slot: 0,
            parent_hash: Hash::default(),
            parent_blockhash: genesis_hash,
            block_height: 0,
            collector: Pubkey::default(),
            tick_height: 0,
            max_tick_height: parameters.ticks_per_slot,
            lamports_per_signature: 0,
            capitalization: 0,
            transaction_count: 0,
            signature_count: 0,
        };
        Self {
            svm: Svm::new(0, 0, &features),
            stakes: Stakes::new(0, StakeHistory::default(), warmup(&features, &parameters)),
            queue: BlockhashQueue::new(genesis_hash, 0),
            statuses: StatusCache::default(),
            own_statuses: BlockStatuses::default(),
            parent: RwLock::new(None),
            rooted_accounts: accounts,
            rooted: AtomicBool::new(false),
            changed: Arc::default(),
            before: Vec::new(),
            below: Arc::default(),
            above: Arc::default(),
            epoch_stakes: BTreeMap::new(),
            rewards: None,
            lattice: Lattice::default(),
            fees: Fees::default(),
            hash: None,
            generation: 0,
            place,
            parameters,
            features,
        }
    }

    /// Genesis stakes hold for all epochs whose schedule is fixed from the start; the node with the most
    /// stake collects bank 0's fees.
    fn fix_first_stakes(&mut self) {
        let last = self.parameters.epoch_schedule.get_leader_schedule_epoch(0);
        for epoch in 0..=last {
            self.epoch_stakes.insert(epoch, Arc::new(self.stakes.snapshot(epoch)));
        }
        let nodes = self.epoch_stakes[&0].by_node();
        let most = nodes.iter().max_by_key(|(node, stake)| (**stake, **node));
        self.place.collector = most.map(|(node, _)| *node).unwrap_or_default();
    }

    /// The bank of a block on top of `parent`, led by the node `leader`.
    ///
    /// # Panics
    /// If the parent is not frozen or not of an earlier slot.
    #[must_use]
    pub fn child(parent: &Arc<Self>, slot: Slot, leader: Pubkey) -> Self {
        assert!(parent.is_frozen(), "slot {} is not frozen", parent.place.slot);
        assert!(slot > parent.slot(), "slot {slot} is not after its parent {}", parent.place.slot);
        let slot = slot.get();
        let parameters = Arc::clone(&parent.parameters);
        let epoch = parameters.epoch_schedule.get_epoch(slot);
        let place = Place {
            slot,
            epoch,
            parent_slot: parent.place.slot,
            parent_hash: parent.hash(),
            parent_blockhash: parent.queue.last(),
            block_height: parent.place.block_height + 1,
            collector: leader,
            max_tick_height: (slot + 1).saturating_mul(parameters.ticks_per_slot),
            lamports_per_signature: lamports_per_signature(&parent.place, &parameters),
            signature_count: 0,
            ..parent.place.clone()
        };
        let seed = Seeded::new(&parent.hash());
        let mut bank = Self {
            svm: parent.svm.child(slot, epoch),
            own_statuses: BlockStatuses::new(slot, place.block_height, seed),
            changed: Arc::new(Layer::new(slot, place.block_height, seed)),
            before: Vec::new(),
            below: Arc::clone(&parent.above),
            above: Arc::default(),
            place,
            parameters,
            features: Arc::clone(&parent.features),
            parent: RwLock::new(Some(Arc::clone(parent))),
            rooted_accounts: Arc::clone(&parent.rooted_accounts),
            rooted: AtomicBool::new(false),
            queue: parent.queue.clone(),
            statuses: parent.statuses.clone(),
            stakes: parent.stakes.clone(),
            epoch_stakes: parent.epoch_stakes.clone(),
            rewards: parent.rewards.clone(),
            lattice: parent.lattice.clone(),
            fees: Fees::default(),
            hash: None,
            generation: 0,
        };
        bank.begin(parent.place.epoch);
        bank
    }

    /// What happens in a block before its first transaction (reference 12.1).
    fn begin(&mut self, parent_epoch: u64) {
        if self.place.epoch != parent_epoch {
            self.enter_epoch(parent_epoch);
        }
        self.fix_epoch_stakes();
        self.distribute_rewards();
        self.update_slot_hashes();
        if self.place.epoch != parent_epoch {
            self.update_stake_history();
        }
        self.update_clock(Some(parent_epoch));
        self.update_last_restart_slot();
        self.svm.read_sysvars(self);
    }
}

/// The slot in which a feature account says that it was activated (reference 0).
pub(super) fn activation(account: &AccountSharedData) -> Option<u64> {
    if !feature::check_id(account.owner()) {
        return None;
    }
    bincode::deserialize::<Option<u64>>(account.data()).ok().flatten()
}

/// When the lower warm-up rate begins.
pub(super) fn warmup(features: &Features, parameters: &Parameters) -> Warmup {
    let slot = features.activated(&WARMUP_GATE);
    Warmup { lower_from: slot.map(|slot| parameters.epoch_schedule.get_epoch(slot)) }
}

/// Rent with the same minimum balances and a threshold of one.
fn folded(rent: &Rent) -> Rent {
    let encoded = bincode::serialize(rent).expect("plain numbers always encode");
    let (lamports, threshold, burn): (u64, f64, u8) = bincode::deserialize(&encoded).expect("rent has three numbers");
    let folded = ((lamports as f64 * threshold) as u64, 1.0_f64, burn);
    let encoded = bincode::serialize(&folded).expect("plain numbers always encode");
    bincode::deserialize(&encoded).expect("rent has three numbers")
}

/// The governor's next price: it moves towards a price that follows the load (reference 12.2).
fn lamports_per_signature(parent: &Place, parameters: &Parameters) -> u64 {
    let (target, capacity) = (parameters.target_lamports_per_signature, parameters.target_signatures_per_slot);
    if capacity == 0 {
        return target;
    }
    let (least, most) = ((target / 2).max(1), target.saturating_mul(10));
    let load = parent.signature_count.min(u64::from(u32::MAX));
    let wanted = (target.saturating_mul(load) / capacity).max(least).min(most);
    let now = parent.lamports_per_signature;
    let step = (target / 20).max(1);
    let next = match now.cmp(&wanted) {
        std::cmp::Ordering::Equal => return wanted,
        std::cmp::Ordering::Less => now + step,
        std::cmp::Ordering::Greater => now.saturating_sub(step),
    };
    next.max(least).min(most)
}

/// The address that holds what of the rewards is still to be paid.
pub(super) const EPOCH_REWARDS: Pubkey = sysvar::epoch_rewards::ID;
