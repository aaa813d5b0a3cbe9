//! What others say of the slots they have: what is new in it is told once (reference 6.13).
//!
//! A node says its slots anew, with one or two more, several times in a second. Of each value only that is looked at
//! which lies shortly above our root, and of that only what this node did not say before. What lies farther above is
//! left in the table and looked at when the root comes near, so that a node far behind learns in time who has what it
//! will need.

use crate::{
    machine::{Effect, Gossip},
    table::{Stakes, Table},
    wire::{
        slots::EpochSlots,
        value::{CrdsData, Kind, Label},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};
use sundog_types::{Effects, Pubkey, Slot};

/// Slots above the root that are told of, if the window of the root is not smaller: nearly an hour.
pub const SPAN: u64 = 8_192;

/// Bytes of bitmaps that are inflated of one value. An honest value overlaps [`SPAN`] with few of its parts; of one
/// that repeats itself the rest is not read.
pub const INFLATED_MAX: usize = 16 * 1_024;

/// The root must have moved so far before what was left in the table is looked at again.
const AGAIN_AFTER: u64 = SPAN / 8;

/// Values and places looked at again in one round; the rest in the next.
const VALUES_PER_ROUND: usize = 64;
const PLACES_PER_ROUND: usize = 2_048;

const WORDS: usize = SPAN as usize / 64;

/// The slots that one node said, within [`SPAN`] above `root`; slot `s` has bit `s % SPAN`.
struct Marks {
    root: u64,
    words: Box<[u64; WORDS]>,
}

impl Marks {
    fn new(root: u64) -> Self {
        Self { root, words: Box::new([0; WORDS]) }
    }

    fn set_root(&mut self, root: u64) {
        if root.saturating_sub(self.root) >= SPAN {
            self.words.fill(0);
        } else {
            for slot in self.root + 1..=root {
                let place = slot % SPAN;
                self.words[(place / 64) as usize] &= !(1 << (place % 64));
            }
        }
        self.root = root.max(self.root);
    }

    /// Notes a slot above the root; whether it is news.
    fn add(&mut self, slot: u64) -> bool {
        let place = slot % SPAN;
        let word = &mut self.words[(place / 64) as usize];
        let news = *word >> (place % 64) & 1 == 0;
        *word |= 1 << (place % 64);
        news
    }
}

/// What was told of whose slots.
pub struct SlotsHeard {
    /// `None`: nothing is told yet.
    root: Option<u64>,
    window: u64,
    stakes: Stakes,
    /// Full: nodes that are no longer in the table are forgotten. If none are, newcomers are not heard.
    origins: BTreeMap<Pubkey, Marks>,
    capacity: usize,
    /// Nodes of which something was left in the table.
    behind: BTreeSet<Pubkey>,
    /// Of those, whose values are being looked at again, and from which place on.
    again: BTreeSet<Pubkey>,
    place: u8,
    looked_at: u64,
    /// Parts of values that were not read because too much would have had to be inflated.
    pub unread: u64,
    /// Values of newcomers that were not heard because too many nodes are.
    pub unheard: u64,
}

impl SlotsHeard {
    /// Hears as many nodes at a time, at most. Each costs 1 KiB.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            root: None,
            window: 0,
            stakes: Stakes::default(),
            origins: BTreeMap::new(),
            capacity,
            behind: BTreeSet::new(),
            again: BTreeSet::new(),
            place: 0,
            looked_at: 0,
            unread: 0,
            unheard: 0,
        }
    }

    /// How many nodes are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.origins.len()
    }

    /// Whether no node is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// Once stakes are known, only nodes with stake are heard.
    pub fn set_stakes(&mut self, stakes: Stakes) {
        self.stakes = stakes;
        let Self { stakes, origins, behind, again, .. } = self;
        if !stakes.is_empty() {
            let staked = |node: &Pubkey| stakes.get(node).is_some_and(|stake| *stake > 0);
            origins.retain(|node, _| staked(node));
            behind.retain(staked);
            again.retain(staked);
        }
    }

    /// Only slots within `window` above the root are of interest.
    pub fn set_root(&mut self, root: Slot, window: u64) {
        let first = self.root.is_none();
        self.root = Some(root.get());
        self.window = window;
        if first || root.get().saturating_sub(self.looked_at) >= AGAIN_AFTER {
            self.looked_at = root.get();
            self.again.append(&mut self.behind);
        }
    }

    fn range(&self) -> Option<RangeInclusive<u64>> {
        let root = self.root?;
        Some(root + 1..=root.saturating_add(self.window.min(SPAN)))
    }

    /// Takes a value that is in the table: the slots that its node had not said before, ascending.
    pub fn hear(&mut self, table: &Table, value: &EpochSlots) -> Vec<Slot> {
        let origin = value.from;
        let staked = self.stakes.get(&origin).is_some_and(|stake| *stake > 0);
        if !self.stakes.is_empty() && !staked {
            return Vec::new();
        }
        let Some((range, root)) = self.range().zip(self.root) else {
            self.leave(table, origin);
            return Vec::new();
        };
        let end = |part: &crate::wire::slots::CompressedSlots| part.first_slot.saturating_add(part.count);
        if value.parts.iter().any(|part| end(part) > *range.end()) {
            self.leave(table, origin);
        }
        if !value.parts.iter().any(|part| end(part) > *range.start() && part.first_slot <= *range.end()) {
            return Vec::new();
        }
        if !self.origins.contains_key(&origin) && !self.make_room(table) {
            return Vec::new();
        }
        let marks = self.origins.entry(origin).or_insert_with(|| Marks::new(root));
        marks.set_root(root);
        let (mut room, mut news) = (INFLATED_MAX, Vec::new());
        for part in &value.parts {
            match part.slots_within(&range, &mut room) {
                Some(slots) => news.extend(slots.into_iter().filter(|slot| marks.add(*slot)).map(Slot::new)),
                None => self.unread += 1,
            }
        }
        news.sort_unstable();
        news
    }

    /// Leaves a node's values in the table for later.
    fn leave(&mut self, table: &Table, origin: Pubkey) {
        if self.behind.len() >= self.capacity {
            self.behind.retain(|node| table.seen(node).is_some());
        }
        if self.behind.len() < self.capacity {
            self.behind.insert(origin);
        }
    }

    fn make_room(&mut self, table: &Table) -> bool {
        if self.origins.len() >= self.capacity {
            self.origins.retain(|node, _| table.seen(node).is_some());
        }
        let room = self.origins.len() < self.capacity;
        self.unheard += u64::from(!room);
        room
    }

    /// Looks at some of what was left in the table; the news by node.
    pub fn look_again(&mut self, table: &Table) -> Vec<(Pubkey, Vec<Slot>)> {
        let mut told = Vec::new();
        let (mut values, mut places) = (VALUES_PER_ROUND, PLACES_PER_ROUND);
        while let Some(origin) = self.again.first().copied().filter(|_| values > 0 && places > 0) {
            places -= 1;
            let label = Label { origin, kind: Kind::EpochSlots, index: u16::from(self.place) };
            if let Some(CrdsData::EpochSlots(_, value)) = table.get(&label).map(|filed| filed.value.data()) {
                values -= 1;
                let news = self.hear(table, value);
                if !news.is_empty() {
                    told.push((origin, news));
                }
            }
            self.place = (self.place + 1) % crate::check::EPOCH_SLOTS_PLACES;
            if self.place == 0 {
                self.again.pop_first();
            }
        }
        told
    }
}

impl Gossip {
    /// Epoch slots were filed.
    pub(crate) fn hear_slots(&mut self, value: &EpochSlots, out: &mut Effects<Effect>) {
        let slots = self.slots_heard.hear(&self.table, value);
        self.metrics.slots_unread = self.slots_heard.unread;
        self.metrics.slots_unheard = self.slots_heard.unheard;
        if !slots.is_empty() {
            self.metrics.slots_told += slots.len() as u64;
            out.push(Effect::Slots { from: value.from, slots });
        }
    }

    /// Looks again at what others say of slots that the root has come near to.
    pub(crate) fn hear_slots_again(&mut self, out: &mut Effects<Effect>) {
        for (from, slots) in self.slots_heard.look_again(&self.table) {
            self.metrics.slots_told += slots.len() as u64;
            out.push(Effect::Slots { from, slots });
        }
    }

    /// The root moved.
    pub(crate) fn set_root(&mut self, slot: Slot, window: u64) {
        self.slots_heard.set_root(slot, window);
        self.duplicates.set_root(slot, window);
    }
}
