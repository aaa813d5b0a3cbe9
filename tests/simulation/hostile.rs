//! Hostile leaders and hostile nodes among Turbine machines, and what the honest ones make of it. Every run is over
//! real machines in virtual time, with a seed: what fails can be replayed. In each of them
//!
//! - no honest node's memory passes the bound of the run, looked at every 20 ms of virtual time;
//! - no node passes a shred on to another twice;
//! - a leader that contradicts itself is reported by every honest node, each kind once, and no other leader is;
//! - the blocks of the honest leaders arrive at every honest node.

mod floods;
mod leaders;
mod nodes;
mod repair;

use bytes::{Bytes, BytesMut};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use sundog_turbine::{
    DuplicateReason, FecSet, Shredder,
    proof::{ProofKind, conflicts, decode},
};
use sundog_types::{
    Hash, Now, Slot,
    shred::{Kind, Shred, Signed, seal, signature_holds},
};
use sundog_validator::sim::{
    Network,
    spread::{Actor, Block, Datagram, SHRED_VERSION, Sending, SpreadConfig, SpreadHost, SpreadWorld},
};

const SLOT: Duration = Duration::from_millis(400);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Slots after the last block in which everybody must have all.
const PATIENCE_SLOTS: u32 = 60;
/// Distance of the root from the clock: a vote is rooted by the 31 that follow.
const ROOT_BEHIND: u64 = 32;
/// Bytes that a node holds for an FEC set of which all 64 shreds are here: they, and the table they lie in.
const SET_BYTES: usize = 64 * 1_228 + SET_TABLE_BYTES;
/// Bytes that a node holds for an FEC set beside shreds: the table, a shred of it as a witness, its places in indexes.
const SET_TABLE_BYTES: usize = 8_000;
/// Bytes that a node remembers of an FEC set that it is done with: a witness, verified roots, marks, how each of its
/// shreds came.
const DONE_BYTES: usize = 5_000;
/// What is held where blocks have up to four FEC sets: those of four slots, and what is remembered of 80.
const SMALL: usize = 4 * 4 * SET_BYTES + 80 * 4 * DONE_BYTES;

/// What somebody sends in answer to a datagram.
type Hear = Box<dyn FnMut(Now, &Datagram) -> Vec<Sending> + Send>;
/// What somebody sends every 10 ms.
type Tick = Box<dyn FnMut(Now) -> Vec<Sending> + Send>;

/// Whoever stands in a node's place: does what two closures say.
struct Acts {
    /// Whether the node's machine runs on beside.
    honest: bool,
    hear: Hear,
    tick: Tick,
}

impl Acts {
    /// Sends nothing but what the machine does, if that runs on.
    fn idle(honest: bool) -> Self {
        Self { honest, hear: Box::new(|_, _| Vec::new()), tick: Box::new(|_| Vec::new()) }
    }
}

impl Actor for Acts {
    fn hear(&mut self, now: Now, datagram: &Datagram) -> Vec<Sending> {
        (self.hear)(now, datagram)
    }

    fn tick(&mut self, now: Now) -> Vec<Sending> {
        (self.tick)(now)
    }

    fn also_honest(&self) -> bool {
        self.honest
    }
}

/// A run.
struct Trial {
    world: SpreadWorld,
    hostile: BTreeSet<usize>,
    /// Slots whose leader contradicts itself.
    forked: BTreeSet<Slot>,
    tip: Slot,
    /// Blocks of honest leaders, each on the one before.
    blocks: Vec<Slot>,
    /// The most bytes that any honest node held at any time.
    peak: usize,
}

fn config(seed: u64, nodes: usize) -> SpreadConfig {
    let network =
        Network { delay_min: Duration::from_millis(20), delay_max: Duration::from_millis(60), ..Network::default() };
    SpreadConfig { seed, nodes, network, note_copies: true, ..SpreadConfig::default() }
}

fn with_loss(config: SpreadConfig, percent: u32) -> SpreadConfig {
    let network = Network { loss_ppm: percent * 10_000, ..config.network };
    SpreadConfig { network, ..config }
}

impl Trial {
    fn new(config: SpreadConfig) -> Self {
        let world = SpreadWorld::new(config);
        let (hostile, forked) = (BTreeSet::new(), BTreeSet::new());
        Self { world, hostile, forked, tip: Slot::ZERO, blocks: Vec::new(), peak: 0 }
    }

    fn replace(&mut self, node: usize, actor: Acts) {
        self.world.replace(node, Box::new(actor));
        self.hostile.insert(node);
    }

    fn honest(&self) -> impl Iterator<Item = (usize, &SpreadHost)> {
        self.world.hosts.iter().enumerate().filter(|(number, _)| !self.hostile.contains(number))
    }

    fn others(&self, node: usize) -> Vec<usize> {
        (0..self.world.hosts.len()).filter(|other| *other != node).collect()
    }

    /// Lets time pass, with an eye on the memory of all honest nodes.
    fn pass(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(LOOK);
            self.world.run_for(step);
            left -= step;
            let held = self.honest().map(|(_, host)| host.turbine.held_bytes()).max();
            self.peak = self.peak.max(held.unwrap_or(0));
        }
    }

    /// The clock comes to a slot: votes tell of the blocks two slots ago, and the root follows.
    fn begin(&mut self, slot: Slot) {
        self.tip = slot;
        self.world.set_tip(slot);
        let complete = |slot: &&Slot| self.world.complete_everywhere(**slot);
        let old = |slot: &&Slot, behind: u64| slot.get() + behind <= self.tip.get();
        let wanted = self.blocks.iter().filter(|slot| old(slot, 2) && !complete(slot)).copied().collect::<Vec<_>>();
        let root = self.blocks.iter().take_while(|slot| old(slot, ROOT_BEHIND) && complete(slot)).last().copied();
        self.world.set_wanted(&wanted);
        if let Some(root) = root {
            self.world.set_root(root);
        }
    }

    /// Slots pass until so many of honest leaders have been filled, with blocks of so many FEC sets.
    fn lead(&mut self, blocks: usize, sets: usize) {
        let target = self.blocks.len() + blocks;
        while self.blocks.len() < target {
            self.lead_one(sets);
        }
    }

    /// A slot passes, filled if its leader is honest.
    fn lead_one(&mut self, sets: usize) {
        let slot = self.tip.next();
        self.begin(slot);
        if self.hostile.contains(&self.world.leader(slot)) {
            return self.pass(SLOT);
        }
        let parent = self.blocks.last().copied().unwrap_or_default();
        for set in self.world.block(Block { slot, parent, sets, version: 0 }) {
            self.pass(SLOT / sets as u32);
            self.world.publish(set);
        }
        self.blocks.push(slot);
    }

    /// Empty slots pass until every honest node has every honest block.
    fn finish(&mut self) {
        for _ in 0..PATIENCE_SLOTS {
            if self.blocks.iter().all(|slot| self.world.complete_everywhere(*slot)) {
                return;
            }
            self.begin(self.tip.next());
            self.pass(SLOT);
        }
    }

    /// The first slot from here on that begins the turn of its leader, and him.
    fn turn_from(&self, slot: u64) -> (usize, Slot) {
        let leader = |slot: u64| self.world.leader(Slot::new(slot));
        let first = (slot..).find(|slot| leader(*slot) != leader(slot - 1)).expect("leaders change");
        (leader(first), Slot::new(first))
    }

    /// Blocks of two sets up to a slot, and its parent.
    fn lead_up_to(&mut self, slot: Slot) -> Slot {
        while self.tip.next() < slot {
            self.lead_one(2);
        }
        self.begin(slot);
        self.blocks.last().copied().unwrap_or_default()
    }

    /// What must hold after every run.
    #[track_caller]
    fn check(&self, name: &str, bound: usize) {
        assert!(self.peak <= bound, "{name}: {} bytes held, {bound} allowed", self.peak);
        for (number, host) in self.honest() {
            let missing: Vec<_> = self.blocks.iter().filter(|slot| !host.told.complete.contains_key(slot)).collect();
            assert_eq!(missing, Vec::<&Slot>::new(), "{name}: node {number} lacks blocks");
            assert_eq!(host.told.completed_again, 0);
            let dead = host.told.dead.keys().find(|slot| self.blocks.contains(slot));
            assert_eq!(dead, None, "{name}: node {number} gave an honest block up");
            self.check_reports(number, host);
        }
        let twice = self.world.copies().iter().find(|(_, times)| **times > 1);
        assert_eq!(twice, None, "{name}: passed on more than once");
    }

    /// Each kind of contradiction once, with one proof that others believe, and of guilty leaders only.
    #[track_caller]
    fn check_reports(&self, number: usize, host: &SpreadHost) {
        let mut kinds: BTreeMap<Slot, BTreeSet<DuplicateReason>> = BTreeMap::new();
        for told in &host.told.duplicates {
            assert!(self.forked.contains(&told.slot), "node {number} accuses the honest leader of {}", told.slot);
            assert!(kinds.entry(told.slot).or_default().insert(told.why), "node {number}: {:?} twice", told.why);
        }
        for slot in &self.forked {
            let leader = self.world.hosts[self.world.leader(*slot)].key();
            let told = |why| kinds.get(slot).is_some_and(|kinds| kinds.contains(&why));
            assert!(told(DuplicateReason::ForkedSet), "node {number} did not notice slot {slot}: {kinds:?}");
            let of_slot = host.told.duplicates.iter().filter(|told| told.slot == *slot);
            let proofs: Vec<_> = of_slot.filter_map(|told| told.proof.as_ref()).collect();
            let [proof] = proofs[..] else { panic!("node {number}: {} proofs of slot {slot}", proofs.len()) };
            let shreds = decode(proof).unwrap().map(|bytes| Shred::raw(bytes).parse().unwrap());
            let signed = |shred: &Shred<_>| shred.clone().verify(&leader, signature_holds).is_ok();
            let kind = conflicts(&shreds[0], &shreds[1], SHRED_VERSION, signed).unwrap();
            assert_eq!(kind, ProofKind::ForkedSet);
        }
    }

    /// Refusals for this reason at all honest nodes.
    fn dropped(&self, why: sundog_turbine::DropReason) -> u64 {
        self.honest().map(|(_, host)| host.turbine.metrics().dropped(why)).sum()
    }

    /// A block of a slot's leader in one batch, or as many sets as fit.
    fn one_batch(&self, slot: Slot, parent: Slot, sets: usize) -> Vec<FecSet> {
        let mut shredder = Shredder::new(slot, parent, SHRED_VERSION, Hash::default()).unwrap();
        let bytes = vec![slot.get() as u8; shredder.room(true) - (1_024 - sets) * 30_816];
        let made = shredder.shred(&bytes, 63, true, &*self.world.hosts[self.world.leader(slot)].identity).unwrap();
        assert_eq!(made.len(), sets);
        made
    }

    /// A set that its leader changed before signing.
    fn remake(&self, set: &FecSet, change: impl Fn(usize, &mut BytesMut)) -> FecSet {
        let shreds = shreds(set).enumerate().map(|(place, shred)| {
            let mut bytes = BytesMut::from(&shred.payload()[..]);
            change(place, &mut bytes);
            bytes
        });
        let signer = &self.world.hosts[self.world.leader(set.data[0].slot())].identity;
        let mut data = seal::sign(shreds.collect(), &**signer).unwrap();
        let code = data.split_off(32);
        FecSet { root: data[0].merkle_root(), data, code }
    }
}

fn shreds(set: &FecSet) -> impl Iterator<Item = &Shred<Signed>> {
    set.data.iter().chain(&set.code)
}

fn datagrams(set: &FecSet) -> Vec<Bytes> {
    shreds(set).map(|shred| shred.payload().clone()).collect()
}

/// What is left of a set when its leader keeps shreds for itself.
fn part_of(set: &FecSet, keep: impl Fn(usize) -> bool) -> FecSet {
    let (data, code) = shreds(set)
        .enumerate()
        .filter(|(place, _)| keep(*place))
        .map(|(_, shred)| shred.clone())
        .partition(|shred| shred.kind() == Kind::Data);
    FecSet { root: set.root, data, code }
}

#[test]
fn one_seed_is_one_run() {
    let outcome = |trial: &Trial| (trial.world.history(), trial.world.delivered(), trial.peak);
    for run in [leaders::versions, |seed| leaders::undecodable(seed, true), floods::replay] {
        assert_eq!(outcome(&run(90)), outcome(&run(90)));
    }
    assert_ne!(outcome(&leaders::versions(90)), outcome(&leaders::versions(91)));
}
