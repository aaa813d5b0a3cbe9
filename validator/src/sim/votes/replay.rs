//! Blocks: received, executed in the order of the tree, fetched when missing, and thrown away when they lost.

use super::{
    chain::BlockId,
    plan::TOTAL_STAKE,
    world::{Event, VotesWorld},
};
use rand::Rng as _;
use std::{collections::BTreeSet, sync::Arc};
use sundog_tower::{Block, Input};
use sundog_types::{Hash, Slot};

/// Lines of blocks asked for at once.
const FETCHES_MAX: usize = 4;
/// Blocks in an answer.
const LINE_MAX: usize = 64;

impl VotesWorld {
    /// A block arrives.
    pub(super) fn receive(&mut self, host: usize, block: BlockId) {
        let made = self.chain.get(block);
        let this = &mut self.hosts[host];
        if made.slot <= self.chain.get(this.root).slot || this.has(block) {
            return;
        }
        let slot = made.slot;
        this.wanted.remove(&block);
        let known = this.chosen.get(&slot) == Some(&block);
        let second = self.chain.versions(slot).any(|other| other != block && self.hosts[host].has(other));
        if second {
            self.prove(host, slot);
        }
        self.vote_freely(host, block);
        self.pass_on(host, block);
        // A ledger holds one version of a slot: the first, until the cluster chose another.
        if !second || known {
            self.hosts[host].store(block, true);
            self.replay(host, &[block]);
        }
    }

    /// Where there are two versions of a block, Turbine's trees carry both on from whomever each was sent to.
    fn pass_on(&mut self, host: usize, block: BlockId) {
        let several = self.chain.versions(self.chain.get(block).slot).count() > 1;
        if several && self.hosts[host].passed_on.insert(block) {
            let to = self.rng.gen_range(0..self.hosts.len());
            if to != host {
                let after = self.delay(host);
                self.later(after, Event::Blocks { from: host, to, blocks: vec![block] });
            }
        }
    }

    /// A host knows that a slot has two versions, and tells the others.
    pub(super) fn prove(&mut self, host: usize, slot: Slot) {
        if slot <= self.chain.get(self.hosts[host].root).slot || !self.hosts[host].proven.insert(slot) {
            return;
        }
        self.outcome.duplicates += 1;
        for to in (0..self.hosts.len()).filter(|to| *to != host) {
            let after = self.delay(host);
            self.later(after, Event::Proof { from: host, to, slot });
        }
        self.feed(host, Input::Duplicate(slot));
    }

    /// Executes blocks if they can be, and what is stored on top of them, the lower slots first: after a start, the block
    /// voted for last then comes before any that could be voted for next.
    pub(super) fn replay(&mut self, host: usize, blocks: &[BlockId]) {
        let mut open: BTreeSet<(Slot, BlockId)> =
            blocks.iter().map(|block| (self.chain.get(*block).slot, *block)).collect();
        while let Some((_, block)) = open.pop_first() {
            if self.execute(host, block) {
                let stored = self.chain.get(block).children.iter().filter(|child| self.hosts[host].has(**child));
                open.extend(stored.map(|child| (self.chain.get(*child).slot, *child)));
            }
        }
    }

    /// Executes one block; whether it was.
    fn execute(&mut self, host: usize, block: BlockId) -> bool {
        let made = self.chain.get(block);
        let this = &mut self.hosts[host];
        let (slot, parent) = (made.slot, self.chain.get(made.parent));
        let fits = this.chosen.get(&slot).is_none_or(|chosen| *chosen == block) && !this.executed.contains_key(&slot);
        if this.machine.is_none() || !this.has(block) || slot <= self.chain.get(this.root).slot || !fits {
            return false;
        }
        if this.executed.get(&parent.slot) != Some(&made.parent) {
            let root = self.chain.get(this.root).slot;
            let mut missing = made.parent;
            while this.has(missing) && self.chain.get(missing).slot > root {
                missing = self.chain.get(missing).parent;
            }
            let other = this.executed.contains_key(&parent.slot);
            this.stray.insert(block);
            if self.chain.get(missing).slot > root {
                this.wanted.insert(missing);
            }
            if other {
                // On the wrong parent it cannot be executed.
                self.feed(host, Input::Dead(slot));
            }
            return false;
        }
        if !made.sound {
            self.feed(host, Input::Dead(slot));
            return false;
        }
        this.executed.insert(slot, block);
        this.stray.remove(&block);
        let mut votes = (*made.voters).clone();
        if self.plan.seats[this.seat].lie.is_some() {
            // A twin must not learn what the other does.
            votes[this.seat].lockouts.clear();
        }
        let input = Block {
            slot,
            parent: parent.slot,
            parent_hash: parent.hash,
            hash: made.hash,
            block_id: content(made.hash),
            mine: made.leader == host,
            votes,
            total_stake: TOTAL_STAKE,
            epoch_stakes: Arc::clone(&self.stakes),
        };
        let (leader, hash) = (made.leader, made.hash);
        let now = self.now();
        self.outcome.note(now, host, u64::from(block) << 8);
        let judged = self.checker.executed(host, slot, content(hash), hash);
        self.judged(judged);
        if leader != host {
            let after = self.delay(host);
            self.later(after, Event::Announced { from: host, to: leader, slot });
        }
        self.feed(host, Input::Frozen(input));
        self.hosts[host].executed.get(&slot) == Some(&block)
    }

    /// Sends the last own block once more if too few have it.
    pub(super) fn spread_again(&mut self, host: usize) {
        let Some(block) = self.hosts[host].sends_again(self.now_ms) else { return };
        for to in (0..self.hosts.len()).filter(|to| *to != host) {
            if self.rng.gen_range(0..100) >= self.plan.loss_percent {
                let after = self.delay(host);
                self.later(after, Event::Blocks { from: host, to, blocks: vec![block] });
            }
        }
    }

    /// Asks a neighbour for what is missing, with all that leads there.
    pub(super) fn fetch(&mut self, host: usize) {
        let root = self.chain.get(self.hosts[host].root).slot;
        let wanted = std::mem::take(&mut self.hosts[host].wanted);
        let open: BTreeSet<BlockId> =
            wanted.into_iter().filter(|block| self.chain.get(*block).slot > root && self.lacks(host, *block)).collect();
        for &block in open.iter().rev().take(FETCHES_MAX) {
            let peer = self.rng.gen_range(0..self.hosts.len());
            if peer == host || !self.hosts[peer].has(block) || !self.reaches(host, peer) {
                continue;
            }
            let mut line = Vec::new();
            let mut at = block;
            while self.chain.get(at).slot > root && !self.hosts[host].has(at) {
                line.push(at);
                at = self.chain.get(at).parent;
            }
            line.reverse();
            line.truncate(LINE_MAX);
            line.retain(|block| self.hosts[peer].has(*block));
            let after = self.delay(host) + self.delay(peer);
            self.later(after, Event::Blocks { from: peer, to: host, blocks: line });
        }
        self.hosts[host].wanted = open;
    }

    /// Whether a host has no version of the block's slot, or not the one that the cluster chose.
    fn lacks(&self, host: usize, block: BlockId) -> bool {
        let (this, slot) = (&self.hosts[host], self.chain.get(block).slot);
        match this.chosen.get(&slot) {
            Some(chosen) => *chosen == block && !this.has(block),
            None => !self.chain.versions(slot).any(|version| this.has(version)),
        }
    }

    /// The cluster settled on a version of a slot that this host has not: the own one goes, with all that was built on
    /// it. What the version is built on is settled with it, since every block names the one before it.
    pub(super) fn replace(&mut self, host: usize, slot: Slot, hash: Hash) {
        let Some(right) = self.chain.find(slot, hash) else { return };
        let root = self.chain.get(self.hosts[host].root).slot;
        let mut line = Vec::new();
        let mut at = right;
        while self.chain.get(at).slot > root && self.hosts[host].executed.get(&self.chain.get(at).slot) != Some(&at) {
            line.push(at);
            at = self.chain.get(at).parent;
        }
        self.outcome.replaced += u64::from(!line.is_empty());
        for &at in line.iter().rev() {
            let slot = self.chain.get(at).slot;
            let (this, chain) = (&mut self.hosts[host], &self.chain);
            this.chosen.insert(slot, at);
            this.stray.remove(&at);
            if let Some(wrong) = this.executed.get(&slot).copied() {
                this.executed.retain(|at, block| *at < slot || !chain.descends(*block, wrong));
            }
            for other in self.chain.versions(slot).filter(|other| *other != at) {
                this.store(other, false);
            }
            self.feed(host, Input::Forgotten { slot, proven: true });
        }
        let missing = line.iter().rev().find(|at| !self.hosts[host].has(**at)).copied();
        self.hosts[host].wanted.extend(missing);
        if let Some(&first) = line.last() {
            self.replay(host, &[first]);
        }
    }

    /// Follows what was voted for, and cannot be executed here, back to where another version is.
    pub(super) fn trace_versions(&mut self, host: usize) {
        let (this, root) = (&self.hosts[host], self.chain.get(self.hosts[host].root).slot);
        let Some(machine) = &this.machine else { return };
        let voted = this.heard.iter().flatten().map(|cast| cast.block);
        let open: BTreeSet<BlockId> = voted.chain(this.stray.iter().copied()).collect();
        let settled = |block: &BlockId| {
            let made = self.chain.get(*block);
            let lacking = made.slot > root && this.executed.get(&made.slot) != Some(block);
            let fresh = this.chosen.get(&made.slot) != Some(block);
            lacking && fresh && machine.chosen_version(made.slot).is_some_and(|(hash, _)| hash == made.hash)
        };
        let settled: Vec<BlockId> = open.into_iter().filter(settled).collect();
        self.hosts[host].stray.retain(|block| self.chain.get(*block).slot > root);
        for block in settled {
            let (slot, hash) = (self.chain.get(block).slot, self.chain.get(block).hash);
            self.replace(host, slot, hash);
        }
    }
}

impl VotesWorld {
    /// Asks all who can be reached which version the cluster settled on of what is below a block that is here and is built
    /// on another version than this host has, as nodes ask for ancestor hashes: what over half of their stake says is
    /// believed, unless the votes say otherwise.
    pub(super) fn ask_ancestors(&mut self, host: usize) {
        let (this, root) = (&self.hosts[host], self.chain.get(self.hosts[host].root).slot);
        let Some(machine) = &this.machine else { return };
        let on_other = |block: &BlockId| {
            let parent = self.chain.get(*block).parent;
            let here = this.executed.get(&self.chain.get(parent).slot);
            self.chain.get(parent).slot > root && here.is_some_and(|here| *here != parent)
        };
        let stray = this.stray.iter().copied().filter(on_other);
        let Some(block) = stray.min_by_key(|block| self.chain.get(*block).slot) else { return };
        let parent = self.chain.get(block).parent;
        let (slot, hash) = (self.chain.get(parent).slot, self.chain.get(parent).hash);
        let here = this.executed.get(&slot).map(|here| self.chain.get(*here).hash);
        if machine.chosen_version(slot).is_some_and(|(chosen, _)| Some(chosen) == here) {
            return;
        }
        let asked = (0..self.hosts.len()).filter(|peer| *peer != host && self.reaches(host, *peer));
        let asked: Vec<usize> = asked.filter(|peer| self.reaches(*peer, host)).collect();
        let settled = |peer: &&usize| {
            let (peer, choice) =
                (&self.hosts[**peer], self.hosts[**peer].machine.as_ref().map(|peer| peer.fork_choice()));
            let confirmed =
                choice.and_then(|choice| choice.get(&(slot, hash))).is_some_and(|at| at.duplicate_confirmed);
            confirmed || self.chain.descends(peer.root, parent)
        };
        let stake = |peer: &usize| self.plan.seats[self.hosts[*peer].seat].stake;
        let (agree, all): (u64, u64) = (asked.iter().filter(settled).map(stake).sum(), asked.iter().map(stake).sum());
        if agree * 2 > all {
            self.replace(host, slot, hash);
        }
    }
}

/// The block id of a block: another name for its content.
fn content(hash: Hash) -> Hash {
    let mut bytes = hash.to_bytes();
    bytes[0] ^= 0xff;
    Hash::new_from_array(bytes)
}
