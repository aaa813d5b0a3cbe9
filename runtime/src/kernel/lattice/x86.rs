//! Sixteen lanes with AVX-512, eight with AVX2.

use super::{
    Staged,
    rounds::{Words, add_elements},
};
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
    fn xor(self, other: Self) -> Self {
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn rotate<const BY: i32, const BACK: i32>(self) -> Self {
        Self(unsafe { _mm512_ror_epi32::<BY>(self.0) })
    }

    #[inline(always)]
    fn add_halves(self, other: Self) -> Self {
        Self(unsafe { _mm512_add_epi16(self.0, other.0) })
    }
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
    fn xor(self, other: Self) -> Self {
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn rotate<const BY: i32, const BACK: i32>(self) -> Self {
        Self(unsafe { _mm256_or_si256(_mm256_srli_epi32::<BY>(self.0), _mm256_slli_epi32::<BACK>(self.0)) })
    }

    #[inline(always)]
    fn add_halves(self, other: Self) -> Self {
        Self(unsafe { _mm256_add_epi16(self.0, other.0) })
    }
}

macro_rules! lanes {
    ($name:ident, $vector:ident, $raw:ty, $count:literal, $features:literal) => {
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

        /// Adds the element of every lane to the sum of that lane.
        ///
        /// # Safety
        /// The processor has the features.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(staged: &Staged<$count>, sums: &mut [[u32; $count]]) {
            let mut blocks = [[$vector::splat(0); 16]; 2];
            for place in 0..32 {
                blocks[place / 16][place % 16] = $vector::from_lanes(staged.words[place]);
            }
            let length = $vector::from_lanes(staged.lengths);
            add_elements(&blocks[0], &blocks[1], length, |place, word| {
                let sum = &mut sums[place];
                *sum = $vector::from_lanes(*sum).add_halves(word).into_lanes();
            });
        }
    };
}

lanes!(add_wide, Wide, __m512i, 16, "avx512f,avx512bw");
lanes!(add_half, Half, __m256i, 8, "avx2");
