//! Sync machines in virtual time over reliable links with delay; some of them lie.

use crate::ledger::{Ledger, SHRED_VERSION, SLOTS_PER_EPOCH, epoch};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use sundog_turbine::sync::{
    ChainState, Effect, Held, Hello, Input, LinkId, LoadWhat, Message, Refusal, Role, StoredBlock, Sync, SyncConfig,
};
use sundog_types::{
    Hash, Machine as _, Now, Pubkey, Slot,
    peer::{Addresses, Peer, Version},
};

const LATENCY: Duration = Duration::from_millis(20);

/// What is false about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    None,
    /// It does not listen.
    Absent,
    /// It never says a word.
    Mute,
    /// It greets and pongs, and answers nothing else.
    Silent,
    /// It claims a root far beyond what it has, and says that those slots are skipped.
    Boasts,
    /// It claims a root beyond all known epochs.
    BoastsForever,
    /// It claims to have what it then says it has not.
    NotHeld,
    /// It leaves blocks out, except at its root.
    Omits,
    /// It says that all slots are skipped.
    AllSkipped,
    /// It changes a byte of a block.
    Forges,
    /// It serves blocks without their last shreds.
    Cuts,
    /// It serves a fork that died: signed by the leaders.
    Minority,
    /// It answers with noise.
    Garbage,
    /// It serves blocks in the wrong order.
    Disorder,
    /// It answers requests that were not made.
    Unasked,
    /// It serves one part of an answer a second, for ever.
    Drips,
    /// It closes the link when it is asked for blocks.
    HangsUp,
}

pub struct Node {
    pub sync: Sync,
    pub key: Pubkey,
    pub address: SocketAddr,
    pub ledger: Ledger,
    pub chain: ChainState,
    pub lie: Lie,
    /// Blocks that came out: slot, id, sender.
    pub released: Vec<(Slot, Hash, Pubkey)>,
    /// What was executed: parent by slot and id.
    pub executed: BTreeMap<(Slot, Hash), (Slot, Hash)>,
    /// Blocks that execution refuses.
    pub bad: BTreeSet<Hash>,
    pub log: Vec<String>,
    pub refused: Vec<(Pubkey, Refusal)>,
    epochs: u64,
    links: BTreeMap<LinkId, (usize, LinkId)>,
}

#[derive(Debug)]
enum Event {
    Input(usize, Input),
    /// Held back until the link exists at the other side.
    Frame(usize, LinkId, Bytes),
}

pub struct World {
    pub now: Now,
    pub nodes: Vec<Node>,
    pub wakes: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    next_link: u64,
    seed: u64,
    rng: ChaCha8Rng,
}

pub fn config() -> SyncConfig {
    SyncConfig::new(Hash::new_from_array([9; 32]), SHRED_VERSION, Role::Following).validate().unwrap()
}

fn key(place: usize) -> Pubkey {
    Pubkey::new_from_array([place as u8 + 100; 32])
}

impl World {
    pub fn new(seed: u64) -> Self {
        let now = Now { mono_us: 1_000_000, unix_ms: 1_000 };
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { now, nodes: Vec::new(), wakes: 0, events: BTreeMap::new(), sequence: 0, next_link: 0, seed, rng }
    }

    /// Adds a node that has this chain, all of it executed and finalised.
    pub fn add(&mut self, ledger: Ledger, lie: Lie) -> usize {
        let place = self.nodes.len();
        let (tip, id) = ledger.tip();
        let mut root = tip;
        if lie == Lie::Boasts {
            root = tip.saturating_add(60);
        } else if lie == Lie::BoastsForever {
            root = Slot::new(u64::MAX - 5);
        }
        let applied_id = (tip > Slot::ZERO).then_some(id);
        let chain = ChainState {
            root,
            root_id: applied_id,
            lowest: Slot::ZERO,
            highest: root,
            applied: root,
            applied_id,
            heard: tip,
        };
        let executed = ledger.0.iter().map(|(slot, block)| ((*slot, block.id), (block.parent, block.parent_id)));
        let node = Node {
            sync: Sync::new(config(), key(place), [place as u8 + self.seed as u8; 32]),
            key: key(place),
            address: SocketAddr::from(([10, 0, 0, place as u8], 8_000)),
            executed: executed.collect(),
            ledger,
            chain,
            lie,
            released: Vec::new(),
            bad: BTreeSet::new(),
            log: Vec::new(),
            refused: Vec::new(),
            epochs: 0,
            links: BTreeMap::new(),
        };
        self.nodes.push(node);
        place
    }

    /// Tells everybody of everybody, and of the highest block that any honest node has.
    pub fn introduce(&mut self) {
        let honest = self.nodes.iter().filter(|node| node.lie == Lie::None);
        let heard = honest.map(|node| node.chain.root).max().unwrap_or_default();
        self.nodes.iter_mut().for_each(|node| node.chain.heard = heard);
        let peers: Arc<Vec<Peer>> = Arc::new(self.nodes.iter().map(peer).collect());
        for place in 0..self.nodes.len() {
            self.boot(place, &peers);
        }
    }

    fn boot(&mut self, place: usize, peers: &Arc<Vec<Peer>>) {
        self.input(place, Input::Peers(Arc::clone(peers)));
        self.nodes[place].epochs = 0;
        self.tell_epochs(place);
        let chain = self.nodes[place].chain;
        self.input(place, Input::Chain(chain));
    }

    /// Ends a node's machine and starts another on the same ledger.
    pub fn restart(&mut self, place: usize) {
        let links = std::mem::take(&mut self.nodes[place].links);
        for (other, link) in links.into_values() {
            self.nodes[other].links.remove(&link);
            self.later(LATENCY, Event::Input(other, Input::Closed { link }));
        }
        self.nodes[place].sync = Sync::new(config(), key(place), [place as u8 + self.seed as u8 + 50; 32]);
        let peers = Arc::new(self.nodes.iter().map(peer).collect());
        self.boot(place, &peers);
    }

    fn tell_epochs(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let known = node.chain.applied.get().min(10_000) / SLOTS_PER_EPOCH + 2;
        let fresh = node.epochs.max(known.saturating_sub(6))..known;
        node.epochs = known;
        for number in fresh {
            self.input(place, Input::Epoch(epoch(number)));
        }
    }

    fn later(&mut self, by: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now.after(by).mono_us, self.sequence), event);
    }

    /// Hands an input to a node now.
    pub fn input(&mut self, place: usize, input: Input) {
        let mut out = Vec::new();
        self.nodes[place].sync.handle(self.now, input, &mut out);
        self.act(place, out);
    }

    fn act(&mut self, place: usize, effects: Vec<Effect>) {
        let mut moved = false;
        for effect in effects {
            match effect {
                Effect::Dial { peer, address } => self.connect(place, peer, address),
                Effect::Send { link, frame } => self.speak(place, link, frame),
                Effect::Close { link } => self.hang_up(place, link),
                Effect::Load(load) => {
                    let input = self.nodes[place].load(load.id, load.what);
                    self.later(Duration::from_millis(2), Event::Input(place, input));
                }
                Effect::Check(check) => {
                    let checked = Input::Checked(Box::new(check.run()));
                    self.later(Duration::from_millis(5), Event::Input(place, checked));
                }
                Effect::Block { from, slot, shreds } => {
                    moved |= self.execute(place, from, slot, shreds.iter().map(|shred| shred.payload().clone()));
                }
                Effect::Refused { peer, why, .. } => self.nodes[place].refused.push((peer, why)),
                other => self.nodes[place].log.push(format!("{other:?}")),
            }
        }
        if moved {
            self.tell_epochs(place);
            let chain = self.nodes[place].chain;
            self.later(Duration::from_millis(1), Event::Input(place, Input::Chain(chain)));
        }
    }

    fn connect(&mut self, place: usize, peer: Pubkey, address: SocketAddr) {
        let other = self.nodes.iter().position(|node| node.address == address && node.lie != Lie::Absent);
        let Some(other) = other else {
            return self.later(LATENCY, Event::Input(place, Input::DialFailed { peer, address }));
        };
        let (here, there) = (LinkId::new(self.next_link), LinkId::new(self.next_link + 1));
        self.next_link += 2;
        self.nodes[place].links.insert(here, (other, there));
        self.nodes[other].links.insert(there, (place, here));
        let (ours, theirs) = (self.nodes[place].key, self.nodes[other].key);
        let opened = Input::Opened { link: here, peer: theirs, address, dialed: true };
        self.later(LATENCY, Event::Input(place, opened));
        let address = self.nodes[place].address;
        let opened = Input::Opened { link: there, peer: ours, address, dialed: false };
        self.later(LATENCY, Event::Input(other, opened));
    }

    fn speak(&mut self, place: usize, link: LinkId, frame: Bytes) {
        let Some((other, there)) = self.nodes[place].links.get(&link).copied() else { return };
        let mut random = [0; 60];
        self.rng.fill(&mut random[..]);
        match twist(self.nodes[place].lie, frame, &random) {
            Twisted::Frames(frames) => {
                for (number, frame) in frames.into_iter().enumerate() {
                    let later = if self.nodes[place].lie == Lie::Drips { number as u32 } else { 0 };
                    self.later(LATENCY + Duration::from_secs(1) * later, Event::Frame(other, there, frame));
                }
            }
            Twisted::HangUp => self.hang_up(place, link),
        }
    }

    fn hang_up(&mut self, place: usize, link: LinkId) {
        if let Some((other, there)) = self.nodes[place].links.remove(&link) {
            self.later(LATENCY, Event::Input(other, Input::Closed { link: there }));
            self.later(LATENCY, Event::Input(place, Input::Closed { link }));
        }
    }

    fn execute(&mut self, place: usize, from: Pubkey, slot: Slot, shreds: impl Iterator<Item = Bytes>) -> bool {
        let shreds: Vec<Bytes> = shreds.collect();
        let parsed = |bytes: &Bytes| sundog_types::shred::Shred::raw(bytes.clone()).parse().unwrap();
        let first = parsed(&shreds[0]);
        let id = parsed(shreds.last().unwrap()).merkle_root().unwrap();
        let parent = (first.parent().unwrap(), first.chained_merkle_root());
        let node = &mut self.nodes[place];
        node.released.push((slot, id, from));
        if node.bad.contains(&id) || node.bad.contains(&parent.1) {
            node.bad.insert(id);
            self.later(Duration::from_millis(3), Event::Input(place, Input::Dead { slot }));
            return false;
        }
        assert!(parent.0 == Slot::ZERO || node.executed.contains_key(&parent), "slot {slot} came before its parent");
        node.executed.insert((slot, id), parent);
        if slot >= node.chain.applied {
            (node.chain.applied, node.chain.applied_id) = (slot, Some(id));
            node.chain.highest = slot;
        }
        true
    }

    /// Consensus, from outside: the root is 32 slots behind the last executed block of the true chain.
    pub fn root(&mut self, place: usize, truth: &Ledger) {
        let node = &mut self.nodes[place];
        let done = truth.0.iter().take_while(|(slot, block)| node.executed.contains_key(&(**slot, block.id)));
        let Some((last, _)) = done.last() else { return };
        let below = truth.0.range(..=last.saturating_sub(32)).next_back();
        if let Some((slot, block)) = below.filter(|(slot, _)| **slot > node.chain.root) {
            (node.chain.root, node.chain.root_id) = (*slot, Some(block.id));
            let chain = node.chain;
            self.input(place, Input::Chain(chain));
        }
    }

    /// Lets time pass; true as soon as the condition holds.
    pub fn run(&mut self, time: Duration, until: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.after(time).mono_us;
        loop {
            if until(self) {
                return true;
            }
            let event = self.events.first_key_value().map(|(key, _)| *key);
            let wakes = self.nodes.iter().enumerate();
            let wake = wakes.filter_map(|(place, node)| Some((node.sync.poll_timeout()?.mono_us, place))).min();
            let at = event.map_or(u64::MAX, |key| key.0).min(wake.map_or(u64::MAX, |wake| wake.0));
            if at > end {
                self.now = self.now.after(Duration::from_micros(end.saturating_sub(self.now.mono_us)));
                return until(self);
            }
            self.now = self.now.after(Duration::from_micros(at.saturating_sub(self.now.mono_us)));
            match event.filter(|key| key.0 <= at) {
                Some(key) => match self.events.remove(&key).unwrap() {
                    Event::Input(place, input) => self.input(place, input),
                    Event::Frame(place, link, bytes) => self.input(place, Input::Frame { link, bytes }),
                },
                None => {
                    self.wakes += 1;
                    let (_, place) = wake.unwrap();
                    let mut out = Vec::new();
                    self.nodes[place].sync.handle_timeout(self.now, &mut out);
                    self.act(place, out);
                }
            }
        }
    }
}

pub fn peer(node: &Node) -> Peer {
    Peer {
        identity: node.key,
        addresses: Addresses { serve_repair: Some(node.address), ..Addresses::default() },
        stake: 1,
        last_seen: Now { mono_us: 0, unix_ms: 0 },
        shred_version: SHRED_VERSION,
        version: Version::default(),
        outset_us: 0,
        lowest_slot: Slot::ZERO,
    }
}

impl Node {
    fn load(&self, id: u64, what: LoadWhat) -> Input {
        let lowest = self.chain.lowest;
        let (mut blocks, next) = match what {
            LoadWhat::Range { from, count, bytes_max } => self.ledger.range(from, count, bytes_max),
            LoadWhat::Block { slot, block_id } => {
                let held = self.ledger.0.get(&slot).is_some_and(|block| block.id == block_id);
                (self.ledger.stored(slot).filter(|_| held).into_iter().collect(), slot.next())
            }
        };
        let is_range = matches!(what, LoadWhat::Range { .. });
        let root = self.chain.root;
        match self.lie {
            Lie::Omits if is_range => blocks.retain(|block| block.slot.get() % 7 != 0 || block.slot == root),
            Lie::AllSkipped if is_range => blocks.clear(),
            Lie::Disorder => blocks.reverse(),
            Lie::Cuts => {
                for block in &mut blocks {
                    block.shreds.truncate(block.shreds.len() - 1);
                }
            }
            Lie::Forges => {
                for shred in blocks.iter_mut().flat_map(|block| block.shreds.first_mut()) {
                    let mut bytes = shred.to_vec();
                    bytes[400] ^= 1;
                    *shred = bytes.into();
                }
            }
            _ => {}
        }
        Input::Loaded { id, blocks, next, lowest }
    }
}

enum Twisted {
    Frames(Vec<Bytes>),
    HangUp,
}

/// What becomes of a liar's frame.
fn twist(lie: Lie, frame: Bytes, random: &[u8]) -> Twisted {
    let message = Message::decode(&frame).unwrap();
    let is_answer = matches!(message, Message::Blocks { .. } | Message::NotHeld { .. });
    let frames = match (lie, message) {
        (Lie::Mute, _) => vec![],
        (Lie::Silent, _) if is_answer => vec![],
        (Lie::HangsUp, _) if is_answer => return Twisted::HangUp,
        (Lie::Garbage, _) if is_answer => vec![Bytes::copy_from_slice(random)],
        (Lie::NotHeld, Message::Blocks { id, .. }) => vec![Message::NotHeld { id, lowest: Slot::ZERO }.encode()],
        (Lie::Unasked, Message::Blocks { blocks, next, more, .. }) => {
            vec![Message::Blocks { id: 999_999, blocks, next, more }.encode()]
        }
        (Lie::Drips, Message::Blocks { id, blocks, next, .. }) => {
            let part = |block: StoredBlock| Message::Blocks { id, blocks: vec![block], next, more: true }.encode();
            blocks.into_iter().map(part).collect()
        }
        (_, _) => vec![frame],
    };
    Twisted::Frames(frames)
}

pub fn hello() -> Hello {
    let held = Held { root: Slot::new(500), highest: Slot::new(540), lowest: Slot::ZERO };
    let SyncConfig { genesis_hash, shred_version, role, .. } = config();
    Hello { protocol: sundog_turbine::sync::PROTOCOL, genesis_hash, shred_version, held, role }
}
