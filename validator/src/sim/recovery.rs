//! What must come back once all faults are over, and by when.

use super::World;
use std::time::Duration;
use sundog_types::Slot;

/// Slots beyond the longest promise that keeps nodes apart, within which all must have a new root.
const SLOTS_MORE: u64 = 64;

/// Slots after which nobody waits any longer: two sides that both rooted nothing are apart by at most 2^8 slots of
/// lockout, since deeper promises have two thirds behind them.
const PATIENCE_SLOTS: u32 = 640;

/// A promise made after the faults is counted up to here, slots after them: deeper ones that keep nodes apart there are none.
const LONGEST_SLOTS: u64 = 1 << 9;

/// Slots between two looks at the promises.
const LOOKED_SLOTS: u32 = 4;

/// How a cluster came together again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The newest root of any node when the faults were over.
    pub root: Slot,
    /// Slots until every running node had a newer one; `None` if that never came.
    pub slots: Option<u64>,
    /// Slots for which the longest promise still bound its voter, of those that were given above the newest block that
    /// all had voted for or on; counted from the slot that the slowest node had come to.
    pub promised: u64,
    /// The same, counted from the faults' end, of promises that were made since as well: who does not know yet that all is
    /// well may vote on its own fork once more, and is bound twice as long (docs/chaos.md).
    pub promised_since: u64,
}

impl Recovery {
    /// Slots that it might have taken.
    #[must_use]
    pub const fn allowed(&self) -> u64 {
        self.promised + SLOTS_MORE
    }

    /// Slots after which nothing explains that there was no new root.
    #[must_use]
    pub const fn explained(&self) -> u64 {
        self.promised_since + SLOTS_MORE
    }

    /// Whether the new root came in time.
    #[must_use]
    pub fn in_time(&self) -> bool {
        self.slots.is_some_and(|slots| slots <= self.allowed())
    }
}

impl World {
    /// The slot that time has come to, by the node that is furthest.
    #[must_use]
    pub fn clock_slot(&self) -> Slot {
        let nodes =
            self.hosts.iter().filter_map(|host| Some(host.node.as_ref()?.clock_slot(host.clock.read(self.now))));
        nodes.max().unwrap_or_default()
    }

    /// The slot that the slowest running node has come to. A node that was down for long goes on where it was, so on its fork
    /// all slots are still to pass up to those that others voted for meanwhile.
    fn slowest(&self) -> Slot {
        let come_to = self.hosts.iter().filter_map(|host| {
            let clock = host.node.as_ref()?.clock_slot(host.clock.read(self.now));
            Some(host.voted.last().copied().unwrap_or_default().max(clock))
        });
        come_to.min().unwrap_or_default()
    }

    /// The faults are over: waits until every running node has a root that is newer than any was.
    pub fn recover(&mut self) -> Recovery {
        let root = self.hosts.iter().filter_map(|host| host.rooted.last().copied()).max().unwrap_or_default();
        let (began, slot) = (self.now, self.config().slot);
        let promised = self.still_bound();
        let mut promised_since = promised;
        for looked in 1..=PATIENCE_SLOTS / LOOKED_SLOTS {
            let left = (slot * LOOKED_SLOTS * looked).saturating_sub(self.now.since(began));
            let done = self.run_until(left, |world| world.rooted_everywhere() > root);
            let passed = slots_in(self.now.since(began), slot);
            if done {
                return Recovery { root, slots: Some(passed), promised, promised_since };
            }
            promised_since = promised_since.max((passed + self.still_bound()).min(LONGEST_SLOTS));
        }
        Recovery { root, slots: None, promised, promised_since }
    }

    /// Slots for which the longest promise still binds that keeps nodes apart.
    fn still_bound(&self) -> u64 {
        self.judge.bound_until().saturating_sub(self.slowest().get())
    }
}

/// The slots that a stretch of time takes, begun ones included.
fn slots_in(time: Duration, slot: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(slot.as_micros())).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_root_comes_in_time_until_64_slots_after_the_longest_promise() {
        let came = |slots| Recovery { root: Slot::new(9), slots, promised: 30, promised_since: 50 }.in_time();
        assert_eq!([Some(1), Some(94), Some(95), None].map(came), [true, true, false, false]);
    }

    #[test]
    fn a_begun_slot_has_passed() {
        let slot = Duration::from_millis(400);
        assert_eq!([0, 1, 400, 401].map(|ms| slots_in(Duration::from_millis(ms), slot)), [0, 1, 1, 2]);
    }
}
