//! How machines find each other and spread what they say.

use super::{CHAIN, START, World, address, config, identity, machine};
use solana_keypair::Keypair;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use sundog_gossip::{
    CrdsData, CrdsValue, DropReason, Effect, GossipConfig, Input,
    bloom::Bloom,
    check,
    wire::{
        CrdsFilter, Pong, Protocol,
        contact::ContactInfo,
        kinds::LowestSlot,
        value::{Kind, Label},
    },
};
use sundog_types::{
    Hash, Machine as _, Now, Pubkey, Slot,
    peer::Addresses,
    sign::{Identity, Sign as _},
    vote::{VoteOnWire, tower_sync_transaction},
};

pub fn vote(number: usize, slot: u64) -> Input {
    let mut secret = [9; 32];
    secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let keypair = Keypair::new_from_array(secret);
    let vote_account = Pubkey::new_from_array([7; 32]);
    let vote = VoteOnWire {
        vote_account,
        slots: vec![(slot, 1)],
        root: None,
        hash: Hash::default(),
        block_id: Hash::default(),
        timestamp: None,
        switch: false,
    };
    let transaction = tower_sync_transaction(&vote, Hash::default(), &keypair, &keypair);
    Input::PublishVote { transaction, slot: Slot::new(slot) }
}

pub fn lowest(slot: u64) -> Input {
    let data = LowestSlot::new(Pubkey::default(), slot, 0);
    Input::Publish(Box::new(CrdsData::LowestSlot(0, data)))
}

fn label(number: usize, kind: Kind) -> Label {
    Label { origin: identity(number).identity(), kind, index: 0 }
}

#[test]
fn four_nodes_and_one_entrypoint_know_each_other_within_a_second() {
    for seed in 0..16 {
        let mut world = World::with_nodes(seed, 4, 0);
        let known = world.run_until(Duration::from_secs(1), World::complete);
        assert!(known, "seed {seed}");
    }
}

#[test]
fn a_node_that_joins_later_is_known_within_a_second() {
    let mut world = World::with_nodes(1, 4, 0);
    world.run(Duration::from_secs(20));
    world.start(config(4));
    assert!(world.run_until(Duration::from_secs(1), World::complete));
}

#[test]
fn they_find_each_other_on_a_network_that_loses_a_fifth() {
    for seed in 0..64 {
        let mut world = World::with_nodes(seed, 4, 20);
        let found = world.run_until(Duration::from_secs(12), World::complete);
        assert!(found, "seed {seed}");
    }
}

#[test]
fn thirty_nodes_find_each_other_and_none_is_forgotten() {
    let mut world = World::with_nodes(3, 30, 5);
    assert!(world.run_until(Duration::from_secs(15), World::complete));
    world.run(Duration::from_secs(20));
    assert!(world.complete());
}

#[test]
fn an_entrypoint_that_starts_late_is_found() {
    let mut world = World::with_nodes(1, 3, 0);
    world.nodes[0].alive = false;
    world.run(Duration::from_secs(40));
    assert!(world.nodes[1].peers.len() == 1, "node 1 knows only itself");
    world.nodes[0].alive = true;
    assert!(world.run_until(Duration::from_secs(9), World::complete));
}

#[test]
fn same_seed_same_history() {
    let run = |seed| {
        let mut world = World::with_nodes(seed, 6, 30);
        world.tell(0, lowest(1));
        world.run(Duration::from_secs(10));
        world.trace()
    };
    for seed in 0..8 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}

#[test]
fn a_vote_reaches_everybody_within_a_tenth_of_a_second() {
    let mut world = World::with_nodes(1, 4, 0);
    assert!(world.run_until(Duration::from_secs(1), World::complete));
    world.tell(2, vote(2, 100));
    world.run(Duration::from_millis(100));
    for number in [0, 1, 3] {
        assert_eq!(world.nodes[number].votes, [identity(2).identity()], "node {number}");
    }
    assert!(world.nodes[2].votes.is_empty(), "nobody hears its own vote");
}

#[test]
fn all_votes_arrive_in_spite_of_loss() {
    let mut world = World::with_nodes(5, 5, 20);
    assert!(world.run_until(Duration::from_secs(10), World::complete));
    for slot in 1..=10 {
        for number in 0..5 {
            world.tell(number, vote(number, slot));
        }
        world.run(Duration::from_millis(400));
    }
    world.run(Duration::from_secs(10));
    for (number, node) in world.nodes.iter().enumerate() {
        assert_eq!(node.votes.len(), 4 * 10, "node {number}");
    }
}

#[test]
fn votes_take_twelve_places_and_a_repeated_one_takes_its_own() {
    let mut world = World::with_nodes(1, 2, 0);
    world.run(Duration::from_secs(1));
    for slot in [1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 13] {
        world.tell(1, vote(1, slot));
        world.run(Duration::from_millis(50));
    }
    let table = world.nodes[0].gossip.table();
    let mut slots = BTreeMap::new();
    for (label, filed) in table.values_of(&identity(1).identity()) {
        if let CrdsData::Vote(_, vote) = filed.value.data() {
            slots.insert(label.index, vote.slot().expect("a slot"));
        }
    }
    let expected = [13, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    assert_eq!(slots.into_values().collect::<Vec<_>>(), expected);
}

#[test]
fn what_pushes_missed_is_pulled() {
    let mut world = World::with_nodes(1, 4, 0);
    world.run(Duration::from_secs(8));
    world.cut = Some(3);
    world.tell(1, lowest(77));
    world.run(Duration::from_secs(2));
    assert!(world.nodes[2].gossip.table().get(&label(1, Kind::LowestSlot)).is_some());
    assert!(world.nodes[3].gossip.table().get(&label(1, Kind::LowestSlot)).is_none());
    world.cut = None;
    let arrived = |world: &World| world.nodes[3].gossip.table().get(&label(1, Kind::LowestSlot)).is_some();
    assert!(world.run_until(Duration::from_secs(12), arrived));
    assert!(world.nodes[3].gossip.metrics().pulled_in > 0);
}

#[test]
fn a_silent_node_is_forgotten_unless_it_has_stake() {
    let mut world = World::with_nodes(1, 4, 0);
    let stakes = Arc::new(BTreeMap::from([(identity(3).identity(), 5_000_000_000)]));
    for number in 0..4 {
        world.tell(number, Input::Stakes(stakes.clone()));
    }
    world.run(Duration::from_secs(2));
    assert!(world.complete());
    world.nodes[2].alive = false;
    world.nodes[3].alive = false;
    world.run(Duration::from_secs(40));
    let known: Vec<Pubkey> = world.nodes[0].peers.iter().map(|peer| peer.identity).collect();
    assert!(!known.contains(&identity(2).identity()), "no stake, silent");
    assert!(known.contains(&identity(3).identity()), "staked, silent");
    assert!(world.nodes[0].gossip.metrics().expired > 0);
}

#[test]
fn another_chain_is_not_listed() {
    let mut world = World::with_nodes(1, 3, 0);
    let mut other = config(3);
    other.shred_version = CHAIN + 1;
    world.start(other);
    world.run(Duration::from_secs(3));
    assert_eq!(world.nodes[0].peers.len(), 3);
    assert!(world.nodes[0].gossip.metrics().dropped(DropReason::OtherChain) > 0);
}

#[test]
fn a_node_without_a_chain_adopts_that_of_its_entrypoint() {
    let mut world = World::with_nodes(1, 3, 0);
    let mut spy = config(3);
    spy.shred_version = 0;
    world.start(spy);
    world.run(Duration::from_secs(1));
    assert_eq!(world.nodes[3].gossip.shred_version(), CHAIN);
    world.run(Duration::from_secs(9));
    assert!(world.complete(), "its next contact info names the chain, and it is listed");
}

#[test]
fn a_second_instance_of_a_node_is_noticed_by_the_first() {
    let mut world = World::with_nodes(1, 2, 0);
    world.run(Duration::from_secs(1));
    let twin = identity(1);
    let ours = START.unix_ms * 1_000;
    // Of two that started in the same microsecond the lower address gives way.
    for (outset, at, noticed) in [(ours - 1, 9, 0), (ours, 0, 0), (ours, 9, 1), (ours + 1, 0, 2)] {
        let packet = check(&push(&[contact(&twin, at, START, outset)])).expect("good");
        world.tell(1, Input::Packet { from: address(0), packet });
        assert_eq!(world.nodes[1].other_instances, noticed, "started at {outset} us, listens at {at}");
    }
}

fn contact(signer: &Identity, at: usize, now: Now, outset: u64) -> CrdsValue {
    let sockets = Addresses { gossip: Some(address(at)), ..Addresses::default() };
    let mut info = ContactInfo::new(signer.identity(), outset, CHAIN, &sockets);
    info.wallclock = now.unix_ms;
    CrdsValue::sign(CrdsData::ContactInfo(Box::new(info)), signer)
}

fn push(values: &[CrdsValue]) -> Vec<u8> {
    Protocol::PushMessage(Pubkey::default(), values.to_vec()).encode()
}

fn pull(caller: CrdsValue) -> Vec<u8> {
    let filter = CrdsFilter { bloom: Bloom::new(512, vec![1, 2, 3]), mask: CrdsFilter::mask_of(0, 0), mask_bits: 0 };
    Protocol::PullRequest(filter, Box::new(caller)).encode()
}

#[test]
fn an_address_that_never_answers_a_ping_gets_no_more_than_it_sent() {
    let mut gossip = machine(0, config(0), START);
    let mut out = Vec::new();
    let victim = address(99);
    let (mut received, mut sent) = (0, 0);
    for round in 0..600u64 {
        let now = START.after(Duration::from_millis(50 * round));
        let liar = identity(1_000 + usize::try_from(round % 7).expect("small"));
        let value = contact(&liar, 99, now, round);
        let datagram = if round % 2 == 0 { pull(value) } else { push(&[value]) };
        let packet = check(&datagram).expect("good");
        out.clear();
        gossip.handle(now, Input::Packet { from: victim, packet }, &mut out);
        gossip.handle_timeout(now, &mut out);
        received += datagram.len();
        let mut reply = 0;
        for effect in &out {
            if let Effect::Send { to, bytes } = effect {
                assert_eq!(*to, victim);
                reply += bytes.len();
            }
        }
        assert!(reply <= datagram.len(), "{reply} bytes for {}", datagram.len());
        sent += reply;
    }
    assert!(sent < received / 4, "{sent} of {received}");
    assert_eq!(gossip.table().len(), 1, "only our own contact info");
    assert_eq!(gossip.peers().len(), 1);
}

#[test]
fn loopback_addresses_are_refused_where_only_public_ones_are_allowed() {
    let mut strict: GossipConfig = config(0);
    strict.allow_private = false;
    let mut gossip = machine(0, strict, START);
    let mut out = Vec::new();
    for datagram in [push(&[contact(&identity(1), 1, START, 1)]), pull(contact(&identity(1), 1, START, 1))] {
        let packet = check(&datagram).expect("good");
        gossip.handle(START, Input::Packet { from: address(1), packet }, &mut out);
    }
    assert!(out.is_empty());
    assert_eq!(gossip.metrics().dropped(DropReason::Address), 2);
}

#[test]
fn a_pong_to_no_ping_proves_nothing() {
    let mut gossip = machine(0, config(0), START);
    let pong = Pong::answer(&[1; 32], &identity(1));
    let packet = check(&Protocol::PongMessage(pong).encode()).expect("good");
    gossip.handle(START, Input::Packet { from: address(1), packet }, &mut Vec::new());
    assert_eq!(gossip.metrics().dropped(DropReason::Unexpected), 1);
    assert_eq!(gossip.metrics().proven, 0);
}

#[test]
fn a_node_that_moves_is_listed_at_its_new_address() {
    let mut world = World::with_nodes(1, 3, 0);
    world.run(Duration::from_secs(1));
    let moved = Addresses { gossip: Some(address(2)), tvu: Some(address(44)), ..Addresses::default() };
    world.tell(2, Input::Addresses(Box::new(moved)));
    world.run(Duration::from_millis(300));
    let node = identity(2).identity();
    let seen = world.nodes[0].peers.iter().find(|peer| peer.identity == node).expect("listed");
    assert_eq!(seen.addresses, moved);
}
