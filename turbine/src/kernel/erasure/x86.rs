//! Strips of 64 bytes with AVX-512BW and of 32 with AVX2: products by looking up both nibbles of every byte at once.

use super::{Shards, Work, field::NIBBLES, strip::Strip};
use std::arch::x86_64::*;

/// 64 bytes.
#[derive(Clone, Copy)]
struct Wide(__m512i);

/// 32 bytes.
#[derive(Clone, Copy)]
struct Half(__m256i);

// SAFETY (of all blocks in the two implementations): loads and stores are within slices whose length was just checked; the
// rest computes on registers. All is reached only through the functions below with `target_feature`, whose callers have
// asked the processor.
impl Strip for Wide {
    const BYTES: usize = 64;

    #[inline(always)]
    fn zero() -> Self {
        Self(unsafe { _mm512_setzero_si512() })
    }

    #[inline(always)]
    fn load(from: &[u8]) -> Self {
        let bytes: &[u8; 64] = from.first_chunk().expect("a strip");
        Self(unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, into: &mut [u8]) {
        let bytes: &mut [u8; 64] = into.first_chunk_mut().expect("a strip");
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn times(self, factor: u8) -> Self {
        let table = NIBBLES[usize::from(factor)].as_ptr();
        Self(unsafe {
            let low = _mm512_broadcast_i32x4(_mm_loadu_si128(table.cast()));
            let high = _mm512_broadcast_i32x4(_mm_loadu_si128(table.add(16).cast()));
            let nibble = _mm512_set1_epi8(15);
            let lows = _mm512_shuffle_epi8(low, _mm512_and_si512(self.0, nibble));
            let highs = _mm512_shuffle_epi8(high, _mm512_and_si512(_mm512_srli_epi16::<4>(self.0), nibble));
            _mm512_xor_si512(lows, highs)
        })
    }
}

impl Strip for Half {
    const BYTES: usize = 32;

    #[inline(always)]
    fn zero() -> Self {
        Self(unsafe { _mm256_setzero_si256() })
    }

    #[inline(always)]
    fn load(from: &[u8]) -> Self {
        let bytes: &[u8; 32] = from.first_chunk().expect("a strip");
        Self(unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, into: &mut [u8]) {
        let bytes: &mut [u8; 32] = into.first_chunk_mut().expect("a strip");
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn times(self, factor: u8) -> Self {
        let table = NIBBLES[usize::from(factor)].as_ptr();
        Self(unsafe {
            let low = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.cast()));
            let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.add(16).cast()));
            let nibble = _mm256_set1_epi8(15);
            let lows = _mm256_shuffle_epi8(low, _mm256_and_si256(self.0, nibble));
            let highs = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16::<4>(self.0), nibble));
            _mm256_xor_si256(lows, highs)
        })
    }
}

/// Does the work on strips of 64 bytes.
///
/// # Safety
/// The processor has the features.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn run_wide(work: &Work, shards: &mut Shards<'_, '_>) {
    work.run::<Wide>(shards);
}

/// Does the work on strips of 32 bytes.
///
/// # Safety
/// The processor has the feature.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn run_half(work: &Work, shards: &mut Shards<'_, '_>) {
    work.run::<Half>(shards);
}
