//! Valid, borderline and malformed datagrams, with the reference's verdicts.

use crate::vectors::{bytes, family, file, number, text, values_of};
use std::collections::BTreeSet;
use sundog_gossip::{Checked, CrdsData, DropReason, check, check_all, wire::Protocol};
use sundog_types::sign::Verifier;

#[test]
fn every_judged_datagram_gets_the_reference_verdict() {
    for case in family(&file("gossip.json"), "judged") {
        let (name, wire, agave) = (text(&case["name"]), bytes(&case["bytes"]), &case["agave"]);
        assert_eq!(wire.len() as u64, number(&case["length"]), "{name}");
        let outcome = check(&wire);
        let verdict = match &outcome {
            Ok(_) => "accepted",
            Err(DropReason::Undecodable) => "decode_error",
            Err(DropReason::OutOfBounds) => "sanitize_error",
            Err(DropReason::NothingLeft) => "no_value_left",
            Err(DropReason::BadSignature) => "signature_invalid",
            Err(other) => panic!("{name}: {other:?}"),
        };
        assert_eq!(verdict, text(&agave["verdict"]), "{name}");
        let decoded = Protocol::decode(&wire);
        assert_eq!(decoded.is_err(), verdict == "decode_error", "{name}");
        let living = |message: &Protocol| {
            let retired = |data: &CrdsData| matches!(data, CrdsData::Retired(_));
            values_of(message).iter().filter(|value| !retired(value.data())).count() as u64
        };
        if let (Ok(message), Some(kept)) = (&decoded, agave["values_kept"].as_u64()) {
            assert_eq!(living(message), kept, "{name}: values that are not of retired kinds");
        }
        if let (Ok(checked), Some(kept)) = (&outcome, agave["values_kept"].as_u64()) {
            assert_eq!(values_of(checked.message()).len() as u64, kept, "{name}: values kept");
        }
    }
}

#[test]
fn datagrams_checked_together_get_the_verdicts_that_each_gets_alone() {
    let all: Vec<Vec<u8>> = family(&file("gossip.json"), "judged").iter().map(|case| bytes(&case["bytes"])).collect();
    let verdict = |outcome: Result<Checked, DropReason>| outcome.map(|checked| checked.message().encode());
    let alone: Vec<_> = all.iter().map(|wire| verdict(check(wire))).collect();
    assert!(alone.iter().any(Result::is_ok) && alone.contains(&Err(DropReason::BadSignature)));
    for verifier in [Verifier::default(), Verifier::without_memory()] {
        for together in [all.len(), 5, 1] {
            let found = all.chunks(together).flat_map(|some| check_all(some, &verifier)).map(verdict);
            assert_eq!(found.collect::<Vec<_>>(), alone);
        }
    }
}

#[test]
fn what_is_accepted_is_what_our_own_encoder_writes() {
    for case in family(&file("gossip.json"), "judged") {
        let wire = bytes(&case["bytes"]);
        if check(&wire).is_ok() {
            let decoded = Protocol::decode(&wire).expect("it was accepted");
            assert_eq!(decoded.encode(), wire, "{}", text(&case["name"]));
        }
    }
}

#[test]
fn the_reference_knows_no_other_verdicts() {
    let known = ["accepted", "decode_error", "no_value_left", "sanitize_error", "signature_invalid"];
    let gossip = file("gossip.json");
    let verdicts: BTreeSet<&str> =
        family(&gossip, "judged").iter().map(|case| text(&case["agave"]["verdict"])).collect();
    assert!(verdicts.iter().all(|verdict| known.contains(verdict)), "{verdicts:?}");
}
