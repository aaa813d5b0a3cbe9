//! Several machines on a seeded network in virtual time.

mod amplification;
mod behaviour;
mod capacity;
mod hostile;
mod joining;
mod publish;
mod push;

use bytes::Bytes;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};
use sha2::{Digest as _, Sha256};
use solana_keypair::Keypair;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use sundog_gossip::{
    Contact, Effect, Gossip, GossipConfig, Input, Trouble,
    known::{Known, MessageSignatures},
};
use sundog_types::{
    Machine as _, Now, Pubkey, Slot,
    peer::{Addresses, Peer},
    sign::{Identity, Sign as _},
};

/// The chain of all tests.
pub const CHAIN: u16 = 4_711;

/// When virtual time starts.
pub const START: Now = Now { mono_us: 1_000_000, unix_ms: 1_760_000_000_000 };

/// The address of node `number`.
pub fn address(number: usize) -> SocketAddr {
    let port = 8_000 + u16::try_from(number).expect("few nodes");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The identity of node `number`.
pub fn identity(number: usize) -> Identity {
    let mut secret = [9; 32];
    secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Identity::new(Keypair::new_from_array(secret))
}

/// The usual configuration of node `number`, whose entrypoint is node 0.
pub fn config(number: usize) -> GossipConfig {
    let addresses = Addresses { gossip: Some(address(number)), ..Addresses::default() };
    let contact = Contact { addresses, outset_us: START.unix_ms * 1_000, ..Contact::default() };
    let mut config = GossipConfig::new(CHAIN, contact);
    config.entrypoints = vec![address(0)];
    config.allow_private = true;
    config
}

/// A machine of node `number`.
pub fn machine(number: usize, config: GossipConfig, now: Now) -> Gossip {
    let seed = [u8::try_from(number % 251).expect("small"); 32];
    Gossip::new(config, Arc::new(identity(number)), seed, now).expect("a good configuration")
}

fn skewed(now: Now, skew_ms: i64) -> Now {
    Now { unix_ms: now.unix_ms.saturating_add_signed(skew_ms), ..now }
}

/// A node: its machine and what it told.
pub struct Node {
    pub me: Pubkey,
    pub gossip: Gossip,
    pub votes: Vec<Pubkey>,
    /// Who told that it has which slots.
    pub slots: Vec<(Pubkey, Vec<Slot>)>,
    /// Whose proof of which slot was told, and its first shred.
    pub proofs: Vec<(Pubkey, Slot, Vec<u8>)>,
    pub peers: Arc<Vec<Peer>>,
    pub other_instances: usize,
    pub troubles: Vec<Trouble>,
    pub alive: bool,
    /// How far its clock is ahead, in milliseconds.
    pub skew_ms: i64,
}

struct Flight {
    from: SocketAddr,
    to: usize,
    bytes: Bytes,
}

/// Nodes, datagrams in flight, time.
pub struct World {
    pub nodes: Vec<Node>,
    pub now: Now,
    pub loss_percent: u32,
    pub cut: Option<usize>,
    flights: BTreeMap<(u64, u64), Flight>,
    sent: u64,
    rng: ChaCha8Rng,
    trace: Sha256,
    known: Known,
}

impl World {
    /// A network without nodes.
    pub fn new(seed: u64, loss_percent: u32) -> Self {
        Self {
            nodes: Vec::new(),
            now: START,
            loss_percent,
            cut: None,
            flights: BTreeMap::new(),
            sent: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            trace: Sha256::new(),
            known: Known::new(14, MessageSignatures::Real),
        }
    }

    /// A network of `count` nodes that all start now.
    pub fn with_nodes(seed: u64, count: usize, loss_percent: u32) -> Self {
        let mut world = Self::new(seed, loss_percent);
        for number in 0..count {
            world.start(config(number));
        }
        world
    }

    /// Starts the next node.
    pub fn start(&mut self, config: GossipConfig) {
        self.start_as(self.nodes.len(), config, 0);
    }

    /// Starts a node at the next address with the identity of node `number` and a clock that is wrong by `skew_ms`.
    pub fn start_as(&mut self, number: usize, config: GossipConfig, skew_ms: i64) {
        let gossip = machine(number, config, skewed(self.now, skew_ms));
        self.nodes.push(Node {
            me: identity(number).identity(),
            gossip,
            votes: Vec::new(),
            peers: Arc::default(),
            slots: Vec::new(),
            proofs: Vec::new(),
            other_instances: 0,
            troubles: Vec::new(),
            alive: true,
            skew_ms,
        });
    }

    /// What a node takes the time to be.
    fn clock(&self, number: usize) -> Now {
        skewed(self.now, self.nodes[number].skew_ms)
    }

    /// Gives a node an input.
    pub fn tell(&mut self, number: usize, input: Input) {
        let mut out = Vec::new();
        let now = self.clock(number);
        self.nodes[number].gossip.handle(now, input, &mut out);
        self.take(number, out);
    }

    fn take(&mut self, number: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, bytes } => self.send(number, to, bytes),
                Effect::Peers(peers) => self.nodes[number].peers = peers,
                Effect::Vote { from, .. } => self.nodes[number].votes.push(from),
                Effect::Slots { from, slots } => self.nodes[number].slots.push((from, slots)),
                Effect::Duplicate { from, slot, proof } => self.nodes[number].proofs.push((from, slot, proof.first)),
                Effect::AnotherInstance { .. } => self.nodes[number].other_instances += 1,
                Effect::Trouble(trouble) => self.nodes[number].troubles.push(trouble),
            }
        }
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: Bytes) {
        assert!(bytes.len() <= 1_232);
        let lost = self.rng.next_u32() % 100 < self.loss_percent;
        let delay = 200 + u64::from(self.rng.next_u32() % 2_000);
        let cut = |node: usize| self.cut == Some(node);
        let target = usize::from(to.port() - 8_000);
        if !lost && target < self.nodes.len() && !cut(from) && !cut(target) {
            self.sent += 1;
            let arrives = self.now.mono_us + delay;
            let flight = Flight { from: address(from), to: target, bytes };
            self.flights.insert((arrives, self.sent), flight);
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until something holds, at most so long; whether it does.
    pub fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.after(limit);
        while !holds(self) {
            if !self.step(end) {
                return false;
            }
        }
        true
    }

    fn step(&mut self, end: Now) -> bool {
        let alive = self.nodes.iter().enumerate().filter(|(_, node)| node.alive);
        let timer = alive.filter_map(|(number, node)| Some((node.gossip.poll_timeout()?.mono_us, number))).min();
        let arrival = self.flights.first_key_value().map(|((at, _), _)| *at);
        let next = timer.map(|(at, _)| at).into_iter().chain(arrival).min();
        let Some(at) = next.filter(|at| *at <= end.mono_us) else {
            return false;
        };
        let passed = Duration::from_micros(at.saturating_sub(START.mono_us));
        self.now = self.now.max(START.after(passed));
        if arrival == Some(at) {
            let (_, flight) = self.flights.pop_first().expect("it arrives");
            self.deliver(flight);
        } else if let Some((_, number)) = timer {
            let mut out = Vec::new();
            let now = self.clock(number);
            self.nodes[number].gossip.handle_timeout(now, &mut out);
            self.take(number, out);
        }
        true
    }

    fn deliver(&mut self, flight: Flight) {
        let Flight { from, to, bytes } = flight;
        self.trace.update(self.now.mono_us.to_le_bytes());
        self.trace.update(&bytes);
        if !self.nodes[to].alive {
            return;
        }
        let packet = self.known.check(&bytes).expect("machines send good datagrams");
        self.tell(to, Input::Packet { from, packet });
    }

    /// A running hash of every delivery.
    pub fn trace(&self) -> [u8; 32] {
        self.trace.clone().finalize().into()
    }

    /// Whether every living node lists exactly all living nodes.
    pub fn complete(&self) -> bool {
        let alive = || self.nodes.iter().enumerate().filter(|(_, node)| node.alive);
        let mut everybody: Vec<Pubkey> = alive().map(|(_, node)| node.me).collect();
        everybody.sort();
        alive().all(|(_, node)| node.peers.iter().map(|peer| peer.identity).collect::<Vec<_>>() == everybody)
    }
}
