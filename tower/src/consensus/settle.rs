//! Roots: what can never be taken back, by the own tower or by more than two thirds of the others.

use super::Consensus;
use crate::block::{Block, Effect};
use crate::commitment::supermajority_root;
use sundog_types::{Effects, Slot};

impl Consensus {
    /// Notes the newest root that more than two thirds of the stake have, as the block knows it and as the
    /// own durable tower says.
    pub(super) fn note_roots(&mut self, block: &Block) {
        let roots = block.votes.iter().filter_map(|voter| {
            let mut root = voter.root.map(Slot::new);
            if Some(voter.vote_account) == self.vote_account {
                root = root.max(self.durable_root);
            }
            Some((voter.stake, root?))
        });
        let Some(root) = supermajority_root(roots, block.total_stake) else {
            return;
        };
        // What the own root left behind is below this block too: the bank took it for a root, on this very fork.
        if root > self.settled && (root <= self.forks.root() || self.forks.is_ancestor(root, block.slot)) {
            self.settled = root;
        }
    }

    /// Moves the root as far as the durable tower and the supermajority allow, and tells what is final.
    ///
    /// The own tower's root comes first. A root of more than two thirds binds everybody else too: no other
    /// fork can ever be rooted, so a node that lags or does not vote follows it.
    pub(super) fn settle(&mut self, out: &mut Effects<Effect>) {
        for root in [self.durable_root, Some(self.settled)].into_iter().flatten() {
            if root > self.forks.root() && self.forks.contains(root) {
                self.set_root(root, out);
                out.push(Effect::Root { slot: root });
            }
        }
        let finalized = self.settled.min(self.forks.root());
        if finalized > self.finalized {
            self.finalized = finalized;
            out.push(Effect::Finalized { slot: finalized });
        }
    }

    fn set_root(&mut self, root: Slot, out: &mut Effects<Effect>) {
        self.abandon(root, out);
        let key = self.key_of(root).expect("asked for");
        let forks = &self.forks;
        let settled = |slot| slot == root || forks.is_ancestor(slot, root);
        self.tower.raise_root(root, |vote| settled(vote.slot));
        self.forks.set_root(root);
        self.choice.set_root(&key);
        if self.commitment.set_root(root) {
            self.forget_unstaked();
        }
        for slots in [&mut self.dead, &mut self.duplicates, &mut self.told_versions] {
            *slots = slots.split_off(&root.next());
        }
        let forks = &self.forks;
        self.propagation.retain(|own| own > root && forks.contains(own));
        self.suspects.retain(|suspect| *suspect > root && forks.contains(*suspect));
        self.purged = self.purged.take().filter(|purged| purged.slot > root);
        self.heard.retain(|_, (slot, _)| *slot >= root);
        self.confirmed = self.confirmed.max(root);
        self.metrics.roots += 1;
    }
}
