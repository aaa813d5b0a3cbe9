//! Rooting a bank, and coming back from the store.

use super::{Bank, Fees, Parameters, Place, epoch::PendingRewards, new};
use crate::{
    accounts::{self, RootedAccounts, expect_store},
    blockhash_queue::BlockhashQueue,
    lattice::Lattice,
    layers::Seeded,
    stakes::{StakeHistory, Stakes},
    status_cache::{BlockStatuses, StatusCache},
    svm::{Features, Svm},
};
use serde::{Deserialize, Serialize};
use solana_account::ReadableAccount;
use solana_sdk_ids::sysvar;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};
use sundog_types::{
    Hash, Pubkey,
    stakes::{EpochStakes, VoteStake},
    store::{Batch, Space},
};

/// Where the rooted bank's fields are.
const BANK_KEY: &[u8] = b"rooted bank";
/// In front of the slot, big-endian, where a rooted block's transaction statuses are.
const STATUS_KEY: &[u8] = b"statuses/";
/// The form of [`Saved`].
const FORMAT: u32 = 1;

/// Vote account, node, authorized voter, stake.
type SavedStake = (Pubkey, Pubkey, Pubkey, u64);

/// Everything about the rooted bank that is not in its accounts.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    place: Place,
    parameters: Parameters,
    hash: Hash,
    queue: BlockhashQueue,
    lattice: Vec<u8>,
    epoch_stakes: Vec<(u64, Vec<SavedStake>)>,
    rewards: Option<PendingRewards>,
    status_slots: Vec<u64>,
}

/// Why the rooted bank cannot be read back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Nothing was rooted in this store.
    #[error("the store has no rooted bank; start from the genesis")]
    Nothing,
    /// A value does not decode, or is of another form.
    #[error("the rooted bank does not decode ({0}); remove the ledger directory and start from the genesis")]
    Malformed(&'static str),
}

impl Bank {
    /// The writes that make this bank the rooted one in the store: the accounts that changed since it was last written,
    /// and its other fields. They belong into the store at once with whatever else says what the root is.
    /// When the store has them, call [`Self::squash`] and then [`Self::written`].
    ///
    /// # Panics
    /// If it is not frozen.
    #[must_use]
    pub fn root_batch(&self) -> Batch {
        let mut batch = Batch::default();
        let (unwritten, known) = self.rooted_accounts.unwritten();
        let mut changes = (*unwritten).clone();
        changes.extend(self.since_root());
        for (key, stored) in &changes {
            accounts::put(&mut batch, key, stored);
        }
        let kept: BTreeSet<u64> = self.status_slots().collect();
        for slot in known.difference(&kept) {
            batch.delete(Space::Singles, status_key(*slot));
        }
        for block in self.statuses.blocks().iter().filter(|block| !known.contains(&block.slot)) {
            let value = bincode::serialize(&**block).expect("statuses always encode");
            batch.put(Space::Singles, status_key(block.slot), value);
        }
        let saved = bincode::serialize(&self.saved()).expect("a bank's fields always encode");
        batch.put(Space::Singles, BANK_KEY, saved);
        batch
    }

    /// Accounts that changed since the root.
    fn since_root(&self) -> BTreeMap<Pubkey, accounts::Stored> {
        let mut overlay = BTreeMap::new();
        let mut take = |bank: &Self| {
            if !bank.is_rooted() {
                for (key, account) in &bank.changed.accounts {
                    overlay.entry(*key).or_insert_with(|| (account.clone(), bank.place.slot));
                }
            }
            bank.is_rooted()
        };
        let mut at_root = take(self);
        let mut next = self.parent();
        while let (false, Some(bank)) = (at_root, &next) {
            at_root = take(bank);
            next = bank.parent();
        }
        overlay
    }

    fn saved(&self) -> Saved {
        let stake = |(key, vote): (&Pubkey, &VoteStake)| (*key, vote.node, vote.authorized_voter, vote.stake);
        let stakes =
            |(epoch, stakes): (&u64, &Arc<EpochStakes>)| (*epoch, stakes.by_vote_account.iter().map(stake).collect());
        Saved {
            format: FORMAT,
            place: self.place.clone(),
            parameters: (*self.parameters).clone(),
            hash: self.hash(),
            queue: self.queue.clone(),
            lattice: self.lattice.to_bytes(),
            epoch_stakes: self.epoch_stakes.iter().map(stakes).collect(),
            rewards: self.rewards.as_deref().cloned(),
            status_slots: self.status_slots().collect(),
        }
    }

    /// Cuts this bank off from its parents: from now on it and its children read from the rooted accounts what they do
    /// not have themselves. Banks of other forks are worthless from then on.
    pub fn squash(&self) {
        if !self.rooted.load(Ordering::Acquire) {
            self.rooted_accounts.rooted(Seeded::new(&self.hash()), self.since_root());
            self.rooted.store(true, Ordering::Release);
        }
        let parent = self.parent.write().expect("no panic while the parent is locked").take();
        drop(parent);
        self.svm.root();
    }

    /// The store has the [`Self::root_batch`] of this bank, and it is the root since: nothing of it need be remembered
    /// to be written any more.
    pub fn written(&self) {
        self.rooted_accounts.written(self.status_slots().collect());
    }

    fn status_slots(&self) -> impl Iterator<Item = u64> {
        self.statuses.blocks().iter().map(|block| block.slot)
    }

    /// The rooted bank, as the store of `accounts` has it.
    ///
    /// # Errors
    /// If there is none, or if it does not decode.
    pub fn restore(accounts: Arc<RootedAccounts>) -> Result<Arc<Self>, RestoreError> {
        let read = |key: &[u8]| expect_store(accounts.store().get(Space::Singles, key));
        let bytes = read(BANK_KEY).ok_or(RestoreError::Nothing)?;
        let saved: Saved = bincode::deserialize(&bytes).map_err(|_| RestoreError::Malformed("its fields"))?;
        if saved.format != FORMAT {
            return Err(RestoreError::Malformed("its format is of another version"));
        }
        let mut statuses = Vec::with_capacity(saved.status_slots.len());
        for slot in &saved.status_slots {
            let bytes = read(&status_key(*slot)).ok_or(RestoreError::Malformed("transaction statuses are missing"))?;
            let block: BlockStatuses =
                bincode::deserialize(&bytes).map_err(|_| RestoreError::Malformed("transaction statuses"))?;
            statuses.push(block);
        }
        Self::from_saved(saved, StatusCache::restore(statuses), accounts).map(Arc::new)
    }

    fn from_saved(saved: Saved, statuses: StatusCache, accounts: Arc<RootedAccounts>) -> Result<Self, RestoreError> {
        let Saved { place, parameters, hash, queue, lattice, epoch_stakes, rewards, .. } = saved;
        let features =
            Arc::new(Features::read(&|id| accounts.get(id).and_then(|(account, _)| new::activation(&account))));
        let history = accounts.get(&sysvar::stake_history::ID);
        let history = history.map(|(account, _)| StakeHistory::from_sysvar_data(account.data())).unwrap_or_default();
        let mut stakes = Stakes::new(place.epoch, history, new::warmup(&features, &parameters));
        accounts.scan(&mut |key, (account, _)| stakes.follow(&key, &account));
        let stake =
            |(key, node, authorized_voter, stake): SavedStake| (key, VoteStake { node, authorized_voter, stake });
        let whole = |stakes: Vec<SavedStake>| EpochStakes { by_vote_account: stakes.into_iter().map(stake).collect() };
        let epoch_stakes = epoch_stakes.into_iter().map(|(epoch, stakes)| (epoch, Arc::new(whole(stakes)))).collect();
        let svm = Svm::new(place.slot, place.epoch, &features);
        let bank = Self {
            own_statuses: BlockStatuses::default(),
            parameters: Arc::new(parameters),
            features,
            parent: RwLock::new(None),
            rooted_accounts: accounts,
            rooted: AtomicBool::new(true),
            changed: Arc::default(),
            before: Vec::new(),
            below: Arc::default(),
            above: Arc::default(),
            queue,
            statuses,
            stakes,
            epoch_stakes,
            rewards: rewards.map(Arc::new),
            lattice: Lattice::from_bytes(&lattice).ok_or(RestoreError::Malformed("its lattice hash"))?,
            fees: Fees::default(),
            hash: Some(hash),
            generation: 0,
            svm,
            place,
        };
        bank.svm.read_sysvars(&bank);
        bank.written();
        Ok(bank)
    }
}

fn status_key(slot: u64) -> Vec<u8> {
    let mut key = STATUS_KEY.to_vec();
    key.extend_from_slice(&slot.to_be_bytes());
    key
}
