//! Gathers shreds of many slots, within bounds.

use crate::{
    block::{Batch, Block, Due, Missing, Status, Verdict},
    effect::{DeadReason, DuplicateReason, Effect, Origin},
    metrics::DropReason,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use sundog_types::{
    FecSetIndex, Now, Slot,
    shred::{Shred, Signed},
};

/// Slots held above the root: nearly two hours without a new root. A complete one costs about 1.4 kB for each FEC
/// set. Full: the slot farthest from the root loses.
pub const SLOTS_MAX: usize = 16_384;
/// FEC sets whose bytes are held: at most 160 MB. A set is held until its batch is finished. Full: the set farthest
/// from the root loses.
pub const SETS_MAX: usize = 2_048;

/// A shred that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Whether it is worth storing.
    pub(crate) keep: bool,
}

/// How much may be held. Tests make it small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) slots: usize,
    pub(crate) sets: usize,
}

/// Slots above the root, as far as they are here.
#[derive(Debug)]
pub(crate) struct Gather {
    root: Slot,
    bounds: Bounds,
    /// How long repair waits for what Turbine may still bring.
    patience: Duration,
    blocks: BTreeMap<Slot, Block>,
    /// Slots that are being gathered.
    open: BTreeSet<Slot>,
    /// Parents of which nothing is here, and since when; as many as slots may be held.
    orphans: BTreeMap<Slot, Now>,
    held: BTreeSet<(Slot, FecSetIndex)>,
    pub(crate) sets_evicted: u64,
    pub(crate) slots_evicted: u64,
}

impl Gather {
    pub(crate) fn new(bounds: Bounds, patience: Duration) -> Self {
        Self {
            root: Slot::ZERO,
            bounds,
            patience,
            blocks: BTreeMap::new(),
            open: BTreeSet::new(),
            orphans: BTreeMap::new(),
            held: BTreeSet::new(),
            sets_evicted: 0,
            slots_evicted: 0,
        }
    }

    /// Takes a shred. What it starts, finishes or breaks goes to `out`.
    ///
    /// # Errors
    /// Why it is not taken. A shred of a second version is not taken, but see [`Gather::insert`]'s `Ok(None)`: it is
    /// to be passed on.
    pub(crate) fn insert(
        &mut self,
        now: Now,
        shred: &Shred<Signed>,
        origin: Origin,
        out: &mut Vec<Effect>,
    ) -> Result<Option<Taken>, DropReason> {
        let slot = shred.slot();
        self.make_room(slot, shred.fec_set_index())?;
        let retry_at = now.after(self.patience);
        let block = self.blocks.entry(slot).or_insert_with(|| {
            self.open.insert(slot);
            self.orphans.remove(&slot);
            Block::new(now, retry_at)
        });
        let started = block.parent.is_none();
        match block.insert(shred, origin) {
            Verdict::Refused(why) => Err(why),
            Verdict::Conflict { first, why, dead, forward } => {
                let second = shred.payload().clone();
                self.contradict(slot, Contradiction { first, second, why, dead }, out);
                if forward { Ok(None) } else { Err(conflict_name(why, dead)) }
            }
            Verdict::New { keep } => {
                block.idle = 0;
                block.retry_at =
                    block.retry_at.min(now.after(Duration::from_millis(50)).max(block.started.after(self.patience)));
                if block.set(shred.fec_set_index()).is_some_and(|set| set.holds_bytes()) {
                    self.held.insert((slot, shred.fec_set_index()));
                }
                if let Some(parent) = block.parent.filter(|_| started) {
                    self.start(now, slot, parent, out);
                }
                self.advance(slot, out);
                Ok(Some(Taken { keep }))
            }
        }
    }

    fn start(&mut self, now: Now, slot: Slot, parent: Slot, out: &mut Vec<Effect>) {
        out.push(Effect::SlotStarted { slot, parent });
        if parent > self.root && !self.blocks.contains_key(&parent) {
            self.orphans.entry(parent).or_insert(now);
            if self.orphans.len() > self.bounds.slots {
                self.orphans.pop_last();
            }
        }
    }

    fn advance(&mut self, slot: Slot, out: &mut Vec<Effect>) {
        let Some(block) = self.blocks.get_mut(&slot) else {
            return;
        };
        let batches = block.advance();
        let Some(parent) = block.parent else { return };
        let first_unfinished = batches.last().map(|_| block.first_unfinished());
        for Batch { bytes, first_index, last_in_slot } in batches {
            out.push(Effect::Data { slot, parent, batch: bytes, first_index, last_in_slot });
        }
        if let Status::Complete(block_id) = block.status
            && self.open.remove(&slot)
        {
            let (recovered, repaired) = (block.recovered, block.repaired);
            let shreds = block.length().expect("a complete block has an end");
            out.push(Effect::Complete { slot, parent, shreds, recovered, repaired, block_id });
            self.let_go(slot, None);
        } else if let Some(first) = first_unfinished {
            self.let_go(slot, Some(first));
        }
    }

    /// Sets of the slot below `end` no longer hold bytes.
    fn let_go(&mut self, slot: Slot, end: Option<FecSetIndex>) {
        let end = end.unwrap_or(FecSetIndex::new(u32::MAX));
        while let Some(held) = self.held.range((slot, FecSetIndex::ZERO)..(slot, end)).next().copied() {
            self.held.remove(&held);
        }
    }

    fn contradict(&mut self, slot: Slot, found: Contradiction, out: &mut Vec<Effect>) {
        let Some(block) = self.blocks.get_mut(&slot) else {
            return;
        };
        if !block.duplicate {
            block.duplicate = true;
            let Contradiction { first, second, why, .. } = found;
            out.push(Effect::Duplicate { slot, first, second, why, proof: None });
        }
        if let Some(why) = found.dead {
            block.kill(why);
            self.open.remove(&slot);
            self.let_go(slot, None);
            out.push(Effect::Dead { slot, why });
        }
    }

    /// Sees to it that there is room for a shred of this set, or says that it is the farthest from the root.
    fn make_room(&mut self, slot: Slot, set: FecSetIndex) -> Result<(), DropReason> {
        if !self.blocks.contains_key(&slot) && self.blocks.len() >= self.bounds.slots {
            let farthest = self.blocks.last_key_value().map(|(slot, _)| *slot);
            let loser = farthest.filter(|farthest| slot < *farthest).ok_or(DropReason::SlotsFull)?;
            self.forget(loser);
            self.slots_evicted += 1;
        }
        if !self.held.contains(&(slot, set)) && self.held.len() >= self.bounds.sets {
            let farthest = self.held.last().copied();
            let (far_slot, far_set) = farthest.filter(|far| (slot, set) < *far).ok_or(DropReason::SetsFull)?;
            self.held.remove(&(far_slot, far_set));
            if let Some(block) = self.blocks.get_mut(&far_slot) {
                block.evict(far_set);
            }
            self.sets_evicted += 1;
        }
        Ok(())
    }

    /// Drops all that is held of a slot, and searches for it again.
    pub(crate) fn renew(&mut self, now: Now, slot: Slot) {
        self.forget(slot);
        if slot > self.root {
            self.orphans.insert(slot, now);
        }
    }

    /// Drops all that is held of a slot.
    fn forget(&mut self, slot: Slot) {
        self.blocks.remove(&slot);
        self.open.remove(&slot);
        self.let_go(slot, None);
    }

    /// Drops the root and what is below it.
    pub(crate) fn set_root(&mut self, root: Slot) {
        if root <= self.root {
            return;
        }
        self.root = root;
        let above = root.next();
        self.blocks = self.blocks.split_off(&above);
        self.open = self.open.split_off(&above);
        self.orphans = self.orphans.split_off(&above);
        self.held = self.held.split_off(&(above, FecSetIndex::ZERO));
    }

    pub(crate) fn root(&self) -> Slot {
        self.root
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) fn block(&self, slot: Slot) -> Option<&Block> {
        self.blocks.get(&slot)
    }

    pub(crate) fn block_mut(&mut self, slot: Slot) -> Option<&mut Block> {
        self.blocks.get_mut(&slot)
    }

    /// Slots that are being gathered, from this one on, the nearest to the root first.
    pub(crate) fn open_from(&self, slot: Slot) -> impl Iterator<Item = Slot> + '_ {
        self.open.range(slot..).copied()
    }

    /// Parents of which nothing is here, from this slot on, the nearest to the root first, and since when that is
    /// known.
    pub(crate) fn orphans_from(&self, slot: Slot) -> impl Iterator<Item = (Slot, Now)> + '_ {
        self.orphans.range(slot..).map(|(slot, since)| (*slot, *since))
    }

    /// Whether anything is missing, from this slot on.
    pub(crate) fn lacks_something_from(&self, slot: Slot) -> bool {
        self.open_from(slot).next().is_some() || self.orphans_from(slot).next().is_some()
    }

    pub(crate) fn missing(&self, slot: Slot, due: Due, limit: usize) -> Missing {
        self.blocks.get(&slot).map(|block| block.missing(due, limit)).unwrap_or_default()
    }

    /// The shreds to decode a set from, if there are enough and data is missing.
    pub(crate) fn recoverable(&self, slot: Slot, set: FecSetIndex) -> Option<Vec<Shred<Signed>>> {
        let block = self.blocks.get(&slot).filter(|block| block.status == Status::Gathering)?;
        block.set(set)?.recoverable()
    }

    pub(crate) fn mark_corrupt(&mut self, slot: Slot, set: FecSetIndex) {
        if let Some(set) = self.blocks.get_mut(&slot).and_then(|block| block.set_mut(set)) {
            set.mark_corrupt();
        }
    }
}

struct Contradiction {
    first: Bytes,
    second: Bytes,
    why: DuplicateReason,
    dead: Option<DeadReason>,
}

fn conflict_name(why: DuplicateReason, dead: Option<DeadReason>) -> DropReason {
    match (why, dead) {
        (DuplicateReason::ForkedSet, _) => DropReason::TooManyVersions,
        (DuplicateReason::BeyondLast, Some(_)) => DropReason::LastTooEarly,
        _ => DropReason::BeyondLast,
    }
}
