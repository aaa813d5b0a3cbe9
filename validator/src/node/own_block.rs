//! The block that this node is making: ticks and transactions go in, until its last tick, or until it is given up.

use super::{Effect, Node, forks::Frozen, job::Job, windows};
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
        let transactions = if windows::is_vote_only(bank.slot(), self.roots.tower()) {
            self.gulfstream.take_votes(BATCH_TRANSACTIONS, BATCH_BYTES)
        } else {
            self.gulfstream.take(BATCH_TRANSACTIONS, BATCH_BYTES)
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        node::{Done, Event},
        sim::{World, WorldConfig},
    };
    use std::sync::Arc;
    use sundog_poh::RecorderEffect;
    use sundog_types::{Pubkey, sign::Verifier};

    /// A node in the middle of a block of its own, of which a set has left.
    fn in_the_middle(seed: u64) -> (World, Node, Slot) {
        let mut world = World::new(WorldConfig { seed, ..WorldConfig::default() });
        let making = |world: &World| {
            let block = world.hosts[0].node.as_ref().and_then(|node| node.leading.block.as_ref());
            block.filter(|block| block.slot > Slot::new(8) && block.bank.is_some()).map(|block| block.slot)
        };
        let found = world
            .run_until(Duration::from_secs(120), |world| making(world).is_some_and(|slot| world.wire.sets(slot) > 0));
        assert!(found, "the largest leads soon");
        let slot = making(&world).expect("it was just found");
        let node = world.hosts[0].node.take().expect("it runs");
        (world, node, slot)
    }

    /// A frozen block of another leader, with nothing in it.
    fn sibling(node: &Node, parent: Slot, slot: Slot) -> Frozen {
        let parent = &node.forks.get(parent).expect("it is frozen").bank;
        let mut bank = Bank::child(parent, slot, Pubkey::new_from_array([5; 32]));
        while bank.tick_height() < bank.max_tick_height() {
            bank.register_tick(&Hash::new_from_array([4; 32]));
        }
        bank.freeze();
        Frozen { bank: Arc::new(bank), mine: false, block_id: None, transactions: 0 }
    }

    /// Does what the pool would; the data shreds that leave meanwhile.
    fn run_jobs(world: &World, node: &mut Node, out: &mut Effects<Effect>) -> Vec<bytes::Bytes> {
        let mut sent = Vec::new();
        while !out.is_empty() {
            for effect in std::mem::take(out) {
                match effect {
                    Effect::Run(job) => {
                        let done: Done = job.run(&Verifier::without_memory());
                        node.done(world.now(), done, out);
                    }
                    Effect::SendShred { shred, .. } => sent.push(shred),
                    _ => {}
                }
            }
        }
        sent
    }

    #[test]
    fn a_block_on_a_fork_that_the_root_has_left_is_ended_and_the_node_leads_on_the_other_fork() {
        let (world, mut node, slot) = in_the_middle(3);
        let now = world.now();
        let parent = node.leading.block.as_ref().expect("it is made").parent;
        let grandparent = node.forks.get(parent).expect("it is frozen").bank.parent_slot();
        let other = slot.saturating_add(2);
        assert!(node.forks.insert(sibling(&node, grandparent, other)));
        let mut out = Vec::new();
        node.lead_reset(now, other, &mut out);
        assert!(node.leading.block.is_some() && node.leading.later == Some(other), "a reset alone lets it go on");

        node.forks.set_root(other);
        node.lead_rooted(now, &mut out);
        assert!(node.leading.block.is_none() && node.leading.freezing.is_none());
        assert_eq!(node.leading.reset().map(|reset| reset.slot), Some(other));
        let given_up = out.iter().any(|e| matches!(e, Effect::Event(Event::Dead { slot: dead, .. }) if *dead == slot));
        assert!(given_up, "it says so");

        let sent = run_jobs(&world, &mut node, &mut out);
        let views = sent.iter().map(|bytes| sundog_types::shred::View::read(bytes).expect("it was made here"));
        let last = views.clone().filter(|view| view.slot() == slot && view.parent().is_some());
        let end = last.max_by_key(|view| view.index()).expect("its end leaves");
        assert_eq!(end.flags(), 0xc0 | 63, "nobody waits for more of it");
        assert!(views.clone().all(|view| view.slot() == slot), "nothing else leaves");
        node.lead_rooted(now, &mut out);
        assert!(out.is_empty(), "it is given up once");
    }

    /// A tree of forks makes the tower look elsewhere for a moment: the recorder has begun anew there when it looks back.
    #[test]
    fn a_node_that_leaves_its_own_block_and_returns_to_it_goes_on_with_ticks_that_follow_it() {
        let (world, mut node, slot) = in_the_middle(3);
        let now = world.now();
        let ticks_per_slot = node.config.ticks_per_slot;
        assert_eq!(node.leaders.leader(slot.next()), Some(node.identity), "its window goes on");
        let block = node.leading.block.as_ref().expect("it is made");
        let parent = block.parent;
        let mut height = block.bank.as_ref().expect("it was chosen so").tick_height();
        let mut out = Vec::new();
        while height < TickHeight::end_of(slot, ticks_per_slot) {
            height = height.next();
            let (generation, hash) = (node.leading.generation, Hash::new_from_array([1; 32]));
            node.lead_poh(now, RecorderEffect::Tick { generation, height, num_hashes: 8, hash }, &mut out);
        }
        run_jobs(&world, &mut node, &mut out);
        assert!(node.forks.get(slot).is_some() && node.leading.block.is_none(), "it is frozen");

        let starts = |node: &mut Node, on: Slot| {
            let mut out = Vec::new();
            node.lead_reset(now, on, &mut out);
            let started = out.iter().filter_map(|effect| match effect {
                Effect::Poh(RecorderInput::Start { tick_height, .. }) => Some(*tick_height),
                _ => None,
            });
            started.last()
        };
        assert_eq!(starts(&mut node, slot), None, "the chain goes through it");
        assert_eq!(starts(&mut node, parent), Some(TickHeight::end_of(parent, ticks_per_slot)));
        assert_eq!(starts(&mut node, slot), Some(TickHeight::end_of(slot, ticks_per_slot)));
    }

    #[test]
    fn the_next_batch_is_with_the_pool_before_the_one_before_it_leaves_and_ticks_need_not_wait() {
        let (world, mut node, slot) = in_the_middle(5);
        let now = world.now();
        let tick = || Entry { num_hashes: 8, ..Entry::default() };
        let late = now.after(Duration::from_millis(50));
        let mut out = Vec::new();
        for _ in 0..1_300 {
            node.broadcast.push(now, tick(), 20, false);
        }
        node.broadcast.push(now, tick(), 64, true);
        node.broadcast_pump(now, &mut out);
        let job = out.drain(..).find_map(|effect| match effect {
            Effect::Run(job @ Job::Shred(_)) => Some(job),
            _ => None,
        });
        let done = job.expect("the first batch is shredded at once").run(&Verifier::without_memory());
        assert!(out.is_empty(), "one job at a time");
        node.done(now, done, &mut out);
        let sent = out.iter().position(|effect| matches!(effect, Effect::SendShred { .. })).expect("it leaves");
        let next = out.iter().position(|effect| matches!(effect, Effect::Run(Job::Shred(_)))).expect("the next one");
        assert!(next < sent, "the pool works while the shreds go out");
        run_jobs(&world, &mut node, &mut out);
        assert!(node.broadcast.poll_timeout().is_none_or(|due| due <= late), "slot {slot} waits for nothing");
    }

    #[test]
    fn what_was_under_way_for_a_block_given_up_does_not_get_into_the_next_one() {
        let (world, mut node, slot) = in_the_middle(4);
        let block = node.leading.block.as_mut().expect("it is made");
        let bank = block.bank.take().expect("it was chosen so");
        let executed = Box::new(bank.execute(&[]));
        let parent = node.forks.get(block.parent).expect("it is frozen").bank.clone();
        let next = Box::new(Bank::child(&parent, slot.saturating_add(1), node.identity));
        node.leading.block = Some(OwnBlock::new(world.now(), parent.slot(), next));
        node.lead_executed(world.now(), (bank, Vec::new(), executed), &mut Vec::new());
        let block = node.leading.block.as_ref().expect("the next one");
        let slots = (block.slot, block.bank.as_ref().map(|bank| bank.slot()));
        assert_eq!(slots, (slot.next(), Some(slot.next())), "the old bank is let go");
    }
}
