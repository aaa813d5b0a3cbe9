//! A store in memory that forgets like a disk: for the simulator and for tests.

use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use sundog_types::store::{Batch, Space, Store, StoreError, Write};

/// The most batches that are not durable. One more makes the oldest durable, as an operating system writes back
/// what has waited for long; nodes make something durable several times a second, far more often.
pub const PENDING_MAX: usize = 65_536;

/// A store in memory with the promises of a journal, and no more.
///
/// A batch is visible at once. It survives a crash if it, or a later one, was committed as durable; otherwise the
/// crash decides ([`Self::crash`], [`Self::crash_keeping`]). In no case is a batch there in part, or without those
/// before it.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    visible: BTreeMap<Space, BTreeMap<Bytes, Bytes>>,
    /// What each batch since the last durable one changed, oldest first.
    pending: VecDeque<Undo>,
}

/// The values before a batch, in the order of its writes.
type Undo = Vec<(Space, Bytes, Option<Bytes>)>;

impl State {
    fn set(&mut self, space: Space, key: Bytes, value: Option<Bytes>) -> Option<Bytes> {
        let keys = self.visible.entry(space).or_default();
        match value {
            Some(value) => keys.insert(key, value),
            None => keys.remove(&key),
        }
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses everything that was not made durable.
    pub fn crash(&self) {
        self.crash_keeping(0);
    }

    /// Loses what was not made durable, but for the oldest `batches` of it, which happened to reach the disk.
    pub fn crash_keeping(&self, batches: usize) {
        let mut state = self.write();
        while state.pending.len() > batches {
            for (space, key, before) in state.pending.pop_back().into_iter().flatten().rev() {
                state.set(space, key, before);
            }
        }
        state.pending.clear();
    }

    /// How many batches a crash could lose now.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.read().pending.len()
    }

    /// How many keys a space has.
    #[must_use]
    pub fn len(&self, space: Space) -> usize {
        self.read().visible.get(&space).map_or(0, BTreeMap::len)
    }

    /// Whether no space has a key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read().visible.values().all(BTreeMap::is_empty)
    }

    // A panic while the lock is held leaves whole values behind, so the poison says nothing.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

type Rows = Vec<(Bytes, Bytes)>;

fn owned((key, value): (&Bytes, &Bytes)) -> (Bytes, Bytes) {
    (key.clone(), value.clone())
}

fn between<'a>(from: &'a [u8], to: &'a [u8]) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(from), Bound::Excluded(to))
}

impl Store for MemoryStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.read().visible.get(&space).and_then(|keys| keys.get(key)).cloned())
    }

    fn range(&self, space: Space, from: &[u8], to: &[u8], limit: usize) -> Result<Rows, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let state = self.read();
        let keys = state.visible.get(&space).into_iter();
        Ok(keys.flat_map(|keys| keys.range::<[u8], _>(between(from, to))).take(limit).map(owned).collect())
    }

    fn range_back(&self, space: Space, from: &[u8], to: &[u8], limit: usize) -> Result<Rows, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let state = self.read();
        let keys = state.visible.get(&space).into_iter();
        Ok(keys.flat_map(|keys| keys.range::<[u8], _>(between(from, to)).rev()).take(limit).map(owned).collect())
    }

    fn commit(&self, batch: &Batch, durable: bool) -> Result<(), StoreError> {
        let mut state = self.write();
        let mut undo = Undo::with_capacity(batch.writes.len());
        for write in &batch.writes {
            let (space, key, value) = match write {
                Write::Put(space, key, value) => (*space, key.clone(), Some(value.clone())),
                Write::Delete(space, key) => (*space, key.clone(), None),
            };
            let before = state.set(space, key.clone(), value);
            undo.push((space, key, before));
        }
        state.pending.push_back(undo);
        if durable {
            state.pending.clear();
        } else if state.pending.len() > PENDING_MAX {
            state.pending.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(keys: &[(u8, u8)]) -> Batch {
        let mut batch = Batch::default();
        for (key, value) in keys {
            batch.put(Space::Singles, vec![*key], vec![*value]);
        }
        batch
    }

    fn all(store: &MemoryStore) -> Vec<(u8, u8)> {
        let rows = store.range(Space::Singles, &[], &[255, 255], usize::MAX).unwrap();
        rows.iter().map(|(key, value)| (key[0], value[0])).collect()
    }

    #[test]
    fn what_was_not_durable_is_seen_and_then_lost() {
        let store = MemoryStore::new();
        store.commit(&put(&[(1, 1), (2, 1)]), true).unwrap();
        let mut second = put(&[(1, 2), (3, 2), (3, 3)]);
        second.delete(Space::Singles, vec![2]);
        store.commit(&second, false).unwrap();
        assert_eq!(all(&store), [(1, 2), (3, 3)]);
        store.crash();
        assert_eq!(all(&store), [(1, 1), (2, 1)]);
    }

    #[test]
    fn a_durable_batch_carries_those_before_it() {
        let store = MemoryStore::new();
        store.commit(&put(&[(1, 1)]), false).unwrap();
        store.commit(&Batch::default(), true).unwrap();
        store.crash();
        assert_eq!(all(&store), [(1, 1)]);
    }

    #[test]
    fn a_crash_tears_between_batches_and_never_inside_one() {
        let store = MemoryStore::new();
        for step in 1..=3 {
            store.commit(&put(&[(1, step), (2, step)]), false).unwrap();
        }
        store.crash_keeping(2);
        assert_eq!(all(&store), [(1, 2), (2, 2)]);
        store.crash();
        assert_eq!(all(&store), [(1, 2), (2, 2)], "what reached the disk stays there");
    }

    #[test]
    fn when_too_much_is_pending_the_oldest_becomes_durable() {
        let store = MemoryStore::new();
        for step in 0..=PENDING_MAX {
            store.commit(&put(&[(1, (step % 200) as u8)]), false).unwrap();
        }
        assert_eq!(store.pending(), PENDING_MAX);
        store.crash();
        assert_eq!(all(&store), [(1, 0)]);
    }

    #[test]
    fn ranges_are_half_open_bounded_and_in_order() {
        let store = MemoryStore::new();
        store.commit(&put(&[(1, 1), (2, 2), (3, 3), (4, 4)]), false).unwrap();
        let keys = |rows: Rows| rows.iter().map(|(key, _)| key[0]).collect::<Vec<_>>();
        assert_eq!(keys(store.range(Space::Singles, &[1], &[4], 9).unwrap()), [1, 2, 3]);
        assert_eq!(keys(store.range_back(Space::Singles, &[1], &[4], 2).unwrap()), [3, 2]);
        assert_eq!(keys(store.range(Space::Singles, &[4], &[1], 9).unwrap()), [0u8; 0]);
        assert_eq!(keys(store.range(Space::Slots, &[0], &[9], 9).unwrap()), [0u8; 0]);
    }

    proptest! {
        #[test]
        fn a_crash_leaves_a_prefix_of_the_batches(
            batches in proptest::collection::vec((proptest::collection::vec((0u8..8, any::<u8>()), 0..6), any::<bool>()), 0..12),
            keep in 0usize..4,
        ) {
            let store = MemoryStore::new();
            for (keys, durable) in &batches {
                store.commit(&put(keys), *durable).unwrap();
            }
            let durable = batches.iter().rposition(|(_, durable)| *durable).map_or(0, |at| at + 1);
            let survive = batches.len().min(durable + keep);
            store.crash_keeping(keep);
            let mut expected = BTreeMap::new();
            for (keys, _) in &batches[..survive] {
                expected.extend(keys.iter().copied());
            }
            prop_assert_eq!(all(&store), expected.into_iter().collect::<Vec<_>>());
        }
    }
}
