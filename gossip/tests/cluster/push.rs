//! Who is pushed to, and who asks whom to stop.

use super::{
    World, address,
    behaviour::{lowest, vote},
    identity,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use sundog_gossip::{
    CrdsData, CrdsValue, DropReason, Effect, Input, Metrics, check,
    push::active::ACTIVE_MAX,
    wire::{
        Protocol, Prune,
        kinds::LowestSlot,
        value::{Kind, Label},
    },
};
use sundog_types::{Machine as _, Now, Pubkey, sign::Sign as _};

const SOL: u64 = 1_000_000_000;

fn node(number: usize) -> Pubkey {
    identity(number).identity()
}

/// Stakes that fall with the number of the node, as on a real cluster; the last fifth has none.
fn stakes(nodes: usize) -> Arc<BTreeMap<Pubkey, u64>> {
    let stake = |number: usize| (node(number), 1_000_000 * SOL / (number as u64 + 1));
    Arc::new((0..nodes * 4 / 5).map(stake).collect())
}

fn staked_world(seed: u64, nodes: usize) -> World {
    let mut world = World::with_nodes(seed, nodes, 0);
    let stakes = stakes(nodes);
    for number in 0..nodes {
        world.tell(number, Input::Stakes(stakes.clone()));
    }
    assert!(world.run_until(Duration::from_secs(30), World::complete));
    world
}

fn total(world: &World, counter: impl Fn(&Metrics) -> u64) -> u64 {
    world.nodes.iter().map(|node| counter(node.gossip.metrics())).sum()
}

/// Every 400 ms each of them votes for the next slot; the last slot.
fn let_vote(world: &mut World, voters: &[usize], slots: std::ops::RangeInclusive<u64>) -> u64 {
    for slot in slots.clone() {
        for voter in voters {
            world.tell(*voter, vote(*voter, slot));
        }
        world.run(Duration::from_millis(400));
    }
    *slots.end()
}

#[test]
fn once_pruned_a_hundred_nodes_get_few_copies_of_a_vote_and_everybody_gets_it() {
    let (nodes, voters) = (100, [2, 23, 75]);
    let mut world = staked_world(1, nodes);
    let slot = let_vote(&mut world, &voters, 1..=75);
    let copies = |world: &World| total(world, |of| of.copies.first(Kind::Vote) + of.copies.more(Kind::Vote));
    let before = copies(&world);
    let slots = 50;
    let last = let_vote(&mut world, &voters, slot + 1..=slot + slots);
    let received = copies(&world) - before;
    let values = slots * voters.len() as u64 * (nodes as u64 - 1);
    assert!(received < 4 * values, "{received} copies of {values}");
    assert!(total(&world, |of| of.prunes_sent) > 1_000 && total(&world, |of| of.prunes_obeyed) > 1_000);
    world.run(Duration::from_secs(3));
    for (number, world_node) in world.nodes.iter().enumerate() {
        for voter in voters {
            let index = u16::try_from((last - 1) % 12).expect("twelve places");
            let label = Label { origin: node(voter), kind: Kind::Vote, index };
            let filed = world_node.gossip.table().get(&label).expect("votes");
            let CrdsData::Vote(_, vote) = filed.value.data() else { panic!("a vote") };
            assert_eq!(vote.slot(), Some(last), "node {number} knows the last vote of {voter}");
        }
    }
}

#[test]
fn no_more_than_twelve_peers_of_a_bucket_are_pushed_to_and_they_change() {
    let mut world = staked_world(2, 30);
    // Those who were merely met first have left by now.
    world.run(Duration::from_secs(31));
    let by_bucket = |world: &World| {
        let mut buckets = BTreeMap::<usize, Vec<Pubkey>>::new();
        for (bucket, peer) in world.nodes[3].gossip.pushes_to() {
            buckets.entry(bucket).or_default().push(peer);
        }
        buckets
    };
    let before = by_bucket(&world);
    assert_eq!(before.keys().copied().collect::<Vec<_>>(), (0..=18).collect::<Vec<_>>(), "250,000 SOL: bucket 18");
    assert!(before.values().all(|peers| peers.len() == ACTIVE_MAX && !peers.contains(&node(3))));
    world.run(Duration::from_millis(7_500));
    for (bucket, peers) in by_bucket(&world) {
        assert_eq!(peers[..ACTIVE_MAX - 1], before[&bucket][1..], "the oldest of bucket {bucket} left");
        assert!(!before[&bucket].contains(&peers[ACTIVE_MAX - 1]));
    }
    assert!(world.nodes[3].gossip.pushed_to().any(|(_, _, values)| values > 0));
}

fn prune(asker: usize, asked: usize, origins: &[usize], now: Now) -> Prune {
    let origins = origins.iter().map(|number| node(*number)).collect();
    Prune::sign(node(asked), origins, now.unix_ms, &identity(asker))
}

fn tell_prune(world: &mut World, asker: usize, prune: Prune) {
    let bytes = Protocol::PruneMessage(node(asker), prune).encode();
    let packet = check(&bytes).expect("well signed");
    world.tell(0, Input::Packet { from: address(asker), packet });
}

/// A cluster of three, and how many values node 0 pushes when it hears of something new that node 2 says.
fn pushes_of_news(world: &mut World, slot: u64) -> u64 {
    let before = world.nodes[0].gossip.metrics().pushed_out;
    world.cut = Some(1);
    world.tell(2, lowest(slot));
    world.run(Duration::from_millis(60));
    world.cut = None;
    world.nodes[0].gossip.metrics().pushed_out - before
}

#[test]
fn a_pruned_origin_is_not_pushed_to_who_pruned_it_until_the_peer_starts_anew() {
    let mut world = World::with_nodes(1, 3, 0);
    world.run(Duration::from_secs(6));
    assert_eq!(pushes_of_news(&mut world, 1), 1, "node 0 passes on to node 1 what node 2 says");
    let now = world.now;
    tell_prune(&mut world, 1, prune(1, 0, &[2], now));
    assert_eq!(world.nodes[0].gossip.metrics().prunes_obeyed, 1);
    assert_eq!(pushes_of_news(&mut world, 2), 0);
    world.run(Duration::from_secs(16));
    assert_eq!(pushes_of_news(&mut world, 3), 1, "nobody waits to be pushed to: old prunes are forgotten in turn");
}

#[test]
fn what_a_node_says_itself_and_unknown_origins_cannot_be_pruned() {
    let mut world = World::with_nodes(1, 3, 0);
    world.run(Duration::from_secs(6));
    let now = world.now;
    tell_prune(&mut world, 1, prune(1, 0, &[0, 77, 78], now));
    assert_eq!(world.nodes[0].gossip.metrics().prunes_obeyed, 0);
    tell_prune(&mut world, 9, prune(9, 0, &[2], now));
    assert_eq!(world.nodes[0].gossip.metrics().prunes_obeyed, 0, "nobody pushes to node 9");
}

#[test]
fn forged_late_and_misdirected_prunes_do_nothing() {
    let mut world = World::with_nodes(1, 3, 0);
    world.run(Duration::from_secs(6));
    let now = world.now;
    let mut forged = prune(1, 0, &[2], now);
    forged.pubkey = node(2);
    let bytes = Protocol::PruneMessage(node(2), forged).encode();
    assert_eq!(check(&bytes).err(), Some(DropReason::BadSignature));
    let bytes = Protocol::PruneMessage(node(2), prune(1, 0, &[2], now)).encode();
    assert!(check(&bytes).is_err(), "sender and signer differ");
    tell_prune(&mut world, 1, prune(1, 2, &[2], now));
    let late = prune(1, 0, &[2], now);
    world.run(Duration::from_millis(501));
    tell_prune(&mut world, 1, late);
    let metrics = world.nodes[0].gossip.metrics();
    assert_eq!((metrics.prunes_obeyed, metrics.dropped(DropReason::Unexpected)), (0, 2));
}

/// Pushes to node 0 each of sixty values of node 1 from each relayer, and from whose address, in the given order; whom
/// node 0 asks to stop once it knows how they are.
fn relay(world: &mut World, relayers: &[(usize, usize)]) -> Vec<(Pubkey, Vec<Pubkey>)> {
    let signer = identity(1);
    let mut prunes = Vec::new();
    for number in 0..60 {
        world.now = world.now.after(Duration::from_millis(200));
        let data = LowestSlot::new(node(1), number, world.now.unix_ms);
        let value = CrdsValue::sign(CrdsData::LowestSlot(0, data), &signer);
        for (relayer, from) in relayers {
            let bytes = Protocol::PushMessage(node(*relayer), vec![value.clone()]).encode();
            let packet = check(&bytes).expect("good");
            let (now, gossip) = (world.now, &mut world.nodes[0].gossip);
            let mut out = Vec::new();
            gossip.handle(now, Input::Packet { from: address(*from), packet }, &mut out);
            gossip.handle_timeout(now, &mut out);
            // The first judgement is also about how contact infos came before.
            prunes.extend(out.iter().filter_map(prune_of).filter(|_| number >= 25));
        }
    }
    prunes
}

fn prune_of(effect: &Effect) -> Option<(Pubkey, Vec<Pubkey>)> {
    let Effect::Send { to, bytes } = effect else { return None };
    let Protocol::PruneMessage(from, prune) = Protocol::decode(bytes).ok()? else { return None };
    assert!(check(bytes).is_ok() && from == node(0));
    assert_eq!(prune.destination, node(usize::from(to.port()) - 8_000), "where the destination listens");
    Some((prune.destination, prune.prunes))
}

#[test]
fn who_always_comes_late_is_asked_to_stop_and_the_two_best_and_the_origin_are_not() {
    let mut world = World::with_nodes(1, 6, 0);
    world.run(Duration::from_secs(6));
    let prunes = relay(&mut world, &[(2, 2), (3, 3), (4, 4), (1, 1)]);
    assert!(!prunes.is_empty());
    assert!(prunes.iter().all(|(to, origins)| *to == node(4) && *origins == [node(1)]), "{prunes:?}");
    let metrics = world.nodes[0].gossip.metrics();
    assert!(metrics.prunes_sent >= prunes.len() as u64);
    assert_eq!((metrics.copies.first(Kind::LowestSlot), metrics.copies.more(Kind::LowestSlot)), (60, 180));
}

#[test]
fn a_borrowed_name_makes_nobody_be_sent_away() {
    let mut world = World::with_nodes(1, 6, 0);
    world.run(Duration::from_secs(6));
    // Nodes 2 and 3 are always first; node 9, whom nobody knows, sends in the names of 4 and 5.
    let prunes = relay(&mut world, &[(2, 2), (3, 3), (4, 9), (5, 9)]);
    assert_eq!(prunes, []);
    // All names are borrowed: nobody is judged at all.
    let mut world = World::with_nodes(1, 6, 0);
    world.run(Duration::from_secs(6));
    assert_eq!(relay(&mut world, &[(2, 9), (3, 9), (4, 9), (5, 9)]), []);
}

#[test]
fn copies_from_strangers_come_first_in_vain() {
    let mut world = World::with_nodes(1, 6, 0);
    world.run(Duration::from_secs(6));
    // A stranger is first each time, twice; among those who count, 4 is still the late one.
    let prunes = relay(&mut world, &[(5, 9), (2, 9), (2, 2), (3, 3), (4, 4)]);
    assert!(!prunes.is_empty() && prunes.iter().all(|(to, _)| *to == node(4)), "{prunes:?}");
}

#[test]
fn saying_it_twice_does_not_make_the_second_best_late() {
    let mut world = World::with_nodes(1, 6, 0);
    world.run(Duration::from_secs(6));
    let prunes = relay(&mut world, &[(2, 2), (2, 2), (3, 3), (4, 4)]);
    assert!(!prunes.is_empty() && prunes.iter().all(|(to, _)| *to == node(4)), "{prunes:?}");
}

#[test]
fn those_who_get_the_same_values_get_the_same_datagram() {
    let mut world = World::with_nodes(1, 5, 0);
    world.run(Duration::from_secs(1));
    let mut out = Vec::new();
    let (now, gossip) = (world.now, &mut world.nodes[1].gossip);
    gossip.handle(now, lowest(9), &mut out);
    gossip.handle_timeout(now, &mut out);
    let pushes: Vec<_> = out
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { bytes, .. } if bytes[0] == 2 => Some(bytes),
            _ => None,
        })
        .collect();
    assert_eq!(pushes.len(), 4);
    assert!(pushes.iter().all(|bytes| bytes.as_ptr() == pushes[0].as_ptr()), "encoded once, shared by all");
}
