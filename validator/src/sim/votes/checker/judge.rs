//! The rules for a vote (reference 8.1, 8.5), worked out anew.

use super::{Checker, Said, Seen, Violation};
use sundog_types::{Slot, vote::VoteOnWire};

/// Votes in a tower.
const STACK: usize = 31;
/// How deep a vote may be buried before two thirds must stand behind it.
const SHALLOW: usize = 8;

/// Why the rules let nobody go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standstill {
    /// Two thirds are on no fork, and nowhere are the 38 % elsewhere that somebody needs to leave the own one.
    Divided,
    /// Votes are divided among versions of a block, none of which has 52 %.
    Versions,
}

/// The last slot at which a vote that was confirmed so often binds.
pub(super) const fn last_bound(slot: u64, count: u32) -> u64 {
    slot.saturating_add(1 << if count < 31 { count } else { 31 })
}

/// Puts a vote on a stack.
fn push(stack: &mut Vec<(u64, u32)>, slot: u64) {
    while stack.last().is_some_and(|&(old, count)| last_bound(old, count) < slot) {
        stack.pop();
    }
    if stack.len() == STACK {
        stack.remove(0);
    }
    stack.push((slot, 1));
    let depth = stack.len();
    for (place, (_, count)) in stack.iter_mut().enumerate() {
        if place + (*count as usize) < depth {
            *count += 1;
        }
    }
}

impl Checker {
    /// Judges an honest voter's vote by all that was said before it.
    pub(super) fn judge(&self, node: usize, block: u32, vote: &VoteOnWire) -> Result<(), Violation> {
        let voted = self.slot(block);
        if !is_tower(&vote.slots) {
            return Err(Violation::NoTower { node, voted, slots: vote.slots.clone() });
        }
        let root = Slot::new(vote.root.unwrap_or(0));
        let on_line = |slot: Slot| self.slot(self.not_above(block, slot)) == slot;
        let off = vote.slots.iter().find(|(slot, _)| !on_line(Slot::new(*slot)));
        if let Some(&(slot, count)) = off {
            let until = Slot::new(last_bound(slot, count));
            return Err(Violation::PromiseBroken { node, promise: Slot::new(slot), until, voted });
        }
        if root <= voted && !on_line(root) {
            return Err(Violation::PromiseBroken { node, promise: root, until: Slot::new(u64::MAX), voted });
        }
        if let Some(before) = &self.said[node] {
            self.follows(node, before, block, vote)?;
            self.leaves(node, before.block, block)?;
        }
        self.buries(node, block, vote)
    }

    /// Whether the tower is what the one before it and the new votes add up to. A vote that was decided and never left,
    /// because the node crashed, may have added to it: it makes promises only deeper.
    fn follows(&self, node: usize, before: &Said, block: u32, vote: &VoteOnWire) -> Result<(), Violation> {
        let (voted, root) = (self.slot(block), vote.root.unwrap_or(0));
        let last = self.slot(before.block);
        if voted < last || root < before.root {
            let (root_before, root) = (Slot::new(before.root), Slot::new(root));
            return Err(Violation::WentBack { node, before: last, root_before, slot: voted, root });
        }
        if voted == last {
            let same = block == before.block;
            return if same { Ok(()) } else { Err(Violation::VotedTwice { node, slot: voted }) };
        }
        let mut stack = before.stack.clone();
        for &(slot, _) in vote.slots.iter().filter(|(slot, _)| *slot > last.get()) {
            push(&mut stack, slot);
        }
        for (slot, count) in stack {
            match vote.slots.iter().find(|(said, _)| *said == slot) {
                Some(&(_, said)) if said < count => {
                    return Err(Violation::NoTower { node, voted, slots: vote.slots.clone() });
                }
                Some(_) => {}
                None if slot <= root && self.slot(self.not_above(block, Slot::new(slot))).get() == slot => {}
                None => {
                    let until = Slot::new(last_bound(slot, count));
                    return Err(Violation::PromiseBroken { node, promise: Slot::new(slot), until, voted });
                }
            }
        }
        Ok(())
    }

    /// Whether a vote off the last one's fork had its evidence: more than 38 % of the stake bound to other forks, or
    /// that the version of the block it stood on had lost.
    fn leaves(&self, node: usize, from: u32, to: u32) -> Result<(), Violation> {
        if self.descends(to, from) || self.lost(from, to) {
            return Ok(());
        }
        let (stake, total) = self.bound_elsewhere(from, to);
        if is_proof((stake, total)) {
            return Ok(());
        }
        Err(Violation::NoSwitchProof { node, from: self.slot(from), to: self.slot(to), stake, total })
    }

    /// Stake that anybody could see to be bound to forks other than that of `from`, as far as it counts for leaving it for
    /// `to`, and all stake, both in the epoch of `to`.
    fn bound_elsewhere(&self, from: u32, to: u32) -> (u64, u64) {
        let last = self.slot(from);
        let mut bound = 0_u64;
        for (place, seen) in self.blocks.iter().enumerate().filter(|(_, seen)| seen.behind != 0) {
            if self.counts(place as u32, from, to) {
                let voters = seen.binds.iter().enumerate().filter(|(_, until)| **until >= last.get());
                bound |= voters.fold(0, |bits, (voter, _)| bits | (1 << voter));
            }
        }
        self.stake(bound, self.slot(to))
    }

    /// Whether a vote for a block, as long as it binds, counts for leaving `from` for `to`.
    fn counts(&self, block: u32, from: u32, to: u32) -> bool {
        !self.one_line(block, from) && self.descends(to, self.fork_point(block, from))
    }

    /// The same stake, as far as blocks show it that everybody can execute: a promise that was made deeper by a vote on a
    /// version of a block is seen by those alone who have that version.
    fn seen_elsewhere(&self, from: u32, to: u32, open: &[bool]) -> (u64, u64) {
        let last = self.slot(from).get();
        let mut known = vec![None; self.blocks.len()];
        let mut seen = 0_u64;
        for (voter, said) in self.told.iter().filter(|(_, said)| !open[said.block as usize]) {
            let mut at = said.block;
            for &(slot, _) in said.stack.iter().rev().filter(|(slot, count)| last_bound(*slot, *count) >= last) {
                at = self.not_above(at, Slot::new(slot));
                let counts = self.at(at).slot.get() == slot
                    && *known[at as usize].get_or_insert_with(|| self.counts(at, from, to));
                seen |= u64::from(counts) << voter;
            }
        }
        self.stake(seen, self.slot(to))
    }

    /// Whether the rules let nobody go on from where the honest voters stand, and why (docs/chaos.md): of the stake, two
    /// thirds are behind no fork, and whoever is not on the heaviest one has no proof to leave its own, or cannot see it:
    /// what is bound elsewhere, or itself, stands on a version of a block that may still win. Which fork is the heaviest
    /// depends on whose votes landed, so it is asked of the one of most honest voters, and of the one of all.
    #[must_use]
    pub fn standstill(&self) -> Option<Standstill> {
        let said = self.said.iter().enumerate().filter(|(voter, _)| self.voters[*voter].honest);
        let heads: Vec<(usize, u32)> = said.filter_map(|(voter, said)| Some((voter, said.as_ref()?.block))).collect();
        let on = |tip: u32| {
            let on = heads.iter().filter(|(_, head)| self.descends(tip, *head));
            self.stake(on.fold(0, |bits, (voter, _)| bits | (1 << voter)), self.slot(tip))
        };
        let honest = heads.iter().map(|(_, head)| *head).max_by_key(|head| on(*head).0)?;
        let (stake, total) = on(honest);
        if stake * 3 > total * 2 {
            return None;
        }
        let open = self.open();
        let heads: Vec<u32> = heads.iter().map(|(_, head)| *head).collect();
        [honest, self.heaviest()].into_iter().find_map(|best| self.stands_still(&heads, best, &open))
    }

    fn stands_still(&self, heads: &[u32], best: u32, open: &[bool]) -> Option<Standstill> {
        let mut why = Standstill::Divided;
        for &head in heads.iter().filter(|head| !self.descends(best, **head)) {
            if !is_proof(self.bound_elsewhere(head, best)) {
                continue;
            }
            why = Standstill::Versions;
            let is_open = open[head as usize] || open[best as usize];
            if !is_open && is_proof(self.seen_elsewhere(head, best, open)) {
                return None;
            }
        }
        Some(why)
    }

    /// The tip that the newest votes lead to, those of silent liars included: they weigh as long as nobody outvotes them.
    /// It is not on a version of a block that no 52 % are behind.
    fn heaviest(&self) -> u32 {
        let mut weights = vec![0_u64; self.blocks.len()];
        for (voter, said) in self.said.iter().enumerate() {
            let mut at = said.as_ref().map_or(0, |said| said.block);
            while at != 0 {
                weights[at as usize] |= 1_u64 << voter;
                at = self.at(at).parent;
            }
        }
        let weight = |block: u32| {
            let (slot, hash) = (self.slot(block), self.at(block).hash);
            (self.stake(weights[block as usize], slot).0, std::cmp::Reverse((slot, hash)))
        };
        let mut best = 0;
        loop {
            let children = (1..).zip(&self.blocks[1..]).filter(|(_, seen)| seen.parent == best);
            let valid = children.map(|(block, _)| block).filter(|block| !self.is_contested(*block, |seen| seen.behind));
            match valid.max_by_key(|block| weight(*block)) {
                Some(next) => best = next,
                None => return best,
            }
        }
    }

    /// Whether there are other versions of a block, and not more than 52 % are for this one.
    fn is_contested(&self, block: u32, votes: impl Fn(&Seen) -> u64) -> bool {
        let mine = self.at(block);
        let few = share(self.stake(votes(mine), mine.slot)) <= 0.52;
        few && self.blocks.iter().any(|seen| seen.slot == mine.slot && seen.hash != mine.hash)
    }

    /// By block: whether it stands on a version of a block that more than 52 % may still vote for, and have not.
    fn open(&self) -> Vec<bool> {
        let root = self.roots.iter().map(|root| self.slot(*root)).min().unwrap_or_default();
        let mut open = vec![false; self.blocks.len()];
        for block in 1..self.blocks.len() {
            let (place, below) = (block as u32, open[self.blocks[block].parent as usize]);
            open[block] = self.slot(place) > root && (below || self.is_contested(place, |seen| seen.voted));
        }
        open
    }

    /// Whether more than 52 % stand behind another version of the block, or of one that it is built on since the forks
    /// parted.
    fn lost(&self, from: u32, to: u32) -> bool {
        let parted = self.fork_point(from, to);
        let mut at = from;
        while at != parted {
            let mine = self.at(at);
            let other = |seen: &&Seen| seen.slot == mine.slot && seen.hash != mine.hash;
            let settled = |seen: &Seen| share(self.stake(seen.behind, seen.slot)) > 0.52;
            if self.blocks.iter().filter(other).any(settled) {
                return true;
            }
            at = mine.parent;
        }
        false
    }

    /// The newest block that both stand on.
    fn fork_point(&self, mut a: u32, mut b: u32) -> u32 {
        while a != b {
            let older = if self.slot(a) >= self.slot(b) { &mut a } else { &mut b };
            *older = self.blocks[*older as usize].parent;
        }
        a
    }

    fn buries(&self, node: usize, block: u32, vote: &VoteOnWire) -> Result<(), Violation> {
        let Some(&(slot, _)) = vote.slots.iter().rev().nth(SHALLOW) else { return Ok(()) };
        let (voted, buried) = (self.slot(block), Slot::new(slot));
        let (stake, total) = self.stake(self.at(self.not_above(block, buried)).behind, voted);
        if stake * 3 > total * 2 {
            return Ok(());
        }
        Err(Violation::Buried { node, voted, buried, stake, total })
    }
}

/// A part of all stake, and all of it: how much that is.
fn share((stake, total): (u64, u64)) -> f64 {
    stake as f64 / total as f64
}

/// Whether so much of all stake, bound to other forks, allows to leave one.
fn is_proof(bound: (u64, u64)) -> bool {
    share(bound) > 0.38
}

/// Whether slots rise, counts fall, every vote still bound at the next, and there are not too many.
fn is_tower(slots: &[(u64, u32)]) -> bool {
    let in_order = |pair: &[(u64, u32)]| {
        let ((old, count), (new, newer)) = (pair[0], pair[1]);
        old < new && count > newer && last_bound(old, count) >= new
    };
    slots.len() <= STACK && slots.iter().all(|(_, count)| *count > 0) && slots.windows(2).all(in_order)
}
