//! The world: nodes, virtual time, the network between them.

mod speech;

use super::{
    config::GossipWorldConfig,
    host::{GossipHost, StampingSigner},
    stakes::stakes,
    tally::{Probe, Tally, Traffic, class},
};
use crate::sim::{
    Port,
    cast::{START, keypairs},
    queue::Queue,
};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _, seq::index};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use sundog_gossip::{
    Contact, Effect, Gossip, GossipConfig, Input, Roster,
    known::{Known, MessageSignatures},
};
use sundog_types::{
    Hash, Machine as _, Now, Pubkey, Slot,
    peer::{Peer, Version},
};

/// The shred version of the chain in the world.
pub const CHAIN: u16 = 7;
/// Of a given list: always just seen.
const ALWAYS: Now = Now { mono_us: u64::MAX, unix_ms: u64::MAX };
/// The first so many nodes are entrypoints.
const ENTRYPOINTS: usize = 3;
/// Room for 2^17 values that are checked once: those of some minutes.
const KNOWN_BITS: u32 = 17;
/// Everything happens at multiples of this, in milliseconds, node by node: what a node is about to work on is then near
/// the processor more often. A tenth of a round.
const GRAIN_MS: u64 = 10;
/// Bytes of a datagram that go into the history.
const WITNESSED: usize = 80;

/// Something that happens.
#[derive(Debug)]
enum Event {
    /// A datagram arrives.
    Datagram { from: SocketAddr, to: u32, bytes: Bytes },
    /// A node's timer may be due.
    Timer { node: u32 },
    /// A node starts.
    Start { node: u32 },
    /// A node stops.
    Stop { node: u32 },
}

impl Event {
    const fn node(&self) -> u32 {
        match self {
            Self::Datagram { to, .. } => *to,
            Self::Timer { node } | Self::Start { node } | Self::Stop { node } => *node,
        }
    }
}

/// Gossip machines, and nothing else of a cluster.
pub struct GossipWorld {
    /// The nodes, by stake falling; later ones may be second instances of them.
    pub hosts: Vec<GossipHost>,
    /// What arrived at all nodes.
    pub tally: Tally,
    /// The votes that are followed, in the order in which they were published.
    pub probes: Vec<Probe>,
    /// Datagrams that went where no node is.
    pub stray: u64,
    config: GossipWorldConfig,
    now: Now,
    queue: Queue<Event>,
    rng: ChaCha8Rng,
    /// Draws delays and losses.
    weather: ChaCha8Rng,
    known: Known,
    stakes: Arc<BTreeMap<Pubkey, u64>>,
    roster: Option<Roster>,
    history: Sha256,
    delivered: u64,
    scratch: Vec<Effect>,
}

impl GossipWorld {
    /// Nodes that are about to start.
    ///
    /// # Panics
    /// If there are fewer than two nodes, or more than addresses.
    #[must_use]
    pub fn new(config: GossipWorldConfig) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let keypairs = keypairs(config.nodes, &mut rng);
        let host = |(keypair, stake)| GossipHost {
            gossip: None,
            stake,
            since: START,
            superseded: None,
            traffic: Traffic::default(),
            keypair: Arc::new(keypair),
            part: 0,
            timer: None,
            voted: Vec::new(),
        };
        let hosts: Vec<_> = keypairs.into_iter().zip(stakes(config.nodes)).map(host).collect();
        let staked = hosts.iter().filter(|host| host.stake > 0);
        let mut world = Self {
            stakes: Arc::new(staked.map(|host| (host.key(), host.stake)).collect()),
            roster: config.tracked.map(|count| roster(&hosts, count)),
            hosts,
            tally: Tally::default(),
            probes: Vec::new(),
            stray: 0,
            config,
            now: START,
            queue: Queue::sorted_by(Event::node),
            rng,
            weather: ChaCha8Rng::seed_from_u64(config.seed ^ u64::MAX),
            known: Known::new(KNOWN_BITS, MessageSignatures::Stamps),
            history: Sha256::new(),
            delivered: 0,
            scratch: Vec::new(),
        };
        let within = config.start_within.as_millis() as u64;
        for node in 0..config.nodes {
            let at = world.now_ms() + world.rng.gen_range(0..=within);
            world.schedule(at, Event::Start { node: node as u32 });
        }
        world
    }

    /// What it is made of.
    #[must_use]
    pub const fn config(&self) -> &GossipWorldConfig {
        &self.config
    }

    /// The virtual time.
    #[must_use]
    pub const fn now(&self) -> Now {
        self.now
    }

    /// Stakes by identity.
    #[must_use]
    pub const fn stakes(&self) -> &Arc<BTreeMap<Pubkey, u64>> {
        &self.stakes
    }

    /// The running hash of all that was delivered: one seed, one history.
    #[must_use]
    pub fn history(&self) -> Hash {
        Hash::new_from_array(self.history.clone().finalize().into())
    }

    /// Datagrams and timers delivered.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The machines that run.
    pub fn running(&self) -> impl Iterator<Item = &Gossip> {
        self.hosts.iter().filter_map(|host| host.gossip.as_ref())
    }

    /// The nodes whose values are kept: all, or the tracked ones. Those with more stake first.
    #[must_use]
    pub fn origins(&self) -> Vec<usize> {
        let kept = |host: &GossipHost| self.roster.as_ref().is_none_or(|roster| roster.tracks(&host.key()));
        (0..self.config.nodes).filter(|node| kept(&self.hosts[*node])).collect()
    }

    /// Puts nodes into parts of the network that do not hear each other; all are in part 0 at first.
    pub fn part(&mut self, part_of: impl Fn(usize) -> u8) {
        for (node, host) in self.hosts.iter_mut().enumerate() {
            host.part = part_of(node);
        }
    }

    /// Every running machine stops renewing its contact info.
    pub fn fall_quiet(&mut self) {
        self.hosts.iter_mut().filter_map(|host| host.gossip.as_mut()).for_each(Gossip::fall_quiet);
    }

    /// Starts a node with a new machine, in place of the one it has.
    pub fn start(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if host.superseded.is_some() {
            return;
        }
        let contact = Contact {
            addresses: Port::advertised(node),
            version: Version::default(),
            outset_us: self.now.unix_ms * 1_000,
        };
        let mut config = GossipConfig::new(CHAIN, contact);
        config.allow_private = true;
        config.entrypoints = (0..ENTRYPOINTS.min(self.config.nodes)).map(|node| Port::Gossip.address(node)).collect();
        config.roster = self.roster.clone();
        (self.config.tune)(&mut config);
        let signer = Arc::new(StampingSigner::new(&host.keypair));
        let gossip = Gossip::new(config, signer, self.rng.r#gen(), self.now).expect("the settings agree");
        (host.gossip, host.since, host.timer) = (Some(gossip), self.now, None);
        self.input(node, Input::Stakes(Arc::clone(&self.stakes)));
    }

    /// Stops a node; what its machine knew is lost.
    pub fn stop(&mut self, node: usize) {
        (self.hosts[node].gossip, self.hosts[node].timer) = (None, None);
    }

    /// Starts a second instance of a node, at another address; its number.
    pub fn start_twin(&mut self, node: usize) -> usize {
        let host = &self.hosts[node];
        let twin = GossipHost {
            gossip: None,
            stake: host.stake,
            since: self.now,
            superseded: None,
            traffic: Traffic::default(),
            keypair: Arc::clone(&host.keypair),
            part: host.part,
            timer: None,
            voted: Vec::new(),
        };
        self.hosts.push(twin);
        self.start(self.hosts.len() - 1);
        self.hosts.len() - 1
    }

    /// So many nodes, drawn evenly, leave within the time from now on and are back `away` later, with new machines.
    pub fn churn(&mut self, count: usize, within: Duration, away: Duration) {
        for node in index::sample(&mut self.rng, self.config.nodes, count) {
            let at = self.now_ms() + self.rng.gen_range(0..=within.as_millis() as u64);
            self.schedule(at, Event::Stop { node: node as u32 });
            self.schedule(at + away.as_millis() as u64, Event::Start { node: node as u32 });
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_to(self.now_ms() + time.as_millis() as u64);
    }

    /// Lets time pass until `done`, looked at every `step`, at most `limit`. Says whether it was.
    pub fn run_until(&mut self, limit: Duration, step: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now_ms() + limit.as_millis() as u64;
        while self.now_ms() < end {
            if done(self) {
                return true;
            }
            self.run_to(end.min(self.now_ms() + step.as_millis() as u64));
        }
        done(self)
    }

    fn run_to(&mut self, end: u64) {
        while let Some(next) = self.queue.next_ms(self.now_ms())
            && next <= end
        {
            self.now = self.now.after(Duration::from_millis(next - self.now_ms()));
            if let Some(event) = self.queue.pop() {
                self.happen(event);
            }
        }
        self.now = self.now.after(Duration::from_millis(end - self.now_ms()));
    }

    const fn now_ms(&self) -> u64 {
        self.now.mono_us / 1_000
    }

    fn schedule(&mut self, at_ms: u64, event: Event) {
        self.queue.push(at_ms.next_multiple_of(GRAIN_MS), event);
    }

    fn happen(&mut self, event: Event) {
        self.delivered += 1;
        match event {
            Event::Timer { node } => {
                let node = node as usize;
                let host = &mut self.hosts[node];
                if host.timer != Some(self.now.mono_us / 1_000) {
                    return;
                }
                host.timer = None;
                let Some(gossip) = host.gossip.as_mut() else { return };
                let mut out = std::mem::take(&mut self.scratch);
                gossip.handle_timeout(self.now, &mut out);
                self.perform(node, out);
            }
            Event::Datagram { from, to, bytes } => self.arrive(from, to as usize, &bytes),
            Event::Start { node } => self.start(node as usize),
            Event::Stop { node } => self.stop(node as usize),
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: usize, bytes: &Bytes) {
        self.history.update([self.now.mono_us, u64::from(from.port()), to as u64].map(u64::to_le_bytes).as_flattened());
        self.history.update(&bytes[..bytes.len().min(WITNESSED)]);
        let host = &mut self.hosts[to];
        let Some(gossip) = host.gossip.as_mut() else { return };
        host.traffic.received[class(bytes)] += bytes.len() as u64;
        if gossip.accept(self.now, from, bytes.len()).is_err() {
            return;
        }
        let packet = match self.known.check(bytes) {
            Ok(packet) => packet,
            Err(why) => return gossip.metrics_mut().drop_one(why),
        };
        self.tally.note(packet.message());
        let news = |gossip: &Gossip| (gossip.metrics().pushed_in, gossip.metrics().pulled_in);
        let before = news(gossip);
        let mut out = std::mem::take(&mut self.scratch);
        gossip.handle(self.now, Input::Packet { from, packet }, &mut out);
        let after = news(gossip);
        self.tally.news_pushed += after.0 - before.0;
        self.tally.news_pulled += after.1 - before.1;
        self.perform(to, out);
    }

    /// Hands a node's machine an input.
    pub fn input(&mut self, node: usize, input: Input) {
        let Some(gossip) = self.hosts[node].gossip.as_mut() else { return };
        let mut out = std::mem::take(&mut self.scratch);
        gossip.handle(self.now, input, &mut out);
        self.perform(node, out);
    }

    fn perform(&mut self, node: usize, mut out: Vec<Effect>) {
        for effect in out.drain(..) {
            match effect {
                Effect::Send { to, bytes } => self.send(node, to, bytes),
                Effect::Vote { transaction, .. } => self.heard(node, &transaction),
                Effect::AnotherInstance { .. } => {
                    self.hosts[node].superseded = Some(self.now);
                    self.stop(node);
                }
                _ => {}
            }
        }
        self.scratch = out;
        self.wind(node);
    }

    /// Sets the node's timer.
    fn wind(&mut self, node: usize) {
        let now_ms = self.now_ms();
        let host = &mut self.hosts[node];
        let Some(due) = host.gossip.as_ref().and_then(|gossip| gossip.poll_timeout()) else { return };
        let due = due.mono_us.div_ceil(1_000).max(now_ms + 1).next_multiple_of(GRAIN_MS);
        if host.timer.is_none_or(|timer| due < timer) {
            host.timer = Some(due);
            self.queue.push(due, Event::Timer { node: node as u32 });
        }
    }

    fn send(&mut self, node: usize, to: SocketAddr, bytes: Bytes) {
        let host = &mut self.hosts[node];
        host.traffic.sent[class(&bytes)] += bytes.len() as u64;
        let part = host.part;
        match Port::resolve(to) {
            Some((number, Port::Gossip)) if self.hosts.get(number).is_some_and(|host| host.part == part) => {
                self.post(Port::Gossip.address(node), number, bytes);
            }
            Some((number, Port::Gossip)) if number < self.hosts.len() => {}
            _ => self.stray += 1,
        }
    }

    /// A datagram leaves for a node, from whatever address. It is delayed, and may be lost, like all others.
    pub fn post(&mut self, from: SocketAddr, to: usize, bytes: Bytes) {
        let delay = self.config.network.draw(&mut self.weather);
        if let Some(delay) = delay.filter(|_| self.hosts[to].runs()) {
            let at = self.now_ms() + (delay.as_millis() as u64).max(1);
            self.schedule(at, Event::Datagram { from, to: to as u32, bytes });
        }
    }
}

/// Everybody, and so many of them tracked: evenly over the ranks, so that there are large, small and unstaked ones.
fn roster(hosts: &[GossipHost], tracked: usize) -> Roster {
    let peer = |(node, host): (usize, &GossipHost)| Peer {
        identity: host.key(),
        addresses: Port::advertised(node),
        stake: host.stake,
        last_seen: ALWAYS,
        shred_version: CHAIN,
        version: Version::default(),
        outset_us: 0,
        lowest_slot: Slot::ZERO,
    };
    let mut peers: Vec<_> = hosts.iter().enumerate().map(peer).collect();
    peers.sort_by_key(|peer| peer.identity);
    let tracked = tracked.min(hosts.len());
    let tracked = (0..tracked).map(|place| hosts[place * hosts.len() / tracked].key());
    Roster { peers: Arc::new(peers), tracked: Arc::new(tracked.collect()) }
}
