//! Strict Ed25519, at less cost than the library's strict check, and with the same answers.
//!
//! The library's `verify_strict` accepts when all of this holds, for a key A and a signature (R, s):
//!
//! 1. s is below the order of the group;
//! 2. A decompresses to a point that is not of small order;
//! 3. R decompresses to a point that is not of small order;
//! 4. the point `[s]B - [k]A`, compressed, has the bytes of R, where k hashes R, A and the message as they came.
//!
//! Its plain `verify` asks for 1, that A decompresses, and 4. So what is left to do is the small order of A, which is a
//! property of the key alone, and 3, which needs no decompression: compressing gives the canonical encoding of a
//! point, so if 4 holds, R *is* the canonical encoding of a point. Then it decompresses, to the very point that was
//! compressed, and it has small order exactly if its bytes are one of the eight canonical encodings of points of small
//! order. If 4 does not hold, both refuse. That saves the square root of each check; the key's root is saved where a
//! key is kept ([`super::Verifier`]).
//!
//! No equation over a batch is used anywhere: it accepts signatures that this check refuses.

use crate::{Pubkey, Signature};
use ed25519_dalek::Verifier as _;

/// The canonical encodings of the points whose order divides the cofactor.
pub(crate) const SMALL_ORDER: [[u8; 32]; 8] = {
    /// The other half of them are these negated: the same with the sign bit.
    const EIGHTH: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    const OTHER_EIGHTH: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    const fn ends(mut bytes: [u8; 32], first: u8, last: u8) -> [u8; 32] {
        bytes[0] = first;
        bytes[31] = last;
        bytes
    }
    [
        ends([0; 32], 1, 0),
        ends([0xff; 32], 0xec, 0x7f),
        [0; 32],
        ends([0; 32], 0, 0x80),
        EIGHTH,
        ends(EIGHTH, 0x26, 0x85),
        OTHER_EIGHTH,
        ends(OTHER_EIGHTH, 0xc7, 0xfa),
    ]
};

/// A public key that can sign: its point is on the curve and not of small order. It is kept decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Decompresses a key. `None`: no signature of it is accepted.
    #[must_use]
    pub fn new(key: &Pubkey) -> Option<Self> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(key.as_array()).ok()?;
        (!key.is_weak()).then_some(Self(key))
    }

    /// The key as it is written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether the key signed the message, strictly.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature.as_array());
        !SMALL_ORDER.contains(signature.r_bytes()) && self.0.verify(message, &signature).is_ok()
    }
}

/// Whether `signer` signed the message, strictly.
#[must_use]
pub fn verify(signer: &Pubkey, message: &[u8], signature: &Signature) -> bool {
    VerifyingKey::new(signer).is_some_and(|key| key.verify(message, signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::ed25519::{Check, Kernel, LANES};
    use curve25519_dalek::{
        Scalar,
        constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION},
        edwards::{CompressedEdwardsY, EdwardsPoint},
    };
    use ed25519_dalek::{Signer as _, SigningKey};
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use sha2::{Digest as _, Sha512};

    /// The order of the group, little endian.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    /// What the library says, strictly and plainly.
    fn oracle(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> (bool, bool) {
        let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(key) else { return (false, false) };
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        (key.verify_strict(message, &signature).is_ok(), key.verify(message, &signature).is_ok())
    }

    /// Both agree; what they say, and what the plain check says.
    #[track_caller]
    fn check(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> (bool, bool) {
        let (strict, plain) = oracle(key, message, signature);
        let (signer, signature) = (Pubkey::new_from_array(*key), Signature::from(*signature));
        assert_eq!(verify(&signer, message, &signature), strict, "{signer} {signature}");
        assert_eq!(signature.verify(signer.as_ref(), message), strict, "what all others use");
        for kernel in Kernel::available() {
            let mut found = [!strict];
            kernel.verify(&[Check { signer: &signer, message, signature: &signature }], &mut found);
            assert_eq!(found, [strict], "{} says otherwise of {signer} {signature}", kernel.name());
        }
        (strict, plain)
    }

    /// Cases that are checked, and then again among good signatures that fill the other lanes.
    struct Lanes {
        good: Vec<(Pubkey, [u8; 1], Signature)>,
        cases: usize,
    }

    impl Lanes {
        fn new() -> Self {
            let sign = |seed: u8| {
                let signer = SigningKey::from_bytes(&[seed; 32]);
                let key = Pubkey::new_from_array(signer.verifying_key().to_bytes());
                (key, [seed], Signature::from(signer.sign(&[seed]).to_bytes()))
            };
            Self { good: (1..).map(sign).take(LANES - 1).collect(), cases: 0 }
        }

        /// As [`check`]. The case takes the next lane, and skips one each time around, so that cases that come in turns
        /// come to every lane.
        #[track_caller]
        fn check(&mut self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> (bool, bool) {
            let said = check(key, message, signature);
            let lane = (self.cases + self.cases / LANES) % LANES;
            self.cases += 1;
            let (signer, signature) = (Pubkey::new_from_array(*key), Signature::from(*signature));
            let good = self.good.iter();
            let mut checks: Vec<Check<'_>> =
                good.map(|(signer, message, signature)| Check { signer, message, signature }).collect();
            checks.insert(lane, Check { signer: &signer, message, signature: &signature });
            let mut expected = [true; LANES];
            expected[lane] = said.0;
            for kernel in Kernel::available() {
                // The library has no lanes that could disturb each other.
                let Some(_) = kernel.worth_from() else { continue };
                let mut found = expected.map(|holds| !holds);
                kernel.verify(&checks, &mut found);
                assert_eq!(found, expected, "{} in lane {lane} of {signer} {signature}", kernel.name());
            }
            said
        }
    }

    fn joined(r: &[u8; 32], s: &[u8; 32]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(r);
        signature[32..].copy_from_slice(s);
        signature
    }

    fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
        Scalar::from_bytes_mod_order_wide(
            &Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize().into(),
        )
    }

    fn scalar(rng: &mut ChaCha8Rng) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&std::array::from_fn(|_| rng.r#gen()))
    }

    /// Encodings of field elements and sign bits that no point is compressed to, and those of small order.
    fn odd_encodings() -> Vec<[u8; 32]> {
        let mut all = SMALL_ORDER.to_vec();
        for low in 0xec..=0xff_u8 {
            for high in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                (bytes[0], bytes[31]) = (low, high);
                all.push(bytes);
            }
        }
        for low in 0..20 {
            for high in [0, 0x80] {
                let mut bytes = [0; 32];
                (bytes[0], bytes[31]) = (low, high);
                all.push(bytes);
            }
        }
        all
    }

    #[test]
    fn the_points_of_small_order_are_these_eight() {
        let mut eight: Vec<_> = EIGHT_TORSION.iter().map(|point| point.compress().0).collect();
        let mut ours = SMALL_ORDER.to_vec();
        eight.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, eight);
        assert!(SMALL_ORDER.iter().all(|key| VerifyingKey::new(&Pubkey::new_from_array(*key)).is_none()));
    }

    #[test]
    fn what_is_signed_is_accepted_and_every_changed_bit_of_it_refused_as_the_library_does() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for length in [0, 1, 32, 200, 1_232] {
            let signer = SigningKey::from_bytes(&rng.r#gen());
            let message: Vec<u8> = (0..length).map(|_| rng.r#gen()).collect();
            let (key, signature) = (signer.verifying_key().to_bytes(), signer.sign(&message).to_bytes());
            assert_eq!(check(&key, &message, &signature), (true, true));
            for bit in 0..512 {
                let mut other = signature;
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(!check(&key, &message, &other).0);
                if bit < 256 {
                    let mut other = key;
                    other[bit / 8] ^= 1 << (bit % 8);
                    assert!(!check(&other, &message, &signature).0);
                }
            }
            if let Some(byte) = message.len().checked_sub(1) {
                let mut message = message.clone();
                message[rng.gen_range(0..=byte)] ^= 1;
                assert!(!check(&key, &message, &signature).0);
            }
        }
    }

    #[test]
    fn random_bytes_get_the_librarys_answer() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..2_000 {
            let key = std::array::from_fn(|_| rng.r#gen());
            let signature = joined(&std::array::from_fn(|_| rng.r#gen()), scalar(&mut rng).as_bytes());
            check(&key, &[7; 40], &signature);
        }
    }

    #[test]
    fn a_scalar_beyond_the_order_is_refused() {
        let signer = SigningKey::from_bytes(&[3; 32]);
        let (key, signature) = (signer.verifying_key().to_bytes(), signer.sign(b"m").to_bytes());
        let mut carry = 0;
        let mut longer = signature;
        for (byte, order) in longer[32..].iter_mut().zip(ORDER) {
            carry += u16::from(*byte) + u16::from(order);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        assert_eq!(carry, 0, "the sum fits");
        let mut lanes = Lanes::new();
        for _ in 0..LANES {
            assert_eq!(lanes.check(&key, b"m", &longer), (false, false));
            for s in [ORDER, [0xff; 32], [0; 32]] {
                let r = signature[..32].try_into().expect("32 bytes");
                assert!(!lanes.check(&key, b"m", &joined(&r, &s)).0);
            }
        }
    }

    #[test]
    fn odd_encodings_of_key_and_point_get_the_librarys_answer() {
        let (odd, honest) = (odd_encodings(), SigningKey::from_bytes(&[4; 32]));
        let (mut plainly, mut lanes) = (0, Lanes::new());
        for key in odd.iter().chain([honest.verifying_key().as_bytes()]) {
            for r in odd.iter().chain([&B.compress().0]) {
                for s in [Scalar::ZERO, Scalar::ONE] {
                    plainly += usize::from(lanes.check(key, b"m", &joined(r, s.as_bytes())).1);
                }
            }
        }
        assert!(plainly > 20, "{plainly}: what only the strict check refuses was among them");
    }

    /// A key and a point R, each with a part of small order or only that, and a scalar that solves the equation when
    /// the small parts cancel; they do in one of eight messages or so.
    #[test]
    fn parts_of_small_order_get_the_librarys_answer() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (mut counts, mut lanes) = ([[0; 2]; 2], Lanes::new());
        for (number, (in_key, in_r)) in
            EIGHT_TORSION.iter().flat_map(|a| EIGHT_TORSION.iter().map(move |r| (a, r))).enumerate()
        {
            for r in [Scalar::ZERO, scalar(&mut rng)] {
                for a in [Scalar::ZERO, scalar(&mut rng)] {
                    let key = (a * B + in_key).compress().0;
                    let point = (r * B + in_r).compress().0;
                    for message in 0..16 {
                        let message = [message, number as u8];
                        let s = r + challenge(&point, &key, &message) * a;
                        let (strict, plain) = lanes.check(&key, &message, &joined(&point, s.as_bytes()));
                        counts[usize::from(strict)][usize::from(plain)] += 1;
                        assert!(!strict || a != Scalar::ZERO && r != Scalar::ZERO, "small order");
                    }
                }
            }
        }
        let [[neither, plain_only], [none, both]] = counts;
        assert!(neither > 500 && plain_only > 300 && none == 0 && both > 100, "{counts:?}");
    }

    #[test]
    fn a_point_written_in_a_second_way_is_refused() {
        // Only y below 19 has a second encoding, y + p, and the sign of x = 0 one: all are in `odd_encodings`.
        for bytes in odd_encodings() {
            let Some(point) = CompressedEdwardsY(bytes).decompress() else { continue };
            let canonical = point.compress().0;
            let small = EdwardsPoint::is_small_order(&point);
            assert_eq!(SMALL_ORDER.contains(&canonical), small);
            assert!(canonical == bytes || !SMALL_ORDER.contains(&bytes));
        }
    }
}
