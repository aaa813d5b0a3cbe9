//! Paces a chain by the clock, and puts records in it.

use crate::{Chain, Step};
use std::time::Duration;
use sundog_types::{Effects, Hash, Machine, Now, Slot, TickHeight};

/// Ticks made in one call. After a leader was late (or slept through skipped slots) it catches up in
/// steps of this many, one slot of a usual cluster, and asks to be called again at once.
pub const TICKS_PER_CALL_MAX: u64 = 64;

/// Hashes made in one call, some milliseconds of work. What is left is made at the next call, at once.
pub const HASHES_PER_CALL_MAX: u64 = 65_536;

/// Mixins in one record: as many as the transactions that are ever executed in one batch. More are refused.
pub const MIXINS_PER_RECORD_MAX: usize = 64;

/// Hashes that may fall due before the recorder wants to be called, so that a tick is never more than
/// this much work behind its time.
const HASHES_PER_WAKE: u64 = 4_096;

/// How fast to tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecorderConfig {
    /// Ticks in a slot. At least 1.
    pub ticks_per_slot: u64,
    /// Time from tick to tick. More than zero.
    pub tick: Duration,
    /// Hashes from tick to tick, at least 2; `None`: the clock alone decides, a tick is one hash.
    pub hashes_per_tick: Option<u64>,
}

/// What may happen to a recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecorderInput {
    /// Stop ticking, forget the chain.
    Sleep,
    /// Tick on from the end of a block, in place of whatever was going on.
    Start {
        /// Tells what is asked before from what is asked after this start.
        generation: u64,
        /// Height of that block's last tick.
        tick_height: TickHeight,
        /// Hash of that block's last tick.
        hash: Hash,
        /// When that tick was due: the `i`-th tick after it is due `i` tick times later.
        since: Now,
        /// Stop after the tick at this height.
        until: TickHeight,
    },
    /// Make one entry for each mixin, if they fall into `slot`.
    Record {
        /// Of the start that this is meant for.
        generation: u64,
        /// Comes back with the answer.
        id: u64,
        /// The slot of the block that the entries are for.
        slot: Slot,
        /// At most [`MIXINS_PER_RECORD_MAX`].
        mixins: Vec<Hash>,
    },
}

/// What a recorder tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecorderEffect {
    /// A tick was made.
    Tick {
        /// Of the start it belongs to.
        generation: u64,
        /// Its height.
        height: TickHeight,
        /// Hashes since the entry before it.
        num_hashes: u64,
        /// State of the chain after it.
        hash: Hash,
    },
    /// The mixins are part of the chain.
    Recorded {
        /// As asked.
        generation: u64,
        /// As asked.
        id: u64,
        /// Number of hashes and hash of each entry, in the order of the mixins.
        entries: Vec<(u64, Hash)>,
    },
    /// The mixins are not part of the chain, and never will be.
    Refused {
        /// As asked.
        generation: u64,
        /// As asked.
        id: u64,
        /// Why not.
        why: Refusal,
    },
}

/// Why mixins were not recorded. A normal outcome: the transactions go back to where they came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The recorder is not ticking.
    Asleep,
    /// It was started again since.
    OtherGeneration,
    /// The slot's last tick was made, or only that is left to make.
    SlotOver,
    /// The ticks have not reached the slot yet.
    SlotNotBegun,
    /// More mixins than one record may have, or than fit between two ticks.
    TooManyMixins,
}

impl Refusal {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 5] =
        [Self::Asleep, Self::OtherGeneration, Self::SlotOver, Self::SlotNotBegun, Self::TooManyMixins];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::OtherGeneration => "other_generation",
            Self::SlotOver => "slot_over",
            Self::SlotNotBegun => "slot_not_begun",
            Self::TooManyMixins => "too_many_mixins",
        }
    }
}

/// Counters of a recorder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Ticks made.
    pub ticks: u64,
    /// Ticks made more than one tick time after they were due.
    pub late_ticks: u64,
    /// Ticks made before they were due, to make room for records.
    pub early_ticks: u64,
    /// Records accepted.
    pub records: u64,
    /// Mixins in them.
    pub mixins: u64,
    refused: [u64; Refusal::ALL.len()],
}

impl Metrics {
    /// Records refused for this reason.
    #[must_use]
    pub fn refused(&self, why: Refusal) -> u64 {
        self.refused[why as usize]
    }
}

/// A chain that is ticking.
struct Run {
    generation: u64,
    chain: Chain,
    /// Height of the last tick made.
    height: TickHeight,
    until: TickHeight,
    /// The tick at height `origin` was due at `since`.
    origin: TickHeight,
    since: Now,
}

/// Paces the chain: makes each tick when it is due, hashes evenly in between, and records on demand.
pub struct Recorder {
    config: RecorderConfig,
    run: Option<Run>,
    metrics: Metrics,
}

impl Recorder {
    /// A recorder that sleeps until it is started.
    ///
    /// # Panics
    /// If the configuration breaks a rule stated at its fields.
    #[must_use]
    pub fn new(config: RecorderConfig) -> Self {
        assert!(config.ticks_per_slot > 0, "a slot has at least one tick");
        assert!(!config.tick.is_zero(), "a tick takes time");
        assert!(config.hashes_per_tick != Some(0) && config.hashes_per_tick != Some(1));
        Self { config, run: None, metrics: Metrics::default() }
    }

    /// What it has counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Height of the last tick made, while awake.
    #[must_use]
    pub fn tick_height(&self) -> Option<TickHeight> {
        self.run.as_ref().map(|run| run.height)
    }

    /// Makes the hashes and ticks that are due, as far as one call may.
    fn catch_up(&mut self, now: Now, out: &mut Effects<RecorderEffect>) {
        let Some(run) = &mut self.run else { return };
        let mut hashes_left = HASHES_PER_CALL_MAX;
        for _ in 0..TICKS_PER_CALL_MAX {
            if run.height >= run.until {
                return;
            }
            let due = run.due(&self.config, run.height.next(), 0);
            if let Some(hashes_per_tick) = self.config.hashes_per_tick {
                let done = hashes_per_tick - run.chain.remaining();
                let wanted = if now.reached(due) {
                    run.chain.remaining() - 1
                } else {
                    run.hashes_due(&self.config, now).saturating_sub(done)
                };
                let made = wanted.min(hashes_left);
                hashes_left -= made;
                run.chain.advance(made);
                if made < wanted {
                    return;
                }
            }
            if !now.reached(due) {
                return;
            }
            run.tick(out);
            self.metrics.ticks += 1;
            self.metrics.late_ticks += u64::from(now.reached(due.after(self.config.tick)));
        }
    }

    fn record(
        &mut self,
        (generation, slot): (u64, Slot),
        mixins: &[Hash],
        out: &mut Effects<RecorderEffect>,
    ) -> Result<Vec<Step>, Refusal> {
        let run = self.run.as_mut().ok_or(Refusal::Asleep)?;
        if run.generation != generation {
            return Err(Refusal::OtherGeneration);
        }
        let room = self.config.hashes_per_tick.unwrap_or(u64::MAX) - 1;
        if mixins.len() > MIXINS_PER_RECORD_MAX || mixins.len() as u64 > room {
            return Err(Refusal::TooManyMixins);
        }
        let ticks_per_slot = self.config.ticks_per_slot;
        if run.height >= run.until || run.height.next().slot(ticks_per_slot) > slot {
            return Err(Refusal::SlotOver);
        }
        if run.height.next().slot(ticks_per_slot) < slot {
            return Err(Refusal::SlotNotBegun);
        }
        if !run.chain.has_room(mixins.len()) {
            // Too close to the tick: it is made now, a little early, unless that would end the slot.
            if run.height.next() >= TickHeight::end_of(slot, ticks_per_slot).min(run.until) {
                return Err(Refusal::SlotOver);
            }
            run.chain.advance(MIXINS_PER_RECORD_MAX as u64);
            run.tick(out);
            self.metrics.ticks += 1;
            self.metrics.early_ticks += 1;
        }
        Ok(run.chain.record_batches(mixins).expect("there is room after a tick"))
    }
}

impl Run {
    /// When the chain should have made `hashes` more hashes than at the tick before the one at `height`;
    /// with 0, when that tick itself is due.
    fn due(&self, config: &RecorderConfig, height: TickHeight, hashes: u64) -> Now {
        let ticks = u128::from(height.get().saturating_sub(self.origin.get()));
        let tick_ns = config.tick.as_nanos();
        let mut due_ns = ticks.saturating_mul(tick_ns);
        if let Some(hashes_per_tick) = config.hashes_per_tick.filter(|_| hashes > 0) {
            let part = tick_ns * u128::from(hashes) / u128::from(hashes_per_tick);
            due_ns = due_ns.saturating_sub(tick_ns).saturating_add(part);
        }
        let due_us = u64::try_from(due_ns.div_ceil(1_000)).unwrap_or(u64::MAX);
        self.since.after(Duration::from_micros(due_us))
    }

    /// Hashes that are due by `now` since the last tick, before the next one is.
    fn hashes_due(&self, config: &RecorderConfig, now: Now) -> u64 {
        let last = self.due(config, self.height, 0);
        let passed_ns = now.since(last).as_nanos();
        let hashes_per_tick = u128::from(config.hashes_per_tick.unwrap_or(0));
        u64::try_from(passed_ns * hashes_per_tick / config.tick.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Makes the tick, whose hash must be the next.
    fn tick(&mut self, out: &mut Effects<RecorderEffect>) {
        let Step { num_hashes, hash } = self.chain.tick().expect("only the tick's hash was left");
        self.height = self.height.next();
        let (generation, height) = (self.generation, self.height);
        out.push(RecorderEffect::Tick { generation, height, num_hashes, hash });
    }
}

impl Machine for Recorder {
    type Input = RecorderInput;
    type Effect = RecorderEffect;

    fn handle(&mut self, now: Now, input: RecorderInput, out: &mut Effects<RecorderEffect>) {
        match input {
            RecorderInput::Sleep => self.run = None,
            RecorderInput::Start { generation, tick_height, hash, since, until } => {
                let chain = Chain::new(hash, self.config.hashes_per_tick);
                let (height, origin) = (tick_height, tick_height);
                self.run = Some(Run { generation, chain, height, until, origin, since });
            }
            RecorderInput::Record { generation, id, slot, mixins } => {
                self.catch_up(now, out);
                match self.record((generation, slot), &mixins, out) {
                    Ok(steps) => {
                        self.metrics.records += 1;
                        self.metrics.mixins += steps.len() as u64;
                        let steps = steps.into_iter();
                        let entries = steps.map(|step| (step.num_hashes, step.hash)).collect();
                        out.push(RecorderEffect::Recorded { generation, id, entries });
                    }
                    Err(why) => {
                        self.metrics.refused[why as usize] += 1;
                        out.push(RecorderEffect::Refused { generation, id, why });
                    }
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Effects<RecorderEffect>) {
        self.catch_up(now, out);
    }

    fn poll_timeout(&self) -> Option<Now> {
        let run = self.run.as_ref().filter(|run| run.height < run.until)?;
        let next = run.height.next();
        let tick_due = run.due(&self.config, next, 0);
        let Some(hashes_per_tick) = self.config.hashes_per_tick else {
            return Some(tick_due);
        };
        let done = hashes_per_tick - run.chain.remaining();
        let wake = (done + HASHES_PER_WAKE).min(hashes_per_tick);
        Some(tick_due.min(run.due(&self.config, next, wake)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hash_budget, next_hash, verify_tick_hash_count};
    use sundog_types::entry::Entry;

    const TICK: Duration = Duration::from_micros(6_250);
    const T0: Now = Now { mono_us: 1_000_000, unix_ms: 7 };

    fn recorder(hashes_per_tick: Option<u64>, until: u64) -> Recorder {
        let config = RecorderConfig { ticks_per_slot: 4, tick: TICK, hashes_per_tick };
        let mut recorder = Recorder::new(config);
        recorder.handle(T0, start(1, until), &mut Vec::new());
        recorder
    }

    fn start(generation: u64, until: u64) -> RecorderInput {
        let (hash, since) = (Hash::default(), T0);
        let (tick_height, until) = (TickHeight::new(8), TickHeight::new(until));
        RecorderInput::Start { generation, tick_height, hash, since, until }
    }

    fn record(generation: u64, slot: u64, mixins: usize) -> RecorderInput {
        let (slot, mixins) = (Slot::new(slot), vec![Hash::new_from_array([9; 32]); mixins]);
        RecorderInput::Record { generation, id: 5, slot, mixins }
    }

    /// Heights of ticks, number of entries of records as negative, in order.
    fn told(out: &[RecorderEffect]) -> Vec<i64> {
        out.iter()
            .map(|effect| match effect {
                RecorderEffect::Tick { height, .. } => i64::try_from(height.get()).unwrap(),
                RecorderEffect::Recorded { entries, .. } => -(entries.len() as i64),
                RecorderEffect::Refused { why, .. } => panic!("refused: {why:?}"),
            })
            .collect()
    }

    #[track_caller]
    fn check_refused(recorder: &mut Recorder, now: Now, input: RecorderInput, why: Refusal) {
        let mut out = Vec::new();
        recorder.handle(now, input, &mut out);
        let told = RecorderEffect::Refused { generation: 1, id: 5, why };
        assert_eq!(out.last(), Some(&told));
        assert_eq!(recorder.metrics().refused(why), 1);
    }

    #[test]
    fn ticks_come_when_they_are_due_and_stop_at_the_end() {
        for hashes_per_tick in [None, Some(12), Some(62_500)] {
            let mut recorder = recorder(hashes_per_tick, 20);
            let mut ticks = Vec::new();
            while let Some(due) = recorder.poll_timeout() {
                let mut out = Vec::new();
                recorder.handle_timeout(due, &mut out);
                ticks.extend(told(&out).into_iter().map(|height| (height, due.since(T0))));
            }
            let expected: Vec<_> = (9..=20).zip(1u32..).map(|(height, i)| (height, TICK * i)).collect();
            assert_eq!(ticks, expected, "{hashes_per_tick:?}");
        }
    }

    #[test]
    fn late_ticks_are_made_at_once_but_a_bounded_number_per_call() {
        let mut recorder = recorder(None, 1_000);
        let late = T0.after(TICK * 100);
        let mut out = Vec::new();
        recorder.handle_timeout(late, &mut out);
        assert_eq!(told(&out), (9..9 + 64).collect::<Vec<_>>());
        assert!(recorder.poll_timeout().is_some_and(|due| late.reached(due)));
        out.clear();
        recorder.handle_timeout(late, &mut out);
        assert_eq!(told(&out), (73..=108).collect::<Vec<_>>());
        assert_eq!(recorder.poll_timeout(), Some(T0.after(TICK * 101)));
        assert_eq!(recorder.metrics().late_ticks, 99);
    }

    #[test]
    fn hashes_are_bounded_per_call() {
        let mut recorder = recorder(Some(1_000_000), 1_000);
        let late = T0.after(TICK * 2);
        let (mut calls, mut out) = (0, Vec::new());
        while told(&out).is_empty() {
            recorder.handle_timeout(late, &mut out);
            calls += 1;
        }
        assert_eq!(calls, 1_000_000u64.div_ceil(HASHES_PER_CALL_MAX));
    }

    #[test]
    fn a_record_carries_the_hashes_of_the_time_before_it() {
        let mut recorder = recorder(Some(1_000), 20);
        let mut out = Vec::new();
        recorder.handle(T0.after(TICK / 2), record(1, 2, 1), &mut out);
        assert!(matches!(&out[0], RecorderEffect::Recorded { entries, .. } if entries[0].0 == 501));
    }

    #[test]
    fn what_is_recorded_verifies_with_whole_ticks() {
        let mut recorder = recorder(Some(12), 12);
        let (mut out, mut now) = (Vec::new(), T0);
        while recorder.poll_timeout().is_some() {
            now = now.after(TICK / 7);
            recorder.handle(now, record(1, 2, 5), &mut out);
        }
        let (mut hash, mut entries) = (Hash::default(), Vec::new());
        for effect in &out {
            match effect {
                RecorderEffect::Tick { num_hashes, hash: after, .. } => {
                    let tick = Entry { num_hashes: *num_hashes, ..Entry::default() };
                    assert_eq!(next_hash(hash, &tick), *after);
                    entries.push(tick);
                    hash = *after;
                }
                RecorderEffect::Recorded { entries: recorded, .. } => {
                    for (num_hashes, after) in recorded {
                        let mut chain = Chain::new(hash, None);
                        chain.advance(num_hashes - 1);
                        let step = chain.record(&Hash::new_from_array([9; 32])).expect("room");
                        assert_eq!(step.hash, *after);
                        // Any transaction will do: only the hash counts are looked at below.
                        let transactions = vec![Default::default()];
                        entries.push(Entry { num_hashes: *num_hashes, hash: *after, transactions });
                        hash = *after;
                    }
                }
                RecorderEffect::Refused { why, .. } => assert_eq!(*why, Refusal::SlotOver),
            }
        }
        assert_eq!(entries.iter().filter(|entry| entry.is_tick()).count(), 4);
        assert!(verify_tick_hash_count(&entries, Some(12), &mut 0));
        assert!(recorder.metrics().early_ticks > 0, "records crowded a tick out");
        let hashes: u64 = entries.iter().map(|entry| entry.num_hashes).sum();
        assert_eq!(hashes, hash_budget(4, Some(12)));
    }

    #[test]
    fn a_record_for_another_time_is_refused() {
        check_refused(&mut recorder(None, 20), T0, record(1, 3, 1), Refusal::SlotNotBegun);
        check_refused(&mut recorder(None, 20), T0.after(TICK * 4), record(1, 2, 1), Refusal::SlotOver);
        check_refused(&mut recorder(None, 10), T0.after(TICK * 2), record(1, 2, 1), Refusal::SlotOver);
        let mut asleep = recorder(None, 20);
        asleep.handle(T0, RecorderInput::Sleep, &mut Vec::new());
        assert_eq!(asleep.poll_timeout(), None);
        check_refused(&mut asleep, T0, record(1, 2, 1), Refusal::Asleep);
        let mut restarted = recorder(None, 20);
        restarted.handle(T0, start(2, 20), &mut Vec::new());
        check_refused(&mut restarted, T0, record(1, 2, 1), Refusal::OtherGeneration);
    }

    #[test]
    fn more_mixins_than_fit_are_refused() {
        let many = MIXINS_PER_RECORD_MAX + 1;
        check_refused(&mut recorder(None, 20), T0, record(1, 2, many), Refusal::TooManyMixins);
        check_refused(&mut recorder(Some(8), 20), T0, record(1, 2, 8), Refusal::TooManyMixins);
    }

    #[test]
    fn the_last_tick_of_a_slot_is_never_made_early() {
        let mut recorder = recorder(Some(4), 12);
        let mut out = Vec::new();
        recorder.handle(T0.after(TICK * 3), record(1, 2, 3), &mut out);
        check_refused(&mut recorder, T0.after(TICK * 3), record(1, 2, 3), Refusal::SlotOver);
        assert_eq!(recorder.tick_height(), Some(TickHeight::new(11)));
    }
}
