//! Leaders: what leaves them is what the reference describes, and no moment of death makes them sign a slot twice.

use super::{promises::Dice, *};
use std::collections::BTreeMap;
use sundog_types::{
    Hash, entry,
    shred::{Kind, View, merkle},
};
use sundog_validator::payments;

/// Ticks in a slot of these worlds.
const TICKS: u64 = 64;
/// Bits of a data shred's flags: the last of its batch, and of its slot.
const ENDS: u8 = 0xc0;
const DATA_COMPLETE: u8 = 0x40;

/// A data or code shred as its leader sent it.
type Shreds<'a> = BTreeMap<u32, View<'a>>;

/// What a leader sent of a slot, data and code by index.
struct Block<'a> {
    leader: Pubkey,
    data: Shreds<'a>,
    code: Shreds<'a>,
}

impl<'a> Block<'a> {
    fn parent(&self) -> Slot {
        self.data[&0].parent().expect("a data shred names it")
    }

    /// Whether its last shred has left.
    fn ended(&self) -> bool {
        self.data.values().next_back().is_some_and(|last| last.flags() & ENDS == ENDS)
    }

    /// The 64 shreds of each set, data first.
    fn sets(&self) -> Vec<Vec<View<'a>>> {
        let count = u32::try_from(self.data.len()).expect("few");
        assert_eq!((self.data.len() % 32, self.code.len()), (0, self.data.len()), "sets are whole, 32 and 32");
        let set = |first| {
            let kind = |shreds: &Shreds<'a>| (first..first + 32).map(|index| shreds[&index]).collect::<Vec<_>>();
            [kind(&self.data), kind(&self.code)].concat()
        };
        (0..count).step_by(32).map(set).collect()
    }

    fn last_root(&self) -> Hash {
        merkle::root_of(*self.data.values().next_back().expect("it has shreds")).expect("it is whole")
    }
}

/// What the leaders sent since the world listens, by slot.
fn blocks(world: &World) -> BTreeMap<Slot, Block<'_>> {
    let leaders = &world.hosts[0].view.as_ref().expect("a view").leaders;
    let mut blocks = BTreeMap::new();
    for sent in world.wire.kept() {
        let view = View::read(&sent.bytes).expect("nodes send shreds");
        let leader = leaders.leader(view.slot()).expect("an epoch that began");
        if leader != identity(world, sent.from) {
            continue;
        }
        let empty = || Block { leader, data: BTreeMap::new(), code: BTreeMap::new() };
        let block = blocks.entry(view.slot()).or_insert_with(empty);
        let kind = if view.kind() == Kind::Data { &mut block.data } else { &mut block.code };
        assert!(kind.insert(view.index().get(), view).is_none(), "a leader sends each shred once");
    }
    blocks
}

/// Headers, proofs, signatures and chain of a set of 64.
fn set_is_standard(block: &Block<'_>, set: &[View<'_>], chained: Hash) {
    let first = set[0].index().get();
    let root = merkle::root_of(set[0]).expect("it is whole");
    assert!(set[0].signature().verify(block.leader.as_ref(), root.as_ref()), "the leader signs the root");
    let resigned = set[0].variant().resigned();
    for (leaf, shred) in set.iter().enumerate() {
        assert_eq!(merkle::root_of(*shred), Some(root), "64 leaves of one tree");
        assert_eq!((shred.signature(), shred.chained_root()), (set[0].signature(), chained));
        assert_eq!((shred.fec_set_index().get(), shred.leaf_index()), (first, Some(leaf)));
        assert_eq!(shred.variant().resigned(), resigned);
        if shred.kind() == Kind::Code {
            let place = u32::from(shred.position());
            assert_eq!((shred.num_data(), shred.num_code(), shred.index().get()), (32, 32, first + place));
        }
    }
}

/// A whole block is laid out as reference 3.7 says; how many sets and transactions it has.
fn is_standard(slot: Slot, block: &Block<'_>, first_chained: Hash) -> (usize, usize) {
    let sets = block.sets();
    let (mut chained, mut batch, mut in_batch, mut ticks) = (first_chained, Vec::new(), 0, 0);
    let (mut transactions, mut tick_before) = (0, 0);
    for (number, set) in sets.iter().enumerate() {
        let last = number + 1 == sets.len();
        set_is_standard(block, set, chained);
        chained = merkle::root_of(set[0]).expect("it is whole");
        assert_eq!(set[0].variant().resigned(), last, "the last set, and no other, is resigned");
        let ends = set[31].flags() & ENDS;
        assert!(set[..31].iter().all(|shred| shred.flags() & ENDS == 0), "only a set's last shred ends anything");
        assert_eq!(ends == ENDS, last, "slot {slot}");
        let tick = set[0].flags() & 63;
        assert!(set[..32].iter().all(|shred| shred.flags() & 63 == tick && shred.parent() == Some(block.parent())));
        assert!(tick >= tick_before && (in_batch == 0 || tick == tick_before), "one tick in a batch, never back");
        tick_before = tick;
        in_batch += 1;
        let bytes: usize = set[..32].iter().map(|shred| shred.data_end() - 88).sum();
        assert!(ends != 0 || bytes == 32 * 963 || sets.len() == number + 2, "what goes on is full");
        for shred in &set[..32] {
            batch.extend_from_slice(&shred.bytes()[88..shred.data_end()]);
        }
        if ends & DATA_COMPLETE != 0 {
            assert!(in_batch <= if last { 3 } else { 2 }, "a batch is at most two sets; {in_batch} in slot {slot}");
            let entries = entry::decode_batch(&batch).expect("a list of entries");
            ticks += entries.iter().filter(|entry| entry.is_tick()).count() as u64;
            transactions += entries.iter().map(|entry| entry.transactions.len()).sum::<usize>();
            (batch, in_batch) = (Vec::new(), 0);
        }
    }
    assert_eq!(tick_before, 63, "all ticks, as the field holds them");
    assert_eq!(ticks, TICKS * (slot.get() - block.parent().get()), "its own and those of the missing slots");
    (sets.len(), transactions)
}

/// Listens to the wire once every leader knows everybody; blocks from the returned slot on are heard from their start.
fn listen(world: &mut World) -> Slot {
    run_to_root(world, 2);
    world.wire.keep();
    world.hosts[0].view.as_ref().expect("a view").clock_slot.saturating_add(2)
}

/// Every block from `first` on that was ended is standard, and chains to its parent; sets and transactions of the
/// fullest.
fn all_are_standard(world: &World, first: Slot) -> (usize, usize) {
    let blocks = blocks(world);
    let mut most = (0, 0);
    let mut checked = 0;
    for (slot, block) in blocks.range(first..).filter(|(_, block)| block.ended()) {
        let chained = match blocks.get(&block.parent()) {
            Some(parent) if block.parent() >= first => parent.last_root(),
            _ => continue,
        };
        most = most.max(is_standard(*slot, block, chained));
        checked += 1;
    }
    assert!(checked > 10, "{checked} blocks");
    most
}

/// Transfers between a few accounts, each through a node of its own, for so many rounds of 25 ms.
fn load(world: &mut World, rounds: u32, per_round: u32) {
    let faucet = World::faucet(world.config().seed);
    for round in 0..rounds {
        let host = world.hosts.iter().position(|host| host.node.is_some()).expect("one runs");
        let view = world.hosts[host].view.as_ref().expect("a view");
        let blockhash = view.confirmed.last_blockhash();
        let packets = (0..per_round).map(|number| {
            let to = Pubkey::new_from_array([u8::try_from(number % 200).expect("small"); 32]);
            let numbered = (blockhash, round * per_round + number);
            let transfer = payments::numbered_transfer(&faucet, &to, 1_000_000, numbered);
            bincode::serialize(&transfer).expect("a transaction serialises").into()
        });
        let packets = packets.collect();
        world.submit(host, packets);
        run_for(world, Duration::from_millis(25));
    }
}

fn nobody_is_accused(world: &World) {
    for (number, host) in world.hosts.iter().enumerate() {
        assert!(host.duplicates.is_empty(), "node {number} accuses honest leaders: {:?}", host.duplicates);
    }
}

#[test]
fn loaded_blocks_leave_in_sets_as_the_reference_makes_them() {
    let mut world = World::new(WorldConfig { seed: 51, slot: Duration::from_millis(400), ..WorldConfig::default() });
    let first = listen(&mut world);
    load(&mut world, 120, 120);
    let target = finalized(&world, 0) + 8;
    run_to_root(&mut world, target);
    let (sets, transactions) = all_are_standard(&world, first);
    assert!(sets >= 8 && transactions >= 500, "{sets} sets and {transactions} transactions in the fullest block");
    nobody_is_accused(&world);
    holds(&world);
}

#[test]
fn after_the_power_failed_everywhere_the_first_blocks_still_chain_to_their_parents() {
    let mut world = three(52);
    let first = listen(&mut world);
    // The root on disk is up to 16 blocks behind.
    run_to_root(&mut world, first.get() + 20);
    load(&mut world, 20, 40);
    (0..3).for_each(|host| world.kill(host));
    for host in 0..3 {
        world.start(host);
        let forks = world.hosts[host].node.as_ref().expect("it runs").forks();
        let root = forks.get(forks.root()).expect("the root is there");
        let sent = blocks(&world).get(&forks.root()).map(Block::last_root);
        assert!(sent.is_some() && root.block_id == sent, "the root's last set is known from the ledger");
    }
    let target = finalized(&world, 0) + 40;
    run_to_root(&mut world, target);
    all_are_standard(&world, first);
    nobody_is_accused(&world);
    holds(&world);
}

/// When a leader dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// In the slot before its own, while the mark is on its way to the disk or just there.
    Before,
    /// Before its first set has left.
    Begun,
    /// Somewhere in its slot.
    Middle,
    /// When a set has left and others have not.
    BetweenSets,
    /// When all has left and the block is not frozen.
    Unfrozen,
}

const MOMENTS: [Moment; 5] = [Moment::Before, Moment::Begun, Moment::Middle, Moment::BetweenSets, Moment::Unfrozen];

/// The last own slot that a node has begun.
fn begun(world: &World, host: usize) -> Slot {
    let me = identity(world, host);
    let own = world.hosts[host].started.iter().filter(|(_, leader)| **leader == me).map(|(slot, _)| *slot);
    own.max().unwrap_or_default()
}

/// Runs to a moment in a slot of the node; the slot, if the moment came.
fn run_to_moment(world: &mut World, host: usize, moment: Moment, dice: &mut Dice) -> Option<Slot> {
    let slot_us = u64::try_from(world.config().slot.as_micros()).expect("short");
    let me = identity(world, host);
    if moment == Moment::Before {
        let view = world.hosts[host].view.clone()?;
        let own = view.leaders.next_slot_of(&me, view.clock_slot.saturating_add(3), 1_000)?;
        let at = own.saturating_sub(1);
        let came = world.run_until(PATIENCE, |world| {
            world.hosts[host].view.as_ref().is_some_and(|view| view.clock_slot >= at) || begun(world, host) >= own
        });
        run_for(world, Duration::from_micros(dice.roll(slot_us)));
        return came.then_some(own);
    }
    let before = begun(world, host);
    if !world.run_until(PATIENCE, |world| begun(world, host) > before) {
        return None;
    }
    let slot = begun(world, host);
    let limit = world.config().slot * 2;
    let came = match moment {
        Moment::Before | Moment::Begun => world.wire.sets(slot) == 0,
        Moment::Middle => {
            run_for(world, Duration::from_micros(dice.roll(slot_us)));
            true
        }
        Moment::BetweenSets => world.run_until(limit, |world| world.wire.sets(slot) == 1),
        Moment::Unfrozen => {
            let ended = world.run_until(limit, |world| world.wire.ended(slot));
            ended && !world.hosts[host].blocks.contains_key(&slot)
        }
    };
    came.then_some(slot)
}

/// Kills leaders in their own slots, at each kind of moment, and starts them at once or later; the moments that came.
fn kill_leaders(seed: u64) -> Vec<Moment> {
    let mut world = World::new(WorldConfig { seed, slot: Duration::from_millis(100), ..WorldConfig::default() });
    let mut dice = Dice(seed);
    run_to_root(&mut world, 1);
    let mut came = Vec::new();
    let mut killed = Vec::new();
    for moment in MOMENTS {
        let host = usize::try_from(dice.roll(3)).expect("small");
        load(&mut world, 2, 20);
        let slot = run_to_moment(&mut world, host, moment, &mut dice);
        world.kill(host);
        if let Some(slot) = slot {
            came.push(moment);
            killed.push((host, slot));
        }
        let later = dice.roll(2) * dice.roll(1_500_000);
        run_for(&mut world, Duration::from_micros(later));
        world.start(host);
    }
    holds(&world);
    let target = (0..3).map(|host| finalized(&world, host)).max().expect("three") + 40;
    run_to_root(&mut world, target);
    nobody_is_accused(&world);
    for (host, slot) in killed {
        let led_again = world.run_until(PATIENCE, |world| begun(world, host) > slot.saturating_add(4));
        assert!(led_again, "seed {seed}: node {host}, killed in {slot}, leads again");
        let ended = world.wire.ended(slot);
        let frozen: Vec<bool> = world.hosts.iter().map(|host| host.blocks.contains_key(&slot)).collect();
        assert!(ended || !frozen.contains(&true), "seed {seed}: half of {slot} left, and is no block: {frozen:?}");
    }
    let target = (0..3).map(|host| finalized(&world, host)).max().expect("three") + 8;
    run_to_root(&mut world, target);
    holds(&world);
    came
}

/// Runs the seeds, and sees that every kind of moment came.
fn kill_at_all_moments(seeds: std::ops::Range<u64>) {
    let came: Vec<Moment> = seeds.flat_map(kill_leaders).collect();
    let counts = MOMENTS.map(|moment| came.iter().filter(|m| **m == moment).count());
    assert!(counts.iter().all(|count| *count > 0), "{counts:?} of {MOMENTS:?}");
}

#[test]
fn leaders_killed_in_their_own_slots_never_sign_them_twice_and_the_cluster_goes_on() {
    kill_at_all_moments(500..510);
}

#[test]
fn nor_do_leaders_killed_at_fifty_other_moments() {
    kill_at_all_moments(510..520);
}
