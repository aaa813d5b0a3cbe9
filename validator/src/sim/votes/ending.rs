//! After all faults have healed: whether the cluster goes on in time.

use super::{checker::Violation, outcome::VotesOutcome, world::VotesWorld};
use sundog_types::Slot;

/// Slots that the cluster may take for a new root after the last promise has run out: 32 votes, and as many again for
/// leaders whose blocks come late.
const RECOVERY_SLOTS: u64 = 64;

/// No promise that keeps honest hosts apart binds for longer: deeper ones have two thirds behind them. A run does not
/// wait for more.
const LONGEST_SLOTS: u64 = 1 << 9;

/// Slots between two times that it is asked whether anybody may go on.
const ASKED_SLOTS: u64 = 4;

/// What has to come after the faults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    healed: u64,
    /// The newest root when the faults ended.
    root: Slot,
    /// The slot by which every honest host has a newer one: the last at which a promise of then binds, and 64 more.
    due: u64,
    /// The same, counted from promises that were made since, and from the last slot at which the rules let nobody go on.
    by: u64,
}

impl VotesWorld {
    fn honest(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        (0..self.hosts.len()).filter(|host| self.is_honest(*host))
    }

    fn root_of(&self, host: usize) -> Slot {
        self.chain.get(self.hosts[host].root).slot
    }

    /// The last slot at which a promise binds, as things are at `slot`, that keeps honest hosts apart; none if nothing does.
    fn apart_until(&self, slot: u64) -> Option<u64> {
        let voted = self.honest().filter_map(|host| self.hosts[host].voted);
        let common = voted.reduce(|a, b| self.chain.fork_point(a, b)).unwrap_or(0);
        let common = self.chain.get(common).slot;
        let towers = self.honest().filter_map(|host| self.hosts[host].machine.as_ref()).map(|machine| machine.tower());
        let apart = towers.flat_map(|tower| tower.lockouts().votes()).filter(|vote| vote.slot > common);
        let until = apart.map(|vote| vote.last_locked_out().get()).filter(|until| *until > slot).max();
        until.map(|until| until.min(slot + LONGEST_SLOTS))
    }

    /// The faults are over at `slot`.
    pub(super) fn end_faults(&mut self, slot: u64) {
        let root = self.honest().map(|host| self.root_of(host)).max().unwrap_or_default();
        let due = self.apart_until(slot).unwrap_or(slot) + RECOVERY_SLOTS;
        self.ending = Some(Ending { healed: slot, root, due, by: due });
    }

    /// Whether the run is over: every honest host has a new root, or it took too long. Where somebody lied, the time counts
    /// from when the rules let somebody go on.
    pub(super) fn is_over(&mut self, slot: u64) -> bool {
        let Some(Ending { healed, root, due, mut by }) = self.ending else { return false };
        let lowest = self.honest().map(|host| self.root_of(host)).min().unwrap_or_default();
        if lowest > root {
            return true;
        }
        let asked = slot > by || slot.is_multiple_of(ASKED_SLOTS);
        let standstill = if asked && !self.plan.is_truthful() { self.checker.standstill() } else { None };
        if asked {
            // Who does not know yet that all is well may vote on its own fork once more, and is bound twice as long.
            let until = self.apart_until(slot).map(|until| until.min(healed + LONGEST_SLOTS));
            let from = if standstill.is_some() { until.max(Some(slot)) } else { until };
            by = from.map_or(by, |from| by.max(from + RECOVERY_SLOTS));
            self.outcome.standstill = standstill.or(self.outcome.standstill);
        }
        self.ending = Some(Ending { healed, root, due, by });
        self.outcome.late = slot > due;
        let stuck = slot > by;
        if stuck {
            let roots = self.honest().map(|host| self.root_of(host)).collect();
            let (healed, by) = (Slot::new(healed), Slot::new(by));
            self.judged(Err(Violation::Stuck { healed, by, root, roots }));
        }
        stuck || (standstill.is_some() && slot > due)
    }

    pub(super) fn into_outcome(mut self, slot: u64) -> VotesOutcome {
        self.outcome.slots = slot;
        self.outcome.roots = (0..self.hosts.len()).map(|host| self.root_of(host).get()).collect();
        self.outcome.recovered_in = self.ending.map(|ending| slot - ending.healed);
        self.outcome.allowed = self.ending.map(|ending| ending.due - ending.healed);
        self.outcome.abandoned = self.checker.abandoned();
        self.outcome.violation = self.violation;
        self.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        chain::Content,
        config::{Liars, VotesConfig},
    };
    use super::*;

    /// A world in which nobody lies, nor makes two blocks of a slot, whose faults are over at slot 100 with root 0.
    fn healed() -> VotesWorld {
        let truthful = |seed| VotesWorld::new(VotesConfig { seed, liars: Some(Liars::None), ..VotesConfig::default() });
        let mut world = (0..).map(truthful).find(|world| world.plan.is_truthful()).expect("one of many");
        world.end_faults(100);
        world
    }

    /// Gives a host a block of slot 1 as its root.
    fn root(world: &mut VotesWorld, host: usize) {
        let votes = vec![Vec::new(); world.plan.seats.len()];
        let first = world.chain.versions(Slot::new(1)).next();
        let content = Content { slot: Slot::new(1), parent: 0, leader: 0, version: 0, sound: true, votes: &votes };
        world.hosts[host].root = first.unwrap_or_else(|| world.chain.make(&content));
    }

    #[test]
    fn who_has_no_new_root_in_time_is_stuck_and_not_a_slot_earlier() {
        let mut world = healed();
        // Nobody is bound: 64 slots are all there is.
        assert!((100..=164).all(|slot| !world.is_over(slot)));
        assert_eq!(world.violation, None);
        assert!(world.is_over(165));
        let roots = vec![Slot::ZERO; world.hosts.len()];
        let (healed, by, root) = (Slot::new(100), Slot::new(164), Slot::ZERO);
        assert_eq!(world.violation, Some(Violation::Stuck { healed, by, root, roots }));
    }

    #[test]
    fn one_that_is_left_behind_is_enough_and_none_is_none() {
        let mut world = healed();
        (1..world.hosts.len()).for_each(|host| root(&mut world, host));
        assert!(world.is_over(165));
        assert!(
            matches!(&world.violation, Some(Violation::Stuck { roots, .. }) if roots[..2] == [0, 1].map(Slot::new))
        );
        let mut world = healed();
        (0..world.hosts.len()).for_each(|host| root(&mut world, host));
        assert!(world.is_over(165), "it is over, and well");
        assert_eq!(world.violation, None);
    }
}
