//! Shreds without what is nothing: the data shreds of a block with few transactions are mostly zeros.
//!
//! The longest run of zeros is left out and its place and length are written before the rest, two bytes each,
//! little-endian. An empty block takes a sixth of its shreds that way.

use crate::LedgerError;
use bytes::Bytes;

/// Bytes that say what was left out.
const NOTE: usize = 4;

/// The shred in the form that it is stored in.
pub(crate) fn pack(shred: &[u8]) -> Vec<u8> {
    let (start, length) = longest_zeros(shred);
    let mut packed = Vec::with_capacity(NOTE + shred.len() - length);
    for number in [start, length] {
        packed.extend(u16::try_from(number).expect("a shred fits a datagram").to_le_bytes());
    }
    packed.extend(&shred[..start]);
    packed.extend(&shred[start + length..]);
    packed
}

/// The shred as it came.
///
/// # Errors
/// [`LedgerError::Corrupt`].
pub(crate) fn unpack(packed: &[u8]) -> Result<Bytes, LedgerError> {
    let (note, rest) = packed.split_first_chunk::<NOTE>().ok_or(LedgerError::corrupt("a data shred"))?;
    let [start, length] =
        [[note[0], note[1]], [note[2], note[3]]].map(|number| usize::from(u16::from_le_bytes(number)));
    let (before, after) = rest.split_at_checked(start).ok_or(LedgerError::corrupt("a data shred"))?;
    let mut shred = Vec::with_capacity(rest.len() + length);
    shred.extend(before);
    shred.resize(start + length, 0);
    shred.extend(after);
    Ok(shred.into())
}

/// Where the longest run of zeros begins, and how long it is.
fn longest_zeros(bytes: &[u8]) -> (usize, usize) {
    let (mut longest, mut at) = ((0, 0), 0);
    for run in bytes.chunk_by(|one, other| (*one == 0) == (*other == 0)) {
        if run[0] == 0 && run.len() > longest.1 {
            longest = (at, run.len());
        }
        at += run.len();
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_run_of_zeros_is_left_out() {
        assert_eq!(pack(&[]), [0; 4]);
        assert_eq!(pack(&[0; 1_203]), [0, 0, 0xb3, 4]);
        assert_eq!(pack(&[0, 0, 7, 0, 0, 0, 8, 0]), [3, 0, 3, 0, 0, 0, 7, 8, 0]);
    }

    #[test]
    fn what_was_not_packed_is_refused() {
        for wrong in [&[][..], &[0; 3], &[1, 0, 0, 0], &[255, 255, 255, 255, 9]] {
            assert!(matches!(unpack(wrong), Err(LedgerError::Corrupt { .. })), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_packed_comes_back(runs in prop::collection::vec((0..3_u8, 0..400_usize), 0..8)) {
            let shred: Vec<u8> = runs.into_iter().flat_map(|(byte, count)| vec![byte; count]).collect();
            prop_assert_eq!(unpack(&pack(&shred)).unwrap(), shred);
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused_in_bounds(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            if let Ok(shred) = unpack(&bytes) {
                prop_assert!(shred.len() <= bytes.len() + usize::from(u16::MAX));
            }
        }
    }
}
