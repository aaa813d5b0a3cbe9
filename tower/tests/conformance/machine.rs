//! The machine: alone, and in clusters with dead nodes, partitions and restarts.

use super::cluster::{Cluster, REFRESH, ROOT, account, at, electorate, hash_of, signer};
use sundog_tower::switch::Switch;
use sundog_tower::{Abstain, Block, Consensus, ConsensusConfig, DropReason, Effect, Input, RootBlock, VoterState};
use sundog_types::{Hash, Machine, Slot};

#[test]
fn three_validators_root_what_they_vote_for() {
    let mut cluster = Cluster::new(&[1_000, 600, 400]);
    cluster.run(80);
    for node in 0..3 {
        assert!(cluster.root(node) >= 40, "root {}", cluster.root(node));
        assert!(*cluster.nodes[node].confirmed.last().expect("confirmed") >= 78);
        assert!(*cluster.nodes[node].finalized.last().expect("finalized") >= 40);
        cluster.check_promises(node);
    }
}

#[test]
fn a_dead_fifth_does_not_stop_finality() {
    let mut cluster = Cluster::new(&[1_000, 600, 400]);
    cluster.nodes[2].alive = false;
    cluster.run(150);
    assert!(cluster.root(0) >= 40 && cluster.root(1) >= 40, "{}", cluster.root(0));
}

#[test]
fn a_dead_half_stops_finality_and_its_return_brings_it_back() {
    let mut cluster = Cluster::new(&[1_000, 600, 400]);
    cluster.nodes[0].alive = false;
    cluster.run(100);
    assert_eq!((cluster.root(1), cluster.root(2)), (0, 0));
    assert!(cluster.nodes[1].confirmed.is_empty());
    for node in 1..3 {
        let votes = cluster.nodes[node].votes.iter().flat_map(|vote| &vote.slots);
        let deepest = votes.map(|&(_, confirmations)| confirmations).max();
        assert_eq!(deepest, Some(8), "a minority does not bind itself for long");
    }
    cluster.nodes[0].alive = true;
    cluster.run(500);
    for node in 0..3 {
        assert!(cluster.root(node) > 100, "node {node} at {}", cluster.root(node));
        cluster.check_promises(node);
    }
}

#[test]
fn two_halves_that_were_cut_apart_agree_again() {
    for cut in [5, 20, 60] {
        let mut cluster = Cluster::new(&[1_000, 600, 400]);
        cluster.run(50);
        cluster.nodes[0].side = 1;
        cluster.run(cut);
        cluster.nodes[0].side = 0;
        let healed = cluster.slot;
        cluster.run(600);
        for node in 0..3 {
            assert!(cluster.root(node) > healed, "cut {cut}: {} <= {healed}", cluster.root(node));
            cluster.check_promises(node);
        }
    }
}

#[test]
fn a_minority_that_was_cut_off_follows_the_majority_again() {
    let mut cluster = Cluster::new(&[1_000, 600, 400]);
    cluster.run(50);
    cluster.nodes[2].side = 1;
    cluster.run(100);
    let cut_off = cluster.root(2);
    assert!(cluster.root(0) > 80 && cut_off < 60, "{} {cut_off}", cluster.root(0));
    cluster.nodes[2].side = 0;
    let healed = cluster.slot;
    cluster.run(400);
    assert!(cluster.root(2) > healed);
    assert!(cluster.nodes[2].votes.last().expect("votes").last_slot() > Some(healed));
    cluster.check_promises(2);
}

#[test]
fn a_node_without_stake_follows_what_the_others_root() {
    let mut cluster = Cluster::new(&[1_000, 600, 400, 0]);
    cluster.run(80);
    let node = &cluster.nodes[3];
    assert!(node.votes.is_empty());
    assert!(cluster.root(3) >= 40);
    assert_eq!(node.roots.last(), node.finalized.last());
    assert!(node.reset >= 79);
}

#[test]
fn the_same_history_twice_gives_the_same_votes() {
    let run = || {
        let mut cluster = Cluster::new(&[1_000, 600, 400]);
        cluster.run(30);
        cluster.nodes[1].side = 1;
        cluster.run(30);
        cluster.nodes[1].side = 0;
        cluster.run(60);
        cluster.nodes.into_iter().map(|node| (node.votes, node.saved, node.roots)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_restarted_node_keeps_its_promises_and_goes_on() {
    for with_file in [true, false] {
        let mut cluster = Cluster::new(&[1_000, 600, 400]);
        cluster.run(60);
        let last = cluster.nodes[0].votes.last().and_then(|vote| vote.last_slot());
        cluster.restart(0, with_file);
        let votes = cluster.nodes[0].votes.len();
        cluster.run(if with_file { 60 } else { 500 });
        let first = cluster.nodes[0].votes.get(votes).and_then(|vote| vote.last_slot());
        assert!(with_file || first > last.map(|last| last + 128), "it waits: {first:?} after {last:?}");
        assert!(cluster.root(0) > 60, "with file: {with_file}, root {}", cluster.root(0));
        cluster.check_promises(0);
        if !with_file {
            assert!(cluster.nodes[0].machine.metrics().adopted > 0);
        }
    }
}

#[test]
fn whatever_is_cut_and_killed_no_two_roots_conflict() {
    for seed in 1..=6_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut cluster = Cluster::new(&[700, 600, 400, 300, 200, 0]);
        for _ in 0..12 {
            for node in &mut cluster.nodes {
                node.side = u8::try_from(draw(3) / 2).expect("small");
                node.alive = draw(8) > 0;
            }
            if draw(3) == 0 {
                let node = usize::try_from(draw(5)).expect("small");
                cluster.restart(node, true);
            }
            cluster.run(5 + draw(40));
        }
        for node in &mut cluster.nodes {
            (node.side, node.alive) = (0, true);
        }
        let healed = cluster.slot;
        cluster.run(700);
        for node in 0..6 {
            assert!(cluster.root(node) > healed, "seed {seed} node {node}: {}", cluster.root(node));
            cluster.check_promises(node);
        }
    }
}

/// A machine of stakes 1,000, 600 and 400 that votes as the first.
pub fn alone(config: ConsensusConfig) -> Consensus {
    Consensus::new(config, Some(account(0)), ROOT, None, signer(0))
}

/// A block whose bank knows these towers.
pub fn block(slot: u64, parent: u64, towers: &[&[(u64, u32)]]) -> Block {
    let stakes = electorate(&[1_000, 600, 400]);
    let voters = stakes.by_vote_account.iter().enumerate().map(|(index, (&vote_account, voter))| {
        let lockouts = towers.get(index).map_or(Vec::new(), |tower| tower.to_vec());
        VoterState { vote_account, stake: voter.stake, lockouts, root: None, last_timestamp: 0 }
    });
    Block {
        slot: Slot::new(slot),
        parent: Slot::new(parent),
        parent_hash: if parent == 0 { ROOT.hash } else { hash_of(parent) },
        hash: hash_of(slot),
        block_id: hash_of(slot + 1_000),
        mine: false,
        votes: voters.collect(),
        total_stake: 2_000,
        epoch_stakes: stakes,
    }
}

/// A vote of `voter` for the block of `slot`, heard in gossip.
pub fn seen(voter: usize, slot: u64) -> Input {
    let (hash, block_id) = (hash_of(slot), hash_of(slot + 1_000));
    Input::VoteSeen { vote_account: account(voter), slot: Slot::new(slot), hash, block_id }
}

pub fn frozen(machine: &mut Consensus, block: Block) -> Vec<Effect> {
    let mut out = Vec::new();
    machine.handle(at(block.slot.get()), Input::Frozen(block), &mut out);
    out
}

pub fn saved(machine: &mut Consensus, id: u64) -> Vec<Effect> {
    let mut out = Vec::new();
    machine.handle(at(1), Input::Saved { id }, &mut out);
    out
}

#[test]
fn a_vote_leaves_only_when_its_tower_is_durable() {
    let mut machine = alone(ConsensusConfig::default());
    let out = frozen(&mut machine, block(1, 0, &[]));
    let [Effect::Reset { .. }, Effect::Save { id: 1, .. }] = out.as_slice() else { panic!("{out:?}") };
    let out = frozen(&mut machine, block(2, 1, &[]));
    assert_eq!(out, [Effect::Reset { slot: Slot::new(2) }], "one tower at a time");
    assert_eq!(saved(&mut machine, 7), []);
    let out = saved(&mut machine, 1);
    let [Effect::Vote { vote, .. }, Effect::Save { id: 2, .. }] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!((vote.slots.as_slice(), vote.root), ([(1, 1)].as_slice(), Some(0)));
    assert_eq!((vote.hash, vote.block_id, vote.switch), (hash_of(1), hash_of(1_001), false));
}

#[test]
fn a_vote_for_an_own_block_has_no_block_id() {
    let mut machine = alone(ConsensusConfig::default());
    frozen(&mut machine, Block { mine: true, ..block(1, 0, &[]) });
    let out = saved(&mut machine, 1);
    assert!(matches!(&out[0], Effect::Vote { vote, .. } if vote.block_id == Hash::default()));
}

#[test]
fn another_fork_is_refused_until_enough_stake_is_bound_to_it() {
    let mut machine = alone(ConsensusConfig::default());
    frozen(&mut machine, block(1, 0, &[]));
    saved(&mut machine, 1);
    frozen(&mut machine, block(2, 1, &[]));
    saved(&mut machine, 2);
    // 400 of 2,000 vote for 3, on 0: heavier, but 20 % are not enough to leave for.
    frozen(&mut machine, block(3, 0, &[]));
    let out = frozen(&mut machine, block(9, 3, &[&[], &[], &[(3, 2)]]));
    let why = Abstain::Switch { stake: 400, total: 2_000 };
    assert_eq!(out, [Effect::Abstained { slot: Slot::new(9), why }]);
    assert_eq!(machine.reset_block().0, Slot::new(2), "builds on its own fork meanwhile");
    // 1,000 of 2,000 are.
    let out = frozen(&mut machine, block(10, 9, &[&[], &[(3, 2), (9, 1)], &[(3, 2), (9, 1)]]));
    let [Effect::Reset { .. }, Effect::Save { id, .. }] = out.as_slice() else { panic!("{out:?}") };
    let out = saved(&mut machine, *id);
    assert!(matches!(&out[0], Effect::Vote { vote, .. } if vote.switch && vote.slots == [(10, 1)]));
}

#[test]
fn a_vote_is_sent_again_on_its_own_fork_while_a_heavier_one_may_not_be_voted_for() {
    let mut machine = alone(ConsensusConfig::default());
    frozen(&mut machine, block(1, 0, &[]));
    saved(&mut machine, 1);
    frozen(&mut machine, block(2, 1, &[]));
    saved(&mut machine, 2);
    frozen(&mut machine, block(3, 0, &[]));
    let out = frozen(&mut machine, block(9, 3, &[&[], &[], &[(3, 2)]]));
    assert!(matches!(out.as_slice(), [Effect::Abstained { slot, .. }] if slot.get() == 9), "bound to the lighter fork");
    let mut out = frozen(&mut machine, block(20, 2, &[]));
    for slot in 21..=36 {
        out.extend(frozen(&mut machine, block(slot, slot - 1, &[])));
    }
    let votes: Vec<_> = out.iter().filter(|effect| matches!(effect, Effect::Vote { .. })).collect();
    let [Effect::Vote { vote, blockhash_of, last_slot }] = votes.as_slice() else { panic!("{out:?}") };
    assert_eq!((blockhash_of.get(), last_slot.get()), (36, 2), "it can only land where it was cast, 16 blocks later");
    assert_eq!(vote.timestamp, Some(1_760_000_001), "a second later than the first, so that nobody takes it for known");
    // Seventeen more blocks at once: not before five seconds have gone by.
    let mut out = Vec::new();
    for slot in 37..=53 {
        machine.handle(at(36), Input::Frozen(block(slot, slot - 1, &[])), &mut out);
    }
    assert!(!out.iter().any(|effect| matches!(effect, Effect::Vote { .. })), "{out:?}");
    let due = machine.poll_timeout().expect("it is still missing");
    assert_eq!(due.since(at(36)), REFRESH);
    let mut out = Vec::new();
    machine.handle_timeout(due, &mut out);
    assert!(matches!(out.as_slice(), [Effect::Vote { blockhash_of, .. }] if blockhash_of.get() == 53), "{out:?}");
    // Landed: nothing to send any more.
    for slot in 54..90 {
        frozen(&mut machine, block(slot, slot - 1, &[&[(1, 2), (2, 1)]]));
    }
    assert_eq!((machine.metrics().refreshed, machine.poll_timeout()), (2, None));
}

#[test]
fn a_duplicate_is_not_voted_for_until_it_is_confirmed() {
    let mut machine = alone(ConsensusConfig::default());
    let mut out = Vec::new();
    machine.handle(at(1), Input::Duplicate(Slot::new(2)), &mut out);
    frozen(&mut machine, block(1, 0, &[]));
    saved(&mut machine, 1);
    assert_eq!(frozen(&mut machine, block(2, 1, &[])), []);
    for voter in [1, 2] {
        let input = seen(voter, 2);
        machine.handle(at(3), input, &mut out);
    }
    assert_eq!(out, [], "half the stake settles nothing");
    let input = seen(0, 2);
    machine.handle(at(3), input, &mut out);
    let [Effect::Confirmed { .. }, Effect::Reset { slot }, Effect::Save { .. }] = out.as_slice() else {
        panic!("{out:?}")
    };
    assert_eq!(*slot, Slot::new(2));
}

#[test]
fn the_clusters_version_of_a_dead_block_is_told_once() {
    let mut machine = alone(ConsensusConfig::default());
    frozen(&mut machine, block(1, 0, &[]));
    let mut out = Vec::new();
    machine.handle(at(2), Input::Dead(Slot::new(2)), &mut out);
    for voter in 0..3 {
        let input = seen(voter, 2);
        machine.handle(at(3), input, &mut out);
    }
    assert_eq!(out, [Effect::OtherVersion { slot: Slot::new(2), hash: hash_of(2) }]);
}

#[test]
fn a_block_without_its_parent_is_dropped() {
    let mut machine = alone(ConsensusConfig::default());
    assert_eq!(frozen(&mut machine, block(5, 4, &[])), []);
    let other_parent = Block { parent_hash: hash_of(77), ..block(1, 0, &[]) };
    assert_eq!(frozen(&mut machine, other_parent), []);
    assert_eq!(machine.metrics().dropped[DropReason::UnknownParent as usize], 2);
}

#[test]
fn a_full_tree_forgets_stale_leaves_and_then_refuses() {
    let config = ConsensusConfig { max_blocks: 64, ..ConsensusConfig::default() };
    let mut machine = alone(config);
    for slot in 1..=300 {
        frozen(&mut machine, block(slot, 0, &[]));
        assert!(machine.fork_choice().len() <= 64);
    }
    assert_eq!(machine.metrics().evicted, 300 - 63);
    let mut machine = alone(config);
    for slot in 1..=300 {
        frozen(&mut machine, block(slot, slot - 1, &[]));
    }
    assert_eq!(machine.fork_choice().len(), 64);
    let drops = machine.metrics().dropped;
    assert_eq!(drops[DropReason::TreeFull as usize], 1);
    assert_eq!(drops[DropReason::UnknownParent as usize], 300 - 64);
}

#[test]
fn marked_slots_and_votes_heard_are_bounded() {
    let mut machine = alone(ConsensusConfig::default());
    frozen(&mut machine, block(1, 0, &[]));
    let mut out = Vec::new();
    for slot in 10..20_000 {
        machine.handle(at(2), Input::Dead(Slot::new(slot)), &mut out);
        machine.handle(at(2), Input::Duplicate(Slot::new(slot)), &mut out);
        for voter in [0, 1, 2] {
            machine.handle(at(2), seen(voter, slot), &mut out);
        }
        let input = seen(7, slot);
        machine.handle(at(2), input, &mut out);
    }
    assert_eq!(machine.metrics().dropped[DropReason::Unstaked as usize], 19_990);
    assert!(machine.remembered() <= 4 * 1_024 + 3 * 64 + 3, "{}", machine.remembered());
}

#[test]
fn a_start_above_the_towers_root_keeps_what_may_be_on_another_fork() {
    let mut machine = alone(ConsensusConfig::default());
    for slot in 1..=9 {
        let seen: Vec<(u64, u32)> = (1..slot).map(|old| (old, 1)).collect();
        frozen(&mut machine, block(slot, slot - 1, &[&[], &seen, &seen]));
        saved(&mut machine, slot);
    }
    let file = sundog_tower::SavedTower::of(machine.tower());
    let stack = machine.tower().lockouts().to_parts();
    assert_eq!((stack[0], stack.len()), ((1, 8), 8), "the threshold holds at 8");
    let root = RootBlock { slot: Slot::new(12), hash: hash_of(12) };
    let mut machine = Consensus::new(ConsensusConfig::default(), Some(account(0)), root, Some(file), signer(0));
    assert_eq!(machine.tower().lockouts().root(), Some(Slot::new(12)));
    let out = frozen(&mut machine, block(200, 12, &[]));
    let why = Abstain::LockedOut { by: Slot::new(1), until: Slot::new(257) };
    assert_eq!(out[1], Effect::Abstained { slot: Slot::new(200), why });
    let out = frozen(&mut machine, block(258, 200, &[]));
    assert!(matches!(out[1], Effect::Save { .. }), "{out:?}");
    assert_eq!(machine.tower().lockouts().to_parts(), [(258, 1)]);
}

#[test]
fn what_binds_others_is_still_known_when_the_block_that_told_of_it_had_to_go() {
    let config = ConsensusConfig { max_blocks: 64, ..ConsensusConfig::default() };
    let mut machine = alone(config);
    let mut out = Vec::new();
    machine.handle(at(1), Input::Duplicate(Slot::new(2)), &mut out);
    frozen(&mut machine, block(5, 0, &[]));
    saved(&mut machine, 1);
    frozen(&mut machine, block(4, 0, &[]));
    frozen(&mut machine, block(6, 4, &[]));
    // Half of the stake is bound to 2 through 10, as only 7 tells; an unconfirmed duplicate, it is no place to go.
    frozen(&mut machine, block(2, 0, &[]));
    frozen(&mut machine, block(7, 2, &[&[], &[(2, 3)], &[(2, 3)]]));
    for slot in 20..78 {
        frozen(&mut machine, block(slot, if slot == 20 { 5 } else { slot - 1 }, &[]));
    }
    assert_eq!((machine.fork_choice().len(), machine.metrics().evicted), (64, 0));
    let out = frozen(&mut machine, block(90, 6, &[]));
    assert_eq!(machine.metrics().evicted, 1, "7 is the oldest tip that nothing needs");
    assert!(machine.fork_choice().get(&(Slot::new(7), hash_of(7))).is_none());
    assert_eq!(machine.decision().map(|decision| decision.switch), Some(Switch::Proven));
    assert!(out.iter().any(|effect| matches!(effect, Effect::Save { .. })), "it votes: {out:?}");
}

#[test]
fn a_vote_weighs_what_the_epoch_of_its_slot_says() {
    let mut machine = alone(ConsensusConfig::default());
    let (now, later) = (electorate(&[1_000, 600, 400]), electorate(&[1_000, 100, 900]));
    let mut out = Vec::new();
    for (first, stakes) in [(0, &now), (3, &later)] {
        machine.handle(at(1), Input::Epoch { first: Slot::new(first), stakes: stakes.clone() }, &mut out);
    }
    let weights = |machine: &Consensus| {
        [1, 2, 3].map(|slot| machine.fork_choice().get(&(Slot::new(slot), hash_of(slot))).map(|block| block.stake_at))
    };
    frozen(&mut machine, block(1, 0, &[]));
    frozen(&mut machine, block(2, 1, &[&[], &[(1, 1)], &[(1, 1)]]));
    assert_eq!(weights(&machine), [Some(1_000), Some(0), None]);
    let third = Block { epoch_stakes: later.clone(), ..block(3, 2, &[&[], &[(2, 1)], &[(1, 1)]]) };
    frozen(&mut machine, third);
    assert_eq!(weights(&machine), [Some(400), Some(600), Some(0)], "the new epoch's first block knows old votes");
    let fourth = Block { epoch_stakes: later, ..block(4, 3, &[&[], &[(3, 1)], &[(3, 1)]]) };
    frozen(&mut machine, fourth);
    assert_eq!(weights(&machine), [Some(0), Some(0), Some(1_000)]);
}

/// The slots that a machine says are rooted, and those that it says are final.
fn settled(out: &[Effect]) -> (Vec<u64>, Vec<u64>) {
    let roots =
        out.iter().filter_map(|effect| if let Effect::Root { slot } = effect { Some(slot.get()) } else { None });
    let finals =
        out.iter().filter_map(|effect| if let Effect::Finalized { slot } = effect { Some(slot.get()) } else { None });
    (roots.collect(), finals.collect())
}

#[test]
fn a_supermajority_root_that_the_own_root_has_passed_is_final() {
    let mut machine = alone(ConsensusConfig::default());
    // All vote alike, and the second's root lands late.
    let next = |machine: &mut Consensus, slot: u64, late_root: Option<u64>| {
        let tower = machine.tower().lockouts().to_parts();
        let mut block = block(slot, slot - 1, &[&tower, &tower, &tower]);
        block.votes[1].root = late_root;
        let mut out = frozen(machine, block);
        out.extend(saved(machine, slot));
        settled(&out)
    };
    let mut rooted = Vec::new();
    for slot in 1..=40 {
        let (roots, finals) = next(&mut machine, slot, None);
        rooted.extend(roots);
        assert_eq!(finals, Vec::<u64>::new(), "half of the stake has a root at slot {slot}");
    }
    assert_eq!((rooted.as_slice(), machine.root()), ((1..=9).collect::<Vec<_>>().as_slice(), Slot::new(9)));
    assert_eq!(next(&mut machine, 41, Some(5)), (vec![10], vec![5]), "80 % have rooted 5 or above it");
    assert_eq!(next(&mut machine, 42, Some(3)), (vec![11], vec![]), "what is final stays");
    assert_eq!(next(&mut machine, 43, Some(11)), (vec![12], vec![11]));
    assert_eq!(
        next(&mut machine, 44, Some(13)),
        (vec![13], vec![12]),
        "the own root is known once its tower is durable"
    );
}
