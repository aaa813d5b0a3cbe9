//! The table of what every node says: the newest value of each label (reference 6.11).
//!
//! ```text
//!   origins   key -> stake, last seen, [(kind and index, place) ascending]
//!                                                        |
//!   slab      place -> value, when received, number <----+----------+
//!   prefixes  places by the hash's first eight bytes: pull filters and answers
//!   history   places by number: what to push next
//! ```
//!
//! A value stands in the slab and is found in three ways; taking one in costs one look-up of its origin and a short
//! shift in each index, whatever the table's size.

mod history;
mod limits;
mod outcome;
mod prefixes;
mod slab;
#[cfg(test)]
pub(crate) mod tests;

use crate::{
    recent::{Recent, before},
    wire::{
        contact::ContactInfo,
        hash_prefix,
        value::{CrdsData, CrdsValue, Kind, Label},
    },
};
use history::History;
use indexmap::IndexMap;
pub use limits::{
    BYTES_MAX, HELD_BYTES_MAX, Limits, ORIGINS_MAX, PURGED_MAX, REFUSED_MAX, UNSTAKED_VALUES_MAX, VALUES_MAX,
    VALUES_PER_ORIGIN,
};
pub use outcome::Offered;
use prefixes::Prefixes;
use slab::Slab;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};
use sundog_types::{Hash, Now, Pubkey, Slot};

/// How long hashes of values that left the table are kept.
const PURGED_LASTS: Duration = Duration::from_secs(75);

/// How long hashes of values that were not taken are kept.
const REFUSED_LASTS: Duration = Duration::from_secs(20);

/// How long the values of a silent node without stake are kept, once stakes are known.
pub const UNSTAKED_LASTS: Duration = Duration::from_secs(15);

/// Stakes by node, in lamports.
pub type Stakes = Arc<BTreeMap<Pubkey, u64>>;

/// A value in the table.
#[derive(Clone, Debug)]
pub struct Filed {
    /// The value.
    pub value: CrdsValue,
    /// When it was taken in.
    pub received: Now,
    order: u64,
    /// What the value holds in memory.
    bytes: usize,
    /// Who pushed it first, in short, and how many copies were pushed.
    pushed: (u32, u8),
}

/// A node that has values in the table.
#[derive(Clone, Debug)]
struct Origin {
    /// Kind and index of each of its values, with the value's place in the slab; ascending.
    places: Vec<(u32, u32)>,
    stake: u64,
    seen: Now,
}

/// What a value needs that is not there yet.
#[derive(Clone, Copy)]
struct Need {
    origins: usize,
    values: usize,
    bytes: usize,
}

/// The newest value of each label, with the orders in which they are looked for.
pub struct Table {
    me: Pubkey,
    limits: Limits,
    stakes: Stakes,
    slab: Slab,
    /// Its order is never looked at by anyone who cares.
    origins: IndexMap<Pubkey, Origin>,
    ascending: BTreeSet<Pubkey>,
    /// Everyone but ourselves, the first to be evicted first.
    by_stake: BTreeSet<(u64, Pubkey)>,
    history: History,
    prefixes: Prefixes,
    purged: VecDeque<(Now, Hash)>,
    refused: Recent<Hash, ()>,
    bytes: usize,
    evicted: u64,
}

impl Table {
    /// An empty table of the node `me`, whose own values are never evicted.
    #[must_use]
    pub fn new(me: Pubkey, limits: Limits) -> Self {
        Self {
            me,
            limits,
            stakes: Stakes::default(),
            slab: Slab::default(),
            origins: IndexMap::new(),
            ascending: BTreeSet::new(),
            by_stake: BTreeSet::new(),
            history: History::default(),
            prefixes: Prefixes::new(),
            purged: VecDeque::new(),
            refused: Recent::new(REFUSED_MAX),
            bytes: 0,
            evicted: 0,
        }
    }

    /// What would become of a value with its label's present one. [`Offered::Full`] is not foreseen.
    #[must_use]
    pub fn compare(&self, value: &CrdsValue) -> Offered {
        Offered::compare(value, self.get(&value.label()).map(|filed| &filed.value))
    }

    /// Takes a value in if it is newer than what is kept. A value of a node with less stake never displaces one of a
    /// node with as much or more.
    pub fn offer(&mut self, now: Now, value: CrdsValue) -> Offered {
        let label = value.label();
        let known = self.origins.get(&label.origin);
        let place = known.and_then(|origin| origin.place(&label));
        let old = place.and_then(|at| self.slab.get(at));
        let outcome = Offered::compare(&value, old.map(|filed| &filed.value));
        if !outcome.is_taken() {
            return outcome;
        }
        if old.is_none() && known.is_some_and(|origin| self.says_enough(&label.origin, origin)) {
            return Offered::Full;
        }
        let bytes = value.held_bytes();
        let need = Need {
            origins: usize::from(known.is_none()),
            values: usize::from(old.is_none()),
            bytes: bytes.saturating_sub(old.map_or(0, |filed| filed.bytes)),
        };
        if !self.make_room(now, &label.origin, need) {
            return Offered::Full;
        }
        let at = place.unwrap_or_else(|| self.slab.next_place());
        let order = self.history.push(at);
        self.prefixes_swap(place, &value, at);
        self.bytes += bytes;
        let filed = Filed { value, received: now, order, bytes, pushed: (0, 0) };
        match place.and_then(|at| self.slab.get_mut(at)) {
            Some(kept) => {
                let old = std::mem::replace(kept, filed);
                self.forget_value(now, &old);
                if label.kind == Kind::ContactInfo {
                    self.touch(now, &label.origin);
                }
            }
            None => {
                self.slab.put(filed);
                self.shelve(now, &label, at);
            }
        }
        let slab = &self.slab;
        self.history.sweep(slab.len(), |order, at| slab.get(at).is_some_and(|filed| filed.order == order));
        outcome
    }

    /// Whether a node without stake has as many values as it may.
    fn says_enough(&self, node: &Pubkey, origin: &Origin) -> bool {
        let told_apart = *node != self.me && !self.stakes.is_empty();
        told_apart && origin.stake == 0 && origin.places.len() >= UNSTAKED_VALUES_MAX
    }

    fn prefixes_swap(&mut self, place: Option<u32>, value: &CrdsValue, at: u32) {
        if let Some(old) = place.and_then(|at| self.slab.get(at)) {
            self.prefixes.remove(hash_prefix(old.value.hash()), at);
        }
        self.prefixes.insert(hash_prefix(value.hash()), at);
    }

    /// Notes that a value is no longer kept.
    fn forget_value(&mut self, now: Now, filed: &Filed) {
        self.bytes -= filed.bytes;
        if self.purged.len() == PURGED_MAX {
            self.purged.pop_front();
        }
        self.purged.push_back((now, *filed.value.hash()));
    }

    /// Notes under its origin where a new value is.
    fn shelve(&mut self, now: Now, label: &Label, at: u32) {
        if !self.origins.contains_key(&label.origin) {
            let stake = self.stake(&label.origin);
            self.ascending.insert(label.origin);
            if label.origin != self.me {
                self.by_stake.insert((stake, label.origin));
            }
            self.origins.insert(label.origin, Origin { places: Vec::new(), stake, seen: now });
        }
        let origin = self.origins.get_mut(&label.origin).expect("just put there");
        let key = shelf(label);
        let place = origin.places.partition_point(|(other, _)| *other < key);
        origin.places.insert(place, (key, at));
        if label.kind == Kind::ContactInfo {
            origin.seen = now;
        }
        assert_eq!(self.prefixes.len(), self.slab.len());
    }

    fn remove(&mut self, now: Now, at: u32) {
        let Some(filed) = self.slab.take(at) else {
            return;
        };
        self.prefixes.remove(hash_prefix(filed.value.hash()), at);
        self.forget_value(now, &filed);
        let label = filed.value.label();
        let origin = self.origins.get_mut(&label.origin).expect("a value has an origin");
        origin.places.retain(|(_, other)| *other != at);
        if origin.places.is_empty() {
            let stake = origin.stake;
            self.by_stake.remove(&(stake, label.origin));
            self.ascending.remove(&label.origin);
            self.origins.swap_remove(&label.origin);
        }
    }

    /// Our own values may have gone past the limits. That is no reason to refuse what needs nothing more.
    fn fits(&self, need: Need) -> bool {
        let within = |held: usize, more: usize, limit: usize| more == 0 || held.saturating_add(more) <= limit;
        within(self.origins.len(), need.origins, self.limits.origins)
            && within(self.slab.len(), need.values, self.limits.values)
            && within(self.bytes, need.bytes, self.limits.bytes)
    }

    /// Evicts nodes with less stake than `newcomer`, the least first, until what it needs fits. Our own values always
    /// do: there are few.
    fn make_room(&mut self, now: Now, newcomer: &Pubkey, need: Need) -> bool {
        while *newcomer != self.me && !self.fits(need) {
            match self.by_stake.first() {
                Some(&(stake, least)) if stake < self.stake(newcomer) => self.evict(now, &least),
                _ => return false,
            }
        }
        true
    }

    fn evict(&mut self, now: Now, origin: &Pubkey) {
        let places = self.origins.get(origin).map(|origin| origin.places.clone()).unwrap_or_default();
        for (_, at) in places {
            self.remove(now, at);
        }
        self.evicted += 1;
    }

    /// The values of one node, by kind and index.
    pub fn values_of(&self, origin: &Pubkey) -> impl Iterator<Item = (Label, &Filed)> {
        let places = self.origins.get(origin).into_iter().flat_map(|origin| &origin.places);
        places.filter_map(|(_, at)| self.slab.get(*at)).map(|filed| (filed.value.label(), filed))
    }

    /// Notes that a pulled value was not taken: its hash is in the next filters, so that it is not sent again.
    pub fn refuse(&mut self, now: Now, hash: Hash) {
        self.refused.note(now, hash, ());
    }

    /// Notes that a node was heard of, which keeps all its values.
    pub fn touch(&mut self, now: Now, origin: &Pubkey) {
        if let Some(origin) = self.origins.get_mut(origin) {
            origin.seen = now;
        }
    }

    /// How long the values of a silent node are kept: our own for ever. Without known stakes nobody can be told
    /// apart, so everyone is kept long.
    #[must_use]
    pub fn lasts(&self, origin: &Pubkey) -> Duration {
        self.lasts_with(origin, self.stake(origin))
    }

    fn lasts_with(&self, origin: &Pubkey, stake: u64) -> Duration {
        if *origin == self.me {
            Duration::MAX
        } else if self.stakes.is_empty() || stake > 0 {
            self.limits.staked_lasts.max(UNSTAKED_LASTS)
        } else {
            UNSTAKED_LASTS
        }
    }

    /// Drops the values of nodes that fell silent, and forgets old hashes; how many values.
    pub fn expire(&mut self, now: Now) -> usize {
        let mut old = Vec::new();
        for (pubkey, origin) in &self.origins {
            let lasts = self.lasts_with(pubkey, origin.stake);
            if now.since(origin.seen) >= lasts {
                let places = origin.places.iter().map(|(_, at)| *at);
                let silent = |at: &u32| self.slab.get(*at).is_some_and(|filed| now.since(filed.received) >= lasts);
                old.extend(places.filter(silent));
            }
        }
        for at in &old {
            self.remove(now, *at);
        }
        let forgotten = before(now, PURGED_LASTS);
        while self.purged.front().is_some_and(|(at, _)| !at.reached(forgotten)) {
            self.purged.pop_front();
        }
        self.refused.forget_before(before(now, REFUSED_LASTS));
        old.len()
    }

    /// Tells the stakes of the epoch.
    pub fn set_stakes(&mut self, stakes: Stakes) {
        self.stakes = stakes;
        self.by_stake.clear();
        for (pubkey, origin) in &mut self.origins {
            origin.stake = self.stakes.get(pubkey).copied().unwrap_or(0);
            if *pubkey != self.me {
                self.by_stake.insert((origin.stake, *pubkey));
            }
        }
    }

    /// Stake of a node, in lamports.
    #[must_use]
    pub fn stake(&self, node: &Pubkey) -> u64 {
        self.stakes.get(node).copied().unwrap_or(0)
    }

    /// The contact info of a node.
    #[must_use]
    pub fn contact(&self, node: &Pubkey) -> Option<&ContactInfo> {
        self.get(&Label { origin: *node, kind: Kind::ContactInfo, index: 0 })?.value.contact()
    }

    /// The lowest slot of which a node says that it has shreds; 0 when it says nothing.
    #[must_use]
    pub fn lowest_slot(&self, node: &Pubkey) -> Slot {
        let filed = self.get(&Label { origin: *node, kind: Kind::LowestSlot, index: 0 });
        match filed.map(|filed| filed.value.data()) {
            Some(CrdsData::LowestSlot(_, value)) => Slot::new(value.lowest),
            _ => Slot::ZERO,
        }
    }

    /// Counts a pushed copy of the value with this label; how many came before. A copy that comes from the first
    /// relayer again is not counted and said to be one of many, so that nobody gains by saying things twice.
    pub fn count_copy(&mut self, label: &Label, relayer: &Pubkey) -> u8 {
        let place = self.origins.get(&label.origin).and_then(|origin| origin.place(label));
        let Some(filed) = place.and_then(|at| self.slab.get_mut(at)) else {
            return u8::MAX;
        };
        let (head, _) = relayer.as_array().split_first_chunk::<4>().expect("a key has 32 bytes");
        let relayer = u32::from_le_bytes(*head);
        let (first, copies) = filed.pushed;
        if copies > 0 && first == relayer {
            return u8::MAX;
        }
        filed.pushed = (if copies == 0 { relayer } else { first }, copies.saturating_add(1));
        copies
    }

    /// When a node was last heard of.
    #[must_use]
    pub fn seen(&self, node: &Pubkey) -> Option<Now> {
        self.origins.get(node).map(|origin| origin.seen)
    }

    /// The value with this label.
    #[must_use]
    pub fn get(&self, label: &Label) -> Option<&Filed> {
        self.slab.get(self.origins.get(&label.origin)?.place(label)?)
    }

    /// The nodes, ascending.
    pub fn origins(&self) -> impl Iterator<Item = &Pubkey> {
        self.ascending.iter()
    }

    /// Values taken in from place `order` of the history on, oldest first.
    pub fn since(&self, order: u64) -> impl Iterator<Item = (u64, &Filed)> {
        let filed = |(order, at)| Some((order, self.slab.get(at).filter(|filed| filed.order == order)?));
        self.history.since(order).filter_map(filed)
    }

    /// The place in the history that the next value will have.
    #[must_use]
    pub const fn next_order(&self) -> u64 {
        self.history.next()
    }

    /// Values whose hash has a prefix in the range, by prefix.
    pub fn by_prefix(&self, range: RangeInclusive<u64>) -> impl Iterator<Item = &Filed> {
        self.prefixes.range(range).filter_map(|at| self.slab.get(at))
    }

    /// Hashes of all that is kept, of what left lately and of what was refused lately.
    pub fn hashes(&self) -> impl Iterator<Item = &Hash> {
        self.by_prefix(0..=u64::MAX).map(|filed| filed.value.hash()).chain(self.gone())
    }

    /// Hashes of what left lately and of what was refused lately.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &Hash> {
        self.purged.iter().map(|(_, hash)| hash).chain(self.refused.keys())
    }

    /// How many hashes [`Self::hashes`] gives.
    #[must_use]
    pub fn hashes_len(&self) -> usize {
        self.slab.len() + self.purged.len() + self.refused.len()
    }

    /// How many values are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slab.len() == 0
    }

    /// How many nodes were evicted so far.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Bytes of memory taken by the values and all that finds them; at most [`Limits::held_bytes_max`]. A value that
    /// is also held elsewhere, say in a datagram on its way out, is counted whole.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let places: usize = self.origins.values().map(|origin| origin.places.capacity() * limits::SHELF_BYTES).sum();
        self.bytes
            + self.slab.held_bytes()
            + self.prefixes.held_bytes()
            + self.history.held_bytes()
            + self.origins.capacity() * limits::ORIGIN_BYTES
            + places
            + self.purged.capacity() * limits::PURGED_BYTES
            + self.refused.len() * limits::REFUSED_BYTES
    }
}

impl Origin {
    fn place(&self, label: &Label) -> Option<u32> {
        let key = shelf(label);
        let found = self.places.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(self.places[found].1)
    }
}

/// Kind and index in one number.
fn shelf(label: &Label) -> u32 {
    (label.kind as u32) << 16 | u32::from(label.index)
}
