//! Making blocks: when this node's slots begin, what goes into them, when they end.
//!
//! ```text
//!  Reset(block) -> plan the next own slot -> PoH ticks early -> begin -> execute, record, commit ... -> last tick -> freeze
//!                                                                           entries -> broadcast (see `broadcast.rs`)
//! ```
//!
//! Slots begin by the timeline of the block that is built on: slot `N` on a block of slot `R` that was
//! reset to at `t` begins at `t + (N - R - 1) * slot`. The recorder hashes the ticks of the missing slots
//! before that moment, fast, so that a slot after missing leaders still begins on time.

use super::{Effect, Event, Node, forks::Frozen, job::Job};
use std::{collections::VecDeque, time::Duration};
use sundog_gulfstream::VerifiedTransaction;
use sundog_poh::{RecorderEffect, RecorderInput};
use sundog_runtime::{Bank, Executed};
use sundog_types::{Effects, Hash, Now, Slot, TickHeight, entry::Entry};

/// How far ahead the schedule is searched for the next own slot.
const LOOKAHEAD_SLOTS: u64 = 2_048;
/// Missing slots that a block makes up for at most: their ticks are entries of the block (48 bytes each, 64 a slot),
/// and must leave room for a full block's transactions among the slot's 32,768 data shreds.
const MISSING_SLOTS_MAX: u64 = 3_072;
/// Ticks kept that belong to no block yet: those of the missing slots and of the windows after them.
const TICKS_MAX: usize = 64 * (MISSING_SLOTS_MAX + 4 * WINDOW_SLOTS) as usize;
/// Transactions executed at a time: small enough that a batch is recorded within a tick or two.
const BATCH_TRANSACTIONS: usize = 64;
/// Bytes of transactions executed at a time: they fill one FEC set.
const BATCH_BYTES: usize = 28_000;
/// Transactions in a block at most: at 1,232 bytes each they fill two thirds of the slot's 32,768 data shreds.
const BLOCK_TRANSACTIONS: u64 = 16_384;
// A block names its parent by a distance of 16 bits (reference 3.2).
const _: () = assert!(MISSING_SLOTS_MAX < 65_535);
/// Slots that the previous leader is given to finish its window (reference 2.8).
const GRACE_SLOTS: u64 = 2;
/// Slots of one leader's window.
const WINDOW_SLOTS: u64 = 4;
/// How many slots ahead Gulf Stream is told the leaders of: it holds transactions for 20 (reference 9.2).
pub(super) const UPCOMING_SLOTS: u64 = 32;
/// A node that has seen shreds of slots this much newer than its block does not lead: it is catching up.
pub(super) const BEHIND_SLOTS: u64 = 32;

/// A tick of the recorder that no block holds yet.
#[derive(Clone, Copy, Debug)]
struct Tick {
    height: TickHeight,
    num_hashes: u64,
    hash: Hash,
}

/// The block that the next own slot builds on, and its timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reset {
    /// Its slot.
    pub(super) slot: Slot,
    /// When the slot after it begins.
    pub(super) at: Now,
    mine: bool,
}

/// An own slot to come.
#[derive(Clone, Copy, Debug)]
struct Planned {
    slot: Slot,
    /// When it begins.
    start: Now,
    /// When the recorder must start to be ready by then.
    wake: Now,
    /// The first own slot after the reset: grace is counted from it.
    first: Slot,
}

/// The block being made.
struct Block {
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

/// A node's state as a leader.
#[derive(Default)]
pub(super) struct Leading {
    generation: u64,
    reset: Option<Reset>,
    /// A reset that came while a block was being made; it holds once that is done.
    later: Option<Slot>,
    /// The last slot that the recorder ticks to, while it does.
    ticking: Option<Slot>,
    ticks: VecDeque<Tick>,
    planned: Option<Planned>,
    block: Option<Block>,
    /// The last own slot begun in this life.
    begun: Option<Slot>,
    /// No slot up to here may be led again: it may have been, before a restart.
    pub(super) led_before: Option<Slot>,
    /// Own slots up to here are durably marked as led.
    pub(super) marked: Option<Slot>,
    marking: Option<Slot>,
    next_record: u64,
    freezing: Option<(Slot, Now)>,
}

impl Leading {
    /// The block to build on.
    pub(super) fn reset(&self) -> Option<Reset> {
        self.reset
    }

    /// A leader that led `led` last, before a restart, or never.
    pub(super) fn after(led: Option<Slot>) -> Self {
        Self { led_before: led, marked: led, ..Self::default() }
    }

    /// Whether this life of the node made the block of `slot`.
    pub(super) fn made(&self, slot: Slot, own: bool) -> bool {
        own && self.begun.is_some_and(|begun| slot <= begun) && self.led_before.is_none_or(|led| slot > led)
    }

    /// When there is something to do.
    pub(super) fn poll_timeout(&self) -> Option<Now> {
        if self.block.is_some() || self.freezing.is_some() {
            return None;
        }
        self.planned.map(|p| if self.ticking.is_some() { p.start } else { p.wake })
    }
}

impl Node {
    /// The slot that the clock is in, by the timeline of the block built on.
    #[must_use]
    pub fn clock_slot(&self, now: Now) -> Slot {
        let Some(reset) = self.leading.reset else { return self.forks.root() };
        let elapsed = now.since(reset.at).as_micros() / self.config.slot.as_micros().max(1);
        reset.slot.next().saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// Builds on `slot` from now on.
    pub(super) fn lead_reset(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        if self.leading.block.is_some() || self.leading.freezing.is_some_and(|(freezing, _)| freezing != slot) {
            self.leading.later = Some(slot);
            return;
        }
        let Some(frozen) = self.forks.get(slot) else { return };
        let mine = frozen.mine;
        let continues = mine && self.leading.ticking.is_some() && self.leading.begun == Some(slot);
        self.leading.later = None;
        if continues {
            let before = self.leading.reset.expect("a block was made on a reset");
            let steps = slot.since(before.slot).map_or(0, |d| u32::try_from(d.get()).unwrap_or(u32::MAX));
            self.leading.reset = Some(Reset { slot, at: before.at.after(self.config.slot * steps), mine });
        } else {
            self.leading.reset = Some(Reset { slot, at: now, mine });
            self.sleep_recorder(out);
        }
        self.plan(now, slot.next(), out);
        self.tell_upcoming(now, out);
        self.lead_timeout(now, out);
    }

    fn sleep_recorder(&mut self, out: &mut Effects<Effect>) {
        self.leading.generation += 1;
        self.leading.ticks.clear();
        if self.leading.ticking.take().is_some() {
            out.push(Effect::Poh(RecorderInput::Sleep));
        }
    }

    /// Plans the first own slot at or after `from` on the present reset. A recorder that would stop before its end
    /// sleeps until it is started anew, with that slot's last tick for its end.
    fn plan(&mut self, now: Now, from: Slot, out: &mut Effects<Effect>) {
        self.leading.planned = self.next_own(now, from);
        if self.leading.planned.map(|p| p.slot) > self.leading.ticking {
            self.sleep_recorder(out);
        }
    }

    fn next_own(&self, now: Now, from: Slot) -> Option<Planned> {
        let reset = self.leading.reset?;
        let me = self.identity;
        let not_before = self.leading.begun.max(self.leading.led_before).map_or(from, |led| from.max(led.next()));
        let not_before =
            if now.since(reset.at) > self.config.slot { not_before.max(self.clock_slot(now)) } else { not_before };
        let first = self.leaders.next_slot_of(&me, reset.slot.next(), LOOKAHEAD_SLOTS)?;
        let slot = self.leaders.next_slot_of(&me, not_before, LOOKAHEAD_SLOTS)?;
        let missing = slot.since(reset.slot).map_or(0, |d| d.get().saturating_sub(1));
        let missing = u32::try_from(missing).ok().filter(|missing| u64::from(*missing) <= MISSING_SLOTS_MAX)?;
        let start = reset.at.after(self.config.slot.saturating_mul(missing));
        // One slot, and a tenth of the missing ones: the recorder makes late ticks twenty times as fast as they fall due.
        let early = self.config.slot + self.config.slot / 10 * missing.min(1_000);
        let wake_after = start.since(reset.at).saturating_sub(early);
        Some(Planned { slot, start, wake: reset.at.after(wake_after), first })
    }

    /// Starts the recorder, or begins a slot, if it is time.
    pub(super) fn lead_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.leading.block.is_some() || self.leading.freezing.is_some() {
            return;
        }
        let Some(planned) = self.leading.planned else { return };
        if self.leading.ticking.is_none() && now.reached(planned.wake) {
            self.start_recorder(planned, out);
        }
        if !now.reached(planned.start) {
            return;
        }
        if self.may_begin(now, planned) {
            self.begin(now, planned, out);
        } else {
            self.plan(now.max(planned.start), planned.slot.next(), out);
        }
    }

    fn start_recorder(&mut self, planned: Planned, out: &mut Effects<Effect>) {
        let Some(reset) = self.leading.reset else { return };
        let Some(frozen) = self.forks.get(reset.slot) else {
            // Another fork was rooted: the reset to it plans anew.
            self.leading.planned = None;
            return;
        };
        let hash = frozen.bank.last_blockhash();
        let mut last = planned.slot;
        while self.leaders.leader(last.next()) == Some(self.identity)
            && last.get() < planned.slot.get() + WINDOW_SLOTS * 2
        {
            last = last.next();
        }
        self.mark_led(last, out);
        self.leading.ticking = Some(last);
        out.push(Effect::Poh(RecorderInput::Start {
            generation: self.leading.generation,
            tick_height: TickHeight::end_of(reset.slot, self.config.ticks_per_slot),
            hash,
            since: reset.at,
            until: TickHeight::end_of(last, self.config.ticks_per_slot),
        }));
    }

    /// Marks the slots up to `last` as led, durably, before any shred of them leaves.
    fn mark_led(&mut self, last: Slot, out: &mut Effects<Effect>) {
        if self.leading.marked.max(self.leading.marking).is_some_and(|marked| marked >= last) {
            return;
        }
        self.leading.marking = Some(last);
        let mut batch = sundog_types::store::Batch::default();
        sundog_ledger::put_led(&mut batch, last);
        let durable = Some(self.await_durable(super::Awaited::Led(last)));
        out.push(Effect::Write { batch, durable });
    }

    fn may_begin(&self, now: Now, planned: Planned) -> bool {
        let Some(reset) = self.leading.reset else { return false };
        if self.forks.is_nearly_full()
            || !self.ready_to_lead(now)
            || self.leading.begun.is_some_and(|begun| planned.slot <= begun)
        {
            return false;
        }
        let gap = planned.first.since(reset.slot).map_or(0, sundog_types::Delta::get);
        let grace = !reset.mine && gap > 1 && gap <= WINDOW_SLOTS;
        !grace || planned.slot.get() >= planned.first.get() + GRACE_SLOTS
    }

    fn begin(&mut self, now: Now, planned: Planned, out: &mut Effects<Effect>) {
        self.leading.planned = None;
        let Some(reset) = self.leading.reset else { return };
        let Some(parent) = self.forks.get(reset.slot) else { return };
        let slot = planned.slot;
        let bank = Box::new(Bank::child(&parent.bank, slot, self.identity));
        self.leading.begun = Some(slot);
        self.leading.block = Some(Block {
            slot,
            parent: reset.slot,
            began: now,
            bank: Some(bank),
            recording: None,
            hold: false,
            over: false,
            ticks: 0,
            transactions: 0,
        });
        self.broadcast_open(slot, reset.slot);
        out.push(Effect::Event(Event::SlotStarted { slot, leader: self.identity, mine: true }));
        self.gulf(now, sundog_gulfstream::Input::Leading { slot: Some(slot) }, out);
        self.absorb_ticks(now, out);
    }

    /// Takes what the recorder says.
    pub(super) fn lead_poh(&mut self, now: Now, effect: RecorderEffect, out: &mut Effects<Effect>) {
        match effect {
            RecorderEffect::Tick { generation, height, num_hashes, hash } if generation == self.leading.generation => {
                if self.leading.ticks.len() < TICKS_MAX {
                    self.leading.ticks.push_back(Tick { height, num_hashes, hash });
                }
                self.absorb_ticks(now, out);
            }
            RecorderEffect::Recorded { generation, id, entries } if generation == self.leading.generation => {
                self.recorded(now, id, &entries, out);
            }
            RecorderEffect::Refused { generation, id, .. } if generation == self.leading.generation => {
                self.refused(now, id, out);
            }
            _ => {}
        }
    }

    /// Puts ticks into the block, up to its last one.
    fn absorb_ticks(&mut self, now: Now, out: &mut Effects<Effect>) {
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
            self.produce(now, out);
        }
    }

    /// Executes the next batch of transactions, if the bank is at hand.
    pub(super) fn produce(&mut self, now: Now, out: &mut Effects<Effect>) {
        let Some(block) = &mut self.leading.block else { return };
        if block.over
            || block.hold
            || block.recording.is_some()
            || block.bank.is_none()
            || block.transactions >= BLOCK_TRANSACTIONS
        {
            return;
        }
        let transactions = self.gulfstream.take(BATCH_TRANSACTIONS, BATCH_BYTES);
        if transactions.is_empty() {
            return;
        }
        let bank = block.bank.take().expect("checked above");
        let _ = now;
        out.push(Effect::Run(Job::Execute { bank, transactions }));
    }

    /// Takes an executed batch and asks for its entry.
    pub(super) fn lead_executed(
        &mut self,
        now: Now,
        (bank, transactions, executed): (Box<Bank>, Vec<VerifiedTransaction>, Box<Executed>),
        out: &mut Effects<Effect>,
    ) {
        let Some(block) = &mut self.leading.block else { return };
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

    fn recorded(&mut self, now: Now, id: u64, entries: &[(u64, Hash)], out: &mut Effects<Effect>) {
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

    fn refused(&mut self, now: Now, id: u64, out: &mut Effects<Effect>) {
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
        let _ = block.parent;
        self.gulf(now, sundog_gulfstream::Input::Leading { slot: None }, out);
        out.push(Effect::Run(Job::Freeze { bank: block.bank.expect("checked above") }));
    }

    /// The own block is frozen.
    pub(super) fn lead_frozen(&mut self, now: Now, bank: Box<Bank>, out: &mut Effects<Effect>) {
        let slot = bank.slot();
        let Some((_, began)) = self.leading.freezing.filter(|(freezing, _)| *freezing == slot) else { return };
        let transactions = self.transactions_in_block.remove(&slot).unwrap_or(0);
        let frozen = Frozen { bank: (*bank).into(), mine: true, block_id: None, transactions };
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

    /// Own slots up to `slot` are durably marked as led.
    pub(super) fn lead_marked(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        self.leading.marked = self.leading.marked.max(Some(slot));
        self.broadcast_pump(now, out);
    }
}
