//! One slot while it is gathered: FEC sets to ordered entry batches.

use crate::{
    conflict::{Claims, Conflict, judge_chain, judge_layout},
    effect::{DeadReason, Origin},
    metrics::DropReason,
    pin::{Belongs, Pin},
    set::{Offer, SET, Set},
};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use sundog_types::{
    FecSetIndex, Hash, Now, ShredIndex, Slot,
    shred::{Kind, Shred, Signed, View, variant::PROOF_ENTRIES},
};

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

/// What a slot says to a shred.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It can be taken.
    Fits,
    /// Not taken: what is here has it, or it makes no sense.
    Refused(DropReason),
    /// Not taken, as it contradicts what is here, but others should see it too. `kills`: the slot cannot become good.
    Contradicts { why: DropReason, kills: Option<DeadReason> },
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

/// Bytes of a block without its shreds.
pub(crate) const BLOCK_BYTES: usize = size_of::<Block>() + 64;

/// A slot while it is gathered.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) parent: Option<Slot>,
    pub(crate) started: Now,
    pub(crate) status: Status,
    pub(crate) recovered: u32,
    pub(crate) repaired: u32,
    /// Repair looks at it again then.
    pub(crate) retry_at: Now,
    /// How often repair asked since the last shred came.
    pub(crate) idle: u32,
    /// How often repair asked for something of it.
    pub(crate) turn: u32,
    sets: BTreeMap<FecSetIndex, Set>,
    claims: Claims,
    /// The version that is gathered, if the cluster has chosen one.
    pin: Option<Pin>,
    /// Sets dropped because they belonged to another version.
    pub(crate) strays: u64,
    /// Whether marks of it were forgotten.
    forgot: bool,
    /// Data shreds before this one are known to exist.
    known_end: u32,
    batch_start: u32,
    next: u32,
}

impl Block {
    pub(crate) fn new(now: Now, retry_at: Now, pin: Option<Pin>) -> Self {
        Self {
            parent: None,
            started: now,
            status: Status::Gathering,
            recovered: 0,
            repaired: 0,
            retry_at,
            idle: 0,
            turn: 0,
            sets: BTreeMap::new(),
            claims: Claims::default(),
            pin,
            strays: 0,
            forgot: false,
            known_end: 0,
            batch_start: 0,
            next: 0,
        }
    }

    /// Whether nothing was ever taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty() && !self.forgot && self.claims.held() == 0
    }

    /// Judges a shred of this slot. What it contradicts goes to `found`. Only what [`Verdict::Fits`] may be taken.
    pub(crate) fn judge(&mut self, shred: &Shred<Signed>, found: &mut Vec<Conflict>) -> Verdict {
        if !lies_in_standard_set(shred) {
            return self.judge_odd(shred, found);
        }
        let index = shred.fec_set_index();
        let belongs = self.pin.as_mut().map_or(Belongs::Surely, |pin| pin.judge(shred));
        if belongs == Belongs::No {
            return Verdict::Refused(DropReason::NotChosen);
        }
        if self
            .sets
            .get(&index)
            .is_some_and(|set| belongs == Belongs::Surely && self.pin.is_some() && set.root() != shred.merkle_root())
        {
            // It came before the chosen version was known to have a set here.
            self.sets.remove(&index);
            self.strays += 1;
        }
        let known = self.sets.contains_key(&index);
        if let Some(verdict) = self.judge_version(shred, found) {
            return verdict;
        }
        let gathering = self.status == Status::Gathering;
        // Of what belongs to another version, nothing follows.
        if let Some(objection) = self.claims.judge(shred).filter(|_| belongs == Belongs::Surely) {
            // A set that names another parent than its slot, and was begun, can never be finished.
            let mixed = (known && objection.why == DropReason::ParentConflict).then_some(DeadReason::Parent);
            let kills = objection.kills.or(mixed).filter(|_| gathering);
            found.extend(objection.conflict);
            return Verdict::Contradicts { why: objection.why, kills };
        }
        if !known {
            found.extend(judge_chain(&self.sets, shred));
            found.extend(self.claims.judge_odd(shred));
        }
        Verdict::Fits
    }

    /// `None`: it belongs to the version that is gathered, and is lacking.
    fn judge_version(&mut self, shred: &Shred<Signed>, found: &mut Vec<Conflict>) -> Option<Verdict> {
        let index = shred.fec_set_index();
        let past = self.is_past(index);
        let Some(set) = self.sets.get_mut(&index) else {
            return past.then_some(Verdict::Refused(DropReason::Seen));
        };
        let refusal = match set.offer(shred) {
            Offer::Taken => return None,
            Offer::TakenFrom(conflict) => {
                found.push(conflict);
                return None;
            }
            Offer::SeenFrom(conflict) => {
                found.push(conflict);
                DropReason::Seen
            }
            Offer::Seen => DropReason::Seen,
            Offer::Third => DropReason::TooManyVersions,
            Offer::Second(conflict) => {
                found.push(conflict);
                let kills = self.status == Status::Gathering && shred.kind() == Kind::Data && self.pin.is_none();
                let kills = kills.then_some(DeadReason::ForkedSet);
                return Some(Verdict::Contradicts { why: DropReason::OtherVersion, kills });
            }
        };
        Some(Verdict::Refused(refusal))
    }

    fn judge_odd(&mut self, shred: &Shred<Signed>, found: &mut Vec<Conflict>) -> Verdict {
        let set = self.sets.get(&shred.fec_set_index());
        let conflict = set.and_then(|set| judge_layout(set, shred)).or_else(|| self.claims.judge_odd(shred));
        found.extend(conflict);
        self.claims.note_odd(shred);
        Verdict::Refused(DropReason::OddSet)
    }

    /// Whether all of a set was here, or is of no more use, though nothing is remembered of it.
    fn is_past(&self, set: FecSetIndex) -> bool {
        match self.status {
            Status::Gathering => set < self.first_unfinished(),
            Status::Complete(_) => self.length().is_some_and(|length| set.get() < length),
            Status::Dead(_) => self.forgot,
        }
    }

    /// Takes a shred that fits. Whether its bytes are of use to a ledger.
    pub(crate) fn take(&mut self, shred: &Shred<Signed>, origin: Origin) -> bool {
        let gathering = self.status == Status::Gathering;
        let begin = || if gathering { Set::new(shred) } else { Set::new(&shred.compact()) };
        let set = self.sets.entry(shred.fec_set_index()).or_insert_with(begin);
        let had_all = set.has_all_data();
        set.take(shred, gathering);
        self.known_end = self.known_end.max(shred.fec_set_index().get() + SET);
        let chosen = self.pin.as_ref().is_none_or(|pin| pin.has(shred.fec_set_index(), shred.merkle_root()));
        if shred.kind() == Kind::Data && gathering {
            if chosen {
                self.claims.note(shred);
                self.parent = self.claims.parent();
            }
            match origin {
                Origin::Recovered => self.recovered += 1,
                Origin::Repair(_) => self.repaired += 1,
                _ => {}
            }
        }
        let keep = shred.kind() == Kind::Data || !had_all && origin != Origin::Recovered;
        keep && gathering && chosen
    }

    /// Follows the chosen version from its end towards its first set, as far as its sets are here. Shreds that are now
    /// known to belong to it go to `ripe`; sets of another version are dropped, and returned.
    pub(crate) fn follow(&mut self, ripe: &mut Vec<Shred<Signed>>) -> Vec<FecSetIndex> {
        let Some(pin) = self.pin.as_mut().filter(|_| self.status == Status::Gathering) else {
            return Vec::new();
        };
        let mut strays = Vec::new();
        while let Some((reached, root)) = pin.reached() {
            let before = reached.get().checked_sub(SET).map(FecSetIndex::new);
            let set = self.sets.get(&reached).filter(|set| set.root() == root);
            let (Some(before), Some(set)) = (before, set) else { break };
            let expected = set.chained();
            pin.expect(before, expected);
            match self.sets.get(&before) {
                Some(set) if set.root() == expected => ripe.extend(set.held().cloned()),
                Some(_) => strays.push(before),
                None => {}
            }
        }
        if let Some(last) = pin.last() {
            strays.extend(self.sets.range(FecSetIndex::new(last.get() + 1)..).map(|(index, _)| *index));
            self.known_end = last.get() + SET;
        }
        for stray in &strays {
            self.sets.remove(stray);
            self.strays += 1;
        }
        strays
    }

    /// The root of the set before its first one, as that says: its parent's block id.
    pub(crate) fn chained(&self) -> Option<Hash> {
        self.sets.get(&FecSetIndex::ZERO).map(Set::chained)
    }

    /// Whether the set with this signature was seen to have a shred like this one, or all of the set was here. Costs no
    /// hashing.
    pub(crate) fn has_seen(&self, shred: View<'_>) -> bool {
        let index = shred.fec_set_index();
        self.sets.get(&index).map_or_else(|| self.is_past(index), |set| set.has_seen(shred))
    }

    /// The first set that has a part in the batch that is not finished.
    pub(crate) fn first_unfinished(&self) -> FecSetIndex {
        FecSetIndex::new(self.batch_start - self.batch_start % SET)
    }

    /// Goes on through the data shreds as far as there is no gap; returns the batches that this finished.
    pub(crate) fn advance(&mut self) -> Vec<Batch> {
        let mut batches = Vec::new();
        if self.pin.as_ref().is_some_and(|pin| !pin.is_whole()) {
            return batches;
        }
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
        self.claims.compact();
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
        self.claims.compact();
    }

    /// The set with this index.
    pub(crate) fn set(&self, index: FecSetIndex) -> Option<&Set> {
        self.sets.get(&index)
    }

    /// Its sets.
    pub(crate) fn sets(&self) -> impl Iterator<Item = (FecSetIndex, &Set)> {
        self.sets.iter().map(|(index, set)| (*index, set))
    }

    /// Shreds held beside those of the sets.
    pub(crate) fn claims_held(&self) -> usize {
        self.claims.held()
    }

    /// Forgets what was seen of a set whose bytes were let go.
    pub(crate) fn forget_mark(&mut self, index: FecSetIndex) {
        self.sets.remove(&index);
        self.forgot = true;
    }

    /// Forgets a set that is not yet part of a batch.
    pub(crate) fn evict(&mut self, index: FecSetIndex) {
        self.sets.remove(&index);
        self.next = self.batch_start;
    }

    /// Number of data shreds, once the end is known.
    pub(crate) fn length(&self) -> Option<u32> {
        self.claims.length()
    }

    /// What is missing of what is due, at most `limit` indexes.
    pub(crate) fn missing(&self, due: Due, limit: usize) -> Missing {
        let mut missing = Missing::default();
        let end = self.length().unwrap_or(self.known_end);
        let mut first = self.next - self.next % SET;
        while first < end && missing.indexes.len() < limit && self.is_due(FecSetIndex::new(first), due) {
            let set = self.sets.get(&FecSetIndex::new(first));
            let lacks = set.map_or(SET, Set::lacks) as usize;
            let mut places: Vec<u32> =
                (0..SET.min(end - first)).filter(|place| !set.is_some_and(|set| set.has_data(*place))).collect();
            // Some may be held by nobody whom this node can ask: each turn begins with others.
            if !places.is_empty() {
                let count = places.len();
                places.rotate_left(self.turn as usize * lacks % count);
            }
            let room = limit - missing.indexes.len();
            let asked = places.into_iter().take(lacks.min(room));
            missing.indexes.extend(asked.map(|place| ShredIndex::new(first + place)));
            first += SET;
        }
        if self.claims.length().is_none() && matches!(due, Due::All) {
            missing.tail = Some(ShredIndex::new(self.claims.end()));
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
