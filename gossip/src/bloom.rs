//! Bloom filters over value hashes, as pull requests carry them (reference 6.6).

use crate::wire::{
    bits::BitVec,
    codec::{DecodeError, Reader, Writer},
};
use rand::RngCore;
use sundog_types::Hash;

/// Hash functions a fresh filter uses.
pub const KEYS: usize = 8;

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

impl Bloom {
    /// An empty filter of `bits` bits with the given keys.
    #[must_use]
    pub fn new(bits: u32, keys: Vec<u64>) -> Self {
        Self { keys, bits: BitVec::zeros(bits.max(1)), ones: 0 }
    }

    /// An empty filter of `bits` bits with fresh keys.
    #[must_use]
    pub fn random(bits: u32, rng: &mut impl RngCore) -> Self {
        Self::new(bits, (0..KEYS).map(|_| rng.next_u64()).collect())
    }

    /// How many hashes a filter of `bits` bits can hold at [`FALSE_POSITIVES`] with [`KEYS`] keys.
    #[must_use]
    pub fn capacity(bits: u32) -> usize {
        let keys = KEYS as f64;
        let per_item = -keys / (1.0 - (FALSE_POSITIVES.ln() / keys).exp()).ln();
        (f64::from(bits) / per_item).ceil() as usize
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

    /// Bytes it takes on the wire.
    #[must_use]
    pub fn wire_len(bits: u32) -> usize {
        8 + KEYS * 8 + 1 + 8 + 8 * usize::try_from(bits.div_ceil(64)).expect("small") + 8 + 8
    }
}
