//! The frozen blocks above the root, and how they descend from each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use sundog_runtime::Bank;
use sundog_types::{Hash, Slot};

/// Frozen blocks kept in memory. The cluster stops rooting long before: a validator votes no further than 512
/// slots from its root, and each bank holds only what it changed.
pub const FROZEN_MAX: usize = 8_192;

/// Places in the tree that only blocks of others take, so that the chain that ends the wait for a root finds room.
const FROZEN_RESERVE: usize = 1_024;

/// A block that is whole, executed and frozen.
#[derive(Clone)]
pub struct Frozen {
    /// Its bank.
    pub bank: Arc<Bank>,
    /// Whether this node made it.
    pub mine: bool,
    /// The Merkle root of its last FEC set, once known.
    pub block_id: Option<Hash>,
    /// Transactions in it.
    pub transactions: u64,
}

/// The tree of frozen blocks, from the root on.
pub struct Forks {
    root: Slot,
    frozen: BTreeMap<Slot, Frozen>,
}

impl Forks {
    /// A tree that holds only its root.
    #[must_use]
    pub fn new(root: Frozen) -> Self {
        let slot = root.bank.slot();
        Self { root: slot, frozen: BTreeMap::from([(slot, root)]) }
    }

    /// Whether there is hardly room for another block: then this node makes none, and waits for a root.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.frozen.len() + FROZEN_RESERVE >= FROZEN_MAX
    }

    /// The root's slot.
    #[must_use]
    pub const fn root(&self) -> Slot {
        self.root
    }

    /// The slot of the newest block.
    #[must_use]
    pub fn highest(&self) -> Slot {
        self.frozen.last_key_value().map_or(self.root, |(slot, _)| *slot)
    }

    /// The block of `slot`.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&Frozen> {
        self.frozen.get(&slot)
    }

    /// The block of `slot`, to note what becomes known of it later.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Frozen> {
        self.frozen.get_mut(&slot)
    }

    /// Adds a block whose parent is there. False if it is not above the root, or the tree is full: the block is
    /// then replayed from the ledger when the root has moved.
    pub fn insert(&mut self, frozen: Frozen) -> bool {
        let slot = frozen.bank.slot();
        if slot <= self.root || self.frozen.len() >= FROZEN_MAX || !self.frozen.contains_key(&frozen.bank.parent_slot())
        {
            return false;
        }
        self.frozen.insert(slot, frozen);
        true
    }

    /// The slots from just above the root to `slot`, ascending; empty if `slot` does not descend from the root.
    #[must_use]
    pub fn chain_to(&self, slot: Slot) -> Vec<Slot> {
        let mut chain = Vec::new();
        let mut at = slot;
        while at > self.root {
            let Some(frozen) = self.frozen.get(&at) else { return Vec::new() };
            chain.push(at);
            at = frozen.bank.parent_slot();
        }
        if at != self.root {
            return Vec::new();
        }
        chain.reverse();
        chain
    }

    /// Whether `slot` is `ancestor` or descends from it.
    #[must_use]
    pub fn descends(&self, slot: Slot, ancestor: Slot) -> bool {
        let mut at = slot;
        while at > ancestor {
            let Some(frozen) = self.frozen.get(&at) else { return false };
            at = frozen.bank.parent_slot();
        }
        at == ancestor
    }

    /// The highest block that is not above `slot` on the way from `tip` to the root.
    #[must_use]
    pub fn ancestor_not_above(&self, tip: Slot, slot: Slot) -> Option<Slot> {
        let mut at = tip;
        while at > slot {
            at = self.frozen.get(&at)?.bank.parent_slot();
        }
        self.frozen.contains_key(&at).then_some(at)
    }

    /// Moves the root and forgets everything that does not descend from it.
    pub fn set_root(&mut self, root: Slot) {
        assert!(self.frozen.contains_key(&root), "the root {root} is a frozen block");
        let keep: Vec<Slot> = self.frozen.keys().copied().filter(|slot| self.descends(*slot, root)).collect();
        self.frozen.retain(|slot, _| keep.binary_search(slot).is_ok());
        self.root = root;
    }

    /// A block and all that is built on it; empty if it is not there.
    #[must_use]
    pub fn subtree(&self, slot: Slot) -> BTreeSet<Slot> {
        let mut found = BTreeSet::new();
        for (at, frozen) in self.frozen.range(slot..) {
            if *at == slot || found.contains(&frozen.bank.parent_slot()) {
                found.insert(*at);
            } else if found.is_empty() {
                break;
            }
        }
        found
    }

    /// Takes a block out that is not the root. What is built on it is to be taken out first, or next.
    pub fn remove(&mut self, slot: Slot) -> Option<Frozen> {
        if slot == self.root { None } else { self.frozen.remove(&slot) }
    }

    /// The blocks, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Frozen)> {
        self.frozen.iter().map(|(slot, frozen)| (*slot, frozen))
    }
}
