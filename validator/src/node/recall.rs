//! After a restart the block of the last vote is executed before any newer one.
//!
//! The blocks above the root come out of the ledger in the order of their slots, but are executed as soon as their
//! parents are, several at a time. Without an order, a newer block on another fork could be done first: the tower would
//! not know what it had voted for last, and take a block on a fork that it is locked out of for one that it may switch
//! to (reference 8.5.4, stray votes).

use super::Node;
use std::{collections::BTreeSet, time::Duration};
use sundog_ledger::Ledger;
use sundog_types::{Effects, Now, Slot};

/// Blocks between the root and the last vote at most: no vote is cast further from the root.
const CHAIN_MAX: usize = 1_024;
/// A node waits no longer for the block of its last vote. It was executed once, so only a fault keeps it away.
const PATIENCE: Duration = Duration::from_secs(20);

/// The blocks from the one voted for last in an earlier life down to the root, while they are to be executed again. Empty
/// otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Recall(BTreeSet<Slot>);

impl Recall {
    /// Waits for the last vote's block, if the ledger has it and all between it and the root.
    pub(super) fn of(ledger: &Ledger, root: Slot, last_vote: Option<Slot>) -> Self {
        let mut at = last_vote.unwrap_or_default();
        let mut chain = BTreeSet::new();
        for _ in 0..CHAIN_MAX {
            if at <= root {
                break;
            }
            let meta = ledger.slot_meta(at).ok().flatten();
            let Some(meta) = meta.filter(|meta| meta.executed() && !meta.dead && meta.parent < at) else { break };
            chain.insert(at);
            at = meta.parent;
        }
        Self(if at == root { chain } else { BTreeSet::new() })
    }

    /// Whether a block is to wait.
    pub(super) fn holds(&self, slot: Slot) -> bool {
        self.0.last().is_some_and(|last| slot > *last)
    }

    /// Whether nothing waits any more once a block is executed again, or never will be: it is the last vote's block, or one
    /// that this stands on and that failed. What becomes of other forks is no reason.
    fn ends(&self, slot: Slot, executed: bool) -> bool {
        self.0.last() == Some(&slot) || (!executed && self.0.contains(&slot))
    }
}

impl Node {
    /// A block is executed again, or never will be: what waited for the last vote's block may go on.
    pub(super) fn recalled(&mut self, slot: Slot, executed: bool, out: &mut Effects<super::Effect>) {
        if self.recall.ends(slot, executed) {
            self.recall = Recall::default();
            self.replay_waiting(out);
        }
    }

    /// Waits no longer.
    pub(super) fn recall_timeout(&mut self, now: Now, out: &mut Effects<super::Effect>) {
        let late = now.since(self.started) >= PATIENCE;
        if let Some(last) = self.recall.0.last().copied().filter(|_| late) {
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

    /// Chaos on whole nodes, seed 20: a dead block of a liar let a node go on, which left its fork without proof.
    #[test]
    fn a_dead_block_on_another_fork_lets_nothing_go_on() {
        let recall = Recall([10, 11, 15].map(Slot::new).into());
        assert!(recall.holds(Slot::new(16)) && !recall.holds(Slot::new(15)));
        assert!(!recall.ends(Slot::new(14), false), "not of the chain");
        assert!(!recall.ends(Slot::new(11), true), "the last vote's block comes next");
        assert!(recall.ends(Slot::new(11), false), "it cannot come any more");
        assert!(recall.ends(Slot::new(15), true) && recall.ends(Slot::new(15), false));
        assert!(!Recall::default().ends(Slot::new(15), true) && !Recall::default().holds(Slot::new(1)));
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
