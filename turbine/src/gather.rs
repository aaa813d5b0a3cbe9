//! Gathers shreds of many slots, within bounds.

use crate::{
    block::{BLOCK_BYTES, Batch, Block, Due, Missing, Status, Verdict},
    conflict::Conflict,
    effect::{DeadReason, DuplicateReason, Effect, Origin},
    held::Held,
    metrics::DropReason,
    pin::{PIN_BYTES, PINS_MAX, Pin},
    set::{Set, TABLE_BYTES},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use sundog_types::{
    FecSetIndex, Hash, Now, Slot,
    shred::{Shred, Signed, variant::CODE_SHRED_SIZE},
};

/// Slots held above the root: nearly two hours without a new root. Each costs up to three shreds beside its sets. Full:
/// the slot farthest from the root loses.
pub const SLOTS_MAX: usize = 16_384;
/// FEC sets whose bytes are held: at most 170 MB. A set is held until its batch is finished. Full: the set farthest
/// from replay loses, in slots from the root and in sets from its slot's first.
pub const SETS_MAX: usize = 2_048;
/// Marks: FEC sets whose bytes were let go, of which a shred and the places that were seen are kept, some 55 MB; those
/// of 32 full slots, or of all slots that may be held if they are small. Full: the mark farthest from the root is
/// forgotten, and nothing more of its set is taken; a second version of it is no longer noticed.
pub const MARKS_MAX: usize = 32_768;

/// What became of a shred that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Taken. `keep`: its bytes are worth storing.
    Taken { keep: bool },
    /// Not taken, because it contradicts others of its leader; but it is to be passed on.
    Contradicts(DropReason),
}

/// How much may be held. Tests make it small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) slots: usize,
    pub(crate) sets: usize,
    pub(crate) marks: usize,
}

/// How a slot's leader was seen to contradict itself.
#[derive(Debug, Default)]
struct Reported {
    kinds: BTreeSet<DuplicateReason>,
    proved: bool,
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
    /// Sets that hold bytes.
    held: Held,
    /// Sets that do not.
    marks: BTreeSet<(Slot, FecSetIndex)>,
    /// The version to gather, of slots of which one was chosen.
    pins: BTreeMap<Slot, Pin>,
    /// Shreds that turned out to belong to the chosen version after they were taken.
    ripe: Vec<Shred<Signed>>,
    /// Sets dropped because they belonged to another version than the chosen one.
    pub(crate) strays: u64,
    /// Outlives the blocks, so that each kind is reported once. As many as slots may be held.
    reported: BTreeMap<Slot, Reported>,
    pub(crate) duplicate_slots: u64,
    pub(crate) marks_forgotten: u64,
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
            held: Held::default(),
            marks: BTreeSet::new(),
            pins: BTreeMap::new(),
            ripe: Vec::new(),
            strays: 0,
            reported: BTreeMap::new(),
            duplicate_slots: 0,
            marks_forgotten: 0,
            sets_evicted: 0,
            slots_evicted: 0,
        }
    }

    /// Whether there is no place for a shred of this set, as far as can be said before it is verified: then it is not
    /// worth verifying. Nothing is evicted yet.
    ///
    /// # Errors
    /// What is full of nearer ones.
    pub(crate) fn has_place(&self, slot: Slot, set: FecSetIndex) -> Result<(), DropReason> {
        let block = self.blocks.get(&slot);
        let slots_full = block.is_none() && self.blocks.len() >= self.bounds.slots;
        if slots_full && self.blocks.last_key_value().is_none_or(|(farthest, _)| *farthest < slot) {
            return Err(DropReason::SlotsFull);
        }
        let gathering = block.is_none_or(|block| block.status == Status::Gathering);
        let sets_full = gathering && !self.held.contains((slot, set)) && self.held.len() >= self.bounds.sets;
        if sets_full && !self.held.has_farther((slot, set)) {
            return Err(DropReason::SetsFull);
        }
        Ok(())
    }

    /// Takes a shred. What it starts, finishes or breaks goes to `out`.
    ///
    /// # Errors
    /// Why it is not taken, nor to be passed on.
    pub(crate) fn insert(
        &mut self,
        now: Now,
        shred: &Shred<Signed>,
        origin: Origin,
        out: &mut Vec<Effect>,
    ) -> Result<Outcome, DropReason> {
        let (slot, set) = (shred.slot(), shred.fec_set_index());
        self.has_place(slot, set)?;
        self.begin(now, slot);
        let mut found = Vec::new();
        let verdict = self.blocks.get_mut(&slot).map(|block| block.judge(shred, &mut found));
        for conflict in found {
            self.report(slot, conflict, out);
        }
        match verdict {
            Some(Verdict::Fits) => {
                let keep = self.take(now, shred, origin, out);
                Ok(Outcome::Taken { keep })
            }
            Some(Verdict::Contradicts { why, kills }) => {
                if let Some(why) = kills {
                    self.kill(slot, why, out);
                }
                self.forget_if_empty(slot);
                Ok(Outcome::Contradicts(why))
            }
            Some(Verdict::Refused(why)) => {
                self.forget_if_empty(slot);
                Err(why)
            }
            None => Err(DropReason::SlotsFull),
        }
    }

    /// Sees to it that there is a block for the slot; [`Gather::has_place`] said that there may be one.
    fn begin(&mut self, now: Now, slot: Slot) {
        if self.blocks.contains_key(&slot) {
            return;
        }
        if self.blocks.len() >= self.bounds.slots
            && let Some(farthest) = self.blocks.last_key_value().map(|(slot, _)| *slot)
        {
            self.forget(farthest);
            self.slots_evicted += 1;
        }
        self.open.insert(slot);
        let pin = self.pins.get(&slot).cloned();
        self.blocks.insert(slot, Block::new(now, now.after(self.patience), pin));
    }

    fn forget_if_empty(&mut self, slot: Slot) {
        if self.blocks.get(&slot).is_some_and(Block::is_empty) {
            self.forget(slot);
        }
    }

    fn take(&mut self, now: Now, shred: &Shred<Signed>, origin: Origin, out: &mut Vec<Effect>) -> bool {
        let (slot, set) = (shred.slot(), shred.fec_set_index());
        self.make_room(slot, set);
        self.orphans.remove(&slot);
        let Some(block) = self.blocks.get_mut(&slot) else {
            return false;
        };
        let started = block.parent.is_none();
        let keep = block.take(shred, origin);
        let strays = block.follow(&mut self.ripe);
        self.strays += std::mem::take(&mut block.strays);
        block.idle = 0;
        block.retry_at =
            block.retry_at.min(now.after(Duration::from_millis(50)).max(block.started.after(self.patience)));
        if block.set(set).is_some_and(|set| set.holds_bytes()) {
            self.held.insert((slot, set));
        } else {
            self.mark((slot, set));
        }
        for stray in strays {
            self.held.remove((slot, stray));
            self.marks.remove(&(slot, stray));
        }
        if let Some(parent) = block_parent(&self.blocks, slot).filter(|_| started) {
            self.start(now, slot, parent, out);
        }
        self.advance(slot, out);
        keep
    }

    fn start(&mut self, now: Now, slot: Slot, parent: Slot, out: &mut Vec<Effect>) {
        out.push(Effect::SlotStarted { slot, parent });
        if parent > self.root && !self.blocks.contains_key(&parent) {
            self.search(now, parent);
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
        while let Some(held) = self.held.pop_below(slot, end) {
            self.mark(held);
        }
    }

    /// Notes that a set does not hold bytes.
    fn mark(&mut self, set: (Slot, FecSetIndex)) {
        self.marks.insert(set);
        if self.marks.len() <= self.bounds.marks {
            return;
        }
        if let Some((slot, set)) = self.marks.pop_last() {
            if let Some(block) = self.blocks.get_mut(&slot) {
                block.forget_mark(set);
            }
            self.marks_forgotten += 1;
        }
    }

    /// Reports a conflict, if it is the first of its kind in the slot.
    fn report(&mut self, slot: Slot, conflict: Conflict, out: &mut Vec<Effect>) {
        let reported = self.reported.entry(slot).or_default();
        let why = conflict.why;
        self.duplicate_slots += u64::from(reported.kinds.is_empty());
        if reported.kinds.insert(why) {
            let (first, second, proof) = conflict.into_parts();
            let proof = proof.filter(|_| !reported.proved);
            reported.proved |= proof.is_some();
            out.push(Effect::Duplicate { slot, first, second, why, proof });
        }
        if self.reported.len() > self.bounds.slots {
            self.reported.pop_last();
        }
    }

    /// Gives a slot up that is being gathered.
    pub(crate) fn kill(&mut self, slot: Slot, why: DeadReason, out: &mut Vec<Effect>) {
        let Some(block) = self.blocks.get_mut(&slot).filter(|block| block.status == Status::Gathering) else {
            return;
        };
        block.kill(why);
        self.open.remove(&slot);
        self.let_go(slot, None);
        out.push(Effect::Dead { slot, why });
    }

    /// Sees to it that there is room for a set's bytes; [`Gather::has_place`] said that there may be. Only what is
    /// verified comes this far.
    fn make_room(&mut self, slot: Slot, set: FecSetIndex) {
        let gathering = self.blocks.get(&slot).is_some_and(|block| block.status == Status::Gathering);
        if !gathering || self.held.contains((slot, set)) || self.held.len() < self.bounds.sets {
            return;
        }
        if let Some((far_slot, far_set)) = self.held.pop_farthest() {
            if let Some(block) = self.blocks.get_mut(&far_slot) {
                block.evict(far_set);
            }
            self.sets_evicted += 1;
        }
    }

    /// Drops all that is held of a slot, and searches for it again.
    pub(crate) fn renew(&mut self, now: Now, slot: Slot) {
        self.forget(slot);
        if slot > self.root {
            self.search(now, slot);
        }
    }

    /// Drops all that is held of a slot. From now on only the version with this block id is gathered, or if it is not
    /// known, any but the one that lost.
    pub(crate) fn choose(&mut self, slot: Slot, block_id: Option<Hash>, lost: Option<Hash>) {
        self.forget(slot);
        self.orphans.remove(&slot);
        if slot > self.root {
            self.pins.entry(slot).or_default().choose(block_id, lost);
        }
        if self.pins.len() > PINS_MAX {
            self.pins.pop_last();
        }
    }

    /// Whether one version of a slot was chosen, or one was said to have lost.
    pub(crate) fn is_pinned(&self, slot: Slot) -> bool {
        self.pins.contains_key(&slot)
    }

    /// Whether shreds of a slot contradict each other before it is whole, and none of its versions was chosen.
    pub(crate) fn is_muddled(&self, slot: Slot) -> bool {
        self.open.contains(&slot) && self.reported.contains_key(&slot) && !self.is_pinned(slot)
    }

    /// Shreds that turned out to belong to the chosen version of their slot since this was asked last.
    pub(crate) fn take_ripe(&mut self) -> Vec<Shred<Signed>> {
        std::mem::take(&mut self.ripe)
    }

    /// Notes that a slot is to be searched for. Full: the farthest from the root is not.
    fn search(&mut self, now: Now, slot: Slot) {
        self.orphans.entry(slot).or_insert(now);
        if self.orphans.len() > self.bounds.slots {
            self.orphans.pop_last();
        }
    }

    /// Drops all that is held of a slot.
    fn forget(&mut self, slot: Slot) {
        self.blocks.remove(&slot);
        self.open.remove(&slot);
        while self.held.pop_below(slot, FecSetIndex::new(u32::MAX)).is_some() {}
        let (from, until) = ((slot, FecSetIndex::ZERO), (slot.next(), FecSetIndex::ZERO));
        while let Some(set) = self.marks.range(from..until).next().copied() {
            self.marks.remove(&set);
        }
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
        self.held.keep_from(above);
        self.marks = self.marks.split_off(&(above, FecSetIndex::ZERO));
        self.reported = self.reported.split_off(&above);
        self.pins = self.pins.split_off(&above);
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

    /// Whether a set can be decoded, and data is missing.
    pub(crate) fn is_recoverable(&self, slot: Slot, set: FecSetIndex) -> bool {
        let block = self.blocks.get(&slot).filter(|block| block.status == Status::Gathering);
        block.and_then(|block| block.set(set)).is_some_and(Set::is_recoverable)
    }

    /// The root of the version of a set that is gathered.
    pub(crate) fn version(&self, slot: Slot, set: FecSetIndex) -> Option<Hash> {
        self.blocks.get(&slot)?.set(set).map(Set::root)
    }

    /// The shreds to decode a set from, if there are enough and data is missing.
    pub(crate) fn recoverable(&self, slot: Slot, set: FecSetIndex) -> Option<Vec<Shred<Signed>>> {
        let block = self.blocks.get(&slot).filter(|block| block.status == Status::Gathering)?;
        block.set(set)?.recoverable()
    }

    /// Sets that hold bytes, and those that do not.
    pub(crate) fn sets(&self) -> (usize, usize) {
        (self.held.len(), self.marks.len())
    }

    /// Bytes of memory held, about.
    pub(crate) fn held_bytes(&self) -> usize {
        let sets = |block: &Block| {
            let bytes = block.sets().map(|(_, set)| MARK_BYTES + set.held_bytes());
            bytes.sum::<usize>() + block.claims_held() * SHRED_BYTES
        };
        let blocks: usize = self.blocks.values().map(|block| BLOCK_BYTES + sets(block)).sum();
        let pins = PIN_BYTES * self.pins.len();
        blocks
            + pins
            + INDEX_BYTES * (2 * self.held.len() + self.marks.len() + self.orphans.len() + 4 * self.reported.len())
    }
}

/// Bytes of a shred that is kept.
const SHRED_BYTES: usize = CODE_SHRED_SIZE + size_of::<Shred<Signed>>();
/// Bytes of a set without its shreds, but with its witness.
const MARK_BYTES: usize = size_of::<Set>() + 64 + CODE_SHRED_SIZE;
/// Bytes of an entry in an index.
const INDEX_BYTES: usize = 48;
/// Bytes that may be held with the capacities above.
pub(crate) const GATHER_BYTES_MAX: usize = SLOTS_MAX * (BLOCK_BYTES + 3 * SHRED_BYTES + 6 * INDEX_BYTES)
    + SETS_MAX * (MARK_BYTES + TABLE_BYTES + 64 * CODE_SHRED_SIZE + 2 * INDEX_BYTES)
    + MARKS_MAX * (MARK_BYTES + INDEX_BYTES)
    + PINS_MAX * PIN_BYTES;

fn block_parent(blocks: &BTreeMap<Slot, Block>, slot: Slot) -> Option<Slot> {
    blocks.get(&slot).and_then(|block| block.parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shredder::Shredder;
    use solana_keypair::Keypair;
    use sundog_types::{Hash, sign::Identity};

    const NOW: Now = Now { mono_us: 1, unix_ms: 1 };

    fn gather() -> Gather {
        Gather::new(Bounds { slots: 3, sets: 8, marks: 8 }, Duration::ZERO)
    }

    /// The first data shred of a slot on a parent five slots before, in one version or another.
    fn shred(slot: u64, version: u8) -> Shred<Signed> {
        let leader = Identity::new(Keypair::new_from_array([1; 32]));
        let mut shredder = Shredder::new(Slot::new(slot), Slot::new(slot - 5), 7, Hash::default()).unwrap();
        shredder.shred(&[version], 0, false, &leader).unwrap()[0].data[0].clone()
    }

    fn insert(gather: &mut Gather, shred: &Shred<Signed>) -> Vec<Effect> {
        let mut out = Vec::new();
        let _ = gather.insert(NOW, shred, Origin::Own, &mut out);
        out
    }

    #[test]
    fn unknown_parents_and_slots_to_fetch_again_are_searched_for_up_to_a_bound_the_nearest_first() {
        let mut gather = gather();
        for slot in [60, 50, 40, 30, 20, 10] {
            insert(&mut gather, &shred(slot, 1));
        }
        let searched =
            |gather: &Gather| gather.orphans_from(Slot::ZERO).map(|(slot, _)| slot.get()).collect::<Vec<_>>();
        assert_eq!(searched(&gather), [5, 15, 25]);
        gather.renew(NOW, Slot::new(7));
        assert_eq!(searched(&gather), [5, 7, 15]);
        gather.renew(NOW, Slot::new(99));
        assert_eq!(searched(&gather), [5, 7, 15]);
    }

    #[test]
    fn of_slots_reported_those_nearest_to_the_root_are_remembered() {
        let mut gather = gather();
        let reports = |effects: Vec<Effect>| effects.iter().filter(|e| matches!(e, Effect::Duplicate { .. })).count();
        for slot in [50, 40, 30, 20] {
            insert(&mut gather, &shred(slot, 1));
            assert_eq!(reports(insert(&mut gather, &shred(slot, 2))), 1);
        }
        assert_eq!(gather.reported.len(), 3);
        assert!(!gather.reported.contains_key(&Slot::new(50)), "the farthest may be reported once more");
        assert_eq!(reports(insert(&mut gather, &shred(20, 2))), 0, "once is enough");
    }

    #[test]
    fn a_slot_whose_shreds_contradict_is_muddled_unless_it_is_dead_or_a_version_was_chosen() {
        let mut gather = gather();
        let slot = Slot::new(50);
        let leader = Identity::new(Keypair::new_from_array([1; 32]));
        let mut shredder = Shredder::new(slot, Slot::new(48), 7, Hash::default()).unwrap();
        let beyond = [0, 1].map(|_| shredder.shred(&[9], 0, false, &leader).unwrap()[0].data[0].clone());
        insert(&mut gather, &beyond[1]);
        assert!(!gather.is_muddled(slot));
        // It names another parent, and is not taken.
        insert(&mut gather, &shred(50, 1));
        assert!(gather.is_muddled(slot) && !gather.is_muddled(Slot::new(49)));
        gather.choose(slot, Some(Hash::default()), None);
        insert(&mut gather, &beyond[1]);
        insert(&mut gather, &shred(50, 1));
        assert!(!gather.is_muddled(slot), "one is chosen");
        insert(&mut gather, &shred(40, 1));
        insert(&mut gather, &shred(40, 2));
        assert!(gather.reported.contains_key(&Slot::new(40)) && !gather.is_muddled(Slot::new(40)), "it is dead");
    }
}
