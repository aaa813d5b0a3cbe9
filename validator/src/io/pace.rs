//! How fast this machine hashes, and how many hashes a tick of a localnet takes.

use std::time::{Duration, Instant};
use sundog_types::Hash;

/// The part of a core that hashing may cost a leader, as a divisor. A node that catches up verifies the same hashes, so
/// that at a fiftieth it has room to go at twenty times real time and to execute meanwhile.
const PART_OF_A_CORE: u32 = 50;
/// How long a measurement takes.
const MEASURE: Duration = Duration::from_millis(20);
/// Measurements; the slowest counts, so that a leader keeps up when the machine is busy.
const ROUNDS: usize = 3;

/// Hashes per second of one chain on one core, as measured now.
#[must_use]
pub fn hashes_per_second() -> u64 {
    (0..ROUNDS).map(|_| measure()).min().unwrap_or(1)
}

fn measure() -> u64 {
    let mut chain = sundog_poh::Chain::new(Hash::default(), None);
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < MEASURE {
        chain.advance(1_000);
        done += 1_000;
    }
    let us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
    done * 1_000_000 / us
}

/// Hashes in a tick so that hashing costs a leader at most a fiftieth of a core; at least two, the least there is.
#[must_use]
pub fn hashes_per_tick(tick: Duration) -> u64 {
    let us = u64::try_from(tick.as_micros()).unwrap_or(u64::MAX);
    (hashes_per_second().saturating_mul(us) / 1_000_000 / u64::from(PART_OF_A_CORE)).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_takes_at_least_two_hashes() {
        assert!(hashes_per_tick(Duration::from_nanos(1)) >= 2);
        assert!(hashes_per_tick(Duration::from_millis(6)) > 20, "any machine does 200,000 hashes in a second");
    }
}
