//! leader_schedule.json: who leads, and how slots fall into epochs.

use crate::vectors;
use serde_json::Value;
use std::sync::Arc;
use sundog_types::schedule::{EpochSchedule, LeaderSchedule, Leaders};
use sundog_types::stakes::{EpochStakes, VoteStake};
use sundog_types::{Epoch, Pubkey, Slot};

fn pubkey(value: &Value) -> Pubkey {
    value.as_str().expect("key").parse().expect("base58")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("number")
}

fn stakes(accounts: &Value) -> EpochStakes {
    let accounts = accounts.as_array().expect("list").iter();
    let by_vote_account = accounts.map(|account| {
        let node = pubkey(&account["node"]);
        let stake = number(&account["stake"]);
        let vote = VoteStake { node, authorized_voter: node, stake };
        (pubkey(&account["vote_account"]), vote)
    });
    EpochStakes { by_vote_account: by_vote_account.collect() }
}

fn picked(indexes: &Value, keys: &[Pubkey]) -> Vec<Pubkey> {
    let indexes = indexes.as_array().expect("list").iter();
    indexes.map(|index| keys[usize::try_from(number(index)).expect("small")]).collect()
}

#[test]
fn schedules_are_drawn_as_the_reference_draws_them() {
    let file = vectors::load("leader_schedule.json");
    for case in file["cases"].as_array().expect("list") {
        let stakes = stakes(&case["vote_accounts"]);
        let nodes: Vec<Pubkey> = case["nodes"].as_array().expect("list").iter().map(pubkey).collect();
        for expected in case["epochs"].as_array().expect("list") {
            let epoch = Epoch::new(number(&expected["epoch"]));
            let keyed = picked(&expected["vote_keyed_leaders"], &nodes);
            let slots = keyed.len() as u64;
            let schedule = LeaderSchedule::new(epoch, slots, &stakes);
            assert_eq!(schedule.iter().collect::<Vec<_>>(), keyed, "{} {epoch}", case["name"]);
            let keyed = picked(&expected["identity_keyed_leaders"], &nodes);
            let schedule = LeaderSchedule::identity_keyed(epoch, slots, &stakes);
            assert_eq!(schedule.iter().collect::<Vec<_>>(), keyed, "{} {epoch}", case["name"]);
        }
    }
}

#[test]
fn a_development_cluster_has_the_leaders_of_the_reference() {
    let file = vectors::load("leader_schedule.json");
    let bank = &file["bank"];
    let validators = bank["validators"].as_array().expect("list");
    let nodes: Vec<Pubkey> = validators.iter().map(|v| pubkey(&v["node"])).collect();
    let stakes = stakes(&bank["validators"]);
    for expected in bank["epochs"].as_array().expect("list") {
        let epoch = Epoch::new(number(&expected["epoch"]));
        let slots = number(&expected["slots_in_epoch"]);
        let mut leaders = Leaders::new(EpochSchedule::custom(slots, slots, false));
        leaders.insert(Arc::new(LeaderSchedule::new(epoch, slots, &stakes)));
        let first = leaders.epoch_schedule().get_first_slot_in_epoch(epoch.get());
        for (slot, leader) in (first..).zip(picked(&expected["leaders"], &nodes)) {
            assert_eq!(leaders.leader(Slot::new(slot)), Some(leader), "slot {slot}");
        }
    }
}

#[test]
fn slots_fall_into_epochs_as_in_the_reference() {
    let file = vectors::load("leader_schedule.json");
    for case in file["epoch_schedules"].as_array().expect("list") {
        let schedule = EpochSchedule::custom(
            number(&case["slots_per_epoch"]),
            number(&case["leader_schedule_slot_offset"]),
            case["warmup"].as_bool().expect("flag"),
        );
        let first_normal = [schedule.first_normal_epoch, schedule.first_normal_slot];
        let names = ["first_normal_epoch", "first_normal_slot"];
        assert_eq!(first_normal, names.map(|name| number(&case[name])));
        for probe in case["probes"].as_array().expect("list") {
            let slot = number(&probe["slot"]);
            let (epoch, index) = schedule.get_epoch_and_slot_index(slot);
            assert_eq!(epoch, number(&probe["epoch"]), "slot {slot}");
            assert_eq!(index, number(&probe["slot_index"]), "slot {slot}");
            let found = [
                schedule.get_first_slot_in_epoch(epoch),
                schedule.get_last_slot_in_epoch(epoch),
                schedule.get_leader_schedule_epoch(slot),
                schedule.get_slots_in_epoch(epoch),
            ];
            let names = ["first_slot_of_epoch", "last_slot_of_epoch", "leader_schedule_epoch", "slots_in_epoch"];
            assert_eq!(found, names.map(|name| number(&probe[name])), "slot {slot}");
        }
    }
}
