//! How far the node has come, how fast, and how long it will take.

use std::{fmt, time::Duration};
use sundog_types::{Now, Slot};

/// At most one report in this time.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The weight of the newest second in the rate, in per mille: the rate follows within some five seconds.
const NEWEST: u64 = 300;

/// A report for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last slot that is executed.
    pub at: Slot,
    /// The slot to reach: the highest root among the peers.
    pub target: Slot,
    /// Slots executed in a second, times 1,000, smoothed.
    pub milli_slots_per_second: u64,
    /// Time to the target at this rate. `None`: nothing moves yet.
    pub left: Option<Duration>,
}

impl Progress {
    /// Slots to go.
    #[must_use]
    pub fn slots_left(&self) -> u64 {
        self.target.get().saturating_sub(self.at.get())
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.milli_slots_per_second;
        write!(f, "slot {} of {}, {} to go", self.at, self.target, self.slots_left())?;
        write!(f, ", {}.{} slots/s", rate / 1_000, rate % 1_000 / 100)?;
        match self.left {
            Some(left) => write!(f, ", {} s left", left.as_secs()),
            None => f.write_str(", waiting for blocks"),
        }
    }
}

/// Measures the rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    last: Now,
    at: Slot,
    rate: Option<u64>,
}

impl Meter {
    pub(crate) fn new(now: Now, at: Slot) -> Self {
        Self { last: now, at, rate: None }
    }

    /// When the next report may come.
    pub(crate) fn due(&self) -> Now {
        self.last.after(REPORT_EVERY)
    }

    /// A report, if a second has passed since the last.
    pub(crate) fn report(&mut self, now: Now, at: Slot, target: Slot) -> Option<Progress> {
        if !now.reached(self.due()) {
            return None;
        }
        let micros = u64::try_from(now.since(self.last).as_micros()).unwrap_or(u64::MAX).max(1);
        let slots = at.get().saturating_sub(self.at.get());
        let fresh = slots.saturating_mul(1_000_000_000) / micros;
        let rate = self.rate.map_or(fresh, |old| (old * (1_000 - NEWEST) + fresh.saturating_mul(NEWEST)) / 1_000);
        (self.last, self.at, self.rate) = (now, at.max(self.at), Some(rate));
        let slots_left = target.get().saturating_sub(at.get());
        let left = (rate > 0).then(|| Duration::from_millis(slots_left.saturating_mul(1_000_000) / rate));
        Some(Progress { at, target, milli_slots_per_second: rate, left })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_once_a_second_with_rate_and_time_left() {
        let start = Now { mono_us: 5, unix_ms: 0 };
        let mut meter = Meter::new(start, Slot::new(100));
        let target = Slot::new(1_100);
        assert_eq!(meter.report(start.after(Duration::from_millis(999)), Slot::new(150), target), None);
        let first = meter.report(start.after(Duration::from_secs(1)), Slot::new(200), target).unwrap();
        assert_eq!((first.milli_slots_per_second, first.left), (100_000, Some(Duration::from_secs(9))));
        assert_eq!(first.to_string(), "slot 200 of 1100, 900 to go, 100.0 slots/s, 9 s left");
        let second = meter.report(start.after(Duration::from_secs(2)), Slot::new(200), target).unwrap();
        assert_eq!(second.milli_slots_per_second, 70_000);
    }

    #[test]
    fn a_rate_of_nothing_promises_no_end() {
        let start = Now { mono_us: 0, unix_ms: 0 };
        let mut meter = Meter::new(start, Slot::ZERO);
        let report = meter.report(start.after(Duration::from_secs(3)), Slot::ZERO, Slot::new(9)).unwrap();
        assert_eq!(report.left, None);
        assert!(report.to_string().ends_with("waiting for blocks"));
    }

    #[test]
    fn a_target_beyond_all_measure_overflows_nothing() {
        let start = Now { mono_us: 0, unix_ms: 0 };
        let mut meter = Meter::new(start, Slot::ZERO);
        let report = meter.report(start.after(Duration::from_secs(1)), Slot::new(u64::MAX / 2), Slot::new(u64::MAX));
        assert!(report.unwrap().left.is_some());
    }
}
