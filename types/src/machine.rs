//! The contract that every protocol keeps: inputs and time go in, effects come out.

use std::time::Duration;

/// A moment, as the shell or the simulator tells it.
///
/// Protocol code never reads a clock. The monotonic part orders moments and drives timers; the Unix
/// part is only what the wire carries (wallclocks, vote timestamps), may jump, and is never compared
/// with a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since an arbitrary origin that never moves while the process lives.
    pub mono_us: u64,
    /// Milliseconds since the Unix epoch, UTC.
    pub unix_ms: u64,
}

impl Now {
    /// The moment `later` after this one, on both axes.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        let us = u64::try_from(later.as_micros()).unwrap_or(u64::MAX);
        Self { mono_us: self.mono_us.saturating_add(us), unix_ms: self.unix_ms.saturating_add(us / 1_000) }
    }

    /// How long ago `earlier` was; zero if it is still to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.mono_us.saturating_sub(earlier.mono_us))
    }

    /// Whether a timer set for `deadline` is due.
    #[must_use]
    pub fn reached(self, deadline: Self) -> bool {
        self.mono_us >= deadline.mono_us
    }
}

impl PartialOrd for Now {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Now {
    /// By the monotonic part; the Unix part only breaks ties, so that equality and order agree.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.mono_us, self.unix_ms).cmp(&(other.mono_us, other.unix_ms))
    }
}

/// What a machine asks of the world, in order. The caller drains and reuses it.
pub type Effects<E> = Vec<E>;

/// A protocol as a value.
///
/// Effects that need an answer (verify, execute, write durably) come back later as an input that
/// carries the effect's id. There are no callbacks and no hidden state outside the value.
pub trait Machine {
    /// What may happen to it.
    type Input;
    /// What it may ask for.
    type Effect;

    /// Takes one input at the moment `now`.
    fn handle(&mut self, now: Now, input: Self::Input, out: &mut Effects<Self::Effect>);

    /// Does what has become due by `now`. Called when [`Self::poll_timeout`] is reached; calling it
    /// early is harmless.
    fn handle_timeout(&mut self, now: Now, out: &mut Effects<Self::Effect>);

    /// When [`Self::handle_timeout`] next has work. `None`: only input can wake it.
    fn poll_timeout(&self) -> Option<Now>;
}

/// The earlier of two optional deadlines.
#[must_use]
pub fn earliest(a: Option<Now>, b: Option<Now>) -> Option<Now> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_by_the_monotonic_clock_alone() {
        let start = Now { mono_us: 10, unix_ms: 1_000 };
        let due = start.after(Duration::from_millis(5));
        assert!(!start.reached(due));
        assert!(Now { mono_us: 5_010, unix_ms: 0 }.reached(due));
    }

    #[test]
    fn earliest_ignores_what_is_absent() {
        let a = Now { mono_us: 1, unix_ms: 0 };
        let b = Now { mono_us: 2, unix_ms: 0 };
        assert_eq!(earliest(Some(b), Some(a)), Some(a));
        assert_eq!(earliest(None, Some(b)), Some(b));
        assert_eq!(earliest(None, None), None);
    }
}
