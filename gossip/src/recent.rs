//! A bounded memory of when things were last noted.

use std::collections::BTreeMap;
use sundog_types::Now;

/// Keys with when they were noted, and a value. Full: the one noted longest ago is forgotten.
#[derive(Clone, Debug)]
pub struct Recent<K, V> {
    noted: BTreeMap<K, Note<V>>,
    order: BTreeMap<u64, K>,
    next: u64,
    capacity: usize,
}

#[derive(Clone, Debug)]
struct Note<V> {
    at: Now,
    place: u64,
    value: V,
}

impl<K: Ord + Clone, V> Recent<K, V> {
    /// A memory of at most `capacity` keys.
    ///
    /// # Panics
    /// If `capacity` is zero.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a memory of nothing");
        Self { noted: BTreeMap::new(), order: BTreeMap::new(), next: 0, capacity }
    }

    /// Notes a key now, forgetting what was noted of it before.
    pub fn note(&mut self, now: Now, key: K, value: V) {
        self.remove(&key);
        if self.noted.len() == self.capacity {
            self.forget_oldest();
        }
        let place = self.next;
        self.next += 1;
        self.order.insert(place, key.clone());
        self.noted.insert(key, Note { at: now, place, value });
        assert_eq!(self.order.len(), self.noted.len());
    }

    /// When the key was noted, and with what.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<(Now, &V)> {
        self.noted.get(key).map(|note| (note.at, &note.value))
    }

    /// Forgets a key; what was noted with it.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let note = self.noted.remove(key)?;
        self.order.remove(&note.place);
        Some(note.value)
    }

    /// Forgets what was noted before `moment`.
    pub fn forget_before(&mut self, moment: Now) {
        while let Some((_, key)) = self.order.first_key_value() {
            if self.noted[key].at.reached(moment) {
                break;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_first() {
            self.noted.remove(&key);
        }
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.noted.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.noted.is_empty()
    }

    /// Bytes held, at most; what values hold elsewhere is not counted.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        Self::held_bytes_at(self.len())
    }

    /// Bytes that a memory of so many keys holds, at most.
    #[must_use]
    pub const fn held_bytes_at(keys: usize) -> usize {
        held_by::<K, Note<V>>(keys) + held_by::<u64, K>(keys)
    }

    /// The values, by key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.noted.values().map(|note| &note.value)
    }

    /// The keys, ascending.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.noted.keys()
    }
}

/// The moment `earlier` before `now`; the start of time if there is none.
#[must_use]
pub fn before(now: Now, earlier: std::time::Duration) -> Now {
    let us = u64::try_from(earlier.as_micros()).unwrap_or(u64::MAX);
    Now { mono_us: now.mono_us.saturating_sub(us), unix_ms: now.unix_ms.saturating_sub(us / 1_000) }
}

/// Bytes that a B-tree map of so many entries holds, at most: its nodes have room for 11 entries, an edge for each and
/// their bookkeeping, and each but one is filled with 5 at least.
#[must_use]
pub const fn held_by<K, V>(entries: usize) -> usize {
    let node = 11 * size_of::<(K, V)>() + 14 * size_of::<usize>();
    (entries / 5 + 1) * node
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const START: Now = Now { mono_us: 1_000, unix_ms: 1 };

    #[test]
    fn a_full_memory_forgets_what_was_noted_longest_ago() {
        let mut recent = Recent::new(2);
        for key in [1, 2, 1, 3] {
            recent.note(START, key, ());
        }
        assert_eq!(recent.keys().copied().collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn what_is_too_old_is_forgotten() {
        let mut recent = Recent::new(9);
        for key in 0..5u64 {
            recent.note(START.after(Duration::from_secs(key)), key, ());
        }
        recent.forget_before(before(START.after(Duration::from_secs(10)), Duration::from_secs(7)));
        assert_eq!(recent.keys().copied().collect::<Vec<_>>(), [3, 4]);
    }
}
