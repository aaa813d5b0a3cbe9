//! How much a server gives: allowances that fill with time, and fair shares of them.

use std::{collections::BTreeMap, time::Duration};
use sundog_types::Now;

/// Shares that are kept apart. A share that has filled up again is the same as none and makes room. Full of others:
/// whoever has no share yet gets nothing until one has filled up.
pub const SHARES_MAX: usize = 4_096;
/// Least time between two searches for filled shares, so that a flood of strangers does not buy one each.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);
/// An allowance holds what comes in within a second, divided by this.
const BURSTS_PER_SECOND: u64 = 10;
const MILLION: u64 = 1_000_000;

/// An allowance that fills with time, up to a tenth of a second's worth (one, at least). Full at the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    per_second: u64,
    /// In millionths.
    left: u64,
    filled: Option<Now>,
}

impl Allowance {
    pub(crate) const fn new(per_second: u64) -> Self {
        Self { per_second, left: Self::full(per_second), filled: None }
    }

    const fn full(per_second: u64) -> u64 {
        let burst = per_second / BURSTS_PER_SECOND;
        (if burst == 0 { 1 } else { burst }) * MILLION
    }

    fn fill(&mut self, now: Now) {
        if let Some(filled) = self.filled {
            let us = now.mono_us.saturating_sub(filled.mono_us);
            let more = us.saturating_mul(self.per_second);
            self.left = self.left.saturating_add(more).min(Self::full(self.per_second));
        }
        self.filled = Some(now);
    }

    /// Whether there is so much.
    fn has(&mut self, now: Now, amount: u64) -> bool {
        self.fill(now);
        self.left >= amount.saturating_mul(MILLION)
    }

    fn spend(&mut self, amount: u64) {
        self.left = self.left.saturating_sub(amount.saturating_mul(MILLION));
    }

    /// Takes `amount` if there is so much.
    pub(crate) fn take(&mut self, now: Now, amount: u64) -> bool {
        let enough = self.has(now, amount);
        if enough {
            self.spend(amount);
        }
        enough
    }

    fn give_back(&mut self, amount: u64) {
        self.left = self.left.saturating_add(amount.saturating_mul(MILLION)).min(Self::full(self.per_second));
    }
}

/// Amounts in a second: for all together, for those without stake together, and for each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) all: u64,
    pub(crate) unstaked: u64,
    pub(crate) each: u64,
}

/// An allowance for all of which nobody gets more than a share, and those without stake not all together: they can be
/// invented in any number, stake can not.
#[derive(Debug)]
pub(crate) struct Quota<K> {
    rates: Rates,
    all: Allowance,
    unstaked: Allowance,
    shares: BTreeMap<K, Allowance>,
    swept: Option<Now>,
}

impl<K: Ord + Copy> Quota<K> {
    pub(crate) const fn new(rates: Rates) -> Self {
        Self {
            rates,
            all: Allowance::new(rates.all),
            unstaked: Allowance::new(rates.unstaked),
            shares: BTreeMap::new(),
            swept: None,
        }
    }

    /// Takes `amount` if there is so much for this one.
    pub(crate) fn take(&mut self, now: Now, (key, staked): (K, bool), amount: u64) -> bool {
        if !self.all.has(now, amount) || !staked && !self.unstaked.has(now, amount) {
            return false;
        }
        if !self.shares.contains_key(&key) && !self.has_room(now) {
            return false;
        }
        let share = self.shares.entry(key).or_insert_with(|| Allowance::new(self.rates.each));
        if !share.take(now, amount) {
            return false;
        }
        self.all.spend(amount);
        if !staked {
            self.unstaked.spend(amount);
        }
        true
    }

    /// Gives back what was taken and not needed.
    pub(crate) fn give_back(&mut self, (key, staked): (K, bool), amount: u64) {
        self.all.give_back(amount);
        if !staked {
            self.unstaked.give_back(amount);
        }
        if let Some(share) = self.shares.get_mut(&key) {
            share.give_back(amount);
        }
    }

    fn has_room(&mut self, now: Now) -> bool {
        if self.shares.len() < SHARES_MAX {
            return true;
        }
        if self.swept.is_some_and(|swept| now.since(swept) < SWEEP_PAUSE) {
            return false;
        }
        self.swept = Some(now);
        let full = Allowance::full(self.rates.each);
        self.shares.retain(|_, share| {
            share.fill(now);
            share.left < full
        });
        self.shares.len() < SHARES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { all: 1_000, unstaked: 500, each: 250 };

    fn at(ms: u64) -> Now {
        Now { mono_us: ms * 1_000, unix_ms: ms }
    }

    fn taken(quota: &mut Quota<u32>, now: Now, who: (u32, bool)) -> u32 {
        let mut taken = 0;
        while quota.take(now, who, 1) {
            taken += 1;
        }
        taken
    }

    #[test]
    fn an_allowance_fills_with_time_up_to_its_burst() {
        let mut allowance = Allowance::new(1_000);
        assert!(allowance.take(at(0), 100) && !allowance.take(at(0), 1));
        assert!(allowance.take(at(1), 1) && !allowance.take(at(1), 1));
        assert!(!allowance.take(at(90_000), 101) && allowance.take(at(90_000), 100));
        assert!(!allowance.take(at(90_000), u64::MAX));
        let mut small = Allowance::new(2);
        assert!(small.take(at(0), 1) && !small.take(at(499), 1) && small.take(at(500), 1));
    }

    #[test]
    fn nobody_gets_more_than_a_share_and_those_without_stake_not_all() {
        let mut quota = Quota::new(RATES);
        assert_eq!(taken(&mut quota, at(0), (1, false)), 25);
        assert_eq!(taken(&mut quota, at(0), (2, false)), 25);
        assert_eq!(taken(&mut quota, at(0), (3, false)), 0, "half of all is kept for stake");
        assert_eq!(taken(&mut quota, at(0), (4, true)), 25);
        assert_eq!(taken(&mut quota, at(0), (5, true)), 25);
        assert_eq!(taken(&mut quota, at(0), (6, true)), 0, "all are given out");
        quota.give_back((5, true), 3);
        assert_eq!(taken(&mut quota, at(0), (5, true)), 3);
        assert_eq!(taken(&mut quota, at(100), (1, false)), 25);
    }

    #[test]
    fn a_full_map_of_shares_takes_a_newcomer_only_when_one_has_filled_up() {
        let mut quota = Quota::new(Rates { all: 1_000_000, unstaked: 1_000_000, each: 20 });
        for key in 0..SHARES_MAX as u32 {
            assert!(quota.take(at(0), (key, false), 1));
        }
        assert!(!quota.take(at(1), (u32::MAX, false), 1));
        assert!(quota.take(at(1), (7, false), 1), "who has a share keeps it");
        assert!(!quota.take(at(49), (u32::MAX, false), 1));
        assert!(quota.take(at(60), (u32::MAX, false), 1));
        assert!(quota.shares.len() <= SHARES_MAX);
    }
}
