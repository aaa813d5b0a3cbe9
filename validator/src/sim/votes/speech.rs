//! What hosts say and hear: votes, roots, confirmations.

use super::{
    chain::{BlockId, Cast, with_vote},
    checker::Violation,
    plan::{Lie, WINDOW},
    world::{Event, SLOT_MS, VotesWorld},
};
use rand::Rng as _;
use solana_signer::Signer as _;
use std::sync::Arc;
use sundog_tower::{Effect, Input};
use sundog_types::{Hash, Slot, vote::VoteOnWire};

/// Gossip takes so many hops more than a block.
const GOSSIP_HOPS: u64 = 2;
/// How often of a hundred times a free voter votes for a block.
const FREE_PERCENT: u32 = 80;

impl VotesWorld {
    /// Does what a machine asks for.
    pub(super) fn hear_effect(&mut self, host: usize, effect: Effect) {
        let honest = self.is_honest(host);
        match effect {
            Effect::Save { id, bytes } => {
                self.hosts[host].writing = Some(bytes);
                let life = self.hosts[host].life;
                let after = self.rng.gen_range(1..=self.plan.save_ms);
                self.later(after, Event::Saved { host, life, id });
            }
            Effect::Vote { vote, .. } => self.cast(host, vote),
            Effect::Root { slot } => self.root(host, slot),
            Effect::Confirmed { slot, hash } if honest => {
                let judged = self.checker.confirmed(host, slot, hash);
                self.judged(judged);
            }
            Effect::OtherVersion { slot, hash } => self.replace(host, slot, hash),
            Effect::Diverged { slot, .. } if honest => self.judged(Err(Violation::FalseAlarm { node: host, slot })),
            Effect::Confirmed { .. }
            | Effect::Diverged { .. }
            | Effect::Reset { .. }
            | Effect::Finalized { .. }
            | Effect::Abandoned { .. }
            | Effect::Abstained { .. } => {}
        }
    }

    fn root(&mut self, host: usize, slot: Slot) {
        let this = &mut self.hosts[host];
        let Some(&block) = this.executed.get(&slot) else { return };
        this.root = block;
        this.executed = this.executed.split_off(&slot);
        this.chosen = this.chosen.split_off(&slot.next());
        this.proven = this.proven.split_off(&slot.next());
        let hash = self.chain.get(block).hash;
        if self.is_honest(host) {
            let judged = self.checker.root(host, slot, hash);
            self.judged(judged);
        }
    }

    /// A vote leaves a host: to all by gossip, and straight to the leaders of now and of soon.
    fn cast(&mut self, host: usize, vote: VoteOnWire) {
        if self.ending.is_some() && !self.is_honest(host) {
            return;
        }
        let said = vote.last_slot().and_then(|slot| self.chain.find(Slot::new(slot), vote.hash));
        let judged = self.checker.vote(host, &vote);
        self.judged(judged);
        let Some(block) = said else { return };
        self.hosts[host].voted = Some(block);
        self.casts += 1;
        self.outcome.votes += 1;
        self.outcome.switches += u64::from(vote.switch);
        let cast = Arc::new(Cast { voter: self.hosts[host].seat, vote, block, number: self.casts });
        let slot = self.now_ms / SLOT_MS;
        let leaders = [self.plan.leader(slot), self.plan.leader(slot + WINDOW / 2)];
        for to in (0..self.hosts.len()).filter(|to| *to != host) {
            let straight = leaders.contains(&self.hosts[to].seat);
            let hops = if straight { 1 } else { GOSSIP_HOPS };
            if self.rng.gen_range(0..100) >= self.plan.loss_percent {
                let after = self.delay(host) * hops;
                self.later(after, Event::Vote { from: host, to, cast: Arc::clone(&cast) });
            }
        }
        self.hear(host, &cast);
    }

    /// A vote reaches a host.
    pub(super) fn hear(&mut self, host: usize, cast: &Arc<Cast>) {
        if !self.hosts[host].remember(cast) {
            return;
        }
        let slot = Slot::new(cast.vote.last_slot().unwrap_or_default());
        let this = &mut self.hosts[host];
        if slot > self.chain.get(this.root).slot && !this.has(cast.block) {
            this.wanted.insert(cast.block);
        }
        let vote = &cast.vote;
        let (vote_account, hash, block_id) = (vote.vote_account, vote.hash, vote.block_id);
        self.feed(host, Input::VoteSeen { vote_account, slot, hash, block_id });
    }

    /// A host hears all that a neighbour has heard, and which of the host's own blocks the neighbour has: what a node says
    /// that it has stays in gossip.
    pub(super) fn hear_all(&mut self, from: usize, to: usize) {
        for voter in 0..self.plan.seats.len() {
            for place in 0..self.hosts[from].heard[voter].len() {
                let Some(cast) = self.hosts[from].heard[voter].get(place).map(Arc::clone) else { break };
                self.hear(to, &cast);
            }
        }
        let proven: Vec<Slot> = self.hosts[from].proven.difference(&self.hosts[to].proven).copied().collect();
        for slot in proven {
            self.prove(to, slot);
        }
        let machine = self.hosts[to].machine.as_ref();
        let waits = |slot: &Slot| machine.is_some_and(|machine| !machine.is_propagated(*slot));
        let own = |(slot, block): (&Slot, &BlockId)| (self.chain.get(*block).leader == to).then_some(*slot);
        let had: Vec<Slot> = self.hosts[from].executed.iter().filter_map(own).filter(waits).collect();
        let node = self.keys[self.hosts[from].seat].pubkey();
        for slot in had {
            self.feed(to, Input::Announced { node, slot });
        }
    }

    /// A free voter votes for a block that it sees, with a tower that would land on its fork.
    pub(super) fn vote_freely(&mut self, host: usize, block: BlockId) {
        let seat = self.hosts[host].seat;
        let free = self.plan.seats[seat].lie == Some(Lie::Free) && self.hosts[host].machine.is_some();
        if !free || self.ending.is_some() || self.rng.gen_range(0..100) >= FREE_PERCENT {
            return;
        }
        let made = self.chain.get(block);
        let state = &made.voters[seat];
        if state.lockouts.last().is_some_and(|&(last, _)| last >= made.slot.get()) {
            return;
        }
        let (slots, root) = with_vote(&state.lockouts, state.root, made.slot.get());
        let vote = VoteOnWire {
            vote_account: state.vote_account,
            slots,
            root,
            hash: made.hash,
            block_id: Hash::default(),
            timestamp: None,
            switch: false,
        };
        self.cast(host, vote);
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{Liars, VotesConfig};
    use super::*;

    #[test]
    fn an_honest_machine_that_takes_itself_for_diverged_gives_a_false_alarm_and_a_liar_may() {
        let mut world = VotesWorld::new(VotesConfig { liars: Some(Liars::Many), ..VotesConfig::default() });
        let (honest, liars): (Vec<usize>, Vec<usize>) = (0..world.hosts.len()).partition(|host| world.is_honest(*host));
        let hash = Hash::default();
        let diverged = Effect::Diverged {
            slot: Slot::new(7),
            ours: hash,
            theirs: hash,
            stake: 40,
            total: 100,
            voters: Vec::new(),
        };
        world.hear_effect(liars[0], diverged.clone());
        let abandoned = Effect::Abandoned { slot: Slot::new(7), hash, root: Slot::new(8) };
        world.hear_effect(honest[0], abandoned);
        assert_eq!(world.violation, None, "what a machine sees others do is no alarm about itself");
        world.hear_effect(honest[0], diverged);
        assert_eq!(world.violation, Some(Violation::FalseAlarm { node: honest[0], slot: Slot::new(7) }));
    }
}
