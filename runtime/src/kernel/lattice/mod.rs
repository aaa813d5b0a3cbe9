//! Sums of the lattice elements of many accounts: each lane of a vector makes the element of an account of its own.
//!
//! An element is 2,048 bytes of BLAKE3 output, 32 blocks that differ only in their number. A lane for each account
//! rather than for each block leaves nothing to be put in order: the sum is kept apart for every lane until the end.
//! That goes for accounts with little data, which is most that a block changes; the library makes the others.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod rounds;
#[cfg(target_arch = "x86_64")]
mod x86;

use solana_lattice_hash::lt_hash::LtHash;

const BLOCK: usize = 64;
/// Bytes that are hashed of an account beside its data: lamports, executable, owner, address.
const BESIDE_DATA: usize = 8 + 1 + 32 + 32;
/// An account with more data than this is too long for lanes: they take two blocks.
const DATA_MAX: usize = 2 * BLOCK - BESIDE_DATA;
/// Words of an element.
const WORDS: usize = LtHash::NUM_ELEMENTS / 2;

/// How elements are made. There is none that this processor cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel(Way);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One after the other, with the library.
    Library,
    /// Eight lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Sixteen lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// All that this processor can run, the portable one first.
    pub(crate) fn available() -> Vec<Self> {
        let mut kernels = vec![Self(Way::Library)];
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(is_x86_feature_detected!("avx2").then_some(Self(Way::Avx2)));
            let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            kernels.extend(wide.then_some(Self(Way::Avx512)));
        }
        kernels
    }

    /// The fastest.
    pub(crate) fn best() -> Self {
        *Self::available().last().expect("the library is always there")
    }

    fn lanes(self) -> usize {
        match self.0 {
            Way::Library => 0,
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => 8,
            #[cfg(target_arch = "x86_64")]
            Way::Avx512 => 16,
        }
    }
}

/// What is hashed of an account.
#[derive(Clone, Copy)]
pub(crate) struct Preimage<'a> {
    pub(crate) lamports: u64,
    pub(crate) data: &'a [u8],
    pub(crate) executable: bool,
    pub(crate) owner: &'a [u8; 32],
    pub(crate) key: &'a [u8; 32],
}

impl Preimage<'_> {
    fn element(&self) -> LtHash {
        let mut hasher = blake3::Hasher::new();
        let (lamports, executable) = (self.lamports.to_le_bytes(), [u8::from(self.executable)]);
        let parts: [&[u8]; 5] = [&lamports, self.data, &executable, self.owner, self.key];
        for part in parts {
            hasher.update(part);
        }
        LtHash::with(&hasher)
    }

    /// All of it in two blocks, and how much of the second is used.
    fn blocks(&self) -> ([u8; 2 * BLOCK], u32) {
        let mut bytes = [0; 2 * BLOCK];
        let (head, rest) = bytes.split_at_mut(8);
        head.copy_from_slice(&self.lamports.to_le_bytes());
        let (data, rest) = rest.split_at_mut(self.data.len());
        data.copy_from_slice(self.data);
        rest[0] = u8::from(self.executable);
        rest[1..33].copy_from_slice(self.owner);
        rest[33..65].copy_from_slice(self.key);
        (bytes, (BESIDE_DATA + self.data.len() - BLOCK) as u32)
    }
}

/// Two blocks of every lane, word by word, and the length of the second.
#[cfg(target_arch = "x86_64")]
#[derive(Clone)]
struct Staged<const LANES: usize> {
    words: [[u32; LANES]; 32],
    lengths: [u32; LANES],
}

/// A sum that grows lane by lane: what is added, or what is subtracted.
#[derive(Clone)]
struct Lanes {
    /// Preimages that wait until there is one for every lane.
    waiting: Vec<([u8; 2 * BLOCK], u32)>,
    /// Each word of the sum, a lane after the other; empty until the first.
    sums: Vec<u32>,
}

/// The sum of elements, on its way.
pub(crate) struct Sum {
    kernel: Kernel,
    total: LtHash,
    /// What is added, and what is subtracted.
    lanes: [Lanes; 2],
}

impl Sum {
    pub(crate) fn new(kernel: Kernel) -> Self {
        let lanes = Lanes { waiting: Vec::with_capacity(kernel.lanes()), sums: Vec::new() };
        Self { kernel, total: LtHash::identity(), lanes: [lanes.clone(), lanes] }
    }

    pub(crate) fn add(&mut self, account: &Preimage<'_>) {
        if !self.wait(account, false) {
            self.total.mix_in(&account.element());
        }
    }

    pub(crate) fn subtract(&mut self, account: &Preimage<'_>) {
        if !self.wait(account, true) {
            self.total.mix_out(&account.element());
        }
    }

    /// Puts it into a lane, if it fits one.
    fn wait(&mut self, account: &Preimage<'_>, minus: bool) -> bool {
        let count = self.kernel.lanes();
        if count == 0 || account.data.len() > DATA_MAX {
            return false;
        }
        let lanes = &mut self.lanes[usize::from(minus)];
        lanes.waiting.push(account.blocks());
        if lanes.waiting.len() == count {
            lanes.sums.resize(WORDS * count, 0);
            match self.kernel.0 {
                Way::Library => {}
                #[cfg(target_arch = "x86_64")]
                // SAFETY: this way is only taken where the processor has the features.
                Way::Avx2 => unsafe { x86::add_half(&staged(&lanes.waiting), lanes.sums.as_chunks_mut().0) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Way::Avx512 => unsafe { x86::add_wide(&staged(&lanes.waiting), lanes.sums.as_chunks_mut().0) },
            }
            lanes.waiting.clear();
        }
        true
    }

    /// The sum of all.
    pub(crate) fn finish(self) -> LtHash {
        let mut total = self.total;
        let count = self.kernel.lanes();
        for (minus, lanes) in [false, true].into_iter().zip(self.lanes) {
            let mut part = LtHash::identity();
            for (bytes, length) in &lanes.waiting {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&bytes[..BLOCK + *length as usize]);
                part.mix_in(&LtHash::with(&hasher));
            }
            if count > 0 {
                for (two, words) in part.0.as_chunks_mut::<2>().0.iter_mut().zip(lanes.sums.chunks_exact(count)) {
                    for word in words {
                        two[0] = two[0].wrapping_add(*word as u16);
                        two[1] = two[1].wrapping_add((word >> 16) as u16);
                    }
                }
            }
            if minus {
                total.mix_out(&part);
            } else {
                total.mix_in(&part);
            }
        }
        total
    }
}

#[cfg(target_arch = "x86_64")]
fn staged<const LANES: usize>(waiting: &[([u8; 2 * BLOCK], u32)]) -> Staged<LANES> {
    let mut staged = Staged { words: [[0; LANES]; 32], lengths: [0; LANES] };
    for (lane, (bytes, length)) in waiting.iter().enumerate() {
        staged.lengths[lane] = *length;
        for (words, bytes) in staged.words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            words[lane] = u32::from_le_bytes(*bytes);
        }
    }
    staged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Account = (u64, Vec<u8>, bool, [u8; 32], [u8; 32]);

    fn account() -> impl Strategy<Value = Account> {
        let data = prop_oneof![
            Just(Vec::new()),
            prop::collection::vec(any::<u8>(), 0..60),
            prop::collection::vec(any::<u8>(), 0..3_000)
        ];
        (any::<u64>(), data, any::<bool>(), any::<[u8; 32]>(), any::<[u8; 32]>())
    }

    fn preimage((lamports, data, executable, owner, key): &Account) -> Preimage<'_> {
        Preimage { lamports: *lamports, data, executable: *executable, owner, key }
    }

    /// With the library alone, one after the other.
    fn oracle(accounts: &[(bool, Account)]) -> LtHash {
        let mut total = LtHash::identity();
        for (minus, (lamports, data, executable, owner, key)) in accounts {
            let mut bytes = lamports.to_le_bytes().to_vec();
            bytes.extend(data);
            bytes.push(u8::from(*executable));
            bytes.extend(owner);
            bytes.extend(key);
            let mut hasher = blake3::Hasher::new();
            hasher.update(&bytes);
            let element = LtHash::with(&hasher);
            if *minus { total.mix_out(&element) } else { total.mix_in(&element) }
        }
        total
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_kernel_sums_what_the_library_sums(
            accounts in prop::collection::vec((any::<bool>(), account()), 0..120),
        ) {
            let expected = oracle(&accounts);
            for kernel in Kernel::available() {
                let mut sum = Sum::new(kernel);
                for (minus, account) in &accounts {
                    if *minus { sum.subtract(&preimage(account)) } else { sum.add(&preimage(account)) }
                }
                prop_assert_eq!(sum.finish(), expected.clone(), "{:?}", kernel);
            }
        }
    }

    #[test]
    fn every_length_of_data_around_what_fits_lanes_gives_the_librarys_element() {
        for length in 0..=DATA_MAX + 10 {
            let account = |byte: u8| (7, vec![byte; length], byte > 9, [byte; 32], [!byte; 32]);
            let accounts: Vec<(bool, Account)> = (0..33).map(|byte| (byte % 3 == 0, account(byte))).collect();
            for kernel in Kernel::available() {
                let mut sum = Sum::new(kernel);
                for (minus, account) in &accounts {
                    if *minus { sum.subtract(&preimage(account)) } else { sum.add(&preimage(account)) }
                }
                assert_eq!(sum.finish(), oracle(&accounts), "{kernel:?}, {length} bytes");
            }
        }
    }
}
