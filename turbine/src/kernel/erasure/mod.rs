//! The Reed-Solomon code of 32 data and 32 code shards (reference 3.5), as fast as it can be computed on this processor.
//!
//! ```text
//!   shards      strips of them          columns                      what is computed of a column
//!   data 0  ---- 64 or 32 bytes ---+
//!   ...                            +--> 32 strips, one a shard --+-- all code of all data, all data of all code:
//!   data 31 ---- side by side -----+                             |   the Fourier transform
//!                                                                +-- some shards of any 32: a sum for each
//! ```

#![allow(unsafe_code)]

mod field;
mod strip;
mod transform;
#[cfg(target_arch = "x86_64")]
mod x86;

use strip::{Portable, Strip};

/// Data shards of a set, and code shards.
pub const COUNT: usize = 32;
/// Bytes of the longest strip.
const STRIP_MAX: usize = 64;

/// Shards that are read and shards that are written, all of one length.
struct Shards<'a, 'b> {
    from: [&'a [u8]; COUNT],
    into: &'a mut [&'b mut [u8]],
}

/// What is to be computed of 32 shards.
enum Work {
    /// Code of all data.
    Encode,
    /// Data of all code.
    Decode,
    /// Each shard as a sum of all, with factors.
    Weigh(Vec<[u8; COUNT]>),
}

/// The instructions that are used. There is no kernel that this processor cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Way);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// All that this processor can run, the fastest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut kernels = vec![Self(Way::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            kernels.extend(is_x86_feature_detected!("avx2").then_some(Self(Way::Avx2)));
            kernels.extend(wide.then_some(Self(Way::Avx512)));
        }
        kernels
    }

    /// The fastest.
    #[must_use]
    pub fn best() -> Self {
        Self::available().pop().expect("the portable one")
    }

    /// Its name in benchmarks.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Way::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Way::Avx512 => "avx512",
        }
    }

    /// Computes all code shards of all data shards.
    ///
    /// # Panics
    /// If these are not 32 and 32 of one length.
    pub fn encode(self, data: &[&[u8]], code: &mut [&mut [u8]]) {
        let from = data.try_into().expect("32 data shards");
        assert_eq!(code.len(), COUNT, "32 code shards");
        self.run(&Work::Encode, &mut Shards { from, into: code });
    }

    /// Computes the shards at some places out of 32 that are at others, data shards at 0 to 31 and code shards at 32 to 63.
    ///
    /// # Panics
    /// If these are not 32 different places with shards of one length and places other than these.
    pub fn restore(self, known: &[(usize, &[u8])], missing: &mut [(usize, &mut [u8])]) {
        let known: &[(usize, &[u8]); COUNT] = known.try_into().expect("32 known shards");
        let places = known.map(|(place, _)| u8::try_from(place).expect("below 64"));
        let from = known.map(|(_, shard)| shard);
        let wanted: Vec<u8> = missing.iter().map(|(place, _)| u8::try_from(*place).expect("below 64")).collect();
        let each = |place: &u8| places.iter().chain(&wanted).filter(|other| *other == place).count() == 1;
        let alright = places.iter().chain(&wanted).all(|place| usize::from(*place) < 2 * COUNT && each(place));
        assert!(alright, "the places of a set, each once");
        let mut into: Vec<&mut [u8]> = missing.iter_mut().map(|(_, shard)| &mut **shard).collect();
        let in_order = |first: usize| (0..COUNT).all(|at| usize::from(places[at]) == first + at);
        let all_wanted = |first: usize| wanted.iter().map(|place| usize::from(*place)).eq(first..first + COUNT);
        let work = match () {
            () if in_order(0) && all_wanted(COUNT) => Work::Encode,
            () if in_order(COUNT) && all_wanted(0) => Work::Decode,
            () => Work::Weigh(transform::weights(&places, &wanted)),
        };
        self.run(&work, &mut Shards { from, into: &mut into });
    }

    fn run(self, work: &Work, shards: &mut Shards<'_, '_>) {
        let length = shards.from[0].len();
        let same = shards.from.iter().all(|s| s.len() == length) && shards.into.iter().all(|s| s.len() == length);
        assert!(same, "shards of a set have one length");
        match self.0 {
            Way::Portable => work.run::<Portable>(shards),
            // SAFETY: this way is only taken where the processor has the feature.
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => unsafe { x86::run_half(work, shards) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Way::Avx512 => unsafe { x86::run_wide(work, shards) },
        }
    }
}

impl Work {
    #[inline(always)]
    fn run<S: Strip>(&self, shards: &mut Shards<'_, '_>) {
        let length = shards.from[0].len();
        let whole = length - length % S::BYTES;
        for at in (0..whole).step_by(S::BYTES) {
            let mut column = shards.from.map(|shard| S::load(&shard[at..]));
            self.step(&mut column, |place, value| value.store(&mut shards.into[place][at..]));
        }
        if whole < length {
            let mut rest = [0; STRIP_MAX];
            let mut column = shards.from.map(|shard| {
                rest[..length - whole].copy_from_slice(&shard[whole..]);
                S::load(&rest)
            });
            self.step(&mut column, |place, value| {
                value.store(&mut rest);
                shards.into[place][whole..].copy_from_slice(&rest[..length - whole]);
            });
        }
    }

    #[inline(always)]
    fn step<S: Strip>(&self, column: &mut [S; COUNT], mut write: impl FnMut(usize, S)) {
        match self {
            Self::Encode | Self::Decode => {
                match self {
                    Self::Encode => transform::encode(column),
                    _ => transform::decode(column),
                }
                column.iter().enumerate().for_each(|(place, value)| write(place, *value));
            }
            Self::Weigh(rows) => {
                for (place, row) in rows.iter().enumerate() {
                    let mut sum = S::zero();
                    for (value, factor) in column.iter().zip(row) {
                        sum = sum.xor(value.times(*factor));
                    }
                    write(place, sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
    use rand_chacha::ChaCha8Rng;
    use reed_solomon_erasure::galois_8::ReedSolomon;

    /// A set by the library, data first.
    fn set(rng: &mut ChaCha8Rng, length: usize) -> Vec<Vec<u8>> {
        let mut shards = vec![vec![0; length]; 2 * COUNT];
        shards[..COUNT].iter_mut().for_each(|shard| shard.fill_with(|| rng.r#gen()));
        ReedSolomon::new(COUNT, COUNT).expect("32 and 32").encode(&mut shards).expect("one length");
        shards
    }

    fn restored(kernel: Kernel, set: &[Vec<u8>], known: &[usize], missing: &[usize]) -> Vec<Vec<u8>> {
        let known: Vec<(usize, &[u8])> = known.iter().map(|place| (*place, &set[*place][..])).collect();
        let mut shards = vec![vec![0; set[0].len()]; missing.len()];
        let mut wanted: Vec<(usize, &mut [u8])> =
            missing.iter().copied().zip(shards.iter_mut().map(Vec::as_mut_slice)).collect();
        kernel.restore(&known, &mut wanted);
        shards
    }

    #[test]
    fn every_kernel_encodes_as_the_library_does() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for length in (1..140).chain([995, 1_003, 1_024]) {
            let set = set(&mut rng, length);
            let data: Vec<&[u8]> = set[..COUNT].iter().map(Vec::as_slice).collect();
            for kernel in Kernel::available() {
                let mut code = vec![vec![0; length]; COUNT];
                kernel.encode(&data, &mut code.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
                assert_eq!(code, set[COUNT..], "{kernel:?}: {length} bytes");
            }
        }
    }

    #[test]
    fn every_kernel_restores_any_shards_of_any_32() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut places: Vec<usize> = (0..2 * COUNT).collect();
        for round in 0..200 {
            let length = rng.gen_range(1..200);
            let set = set(&mut rng, length);
            places.shuffle(&mut rng);
            let (known, missing) = places.split_at(COUNT);
            let missing = &missing[..rng.gen_range(0..=COUNT)];
            for kernel in Kernel::available() {
                for (place, shard) in missing.iter().zip(restored(kernel, &set, known, missing)) {
                    assert_eq!(shard, set[*place], "{kernel:?}, round {round}: shard {place}");
                }
            }
        }
    }

    #[test]
    fn all_data_come_of_all_code_and_the_other_way_round() {
        let set = set(&mut ChaCha8Rng::seed_from_u64(3), 77);
        let (data, code): (Vec<usize>, Vec<usize>) = ((0..COUNT).collect(), (COUNT..2 * COUNT).collect());
        for kernel in Kernel::available() {
            assert_eq!(restored(kernel, &set, &data, &code), set[COUNT..]);
            assert_eq!(restored(kernel, &set, &code, &data), set[..COUNT]);
        }
    }

    #[test]
    #[should_panic(expected = "each once")]
    fn a_shard_that_is_known_is_not_restored() {
        let set = set(&mut ChaCha8Rng::seed_from_u64(4), 8);
        restored(Kernel::best(), &set, &(0..COUNT).collect::<Vec<_>>(), &[5]);
    }
}
