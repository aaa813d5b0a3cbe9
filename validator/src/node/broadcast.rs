//! From entries to shreds: batches of a leader's entries are closed, shredded off the critical path,
//! and sent, in order, one slot after the other.

use super::{
    Effect, Node,
    job::{Job, ShredJob},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use sundog_turbine::{FecSet, Shredder};
use sundog_types::{Effects, Hash, Now, Slot, entry::Entry};

/// How long an entry with transactions waits for more of its batch (reference 3.7).
const COALESCE: Duration = Duration::from_millis(50);
/// A batch is closed when it nearly fills two FEC sets (reference 3.7).
const BATCH_BYTES: usize = 2 * 30_816 - 1_540;
/// A transaction's size is guessed to decide when a batch is full: most are near this, and a set more or less costs
/// nothing but padding.
const TRANSACTION_BYTES_GUESS: usize = 300;
/// Closed batches that wait to be shredded. Shredding is 20 times faster than making entries, so this is
/// never reached unless the pool stands still; then entries pile up in the open batch instead.
const QUEUE_MAX: usize = 64;
/// Sets that wait until their slot is durably marked as led: a slot's worth of full sets.
const HELD_MAX: usize = 1_024;

struct Batch {
    slot: Slot,
    parent: Slot,
    entries: Vec<Entry>,
    reference_tick: u8,
    last_in_slot: bool,
}

struct Open {
    slot: Slot,
    parent: Slot,
    entries: Vec<Entry>,
    bytes: usize,
    ticks: u64,
    /// When a batch that someone waits for must be closed: it holds transactions, or is the slot's first.
    close_at: Option<Now>,
    first: bool,
}

/// A leader's outgoing blocks.
#[derive(Default)]
pub(super) struct Broadcast {
    open: Option<Open>,
    queue: VecDeque<Batch>,
    /// The shredder of the slot in work, unless a job has it.
    shredder: Option<(Slot, Box<Shredder>)>,
    busy: bool,
    /// The last block that was shredded whole, and the Merkle root of its last FEC set.
    last_root: Option<(Slot, Hash)>,
    held: VecDeque<FecSet>,
}

impl Broadcast {
    /// Adds an entry to the open batch. `over`: it is the slot's last tick.
    pub(super) fn push(&mut self, now: Now, entry: Entry, ticks: u64, over: bool) {
        let Some(open) = &mut self.open else { return };
        let bytes = 48 + entry.transactions.len() * TRANSACTION_BYTES_GUESS;
        if !entry.is_tick() || open.first {
            open.close_at = open.close_at.or_else(|| Some(now.after(COALESCE)));
        }
        open.entries.push(entry);
        open.bytes += bytes;
        open.ticks = ticks;
        if over {
            let open = self.open.take().expect("it is open");
            self.close(open, true);
        } else if self.due(now) && self.queue.len() < QUEUE_MAX {
            self.close_open();
        }
    }

    fn due(&self, now: Now) -> bool {
        self.open.as_ref().is_some_and(|open| {
            !open.entries.is_empty() && (open.bytes >= BATCH_BYTES || open.close_at.is_some_and(|at| now.reached(at)))
        })
    }

    fn close_open(&mut self) {
        let Some(open) = &mut self.open else { return };
        let next = Open { entries: Vec::new(), bytes: 0, close_at: None, first: false, ..*open };
        let full = std::mem::replace(open, next);
        self.close(full, false);
    }

    fn close(&mut self, open: Open, last_in_slot: bool) {
        let reference_tick = u8::try_from(open.ticks.min(63)).expect("at most 63");
        self.queue.push_back(Batch {
            slot: open.slot,
            parent: open.parent,
            entries: open.entries,
            reference_tick,
            last_in_slot,
        });
    }

    /// When the open batch must be closed.
    pub(super) fn poll_timeout(&self) -> Option<Now> {
        self.open.as_ref().and_then(|open| open.close_at)
    }

    /// The Merkle root of the last FEC set of an own block.
    pub(super) fn last_root(&self, slot: Slot) -> Option<Hash> {
        self.last_root.filter(|(last, _)| *last == slot).map(|(_, root)| root)
    }
}

impl Node {
    /// Opens the batch of a new own slot.
    pub(super) fn broadcast_open(&mut self, slot: Slot, parent: Slot) {
        self.broadcast.open =
            Some(Open { slot, parent, entries: Vec::new(), bytes: 0, ticks: 0, close_at: None, first: true });
    }

    /// Closes a batch that is due, and shreds and sends what can be.
    pub(super) fn broadcast_pump(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.broadcast.due(now) && self.broadcast.queue.len() < QUEUE_MAX {
            self.broadcast.close_open();
        }
        self.send_held(now, out);
        if self.broadcast.busy {
            return;
        }
        let Some(batch) = self.broadcast.queue.pop_front() else { return };
        let shredder = match self.broadcast.shredder.take() {
            Some((slot, shredder)) if slot == batch.slot => shredder,
            _ => Box::new(self.new_shredder(batch.slot, batch.parent)),
        };
        self.broadcast.busy = true;
        out.push(Effect::Run(Job::Shred(Box::new(ShredJob {
            shredder,
            entries: batch.entries,
            reference_tick: batch.reference_tick,
            last_in_slot: batch.last_in_slot,
            signer: Arc::clone(&self.signer),
        }))));
    }

    fn new_shredder(&self, slot: Slot, parent: Slot) -> Shredder {
        let chained = self
            .broadcast
            .last_root(parent)
            .or_else(|| self.forks.get(parent).and_then(|frozen| frozen.block_id))
            .unwrap_or_default();
        Shredder::new(slot, parent, self.config.shred_version, chained)
            .expect("a slot is led on an earlier one, not far back")
    }

    /// Takes back the shredder with the sets it made.
    pub(super) fn broadcast_shredded(
        &mut self,
        now: Now,
        (shredder, sets, last_in_slot): (Box<Shredder>, Vec<FecSet>, bool),
        out: &mut Effects<Effect>,
    ) {
        self.broadcast.busy = false;
        let slot = shredder.slot();
        if last_in_slot {
            self.broadcast.last_root = Some((slot, shredder.chained_root()));
            if let Some(frozen) = self.forks.get_mut(slot) {
                frozen.block_id = Some(shredder.chained_root());
            }
        } else {
            self.broadcast.shredder = Some((slot, shredder));
        }
        for set in sets {
            if self.broadcast.held.len() < HELD_MAX {
                self.broadcast.held.push_back(set);
            }
        }
        self.broadcast_pump(now, out);
    }

    /// Sends sets whose slot is durably marked as led: the mark comes before the first shred.
    fn send_held(&mut self, now: Now, out: &mut Effects<Effect>) {
        while let Some(set) = self.broadcast.held.front() {
            let slot = set.data.first().map(sundog_types::shred::Shred::slot);
            if slot > self.leading.marked {
                return;
            }
            let set = self.broadcast.held.pop_front().expect("it is at the front");
            self.turbine(now, sundog_turbine::Input::Own { set }, out);
        }
    }
}
