//! The lattice hash: a sum over all accounts that follows changes without reading the rest (reference 12.1).

use crate::kernel::lattice::{Kernel, Preimage, Sum};
use rayon::prelude::*;
use solana_account::{AccountSharedData, ReadableAccount};
use solana_lattice_hash::lt_hash::LtHash;
use std::ops::Range;
use sundog_types::Pubkey;

/// Address, the account before a change (`None` where it did not exist), and after.
pub(crate) type Change<'a> = (&'a Pubkey, Option<AccountSharedData>, &'a AccountSharedData);

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

impl Lattice {
    /// Takes an account in.
    pub fn add(&mut self, key: &Pubkey, account: &AccountSharedData) {
        self.mix(key, account, Sum::add);
    }

    /// Takes an account out, as it was when it was taken in.
    pub fn remove(&mut self, key: &Pubkey, account: &AccountSharedData) {
        self.mix(key, account, Sum::subtract);
    }

    fn mix(&mut self, key: &Pubkey, account: &AccountSharedData, mix: fn(&mut Sum, &Preimage<'_>)) {
        let mut sum = Sum::new(Kernel::best());
        preimage(key, account).iter().for_each(|account| mix(&mut sum, account));
        self.0.mix_in(&sum.finish());
    }

    /// Follows changes of so many accounts: address, the account before (`None` where it did not exist) and after.
    /// The order of the sum does not matter, so threads may share it.
    pub(crate) fn apply<'a>(&mut self, count: usize, change: &(dyn Fn(usize) -> Change<'a> + Sync)) {
        let kernel = Kernel::best();
        let sum = |places: Range<usize>| {
            let mut sum = Sum::new(kernel);
            for (key, before, after) in places.map(change) {
                if before.as_ref() != Some(after) {
                    before.iter().filter_map(|before| preimage(key, before)).for_each(|before| sum.subtract(&before));
                    preimage(key, after).iter().for_each(|after| sum.add(after));
                }
            }
            sum.finish()
        };
        let threads = rayon::current_num_threads();
        if count < PARALLEL_FROM || threads == 1 {
            self.0.mix_in(&sum(0..count));
            return;
        }
        let size = count.div_ceil(threads).max(PARALLEL_FROM);
        let parts: Vec<usize> = (0..count).step_by(size).collect();
        let sums: Vec<LtHash> = parts.into_par_iter().map(|start| sum(start..(start + size).min(count))).collect();
        sums.iter().for_each(|part| self.0.mix_in(part));
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

/// What is hashed of an account; nothing if it has no lamports.
fn preimage<'a>(key: &'a Pubkey, account: &'a AccountSharedData) -> Option<Preimage<'a>> {
    (account.lamports() > 0).then(|| Preimage {
        lamports: account.lamports(),
        data: account.data(),
        executable: account.executable(),
        owner: account.owner().as_array(),
        key: key.as_array(),
    })
}
