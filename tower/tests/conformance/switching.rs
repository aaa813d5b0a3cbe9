//! When a fork may be left (`tower.json`, `switching`).

use super::vectors::{index, list, load, number, numbered, slot};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use sundog_tower::switch::{Interval, Question, Switch, check};
use sundog_types::{Pubkey, Slot};

fn decided(value: &Value) -> Switch {
    if value.get("same_fork").is_some() {
        Switch::SameFork
    } else if value.get("switch_proof").is_some() {
        Switch::Proven
    } else if let Some(failed) = value.get("failed") {
        Switch::Failed { stake: number(&failed["stake"]), total: number(&failed["total"]) }
    } else {
        Switch::Rollback { duplicate: slot(&value["failed_duplicate_rollback"]) }
    }
}

fn answer(scenario: &Value) -> Switch {
    let parents: BTreeMap<Slot, Slot> = list(&scenario["parents"]).iter().map(|p| (slot(&p[0]), slot(&p[1]))).collect();
    let parent = |slot: Slot| parents.get(&slot).copied();
    let under = |slot: Slot| std::iter::successors(parent(slot), |&slot| parent(slot));
    let computed: BTreeSet<Slot> = list(&scenario["computed"]).iter().map(slot).collect();
    let built_on: BTreeSet<Slot> = computed.iter().flat_map(|&slot| under(slot)).collect();
    let mut intervals = BTreeMap::<Slot, Vec<Interval>>::new();
    for i in list(&scenario["lockout_intervals"]) {
        let voter = numbered(index(&i["voter"]));
        let interval = Interval { start: slot(&i["start"]), end: slot(&i["end"]), voter };
        intervals.entry(slot(&i["bank"])).or_default().push(interval);
    }
    let tips = computed.difference(&built_on);
    let tips = tips.map(|tip| (*tip, intervals.get(tip).map_or(&[][..], Vec::as_slice))).collect();
    let heard: BTreeMap<Pubkey, Slot> =
        list(&scenario["gossip_votes"]).iter().map(|v| (numbered(index(&v[0])), slot(&v[1]))).collect();
    let stakes: BTreeMap<Pubkey, u64> =
        list(&scenario["stakes"]).iter().enumerate().map(|(i, s)| (numbered(i), number(s))).collect();
    let last_vote = slot(&scenario["last_voted_slot"]);
    let invalid = scenario["invalid_candidate"].as_u64().map(Slot::new);
    let duplicate = invalid.filter(|&i| i == last_vote || under(last_vote).any(|slot| slot == i));
    check(&Question {
        parents: &parent,
        root: slot(&scenario["root"]),
        last_vote,
        known: true,
        purged: None,
        candidate: slot(&scenario["switch_slot"]),
        duplicate,
        tips,
        heard: &heard,
        total: stakes.values().sum(),
        stakes: &stakes,
    })
}

#[test]
fn every_switch_is_decided_as_in_the_reference() {
    let all = load("tower.json");
    let scenarios = list(&all["switching"]["scenarios"]);
    for scenario in scenarios {
        assert_eq!(answer(scenario), decided(&scenario["decision"]), "{}", scenario["name"]);
    }
    assert_eq!(scenarios.len(), 145);
}
