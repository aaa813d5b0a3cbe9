//! Peers that mean harm: honest values stay, honest peers are served, memory stays bounded.
//!
//! One node meets four honest peers, two of them with stake, and then somebody floods it. Every datagram goes the way of
//! a real node: [`Gossip::accept`], [`check`], [`Gossip::handle`].

use super::{CHAIN, START, config, identity, machine};
use bytes::Bytes;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use sundog_gossip::{
    CrdsData, CrdsValue, DropReason, Effect, Gossip, GossipConfig, Input,
    bloom::Bloom,
    check,
    held::held_bytes_max,
    ping::HOST_PROVEN_MAX,
    table::{Limits, UNSTAKED_VALUES_MAX, VALUES_PER_ORIGIN},
    wire::{
        CrdsFilter, Ping, Pong, Protocol, Prune,
        contact::ContactInfo,
        kinds::LowestSlot,
        slots::EpochSlots,
        value::{Kind, Label},
    },
};
use sundog_types::{
    Machine as _, Now, Pubkey, Signature,
    peer::Addresses,
    sign::{Sign as _, SignRole},
};

const SOL: u64 = 1_000_000_000;

/// The honest peers: 1 and 2 have stake.
const HONEST: [usize; 4] = [1, 2, 3, 4];

/// Where node `number` listens: each on a host of its own.
fn home(number: usize) -> SocketAddr {
    at(0x0b00_0000 + u32::try_from(number).expect("small"), 8_001)
}

fn at(ip: u32, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(ip), port))
}

fn contact(number: usize, listens: SocketAddr, now: Now) -> CrdsValue {
    let signer = identity(number);
    let sockets = Addresses { gossip: Some(listens), ..Addresses::default() };
    let mut info = ContactInfo::new(signer.identity(), 1, CHAIN, &sockets);
    info.wallclock = now.unix_ms;
    CrdsValue::sign(CrdsData::ContactInfo(Box::new(info)), &signer)
}

fn lowest(number: usize, slot: u64, wallclock: u64) -> CrdsValue {
    let signer = identity(number);
    CrdsValue::sign(CrdsData::LowestSlot(0, LowestSlot::new(signer.identity(), slot, wallclock)), &signer)
}

fn label(number: usize, kind: Kind) -> Label {
    Label { origin: identity(number).identity(), kind, index: 0 }
}

fn push(values: &[CrdsValue]) -> Vec<u8> {
    Protocol::PushMessage(Pubkey::default(), values.to_vec()).encode()
}

/// A request for everything.
fn pull(caller: CrdsValue) -> Vec<u8> {
    let filter = CrdsFilter { bloom: Bloom::new(512, vec![1, 2, 3]), mask: CrdsFilter::mask_of(0, 0), mask_bits: 0 };
    Protocol::PullRequest(filter, Box::new(caller)).encode()
}

fn ping(number: usize, token: u64) -> Vec<u8> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&token.to_le_bytes());
    Protocol::PingMessage(Ping::new(bytes, &identity(number))).encode()
}

/// The node under attack.
struct Target {
    gossip: Gossip,
    now: Now,
    /// What was sent since it was last looked at.
    sent: Vec<(SocketAddr, Bytes)>,
    /// Datagrams that got as far as the signature check.
    checked: usize,
    /// When honest peers last said where they listen.
    renewed: Now,
}

impl Target {
    /// A node that knows its honest peers.
    fn new(limits: Limits) -> Self {
        let mut settings: GossipConfig = config(0);
        settings.entrypoints.clear();
        settings.limits = limits;
        let gossip = machine(0, settings, START);
        let mut target = Self { gossip, now: START, sent: Vec::new(), checked: 0, renewed: START };
        let stakes = [(0, 50), (1, 20), (2, 10), (90, 5)];
        let stakes = stakes.map(|(number, sol)| (identity(number).identity(), sol * SOL));
        target.tell(Input::Stakes(Arc::new(BTreeMap::from(stakes))));
        target.pass(Duration::ZERO);
        for number in HONEST {
            assert!(target.meets(number), "peer {number} is met at once");
            target.receive(home(number), &push(&[lowest(number, 1, START.unix_ms)]));
        }
        target.checked = 0;
        target
    }

    fn tell(&mut self, input: Input) {
        let mut out = Vec::new();
        self.gossip.handle(self.now, input, &mut out);
        self.take(out);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Send { to, bytes } = effect {
                self.sent.push((to, bytes));
            }
        }
    }

    fn receive(&mut self, from: SocketAddr, bytes: &[u8]) {
        if self.gossip.accept(self.now, from, bytes.len()).is_ok() {
            self.checked += 1;
            match check(bytes) {
                Ok(packet) => self.tell(Input::Packet { from, packet }),
                Err(why) => self.gossip.metrics_mut().drop_one(why),
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(due) = self.gossip.poll_timeout().filter(|due| end.reached(*due)) {
            self.now = self.now.after(due.since(self.now));
            let mut out = Vec::new();
            self.gossip.handle_timeout(self.now, &mut out);
            self.take(out);
        }
        self.now = self.now.after(end.since(self.now));
        if self.now.since(self.renewed) >= Duration::from_secs(5) {
            self.renewed = self.now;
            for number in HONEST {
                self.receive(home(number), &push(&[contact(number, home(number), self.now)]));
            }
        }
    }

    /// Peer `number` calls; whether it is answered, its pongs included.
    fn meets(&mut self, number: usize) -> bool {
        let mut answered = false;
        for _ in 0..2 {
            self.sent.clear();
            self.receive(home(number), &pull(contact(number, home(number), self.now)));
            answered |= self.sent.iter().any(|(to, bytes)| *to == home(number) && bytes[0] == 1);
            self.pongs(&BTreeMap::from([(home(number), number)]));
        }
        answered && self.gossip.table().contact(&identity(number).identity()).is_some()
    }

    /// Those who listen somewhere answer the pings that were sent there.
    fn pongs(&mut self, listeners: &BTreeMap<SocketAddr, usize>) {
        for (to, bytes) in std::mem::take(&mut self.sent) {
            if let (Some(number), Ok(Protocol::PingMessage(ping))) = (listeners.get(&to), Protocol::decode(&bytes)) {
                let pong = Protocol::PongMessage(Pong::answer(&ping.token, &identity(*number))).encode();
                self.receive(to, &pong);
            }
        }
    }

    /// Honest peers still have their places, their news is taken and passed on at once, and memory is within its bound.
    fn is_well(&mut self) {
        let slot = self.now.unix_ms;
        for number in HONEST {
            let table = self.gossip.table();
            assert!(table.get(&label(number, Kind::ContactInfo)).is_some(), "contact info of {number}");
            assert!(table.get(&label(number, Kind::LowestSlot)).is_some(), "value of {number}");
            self.receive(home(number), &push(&[lowest(number, slot, self.now.unix_ms)]));
            assert_eq!(self.gossip.table().lowest_slot(&identity(number).identity()).get(), slot, "news of {number}");
            // A fifth of a second brings enough of the output budget back, whoever used it up.
            self.pass(Duration::from_millis(200));
            assert!(self.meets(number), "peer {number} is answered at once");
        }
        let (held, bound) = (self.gossip.held_bytes(), held_bytes_max(&Limits::default()));
        assert!(held <= bound, "{held} of {bound} bytes");
    }

    /// How long it takes an honest node nobody knows to be answered while the flood goes on, asking as often as the
    /// reference does.
    fn joins(&mut self, number: usize, mut flood: impl FnMut(&mut Self)) -> Duration {
        let began = self.now;
        while !self.meets(number) {
            for _ in 0..5 {
                flood(self);
                self.pass(Duration::from_millis(100));
            }
            assert!(self.now.since(began) < Duration::from_secs(30), "node {number} is never answered");
        }
        self.now.since(began)
    }

    /// Known nodes that are neither we nor honest.
    fn strangers(&self) -> usize {
        self.gossip.table().origins().count() - HONEST.len() - 1
    }

    fn dropped(&self, why: DropReason) -> u64 {
        self.gossip.metrics().dropped(why)
    }
}

fn target() -> Target {
    Target::new(Limits::default())
}

/// Ten thousand contact infos of fresh keys, a thousand a second, each with an address of its own that never answers.
fn forge(target: &mut Target, sender: impl Fn(usize) -> SocketAddr) {
    for number in 0..10_000 {
        let claimed = at(0x1000_0000 + u32::try_from(number).expect("small"), 9_000);
        let value = contact(10_000 + number, claimed, target.now);
        target.receive(sender(number), &push(&[value]));
        if number % 100 == 99 {
            target.pass(Duration::from_millis(100));
        }
    }
}

#[test]
fn ten_thousand_forged_contact_infos_from_one_address_change_nothing() {
    for (sender, pings_max) in [(home(1), 256 + 10 * 128 + 128), (at(0x2000_0000, 1), 256 + 10 * 128 + 128)] {
        let mut target = target();
        let before = target.gossip.metrics().pings_out;
        forge(&mut target, |_| sender);
        let pings = target.gossip.metrics().pings_out - before;
        assert!(pings <= pings_max, "{pings} pings for 10,000 contact infos from {sender}");
        assert_eq!(target.strangers(), 0);
        target.is_well();
        assert!(target.joins(20, |_| {}) <= Duration::from_millis(500));
    }
}

#[test]
fn ten_thousand_forged_contact_infos_from_as_many_addresses_change_nothing() {
    let mut target = target();
    forge(&mut target, |number| at(0x2000_0000 + u32::try_from(number).expect("small"), 7));
    let pings = target.gossip.metrics().pings_out;
    assert!(pings < 2_000, "{pings} pings");
    assert_eq!(target.strangers(), 0);
    target.is_well();
}

#[test]
fn contact_infos_that_all_claim_one_address_cost_it_a_few_pings() {
    let mut target = target();
    let victim = home(20);
    let mut pings = 0;
    for number in 0..10_000 {
        let value = contact(10_000 + number, victim, target.now);
        target.sent.clear();
        target.receive(home(1 + number % 4), &push(&[value]));
        pings += target.sent.iter().filter(|(to, _)| *to == victim).count();
        if number % 100 == 99 {
            target.pass(Duration::from_millis(100));
        }
    }
    assert!(pings <= 8 + 11, "{pings} pings in 10 s");
    assert!(target.joins(20, |_| {}) <= Duration::from_millis(500), "and the victim is not kept out");
}

#[test]
fn one_host_with_ten_thousand_answering_nodes_gets_a_few_places() {
    let mut target = target();
    let mut listeners = BTreeMap::new();
    let mut strangers = 0;
    for number in 0..10_000 {
        let port = 1_000 + u16::try_from(number).expect("small");
        let address = at(0x2000_0000, port);
        listeners.insert(address, 10_000 + number);
        // It calls by itself, which costs it a ping's worth of bytes each time.
        target.receive(address, &pull(contact(10_000 + number, address, target.now)));
        target.pongs(&listeners);
        strangers = strangers.max(target.strangers());
        if number % 10 == 9 {
            target.pass(Duration::from_millis(100));
        }
    }
    assert!(strangers > 100 && strangers <= HOST_PROVEN_MAX as usize, "{strangers} nodes of one host");
    assert!(target.dropped(DropReason::HostFull) > 0);
    target.is_well();
    assert!(target.joins(20, |_| {}) <= Duration::from_millis(500));
}

#[test]
fn ten_thousand_answering_hosts_fill_the_table_and_displace_nobody() {
    let mut target = target();
    let mut listeners = BTreeMap::new();
    for number in 0..10_000 {
        let address = at(0x2000_0000 + u32::try_from(number).expect("small"), 9_000);
        listeners.insert(address, 10_000 + number);
        target.receive(address, &pull(contact(10_000 + number, address, target.now)));
        target.pongs(&listeners);
        if number % 100 == 99 {
            target.pass(Duration::from_millis(100));
        }
    }
    let origins = target.gossip.table().origins().count();
    assert!(origins > 8_000 && origins <= 8_192, "{origins}");
    target.is_well();
    assert!(target.joins(90, |_| {}) <= Duration::from_millis(500), "a node with stake still finds a place");
    target.pass(Duration::from_secs(16));
    assert!(target.joins(20, |_| {}) <= Duration::from_secs(1), "one without, as soon as the flood ends");
}

#[test]
fn a_flood_of_pings_is_answered_in_part_and_honest_ones_are_answered() {
    let mut target = target();
    let forged = |number: u32| at(0x3000_0000 + number, 5);
    for (name, address) in [("one", None), ("many", Some(forged as fn(u32) -> SocketAddr))] {
        let answered = target.gossip.metrics().pings_answered;
        let checked = target.checked;
        // Signed once: the token does not matter to who floods.
        let bytes = ping(5_000, 1);
        for number in 0..10_000_u32 {
            let from = address.map_or(at(0x2100_0000, 5), |address| address(number));
            target.receive(from, &bytes);
            if number % 100 == 99 {
                target.pass(Duration::from_millis(10));
            }
        }
        let answered = target.gossip.metrics().pings_answered - answered;
        let checked = target.checked - checked;
        let (most, checks) = if name == "one" { (64 + 20, 128 + 130) } else { (4_096 + 1_100, 2_048 + 4_200) };
        assert!(answered <= most && checked <= checks, "{name}: {answered} answered, {checked} checked");
        target.sent.clear();
        target.receive(home(3), &ping(3, 7));
        assert!(target.sent.iter().any(|(to, _)| *to == home(3)), "{name}: an honest ping is answered");
        target.is_well();
    }
}

#[test]
fn a_flood_of_pull_requests_leaves_enough_for_honest_peers() {
    let mut target = target();
    assert!(target.meets(50), "the one who means harm is proven, like anybody");
    let from = home(50);
    let (mut bytes, mut sent) = (0, BTreeMap::<SocketAddr, usize>::new());
    let request = pull(contact(50, from, target.now));
    for round in 0..100 {
        for _ in 0..100 {
            target.sent.clear();
            target.receive(from, &request);
            for (to, datagram) in &target.sent {
                *sent.entry(*to).or_default() += datagram.len();
            }
            bytes += request.len();
        }
        target.pass(Duration::from_millis(100));
        if round % 10 == 9 {
            target.sent.clear();
            target.receive(home(3), &pull(contact(3, home(3), target.now)));
            let served = target.sent.iter().any(|(to, bytes)| *to == home(3) && bytes[0] == 1);
            assert!(served, "an honest peer without stake is answered at once in round {round}");
        }
    }
    let to_flooder = sent[&from];
    // Four nodes have stake: 40 KiB a second, of which one caller may have a quarter, and half a burst at first.
    assert!(to_flooder < 10 * 10 * 1_024 + 10 * 1_024, "{to_flooder} bytes for {bytes}");
    assert!(target.dropped(DropReason::IdentityRate) > 0 && target.dropped(DropReason::OverBudget) > 0);
    target.is_well();
}

#[test]
fn pull_requests_from_forged_addresses_get_pings_at_most() {
    let mut target = target();
    let before = target.gossip.metrics().pull_requests_answered;
    let flood = |target: &mut Target| {
        for number in 0..2_000_u32 {
            let from = at(0x2000_0000 + target.now.unix_ms as u32 % 100_000 * 16 + number, 5);
            let bytes = pull(contact(5_000, from, target.now));
            target.receive(from, &bytes);
        }
    };
    for _ in 0..10 {
        flood(&mut target);
        target.pass(Duration::from_millis(100));
    }
    assert_eq!(target.gossip.metrics().pull_requests_answered, before);
    assert!(target.dropped(DropReason::StrangerRate) > 10_000);
    target.is_well();
    let took = target.joins(20, flood);
    assert!(took <= Duration::from_secs(10), "a newcomer amid 20,000 forged datagrams a second took {took:?}");
}

#[test]
fn ten_thousand_values_of_one_origin_take_its_own_places_only() {
    let mut target = target();
    assert!(target.meets(50));
    let from = home(50);
    let before = target.gossip.metrics().pushed_in;
    for number in 0..10_000_u64 {
        let wallclock = target.now.unix_ms - 9_000 + number;
        target.receive(from, &push(&[lowest(50, number, wallclock)]));
        if number % 1_000 == 999 {
            target.pass(Duration::from_millis(100));
        }
    }
    let taken = target.gossip.metrics().pushed_in - before;
    assert!(taken <= 32 + 16 + 2, "{taken} values in a second");
    assert!(target.dropped(DropReason::OriginRate) > 0 && target.dropped(DropReason::AddressRate) > 0);
    assert!(target.gossip.table().values_of(&identity(50).identity()).count() <= VALUES_PER_ORIGIN);
    target.is_well();
}

#[test]
fn a_node_without_stake_gets_so_many_places_and_one_with_stake_all_it_can_use() {
    let mut target = target();
    for (number, places) in [(50, UNSTAKED_VALUES_MAX), (90, 1 + 200)] {
        assert!(target.meets(number));
        let signer = identity(number);
        for index in 0..200 {
            let slots = EpochSlots { from: signer.identity(), parts: Vec::new(), wallclock: target.now.unix_ms };
            target.receive(home(number), &push(&[CrdsValue::sign(CrdsData::EpochSlots(index, slots), &signer)]));
        }
        assert_eq!(target.gossip.table().values_of(&signer.identity()).count(), places, "node {number}");
    }
    assert_eq!(target.dropped(DropReason::TableFull) as usize, 200 - (UNSTAKED_VALUES_MAX - 1));
    target.is_well();
}

#[test]
fn contact_infos_that_say_nothing_new_do_not_make_the_list_of_peers_anew_each_round() {
    let mut target = target();
    let mut lists = 0;
    for _ in 0..50 {
        target.receive(home(1), &push(&[contact(1, home(1), target.now)]));
        let before = Arc::clone(target.gossip.peers());
        target.pass(Duration::from_millis(100));
        lists += u32::from(!Arc::ptr_eq(&before, target.gossip.peers()));
    }
    assert!((4..=7).contains(&lists), "{lists} lists in five seconds");
}

#[test]
fn prunes_for_everything_stop_only_what_goes_to_who_sent_them() {
    let mut target = target();
    assert!(target.meets(50));
    target.pass(Duration::from_secs(8));
    let everybody: Vec<Pubkey> = (0..60).map(|number| identity(number).identity()).collect();
    for round in 0..2_000 {
        let signer = identity(50);
        let mut prune = Prune {
            pubkey: if round % 2 == 0 { signer.identity() } else { identity(1).identity() },
            prunes: everybody[..32].to_vec(),
            signature: Signature::default(),
            destination: identity(0).identity(),
            wallclock: target.now.unix_ms,
        };
        prune.signature = signer.sign(SignRole::Gossip, &prune.signed_bytes(false));
        target.receive(home(50), &Protocol::PruneMessage(prune.pubkey, prune).encode());
    }
    assert!(target.dropped(DropReason::BadSignature) > 0, "nobody prunes in another's name");
    assert!(target.dropped(DropReason::AddressRate) + target.dropped(DropReason::IdentityRate) > 0);
    for number in [3, 4] {
        let value = contact(number, home(number), target.now);
        target.receive(home(number), &push(&[value]));
    }
    target.sent.clear();
    target.receive(home(1), &push(&[lowest(1, 77, target.now.unix_ms)]));
    target.pass(Duration::from_millis(200));
    let pushed: BTreeSet<SocketAddr> = target.sent.iter().filter(|(_, b)| b[0] == 2).map(|(to, _)| *to).collect();
    assert!(!pushed.contains(&home(50)), "as it wished");
    for number in [2, 3, 4] {
        assert!(pushed.contains(&home(number)), "peer {number} is pushed to as before: {pushed:?}");
    }
    target.is_well();
}

#[test]
fn malformed_datagrams_change_nothing() {
    let mut target = target();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let good = [
        push(&[contact(60, home(60), START), lowest(1, 5, START.unix_ms)]),
        pull(contact(60, home(60), START)),
        ping(60, 1),
    ];
    let origins = target.gossip.table().origins().count();
    for round in 0..20_000 {
        let mut bytes = good[round % good.len()].clone();
        for _ in 0..rng.gen_range(1..4) {
            let place = rng.gen_range(0..bytes.len());
            bytes[place] ^= 1 << rng.gen_range(0..8);
        }
        if rng.next_u32() % 8 == 0 {
            bytes.truncate(rng.gen_range(0..bytes.len()));
        }
        let host = 0x2000_0000 + rng.next_u32() % 1_000;
        target.receive(at(host, 5), &bytes);
        if round % 100 == 99 {
            target.pass(Duration::from_millis(50));
        }
    }
    assert_eq!(target.gossip.table().origins().count(), origins);
    assert!(target.dropped(DropReason::Undecodable) > 0 && target.dropped(DropReason::BadSignature) > 0);
    target.is_well();
}

#[test]
fn answers_that_nobody_asked_for_are_worth_no_more_than_pushes() {
    let mut target = target();
    let node = identity(3).identity();
    let answer = |values: &[CrdsValue]| Protocol::PullResponse(Pubkey::default(), values.to_vec()).encode();
    target.pass(Duration::from_secs(1));
    let seen = target.gossip.table().seen(&node);
    let old = lowest(3, 9, target.now.unix_ms - 600);
    target.receive(at(0x2000_0000, 5), &answer(std::slice::from_ref(&old)));
    assert_eq!(target.gossip.table().lowest_slot(&node).get(), 9, "it is fresh");
    assert_eq!(target.gossip.table().seen(&node), seen, "but no sign that its origin lives");
    target.pass(Duration::from_secs(10));
    let stale = lowest(1, 11, target.now.unix_ms - 16_000);
    target.receive(at(0x2000_0000, 6), &answer(&[stale]));
    assert_eq!(target.dropped(DropReason::Wallclock), 1);
    assert_eq!(target.gossip.metrics().unasked, 2);
}
