//! Making blocks: when this node's slots begin.
//!
//! ```text
//!  Reset(block) -> plan the next own slot -> PoH ticks early -> begin -> execute, record, commit ... -> last tick -> freeze
//!                                                               `own_block.rs`   entries -> `broadcast.rs`
//! ```
//!
//! A block that was begun is finished, even when the tower would build on another by then: it costs nothing but the rest
//! of its slot, and may still win. Only when the root has left its fork is it given up.
//!
//! Slots begin by the timeline of the block that is built on: slot `N` on a block of slot `R` that was
//! reset to at `t` begins at `t + (N - R - 1) * slot`. The recorder hashes the ticks of the missing slots
//! before that moment, fast, so that a slot after missing leaders still begins on time.

use super::{
    Effect, Event, Node,
    own_block::{OwnBlock, Tick},
    windows,
};
use std::collections::{BTreeSet, VecDeque};
use sundog_poh::{RecorderEffect, RecorderInput};
use sundog_runtime::Bank;
use sundog_types::{Effects, Now, Slot, TickHeight};

/// How far ahead the schedule is searched for the next own slot.
const LOOKAHEAD_SLOTS: u64 = 2_048;
/// Missing slots that a block makes up for at most: their ticks are entries of the block (48 bytes each, 64 a slot),
/// and must leave room for a full block's transactions among the slot's 32,768 data shreds.
pub(super) const MISSING_SLOTS_MAX: u64 = 3_072;
/// Ticks kept that belong to no block yet: those of the missing slots and of the windows after them.
const TICKS_MAX: usize = 64 * (MISSING_SLOTS_MAX + 4 * WINDOW_SLOTS) as usize;
// A block names its parent by a distance of 16 bits (reference 3.2).
const _: () = assert!(MISSING_SLOTS_MAX < 65_535);
/// Own slots in a row of which shreds are held and that are passed over; after so many the next reset looks again.
const HELD_SLOTS_MAX: usize = 64;
/// Slots of one leader's window.
pub(super) const WINDOW_SLOTS: u64 = 4;
/// How many slots ahead Gulf Stream is told the leaders of: it holds transactions for 20 (reference 9.2).
pub(super) const UPCOMING_SLOTS: u64 = 32;
/// A node does not lead while more than a third of the stake votes this much beyond the newest block that it has
/// executed: it is catching up.
pub(super) const BEHIND_SLOTS: u64 = 32;

/// The block that the next own slot builds on, and its timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reset {
    /// Its slot.
    pub(super) slot: Slot,
    /// When the slot after it begins.
    pub(super) at: Now,
    mine: bool,
}

/// An own slot to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    slot: Slot,
    /// When it begins.
    start: Now,
    /// When the recorder must start to be ready by then.
    wake: Now,
}

/// A node's state as a leader.
#[derive(Default)]
pub(super) struct Leading {
    pub(super) generation: u64,
    pub(super) reset: Option<Reset>,
    /// A reset that came while a block was being made; it holds once that is done.
    pub(super) later: Option<Slot>,
    /// The last slot that the recorder ticks to, while it does.
    ticking: Option<Slot>,
    pub(super) ticks: VecDeque<Tick>,
    pub(super) planned: Option<Planned>,
    pub(super) block: Option<OwnBlock>,
    /// The last own slot begun in this life.
    begun: Option<Slot>,
    /// The own block that the recorder's chain runs through, so that the next one may go on with its ticks.
    carried: Option<Slot>,
    /// No slot up to here may be led again: it may have been, before a restart.
    pub(super) led_before: Option<Slot>,
    /// Own slots up to here are durably marked as led.
    pub(super) marked: Option<Slot>,
    marking: Option<Slot>,
    pub(super) next_record: u64,
    pub(super) freezing: Option<(Slot, Now)>,
    /// Own slots above the root of which another version than the one that was made here was chosen.
    lost: BTreeSet<Slot>,
}

impl Leading {
    /// The block to build on.
    pub(super) fn reset(&self) -> Option<Reset> {
        self.reset
    }

    /// A leader that led `led` last, before a restart, or never.
    pub(super) fn after(led: Option<Slot>) -> Self {
        Self { led_before: led, marked: led, ..Self::default() }
    }

    /// Whether this life of the node made the block of `slot`.
    pub(super) fn made(&self, slot: Slot, own: bool) -> bool {
        let begun = self.begun.is_some_and(|begun| slot <= begun) && self.led_before.is_none_or(|led| slot > led);
        own && begun && !self.lost.contains(&slot)
    }

    /// What was made of `slot` here is thrown away; what comes of it is another's, by whatever hand it was signed.
    pub(super) fn lose(&mut self, slot: Slot) {
        self.lost.insert(slot);
    }

    /// Forgets what lost at or below the root.
    pub(super) fn set_root(&mut self, root: Slot) {
        self.lost = self.lost.split_off(&root.next());
    }

    /// When there is something to do.
    pub(super) fn poll_timeout(&self) -> Option<Now> {
        if self.block.is_some() || self.freezing.is_some() {
            return None;
        }
        self.planned.map(|p| if self.ticking.is_some() { p.start } else { p.wake })
    }
}

impl Node {
    /// The slot that the clock is in, by the timeline of the block built on.
    #[must_use]
    pub fn clock_slot(&self, now: Now) -> Slot {
        let Some(reset) = self.leading.reset else { return self.forks.root() };
        let elapsed = now.since(reset.at).as_micros() / self.config.slot.as_micros().max(1);
        reset.slot.next().saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// Builds on `slot` from now on.
    pub(super) fn lead_reset(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        if self.leading.block.is_some() || self.leading.freezing.is_some_and(|(freezing, _)| freezing != slot) {
            self.leading.later = Some(slot);
            return;
        }
        let Some(frozen) = self.forks.get(slot) else { return };
        let mine = frozen.mine;
        let continues = mine && self.leading.ticking.is_some() && self.leading.carried == Some(slot);
        self.leading.later = None;
        if continues {
            let before = self.leading.reset.expect("a block was made on a reset");
            let steps = slot.since(before.slot).map_or(0, |d| u32::try_from(d.get()).unwrap_or(u32::MAX));
            self.leading.reset = Some(Reset { slot, at: before.at.after(self.config.slot * steps), mine });
        } else {
            self.leading.reset = Some(Reset { slot, at: now, mine });
            self.sleep_recorder(out);
        }
        self.plan(now, slot.next(), out);
        self.tell_upcoming(now, out);
        self.lead_timeout(now, out);
    }

    pub(super) fn sleep_recorder(&mut self, out: &mut Effects<Effect>) {
        self.leading.generation += 1;
        self.leading.ticks.clear();
        self.leading.carried = None;
        if self.leading.ticking.take().is_some() {
            out.push(Effect::Poh(RecorderInput::Sleep));
        }
    }

    /// Plans the first own slot at or after `from` on the present reset. A recorder that would stop before its end
    /// sleeps until it is started anew, with that slot's last tick for its end.
    pub(super) fn plan(&mut self, now: Now, from: Slot, out: &mut Effects<Effect>) {
        self.leading.planned = self.next_own(now, from).filter(|_| self.wait.is_none());
        if self.leading.planned.map(|p| p.slot) > self.leading.ticking {
            self.sleep_recorder(out);
        }
    }

    /// Plans the next own slot if none is, as after a block was given up.
    pub(super) fn lead_again(&mut self, now: Now, out: &mut Effects<Effect>) {
        let idle = self.leading.block.is_none() && self.leading.freezing.is_none() && self.leading.planned.is_none();
        let reset = self.leading.reset.map(|reset| reset.slot).filter(|slot| self.forks.get(*slot).is_some());
        if let Some(reset) = reset.filter(|_| idle) {
            self.plan(now, reset.next(), out);
            self.lead_timeout(now, out);
        }
    }

    /// The first own slot from `from` on that nobody has made: a namesake or an earlier life may have.
    fn next_free(&self, from: Slot) -> Option<Slot> {
        let own = |from| self.leaders.next_slot_of(&self.identity, from, LOOKAHEAD_SLOTS);
        let slots = std::iter::successors(own(from), |slot| own(slot.next()));
        slots.take(HELD_SLOTS_MAX).find(|slot| !self.is_held(*slot))
    }

    /// Whether shreds of a slot are here.
    fn is_held(&self, slot: Slot) -> bool {
        self.turbine.slot_status(slot).is_some()
    }

    fn next_own(&self, now: Now, from: Slot) -> Option<Planned> {
        let reset = self.leading.reset?;
        let made = self.leading.begun.max(self.leading.led_before);
        let first = self.next_free(made.map_or(reset.slot.next(), |made| reset.slot.max(made).next()))?;
        let halves = windows::grace_halves(&self.leaders, &self.identity, (reset.slot, reset.mine), first);
        let not_before = from.max(first.saturating_add(u64::from(halves / 2)));
        let not_before =
            if now.since(reset.at) > self.config.slot { not_before.max(self.clock_slot(now)) } else { not_before };
        let slot = self.next_free(not_before)?;
        let missing = |slot: Slot| slot.since(reset.slot).map_or(0, |d| d.get().saturating_sub(1));
        let begins = |slot| {
            let missing = u32::try_from(missing(slot)).unwrap_or(u32::MAX);
            reset.at.after(self.config.slot.saturating_mul(missing))
        };
        let missing = u32::try_from(missing(slot)).ok().filter(|missing| u64::from(*missing) <= MISSING_SLOTS_MAX)?;
        let start = begins(slot).max(begins(first).after(self.config.slot * halves / 2));
        // One slot, and a tenth of the missing ones: the recorder makes late ticks twenty times as fast as they fall due.
        let early = self.config.slot + self.config.slot / 10 * missing.min(1_000);
        let wake_after = begins(slot).since(reset.at).saturating_sub(early);
        Some(Planned { slot, start, wake: reset.at.after(wake_after) })
    }

    /// Starts the recorder, or begins a slot, if it is time.
    pub(super) fn lead_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.leading.block.is_some() || self.leading.freezing.is_some() {
            return;
        }
        let Some(planned) = self.leading.planned else { return };
        if self.leading.ticking.is_none() && now.reached(planned.wake) {
            self.start_recorder(planned, out);
        }
        if !now.reached(planned.start) {
            return;
        }
        if self.may_begin(now, planned) {
            self.begin(now, planned, out);
        } else if let Some(reset) = self.leading.reset.filter(|reset| !self.may_build_on(reset.slot, planned.slot)) {
            self.tell_unpropagated(reset.slot, planned.slot, out);
            self.plan(now.max(planned.start), planned.slot.next(), out);
        } else {
            self.plan(now.max(planned.start), planned.slot.next(), out);
        }
    }

    fn start_recorder(&mut self, planned: Planned, out: &mut Effects<Effect>) {
        let Some(reset) = self.leading.reset else { return };
        let Some(frozen) = self.forks.get(reset.slot) else {
            // Another fork was rooted: the reset to it plans anew.
            self.leading.planned = None;
            return;
        };
        let hash = frozen.bank.last_blockhash();
        let mut last = planned.slot;
        while self.leaders.leader(last.next()) == Some(self.identity)
            && last.get() < planned.slot.get() + WINDOW_SLOTS * 2
        {
            last = last.next();
        }
        self.mark_led(last, out);
        self.leading.ticking = Some(last);
        out.push(Effect::Poh(RecorderInput::Start {
            generation: self.leading.generation,
            tick_height: TickHeight::end_of(reset.slot, self.config.ticks_per_slot),
            hash,
            since: reset.at,
            until: TickHeight::end_of(last, self.config.ticks_per_slot),
        }));
    }

    /// Marks the slots up to `last` as led, durably, before any shred of them leaves.
    fn mark_led(&mut self, last: Slot, out: &mut Effects<Effect>) {
        if self.leading.marked.max(self.leading.marking).is_some_and(|marked| marked >= last) {
            return;
        }
        self.leading.marking = Some(last);
        let mut batch = sundog_types::store::Batch::default();
        sundog_ledger::put_led(&mut batch, last);
        let durable = Some(self.await_durable(super::Awaited::Led(last)));
        out.push(Effect::Write { batch, durable });
    }

    fn may_begin(&self, now: Now, planned: Planned) -> bool {
        let Some(reset) = self.leading.reset else { return false };
        if self.forks.is_nearly_full()
            || self.broadcast.is_behind()
            || !self.ready_to_lead(now)
            || self.leading.begun.is_some_and(|begun| planned.slot <= begun)
            || self.is_held(planned.slot)
            || !self.may_build_on(reset.slot, planned.slot)
        {
            return false;
        }
        let waits = self.leading.begun.is_none() && self.first_vote.waits(now, self.config.slot);
        if waits {
            tracing::info!(slot = %planned.slot, "own slot left out: no vote of this run is in a block yet");
        }
        !waits
    }

    fn begin(&mut self, now: Now, planned: Planned, out: &mut Effects<Effect>) {
        self.leading.planned = None;
        let Some(reset) = self.leading.reset else { return };
        let Some(parent) = self.forks.get(reset.slot) else { return };
        let slot = planned.slot;
        let bank = Box::new(Bank::child(&parent.bank, slot, self.identity));
        self.leading.begun = Some(slot);
        self.leading.carried = Some(slot);
        self.leading.block = Some(OwnBlock::new(now, reset.slot, bank));
        self.broadcast_open(slot, reset.slot);
        out.push(Effect::Event(Event::SlotStarted { slot, leader: self.identity, mine: true }));
        self.gulf(now, sundog_gulfstream::Input::Leading { slot: Some(slot) }, out);
        self.absorb_ticks(now, out);
    }

    /// Takes what the recorder says.
    pub(super) fn lead_poh(&mut self, now: Now, effect: RecorderEffect, out: &mut Effects<Effect>) {
        match effect {
            RecorderEffect::Tick { generation, height, num_hashes, hash } if generation == self.leading.generation => {
                if self.leading.ticks.len() < TICKS_MAX {
                    self.leading.ticks.push_back(Tick { height, num_hashes, hash });
                }
                self.absorb_ticks(now, out);
            }
            RecorderEffect::Recorded { generation, id, entries } if generation == self.leading.generation => {
                self.recorded(now, id, &entries, out);
            }
            RecorderEffect::Refused { generation, id, .. } if generation == self.leading.generation => {
                self.refused(now, id, out);
            }
            _ => {}
        }
    }

    /// Own slots up to `slot` are durably marked as led.
    pub(super) fn lead_marked(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        self.leading.marked = self.leading.marked.max(Some(slot));
        self.broadcast_pump(now, out);
    }
}
