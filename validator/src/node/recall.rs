//! After a restart nothing is voted for before what an earlier life executed is executed again.
//!
//! The blocks above the root come out of the ledger in the order of their slots, but are executed as soon as their
//! parents are, several at a time. The tower must know all of them before it decides anything. The block of the last vote
//! is among them: without it, a block on a fork that the tower is locked out of could pass for one that it may switch to
//! (reference 8.5.4, stray votes). And so are the votes of the earlier life that landed: if they are newer than the tower
//! file, the file is an old one, and none of them may be cast a second time.

use super::{Effect, Node, boot};
use std::{collections::BTreeMap, time::Duration};
use sundog_ledger::{Ledger, LedgerError};
use sundog_types::{Effects, Now, Slot};

/// A node waits no longer when for so long no block was executed again. Each was executed once, so only a fault keeps one
/// away.
const PATIENCE: Duration = Duration::from_secs(20);

/// The blocks that an earlier life executed and that are to be executed again, with their parents; at most as many as are
/// read back from the ledger.
#[derive(Clone, Debug, Default)]
pub struct Recall {
    left: BTreeMap<Slot, Slot>,
    /// When one came out of the ledger or was executed last.
    progress: Option<Now>,
}

impl Recall {
    /// Waits for the blocks above the root that the ledger has with all that they stand on.
    ///
    /// # Errors
    /// If the storage fails.
    pub(super) fn of(ledger: &Ledger, root: Slot) -> Result<Self, LedgerError> {
        let mut recall = Self::default();
        for slot in ledger.shred_slots(root.next(), boot::STORED_SLOTS_MAX)? {
            if let Some(meta) = ledger.slot_meta(slot)?.filter(|meta| meta.executed() && !meta.dead) {
                recall.left.insert(slot, meta.parent);
            }
        }
        recall.prune(root, |slot| slot == root);
        Ok(recall)
    }

    /// Blocks come out of the ledger: only from here on can one be late.
    pub(super) fn begins(&mut self, now: Now) {
        self.progress = Some(now);
    }

    /// Whether all is executed again, or never will be.
    pub(super) fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// Forgets what will never be executed: it is not above the root, or nothing that it could stand on is here or to come.
    fn prune(&mut self, root: Slot, is_here: impl Fn(Slot) -> bool) {
        let mut kept = BTreeMap::new();
        for (slot, parent) in std::mem::take(&mut self.left) {
            if slot > root && (is_here(parent) || kept.contains_key(&parent)) {
                kept.insert(slot, parent);
            }
        }
        self.left = kept;
    }
}

impl Node {
    /// A block is executed again.
    pub(super) fn recalled(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        if self.recall.left.remove(&slot).is_some() {
            self.recall.progress = Some(now);
            self.tell_recalled(now, out);
        }
    }

    /// A block will never be executed again in this version, or the root has moved.
    pub(super) fn recall_without(&mut self, now: Now, lost: Option<Slot>, out: &mut Effects<Effect>) {
        if !self.recall.is_over() {
            lost.map(|slot| self.recall.left.remove(&slot));
            let forks = &self.forks;
            self.recall.prune(forks.root(), |slot| forks.get(slot).is_some());
            self.tell_recalled(now, out);
        }
    }

    /// Waits no longer for what does not come.
    pub(super) fn recall_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        let since = self.recall.progress.unwrap_or(self.started);
        if let Some(first) = self.recall.left.keys().next().filter(|_| now.since(since) >= PATIENCE) {
            let blocks = self.recall.left.len();
            tracing::warn!(%first, blocks, "blocks of an earlier life were not executed again; the node goes on without them");
            self.recall = Recall::default();
            self.tell_recalled(now, out);
        }
    }

    fn tell_recalled(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.recall.is_over() {
            self.consensus(now, sundog_tower::Input::Recalled, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        node::{Effect, Event, Input, stored},
        sim::{World, WorldConfig},
    };
    use std::sync::Arc;
    use sundog_ledger::MemoryStore;
    use sundog_types::{Machine as _, sign::Verifier};

    /// A world that is parted so long that its second half has a fork of its own, and has seen the other since.
    fn with_forks(seed: u64) -> World {
        let stakes = vec![1_000, 600, 400];
        let mut world = World::new(WorldConfig { seed, stakes, ..WorldConfig::default() });
        assert!(world.run_until(Duration::from_secs(60), |world| world.rooted_everywhere() >= Slot::new(4)));
        world.part(&[&[0, 1], &[2]]);
        world.run_until(Duration::from_secs(20), |_| false);
        world
    }

    /// Executes what a restarted node is given out of its ledger, newest work first; the slots in the order in which they
    /// were frozen, and how many of them were before the first tower was saved.
    fn replayed(world: &mut World, host: usize) -> (Vec<Slot>, Option<usize>) {
        world.start(host);
        let ledger = Ledger::new(Arc::<MemoryStore>::clone(&world.hosts[host].store));
        let mut node = world.hosts[host].node.take().expect("it was just started");
        let (now, mut out, mut frozen, mut voted) = (world.now(), Vec::new(), Vec::new(), None);
        for shreds in stored(&ledger).expect("memory") {
            node.handle(now, Input::Stored { shreds }, &mut out);
        }
        let mut jobs = Vec::new();
        loop {
            for effect in out.drain(..) {
                match effect {
                    Effect::Run(job) => jobs.push(job),
                    Effect::Event(Event::BlockComplete { slot, .. }) => frozen.push(slot),
                    Effect::SaveTower { .. } => voted = voted.or(Some(frozen.len())),
                    _ => {}
                }
            }
            let Some(job) = jobs.pop() else { break };
            node.handle(now, Input::Done(job.run(&Verifier::without_memory())), &mut out);
        }
        (frozen, voted)
    }

    /// Chaos on whole nodes, seed 20: a dead block of a liar let a node go on, which left its fork without proof.
    #[test]
    fn what_never_will_be_executed_takes_along_what_stands_on_it_and_nothing_else() {
        let recall = |slots: &[(u64, u64)]| {
            let left = slots.iter().map(|(slot, parent)| (Slot::new(*slot), Slot::new(*parent))).collect();
            Recall { left, progress: None }
        };
        let left = |recall: &Recall| recall.left.keys().map(|slot| slot.get()).collect::<Vec<_>>();
        let root = Slot::new(9);
        let mut waits = recall(&[(10, 9), (11, 10), (12, 8), (13, 12), (14, 11), (15, 11), (16, 15)]);
        waits.prune(root, |slot| slot == root);
        assert_eq!(left(&waits), [10, 11, 14, 15, 16], "12 stands on nothing");
        waits.left.remove(&Slot::new(15));
        waits.prune(root, |slot| slot == root);
        assert_eq!(left(&waits), [10, 11, 14]);
        waits.prune(Slot::new(11), |slot| slot == Slot::new(11));
        assert_eq!(left(&waits), [14]);
        waits.prune(Slot::new(14), |_| true);
        assert!(waits.is_over());
    }

    #[test]
    fn nothing_is_voted_for_before_all_blocks_of_the_earlier_life_are_executed_again() {
        for seed in [1, 2, 3] {
            let mut world = with_forks(seed);
            let last = *world.hosts[2].voted.last().expect("it voted");
            world.heal();
            let newer = |world: &World| world.hosts[2].blocks.range(last.next()..).any(|_| true);
            assert!(world.run_until(Duration::from_secs(10), newer), "seed {seed}: the other fork comes");
            let last = *world.hosts[2].voted.last().expect("it voted");
            world.kill(2);
            let ledger = Ledger::new(Arc::<MemoryStore>::clone(&world.hosts[2].store));
            let root = ledger.root().expect("memory").expect("a root");
            let recall = Recall::of(&ledger, root).expect("memory");
            assert!(recall.left.contains_key(&last), "seed {seed}: {last} is in the ledger: {recall:?}");
            let (frozen, voted) = replayed(&mut world, 2);
            let place = recall.left.keys().filter_map(|slot| frozen.iter().position(|other| other == slot)).max();
            assert!(place.is_some() && recall.left.keys().all(|slot| frozen.contains(slot)), "seed {seed}: {frozen:?}");
            assert!(voted.is_none_or(|voted| Some(voted) > place), "seed {seed}: {voted:?} of {frozen:?}");
        }
    }

    #[test]
    fn what_does_not_come_is_waited_for_only_so_long() {
        let mut world = with_forks(4);
        let mut node = world.hosts[2].node.take().expect("it runs");
        let (now, mut out) = (world.now(), Vec::new());
        let tip = node.forks().highest();
        node.recall.left = [(tip.saturating_add(8), tip), (tip.saturating_add(9), tip)].into();
        node.recalled(now, tip.saturating_add(8), &mut out);
        node.recall_timeout(now.after(PATIENCE / 2), &mut out);
        assert!(!node.recall.is_over());
        node.recall_without(now, None, &mut out);
        assert_eq!(node.recall.left.len(), 1, "its parent is here");
        node.recall_timeout(now.after(PATIENCE), &mut out);
        assert!(node.recall.is_over());
    }
}
