//! The heaviest subtree: which block most of the stake stands behind.
//!
//! Every voter counts once, with its newest vote, for the voted block and all below it. From the root the
//! heaviest child is followed to the tip. Blocks are told apart by slot and bank hash, since a cheating
//! leader can make two of one slot; until one of them is confirmed by 52 % of the stake none is followed
//! (reference 8.7, 8.8).

mod mark;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use sundog_types::{Hash, Pubkey, Slot};

/// A block: its slot and its bank hash. Among equal weights the smaller one wins.
pub type BlockKey = (Slot, Hash);

/// What the fork choice knows of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The blocks built on it.
    pub children: BTreeSet<BlockKey>,
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
struct Counted {
    block: BlockKey,
    stake: u64,
}

/// The tree of blocks with the stake behind each.
#[derive(Clone, Debug)]
pub struct ForkChoice {
    root: BlockKey,
    blocks: BTreeMap<BlockKey, Standing>,
    latest_votes: BTreeMap<Pubkey, Counted>,
}

impl ForkChoice {
    /// A tree of one block, which counts as confirmed.
    #[must_use]
    pub fn new(root: BlockKey) -> Self {
        let mut this = Self { root, blocks: BTreeMap::new(), latest_votes: BTreeMap::new() };
        this.put(root, None);
        this
    }

    fn put(&mut self, key: BlockKey, parent: Option<BlockKey>) {
        let invalid = parent.and_then(|p| self.blocks[&p].latest_invalid_ancestor);
        let standing = Standing {
            stake_at: 0,
            stake_subtree: 0,
            height: 1,
            best: key,
            deepest: key,
            parent,
            children: BTreeSet::new(),
            latest_invalid_ancestor: invalid,
            duplicate_confirmed: parent.is_none(),
        };
        self.blocks.insert(key, standing);
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> BlockKey {
        self.root
    }

    /// The block that the heaviest valid children lead to from the root.
    #[must_use]
    pub fn best_overall(&self) -> BlockKey {
        self.blocks[&self.root].best
    }

    /// The tip of the longest chain, valid or not.
    #[must_use]
    pub fn deepest_overall(&self) -> BlockKey {
        self.blocks[&self.root].deepest
    }

    /// What is known of a block.
    #[must_use]
    pub fn get(&self, key: &BlockKey) -> Option<&Standing> {
        self.blocks.get(key)
    }

    /// How many blocks the tree holds. The owner bounds it: it adds blocks, and removes leaves.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Never: there is always a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Every block with what is known of it, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&BlockKey, &Standing)> {
        self.blocks.iter()
    }

    /// Adds an executed block. Known blocks, and blocks whose parent is unknown, change nothing; whether
    /// it was added is told.
    pub fn add(&mut self, key: BlockKey, parent: BlockKey) -> bool {
        if self.blocks.contains_key(&key) || !self.blocks.contains_key(&parent) {
            return false;
        }
        let parent_best = self.blocks[&parent].best;
        self.put(key, Some(parent));
        self.blocks.get_mut(&parent).expect("looked up").children.insert(key);
        if self.is_best_child(&key) {
            let mut above = Some(parent);
            while let Some(standing) = above.and_then(|a| self.blocks.get_mut(&a)) {
                if standing.best != parent_best {
                    break;
                }
                standing.best = key;
                above = standing.parent;
            }
        }
        self.propagate_depth(key, parent);
        true
    }

    fn propagate_depth(&mut self, leaf: BlockKey, parent: BlockKey) {
        let (mut child, mut height, mut above) = (leaf, 1, Some(parent));
        while self.is_deepest_child(&child) {
            let Some(key) = above else { break };
            let standing = self.blocks.get_mut(&key).expect("parents are known");
            height += 1;
            (standing.deepest, standing.height) = (leaf, height);
            (child, above) = (key, standing.parent);
        }
    }

    fn siblings(&self, key: &BlockKey) -> impl Iterator<Item = &BlockKey> {
        let parent = self.blocks[key].parent.and_then(|parent| self.blocks.get(&parent));
        parent.into_iter().flat_map(|p| &p.children).filter(move |sibling| *sibling != key)
    }

    /// Larger is better; only candidates have a rank.
    fn weight_rank(&self, key: &BlockKey) -> Option<(u64, Reverse<BlockKey>)> {
        let standing = &self.blocks[key];
        standing.is_candidate().then_some((standing.stake_subtree, Reverse(*key)))
    }

    fn depth_rank(&self, key: &BlockKey) -> (usize, u64, Reverse<BlockKey>) {
        let standing = &self.blocks[key];
        (standing.height, standing.stake_subtree, Reverse(*key))
    }

    fn is_best_child(&self, key: &BlockKey) -> bool {
        // Below an invalid block the newcomer is as good as any: the tip moves with it, out of sight.
        let rank = (self.blocks[key].stake_subtree, Reverse(*key));
        self.siblings(key).filter_map(|sibling| self.weight_rank(sibling)).all(|other| other < rank)
    }

    fn is_deepest_child(&self, key: &BlockKey) -> bool {
        let rank = self.depth_rank(key);
        self.siblings(key).all(|sibling| self.depth_rank(sibling) < rank)
    }

    /// Moves voters to their newest votes. A vote counts if its block is in the tree and newer than the
    /// voter's last one, or for a smaller hash of the same slot. `stake_of` is asked with the voter and
    /// the slot voted for; what it answers is what is taken back when the voter moves on.
    pub fn vote(
        &mut self,
        votes: impl IntoIterator<Item = (Pubkey, BlockKey)>,
        stake_of: impl Fn(&Pubkey, Slot) -> u64,
    ) {
        let mut stale = BTreeSet::new();
        for (voter, block) in votes {
            let old = self.latest_votes.get(&voter).copied();
            let newer = old.is_none_or(|Counted { block: (slot, hash), .. }| {
                block.0 > slot || (block.0 == slot && block.1 < hash)
            });
            if !newer || !self.blocks.contains_key(&block) {
                continue;
            }
            let stake = stake_of(&voter, block.0);
            self.latest_votes.insert(voter, Counted { block, stake });
            if let Some(old) = old.and_then(|old| self.shift(old.block, |s| s - old.stake)) {
                self.mark_stale(&mut stale, old);
            }
            if let Some(new) = self.shift(block, |s| s.saturating_add(stake)) {
                self.mark_stale(&mut stale, new);
            }
        }
        self.aggregate_all(stale);
    }

    /// Changes the stake at a block; `None` if the block is not (or no longer) in the tree.
    fn shift(&mut self, key: BlockKey, change: impl Fn(u64) -> u64) -> Option<BlockKey> {
        let standing = self.blocks.get_mut(&key)?;
        standing.stake_at = change(standing.stake_at);
        standing.stake_subtree = change(standing.stake_subtree);
        Some(key)
    }

    /// Notes that every ancestor of `key` must be computed again.
    fn mark_stale(&self, stale: &mut BTreeSet<BlockKey>, key: BlockKey) {
        let mut above = self.blocks.get(&key).and_then(|standing| standing.parent);
        while let Some(key) = above {
            if !stale.insert(key) {
                break;
            }
            above = self.blocks.get(&key).and_then(|standing| standing.parent);
        }
    }

    /// Computes blocks again from their children, newest first.
    fn aggregate_all(&mut self, stale: BTreeSet<BlockKey>) {
        for key in stale.into_iter().rev() {
            self.aggregate(key);
        }
    }

    fn aggregate(&mut self, key: BlockKey) {
        let Some(standing) = self.blocks.get(&key) else {
            return;
        };
        let mut stake_subtree = standing.stake_at;
        let mut confirmed = standing.duplicate_confirmed;
        for child in &standing.children {
            let child = &self.blocks[child];
            stake_subtree = stake_subtree.saturating_add(child.stake_subtree);
            confirmed |= child.duplicate_confirmed;
        }
        let children = || standing.children.iter();
        let heaviest = children().filter_map(|child| self.weight_rank(child)).max();
        let best = heaviest.map_or(key, |(_, Reverse(child))| self.blocks[&child].best);
        let deep = children().map(|child| self.depth_rank(child)).max();
        let deepest = deep.map_or(key, |(_, _, Reverse(child))| self.blocks[&child].deepest);
        let height = deep.map_or(0, |(height, _, _)| height) + 1;
        let standing = self.blocks.get_mut(&key).expect("looked up");
        standing.stake_subtree = stake_subtree;
        (standing.best, standing.deepest, standing.height) = (best, deepest, height);
        if confirmed && !standing.duplicate_confirmed {
            standing.duplicate_confirmed = true;
            standing.latest_invalid_ancestor = None;
        }
    }
}
