//! SHA-256 of many messages at once: each lane of a vector hashes a message of its own.
//!
//! One message cannot be hashed faster that way, but a block has hundreds of entries to verify, and a set of shreds 64
//! leaves. Where the processor has no wide vectors, the library hashes one after the other.

#![allow(unsafe_code)]

mod rounds;
#[cfg(target_arch = "x86_64")]
mod x86;

use sha2::{Digest as _, Sha256};

/// Bytes of a digest.
pub const DIGEST: usize = 32;
const BLOCK: usize = 64;

/// How many messages are hashed side by side, and with what. There is none that this processor cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    way: Way,
    /// See [`Kernel::few`].
    few: usize,
}

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

impl Way {
    fn lanes(self) -> usize {
        match self {
            Self::Library => 1,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 8,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 16,
        }
    }

    /// For [`Kernel::few`]. Measured on a Zen 5, where 12,500 hashes take 2.9 ms in sixteen lanes and 4.5 ms in eight.
    /// In one chain of the library they take 0.64 ms with SHA instructions, and 3.0 ms without.
    fn few(self) -> usize {
        #[cfg(target_arch = "x86_64")]
        let sha = is_x86_feature_detected!("sha");
        match self {
            Self::Library => 0,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 if sha => 6,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 if sha => 4,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 | Self::Avx512 => 1,
        }
    }
}

impl Kernel {
    fn new(way: Way) -> Self {
        Self { way, few: way.few() }
    }

    /// All that this processor can run, the portable one first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut kernels = vec![Self::new(Way::Library)];
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(is_x86_feature_detected!("avx2").then(|| Self::new(Way::Avx2)));
            kernels.extend(is_x86_feature_detected!("avx512f").then(|| Self::new(Way::Avx512)));
        }
        kernels
    }

    /// The fastest. A processor with SHA instructions, which the library uses, has no use for eight lanes.
    #[must_use]
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Self::new(Way::Avx512);
            }
            if is_x86_feature_detected!("avx2") && !is_x86_feature_detected!("sha") {
                return Self::new(Way::Avx2);
            }
        }
        Self::new(Way::Library)
    }

    /// How many messages it hashes side by side.
    #[must_use]
    pub fn lanes(self) -> usize {
        self.way.lanes()
    }

    /// Up to how many chains end sooner in the library, one after the other, than in lanes that are mostly idle: 0 for
    /// the library itself.
    #[must_use]
    pub fn few(self) -> usize {
        self.few
    }

    /// Its name in benchmarks.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.way {
            Way::Library => "library",
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Way::Avx512 => "avx512",
        }
    }

    /// The digests of messages of one length, each after the same prefix.
    ///
    /// # Panics
    /// If the messages differ in length, or there are not as many digests.
    pub fn digests(self, prefix: &[u8], messages: &[&[u8]], digests: &mut [[u8; DIGEST]]) {
        assert_eq!(messages.len(), digests.len(), "a digest for every message");
        let same = messages.windows(2).all(|pair| pair[0].len() == pair[1].len());
        assert!(same, "messages that are hashed side by side have one length");
        match self.way {
            #[cfg(target_arch = "x86_64")]
            Way::Avx512 => many::<16>(prefix, messages, digests, |blocks, words| {
                // SAFETY: this way is only taken where the processor has the features.
                unsafe { x86::digest_wide(blocks, words) }
            }),
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => many::<8>(prefix, messages, digests, |blocks, words| {
                // SAFETY: as above.
                unsafe { x86::digest_half(blocks, words) }
            }),
            Way::Library => {
                for (message, digest) in messages.iter().zip(digests) {
                    *digest = Sha256::new().chain_update(prefix).chain_update(message).finalize().into();
                }
            }
        }
    }
}

type Words<const LANES: usize> = [[u32; LANES]; 16];

#[inline(always)]
fn many<const LANES: usize>(
    prefix: &[u8],
    messages: &[&[u8]],
    digests: &mut [[u8; DIGEST]],
    run: impl Fn(usize, &mut dyn FnMut(usize, &mut Words<LANES>)) -> [[u32; LANES]; 8],
) {
    let Some(first) = messages.first() else { return };
    let length = prefix.len() + first.len();
    // The message, one bit, zeros, and its length in eight bytes.
    let blocks = (length + 9).div_ceil(BLOCK);
    for (messages, digests) in messages.chunks(LANES).zip(digests.chunks_mut(LANES)) {
        let mut stage = |block: usize, words: &mut Words<LANES>| {
            for (lane, message) in messages.iter().enumerate() {
                let start = block * BLOCK;
                let inside = start.checked_sub(prefix.len()).and_then(|at| message.get(at..at + BLOCK));
                let mut padded = [0; BLOCK];
                let bytes: &[u8] = inside.unwrap_or_else(|| {
                    pad(&mut padded, start, (prefix, message), block + 1 == blocks);
                    &padded
                });
                for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    word[lane] = u32::from_be_bytes(*bytes);
                }
            }
        };
        let state = run(blocks, &mut stage);
        for (lane, digest) in digests.iter_mut().enumerate() {
            for (word, bytes) in state.iter().zip(digest.as_chunks_mut::<4>().0) {
                *bytes = word[lane].to_be_bytes();
            }
        }
    }
}

/// Writes the block from byte `start` on of a prefix, a message and what ends it.
fn pad(into: &mut [u8; BLOCK], start: usize, (prefix, message): (&[u8], &[u8]), last: bool) {
    let length = prefix.len() + message.len();
    let mut at = 0;
    for part in [prefix, message, &[0x80]] {
        let (from, to) = (at.max(start), (at + part.len()).min(start + BLOCK));
        if from < to {
            into[from - start..to - start].copy_from_slice(&part[from - at..to - at]);
        }
        at += part.len();
    }
    if last {
        into[BLOCK - 8..].copy_from_slice(&(length as u64 * 8).to_be_bytes());
    }
}

/// A chain of hashes, each of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The last one.
    pub hash: [u8; DIGEST],
    /// How many more.
    pub times: u64,
}

impl Kernel {
    /// Brings chains to their ends: side by side, and the last [few](Self::few) one after the other.
    pub fn chains(self, chains: &mut [Chain]) {
        match self.way {
            #[cfg(target_arch = "x86_64")]
            Way::Avx512 => side_by_side::<16>(chains, self.few, |hashes, times| {
                // SAFETY: this way is only taken where the processor has the features.
                unsafe { x86::chains_wide(hashes, times) }
            }),
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => side_by_side::<8>(chains, self.few, |hashes, times| {
                // SAFETY: as above.
                unsafe { x86::chains_half(hashes, times) }
            }),
            Way::Library => chains.iter_mut().for_each(finish),
        }
    }
}

fn finish(chain: &mut Chain) {
    for _ in 0..std::mem::take(&mut chain.times) {
        chain.hash = Sha256::digest(chain.hash).into();
    }
}

/// The longest first: a lane whose chain ends takes the next one. When only `few` lanes, which are not all, are busy, no
/// chain waits any more, and the library finishes.
#[inline(always)]
fn side_by_side<const LANES: usize>(chains: &mut [Chain], few: usize, run: impl Fn(&mut [[u32; LANES]; 8], u64)) {
    let mut waiting: Vec<usize> = (0..chains.len()).filter(|at| chains[*at].times > 0).collect();
    waiting.sort_by_key(|at| chains[*at].times);
    let mut lanes: [Option<usize>; LANES] = [None; LANES];
    let mut hashes = [[0_u32; LANES]; 8];
    loop {
        for (lane, place) in lanes.iter_mut().enumerate() {
            if let Some(at) = *place
                && chains[at].times > 0
            {
                continue;
            }
            if let Some(at) = place.take() {
                take_out(&hashes, lane, &mut chains[at]);
            }
            *place = waiting.pop();
            if let Some(at) = *place {
                for (word, bytes) in hashes.iter_mut().zip(chains[at].hash.as_chunks::<4>().0) {
                    word[lane] = u32::from_be_bytes(*bytes);
                }
            }
        }
        let busy = || lanes.iter().enumerate().filter_map(|(lane, place)| Some((lane, (*place)?)));
        let shortest = busy().map(|(_, at)| chains[at].times).min();
        let Some(times) = shortest.filter(|_| busy().count() > few) else {
            for (lane, at) in busy() {
                take_out(&hashes, lane, &mut chains[at]);
                finish(&mut chains[at]);
            }
            return;
        };
        run(&mut hashes, times);
        busy().for_each(|(_, at)| chains[at].times -= times);
    }
}

#[inline(always)]
fn take_out<const LANES: usize>(hashes: &[[u32; LANES]; 8], lane: usize, chain: &mut Chain) {
    for (word, bytes) in hashes.iter().zip(chain.hash.as_chunks_mut::<4>().0) {
        *bytes = word[lane].to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    fn bytes(rng: &mut ChaCha8Rng, count: usize) -> Vec<u8> {
        (0..count).map(|_| rng.r#gen()).collect()
    }

    #[test]
    fn every_kernel_digests_as_the_library_does() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for round in 0..600 {
            // All lengths around one, two and three blocks, and as many messages as fill some lanes or all.
            let length = if round < 200 { round } else { rng.gen_range(0..1_300) };
            let count = rng.gen_range(0..40);
            let prefix = rng.gen_range(0..70);
            let prefix = bytes(&mut rng, prefix);
            let messages: Vec<Vec<u8>> = (0..count).map(|_| bytes(&mut rng, length)).collect();
            let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            for kernel in Kernel::available() {
                let mut digests = vec![[0; DIGEST]; count];
                kernel.digests(&prefix, &slices, &mut digests);
                for (message, digest) in messages.iter().zip(digests) {
                    let expected: [u8; DIGEST] = Sha256::digest([&prefix[..], message].concat()).into();
                    assert_eq!(digest, expected, "{kernel:?}: {length} bytes after {}", prefix.len());
                }
            }
        }
    }

    /// Every kernel, with every number of chains that it can take for few: 0 keeps all in the lanes.
    fn kernels_for_chains() -> impl Iterator<Item = Kernel> {
        Kernel::available().into_iter().flat_map(|kernel| (0..kernel.lanes()).map(move |few| Kernel { few, ..kernel }))
    }

    #[track_caller]
    fn end_as_in_the_library(chains: &[Chain]) {
        let ends = |chain: &Chain| {
            let hash = (0..chain.times).fold(chain.hash, |hash, _| Sha256::digest(hash).into());
            Chain { hash, times: 0 }
        };
        let expected: Vec<Chain> = chains.iter().map(ends).collect();
        for kernel in kernels_for_chains() {
            let mut found = chains.to_vec();
            kernel.chains(&mut found);
            assert_eq!(found, expected, "{kernel:?} from {chains:?}");
        }
    }

    #[test]
    fn every_kernel_brings_chains_of_any_lengths_to_the_same_ends() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..200 {
            let count = rng.gen_range(0..50);
            let longest = [1, 3, 100][rng.gen_range(0..3)];
            let chains: Vec<Chain> =
                (0..count).map(|_| Chain { hash: rng.r#gen(), times: rng.gen_range(0..=longest) }).collect();
            end_as_in_the_library(&chains);
        }
    }

    #[test]
    fn long_chains_that_are_left_over_come_to_the_same_ends() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for long in 0..=5 {
            for short in [0, 1, 4, 7, 8, 15, 16, 17, 40] {
                let times = (0..long).map(|at| 300 + at).chain((0..short).map(|at| at % 4));
                let mut chains: Vec<Chain> = times.map(|times| Chain { hash: rng.r#gen(), times }).collect();
                end_as_in_the_library(&chains);
                chains.reverse();
                end_as_in_the_library(&chains);
            }
        }
    }

    #[test]
    fn a_few_chains_leave_lanes_idle() {
        for kernel in Kernel::available() {
            assert!(kernel.few() < kernel.lanes(), "{kernel:?}");
        }
    }

    #[test]
    #[should_panic(expected = "have one length")]
    fn messages_of_two_lengths_are_refused() {
        Kernel::best().digests(&[], &[&[1], &[1, 2]], &mut [[0; DIGEST]; 2]);
    }
}
