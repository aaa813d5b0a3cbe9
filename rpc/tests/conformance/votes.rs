//! The two methods that are this project's own: their shapes are documented in `docs/tower.md`, and stay.

use crate::fake::{Fake, hash, key};
use serde_json::json;
use sundog_rpc::votes::{ForksFacts, TowerFacts};

#[test]
fn a_tower_is_told_in_these_names_and_no_others() {
    let expected = json!({
        "identity": key(1).to_string(),
        "voteAccount": key(2).to_string(),
        "root": 133,
        "votes": [{ "slot": 164, "confirmationCount": 1, "expires": 166 }],
        "votedHash": hash(3).to_string(),
        "votedAt": 1_700_000_000,
        "landed": 163,
        "decision": {
            "heaviest": 165, "verdict": "switch", "why": "it is on another fork", "buildsOn": 164,
            "buildsBecause": "own_fork",
        },
        "abstained": { "slot": 165, "reason": "switch", "why": "it is on another fork" },
    });
    let told = Fake::default().result("sundog_getTower", json!([]));
    assert_eq!(told, expected);
    let read: TowerFacts = serde_json::from_value(told).expect("what is written is read");
    assert_eq!(read.votes[0].expires, 166);
}

#[test]
fn forks_are_told_in_these_names_and_no_others() {
    let expected = json!({
        "root": 133, "confirmed": 164, "finalized": 131, "heaviest": 164, "ownVote": 164, "totalStake": 40,
        "blocks": [{
            "slot": 164, "bankHash": hash(3).to_string(), "parent": 133, "leader": key(1).to_string(),
            "stakeAt": 10, "stakeAbove": 30, "voters": [key(2).to_string()], "valid": true, "settled": false,
        }],
        "leftOut": 0,
    });
    let told = Fake::default().result("sundog_getForks", json!([]));
    assert_eq!(told, expected);
    let read: ForksFacts = serde_json::from_value(told).expect("what is written is read");
    assert_eq!(read.blocks[0].stake_above, 30);
}

#[test]
fn a_node_that_follows_has_nulls_and_nobody_may_give_parameters() {
    let following = serde_json::to_value(TowerFacts::default()).expect("JSON");
    for absent in ["voteAccount", "root", "votedHash", "landed", "decision", "abstained"] {
        assert!(following.get(absent).is_some_and(serde_json::Value::is_null), "{absent} is there, and null");
    }
    for method in ["sundog_getTower", "sundog_getForks"] {
        assert_eq!(Fake::default().error(method, json!([1]))["code"], -32602);
    }
}
