//! Eight signatures on their way through the lanes.

use super::{
    Check, LANES,
    point::{Multiples, Point, Table},
};
use crate::sign::SMALL_ORDER;
use curve25519_dalek::{EdwardsPoint, Scalar};
use sha2::{Digest as _, Sha512};
use std::sync::OnceLock;

/// Digits of base 16 of a scalar.
pub(super) const DIGITS: usize = 64;

/// Eight checks, made ready for the lanes.
pub(super) struct Lanes {
    keys: [[u8; 32]; LANES],
    /// The first halves of the signatures.
    points: [[u8; 32]; LANES],
    /// Whether what can be seen without the curve is in order.
    plain: [bool; LANES],
    /// Digits of the hash and of the second half of the signature.
    of_key: [[i8; LANES]; DIGITS],
    of_base: [[i8; LANES]; DIGITS],
}

impl Lanes {
    pub(super) fn new(checks: &[Check<'_>]) -> Self {
        // A lane that has nothing to do multiplies the point with y = 1 by zero.
        let mut one = [0; 32];
        one[0] = 1;
        let mut lanes = Self {
            keys: [one; LANES],
            points: [[0; 32]; LANES],
            plain: [false; LANES],
            of_key: [[0; LANES]; DIGITS],
            of_base: [[0; LANES]; DIGITS],
        };
        for (lane, check) in checks.iter().enumerate() {
            let (point, scalar) = check.signature.as_array().split_first_chunk::<32>().expect("64 bytes");
            let scalar: [u8; 32] = scalar.try_into().expect("the other 32 bytes");
            lanes.points[lane] = *point;
            let Some(scalar) = Option::<Scalar>::from(Scalar::from_canonical_bytes(scalar)) else { continue };
            if SMALL_ORDER.contains(point) {
                continue;
            }
            lanes.plain[lane] = true;
            lanes.keys[lane] = *check.signer.as_array();
            let hash = Sha512::new().chain_update(point).chain_update(check.signer).chain_update(check.message);
            let hash = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
            for (digits, scalar) in [(&mut lanes.of_key, hash), (&mut lanes.of_base, scalar)] {
                for (digits, digit) in digits.iter_mut().zip(digits_of(scalar.as_bytes())) {
                    digits[lane] = digit;
                }
            }
        }
        lanes
    }

    /// Whether in each lane the point `[s]B - [k]A` is encoded as the signature's first half, and all else is in order.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn hold(&self) -> [bool; LANES] {
        static BASE: OnceLock<Table> = OnceLock::new();
        let table = BASE.get_or_init(|| {
            let times = |lane| EdwardsPoint::mul_base(&Scalar::from(lane as u64 + 1)).compress().0;
            Table::new(&Point::decompress(&std::array::from_fn(times)).0)
        });
        let (keys, valid) = Point::decompress(&self.keys);
        let weak = keys.encoded().map(|key| SMALL_ORDER.contains(&key));
        let multiples = Multiples::new(&keys.negated());
        let found = Point::sum_of((&multiples, &self.of_key), (table, &self.of_base)).compress();
        std::array::from_fn(|lane| self.plain[lane] && valid[lane] && !weak[lane] && found[lane] == self.points[lane])
    }
}

/// Digits from -8 to 8 of a scalar below 2^253, lowest first.
fn digits_of(scalar: &[u8; 32]) -> [i8; DIGITS] {
    let mut digits = [0; DIGITS];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(scalar) {
        *pair = [(byte & 15).cast_signed(), (byte >> 4).cast_signed()];
    }
    let mut carry = 0;
    for digit in &mut digits {
        *digit += carry;
        carry = i8::from(*digit >= 8);
        *digit -= 16 * carry;
    }
    assert_eq!(carry, 0, "a scalar is below 2^253");
    digits
}
