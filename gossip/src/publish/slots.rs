//! The slots that we have whole, said in a ring of places (reference 6.13).

use crate::{
    check::EPOCH_SLOTS_PLACES,
    recent::held_by,
    wire::slots::{CompressedSlots, SLOTS_PER_PART},
};
use std::{collections::BTreeSet, time::Duration};
use sundog_types::{Now, Slot};

/// Bytes of the epoch slots in one value (the reference's `MAX_CRDS_OBJECT_SIZE`).
pub const OBJECT_BYTES_MAX: usize = 928;

/// Bytes of epoch slots before their parts and behind them: origin, number of parts, wallclock.
const FRAME_BYTES: usize = 32 + 8 + 8;

/// Slots that wait to be said: those of a part, far more than complete in [`EVERY`]. Full: the lowest is not said;
/// higher ones are of more interest.
pub const PENDING_MAX: usize = SLOTS_PER_PART as usize;

/// Slots that complete within this time are said together: each saying is signed, and travels to everybody.
pub const EVERY: Duration = Duration::from_millis(200);

/// How long a new instance listens before it says slots: others may hold epoch slots of its earlier life, after which
/// it goes on. They come with the first pulls.
pub const LISTEN_FIRST: Duration = Duration::from_secs(2);

/// A bitmap in the making. Its first slot is a multiple of eight.
#[derive(Clone, Debug, Default)]
struct Part {
    first: u64,
    bits: Vec<u8>,
}

impl Part {
    /// How many of these ascending slots it can describe together with its own.
    fn reaches(&self, slots: &[u64]) -> usize {
        let Some(least) = slots.first() else {
            return 0;
        };
        let (first, end) = match self.bits.len() {
            0 => (least / 8 * 8, 0),
            bytes => (self.first.min(least / 8 * 8), self.first + bytes as u64 * 8),
        };
        // The bytes count in full, and a part must describe fewer than the maximum.
        let limit = first + SLOTS_PER_PART - 8;
        if end > limit { 0 } else { slots.partition_point(|slot| *slot < limit) }
    }

    /// With these slots too, all of which it reaches.
    fn with(&self, slots: &[u64]) -> Self {
        let mut part = self.clone();
        for slot in slots {
            let floor = slot / 8 * 8;
            if part.bits.is_empty() {
                part.first = floor;
            }
            if floor < part.first {
                let more = usize::try_from((part.first - floor) / 8).expect("within a part");
                part.bits.splice(0..0, std::iter::repeat_n(0, more));
                part.first = floor;
            }
            let byte = usize::try_from((slot - part.first) / 8).expect("within a part");
            if part.bits.len() <= byte {
                part.bits.resize(byte + 1, 0);
            }
            part.bits[byte] |= 1 << (slot % 8);
        }
        part
    }

    fn pack(&self) -> Option<CompressedSlots> {
        let last = *self.bits.last()?;
        let count = self.bits.len() as u64 * 8 - u64::from(last.leading_zeros());
        Some(CompressedSlots::of_bitmap(self.first, count, self.bits.clone()))
    }
}

/// What is said in one place: its index and the parts.
pub type Said = (u8, Vec<CompressedSlots>);

/// Our slots that wait to be said, and the place where the newest are said.
#[derive(Debug)]
pub struct OwnSlots {
    pending: BTreeSet<u64>,
    due: Now,
    place: u8,
    /// Full parts of the present place, and their bytes.
    closed: Vec<CompressedSlots>,
    closed_bytes: usize,
    open: Part,
    /// The newest value of an earlier life that was heard: its wallclock and place.
    earlier: Option<(u64, u8)>,
    spoken: bool,
    /// Slots that were not said because too many waited.
    pub forgotten: u64,
}

impl OwnSlots {
    /// Nothing said yet, at the start of an instance.
    #[must_use]
    pub fn new(now: Now) -> Self {
        Self {
            pending: BTreeSet::new(),
            due: now.after(LISTEN_FIRST),
            place: 0,
            closed: Vec::new(),
            closed_bytes: 0,
            open: Part::default(),
            earlier: None,
            spoken: false,
            forgotten: 0,
        }
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let closed = self.closed.capacity() * size_of::<CompressedSlots>() + 2 * self.closed_bytes;
        held_by::<u64, ()>(self.pending.len()) + closed + self.open.bits.capacity()
    }

    /// These are to be said.
    pub fn complete(&mut self, slots: &[Slot]) {
        for slot in slots {
            self.pending.insert(slot.get());
            if self.pending.len() > PENDING_MAX {
                self.pending.pop_first();
                self.forgotten += 1;
            }
        }
    }

    /// Nobody wants to hear what waits.
    pub fn discard(&mut self) {
        self.pending.clear();
    }

    /// Others hold epoch slots of our earlier life in this place. We begin behind the newest of them, so that what was
    /// said there stays said until the ring comes round.
    pub fn hear_earlier(&mut self, place: u8, wallclock: u64) {
        if !self.spoken && self.earlier.is_none_or(|earlier| earlier < (wallclock, place)) {
            self.earlier = Some((wallclock, place));
            self.place = next(place);
        }
    }

    /// The values to say now; none while it is too soon.
    pub fn due(&mut self, now: Now) -> Vec<Said> {
        if self.pending.is_empty() || !now.reached(self.due) {
            return Vec::new();
        }
        self.due = now.after(EVERY);
        self.spoken = true;
        let slots: Vec<u64> = std::mem::take(&mut self.pending).into_iter().collect();
        self.add(&slots)
    }

    fn add(&mut self, mut slots: &[u64]) -> Vec<Said> {
        let mut said = Vec::new();
        let mut news = false;
        while !slots.is_empty() {
            let reached = self.open.reaches(slots);
            let fit = self.fit(&slots[..reached]);
            if fit > 0 {
                self.open = self.open.with(&slots[..fit]);
                slots = &slots[fit..];
                news = true;
            } else if reached == 0 {
                self.close_part();
            } else {
                if news {
                    said.push(self.present());
                }
                news = false;
                self.turn_page();
            }
        }
        if news {
            said.push(self.present());
        }
        said
    }

    /// How many of the slots can be said in the present place; a count near the largest when not all can.
    fn fit(&self, slots: &[u64]) -> usize {
        let fits = |count: usize| {
            let part = self.open.with(&slots[..count]).pack();
            let bytes = FRAME_BYTES + self.closed_bytes + part.map_or(0, |part| part.encoded_len());
            bytes <= OBJECT_BYTES_MAX
        };
        if slots.is_empty() || fits(slots.len()) {
            return slots.len();
        }
        let (mut good, mut bad) = (0, slots.len());
        while bad - good > 1 {
            let middle = usize::midpoint(good, bad);
            if fits(middle) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        good
    }

    fn close_part(&mut self) {
        if let Some(part) = std::mem::take(&mut self.open).pack() {
            self.closed_bytes += part.encoded_len();
            self.closed.push(part);
        }
    }

    fn turn_page(&mut self) {
        self.closed.clear();
        self.closed_bytes = 0;
        self.open = Part::default();
        self.place = next(self.place);
    }

    fn present(&self) -> Said {
        (self.place, self.closed.iter().cloned().chain(self.open.pack()).collect())
    }
}

/// Bytes of the shortest part: its form, first slot, count, length and a byte.
const PART_BYTES_MIN: usize = 4 + 8 + 8 + 8 + 1;

/// What [`OwnSlots::held_bytes`] never exceeds; a list that grows has room for twice what is in it.
pub const OWN_SLOTS_BYTES_MAX: usize = held_by::<u64, ()>(PENDING_MAX)
    + 2 * (OBJECT_BYTES_MAX / PART_BYTES_MIN + 1) * size_of::<CompressedSlots>()
    + 2 * OBJECT_BYTES_MAX
    + SLOTS_PER_PART as usize / 8 * 2;

const fn next(place: u8) -> u8 {
    (place + 1) % EPOCH_SLOTS_PLACES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        codec::Writer,
        slots::{Bitmap, EpochSlots},
    };
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use std::collections::BTreeMap;
    use sundog_types::Pubkey;

    const START: Now = Now { mono_us: 1, unix_ms: 1 };

    fn listening_over() -> Now {
        START.after(LISTEN_FIRST)
    }

    fn slots(numbers: impl IntoIterator<Item = u64>) -> Vec<Slot> {
        numbers.into_iter().map(Slot::new).collect()
    }

    fn value(parts: &[CompressedSlots]) -> EpochSlots {
        EpochSlots { from: Pubkey::default(), parts: parts.to_vec(), wallclock: 0 }
    }

    fn length(parts: &[CompressedSlots]) -> usize {
        let mut writer = Writer::new();
        value(parts).write(&mut writer);
        writer.into_bytes().len()
    }

    #[test]
    fn slots_are_said_together_at_most_once_in_so_long() {
        let mut own = OwnSlots::new(START);
        own.complete(&slots([5, 3]));
        assert!(own.due(START).is_empty(), "it listens first");
        let said = own.due(listening_over());
        assert_eq!(said.len(), 1);
        assert_eq!((said[0].0, value(&said[0].1).slots()), (0, vec![3, 5]));
        own.complete(&slots([6]));
        assert!(own.due(listening_over().after(EVERY / 2)).is_empty());
        let said = own.due(listening_over().after(EVERY));
        assert_eq!((said[0].0, value(&said[0].1).slots()), (0, vec![3, 5, 6]));
        assert!(own.due(listening_over().after(EVERY * 2)).is_empty(), "nothing new");
    }

    #[test]
    fn whatever_the_slots_each_value_fits_and_together_they_say_all() {
        for seed in 0..12 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut own = OwnSlots::new(START);
            let (mut now, mut slot, mut told) = (listening_over(), 1_000u64, BTreeSet::new());
            let mut held = BTreeMap::new();
            for _ in 0..300 {
                let batch: Vec<u64> = (0..rng.gen_range(1..60))
                    .map(|_| {
                        slot += rng.gen_range(1..=1 + seed * 3) + if rng.gen_bool(0.001) { 40_000 } else { 0 };
                        if rng.gen_bool(0.05) { slot - rng.gen_range(0..900) } else { slot }
                    })
                    .collect();
                told.extend(batch.iter().copied());
                own.complete(&slots(batch));
                assert!(own.held_bytes() <= OWN_SLOTS_BYTES_MAX);
                now = now.after(EVERY);
                for (place, parts) in own.due(now) {
                    assert!(length(&parts) <= OBJECT_BYTES_MAX);
                    held.insert(place, parts);
                }
            }
            assert!(held.len() < usize::from(EPOCH_SLOTS_PLACES), "the ring did not come round");
            let heard: BTreeSet<u64> = held.values().flat_map(|parts| value(parts).slots()).collect();
            assert_eq!(heard, told, "seed {seed}");
        }
    }

    #[test]
    fn a_run_of_slots_is_deflated_and_a_whole_epoch_fits_few_places() {
        let mut own = OwnSlots::new(START);
        let mut places = BTreeSet::new();
        let mut now = listening_over();
        for first in (0..432_000).step_by(8_000) {
            own.complete(&slots((first..first + 8_000).filter(|slot| slot % 32 != 7)));
            for (place, parts) in own.due(now) {
                assert!(parts.iter().all(|part| matches!(part.bitmap, Bitmap::Deflated(_))));
                places.insert(place);
            }
            now = now.after(EVERY);
        }
        assert!(places.len() <= 8, "{places:?}");
    }

    #[test]
    fn when_the_ring_is_full_the_newest_slots_take_the_place_of_the_oldest() {
        let mut own = OwnSlots::new(START);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut now, mut slot, mut held, mut turns) = (listening_over(), 0, BTreeMap::new(), 0);
        while turns < 2 {
            // Half of the slots at random: as bad to deflate as can be.
            let batch: Vec<u64> = (slot..slot + 5_000).filter(|_| rng.r#gen()).collect();
            slot += 5_000;
            own.complete(&slots(batch));
            for (place, parts) in own.due(now) {
                turns += usize::from(place == 0 && held.len() == usize::from(EPOCH_SLOTS_PLACES));
                held.insert(place, parts);
            }
            now = now.after(EVERY);
        }
        assert_eq!(held.len(), usize::from(EPOCH_SLOTS_PLACES));
        assert!(held.values().flat_map(|parts| value(parts).slots()).any(|said| said > slot - 5_000));
    }

    #[test]
    fn more_slots_than_may_wait_lose_the_lowest() {
        let mut own = OwnSlots::new(START);
        own.complete(&slots((0..PENDING_MAX as u64 + 10).rev()));
        assert_eq!((own.pending.len(), own.forgotten), (PENDING_MAX, 10));
        assert_eq!(own.pending.first(), Some(&10));
        assert!(own.held_bytes() <= OWN_SLOTS_BYTES_MAX && own.held_bytes() > OWN_SLOTS_BYTES_MAX / 2);
        own.discard();
        assert!(own.due(listening_over()).is_empty());
    }

    #[test]
    fn a_new_life_goes_on_behind_the_newest_place_of_the_earlier_one() {
        let mut own = OwnSlots::new(START);
        for (place, wallclock) in [(3, 30), (254, 90), (253, 80)] {
            own.hear_earlier(place, wallclock);
        }
        own.complete(&slots([1]));
        assert_eq!(own.due(listening_over())[0].0, 0, "behind 254 the ring begins anew");
        own.hear_earlier(9, 100);
        own.complete(&slots([2]));
        assert_eq!(own.due(listening_over().after(EVERY))[0].0, 0, "it has begun");
    }
}
