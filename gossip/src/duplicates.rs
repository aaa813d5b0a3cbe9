//! Proofs of duplicate slots, put together of the chunks that others say (reference 6.5).
//!
//! A chunk stays in the table, under its place; here is only remembered which places hold the chunks of which proof.
//! Chunks belong together if they are of one origin, slot, wallclock and number of chunks. When the last one comes, all
//! are read from the table: if one was overwritten meanwhile, there is no proof.

use crate::{
    machine::{Effect, Gossip},
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
