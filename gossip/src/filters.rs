//! Building pull filters: which hashes we have, in as many datagrams as a round may take (reference 6.6).
//!
//! Hashes are divided into partitions by their first bits, so many that what we have of one fits the filter that
//! shares a datagram with our contact info. In each round one partition in eight is asked for, chosen at random, but no
//! fewer than eight: that is what the reference sends however small its table is, and here it covers a small one.

use crate::{
    bloom::Bloom,
    table::Table,
    wire::{CrdsFilter, PACKET_BYTES, hash_prefix},
};
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

/// Filters sent in one round, at most. A full table makes 512 partitions, of which one in eight is asked for; the
/// reference's figure is 1,024 for a table without bound.
pub const FILTERS_MAX: usize = 64;

/// One in so many partitions is asked for in each round.
const PARTITIONS_PER_FILTER: usize = 8;

/// But no fewer than so many, if there are: the reference's 64 partitions of a small table, one in eight.
const FILTERS_MIN: usize = 8;

/// Hashes that the smallest filter has room for. A nearly empty table asks with a small datagram.
const ITEMS_MIN: usize = 100;

/// What decides the size of filters besides the table.
#[derive(Clone, Copy, Debug)]
pub struct FilterSize {
    /// Filters are made for at least so many hashes.
    pub items_min: usize,
    /// Bytes of the caller's contact info, which shares the datagram.
    pub caller_bytes: usize,
}

/// Filters for one round, in random order: the whole table in one when it fits, else a sample of its partitions.
///
/// # Panics
/// If a contact info of that size leaves no room for a filter; ours never does.
#[must_use]
pub fn build(table: &Table, size: FilterSize, rng: &mut ChaCha8Rng) -> Vec<CrdsFilter> {
    let items = table.hashes_len().max(size.items_min).max(ITEMS_MIN);
    let room = Bloom::capacity(filter_bits(size.caller_bytes));
    assert!(room > 0, "a contact info of {} bytes leaves no room for a filter", size.caller_bytes);
    let partitions = items.div_ceil(room).next_power_of_two();
    let mask_bits = partitions.trailing_zeros();
    let count = partitions.div_ceil(PARTITIONS_PER_FILTER).clamp(FILTERS_MIN, FILTERS_MAX).min(partitions);
    let mut filter_of = vec![None; partitions];
    let mut filters = Vec::with_capacity(count);
    for number in index::sample(rng, partitions, count) {
        filter_of[number] = Some(filters.len());
        let (bloom, mask) = (Bloom::random(items.min(room), rng), CrdsFilter::mask_of(number as u64, mask_bits));
        let mut filter = CrdsFilter { bloom, mask, mask_bits };
        let (low, high) = filter.range();
        table.by_prefix(low..=high).for_each(|filed| filter.bloom.add(filed.value.hash()));
        filters.push(filter);
    }
    for hash in table.gone() {
        let number = hash_prefix(hash).checked_shr(u64::BITS - mask_bits).unwrap_or(0) as usize;
        if let Some(chosen) = filter_of[number] {
            filters[chosen].bloom.add(hash);
        }
    }
    filters
}

/// Bits of the largest filter that shares a datagram with a value of `caller_bytes`.
fn filter_bits(caller_bytes: usize) -> u32 {
    let fixed = 4 + Bloom::wire_len(0) + 8 + 4;
    let room = PACKET_BYTES.saturating_sub(fixed + caller_bytes);
    u32::try_from(room / 8 * 64).expect("a datagram is small")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        table::{
            Limits,
            tests::{START, value},
        },
        wire::{Protocol, value::Kind},
    };
    use rand::SeedableRng as _;
    use std::collections::BTreeSet;
    use sundog_types::Pubkey;

    fn table(values: u32) -> Table {
        let mut table = Table::new(Pubkey::default(), Limits::default());
        for number in 0..values {
            table.offer(START, value(number / 10, (Kind::Vote, number % 10), 1));
        }
        for number in 0..50 {
            table.offer(START, value(number, (Kind::Vote, 3), 2));
            table.refuse(START, *value(number, (Kind::Vote, 20), 1).hash());
        }
        table
    }

    #[test]
    fn one_partition_in_eight_is_asked_for_and_in_time_all_are() {
        let (table, mut rng) = (table(10_000), ChaCha8Rng::from_seed([3; 32]));
        let size = FilterSize { items_min: 65_536, caller_bytes: 180 };
        let mut asked = BTreeSet::new();
        for round in 0..80 {
            let filters = build(&table, size, &mut rng);
            assert_eq!((filters.len(), filters[0].mask_bits), (8, 6), "the reference's figures");
            let covered = table.hashes().filter(|hash| filters.iter().any(|filter| filter.covers(hash)));
            assert!(covered.count() < table.hashes_len() / 6, "round {round}");
            for filter in &filters {
                asked.insert(filter.mask);
                let held: Vec<_> = table.hashes().filter(|hash| filter.covers(hash)).collect();
                assert!(held.len() > 100 && held.iter().all(|hash| filter.bloom.contains(hash)));
            }
        }
        assert_eq!(asked.len(), 64);
    }

    #[test]
    fn a_request_fills_a_datagram_whatever_the_callers_size_and_a_small_table_needs_few_bytes() {
        let (table, mut rng) = (table(5_000), ChaCha8Rng::from_seed([3; 32]));
        let caller = value(1, (Kind::ContactInfo, 0), 1);
        let caller_bytes = caller.bytes().len();
        let request = |filter| Protocol::PullRequest(filter, Box::new(caller.clone())).encode().len();
        for filter in build(&table, FilterSize { items_min: 512, caller_bytes }, &mut rng) {
            assert!((PACKET_BYTES - 8..=PACKET_BYTES).contains(&request(filter)));
        }
        let empty = Table::new(Pubkey::default(), Limits::default());
        for filter in build(&empty, FilterSize { items_min: 1, caller_bytes }, &mut rng) {
            assert!(filter.mask_bits == 0 && request(filter) < 400);
        }
    }
}
