//! A whole FEC set's data shreds in little room.
//!
//! Its shreds share the leader's signature, the chained root, most of their headers, and, in a block with few
//! transactions, zeros. So each is written as what it differs in from the one before it, or as it is if that is
//! shorter, in both cases without runs of zeros; Merkle proofs are left out but for the one node that is not a hash over
//! data shreds. An empty block takes a thirtieth of its shreds that way, and a full one a tenth less than they.
//!
//! ```text
//!   top of the code half: 20 bytes | shred: 0 as it is, 1 as a difference; pieces | 31 more
//!   piece: zeros (u16) | bytes (u16) | so many bytes          the last piece ends where the shred does
//! ```

use crate::LedgerError;
use bytes::Bytes;
use sundog_types::shred::{
    SHREDS_PER_KIND, View,
    bare::{CodeHalf, code_half, write_proofs},
    variant::{DATA_SHRED_SIZE, Kind},
};

/// A run of zeros that is shorter costs less as bytes than as the beginning of a new piece.
const RUN_MIN: usize = 5;
const AS_IT_IS: u8 = 0;
const DIFFERENCE: u8 = 1;

/// A set in the form that it is stored in. `None`: these are not all data shreds of a set of 32 and 32, in their order,
/// with the proofs of one tree.
pub(crate) fn pack(shreds: &[View<'_>]) -> Option<Vec<u8>> {
    let half = code_half(shreds)?;
    let mut packed = Vec::with_capacity(4 << 10);
    packed.extend(half);
    let mut before = vec![0; DATA_SHRED_SIZE];
    for shred in shreds {
        let mut bare = shred.bytes().to_vec();
        bare[shred.variant().proof_range()].fill(0);
        let difference: Vec<u8> = bare.iter().zip(&before).map(|(one, other)| one ^ other).collect();
        let [as_it_is, difference] = [without_zeros(&bare), without_zeros(&difference)];
        let (mode, pieces) =
            if as_it_is.len() <= difference.len() { (AS_IT_IS, as_it_is) } else { (DIFFERENCE, difference) };
        packed.push(mode);
        packed.extend(pieces);
        before = bare;
    }
    Some(packed)
}

/// The shreds as they came.
///
/// # Errors
/// [`LedgerError::Corrupt`].
pub(crate) fn unpack(packed: &[u8]) -> Result<Vec<Bytes>, LedgerError> {
    try_unpack(packed)
        .map(|shreds| shreds.into_iter().map(Bytes::from).collect())
        .ok_or(LedgerError::corrupt("an FEC set"))
}

fn try_unpack(packed: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (half, mut rest): (&CodeHalf, &[u8]) = packed.split_first_chunk()?;
    let mut shreds: Vec<Vec<u8>> = Vec::with_capacity(SHREDS_PER_KIND);
    for _ in 0..SHREDS_PER_KIND {
        let (mode, pieces) = rest.split_first()?;
        let (mut shred, after) = with_zeros(pieces)?;
        match *mode {
            AS_IT_IS => {}
            DIFFERENCE => {
                let before = shreds.last();
                shred.iter_mut().zip(before.into_iter().flatten()).for_each(|(one, other)| *one ^= other);
            }
            _ => return None,
        }
        // What the next one differs from has no proof yet.
        shreds.push(shred);
        rest = after;
    }
    let is_data = |shred: &Vec<u8>| View::read(shred).is_ok_and(|view| view.variant().kind() == Kind::Data);
    (rest.is_empty() && shreds.iter().all(is_data) && write_proofs(&mut shreds, half)).then_some(shreds)
}

fn without_zeros(shred: &[u8]) -> Vec<u8> {
    let mut pieces = Vec::new();
    let mut rest = shred;
    while !rest.is_empty() {
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        let after = &rest[zeros..];
        let run = after.windows(RUN_MIN).position(|some| some.iter().all(|byte| *byte == 0));
        let bytes = run.unwrap_or(after.len());
        for number in [zeros, bytes] {
            pieces.extend(u16::try_from(number).expect("a shred fits a datagram").to_le_bytes());
        }
        pieces.extend(&after[..bytes]);
        rest = &after[bytes..];
    }
    pieces
}

/// A shred, and what follows it.
fn with_zeros(mut pieces: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut shred = Vec::with_capacity(DATA_SHRED_SIZE);
    while shred.len() < DATA_SHRED_SIZE {
        let (numbers, rest): (&[u8; 4], &[u8]) = pieces.split_first_chunk()?;
        let [zeros, bytes] =
            [[numbers[0], numbers[1]], [numbers[2], numbers[3]]].map(|n| usize::from(u16::from_le_bytes(n)));
        if zeros + bytes == 0 || shred.len() + zeros + bytes > DATA_SHRED_SIZE {
            return None;
        }
        shred.resize(shred.len() + zeros, 0);
        let (bytes, rest) = rest.split_at_checked(bytes)?;
        shred.extend(bytes);
        pieces = rest;
    }
    Some((shred, pieces))
}
