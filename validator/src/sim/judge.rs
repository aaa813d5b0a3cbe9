//! The judge in a world of whole nodes: what they say of blocks, votes, roots and confirmations goes to the independent
//! [`Checker`], which shares no code with them.

use super::{
    Host, World,
    votes::checker::{BlockKey, Checker, Standstill, Violation, Voter},
};
use crate::node::Event;
use solana_signer::Signer as _;
use std::{collections::BTreeMap, sync::Arc};
use sundog_ledger::MemoryStore;
use sundog_runtime::{Bank, RootedAccounts, genesis::GenesisConfig};
use sundog_types::{Hash, Slot, vote::VoteOnWire};

/// What a world does when a rule is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnViolation {
    /// It panics with the seed and the facts: no test has to ask.
    #[default]
    Panic,
    /// It stands still and says so in its outcome.
    Stop,
}

/// The judge of one world.
pub(super) struct Judge {
    checker: Checker,
    start: BlockKey,
    /// The parent of every block that anybody executed.
    parents: BTreeMap<BlockKey, BlockKey>,
    /// By machine: its newest vote, whatever became of it.
    last: Vec<Option<VoteOnWire>>,
    broken: Option<Violation>,
}

impl Judge {
    /// A judge of machines that have not said anything yet, with their stakes and the genesis that all start from.
    pub(super) fn new(hosts: &[Host], stakes: &[u64], genesis: &GenesisConfig) -> Self {
        let accounts = Arc::new(RootedAccounts::new(Arc::new(MemoryStore::new())));
        let start = Bank::genesis_block(genesis, accounts).expect("a world's genesis can be run");
        let start = (start.slot(), start.hash());
        let voter = |(host, stake): (&Host, &u64)| Voter { account: host.vote.pubkey(), stake: *stake, honest: true };
        let voters: Vec<Voter> = hosts.iter().zip(stakes).map(voter).collect();
        Self {
            last: vec![None; voters.len()],
            checker: Checker::new(voters, start),
            start,
            parents: BTreeMap::new(),
            broken: None,
        }
    }

    /// The first rule that was broken.
    pub(super) const fn broken(&self) -> Option<&Violation> {
        self.broken.as_ref()
    }

    /// The slot up to which the longest promise binds, of those that keep machines apart: given for blocks above the
    /// newest one that all have voted for or on. 0 if there is none.
    pub(super) fn bound_until(&self) -> u64 {
        let votes = self.last.iter().flatten();
        let voted = votes.clone().filter_map(|vote| Some((Slot::new(vote.last_slot()?), vote.hash)));
        let common = voted.reduce(|a, b| self.fork_point(a, b)).unwrap_or(self.start).0.get();
        let apart = votes.flat_map(|vote| &vote.slots).filter(|(slot, _)| *slot > common);
        apart.map(|(slot, count)| slot.saturating_add(1 << count.min(&31))).max().unwrap_or_default()
    }

    /// The newest block that both stand on.
    fn fork_point(&self, mut a: BlockKey, mut b: BlockKey) -> BlockKey {
        while a != b {
            let newer = if a.0 >= b.0 { &mut a } else { &mut b };
            *newer = self.parents.get(newer).copied().unwrap_or(self.start);
        }
        a
    }

    /// A machine died: what was not durable is gone, and its root may be an older one.
    pub(super) fn died(&mut self, number: usize) {
        self.checker.died(number);
    }

    /// A machine starts as its operator orders for the whole cluster, at its root, whose bank hash is another than before.
    pub(super) fn restarted(&mut self, host: &Host, root: BlockKey) {
        self.checker.restarted();
        let parent = host.parents.get(&root.0).and_then(|parent| self.block_of(host, *parent));
        if let Some(parent) = parent.filter(|_| self.broken.is_none()) {
            self.parents.insert(root, parent);
            self.broken = self.checker.block(root.0, root.1, parent).err();
        }
    }

    /// A machine said something; `host` has noted it.
    pub(super) fn hear(&mut self, number: usize, host: &Host, event: &Event) {
        if self.broken.is_none() {
            self.broken = self.judge(number, host, event).err();
        }
    }

    fn judge(&mut self, number: usize, host: &Host, event: &Event) -> Result<(), Violation> {
        match event {
            Event::BlockComplete { slot, parent, bank_hash, .. } => {
                let Some(parent) = self.block_of(host, *parent) else { return Ok(()) };
                self.parents.insert((*slot, *bank_hash), parent);
                self.checker.block(*slot, *bank_hash, parent)?;
                self.executed(number, host, (*slot, *bank_hash))
            }
            Event::Voted { vote, .. } => {
                let before = self.last[number].replace((**vote).clone());
                match self.checker.vote(number, vote) {
                    Err(Violation::NoSwitchProof { .. }) if self.stood_on_own_lie(host, before.as_ref()) => Ok(()),
                    judged => judged,
                }
            }
            Event::Rooted { slot } => {
                let Some(block) = self.block_of(host, *slot) else { return Ok(()) };
                self.executed(number, host, block)?;
                self.checker.root(number, block.0, block.1)
            }
            Event::Confirmed { slot } => {
                let Some(block) = self.block_of(host, *slot) else { return Ok(()) };
                self.checker.confirmed(number, block.0, block.1)
            }
            Event::Diverged(divergence) => Err(Violation::FalseAlarm { node: number, slot: divergence.slot }),
            _ => Ok(()),
        }
    }

    /// From this slot on, the first of an epoch, the machines' votes weigh this.
    fn epoch(&mut self, first: Slot, stakes: &[u64]) {
        self.checker.epoch(first, stakes.to_vec());
    }

    /// A vote leaves a machine by its socket: it says no more than what was cast.
    pub(super) fn wire(&mut self, number: usize, vote: &VoteOnWire) {
        if self.broken.is_none() {
            self.broken = self.checker.vote(number, vote).err();
        }
    }

    /// Whether a vote was for a block in which its own voter had lied, or for one on that, and the voter has found out since:
    /// after a crash it executes the block as all others do, and it is dead. Then nothing of that fork is left to it, and the
    /// reference lets it leave on any evidence (8.5.4). Nobody else can stand there.
    fn stood_on_own_lie(&self, host: &Host, vote: Option<&VoteOnWire>) -> bool {
        let found_out = |slot: &Slot| host.lies.contains(slot) && host.dead.contains_key(slot);
        let mut at = vote.and_then(|vote| Some((Slot::new(vote.last_slot()?), vote.hash)));
        while let Some(block) = at.filter(|(slot, _)| !found_out(slot)) {
            at = self.parents.get(&block).copied();
        }
        at.is_some()
    }

    fn block_of(&self, host: &Host, slot: Slot) -> Option<BlockKey> {
        if slot == self.start.0 { Some(self.start) } else { host.blocks.get(&slot).map(|hash| (slot, *hash)) }
    }

    /// The machine got this bank hash from the content that its block id stands for, if it knows that already.
    fn executed(&mut self, number: usize, host: &Host, (slot, hash): (Slot, Hash)) -> Result<(), Violation> {
        let frozen = host.node.as_ref().and_then(|node| node.forks().get(slot));
        let content = frozen.filter(|frozen| frozen.bank.hash() == hash).and_then(|frozen| frozen.block_id);
        content.map_or(Ok(()), |content| self.checker.executed(number, slot, content, hash))
    }
}

impl World {
    /// The first rule of Tower BFT that a node broke.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.judge.broken()
    }

    /// Whether the rules let nobody go on from where the nodes stand, and why.
    #[must_use]
    pub fn standstill(&self) -> Option<Standstill> {
        self.judge.checker.standstill()
    }

    /// Tells the judge what the votes of each node weigh from an epoch on, in SOL, where stake moves: it reckons nothing of
    /// that itself.
    ///
    /// # Panics
    /// If there is not one number for each node.
    pub fn expect_stakes(&mut self, epoch: u64, stakes: &[u64]) {
        self.judge.epoch(Slot::new(epoch.saturating_mul(self.config().slots_per_epoch)), stakes);
    }

    /// Ends a run in which a rule is broken.
    ///
    /// # Panics
    /// If that is what the world was made to do.
    pub(super) fn stop_if_broken(&self) {
        let Some(violation) = self.judge.broken().filter(|_| self.config().on_violation == OnViolation::Panic) else {
            return;
        };
        panic!("seed {} at {} ms: {violation}", self.config().seed, self.now.mono_us / 1_000);
    }
}

#[cfg(test)]
mod tests {
    use super::super::WorldConfig;
    use super::*;
    use crate::node::Divergence;

    #[test]
    fn a_node_that_takes_itself_for_diverged_gives_a_false_alarm_and_one_that_accuses_a_leader_does_not() {
        let mut world = World::new(WorldConfig { on_violation: OnViolation::Stop, ..WorldConfig::default() });
        let slot = Slot::new(7);
        let mut hear = |event: &Event| {
            world.judge.hear(1, &world.hosts[1], event);
            world.violation().cloned()
        };
        let hash = Hash::default();
        assert_eq!(hear(&Event::Duplicate { slot, why: "two versions".to_owned() }), None);
        assert_eq!(hear(&Event::Lost { slot, hash }), None);
        assert_eq!(hear(&Event::Dead { slot, why: "a bad tick".to_owned() }), None);
        let divergence = Divergence { slot, ours: hash, theirs: hash, stake: 40, total: 100, voters: Vec::new() };
        let alarm = Violation::FalseAlarm { node: 1, slot };
        assert_eq!(hear(&Event::Diverged(Box::new(divergence))), Some(alarm));
    }
}
