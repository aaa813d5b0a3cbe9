//! Changes to the tree itself: duplicates marked and confirmed, a new root, leaves forgotten.

use super::{BlockKey, ForkChoice};
use sundog_types::Pubkey;

impl ForkChoice {
    /// Marks a block as a duplicate that nobody confirmed: neither it nor its descendants are followed.
    /// Its stake still counts for its ancestors. `false` and no change if the block is unknown, or
    /// confirmed already.
    pub fn mark_invalid(&mut self, key: &BlockKey) -> bool {
        let Some(id) = self.tree.find(key).filter(|&id| !self.tree.at(id).confirmed) else {
            return false;
        };
        for below in self.tree.subtree(id) {
            let node = self.tree.at_mut(below);
            node.invalid = node.invalid.max(Some(key.0));
            // What is not followed leads nowhere.
            node.heaviest = None;
        }
        if let Some(parent) = self.tree.at(id).parent {
            self.tree.elect(parent);
            self.tree.carry(parent, 0);
            self.tree.settle();
        }
        true
    }

    /// Marks a block as confirmed by 52 % of the stake: it and its ancestors are valid whatever proof of
    /// duplicates exists. Returns those newly confirmed, from the block down.
    pub fn mark_valid(&mut self, key: &BlockKey) -> Vec<BlockKey> {
        let Some(id) = self.tree.find(key) else {
            return Vec::new();
        };
        let line: Vec<_> = self.tree.line(id).collect();
        let mut touched = self.tree.subtree(id);
        touched.extend(&line[1..]);
        for &id in &touched {
            let node = self.tree.at_mut(id);
            if node.invalid <= Some(key.0) {
                node.invalid = None;
            }
        }
        let mut newly = Vec::new();
        for &id in &line {
            let node = self.tree.at_mut(id);
            if !std::mem::replace(&mut node.confirmed, true) {
                newly.push(node.key);
            }
        }
        for id in touched {
            self.tree.elect(id);
        }
        newly
    }

    /// Makes a known block the root and forgets every block that does not descend from it. `false` and no
    /// change if it is unknown.
    pub fn set_root(&mut self, root: &BlockKey) -> bool {
        let Some(id) = self.tree.find(root) else {
            return false;
        };
        self.tree.set_root(id);
        self.root = id;
        let Self { tree, voters, .. } = self;
        for voter in voters.values_mut() {
            voter.forget_unless(|_, block| tree.find(block).is_some());
        }
        true
    }

    /// Forgets a block that nothing is built on, with the stake on it; the voters' newest votes stay what
    /// they are. `false` and no change for the root, unknown blocks and blocks with children.
    pub fn remove_leaf(&mut self, key: &BlockKey) -> bool {
        let Some(gone) = self.tree.find(key) else {
            return false;
        };
        if !self.tree.remove_leaf(gone) {
            return false;
        }
        for voter in self.voters.values_mut() {
            voter.forget_unless(|at, _| at != gone);
        }
        true
    }

    /// Forgets the newest votes of voters that `keep` does not want, with the stake they put on blocks.
    pub fn retain_voters(&mut self, keep: impl Fn(&Pubkey) -> bool) {
        let Self { tree, voters, .. } = self;
        voters.retain(|key, voter| {
            let kept = keep(key);
            if let (Some(at), false) = (voter.at, kept) {
                tree.shift(at, voter.stake.wrapping_neg());
            }
            kept
        });
        self.tree.settle();
    }
}
