//! Roots: what the tower rooted and the cluster finalized becomes the bank on disk, and the rest is forgotten.

use super::{Awaited, Effect, Event, Frozen, Node, Tally};
use std::sync::Arc;
use sundog_ledger::SlotMeta;
use sundog_rpc::subscriptions::{ExecutedTransaction, FrozenBlock};
use sundog_runtime::{Bank, Committed};
use sundog_turbine::EpochInfo;
use sundog_types::{
    Effects, Epoch, Now, Slot, schedule::LeaderSchedule, shred::Gates, stakes::EpochStakes, store::Batch,
};

/// Keys removed from the ledger at each root at most: several blocks' worth, so that purging keeps up.
const PURGE_MAX: usize = 4_096;

/// Roots from one that is written to the next. Each write holds the sysvars and vote accounts, some 45 KB, whatever the
/// blocks hold: with every root that would be two thirds of what an idle node writes. A node that starts again executes
/// as many blocks more.
const WRITE_EVERY: usize = 16;

/// Where the roots stand.
pub(super) struct Roots {
    /// The tower's root.
    tower: Slot,
    /// The highest slot that two thirds of the stake rooted.
    pub(super) finalized: Slot,
    /// The highest block that two thirds of the stake voted for, and that is frozen here.
    pub(super) confirmed: Slot,
    /// The slot whose bank is on its way to be the root.
    moving: Option<Slot>,
    /// Slots that were rooted since the last bank that is on disk, ascending.
    unwritten: Arc<Vec<Slot>>,
    /// Epochs whose schedule Turbine has.
    entered: Option<Epoch>,
}

impl Roots {
    /// Slots that are rooted, and not marked so on disk yet; ascending.
    pub(super) fn unwritten(&self) -> Arc<Vec<Slot>> {
        Arc::clone(&self.unwritten)
    }

    /// The tower's root.
    pub(super) const fn tower(&self) -> Slot {
        self.tower
    }

    pub(super) fn new(root: &Bank) -> Self {
        let slot = root.slot();
        Self { tower: slot, finalized: slot, confirmed: slot, moving: None, unwritten: Arc::default(), entered: None }
    }
}

impl Node {
    /// A block is frozen: everybody who waited for it goes on.
    pub(super) fn on_frozen(&mut self, now: Now, frozen: Frozen, tally: Tally, out: &mut Effects<Effect>) {
        let bank = Arc::clone(&frozen.bank);
        let (slot, mine, block_id) = (bank.slot(), frozen.mine, frozen.block_id);
        let transactions = frozen.transactions;
        if !self.forks.insert(frozen) {
            if slot > self.forks.root() && !mine {
                // The tree is full: again when the root has moved.
                self.replays.put_off(slot, bank.parent_slot());
                self.told.remove(&slot);
                self.counters.forget(slot);
            }
            return;
        }
        self.remember_meta(slot, &meta_of(&bank, tally), out);
        let told = self.told.remove(&slot).unwrap_or_default();
        self.counters.frozen(slot, now, &told);
        if !mine {
            self.counters.propagation_ms += tally.ms;
            self.counters.propagated += 1;
        }
        out.push(Effect::Event(Event::BlockComplete {
            slot,
            parent: bank.parent_slot(),
            shreds: tally.shreds,
            recovered: tally.recovered,
            repaired: tally.repaired,
            transactions,
            ms: tally.ms,
            bank_hash: bank.hash(),
            root: self.roots.tower,
            block: Arc::new(frozen_block(&bank, told)),
        }));
        if mine {
            self.propagation.watch(now, slot);
        }
        self.look_for_first_vote(&bank);
        self.gossip(now, sundog_gossip::Input::Completed(vec![slot]), out);
        let votes = self.voters(&bank);
        let epoch_stakes = bank.current_epoch_stakes();
        self.consensus(
            now,
            sundog_tower::Input::Frozen(sundog_tower::Block {
                slot,
                parent: bank.parent_slot(),
                parent_hash: bank.parent_hash(),
                hash: bank.hash(),
                block_id: block_id.unwrap_or_default(),
                mine,
                votes,
                total_stake: epoch_stakes.total(),
                epoch_stakes,
            }),
            out,
        );
        self.recalled(now, slot, out);
        self.replay_children(slot, out);
        self.replay_put_off(now, out);
        self.sync_applied(now, slot, out);
        self.view.touch();
        self.publish(now, out);
    }

    /// Transactions that are in a block now. They have landed for good only once their block is confirmed: until
    /// then they are sent again, because the fork may be left.
    pub(super) fn landed(&mut self, slot: Slot, committed: &[Committed]) {
        self.told.entry(slot).or_default().extend(committed.iter().map(super::told));
        self.unsettled.entry(slot).or_default().extend(committed.iter().map(|c| c.signature));
    }

    /// Tells Gulf Stream what has landed with the chain up to a confirmed block.
    fn settle(&mut self, now: Now, confirmed: Slot, out: &mut Effects<Effect>) {
        let chain = self.forks.chain_to(confirmed);
        let signatures: Vec<_> = chain.iter().filter_map(|slot| self.unsettled.remove(slot)).flatten().collect();
        if !signatures.is_empty() {
            self.gulf(now, sundog_gulfstream::Input::Landed(signatures), out);
        }
    }

    /// Two thirds of the stake voted for exactly this block.
    pub(super) fn confirmed(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        if slot > self.roots.confirmed {
            self.roots.confirmed = slot;
            out.push(Effect::Event(Event::Confirmed { slot }));
            self.settle(now, slot, out);
            self.view.touch();
            self.publish(now, out);
        }
    }

    /// The tower's root moved.
    pub(super) fn tower_rooted(&mut self, slot: Slot, out: &mut Effects<Effect>) {
        if slot > self.roots.tower {
            self.roots.tower = slot;
            out.push(Effect::Event(Event::Rooted { slot }));
            self.move_root(out);
        }
    }

    /// Two thirds of the stake rooted this slot.
    pub(super) fn finalized(&mut self, slot: Slot, out: &mut Effects<Effect>) {
        if slot > self.roots.finalized {
            self.roots.finalized = slot;
            out.push(Effect::Event(Event::Finalized { slot }));
            self.move_root(out);
        }
    }

    /// Brings the root forward to the highest block that is both rooted by this tower and finalized: what is durable can
    /// then never be on an abandoned fork, and `finalized` reads come from exactly that bank.
    fn move_root(&mut self, out: &mut Effects<Effect>) {
        if self.roots.moving.is_some() {
            return;
        }
        let bound = self.roots.tower.min(self.roots.finalized);
        let Some(target) = self.forks.ancestor_not_above(self.roots.tower, bound) else { return };
        if target <= self.forks.root() || self.forks.chain_to(target).is_empty() {
            return;
        }
        let bank = Arc::clone(&self.forks.get(target).expect("it is an ancestor in the tree").bank);
        self.roots.moving = Some(target);
        let write = self.roots.unwritten.len() + self.forks.chain_to(target).len() >= WRITE_EVERY;
        out.push(Effect::Run(super::Job::Root { bank, write }));
    }

    /// The changes that make a bank the root on disk are worked out: write them, with the root's number, at once. If it
    /// is not to be written, it is the root now.
    pub(super) fn root_computed(
        &mut self,
        now: Now,
        bank: &Arc<Bank>,
        batch: Option<Batch>,
        out: &mut Effects<Effect>,
    ) {
        let slot = bank.slot();
        let chain = [&self.roots.unwritten[..], &self.forks.chain_to(slot)[..]].concat();
        let Some(mut batch) = batch else {
            self.roots.unwritten = Arc::new(chain);
            return self.root_moved(now, slot, out);
        };
        sundog_ledger::set_root(&mut batch, slot, &chain);
        let durable = Some(self.await_durable(Awaited::Root(slot)));
        out.push(Effect::Write { batch, durable });
    }

    /// The root is on disk.
    pub(super) fn root_durable(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        let bank = Arc::clone(&self.forks.get(slot).expect("it is about to be the root").bank);
        bank.squash();
        bank.written();
        self.roots.unwritten = Arc::default();
        self.root_moved(now, slot, out);
    }

    /// The node ends in order: its root is written, whichever it is. Not while another is on its way, whose write may be
    /// under way already: none may follow that is of an older one.
    pub fn write_last_root(&self, out: &mut Effects<Effect>) {
        let Some(slot) = self.roots.unwritten.last().filter(|_| self.roots.moving.is_none()) else { return };
        let Some(frozen) = self.forks.get(*slot) else { return };
        let mut batch = frozen.bank.root_batch();
        sundog_ledger::set_root(&mut batch, *slot, &self.roots.unwritten);
        out.push(Effect::Write { batch, durable: None });
    }

    /// There is a new root: forget the other forks and tell everybody.
    fn root_moved(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        self.roots.moving = None;
        let old = self.forks.root();
        let chain = self.forks.chain_to(slot);
        self.tell_skipped(old, &chain, out);
        self.forks.set_root(slot);
        self.recall_without(now, None, out);
        let bank = Arc::clone(&self.forks.get(slot).expect("it was just made the root").bank);
        bank.squash();
        self.replays.set_root(slot);
        self.lead_rooted(now, out);
        self.leading.set_root(slot);
        self.replay_put_off(now, out);
        self.dead.retain(|dead| *dead > slot);
        self.told.retain(|told, _| *told > slot);
        self.unsettled.retain(|unsettled, _| *unsettled > slot);
        self.counters.forget_below(slot);
        self.catching.set_root(slot);
        self.enter_epochs(now, &bank, out);
        self.turbine(now, sundog_turbine::Input::Root(slot), out);
        self.proven.set_root(slot);
        self.ancestors.set_root(slot);
        self.fetched.set_root(slot);
        self.propagation.set_root(slot);
        self.tell_gossip_root(now, out);
        self.tell_chain(now, out);
        self.forget_blocks(slot, out);
        self.view.touch();
        self.publish(now, out);
        self.move_root(out);
    }

    /// Removes blocks from the ledger that are older than it is to keep. Those on top of the bank on disk stay: a node that
    /// starts again executes them.
    fn forget_blocks(&self, root: Slot, out: &mut Effects<Effect>) {
        let Some(below) = root.get().checked_sub(self.config.ledger_slots) else { return };
        let written = self.roots.unwritten.first().copied();
        let below = written.map_or(Slot::new(below), |first| first.min(Slot::new(below)));
        match self.ledger.purge(below, PURGE_MAX) {
            Ok(batch) if !batch.is_empty() => out.push(Effect::Write { batch, durable: None }),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "old blocks cannot be removed"),
        }
    }

    fn tell_skipped(&self, old: Slot, chain: &[Slot], out: &mut Effects<Effect>) {
        let mut at = old;
        for next in chain {
            let mut skipped = at.next();
            while skipped < *next {
                if let Some(leader) = self.leaders.leader(skipped) {
                    out.push(Effect::Event(Event::Skipped { slot: skipped, leader }));
                }
                skipped = skipped.next();
            }
            at = *next;
        }
    }

    /// Learns the schedules of the epochs that `bank` fixes.
    pub(super) fn enter_epochs(&mut self, now: Now, bank: &Arc<Bank>, out: &mut Effects<Effect>) {
        let schedule = bank.epoch_schedule().clone();
        let last = Epoch::new(schedule.get_leader_schedule_epoch(bank.slot().get()));
        let first = self.roots.entered.map_or_else(|| self.recall_epochs(bank), Epoch::next);
        let mut epoch = first;
        while epoch <= last {
            let Some(stakes) = bank.epoch_stakes(epoch) else { break };
            let leaders = schedule_of(bank, epoch, &stakes);
            let slots = schedule.get_slots_in_epoch(epoch.get());
            self.leaders.insert(Arc::clone(&leaders));
            let first_slot = Slot::new(schedule.get_first_slot_in_epoch(epoch.get()));
            let gates = Gates::since_genesis(epoch);
            let input = sundog_tower::Input::Epoch { first: first_slot, stakes: Arc::clone(&stakes) };
            self.consensus(now, input, out);
            let info = EpochInfo { epoch, first_slot, slots, leaders, stakes, gates };
            self.sync(now, sundog_turbine::sync::Input::Epoch(info.clone()), out);
            self.turbine(now, sundog_turbine::Input::Epoch(info), out);
            self.roots.entered = Some(epoch);
            epoch = epoch.next();
        }
        let stakes = Arc::new(bank.current_epoch_stakes().by_node());
        self.gossip(now, sundog_gossip::Input::Stakes(stakes), out);
    }

    /// After a start: learns again who led in the epochs that are over, as far as the bank knows their stakes. Nobody but
    /// readers asks for that. The epoch of the bank.
    fn recall_epochs(&mut self, bank: &Bank) -> Epoch {
        let current = Epoch::new(bank.epoch_schedule().get_epoch(bank.slot().get()));
        let over = (0..current.get()).rev().map(Epoch::new);
        for (epoch, stakes) in over.map_while(|epoch| Some((epoch, bank.epoch_stakes(epoch)?))) {
            self.leaders.insert(schedule_of(bank, epoch, &stakes));
        }
        current
    }
}

fn schedule_of(bank: &Bank, epoch: Epoch, stakes: &EpochStakes) -> Arc<LeaderSchedule> {
    Arc::new(LeaderSchedule::new(epoch, bank.epoch_schedule().get_slots_in_epoch(epoch.get()), stakes))
}

pub(super) fn meta_of(bank: &Bank, tally: Tally) -> SlotMeta {
    SlotMeta {
        parent: bank.parent_slot(),
        last_index: tally.shreds.checked_sub(1),
        full: true,
        blockhash: bank.last_blockhash(),
        previous_blockhash: bank.parent_blockhash(),
        block_height: bank.block_height(),
        block_time: bank.clock().unix_timestamp,
        bank_hash: bank.hash(),
        ..SlotMeta::default()
    }
}

/// What subscribers are told of a block. Entries are not counted apart: a batch of transactions is one.
fn frozen_block(bank: &Bank, transactions: Vec<ExecutedTransaction>) -> FrozenBlock {
    FrozenBlock {
        slot: bank.slot(),
        parent: bank.parent_slot(),
        entries: u64::from(!transactions.is_empty()),
        entry_transactions_max: transactions.len() as u64,
        transactions,
        changed: bank.changed_accounts().map(|(key, _)| *key).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{World, WorldConfig};
    use std::time::Duration;
    use sundog_ledger::{Ledger, MemoryStore};
    use sundog_runtime::RootedAccounts;
    use sundog_types::store::{Store as _, Write};

    /// A world in which the first node has some roots in memory that are not on disk, and the newest of them.
    fn with_unwritten() -> (World, Slot) {
        let mut world = World::new(WorldConfig::default());
        let held = |node: &Node| (3..WRITE_EVERY).contains(&node.roots.unwritten.len()) && node.forks.root().get() > 16;
        let found = world.run_until(Duration::from_secs(120), |world| world.hosts[0].node.as_ref().is_some_and(held));
        assert!(found, "roots come one by one");
        let root = world.hosts[0].node.as_ref().expect("it runs").forks.root();
        (world, root)
    }

    #[test]
    fn a_node_that_ends_in_order_has_its_newest_root_on_disk() {
        let (mut world, root) = with_unwritten();
        let host = &mut world.hosts[0];
        let restored = |store: &Arc<MemoryStore>| {
            let accounts = RootedAccounts::new(Arc::<MemoryStore>::clone(store));
            Bank::restore(Arc::new(accounts)).expect("it was written here")
        };
        assert!(restored(&host.store).slot() < root);
        let mut out = Vec::new();
        let node = host.node.as_mut().expect("it runs");
        node.roots.moving = None;
        node.write_last_root(&mut out);
        let [Effect::Write { batch, .. }] = &out[..] else { panic!("one write: {}", out.len()) };
        host.store.commit(batch, false).expect("memory");
        let bank = restored(&host.store);
        assert_eq!((bank.slot(), bank.hash()), (root, node.forks.get(root).expect("the root").bank.hash()));
        let ledger = Ledger::new(Arc::<MemoryStore>::clone(&host.store));
        assert_eq!(ledger.root().expect("memory"), Some(root));
        assert!(node.roots.unwritten.iter().all(|slot| ledger.is_rooted(*slot).expect("memory")));

        node.roots.moving = Some(root.next());
        out.clear();
        node.write_last_root(&mut out);
        assert!(out.is_empty(), "a newer one may be on its way to the disk");
    }

    #[test]
    fn blocks_on_top_of_the_bank_on_disk_are_not_removed_however_old() {
        let (mut world, root) = with_unwritten();
        let node = world.hosts[0].node.as_mut().expect("it runs");
        node.config.ledger_slots = 1;
        let mut out = Vec::new();
        node.forget_blocks(root, &mut out);
        let [Effect::Write { batch, .. }] = &out[..] else { panic!("older blocks go") };
        let first = node.roots.unwritten.first().expect("some are unwritten").get().to_be_bytes();
        let removed = batch.writes.iter().filter_map(|write| match write {
            Write::Delete(space, key) => Some((*space, key)),
            Write::Put(..) => None,
        });
        let shreds = removed.filter(|(space, _)| *space == sundog_types::store::Space::FecSets);
        let newest = shreds.map(|(_, key)| key[..8].to_vec()).max().expect("shreds go");
        assert!(newest < first.to_vec());
    }
}
