//! The lattice hash: a sum over all accounts that follows changes without reading the rest (reference 12.1).

use rayon::prelude::*;
use solana_account::{AccountSharedData, ReadableAccount};
use solana_lattice_hash::lt_hash::LtHash;
use sundog_types::Pubkey;

/// From how many changes on it is worth to share the hashing among threads.
const PARALLEL_FROM: usize = 64;

/// Length of a lattice hash in bytes.
pub const LATTICE_BYTES: usize = 2 * LtHash::NUM_ELEMENTS;

/// The sum over all accounts that have lamports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lattice(Box<LtHash>);

impl Default for Lattice {
    fn default() -> Self {
        Self(Box::new(LtHash::identity()))
    }
}

/// An account before and after a change; `None` where it does not exist.
pub(crate) struct Change<'a> {
    pub(crate) key: &'a Pubkey,
    pub(crate) before: Option<AccountSharedData>,
    pub(crate) after: &'a AccountSharedData,
}

impl Lattice {
    /// Takes an account in.
    pub fn add(&mut self, key: &Pubkey, account: &AccountSharedData) {
        self.0.mix_in(&element(key, account));
    }

    /// Takes an account out, as it was when it was taken in.
    pub fn remove(&mut self, key: &Pubkey, account: &AccountSharedData) {
        self.0.mix_out(&element(key, account));
    }

    /// Follows changes. The order of the sum does not matter, so threads may share it.
    pub(crate) fn apply(&mut self, changes: &[Change<'_>]) {
        let sum = |mut sum: LtHash, change: &Change<'_>| {
            if change.before.as_ref() != Some(change.after) {
                if let Some(before) = &change.before {
                    sum.mix_out(&element(change.key, before));
                }
                sum.mix_in(&element(change.key, change.after));
            }
            sum
        };
        let total = if changes.len() < PARALLEL_FROM {
            changes.iter().fold(LtHash::identity(), sum)
        } else {
            let joined = |mut a: LtHash, b: LtHash| {
                a.mix_in(&b);
                a
            };
            changes.par_iter().fold(LtHash::identity, sum).reduce(LtHash::identity, joined)
        };
        self.0.mix_in(&total);
    }

    /// Its bytes: 1,024 little-endian u16.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.0.iter().flat_map(|element| element.to_le_bytes()).collect()
    }

    /// From its bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let elements: Vec<u16> = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect();
        (bytes.len() == LATTICE_BYTES).then_some(())?;
        Some(Self(Box::new(LtHash(elements.try_into().ok()?))))
    }

    /// A short form: the BLAKE3 hash of its bytes.
    #[must_use]
    pub fn checksum(&self) -> [u8; 32] {
        self.0.checksum().0
    }
}

fn element(key: &Pubkey, account: &AccountSharedData) -> LtHash {
    if account.lamports() == 0 {
        return LtHash::identity();
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&account.lamports().to_le_bytes());
    hasher.update(account.data());
    hasher.update(&[u8::from(account.executable())]);
    hasher.update(account.owner().as_ref());
    hasher.update(key.as_ref());
    LtHash::with(&hasher)
}
