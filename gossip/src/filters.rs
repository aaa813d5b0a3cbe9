//! Building pull filters: which hashes we have, in as many datagrams as a round may take (reference 6.6).

use crate::{
    bloom::Bloom,
    table::Table,
    wire::{CrdsFilter, PACKET_BYTES, hash_prefix},
};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Filters sent in one round, at most: the reference's figure for 64 partitions is 8.
pub const FILTERS_MAX: u64 = 64;

/// One in so many partitions is asked for in each round.
const PARTITIONS_PER_FILTER: u64 = 8;

/// Bits of the smallest filter. A nearly empty table asks with a small datagram.
const FILTER_BITS_MIN: u32 = 512;

/// What decides the size of filters besides the table.
#[derive(Clone, Copy, Debug)]
pub struct FilterSize {
    /// Filters are made for at least so many hashes.
    pub items_min: usize,
    /// Bytes of the caller's contact info, which shares the datagram.
    pub caller_bytes: usize,
}

/// Filters for one round: the whole table in one when it fits, else a sample of its partitions.
///
/// # Panics
/// If a contact info of that size leaves no room for a filter; ours never does.
#[must_use]
pub fn build(table: &Table, size: FilterSize, rng: &mut ChaCha8Rng) -> Vec<CrdsFilter> {
    let items = table.hashes_len().max(size.items_min);
    let room = filter_bits(size.caller_bytes);
    assert!(room > 0, "a contact info of {} bytes leaves no room for a filter", size.caller_bytes);
    let wanted = 6 * u32::try_from(items).unwrap_or(u32::MAX / 6);
    let bits = wanted.next_multiple_of(64).clamp(FILTER_BITS_MIN.min(room), room);
    let partitions = items.div_ceil(Bloom::capacity(bits)).next_power_of_two() as u64;
    let mask_bits = partitions.trailing_zeros();
    let count = partitions.div_ceil(PARTITIONS_PER_FILTER).min(FILTERS_MAX);
    let mut chosen = BTreeMap::new();
    while (chosen.len() as u64) < count {
        let number = rng.gen_range(0..partitions);
        let mask = CrdsFilter::mask_of(number, mask_bits);
        chosen.entry(mask).or_insert_with(|| Bloom::random(bits, rng));
    }
    let below = CrdsFilter::mask_of(0, mask_bits);
    for hash in table.hashes() {
        if let Some(bloom) = chosen.get_mut(&(hash_prefix(hash) | below)) {
            bloom.add(hash);
        }
    }
    let filter = |(mask, bloom)| CrdsFilter { bloom, mask, mask_bits };
    chosen.into_iter().map(filter).collect()
}

/// Bits of the largest filter that shares a datagram with a value of `caller_bytes`.
fn filter_bits(caller_bytes: usize) -> u32 {
    let fixed = 4 + Bloom::wire_len(0) + 8 + 4;
    let room = PACKET_BYTES.saturating_sub(fixed + caller_bytes);
    u32::try_from(room / 8 * 64).expect("a datagram is small")
}
