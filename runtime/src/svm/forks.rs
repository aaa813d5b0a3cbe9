//! Which block is built on which, as the cache of compiled programs asks.

use solana_program_runtime::loaded_programs::{BlockRelation, ForkGraph};
use std::collections::BTreeMap;

/// Which slot is whose parent, for the program cache.
#[derive(Default)]
pub(crate) struct Forks {
    pub(super) parents: BTreeMap<u64, u64>,
    pub(super) root: u64,
}

impl ForkGraph for Forks {
    fn relationship(&self, a: u64, b: u64) -> BlockRelation {
        match a.cmp(&b) {
            std::cmp::Ordering::Equal => BlockRelation::Equal,
            std::cmp::Ordering::Less if self.descends(b, a) => BlockRelation::Ancestor,
            std::cmp::Ordering::Greater if self.descends(a, b) => BlockRelation::Descendant,
            _ => BlockRelation::Unrelated,
        }
    }
}

impl Forks {
    fn descends(&self, slot: u64, from: u64) -> bool {
        let mut at = slot;
        while at > from {
            match self.parents.get(&at) {
                Some(parent) => at = *parent,
                // What is below the root is everybody's ancestor as far as the cache still knows it.
                None => return from < self.root && at <= self.root,
            }
        }
        at == from
    }
}
