//! Executing the blocks of other leaders: entry batches in, frozen banks out, one job at a time per slot.

use super::{Effect, Event, Node, forks::Frozen, job::Job};
use bytes::Bytes;
use solana_transaction::versioned::VersionedTransaction;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use sundog_poh::TickPosition;
use sundog_runtime::{Bank, Committed};
use sundog_types::{Effects, Hash, Now, ShredIndex, Slot, entry, sign::Verifier};

/// Slots whose batches are kept until they can be executed, half an hour's. What does not fit is read from the ledger
/// again when its parent is frozen.
pub const PENDING_MAX: usize = 4_096;
/// Bytes of the batches that wait for their parent: one full block, or all of an hour without traffic.
pub const PENDING_BYTES_MAX: usize = 32 << 20;
/// Slots whose batches were put off: as many as Turbine gathers above the root. Full: the farthest from the root goes.
pub const PUT_OFF_MAX: usize = 16_384;

/// How a block arrived, for the log line of its completion.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Data shreds in it.
    pub shreds: u32,
    /// Of them, brought back by erasure coding.
    pub recovered: u32,
    /// Of them, brought by repair.
    pub repaired: u32,
    /// From its first shred to frozen, milliseconds.
    pub ms: u64,
}

/// Why a block can never become valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeadBlock {
    /// A batch is no list of entries.
    #[error("an entry batch does not decode: {0}")]
    Entries(String),
    /// Hashes or ticks are wrong.
    #[error("proof of history is wrong: {0}")]
    PoH(String),
    /// A transaction could not be part of a block.
    #[error("a transaction is not valid in this block: {0}")]
    Transaction(String),
    /// Executing it ended in a bug of this program.
    #[error("executing it panicked; the log says where; please report it with the ledger directory")]
    Panicked,
    /// The last 32 data shreds are not one FEC set (reference 3.16).
    #[error("the last FEC set is incomplete")]
    LastSet,
}

/// Where the bank of a stretch comes from.
pub enum Start {
    /// The block's first stretch: a child of its parent.
    Child {
        /// The parent.
        parent: Arc<Bank>,
        /// Who leads the slot.
        leader: sundog_types::Pubkey,
    },
    /// A later stretch.
    Bank {
        /// The bank so far.
        bank: Box<Bank>,
        /// The chain so far.
        chain: ChainSoFar,
    },
}

/// How far a block's chain of hashes has been verified.
#[derive(Clone, Copy, Debug)]
pub struct ChainSoFar {
    /// The hash of the last entry.
    pub hash: Hash,
    /// The ticks.
    pub ticks: TickPosition,
}

/// A stretch of a block to verify and execute.
pub struct Replay {
    /// The block's slot.
    pub slot: Slot,
    /// Which attempt at the slot this is: another version of a block may be executed after a first one was given up.
    pub attempt: u64,
    /// What it continues.
    pub start: Start,
    /// Entry batches, in order.
    pub batches: Vec<Bytes>,
    /// Whether the slot ends with them.
    pub last: bool,
}

/// An executed stretch.
pub struct Replayed {
    /// The block's slot.
    pub slot: Slot,
    /// The attempt.
    pub attempt: u64,
    /// The bank and ticks so far, or why the block is dead.
    pub outcome: Result<(Box<Bank>, ChainSoFar), DeadBlock>,
    /// The transactions of the stretch, executed.
    pub committed: Vec<Committed>,
    /// Whether the bank is frozen now.
    pub frozen: bool,
}

impl Replay {
    /// As [`Self::run`]; a panic below, which only a bug can cause, costs this block and not the process: a block that
    /// provokes one would else end every node, and again after each restart.
    #[must_use]
    pub fn run_or_die(self, verifier: &Verifier) -> Replayed {
        let (slot, attempt) = (self.slot, self.attempt);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run(verifier)));
        run.unwrap_or_else(|_| Replayed {
            slot,
            attempt,
            outcome: Err(DeadBlock::Panicked),
            committed: Vec::new(),
            frozen: false,
        })
    }

    /// Verifies and executes the stretch.
    #[must_use]
    pub fn run(self, verifier: &Verifier) -> Replayed {
        let (slot, attempt) = (self.slot, self.attempt);
        let (mut bank, mut chain) = match self.start {
            Start::Child { parent, leader } => {
                let bank = Box::new(Bank::child(&parent, slot, leader));
                let ticks = TickPosition { height: bank.tick_height(), end: bank.max_tick_height(), hashes: 0 };
                (bank, ChainSoFar { hash: parent.last_blockhash(), ticks })
            }
            Start::Bank { bank, chain } => (bank, chain),
        };
        let mut committed = Vec::new();
        let count = self.batches.len();
        for (place, batch) in self.batches.into_iter().enumerate() {
            let last = self.last && place + 1 == count;
            let mut stretch = Stretch { bank: &mut bank, committed: &mut committed, verifier };
            if let Err(dead) = stretch.replay_batch(&mut chain, &batch, last) {
                return Replayed { slot, attempt, outcome: Err(dead), committed: Vec::new(), frozen: false };
            }
        }
        if self.last {
            bank.freeze();
        }
        Replayed { slot, attempt, outcome: Ok((bank, chain)), committed, frozen: self.last }
    }
}

/// A stretch while it is executed.
struct Stretch<'a> {
    bank: &'a mut Bank,
    committed: &'a mut Vec<Committed>,
    verifier: &'a Verifier,
}

impl Stretch<'_> {
    fn replay_batch(&mut self, chain: &mut ChainSoFar, batch: &[u8], last: bool) -> Result<(), DeadBlock> {
        let entries = entry::decode_batch(batch).map_err(|e| DeadBlock::Entries(e.to_string()))?;
        let hashes_per_tick = self.bank.hashes_per_tick();
        let poh = |e: &dyn std::fmt::Display| DeadBlock::PoH(e.to_string());
        let ticks = entries.iter().filter(|entry| entry.is_tick()).count() as u64;
        sundog_poh::verify_ticks(&mut chain.ticks, &entries, hashes_per_tick, last).map_err(|e| poh(&e))?;
        let budget = sundog_poh::hash_budget(ticks + 1, hashes_per_tick);
        sundog_poh::verify_entries(chain.hash, &entries, budget).map_err(|e| poh(&e))?;
        chain.hash = entries.last().map_or(chain.hash, |entry| entry.hash);
        let mut pending = Vec::new();
        for entry in entries {
            if entry.is_tick() {
                self.execute(&mut pending)?;
                self.bank.register_tick(&entry.hash);
            } else {
                pending.extend(entry.transactions);
            }
        }
        self.execute(&mut pending)
    }

    fn execute(&mut self, pending: &mut Vec<VersionedTransaction>) -> Result<(), DeadBlock> {
        if pending.is_empty() {
            return Ok(());
        }
        sundog_runtime::verify_signatures(pending, self.verifier)
            .map_err(|index| DeadBlock::Transaction(format!("number {index}: it is not signed by all its signers")))?;
        let executed = self.bank.execute(std::mem::take(pending));
        if let Some((index, error)) = executed.first_rejected() {
            return Err(DeadBlock::Transaction(format!("number {index}: {error}")));
        }
        self.committed.extend(self.bank.commit(executed));
        Ok(())
    }
}

enum Stage {
    /// Its parent is not frozen yet.
    Waiting,
    /// A job has its bank.
    Running,
    /// Executed so far; waits for more batches.
    Idle(Box<Bank>, ChainSoFar),
    /// Frozen, but how the block arrived is not known yet.
    Frozen(Box<Bank>),
}

struct Pending {
    attempt: u64,
    parent: Slot,
    batches: VecDeque<Bytes>,
    ends: bool,
    stage: Stage,
    first_seen: Now,
    /// Known once every shred is here.
    arrived: Option<(Tally, Option<Hash>)>,
    transactions: u64,
}

/// The blocks that are being replayed.
#[derive(Default)]
pub(super) struct Replays {
    slots: BTreeMap<Slot, Pending>,
    /// Attempts begun so far.
    attempts: u64,
    /// Bytes of all batches in `slots`.
    bytes: usize,
    /// Slots whose batches did not fit, by slot, with their parents. The ledger has their shreds.
    put_off: BTreeMap<Slot, Slot>,
}

impl Replays {
    /// Forgets what is not above the root.
    pub(super) fn set_root(&mut self, root: Slot) {
        self.slots.retain(|slot, pending| *slot > root && pending.parent >= root);
        self.bytes = self.slots.values().map(Pending::bytes).sum();
        self.put_off.retain(|slot, parent| *slot > root && *parent >= root);
    }

    fn forget(&mut self, slot: Slot) -> Option<Pending> {
        let pending = self.slots.remove(&slot)?;
        self.bytes -= pending.bytes();
        Some(pending)
    }

    /// The blocks in work whose parent is one of these, with their parents.
    pub(super) fn on(&self, parents: &dyn Fn(Slot) -> bool) -> Vec<(Slot, Slot)> {
        let children = self.slots.iter().filter(|(_, pending)| parents(pending.parent));
        children.map(|(slot, pending)| (*slot, pending.parent)).collect()
    }

    /// Notes that a slot is to be read from the ledger when its parent is frozen.
    pub(super) fn put_off(&mut self, slot: Slot, parent: Slot) {
        self.put_off.insert(slot, parent);
        if self.put_off.len() > PUT_OFF_MAX {
            self.put_off.pop_last();
        }
    }

    /// Puts off what waits farthest from the root until the rest fits.
    fn make_room(&mut self) {
        while self.slots.len() > PENDING_MAX || self.bytes > PENDING_BYTES_MAX {
            let waits = |(_, pending): &(&Slot, &Pending)| matches!(pending.stage, Stage::Waiting);
            let Some(farthest) = self.slots.iter().rev().find(waits).map(|(slot, _)| *slot) else { return };
            let pending = self.forget(farthest).expect("it was just found");
            self.put_off(farthest, pending.parent);
        }
    }
}

/// Counts an attempt.
fn next(attempts: &mut u64) -> u64 {
    *attempts += 1;
    *attempts
}

impl Pending {
    fn bytes(&self) -> usize {
        self.batches.iter().map(Bytes::len).sum()
    }
}

impl Node {
    /// Takes an entry batch in order. The one from index 0 begins a block, also if some of it was here: it was
    /// gathered afresh, and may be another version.
    pub(super) fn replay_data(
        &mut self,
        now: Now,
        (slot, parent): (Slot, Slot),
        (batch, first, last): (Bytes, ShredIndex, bool),
        out: &mut Effects<Effect>,
    ) {
        let here = self.forks.get(slot).is_some() || self.replays.put_off.contains_key(&slot);
        if here || self.dead.contains(&slot) || slot <= self.forks.root() || self.is_own(slot) {
            return;
        }
        if first == ShredIndex::ZERO && self.replays.slots.contains_key(&slot) {
            self.replay_renew(slot);
        }
        let attempts = &mut self.replays.attempts;
        let pending = self.replays.slots.entry(slot).or_insert_with(|| Pending {
            attempt: next(attempts),
            parent,
            batches: VecDeque::new(),
            ends: false,
            stage: Stage::Waiting,
            first_seen: now,
            arrived: None,
            transactions: 0,
        });
        self.replays.bytes += batch.len();
        pending.batches.push_back(batch);
        pending.ends |= last;
        self.replay_advance(slot, out);
        self.replays.make_room();
    }

    /// Every shred of a block is here.
    pub(super) fn replay_arrived(
        &mut self,
        now: Now,
        slot: Slot,
        (tally, block_id): (Tally, Option<Hash>),
        out: &mut Effects<Effect>,
    ) {
        if let Some(pending) = self.replays.slots.get_mut(&slot) {
            pending.arrived = Some((tally, block_id));
            self.replay_settle(now, slot, out);
        }
    }

    /// Hands out the next stretch of a block, if its parent is frozen and no job has its bank.
    fn replay_advance(&mut self, slot: Slot, out: &mut Effects<Effect>) {
        let Some(pending) = self.replays.slots.get_mut(&slot) else { return };
        if pending.batches.is_empty() {
            return;
        }
        let start = match std::mem::replace(&mut pending.stage, Stage::Running) {
            Stage::Waiting => match (self.forks.get(pending.parent), self.leaders.leader(slot)) {
                (Some(parent), Some(leader)) => Start::Child { parent: Arc::clone(&parent.bank), leader },
                _ => {
                    pending.stage = Stage::Waiting;
                    return;
                }
            },
            Stage::Idle(bank, chain) => Start::Bank { bank, chain },
            other => {
                pending.stage = other;
                return;
            }
        };
        self.replays.bytes -= pending.bytes();
        let batches = pending.batches.drain(..).collect();
        out.push(Effect::Run(Job::Replay(Box::new(Replay {
            slot,
            attempt: pending.attempt,
            start,
            batches,
            last: pending.ends,
        }))));
    }

    /// Takes an executed stretch.
    pub(super) fn replay_done(&mut self, now: Now, replayed: Replayed, out: &mut Effects<Effect>) {
        let slot = replayed.slot;
        let attempt = |pending: &&mut Pending| pending.attempt == replayed.attempt;
        let Some(pending) = self.replays.slots.get_mut(&slot).filter(attempt) else { return };
        match replayed.outcome {
            Err(dead) => self.replay_dead(now, slot, &dead, out),
            Ok((bank, chain)) => {
                pending.transactions += replayed.committed.len() as u64;
                pending.stage = if replayed.frozen { Stage::Frozen(bank) } else { Stage::Idle(bank, chain) };
                self.remember_transactions(slot, replayed.committed, out);
                if replayed.frozen {
                    self.replay_settle(now, slot, out);
                } else {
                    self.replay_advance(slot, out);
                }
            }
        }
    }

    /// Hands a block on once it is frozen and how it arrived is known.
    fn replay_settle(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        let Some(pending) = self.replays.slots.get_mut(&slot) else { return };
        let Some((tally, block_id)) = pending.arrived else { return };
        if !matches!(pending.stage, Stage::Frozen(_)) {
            return;
        }
        if block_id.is_none() {
            self.replay_dead(now, slot, &DeadBlock::LastSet, out);
            return;
        }
        let pending = self.replays.forget(slot).expect("it is there");
        let Stage::Frozen(bank) = pending.stage else { unreachable!("checked above") };
        let ms = u64::try_from(now.since(pending.first_seen).as_millis()).unwrap_or(u64::MAX);
        let frozen = Frozen { bank: (*bank).into(), mine: false, block_id, transactions: pending.transactions };
        self.on_frozen(now, frozen, Tally { ms, ..tally }, out);
    }

    /// Goes on with the blocks that waited for `parent`.
    pub(super) fn replay_children(&mut self, parent: Slot, out: &mut Effects<Effect>) {
        let children: Vec<Slot> = self
            .replays
            .slots
            .range(parent.next()..)
            .filter(|(_, p)| p.parent == parent)
            .map(|(slot, _)| *slot)
            .collect();
        for child in children {
            self.replay_advance(child, out);
        }
    }

    /// Takes up again what was put off and can be executed now: Turbine gathers it from the ledger's shreds.
    pub(super) fn replay_put_off(&mut self, now: Now, out: &mut Effects<Effect>) {
        let ready = |(_, parent): &(&Slot, &Slot)| self.forks.get(**parent).is_some();
        let ready: Vec<Slot> = self.replays.put_off.iter().filter(ready).map(|(slot, _)| *slot).collect();
        for slot in ready {
            self.replays.put_off.remove(&slot);
            let shreds = self.ledger.data_shreds(slot).inspect_err(|error| tracing::error!(%error, "a block is lost"));
            self.turbine(now, sundog_turbine::Input::Forget(slot), out);
            self.turbine(now, sundog_turbine::Input::Stored { shreds: shreds.unwrap_or_default() }, out);
        }
    }

    /// Gives a block up for good.
    pub(super) fn replay_dead(&mut self, now: Now, slot: Slot, why: &DeadBlock, out: &mut Effects<Effect>) {
        self.mark_dead(now, slot, why.to_string(), out);
    }

    /// Forgets what came of a slot so far, dead or not: it is fetched afresh. A frozen block stays.
    pub(super) fn replay_renew(&mut self, slot: Slot) {
        self.replays.forget(slot);
        self.replays.put_off.remove(&slot);
        self.dead.remove(&slot);
        self.told.remove(&slot);
        self.unsettled.remove(&slot);
        self.counters.forget(slot);
    }

    /// Notes that a slot is dead, tells the tower, and keeps it in the ledger.
    pub(super) fn mark_dead(&mut self, now: Now, slot: Slot, why: String, out: &mut Effects<Effect>) {
        self.replays.forget(slot);
        self.counters.dead += u64::from(self.dead.insert(slot));
        out.push(Effect::Event(Event::Dead { slot, why }));
        self.remember_dead(slot, out);
        self.consensus(now, sundog_tower::Input::Dead(slot), out);
        self.recall_without(now, Some(slot), out);
        self.sync_dead(now, slot, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{World, WorldConfig};

    #[test]
    fn a_block_that_is_gathered_afresh_is_replayed_from_its_beginning() {
        let mut world = World::new(WorldConfig { seed: 1, ..WorldConfig::default() });
        let mut node = world.hosts[0].node.take().expect("it runs");
        let (now, slot, mut out) = (world.now(), Slot::new(900), Vec::new());
        let mut take = |parent, first, bytes: &'static [u8]| {
            let batch = (Bytes::from_static(bytes), ShredIndex::new(first), false);
            node.replay_data(now, (slot, Slot::new(parent)), batch, &mut out);
            let pending = &node.replays.slots[&slot];
            (pending.attempt, pending.parent.get(), pending.batches.len(), node.replays.bytes)
        };
        assert_eq!(take(800, 0, b"one"), (1, 800, 1, 3));
        assert_eq!(take(800, 32, b"two"), (1, 800, 2, 6));
        assert_eq!(take(801, 0, b"other"), (2, 801, 1, 5), "another version, with another parent");
        assert!(out.is_empty(), "its parent is not frozen");
    }
}
