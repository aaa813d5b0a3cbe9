//! The chain's clock: a stake-weighted median of the voters' timestamps, bounded by the pace of slots
//! (reference 12.4).

use std::{collections::BTreeMap, time::Duration};

/// How far the clock may run ahead of the slots since the epoch began, in percent of them.
const DRIFT_FAST_PERCENT: u32 = 25;
/// How far it may fall behind.
const DRIFT_SLOW_PERCENT: u32 = 150;

/// What a voter said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The slot it voted for.
    pub(crate) slot: u64,
    /// Unix seconds then.
    pub(crate) timestamp: i64,
    /// Its stake in the epoch.
    pub(crate) stake: u64,
}

/// Where and when the epoch began, and how long a slot lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpochStart {
    pub(crate) slot: u64,
    pub(crate) timestamp: i64,
    pub(crate) slot_duration: Duration,
}

/// Unix seconds at `slot`; `None` if nobody with stake said anything.
pub(crate) fn estimate(slot: u64, samples: impl Iterator<Item = Sample>, start: EpochStart) -> Option<i64> {
    let mut by_time = BTreeMap::<i64, u128>::new();
    let mut total = 0u128;
    for sample in samples {
        let since = times(start.slot_duration, slot.saturating_sub(sample.slot));
        let now = sample.timestamp.saturating_add(seconds(since));
        *by_time.entry(now).or_default() += u128::from(sample.stake);
        total += u128::from(sample.stake);
    }
    if total == 0 {
        return None;
    }
    let mut sum = 0;
    let median = by_time.into_iter().find_map(|(time, stake)| {
        sum += stake;
        (sum > total / 2).then_some(time)
    });
    Some(bounded(median.unwrap_or(0), slot, start))
}

fn bounded(estimate: i64, slot: u64, start: EpochStart) -> i64 {
    let by_slots = times(start.slot_duration, slot.saturating_sub(start.slot));
    let by_votes = Duration::from_secs(estimate.cast_unsigned().saturating_sub(start.timestamp.cast_unsigned()));
    let fast = by_slots.saturating_mul(DRIFT_FAST_PERCENT) / 100;
    let slow = by_slots.saturating_mul(DRIFT_SLOW_PERCENT) / 100;
    if by_votes.saturating_sub(by_slots) > slow {
        start.timestamp.saturating_add(seconds(by_slots)).saturating_add(seconds(slow))
    } else if by_slots.saturating_sub(by_votes) > fast {
        start.timestamp.saturating_add(seconds(by_slots)).saturating_sub(seconds(fast))
    } else {
        estimate
    }
}

fn times(duration: Duration, count: u64) -> Duration {
    // The reference cuts the count to 32 bits; so many slots take decades.
    duration.saturating_mul(u32::try_from(count & u64::from(u32::MAX)).unwrap_or(u32::MAX))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: EpochStart = EpochStart { slot: 0, timestamp: 1_000, slot_duration: Duration::from_millis(400) };

    fn at(slot: u64, samples: &[(u64, i64, u64)]) -> Option<i64> {
        let samples = samples.iter().map(|&(slot, timestamp, stake)| Sample { slot, timestamp, stake });
        estimate(slot, samples, START)
    }

    #[test]
    fn nobody_with_stake_gives_no_time() {
        assert_eq!(at(10, &[]), None);
        assert_eq!(at(10, &[(1, 1_000, 0)]), None);
    }

    #[test]
    fn the_median_weighs_by_stake() {
        assert_eq!(at(100, &[(100, 1_039, 1), (100, 1_040, 3), (100, 1_050, 1)]), Some(1_040));
    }

    #[test]
    fn a_clock_too_fast_or_too_slow_is_bounded_by_the_slots() {
        assert_eq!(at(100, &[(100, 9_999, 1)]), Some(1_000 + 40 + 60));
        assert_eq!(at(100, &[(100, 1_000, 1)]), Some(1_000 + 40 - 10));
    }
}
