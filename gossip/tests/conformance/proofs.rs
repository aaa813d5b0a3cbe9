//! Proofs of duplicate slots: how they are cut for the wire and put together again. Whether two shreds are a proof is
//! judged where shreds are known, with the same vectors.

use crate::vectors::{bytes, family, file, number, pubkey, text, values_of};
use sundog_gossip::{
    CrdsData,
    wire::{
        Protocol,
        duplicate::{CHUNK_BYTES, DuplicateProof, DuplicateShred},
    },
};

#[test]
fn duplicate_proofs_are_cut_and_joined_like_the_reference_does() {
    let gossip = file("gossip.json");
    let proofs = &gossip["duplicate_proofs"];
    assert!(proofs.is_object(), "the family duplicate_proofs is missing from the vectors");
    assert_eq!(number(&proofs["chunk_length"]), CHUNK_BYTES as u64);
    let reporter = pubkey(&proofs["reporter"]["pubkey"]);
    let (slot, wallclock) = (number(&proofs["slot"]), number(&proofs["wallclock"]));
    let mut first_valid = None;
    for case in family(proofs, "cases") {
        let name = text(&case["name"]);
        let proof = DuplicateProof { first: bytes(&case["shred1"]), second: bytes(&case["shred2"]) };
        let chunks = proof.chunks(reporter, slot, wallclock);
        if let Some(count) = case["sender"]["chunks"].as_u64() {
            assert_eq!(chunks.len() as u64, count, "{name}");
            first_valid.get_or_insert_with(|| chunks.clone());
        }
        let backwards: Vec<&DuplicateShred> = chunks.iter().rev().collect();
        assert_eq!(DuplicateProof::join(&backwards), Some(proof), "{name}");
        assert_eq!(DuplicateProof::join(&backwards[1..]), None, "{name}: a chunk is missing");
    }
    let published = published(&gossip["messages"]);
    for chunk in first_valid.expect("a pair that the reference made a proof of") {
        assert!(published.contains(&chunk), "chunk {} is among the messages", chunk.chunk_index);
    }
}

/// All chunks that messages carry.
fn published(messages: &serde_json::Value) -> Vec<DuplicateShred> {
    let mut published = Vec::new();
    for case in messages.as_array().expect("the family messages is in the vectors") {
        let message = Protocol::decode(&bytes(&case["bytes"])).expect("decodes");
        for value in values_of(&message) {
            if let CrdsData::DuplicateShred(_, chunk) = value.data() {
                published.push(chunk.clone());
            }
        }
    }
    published
}
