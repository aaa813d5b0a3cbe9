//! Makes inputs that are nearly right: what decoders get wrong.

use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Values that claimed lengths and counts are set to: edges of integers, of buffers and of the protocols' own limits.
const CLAIMS: [u64; 20] = [
    0,
    1,
    31,
    32,
    100,
    101,
    255,
    256,
    1_203,
    1_228,
    4_097,
    32_768,
    65_535,
    10_000_000,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 40,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

/// Makes inputs out of samples, the same ones for the same seed.
pub struct Mutator<'a> {
    samples: &'a [Vec<u8>],
    rng: ChaCha8Rng,
}

impl<'a> Mutator<'a> {
    /// # Panics
    /// Without samples.
    pub fn new(seed: u64, samples: &'a [Vec<u8>]) -> Self {
        assert!(!samples.is_empty(), "there is nothing to mutate");
        Self { samples, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    fn sample(&mut self) -> &'a [u8] {
        &self.samples[self.rng.gen_range(0..self.samples.len())]
    }

    /// The next input: a sample changed in one to four ways, now and then a sample as it is, or noise.
    pub fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.sample().to_vec();
        match self.rng.gen_range(0..64) {
            0 => return bytes,
            1 => {
                bytes = vec![0; self.rng.gen_range(0..1_300)];
                self.rng.fill_bytes(&mut bytes);
            }
            _ => {}
        }
        for _ in 0..self.rng.gen_range(1..=4) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        match self.rng.gen_range(0..10) {
            0..=3 => self.flip(bytes),
            4..=6 => self.claim(bytes),
            7 => bytes.truncate(self.place(bytes)),
            8 => self.splice(bytes),
            _ => self.repeat(bytes),
        }
    }

    /// Somewhere in the input, every second time in its head, where most fields are.
    fn place(&mut self, bytes: &[u8]) -> usize {
        let end = if self.rng.r#gen() { bytes.len() } else { bytes.len().min(128) };
        self.rng.gen_range(0..=end)
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let place = self.place(bytes);
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << self.rng.gen_range(0..8);
        }
    }

    /// A length, count or number of 1 to 8 bytes becomes an edge, or something near the input's own length.
    fn claim(&mut self, bytes: &mut [u8]) {
        let near = (bytes.len() as u64).wrapping_add(self.rng.gen_range(0..9)).wrapping_sub(4);
        let claim = if self.rng.gen_ratio(1, 4) { near } else { CLAIMS[self.rng.gen_range(0..CLAIMS.len())] };
        let width = [1, 2, 4, 8][self.rng.gen_range(0..4)];
        let place = self.place(bytes);
        if let Some(field) = bytes.get_mut(place..place + width) {
            field.copy_from_slice(&claim.to_le_bytes()[..width]);
        }
    }

    /// The tail of another sample takes the place of this one's, perhaps shifted.
    fn splice(&mut self, bytes: &mut Vec<u8>) {
        let other = self.sample();
        let from = self.place(other);
        let to = if self.rng.r#gen() { from } else { self.place(bytes) };
        bytes.truncate(to);
        bytes.extend_from_slice(&other[from..]);
    }

    /// A piece comes twice, or something follows the end.
    fn repeat(&mut self, bytes: &mut Vec<u8>) {
        let from = self.place(bytes);
        let to = bytes.len().min(from + self.rng.gen_range(0..64));
        let piece = bytes[from..to].to_vec();
        if self.rng.r#gen() {
            bytes.splice(to..to, piece);
        } else {
            bytes.extend_from_slice(&piece);
        }
    }
}
