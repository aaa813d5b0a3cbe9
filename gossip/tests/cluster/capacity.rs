//! What happens when something is full.

use super::{CHAIN, START, config, identity, machine};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use sundog_gossip::{
    CrdsData, CrdsValue, Input,
    bloom::Bloom,
    check,
    filters::{self, FilterSize},
    limits::{Host, Rate},
    machine::WAITING_MAX,
    pull::{Caller, Pull, Request},
    push::StakeGate,
    table::{Limits, Offered, Stakes, Table},
    wire::{CrdsFilter, Protocol, contact::ContactInfo, kinds::LowestSlot},
};
use sundog_types::{Machine as _, Pubkey, peer::Addresses, sign::Sign as _};

const SIZE: FilterSize = FilterSize { items_min: 512, caller_bytes: 200 };

fn contact(number: usize) -> CrdsValue {
    let signer = identity(number);
    let ip = u32::try_from(number).expect("small") + 0x0a00_0001;
    let sockets = Addresses { gossip: Some(SocketAddr::new(ip.to_be_bytes().into(), 8_000)), ..Addresses::default() };
    let mut info = ContactInfo::new(signer.identity(), 1, CHAIN, &sockets);
    info.wallclock = START.unix_ms;
    CrdsValue::sign(CrdsData::ContactInfo(Box::new(info)), &signer)
}

fn lowest(number: usize) -> CrdsValue {
    let signer = identity(number);
    let data = LowestSlot::new(signer.identity(), 1, START.unix_ms);
    CrdsValue::sign(CrdsData::LowestSlot(0, data), &signer)
}

fn staked(numbers: &[(usize, u64)]) -> Stakes {
    let stake = |&(number, stake): &(usize, u64)| (identity(number).identity(), stake);
    Arc::new(numbers.iter().map(stake).collect::<BTreeMap<_, _>>())
}

fn limits(origins: usize, values: usize) -> Limits {
    Limits { origins, values, ..Limits::default() }
}

#[test]
fn a_full_table_evicts_the_node_with_least_stake_for_one_with_more() {
    let mut table = Table::new(identity(0).identity(), limits(4, 100));
    table.set_stakes(staked(&[(1, 10), (2, 30), (3, 20), (5, 15), (6, 10)]));
    for number in 0..4 {
        assert_eq!(table.offer(START, contact(number)), Offered::New);
    }
    assert_eq!(table.offer(START, lowest(1)), Offered::New);
    assert_eq!(table.offer(START, contact(4)), Offered::Full, "no stake");
    assert_eq!(table.offer(START, contact(6)), Offered::Full, "no more stake than the least");
    assert_eq!(table.offer(START, contact(5)), Offered::New);
    let mut left: Vec<Pubkey> = [0, 2, 3, 5].map(|n| identity(n).identity()).to_vec();
    left.sort();
    assert_eq!(table.origins().copied().collect::<Vec<_>>(), left);
    assert_eq!((table.len(), table.evicted()), (4, 1));
}

#[test]
fn a_table_full_of_values_makes_room_by_the_same_rule() {
    let mut table = Table::new(identity(0).identity(), limits(100, 3));
    table.set_stakes(staked(&[(1, 10), (2, 20)]));
    for value in [contact(1), lowest(1), contact(2)] {
        assert_eq!(table.offer(START, value), Offered::New);
    }
    assert_eq!(table.offer(START, contact(3)), Offered::Full);
    assert_eq!(table.offer(START, lowest(2)), Offered::New, "evicts node 1 with both its values");
    assert_eq!(table.len(), 2);
    assert_eq!(table.offer(START, contact(0)), Offered::New);
    assert_eq!(table.offer(START, lowest(0)), Offered::New, "our own values always fit");
}

#[test]
fn what_left_the_table_stays_in_the_filters_for_a_while() {
    let mut table = Table::new(identity(0).identity(), limits(1, 10));
    table.set_stakes(staked(&[(2, 20)]));
    table.offer(START, contact(1));
    table.offer(START, contact(2));
    assert_eq!((table.len(), table.hashes_len()), (1, 2));
    table.expire(START.after(Duration::from_secs(80)));
    assert_eq!(table.hashes_len(), 1);
}

#[test]
fn the_waiting_room_forgets_the_oldest() {
    let mut generous = config(0);
    generous.packet_limits.introductions_of_strangers = Rate::new(10_000, 10_000);
    let mut gossip = machine(0, generous, START);
    let mut out = Vec::new();
    for number in 1..=WAITING_MAX + 50 {
        let message = Protocol::PushMessage(Pubkey::default(), vec![contact(number)]);
        let packet = check(&message.encode()).expect("good");
        let from = "10.0.0.1:8000".parse().expect("an address");
        gossip.handle(START, Input::Packet { from, packet }, &mut out);
    }
    assert_eq!(gossip.waiting_len(), WAITING_MAX);
    assert_eq!(gossip.metrics().pings_out as usize, WAITING_MAX + 50);
    assert!(gossip.table().is_empty());
}

#[test]
fn answers_to_pulls_keep_within_the_budget() {
    let mut table = Table::new(identity(0).identity(), Limits::default());
    for number in 1..200 {
        table.offer(START, contact(number));
    }
    let mut rng = rand_chacha::rand_core::SeedableRng::from_seed([1; 32]);
    let empty = Table::new(Pubkey::default(), Limits::default());
    let mut pull = Pull::new();
    let filters = filters::build(&empty, SIZE, &mut rng);
    let filter: &CrdsFilter = &filters[0];
    let gate = StakeGate::new(Stakes::default());
    let mut spent = |after_ms, host: u8, staked| {
        let now = START.after(Duration::from_millis(after_ms));
        let host = Host::of(&SocketAddr::from(([10, 0, 0, host], 8_001)));
        let caller = Caller { host, staked, wallclock: START.unix_ms + 1 };
        let request = Request { filter, caller, shred_version: CHAIN, gate: &gate };
        let answer = pull.answer(now, &request, &table, &mut rng);
        assert!(answer.over_budget > 0);
        answer.values.iter().map(bytes::Bytes::len).sum::<usize>()
    };
    let first = spent(0, 1, false);
    assert!(first <= 5 * 1_024 && first > 3 * 1_024, "half the burst for one caller without stake: {first}");
    assert!(spent(0, 2, false) <= 1_232, "nothing is left for others without stake");
    let staked = spent(0, 3, true);
    assert!(staked > 3 * 1_024, "the other half is for those with stake: {staked}");
    assert!(spent(50, 4, true) <= 2 * 1_024, "nothing is left");
    let (one, two) = (spent(10_000, 1, true), spent(10_000, 2, true));
    assert!(one <= 5 * 1_024 && one + two > 8 * 1_024 && one + two <= 10 * 1_024, "{one} and {two}");
    let later: usize = (1..=100).map(|tenth| spent(10_000 + 100 * tenth, 1, true)).sum();
    assert!(later <= 101 * 512, "one caller gets a quarter in the long run: {later}");
}

/// A table of 3,000 values, looked through for callers.
struct Looks {
    table: Table,
    pull: Pull,
    rng: rand_chacha::ChaCha8Rng,
}

impl Looks {
    fn new() -> Self {
        let mut table = Table::new(identity(0).identity(), Limits::default());
        for number in 1..=3_000 {
            table.offer(START, contact(number));
        }
        Self { table, pull: Pull::new(), rng: rand_chacha::rand_core::SeedableRng::from_seed([1; 32]) }
    }

    /// How many values are found for a caller whose filter of so many keys holds nothing, or claims to hold all; and
    /// whether less was looked through than one request may have looked through.
    fn ask(&mut self, after_ms: u64, (host, staked): (u8, bool), (keys, full): (u64, bool)) -> (usize, bool) {
        let mut bloom = Bloom::new(64, (0..keys).collect());
        for number in 0..if full { 1_000 } else { 0 } {
            bloom.add(&sundog_types::Hash::new_from_array([u8::try_from(number % 256).expect("small"); 32]));
        }
        let filter = CrdsFilter { bloom, mask: CrdsFilter::mask_of(0, 0), mask_bits: 0 };
        let host = Host::of(&SocketAddr::from(([10, 0, 0, host], 8_001)));
        let caller = Caller { host, staked, wallclock: START.unix_ms + 1 };
        let gate = StakeGate::new(Stakes::default());
        let request = Request { filter: &filter, caller, shred_version: CHAIN, gate: &gate };
        let now = START.after(Duration::from_millis(after_ms));
        let answer = self.pull.answer(now, &request, &self.table, &mut self.rng);
        (answer.values.len() + answer.over_budget, answer.over_scan)
    }
}

#[test]
fn no_caller_alone_uses_up_what_may_be_looked_through_for_all() {
    let mut looks = Looks::new();
    let mut greedy = 0;
    for ms in 0..10_000 {
        // As often as one node is answered.
        if ms % 16 == 0 {
            greedy += u32::from(looks.ask(ms, (1, false), (3, false)).1);
        }
        if ms % 500 == 499 {
            assert_eq!(looks.ask(ms, (2, true), (3, false)), (3_000, false), "who has stake");
        }
        if ms % 500 == 499 && ms > 1_000 {
            assert_eq!(looks.ask(ms, (3, false), (3, false)), (3_000, false), "who has none");
        }
    }
    assert!(greedy > 200, "most of what it asks for is not looked through: {greedy} of 625");
}

#[test]
fn a_filter_of_many_keys_is_tried_against_fewer_values() {
    let mut looks = Looks::new();
    assert_eq!(looks.ask(0, (1, true), (4, false)), (3_000, false));
    assert_eq!(looks.ask(1_000, (1, true), (130, false)).0, 8_192 / 33);
    assert_eq!(looks.ask(2_000, (1, true), (130, true)).0, 0, "a filter that claims to hold everything");
    assert_eq!(looks.ask(3_000, (1, true), (0, false)).0, 0, "and one without keys");
}

#[test]
fn filters_cover_every_hash_of_a_large_table_in_their_partitions() {
    let mut table = Table::new(identity(0).identity(), Limits::default());
    for number in 1..3_000 {
        table.offer(START, contact(number));
    }
    let mut rng = rand_chacha::rand_core::SeedableRng::from_seed([1; 32]);
    let filters = filters::build(&table, SIZE, &mut rng);
    assert!(filters.iter().all(|filter| filter.mask_bits > 0));
    let mut covered = 0;
    for filter in &filters {
        let caller = Box::new(contact(1));
        let request = Protocol::PullRequest(filter.clone(), caller).encode();
        assert!(request.len() <= 1_232 && check(&request).is_ok(), "{}", request.len());
        for hash in table.hashes().filter(|hash| filter.covers(hash)) {
            assert!(filter.bloom.contains(hash));
            covered += 1;
        }
    }
    assert!(covered > 0);
}

#[test]
fn a_later_start_beats_a_later_wallclock_and_ties_go_to_the_larger_hash() {
    let signer = identity(1);
    let at = |outset, wallclock, tpu| {
        let sockets = Addresses { tpu, ..Addresses::default() };
        let mut info = ContactInfo::new(signer.identity(), outset, CHAIN, &sockets);
        info.wallclock = wallclock;
        CrdsValue::sign(CrdsData::ContactInfo(Box::new(info)), &signer)
    };
    let mut table = Table::new(identity(0).identity(), Limits::default());
    assert_eq!(table.offer(START, at(5, 5, None)), Offered::New);
    assert_eq!(table.offer(START, at(5, 5, None)), Offered::Duplicate);
    assert_eq!(table.offer(START, at(5, 4, None)), Offered::Stale);
    assert_eq!(table.offer(START, at(4, 9, None)), Offered::Stale);
    assert_eq!(table.offer(START, at(6, 1, None)), Offered::Newer);
    let tie = at(6, 1, Some("10.0.0.1:9".parse().expect("an address")));
    let larger = tie.hash() > at(6, 1, None).hash();
    let expected = if larger { Offered::Newer } else { Offered::Stale };
    assert_eq!(table.offer(START, tie), expected);
}
