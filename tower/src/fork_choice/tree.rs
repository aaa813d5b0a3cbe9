//! The tree itself: blocks in a slab, linked by their places in it, and the stake that moves through it.
//!
//! Nothing in a node tells a tip: each only knows its heaviest valid child and its deepest child, and a tip is
//! found by following those. So a change of stake stops where it no longer changes a sum:
//!
//! ```text
//!            o           a vote that moves from A to B takes its stake from A upwards
//!            |           and brings it from B upwards; at X both meet, nothing is left
//!            X           to carry, and the rest of the tree is not looked at
//!          /   \
//!    -10  o     o  +10
//!         |     |
//!    -10  A     B  +10
//! ```

use super::BlockKey;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::mem::take;
use sundog_types::Slot;

/// A place in the slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u32);

impl Id {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A block and its place in the tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) key: BlockKey,
    pub(super) parent: Option<Id>,
    first_child: Option<Id>,
    next_sibling: Option<Id>,
    /// The child most of the stake is behind, among those that may be followed.
    pub(super) heaviest: Option<Id>,
    /// The child with the longest chain.
    pub(super) deepest: Option<Id>,
    pub(super) stake_at: u64,
    pub(super) stake_subtree: u64,
    /// Stake that came (or, wrapped around, went) below and is not in `stake_subtree` yet.
    pending: u64,
    /// Blocks between it and the first root of all; only compared.
    depth: u32,
    pub(super) height: u32,
    pub(super) invalid: Option<Slot>,
    pub(super) confirmed: bool,
    /// Whether it waits in the queue of [`Tree::settle`].
    queued: bool,
    /// Whether its best children have to be looked for again.
    unsure: bool,
}

/// Which children a search looks at, and by what.
type Weight = (u64, Reverse<BlockKey>);
type Depth = (u32, u64, Reverse<BlockKey>);

impl Node {
    fn weight(&self) -> Weight {
        (self.stake_subtree, Reverse(self.key))
    }

    fn depth_rank(&self) -> Depth {
        (self.height, self.stake_subtree, Reverse(self.key))
    }
}

/// Blocks by place, and places by key.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    free: Vec<Id>,
    places: BTreeMap<BlockKey, Id>,
    /// Blocks at which stake came or went, with their depths. Empty between calls, like the next two.
    queue: Vec<(u32, Id)>,
    /// Blocks of one depth whose pending stake is carried upwards.
    wave: Vec<Id>,
    /// Their parents.
    next_wave: Vec<Id>,
}

impl Tree {
    pub(super) fn new(root: BlockKey) -> (Self, Id) {
        let mut this = Self {
            nodes: Vec::new(),
            free: Vec::new(),
            places: BTreeMap::new(),
            queue: Vec::new(),
            wave: Vec::new(),
            next_wave: Vec::new(),
        };
        let id = this.place(root, None);
        (this, id)
    }

    fn place(&mut self, key: BlockKey, parent: Option<Id>) -> Id {
        let above = parent.map(|parent| self.at(parent));
        let node = Node {
            key,
            parent,
            first_child: None,
            next_sibling: above.and_then(|above| above.first_child),
            heaviest: None,
            deepest: None,
            stake_at: 0,
            stake_subtree: 0,
            pending: 0,
            depth: above.map_or(0, |above| above.depth + 1),
            height: 1,
            invalid: above.and_then(|above| above.invalid),
            confirmed: parent.is_none(),
            queued: false,
            unsure: false,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.nodes[id.index()] = node;
                id
            }
            None => {
                self.nodes.push(node);
                Id(u32::try_from(self.nodes.len() - 1).expect("fewer blocks than 2^32"))
            }
        };
        self.places.insert(key, id);
        if let Some(parent) = parent {
            self.at_mut(parent).first_child = Some(id);
        }
        id
    }

    pub(super) fn at(&self, id: Id) -> &Node {
        &self.nodes[id.index()]
    }

    pub(super) fn at_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    pub(super) fn find(&self, key: &BlockKey) -> Option<Id> {
        self.places.get(key).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Places a slab has: every [`Id::index`] is smaller.
    pub(super) fn slab_len(&self) -> usize {
        self.nodes.len()
    }

    /// Every block, in order of the keys.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        self.places.values().copied()
    }

    fn children(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        std::iter::successors(self.at(id).first_child, |&child| self.at(child).next_sibling)
    }

    /// The block and all that descends from it, parents before children.
    pub(super) fn subtree(&self, id: Id) -> Vec<Id> {
        let mut all = vec![id];
        let mut next = 0;
        while let Some(&id) = all.get(next) {
            all.extend(self.children(id));
            next += 1;
        }
        all
    }

    /// The block and its ancestors, up to the root.
    pub(super) fn line(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        std::iter::successors(Some(id), |&id| self.at(id).parent)
    }

    /// Where following one kind of child ends.
    pub(super) fn tip(&self, id: Id, next: impl Fn(&Node) -> Option<Id>) -> BlockKey {
        let tip = std::iter::successors(Some(id), |&id| next(self.at(id))).last();
        self.at(tip.unwrap_or(id)).key
    }

    /// Adds a block under a parent.
    pub(super) fn insert(&mut self, key: BlockKey, parent: Id) {
        let id = self.place(key, Some(parent));
        let above = self.at(parent);
        // Below an invalid block the newcomer is as good as any: the tip moves with it, out of sight.
        let rival = above.heaviest.map(|child| self.at(child)).filter(|child| child.invalid.is_none());
        if rival.is_none_or(|rival| rival.weight() < (0, Reverse(key))) {
            self.at_mut(parent).heaviest = Some(id);
        }
        self.heighten(id);
    }

    /// Tells the ancestors of a new leaf how long the chain has become, as far as that is news.
    fn heighten(&mut self, leaf: Id) {
        let mut child = leaf;
        while let Some(parent) = self.at(child).parent {
            let (rank, above) = (self.at(child).depth_rank(), self.at(parent));
            if above.deepest.is_some_and(|rival| rival != child && self.at(rival).depth_rank() > rank) {
                return;
            }
            let grown = above.height <= rank.0;
            let above = self.at_mut(parent);
            above.deepest = Some(child);
            above.height = above.height.max(rank.0 + 1);
            if !grown {
                return;
            }
            child = parent;
        }
    }

    /// Removes a leaf that is not the root, with the stake on it.
    pub(super) fn remove_leaf(&mut self, id: Id) -> bool {
        let leaf = self.at(id);
        let (Some(parent), None) = (leaf.parent, leaf.first_child) else {
            return false;
        };
        let (key, stake, next) = (leaf.key, leaf.stake_subtree, leaf.next_sibling);
        let before = self.children(parent).find(|&child| self.at(child).next_sibling == Some(id));
        match before {
            Some(before) => self.at_mut(before).next_sibling = next,
            None => self.at_mut(parent).first_child = next,
        }
        self.places.remove(&key);
        self.free.push(id);
        self.elect(parent);
        let mut below = Some(parent);
        while let Some(id) = below {
            let height = self.at(id).deepest.map_or(1, |child| self.at(child).height + 1);
            if height == self.at(id).height {
                break;
            }
            self.at_mut(id).height = height;
            below = self.at(id).parent;
            if let Some(above) = below {
                self.elect(above);
            }
        }
        self.carry(parent, stake.wrapping_neg());
        self.settle();
        true
    }

    /// Makes a block the root; forgets all that does not descend from it.
    pub(super) fn set_root(&mut self, root: Id) {
        let mut kept = vec![false; self.nodes.len()];
        for id in self.subtree(root) {
            kept[id.index()] = true;
        }
        let free = &mut self.free;
        self.places.retain(|_, id| {
            if !kept[id.index()] {
                free.push(*id);
            }
            kept[id.index()]
        });
        let node = self.at_mut(root);
        (node.parent, node.next_sibling) = (None, None);
    }

    /// Looks for a block's heaviest and deepest child among all its children.
    pub(super) fn elect(&mut self, id: Id) {
        let may_be_followed = |child: &&Node| child.invalid.is_none();
        let nodes = || self.children(id).map(|child| (child, self.at(child)));
        let heaviest = nodes().filter(|(_, node)| may_be_followed(node)).max_by_key(|(_, node)| node.weight());
        let deepest = nodes().max_by_key(|(_, node)| node.depth_rank());
        let (heaviest, deepest) = (heaviest.map(|(child, _)| child), deepest.map(|(child, _)| child));
        let node = self.at_mut(id);
        (node.heaviest, node.deepest) = (heaviest, deepest);
    }

    /// Changes the stake whose newest vote is a block. [`Self::settle`] must follow.
    pub(super) fn shift(&mut self, id: Id, change: u64) {
        let node = self.at_mut(id);
        node.stake_at = node.stake_at.wrapping_add(change);
        self.carry(id, change);
    }

    /// Has a change of stake carried upwards. [`Self::settle`] must follow.
    pub(super) fn carry(&mut self, id: Id, change: u64) {
        let node = &mut self.nodes[id.index()];
        node.pending = node.pending.wrapping_add(change);
        if !node.queued {
            node.queued = true;
            self.queue.push((node.depth, id));
        }
    }

    /// Carries pending stake upwards, level by level from the deepest, until nothing is left to carry.
    pub(super) fn settle(&mut self) {
        let (mut queue, mut wave, mut next) = (take(&mut self.queue), take(&mut self.wave), take(&mut self.next_wave));
        queue.sort_unstable();
        while let Some(&(level, _)) = queue.last() {
            let mut level = level;
            loop {
                while let Some((_, id)) = queue.pop_if(|(depth, _)| *depth == level) {
                    wave.push(id);
                }
                if wave.is_empty() {
                    break;
                }
                for id in wave.drain(..) {
                    next.extend(self.pass_on(id));
                }
                std::mem::swap(&mut wave, &mut next);
                level = level.wrapping_sub(1);
            }
        }
        (self.queue, self.wave, self.next_wave) = (queue, wave, next);
    }

    /// Counts the pending stake of a block whose children have none, and hands it to the parent. Tells the parent
    /// if it has to be looked at, and is not in the queue for that already.
    fn pass_on(&mut self, id: Id) -> Option<Id> {
        let node = self.at_mut(id);
        node.queued = false;
        let unsure = take(&mut node.unsure);
        let change = take(&mut node.pending);
        let before = node.stake_subtree;
        node.stake_subtree = before.wrapping_add(change);
        let (parent, grown) = (node.parent, node.stake_subtree > before);
        if unsure {
            self.elect(id);
        }
        let parent = parent?;
        if self.at(parent).invalid.is_some() {
            // News of any kind end what a newcomer began there: see `insert`.
            self.at_mut(parent).unsure = true;
        } else if change != 0 {
            self.compare(parent, id, grown);
        } else {
            return None;
        }
        let above = self.at_mut(parent);
        above.pending = above.pending.wrapping_add(change);
        (!std::mem::replace(&mut above.queued, true)).then_some(parent)
    }

    /// Draws the consequences of a child's new stake for its parent's choice.
    fn compare(&mut self, parent: Id, id: Id, grown: bool) {
        let (above, child) = (self.at(parent), self.at(id));
        let is_best = above.heaviest == Some(id) || above.deepest == Some(id);
        if !grown {
            self.at_mut(parent).unsure |= is_best;
            return;
        }
        let beats_weight = |rival: Id| self.at(rival).weight() < child.weight();
        let beats_depth = |rival: Id| self.at(rival).depth_rank() < child.depth_rank();
        let heavier = child.invalid.is_none() && above.heaviest.is_none_or(beats_weight);
        let deeper = above.deepest.is_none_or(beats_depth);
        let above = self.at_mut(parent);
        if heavier {
            above.heaviest = Some(id);
        }
        if deeper {
            above.deepest = Some(id);
        }
    }
}
