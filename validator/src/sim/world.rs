//! The event queue, and the hand that moves it.

use super::{
    Fault, Host, Network, OnViolation, Outcome, Port, Wire, cuts::Cuts, host::Start, judge::Judge, links::Links,
};
use crate::node::{BootError, Done, Effect, Input, Job, RestartOrder, Socket};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use sundog_gulfstream::Source;
use sundog_runtime::genesis::GenesisConfig;
use sundog_turbine::FecSet;
use sundog_types::{Effects, Hash, Machine as _, Now, Pubkey, Slot, sign::Verifier, store::Store as _};

/// Virtual time begins at this Unix time, so that every run has the same calendar.
pub const UNIX_START_MS: u64 = 1_800_000_000_000;
/// Work takes 20 to 400 microseconds of virtual time.
const WORK_US: std::ops::Range<u64> = 20..400;
/// How often a node that floods sends a shred.
const FLOOD: usize = 10;
/// A durable write takes 1 to 4 milliseconds.
const DISK_US: std::ops::Range<u64> = 1_000..4_000;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Decides everything that is not decided otherwise.
    pub seed: u64,
    /// Stake of each node, in SOL; 0 makes a node that follows without voting.
    pub stakes: Vec<u64>,
    /// Length of an epoch.
    pub slots_per_epoch: u64,
    /// Length of a slot.
    pub slot: Duration,
    /// Children of a node in a Turbine tree, instead of the protocol's 200.
    pub fanout: Option<usize>,
    /// What datagrams suffer.
    pub network: Network,
    /// What happens when a rule of Tower BFT is broken.
    pub on_violation: OnViolation,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            stakes: vec![1_000, 600, 400],
            slots_per_epoch: 8_192,
            slot: Duration::from_millis(400),
            fanout: None,
            network: Network::default(),
            on_violation: OnViolation::default(),
        }
    }
}

/// What waits in the queue.
pub(super) enum Happening {
    /// An input for a node's life.
    Deliver { host: usize, life: u32, input: Input },
    /// A timer of a node or its recorder.
    Wake { host: usize, life: u32 },
    /// The tower file of a node is replaced.
    TowerSaved { host: usize, life: u32, id: u64, bytes: Vec<u8> },
}

/// A cluster in virtual time.
pub struct World {
    pub(super) config: WorldConfig,
    /// The machines.
    pub hosts: Vec<Host>,
    /// The genesis they share.
    pub genesis: Arc<GenesisConfig>,
    queue: BTreeMap<(u64, u64), Happening>,
    order: u64,
    pub(super) now: Now,
    rng: ChaCha8Rng,
    pub(super) links: Links,
    pub(super) cuts: Cuts,
    pub(super) judge: Judge,
    witness: Sha256,
    delivered: u64,
    /// What left the nodes for the tree.
    pub wire: Wire,
    /// All nodes check what reaches each of them; what holds for one holds for all.
    verifier: Verifier,
}

impl World {
    /// A cluster at time zero: every node is started, nothing is delivered yet.
    #[must_use]
    pub fn new(config: WorldConfig) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let hosts = super::host::hosts(&config, &mut rng);
        let genesis = Arc::new(super::host::genesis(&config, &hosts));
        let judge = Judge::new(&hosts, &config.stakes, &genesis);
        let mut world = Self {
            config,
            hosts,
            genesis,
            verifier: Verifier::default(),
            queue: BTreeMap::new(),
            order: 0,
            now: Now { mono_us: 0, unix_ms: UNIX_START_MS },
            rng,
            links: Links::default(),
            cuts: Cuts::default(),
            judge,
            witness: Sha256::new(),
            delivered: 0,
            wire: Wire::default(),
        };
        for host in 0..world.hosts.len() {
            world.start(host);
        }
        world
    }

    /// The faucet of the world with this seed.
    #[must_use]
    pub fn faucet(seed: u64) -> Keypair {
        Keypair::new_from_array(Sha256::digest(seed.to_le_bytes()).into())
    }

    /// The present moment.
    #[must_use]
    pub const fn now(&self) -> Now {
        self.now
    }

    /// The running hash of everything delivered so far.
    #[must_use]
    pub fn history(&self) -> Hash {
        Hash::new_from_array(self.witness.clone().finalize().into())
    }

    /// What the run has shown so far.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        Outcome::of(self, self.delivered)
    }

    /// Stops a machine at once: what was not durable is lost.
    pub fn kill(&mut self, host: usize) {
        let killed = &mut self.hosts[host];
        killed.node = None;
        killed.recorder = None;
        killed.life += 1;
        killed.store.crash();
        self.judge.died(host);
        for link in self.links.of(host) {
            self.close_link(link);
        }
    }

    /// Starts a machine from its disk.
    pub fn start(&mut self, host: usize) {
        self.try_start(host).expect("a simulated disk holds what a node wrote");
    }

    /// The same; what it is told may contradict its disk.
    ///
    /// # Errors
    /// If it refuses.
    pub fn try_start(&mut self, host: usize) -> Result<(), BootError> {
        let seed: [u8; 32] = self.rng.r#gen();
        let mut out = Vec::new();
        let entrypoint = (host != 0).then(|| Port::Gossip.address(0));
        let start = Start { genesis: &self.genesis, number: host, entrypoint, fanout: self.config.fanout };
        let here = self.here(host);
        self.hosts[host].boot(start, seed, here, &mut out)?;
        self.restarted(host);
        for shreds in self.hosts[host].stored() {
            let life = self.hosts[host].life;
            self.push(Duration::ZERO, Happening::Deliver { host, life, input: Input::Stored { shreds } });
        }
        self.settle(host, out);
        Ok(())
    }

    /// Notes the block that a machine starts from, if its operator orders it to start from there.
    fn restarted(&mut self, host: usize) {
        let started = &mut self.hosts[host];
        let Some(node) = started.node.as_ref().filter(|_| started.restart != RestartOrder::default()) else { return };
        let slot = node.forks().root();
        let hash = node.forks().get(slot).expect("the root is in the tree").bank.hash();
        started.blocks.insert(slot, hash);
        self.judge.restarted(&self.hosts[host], (slot, hash));
    }

    /// What a machine's clocks show.
    fn here(&self, host: usize) -> Now {
        self.hosts[host].clock.read(self.now)
    }

    /// Hands a datagram to a node's gossip socket, as if another node had sent it.
    pub fn gossip(&mut self, to: usize, from: usize, bytes: Bytes) {
        let from = Port::Gossip.address(from);
        self.deliver(to, Duration::ZERO, Input::Gossip { from, bytes });
    }

    /// Hands a shred to a node, as if another node had sent it.
    pub fn shred(&mut self, to: usize, from: usize, bytes: Bytes) {
        let from = sundog_turbine::Sender::Peer(self.hosts[from].identity.pubkey());
        self.deliver(to, Duration::ZERO, Input::Shred { from, bytes });
    }

    /// Runs until `done` says so, or `limit` of virtual time has passed from now. Whether it was done. It stands still
    /// once a rule is broken.
    ///
    /// # Panics
    /// If a rule is broken, unless the world was made to stop then.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let deadline = self.now.after(limit).mono_us;
        while !done(self) {
            let due = self.queue.first_entry().filter(|next| next.key().0 <= deadline);
            let Some(((at_us, _), happening)) = due.map(|next| next.remove_entry()) else {
                self.pass_to(deadline);
                return false;
            };
            self.pass_to(at_us);
            self.happen(happening);
            self.stop_if_broken();
            if self.violation().is_some() {
                return false;
            }
        }
        true
    }

    fn pass_to(&mut self, at_us: u64) {
        self.now = Now { mono_us: at_us, unix_ms: UNIX_START_MS + at_us / 1_000 };
    }

    /// Hands transactions to a node as its RPC does.
    pub fn submit(&mut self, host: usize, packets: Vec<Bytes>) {
        let life = self.hosts[host].life;
        let input = Input::Transactions { source: Source::Rpc, packets };
        self.push(Duration::ZERO, Happening::Deliver { host, life, input });
    }

    pub(super) fn push(&mut self, after: Duration, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.now.after(after).mono_us, self.order), happening);
    }

    fn happen(&mut self, happening: Happening) {
        let mut out = Vec::new();
        let host = match happening {
            Happening::Deliver { host, life, input } => {
                if self.hosts[host].life != life {
                    return;
                }
                self.witness(host, &input);
                let now = self.here(host);
                let Some(node) = &mut self.hosts[host].node else { return };
                node.handle(now, input, &mut out);
                host
            }
            Happening::Wake { host, life } => {
                let (now, here) = (self.now, self.here(host));
                let woken = &mut self.hosts[host];
                if woken.life != life || woken.wake.is_none_or(|wake| wake > now) {
                    return;
                }
                woken.wake = None;
                woken.wake_up(here, &mut out);
                host
            }
            Happening::TowerSaved { host, life, id, bytes } => {
                if self.hosts[host].life != life {
                    return;
                }
                self.hosts[host].tower = Some(bytes);
                let now = self.here(host);
                let Some(node) = &mut self.hosts[host].node else { return };
                node.handle(now, Input::Durable { id }, &mut out);
                host
            }
        };
        self.settle(host, out);
    }

    /// Carries out the effects of a node, and sets its next wake-up.
    pub(super) fn settle(&mut self, host: usize, effects: Effects<Effect>) {
        for effect in effects {
            self.carry_out(host, effect);
        }
        let now = self.now;
        let slept = &mut self.hosts[host];
        let Some(due) = slept.poll_timeout() else { return };
        let wait = slept.clock.until(now, due);
        let next = now.after(wait);
        if slept.wake.is_none_or(|wake| next < wake) {
            slept.wake = Some(next);
            let life = slept.life;
            self.push(wait, Happening::Wake { host, life });
        }
    }

    fn carry_out(&mut self, host: usize, effect: Effect) {
        let life = self.hosts[host].life;
        match effect {
            Effect::SendUdp { socket, to, bytes } => self.send_udp(host, socket, to, bytes),
            Effect::SendShred { addresses, shred, .. } => {
                let to = addresses.tvu_quic.and_then(Port::resolve).map(|(to, _)| to);
                let there = to.filter(|to| *to < self.hosts.len() && !self.hosts[host].keeps_from(*to, &shred));
                let Some(to) = there else { return };
                self.wire.note(self.now, host, &shred);
                if self.hosts[host].has(Fault::Floods) {
                    self.flood(host, &shred);
                }
                self.send_shred(host, to, shred);
            }
            Effect::SendTransactions { to, transactions, .. } => {
                let Some(to) = self.host_of(&to).filter(|to| self.cuts.connects(host, *to)) else { return };
                let delay = self.draw_delay();
                let source = Source::Forwarded(self.hosts[host].identity.pubkey());
                self.deliver(to, delay, Input::Transactions { source, packets: transactions });
            }
            Effect::Sync(effect) => self.sync(host, effect),
            Effect::Run(job) => self.work(host, job),
            Effect::Poh(input) => {
                let here = self.here(host);
                let mut answers = Vec::new();
                self.hosts[host].record(here, input, &mut |answer| answers.push(answer));
                for input in answers {
                    self.push(Duration::ZERO, Happening::Deliver { host, life, input });
                }
            }
            Effect::Write { batch, durable } => {
                self.hosts[host].store.commit(&batch, durable.is_some()).expect("memory does not fail");
                if let Some(id) = durable {
                    let delay = Duration::from_micros(self.rng.gen_range(DISK_US));
                    self.push(delay, Happening::Deliver { host, life, input: Input::Durable { id } });
                }
            }
            Effect::SaveTower { id, bytes } => {
                let delay = Duration::from_micros(self.rng.gen_range(DISK_US));
                self.push(delay, Happening::TowerSaved { host, life, id, bytes });
            }
            Effect::Publish(view) => self.hosts[host].view = Some(view),
            Effect::Event(event) => {
                let ms = self.now.mono_us / 1_000;
                tracing::info_span!("node", host, ms).in_scope(|| self.hosts[host].note(&event));
                self.judge.hear(host, &self.hosts[host], &event);
            }
            Effect::Stop { .. } => self.hosts[host].node = None,
        }
    }

    fn work(&mut self, host: usize, mut job: Job) {
        self.hosts[host].tamper(&mut job);
        let draft = self.hosts[host].draft(&job);
        let life = self.hosts[host].life;
        let mut done = job.run(&self.verifier);
        if let (Some(draft), Done::Shredded { sets, .. }) = (draft, &mut done) {
            for (version, sets) in self.hosts[host].deceive(draft, sets, self.config.seed) {
                self.hand_out(host, version, &sets);
            }
        }
        let input = Input::Done(done);
        let delay = Duration::from_micros(self.rng.gen_range(WORK_US));
        self.push(delay, Happening::Deliver { host, life, input });
    }

    /// A leader that forks its block hands another version to those who are to have it, past the trees.
    fn hand_out(&mut self, host: usize, version: usize, sets: &[FecSet]) {
        let numbered = (0..).zip(&self.hosts[host].versions);
        let getting: Vec<usize> = numbered.filter(|(_, gets)| **gets == version).map(|(to, _)| to).collect();
        for shred in sets.iter().flat_map(|set| set.data.iter().chain(&set.code)) {
            for to in &getting {
                self.send_shred(host, *to, shred.payload().clone());
            }
        }
    }

    /// Everybody gets a shred over and over, and with signatures that nobody made.
    fn flood(&mut self, host: usize, shred: &Bytes) {
        for to in (0..self.hosts.len()).filter(|to| *to != host) {
            for _ in 0..FLOOD {
                self.send_shred(host, to, shred.clone());
                let mut forged = shred.to_vec();
                forged[..8].copy_from_slice(&self.rng.r#gen::<u64>().to_le_bytes());
                self.send_shred(host, to, forged.into());
            }
        }
    }

    fn send_shred(&mut self, host: usize, to: usize, bytes: Bytes) {
        if !self.cuts.reaches(host, to) {
            return;
        }
        let Some(delay) = self.config.network.draw(&mut self.rng) else { return };
        let from = sundog_turbine::Sender::Peer(self.hosts[host].identity.pubkey());
        self.deliver(to, delay, Input::Shred { from, bytes });
    }

    fn send_udp(&mut self, host: usize, socket: Socket, to: SocketAddr, bytes: Bytes) {
        let bytes = self.hosts[host].leaving(socket, bytes);
        match socket {
            Socket::TpuVote => {
                if let Some(vote) = self.hosts[host].note_vote(&bytes) {
                    self.judge.wire(host, vote);
                }
            }
            Socket::Gossip => self.wire.note_gossip(&bytes),
            Socket::Repair | Socket::ServeRepair => {}
        }
        let Some((to, port)) = Port::resolve(to).filter(|(to, _)| *to < self.hosts.len()) else { return };
        if !self.cuts.reaches(host, to) {
            return;
        }
        let Some(delay) = self.config.network.draw(&mut self.rng) else { return };
        let from = match socket {
            Socket::Gossip => Port::Gossip,
            Socket::Repair => Port::Repair,
            Socket::ServeRepair => Port::ServeRepair,
            Socket::TpuVote => Port::TpuVote,
        }
        .address(host);
        let input = match port {
            Port::Gossip => Input::Gossip { from, bytes },
            Port::Repair => Input::RepairResponse { from, bytes },
            Port::ServeRepair => Input::RepairRequest { from, bytes },
            Port::TpuVote => Input::Transactions { source: Source::Vote, packets: vec![bytes] },
            Port::TvuQuic | Port::TpuQuic => return,
        };
        self.deliver(to, delay, input);
    }

    pub(super) fn deliver(&mut self, host: usize, delay: Duration, input: Input) {
        let life = self.hosts[host].life;
        self.push(delay, Happening::Deliver { host, life, input });
    }

    /// How long what a transport repeats until it arrives is under way.
    pub(super) fn draw_delay(&mut self) -> Duration {
        self.config.network.draw_delay(&mut self.rng)
    }

    fn host_of(&self, identity: &Pubkey) -> Option<usize> {
        self.hosts.iter().position(|h| h.identity.pubkey() == *identity)
    }

    fn witness(&mut self, host: usize, input: &Input) {
        self.delivered += 1;
        self.witness.update(self.now.mono_us.to_le_bytes());
        self.witness.update(u64::try_from(host).expect("a small number").to_le_bytes());
        let bytes: &[u8] = match input {
            Input::Gossip { bytes, .. }
            | Input::Shred { bytes, .. }
            | Input::RepairResponse { bytes, .. }
            | Input::RepairRequest { bytes, .. } => bytes,
            Input::Transactions { packets, .. } => packets.first().map_or(&[], |p| p),
            Input::Submit { packet, .. } => packet,
            Input::Durable { .. } => b"durable",
            Input::Poh(_) => b"poh",
            Input::Done(_) => b"done",
            Input::Stored { .. } => b"stored",
            Input::Sync(sundog_turbine::sync::Input::Frame { bytes, .. }) => bytes,
            Input::Sync(_) => b"sync",
        };
        self.witness.update(bytes);
    }

    /// The stakes, slots and times this world was made with.
    #[must_use]
    pub const fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// The slots of which two versions left for the tree, signed by their leader: never.
    #[must_use]
    pub const fn signed_twice(&self) -> &BTreeSet<Slot> {
        self.wire.signed_twice()
    }

    /// The highest slot that every running staked node has rooted.
    #[must_use]
    pub fn rooted_everywhere(&self) -> Slot {
        let running = self.hosts.iter().filter(|h| h.node.is_some());
        running.map(|h| h.rooted.last().copied().unwrap_or_default()).min().unwrap_or_default()
    }
}
