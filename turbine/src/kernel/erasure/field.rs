//! GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1, in which the code computes (reference 3.5).

/// The polynomial without its highest term.
const POLYNOMIAL: u8 = 0x1d;

/// The product.
pub(super) const fn mul(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        a = (a << 1) ^ if a & 0x80 == 0 { 0 } else { POLYNOMIAL };
        b >>= 1;
    }
    product
}

/// What gives 1 with `a`; 0 for 0.
pub(super) const fn inverse(a: u8) -> u8 {
    // a to the power of 254: all powers of two from 2 to 128 together.
    let (mut power, mut square, mut step) = (1, a, 0);
    while step < 7 {
        square = mul(square, square);
        power = mul(power, square);
        step += 1;
    }
    power
}

/// The powers of 2, which are all values but 0.
pub(super) static EXP: [u8; 255] = powers();
/// Which power of 2 a value is; nothing for 0.
pub(super) static LOG: [u8; 256] = logarithms();

const fn powers() -> [u8; 255] {
    let mut all = [1; 255];
    let mut at = 1;
    while at < 255 {
        all[at] = mul(all[at - 1], 2);
        at += 1;
    }
    all
}

const fn logarithms() -> [u8; 256] {
    let (powers, mut all, mut at) = (powers(), [0; 256], 0);
    while at < 255 {
        all[powers[at] as usize] = at as u8;
        at += 1;
    }
    all
}

/// The products of a factor with the values of a low and of a high nibble.
pub(super) type Nibbles = [u8; 32];

/// [`Nibbles`] of every factor.
pub(super) static NIBBLES: [Nibbles; 256] = nibbles();

const fn nibbles() -> [Nibbles; 256] {
    let mut all = [[0; 32]; 256];
    let mut factor = 0;
    while factor < 256 {
        let mut value = 0;
        while value < 16 {
            all[factor][value] = mul(factor as u8, value as u8);
            all[factor][16 + value] = mul(factor as u8, (value as u8) << 4);
            value += 1;
        }
        factor += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_field() {
        for a in 1..=255 {
            assert_eq!(mul(a, inverse(a)), 1);
            for b in 0..=255_u8 {
                assert_eq!(mul(a, b), mul(b, a));
                assert_eq!(mul(a, b ^ 0x53), mul(a, b) ^ mul(a, 0x53));
                let table = &NIBBLES[usize::from(a)];
                assert_eq!(table[usize::from(b & 15)] ^ table[16 + usize::from(b >> 4)], mul(a, b));
            }
        }
        assert_eq!((inverse(0), mul(2, 0x80)), (0, POLYNOMIAL));
    }
}
