//! One slot while it is gathered: FEC sets to ordered entry batches.

use crate::{
    effect::{DeadReason, DuplicateReason, Origin},
    metrics::DropReason,
    set::{Offer, Set},
};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use sundog_types::{
    FecSetIndex, Hash, Now, ShredIndex, Slot,
    shred::{Kind, SHREDS_PER_KIND, Shred, Signed, View, variant::PROOF_ENTRIES},
};

const SET: u32 = SHREDS_PER_KIND as u32;

/// How far a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Shreds are missing, or the end is not known.
    Gathering,
    /// All is here. The root of the last FEC set, if the last 32 data shreds share one.
    Complete(Option<Hash>),
    /// It can not become a good block.
    Dead(DeadReason),
}

/// What became of a shred.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Taken. `keep`: its bytes are of use to a ledger.
    New { keep: bool },
    /// It contradicts `first`. `forward`: others should see it too.
    Conflict { first: Bytes, why: DuplicateReason, dead: Option<DeadReason>, forward: bool },
    /// Not taken.
    Refused(DropReason),
}

/// A finished range of shreds.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) bytes: Bytes,
    pub(crate) first_index: ShredIndex,
    pub(crate) last_in_slot: bool,
}

/// Which part of a slot should have arrived by now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// What was made in the slot's first so many ticks.
    Ticks(u64),
    /// All of it.
    All,
}

/// What a slot still lacks.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    pub(crate) indexes: Vec<ShredIndex>,
    /// The least index past all known ones, when the end is overdue.
    pub(crate) tail: Option<ShredIndex>,
}

/// A slot while it is gathered.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) parent: Option<Slot>,
    pub(crate) started: Now,
    pub(crate) status: Status,
    pub(crate) duplicate: bool,
    pub(crate) recovered: u32,
    pub(crate) repaired: u32,
    /// Repair looks at it again then.
    pub(crate) retry_at: Now,
    /// How often repair asked since the last shred came.
    pub(crate) idle: u32,
    sets: BTreeMap<FecSetIndex, Set>,
    last: Option<Shred<Signed>>,
    highest: Option<Shred<Signed>>,
    /// Data shreds before this one are known to exist.
    known_end: u32,
    batch_start: u32,
    next: u32,
}

impl Block {
    pub(crate) fn new(now: Now, retry_at: Now) -> Self {
        Self {
            parent: None,
            started: now,
            status: Status::Gathering,
            duplicate: false,
            recovered: 0,
            repaired: 0,
            retry_at,
            idle: 0,
            sets: BTreeMap::new(),
            last: None,
            highest: None,
            known_end: 0,
            batch_start: 0,
            next: 0,
        }
    }

    /// Takes a shred of this slot, or says why not.
    pub(crate) fn insert(&mut self, shred: &Shred<Signed>, origin: Origin) -> Verdict {
        if !lies_in_standard_set(shred) {
            return Verdict::Refused(DropReason::OddSet);
        }
        if let Some(verdict) = self.judge_version(shred).or_else(|| self.judge_place(shred)) {
            return verdict;
        }
        let set = self.sets.entry(shred.fec_set_index()).or_insert_with(|| Set::new(shred));
        let had_all = set.has_all_data();
        set.take(shred);
        if self.status != Status::Gathering {
            set.release();
        }
        self.known_end = self.known_end.max(shred.fec_set_index().get() + SET);
        if shred.kind() == Kind::Data {
            self.note_data(shred, origin);
        }
        let keep = shred.kind() == Kind::Data || !had_all && origin != Origin::Recovered;
        Verdict::New { keep: keep && self.status == Status::Gathering }
    }

    fn note_data(&mut self, shred: &Shred<Signed>, origin: Origin) {
        self.parent = shred.parent();
        if shred.last_in_slot() {
            self.last = Some(shred.clone());
        }
        if self.highest.as_ref().is_none_or(|highest| highest.index() < shred.index()) {
            self.highest = Some(shred.clone());
        }
        match origin {
            Origin::Recovered => self.recovered += 1,
            Origin::Repair => self.repaired += 1,
            _ => {}
        }
    }

    /// `None`: it belongs to the version that is gathered, and is new.
    fn judge_version(&mut self, shred: &Shred<Signed>) -> Option<Verdict> {
        let gathering = self.status == Status::Gathering;
        let set = self.sets.get_mut(&shred.fec_set_index())?;
        match set.judge(shred) {
            Offer::Taken => None,
            Offer::Seen => Some(Verdict::Refused(DropReason::Seen)),
            Offer::Third => Some(Verdict::Refused(DropReason::TooManyVersions)),
            Offer::Second => {
                set.note_second(shred);
                Some(Verdict::Conflict {
                    first: set.witness().clone(),
                    why: DuplicateReason::ForkedSet,
                    dead: (gathering && shred.kind() == Kind::Data).then_some(DeadReason::ForkedSet),
                    forward: true,
                })
            }
        }
    }

    /// `None`: parent and place agree with what is here.
    fn judge_place(&self, shred: &Shred<Signed>) -> Option<Verdict> {
        let last = self.last.as_ref();
        if shred.kind() == Kind::Code {
            let beyond = last.is_some_and(|last| shred.fec_set_index().get() > last.index().get());
            return beyond.then_some(Verdict::Refused(DropReason::BeyondLast));
        }
        if self.parent.is_some() && self.parent != shred.parent() {
            return Some(Verdict::Refused(DropReason::ParentConflict));
        }
        if let Some(last) = last.filter(|last| shred.index() > last.index()) {
            let first = last.payload().clone();
            return Some(Verdict::Conflict { first, why: DuplicateReason::BeyondLast, dead: None, forward: false });
        }
        let highest =
            self.highest.as_ref().filter(|highest| shred.last_in_slot() && highest.index() > shred.index())?;
        Some(Verdict::Conflict {
            first: highest.payload().clone(),
            why: DuplicateReason::BeyondLast,
            dead: (self.status == Status::Gathering).then_some(DeadReason::LastTooEarly),
            forward: false,
        })
    }

    /// Whether the set with this signature was seen to have a shred like this one. Costs no hashing.
    pub(crate) fn has_seen(&self, shred: View<'_>) -> bool {
        self.sets.get(&shred.fec_set_index()).is_some_and(|set| set.has_seen(shred))
    }

    /// The first set that has a part in the batch that is not finished.
    pub(crate) fn first_unfinished(&self) -> FecSetIndex {
        FecSetIndex::new(self.batch_start - self.batch_start % SET)
    }

    /// Goes on through the data shreds as far as there is no gap; returns the batches that this finished.
    pub(crate) fn advance(&mut self) -> Vec<Batch> {
        let mut batches = Vec::new();
        while self.status == Status::Gathering {
            let Some(shred) = self.data(self.next) else {
                break;
            };
            let (complete, last_in_slot) = (shred.data_complete(), shred.last_in_slot());
            self.next += 1;
            if complete {
                batches.push(self.finish_batch(last_in_slot));
            }
            if last_in_slot {
                self.complete();
            }
        }
        batches
    }

    fn finish_batch(&mut self, last_in_slot: bool) -> Batch {
        let range = self.batch_start..self.next;
        let size = range.clone().filter_map(|index| self.data(index)).map(|shred| shred.data().len()).sum();
        let mut bytes = BytesMut::with_capacity(size);
        for index in range {
            let shred = self.data(index).expect("the range has no gap");
            bytes.extend_from_slice(shred.data());
        }
        let first_index = ShredIndex::new(self.batch_start);
        self.batch_start = self.next;
        let unfinished = self.first_unfinished();
        for (_, set) in self.sets.range_mut(..unfinished).rev() {
            if !set.holds_bytes() {
                break;
            }
            set.release();
        }
        Batch { bytes: bytes.freeze(), first_index, last_in_slot }
    }

    fn complete(&mut self) {
        let block_id = self.next.is_multiple_of(SET).then(|| self.sets.get(&FecSetIndex::new(self.next - SET)));
        self.status = Status::Complete(block_id.flatten().map(Set::root));
        self.release();
    }

    /// Gives the slot up.
    pub(crate) fn kill(&mut self, why: DeadReason) {
        self.status = Status::Dead(why);
        self.release();
    }

    fn release(&mut self) {
        self.sets.values_mut().for_each(Set::release);
    }

    /// The set with this index.
    pub(crate) fn set(&self, index: FecSetIndex) -> Option<&Set> {
        self.sets.get(&index)
    }

    /// The set with this index, to change it.
    pub(crate) fn set_mut(&mut self, index: FecSetIndex) -> Option<&mut Set> {
        self.sets.get_mut(&index)
    }

    /// Forgets a set that is not yet part of a batch.
    pub(crate) fn evict(&mut self, index: FecSetIndex) {
        self.sets.remove(&index);
        self.next = self.batch_start;
    }

    /// Number of data shreds, once the end is known.
    pub(crate) fn length(&self) -> Option<u32> {
        self.last.as_ref().map(|last| last.index().get() + 1)
    }

    /// What is missing of what is due, at most `limit` indexes.
    pub(crate) fn missing(&self, due: Due, limit: usize) -> Missing {
        let mut missing = Missing::default();
        let end = self.length().unwrap_or(self.known_end);
        let mut first = self.next - self.next % SET;
        while first < end && missing.indexes.len() < limit && self.is_due(FecSetIndex::new(first), due) {
            let set = self.sets.get(&FecSetIndex::new(first));
            let lacks = set.map_or(SET, Set::lacks) as usize;
            let places = (0..SET.min(end - first)).filter(|place| !set.is_some_and(|set| set.has_data(*place)));
            let room = limit - missing.indexes.len();
            missing.indexes.extend(places.take(lacks.min(room)).map(|place| ShredIndex::new(first + place)));
            first += SET;
        }
        if self.last.is_none() && matches!(due, Due::All) {
            missing.tail = Some(ShredIndex::new(self.highest.as_ref().map_or(0, |shred| shred.index().get() + 1)));
        }
        missing
    }

    /// A set was made no later than the first data shred known of it or of a later set.
    fn is_due(&self, set: FecSetIndex, due: Due) -> bool {
        match due {
            Due::All => true,
            Due::Ticks(ticks) => {
                let made = self.sets.range(set..).find_map(|(_, set)| set.tick());
                made.is_some_and(|made| u64::from(made) <= ticks)
            }
        }
    }

    fn data(&self, index: u32) -> Option<&Shred<Signed>> {
        self.sets.get(&FecSetIndex::new(index - index % SET))?.data(index % SET)
    }
}

/// Whether a shred lies in an aligned set of 32 and 32, with its code index beside its data indexes. From epoch 1 on
/// the filter sees to that; in epoch 0 nothing else is made by any leader alive.
fn lies_in_standard_set(shred: &Shred<Signed>) -> bool {
    let (index, first) = (shred.index().get(), shred.fec_set_index().get());
    let place = index.wrapping_sub(first);
    let leaf = match shred.kind() {
        Kind::Data => place,
        Kind::Code => place.wrapping_add(SET),
    };
    let view = shred.view();
    first.is_multiple_of(SET)
        && place < SET
        && shred.leaf_index() == leaf as usize
        && (shred.kind() == Kind::Data || u32::from(view.num_code()) == SET)
        && shred.variant().proof_entries() == usize::from(PROOF_ENTRIES)
}
