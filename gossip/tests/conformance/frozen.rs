//! Formats that must not change: what is made from seeds encodes to bytes whose hash stands here.
//!
//! A hash that differs means that this node no longer speaks to those in the field, unless only the samples changed:
//! then the test's own message says the new hash, and it must be checked that the conformance tests still hold with
//! vectors of the reference.

use crate::samples::{KINDS, MESSAGES, Samples};
use sha2::{Digest as _, Sha256};
use sundog_gossip::wire::value::Kind;

/// Seeds for each kind.
const SEEDS: u64 = 100;

/// SHA-256 of the signed values of a kind, one after the other.
const VALUES: [(Kind, &str); 8] = [
    (Kind::ContactInfo, "129c2693e3224273cddf164bc56db244108e9d75694ea237f2b7863e95878e48"),
    (Kind::Vote, "741b4b0ce111c4cfa4be6e6b6c7aae6b8e4b8bede30564312f91de257aeec79b"),
    (Kind::LowestSlot, "9c66fbd130b97d92f5f35166a227771b28371b56ee6acf53427146ae184c9f10"),
    (Kind::EpochSlots, "89b9d60ea7cd676c54dbd618c2c69eaeb0b4f3e10ec04a64b33bedf6549baeb8"),
    (Kind::DuplicateShred, "517b32121e9bc4fbf382be9977475eb320a5c119b35b988b6ac71b7f6ccf996e"),
    (Kind::SnapshotHashes, "9060fd81e4d49261f74d2838c1f837b1e07d324e1c85baa55dc1c3c0d75af534"),
    (Kind::RestartLastVotedForkSlots, "89f067d080fe4e8d4cba5729f4ec8d5d64e3d8ffa9599314eb42d15c54c6102a"),
    (Kind::RestartHeaviestFork, "42d2bc18fd1b6a0483ee3b65bb48889d9a5fb01890e981fa4e424d2e3e103927"),
];

/// SHA-256 of the messages with a tag, one after the other; values in them are lowest slots.
const DATAGRAMS: [&str; 6] = [
    "24aaddc848fb1eacaf58507188d7f68c5a2fd7fef57cafdbbfaccc5d5e8b8747",
    "d7561e370017a9a05fc5f18ee379bb4263d1bbaab95db6613853038920b603ac",
    "dee21b24f168c5346f2685d43980c13b6e7b50082df9af9e209154953f5fecac",
    "253a89491e91169822e7741463ab0fb27278dd2bee3d814828c37d3932853a31",
    "218f7c9d06dd87259f0d19f9e6d6ec8c3fdf6dc9eaa638718f6ac85f7681499f",
    "0d90a47bec610b41c592ce79386861401e4ca256335d7c07619cebfb0cc683aa",
];

fn hex(hash: &Sha256) -> String {
    hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn values_of_every_kind_have_the_bytes_that_they_always_had() {
    assert_eq!(VALUES.map(|(kind, _)| kind), KINDS);
    let now = KINDS.map(|kind| {
        let mut hash = Sha256::new();
        for seed in 0..SEEDS {
            hash.update(Samples::new(seed).value(kind).bytes());
        }
        (kind, hex(&hash))
    });
    let frozen = VALUES.map(|(kind, hash)| (kind, hash.to_owned()));
    assert_eq!(now, frozen, "the wire format of a value changed");
}

#[test]
fn every_message_has_the_bytes_that_it_always_had() {
    let now = [0, 1, 2, 3, 4, 5].map(|tag| {
        let mut hash = Sha256::new();
        for seed in 0..SEEDS {
            hash.update(Samples::new(seed).message(tag, Kind::LowestSlot).encode());
        }
        (MESSAGES[tag], hex(&hash))
    });
    let frozen: Vec<(&str, String)> =
        MESSAGES.into_iter().zip(DATAGRAMS).map(|(name, hash)| (name, hash.to_owned())).collect();
    assert_eq!(now.to_vec(), frozen, "the wire format of a message changed");
}
