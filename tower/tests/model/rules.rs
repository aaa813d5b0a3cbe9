//! The rules once more, as plainly as they can be said, and without a line of the code that they are compared with.

use super::world::{History, Tree};

/// What the rules say to a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    Yes { switches: bool },
    NotNewer,
    LockedOut { by: u64 },
    NoProof { bound: u64 },
    Alone { slot: u64, stake: u64 },
}

/// What all voters can see.
pub struct View<'a> {
    pub tree: &'a Tree,
    /// Blocks up to this one are made.
    pub round: usize,
    pub histories: &'a [History],
    pub stakes: &'a [u64],
    /// Trunk slots voted for before, by voter.
    pub before: &'a [Vec<u64>],
    /// Whether votes are heard before blocks carry them.
    pub hears: bool,
}

/// A promise: the slot, and how often it was confirmed.
pub type Promise = (u64, u32);

/// Through which slot it binds.
pub fn until((slot, confirmations): Promise) -> u64 {
    slot + 2_u64.pow(confirmations)
}

/// Promises after a vote: what has expired goes, newest first until one has not; each has at least as many
/// confirmations as votes lie from it to the top.
pub fn after(promises: &[Promise], slot: u64) -> Vec<Promise> {
    let kept = promises.iter().rposition(|&promise| until(promise) >= slot).map_or(0, |at| at + 1);
    let mut all = promises[..kept].to_vec();
    all.push((slot, 1));
    let height = all.len();
    for (place, promise) in all.iter_mut().enumerate() {
        promise.1 = promise.1.max(u32::try_from(height - place).unwrap());
    }
    all
}

impl View<'_> {
    pub fn promises(&self, voter: usize, history: &History) -> Vec<Promise> {
        let slots = history.blocks().map(|block| self.tree.slots[block]);
        self.before[voter].iter().copied().chain(slots).fold(Vec::new(), |promises, slot| after(&promises, slot))
    }

    fn share(&self, stake: u64) -> (u64, u64) {
        (stake, self.stakes.iter().sum())
    }

    /// Stake bound to stay away from the fork of the block `last`, for one who wants to go to `to`.
    fn bound(&self, last: usize, to: usize) -> u64 {
        let tree = self.tree;
        let counts = |block: usize| {
            block != 0
                && !tree.is_on(block, last)
                && to != tree.shared(block, last)
                && tree.is_on(to, tree.shared(block, last))
        };
        let tips = tree.tips(self.round);
        let by_blocks = |voter: usize| {
            tips.iter().filter(|tip| counts(**tip)).any(|tip| {
                let known = self.histories[voter].known_to(tree, *tip);
                self.promises(voter, &known).into_iter().any(|promise| {
                    let block = tree.block_at(promise.0);
                    block != 0 && !tree.is_on(last, block) && until(promise) >= tree.slots[last]
                })
            })
        };
        let by_hearsay = |voter: usize| {
            let newest = self.histories[voter].last().filter(|_| self.hears);
            newest.is_some_and(|block| tree.slots[block] > tree.slots[last] && counts(block))
        };
        let enough = |stake: u64| {
            let (stake, total) = self.share(stake);
            stake * 100 > total * 38
        };
        // Who is asked first does not matter for the answer, but for how much was found when it was enough.
        let mut bound = 0;
        for voter in (0..self.stakes.len()).filter(|&voter| by_blocks(voter) || by_hearsay(voter)) {
            if !enough(bound) {
                bound += self.stakes[voter];
            }
        }
        bound
    }

    /// Stake that is known, in `block`, to have voted for `slot` or above it.
    pub fn behind(&self, block: usize, slot: u64) -> u64 {
        let newest = |voter: usize| {
            let known = self.histories[voter].known_to(self.tree, block);
            self.promises(voter, &known).last().map(|promise| promise.0)
        };
        (0..self.stakes.len()).filter(|&voter| newest(voter) >= Some(slot)).map(|voter| self.stakes[voter]).sum()
    }

    pub fn answer(&self, voter: usize, to: usize) -> Answer {
        let (tree, history) = (self.tree, &self.histories[voter]);
        let slot = tree.slots[to];
        if history.last().is_some_and(|last| tree.slots[last] >= slot) {
            return Answer::NotNewer;
        }
        let old = self.promises(voter, history);
        let new = after(&old, slot);
        let broken = new.iter().find(|promise| !tree.is_on(to, tree.block_at(promise.0)));
        if let Some(&(by, _)) = broken {
            return Answer::LockedOut { by };
        }
        let mut switches = false;
        if let Some(last) = history.last().filter(|&last| !tree.is_on(to, last)) {
            let bound = self.bound(last, to);
            let (stake, total) = self.share(bound);
            if stake * 100 <= total * 38 {
                return Answer::NoProof { bound };
            }
            switches = true;
        }
        if let Some(&deep) = new.iter().rev().nth(8).filter(|deep| !old.contains(deep)) {
            let (stake, total) = self.share(self.behind(to, deep.0));
            if stake * 3 <= total * 2 {
                return Answer::Alone { slot: deep.0, stake };
            }
        }
        Answer::Yes { switches }
    }
}
