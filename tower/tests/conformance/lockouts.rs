//! Stacks, thresholds and locked-out slots (`tower.json`).

use super::vectors::{flag, list, load, number, slot, stack};
use std::collections::{BTreeMap, BTreeSet};
use sundog_tower::lockouts::{Lockout, Lockouts};
use sundog_tower::threshold::failures;
use sundog_types::Slot;

#[test]
fn every_stack_grows_as_in_the_reference() {
    let all = load("tower.json");
    let sequences = list(&all["lockouts"]["sequences"]);
    for sequence in sequences {
        let mut votes = Lockouts::new(sequence["initial_root"].as_u64().map(Slot::new));
        for step in list(&sequence["steps"]) {
            votes.vote(slot(&step["vote"]));
            assert_eq!(votes.to_parts(), stack(&step["stack"]), "{} {step}", sequence["name"]);
            assert_eq!(votes.root().map(Slot::get), step["root"].as_u64(), "{}", sequence["name"]);
        }
    }
    assert_eq!(sequences.len(), 33);
}

#[test]
fn lockouts_are_as_long_as_in_the_reference() {
    let all = load("tower.json");
    for row in list(&all["lockouts"]["lockout_table"]) {
        let confirmations = u32::try_from(number(&row["confirmation_count"])).expect("u32");
        let vote = Lockout { slot: Slot::new(1_000), confirmations };
        let last = slot(&row["last_locked_out_slot_of_vote_1000"]);
        assert_eq!((vote.slots(), vote.last_locked_out()), (number(&row["lockout"]), last));
        assert_eq!(vote.binds_at(last), flag(&row["locked_out_at_last"]));
        assert_eq!(vote.binds_at(last.next()), flag(&row["locked_out_after"]));
    }
}

#[test]
fn thresholds_fail_at_the_same_depths() {
    let all = load("tower.json");
    let cases = list(&all["stake_thresholds"]);
    for case in cases {
        let votes = Lockouts::from_parts(&stack(&case["stack"]), case["root"].as_u64());
        let voted: BTreeMap<Slot, u64> =
            list(&case["voted_stakes"]).iter().map(|pair| (slot(&pair[0]), number(&pair[1]))).collect();
        let failed =
            failures(&votes, slot(&case["candidate"]), |slot| voted.get(&slot).copied(), number(&case["total_stake"]));
        let expected: Vec<(u64, u64)> = list(&case["failed"])
            .iter()
            .map(|f| match f.as_array() {
                Some(pair) => (number(&pair[0]), number(&pair[1])),
                None => (number(&f["depth"]), number(&f["stake"])),
            })
            .collect();
        let got: Vec<(u64, u64)> = failed.iter().map(|f| (f.depth as u64, f.stake)).collect();
        assert_eq!(got, expected, "{case}");
        assert_eq!(!failed.iter().any(|f| f.forbids()), flag(&case["may_vote"]), "{case}");
    }
    assert_eq!(cases.len(), 80);
}

#[test]
fn slots_are_locked_out_as_in_the_reference() {
    let all = load("tower.json");
    let cases = list(&all["locked_out"]);
    for case in cases {
        let votes = Lockouts::from_parts(&stack(&case["stack"]), case["root"].as_u64());
        let ancestors: BTreeSet<Slot> = list(&case["ancestors"]).iter().map(slot).collect();
        let candidate = slot(&case["slot"]);
        let recent = votes.is_recent(candidate);
        assert_eq!(recent, flag(&case["is_recent"]), "{case}");
        let voted = votes.votes().iter().any(|vote| vote.slot == candidate);
        assert_eq!(voted, flag(&case["has_voted"]), "{case}");
        let forbidden = votes.forbidding(candidate, |slot| ancestors.contains(&slot)).is_some();
        let locked_out = !recent || forbidden;
        assert_eq!(locked_out, flag(&case["is_locked_out"]), "{case}");
    }
    assert_eq!(cases.len(), 120);
}
