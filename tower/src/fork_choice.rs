//! The heaviest subtree: which block most of the stake stands behind.
//!
//! Every voter counts once, with its newest vote, for the voted block and all below it. From the root the
//! heaviest child is followed to the tip. Blocks are told apart by slot and bank hash, since a cheating
//! leader can make two of one slot; until one of them is confirmed by 52 % of the stake none is followed
//! (reference 8.7, 8.8).
//!
//! A vote that moves costs a step for every block between its old place, its new place and their nearest common
//! ancestor, however large the tree is; a batch costs one for every block that any of its votes passes. To ask for
//! the best tip costs a step for every block from the root to it.

mod mark;
mod tree;

use indexmap::{IndexMap, map::Entry};
use sundog_types::{Hash, Pubkey, Slot};
use tree::{Id, Tree};

/// A block: its slot and its bank hash. Among equal weights the smaller one wins.
pub type BlockKey = (Slot, Hash);

/// What the fork choice knows of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Stake of voters whose newest vote is this block, in lamports.
    pub stake_at: u64,
    /// Stake of voters whose newest vote is this block or a descendant, in lamports.
    pub stake_subtree: u64,
    /// Blocks on the longest chain from here, itself included.
    pub height: usize,
    /// The tip that the heaviest valid children lead to.
    pub best: BlockKey,
    /// The tip of the longest chain from here, valid or not.
    pub deepest: BlockKey,
    /// The block it is built on; none for the root.
    pub parent: Option<BlockKey>,
    /// The newest unconfirmed duplicate among itself and its ancestors.
    pub latest_invalid_ancestor: Option<Slot>,
    /// Whether 52 % of the stake confirmed it or a descendant.
    pub duplicate_confirmed: bool,
}

impl Standing {
    /// Whether the walk along the heaviest blocks may pass through it.
    #[must_use]
    pub fn is_candidate(&self) -> bool {
        self.latest_invalid_ancestor.is_none()
    }
}

/// A voter's newest vote and the stake that was counted for it.
#[derive(Clone, Copy, Debug)]
struct Voter {
    block: BlockKey,
    /// The block's place; none when it is no longer in the tree, and then no stake is counted.
    at: Option<Id>,
    stake: u64,
}

impl Voter {
    fn forget_unless(&mut self, is_there: impl Fn(Id, &BlockKey) -> bool) {
        if self.at.is_some_and(|at| !is_there(at, &self.block)) {
            (self.at, self.stake) = (None, 0);
        }
    }

    /// Of two versions of one slot's block the smaller hash counts.
    fn is_overtaken_by(&self, (slot, hash): BlockKey) -> bool {
        slot > self.block.0 || (slot == self.block.0 && hash < self.block.1)
    }
}

/// The tree of blocks with the stake behind each.
///
/// The owner bounds it: it adds blocks and removes leaves, and it keeps only voters with stake. Stake is summed in
/// lamports, of which there are far fewer than 2^64.
#[derive(Clone, Debug)]
pub struct ForkChoice {
    root: Id,
    tree: Tree,
    voters: IndexMap<Pubkey, Voter>,
}

impl ForkChoice {
    /// A tree of one block, which counts as confirmed.
    #[must_use]
    pub fn new(root: BlockKey) -> Self {
        let (tree, root) = Tree::new(root);
        Self { root, tree, voters: IndexMap::new() }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> BlockKey {
        self.tree.at(self.root).key
    }

    /// The block that the heaviest valid children lead to from the root.
    #[must_use]
    pub fn best_overall(&self) -> BlockKey {
        self.tree.tip(self.root, |node| node.heaviest)
    }

    /// The tip of the longest chain, valid or not.
    #[must_use]
    pub fn deepest_overall(&self) -> BlockKey {
        self.tree.tip(self.root, |node| node.deepest)
    }

    /// What is known of a block.
    #[must_use]
    pub fn get(&self, key: &BlockKey) -> Option<Standing> {
        let id = self.tree.find(key)?;
        let best = self.tree.tip(id, |node| node.heaviest);
        let deepest = self.tree.tip(id, |node| node.deepest);
        Some(self.standing(id, best, deepest))
    }

    fn standing(&self, id: Id, best: BlockKey, deepest: BlockKey) -> Standing {
        let node = self.tree.at(id);
        Standing {
            stake_at: node.stake_at,
            stake_subtree: node.stake_subtree,
            height: node.height as usize,
            best,
            deepest,
            parent: node.parent.map(|parent| self.tree.at(parent).key),
            latest_invalid_ancestor: node.invalid,
            duplicate_confirmed: node.confirmed,
        }
    }

    /// How many blocks the tree holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Never: there is always a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.len() == 0
    }

    /// Every block with what is known of it, in order.
    pub fn iter(&self) -> impl Iterator<Item = (BlockKey, Standing)> + '_ {
        // Children come after their parents, so that backwards every tip is known when it is asked for.
        let mut tips = vec![self.root(); 2 * self.tree.slab_len()];
        for id in self.tree.subtree(self.root).into_iter().rev() {
            let node = self.tree.at(id);
            for (kind, next) in [node.heaviest, node.deepest].into_iter().enumerate() {
                tips[2 * id.index() + kind] = next.map_or(node.key, |next| tips[2 * next.index() + kind]);
            }
        }
        self.tree.ids().map(move |id| {
            let (best, deepest) = (tips[2 * id.index()], tips[2 * id.index() + 1]);
            (self.tree.at(id).key, self.standing(id, best, deepest))
        })
    }

    /// The newest vote of every voter, and the stake that counts for it: none once its block is gone.
    pub fn latest_votes(&self) -> impl Iterator<Item = (&Pubkey, BlockKey, u64)> + '_ {
        self.voters.iter().map(|(key, voter)| (key, voter.block, voter.stake))
    }

    /// Adds an executed block under an older one. Known blocks, and blocks whose parent is unknown, change
    /// nothing; whether it was added is told.
    pub fn add(&mut self, key: BlockKey, parent: BlockKey) -> bool {
        match self.tree.find(&parent) {
            Some(parent) if self.tree.find(&key).is_none() => {
                self.tree.insert(key, parent);
                true
            }
            _ => false,
        }
    }

    /// Moves voters to their newest votes. A vote counts if its block is in the tree and newer than the
    /// voter's last one, or for a smaller hash of the same slot. `stake_of` is asked with the voter and
    /// the slot voted for; what it answers is what is taken back when the voter moves on.
    pub fn vote(
        &mut self,
        votes: impl IntoIterator<Item = (Pubkey, BlockKey)>,
        stake_of: impl Fn(&Pubkey, Slot) -> u64,
    ) {
        for (voter, block) in votes {
            let mut entry = self.voters.entry(voter);
            if matches!(&entry, Entry::Occupied(known) if !known.get().is_overtaken_by(block)) {
                continue;
            }
            let Some(at) = self.tree.find(&block) else {
                continue;
            };
            let stake = stake_of(&voter, block.0);
            if let Entry::Occupied(known) = &mut entry
                && let Voter { at: Some(old), stake, .. } = *known.get()
            {
                self.tree.shift(old, stake.wrapping_neg());
            }
            self.tree.shift(at, stake);
            entry.insert_entry(Voter { block, at: Some(at), stake });
        }
        self.tree.settle();
    }
}
