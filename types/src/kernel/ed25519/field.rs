//! Numbers modulo 2^255 - 19, eight side by side, with the multiply-and-add of 52 bits that AVX-512 IFMA has.
//!
//! A number is five limbs of 51 bits. What [`Field::mul`] and [`Field::square`] take must be below 2^52 in each limb,
//! and what they and [`Field::sub`] and [`Field::plus`] give is below 2^51 + 2^15: every function here takes what every
//! other gives, but for [`Field::sum`], whose result only goes to `sub` and `plus`.

use super::LANES;
use std::arch::x86_64::*;

const MASK: u64 = (1 << 51) - 1;

/// A number, as its limbs.
pub(super) type Limbs = [u64; 5];

/// A number in each lane.
#[derive(Clone, Copy)]
pub(super) struct Field(pub(super) [__m512i; 5]);

/// Reads a number of 255 bits; the last bit is not looked at.
pub(super) fn read(bytes: &[u8; 32]) -> Limbs {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    of_words(words)
}

const fn of_words([a, b, c, d]: [u64; 4]) -> Limbs {
    [a & MASK, (a >> 51 | b << 13) & MASK, (b >> 38 | c << 26) & MASK, (c >> 25 | d << 39) & MASK, d >> 12 & MASK]
}

/// Writes the number below the modulus that these limbs, each below 2^52, stand for.
pub(super) fn write(mut limbs: Limbs) -> [u8; 32] {
    // Two rounds leave no carry but the one that the modulus itself makes.
    for _ in 0..2 {
        for at in 0..5 {
            let carry = limbs[at] >> 51;
            limbs[at] &= MASK;
            limbs[(at + 1) % 5] += if at == 4 { carry * 19 } else { carry };
        }
    }
    let mut over = 19;
    for limb in limbs {
        over = (limb + over) >> 51;
    }
    let mut carry = over * 19;
    for limb in &mut limbs {
        *limb += carry;
        carry = *limb >> 51;
        *limb &= MASK;
    }
    let [a, b, c, d, e] = limbs;
    let words = [a | b << 51, b >> 13 | c << 38, c >> 26 | d << 25, d >> 39 | e << 12];
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    bytes
}

/// The constant of the curve.
pub(super) const D: Limbs =
    of_words([0x75eb_4dca_1359_78a3, 0x0070_0a4d_4141_d8ab, 0x8cc7_4079_7779_e898, 0x5203_6cee_2b6f_fe73]);
/// A square root of -1.
pub(super) const ROOT_OF_MINUS_ONE: Limbs =
    of_words([0xc4ee_1b27_4a0e_a0b0, 0x2f43_1806_ad2f_e478, 0x2b4d_0099_3dfb_d7a7, 0x2b83_2480_4fc1_df0b]);
pub(super) const ZERO: Limbs = [0; 5];
pub(super) const ONE: Limbs = [1, 0, 0, 0, 0];
/// Twice the modulus, limb by limb more than anything that is subtracted.
const TWICE: Limbs = [2 * (MASK - 18), 2 * MASK, 2 * MASK, 2 * MASK, 2 * MASK];

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn word(word: u64) -> __m512i {
    _mm512_set1_epi64(word.cast_signed())
}

impl Field {
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn splat(limbs: Limbs) -> Self {
        let mut all = [_mm512_setzero_si512(); 5];
        for (vector, limb) in all.iter_mut().zip(limbs) {
            *vector = word(limb);
        }
        Self(all)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn of_lanes(lanes: &[Limbs; LANES]) -> Self {
        let mut all = [_mm512_setzero_si512(); 5];
        for (at, vector) in all.iter_mut().enumerate() {
            let limb: [i64; LANES] = std::array::from_fn(|lane| lanes[lane][at].cast_signed());
            let [a, b, c, d, e, f, g, h] = limb;
            *vector = _mm512_setr_epi64(a, b, c, d, e, f, g, h);
        }
        Self(all)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn lanes(&self) -> [Limbs; LANES] {
        let mut lanes = [ZERO; LANES];
        for (at, vector) in self.0.iter().enumerate() {
            let mut limbs = [0_u64; LANES];
            // SAFETY: there is room for the 64 bytes.
            unsafe { _mm512_storeu_si512(limbs.as_mut_ptr().cast(), *vector) };
            for (lane, limb) in lanes.iter_mut().zip(limbs) {
                lane[at] = limb;
            }
        }
        lanes
    }

    /// The numbers as they are written.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn bytes(&self) -> [[u8; 32]; LANES] {
        self.lanes().map(write)
    }

    /// Moves what is beyond 51 bits of each limb on to the next.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn carried(limbs: [__m512i; 5]) -> Self {
        let mask = word(MASK);
        let over = [
            _mm512_srli_epi64::<51>(limbs[0]),
            _mm512_srli_epi64::<51>(limbs[1]),
            _mm512_srli_epi64::<51>(limbs[2]),
            _mm512_srli_epi64::<51>(limbs[3]),
            _mm512_srli_epi64::<51>(limbs[4]),
        ];
        Self([
            _mm512_madd52lo_epu64(_mm512_and_si512(limbs[0], mask), over[4], word(19)),
            _mm512_add_epi64(_mm512_and_si512(limbs[1], mask), over[0]),
            _mm512_add_epi64(_mm512_and_si512(limbs[2], mask), over[1]),
            _mm512_add_epi64(_mm512_and_si512(limbs[3], mask), over[2]),
            _mm512_add_epi64(_mm512_and_si512(limbs[4], mask), over[3]),
        ])
    }

    /// The sum, with no limb moved on.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn sum(&self, other: &Self) -> Self {
        let mut limbs = self.0;
        for (limb, other) in limbs.iter_mut().zip(other.0) {
            *limb = _mm512_add_epi64(*limb, other);
        }
        Self(limbs)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn plus(&self, other: &Self) -> Self {
        Self::carried(self.sum(other).0)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn sub(&self, other: &Self) -> Self {
        let mut limbs = self.0;
        for ((limb, other), twice) in limbs.iter_mut().zip(other.0).zip(TWICE) {
            *limb = _mm512_add_epi64(*limb, _mm512_sub_epi64(word(twice), other));
        }
        Self::carried(limbs)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn mul(&self, other: &Self) -> Self {
        let (mut low, mut high) = ([_mm512_setzero_si512(); 9], [_mm512_setzero_si512(); 9]);
        for (i, one) in self.0.into_iter().enumerate() {
            for (j, other) in other.0.into_iter().enumerate() {
                low[i + j] = _mm512_madd52lo_epu64(low[i + j], one, other);
                high[i + j] = _mm512_madd52hi_epu64(high[i + j], one, other);
            }
        }
        Self::folded(&low, &high)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn square(&self) -> Self {
        let (mut low, mut high) = ([_mm512_setzero_si512(); 9], [_mm512_setzero_si512(); 9]);
        for i in 0..5 {
            for j in i + 1..5 {
                low[i + j] = _mm512_madd52lo_epu64(low[i + j], self.0[i], self.0[j]);
                high[i + j] = _mm512_madd52hi_epu64(high[i + j], self.0[i], self.0[j]);
            }
        }
        for at in 1..8 {
            low[at] = _mm512_add_epi64(low[at], low[at]);
            high[at] = _mm512_add_epi64(high[at], high[at]);
        }
        for (i, one) in self.0.into_iter().enumerate() {
            low[2 * i] = _mm512_madd52lo_epu64(low[2 * i], one, one);
            high[2 * i] = _mm512_madd52hi_epu64(high[2 * i], one, one);
        }
        Self::folded(&low, &high)
    }

    /// Puts the columns of a product together. The high halves weigh 2^52, twice what a limb of the next column does;
    /// the upper five columns weigh 2^255, which is 19. The sums stay below 2^61.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn folded(low: &[__m512i; 9], high: &[__m512i; 9]) -> Self {
        let mut columns = [_mm512_setzero_si512(); 10];
        columns[..9].copy_from_slice(low);
        for (column, high) in columns[1..].iter_mut().zip(high) {
            *column = _mm512_add_epi64(*column, _mm512_add_epi64(*high, *high));
        }
        let mut limbs = [_mm512_setzero_si512(); 5];
        for (at, limb) in limbs.iter_mut().enumerate() {
            let upper = columns[at + 5];
            let thrice = _mm512_add_epi64(upper, _mm512_add_epi64(upper, upper));
            let times = _mm512_add_epi64(_mm512_slli_epi64::<4>(upper), thrice);
            *limb = _mm512_add_epi64(columns[at], times);
        }
        Self::carried(limbs)
    }

    /// Squares so many times.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn squares(&self, times: usize) -> Self {
        let mut square = *self;
        for _ in 0..times {
            square = square.square();
        }
        square
    }

    /// To the powers 2^250 - 1 and 11.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn powers(&self) -> (Self, Self) {
        let two = self.square();
        let nine = two.squares(2).mul(self);
        let eleven = nine.mul(&two);
        // From here on, the name is the exponent's number of ones.
        let ones_5 = eleven.square().mul(&nine);
        let ones_10 = ones_5.squares(5).mul(&ones_5);
        let ones_20 = ones_10.squares(10).mul(&ones_10);
        let ones_40 = ones_20.squares(20).mul(&ones_20);
        let ones_50 = ones_40.squares(10).mul(&ones_10);
        let ones_100 = ones_50.squares(50).mul(&ones_50);
        let ones_200 = ones_100.squares(100).mul(&ones_100);
        (ones_200.squares(50).mul(&ones_50), eleven)
    }

    /// The inverse; of zero, zero.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn inverse(&self) -> Self {
        let (ones_250, eleven) = self.powers();
        ones_250.squares(5).mul(&eleven)
    }

    /// To the power (p - 5) / 8.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn root_power(&self) -> Self {
        self.powers().0.squares(2).mul(self)
    }

    /// Of each lane of the mask the other number, of the rest its own.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn or(&self, mask: __mmask8, other: &Self) -> Self {
        let mut limbs = self.0;
        for (limb, other) in limbs.iter_mut().zip(other.0) {
            *limb = _mm512_mask_mov_epi64(*limb, mask, other);
        }
        Self(limbs)
    }

    /// Negated in each lane of the mask.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn negated_in(&self, mask: __mmask8) -> Self {
        self.or(mask, &Self::splat(ZERO).sub(self))
    }

    /// In each lane the number that another lane has.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(super) fn picked(&self, lanes: __m512i) -> Self {
        let mut limbs = self.0;
        for limb in &mut limbs {
            *limb = _mm512_permutexvar_epi64(lanes, *limb);
        }
        Self(limbs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::ed25519::Kernel;
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    /// Schoolbook multiplication.
    fn product(one: &Limbs, other: &Limbs) -> [u8; 32] {
        let mut columns = [0_u128; 5];
        for (i, one) in one.iter().enumerate() {
            for (j, other) in other.iter().enumerate() {
                let weight = if i + j < 5 { 1 } else { 19 };
                columns[(i + j) % 5] += weight * u128::from(*one) * u128::from(*other);
            }
        }
        for at in [0, 1, 2, 3, 4, 0, 1, 2, 3, 4] {
            let carry = columns[at] >> 51;
            columns[at] &= u128::from(MASK);
            columns[(at + 1) % 5] += if at == 4 { carry * 19 } else { carry };
        }
        write(columns.map(|column| u64::try_from(column).expect("carried")))
    }

    /// A limb at the edges of what may come, or anywhere.
    fn limb(rng: &mut ChaCha8Rng, max: u64) -> u64 {
        match rng.gen_range(0..6) {
            0 => 0,
            1 => max,
            2 => MASK,
            3 => MASK - 18 + rng.gen_range(0..20),
            _ => rng.gen_range(0..=max),
        }
    }

    fn lanes(rng: &mut ChaCha8Rng, max: u64) -> [Limbs; LANES] {
        std::array::from_fn(|_| std::array::from_fn(|_| limb(rng, max)))
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn compare(rng: &mut ChaCha8Rng) {
        // What multiplications take, and what everything gives.
        let (most, given) = ((1 << 52) - 1, (1 << 51) + (1 << 15) - 1);
        let [a, b] = [(); 2].map(|()| lanes(rng, most));
        let (fa, fb) = (Field::of_lanes(&a), Field::of_lanes(&b));
        let small = |field: &Field| assert!(field.lanes().iter().flatten().all(|limb| *limb <= given));
        let (times, square) = (fa.mul(&fb), fa.square());
        for field in [&times, &square] {
            small(field);
        }
        let lane_by_lane = |one: [Limbs; LANES], other: [Limbs; LANES]| {
            std::array::from_fn::<_, LANES, _>(|lane| product(&one[lane], &other[lane]))
        };
        assert_eq!(times.bytes(), lane_by_lane(a, b));
        assert_eq!(square.bytes(), lane_by_lane(a, a));
        let [a, b] = [(); 2].map(|()| lanes(rng, given));
        let (fa, fb) = (Field::of_lanes(&a), Field::of_lanes(&b));
        let (sum, difference) = (fa.plus(&fb), fa.sub(&fb));
        let back = fa.sum(&fa).sub(&fa);
        for field in [&sum, &difference, &back] {
            small(field);
        }
        for same in [back, difference.plus(&fb), sum.sub(&fb)] {
            assert_eq!(same.bytes(), a.map(write));
        }
        let times_inverse = a.map(|limbs| if write(limbs) == [0; 32] { [0; 32] } else { write(ONE) });
        assert_eq!(fa.inverse().mul(&fa).bytes(), times_inverse);
        // x^((p-5)/8), eight times itself and x^5, is x^p, which is x.
        let root = fa.root_power();
        let power = root.square().square().square().mul(&fa.square().square()).mul(&fa);
        assert_eq!(power.bytes(), fa.bytes());
    }

    #[test]
    fn lanes_compute_what_the_schoolbook_says_up_to_the_largest_limbs() {
        if Kernel::available().len() < 2 {
            return;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..2_000 {
            // SAFETY: the processor has the features.
            unsafe { compare(&mut rng) };
        }
    }

    #[test]
    fn the_constants_are_what_they_should_be() {
        assert_eq!(product(&ROOT_OF_MINUS_ONE, &ROOT_OF_MINUS_ONE), write([MASK - 19, MASK, MASK, MASK, MASK]));
        // d = -121665/121666
        let minus = write([MASK - 18 - 121_665, MASK, MASK, MASK, MASK]);
        assert_eq!(product(&D, &[121_666, 0, 0, 0, 0]), minus);
        assert_eq!(write([MASK - 18, MASK, MASK, MASK, MASK]), [0; 32], "the modulus is zero");
        assert_eq!(read(&write([5, 4, 3, 2, 1])), [5, 4, 3, 2, 1]);
    }
}
