//! The keys. Integers are big-endian, so that the order of keys is the order of slots.

use crate::LedgerError;
use sundog_types::{FecSetIndex, Pubkey, ShredIndex, Signature, Slot};

/// The layout of keys and values. A change of either counts it up.
pub(crate) const FORMAT: u64 = 3;

pub(crate) const ROOT: &[u8] = b"ledger/root";
pub(crate) const LED: &[u8] = b"ledger/led";
pub(crate) const RESTARTS: &[u8] = b"ledger/restarts";
pub(crate) const GENESIS: &[u8] = b"ledger/genesis";
pub(crate) const FORMAT_NAME: &[u8] = b"ledger/format";
pub(crate) const PURGED: &[u8] = b"ledger/purged";

/// Families of keys in the space of slots.
const META: u8 = b'm';
const ROOTED: u8 = b'r';
const TIMELINE: u8 = b't';
const DUPLICATE: u8 = b'd';
const SETTLED: u8 = b's';

/// The first key of a slot in the spaces that are ordered by slot.
pub(crate) fn slot(slot: Slot) -> [u8; 8] {
    slot.get().to_be_bytes()
}

/// A place in a slot: a shred by its index, a transaction by its number.
pub(crate) fn place(slot: Slot, place: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&slot.get().to_be_bytes());
    key[8..].copy_from_slice(&place.to_be_bytes());
    key
}

/// A whole FEC set.
pub(crate) fn set(slot: Slot, set: FecSetIndex) -> [u8; 12] {
    place(slot, set.get())
}

pub(crate) fn shred(slot: Slot, index: ShredIndex) -> [u8; 12] {
    place(slot, index.get())
}

fn family(family: u8, slot: Slot) -> [u8; 9] {
    let mut key = [family; 9];
    key[1..].copy_from_slice(&slot.get().to_be_bytes());
    key
}

pub(crate) fn meta(slot: Slot) -> [u8; 9] {
    family(META, slot)
}

pub(crate) fn rooted(slot: Slot) -> [u8; 9] {
    family(ROOTED, slot)
}

pub(crate) fn timeline(slot: Slot) -> [u8; 9] {
    family(TIMELINE, slot)
}

pub(crate) fn duplicate(slot: Slot) -> [u8; 9] {
    family(DUPLICATE, slot)
}

pub(crate) fn settled(slot: Slot) -> [u8; 9] {
    family(SETTLED, slot)
}

pub(crate) fn signature(signature: &Signature, slot: Slot) -> [u8; 72] {
    let mut key = [0; 72];
    key[..64].copy_from_slice(signature.as_ref());
    key[64..].copy_from_slice(&slot.get().to_be_bytes());
    key
}

pub(crate) fn address(address: &Pubkey, slot: Slot, index: u32) -> [u8; 44] {
    let mut key = [0; 44];
    key[..32].copy_from_slice(address.as_ref());
    key[32..].copy_from_slice(&place(slot, index));
    key
}

fn tail<const N: usize>(key: &[u8], length: usize) -> Result<[u8; N], LedgerError> {
    let bytes = (key.len() == length).then(|| key.last_chunk::<N>()).flatten();
    bytes.copied().ok_or(LedgerError::corrupt("a key"))
}

/// The slot that a key of the families in the space of slots, or of the signatures, ends with.
pub(crate) fn slot_at_end(key: &[u8], length: usize) -> Result<Slot, LedgerError> {
    Ok(Slot::new(u64::from_be_bytes(tail(key, length)?)))
}

/// The slot and place that a key of this length ends with.
pub(crate) fn place_at_end(key: &[u8], length: usize) -> Result<(Slot, u32), LedgerError> {
    let bytes: [u8; 12] = tail(key, length)?;
    let (slot, place) = bytes.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let place = u32::try_from(number(place)).map_err(|_| LedgerError::corrupt("a key"))?;
    Ok((Slot::new(number(slot)), place))
}

/// A stored number.
pub(crate) fn number(bytes: &[u8], what: &'static str) -> Result<u64, LedgerError> {
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| LedgerError::corrupt(what))?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_read_back_and_keep_their_order(a in any::<(u64, u32)>(), b in any::<(u64, u32)>()) {
            let key = |(slot, index)| place(Slot::new(slot), index);
            prop_assert_eq!(place_at_end(&key(a), 12).unwrap(), (Slot::new(a.0), a.1));
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
            let addressed = |(slot, index)| address(&Pubkey::default(), Slot::new(slot), index);
            prop_assert_eq!(addressed(a).cmp(&addressed(b)), a.cmp(&b));
            prop_assert_eq!(place_at_end(&addressed(a), 44).unwrap(), (Slot::new(a.0), a.1));
            prop_assert_eq!(slot_at_end(&rooted(Slot::new(a.0)), 9).unwrap(), Slot::new(a.0));
        }

        #[test]
        fn keys_of_another_length_are_refused(key in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(place_at_end(&key, 12).is_ok(), key.len() == 12);
            prop_assert_eq!(slot_at_end(&key, 72).is_ok(), key.len() == 72);
            prop_assert_eq!(number(&key, "a number").is_ok(), key.len() == 8);
        }
    }
}
