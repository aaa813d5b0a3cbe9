//! The table of what every node says: the newest value of each label (reference 6.11).

use crate::{
    recent::{Recent, before},
    wire::{
        contact::ContactInfo,
        hash_prefix,
        value::{CrdsData, CrdsValue, Kind, Label},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};
use sundog_types::{Hash, Now, Pubkey, Slot};

/// Nodes whose values are kept: the reference's figure, several times the largest known cluster.
pub const ORIGINS_MAX: usize = 8_192;

/// Values kept of all nodes together. One node may have some 800 labels; the figure leaves 32 for each
/// of [`ORIGINS_MAX`] and bounds memory to some 400 MB.
pub const VALUES_MAX: usize = 262_144;

/// Hashes of values that left the table; they stay in pull filters so as not to come back at once.
pub const PURGED_MAX: usize = 65_536;

/// How long those hashes are kept.
const PURGED_LASTS: Duration = Duration::from_secs(75);

/// Hashes of pulled values that were not taken. Full: the oldest is forgotten and may be sent again.
pub const REFUSED_MAX: usize = 16_384;

/// How long those hashes are kept.
const REFUSED_LASTS: Duration = Duration::from_secs(20);

/// How long the values of a silent node without stake are kept, once stakes are known.
pub const UNSTAKED_LASTS: Duration = Duration::from_secs(15);

/// Stakes by node, in lamports.
pub type Stakes = Arc<BTreeMap<Pubkey, u64>>;

/// What became of an offered value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// The first with its label.
    New,
    /// It took the place of an older one.
    Newer,
    /// It is the very value that is kept.
    Duplicate,
    /// A newer one is kept.
    Stale,
    /// The table is full of nodes with as much stake or more.
    Full,
}

/// A value in the table.
#[derive(Clone, Debug)]
pub struct Filed {
    /// The value.
    pub value: CrdsValue,
    /// When it was taken in.
    pub received: Now,
    order: u64,
    /// Who pushed it first, in short, and how many copies were pushed.
    pushed: (u32, u8),
}

#[derive(Clone, Debug)]
struct Origin {
    values: usize,
    stake: u64,
    seen: Now,
}

/// How much the table holds, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes, at most.
    pub origins: usize,
    /// Values, at most.
    pub values: usize,
    /// How long the values of a silent node with stake are kept: about an epoch, at least
    /// [`UNSTAKED_LASTS`].
    pub staked_lasts: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let epoch = Duration::from_millis(432_000 * 400);
        Self { origins: ORIGINS_MAX, values: VALUES_MAX, staked_lasts: epoch }
    }
}

/// The newest value of each label, with the orders in which they are looked for.
pub struct Table {
    me: Pubkey,
    limits: Limits,
    stakes: Stakes,
    values: BTreeMap<Label, Filed>,
    origins: BTreeMap<Pubkey, Origin>,
    /// Everyone but ourselves, the first to be evicted first.
    by_stake: BTreeSet<(u64, Pubkey)>,
    by_order: BTreeMap<u64, Label>,
    by_prefix: BTreeSet<(u64, Label)>,
    purged: Recent<Hash, ()>,
    refused: Recent<Hash, ()>,
    next_order: u64,
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
            values: BTreeMap::new(),
            origins: BTreeMap::new(),
            by_stake: BTreeSet::new(),
            by_order: BTreeMap::new(),
            by_prefix: BTreeSet::new(),
            purged: Recent::new(PURGED_MAX),
            refused: Recent::new(REFUSED_MAX),
            next_order: 0,
            evicted: 0,
        }
    }

    /// What would become of a value with its label's present one.
    #[must_use]
    pub fn compare(&self, value: &CrdsValue) -> Offered {
        match self.values.get(&value.label()) {
            None => Offered::New,
            Some(old) if old.value.hash() == value.hash() => Offered::Duplicate,
            Some(old) if overrides(value, &old.value) => Offered::Newer,
            Some(_) => Offered::Stale,
        }
    }

    /// Takes a value in if it is newer than what is kept.
    pub fn offer(&mut self, now: Now, value: CrdsValue) -> Offered {
        let outcome = self.compare(&value);
        match outcome {
            Offered::New if !self.make_room(now, &value.origin()) => return Offered::Full,
            Offered::New => {}
            Offered::Newer => self.remove(now, &value.label()),
            Offered::Duplicate | Offered::Stale | Offered::Full => return outcome,
        }
        self.insert(now, value);
        outcome
    }

    fn insert(&mut self, now: Now, value: CrdsValue) {
        let label = value.label();
        let stake = self.stake(&label.origin);
        let origin = self.origins.entry(label.origin);
        let origin = origin.or_insert(Origin { values: 0, stake, seen: now });
        origin.values += 1;
        if label.kind == Kind::ContactInfo {
            origin.seen = now;
        }
        if label.origin != self.me {
            self.by_stake.insert((origin.stake, label.origin));
        }
        self.by_order.insert(self.next_order, label);
        self.by_prefix.insert((hash_prefix(value.hash()), label));
        self.values.insert(label, Filed { value, received: now, order: self.next_order, pushed: (0, 0) });
        self.next_order += 1;
        assert_eq!(self.by_order.len(), self.values.len());
        assert_eq!(self.by_prefix.len(), self.values.len());
    }

    fn remove(&mut self, now: Now, label: &Label) {
        let Some(filed) = self.values.remove(label) else {
            return;
        };
        self.by_order.remove(&filed.order);
        self.by_prefix.remove(&(hash_prefix(filed.value.hash()), *label));
        self.purged.note(now, *filed.value.hash(), ());
        let origin = self.origins.get_mut(&label.origin).expect("a value has an origin");
        origin.values -= 1;
        if origin.values == 0 {
            self.by_stake.remove(&(origin.stake, label.origin));
            self.origins.remove(&label.origin);
        }
    }

    /// Evicts the node with the least stake if one more value of `newcomer` would not fit.
    fn make_room(&mut self, now: Now, newcomer: &Pubkey) -> bool {
        let known = self.origins.contains_key(newcomer);
        let fits = self.values.len() < self.limits.values && (known || self.origins.len() < self.limits.origins);
        if fits || newcomer == self.me_ref() {
            return true;
        }
        let Some(&(stake, least)) = self.by_stake.first() else {
            return false;
        };
        if least == *newcomer || stake >= self.stake(newcomer) {
            return false;
        }
        self.remove_origin(now, &least);
        self.evicted += 1;
        true
    }

    const fn me_ref(&self) -> &Pubkey {
        &self.me
    }

    fn remove_origin(&mut self, now: Now, origin: &Pubkey) {
        let labels: Vec<Label> = self.values_of(origin).map(|(label, _)| *label).collect();
        for label in labels {
            self.remove(now, &label);
        }
    }

    /// The values of one node.
    pub fn values_of(&self, origin: &Pubkey) -> impl Iterator<Item = (&Label, &Filed)> {
        self.values.range(labels_of(*origin))
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

    /// How long the values of a silent node are kept. Without known stakes nobody can be told apart, so
    /// everyone is kept long.
    #[must_use]
    pub fn lasts(&self, origin: &Pubkey) -> Duration {
        if *origin == self.me {
            Duration::MAX
        } else if self.stakes.is_empty() || self.stake(origin) > 0 {
            self.limits.staked_lasts.max(UNSTAKED_LASTS)
        } else {
            UNSTAKED_LASTS
        }
    }

    /// Drops the values of nodes that fell silent; how many.
    pub fn expire(&mut self, now: Now) -> usize {
        let mut old = Vec::new();
        for (pubkey, origin) in &self.origins {
            let lasts = self.lasts(pubkey);
            if now.since(origin.seen) >= lasts {
                let values = self.values_of(pubkey);
                let silent = values.filter(|(_, filed)| now.since(filed.received) >= lasts);
                old.extend(silent.map(|(label, _)| *label));
            }
        }
        for label in &old {
            self.remove(now, label);
        }
        self.purged.forget_before(before(now, PURGED_LASTS));
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
        let Some(filed) = self.values.get_mut(label) else {
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
        self.values.get(label)
    }

    /// The nodes, ascending.
    pub fn origins(&self) -> impl Iterator<Item = &Pubkey> {
        self.origins.keys()
    }

    /// Values taken in from place `order` of the history on, oldest first.
    pub fn since(&self, order: u64) -> impl Iterator<Item = (u64, &Filed)> {
        self.by_order.range(order..).map(|(order, label)| (*order, &self.values[label]))
    }

    /// The place in the history that the next value will have.
    #[must_use]
    pub const fn next_order(&self) -> u64 {
        self.next_order
    }

    /// Values whose hash has a prefix in the range, by prefix.
    pub fn by_prefix(&self, range: RangeInclusive<u64>) -> impl Iterator<Item = &Filed> {
        let least = Label { origin: Pubkey::default(), kind: Kind::ContactInfo, index: 0 };
        let (low, high) = range.into_inner();
        let from_low = self.by_prefix.range((low, least)..);
        from_low.take_while(move |(prefix, _)| *prefix <= high).map(|(_, label)| &self.values[label])
    }

    /// Hashes of all that is kept, of what left lately and of what was refused lately.
    pub fn hashes(&self) -> impl Iterator<Item = &Hash> {
        self.values.values().map(|filed| filed.value.hash()).chain(self.purged.keys()).chain(self.refused.keys())
    }

    /// How many hashes [`Self::hashes`] gives.
    #[must_use]
    pub fn hashes_len(&self) -> usize {
        self.values.len() + self.purged.len() + self.refused.len()
    }

    /// How many values are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many nodes were evicted so far.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

fn labels_of(origin: Pubkey) -> RangeInclusive<Label> {
    Label { origin, kind: Kind::ContactInfo, index: 0 }..=Label { origin, kind: Kind::Retired, index: u16::MAX }
}

/// Whether `new` takes the place of `old` with the same label.
fn overrides(new: &CrdsValue, old: &CrdsValue) -> bool {
    let rank = |value: &CrdsValue| {
        let outset = match value.data() {
            CrdsData::ContactInfo(info) => info.outset,
            _ => 0,
        };
        (outset, value.wallclock(), *value.hash())
    };
    rank(new) > rank(old)
}
