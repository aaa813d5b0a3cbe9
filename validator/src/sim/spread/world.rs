//! The world: nodes, virtual time, the network between them.

mod effects;

use super::{
    actor::{Actor, Datagram, Sending},
    config::{Block, SpreadConfig},
    host::{SpreadHost, Told, Traffic},
    library::{Library, Shelf},
    queue::{Event, Queue},
    stakes::stakes,
    work::Work,
};
use crate::sim::{
    Port,
    cast::{START, keypairs},
};
use bytes::Bytes;
use rand::{Rng as _, RngCore as _, SeedableRng as _, seq::index};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use sundog_turbine::{
    Effect, EpochInfo, FecSet, Input, Sender, Shredder, TreeCache, Turbine, TurbineConfig, WeightedShuffle,
    shredder::set_capacity,
};
use sundog_types::{
    Epoch, Hash, Machine as _, Now, Pubkey, Slot,
    peer::{Peer, Version},
    schedule::LeaderSchedule,
    shred::{Gates, ShredId},
    sign::{Identity, Sign},
    stakes::{EpochStakes, VoteStake},
};

/// Of the chain in the world.
pub const SHRED_VERSION: u16 = 7;
/// Slots of the one epoch.
const SLOTS: u64 = 8_192;
/// Other nodes whose `serve_repair` a node knows, drawn by stake; it then asks them evenly. In a real cluster it knows
/// all and asks by stake, which comes to the same for all nodes together, but ten thousand lists of ten thousand are
/// too much memory.
const REPAIR_PEERS: usize = 64;
/// Drawn trees kept: those of some hundred FEC sets that are under way at a time.
const ORDERS_MAX: usize = 8_192;
/// Memory for drawn trees in a large world, as positions in trees: a few hundred MB.
const POSITIONS_MAX: usize = 40_000_000;
/// Time between two ticks of an actor.
const ACTOR_TICK_MS: u64 = 10;

/// A shred that a node passed on to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PassedOn {
    /// The node that sent it.
    pub from: usize,
    /// The child.
    pub to: usize,
    /// Which shred.
    pub shred: ShredId,
    /// The first bytes of the leader's signature: which version of it.
    pub version: [u8; 8],
}

/// Turbine machines, and nothing else of a cluster.
pub struct SpreadWorld {
    /// The nodes, by stake falling.
    pub hosts: Vec<SpreadHost>,
    /// What the nodes' pools do.
    pub work: Work,
    /// Datagrams that arrived by Turbine at living nodes, by the number of hops from the leader.
    pub hops: Vec<u64>,
    config: SpreadConfig,
    now: Now,
    queue: Queue,
    rng: ChaCha8Rng,
    /// Draws delays and losses.
    weather: ChaCha8Rng,
    schedule: LeaderSchedule,
    numbers: BTreeMap<Pubkey, usize>,
    library: Arc<Library>,
    trees: Arc<TreeCache>,
    /// The nodes by stake.
    shuffle: WeightedShuffle,
    /// The root of each block's last FEC set, of the version made last.
    tails: BTreeMap<Slot, Hash>,
    copies: BTreeMap<PassedOn, u32>,
    history: Sha256,
    delivered: u64,
    scratch: Vec<Effect>,
}

impl SpreadWorld {
    /// Nodes that know each other and stand at slot 0.
    ///
    /// # Panics
    /// If there are fewer than two nodes, or more than addresses.
    #[must_use]
    pub fn new(config: SpreadConfig) -> Self {
        // Apart from the network's draws, so that runs with and without repair are of the same nodes.
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let stakes = stakes(config.nodes);
        let keypairs = keypairs(config.nodes, &mut rng);
        let keys: Vec<_> = keypairs.into_iter().map(|keypair| Arc::new(Identity::new(keypair))).collect();
        let epoch = epoch(&keys, &stakes);
        let peers = (0..keys.len()).map(|node| peer(node, &keys[node], stakes[node])).collect::<Vec<_>>();
        let registry = Arc::new(peers);
        let orders = ORDERS_MAX.min(POSITIONS_MAX / config.nodes).max(512);
        let mut world = Self {
            hosts: Vec::with_capacity(keys.len()),
            work: Work::default(),
            hops: Vec::new(),
            config,
            now: START,
            queue: Queue::default(),
            rng,
            weather: ChaCha8Rng::seed_from_u64(config.seed ^ u64::MAX),
            schedule: LeaderSchedule::clone(&epoch.leaders),
            numbers: keys.iter().enumerate().map(|(number, key)| (key.identity(), number)).collect(),
            library: Arc::default(),
            shuffle: WeightedShuffle::new(stakes.iter().map(|stake| stake + 1)),
            trees: Arc::new(TreeCache::with_registry(orders, Arc::clone(&registry))),
            tails: BTreeMap::new(),
            copies: BTreeMap::new(),
            history: Sha256::new(),
            delivered: 0,
            scratch: Vec::new(),
        };
        for (identity, stake) in keys.into_iter().zip(stakes) {
            world.add(identity, stake, &epoch, &registry);
        }
        world
    }

    fn add(&mut self, identity: Arc<Identity>, stake: u64, epoch: &EpochInfo, registry: &[Peer]) {
        let config = TurbineConfig { fanout: Some(self.config.fanout), ..TurbineConfig::new(SHRED_VERSION) };
        let shelf = Arc::new(Shelf::new(Arc::clone(&self.library)));
        let signer = Arc::clone(&identity) as Arc<dyn Sign>;
        let (seed, trees) = (self.rng.r#gen(), Arc::clone(&self.trees));
        let turbine = Turbine::with_trees(config, signer, Arc::clone(&shelf) as _, seed, trees);
        let (told, traffic) = (Told::default(), Traffic::default());
        let number = self.hosts.len();
        self.hosts.push(SpreadHost {
            turbine,
            identity,
            stake,
            alive: true,
            told,
            traffic,
            shelf,
            actor: None,
            timer: None,
            pool_free: START,
        });
        let others = self.shuffle.clone().shuffle(&mut self.rng).filter(|other| *other != number);
        let known = others.take(REPAIR_PEERS).map(|other| Peer { stake: 1, ..registry[other] });
        let known = known.filter(|_| self.config.repair).collect();
        self.input(number, Input::Epoch(epoch.clone()));
        self.input(number, Input::Peers(Arc::new(known)));
    }

    /// What it is made of.
    #[must_use]
    pub fn config(&self) -> &SpreadConfig {
        &self.config
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// The number of the node that leads a slot.
    #[must_use]
    pub fn leader(&self, slot: Slot) -> usize {
        self.numbers[&self.schedule.leader_at(slot.get())]
    }

    /// The number of the node with this identity.
    #[must_use]
    pub fn number(&self, key: &Pubkey) -> Option<usize> {
        self.numbers.get(key).copied()
    }

    /// Stops so many nodes, drawn among those that do not lead `spared` slots.
    pub fn kill(&mut self, count: usize, spared: impl IntoIterator<Item = Slot>) {
        let leaders: Vec<_> = spared.into_iter().map(|slot| self.leader(slot)).collect();
        let mortal: Vec<_> = (0..self.hosts.len()).filter(|number| !leaders.contains(number)).collect();
        for place in index::sample(&mut self.rng, mortal.len(), count.min(mortal.len())) {
            self.hosts[mortal[place]].alive = false;
        }
    }

    /// Puts somebody in a node's place.
    pub fn replace(&mut self, node: usize, actor: Box<dyn Actor>) {
        self.hosts[node].actor = Some(actor);
        self.queue.push(self.now_ms() + ACTOR_TICK_MS, Event::Tick { node });
    }

    /// Makes a block as its leader would: random contents, whole FEC sets, chained to its parent's last set if that was
    /// made here.
    ///
    /// # Panics
    /// If the slot does not lie after the parent, or the block is too large.
    pub fn block(&mut self, block: Block) -> Vec<FecSet> {
        let Block { slot, parent, sets, version } = block;
        let chained = self.tails.get(&parent).copied().unwrap_or_default();
        let mut shredder = Shredder::new(slot, parent, SHRED_VERSION, chained).expect("the parent lies before");
        let signer = Arc::clone(&self.hosts[self.leader(slot)].identity);
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed ^ slot.get() << 8 ^ u64::from(version));
        let mut made = Vec::with_capacity(sets);
        for number in 1..=sets {
            let last = number == sets;
            let mut bytes = vec![0; set_capacity(last)];
            rng.fill_bytes(&mut bytes);
            let tick = (64 * number / sets).min(63) as u8;
            made.extend(shredder.shred(&bytes, tick, last, &*signer).expect("room in the slot"));
        }
        self.tails.insert(slot, shredder.chained_root());
        made
    }

    /// The leader of the set's slot sends it down the trees.
    pub fn publish(&mut self, set: FecSet) {
        let leader = self.leader(set.data[0].slot());
        self.input(leader, Input::Own { set });
    }

    /// A node sends datagrams to the TVU of each of the receivers, past all trees.
    pub fn hand_out(&mut self, from: usize, to: &[usize], datagrams: &[Bytes]) {
        for bytes in datagrams {
            for to in to {
                self.post(from, Sending { to: *to, port: Port::TvuQuic, bytes: bytes.clone() });
            }
        }
    }

    /// The clock's slot, for all.
    pub fn set_tip(&mut self, slot: Slot) {
        self.tell_all(|| Input::Tip(slot));
    }

    /// The root, for all. Nobody serves what is below.
    pub fn set_root(&mut self, slot: Slot) {
        self.tell_all(|| Input::Root(slot));
        self.hosts.iter().for_each(|host| host.shelf.forget_below(slot));
        self.library.forget_below(slot);
    }

    /// Votes told all that these slots exist.
    pub fn set_wanted(&mut self, slots: &[Slot]) {
        self.tell_all(|| Input::Wanted(slots.to_vec()));
    }

    fn tell_all(&mut self, input: impl Fn() -> Input) {
        for number in 0..self.hosts.len() {
            if self.hosts[number].alive {
                self.input(number, input());
            }
        }
    }

    /// Whether a slot is complete at every living node.
    #[must_use]
    pub fn complete_everywhere(&self, slot: Slot) -> bool {
        let honest = |host: &&SpreadHost| host.alive && host.actor.is_none();
        self.hosts.iter().filter(honest).all(|host| host.told.complete.contains_key(&slot))
    }

    /// How often a node passed a shred on to a child, if [`SpreadConfig::note_copies`] is set.
    #[must_use]
    pub fn copies(&self) -> &BTreeMap<PassedOn, u32> {
        &self.copies
    }

    /// The running hash of all that was delivered: one seed, one history.
    #[must_use]
    pub fn history(&self) -> Hash {
        Hash::new_from_array(self.history.clone().finalize().into())
    }

    /// Datagrams and timers delivered.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Lets time pass until `done`, looked at every 10 ms, at most `limit`. Says whether it was.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now_ms() + limit.as_millis() as u64;
        while self.now_ms() < end {
            if done(self) {
                return true;
            }
            self.run_to(end.min(self.now_ms() + ACTOR_TICK_MS));
        }
        done(self)
    }

    /// Lets time pass until nothing more happens, at most `limit`.
    pub fn run_out(&mut self, limit: Duration) {
        let end = self.now_ms() + limit.as_millis() as u64;
        while let Some(next) = self.queue.next_ms(self.now_ms())
            && next <= end
        {
            self.run_to(next);
        }
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

    fn now_ms(&self) -> u64 {
        self.now.mono_us / 1_000
    }

    fn happen(&mut self, event: Event) {
        self.delivered += 1;
        let now = self.now;
        match event {
            Event::Timer { node } => {
                let host = &mut self.hosts[node];
                if host.timer != Some(now.mono_us / 1_000) || !host.alive {
                    return;
                }
                host.timer = None;
                let mut out = std::mem::take(&mut self.scratch);
                host.turbine.handle_timeout(now, &mut out);
                self.perform(node, out);
            }
            Event::Answer { node, answer } => self.input(node, *answer),
            Event::Tick { node } => {
                let Some(actor) = self.hosts[node].actor.as_mut() else { return };
                let sendings = actor.tick(now);
                self.post_all(node, sendings);
                self.queue.push(self.now_ms() + ACTOR_TICK_MS, Event::Tick { node });
            }
            Event::Datagram { to, datagram } => self.arrive(to, datagram),
        }
    }

    fn arrive(&mut self, to: usize, datagram: Datagram) {
        let host = &mut self.hosts[to];
        if !host.alive {
            return;
        }
        self.history.update([self.now.mono_us, datagram.from as u64, to as u64].map(u64::to_le_bytes).as_flattened());
        self.history.update(&datagram.bytes[..datagram.bytes.len().min(80)]);
        if let Some(actor) = host.actor.as_mut() {
            let sendings = actor.hear(self.now, &datagram);
            let honest = actor.also_honest();
            self.post_all(to, sendings);
            if !honest {
                return;
            }
        }
        let Datagram { from, port, bytes } = datagram;
        let input = match port {
            Port::TvuQuic => Input::Shred { bytes, from: Sender::Peer(self.hosts[from].key()) },
            Port::Repair => Input::RepairResponse { from: Port::ServeRepair.address(from), bytes },
            Port::ServeRepair => Input::RepairRequest { from: Port::Repair.address(from), bytes },
            _ => return,
        };
        self.input(to, input);
    }

    /// Hands a node's machine an input.
    pub fn input(&mut self, node: usize, input: Input) {
        let mut out = std::mem::take(&mut self.scratch);
        self.hosts[node].turbine.handle(self.now, input, &mut out);
        self.perform(node, out);
    }

    fn post_all(&mut self, from: usize, sendings: Vec<Sending>) {
        for sending in sendings {
            self.post(from, sending);
        }
    }

    /// Sends a datagram; says whether it will arrive at a living node.
    fn post(&mut self, from: usize, sending: Sending) -> bool {
        let Sending { to, port, bytes } = sending;
        self.hosts[from].traffic.bytes += bytes.len() as u64;
        let delay = self.config.network.draw(&mut self.weather);
        let Some(delay) = delay.filter(|_| self.hosts.get(to).is_some_and(|host| host.alive)) else {
            return false;
        };
        let at = self.now_ms() + (delay.as_millis() as u64).max(1);
        self.queue.push(at, Event::Datagram { to, datagram: Datagram { from, port, bytes } });
        true
    }
}

fn epoch(keys: &[Arc<Identity>], stakes: &[u64]) -> EpochInfo {
    let staked = keys.iter().zip(stakes).filter(|(_, stake)| **stake > 0);
    let votes = staked.map(|(key, stake)| {
        let node = key.identity();
        // The vote account's key weighs nothing here: the node's own does for it.
        (node, VoteStake { node, authorized_voter: node, stake: *stake })
    });
    let stakes = Arc::new(EpochStakes { by_vote_account: votes.collect() });
    EpochInfo {
        epoch: Epoch::ZERO,
        first_slot: Slot::ZERO,
        slots: SLOTS,
        leaders: Arc::new(LeaderSchedule::new(Epoch::ZERO, SLOTS, &stakes)),
        stakes,
        gates: Gates::since_genesis(Epoch::new(1)),
    }
}

fn peer(node: usize, key: &Identity, stake: u64) -> Peer {
    Peer {
        identity: key.identity(),
        addresses: Port::advertised(node),
        stake,
        last_seen: START,
        shred_version: SHRED_VERSION,
        version: Version::default(),
        outset_us: 0,
        lowest_slot: Slot::ZERO,
    }
}
