//! What the node writes into the ledger.

use super::{Effect, Node};
use bytes::Bytes;
use sundog_ledger::{SlotMeta, TransactionRecord};
use sundog_runtime::Committed;
use sundog_turbine::Timeline;
use sundog_types::{
    Effects, Now, Slot,
    shred::{Shred, Signed},
    store::Batch,
};

impl Node {
    /// Keeps shreds, so that this node can serve repair and replay its blocks after a restart; a set that lacks some a
    /// moment later.
    pub(super) fn remember_shreds(&mut self, now: Now, shreds: &[Shred<Signed>], out: &mut Effects<Effect>) {
        let ready = self.shelf.add(now, shreds);
        write_shreds(&ready, out);
    }

    /// Keeps what has waited for the rest of its set long enough.
    pub(super) fn remember_due(&mut self, now: Now, out: &mut Effects<Effect>) {
        write_shreds(&self.shelf.take_due(now), out);
    }

    /// Keeps all shreds that came of a slot: its block is whole.
    pub(super) fn remember_whole(&mut self, slot: Slot, out: &mut Effects<Effect>) {
        write_shreds(&self.shelf.take_slot(slot), out);
    }

    /// Keeps executed transactions with their outcome.
    pub(super) fn remember_transactions(&mut self, slot: Slot, committed: Vec<Committed>, out: &mut Effects<Effect>) {
        if committed.is_empty() {
            return;
        }
        self.landed(slot, &committed);
        let first = self.counters.next_place(slot, committed.len());
        let records: Vec<TransactionRecord> = committed.into_iter().map(super::record).collect();
        let mut batch = Batch::default();
        sundog_ledger::put_transactions(&mut batch, slot, first, &records);
        write(batch, out);
    }

    /// Keeps what is known of a block.
    pub(super) fn remember_meta(&mut self, slot: Slot, meta: &SlotMeta, out: &mut Effects<Effect>) {
        let mut batch = Batch::default();
        sundog_ledger::put_meta(&mut batch, slot, meta);
        write(batch, out);
    }

    /// Keeps how the shreds of a slot arrived.
    pub(super) fn remember_timeline(&mut self, slot: Slot, timeline: &Timeline, out: &mut Effects<Effect>) {
        let mut batch = Batch::default();
        sundog_ledger::put_timeline(&mut batch, slot, timeline.encode());
        write(batch, out);
    }

    /// Keeps the proof that the leader of a slot made two versions of it.
    pub(super) fn remember_duplicate(&mut self, slot: Slot, proof: Bytes, out: &mut Effects<Effect>) {
        let mut batch = Batch::default();
        sundog_ledger::put_duplicate(&mut batch, slot, proof);
        write(batch, out);
    }

    /// Keeps that a slot is dead.
    pub(super) fn remember_dead(&mut self, slot: Slot, out: &mut Effects<Effect>) {
        let mut meta = self.ledger.slot_meta(slot).ok().flatten().unwrap_or_default();
        meta.dead = true;
        self.remember_meta(slot, &meta, out);
    }
}

fn write_shreds(shreds: &[Shred<Signed>], out: &mut Effects<Effect>) {
    let mut batch = Batch::default();
    sundog_ledger::put_shreds(&mut batch, shreds);
    write(batch, out);
}

fn write(batch: Batch, out: &mut Effects<Effect>) {
    if !batch.is_empty() {
        out.push(Effect::Write { batch, durable: None });
    }
}
