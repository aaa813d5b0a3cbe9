//! When repair asks: not before the ticks say that a shred is overdue, and again when an answer is (reference 7.3).

use crate::block::Due;
use std::time::Duration;

/// Least time before the same request is made again; doubles with each attempt, three times at most.
pub const PAUSE: Duration = Duration::from_millis(150);
const PAUSE_DOUBLED_MAX: u32 = 3;
/// Longest time that an answer is waited for before the request is made again.
pub const PAUSE_MAX: Duration = Duration::from_millis(1_500);

/// When shreds should have arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) tick: Duration,
    pub(crate) ticks_per_slot: u64,
    pub(crate) patience: Duration,
    /// Requests made in one tick of repair.
    pub(crate) budget: usize,
}

impl Pace {
    /// Slots behind the clock's one at which everything is overdue.
    pub(crate) fn late_slots(&self) -> u64 {
        let slot_us = (self.tick.as_micros() as u64).saturating_mul(self.ticks_per_slot).max(1);
        2 + (self.patience.as_micros() as u64).div_ceil(slot_us)
    }

    /// What of a slot is overdue so long after its first shred came. `None`: nothing yet.
    ///
    /// A leader sends a set when it is made, and all sets take about as long to arrive as the first one did. So a set
    /// with reference tick `t` should be here `t` ticks after the first shred of its slot; it is asked for `patience`
    /// after that, when it can hardly be under way any longer.
    pub(crate) fn due(&self, elapsed: Duration) -> Option<Due> {
        let overdue = elapsed.checked_sub(self.patience)?;
        let ticks = overdue.as_micros() as u64 / (self.tick.as_micros() as u64).max(1);
        Some(if ticks >= self.ticks_per_slot { Due::All } else { Due::Ticks(ticks) })
    }

    /// Requests that one slot may have of a tick's budget before the others that lack something had theirs: an eighth.
    /// So a slot with thousands of missing shreds, or a leader's four such slots, do not keep the others waiting.
    pub(crate) fn share(&self) -> usize {
        self.budget.div_ceil(8)
    }
}

/// How long a slot rests after it was asked for `attempts` times in a row without a new shred, from 0.
pub(crate) fn pause(attempts: u32) -> Duration {
    PAUSE * (1 << attempts.min(PAUSE_DOUBLED_MAX))
}

/// How long a request rests after its attempt number `attempts`, from 0, at a peer that is waited for so long.
pub(crate) fn rest(attempts: u32, timeout: Duration) -> Duration {
    (timeout.max(PAUSE) * (1 << attempts.min(PAUSE_DOUBLED_MAX))).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        tick: Duration::from_micros(6_250),
        ticks_per_slot: 64,
        patience: Duration::from_millis(250),
        budget: 64,
    };

    fn ticks_due(after_ms: u64) -> Option<u64> {
        PACE.due(Duration::from_millis(after_ms)).map(|due| match due {
            Due::Ticks(ticks) => ticks,
            Due::All => u64::MAX,
        })
    }

    #[test]
    fn a_tick_is_overdue_a_quarter_of_a_second_after_its_time() {
        assert_eq!(ticks_due(249), None);
        assert_eq!(ticks_due(250), Some(0));
        assert_eq!(ticks_due(250 + 62), Some(9));
        assert_eq!(ticks_due(250 + 63), Some(10));
        assert_eq!(ticks_due(250 + 399), Some(63));
        assert_eq!(ticks_due(250 + 400), Some(u64::MAX));
        assert_eq!(PACE.late_slots(), 3);
    }

    #[test]
    fn requests_rest_longer_with_every_attempt_and_at_slow_peers() {
        let rests =
            |timeout| [0, 1, 2, 3, 9].map(|attempts| rest(attempts, Duration::from_millis(timeout)).as_millis());
        assert_eq!(rests(20), [150, 300, 600, 1_200, 1_200]);
        assert_eq!(rests(400), [400, 800, 1_500, 1_500, 1_500]);
        assert_eq!(pause(40), pause(3));
    }
}
