//! The clocks of one machine, which may be wrong.

use std::time::Duration;
use sundog_types::Now;

/// How a machine's clocks stand to the world's time, and how fast its recorder hashes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// By how much its monotonic clock is ahead, microseconds: that never runs back.
    ahead_us: u64,
    /// By how much its wall clock is wrong, milliseconds.
    wall_ms: i64,
    /// The recorder's speed, in percent of what is due.
    poh_percent: u32,
    /// From when on the recorder counts, by this machine's clock.
    poh_since: Now,
}

impl Default for Clock {
    fn default() -> Self {
        Self { ahead_us: 0, wall_ms: 0, poh_percent: 100, poh_since: Now { mono_us: 0, unix_ms: 0 } }
    }
}

impl Clock {
    /// Sets the wall clock wrong by so much. One that is set forward takes the monotonic clock with it, as in a machine
    /// that slept.
    pub(super) fn skew(&mut self, ms: i64) {
        let forward = u64::try_from(ms.saturating_sub(self.wall_ms)).unwrap_or_default();
        self.ahead_us = self.ahead_us.saturating_add(forward.saturating_mul(1_000));
        self.wall_ms = ms;
    }

    /// Has the recorder hash at so many percent of the speed that is due.
    pub(super) fn set_poh(&mut self, percent: u32) {
        self.poh_percent = percent.max(1);
    }

    /// What this machine's clocks show.
    pub(super) fn read(&self, world: Now) -> Now {
        Now {
            mono_us: world.mono_us.saturating_add(self.ahead_us),
            unix_ms: world.unix_ms.saturating_add_signed(self.wall_ms),
        }
    }

    /// How long from now until this machine's monotonic clock shows `due`.
    pub(super) fn until(&self, world: Now, due: Now) -> Duration {
        due.since(self.read(world))
    }

    /// The recorder is started on a tick that was due at `since`.
    pub(super) fn start_poh(&mut self, since: Now) {
        self.poh_since = since;
    }

    /// The time by the recorder's pace, which goes by hashes.
    pub(super) fn poh_time(&self, here: Now) -> Now {
        let passed = here.mono_us.saturating_sub(self.poh_since.mono_us);
        let paced = passed.saturating_mul(self.poh_percent.into()) / 100;
        Now { mono_us: here.mono_us.min(self.poh_since.mono_us).saturating_add(paced), ..here }
    }

    /// When, by this machine's clock, the recorder's pace has come to `due`.
    pub(super) fn poh_due(&self, due: Now) -> Now {
        let passed = due.mono_us.saturating_sub(self.poh_since.mono_us);
        let paced = passed.saturating_mul(100).div_ceil(self.poh_percent.into());
        Now { mono_us: due.mono_us.min(self.poh_since.mono_us).saturating_add(paced), ..due }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(mono_us: u64) -> Now {
        Now { mono_us, unix_ms: 5_000 + mono_us / 1_000 }
    }

    #[test]
    fn a_wall_clock_may_be_set_either_way_and_the_monotonic_one_never_runs_back() {
        let mut clock = Clock::default();
        clock.skew(-2_000);
        assert_eq!(clock.read(at(1_000)), Now { mono_us: 1_000, unix_ms: 3_001 });
        clock.skew(2_000);
        assert_eq!(clock.read(at(1_000)), Now { mono_us: 4_001_000, unix_ms: 7_001 });
        clock.skew(0);
        assert_eq!(clock.read(at(1_000)), Now { mono_us: 4_001_000, unix_ms: 5_001 });
        assert_eq!(clock.until(at(1_000), at(4_001_500)), Duration::from_micros(500));
    }

    #[test]
    fn a_fast_recorder_is_a_tenth_further_and_due_earlier() {
        let mut clock = Clock::default();
        clock.start_poh(at(1_000));
        assert_eq!(clock.poh_time(at(1_100)).mono_us, 1_100, "nothing is wrong yet");
        clock.set_poh(110);
        assert_eq!(clock.poh_time(at(2_000)).mono_us, 2_100);
        assert_eq!(clock.poh_time(at(500)).mono_us, 500, "before its start");
        for due in 1_000..2_000 {
            let woken = clock.poh_due(at(due));
            assert!(clock.poh_time(woken).mono_us >= due && woken.mono_us <= due);
        }
    }
}
