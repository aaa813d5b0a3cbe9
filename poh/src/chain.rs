//! The hash chain, and where ticks and records fit in it.

use sha2::{Digest as _, Sha256};
use sundog_types::Hash;

/// The hash of a hash, with whichever library is the fastest here: of one chain all that counts is how soon the next hash
/// can begin. sha2 uses the SHA instructions of a processor that has them; without these, ring's assembly is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hasher {
    Sha2,
    Ring,
}

impl Hasher {
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if !is_x86_feature_detected!("sha") {
            return Self::Ring;
        }
        Self::Sha2
    }

    /// Hashes so many times, each time the hash before.
    fn repeat(self, mut hash: [u8; 32], times: u64) -> [u8; 32] {
        for _ in 0..times {
            match self {
                Self::Sha2 => hash = Sha256::digest(hash).into(),
                Self::Ring => {
                    let digest = ring::digest::digest(&ring::digest::SHA256, &hash);
                    hash.copy_from_slice(digest.as_ref());
                }
            }
        }
        hash
    }
}

/// An entry's part of the chain, without its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Hashes since the previous step, this one's included.
    pub num_hashes: u64,
    /// The chain's state after it.
    pub hash: Hash,
}

/// A hash chain that ticks (reference 2.2, 2.4, 2.5).
///
/// With a number of hashes per tick, the last hash before the tick is kept for the tick: plain hashes
/// stop there and records are refused. Without one, ticks come whenever they are asked for.
#[derive(Clone, Debug)]
pub struct Chain {
    hash: [u8; 32],
    num_hashes: u64,
    hashes_per_tick: Option<u64>,
    remaining: u64,
}

impl Chain {
    /// A chain that goes on from `start`, where a tick was just made. `hashes_per_tick`: `None` when
    /// the clock alone decides about ticks.
    ///
    /// # Panics
    /// If there is no room for a record before a tick, i.e. fewer than 2 hashes per tick.
    #[must_use]
    pub fn new(start: Hash, hashes_per_tick: Option<u64>) -> Self {
        assert!(
            hashes_per_tick.is_none_or(|hashes| hashes > 1),
            "a tick takes at least 2 hashes, or the configuration says none"
        );
        Self { hash: start.to_bytes(), num_hashes: 0, hashes_per_tick, remaining: hashes_per_tick.unwrap_or(u64::MAX) }
    }

    /// The state of the chain.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::new_from_array(self.hash)
    }

    /// Hashes made since the last tick or record.
    #[must_use]
    pub fn num_hashes(&self) -> u64 {
        self.num_hashes
    }

    /// Hashes until the next tick, the tick's own included; `u64::MAX` and falling where ticks are not
    /// counted in hashes.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Makes up to `count` plain hashes, but leaves the last one before a tick. Whether the tick must
    /// come next.
    pub fn advance(&mut self, count: u64) -> bool {
        let count = count.min(self.remaining - 1);
        self.hash = Hasher::best().repeat(self.hash, count);
        self.num_hashes += count;
        self.remaining -= count;
        self.remaining == 1
    }

    /// Mixes one value in. `None`, and nothing changes, when only the tick's own hash is left.
    pub fn record(&mut self, mixin: &Hash) -> Option<Step> {
        if self.remaining == 1 {
            return None;
        }
        self.hash = Sha256::new().chain_update(self.hash).chain_update(mixin).finalize().into();
        self.remaining -= 1;
        Some(self.step())
    }

    /// Mixes several values in, one entry each. `None`, and nothing changes, unless all fit before the
    /// tick.
    pub fn record_batches(&mut self, mixins: &[Hash]) -> Option<Vec<Step>> {
        if !self.has_room(mixins.len()) {
            return None;
        }
        mixins.iter().map(|mixin| self.record(mixin)).collect()
    }

    /// Whether this many records fit before the tick.
    #[must_use]
    pub fn has_room(&self, records: usize) -> bool {
        self.remaining > records as u64
    }

    /// Makes one hash and, if it is due, the tick.
    pub fn tick(&mut self) -> Option<Step> {
        self.hash = Sha256::digest(self.hash).into();
        self.remaining -= 1;
        if self.hashes_per_tick.is_some() && self.remaining > 0 {
            self.num_hashes += 1;
            return None;
        }
        self.remaining = self.hashes_per_tick.unwrap_or(u64::MAX);
        Some(self.step())
    }

    /// Closes an entry whose last hash was just made.
    fn step(&mut self) -> Step {
        let num_hashes = self.num_hashes + 1;
        self.num_hashes = 0;
        Step { num_hashes, hash: self.hash() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_libraries_make_the_same_chain() {
        let start = [5; 32];
        assert_eq!(Hasher::Ring.repeat(start, 1_000), Hasher::Sha2.repeat(start, 1_000));
        assert_eq!(Hasher::best().repeat(start, 0), start);
    }

    #[test]
    fn the_last_hash_before_a_tick_is_the_tick() {
        let mut chain = Chain::new(Hash::default(), Some(3));
        assert!(chain.advance(100));
        assert_eq!(chain.record(&Hash::default()), None);
        assert_eq!(chain.tick().map(|step| step.num_hashes), Some(3));
    }

    #[test]
    fn records_that_do_not_all_fit_change_nothing() {
        let mut chain = Chain::new(Hash::default(), Some(4));
        let before = chain.hash();
        assert_eq!(chain.record_batches(&[Hash::default(); 4]), None);
        assert_eq!((chain.hash(), chain.remaining()), (before, 4));
        assert_eq!(chain.record_batches(&[Hash::default(); 3]).map(|steps| steps.len()), Some(3));
    }

    #[test]
    #[should_panic(expected = "at least 2 hashes")]
    fn one_hash_per_tick_leaves_no_room_for_records() {
        let _ = Chain::new(Hash::default(), Some(1));
    }
}
