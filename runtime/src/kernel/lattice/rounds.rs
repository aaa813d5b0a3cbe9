//! BLAKE3 over a vector of lanes, each with two blocks of its own (BLAKE3 paper, sections 2.2 to 2.6).

/// A vector of 32 bit words, one a lane, and what BLAKE3 does with them.
pub(super) trait Words: Copy {
    /// The same word in every lane.
    fn splat(word: u32) -> Self;
    /// Addition modulo 2^32.
    fn add(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    /// Rotation to the right.
    fn rotate<const BY: i32, const BACK: i32>(self) -> Self;
    /// Addition of both halves of every word, each modulo 2^16.
    fn add_halves(self, other: Self) -> Self;
}

const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// Which word of the block each place takes, round by round.
#[rustfmt::skip]
const SCHEDULE: [[usize; 16]; 7] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8],
    [3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1],
    [10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6],
    [12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4],
    [9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7],
    [11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13],
];
const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const ROOT: u32 = 8;
/// Blocks of output of an element.
const OUTPUTS: usize = 32;

#[inline(always)]
fn mix<W: Words>(v: &mut [W; 16], [a, b, c, d]: [usize; 4], (x, y): (W, W)) {
    v[a] = v[a].add(v[b]).add(x);
    v[d] = v[d].xor(v[a]).rotate::<16, 16>();
    v[c] = v[c].add(v[d]);
    v[b] = v[b].xor(v[c]).rotate::<12, 20>();
    v[a] = v[a].add(v[b]).add(y);
    v[d] = v[d].xor(v[a]).rotate::<8, 24>();
    v[c] = v[c].add(v[d]);
    v[b] = v[b].xor(v[c]).rotate::<7, 25>();
}

/// One round. Its number is known when this is compiled, and with it the place of every word: all stay in registers.
#[inline(always)]
fn round<const ROUND: usize, W: Words>(v: &mut [W; 16], block: &[W; 16]) {
    let m = |place: usize| (block[SCHEDULE[ROUND][2 * place]], block[SCHEDULE[ROUND][2 * place + 1]]);
    mix(v, [0, 4, 8, 12], m(0));
    mix(v, [1, 5, 9, 13], m(1));
    mix(v, [2, 6, 10, 14], m(2));
    mix(v, [3, 7, 11, 15], m(3));
    mix(v, [0, 5, 10, 15], m(4));
    mix(v, [1, 6, 11, 12], m(5));
    mix(v, [2, 7, 8, 13], m(6));
    mix(v, [3, 4, 9, 14], m(7));
}

/// The state after the rounds, before it is folded.
#[inline(always)]
fn rounds<W: Words>(chain: &[W; 8], block: &[W; 16], [number, length, flags]: [W; 3]) -> [W; 16] {
    let [a, b, c, d, e, f, g, h] = *chain;
    let (i, j, k, l) = (W::splat(IV[0]), W::splat(IV[1]), W::splat(IV[2]), W::splat(IV[3]));
    let mut v = [a, b, c, d, e, f, g, h, i, j, k, l, number, W::splat(0), length, flags];
    round::<0, W>(&mut v, block);
    round::<1, W>(&mut v, block);
    round::<2, W>(&mut v, block);
    round::<3, W>(&mut v, block);
    round::<4, W>(&mut v, block);
    round::<5, W>(&mut v, block);
    round::<6, W>(&mut v, block);
    v
}

/// Adds the element of every lane to the sum of that lane: word `w` of output block `b` is place `16 b + w`.
#[inline(always)]
pub(super) fn add_elements<W: Words>(first: &[W; 16], second: &[W; 16], length: W, mut add: impl FnMut(usize, W)) {
    let mut start = [W::splat(0); 8];
    for word in 0..8 {
        start[word] = W::splat(IV[word]);
    }
    let v = rounds(&start, first, [W::splat(0), W::splat(64), W::splat(CHUNK_START)]);
    let mut chain = start;
    for word in 0..8 {
        chain[word] = v[word].xor(v[word + 8]);
    }
    for output in 0..OUTPUTS {
        let number = W::splat(output as u32);
        let v = rounds(&chain, second, [number, length, W::splat(CHUNK_END | ROOT)]);
        for word in 0..8 {
            add(16 * output + word, v[word].xor(v[word + 8]));
            add(16 * output + word + 8, v[word + 8].xor(chain[word]));
        }
    }
}
