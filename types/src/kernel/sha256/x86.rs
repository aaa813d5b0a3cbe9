//! Sixteen lanes with AVX-512F, eight with AVX2.

use super::rounds::{START, Words, compress};
use std::arch::x86_64::*;

/// Sixteen lanes.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Wide(__m512i);

/// Eight lanes.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Half(__m256i);

// SAFETY (of all intrinsics in the two implementations): they only compute on registers, and are reached only through the
// functions below with `target_feature`, whose callers have asked the processor.
impl Words for Wide {
    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self(unsafe { _mm512_set1_epi32(word.cast_signed()) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(unsafe { _mm512_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn big_sigma(self, second: bool) -> Self {
        let x = self.0;
        Self(unsafe {
            if second {
                xor3(_mm512_ror_epi32::<6>(x), _mm512_ror_epi32::<11>(x), _mm512_ror_epi32::<25>(x))
            } else {
                xor3(_mm512_ror_epi32::<2>(x), _mm512_ror_epi32::<13>(x), _mm512_ror_epi32::<22>(x))
            }
        })
    }

    #[inline(always)]
    fn small_sigma(self, second: bool) -> Self {
        let x = self.0;
        Self(unsafe {
            if second {
                xor3(_mm512_ror_epi32::<17>(x), _mm512_ror_epi32::<19>(x), _mm512_srli_epi32::<10>(x))
            } else {
                xor3(_mm512_ror_epi32::<7>(x), _mm512_ror_epi32::<18>(x), _mm512_srli_epi32::<3>(x))
            }
        })
    }

    #[inline(always)]
    fn choose(e: Self, f: Self, g: Self) -> Self {
        Self(unsafe { _mm512_ternarylogic_epi32::<0xca>(e.0, f.0, g.0) })
    }

    #[inline(always)]
    fn majority(a: Self, b: Self, c: Self) -> Self {
        Self(unsafe { _mm512_ternarylogic_epi32::<0xe8>(a.0, b.0, c.0) })
    }
}

/// # Safety
/// The processor has AVX-512F.
#[inline(always)]
unsafe fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    unsafe { _mm512_ternarylogic_epi32::<0x96>(a, b, c) }
}

macro_rules! rotate {
    ($x:expr, $by:literal) => {
        _mm256_or_si256(_mm256_srli_epi32::<$by>($x), _mm256_slli_epi32::<{ 32 - $by }>($x))
    };
}

impl Words for Half {
    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self(unsafe { _mm256_set1_epi32(word.cast_signed()) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(unsafe { _mm256_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn big_sigma(self, second: bool) -> Self {
        let x = self.0;
        Self(unsafe {
            let (a, b, c) = if second {
                (rotate!(x, 6), rotate!(x, 11), rotate!(x, 25))
            } else {
                (rotate!(x, 2), rotate!(x, 13), rotate!(x, 22))
            };
            _mm256_xor_si256(_mm256_xor_si256(a, b), c)
        })
    }

    #[inline(always)]
    fn small_sigma(self, second: bool) -> Self {
        let x = self.0;
        Self(unsafe {
            let (a, b, c) = if second {
                (rotate!(x, 17), rotate!(x, 19), _mm256_srli_epi32::<10>(x))
            } else {
                (rotate!(x, 7), rotate!(x, 18), _mm256_srli_epi32::<3>(x))
            };
            _mm256_xor_si256(_mm256_xor_si256(a, b), c)
        })
    }

    #[inline(always)]
    fn choose(e: Self, f: Self, g: Self) -> Self {
        Self(unsafe { _mm256_xor_si256(g.0, _mm256_and_si256(e.0, _mm256_xor_si256(f.0, g.0))) })
    }

    #[inline(always)]
    fn majority(a: Self, b: Self, c: Self) -> Self {
        Self(unsafe { _mm256_xor_si256(b.0, _mm256_and_si256(_mm256_xor_si256(a.0, b.0), _mm256_xor_si256(b.0, c.0))) })
    }
}

macro_rules! lanes {
    ($digest:ident, $chains:ident, $vector:ident, $raw:ty, $count:literal, $features:literal) => {
        impl $vector {
            #[inline(always)]
            fn from_lanes(lanes: [u32; $count]) -> Self {
                // SAFETY: a vector register is that many words, of any value.
                Self(unsafe { std::mem::transmute::<[u32; $count], $raw>(lanes) })
            }

            #[inline(always)]
            fn into_lanes(self) -> [u32; $count] {
                // SAFETY: as above.
                unsafe { std::mem::transmute::<$raw, [u32; $count]>(self.0) }
            }
        }

        /// The digests of as many blocks' streams as there are lanes: `words(b)` writes block `b` of every lane.
        ///
        /// # Safety
        /// The processor has the features.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $digest(
            blocks: usize,
            words: &mut dyn FnMut(usize, &mut [[u32; $count]; 16]),
        ) -> [[u32; $count]; 8] {
            let mut state = START.map($vector::splat);
            let mut staged = [[0; $count]; 16];
            for block in 0..blocks {
                words(block, &mut staged);
                compress(&mut state, staged.map($vector::from_lanes));
            }
            state.map($vector::into_lanes)
        }

        /// Hashes the 32 bytes of every lane so many times, each time the hash before.
        ///
        /// # Safety
        /// The processor has the features.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $chains(hashes: &mut [[u32; $count]; 8], times: u64) {
            let mut chain = hashes.map($vector::from_lanes);
            let tail = [0x8000_0000, 0, 0, 0, 0, 0, 0, 256].map($vector::splat);
            for _ in 0..times {
                let mut block = [tail[1]; 16];
                block[..8].copy_from_slice(&chain);
                block[8..].copy_from_slice(&tail);
                chain = START.map($vector::splat);
                compress(&mut chain, block);
            }
            *hashes = chain.map($vector::into_lanes);
        }
    };
}

lanes!(digest_wide, chains_wide, Wide, __m512i, 16, "avx512f");
lanes!(digest_half, chains_half, Half, __m256i, 8, "avx2");
