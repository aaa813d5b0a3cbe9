//! Hostile bytes: nothing panics, nothing is accepted that does not encode to itself.

mod kinds;

use crate::vectors::{bytes, family, file, text};
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use sundog_gossip::{
    check,
    wire::{
        Protocol,
        bits::BitVec,
        codec::{Reader, Writer},
        contact::ContactInfo,
        duplicate::DuplicateProof,
        kinds::{RESTART_SLOTS_MAX, RestartLastVotedForkSlots, SlotOffsets},
        slots::CompressedSlots,
    },
};
use sundog_types::{Pubkey, peer::Addresses};

fn samples() -> Vec<Vec<u8>> {
    let gossip = file("gossip.json");
    let messages = family(&gossip, "messages").iter();
    let judged = family(&gossip, "judged").iter();
    messages.chain(judged).map(|case| bytes(&case["bytes"])).collect()
}

fn probe(bytes: &[u8]) {
    if let Ok(message) = Protocol::decode(bytes) {
        let again = message.encode();
        assert_eq!(Protocol::decode(&again), Ok(message), "an encoding decodes to the same");
    }
    let _ = check(bytes);
}

/// A small generator of its own, so that the history of a failure is one number.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn mutated_messages_never_panic() {
    let samples = samples();
    let mut state = 42;
    for round in 0..40_000 {
        let mut wire = samples[round % samples.len()].clone();
        for _ in 0..=next(&mut state) % 4 {
            if wire.is_empty() {
                break;
            }
            let place = next(&mut state) as usize % wire.len();
            match next(&mut state) % 4 {
                0 => wire[place] ^= 1 << (next(&mut state) % 8),
                1 => wire[place] = 0xff,
                2 => wire.truncate(place),
                _ => wire.insert(place, next(&mut state) as u8),
            }
        }
        let decoded = Protocol::decode(&wire);
        if round % 8 == 0 || decoded.is_err() {
            probe(&wire);
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for case in family(&file("gossip.json"), "messages") {
        let wire = bytes(&case["bytes"]);
        for length in 0..wire.len() {
            assert!(Protocol::decode(&wire[..length]).is_err(), "{} {length}", text(&case["name"]));
        }
    }
}

#[test]
fn huge_counts_allocate_nothing() {
    for tag in 0..3u32 {
        let mut writer = Writer::new();
        writer.u32(tag);
        writer.bytes([0; 32]);
        writer.u64(u64::MAX);
        writer.bytes([0; 900]);
        probe(&writer.into_bytes());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(tag in 0u32..7, rest in proptest::collection::vec(any::<u8>(), 0..1_300)) {
        let mut wire = tag.to_le_bytes().to_vec();
        wire.extend(rest);
        probe(&wire);
    }

    #[test]
    fn random_values_never_panic(kind in 0u32..15, rest in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut wire = 2u32.to_le_bytes().to_vec();
        wire.extend([0; 32]);
        wire.extend(1u64.to_le_bytes());
        wire.extend([0; 64]);
        wire.extend(kind.to_le_bytes());
        wire.extend(rest);
        probe(&wire);
    }

    #[test]
    fn varints_round_trip(value in any::<u64>()) {
        let mut writer = Writer::new();
        writer.varint(value);
        prop_assert_eq!(Reader::new(&writer.into_bytes()).varint(64), Ok(value));
    }

    #[test]
    fn bit_vectors_round_trip(blocks in proptest::collection::vec(any::<u8>(), 0..40)) {
        let bits = BitVec::from_blocks(blocks);
        let mut writer = Writer::new();
        bits.write(&mut writer);
        prop_assert_eq!(BitVec::read(&mut Reader::new(&writer.into_bytes())), Ok(bits));
    }

    #[test]
    fn contact_infos_round_trip(
        ports in proptest::array::uniform11(any::<u16>()),
        ips in proptest::array::uniform11(any::<[u8; 2]>()),
        wallclock in any::<u64>(),
        outset in any::<u64>(),
    ) {
        let at = |index: usize| {
            let ip = IpAddr::from([10, 0, ips[index][0] % 2, ips[index][1] % 3]);
            (ports[index] != 0).then(|| SocketAddr::new(ip, ports[index]))
        };
        let sockets = Addresses {
            gossip: at(0), tvu: at(1), tvu_quic: at(2), tpu: at(3), tpu_quic: at(4),
            tpu_forwards_quic: at(5), tpu_vote: at(6), tpu_vote_quic: at(7), serve_repair: at(8),
            rpc: at(9), rpc_pubsub: at(10),
        };
        let mut info = ContactInfo::new(Pubkey::default(), outset, 7, &sockets);
        info.wallclock = wallclock;
        let mut writer = Writer::new();
        info.write(&mut writer);
        let wire = writer.into_bytes();
        let read = ContactInfo::read(&mut Reader::new(&wire)).expect("our own encoding");
        prop_assert_eq!(read.sockets_if(|_| true), sockets);
        prop_assert_eq!(read, info);
    }

    #[test]
    fn packed_slots_unpack(mut slots in proptest::collection::btree_set(0u64..16_000, 1..600), base in 0u64..1_000_000) {
        let slots: Vec<u64> = std::mem::take(&mut slots).into_iter().map(|slot| slot + base).collect();
        let packed = CompressedSlots::pack(&slots).expect("they fit");
        prop_assert_eq!(packed.slots(), slots);
    }

    #[test]
    fn proofs_are_joined_from_their_chunks(
        first in proptest::collection::vec(any::<u8>(), 0..1_229),
        second in proptest::collection::vec(any::<u8>(), 0..1_229),
    ) {
        let proof = DuplicateProof { first, second };
        let chunks = proof.chunks(Pubkey::default(), 5, 6);
        let given: Vec<_> = chunks.iter().rev().collect();
        prop_assert_eq!(DuplicateProof::join(&given), Some(proof));
        prop_assert_eq!(DuplicateProof::join(&given[1..]), None);
    }
}

#[test]
fn runs_that_claim_millions_of_slots_are_read_no_further_than_seven_hours() {
    let claim = RestartLastVotedForkSlots {
        from: Pubkey::default(),
        wallclock: 0,
        offsets: SlotOffsets::Runs(vec![u16::MAX; 823]),
        last_voted_slot: 1 << 40,
        last_voted_hash: sundog_types::Hash::default(),
        shred_version: 1,
    };
    assert_eq!(claim.slots(0).len(), RESTART_SLOTS_MAX);
}
