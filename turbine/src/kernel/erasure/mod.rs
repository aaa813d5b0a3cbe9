//! The Reed-Solomon code of 32 data and 32 code shards.

mod field;
mod strip;
mod transform;
#[cfg(target_arch = "x86_64")]
mod x86;

use strip::{Portable, Strip};

/// Data shards of a set, and code shards.
pub const COUNT: usize = 32;

/// The shards that a step reads and those that it writes, all of one length.
pub(super) struct Shards<'a, 'b> {
    pub(super) from: [&'a [u8]; COUNT],
    pub(super) into: &'a mut [&'b mut [u8]],
}

/// What is to be computed of 32 shards.
pub(super) enum Work {
    /// Code of all data.
    Encode,
    /// Data of all code.
    Decode,
    /// Each shard as a sum of all, with factors.
    Weigh(Vec<[u8; COUNT]>),
}

/// How it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Anywhere.
    Portable,
    /// With AVX2.
    Avx2,
    /// With AVX-512BW.
    Avx512,
}

impl Kernel {
    /// All that this processor can run, the fastest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut kernels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2") {
                kernels.push(Self::Avx2);
            }
            if std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512bw") {
                kernels.push(Self::Avx512);
            }
        }
        kernels
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
            let mut rest = [0; 64];
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

    /// Runs it.
    ///
    /// # Panics
    /// If shards differ in length.
    pub(super) fn go(&self, kernel: Kernel, shards: &mut Shards<'_, '_>) {
        let length = shards.from[0].len();
        let same = shards.from.iter().all(|s| s.len() == length) && shards.into.iter().all(|s| s.len() == length);
        assert!(same, "shards of a set have one length");
        match kernel {
            Kernel::Portable => self.run::<Portable>(shards),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => unsafe { x86::run_half(self, shards) },
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { x86::run_wide(self, shards) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => self.run::<Portable>(shards),
        }
    }
}
pub fn encode(kernel: Kernel, data: &[&[u8]; COUNT], code: &mut [&mut [u8]]) {
    Work::Encode.go(kernel, &mut Shards { from: *data, into: code });
}
pub fn decode(kernel: Kernel, data: &[&[u8]; COUNT], code: &mut [&mut [u8]]) {
    Work::Decode.go(kernel, &mut Shards { from: *data, into: code });
}
pub fn weigh(kernel: Kernel, points: &[u8; COUNT], at: &[u8], from: &[&[u8]; COUNT], into: &mut [&mut [u8]]) {
    Work::Weigh(transform::weights(points, at)).go(kernel, &mut Shards { from: *from, into });
}
