//! Bloom filters over value hashes, as pull requests carry them (reference 6.6).

use crate::wire::{
    bits::BitVec,
    codec::{DecodeError, Reader, Writer},
};
use rand::RngCore;
use sundog_types::Hash;

/// Keys of a fresh filter. The reference makes filters that are as long as [`FALSE_POSITIVES`] asks for and takes
/// the nearest number of keys to what suits that length best, which is 3.3 for any number of items. (The 8 in its
/// sources only decides how many items it puts in a datagram.)
pub const KEYS: usize = 3;

/// The share of hashes that a filter is allowed to contain by mistake.
pub const FALSE_POSITIVES: f64 = 0.1;

const FNV_PRIME: u64 = 1_099_511_628_211;

/// A set of hashes that may contain too much, never too little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bloom {
    keys: Vec<u64>,
    bits: BitVec<u64>,
    ones: u64,
}

/// FNV-1a of 64 bits with `key` in place of the offset basis.
#[must_use]
pub fn fnv(key: u64, hash: &Hash) -> u64 {
    hash.as_ref().iter().fold(key, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// Bits for each hash in the shortest filter that keeps to [`FALSE_POSITIVES`]: 4.8.
fn bits_per_item() -> f64 {
    let ln2 = std::f64::consts::LN_2;
    -FALSE_POSITIVES.ln() / (ln2 * ln2)
}

impl Bloom {
    /// An empty filter of `bits` bits with the given keys.
    #[must_use]
    pub fn new(bits: u32, keys: Vec<u64>) -> Self {
        Self { keys, bits: BitVec::zeros(bits.max(1)), ones: 0 }
    }

    /// An empty filter for `items` hashes at [`FALSE_POSITIVES`], with fresh keys.
    #[must_use]
    pub fn random(items: usize, rng: &mut impl RngCore) -> Self {
        let bits = (items as f64 * bits_per_item()).ceil() as u32;
        Self::new(bits, (0..KEYS).map(|_| rng.next_u64()).collect())
    }

    /// How many hashes a filter of at most `bits` bits can hold at [`FALSE_POSITIVES`].
    #[must_use]
    pub fn capacity(bits: u32) -> usize {
        (f64::from(bits) / bits_per_item()).floor() as usize
    }

    /// The bit for `hash` under `key`.
    ///
    /// # Panics
    /// On a filter without bits, which [`crate::check()`] never lets through.
    #[must_use]
    pub fn position(&self, key: u64, hash: &Hash) -> u64 {
        fnv(key, hash) % self.bits.len()
    }

    /// Adds a hash.
    pub fn add(&mut self, hash: &Hash) {
        for index in 0..self.keys.len() {
            let place = self.position(self.keys[index], hash);
            self.ones += u64::from(self.bits.set(place));
        }
    }

    /// Whether the filter says it holds the hash. Without keys it says so of every hash.
    #[must_use]
    pub fn contains(&self, hash: &Hash) -> bool {
        self.keys.iter().all(|&key| self.bits.get(self.position(key, hash)))
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// The bits.
    #[must_use]
    pub const fn bits(&self) -> &BitVec<u64> {
        &self.bits
    }

    /// Reads a filter.
    ///
    /// # Errors
    /// [`DecodeError`] when it ends early or its bits are inconsistent.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { keys: reader.vec(Reader::u64)?, bits: BitVec::read(reader)?, ones: reader.u64()? })
    }

    /// Writes it.
    pub fn write(&self, writer: &mut Writer) {
        writer.count(self.keys.len());
        for key in &self.keys {
            writer.u64(*key);
        }
        self.bits.write(writer);
        writer.u64(self.ones);
    }

    /// Bytes that a fresh filter takes on the wire.
    #[must_use]
    pub fn wire_len(bits: u32) -> usize {
        8 + KEYS * 8 + 1 + 8 + 8 * usize::try_from(bits.div_ceil(64)).expect("small") + 8 + 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn a_full_filter_lies_about_one_hash_in_ten_and_denies_none_that_it_holds() {
        let mut rng = ChaCha8Rng::from_seed([7; 32]);
        let hash = |number: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
            Hash::new_from_array(bytes)
        };
        let items = Bloom::capacity(7_000);
        let mut bloom = Bloom::random(items, &mut rng);
        assert!(bloom.bits().len() <= 7_000 && bloom.bits().len() > 6_990);
        (0..items as u64).for_each(|number| bloom.add(&hash(number)));
        assert!((0..items as u64).all(|number| bloom.contains(&hash(number))));
        let lies = (1 << 40..(1 << 40) + 10_000).filter(|number| bloom.contains(&hash(*number))).count();
        assert!((800..1_200).contains(&lies), "{lies} of 10000");
    }
}
