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
    /// Ascending; of equal ones those of newer blocks first.
    prints: Vec<u64>,
    /// By how much each entry's block is below the newest.
    depths: Vec<u8>,
    /// Where the entries begin that begin with a place's number, and the end.
    starts: Vec<u32>,
    /// How much to shift a fingerprint to get its place.
    shift: u32,
}

impl Run {
    fn new(newest: u64, blocks: u64, (prints, depths): (Vec<u64>, Vec<u8>)) -> Self {
        let bits = (prints.len() / BUCKET_ENTRIES).max(2).ilog2();
        let shift = u64::BITS - bits;
        let mut starts = vec![0; (1 << bits) + 1];
        for print in &prints {
            starts[(print >> shift) as usize + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self { newest, blocks, prints, depths, starts, shift }
    }

    fn of_block(height: u64, mut prints: Vec<u64>) -> Self {
        prints.sort_unstable();
        let depths = vec![0; prints.len()];
        Self::new(height, 1, (prints, depths))
    }

    /// The newer of two first: its entries come first among equal ones.
    fn merged(newer: &Self, older: &Self) -> Self {
        let offset = u8::try_from(newer.newest - older.newest).expect("a run has few blocks");
        let length = newer.prints.len() + older.prints.len();
        let (mut prints, mut depths) = (Vec::with_capacity(length), Vec::with_capacity(length));
        let (mut a, mut b) = (0, 0);
        while a < newer.prints.len() && b < older.prints.len() {
            // Without branches that cannot be foreseen.
            let first = newer.prints[a] <= older.prints[b];
            prints.push(if first { newer.prints[a] } else { older.prints[b] });
            depths.push(if first { newer.depths[a] } else { older.depths[b] + offset });
            a += usize::from(first);
            b += usize::from(!first);
        }
        prints.extend_from_slice(&newer.prints[a..]);
        depths.extend_from_slice(&newer.depths[a..]);
        prints.extend_from_slice(&older.prints[b..]);
        depths.extend(older.depths[b..].iter().map(|depth| depth + offset));
        Self::new(newer.newest, newer.blocks + older.blocks, (prints, depths))
    }

    /// The heights of the blocks that may have it, newest first.
    fn heights(&self, print: u64) -> impl Iterator<Item = u64> {
        let place = (print >> self.shift) as usize;
        let (start, end) = (self.starts[place] as usize, self.starts[place + 1] as usize);
        let bucket = &self.prints[start..end];
        // Almost always a few entries; but their makers may have seen to it that there are more.
        let first = if bucket.len() <= 16 {
            bucket.iter().take_while(|found| **found < print).count()
        } else {
            bucket.partition_point(|found| *found < print)
        };
        let equal = bucket[first..].iter().take_while(move |found| **found == print);
        equal.zip(&self.depths[start + first..]).map(|(_, depth)| self.newest - u64::from(*depth))
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
        self.0.iter().map(|run| run.prints.len()).sum()
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

    proptest! {
        #[test]
        fn they_name_exactly_the_blocks_that_have_it_newest_first(
            blocks in prop::collection::vec(prop::collection::vec(prop_oneof![0..20_u64, any::<u64>()], 0..40), 1..150),
            first in 0..1_000_u64,
            from in 0..200_u64,
        ) {
            let mut runs = Runs::default();
            for (height, prints) in (first..).zip(&blocks) {
                runs.push(height, prints.clone());
            }
            for print in (0..20).chain(blocks.iter().flatten().copied().take(50)) {
                let numbered: Vec<_> = (first..).zip(&blocks).collect();
                let having = numbered.iter().rev().filter(|(height, _)| *height >= first + from);
                let expected: Vec<u64> = having
                    .flat_map(|(height, prints)| prints.iter().filter(|p| **p == print).map(move |_| *height))
                    .collect();
                prop_assert_eq!(all(&runs, print, first + from), expected);
            }
        }
    }

    #[test]
    fn a_few_runs_cover_many_blocks_and_old_ones_go() {
        let mut runs = Runs::default();
        for height in 0..1_000 {
            runs.push(height, vec![height, height + 1]);
            runs.forget(height.saturating_sub(299));
            assert!(runs.0.len() <= 15, "{} runs", runs.0.len());
            assert!(runs.len() <= 2 * (300 + 32), "{} entries", runs.len());
        }
        assert_eq!(all(&runs, 1_000, 0), [999]);
        assert!(all(&runs, 500, 0).is_empty());
    }
}
