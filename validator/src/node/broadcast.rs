//! From entries to shreds: batches of a leader's entries are closed, shredded off the critical path,
//! and sent, in order, one slot after the other.
//!
//! ```text
//!  entries -> open batch --(full, waited, slot over)--> queue --(pool: shred, sign)--> held --(slot is marked)--> Turbine
//! ```
//!
//! Nothing is dropped on the way, so every line is as long as what may enter it: a slot makes at most
//! [`SLOT_SETS_MAX`] sets ([`Broadcast::has_room`] is asked before anything but ticks is added), and no slot begins
//! while one before the last is still on its way ([`Broadcast::is_behind`]).

use super::{
    Effect, Node,
    job::{Job, ShredJob},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use sundog_turbine::{FecSet, Shredder};
use sundog_types::{
    Effects, Hash, Now, Slot,
    entry::Entry,
    shred::{MAX_SHREDS_PER_SLOT, SHREDS_PER_KIND, Shred},
};

/// How long an entry with transactions waits for more of its batch (reference 3.7).
const COALESCE: Duration = Duration::from_millis(50);
/// Entry bytes that fill an FEC set (reference 3.7).
const SET_BYTES: usize = 30_816;
/// Bytes of a batch: more than this is only a single entry that is longer (reference 3.7).
const BATCH_BYTES_MAX: usize = 2 * SET_BYTES;
/// A batch that lacks no more than this of its last set is closed: the padding costs less than waiting (reference 3.7).
const NEARLY_BYTES: usize = SET_BYTES / 20;
/// Bytes of the count that a batch begins with.
const COUNT_BYTES: usize = 8;
/// Bytes of a tick.
const TICK_BYTES: usize = 48;
/// FEC sets of a slot at most: its data shreds have 32,768 indexes (reference 3.8).
const SLOT_SETS_MAX: usize = MAX_SHREDS_PER_SLOT as usize / SHREDS_PER_KIND;
/// Sets that hold less than they could, in what [`Broadcast::has_room`] foresees: of the open batch and of the next
/// entry's, each closed by time; one before an entry that does not fit; and the slot's last, split in two.
const PADDED_SETS: usize = 6;
/// Batches and sets on their way: those of two slots, see [`Broadcast::is_behind`]. A batch makes at least one set.
const UNDER_WAY_MAX: usize = 2 * SLOT_SETS_MAX;
/// Sets given to Turbine in one call, a fraction of a millisecond's work; then other inputs have their turn.
const SETS_PER_CALL: usize = 4;

/// A closed batch.
struct Batch {
    block: Place,
    entries: Vec<Entry>,
    reference_tick: u8,
    last_in_slot: bool,
}

/// Where a block stands.
#[derive(Clone, Copy)]
struct Place {
    slot: Slot,
    parent: Slot,
    /// The Merkle root of the parent's last FEC set, if it was known when the block began.
    chained: Option<Hash>,
}

/// The batch that entries are added to.
struct Open {
    block: Place,
    entries: Vec<Entry>,
    bytes: usize,
    /// Ticks of the slot when the last entry was recorded.
    ticks: u64,
    /// When a batch that someone waits for must be closed: it holds transactions, or is the slot's first.
    close_at: Option<Now>,
    /// Sets that the closed batches of the slot make.
    sets: usize,
}

/// A leader's outgoing blocks.
#[derive(Default)]
pub(super) struct Broadcast {
    open: Option<Open>,
    queue: VecDeque<Batch>,
    /// The shredder of the slot in work, unless a job has it.
    shredder: Option<Box<Shredder>>,
    /// The slot that a job shreds a batch of.
    working: Option<Slot>,
    /// The last block that was shredded whole, and the Merkle root of its last FEC set.
    last_root: Option<(Slot, Hash)>,
    held: VecDeque<FecSet>,
    /// Sets that may leave are left over from the last call.
    again: Option<Now>,
}

impl Open {
    fn new(block: Place, sets: usize) -> Self {
        Self { block, entries: Vec::new(), bytes: COUNT_BYTES, ticks: 0, close_at: None, sets }
    }

    fn is_due(&self, now: Now) -> bool {
        let nearly_full = self.bytes.next_multiple_of(SET_BYTES) - self.bytes <= NEARLY_BYTES;
        let full = nearly_full || self.bytes >= BATCH_BYTES_MAX;
        !self.entries.is_empty() && (full || self.close_at.is_some_and(|at| now.reached(at)))
    }
}

impl Broadcast {
    /// Opens a new block. One that is still open is ended first, see [`Self::interrupt`].
    fn open(&mut self, block: Place, ticks_per_slot: u64) {
        self.interrupt(ticks_per_slot);
        self.open = Some(Open::new(block, 0));
    }

    /// Ends a block that gets no more entries: an empty batch closes its slot, so that nobody waits for more of it
    /// (reference 3.7). A block of which nothing was closed yet leaves no trace.
    pub(super) fn interrupt(&mut self, ticks_per_slot: u64) {
        let Some(open) = self.open.take().filter(|open| open.sets > 0) else { return };
        let sets = open.sets;
        self.close(Open { ticks: ticks_per_slot, ..Open::new(open.block, sets) }, true);
    }

    /// Adds an entry to the open batch. `over`: it is the slot's last tick.
    pub(super) fn push(&mut self, now: Now, entry: Entry, ticks: u64, over: bool) {
        let bytes = entry_bytes(&entry);
        if self.open.as_ref().is_some_and(|open| open.bytes + bytes > BATCH_BYTES_MAX) {
            self.close_open();
        }
        let Some(open) = &mut self.open else { return };
        if !entry.is_tick() || open.sets == 0 {
            open.close_at = open.close_at.or_else(|| Some(now.after(COALESCE)));
        }
        open.entries.push(entry);
        open.bytes += bytes;
        open.ticks = ticks;
        if over {
            let open = self.open.take().expect("it is open");
            self.close(open, true);
        } else {
            self.close_due(now);
        }
    }

    /// Whether an entry of at most `bytes`, and `ticks` more ticks, surely fit in the open block.
    pub(super) fn has_room(&self, bytes: usize, ticks: u64) -> bool {
        let Some(open) = &self.open else { return false };
        let ticks = usize::try_from(ticks).unwrap_or(usize::MAX);
        let to_come = ticks.saturating_mul(TICK_BYTES).saturating_add(open.bytes).saturating_add(bytes);
        // A batch that is closed because it is nearly full holds at least this much a set.
        let sets = to_come.div_ceil(SET_BYTES - NEARLY_BYTES - COUNT_BYTES);
        open.sets.saturating_add(sets).saturating_add(PADDED_SETS) <= SLOT_SETS_MAX
    }

    /// Whether two slots are on their way: a third would have to wait, and must not begin.
    pub(super) fn is_behind(&self) -> bool {
        let held = |set: Option<&FecSet>| set.and_then(slot_of);
        let queued = |batch: Option<&Batch>| batch.map(|batch| batch.block.slot);
        let oldest = held(self.held.front()).or(self.working).or(queued(self.queue.front()));
        let newest = queued(self.queue.back()).or(self.working).or(held(self.held.back()));
        oldest != newest
    }

    /// Whether sets of a block that gets no more entries are still to be made or to leave.
    pub(super) fn owes(&self) -> bool {
        let open = self.open.as_ref().map(|open| open.block.slot);
        let queued = self.queue.iter().map(|batch| batch.block.slot);
        let mut under_way = self.held.iter().filter_map(slot_of).chain(self.working).chain(queued);
        under_way.any(|slot| Some(slot) != open)
    }

    fn close_due(&mut self, now: Now) {
        if self.open.as_ref().is_some_and(|open| open.is_due(now)) {
            self.close_open();
        }
    }

    fn close_open(&mut self) {
        let Some(open) = self.open.take_if(|open| !open.entries.is_empty()) else { return };
        let sets = open.sets + Shredder::sets_for(open.bytes, false);
        self.open = Some(Open::new(open.block, sets));
        self.close(open, false);
    }

    fn close(&mut self, open: Open, last_in_slot: bool) {
        let reference_tick = u8::try_from(open.ticks.min(63)).expect("at most 63");
        debug_assert!(self.queue.len() < UNDER_WAY_MAX, "a batch is at least a set, and two slots have no more");
        self.queue.push_back(Batch { block: open.block, entries: open.entries, reference_tick, last_in_slot });
    }

    /// When the open batch must be closed, or sets that were left over leave.
    pub(super) fn poll_timeout(&self) -> Option<Now> {
        self.again.or_else(|| self.open.as_ref().and_then(|open| open.close_at))
    }

    /// The Merkle root of the last FEC set of an own block, if it is the last one that was shredded whole.
    pub(super) fn last_root(&self, slot: Slot) -> Option<Hash> {
        self.last_root.filter(|(last, _)| *last == slot).map(|(_, root)| root)
    }

    /// The next batch to shred, with its slot's shredder, unless a job has one already. Blocks are shredded in the
    /// order they were made, so the parent's last root is known by now if it is an own block.
    fn next_work(&mut self, shred_version: u16) -> Option<(Box<Shredder>, Batch)> {
        if self.working.is_some() {
            return None;
        }
        let batch = self.queue.pop_front()?;
        let Place { slot, parent, chained } = batch.block;
        let shredder = self.shredder.take().filter(|shredder| shredder.slot() == slot).unwrap_or_else(|| {
            let chained = self.last_root(parent).or(chained).unwrap_or_default();
            let shredder = Shredder::new(slot, parent, shred_version, chained);
            Box::new(shredder.expect("a slot is led on an earlier one, not far back"))
        });
        self.working = Some(slot);
        Some((shredder, batch))
    }

    /// Takes back the shredder with the sets it made.
    fn worked(&mut self, shredder: Box<Shredder>, sets: Vec<FecSet>, last_in_slot: bool) {
        self.working = None;
        if last_in_slot {
            self.last_root = Some((shredder.slot(), shredder.chained_root()));
        } else {
            self.shredder = Some(shredder);
        }
        self.held.extend(sets);
        debug_assert!(self.held.len() <= UNDER_WAY_MAX, "two slots have no more sets");
    }

    /// Whether the next set may leave: its slot is durably marked as led.
    fn may_release(&self, marked: Option<Slot>) -> bool {
        self.held.front().is_some_and(|set| slot_of(set) <= marked)
    }

    /// The next set, if it may leave.
    fn release(&mut self, marked: Option<Slot>) -> Option<FecSet> {
        if self.may_release(marked) { self.held.pop_front() } else { None }
    }
}

impl Node {
    /// Opens the first batch of a new own slot.
    pub(super) fn broadcast_open(&mut self, slot: Slot, parent: Slot) {
        let chained = self.forks.get(parent).and_then(|frozen| frozen.block_id);
        self.broadcast.open(Place { slot, parent, chained }, self.config.ticks_per_slot);
    }

    /// Closes a batch that is due, has the next one shredded, and sends what is ready meanwhile.
    pub(super) fn broadcast_pump(&mut self, now: Now, out: &mut Effects<Effect>) {
        self.broadcast.close_due(now);
        if let Some((shredder, batch)) = self.broadcast.next_work(self.config.shred_version) {
            out.push(Effect::Run(Job::Shred(Box::new(ShredJob {
                shredder,
                entries: batch.entries,
                reference_tick: batch.reference_tick,
                last_in_slot: batch.last_in_slot,
                signer: Arc::clone(&self.signer),
            }))));
        }
        for _ in 0..SETS_PER_CALL {
            let Some(set) = self.broadcast.release(self.leading.marked) else { break };
            self.turbine(now, sundog_turbine::Input::Own { set }, out);
        }
        self.broadcast.again = self.broadcast.may_release(self.leading.marked).then_some(now);
        self.save_tower(out);
    }

    /// Takes the sets that a batch became.
    pub(super) fn broadcast_shredded(
        &mut self,
        now: Now,
        (shredder, sets, last_in_slot): (Box<Shredder>, Vec<FecSet>, bool),
        out: &mut Effects<Effect>,
    ) {
        let slot = shredder.slot();
        self.broadcast.worked(shredder, sets, last_in_slot);
        if let (Some(frozen), Some(root)) = (self.forks.get_mut(slot), self.broadcast.last_root(slot)) {
            frozen.block_id = Some(root);
        }
        self.broadcast_pump(now, out);
    }
}

fn slot_of(set: &FecSet) -> Option<Slot> {
    set.data.first().map(Shred::slot)
}

/// Bytes that an entry adds to its batch.
fn entry_bytes(entry: &Entry) -> usize {
    if entry.is_tick() {
        return TICK_BYTES;
    }
    let bytes = bincode::serialized_size(entry).expect("lists of a transaction are short");
    usize::try_from(bytes).expect("it is in memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Done, leading::MISSING_SLOTS_MAX};
    use proptest::prelude::*;
    use solana_keypair::Keypair;
    use solana_message::{Message, VersionedMessage, compiled_instruction::CompiledInstruction};
    use solana_transaction::versioned::VersionedTransaction;
    use sundog_types::{
        Pubkey, Signature, entry,
        sign::{Identity, Verifier},
    };

    const T0: Now = Now { mono_us: 1_000_000, unix_ms: 0 };
    const TICK: Duration = Duration::from_micros(6_250);

    fn after(ticks: u64) -> Now {
        T0.after(TICK * u32::try_from(ticks).expect("few"))
    }

    fn place(slot: u64, parent: u64) -> Place {
        Place { slot: Slot::new(slot), parent: Slot::new(parent), chained: None }
    }

    fn tick() -> Entry {
        Entry { num_hashes: 8, ..Entry::default() }
    }

    /// An entry of so many bytes, or two more, in one long transaction.
    fn loaded(bytes: usize) -> Entry {
        let entry = |data: usize| {
            let data = vec![7; data];
            let instructions = vec![CompiledInstruction { program_id_index: 0, accounts: Vec::new(), data }];
            let account_keys = vec![Pubkey::new_from_array([3; 32])];
            let message = VersionedMessage::Legacy(Message { account_keys, instructions, ..Message::default() });
            let transaction = VersionedTransaction { signatures: vec![Signature::default()], message };
            Entry { transactions: vec![transaction], ..tick() }
        };
        entry(bytes.saturating_sub(entry_bytes(&entry(0))))
    }

    /// Shreds all that is queued; the sets by batch.
    fn shred_all(broadcast: &mut Broadcast) -> Vec<Vec<FecSet>> {
        let mut made = Vec::new();
        while let Some((shredder, batch)) = broadcast.next_work(7) {
            let job = ShredJob {
                shredder,
                entries: batch.entries,
                reference_tick: batch.reference_tick,
                last_in_slot: batch.last_in_slot,
                signer: Arc::new(Identity::new(Keypair::new_from_array([1; 32]))),
            };
            assert!(broadcast.next_work(7).is_none(), "one job at a time has the chain of roots");
            let Done::Shredded { shredder, sets, last_in_slot } =
                Job::Shred(Box::new(job)).run(&Verifier::without_memory())
            else {
                panic!("shreds are answered with sets")
            };
            made.push(sets.clone());
            broadcast.worked(shredder, sets, last_in_slot);
        }
        made
    }

    /// All ticks of a slot, each at its time; the timer is kept.
    fn idle_slot(broadcast: &mut Broadcast) {
        for number in 1..=64 {
            let now = after(number);
            if broadcast.poll_timeout().is_some_and(|due| now.reached(due)) {
                broadcast.close_due(now);
            }
            broadcast.push(now, tick(), number, number == 64);
        }
    }

    #[test]
    fn an_idle_slot_is_two_sets_one_early_and_one_at_its_end() {
        let mut broadcast = Broadcast::default();
        broadcast.open(place(5, 4), 64);
        idle_slot(&mut broadcast);
        assert!(broadcast.poll_timeout().is_none(), "a block that is over waits for nothing");
        let batches = shred_all(&mut broadcast);
        let sets: Vec<&FecSet> = batches.iter().flatten().collect();
        let ticks: Vec<u8> = sets.iter().map(|set| set.data[0].reference_tick()).collect();
        assert_eq!(ticks, [8, 63], "50 ms are eight ticks; the field ends at 63");
        assert!(!sets[0].data[31].last_in_slot() && sets[0].data[31].data_complete());
        assert!(sets[1].data[31].last_in_slot() && sets[1].data[31].resigned());
    }

    #[test]
    fn the_size_of_a_batch_is_the_one_it_has_on_the_wire() {
        let entries = vec![tick(), loaded(1), loaded(5_000), tick(), loaded(28_000)];
        let counted: usize = entries.iter().map(entry_bytes).sum();
        assert_eq!(COUNT_BYTES + counted, entry::encode_batch(&entries).len());
        assert_eq!([SET_BYTES, SET_BYTES + 1].map(|bytes| Shredder::sets_for(bytes, false)), [1, 2]);
    }

    #[test]
    fn a_batch_waits_50_ms_for_more_and_is_closed_sooner_when_it_nearly_fills_its_sets() {
        let mut broadcast = Broadcast::default();
        broadcast.open(place(5, 4), 64);
        broadcast.push(T0, tick(), 1, false);
        broadcast.close_due(T0.after(COALESCE));
        assert_eq!(broadcast.queue.len(), 1, "the first batch tells that the slot has begun");
        broadcast.push(after(9), tick(), 9, false);
        assert_eq!(broadcast.poll_timeout(), None, "ticks alone wait for the end of the slot");
        broadcast.push(after(10), loaded(10_000), 10, false);
        assert_eq!(broadcast.poll_timeout(), Some(after(10).after(COALESCE)));
        broadcast.push(after(11), loaded(19_300), 11, false);
        assert_eq!(broadcast.queue.len(), 2, "nearly one set");
        broadcast.push(after(12), loaded(20_000), 12, false);
        broadcast.push(after(13), loaded(20_000), 13, false);
        assert_eq!(broadcast.queue.len(), 2);
        broadcast.push(after(14), loaded(28_000), 14, false);
        assert_eq!(broadcast.queue.len(), 3, "what does not fit in two sets begins the next batch");
        let ticks: Vec<u8> = broadcast.queue.iter().map(|batch| batch.reference_tick).collect();
        assert_eq!(ticks, [1, 11, 13], "the tick of the last entry");
        let sets: Vec<usize> = shred_all(&mut broadcast).iter().map(Vec::len).collect();
        assert_eq!(sets, [1, 1, 2]);
    }

    #[test]
    fn a_block_that_gets_no_more_entries_is_ended_by_an_empty_batch() {
        let mut broadcast = Broadcast::default();
        broadcast.open(place(5, 4), 64);
        broadcast.push(T0, tick(), 1, false);
        broadcast.close_due(T0.after(COALESCE));
        broadcast.push(after(9), loaded(5_000), 9, false);
        broadcast.open(place(7, 4), 64);
        broadcast.push(after(10), tick(), 1, true);
        let batches = shred_all(&mut broadcast);
        let slots: Vec<u64> = batches.iter().flatten().map(|set| set.data[0].slot().get()).collect();
        assert_eq!(slots, [5, 5, 7]);
        let end = &batches[1][0];
        let bytes: Vec<u8> = end.data.iter().flat_map(|shred| shred.data().to_vec()).collect();
        assert_eq!(bytes, 0_u64.to_le_bytes(), "no entries");
        assert!(end.data[31].last_in_slot() && end.data[31].resigned());
        assert_eq!(end.data[31].reference_tick(), 63, "all 64, as the field holds them");
        assert_eq!(end.data[0].chained_merkle_root(), batches[0][0].root);
    }

    #[test]
    fn a_block_of_which_nothing_was_closed_leaves_no_trace() {
        let mut broadcast = Broadcast::default();
        broadcast.open(place(5, 4), 64);
        broadcast.push(T0, tick(), 1, false);
        broadcast.interrupt(64);
        broadcast.push(after(2), tick(), 2, true);
        assert!(broadcast.queue.is_empty() && broadcast.poll_timeout().is_none());
    }

    #[test]
    fn own_slots_in_a_row_chain_though_the_next_begins_before_the_last_is_shredded() {
        let mut broadcast = Broadcast::default();
        let known = Hash::new_from_array([9; 32]);
        broadcast.open(Place { chained: Some(known), ..place(5, 4) }, 64);
        idle_slot(&mut broadcast);
        broadcast.open(place(6, 5), 64);
        assert_eq!(broadcast.last_root(Slot::new(5)), None, "not shredded yet");
        idle_slot(&mut broadcast);
        broadcast.open(Place { chained: Some(known), ..place(7, 4) }, 64);
        idle_slot(&mut broadcast);
        let sets: Vec<FecSet> = shred_all(&mut broadcast).into_iter().flatten().collect();
        let chained: Vec<Hash> = sets.iter().map(|set| set.data[0].chained_merkle_root()).collect();
        assert_eq!(chained, [known, sets[0].root, sets[1].root, sets[2].root, known, sets[4].root]);
        assert_eq!(broadcast.last_root(Slot::new(7)), Some(sets[5].root));
    }

    #[test]
    fn two_full_slots_wait_for_their_mark_without_loss_and_a_third_does_not_begin() {
        let mut broadcast = Broadcast::default();
        for slot in [5, 6] {
            broadcast.open(place(slot, slot - 1), 64);
            broadcast.push(T0, tick(), 1, true);
            assert_eq!(broadcast.is_behind(), slot == 6);
            let batches = shred_all(&mut broadcast);
            let filler = vec![batches[0][0].clone(); SLOT_SETS_MAX - 1];
            broadcast.held.extend(filler);
        }
        assert_eq!(broadcast.held.len(), UNDER_WAY_MAX);
        assert!(broadcast.is_behind(), "two slots are held");
        assert!(broadcast.release(None).is_none() && broadcast.release(Some(Slot::new(4))).is_none());
        let first = std::iter::from_fn(|| broadcast.release(Some(Slot::new(5)))).filter_map(|set| slot_of(&set));
        assert_eq!(first.collect::<Vec<_>>(), vec![Slot::new(5); SLOT_SETS_MAX]);
        assert!(!broadcast.is_behind(), "the next may begin");
        assert_eq!(std::iter::from_fn(|| broadcast.release(Some(Slot::new(8)))).count(), SLOT_SETS_MAX);
        assert!(!broadcast.is_behind() && broadcast.held.is_empty());
    }

    /// Fills a slot with entries of these sizes, over and over, as long as there is room, then with the ticks that were
    /// promised room; the sets it takes.
    fn fill(sizes: &[usize], step_us: u64, (missing, late): (u64, bool)) -> usize {
        let mut broadcast = Broadcast::default();
        broadcast.open(place(5_000, 4), 64);
        let ticks = 64 * (missing + 1);
        let mut now = T0;
        let mut sets = 0;
        let mut left = ticks;
        let mut ticking = |broadcast: &mut Broadcast, now: Now, count: u64| {
            for _ in 0..count {
                left -= 1;
                broadcast.push(now, tick(), 0, left == 0);
            }
            left
        };
        let mut to_come = if late { ticks } else { ticking(&mut broadcast, now, ticks - 64) };
        for size in sizes.iter().cycle() {
            let entry = loaded(*size);
            let most = size + 2;
            assert!(entry_bytes(&entry) <= most);
            if !broadcast.has_room(most, to_come) {
                break;
            }
            now = now.after(Duration::from_micros(step_us));
            broadcast.close_due(now);
            broadcast.push(now, entry, 0, false);
            if to_come > 1 && step_us.is_multiple_of(3) {
                to_come = ticking(&mut broadcast, now, 1);
            }
            sets += drain(&mut broadcast);
        }
        let end = now.after(COALESCE);
        broadcast.close_due(end);
        ticking(&mut broadcast, end, to_come);
        sets + drain(&mut broadcast)
    }

    fn drain(broadcast: &mut Broadcast) -> usize {
        let sets = |batch: Batch| {
            Shredder::sets_for(COUNT_BYTES + batch.entries.iter().map(entry_bytes).sum::<usize>(), batch.last_in_slot)
        };
        broadcast.queue.drain(..).map(sets).sum()
    }

    #[test]
    fn a_slot_of_long_transactions_ends_just_before_its_indexes_do() {
        let full = fill(&[28_000], 1_000, (0, false));
        assert!((1_000..=SLOT_SETS_MAX).contains(&full), "{full} sets");
        let after_missing = fill(&[28_000], 1_000, (MISSING_SLOTS_MAX, false));
        assert!((980..=SLOT_SETS_MAX).contains(&after_missing), "{after_missing} sets");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn whatever_is_recorded_when_a_block_never_needs_more_sets_than_its_slot_has(
            sizes in proptest::collection::vec(600_usize..28_000, 1..6),
            step_us in prop_oneof![Just(60_000_u64), 0..20_000_u64],
            missing in prop_oneof![Just(0), Just(MISSING_SLOTS_MAX), 0..MISSING_SLOTS_MAX],
            late: bool,
        ) {
            prop_assert!(fill(&sizes, step_us, (missing, late)) <= SLOT_SETS_MAX);
        }
    }
}
