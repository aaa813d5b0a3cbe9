//! One decision at a time: every reason to abstain, and every reason to build where one builds.

use super::cluster::{ROOT, account, at, electorate, hash_of, signer};
use super::machine::{alone, block, frozen, saved, seen};
use sundog_tower::{Abstain, Block, Consensus, ConsensusConfig, Effect, Input, Reset, RootBlock, SavedTower, Verdict};
use sundog_types::{Hash, Machine, Slot};

/// The block of `slot` in another version: other content, so another bank hash and block id.
fn other(block: Block) -> Block {
    let slot = block.slot.get();
    Block { hash: hash_of(slot + 500_000), block_id: hash_of(slot + 600_000), ..block }
}

fn tell(machine: &mut Consensus, input: Input) -> Vec<Effect> {
    let mut out = Vec::new();
    machine.handle(at(1), input, &mut out);
    out
}

/// A vote heard for a version of the block of `slot`.
fn heard(voter: usize, slot: u64, hash: Hash, block_id: Hash) -> Input {
    Input::VoteSeen { vote_account: account(voter), slot: Slot::new(slot), hash, block_id }
}

/// A machine that voted for 1 and 2, its vote for 2 the last.
fn voted() -> Consensus {
    let mut machine = alone(ConsensusConfig::default());
    for slot in [1, 2] {
        frozen(&mut machine, block(slot, slot - 1, &[]));
        saved(&mut machine, slot);
    }
    machine
}

fn decided(machine: &Consensus) -> (Verdict, Reset, u64) {
    let decision = machine.decision().expect("a block came");
    assert_eq!(machine.reset_block(), decision.build_on);
    (decision.vote, decision.reset, decision.build_on.0.get())
}

#[test]
fn the_heaviest_block_on_the_own_fork_is_voted_for_and_built_on() {
    let mut machine = alone(ConsensusConfig::default());
    frozen(&mut machine, block(1, 0, &[]));
    assert_eq!(decided(&machine), (Verdict::Vote(Slot::new(1)), Reset::Heaviest, 1));
    frozen(&mut machine, block(2, 1, &[]));
    assert_eq!(decided(&machine), (Verdict::Saving, Reset::Heaviest, 2));
    saved(&mut machine, 1);
    assert_eq!(decided(&machine), (Verdict::Vote(Slot::new(2)), Reset::Heaviest, 2));
}

#[test]
fn who_has_no_vote_account_follows_without_voting() {
    let mut machine = Consensus::new(ConsensusConfig::default(), None, ROOT, None, signer(0));
    frozen(&mut machine, block(1, 0, &[]));
    assert_eq!(decided(&machine), (Verdict::Nothing, Reset::Heaviest, 1));
}

#[test]
fn an_old_block_gets_no_second_vote() {
    let mut machine = voted();
    frozen(&mut machine, block(3, 2, &[]));
    saved(&mut machine, 3);
    let why = Abstain::NotNewer { last: Slot::new(3) };
    assert_eq!(decided(&machine), (Verdict::Abstain(why), Reset::Heaviest, 3));
}

#[test]
fn a_vote_that_still_binds_elsewhere_forbids_another_fork_even_with_proof() {
    let mut machine = voted();
    frozen(&mut machine, block(3, 0, &[]));
    let others: &[(u64, u32)] = &[(3, 2)];
    frozen(&mut machine, block(4, 3, &[&[], others, others]));
    let why = Abstain::LockedOut { by: Slot::new(1), until: Slot::new(9) };
    assert_eq!(decided(&machine), (Verdict::Abstain(why), Reset::Switched, 4), "what is built there breaks no promise");
}

#[test]
fn with_proof_and_no_vote_that_binds_the_fork_is_left() {
    let mut machine = voted();
    frozen(&mut machine, block(3, 0, &[]));
    let others: &[(u64, u32)] = &[(3, 2)];
    frozen(&mut machine, block(9, 3, &[&[], others, others]));
    assert_eq!(decided(&machine), (Verdict::Vote(Slot::new(9)), Reset::Switched, 9));
}

#[test]
fn without_proof_one_builds_on_the_own_fork_and_waits() {
    let mut machine = voted();
    frozen(&mut machine, block(3, 0, &[]));
    frozen(&mut machine, block(9, 3, &[&[], &[], &[(3, 2)]]));
    let why = Abstain::Switch { stake: 400, total: 2_000 };
    assert_eq!(decided(&machine), (Verdict::Abstain(why), Reset::OwnFork, 2));
}

#[test]
fn on_a_duplicate_one_builds_on_while_there_is_another_fork() {
    let mut machine = voted();
    frozen(&mut machine, block(9, 0, &[]));
    tell(&mut machine, Input::Duplicate(Slot::new(2)));
    tell(&mut machine, Input::Duplicate(Slot::new(1)));
    let why = Abstain::Switch { stake: 0, total: 2_000 };
    assert_eq!(decided(&machine), (Verdict::Abstain(why), Reset::Deepest, 2), "its votes land nowhere else");
}

#[test]
fn from_a_duplicate_one_rolls_back_to_open_a_way_out() {
    let mut machine = voted();
    tell(&mut machine, Input::Duplicate(Slot::new(2)));
    let duplicate = Slot::new(2);
    let why = Abstain::Rollback { duplicate };
    assert_eq!(decided(&machine), (Verdict::Abstain(why), Reset::Rollback { duplicate }, 1));
    assert_eq!(machine.metrics().abstained[why.index()], 1, "told once, by its name");
}

/// Of seeds 1, 4, 5 and 6 of the search: 80 % had voted above the duplicate, each voter for another slot.
#[test]
fn a_duplicate_is_confirmed_by_votes_for_its_descendants_whichever_they_are() {
    let mut machine = Consensus::new(ConsensusConfig::default(), None, ROOT, None, signer(0));
    for slot in 1..=3 {
        frozen(&mut machine, block(slot, slot - 1, &[]));
    }
    tell(&mut machine, Input::Duplicate(Slot::new(1)));
    assert_eq!(machine.fork_choice().best_overall().0, Slot::ZERO, "none above it is followed");
    // 50, 30 and 20 %: no slot has 52 % by itself.
    frozen(&mut machine, block(4, 3, &[&[(1, 2)], &[(2, 2)], &[(3, 1)]]));
    assert_eq!(machine.fork_choice().best_overall().0, Slot::new(4));
    let confirmed = |slot| machine.fork_choice().get(&(Slot::new(slot), hash_of(slot))).map(|s| s.duplicate_confirmed);
    assert_eq!([1, 2, 3].map(confirmed), [Some(true), Some(false), Some(false)], "52 % are behind 1 alone");
}

/// Of seed 616: the votes had run out before the next block came, so that no bank counted them any more.
#[test]
fn a_duplicate_is_confirmed_by_votes_that_bind_no_more() {
    let mut machine = Consensus::new(ConsensusConfig::default(), None, ROOT, None, signer(0));
    for slot in 1..=2 {
        frozen(&mut machine, block(slot, slot - 1, &[]));
    }
    tell(&mut machine, Input::Duplicate(Slot::new(1)));
    frozen(&mut machine, block(40, 2, &[&[(1, 1)], &[], &[]]));
    assert_eq!(machine.fork_choice().best_overall().0, Slot::ZERO, "50 % are behind it");
    frozen(&mut machine, block(80, 40, &[&[(1, 1)], &[(2, 1)], &[]]));
    assert_eq!(machine.fork_choice().best_overall().0, Slot::new(80), "80 % are");
}

#[test]
fn a_duplicate_that_half_the_stake_stands_behind_is_not_confirmed() {
    let mut machine = Consensus::new(ConsensusConfig::default(), None, ROOT, None, signer(0));
    for slot in 1..=3 {
        frozen(&mut machine, block(slot, slot - 1, &[]));
    }
    tell(&mut machine, Input::Duplicate(Slot::new(1)));
    frozen(&mut machine, block(4, 3, &[&[], &[(2, 2)], &[(3, 1)]]));
    assert_eq!(machine.fork_choice().best_overall().0, Slot::ZERO);
}

/// Only with more than 4 % of the stake lying can two versions have 52 % each.
#[test]
fn of_two_versions_with_52_percent_the_first_stays() {
    let mut machine = Consensus::new(ConsensusConfig::default(), None, ROOT, None, signer(0));
    frozen(&mut machine, block(1, 0, &[]));
    let (mine, theirs) = (block(1, 0, &[]), other(block(1, 0, &[])));
    for voter in [0, 1] {
        tell(&mut machine, heard(voter, 1, mine.hash, mine.block_id));
    }
    let mut out = Vec::new();
    for voter in [0, 2] {
        out.extend(tell(&mut machine, heard(voter, 1, theirs.hash, theirs.block_id)));
    }
    assert!(!out.iter().any(|effect| matches!(effect, Effect::OtherVersion { .. })), "{out:?}");
}

#[test]
fn after_one_version_was_thrown_away_for_another_it_can_be_told_again() {
    let mut machine = Consensus::new(ConsensusConfig::default(), None, ROOT, None, signer(0));
    let theirs = other(block(1, 0, &[]));
    let told = Effect::OtherVersion { slot: Slot::new(1), hash: theirs.hash };
    for round in 0..2 {
        frozen(&mut machine, block(1, 0, &[]));
        let mut out = Vec::new();
        for voter in [round, 2 - round, 1] {
            out.extend(tell(&mut machine, heard(voter, 1, theirs.hash, theirs.block_id)));
        }
        out.extend(frozen(&mut machine, block(2, 1, &[])));
        let times = out.iter().filter(|effect| **effect == told).count();
        assert!(round == 1 || times == 1, "round {round}: {out:?}");
        tell(&mut machine, Input::Forgotten { slot: Slot::new(1), proven: true });
    }
    // The wrong version came a third time: the votes are here before it, and it is told at once.
    assert!(frozen(&mut machine, block(1, 0, &[])).contains(&told));
}

#[test]
fn the_clusters_version_of_the_last_voted_slot_is_built_on_and_voted_past() {
    let mut machine = voted();
    let theirs = other(block(2, 1, &[]));
    let mut out = tell(&mut machine, Input::Duplicate(Slot::new(2)));
    for voter in [0, 1] {
        out.extend(tell(&mut machine, heard(voter, 2, theirs.hash, theirs.block_id)));
    }
    assert!(out.contains(&Effect::OtherVersion { slot: Slot::new(2), hash: theirs.hash }), "{out:?}");
    tell(&mut machine, Input::Forgotten { slot: Slot::new(2), proven: true });
    assert_eq!(decided(&machine).1, Reset::Rollback { duplicate: Slot::new(2) }, "until it is here");
    frozen(&mut machine, theirs.clone());
    assert_eq!((decided(&machine).1, decided(&machine).2), (Reset::OtherVersion, 2));
    frozen(&mut machine, Block { parent_hash: theirs.hash, ..block(3, 2, &[]) });
    assert_eq!(decided(&machine), (Verdict::Vote(Slot::new(3)), Reset::Purged, 3), "without evidence");
}

#[test]
fn a_version_that_only_peers_call_the_clusters_frees_from_no_promise() {
    let mut machine = voted();
    let theirs = other(block(2, 1, &[]));
    tell(&mut machine, Input::Forgotten { slot: Slot::new(2), proven: false });
    assert_eq!(decided(&machine).1, Reset::Rollback { duplicate: Slot::new(2) }, "until it is here");
    frozen(&mut machine, theirs.clone());
    frozen(&mut machine, Block { parent_hash: theirs.hash, ..block(3, 2, &[]) });
    let why = Abstain::Switch { stake: 0, total: 2_000 };
    assert_eq!(decided(&machine), (Verdict::Abstain(why), Reset::Stray, 3), "it is built on, and not voted for");
    // The others are bound to it: that is evidence.
    let others: &[(u64, u32)] = &[(2, 2), (3, 1)];
    let fourth = Block { parent_hash: block(3, 2, &[]).hash, ..block(4, 3, &[&[], others, others]) };
    frozen(&mut machine, fourth);
    assert_eq!(decided(&machine).0, Verdict::Vote(Slot::new(4)));
}

#[test]
fn a_last_vote_whose_block_is_unknown_stays_a_promise() {
    let file = SavedTower::of(voted().tower());
    let root = RootBlock { slot: Slot::ZERO, hash: ROOT.hash };
    let mut machine = Consensus::new(ConsensusConfig::default(), Some(account(0)), root, Some(file), signer(0));
    frozen(&mut machine, block(9, 0, &[]));
    let why = Abstain::Switch { stake: 0, total: 2_000 };
    assert_eq!(decided(&machine), (Verdict::Abstain(why), Reset::Stray, 9));
    let others: &[(u64, u32)] = &[(9, 1)];
    frozen(&mut machine, block(10, 9, &[&[], others, others]));
    assert_eq!(decided(&machine), (Verdict::Vote(Slot::new(10)), Reset::Switched, 10));
}

#[test]
fn a_vote_that_nobody_follows_is_not_buried_deep() {
    let mut machine = alone(ConsensusConfig::default());
    for slot in 1..=9 {
        frozen(&mut machine, block(slot, slot - 1, &[]));
        saved(&mut machine, slot);
    }
    let why = Abstain::Threshold { slot: Slot::new(1), stake: 0, total: 2_000 };
    assert_eq!(decided(&machine), (Verdict::Abstain(why), Reset::Heaviest, 9));
}

#[test]
fn on_an_own_block_that_too_few_have_nothing_is_voted_for_but_itself() {
    // The smallest voter of three: its own stake is a fifth.
    let mut machine = Consensus::new(ConsensusConfig::default(), Some(account(2)), ROOT, None, signer(2));
    frozen(&mut machine, Block { mine: true, ..block(1, 0, &[]) });
    assert_eq!(decided(&machine).0, Verdict::Vote(Slot::new(1)));
    saved(&mut machine, 1);
    frozen(&mut machine, block(2, 1, &[]));
    let why = Abstain::Propagation { own: Slot::new(1), stake: 400, total: 2_000 };
    assert_eq!(decided(&machine), (Verdict::Abstain(why), Reset::Heaviest, 2));
    assert!(!machine.is_propagated(Slot::new(2)) && machine.newest_own(Slot::new(2)) == Some(Slot::new(1)));
    tell(&mut machine, Input::Announced { node: account(1), slot: Slot::new(2) });
    assert_eq!(decided(&machine).0, Verdict::Vote(Slot::new(2)), "who has what stands on it has it too");
    assert!(machine.is_propagated(Slot::new(2)));
}

#[test]
fn votes_heard_and_votes_that_landed_spread_an_own_block_as_well() {
    for landed in [true, false] {
        let mut machine = Consensus::new(ConsensusConfig::default(), Some(account(2)), ROOT, None, signer(2));
        frozen(&mut machine, Block { mine: true, ..block(1, 0, &[]) });
        if landed {
            frozen(&mut machine, block(2, 1, &[&[(1, 1)]]));
        } else {
            tell(&mut machine, seen(0, 1));
        }
        assert!(machine.is_propagated(Slot::new(1)), "landed: {landed}");
    }
}

#[test]
fn a_vote_that_can_land_no_more_is_given_for_the_tip_of_its_fork_instead() {
    let mut machine = alone(ConsensusConfig::default());
    frozen(&mut machine, block(1, 0, &[]));
    saved(&mut machine, 1);
    frozen(&mut machine, block(2, 1, &[&[(1, 1)]]));
    saved(&mut machine, 2);
    // Another fork is heavier, but not by enough to leave for it.
    frozen(&mut machine, block(3, 1, &[&[(1, 1)]]));
    frozen(&mut machine, block(4, 3, &[&[(1, 1)], &[], &[(3, 2)]]));
    for slot in 10..=521 {
        frozen(&mut machine, block(slot, if slot == 10 { 2 } else { slot - 1 }, &[&[(1, 1)]]));
        assert_eq!(decided(&machine).1, Reset::OwnFork);
    }
    assert_eq!(machine.metrics().super_refreshed, 0, "512 blocks on, it may still land");
    frozen(&mut machine, block(522, 521, &[&[(1, 1)]]));
    assert_eq!(decided(&machine), (Verdict::Vote(Slot::new(522)), Reset::OwnFork, 522));
    assert_eq!(machine.metrics().super_refreshed, 1);
    let out = saved(&mut machine, 3);
    assert!(matches!(&out[0], Effect::Vote { vote, .. } if !vote.switch), "{out:?}");
}

#[test]
fn another_result_for_the_same_block_ends_the_voting() {
    let mut machine = voted();
    let theirs = hash_of(777);
    let mut out = tell(&mut machine, heard(1, 2, theirs, hash_of(1_002)));
    out.extend(tell(&mut machine, heard(2, 2, theirs, hash_of(1_002))));
    let voters = vec![account(1), account(2)];
    let alarm = Effect::Diverged { slot: Slot::new(2), ours: hash_of(2), theirs, stake: 1_000, total: 2_000, voters };
    assert_eq!(out, [alarm]);
    frozen(&mut machine, block(3, 2, &[]));
    let why = Abstain::Diverged { slot: Slot::new(2) };
    assert_eq!(decided(&machine), (Verdict::Abstain(why), Reset::Heaviest, 3), "it goes on following");
    assert_eq!(machine.diverged(), Some(Slot::new(2)));
}

#[test]
fn another_version_of_a_block_is_no_divergence() {
    let mut machine = voted();
    for (voter, id) in [(1, hash_of(9_999)), (2, Hash::default())] {
        assert_eq!(tell(&mut machine, heard(voter, 2, hash_of(777), id)), []);
    }
    assert_eq!(machine.diverged(), None);
}

#[test]
fn a_minority_with_another_result_stops_nobody_else() {
    // 600 of 2,000 are not a third; 600 and 400 against 1,000 of which 52 % would be 1,041 are more.
    let mut machine = voted();
    tell(&mut machine, heard(1, 2, hash_of(777), hash_of(1_002)));
    for slot in 3..=20 {
        frozen(&mut machine, block(slot, slot - 1, &[]));
        saved(&mut machine, slot);
    }
    assert_eq!(machine.diverged(), None);
    // 40 % say otherwise, but 60 % settled it as it is here.
    let mut machine = Consensus::new(ConsensusConfig::default(), Some(account(0)), ROOT, None, signer(0));
    frozen(&mut machine, Block { epoch_stakes: electorate(&[400, 200, 400]), ..block(1, 0, &[]) });
    saved(&mut machine, 1);
    for voter in [0, 1] {
        tell(&mut machine, seen(voter, 1));
    }
    tell(&mut machine, heard(2, 1, hash_of(777), hash_of(1_001)));
    for slot in 2..=20 {
        frozen(&mut machine, Block { epoch_stakes: electorate(&[400, 200, 400]), ..block(slot, slot - 1, &[]) });
    }
    assert_eq!(machine.diverged(), None);
}

#[test]
fn a_confirmed_block_that_a_root_leaves_behind_is_told() {
    let mut machine = alone(ConsensusConfig::default());
    frozen(&mut machine, block(1, 0, &[]));
    frozen(&mut machine, block(2, 0, &[]));
    let mut out = Vec::new();
    for voter in 0..3 {
        out.extend(tell(&mut machine, seen(voter, 1)));
    }
    assert!(out.contains(&Effect::Confirmed { slot: Slot::new(1), hash: hash_of(1) }));
    // All of them root 2 all the same.
    let mut block = block(3, 2, &[]);
    for voter in &mut block.votes {
        voter.root = Some(2);
    }
    let out = frozen(&mut machine, block);
    let told = Effect::Abandoned { slot: Slot::new(1), hash: hash_of(1), root: Slot::new(2) };
    assert!(out.contains(&told) && out.contains(&Effect::Root { slot: Slot::new(2) }), "{out:?}");
}

#[test]
fn every_kind_of_reset_has_a_name_and_a_counter_of_its_own() {
    let duplicate = Slot::new(1);
    let all = [
        Reset::Heaviest,
        Reset::Switched,
        Reset::OwnFork,
        Reset::Deepest,
        Reset::Rollback { duplicate },
        Reset::OtherVersion,
        Reset::Purged,
        Reset::Stray,
    ];
    assert!(all.iter().map(Reset::name).eq(Reset::NAMES));
    assert_eq!(Reset::NAMES.iter().collect::<std::collections::BTreeSet<_>>().len(), Reset::KINDS);
    assert!(all.iter().enumerate().all(|(place, reset)| reset.index() == place));
    assert_eq!(voted().metrics().resets_by.iter().sum::<u64>(), voted().metrics().resets);
}
