//! Pairs of shreds that do and do not prove that a leader made two versions, as the reference judges them.

use crate::vectors::{array, base64, family, list, number, text};
use bytes::Bytes;
use sundog_turbine::proof::{NoProof, ProofKind, conflicts, decode, encode};
use sundog_types::{
    Pubkey,
    shred::{Parsed, Shred, signature_holds},
};

fn parse(bytes: Vec<u8>) -> Option<Shred<Parsed>> {
    Shred::raw(bytes.into()).parse().ok()
}

#[test]
fn pairs_are_judged_as_the_reference_judges_them() {
    let gossip = family("gossip.json");
    let proofs = &gossip["duplicate_proofs"];
    let leader = Pubkey::from(array::<32>(&proofs["leader"]["pubkey"]));
    let version = number(proofs, "shred_version") as u16;
    let signed = |shred: &Shred<Parsed>| shred.clone().verify(&leader, signature_holds).is_ok();
    let (mut accepted, mut kinds) = (0, Vec::new());
    for case in list(proofs, "cases") {
        let name = text(case, "name");
        let (first, second) = (base64(&case["shred1"]), base64(&case["shred2"]));
        let again = decode(&encode(&first, &second)).expect("its own bytes");
        assert_eq!(again, [Bytes::from(first.clone()), Bytes::from(second.clone())], "{name}");
        let verdict = match (parse(first), parse(second)) {
            (Some(first), Some(second)) => conflicts(&first, &second, version, signed),
            _ => Err(NoProof::Unsigned),
        };
        let valid = case["receiver"].as_str() == Some("valid proof");
        assert_eq!(verdict.is_ok(), valid, "{name}: {verdict:?}");
        accepted += usize::from(valid);
        kinds.extend(verdict.ok());
        let expected = match case["receiver"]["error"].as_str() {
            Some("shred type mismatch") => NoProof::OtherKind,
            Some("invalid last index conflict") => NoProof::NotBeyondLast,
            Some("invalid erasure meta conflict") => NoProof::SameLayout,
            Some("invalid duplicate shreds") => NoProof::SameShred,
            Some("slot mismatch") => NoProof::OtherSlot,
            Some(text) if text.starts_with("invalid shred version") => NoProof::OtherVersion,
            Some("invalid signature") => NoProof::Unsigned,
            _ => continue,
        };
        assert_eq!(verdict, Err(expected), "{name}");
    }
    assert!(accepted > 0);
    assert!(kinds.contains(&ProofKind::ForkedSet) && kinds.contains(&ProofKind::BeyondLast));
}
