//! After all faults have healed: whether the cluster goes on in time.

use super::{checker::Violation, outcome::VotesOutcome, world::VotesWorld};
use sundog_types::Slot;

/// Slots that the cluster may take for a new root after the last promise has run out: 32 votes, and as many again for
/// leaders whose blocks come late.
const RECOVERY_SLOTS: u64 = 64;

/// A run ends so many slots after the faults at the latest. Two sides that both rooted nothing are apart by at most 2^8
/// slots of lockout: deeper promises have two thirds behind them.
const PATIENCE_SLOTS: u64 = 640;

/// What has to come after the faults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    healed: u64,
    /// The newest root when the faults ended.
    root: Slot,
    /// The slot by which every honest host has a newer one.
    by: u64,
}

impl VotesWorld {
    fn honest(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        (0..self.hosts.len()).filter(|host| self.is_honest(*host))
    }

    fn root_of(&self, host: usize) -> Slot {
        self.chain.get(self.hosts[host].root).slot
    }

    /// How long the promises still hold, at `slot`, that keep honest hosts apart.
    fn ending_of(&self, slot: u64) -> Ending {
        let root = self.honest().map(|host| self.root_of(host)).max().unwrap_or_default();
        let voted = self.honest().filter_map(|host| self.hosts[host].voted);
        let common = voted.reduce(|a, b| self.chain.fork_point(a, b)).unwrap_or(0);
        let common = self.chain.get(common).slot;
        let towers = self.honest().filter_map(|host| self.hosts[host].machine.as_ref()).map(|machine| machine.tower());
        let apart = towers.flat_map(|tower| tower.lockouts().votes()).filter(|vote| vote.slot > common);
        let until = apart.map(|vote| vote.last_locked_out().get()).filter(|until| *until > slot).max();
        Ending { healed: slot, root, by: until.map_or(0, |until| until + RECOVERY_SLOTS) }
    }

    /// The faults are over at `slot`.
    pub(super) fn end_faults(&mut self, slot: u64) {
        let ending = self.ending_of(slot);
        self.ending = Some(Ending { by: ending.by.max(slot + RECOVERY_SLOTS), ..ending });
    }

    /// Whether the run is over: every honest host has a new root, or it took too long.
    pub(super) fn is_over(&mut self, slot: u64) -> bool {
        let Some(Ending { healed, root, by }) = self.ending else { return false };
        // Who is bound to a fork that too few stand behind may vote on it a few times more, and is bound longer.
        let by = self.ending_of(slot).by.max(by);
        self.ending = Some(Ending { healed, root, by });
        let lowest = self.honest().map(|host| self.root_of(host)).min().unwrap_or_default();
        if lowest > root {
            return true;
        }
        let patience = if self.plan.is_truthful() { PATIENCE_SLOTS } else { RECOVERY_SLOTS };
        let late = slot > by.min(healed + patience);
        self.outcome.late |= late;
        if late && self.plan.is_truthful() {
            let roots = self.honest().map(|host| self.root_of(host)).collect();
            let (healed, by) = (Slot::new(healed), Slot::new(by));
            self.judged(Err(Violation::Stuck { healed, by, root, roots }));
        }
        late
    }

    pub(super) fn into_outcome(mut self, slot: u64) -> VotesOutcome {
        self.outcome.slots = slot;
        self.outcome.roots = (0..self.hosts.len()).map(|host| self.root_of(host).get()).collect();
        self.outcome.recovered_in = self.ending.map(|ending| slot - ending.healed);
        self.outcome.allowed = self.ending.map(|ending| ending.by - ending.healed);
        self.outcome.abandoned = self.checker.abandoned();
        self.outcome.violation = self.violation;
        self.outcome
    }
}
