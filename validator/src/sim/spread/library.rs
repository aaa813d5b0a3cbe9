//! A stand-in for ten thousand ledgers: each node remembers which data shreds it has, their bytes are there once.

use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use sundog_turbine::ShredSource;
use sundog_types::{
    FecSetIndex, Hash, ShredIndex, Slot,
    shred::{Kind, Shred, Signed},
};

const SET: u32 = 32;

/// The bytes of all data shreds that any node stored, by slot, index and the root they were signed under.
#[derive(Debug, Default)]
pub struct Library(Mutex<BTreeMap<(Slot, ShredIndex, Hash), Bytes>>);

/// What one node stored.
#[derive(Debug)]
pub struct Shelf {
    library: Arc<Library>,
    /// For each set, the root of the version that is here, and which of its data shreds.
    sets: Mutex<BTreeMap<(Slot, FecSetIndex), (Hash, u32)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Library {
    /// Forgets slots below this one.
    pub fn forget_below(&self, slot: Slot) {
        let mut books = locked(&self.0);
        *books = books.split_off(&(slot, ShredIndex::ZERO, Hash::default()));
    }
}

impl Shelf {
    /// An empty one.
    #[must_use]
    pub fn new(library: Arc<Library>) -> Self {
        Self { library, sets: Mutex::default() }
    }

    /// Stores data shreds; code shreds are left out, nobody asks for them. A second version of a set replaces the first.
    pub fn store(&self, shreds: &[Shred<Signed>]) {
        let (mut sets, mut books) = (locked(&self.sets), locked(&self.library.0));
        for shred in shreds.iter().filter(|shred| shred.kind() == Kind::Data) {
            let root = shred.merkle_root();
            let key = (shred.slot(), shred.fec_set_index());
            let (held, places) = sets.entry(key).or_insert((root, 0));
            if *held != root {
                (*held, *places) = (root, 0);
            }
            *places |= 1 << (shred.leaf_index() as u32 % SET);
            books.entry((shred.slot(), shred.index(), root)).or_insert_with(|| shred.payload().clone());
        }
    }

    /// Forgets slots below this one.
    pub fn forget_below(&self, slot: Slot) {
        let mut sets = locked(&self.sets);
        *sets = sets.split_off(&(slot, FecSetIndex::ZERO));
    }
}

impl ShredSource for Shelf {
    fn data_shred(&self, slot: Slot, index: ShredIndex) -> Option<Bytes> {
        let place = index.get() % SET;
        let (root, places) = *locked(&self.sets).get(&(slot, FecSetIndex::new(index.get() - place)))?;
        let held = places & 1 << place != 0;
        held.then(|| locked(&self.library.0).get(&(slot, index, root)).cloned()).flatten()
    }

    fn highest_data_shred(&self, slot: Slot) -> Option<Bytes> {
        let end = (slot.next(), FecSetIndex::ZERO);
        let highest = {
            let sets = locked(&self.sets);
            let ((_, set), (_, places)) = sets.range((slot, FecSetIndex::ZERO)..end).next_back()?;
            set.get() + places.checked_ilog2()?
        };
        self.data_shred(slot, ShredIndex::new(highest))
    }

    fn parent(&self, slot: Slot) -> Option<Slot> {
        Shred::raw(self.highest_data_shred(slot)?).parse().ok()?.parent()
    }
}
