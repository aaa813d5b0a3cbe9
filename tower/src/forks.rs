//! The tree of executed blocks above the root, one per slot.

use std::collections::{BTreeMap, BTreeSet};
use sundog_types::Slot;

/// Blocks in the tree at most: an hour of 400 ms slots without any root. The banks behind them are far
/// heavier than the tree. Full: the oldest leaf off the kept path goes; if there is none, the newcomer.
pub const MAX_BLOCKS: usize = 8_192;

/// A block of the tree with what its owner knows of it.
#[derive(Clone, Debug)]
pub struct Node<T> {
    /// The slot of the parent; for the root, the root itself.
    pub parent: Slot,
    /// Slots of the blocks built on it.
    pub children: BTreeSet<Slot>,
    /// What the owner keeps with it.
    pub block: T,
}

/// A tree of blocks by slot, all of them descendants of its root.
#[derive(Clone, Debug)]
pub struct Forks<T> {
    root: Slot,
    nodes: BTreeMap<Slot, Node<T>>,
}

impl<T> Forks<T> {
    /// A tree of one block.
    pub fn new(root: Slot, block: T) -> Self {
        let node = Node { parent: root, children: BTreeSet::new(), block };
        Self { root, nodes: BTreeMap::from([(root, node)]) }
    }

    /// The root's slot.
    #[must_use]
    pub fn root(&self) -> Slot {
        self.root
    }

    /// The slot of the newest block.
    #[must_use]
    pub fn highest(&self) -> Slot {
        self.nodes.last_key_value().map_or(self.root, |(slot, _)| *slot)
    }

    /// How many blocks there are, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: there is always a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a block under a parent.
    ///
    /// # Panics
    /// If the parent is unknown or not older, or the slot is taken: callers ask first.
    pub fn insert(&mut self, slot: Slot, parent: Slot, block: T) {
        assert!(parent < slot, "a parent is older");
        self.nodes.get_mut(&parent).expect("the parent is known").children.insert(slot);
        let node = Node { parent, children: BTreeSet::new(), block };
        assert!(self.nodes.insert(slot, node).is_none(), "one block a slot");
    }

    /// The block of a slot.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.nodes.get(&slot).map(|node| &node.block)
    }

    /// The block of a slot, to change.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.nodes.get_mut(&slot).map(|node| &mut node.block)
    }

    /// Whether the tree holds a block of `slot`.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        self.nodes.contains_key(&slot)
    }

    /// The ancestors of `slot` within the tree from parent to root; none if it is unknown.
    pub fn ancestors(&self, slot: Slot) -> impl Iterator<Item = Slot> + '_ {
        let above = |slot: Slot| {
            let node = self.nodes.get(&slot)?;
            (slot != self.root).then_some(node.parent)
        };
        std::iter::successors(above(slot), move |&slot| above(slot))
    }

    /// Whether `old` is a strict ancestor of `new` within the tree.
    #[must_use]
    pub fn is_ancestor(&self, old: Slot, new: Slot) -> bool {
        old < new && self.ancestors(new).take_while(|&slot| slot >= old).any(|slot| slot == old)
    }

    /// Whether the tree holds a block of `slot` that nothing is built on.
    #[must_use]
    pub fn is_leaf(&self, slot: Slot) -> bool {
        self.nodes.get(&slot).is_some_and(|node| node.children.is_empty())
    }

    /// Blocks that nothing is built on, ascending.
    pub fn leaves(&self) -> impl Iterator<Item = (Slot, &T)> + '_ {
        self.nodes.iter().filter(|(_, n)| n.children.is_empty()).map(|(&slot, n)| (slot, &n.block))
    }

    /// Every block, ascending by slot.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Node<T>)> + '_ {
        self.nodes.iter().map(|(&slot, node)| (slot, node))
    }

    /// Removes a leaf that is not the root.
    pub fn remove_leaf(&mut self, slot: Slot) -> Option<T> {
        let node = self.nodes.get(&slot)?;
        if slot == self.root || !node.children.is_empty() {
            return None;
        }
        let node = self.nodes.remove(&slot)?;
        if let Some(parent) = self.nodes.get_mut(&node.parent) {
            parent.children.remove(&slot);
        }
        Some(node.block)
    }

    /// Makes a known block the root and forgets all that does not descend from it.
    ///
    /// # Panics
    /// If `root` is not in the tree.
    pub fn set_root(&mut self, root: Slot) {
        assert!(self.contains(root), "the root is known");
        let mut kept = BTreeMap::new();
        let mut open = vec![root];
        while let Some(slot) = open.pop() {
            let node = self.nodes.remove(&slot).expect("children are known");
            open.extend(&node.children);
            kept.insert(slot, node);
        }
        kept.get_mut(&root).expect("kept").parent = root;
        self.root = root;
        self.nodes = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(slot: u64) -> Slot {
        Slot::new(slot)
    }

    /// 0 - 1 - 2 - 4, and 3 on 1.
    fn tree() -> Forks<()> {
        let mut forks = Forks::new(s(0), ());
        for (slot, parent) in [(1, 0), (2, 1), (3, 1), (4, 2)] {
            forks.insert(s(slot), s(parent), ());
        }
        forks
    }

    #[test]
    fn ancestors_go_from_parent_to_root() {
        assert_eq!(tree().ancestors(s(4)).collect::<Vec<_>>(), [s(2), s(1), s(0)]);
        assert_eq!(tree().ancestors(s(9)).count(), 0);
        assert!(tree().is_ancestor(s(1), s(3)) && !tree().is_ancestor(s(2), s(3)));
        assert!(!tree().is_ancestor(s(3), s(3)));
    }

    #[test]
    fn a_new_root_forgets_the_other_forks() {
        let mut forks = tree();
        forks.set_root(s(2));
        assert_eq!(forks.iter().map(|(slot, _)| slot).collect::<Vec<_>>(), [s(2), s(4)]);
        assert_eq!(forks.ancestors(s(4)).collect::<Vec<_>>(), [s(2)]);
    }

    #[test]
    fn only_leaves_can_be_removed() {
        let mut forks = tree();
        assert!(forks.remove_leaf(s(2)).is_none() && forks.remove_leaf(s(0)).is_none());
        assert!(forks.remove_leaf(s(4)).is_some());
        assert_eq!(forks.leaves().map(|(slot, ())| slot).collect::<Vec<_>>(), [s(2), s(3)]);
    }
}
