//! What others say of the slots they have: what is new in it is told once (reference 6.13).
//!
//! A node says its slots anew, with one or two more, several times in a second. Of each value only that is looked at
//! which lies shortly above our root, and of that only what this node did not say before. What lies farther above is
//! left in the table and looked at when the root comes near, so that a node far behind learns in time who has what it
//! will need.

use crate::{
    machine::{Effect, Gossip},
    recent::held_by,
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
    /// Nodes of which something was left in the table. Full: what further ones left is not looked at again.
    behind: BTreeSet<Pubkey>,
    /// Of those, whose values are being looked at again, the first one from which place on. Full: the others wait.
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

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        held_bytes_at(self.origins.len(), self.behind.len() + self.again.len())
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
            self.place = 0;
        }
    }

    /// Only slots within `window` above the root are of interest.
    pub fn set_root(&mut self, root: Slot, window: u64) {
        let first = self.root.is_none();
        self.root = Some(root.get());
        self.window = window;
        if first || root.get().saturating_sub(self.looked_at) >= AGAIN_AFTER {
            self.looked_at = root.get();
            while self.again.len() < self.capacity
                && let Some(node) = self.behind.pop_first()
            {
                self.again.insert(node);
            }
            // Another node may come first now, and all of its places are to be looked at.
            self.place = 0;
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

const fn held_bytes_at(origins: usize, left: usize) -> usize {
    held_by::<Pubkey, Marks>(origins) + origins * WORDS * size_of::<u64>() + 2 * held_by::<Pubkey, ()>(left)
}

/// What [`SlotsHeard::held_bytes`] never exceeds with this capacity.
#[must_use]
pub const fn slots_heard_bytes_max(capacity: usize) -> usize {
    held_bytes_at(capacity, 2 * capacity)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        table::Limits,
        wire::{
            slots::{Bitmap, CompressedSlots},
            value::CrdsValue,
        },
    };
    use flate2::{Compression, write::DeflateEncoder};
    use solana_keypair::Keypair;
    use std::{io::Write as _, sync::Arc};
    use sundog_types::{
        Now,
        sign::{Identity, Sign as _},
    };

    const NOW: Now = Now { mono_us: 1, unix_ms: 1_000 };
    const WINDOW: u64 = 432_000;

    fn node(number: u64) -> Identity {
        let mut secret = [5; 32];
        secret[..8].copy_from_slice(&number.to_le_bytes());
        Identity::new(Keypair::new_from_array(secret))
    }

    fn table() -> Table {
        Table::new(Pubkey::default(), Limits::default())
    }

    fn heard(root: u64) -> SlotsHeard {
        let mut heard = SlotsHeard::new(100);
        heard.set_root(Slot::new(root), WINDOW);
        heard
    }

    fn value(number: u64, parts: Vec<CompressedSlots>, wallclock: u64) -> EpochSlots {
        EpochSlots { from: node(number).identity(), parts, wallclock }
    }

    fn says(number: u64, slots: impl IntoIterator<Item = u64>) -> EpochSlots {
        let slots: Vec<u64> = slots.into_iter().collect();
        value(number, vec![CompressedSlots::pack(&slots).unwrap()], 0)
    }

    fn file(table: &mut Table, place: u8, value: EpochSlots, number: u64) {
        table.offer(NOW, CrdsValue::sign(CrdsData::EpochSlots(place, value), &node(number)));
    }

    fn numbers(slots: &[Slot]) -> Vec<u64> {
        slots.iter().map(|slot| slot.get()).collect()
    }

    #[test]
    fn each_slot_is_told_once_for_each_node_and_only_above_the_root() {
        let (mut heard, table) = (heard(100), table());
        assert_eq!(numbers(&heard.hear(&table, &says(1, 95..=103))), [101, 102, 103]);
        assert_eq!(numbers(&heard.hear(&table, &says(1, 95..=105))), [104, 105]);
        assert_eq!(numbers(&heard.hear(&table, &says(2, [101, 105]))), [101, 105]);
        heard.set_root(Slot::new(104), WINDOW);
        assert_eq!(numbers(&heard.hear(&table, &says(2, 95..=106))), [106]);
        assert!(heard.hear(&table, &says(1, 1..=104)).is_empty());
        heard.set_root(Slot::new(104), 2);
        assert_eq!(numbers(&heard.hear(&table, &says(1, 90..=200))), [106], "the window is small");
    }

    #[test]
    fn nothing_is_told_before_there_is_a_root_or_of_nodes_without_stake() {
        let mut table = table();
        let mut heard = SlotsHeard::new(100);
        let value = says(1, [5]);
        file(&mut table, 0, value.clone(), 1);
        assert!(heard.hear(&table, &value).is_empty());
        heard.set_root(Slot::ZERO, WINDOW);
        let told = heard.look_again(&table);
        assert_eq!(told, [(node(1).identity(), vec![Slot::new(5)])], "what came too early is not lost");
        assert!(heard.look_again(&table).is_empty());
        heard.set_stakes(Arc::new(BTreeMap::from([(node(2).identity(), 1)])));
        assert!(heard.hear(&table, &says(1, [6])).is_empty() && heard.is_empty());
        assert_eq!(heard.hear(&table, &says(2, [6])), [Slot::new(6)]);
    }

    #[test]
    fn what_lies_far_above_the_root_is_told_when_the_root_comes_near() {
        let (mut heard, mut table) = (heard(0), table());
        let (mut told, mut root) = (BTreeSet::new(), 0);
        for place in 0..30u64 {
            let slots = (place * 1_000 + 1..=place * 1_000 + 1_000).filter(|slot| slot % 7 != 3);
            let value = says(1, slots);
            file(&mut table, place as u8, value.clone(), 1);
            told.extend(heard.hear(&table, &value));
        }
        assert_eq!(told.last(), Some(&Slot::new(SPAN)), "no farther than the span");
        while root < 30_000 {
            root += 100;
            heard.set_root(Slot::new(root), WINDOW);
            for (_, news) in heard.look_again(&table) {
                for slot in news {
                    assert!(slot.get() > root && told.insert(slot), "{slot} once");
                }
            }
        }
        let all: Vec<u64> = (1..=30_000).filter(|slot| slot % 7 != 3).collect();
        assert_eq!(told.iter().map(|slot| slot.get()).collect::<Vec<_>>(), all);
    }

    #[test]
    fn a_node_that_comes_between_is_looked_at_from_its_first_place_on() {
        let (mut heard, mut table) = (heard(0), table());
        let mut numbers = [1, 2];
        numbers.sort_by_key(|number| node(*number).identity());
        let [first, second] = numbers;
        let slot = SPAN + 5;
        file(&mut table, 0, says(second, [slot]), second);
        file(&mut table, 200, says(second, [slot + 1]), second);
        file(&mut table, 0, says(first, [slot]), first);
        assert!(heard.hear(&table, &says(second, [slot])).is_empty());
        heard.set_root(Slot::new(AGAIN_AFTER), WINDOW);
        // As if the round had ended here.
        heard.place = 100;
        assert!(heard.hear(&table, &says(first, [AGAIN_AFTER + SPAN + 1])).is_empty());
        heard.set_root(Slot::new(2 * AGAIN_AFTER), WINDOW);
        let told: BTreeSet<(Pubkey, Slot)> = heard
            .look_again(&table)
            .into_iter()
            .flat_map(|(from, slots)| slots.into_iter().map(move |s| (from, s)))
            .collect();
        let expected = [(first, slot), (second, slot), (second, slot + 1)];
        assert_eq!(told, expected.map(|(number, slot)| (node(number).identity(), Slot::new(slot))).into());
    }

    #[test]
    fn overlapping_parts_in_any_order_tell_each_slot_once() {
        let (mut heard, table) = (heard(10), table());
        let part = |slots: &[u64]| CompressedSlots::pack(slots).unwrap();
        let parts = vec![part(&[40, 50]), part(&[11, 40, 60]), part(&[5, 11, 12]), part(&[1, 2])];
        assert_eq!(numbers(&heard.hear(&table, &value(1, parts, 0))), [11, 12, 40, 50, 60]);
    }

    #[test]
    fn of_one_value_no_more_is_inflated_than_the_limit_and_nothing_that_is_not_needed() {
        let (mut heard, table) = (heard(1_000), table());
        let all = |first_slot| {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&vec![0xff; 10_000_000]).unwrap();
            let bitmap = Bitmap::Deflated(encoder.finish().unwrap());
            CompressedSlots { first_slot, count: 16_383, bitmap }
        };
        let below = value(1, vec![all(0); 30], 0);
        let slots = heard.hear(&table, &below);
        assert_eq!(slots.len() as u64, SPAN);
        let reach = (1_000 + SPAN as usize).div_ceil(8) + 1;
        assert_eq!(heard.unread as usize, 30 - INFLATED_MAX / reach, "repeated parts are left");
        let mut room = INFLATED_MAX;
        assert_eq!(all(0).slots_within(&(20_000..=30_000), &mut room), Some(Vec::new()));
        assert_eq!(all(50_000).slots_within(&(20_000..=30_000), &mut room), Some(Vec::new()));
        assert_eq!(room, INFLATED_MAX, "parts elsewhere cost nothing");
        assert_eq!(all(0).slots_within(&(1..=3), &mut room), Some(vec![1, 2, 3]));
        assert_eq!(room, INFLATED_MAX - 1);
        assert_eq!(all(0).slots_within(&(1..=16_000), &mut 1_999), None);
    }

    #[test]
    fn bits_beyond_the_count_and_garbage_are_no_slots() {
        let (mut heard, table) = (heard(0), table());
        let plain = CompressedSlots::of_bitmap(8, 3, vec![0xff]);
        assert_eq!(numbers(&heard.hear(&table, &value(1, vec![plain], 0))), [8, 9, 10]);
        for bitmap in [Bitmap::Deflated(vec![0xff; 40]), Bitmap::Deflated(Vec::new())] {
            let part = CompressedSlots { first_slot: 20, count: 100, bitmap };
            assert!(heard.hear(&table, &value(1, vec![part], 0)).is_empty());
        }
        let end = CompressedSlots { first_slot: u64::MAX - 1, count: u64::MAX, bitmap: Bitmap::Deflated(vec![3, 0]) };
        assert!(heard.hear(&table, &value(1, vec![end], 0)).is_empty());
    }

    #[test]
    fn when_as_many_nodes_are_remembered_as_may_be_those_gone_from_the_table_make_room() {
        let mut table = table();
        let mut heard = SlotsHeard::new(3);
        heard.set_root(Slot::ZERO, WINDOW);
        for number in 0..3 {
            file(&mut table, 0, says(number, [1]), number);
            assert_eq!(heard.hear(&table, &says(number, [1])).len(), 1);
        }
        assert!(heard.hear(&table, &says(3, [1])).is_empty(), "all are known to the table");
        assert_eq!((heard.len(), heard.unheard), (3, 1));
        assert_eq!(heard.hear(&table, &says(1, [2])).len(), 1, "who is known is heard");
        let mut smaller = Table::new(Pubkey::default(), Limits::default());
        file(&mut smaller, 0, says(2, [1]), 2);
        assert_eq!(heard.hear(&smaller, &says(3, [1])).len(), 1);
        assert_eq!(heard.len(), 2);
        for number in 0..20 {
            heard.hear(&table, &says(number, [100_000]));
        }
        assert!(heard.behind.len() <= 3);
        for root in 1..20 {
            heard.set_root(Slot::new(root * AGAIN_AFTER), WINDOW);
            for number in 0..20 {
                heard.hear(&table, &says(20 * root + number, [1_000_000]));
            }
        }
        assert!(heard.behind.len() <= 3 && heard.again.len() == 3);
        assert!(heard.held_bytes() <= slots_heard_bytes_max(3));
    }

    #[test]
    fn a_root_that_leaps_clears_the_marks() {
        let mut marks = Marks::new(0);
        for slot in 1..=SPAN {
            assert!(marks.add(slot));
        }
        marks.set_root(5);
        assert!(marks.add(SPAN + 5) && !marks.add(SPAN), "the places of what is below are free again");
        marks.set_root(1_000_000);
        assert!(marks.words.iter().all(|word| *word == 0) && marks.add(1_000_001));
    }
}
