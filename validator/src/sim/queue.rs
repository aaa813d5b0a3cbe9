//! What is still to happen in a world of thousands of nodes, by millisecond.

use std::{collections::BTreeMap, vec};

/// Events by the millisecond they happen in; within one, in the order in which they were put in. A world of thousands
/// of nodes puts in millions, so this is a queue of buckets and not a heap.
#[derive(Debug)]
pub(super) struct Queue<E> {
    buckets: BTreeMap<u64, Vec<E>>,
    /// What is left of the bucket that is being emptied.
    current: vec::IntoIter<E>,
    /// What the events of a millisecond are sorted by, if at all.
    key: Option<fn(&E) -> u32>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { buckets: BTreeMap::new(), current: Vec::new().into_iter(), key: None }
    }
}

impl<E> Queue<E> {
    /// A queue that gives the events of a millisecond sorted by a key; those with the same key in the order in which they
    /// were put in.
    pub(super) fn sorted_by(key: fn(&E) -> u32) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// Puts an event in. `at_ms` lies in the future of all that was taken out.
    pub(super) fn push(&mut self, at_ms: u64, event: E) {
        self.buckets.entry(at_ms).or_default().push(event);
    }

    /// When the next event happens.
    pub(super) fn next_ms(&self, now_ms: u64) -> Option<u64> {
        if self.current.len() > 0 { Some(now_ms) } else { self.buckets.first_key_value().map(|(ms, _)| *ms) }
    }

    /// Takes the next event out.
    pub(super) fn pop(&mut self) -> Option<E> {
        loop {
            if let Some(event) = self.current.next() {
                return Some(event);
            }
            let mut bucket = self.buckets.pop_first()?.1;
            if let Some(key) = self.key {
                bucket.sort_by_key(key);
            }
            self.current = bucket.into_iter();
        }
    }
}
