//! A few Turbine machines in virtual time over a network that loses datagrams.

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use solana_keypair::Keypair;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use sundog_turbine::{
    DeadReason, DuplicateReason, Effect, EpochInfo, FecSet, Input, SendKind, Sender, ShredSource, Shredder, Timeline,
    Turbine, TurbineConfig,
};
use sundog_types::{
    Epoch, Hash, Machine as _, Now, Pubkey, ShredIndex, Slot,
    peer::{Addresses, Peer, Version},
    schedule::LeaderSchedule,
    shred::{Gates, Kind},
    sign::{Identity, Sign},
    stakes::{EpochStakes, VoteStake},
};

pub const SHRED_VERSION: u16 = 7;
pub const SLOTS_PER_EPOCH: u64 = 8_192;
/// Whoever sends a shred by UDP.
pub const SOMEBODY: Sender = Sender::Address(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9));
const LATENCY_US: u64 = 5_000;

/// Data shreds by slot and index, and what it says of ancestors.
#[derive(Default)]
pub struct Shelf(Mutex<BTreeMap<(Slot, ShredIndex), Bytes>>, Mutex<Vec<(Slot, Hash)>>);

impl Shelf {
    /// From now on it says this of the slot that comes first in it.
    pub fn settle(&self, hashes: Vec<(Slot, Hash)>) {
        *self.1.lock().unwrap() = hashes;
    }

    pub fn of_slot(&self, slot: Slot) -> Vec<Bytes> {
        let shelf = self.0.lock().unwrap();
        shelf.range((slot, ShredIndex::ZERO)..(slot.next(), ShredIndex::ZERO)).map(|(_, shred)| shred.clone()).collect()
    }
}

impl ShredSource for Shelf {
    fn data_shred(&self, slot: Slot, index: ShredIndex) -> Option<Bytes> {
        self.0.lock().unwrap().get(&(slot, index)).cloned()
    }
    fn highest_data_shred(&self, slot: Slot) -> Option<Bytes> {
        self.of_slot(slot).pop()
    }
    fn parent(&self, slot: Slot) -> Option<Slot> {
        let shred = self.highest_data_shred(slot)?;
        let offset = u16::from_le_bytes([shred[83], shred[84]]);
        Some(slot.saturating_sub(offset.into()))
    }
    fn ancestor_hashes(&self, slot: Slot) -> Option<Vec<(Slot, Hash)>> {
        let hashes = self.1.lock().unwrap();
        hashes.first().filter(|(first, _)| *first == slot).map(|_| hashes.clone())
    }
}

/// One node and what came out of its machine.
pub struct Node {
    pub turbine: Turbine,
    pub identity: Arc<Identity>,
    pub shelf: Arc<Shelf>,
    pub alive: bool,
    /// Batches of each slot.
    pub data: BTreeMap<Slot, Vec<Bytes>>,
    pub complete: BTreeMap<Slot, Option<Hash>>,
    pub dead: BTreeMap<Slot, DeadReason>,
    pub duplicate: Vec<Slot>,
    /// How leaders contradicted themselves, with the proof for others.
    pub conflicts: BTreeMap<(Slot, DuplicateReason), Option<Bytes>>,
    pub timelines: Vec<Timeline>,
    /// What peers agreed on about the ancestors of each slot.
    pub ancestors: BTreeMap<Slot, Vec<(Slot, Hash)>>,
    pub retransmitted: BTreeMap<Bytes, u32>,
}

impl Node {
    pub fn key(&self) -> Pubkey {
        self.identity.identity()
    }
}

/// What the network does to a datagram.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    /// Shreds lost, in percent.
    pub shreds_lost: u32,
    /// Repair datagrams lost, in percent.
    pub repair_lost: u32,
    /// A slot of which no shred arrives by Turbine.
    pub hidden: Option<Slot>,
}

pub struct World {
    pub nodes: Vec<Node>,
    pub now: Now,
    pub weather: Weather,
    queue: BTreeMap<(u64, u64), (usize, Input)>,
    sent: u64,
    rng: ChaCha8Rng,
    trace: Sha256,
    pub schedule: Arc<LeaderSchedule>,
    stakes: Arc<EpochStakes>,
    last_root: Hash,
    gates: Gates,
}

pub fn keypair(number: u8) -> Arc<Identity> {
    Arc::new(Identity::new(Keypair::new_from_array([number + 1; 32])))
}

fn addresses(node: usize) -> Addresses {
    let port = |base: u16| Some(SocketAddr::from(([127, 0, 0, 1], base + node as u16)));
    Addresses { tvu: port(1_000), serve_repair: port(3_000), ..Addresses::default() }
}

fn repair_socket(node: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 2_000 + node as u16))
}

fn node_at(address: SocketAddr) -> usize {
    usize::from(address.port() % 1_000)
}

impl World {
    /// Nodes with these stakes.
    pub fn new(seed: u8, stakes: &[u64], config: TurbineConfig) -> Self {
        let mut by_vote_account = BTreeMap::new();
        for (number, stake) in stakes.iter().enumerate() {
            let node = keypair(number as u8).identity();
            let vote = VoteStake { node, authorized_voter: node, stake: *stake };
            by_vote_account.insert(Pubkey::from([100 + number as u8; 32]), vote);
        }
        let stakes_map = Arc::new(EpochStakes { by_vote_account });
        let schedule = Arc::new(LeaderSchedule::new(Epoch::ZERO, SLOTS_PER_EPOCH, &stakes_map));
        let mut world = Self {
            nodes: Vec::new(),
            now: Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 },
            weather: Weather::default(),
            queue: BTreeMap::new(),
            sent: 0,
            rng: ChaCha8Rng::from_seed([seed; 32]),
            trace: Sha256::new(),
            schedule,
            stakes: stakes_map,
            last_root: Hash::default(),
            gates: Gates::since_genesis(Epoch::new(1)),
        };
        for number in 0..stakes.len() {
            let node = world.node(number, config);
            world.nodes.push(node);
        }
        for number in 0..stakes.len() {
            world.introduce(number);
        }
        world
    }

    fn node(&self, number: usize, config: TurbineConfig) -> Node {
        let identity = keypair(number as u8);
        let shelf = Arc::new(Shelf::default());
        let signer = Arc::clone(&identity) as Arc<dyn Sign>;
        let source = Arc::clone(&shelf) as Arc<dyn ShredSource>;
        Node {
            turbine: Turbine::new(config, signer, source, [number as u8; 32]),
            identity,
            shelf,
            alive: true,
            data: BTreeMap::new(),
            complete: BTreeMap::new(),
            dead: BTreeMap::new(),
            duplicate: Vec::new(),
            conflicts: BTreeMap::new(),
            timelines: Vec::new(),
            ancestors: BTreeMap::new(),
            retransmitted: BTreeMap::new(),
        }
    }

    /// Replaces a node's machine by a new one over the same ledger.
    pub fn restart(&mut self, number: usize, config: TurbineConfig) {
        let shelf = Arc::clone(&self.nodes[number].shelf);
        let signer = Arc::clone(&self.nodes[number].identity) as Arc<dyn Sign>;
        let node = &mut self.nodes[number];
        node.turbine = Turbine::new(config, signer, shelf, [number as u8; 32]);
        node.data.clear();
        node.complete.clear();
        self.introduce(number);
    }

    fn introduce(&mut self, number: usize) {
        let epoch = EpochInfo {
            epoch: Epoch::ZERO,
            first_slot: Slot::ZERO,
            slots: SLOTS_PER_EPOCH,
            leaders: Arc::clone(&self.schedule),
            stakes: Arc::clone(&self.stakes),
            gates: self.gates,
        };
        let peers = Arc::new(self.peers());
        self.input(number, Input::Epoch(epoch));
        self.input(number, Input::Peers(peers));
    }

    /// The registry, as all nodes see it.
    pub fn peers(&self) -> Vec<Peer> {
        let peer = |(number, node): (usize, &Node)| Peer {
            identity: node.key(),
            addresses: addresses(number),
            stake: 1,
            last_seen: self.now,
            shred_version: SHRED_VERSION,
            version: Version::default(),
            outset_us: 0,
            lowest_slot: Slot::ZERO,
        };
        self.nodes.iter().enumerate().map(peer).collect()
    }

    /// Changes the rules for all nodes.
    pub fn set_gates(&mut self, gates: Gates) {
        self.gates = gates;
        for number in 0..self.nodes.len() {
            self.introduce(number);
        }
    }

    pub fn leader(&self, slot: Slot) -> usize {
        let leader = self.schedule.leader_at(slot.get());
        self.nodes.iter().position(|node| node.key() == leader).unwrap()
    }

    /// The first slot after `after` that the node leads.
    pub fn slot_of(&self, number: usize, after: u64) -> Slot {
        (after + 1..).map(Slot::new).find(|slot| self.leader(*slot) == number).unwrap()
    }

    /// A block of `batches` random batches, as FEC sets.
    pub fn block(&mut self, slot: Slot, parent: Slot, batches: usize) -> Vec<FecSet> {
        let mut shredder = Shredder::new(slot, parent, SHRED_VERSION, self.last_root).unwrap();
        let signer = Arc::clone(&self.nodes[self.leader(slot)].identity);
        let mut sets = Vec::new();
        for batch in 0..batches {
            let bytes: Vec<u8> = (0..self.rng.gen_range(0..40_000)).map(|_| self.rng.r#gen()).collect();
            let tick = (batch * 64 / batches) as u8;
            sets.extend(shredder.shred(&bytes, tick, batch + 1 == batches, &*signer).unwrap());
        }
        self.last_root = shredder.chained_root();
        sets
    }

    /// The slot's leader makes and sends a block.
    pub fn lead(&mut self, slot: Slot, parent: Slot, batches: usize) {
        let sets = self.block(slot, parent, batches);
        let leader = self.leader(slot);
        for set in sets {
            self.input(leader, Input::Own { set });
        }
    }

    pub fn tip(&mut self, slot: Slot) {
        for number in 0..self.nodes.len() {
            self.input(number, Input::Tip(slot));
        }
    }

    pub fn input(&mut self, number: usize, input: Input) {
        let mut out = Vec::new();
        self.nodes[number].turbine.handle(self.now, input, &mut out);
        self.perform(number, out);
    }

    fn deliver(&mut self, to: usize, input: Input) {
        if !self.nodes[to].alive {
            return;
        }
        self.sent += 1;
        let jitter = self.rng.gen_range(0..LATENCY_US);
        self.queue.insert((self.now.mono_us + LATENCY_US + jitter, self.sent), (to, input));
    }

    fn perform(&mut self, number: usize, effects: Vec<Effect>) {
        for effect in effects {
            self.trace.update(format!("{number} {effect:?}"));
            let node = &mut self.nodes[number];
            match effect {
                Effect::Verify { id, items } => {
                    let valid =
                        items.iter().map(|item| item.check(&sundog_types::sign::Verifier::without_memory())).collect();
                    self.input(number, Input::Verified { id, valid });
                }
                Effect::Recover(job) => {
                    let (id, outcome) = job.run();
                    self.input(number, Input::Recovered { id, outcome });
                }
                Effect::Timeline { timeline, .. } => node.timelines.push(*timeline),
                Effect::Send { addresses, shred, kind, .. } => {
                    let from = Sender::Peer(node.key());
                    if kind != SendKind::Broadcast {
                        *node.retransmitted.entry(shred.clone()).or_default() += 1;
                    }
                    let slot = u64::from_le_bytes(shred[65..73].try_into().unwrap());
                    let lost = self.rng.gen_range(0..100) < self.weather.shreds_lost;
                    if !lost && self.weather.hidden != Some(Slot::new(slot)) {
                        self.deliver(node_at(addresses.tvu.unwrap()), Input::Shred { bytes: shred, from });
                    }
                }
                Effect::SendRepair { to, bytes, .. } => {
                    if self.rng.gen_range(0..100) >= self.weather.repair_lost {
                        self.deliver(node_at(to), Input::RepairRequest { from: repair_socket(number), bytes });
                    }
                }
                Effect::SendServed { to, bytes, .. } => {
                    if self.rng.gen_range(0..100) >= self.weather.repair_lost {
                        let from = addresses(number).serve_repair.unwrap();
                        self.deliver(node_at(to), Input::RepairResponse { from, bytes });
                    }
                }
                Effect::Store { shreds } => {
                    let mut shelf = node.shelf.0.lock().unwrap();
                    for shred in shreds.iter().filter(|shred| shred.kind() == Kind::Data) {
                        let before = shelf.insert((shred.slot(), shred.index()), shred.payload().clone());
                        assert!(before.is_none(), "stored once");
                    }
                }
                Effect::SlotStarted { .. } => {}
                Effect::Ancestors { slot, hashes } => {
                    assert!(node.ancestors.insert(slot, hashes).is_none(), "told once")
                }
                Effect::Data { slot, batch, .. } => node.data.entry(slot).or_default().push(batch),
                Effect::Complete { slot, block_id, .. } => {
                    assert!(node.complete.insert(slot, block_id).is_none(), "complete once");
                }
                Effect::Dead { slot, why } => assert!(node.dead.insert(slot, why).is_none(), "dead once"),
                Effect::Duplicate { slot, why, proof, first, second } => {
                    assert_ne!(first, second);
                    let before = node.conflicts.insert((slot, why), proof);
                    assert!(before.is_none(), "each kind is reported once");
                    if !node.duplicate.contains(&slot) {
                        node.duplicate.push(slot);
                    }
                }
            }
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now.after(time);
        loop {
            let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
            let alive = self.nodes.iter().enumerate().filter(|(_, node)| node.alive);
            let timer = alive.filter_map(|(number, node)| Some((node.turbine.poll_timeout()?.mono_us, number))).min();
            let next = [arrival, timer.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end.mono_us) else {
                break;
            };
            self.now = self.now.after(Duration::from_micros(next.saturating_sub(self.now.mono_us)));
            if arrival == Some(next) {
                let (_, (to, input)) = self.queue.pop_first().unwrap();
                if self.nodes[to].alive {
                    self.input(to, input);
                }
            } else if let Some((_, number)) = timer {
                let mut out = Vec::new();
                self.nodes[number].turbine.handle_timeout(self.now, &mut out);
                self.perform(number, out);
            }
        }
        self.now = end;
    }

    pub fn trace(&self) -> [u8; 32] {
        self.trace.clone().finalize().into()
    }
}
