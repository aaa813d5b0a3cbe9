//! After a restart the block of the last vote is executed before any newer one.
//!
//! The blocks above the root come out of the ledger in the order of their slots, but are executed as soon as their
//! parents are, several at a time. Without an order, a newer block on another fork could be done first: the tower would
//! not know what it had voted for last, and take a block on a fork that it is locked out of for one that it may switch
//! to (reference 8.5.4, stray votes).

use super::Node;
use std::time::Duration;
use sundog_ledger::Ledger;
use sundog_types::{Effects, Now, Slot};

/// Blocks between the root and the last vote at most: no vote is cast further from the root.
const CHAIN_MAX: usize = 1_024;
/// A node waits no longer for the block of its last vote. It was executed once, so only a fault keeps it away.
const PATIENCE: Duration = Duration::from_secs(20);

/// The slot voted for last in an earlier life, while its block is to be executed again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recall(Option<Slot>);

impl Recall {
    /// Waits for the last vote's block, if the ledger has it and all between it and the root.
    pub(super) fn of(ledger: &Ledger, root: Slot, last_vote: Option<Slot>) -> Self {
        let mut at = last_vote.unwrap_or_default();
        for _ in 0..CHAIN_MAX {
            if at <= root {
                break;
            }
            let meta = ledger.slot_meta(at).ok().flatten();
            let Some(meta) = meta.filter(|meta| meta.executed() && !meta.dead && meta.parent < at) else { break };
            at = meta.parent;
        }
        Self(last_vote.filter(|last| *last > root && at == root))
    }

    /// Whether a block is to wait.
    pub(super) fn holds(self, slot: Slot) -> bool {
        self.0.is_some_and(|last| slot > last)
    }
}

impl Node {
    /// The block of a slot, or what it is built on, is executed again or never will be: what waited for it goes on.
    pub(super) fn recalled(&mut self, slot: Slot, executed: bool, out: &mut Effects<super::Effect>) {
        if self.recall.0.is_some_and(|last| if executed { slot == last } else { slot <= last }) {
            self.recall = Recall::default();
            self.replay_waiting(out);
        }
    }

    /// Waits no longer.
    pub(super) fn recall_timeout(&mut self, now: Now, out: &mut Effects<super::Effect>) {
        if let Some(last) = self.recall.0.filter(|_| now.since(self.started) >= PATIENCE) {
            tracing::warn!(%last, "the block of the last vote was not executed again; the node goes on without it");
            self.recalled(last, false, out);
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
    use sundog_types::Machine as _;

    /// A world that is parted so long that its second half has a fork of its own, and has seen the other since.
    fn with_forks(seed: u64) -> World {
        let stakes = vec![1_000, 600, 400];
        let mut world = World::new(WorldConfig { seed, stakes, ..WorldConfig::default() });
        assert!(world.run_until(Duration::from_secs(60), |world| world.rooted_everywhere() >= Slot::new(4)));
        world.part(&[&[0, 1], &[2]]);
        world.run_until(Duration::from_secs(20), |_| false);
        world
    }

    /// Executes what a restarted node is given out of its ledger, newest work first; the slots in the order in which
    /// they were frozen.
    fn replayed(world: &mut World, host: usize) -> Vec<Slot> {
        world.start(host);
        let ledger = Ledger::new(Arc::<MemoryStore>::clone(&world.hosts[host].store));
        let mut node = world.hosts[host].node.take().expect("it was just started");
        let (now, mut out, mut frozen) = (world.now(), Vec::new(), Vec::new());
        for shreds in stored(&ledger).expect("memory") {
            node.handle(now, Input::Stored { shreds }, &mut out);
        }
        while let Some(effect) = out.pop() {
            match effect {
                Effect::Run(job) => node.handle(now, Input::Done(job.run()), &mut out),
                Effect::Event(Event::BlockComplete { slot, .. }) => frozen.push(slot),
                _ => {}
            }
        }
        frozen
    }

    #[test]
    fn the_block_of_the_last_vote_is_executed_before_any_newer_one() {
        for seed in [1, 2, 3] {
            let mut world = with_forks(seed);
            let last = *world.hosts[2].voted.last().expect("it voted");
            world.heal();
            let newer = |world: &World| world.hosts[2].blocks.range(last.next()..).any(|_| true);
            assert!(world.run_until(Duration::from_secs(10), newer), "seed {seed}: the other fork comes");
            let last = *world.hosts[2].voted.last().expect("it voted");
            world.kill(2);
            let frozen = replayed(&mut world, 2);
            let place = frozen.iter().position(|slot| *slot == last);
            let first_newer = frozen.iter().position(|slot| *slot > last);
            assert!(place.is_some(), "seed {seed}: {last} is in the ledger: {frozen:?}");
            assert!(first_newer.is_none_or(|newer| Some(newer) > place), "seed {seed}: {last} of {frozen:?}");
        }
    }

    #[test]
    fn a_last_vote_whose_block_is_not_whole_in_the_ledger_keeps_nothing_back() {
        let mut world = with_forks(4);
        world.kill(2);
        let ledger = Ledger::new(Arc::<MemoryStore>::clone(&world.hosts[2].store));
        let root = ledger.root().expect("memory").expect("a root");
        let last = ledger.shred_slots(root.next(), 100).expect("memory").pop().expect("blocks above the root");
        assert!(!Recall::of(&ledger, root, Some(last.saturating_add(9))).holds(last.saturating_add(10)));
        assert!(!Recall::of(&ledger, root, Some(root)).holds(root.next()));
        assert!(!Recall::of(&ledger, root, None).holds(root.next()));
    }
}
