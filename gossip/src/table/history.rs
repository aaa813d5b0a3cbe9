//! The order in which values came.

use std::collections::VecDeque;

/// Entries of values that are gone, kept besides as many as there are values.
const STALE_MAX: usize = 1_024;

/// Bytes of one entry.
pub(super) const ENTRY_BYTES: usize = size_of::<(u64, u32)>();

/// Entries at most while `values` values are kept.
pub(super) const fn entries_max(values: usize) -> usize {
    2 * values + STALE_MAX + 1
}

/// A log of which place of the slab was filled when. What left the table stays in the log until it is swept.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    log: VecDeque<(u64, u32)>,
    next: u64,
}

impl History {
    /// Notes that the value at `at` came; its number.
    pub(super) fn push(&mut self, at: u32) -> u64 {
        let order = self.next;
        self.log.push_back((order, at));
        self.next += 1;
        order
    }

    /// Drops what is not `live` if that is more than half.
    pub(super) fn sweep(&mut self, values: usize, live: impl Fn(u64, u32) -> bool) {
        if self.log.len() >= entries_max(values) {
            self.log.retain(|(order, at)| live(*order, *at));
        }
    }

    /// The number that the next value will have.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Numbers and places from `order` on.
    pub(super) fn since(&self, order: u64) -> impl Iterator<Item = (u64, u32)> + '_ {
        let first = self.log.partition_point(|(at, _)| *at < order);
        self.log.range(first..).copied()
    }

    /// Bytes of memory taken.
    pub(super) fn held_bytes(&self) -> usize {
        self.log.capacity() * ENTRY_BYTES
    }
}
