//! Proofs of duplicate slots, put together of the chunks that others say (reference 6.5).
//!
//! A chunk stays in the table, under its place; here is only remembered which places hold the chunks of which proof.
//! Chunks belong together if they are of one origin, slot, wallclock and number of chunks. When the last one comes, all
//! are read from the table: if one was overwritten meanwhile, there is no proof.

use crate::{
    machine::{Effect, Gossip},
    recent::held_by,
    table::Table,
    wire::{
        duplicate::{CHUNKS_MAX, DuplicateProof, DuplicateShred},
        value::{CrdsData, Kind, Label},
    },
};
use std::collections::{BTreeMap, BTreeSet};
use sundog_types::{Effects, Pubkey, Slot};

/// Nodes whose chunks are remembered (reference 6.5). Full: the node with the least stake is forgotten, and of several
/// the one heard longest ago; a newcomer with less stake than all is not heard.
pub const REPORTERS_MAX: usize = 512;

/// Incomplete proofs remembered of one node (reference 6.5). Full: the oldest is forgotten.
pub const PARTIAL_MAX: usize = 128;

/// Slots remembered of which one node told a proof. Full: the lowest is forgotten, and of it and all below nothing is
/// taken from that node any more, so that no proof is told twice.
pub const TOLD_MAX: usize = 512;

sundog_types::reasons! {
    /// Why a chunk, or a whole proof, went no further.
    pub enum ChunkDrop {
        /// The slot is not above the root, too far above it, or no root is known yet.
        OutsideWindow = "outside_window",
        /// No chunk of a proof of at most three.
        Malformed = "malformed",
        /// The node's proof of this slot was told already.
        Told = "told",
        /// A chunk of an older proof than the one that is being put together.
        Older = "older",
        /// Its number of chunks is not that of the others with its wallclock.
        Contradicts = "contradicts",
        /// That chunk is here already.
        Repeated = "repeated",
        /// As many nodes as may be are heard, all with more stake.
        TooManyReporters = "too_many_reporters",
        /// An incomplete proof was forgotten because its node has too many.
        Forgotten = "forgotten",
        /// An incomplete proof gave way to a newer one of its slot.
        Superseded = "superseded",
        /// When the last chunk came, another was gone from the table.
        Missing = "missing",
        /// The chunks are all here, but do not make two shreds.
        NoProof = "no_proof",
    }
}

/// How many chunks and proofs were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkDrops([u64; ChunkDrop::COUNT]);

impl ChunkDrops {
    /// How many for this reason.
    #[must_use]
    pub const fn of(&self, why: ChunkDrop) -> u64 {
        self.0[why as usize]
    }

    const fn count(&mut self, why: ChunkDrop) {
        self.0[why as usize] += 1;
    }
}

/// A proof of which chunks are missing.
#[derive(Debug)]
struct Partial {
    order: u64,
    wallclock: u64,
    num_chunks: u8,
    /// The place of each chunk that is here.
    places: [Option<u16>; CHUNKS_MAX],
}

/// What one node says of duplicate slots.
#[derive(Debug, Default)]
struct Reporter {
    heard: u64,
    partial: BTreeMap<u64, Partial>,
    told: BTreeSet<u64>,
    /// Nothing is taken of slots up to this one.
    floor: u64,
}

impl Reporter {
    fn set_root(&mut self, root: u64) {
        self.partial = self.partial.split_off(&(root + 1));
        self.told = self.told.split_off(&(root + 1));
    }

    fn is_idle(&self, root: u64) -> bool {
        self.partial.is_empty() && self.told.is_empty() && self.floor <= root
    }

    fn tell(&mut self, slot: u64) {
        self.told.insert(slot);
        if self.told.len() > TOLD_MAX
            && let Some(lowest) = self.told.pop_first()
        {
            self.floor = self.floor.max(lowest);
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let oldest = self.partial.iter().min_by_key(|(_, partial)| partial.order).map(|(slot, _)| *slot);
        oldest.is_some_and(|slot| self.partial.remove(&slot).is_some())
    }
}

/// Chunks on their way to being proofs.
#[derive(Debug, Default)]
pub struct Duplicates {
    /// Root and last slot of interest.
    window: Option<(u64, u64)>,
    reporters: BTreeMap<Pubkey, Reporter>,
    next: u64,
    /// What went no further.
    pub drops: ChunkDrops,
}

impl Duplicates {
    /// Only slots within `window` above the root are of interest.
    pub fn set_root(&mut self, root: Slot, window: u64) {
        let root = root.get();
        self.window = Some((root, root.saturating_add(window)));
        self.reporters.retain(|_, reporter| {
            reporter.set_root(root);
            !reporter.is_idle(root)
        });
    }

    /// How many nodes are remembered; at most [`REPORTERS_MAX`].
    #[must_use]
    pub fn reporters(&self) -> usize {
        self.reporters.len()
    }

    /// How many proofs are incomplete; at most [`PARTIAL_MAX`] of each node.
    #[must_use]
    pub fn partial(&self) -> usize {
        self.reporters.values().map(|reporter| reporter.partial.len()).sum()
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let of = |reporter: &Reporter| reporter_bytes(reporter.partial.len(), reporter.told.len());
        held_by::<Pubkey, Reporter>(self.reporters.len()) + self.reporters.values().map(of).sum::<usize>()
    }

    /// Takes a chunk that is in the table under `place`: the whole proof, if this was the last chunk.
    pub fn take(&mut self, table: &Table, place: u16, chunk: &DuplicateShred) -> Option<DuplicateProof> {
        match self.note(table, place, chunk) {
            Ok(proof) => proof,
            Err(why) => {
                self.drops.count(why);
                None
            }
        }
    }

    fn note(&mut self, table: &Table, place: u16, chunk: &DuplicateShred) -> Result<Option<DuplicateProof>, ChunkDrop> {
        let (num_chunks, index) = (usize::from(chunk.num_chunks), usize::from(chunk.chunk_index));
        if num_chunks > CHUNKS_MAX || index >= num_chunks {
            return Err(ChunkDrop::Malformed);
        }
        let inside = self.window.is_some_and(|(root, last)| chunk.slot > root && chunk.slot <= last);
        if !inside {
            return Err(ChunkDrop::OutsideWindow);
        }
        self.make_room(table, &chunk.from)?;
        self.next += 1;
        let order = self.next;
        let reporter = self.reporters.entry(chunk.from).or_default();
        reporter.heard = order;
        if chunk.slot <= reporter.floor || reporter.told.contains(&chunk.slot) {
            return Err(ChunkDrop::Told);
        }
        let known = reporter.partial.get(&chunk.slot).map(|partial| (partial.wallclock, partial.num_chunks));
        match known {
            Some((wallclock, _)) if wallclock > chunk.wallclock => return Err(ChunkDrop::Older),
            Some((wallclock, _)) if wallclock < chunk.wallclock => {
                reporter.partial.remove(&chunk.slot);
                self.drops.count(ChunkDrop::Superseded);
            }
            Some((_, chunks)) if chunks != chunk.num_chunks => return Err(ChunkDrop::Contradicts),
            Some(_) => {}
            None if reporter.partial.len() >= PARTIAL_MAX && reporter.forget_oldest() => {
                self.drops.count(ChunkDrop::Forgotten);
            }
            None => {}
        }
        let partial = reporter.partial.entry(chunk.slot).or_insert(Partial {
            order,
            wallclock: chunk.wallclock,
            num_chunks: chunk.num_chunks,
            places: [None; CHUNKS_MAX],
        });
        if partial.places[index].is_some_and(|known| holds(table, known, chunk)) {
            return Err(ChunkDrop::Repeated);
        }
        partial.places[index] = Some(place);
        if partial.places.iter().flatten().count() < num_chunks {
            return Ok(None);
        }
        let proof = join(table, chunk, partial);
        if proof == Err(ChunkDrop::Missing) {
            partial.places[..].fill(None);
            partial.places[index] = Some(place);
            return Err(ChunkDrop::Missing);
        }
        reporter.partial.remove(&chunk.slot);
        let proof = proof?;
        reporter.tell(chunk.slot);
        Ok(Some(proof))
    }

    fn make_room(&mut self, table: &Table, newcomer: &Pubkey) -> Result<(), ChunkDrop> {
        if self.reporters.len() < REPORTERS_MAX || self.reporters.contains_key(newcomer) {
            return Ok(());
        }
        let rank = |(node, reporter): (&Pubkey, &Reporter)| (table.stake(node), reporter.heard, *node);
        let least = self.reporters.iter().map(rank).min();
        match least {
            Some((stake, _, node)) if stake <= table.stake(newcomer) => {
                self.reporters.remove(&node);
                Ok(())
            }
            _ => Err(ChunkDrop::TooManyReporters),
        }
    }
}

const fn reporter_bytes(partial: usize, told: usize) -> usize {
    held_by::<u64, Partial>(partial) + held_by::<u64, ()>(told)
}

/// What [`Duplicates::held_bytes`] never exceeds.
pub const DUPLICATES_BYTES_MAX: usize =
    held_by::<Pubkey, Reporter>(REPORTERS_MAX) + REPORTERS_MAX * reporter_bytes(PARTIAL_MAX, TOLD_MAX);

/// The chunk in a place of the table, if it still is one of the same proof.
fn chunk_at<'a>(table: &'a Table, place: u16, like: &DuplicateShred) -> Option<&'a DuplicateShred> {
    let label = Label { origin: like.from, kind: Kind::DuplicateShred, index: place };
    let same = |chunk: &DuplicateShred| {
        (chunk.slot, chunk.wallclock, chunk.num_chunks) == (like.slot, like.wallclock, like.num_chunks)
    };
    match table.get(&label)?.value.data() {
        CrdsData::DuplicateShred(_, chunk) if same(chunk) => Some(chunk),
        _ => None,
    }
}

fn holds(table: &Table, place: u16, chunk: &DuplicateShred) -> bool {
    chunk_at(table, place, chunk).is_some_and(|known| known.chunk_index == chunk.chunk_index)
}

fn join(table: &Table, chunk: &DuplicateShred, partial: &Partial) -> Result<DuplicateProof, ChunkDrop> {
    let chunks: Vec<&DuplicateShred> =
        partial.places.iter().flatten().filter_map(|place| chunk_at(table, *place, chunk)).collect();
    if chunks.len() < usize::from(partial.num_chunks) {
        return Err(ChunkDrop::Missing);
    }
    DuplicateProof::join(&chunks).ok_or(ChunkDrop::NoProof)
}

impl Gossip {
    /// A chunk was filed under `place`.
    pub(crate) fn hear_duplicate(&mut self, place: u16, chunk: &DuplicateShred, out: &mut Effects<Effect>) {
        let proof = self.duplicates.take(&self.table, place, chunk);
        self.metrics.chunks = self.duplicates.drops;
        if let Some(proof) = proof {
            self.metrics.proofs_told += 1;
            out.push(Effect::Duplicate { from: chunk.from, slot: Slot::new(chunk.slot), proof: Box::new(proof) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{table::Limits, wire::value::CrdsValue};
    use proptest::prelude::*;
    use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
    use rand_chacha::ChaCha8Rng;
    use solana_keypair::Keypair;
    use std::sync::Arc;
    use sundog_types::{
        Now,
        sign::{Identity, Sign as _},
    };

    const NOW: Now = Now { mono_us: 1, unix_ms: 1_000 };

    fn node(number: u64) -> Identity {
        let mut secret = [6; 32];
        secret[..8].copy_from_slice(&number.to_le_bytes());
        Identity::new(Keypair::new_from_array(secret))
    }

    fn proof(byte: u8) -> DuplicateProof {
        DuplicateProof { first: vec![byte; 1_203], second: vec![byte ^ 1; 1_203] }
    }

    /// A table and the machine's part that hears of chunks.
    struct World {
        table: Table,
        duplicates: Duplicates,
        nodes: Vec<Identity>,
    }

    impl World {
        fn new(nodes: u64) -> Self {
            let mut duplicates = Duplicates::default();
            duplicates.set_root(Slot::new(10), 1_000_000);
            let table = Table::new(Pubkey::default(), Limits::default());
            Self { table, duplicates, nodes: (0..nodes).map(node).collect() }
        }

        fn chunks(&self, number: usize, slot: u64, wallclock: u64) -> Vec<DuplicateShred> {
            proof(slot as u8).chunks(self.nodes[number].identity(), slot, wallclock)
        }

        fn hear(&mut self, number: usize, place: u16, chunk: DuplicateShred) -> Option<DuplicateProof> {
            let value = CrdsValue::sign(CrdsData::DuplicateShred(place, chunk.clone()), &self.nodes[number]);
            self.table.offer(NOW, value);
            self.duplicates.take(&self.table, place, &chunk)
        }

        /// Hears only that a chunk was filed, of which the table knows nothing.
        fn note(&mut self, place: u16, chunk: &DuplicateShred) -> Option<DuplicateProof> {
            self.duplicates.take(&self.table, place, chunk)
        }

        fn dropped(&self, why: ChunkDrop) -> u64 {
            self.duplicates.drops.of(why)
        }
    }

    #[test]
    fn chunks_in_any_order_make_one_proof_once() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut world = World::new(1);
            let chunks = world.chunks(0, 20, 5);
            let mut whole = Vec::new();
            for index in order {
                whole.extend(world.hear(0, index as u16, chunks[index].clone()));
            }
            assert_eq!(whole, [proof(20)]);
            for (place, chunk) in world.chunks(0, 20, 6).into_iter().enumerate() {
                assert_eq!(world.hear(0, 100 + place as u16, chunk), None);
            }
            assert_eq!(world.dropped(ChunkDrop::Told), 3);
        }
    }

    #[test]
    fn only_slots_in_the_window_are_heard_and_the_root_forgets_what_is_below() {
        let mut world = World::new(1);
        for slot in [9, 10, 1_000_011] {
            let chunk = world.chunks(0, slot, 1).remove(0);
            assert_eq!(world.hear(0, slot as u16 % 512, chunk), None);
        }
        assert_eq!((world.dropped(ChunkDrop::OutsideWindow), world.duplicates.reporters()), (3, 0));
        let chunk = world.chunks(0, 20, 1).remove(0);
        world.hear(0, 0, chunk);
        assert_eq!(world.duplicates.partial(), 1);
        world.duplicates.set_root(Slot::new(20), 1_000_000);
        assert_eq!((world.duplicates.partial(), world.duplicates.reporters()), (0, 0));
        let mut early = Duplicates::default();
        assert_eq!(early.take(&world.table, 0, &world.chunks(0, 20, 1)[0]), None);
        assert_eq!(early.drops.of(ChunkDrop::OutsideWindow), 1, "no root yet");
    }

    #[test]
    fn mixed_wallclocks_never_make_a_proof_and_the_newer_wins() {
        let mut world = World::new(1);
        let (old, new) = (world.chunks(0, 20, 5), world.chunks(0, 20, 6));
        assert_eq!(world.hear(0, 0, old[0].clone()), None);
        assert_eq!(world.hear(0, 1, old[1].clone()), None);
        assert_eq!(world.hear(0, 2, new[2].clone()), None);
        assert_eq!(world.hear(0, 3, old[2].clone()), None);
        assert_eq!((world.dropped(ChunkDrop::Superseded), world.dropped(ChunkDrop::Older)), (1, 1));
        assert_eq!(world.hear(0, 4, new[0].clone()), None);
        assert_eq!(world.hear(0, 5, new[0].clone()), None);
        assert_eq!(world.dropped(ChunkDrop::Repeated), 1);
        assert_eq!(world.hear(0, 6, new[1].clone()), Some(proof(20)));
    }

    #[test]
    fn malformed_and_contradicting_chunks_never_make_a_proof() {
        let mut world = World::new(1);
        let good = world.chunks(0, 20, 5);
        let bad = |num_chunks, chunk_index| DuplicateShred { num_chunks, chunk_index, ..good[0].clone() };
        for (place, (num_chunks, index)) in [(0, 0), (3, 3), (1, 200), (4, 0), (255, 254)].into_iter().enumerate() {
            assert_eq!(world.hear(0, place as u16, bad(num_chunks, index)), None);
        }
        assert_eq!(world.dropped(ChunkDrop::Malformed), 5);
        assert_eq!(world.hear(0, 10, good[0].clone()), None);
        assert_eq!(world.hear(0, 11, bad(2, 1)), None, "another number of chunks");
        assert_eq!(world.dropped(ChunkDrop::Contradicts), 1);
        let lie = DuplicateShred { slot: 21, num_chunks: 1, chunk_index: 0, chunk: vec![1; 9], ..good[0].clone() };
        assert_eq!(world.hear(0, 12, lie.clone()), None);
        assert_eq!(world.hear(0, 13, DuplicateShred { chunk: Vec::new(), ..lie }), None);
        assert_eq!(world.dropped(ChunkDrop::NoProof), 2);
        assert_eq!(world.hear(0, 14, good[1].clone()), None);
        assert_eq!(world.hear(0, 15, good[2].clone()), Some(proof(20)), "the good ones still do");
    }

    #[test]
    fn a_chunk_that_was_overwritten_in_the_table_is_missing_until_it_comes_again() {
        let mut world = World::new(1);
        let (chunks, other) = (world.chunks(0, 20, 5), world.chunks(0, 30, 6));
        world.hear(0, 0, chunks[0].clone());
        world.hear(0, 1, chunks[1].clone());
        world.hear(0, 0, other[0].clone());
        assert_eq!(world.hear(0, 2, chunks[2].clone()), None);
        assert_eq!(world.dropped(ChunkDrop::Missing), 1);
        assert_eq!(world.hear(0, 3, chunks[0].clone()), None);
        assert_eq!(world.hear(0, 4, chunks[1].clone()), Some(proof(20)));
    }

    #[test]
    fn a_node_with_too_many_incomplete_proofs_loses_the_oldest() {
        let mut world = World::new(2);
        let honest = world.chunks(1, 50, 1);
        world.hear(1, 0, honest[0].clone());
        for slot in 0..PARTIAL_MAX as u64 + 7 {
            let chunk = world.chunks(0, 100 + slot, 1).remove(0);
            world.note(slot as u16 % 512, &chunk);
        }
        assert_eq!(world.duplicates.partial(), PARTIAL_MAX + 1);
        assert_eq!(world.dropped(ChunkDrop::Forgotten), 7);
        world.hear(1, 1, honest[1].clone());
        assert_eq!(world.hear(1, 2, honest[2].clone()), Some(proof(50)), "others are not disturbed");
    }

    #[test]
    fn a_node_that_tells_of_too_many_slots_is_no_more_heard_of_the_lowest() {
        let mut world = World::new(1);
        let mut told = 0;
        let mut tell = |world: &mut World, slot: u64| {
            let short = DuplicateProof { first: vec![1], second: vec![2] };
            let chunk = short.chunks(world.nodes[0].identity(), slot, slot).remove(0);
            let whole = world.hear(0, slot as u16 % 512, chunk).is_some();
            told += usize::from(whole);
            whole
        };
        for slot in 100..100 + TOLD_MAX as u64 + 9 {
            assert!(tell(&mut world, slot));
        }
        assert!(!tell(&mut world, 100), "the lowest is not told twice");
        assert!(!tell(&mut world, 99), "nor is what is below");
        assert!(tell(&mut world, 5_000));
        assert_eq!(told, TOLD_MAX + 10);
        let reporter = world.duplicates.reporters.values().next().unwrap();
        assert_eq!(reporter.told.len(), TOLD_MAX);
    }

    #[test]
    fn of_too_many_nodes_those_with_the_least_stake_are_not_heard() {
        let mut world = World::new(0);
        let stakes = (0..REPORTERS_MAX as u64 + 3).map(|n| (Pubkey::from(key(n)), 1_000 + n)).collect();
        world.table.set_stakes(Arc::new(stakes));
        let chunk = |number| {
            let from = Pubkey::from(key(number));
            proof(1).chunks(from, 20, 1).remove(0)
        };
        for number in 1..=REPORTERS_MAX as u64 {
            world.note(0, &chunk(number));
        }
        assert_eq!(world.duplicates.reporters(), REPORTERS_MAX);
        world.note(0, &chunk(0));
        assert_eq!(world.dropped(ChunkDrop::TooManyReporters), 1);
        world.note(0, &chunk(REPORTERS_MAX as u64 + 1));
        assert_eq!(world.duplicates.reporters(), REPORTERS_MAX);
        assert!(!world.duplicates.reporters.contains_key(&Pubkey::from(key(1))), "it had the least stake");
    }

    #[test]
    fn everything_full_is_within_the_stated_bytes() {
        let mut world = World::new(0);
        for number in 0..REPORTERS_MAX as u64 + 3 {
            let from = Pubkey::from(key(number));
            let chunk = proof(1).chunks(from, 20, 1).remove(0);
            for slot in 0..PARTIAL_MAX as u64 + 3 {
                world.note(0, &DuplicateShred { slot: 100 + slot, ..chunk.clone() });
            }
            let reporter = world.duplicates.reporters.get_mut(&from).expect("it was heard last");
            (0..TOLD_MAX as u64 + 3).for_each(|slot| reporter.tell(1_000 + slot));
        }
        assert_eq!(world.duplicates.held_bytes(), DUPLICATES_BYTES_MAX);
    }

    fn key(number: u64) -> [u8; 32] {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Two nodes, few slots, few wallclocks, wild numbers: whatever is told is exactly a proof that was said.
        #[test]
        fn no_sequence_of_chunks_panics_or_makes_a_proof_that_nobody_said(seed: u64) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut world = World::new(2);
            let mut told = BTreeSet::new();
            for _ in 0..150 {
                let (number, slot) = (rng.gen_range(0..2), rng.gen_range(9..14));
                let mut chunks = world.chunks(number, slot, rng.gen_range(0..3));
                chunks.shuffle(&mut rng);
                let mut chunk = chunks.remove(0);
                if rng.gen_bool(0.2) {
                    chunk.num_chunks = rng.gen_range(0..6);
                    chunk.chunk_index = rng.gen_range(0..6);
                }
                let place = rng.gen_range(0..8);
                if let Some(whole) = world.hear(number, place, chunk) {
                    prop_assert!(told.insert((number, slot)), "told twice");
                    prop_assert_eq!(whole.first.len() + whole.second.len(), 2_406);
                }
            }
        }
    }
}
