//! Changes to the tree itself: duplicates marked and confirmed, a new root, leaves forgotten.

use super::{BlockKey, ForkChoice};
use std::collections::BTreeSet;

impl ForkChoice {
    /// The block and all that descends from it.
    fn subtree(&self, key: BlockKey) -> BTreeSet<BlockKey> {
        let mut all = BTreeSet::new();
        let mut open = vec![key];
        while let Some(key) = open.pop() {
            if let Some(standing) = self.blocks.get(&key) {
                open.extend(&standing.children);
                all.insert(key);
            }
        }
        all
    }

    /// Marks a block as a duplicate that nobody confirmed: neither it nor its descendants are followed.
    /// Its stake still counts for its ancestors. `false` and no change if the block is unknown, or
    /// confirmed already.
    pub fn mark_invalid(&mut self, key: &BlockKey) -> bool {
        if self.blocks.get(key).is_none_or(|standing| standing.duplicate_confirmed) {
            return false;
        }
        let mut stale = self.subtree(*key);
        for key_below in &stale {
            let standing = self.blocks.get_mut(key_below).expect("in the subtree");
            standing.latest_invalid_ancestor = standing.latest_invalid_ancestor.max(Some(key.0));
        }
        self.mark_stale(&mut stale, *key);
        self.aggregate_all(stale);
        true
    }

    /// Marks a block as confirmed by 52 % of the stake: it and its ancestors are valid whatever proof of
    /// duplicates exists. Returns those newly confirmed, from the block down.
    pub fn mark_valid(&mut self, key: &BlockKey) -> Vec<BlockKey> {
        if !self.blocks.contains_key(key) {
            return Vec::new();
        }
        let mut line = vec![*key];
        while let Some(parent) = self.blocks[&line[line.len() - 1]].parent {
            line.push(parent);
        }
        let newly: Vec<BlockKey> = line.iter().filter(|k| !self.blocks[k].duplicate_confirmed).copied().collect();
        let mut stale = self.subtree(*key);
        for key_below in stale.iter().chain(&line) {
            let standing = self.blocks.get_mut(key_below).expect("known");
            if standing.latest_invalid_ancestor <= Some(key.0) {
                standing.latest_invalid_ancestor = None;
            }
        }
        for confirmed in &newly {
            self.blocks.get_mut(confirmed).expect("known").duplicate_confirmed = true;
        }
        self.mark_stale(&mut stale, *key);
        self.aggregate_all(stale);
        newly
    }

    /// Makes a known block the root and forgets every block that does not descend from it. `false` and no
    /// change if it is unknown.
    pub fn set_root(&mut self, root: &BlockKey) -> bool {
        if !self.blocks.contains_key(root) {
            return false;
        }
        let kept = self.subtree(*root);
        self.blocks.retain(|key, _| kept.contains(key));
        self.blocks.get_mut(root).expect("kept").parent = None;
        self.root = *root;
        true
    }

    /// Forgets a block that nothing is built on, with the stake on it; the voters' newest votes stay what
    /// they are. `false` and no change for the root, unknown blocks and blocks with children.
    pub fn remove_leaf(&mut self, key: &BlockKey) -> bool {
        let Some(standing) = self.blocks.get(key) else {
            return false;
        };
        let (Some(parent), true) = (standing.parent, standing.children.is_empty()) else {
            return false;
        };
        let mut stale = BTreeSet::new();
        self.mark_stale(&mut stale, *key);
        self.blocks.remove(key);
        self.blocks.get_mut(&parent).expect("parents are known").children.remove(key);
        for counted in self.latest_votes.values_mut().filter(|counted| counted.block == *key) {
            counted.stake = 0;
        }
        self.aggregate_all(stale);
        true
    }

    /// Forgets the newest votes of voters that `keep` does not want, with the stake they put on blocks.
    pub fn retain_voters(&mut self, keep: impl Fn(&sundog_types::Pubkey) -> bool) {
        let mut stale = BTreeSet::new();
        let gone: Vec<_> = self.latest_votes.keys().filter(|voter| !keep(voter)).copied().collect();
        for voter in gone {
            let counted = self.latest_votes.remove(&voter).expect("listed");
            if let Some(key) = self.shift(counted.block, |s| s - counted.stake) {
                self.mark_stale(&mut stale, key);
            }
        }
        self.aggregate_all(stale);
    }
}
