//! The code as polynomials: a column of 32 data bytes are the values of one of degree below 32 at the points 0 to 31 of
//! the field, and its 32 code bytes are the values at the points 32 to 63.
//!
//! From values to coefficients and back leads the additive Fourier transform of Lin, Chung and Han ("Novel polynomial
//! basis and its application to Reed-Solomon erasure codes", 2014): 80 multiplications a way instead of 1,024.

use super::{COUNT, field, strip::Strip};

/// Halvings of 32 points.
const LEVELS: usize = 5;
/// Pairs of groups over all levels: 16 of one point, 8 of two, and so on.
const GROUPS: usize = COUNT - 1;

/// The factors of a transform at the 32 points from a multiple of 32 on, by level, then by group.
type Factors = [u8; GROUPS];

/// For the points of the data.
static DATA: Factors = factors(0);
/// For the points of the code.
static CODE: Factors = factors(COUNT as u8);

/// The product of all `point - p` for the points p below two to the power of `level`.
const fn vanishing(level: usize, point: u8) -> u8 {
    let mut product = 1;
    let mut root = 0;
    while root < 1 << level {
        product = field::mul(product, point ^ root);
        root += 1;
    }
    product
}

const fn factors(first: u8) -> Factors {
    let mut all = [0; GROUPS];
    let (mut level, mut place) = (0, 0);
    while level < LEVELS {
        let unit = field::inverse(vanishing(level, 1 << level));
        let mut start = 0;
        while start < COUNT as u8 {
            all[place] = field::mul(vanishing(level, first + start), unit);
            place += 1;
            start += 2 << level;
        }
        level += 1;
    }
    all
}

/// Where the factors of a level begin.
const fn base(level: usize) -> usize {
    COUNT - (COUNT >> level)
}

/// Values at the points of `factors` to coefficients.
#[inline(always)]
fn interpolate<S: Strip>(column: &mut [S; COUNT], factors: &Factors) {
    for level in 0..LEVELS {
        let half = 1 << level;
        for (group, factor) in factors[base(level)..base(level + 1)].iter().enumerate() {
            for low in group * 2 * half..group * 2 * half + half {
                let high = column[low + half].xor(column[low]);
                column[low + half] = high;
                if *factor != 0 {
                    column[low] = column[low].xor(high.times(*factor));
                }
            }
        }
    }
}

/// Coefficients to values at the points of `factors`.
#[inline(always)]
fn evaluate<S: Strip>(column: &mut [S; COUNT], factors: &Factors) {
    for level in (0..LEVELS).rev() {
        let half = 1 << level;
        for (group, factor) in factors[base(level)..base(level + 1)].iter().enumerate() {
            for low in group * 2 * half..group * 2 * half + half {
                let high = column[low + half];
                let sum = if *factor == 0 { column[low] } else { column[low].xor(high.times(*factor)) };
                column[low + half] = high.xor(sum);
                column[low] = sum;
            }
        }
    }
}

/// The code bytes of data bytes.
#[inline(always)]
pub(super) fn encode<S: Strip>(column: &mut [S; COUNT]) {
    interpolate(column, &DATA);
    evaluate(column, &CODE);
}

/// The data bytes of code bytes.
#[inline(always)]
pub(super) fn decode<S: Strip>(column: &mut [S; COUNT]) {
    interpolate(column, &CODE);
    evaluate(column, &DATA);
}

/// What the values at some points are made of: for each, a factor for the value at each of 32 other points (Lagrange).
pub(super) fn weights(points: &[u8; COUNT], wanted: &[u8]) -> Vec<[u8; COUNT]> {
    let log = |a: u8, b: u8| u32::from(field::LOG[usize::from(a ^ b)]);
    let product =
        |from: u8| -> u32 { points.iter().filter(|point| **point != from).map(|point| log(from, *point)).sum() };
    let below = points.map(product);
    let row = |at: &u8| {
        let all = product(*at);
        std::array::from_fn(|place| {
            // Logarithms are counted modulo 255, and of those that are subtracted there are fewer than 64.
            let sum = all + 64 * 255 - below[place] - log(*at, points[place]);
            field::EXP[(sum % 255) as usize]
        })
    };
    wanted.iter().map(row).collect()
}
