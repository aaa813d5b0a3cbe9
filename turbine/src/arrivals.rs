//! Remembers how shreds arrived, until their slot's [`Timeline`] is handed out.

use crate::{
    effect::Sender,
    timeline::{ARRIVALS_MAX, Arrival, How, Timeline},
};
use std::collections::BTreeMap;
use sundog_types::{
    Now, Pubkey, Slot,
    shred::{Kind, Shred, Signed},
};

/// Bytes that the records of all slots may take: those of 300 full slots, or of 16,000 small ones. Full: the slot
/// farthest from the root loses its record, and if that is the one at hand, its shreds are only counted.
pub const ARRIVALS_BYTES_MAX: usize = 16 << 20;
const ENTRY_BYTES: usize = size_of::<Entry>();
/// A sender stands in two tables.
const SENDER_BYTES: usize = 2 * size_of::<Sender>() + 32;
const RECORD_BYTES: usize = size_of::<Record>() + 64;

/// An [`Arrival`] in 12 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at_ms: u32,
    index: u32,
    /// A place in the senders.
    sender: u16,
    layer: u8,
    /// The way, and in the highest bit the kind.
    way: u8,
}

const CODE: u8 = 0x80;

#[derive(Debug)]
struct Record {
    first: Now,
    leader: Pubkey,
    parent: Option<Slot>,
    complete_ms: Option<u32>,
    entries: Vec<Entry>,
    senders: Vec<Sender>,
    places: BTreeMap<Sender, u16>,
    left_out: u32,
    /// Whether something came since it was handed out, other than out of this node's own ledger.
    news: bool,
}

/// The records of the slots above the root.
#[derive(Debug)]
pub(crate) struct Arrivals {
    slots: BTreeMap<Slot, Record>,
    bytes: usize,
    bytes_max: usize,
}

impl Arrivals {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { slots: BTreeMap::new(), bytes: 0, bytes_max }
    }

    /// Notes a shred that was taken.
    pub(crate) fn note(&mut self, now: Now, leader: Pubkey, shred: &Shred<Signed>, how: How) {
        let slot = shred.slot();
        if !self.slots.contains_key(&slot) {
            if !self.make_room(slot, RECORD_BYTES) {
                return;
            }
            self.bytes += RECORD_BYTES;
            self.slots.insert(slot, Record::new(now, leader));
        }
        let sender = how.sender();
        let known = |record: &Record| sender.is_none_or(|sender| record.places.contains_key(&sender));
        let full = self.slots.get(&slot).is_none_or(|record| record.entries.len() >= ARRIVALS_MAX);
        let cost = ENTRY_BYTES + if self.slots.get(&slot).is_some_and(known) { 0 } else { SENDER_BYTES };
        let room = !full && self.make_room(slot, cost);
        let Some(record) = self.slots.get_mut(&slot) else { return };
        record.parent = record.parent.or(shred.parent());
        record.news |= how != How::Stored;
        if room {
            record.push(now, shred, how);
            self.bytes += cost;
        } else {
            record.left_out = record.left_out.saturating_add(1);
        }
    }

    /// Makes room for a slot at the cost of those beyond it. False: there is none.
    fn make_room(&mut self, slot: Slot, bytes: usize) -> bool {
        while self.bytes + bytes > self.bytes_max {
            match self.slots.last_key_value() {
                Some((farthest, _)) if *farthest > slot => {
                    let farthest = *farthest;
                    self.forget(farthest);
                }
                _ => return false,
            }
        }
        true
    }

    /// Notes that all data shreds of a slot are here. Its timeline, the first time.
    pub(crate) fn complete(&mut self, now: Now, slot: Slot) -> Option<Timeline> {
        let record = self.slots.get_mut(&slot).filter(|record| record.complete_ms.is_none())?;
        record.complete_ms = Some(record.ms(now));
        std::mem::take(&mut record.news).then(|| record.timeline(slot))
    }

    /// Forgets the root and what is below it. The timelines of those slots of which more came than was handed out.
    pub(crate) fn set_root(&mut self, root: Slot) -> Vec<Timeline> {
        let above = self.slots.split_off(&root.next());
        let rooted = std::mem::replace(&mut self.slots, above);
        self.bytes -= rooted.values().map(Record::bytes).sum::<usize>();
        let news = rooted.iter().filter(|(_, record)| record.news);
        news.map(|(slot, record)| record.timeline(*slot)).collect()
    }

    /// Forgets a slot.
    pub(crate) fn forget(&mut self, slot: Slot) {
        if let Some(record) = self.slots.remove(&slot) {
            self.bytes -= record.bytes();
        }
    }

    /// Bytes of memory held, about.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes
    }
}

impl Record {
    fn new(now: Now, leader: Pubkey) -> Self {
        Self {
            first: now,
            leader,
            parent: None,
            complete_ms: None,
            entries: Vec::new(),
            senders: Vec::new(),
            places: BTreeMap::new(),
            left_out: 0,
            news: false,
        }
    }

    fn bytes(&self) -> usize {
        RECORD_BYTES + ENTRY_BYTES * self.entries.len() + SENDER_BYTES * self.senders.len()
    }

    fn ms(&self, now: Now) -> u32 {
        u32::try_from(now.since(self.first).as_millis()).unwrap_or(u32::MAX)
    }

    fn push(&mut self, now: Now, shred: &Shred<Signed>, how: How) {
        let place = how.sender().map(|sender| {
            // At most as many senders as entries: they fit 16 bits.
            let next = self.senders.len() as u16;
            let place = *self.places.entry(sender).or_insert(next);
            if place == next {
                self.senders.push(sender);
            }
            place
        });
        let (way, layer) = match how {
            How::Own => (0, 0),
            How::Turbine { layer, .. } => (1, layer),
            How::Repair { .. } => (2, 0),
            How::Recovered => (3, 0),
            How::Stored => (4, 0),
            How::Synced { .. } => (5, 0),
        };
        let kind = if shred.kind() == Kind::Code { CODE } else { 0 };
        let (at_ms, index) = (self.ms(now), shred.index().get());
        self.entries.push(Entry { at_ms, index, sender: place.unwrap_or(0), layer, way: way | kind });
    }

    fn timeline(&self, slot: Slot) -> Timeline {
        Timeline {
            slot,
            parent: self.parent,
            leader: self.leader,
            first_unix_ms: self.first.unix_ms,
            complete_ms: self.complete_ms,
            arrivals: self.entries.iter().map(|entry| self.arrival(entry)).collect(),
            left_out: self.left_out,
        }
    }

    fn arrival(&self, entry: &Entry) -> Arrival {
        let sender = self.senders.get(usize::from(entry.sender)).copied();
        let how = match (entry.way & !CODE, sender) {
            (1, Some(from)) => How::Turbine { layer: entry.layer, from },
            (2, Some(Sender::Peer(from))) => How::Repair { from },
            (5, Some(Sender::Peer(from))) => How::Synced { from },
            (3, _) => How::Recovered,
            (4, _) => How::Stored,
            _ => How::Own,
        };
        let kind = if entry.way & CODE == 0 { Kind::Data } else { Kind::Code };
        Arrival { at_ms: entry.at_ms, kind, index: entry.index, how }
    }
}

const _: () = assert!(ARRIVALS_MAX <= u16::MAX as usize);
const _: () = assert!(ENTRY_BYTES == 12);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shredder;
    use solana_keypair::Keypair;
    use sundog_types::{Hash, sign::Identity};

    fn shred(slot: u64) -> Shred<Signed> {
        let leader = Identity::new(Keypair::new_from_array([1; 32]));
        let mut shredder = Shredder::new(Slot::new(slot), Slot::new(slot - 1), 7, Hash::default()).unwrap();
        shredder.shred(&[1], 0, true, &leader).unwrap()[0].data[0].clone()
    }

    fn at(ms: u64) -> Now {
        Now { mono_us: ms * 1_000, unix_ms: 1_700_000_000_000 + ms }
    }

    const PEER: Pubkey = Pubkey::new_from_array([3; 32]);

    #[test]
    fn a_timeline_leaves_when_the_block_is_complete_and_again_if_more_came() {
        let mut arrivals = Arrivals::new(ARRIVALS_BYTES_MAX);
        let leader = Pubkey::new_from_array([9; 32]);
        let how = How::Turbine { layer: 2, from: Sender::Peer(PEER) };
        arrivals.note(at(10), leader, &shred(5), how);
        arrivals.note(at(25), leader, &shred(5), How::Recovered);
        let timeline = arrivals.complete(at(30), Slot::new(5)).expect("complete");
        let came = timeline.arrivals.iter().map(|arrival| (arrival.at_ms, arrival.how)).collect::<Vec<_>>();
        assert_eq!(came, [(0, how), (15, How::Recovered)]);
        assert_eq!((timeline.parent, timeline.leader), (Some(Slot::new(4)), leader));
        assert_eq!((timeline.first_unix_ms, timeline.complete_ms), (1_700_000_000_010, Some(20)));
        assert!(arrivals.complete(at(31), Slot::new(5)).is_none(), "once");
        arrivals.note(at(40), leader, &shred(5), How::Repair { from: PEER });
        arrivals.note(at(41), leader, &shred(6), How::Stored);
        let fuller = arrivals.set_root(Slot::new(7));
        assert_eq!(fuller.len(), 1, "what came out of the ledger has its timeline there");
        assert_eq!(fuller[0].arrivals.len(), 3);
        assert_eq!(arrivals.held_bytes(), 0);
    }

    #[test]
    fn a_full_record_gives_up_the_farthest_slot_and_counts_the_rest() {
        let one = RECORD_BYTES + SENDER_BYTES + ENTRY_BYTES;
        let mut arrivals = Arrivals::new(2 * one);
        let how = How::Repair { from: PEER };
        for slot in [8, 9, 7] {
            arrivals.note(at(0), PEER, &shred(slot), how);
        }
        assert_eq!(arrivals.slots.keys().map(|slot| slot.get()).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(arrivals.held_bytes(), 2 * one);
        arrivals.note(at(1), PEER, &shred(8), how);
        arrivals.note(at(1), PEER, &shred(9), how);
        let timelines = arrivals.set_root(Slot::new(9));
        assert_eq!(timelines.iter().map(|timeline| timeline.left_out).collect::<Vec<_>>(), [0, 1]);
        let mut arrivals = Arrivals::new(ARRIVALS_BYTES_MAX);
        for _ in 0..ARRIVALS_MAX + 3 {
            arrivals.note(at(0), PEER, &shred(5), How::Own);
        }
        let timeline = arrivals.complete(at(1), Slot::new(5)).unwrap();
        assert_eq!((timeline.arrivals.len(), timeline.left_out), (ARRIVALS_MAX, 3));
    }
}
