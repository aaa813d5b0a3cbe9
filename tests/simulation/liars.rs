//! Leaders that make blocks which cannot be: the others say why, and go on.

use super::*;
use sundog_validator::sim::Fault;

/// The node with the middle stake lies once, from slot 12 on; the others must find it out for `cause`.
fn found_out(fault: Fault, cause: &str) {
    let mut world = three(11);
    world.hosts[1].fault = Some((fault, Slot::new(12)));
    let lied = world.run_until(PATIENCE, |world| world.hosts[1].lied_in().is_some());
    assert!(lied, "the liar leads some time");
    let slot = world.hosts[1].lied_in().expect("it lied");
    run_to_root(&mut world, slot.get() + 40);
    for honest in [0, 2] {
        let why = world.hosts[honest].dead.get(&slot).unwrap_or_else(|| panic!("node {honest} took slot {slot}"));
        assert!(why.contains(cause), "node {honest} says of slot {slot}: {why}");
        assert!(!world.hosts[honest].blocks.contains_key(&slot), "a dead block is never frozen");
    }
    for host in 0..3 {
        let chain = world.hosts[host].rooted_chain(root(&world, host));
        assert!(!chain.is_empty() && !chain.contains(&slot), "no chain holds the lie");
    }
    holds(&world);
}

#[test]
fn a_wrong_entry_hash_kills_the_slot_and_the_cluster_goes_on() {
    found_out(Fault::WrongEntryHash, "does not follow from the one before it");
}

#[test]
fn a_missing_tick_kills_the_slot_and_the_cluster_goes_on() {
    found_out(Fault::WrongTickCount, "tick");
}

#[test]
fn a_transaction_that_cannot_pay_kills_the_slot_and_the_cluster_goes_on() {
    found_out(Fault::InvalidTransaction, "a transaction is not valid in this block");
}
