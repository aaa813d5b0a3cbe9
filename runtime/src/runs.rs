//! In which blocks of a fork something may be found: sorted runs of fingerprints.
//!
//! A fork has some hundred recent blocks, and most of what is looked for is in none of them or in one. Asking every
//! block costs a search each; a run answers for many blocks at once. Runs are merged like the digits of a binary
//! counter: one block, two, four, up to [`RUN_BLOCKS_MAX`], so each entry is merged a few times and a few runs cover
//! all blocks. A run never changes, so forks share those that they have in common.
//!
//! A fingerprint is a hint: different things may have the same one, so whoever finds a block asks it.

use std::{
    hash::{DefaultHasher, Hasher as _},
    sync::Arc,
};

/// Blocks in the longest runs. Longer ones would leave fewer to search, but live on after most of their blocks are
/// forgotten.
const RUN_BLOCKS_MAX: u64 = 32;
/// Entries that share a place of a run's directory, about.
const BUCKET_ENTRIES: usize = 4;
/// The bits of an entry that say how deep in its run the block is.
const DEPTH: u64 = 0xff;
const _: () = assert!(RUN_BLOCKS_MAX <= DEPTH, "a block's depth fits");

/// A hint for a key that others may choose: they cannot find many keys with the same one.
pub(crate) fn fingerprint(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

/// The runs of one fork.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(Vec<Arc<Run>>);

/// What some consecutive blocks have.
#[derive(Debug)]
struct Run {
    /// The height of its newest block.
    newest: u64,
    blocks: u64,
    /// Ascending: a fingerprint without its last bits, and in their place by how much the block is below the newest.
    entries: Vec<u64>,
    /// Where the entries begin that begin with a place's number, and the end.
    starts: Vec<u32>,
    /// How much to shift an entry to get its place.
    shift: u32,
}

impl Run {
    fn new(newest: u64, blocks: u64, entries: Vec<u64>) -> Self {
        let bits = (entries.len() / BUCKET_ENTRIES).max(2).ilog2();
        let shift = u64::BITS - bits;
        let mut starts = vec![0; (1 << bits) + 1];
        for entry in &entries {
            starts[(entry >> shift) as usize + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self { newest, blocks, entries, starts, shift }
    }

    fn of_block(height: u64, mut prints: Vec<u64>) -> Self {
        prints.iter_mut().for_each(|print| *print &= !DEPTH);
        prints.sort_unstable();
        Self::new(height, 1, prints)
    }

    fn merged(newer: &Self, older: &Self) -> Self {
        let offset = newer.newest - older.newest;
        let mut entries = Vec::with_capacity(newer.entries.len() + older.entries.len());
        let (mut a, mut b) = (0, 0);
        while a < newer.entries.len() && b < older.entries.len() {
            let (first, second) = (newer.entries[a], older.entries[b] + offset);
            // Without branches that cannot be foreseen.
            entries.push(first.min(second));
            a += usize::from(first <= second);
            b += usize::from(first > second);
        }
        entries.extend_from_slice(&newer.entries[a..]);
        entries.extend(older.entries[b..].iter().map(|entry| entry + offset));
        Self::new(newer.newest, newer.blocks + older.blocks, entries)
    }

    /// The heights of the blocks that may have it, newest first.
    fn heights(&self, print: u64) -> impl Iterator<Item = u64> {
        let place = (print >> self.shift) as usize;
        let bucket = &self.entries[self.starts[place] as usize..self.starts[place + 1] as usize];
        let print = print & !DEPTH;
        // Almost always a few entries; but their makers may have seen to it that there are more.
        let first = if bucket.len() <= 4 * BUCKET_ENTRIES {
            bucket.iter().take_while(|entry| **entry < print).count()
        } else {
            bucket.partition_point(|entry| *entry < print)
        };
        let equal = bucket[first..].iter().take_while(move |entry| **entry & !DEPTH == print);
        equal.map(|entry| self.newest - (entry & DEPTH))
    }
}

impl Runs {
    /// Takes the next block in. Its height is one more than that of the last.
    pub(crate) fn push(&mut self, height: u64, prints: Vec<u64>) {
        let mut run = Run::of_block(height, prints);
        while let Some(before) = self.0.last().filter(|before| before.blocks == run.blocks) {
            if run.blocks >= RUN_BLOCKS_MAX {
                break;
            }
            run = Run::merged(&run, before);
            self.0.pop();
        }
        self.0.push(Arc::new(run));
    }

    /// Forgets the blocks below a height, as far as they are not in a run with others.
    pub(crate) fn forget(&mut self, below: u64) {
        self.0.retain(|run| run.newest >= below);
    }

    /// Asks the blocks of at least a height that may have something, newest first, until one has it.
    pub(crate) fn find<T>(&self, print: u64, from: u64, mut ask: impl FnMut(u64) -> Option<T>) -> Option<T> {
        let runs = self.0.iter().rev().take_while(|run| run.newest >= from);
        runs.flat_map(|run| run.heights(print)).take_while(|height| *height >= from).find_map(&mut ask)
    }

    /// Entries in all runs.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|run| run.entries.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(runs: &Runs, print: u64, from: u64) -> Vec<u64> {
        let mut found = Vec::new();
        let none: Option<()> = runs.find(print, from, |height| {
            found.push(height);
            None
        });
        assert_eq!(none, None);
        found
    }

    /// Some come often.
    fn print() -> impl Strategy<Value = u64> {
        prop_oneof![(0..20_u64).prop_map(|print| print << 8), any::<u64>()]
    }

    proptest! {
        #[test]
        fn they_name_exactly_the_blocks_that_have_it_newest_first(
            blocks in prop::collection::vec(prop::collection::vec(print(), 0..40), 1..150),
            first in 0..1_000_u64,
            from in 0..200_u64,
        ) {
            let mut runs = Runs::default();
            for (height, prints) in (first..).zip(&blocks) {
                runs.push(height, prints.clone());
            }
            for print in (0..20).map(|print| print << 8).chain(blocks.iter().flatten().copied().take(50)) {
                let numbered: Vec<_> = (first..).zip(&blocks).collect();
                let having = numbered.iter().rev().filter(|(height, _)| *height >= first + from);
                let expected: Vec<u64> = having
                    .flat_map(|(height, prints)| prints.iter().filter(|p| **p >> 8 == print >> 8).map(move |_| *height))
                    .collect();
                prop_assert_eq!(all(&runs, print, first + from), expected);
            }
        }
    }

    #[test]
    fn a_few_runs_cover_many_blocks_and_old_ones_go() {
        let mut runs = Runs::default();
        for height in 0..1_000 {
            runs.push(height, vec![height << 8, (height + 1) << 8]);
            runs.forget(height.saturating_sub(299));
            assert!(runs.0.len() <= 15, "{} runs", runs.0.len());
            assert!(runs.len() <= 2 * (300 + 32), "{} entries", runs.len());
        }
        assert_eq!(all(&runs, 1_000 << 8, 0), [999]);
        assert!(all(&runs, 500 << 8, 0).is_empty());
    }
}
