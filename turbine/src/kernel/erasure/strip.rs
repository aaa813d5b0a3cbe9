//! A few bytes side by side of one shard, and what the code does with them.

use super::field::NIBBLES;

/// So many bytes that one step works on.
pub(super) trait Strip: Copy {
    /// How many.
    const BYTES: usize;
    /// All zero.
    fn zero() -> Self;
    /// Reads the first bytes of a longer slice.
    fn load(from: &[u8]) -> Self;
    /// Writes them.
    fn store(self, into: &mut [u8]);
    /// The sum, and the difference.
    fn xor(self, other: Self) -> Self;
    /// The product with a factor.
    fn times(self, factor: u8) -> Self;
}

/// Without instructions of any one processor; compilers make what vectors there are of it.
#[derive(Clone, Copy)]
pub(super) struct Portable([u64; 4]);

impl Strip for Portable {
    const BYTES: usize = 32;

    #[inline(always)]
    fn zero() -> Self {
        Self([0; 4])
    }

    #[inline(always)]
    fn load(from: &[u8]) -> Self {
        let words = from[..32].as_chunks::<8>().0;
        Self(std::array::from_fn(|at| u64::from_le_bytes(words[at])))
    }

    #[inline(always)]
    fn store(self, into: &mut [u8]) {
        for (word, bytes) in self.0.iter().zip(into[..32].as_chunks_mut::<8>().0) {
            *bytes = word.to_le_bytes();
        }
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] ^ other.0[at]))
    }

    #[inline(always)]
    fn times(self, factor: u8) -> Self {
        const EACH: u64 = 0x0101_0101_0101_0101;
        // Bit by bit: what the factor is with each power of two stands among its nibbles.
        let table = &NIBBLES[usize::from(factor)];
        let powers = [table[1], table[2], table[4], table[8], table[17], table[18], table[20], table[24]];
        let mut product = [0; 4];
        for (bit, power) in powers.into_iter().enumerate() {
            let power = u64::from(power).wrapping_mul(EACH);
            for (sum, word) in product.iter_mut().zip(self.0) {
                let ones = (word >> bit) & EACH;
                *sum ^= (ones << 8).wrapping_sub(ones) & power;
            }
        }
        Self(product)
    }
}
