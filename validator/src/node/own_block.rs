//! The block that this node is making: ticks and transactions go in, until its last tick, or until it is given up.

use super::{Effect, Node, forks::Frozen, job::Job};
use std::time::Duration;
use sundog_gulfstream::VerifiedTransaction;
use sundog_poh::RecorderInput;
use sundog_runtime::{Bank, Executed};
use sundog_types::{Effects, Hash, Now, Slot, TickHeight, entry::Entry};

/// Transactions executed at a time: small enough that a batch is recorded within a tick or two.
const BATCH_TRANSACTIONS: usize = 64;
/// Bytes of transactions executed at a time: they fill one FEC set.
const BATCH_BYTES: usize = 28_000;
/// Bytes of an entry at most: the batch, and what comes before it.
const ENTRY_BYTES_MAX: usize = BATCH_BYTES + 48;
/// Transactions in a block at most: what other nodes can execute in a slot. A block of long ones ends before, with the
/// room of its slot.
const BLOCK_TRANSACTIONS: u64 = 16_384;

/// A tick of the recorder that no block holds yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick {
    pub(super) height: TickHeight,
    pub(super) num_hashes: u64,
    pub(super) hash: Hash,
}

/// The block being made.
pub(super) struct OwnBlock {
    slot: Slot,
    parent: Slot,
    began: Now,
    /// `None` while a job has it.
    bank: Option<Box<Bank>>,
    /// An executed batch that waits for its entry.
    recording: Option<Recording>,
    /// The recorder refused a batch: the next one is executed after the next tick.
    hold: bool,
    /// Set once the slot's last tick is in.
    over: bool,
    ticks: u64,
    transactions: u64,
}

struct Recording {
    id: u64,
    transactions: Vec<VerifiedTransaction>,
    executed: Box<Executed>,
}

/// Why an own block has no end.
#[derive(Debug, thiserror::Error)]
#[error("this node gave it up: it builds on {0}, and another fork was rooted")]
struct GivenUp(Slot);

impl OwnBlock {
    /// A block with nothing in it.
    pub(super) fn new(began: Now, parent: Slot, bank: Box<Bank>) -> Self {
        Self {
            slot: bank.slot(),
            parent,
            began,
            bank: Some(bank),
            recording: None,
            hold: false,
            over: false,
            ticks: 0,
            transactions: 0,
        }
    }

    /// The bank, if another batch may be executed on it now.
    fn ready(&self) -> Option<&Bank> {
        let open = !self.over && !self.hold && self.recording.is_none() && self.transactions < BLOCK_TRANSACTIONS;
        self.bank.as_deref().filter(|_| open)
    }
}

impl Node {
    /// Puts ticks into the block, up to its last one.
    pub(super) fn absorb_ticks(&mut self, now: Now, out: &mut Effects<Effect>) {
        let ticks_per_slot = self.config.ticks_per_slot;
        let Some(block) = &mut self.leading.block else { return };
        let Some(bank) = &mut block.bank else { return };
        let end = TickHeight::end_of(block.slot, ticks_per_slot);
        let begin = end.saturating_sub(ticks_per_slot);
        while let Some(tick) = self.leading.ticks.front().copied().filter(|t| t.height <= end) {
            self.leading.ticks.pop_front();
            bank.register_tick(&tick.hash);
            block.ticks = tick.height.get().saturating_sub(begin.get());
            block.over = tick.height == end;
            block.hold = false;
            let entry = Entry { num_hashes: tick.num_hashes, hash: tick.hash, transactions: Vec::new() };
            self.broadcast.push(now, entry, block.ticks, block.over);
        }
        let finish = block.over && block.recording.is_none();
        self.broadcast_pump(now, out);
        if finish {
            self.finish(now, out);
        } else {
            self.produce(out);
        }
    }

    /// Executes the next batch of transactions, if the bank is at hand and the slot has room for them.
    pub(super) fn produce(&mut self, out: &mut Effects<Effect>) {
        let Some(bank) = self.leading.block.as_ref().and_then(OwnBlock::ready) else { return };
        let ticks_to_come = bank.max_tick_height().get().saturating_sub(bank.tick_height().get());
        if !self.broadcast.has_room(ENTRY_BYTES_MAX, ticks_to_come) {
            return;
        }
        let transactions = self.gulfstream.take(BATCH_TRANSACTIONS, BATCH_BYTES);
        if transactions.is_empty() {
            return;
        }
        let bank = self.leading.block.as_mut().and_then(|block| block.bank.take()).expect("it was just looked at");
        out.push(Effect::Run(Job::Execute { bank, transactions }));
    }

    /// Takes an executed batch and asks for its entry.
    pub(super) fn lead_executed(
        &mut self,
        now: Now,
        (bank, transactions, executed): (Box<Bank>, Vec<VerifiedTransaction>, Box<Executed>),
        out: &mut Effects<Effect>,
    ) {
        let Some(block) = self.leading.block.as_mut().filter(|block| block.slot == bank.slot()) else {
            // The block was given up meanwhile; another one may take them.
            self.gulfstream.give_back(transactions);
            return;
        };
        block.bank = Some(bank);
        for error in executed.rejections().into_iter().flatten() {
            tracing::debug!(slot = %block.slot, %error, "a transaction cannot be in this block");
            self.counters.rejected += 1;
        }
        let processed = executed.processed();
        if processed.is_empty() {
            self.absorb_ticks(now, out);
            return;
        }
        self.leading.next_record += 1;
        let id = self.leading.next_record;
        let mixins = vec![sundog_poh::mixin(&processed)];
        let slot = block.slot;
        block.recording = Some(Recording { id, transactions, executed });
        out.push(Effect::Poh(RecorderInput::Record { generation: self.leading.generation, id, slot, mixins }));
        self.absorb_ticks(now, out);
    }

    pub(super) fn recorded(&mut self, now: Now, id: u64, entries: &[(u64, Hash)], out: &mut Effects<Effect>) {
        let Some(block) = &mut self.leading.block else { return };
        let Some(recording) = block.recording.take_if(|r| r.id == id) else { return };
        let bank = block.bank.as_mut().expect("the bank stays here while its entry is recorded");
        let transactions = recording.executed.processed();
        let committed = bank.commit(*recording.executed);
        block.transactions += transactions.len() as u64;
        let (num_hashes, hash) = *entries.first().expect("one entry for one mixin");
        let (slot, ticks) = (block.slot, block.ticks);
        self.broadcast.push(now, Entry { num_hashes, hash, transactions }, ticks, false);
        self.remember_transactions(slot, committed, out);
        self.broadcast_pump(now, out);
        self.absorb_ticks(now, out);
    }

    pub(super) fn refused(&mut self, now: Now, id: u64, out: &mut Effects<Effect>) {
        let Some(block) = &mut self.leading.block else { return };
        let Some(recording) = block.recording.take_if(|r| r.id == id) else { return };
        self.gulfstream.give_back(recording.transactions);
        block.hold = true;
        if block.over {
            self.finish(now, out);
        } else {
            self.absorb_ticks(now, out);
        }
    }

    /// The last tick is in: the block is whole, and its bank can be frozen.
    fn finish(&mut self, now: Now, out: &mut Effects<Effect>) {
        let Some(block) = self.leading.block.take_if(|b| b.bank.is_some()) else { return };
        self.leading.freezing = Some((block.slot, block.began));
        self.transactions_in_block.insert(block.slot, block.transactions);
        self.gulf(now, sundog_gulfstream::Input::Leading { slot: None }, out);
        out.push(Effect::Run(Job::Freeze { bank: block.bank.expect("checked above") }));
    }

    /// The own block is frozen.
    pub(super) fn lead_frozen(&mut self, now: Now, bank: Box<Bank>, out: &mut Effects<Effect>) {
        let slot = bank.slot();
        let Some((_, began)) = self.leading.freezing.filter(|(freezing, _)| *freezing == slot) else { return };
        let transactions = self.transactions_in_block.remove(&slot).unwrap_or(0);
        // Its last set may have been made before or after the bank was frozen.
        let block_id = self.broadcast.last_root(slot);
        let frozen = Frozen { bank: (*bank).into(), mine: true, block_id, transactions };
        let ms = now.since(began).min(Duration::from_secs(3_600)).as_millis() as u64;
        self.on_frozen(now, frozen, super::replay::Tally { ms, ..Default::default() }, out);
        self.leading.freezing = None;
        if let Some(later) = self.leading.later.take() {
            self.lead_reset(now, later, out);
        } else if self.leading.reset.is_some_and(|r| r.slot < slot) && self.leading.planned.is_none() {
            // The own block is not built on: its ticks are used up, and the next block needs others.
            self.sleep_recorder(out);
            self.plan(now, slot.next(), out);
        }
        self.lead_timeout(now, out);
    }

    /// Gives the block up if it builds on a fork that the root has left: nobody will ever take it, and its ticks could
    /// keep this node from the fork that lives on. Transactions that were in it are still sent until they are in a
    /// confirmed block.
    pub(super) fn lead_rooted(&mut self, now: Now, out: &mut Effects<Effect>) {
        let forks = &self.forks;
        let Some(block) = self.leading.block.take_if(|block| forks.get(block.parent).is_none()) else { return };
        if let Some(recording) = block.recording {
            self.gulfstream.give_back(recording.transactions);
        }
        self.broadcast.interrupt(self.config.ticks_per_slot);
        self.told.remove(&block.slot);
        self.counters.forget(block.slot);
        self.mark_dead(now, block.slot, GivenUp(block.parent).to_string(), out);
        self.gulf(now, sundog_gulfstream::Input::Leading { slot: None }, out);
        self.leading.planned = None;
        self.sleep_recorder(out);
        if let Some(later) = self.leading.later.take() {
            self.lead_reset(now, later, out);
        }
        self.broadcast_pump(now, out);
    }
}
