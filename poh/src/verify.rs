//! Checks of a block's entries: tick counts, hash counts, and the hashes themselves.

use crate::{Chain, mixin, mixin::mixins};
use rayon::prelude::*;
use sundog_types::{
    Hash, TickHeight,
    entry::Entry,
    kernel::sha256::{self, DIGEST, Kernel},
};

/// Hashes that a tick may claim where the cluster does not count them. An honest leader makes one per
/// tick and one per record there; this bounds what a lying one can make its followers compute.
pub const LOW_POWER_HASHES_PER_TICK_MAX: u64 = 100_000;

/// Why a chain of entries is wrong. The block can never become valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// The hash of an entry does not follow from the one before it.
    #[error("entry {index} does not follow from the one before it; the block is invalid")]
    InvalidEntryHash {
        /// Place of the entry in what was checked.
        index: usize,
    },
    /// The entries claim more hashes than allowed; none was computed.
    #[error("{claimed} hashes are claimed where {allowed} can be; the block is invalid")]
    TooManyHashes {
        /// The sum over the entries.
        claimed: u64,
        /// The budget given.
        allowed: u64,
    },
}

/// Why the ticks of a block are wrong (reference 2.6). The block can never become valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TickFault {
    /// More ticks than the block's slots have.
    #[error("more ticks than the slot has; the block is invalid")]
    TooManyTicks,
    /// The last shred was read, but ticks are missing.
    #[error("the block ended before its last tick; the block is invalid")]
    TooFewTicks,
    /// An entry follows the last tick.
    #[error("an entry follows the last tick; the block is invalid")]
    TrailingEntry,
    /// The last tick came, but the block goes on.
    #[error("the last tick came before the last shred; the block is invalid")]
    InvalidLastTick,
    /// The hashes between two ticks are not as many as the cluster's configuration says.
    #[error("a tick does not take the number of hashes it must; the block is invalid")]
    InvalidTickHashCount,
}

/// How far the ticks of a block have been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickPosition {
    /// Height of the last tick seen; the parent's at first.
    pub height: TickHeight,
    /// Height at which the block is complete.
    pub end: TickHeight,
    /// Hashes since the last tick.
    pub hashes: u64,
}

/// The hash after an entry of `num_hashes` hashes with these transactions (reference 2.2).
#[must_use]
pub fn next_hash(start: Hash, entry: &Entry) -> Hash {
    if entry.num_hashes == 0 && entry.is_tick() {
        return start;
    }
    let mut chain = Chain::new(start, None);
    chain.advance(entry.num_hashes.saturating_sub(1));
    let step = if entry.is_tick() { chain.tick() } else { chain.record(&mixin(&entry.transactions)) };
    step.expect("a chain without a tick length takes everything").hash
}

/// Hashes below which to wake other threads costs more than they save: a millisecond's worth.
const WORTH_SHARING: u64 = 50_000;

/// The hashes that a block of `ticks` ticks may claim, to be given to [`verify_entries`].
#[must_use]
pub fn hash_budget(ticks: u64, hashes_per_tick: Option<u64>) -> u64 {
    ticks.saturating_mul(hashes_per_tick.unwrap_or(LOW_POWER_HASHES_PER_TICK_MAX))
}

/// Recomputes every entry's hash, from `start`, the hash before the first one: several side by side, since the start of an
/// entry is the claimed hash of the one before. Runs on the rayon pool that calls it.
///
/// # Errors
/// The first entry that is wrong, or a claim of more than `budget` hashes in all.
pub fn verify_entries(start: Hash, entries: &[Entry], budget: u64) -> Result<(), EntryFault> {
    let claimed = entries.iter().fold(0, |sum: u64, entry| sum.saturating_add(entry.num_hashes));
    if claimed > budget {
        return Err(EntryFault::TooManyHashes { claimed, allowed: budget });
    }
    let fault = |index| EntryFault::InvalidEntryHash { index };
    let share = share(entries.len(), rayon::current_num_threads(), Kernel::best());
    if share >= entries.len() || claimed < WORTH_SHARING {
        return first_wrong(start, entries).map_or(Ok(()), |index| Err(fault(index)));
    }
    let wrong = entries.par_chunks(share).enumerate().filter_map(|(chunk, some)| {
        let first = chunk * share;
        let before = first.checked_sub(1).map_or(start, |before| entries[before].hash);
        Some(first + first_wrong(before, some)?)
    });
    wrong.min().map_or(Ok(()), |index| Err(fault(index)))
}

/// How many entries each thread takes: as many as fill all lanes, since fewer would take as long. Only entries that do not
/// fill them once are torn apart, and only into so few for each thread that the kernel does without its lanes.
fn share(entries: usize, threads: usize, kernel: Kernel) -> usize {
    let even = entries.div_ceil(threads);
    if entries < kernel.lanes() && even <= kernel.few() { even } else { even.next_multiple_of(kernel.lanes()) }
}

/// The first of some entries that does not follow from the one before it.
fn first_wrong(start: Hash, entries: &[Entry]) -> Option<usize> {
    let kernel = Kernel::best();
    let before = std::iter::once(start).chain(entries.iter().map(|entry| entry.hash));
    // The last hash of an entry with transactions takes in what they are.
    let plain = |entry: &Entry| if entry.is_tick() { entry.num_hashes } else { entry.num_hashes.saturating_sub(1) };
    let mut chains: Vec<sha256::Chain> = before
        .zip(entries)
        .map(|(before, entry)| sha256::Chain { hash: before.to_bytes(), times: plain(entry) })
        .collect();
    kernel.chains(&mut chains);
    let records: Vec<usize> = (0..entries.len()).filter(|at| !entries[*at].is_tick()).collect();
    let mixins = mixins(&records.iter().map(|at| entries[*at].transactions.as_slice()).collect::<Vec<_>>());
    let mixed: Vec<Vec<u8>> =
        records.iter().zip(mixins).map(|(at, mixin)| [chains[*at].hash, mixin.to_bytes()].concat()).collect();
    let mut digests = vec![[0; DIGEST]; records.len()];
    kernel.digests(&[], &mixed.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut digests);
    for (at, digest) in records.into_iter().zip(digests) {
        chains[at].hash = digest;
    }
    chains.iter().zip(entries).position(|(chain, entry)| chain.hash != entry.hash.to_bytes())
}

/// Whether every tick took `hashes_per_tick` hashes; `carried` are those since the last tick, before
/// and after. Without a number per tick nothing is checked or carried.
pub fn verify_tick_hash_count(entries: &[Entry], hashes_per_tick: Option<u64>, carried: &mut u64) -> bool {
    let Some(hashes_per_tick) = hashes_per_tick.filter(|hashes| *hashes > 0) else {
        return true;
    };
    for entry in entries {
        *carried = carried.saturating_add(entry.num_hashes);
        if entry.is_tick() {
            if *carried != hashes_per_tick {
                return false;
            }
            *carried = 0;
        }
    }
    *carried < hashes_per_tick
}

/// Checks the ticks of the next entries of a block, and moves `position` past them. `last`: nothing
/// follows them in the slot.
///
/// # Errors
/// The first rule that is broken; the position then means nothing any more.
pub fn verify_ticks(
    position: &mut TickPosition,
    entries: &[Entry],
    hashes_per_tick: Option<u64>,
    last: bool,
) -> Result<(), TickFault> {
    let ticks = entries.iter().filter(|entry| entry.is_tick()).count() as u64;
    position.height = position.height.saturating_add(ticks);
    if position.height > position.end {
        return Err(TickFault::TooManyTicks);
    }
    if position.height < position.end && last {
        return Err(TickFault::TooFewTicks);
    }
    if position.height == position.end {
        if entries.last().is_some_and(|entry| !entry.is_tick()) {
            return Err(TickFault::TrailingEntry);
        }
        if !last {
            return Err(TickFault::InvalidLastTick);
        }
    }
    if !verify_tick_hash_count(entries, hashes_per_tick, &mut position.hashes) {
        return Err(TickFault::InvalidTickHashCount);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use solana_transaction::versioned::VersionedTransaction;

    fn tick(num_hashes: u64) -> Entry {
        Entry { num_hashes, ..Entry::default() }
    }

    fn record(num_hashes: u64) -> Entry {
        Entry { transactions: vec![VersionedTransaction::default()], ..tick(num_hashes) }
    }

    #[track_caller]
    fn check(entries: &[Entry], last: bool, expected: Result<(), TickFault>) {
        let end = TickHeight::new(12);
        let mut position = TickPosition { height: TickHeight::new(10), end, hashes: 0 };
        assert_eq!(verify_ticks(&mut position, entries, Some(4), last), expected);
    }

    #[test]
    fn a_block_ends_with_its_last_tick() {
        check(&[tick(4), record(1), tick(3)], true, Ok(()));
        check(&[tick(4), record(1)], false, Ok(()));
        check(&[tick(4), tick(4), tick(4)], true, Err(TickFault::TooManyTicks));
        check(&[tick(4)], true, Err(TickFault::TooFewTicks));
        check(&[tick(4), tick(4), record(1)], true, Err(TickFault::TrailingEntry));
        check(&[tick(4), tick(4)], false, Err(TickFault::InvalidLastTick));
    }

    #[test]
    fn a_tick_takes_its_number_of_hashes() {
        check(&[tick(3)], false, Err(TickFault::InvalidTickHashCount));
        check(&[record(2), tick(3)], false, Err(TickFault::InvalidTickHashCount));
        check(&[record(4)], false, Err(TickFault::InvalidTickHashCount));
    }

    #[test]
    fn hashes_are_carried_from_batch_to_batch() {
        let end = TickHeight::new(12);
        let mut position = TickPosition { height: TickHeight::new(10), end, hashes: 0 };
        assert_eq!(verify_ticks(&mut position, &[record(3)], Some(4), false), Ok(()));
        assert_eq!(verify_ticks(&mut position, &[tick(1), tick(4)], Some(4), true), Ok(()));
        assert_eq!(position, TickPosition { height: end, end, hashes: 0 });
    }

    #[test]
    fn claims_beyond_the_budget_cost_no_hash() {
        let entries = [tick(u64::MAX), tick(2)];
        let fault = verify_entries(Hash::default(), &entries, hash_budget(64, None));
        let allowed = 6_400_000;
        assert_eq!(fault, Err(EntryFault::TooManyHashes { claimed: u64::MAX, allowed }));
    }

    #[test]
    fn the_first_wrong_entry_is_named() {
        let mut hash = Hash::default();
        let mut entries: Vec<Entry> = (1..100)
            .map(|num_hashes| {
                hash = next_hash(hash, &tick(num_hashes));
                Entry { hash, ..tick(num_hashes) }
            })
            .collect();
        assert_eq!(verify_entries(Hash::default(), &entries, 10_000), Ok(()));
        entries[70].num_hashes += 1;
        entries[40].num_hashes += 1;
        let fault = verify_entries(Hash::default(), &entries, 10_000);
        assert_eq!(fault, Err(EntryFault::InvalidEntryHash { index: 40 }));
        assert_eq!(verify_entries(Hash::default(), &[], 0), Ok(()));
    }

    #[test]
    fn entries_of_all_kinds_are_verified_side_by_side_as_one_by_one() {
        let mut hash = Hash::default();
        let kinds = |at: u64| match at % 5 {
            0 => record(0),
            1 => record(1),
            2 => tick(0),
            3 => Entry { transactions: vec![VersionedTransaction::default(); at as usize], ..record(at) },
            _ => tick(at),
        };
        let entries: Vec<Entry> = (0..200)
            .map(|at| {
                let entry = kinds(at);
                hash = next_hash(hash, &entry);
                Entry { hash, ..entry }
            })
            .collect();
        for count in [1, 15, 16, 17, 200] {
            assert_eq!(verify_entries(Hash::default(), &entries[..count], 100_000), Ok(()));
            for wrong in [0, count / 2, count - 1] {
                let mut entries = entries[..count].to_vec();
                entries[wrong].hash = Hash::new_from_array([7; 32]);
                let fault = verify_entries(Hash::default(), &entries, 100_000);
                assert_eq!(fault, Err(EntryFault::InvalidEntryHash { index: wrong }));
            }
        }
    }

    /// Ticks of that many hashes each, from the default hash on.
    fn ticks(count: usize, num_hashes: u64) -> Vec<Entry> {
        let mut hash = Hash::default();
        let next = |_| {
            hash = next_hash(hash, &tick(num_hashes));
            Entry { hash, ..tick(num_hashes) }
        };
        (0..count).map(next).collect()
    }

    /// What two threads say of entries that are worth to be shared.
    fn on_two_threads(entries: &[Entry]) -> Result<(), EntryFault> {
        assert!(entries.iter().map(|entry| entry.num_hashes).sum::<u64>() >= WORTH_SHARING);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads");
        pool.install(|| verify_entries(Hash::default(), entries, u64::MAX))
    }

    #[test]
    fn the_first_wrong_entry_is_named_when_two_threads_share_them() {
        let good = ticks(64, 1_000);
        assert_eq!(on_two_threads(&good), Ok(()));
        for wrong in [&[0][..], &[31], &[32], &[33], &[63], &[40, 20]] {
            let mut entries = good.clone();
            // Only the count is wrong: the hash is what the next one starts from.
            wrong.iter().for_each(|at| entries[*at].num_hashes += 1);
            let index = *wrong.iter().min().expect("one is wrong");
            assert_eq!(on_two_threads(&entries), Err(EntryFault::InvalidEntryHash { index }), "{wrong:?}");
        }
    }

    #[test]
    fn a_few_long_entries_are_verified_on_two_threads() {
        for count in [1, 2, 3, 5] {
            let good = ticks(count, 60_000);
            assert_eq!(on_two_threads(&good), Ok(()));
            for index in 0..count {
                let mut entries = good.clone();
                entries[index].num_hashes -= 1;
                assert_eq!(on_two_threads(&entries), Err(EntryFault::InvalidEntryHash { index }), "of {count}");
            }
        }
    }

    #[test]
    fn shares_fill_the_lanes_or_need_none() {
        for kernel in Kernel::available() {
            let (lanes, few) = (kernel.lanes(), kernel.few());
            for threads in 1..=20 {
                for entries in 0..200 {
                    let share = share(entries, threads, kernel);
                    assert!(share * threads >= entries, "all are taken");
                    assert!(share.is_multiple_of(lanes) || entries < lanes && share <= few, "{kernel:?}");
                }
                assert_eq!(share(threads, threads, kernel), if threads < lanes && few > 0 { 1 } else { lanes });
                assert_eq!(share(lanes * threads, threads, kernel), lanes);
            }
        }
    }
}
