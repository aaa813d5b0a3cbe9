//! Ticks, and the end of a block: fees, history, hashes (reference 11.1, 12.1).

use super::{Bank, Before, Parameters};
use sha2::{Digest, Sha256};
use solana_account::{ReadableAccount, WritableAccount};
use solana_sdk_ids::{incinerator, system_program};
use std::sync::Arc;
use sundog_types::{HardForks, Hash, Slot, TickHeight};

/// The part of the base fees that is burnt.
const BURN_PERCENT: u64 = 50;

impl Bank {
    /// The number of ticks since genesis.
    #[must_use]
    pub fn tick_height(&self) -> TickHeight {
        TickHeight::new(self.place.tick_height)
    }

    /// The tick height at which this block is complete.
    #[must_use]
    pub fn max_tick_height(&self) -> TickHeight {
        TickHeight::new(self.place.max_tick_height)
    }

    /// Whether all its ticks are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.place.tick_height >= self.place.max_tick_height
    }

    /// Takes a tick; the last one gives the block its blockhash.
    ///
    /// # Panics
    /// If the block has all its ticks: whoever counts ticks must stop before.
    pub fn register_tick(&mut self, hash: &Hash) {
        assert!(!self.is_frozen() && !self.is_complete(), "slot {} has all its ticks", self.place.slot);
        self.place.tick_height += 1;
        if self.is_complete() {
            self.queue.register(*hash, self.place.lamports_per_signature);
            self.update_recent_blockhashes();
        }
    }

    /// Ends the block: pays the leader, and works out the hash. Does nothing a second time.
    ///
    /// # Panics
    /// If ticks are missing.
    pub fn freeze(&mut self) {
        if self.is_frozen() {
            return;
        }
        assert!(self.is_complete(), "slot {} is frozen before its last tick", self.place.slot);
        self.distribute_fees();
        self.update_slot_history();
        self.destroy(incinerator::ID);
        self.sum_accounts();
        self.hash = Some(self.compute_hash());
        let mut own = std::mem::take(&mut self.own_statuses);
        own.shrink();
        self.statuses.push(Arc::new(own));
        Arc::get_mut(&mut self.changed).expect("it is not shared yet").accounts.shrink_to_fit();
        let mut above = (*self.below).clone();
        above.push(&self.changed);
        self.above = Arc::new(above);
    }

    fn distribute_fees(&mut self) {
        let (base, priority) = (self.fees.base, self.fees.priority);
        if base + priority == 0 {
            return;
        }
        let mut burnt = base * BURN_PERCENT / 100;
        let deposit = priority + (base - burnt);
        if self.pay_leader(deposit) {
            self.fees.deposited = deposit;
        } else {
            burnt += deposit;
        }
        self.fees.burnt = burnt;
        self.place.capitalization -= burnt;
    }

    /// Whether the leader's account could take it.
    fn pay_leader(&mut self, lamports: u64) -> bool {
        let leader = self.place.collector;
        let mut account = self.account(&leader).unwrap_or_default();
        if !system_program::check_id(account.owner()) {
            return false;
        }
        let Some(sum) = account.lamports().checked_add(lamports) else {
            return false;
        };
        let minimum = self.parameters.rent.minimum_balance(account.data().len());
        if sum < minimum {
            // It would pay rent: an account that already does may not get more, others may not begin to.
            return false;
        }
        account.set_lamports(sum);
        self.store(leader, account);
        true
    }

    fn sum_accounts(&mut self) {
        let mut lattice = std::mem::take(&mut self.lattice);
        let (accounts, befores) = (&self.changed.accounts, std::mem::take(&mut self.before));
        lattice.apply(accounts.len(), &|place| {
            let (key, after) = accounts.get_index(place).expect("a place below the length");
            let before = match &befores[place] {
                Before::Known(before) => before.clone(),
                Before::Unknown => self.lookup_before(key).map(|(account, _)| account),
            };
            (key, before, after)
        });
        self.lattice = lattice;
    }

    fn compute_hash(&self) -> Hash {
        let blocks = Sha256::new()
            .chain_update(self.place.parent_hash)
            .chain_update(self.place.signature_count.to_le_bytes())
            .chain_update(self.queue.last())
            .finalize();
        let mut hash = Sha256::new().chain_update(blocks).chain_update(self.lattice.to_bytes()).finalize();
        let (parent, slot) = (Slot::new(self.place.parent_slot), Slot::new(self.place.slot));
        let forks = self.parameters.hard_forks.between(parent, slot);
        if let Some(count) = forks {
            hash = Sha256::new().chain_update(hash).chain_update(count.to_le_bytes()).finalize();
        }
        Hash::new_from_array(hash.into())
    }

    /// Says at which slots the cluster was restarted: the blocks that reach them have another hash. This one is hashed
    /// anew if it is one of them.
    pub fn set_hard_forks(&mut self, forks: HardForks) {
        let parameters = (*self.parameters).clone();
        self.parameters = Arc::new(Parameters { hard_forks: forks, ..parameters });
        if self.is_frozen() {
            self.hash = Some(self.compute_hash());
        }
    }
}
