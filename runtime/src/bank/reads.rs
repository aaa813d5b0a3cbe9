//! What others ask a bank.

use super::{Bank, Fees};
use crate::{accounts::Stored, blockhash_queue::PROCESSING_AGE_MAX, status_cache::Status};
use solana_account::{AccountSharedData, ReadableAccount};
use solana_epoch_schedule::EpochSchedule;
use solana_rent::Rent;
use std::{collections::BTreeMap, sync::Arc};
use sundog_types::{Hash, Pubkey, Signature};

/// A vote account, as clients and the tower see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteAccount {
    /// Its address.
    pub pubkey: Pubkey,
    /// The node that votes with it.
    pub node: Pubkey,
    /// Effective stake delegated to it in this bank's epoch, in lamports.
    pub stake: u64,
    /// Its part of its stakers' rewards, in percent.
    pub commission: u8,
    /// Slots and confirmation counts of its tower, oldest first.
    pub lockouts: Vec<(u64, u32)>,
    /// Its root.
    pub root: Option<u64>,
    /// Epoch, credits at its end, credits at its start; oldest first.
    pub epoch_credits: Vec<(u64, u64, u64)>,
    /// The slot it last gave a time for, and that time in Unix seconds.
    pub last_timestamp: (u64, i64),
}

impl Bank {
    /// An account, if it exists.
    #[must_use]
    pub fn account(&self, key: &Pubkey) -> Option<AccountSharedData> {
        self.lookup(key).map(|(account, _)| account).filter(|account| account.lamports() > 0)
    }

    /// Lamports of an account; 0 if it does not exist.
    #[must_use]
    pub fn balance(&self, key: &Pubkey) -> u64 {
        self.account(key).map_or(0, |account| account.lamports())
    }

    /// The accounts that this block wrote, in the order of their first writes; those without lamports are gone.
    pub fn changed_accounts(&self) -> impl Iterator<Item = (&Pubkey, &AccountSharedData)> {
        self.changed.accounts.iter()
    }

    /// At most `limit` accounts for which `wanted` holds, by address. Reads every account there is.
    pub fn scan(
        &self,
        limit: usize,
        wanted: &dyn Fn(&Pubkey, &AccountSharedData) -> bool,
    ) -> Vec<(Pubkey, AccountSharedData)> {
        let overlay = self.overlay();
        let mut found = BTreeMap::new();
        let mut take = |key: Pubkey, account: &AccountSharedData| {
            if account.lamports() > 0 && wanted(&key, account) {
                found.insert(key, account.clone());
                if found.len() > limit {
                    found.pop_last();
                }
            }
        };
        for (key, (account, _)) in &overlay {
            take(*key, account);
        }
        self.rooted_accounts.scan(&mut |key, (account, _)| {
            if !overlay.contains_key(&key) {
                take(key, &account);
            }
        });
        found.into_iter().collect()
    }

    /// At most `limit` accounts that a program owns, by address. Reads every account there is.
    #[must_use]
    pub fn program_accounts(&self, program: &Pubkey, limit: usize) -> Vec<(Pubkey, AccountSharedData)> {
        self.scan(limit, &|_, account| account.owner() == program)
    }

    /// Everything that differs from the rooted accounts in the store.
    pub(super) fn overlay(&self) -> BTreeMap<Pubkey, Stored> {
        let own = |bank: &Self| {
            let slot = bank.place.slot;
            bank.changed
                .accounts
                .iter()
                .map(|(key, account)| (*key, (account.clone(), slot)))
                .collect::<BTreeMap<_, _>>()
        };
        let mut overlay = own(self);
        let mut next = self.parent();
        while let Some(bank) = next {
            for (key, stored) in own(&bank) {
                overlay.entry(key).or_insert(stored);
            }
            next = bank.parent();
        }
        overlay
    }

    /// The hash of the newest block's last tick.
    #[must_use]
    pub fn last_blockhash(&self) -> Hash {
        self.queue.last()
    }

    /// How many blocks ago a blockhash was registered, if it is not forgotten.
    #[must_use]
    pub fn blockhash_age(&self, hash: &Hash) -> Option<u64> {
        self.queue.age(hash)
    }

    /// Whether a transaction on this blockhash could land in the next block.
    #[must_use]
    pub fn is_blockhash_valid(&self, hash: &Hash) -> bool {
        self.queue.age(hash).is_some_and(|age| age <= PROCESSING_AGE_MAX)
    }

    /// The last block height at which a transaction on this blockhash can land.
    #[must_use]
    pub fn last_valid_block_height(&self, hash: &Hash) -> Option<u64> {
        let age = self.queue.age(hash)?;
        (self.place.block_height + PROCESSING_AGE_MAX).checked_sub(age)
    }

    /// Slot and outcome of a transaction in one of the recent blocks of this fork.
    #[must_use]
    pub fn signature_status(&self, signature: &Signature) -> Option<(u64, Status)> {
        self.own_statuses.status(signature).or_else(|| self.statuses.status(signature))
    }

    /// All lamports there are.
    #[must_use]
    pub fn capitalization(&self) -> u64 {
        self.place.capitalization
    }

    /// Transactions since genesis on this fork.
    #[must_use]
    pub fn transaction_count(&self) -> u64 {
        self.place.transaction_count
    }

    /// Signatures in this block.
    #[must_use]
    pub fn signature_count(&self) -> u64 {
        self.place.signature_count
    }

    /// Fees of this block.
    #[must_use]
    pub fn fees(&self) -> Fees {
        self.fees
    }

    /// The lamports per signature that are registered with this block's blockhash.
    #[must_use]
    pub fn lamports_per_signature(&self) -> u64 {
        self.place.lamports_per_signature
    }

    /// The lattice hash over all accounts as of the last freeze.
    #[must_use]
    pub fn lattice(&self) -> &crate::lattice::Lattice {
        &self.lattice
    }

    /// The least an account with `length` bytes of data must hold.
    #[must_use]
    pub fn rent_minimum(&self, length: usize) -> u64 {
        self.parameters.rent.minimum_balance(length)
    }

    /// The rent parameters.
    #[must_use]
    pub fn rent(&self) -> &Rent {
        &self.parameters.rent
    }

    /// Which slots make up which epoch.
    #[must_use]
    pub fn epoch_schedule(&self) -> &EpochSchedule {
        &self.parameters.epoch_schedule
    }

    /// Ticks in a slot.
    #[must_use]
    pub fn ticks_per_slot(&self) -> u64 {
        self.parameters.ticks_per_slot
    }

    /// Hashes from tick to tick; `None` if time passes by sleeping.
    #[must_use]
    pub fn hashes_per_tick(&self) -> Option<u64> {
        self.parameters.hashes_per_tick
    }

    /// Time from slot to slot, in nanoseconds.
    #[must_use]
    pub fn nanoseconds_per_slot(&self) -> u64 {
        self.parameters.nanoseconds_per_slot
    }

    /// The chain's name.
    #[must_use]
    pub fn genesis_hash(&self) -> Hash {
        self.parameters.genesis_hash
    }

    /// Every vote account, by address.
    #[must_use]
    pub fn vote_accounts(&self) -> Vec<VoteAccount> {
        self.stakes.vote_accounts()
    }

    /// When a feature gate became active, as slot; `None` if it is not.
    #[must_use]
    pub fn feature_activation(&self, gate: &Pubkey) -> Option<u64> {
        self.account(gate).as_ref().and_then(super::new::activation)
    }

    /// The accounts below all forks.
    #[must_use]
    pub fn rooted_accounts(&self) -> &Arc<crate::accounts::RootedAccounts> {
        &self.rooted_accounts
    }
}
