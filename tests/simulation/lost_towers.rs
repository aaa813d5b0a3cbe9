//! F18: the tower file is deleted, is an older one, or is another node's. What can happen, though no outage is known to have
//! begun with it: a validator is moved to another machine without the file, or its ledger directory is deleted, and it votes
//! again as if it had promised nothing. What holds now: the node refuses to vote, or to start, when the chain or gossip
//! shows votes that its tower does not know; told to vote all the same, it waits until what it may have promised has run
//! out.

use super::*;
use sundog_tower::SavedTower;
use sundog_types::sign::Identity;

/// The last slot that a node voted for.
fn last_vote(world: &World, host: usize) -> u64 {
    world.hosts[host].voted.last().expect("it voted").get()
}

/// Runs until the others have finalized so many slots more.
fn others_go_on(world: &mut World, slots: u64) {
    let target = finalized(world, 0) + slots;
    let done = world.run_until(PATIENCE, |world| finalized(world, 0) >= target);
    assert!(done, "{:?}", world.outcome());
}

/// How often a node refused to vote for this reason, in this life.
fn refused(world: &World, host: usize, why: &str) -> u64 {
    let view = world.hosts[host].view.as_ref().expect("it runs");
    view.counters.abstained.get(why).copied().unwrap_or_default()
}

/// Node 2 is killed after some roots, and started again on the tower file that `file` makes of the present one.
fn back_with(world: &mut World, file: impl FnOnce(Option<Vec<u8>>) -> Option<Vec<u8>>) -> usize {
    world.kill(2);
    let tower = world.hosts[2].tower.take();
    world.hosts[2].tower = file(tower);
    world.start(2);
    world.hosts[2].voted.len()
}

#[test]
fn a_node_without_its_tower_file_follows_and_refuses_to_vote() {
    let mut world = three(180);
    run_to_root(&mut world, 20);
    let votes = back_with(&mut world, |_| None);
    others_go_on(&mut world, 270);
    assert_eq!(world.hosts[2].voted.len(), votes, "not one vote, whatever has run out");
    assert!(refused(&world, 2, "forgotten") > 0);
    let root = root(&world, 2).get();
    assert!(root + 40 > finalized(&world, 0), "it follows: {root}");
    holds(&world);
}

#[test]
fn nor_does_it_without_its_ledger_once_it_hears_what_it_voted_for() {
    let mut world = three(181);
    run_to_root(&mut world, 60);
    world.kill(2);
    world.hosts[2].tower = None;
    world.hosts[2].store = std::sync::Arc::default();
    world.start(2);
    let votes = world.hosts[2].voted.len();
    others_go_on(&mut world, 100);
    assert_eq!(world.hosts[2].voted.len(), votes);
    assert_eq!(world.outcome().conflict, None);
    oracle::lockouts_kept(&world);
}

#[test]
fn told_to_vote_it_waits_until_what_it_promised_has_run_out() {
    let mut world = three(182);
    run_to_root(&mut world, 40);
    let promised = last_vote(&world, 2);
    world.hosts[2].tower_policy.vote_without = true;
    let votes = back_with(&mut world, |_| None);
    let voted = world.run_until(PATIENCE * 4, |world| world.hosts[2].voted.len() > votes);
    assert!(voted, "it votes again: {:?}", world.outcome());
    let first = world.hosts[2].voted[votes].get();
    assert!(first > promised + 128, "the vote eight deep bound for 256 slots: {first} after {promised}");
    assert!(refused(&world, 2, "waiting") > 0);
    let target = first + 60;
    run_to_root(&mut world, target);
    holds(&world);
}

#[test]
fn an_older_tower_file_is_noticed_by_the_votes_on_the_chain() {
    let mut world = three(183);
    run_to_root(&mut world, 20);
    let old = world.hosts[2].tower.clone();
    others_go_on(&mut world, 60);
    let promised = last_vote(&world, 2);
    let votes = back_with(&mut world, |_| old);
    others_go_on(&mut world, 100);
    let again = &world.hosts[2].voted[votes..];
    assert!(again.is_empty(), "promised up to {promised}, and voted for {again:?}");
    assert!(refused(&world, 2, "forgotten") > 0);
    holds(&world);
}

#[test]
fn a_tower_file_that_is_a_few_votes_old_is_noticed_before_one_of_them_is_cast_again() {
    for (seed, slots) in [(185, 2), (186, 5), (187, 12), (188, 30)] {
        let mut world = three(seed);
        run_to_root(&mut world, 20);
        let old = world.hosts[2].tower.clone();
        let saved = last_vote(&world, 2);
        let later = |world: &World| last_vote(world, 2) >= saved + slots;
        assert!(world.run_until(PATIENCE, later), "{:?}", world.outcome());
        // Its newest votes have landed in blocks that it has, above its root.
        let votes = back_with(&mut world, |_| old);
        others_go_on(&mut world, 40);
        let again = &world.hosts[2].voted[votes..];
        assert!(again.is_empty(), "seed {seed}: promised up to {slots} after {saved}, and voted for {again:?}");
        assert!(refused(&world, 2, "recalling") > 0 && refused(&world, 2, "forgotten") > 0, "seed {seed}");
        holds(&world);
    }
}

#[test]
fn with_its_tower_file_it_votes_again_once_it_has_executed_what_it_had() {
    let mut world = three(189);
    run_to_root(&mut world, 20);
    let promised = last_vote(&world, 2);
    let votes = back_with(&mut world, |file| file);
    assert!(world.run_until(PATIENCE, |world| world.hosts[2].voted.len() > votes), "{:?}", world.outcome());
    assert!(world.hosts[2].voted[votes].get() > promised && refused(&world, 2, "recalling") > 0);
    run_to_root(&mut world, promised + 40);
    assert_eq!(refused(&world, 2, "forgotten"), 0);
    holds(&world);
}

#[test]
fn a_file_of_another_node_or_a_torn_one_is_no_tower() {
    let mut world = three(184);
    run_to_root(&mut world, 10);
    let file = world.hosts[2].tower.clone().expect("it voted");
    let (ours, other) = (identity(&world, 2), identity(&world, 1));
    assert!(SavedTower::decode(&file, &ours).is_ok());
    let refused = SavedTower::decode(&file, &other).unwrap_err().to_string();
    assert!(refused.contains(&ours.to_string()) && refused.contains(&other.to_string()), "{refused}");
    assert!(SavedTower::decode(&file[..file.len() - 1], &ours).is_err());
    let forged = SavedTower::decode(&file, &ours).expect("intact");
    let stranger = Identity::new(solana_keypair::Keypair::new_from_array([77; 32]));
    assert!(SavedTower::decode(&forged.encode(&stranger), &ours).is_err());
}
