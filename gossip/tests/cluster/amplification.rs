//! Nothing is gained by going through a node: whatever sequence of datagrams it gets, addresses that never answered a
//! ping are not sent more than was sent to cause it.
//!
//! What "bytes in" means: datagrams may name a third party's address in two ways. As their source, which is forged at
//! will: what goes back there is paid for by the very datagram. In a contact info: a ping goes to the address named,
//! and is paid for by the contact info, but the address itself sent nothing. Such pings have a limit for each address
//! and each host on top.

use super::{CHAIN, START, config, identity, machine};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use sundog_gossip::{
    CrdsData, CrdsValue, Effect, Gossip, Input,
    bloom::Bloom,
    check,
    ping::{HEARSAY_OF_ADDRESS, HEARSAY_OF_HOST},
    wire::{CrdsFilter, Ping, Pong, Protocol, Prune, contact::ContactInfo, kinds::LowestSlot},
};
use sundog_types::{
    Machine as _, Now, Pubkey, Signature,
    peer::Addresses,
    sign::{Sign as _, SignRole},
};

/// Addresses that never answer: two of one host, and others.
const SILENT: [&str; 5] = ["11.0.0.1:8001", "11.0.0.1:8002", "11.0.0.2:8001", "[2001:db8::1]:8001", "11.0.0.3:9"];

/// An address that answers, as honest nodes do.
const OPEN: &str = "12.0.0.1:8001";

/// Who lives at [`OPEN`].
const RESIDENT: usize = 99;

/// Who sends datagrams: a few with stake, more without.
const SENDERS: usize = 64;
const STAKED: usize = 1;

const PING_BYTES: usize = 132;

/// Something that comes in.
#[derive(Clone, Debug)]
enum Event {
    /// Nothing, for so many milliseconds.
    Wait(u64),
    /// A pull request: who asks, and where it says that it listens.
    Pull(usize, usize),
    /// Contact infos: whose, and where they listen; whether in an answer nobody asked for.
    Contacts(Vec<(usize, usize)>, bool),
    /// A value of a node that may be unknown.
    Value(usize),
    Ping(usize),
    /// A pong to no ping.
    Pong(usize),
    /// A prune.
    Prune(usize),
    /// Rubbish.
    Noise(Vec<u8>),
}

fn events() -> impl Strategy<Value = Vec<(usize, Event)>> {
    let who = 1..=SENDERS;
    let place = 0..=SILENT.len();
    let event = prop_oneof![
        2 => (0..250u64).prop_map(Event::Wait),
        4 => (who.clone(), place.clone()).prop_map(|(who, listens)| Event::Pull(who, listens)),
        6 => (prop::collection::vec((who.clone(), place.clone()), 1..7), any::<bool>())
            .prop_map(|(contacts, answer)| Event::Contacts(contacts, answer)),
        2 => who.clone().prop_map(Event::Value),
        2 => who.clone().prop_map(Event::Ping),
        1 => who.clone().prop_map(Event::Pong),
        1 => who.prop_map(Event::Prune),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Event::Noise),
    ];
    prop::collection::vec((place, event), 1..250)
}

/// The address with this number; the last one is [`OPEN`].
fn address(number: usize) -> SocketAddr {
    SILENT.get(number).unwrap_or(&OPEN).parse().expect("an address")
}

fn contact(number: usize, listens: SocketAddr, now: Now) -> CrdsValue {
    let signer = identity(number);
    let sockets = Addresses { gossip: Some(listens), ..Addresses::default() };
    // Small outsets make the shortest contact infos there are.
    let mut info = ContactInfo::new(signer.identity(), 1, CHAIN, &sockets);
    info.wallclock = now.unix_ms;
    CrdsValue::sign(CrdsData::ContactInfo(Box::new(info)), &signer)
}

/// The shortest request there is.
fn pull(caller: CrdsValue) -> Vec<u8> {
    let filter = CrdsFilter { bloom: Bloom::new(64, Vec::new()), mask: CrdsFilter::mask_of(0, 0), mask_bits: 0 };
    Protocol::PullRequest(filter, Box::new(caller)).encode()
}

fn prune(who: usize, now: Now) -> Vec<u8> {
    let signer = identity(who);
    let mut prune = Prune {
        pubkey: signer.identity(),
        prunes: (0..32).map(|number| identity(number).identity()).collect(),
        signature: Signature::default(),
        destination: identity(0).identity(),
        wallclock: now.unix_ms,
    };
    prune.signature = signer.sign(SignRole::Gossip, &prune.signed_bytes(false));
    Protocol::PruneMessage(prune.pubkey, prune).encode()
}

fn datagram(event: &Event, now: Now) -> Vec<u8> {
    match event {
        Event::Wait(_) => Vec::new(),
        Event::Pull(who, listens) => pull(contact(*who, address(*listens), now)),
        Event::Contacts(contacts, answer) => {
            let values = contacts.iter().map(|(who, listens)| contact(*who, address(*listens), now)).collect();
            let message = if *answer { Protocol::PullResponse } else { Protocol::PushMessage };
            message(Pubkey::default(), values).encode()
        }
        Event::Value(who) => {
            let signer = identity(*who);
            let data = LowestSlot::new(signer.identity(), now.unix_ms, now.unix_ms);
            let value = CrdsValue::sign(CrdsData::LowestSlot(0, data), &signer);
            Protocol::PushMessage(signer.identity(), vec![value]).encode()
        }
        Event::Ping(who) => Protocol::PingMessage(Ping::new([7; 32], &identity(*who))).encode(),
        Event::Pong(who) => Protocol::PongMessage(Pong::answer(&[7; 32], &identity(*who))).encode(),
        Event::Prune(who) => prune(*who, now),
        Event::Noise(bytes) => bytes.clone(),
    }
}

/// A node, and what it was sent and sent to addresses that never answer.
struct Account {
    gossip: Gossip,
    now: Now,
    bytes_in: BTreeMap<SocketAddr, usize>,
    bytes_out: BTreeMap<SocketAddr, usize>,
    /// Bytes that went to an address other than the one that the datagram came from.
    named: BTreeMap<SocketAddr, usize>,
    silent: BTreeSet<SocketAddr>,
}

impl Account {
    fn new() -> Self {
        let mut settings = config(0);
        settings.entrypoints.clear();
        let mut gossip = machine(0, settings, START);
        let stakes = (1..=STAKED).map(|number| (identity(number).identity(), 5_000_000_000));
        gossip.handle(START, Input::Stakes(Arc::new(stakes.collect())), &mut Vec::new());
        let silent = (0..SILENT.len()).map(address).collect();
        let (bytes_in, bytes_out, named) = Default::default();
        let mut account = Self { gossip, now: START, bytes_in, bytes_out, named, silent };
        // One honest node is known, so that there is something to pass on and to answer with.
        let (home, caller) = (address(SILENT.len()), contact(RESIDENT, address(SILENT.len()), START));
        account.receive(home, &pull(caller));
        account
    }

    /// Takes a datagram, and answers pings to the open address. What went to silent addresses is no longer than it.
    fn receive(&mut self, from: SocketAddr, bytes: &[u8]) {
        *self.bytes_in.entry(from).or_default() += bytes.len();
        let Ok(packet) = check(bytes) else { return };
        let mut out = Vec::new();
        self.gossip.handle(self.now, Input::Packet { from, packet }, &mut out);
        let mut caused = 0;
        let mut pongs = Vec::new();
        for effect in out {
            let Effect::Send { to, bytes: sent } = effect else { continue };
            if self.silent.contains(&to) {
                caused += sent.len();
                *self.bytes_out.entry(to).or_default() += sent.len();
                if to != from {
                    assert_eq!(sent.len(), PING_BYTES, "nothing but pings to an address that others name");
                    *self.named.entry(to).or_default() += sent.len();
                }
            } else if let Ok(Protocol::PingMessage(ping)) = Protocol::decode(&sent) {
                pongs.push((to, Protocol::PongMessage(Pong::answer(&ping.token, &identity(RESIDENT))).encode()));
            }
        }
        assert!(caused <= bytes.len(), "{caused} bytes to silent addresses for {}", bytes.len());
        for (to, pong) in pongs {
            self.receive(to, &pong);
        }
    }

    /// Lets time pass, in which silent addresses are sent nothing.
    fn wait(&mut self, ms: u64) {
        let end = self.now.after(Duration::from_millis(ms));
        while let Some(due) = self.gossip.poll_timeout().filter(|due| end.reached(*due)) {
            self.now = self.now.after(due.since(self.now));
            let mut out = Vec::new();
            self.gossip.handle_timeout(self.now, &mut out);
            for effect in out {
                if let Effect::Send { to, .. } = effect {
                    assert!(!self.silent.contains(&to), "nothing is sent to {to} unbidden");
                }
            }
        }
        self.now = self.now.after(end.since(self.now));
    }

    fn settle(&self) {
        let seconds = usize::try_from(self.now.since(START).as_secs()).expect("minutes") + 1;
        // A node with stake is asked ever more seldom: after n pings in n^2 tenths of a second.
        let of_staked = STAKED * ((10.0 * seconds as f64).sqrt() as usize + 2);
        let mut of_hosts = BTreeMap::<_, usize>::new();
        for address in &self.silent {
            let (got, sent) = (self.bytes_in.get(address), self.bytes_out.get(address));
            let (got, sent) = (got.copied().unwrap_or(0), sent.copied().unwrap_or(0));
            let named = self.named.get(address).copied().unwrap_or(0);
            assert!(sent - named <= got, "{address}: {sent} bytes out, {named} of them hearsay, {got} in");
            let pings = HEARSAY_OF_ADDRESS.burst as usize + HEARSAY_OF_ADDRESS.per_second as usize * seconds;
            assert!(named <= (pings + of_staked) * PING_BYTES, "{address}: {named} bytes in {seconds} s");
            *of_hosts.entry(address.ip()).or_default() += named;
        }
        for (host, named) in of_hosts {
            let pings = HEARSAY_OF_HOST.burst as usize + HEARSAY_OF_HOST.per_second as usize * seconds;
            assert!(named <= (pings + 2 * of_staked) * PING_BYTES, "{host}: {named} bytes in {seconds} s");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_datagrams_gets_more_bytes_out_than_in(events in events()) {
        let mut account = Account::new();
        for (from, event) in &events {
            if let Event::Wait(ms) = event {
                account.wait(*ms);
            } else {
                let bytes = datagram(event, account.now);
                account.receive(address(*from), &bytes);
            }
        }
        account.wait(1_000);
        account.settle();
    }
}

#[test]
fn no_contact_info_and_no_pull_request_is_shorter_than_a_ping() {
    let ping = Protocol::PingMessage(Ping::new([0; 32], &identity(1))).encode();
    assert_eq!(ping.len(), PING_BYTES);
    let earliest = Now { mono_us: 0, unix_ms: 0 };
    let shortest = contact(1, "1.0.0.1:1".parse().expect("an address"), earliest);
    assert!(shortest.bytes().len() >= PING_BYTES, "{}", shortest.bytes().len());
    assert!(pull(shortest).len() >= PING_BYTES);
}
