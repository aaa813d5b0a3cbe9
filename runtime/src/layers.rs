//! What the blocks above the rooted accounts changed: one layer for each block, and an index over them.

use crate::{
    accounts::Stored,
    runs::{Runs, fingerprint},
};
use indexmap::IndexMap;
use solana_account::AccountSharedData;
use std::{
    hash::{BuildHasher, DefaultHasher, Hasher as _},
    sync::{Arc, Weak},
};
use sundog_types::{Hash, Pubkey};

/// Accounts by address, in the order in which they were first written.
pub(crate) type Accounts = IndexMap<Pubkey, AccountSharedData, Seeded>;

/// Hashes addresses so that nobody can choose many that collide: the seed is known only when the block below is.
/// Nothing depends on it but time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(parent: &Hash) -> Self {
        Self(u64::from_le_bytes(parent.as_bytes()[..8].try_into().expect("eight bytes")))
    }
}

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// Layers in a chunk: forks share what is full, so that a bank keeps a pointer for so many blocks below it.
const CHUNK_LAYERS: usize = 32;

/// What one block changed.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) slot: u64,
    pub(crate) height: u64,
    pub(crate) accounts: Accounts,
}

impl Layer {
    pub(crate) fn new(slot: u64, height: u64, seed: Seeded) -> Self {
        Self { slot, height, accounts: Accounts::with_hasher(seed) }
    }

    pub(crate) fn get(&self, key: &Pubkey) -> Option<Stored> {
        self.accounts.get(key).map(|account| (account.clone(), self.slot))
    }
}

/// The layers below a bank, down to the rooted accounts. The banks own them: when the root moves up, those below it
/// are gone, and the rooted accounts have what they had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    /// Oldest first, [`CHUNK_LAYERS`] in each; their heights follow each other, and those of `last` follow them.
    full: Vec<Arc<[Weak<Layer>]>>,
    last: Vec<Weak<Layer>>,
    /// Height of the oldest.
    first: u64,
    runs: Runs,
}

impl Layers {
    /// Puts the next layer on top.
    pub(crate) fn push(&mut self, layer: &Arc<Layer>) {
        let is_gone = |chunk: &Arc<[Weak<Layer>]>| chunk.iter().all(|layer| layer.strong_count() == 0);
        let gone = self.full.iter().take_while(|chunk| is_gone(chunk)).count();
        self.full.drain(..gone);
        self.first = layer.height - self.len() as u64;
        self.last.push(Arc::downgrade(layer));
        if self.last.len() == CHUNK_LAYERS {
            self.full.push(std::mem::take(&mut self.last).into());
        }
        self.runs.forget(self.first);
        self.runs.push(layer.height, layer.accounts.keys().map(|key| fingerprint(key.as_ref())).collect());
    }

    /// An account as the topmost layer has it that has it at all.
    pub(crate) fn get(&self, key: &Pubkey) -> Option<Stored> {
        let found = self.runs.find(fingerprint(key.as_ref()), self.first, |height| {
            match self.layer((height - self.first) as usize).upgrade() {
                Some(layer) => layer.get(key).map(Some),
                // The root is above it, so this and what is below is in the rooted accounts.
                None => Some(None),
            }
        });
        found.flatten()
    }

    fn len(&self) -> usize {
        self.full.len() * CHUNK_LAYERS + self.last.len()
    }

    fn layer(&self, place: usize) -> &Weak<Layer> {
        let chunk = self.full.get(place / CHUNK_LAYERS).map_or(&self.last[..], |chunk| chunk);
        &chunk[place % CHUNK_LAYERS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(height: u64, accounts: &[(u8, u64)]) -> Arc<Layer> {
        let mut layer = Layer::new(10 * height, height, Seeded::default());
        for (key, lamports) in accounts {
            let key = Pubkey::new_from_array([*key; 32]);
            layer.accounts.insert(key, AccountSharedData::new(*lamports, 0, &Pubkey::default()));
        }
        Arc::new(layer)
    }

    #[test]
    fn the_newest_layer_answers_and_those_that_are_gone_do_not() {
        let held: Vec<_> = (5..80).map(|height| layer(height, &[(1, height), (height as u8, 7)])).collect();
        let mut layers = Layers::default();
        held.iter().for_each(|layer| layers.push(layer));
        let slot = |layers: &Layers, key: u8| layers.get(&Pubkey::new_from_array([key; 32])).map(|(_, slot)| slot);
        assert_eq!(slot(&layers, 1), Some(790));
        assert_eq!(slot(&layers, 6), Some(60));
        assert_eq!(slot(&layers, 90), None);
        let mut held = held;
        held.drain(..40);
        assert_eq!([slot(&layers, 6), slot(&layers, 44), slot(&layers, 45)], [None, None, Some(450)]);
        layers.push(&layer(80, &[]));
        assert_eq!([slot(&layers, 6), slot(&layers, 1), slot(&layers, 45)], [None, Some(790), Some(450)]);
        assert_eq!((layers.first, layers.len()), (37, 44), "a chunk goes when all in it are gone");
    }
}
