//! Points of the curve, eight side by side.

use super::{
    LANES,
    field::{D, Field, ONE, ROOT_OF_MINUS_ONE, ZERO, read},
    lanes::DIGITS,
};
use std::arch::x86_64::*;

/// Points with x = X/Z, y = Y/Z, xy = T/Z. Where T is not needed next it is not computed, and wrong.
#[derive(Clone, Copy)]
pub(super) struct Point {
    x: Field,
    y: Field,
    z: Field,
    t: Field,
}

/// Points in the form in which they are added: Y + X, Y - X, 2Z and 2dT.
#[derive(Clone, Copy)]
pub(super) struct Addend {
    plus: Field,
    minus: Field,
    z: Field,
    t: Field,
}

/// Digits of a scalar, -8 to 8, one in each lane.
#[derive(Clone, Copy)]
struct Digits {
    size: __m512i,
    negative: __mmask8,
}

impl Digits {
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn new(digits: &[i8; LANES]) -> Self {
        let [a, b, c, d, e, f, g, h] = digits.map(i64::from);
        let digits = _mm512_setr_epi64(a, b, c, d, e, f, g, h);
        Self { size: _mm512_abs_epi64(digits), negative: _mm512_cmplt_epi64_mask(digits, _mm512_setzero_si512()) }
    }
}

impl Addend {
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn identity() -> Self {
        let one = Field::splat(ONE);
        Self { plus: one, minus: one, z: one.plus(&one), t: Field::splat(ZERO) }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn negated_in(&self, mask: __mmask8) -> Self {
        Self {
            plus: self.plus.or(mask, &self.minus),
            minus: self.minus.or(mask, &self.plus),
            z: self.z,
            t: self.t.negated_in(mask),
        }
    }
}

/// One to eight times the points of the lanes.
pub(super) struct Multiples([Addend; 8]);

impl Multiples {
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn new(point: &Point) -> Self {
        let one = point.addend();
        let two = point.double(true);
        let three = two.add(&one);
        let four = two.double(true);
        let six = three.double(true);
        let rest = [two, three, four, four.add(&one), six, six.add(&one), four.double(true)];
        let mut all = [one; 8];
        for (addend, point) in all[1..].iter_mut().zip(rest) {
            *addend = point.addend();
        }
        Self(all)
    }

    /// Of each lane the multiple that its digit says.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn of(&self, digits: Digits) -> Addend {
        let mut found = Addend::identity();
        for (number, multiple) in (1..).zip(&self.0) {
            let mask = _mm512_cmpeq_epi64_mask(digits.size, _mm512_set1_epi64(number));
            found = Addend {
                plus: found.plus.or(mask, &multiple.plus),
                minus: found.minus.or(mask, &multiple.minus),
                z: found.z.or(mask, &multiple.z),
                t: found.t.or(mask, &multiple.t),
            };
        }
        found.negated_in(digits.negative)
    }
}

/// One to eight times one point, in the lanes.
pub(super) struct Table(Addend);

impl Table {
    /// The points must have Z = 1.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn new(multiples: &Point) -> Self {
        Self(multiples.addend())
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn of(&self, digits: Digits) -> Addend {
        let lanes = _mm512_sub_epi64(digits.size, _mm512_set1_epi64(1));
        let none = _mm512_cmpeq_epi64_mask(digits.size, _mm512_setzero_si512());
        let (identity, table) = (Addend::identity(), &self.0);
        let found = Addend {
            plus: table.plus.picked(lanes).or(none, &identity.plus),
            minus: table.minus.picked(lanes).or(none, &identity.minus),
            z: identity.z,
            t: table.t.picked(lanes).or(none, &identity.t),
        };
        found.negated_in(digits.negative)
    }
}

impl Point {
    /// Points from their encodings, and in which lanes there is one; where there is none, the point is not on the curve.
    /// As the library does, it takes a y that is not below the modulus, and a sign that zero does not have.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn decompress(encoded: &[[u8; 32]; LANES]) -> (Self, [bool; LANES]) {
        let one = Field::splat(ONE);
        let y = Field::of_lanes(&encoded.map(|bytes| read(&bytes)));
        let square = y.square();
        let u = square.sub(&one);
        let v = square.mul(&Field::splat(D)).plus(&one);
        // A root of u/v is u v^3 (u v^7)^((p-5)/8), or that times the root of -1, if there is one.
        let v3 = v.square().mul(&v);
        let v7 = v3.square().mul(&v);
        let x = u.mul(&v3).mul(&u.mul(&v7).root_power());
        let found = v.mul(&x.square());
        let (right, turned) = (found.sub(&u).bytes(), found.plus(&u).bytes());
        let lanes = |of: &dyn Fn(usize) -> bool| (0..LANES).fold(0_u8, |mask, lane| mask | u8::from(of(lane)) << lane);
        let turn = lanes(&|lane| right[lane] != [0; 32]);
        let x = x.or(turn, &x.mul(&Field::splat(ROOT_OF_MINUS_ONE)));
        let odd = x.bytes().map(|bytes| bytes[0] & 1);
        let x = x.negated_in(lanes(&|lane| odd[lane] != encoded[lane][31] >> 7));
        let valid = std::array::from_fn(|lane| right[lane] == [0; 32] || turned[lane] == [0; 32]);
        (Self { x, y, z: one, t: x.mul(&y) }, valid)
    }

    /// The canonical encodings.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn compress(&self) -> [[u8; 32]; LANES] {
        let inverse = self.z.inverse();
        let (x, mut y) = (self.x.mul(&inverse).bytes(), self.y.mul(&inverse).bytes());
        for (y, x) in y.iter_mut().zip(x) {
            y[31] |= x[0] << 7;
        }
        y
    }

    /// The same for points that were just decompressed.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn encoded(&self) -> [[u8; 32]; LANES] {
        let (x, mut y) = (self.x.bytes(), self.y.bytes());
        for (y, x) in y.iter_mut().zip(x) {
            y[31] |= x[0] << 7;
        }
        y
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn negated(&self) -> Self {
        Self { x: self.x.negated_in(0xff), t: self.t.negated_in(0xff), ..*self }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn addend(&self) -> Addend {
        let d = Field::splat(D);
        let t = self.t.mul(&d);
        Addend { plus: self.y.plus(&self.x), minus: self.y.sub(&self.x), z: self.z.plus(&self.z), t: t.plus(&t) }
    }

    /// All four coordinates have the other sign than in the usual formulas, which is the same point.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn double(&self, with_t: bool) -> Self {
        let (xx, yy, zz) = (self.x.square(), self.y.square(), self.z.square());
        let s = xx.plus(&yy);
        let e = self.x.plus(&self.y).square().sub(&s);
        let g = yy.sub(&xx);
        let f = zz.sum(&zz).sub(&g);
        let t = if with_t { e.mul(&s) } else { self.t };
        Self { x: e.mul(&f), y: g.mul(&s), z: f.mul(&g), t }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn add(&self, other: &Addend) -> Self {
        let a = self.y.sub(&self.x).mul(&other.minus);
        let b = self.y.plus(&self.x).mul(&other.plus);
        let c = self.t.mul(&other.t);
        let d = self.z.mul(&other.z);
        let (e, f, g, h) = (b.sub(&a), d.sub(&c), d.plus(&c), b.plus(&a));
        Self { x: e.mul(&f), y: g.mul(&h), z: f.mul(&g), t: e.mul(&h) }
    }

    /// The sum of a multiple of the lane's point and a multiple of the table's, by digits of base 16, lowest first.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn sum_of(
        (multiples, of_point): (&Multiples, &[[i8; LANES]; DIGITS]),
        (table, of_table): (&Table, &[[i8; LANES]; DIGITS]),
    ) -> Self {
        let (zero, one) = (Field::splat(ZERO), Field::splat(ONE));
        let mut sum = Self { x: zero, y: one, z: one, t: zero };
        for (of_point, of_table) in of_point.iter().zip(of_table).rev() {
            sum = sum.double(false).double(false).double(false).double(true);
            sum = sum.add(&multiples.of(Digits::new(of_point)));
            sum = sum.add(&table.of(Digits::new(of_table)));
        }
        sum
    }
}
