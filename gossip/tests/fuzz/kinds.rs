//! Each kind of value and each message: round trips, every truncation, every changed byte, second spellings.

use crate::samples::{KINDS, MESSAGES, Samples};
use proptest::prelude::*;
use sundog_gossip::{
    CrdsData, DropReason, check,
    wire::{
        PACKET_BYTES, Protocol,
        codec::{DecodeError, Writer},
        value::Kind,
    },
};
use sundog_types::{
    Pubkey,
    sign::{Sign as _, SignRole},
};

/// Any message; those that carry values carry one of any kind.
fn messages() -> impl Strategy<Value = Protocol> {
    (any::<u64>(), 0..MESSAGES.len(), 0..KINDS.len())
        .prop_map(|(seed, tag, kind)| Samples::new(seed).message(tag, KINDS[kind]))
}

/// What holds for every datagram: it is refused, or it is what our own encoder writes and what it decodes to is stable.
fn examine(wire: &[u8]) {
    if let Ok(message) = Protocol::decode(wire) {
        let again = message.encode();
        assert_eq!(Protocol::decode(&again), Ok(message), "an encoding decodes to the same");
    }
    if let Ok(checked) = check(wire) {
        assert_eq!(checked.message().encode(), wire, "what is signed has one spelling");
    }
}

proptest! {
    #[test]
    fn every_message_round_trips_and_is_accepted(message in messages()) {
        let wire = message.encode();
        prop_assert!(wire.len() <= PACKET_BYTES);
        let decoded = Protocol::decode(&wire);
        prop_assert_eq!(decoded.as_ref(), Ok(&message));
        prop_assert_eq!(decoded.expect("decodes").encode(), wire.clone());
        let checked = check(&wire);
        prop_assert_eq!(checked.map(|checked| checked.message().clone()), Ok(message));
    }

    #[test]
    fn no_message_is_another_one_cut_short_or_with_more_behind(message in messages(), more in any::<u8>()) {
        let mut wire = message.encode();
        for length in 0..wire.len() {
            prop_assert!(Protocol::decode(&wire[..length]).is_err(), "cut to {length}");
        }
        wire.push(more);
        prop_assert!(wire.len() > PACKET_BYTES || Protocol::decode(&wire).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_single_changed_byte_does_harm(message in messages(), change in 1u8..) {
        let mut wire = message.encode();
        for place in 0..wire.len() {
            wire[place] ^= change;
            // To verify thousands of signatures would take minutes: that the form holds is seen without.
            if let Ok(changed) = Protocol::decode(&wire) {
                prop_assert_eq!(Protocol::decode(&changed.encode()), Ok(changed));
            }
            if place % 29 == usize::from(change) % 29 {
                examine(&wire);
            }
            wire[place] ^= change;
        }
    }
}

/// The kinds in which no number has two spellings, so that whatever decodes is what our encoder writes.
const FIXED: [Kind; 5] =
    [Kind::LowestSlot, Kind::DuplicateShred, Kind::SnapshotHashes, Kind::RestartHeaviestFork, Kind::EpochSlots];

proptest! {
    #[test]
    fn what_decodes_is_what_is_encoded(seed in any::<u64>(), kind in 0..FIXED.len(), place in any::<usize>(), to in any::<u8>()) {
        let mut wire = Samples::new(seed).message(2, FIXED[kind]).encode();
        let place = place % wire.len();
        wire[place] = to;
        if let Ok(message) = Protocol::decode(&wire) {
            prop_assert_eq!(message.encode(), wire);
        }
    }
}

/// A push of one contact info whose data is spelt by hand, signed over just these bytes.
fn spelt(wallclock: &[u8], addresses: &[u8], behind: &[u8]) -> Vec<u8> {
    let signer = Samples::new(7).signer();
    let mut data = Writer::new();
    data.u32(11);
    data.bytes(signer.identity());
    data.bytes(wallclock);
    data.u64(1);
    data.u16(2);
    data.bytes([3, 1, 12]);
    data.u32(4);
    data.u32(5);
    data.u8(3);
    data.bytes(addresses);
    data.bytes([0, 0, 1]); // the gossip socket is at port 1 of the first address
    data.bytes(behind);
    let data = data.into_bytes();
    let mut wire = Writer::new();
    wire.u32(2);
    wire.bytes(Pubkey::default());
    wire.count(1);
    wire.bytes(signer.sign(SignRole::Gossip, &data));
    wire.bytes(&data);
    wire.into_bytes()
}

#[test]
fn a_signed_value_in_another_spelling_is_refused() {
    let one_address = |count: &[u8]| [count, &[0, 0, 0, 0, 10, 0, 0, 1, 1]].concat();
    let plain = one_address(&[1]);
    let good = check(&spelt(&[5], &plain, &[0])).expect("the plain spelling");
    let Protocol::PushMessage(_, values) = good.message() else { panic!("a push") };
    assert!(matches!(values[0].data(), CrdsData::ContactInfo(info) if info.wallclock == 5));

    let refused = |wire: &[u8]| (Protocol::decode(wire).err(), check(wire).err());
    let misspelt = (Some(DecodeError::Compact), Some(DropReason::Undecodable));
    assert_eq!(refused(&spelt(&[0x85, 0x00], &plain, &[0])), misspelt, "a varint with a needless byte");
    assert_eq!(refused(&spelt(&[5], &one_address(&[0x81, 0x00]), &[0])), misspelt, "a count with a needless byte");
    assert_eq!(refused(&spelt(&[5], &plain, &[0x80, 0x00])), misspelt, "no extensions, in two bytes");
    let unsigned = (None, Some(DropReason::BadSignature));
    assert_eq!(refused(&spelt(&[5], &plain, &[1, 200, 0])), unsigned, "an extension is skipped, and was signed");
    assert_eq!(refused(&spelt(&[5], &plain, &[1, 200, 2, 8, 9])), unsigned, "an extension of two bytes");
}
