//! A coordinated restart: back to the block that the operators agreed on, before the node exists.
//!
//! ```text
//!   ledger: root R --- blocks --- S --- blocks above          --hard-fork S
//!                                 |          +--> purged, with the votes for them
//!                                 +--> executed again, hashed with the hard fork, and made the root
//! ```
//!
//! What is above the slot is forgotten: blocks, and promises in the tower file. Both are worth something only to who
//! remembers the old chain, and the operators agreed to leave it. Blocks made from there have shreds of another version,
//! so that nobody can mistake a slot that was led before for one that is led again.

use super::{
    boot::BootError,
    record::record,
    replay::{Replay, Start},
    roots::meta_of,
};
use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc};
use sundog_ledger::{Ledger, Restarts, SlotMeta};
use sundog_runtime::Bank;
use sundog_types::{
    HardForks, Hash, Pubkey, ShredIndex, Slot,
    schedule::{LeaderSchedule, Leaders},
    shred::Shred,
    sign::Verifier,
    store::{Batch, Store},
};

/// Blocks above the root that are looked at: more than half an hour of them.
const BLOCKS_MAX: usize = 8_192;
/// Rows purged at once.
const PURGE_MAX: usize = 4_096;
/// Slots that a refusal names.
const NAMED_MAX: usize = 8;

/// What the operator says of coordinated restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartOrder {
    /// The slots at which the cluster was restarted, in any order; the ledger remembers those that it has gone through.
    pub hard_forks: Vec<Slot>,
    /// Wait at this slot for 80 % of the stake before going on.
    pub wait_at: Option<Slot>,
    /// The bank hash that the block waited at must have.
    pub bank_hash: Option<Hash>,
}

impl RestartOrder {
    /// The shred version of a chain once its ledger has gone along with this.
    ///
    /// # Errors
    /// If the ledger cannot be read, or contradicts what it is told.
    pub fn shred_version(&self, ledger: &Ledger, genesis: Hash) -> Result<u16, BootError> {
        let root = ledger.root()?.unwrap_or_default();
        let (forks, _) = agree(&ledger.restarts()?.forks, &self.hard_forks, root)?;
        Ok(forks.shred_version(&genesis))
    }
}

/// Why a ledger cannot be restarted as it is told.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// The flags tell of a hard fork that the ledger went past without.
    #[error(
        "--hard-fork {slot} contradicts the ledger, which is rooted at {root} and has these hard forks: {kept}; give the list that the cluster agreed on, or, if this node missed a restart and went on alone, replace its ledger by a copy of another node's"
    )]
    Conflict {
        /// The slot of the flag.
        slot: Slot,
        /// The ledger's root.
        root: Slot,
        /// What it went through.
        kept: HardForks,
    },
    /// There is no such block.
    #[error(
        "this ledger cannot be restarted at slot {slot}: it has no whole block there on its rooted chain; it can be restarted at {possible}; give the slot that all operators agreed on, or replace the ledger by a copy of another node's"
    )]
    NotHere {
        /// The slot.
        slot: Slot,
        /// The newest slots that it could be.
        possible: String,
    },
    /// The block is there, and is not valid.
    #[error(
        "the block of slot {slot} cannot be executed again ({why}); replace the ledger by a copy of another node's"
    )]
    Invalid {
        /// The slot.
        slot: Slot,
        /// What is wrong.
        why: String,
    },
    /// It is another block than the others have.
    #[error(
        "the block of slot {slot} has the bank hash {ours} here, and --expected-bank-hash is {expected}; compare slot, hard forks and genesis with the other operators, or replace the ledger by a copy of another node's; nothing was changed"
    )]
    OtherBank {
        /// The slot.
        slot: Slot,
        /// The hash here.
        ours: Hash,
        /// The hash expected.
        expected: Hash,
    },
    /// The restart is at one slot, and the wait would be at another.
    #[error(
        "--wait-for-supermajority {wait} is not the slot of the new hard fork, {slot}; give the same slot to both; nothing was changed"
    )]
    WaitElsewhere {
        /// The slot of the hard fork.
        slot: Slot,
        /// The slot to wait at.
        wait: Slot,
    },
    /// The ledger ends before the slot to wait at.
    #[error(
        "--wait-for-supermajority {slot} is beyond the root of this ledger, {root}; give the --hard-fork that makes it the root too, or let the node catch up first without waiting"
    )]
    Early {
        /// The slot.
        slot: Slot,
        /// The root.
        root: Slot,
    },
}

/// The hard forks of a ledger after it has been told of more, and the one to go back to, if it is not there yet.
///
/// # Errors
/// If the ledger went past a slot without the hard fork that is to be there.
pub fn agree(kept: &HardForks, told: &[Slot], root: Slot) -> Result<(HardForks, Option<Slot>), RestartError> {
    let (mut all, mut back_to) = (kept.clone(), None);
    for (slot, count) in HardForks::new(told).iter() {
        for _ in kept.count(slot)..count {
            if slot < root || kept.last().is_some_and(|last| slot < last) {
                return Err(RestartError::Conflict { slot, root, kept: kept.clone() });
            }
            all.add(slot);
            back_to = back_to.or(Some(slot));
        }
    }
    Ok((all, back_to))
}

/// The hash under which a tower file is known to be void.
#[must_use]
pub fn fingerprint(tower: &[u8]) -> Hash {
    Hash::new_from_array(Sha256::digest(tower).into())
}

/// A ledger that goes back to a slot: everything is worked out, and nothing written yet.
pub struct WayBack {
    /// The block that will be the root, hashed with the hard forks.
    pub bank: Arc<Bank>,
    /// The slots from the old root to it.
    pub chain: Vec<Slot>,
    forks: HardForks,
    batch: Batch,
}

/// The whole blocks above a root that are built on it, with their parents.
///
/// # Errors
/// If the storage fails.
pub fn blocks_above(ledger: &Ledger, root: Slot) -> Result<BTreeMap<Slot, Slot>, BootError> {
    let mut blocks = BTreeMap::new();
    for slot in ledger.shred_slots(root.next(), BLOCKS_MAX)? {
        let first = ledger.data_shred(slot, ShredIndex::ZERO)?.and_then(|bytes| Shred::raw(bytes).parse().ok());
        let last = ledger.highest_data_shred(slot)?.and_then(|bytes| Shred::raw(bytes).parse().ok());
        let (Some(first), Some(last)) = (first, last) else { continue };
        let whole = last.last_in_slot() && ledger.data_shreds(slot)?.len() == last.index().get() as usize + 1;
        let parent = first.parent().filter(|parent| *parent == root || blocks.contains_key(parent));
        if let Some(parent) = parent.filter(|_| whole) {
            blocks.insert(slot, parent);
        }
    }
    Ok(blocks)
}

/// Whether the block of `slot` is here and could be made the root.
///
/// # Errors
/// If the storage fails.
pub fn is_here(ledger: &Ledger, root: &Bank, slot: Slot) -> Result<bool, BootError> {
    Ok(slot == root.slot() || blocks_above(ledger, root.slot())?.contains_key(&slot))
}

/// Works out what a ledger is once it is back at `slot`: the blocks up to there are executed again on its rooted bank.
///
/// # Errors
/// If there is no such block, or it is not valid.
pub fn way_back(ledger: &Ledger, root: Arc<Bank>, forks: &HardForks, slot: Slot) -> Result<WayBack, BootError> {
    let mut way = WayBack::none(root, forks.clone());
    let blocks = if slot == way.bank.slot() { BTreeMap::new() } else { blocks_above(ledger, way.bank.slot())? };
    let from = way.bank.slot();
    let mut at = slot;
    while at > from {
        let Some(parent) = blocks.get(&at) else {
            return Err(RestartError::NotHere { slot, possible: named(from, &blocks) }.into());
        };
        way.chain.push(at);
        at = *parent;
    }
    way.chain.reverse();
    let mut leaders = Leaders::new(way.bank.epoch_schedule().clone());
    for slot in way.chain.clone() {
        let leader =
            leader_of(&mut leaders, &way.bank, slot).ok_or_else(|| invalid(slot, "its leader is not known"))?;
        way.execute(ledger, slot, leader)?;
    }
    if way.chain.is_empty() {
        let hash = way.bank.hash();
        if let Some(meta) = ledger.slot_meta(from)? {
            sundog_ledger::put_meta(&mut way.batch, from, &SlotMeta { bank_hash: hash, ..meta });
        }
    }
    Ok(way)
}

impl WayBack {
    /// The root that is there stays the root, as on a node that lacks the block of a restart and fetches it.
    #[must_use]
    pub fn none(mut root: Arc<Bank>, forks: HardForks) -> Self {
        Arc::get_mut(&mut root).expect("nobody else has it yet").set_hard_forks(forks.clone());
        Self { bank: root, chain: Vec::new(), forks, batch: Batch::default() }
    }

    /// Executes the next block, and keeps what came of it.
    fn execute(&mut self, ledger: &Ledger, slot: Slot, leader: Pubkey) -> Result<(), BootError> {
        let batches = batches(ledger, slot)?;
        let start = Start::Child { parent: Arc::clone(&self.bank), leader };
        let replayed = Replay { slot, attempt: 0, start, batches, last: true }.run_or_die(&Verifier::of_keys());
        let (bank, _) = replayed.outcome.map_err(|dead| invalid(slot, dead.to_string()))?;
        let records: Vec<_> = replayed.committed.into_iter().map(record).collect();
        sundog_ledger::put_transactions(&mut self.batch, slot, 0, &records);
        let known = ledger.slot_meta(slot)?.unwrap_or_default();
        let meta = SlotMeta { last_index: known.last_index, ..meta_of(&bank, super::Tally::default()) };
        sundog_ledger::put_meta(&mut self.batch, slot, &meta);
        self.bank = Arc::from(bank);
        Ok(())
    }

    /// Goes: purges what is above the slot of the restart, then writes all the rest at once. Interrupted before that, the ledger lacks blocks that
    /// would have been purged anyway, and is what it was otherwise.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn go(
        mut self,
        (store, ledger): (&dyn Store, &Ledger),
        restarted_at: Slot,
        tower: Option<&[u8]>,
    ) -> Result<Arc<Bank>, BootError> {
        let slot = self.bank.slot();
        loop {
            let purge = ledger.purge_above(restarted_at, PURGE_MAX)?;
            if purge.is_empty() {
                break;
            }
            store.commit(&purge, false)?;
        }
        let mut batch = self.bank.root_batch();
        batch.writes.append(&mut self.batch.writes);
        sundog_ledger::set_root(&mut batch, slot, &self.chain);
        if ledger.last_led()?.is_some_and(|led| led > restarted_at) {
            sundog_ledger::put_led(&mut batch, restarted_at);
        }
        let void_tower = tower.map(fingerprint);
        sundog_ledger::put_restarts(&mut batch, &Restarts { forks: self.forks, void_tower });
        store.commit(&batch, true)?;
        self.bank.squash();
        self.bank.written();
        Ok(self.bank)
    }
}

fn invalid(slot: Slot, why: impl Into<String>) -> BootError {
    RestartError::Invalid { slot, why: why.into() }.into()
}

/// The newest slots at which a ledger could be restarted.
fn named(root: Slot, blocks: &BTreeMap<Slot, Slot>) -> String {
    let newest: Vec<String> = blocks.keys().rev().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = if blocks.len() > NAMED_MAX { ", and blocks before these," } else { "" };
    match newest.as_slice() {
        [] => format!("{root}, its root"),
        newest => format!("{}{more} down to {root}, its root", newest.join(", ")),
    }
}

fn leader_of(leaders: &mut Leaders, bank: &Bank, slot: Slot) -> Option<Pubkey> {
    let epoch = leaders.epoch(slot);
    if leaders.schedule(epoch).is_none() {
        let slots = bank.epoch_schedule().get_slots_in_epoch(epoch.get());
        let stakes = bank.epoch_stakes(epoch)?;
        leaders.insert(Arc::new(LeaderSchedule::new(epoch, slots, &stakes)));
    }
    leaders.leader(slot)
}

/// The entry batches of a block that is whole.
fn batches(ledger: &Ledger, slot: Slot) -> Result<Vec<Bytes>, BootError> {
    let (mut batches, mut open) = (Vec::new(), BytesMut::new());
    for bytes in ledger.data_shreds(slot)? {
        let shred = Shred::raw(bytes).parse().map_err(|error| invalid(slot, error.to_string()))?;
        open.extend_from_slice(shred.data());
        if shred.data_complete() {
            batches.push(open.split().freeze());
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(slots: &[u64]) -> Vec<Slot> {
        slots.iter().map(|slot| Slot::new(*slot)).collect()
    }

    /// What a ledger with these hard forks and this root makes of flags: its list then, and the slot it goes back to.
    #[track_caller]
    fn check(kept: &[u64], root: u64, told: &[u64], expect: &str) {
        let kept = HardForks::new(&slots(kept));
        let outcome = match agree(&kept, &slots(told), Slot::new(root)) {
            Ok((all, back_to)) => format!("{all}; {}", back_to.map_or("stay".into(), |slot| format!("back to {slot}"))),
            Err(RestartError::Conflict { slot, .. }) => format!("{slot} contradicts"),
            Err(error) => error.to_string(),
        };
        assert_eq!(outcome, expect);
    }

    #[test]
    fn without_flags_a_ledger_keeps_its_hard_forks() {
        check(&[], 9, &[], "none; stay");
        check(&[100], 140, &[], "100; stay");
    }

    #[test]
    fn a_flag_that_was_followed_already_does_nothing_more() {
        check(&[100], 140, &[100], "100; stay");
        check(&[100, 200], 240, &[200], "100, 200; stay");
    }

    #[test]
    fn a_new_one_is_gone_back_to_at_the_root_or_above() {
        check(&[], 140, &[140], "140; back to 140");
        check(&[100], 140, &[100, 150], "100, 150; back to 150");
        check(&[100], 140, &[150, 170], "100, 150, 170; back to 150");
        check(&[100], 100, &[100, 100], "100 (2 times); back to 100");
    }

    #[test]
    fn one_that_the_ledger_went_past_contradicts_it() {
        check(&[], 140, &[139], "139 contradicts");
        check(&[100], 140, &[100, 100], "100 contradicts");
        check(&[100, 200], 240, &[150], "150 contradicts");
        check(&[200], 0, &[100], "100 contradicts");
    }
}
