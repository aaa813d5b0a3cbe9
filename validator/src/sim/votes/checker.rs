//! The judge: whether what nodes say on the wire keeps the rules of Tower BFT. It knows facts only and shares no code
//! with the machines that it watches.
//!
//! ```text
//!   blocks, votes as they leave, roots, confirmations ---> Checker ---> nothing, or the first Violation with its facts
//! ```
//!
//! It sees every vote the moment it leaves, so what it counts as visible is at least what any node could have seen.
//! Where it says that a proof is missing, no node had one.

mod judge;
mod violation;

pub use judge::Standstill;
pub use violation::Violation;

use std::collections::BTreeMap;
use sundog_types::{Hash, Pubkey, Slot, vote::VoteOnWire};

/// A block: its slot and its bank hash.
pub type BlockKey = (Slot, Hash);

/// Votes counted by bits of a word, so there are no more voters than that.
pub const MAX_VOTERS: usize = 64;

/// Who votes.
#[derive(Clone, Copy, Debug)]
pub struct Voter {
    /// Its vote account.
    pub account: Pubkey,
    /// Its stake, in lamports.
    pub stake: u64,
    /// Whether it follows the rules. Who does not is only counted.
    pub honest: bool,
}

/// A block as the judge knows it.
#[derive(Clone, Debug)]
struct Seen {
    slot: Slot,
    hash: Hash,
    parent: u32,
    /// Who voted for exactly this block, a bit for each.
    voted: u64,
    /// Who voted for it or for a descendant.
    behind: u64,
    /// By voter: the last slot at which a vote for this block binds, as far as it was ever said; 0 without one.
    binds: Vec<u64>,
}

/// What a voter said.
#[derive(Clone, Debug)]
struct Said {
    block: u32,
    /// Slots and confirmation counts, oldest first.
    stack: Vec<(u64, u32)>,
    root: u64,
}

/// Watches a cluster.
#[derive(Clone, Debug)]
pub struct Checker {
    voters: Vec<Voter>,
    by_account: BTreeMap<Pubkey, usize>,
    /// By the first slot of an epoch: the voters' stakes for the blocks from there on.
    stakes: BTreeMap<Slot, Vec<u64>>,
    /// Whether optimistic confirmation must hold: only while at most 4 % of the stake lies.
    confirmations_bind: bool,
    blocks: Vec<Seen>,
    places: BTreeMap<BlockKey, u32>,
    executed: BTreeMap<Hash, Hash>,
    said: Vec<Option<Said>>,
    /// Every vote, and whose it is.
    told: Vec<(usize, Said)>,
    roots: Vec<u32>,
    /// The newest root of any honest node, and whose it is.
    top_root: (u32, usize),
    /// The newest confirmed block.
    top_confirmed: u32,
    abandoned: u64,
}

impl Checker {
    /// A judge who knows the block that all start from.
    ///
    /// # Panics
    /// If there are more than [`MAX_VOTERS`].
    #[must_use]
    pub fn new(voters: Vec<Voter>, start: BlockKey) -> Self {
        assert!(voters.len() <= MAX_VOTERS, "{} voters, but at most {MAX_VOTERS} can be counted", voters.len());
        let total: u64 = voters.iter().map(|voter| voter.stake).sum();
        let lying: u64 = voters.iter().filter(|voter| !voter.honest).map(|voter| voter.stake).sum();
        let mut this = Self {
            by_account: voters.iter().enumerate().map(|(node, voter)| (voter.account, node)).collect(),
            stakes: BTreeMap::from([(Slot::ZERO, voters.iter().map(|voter| voter.stake).collect())]),
            confirmations_bind: lying * 100 <= total * 4,
            blocks: Vec::new(),
            places: BTreeMap::new(),
            executed: BTreeMap::new(),
            said: vec![None; voters.len()],
            told: Vec::new(),
            roots: vec![0; voters.len()],
            top_root: (0, 0),
            top_confirmed: 0,
            abandoned: 0,
            voters,
        };
        this.add(start, 0);
        this
    }

    fn add(&mut self, key: BlockKey, parent: u32) {
        let place = u32::try_from(self.blocks.len()).expect("blocks of a run are few");
        let binds = vec![0; self.voters.len()];
        self.blocks.push(Seen { slot: key.0, hash: key.1, parent, voted: 0, behind: 0, binds });
        self.places.insert(key, place);
    }

    /// From this slot on, the first of an epoch, votes weigh this, in the order of the voters.
    ///
    /// # Panics
    /// If there is not one number for each voter.
    pub fn epoch(&mut self, first: Slot, stakes: Vec<u64>) {
        assert_eq!(stakes.len(), self.voters.len(), "each voter has a stake, or none: 0");
        self.stakes.insert(first, stakes);
    }

    /// A block exists: somebody executed it. Blocks come after their parents; one whose parent is not known is not
    /// noted.
    ///
    /// # Errors
    /// If the same block was said to have another parent.
    pub fn block(&mut self, slot: Slot, hash: Hash, parent: BlockKey) -> Result<(), Violation> {
        let Some(&parent) = self.places.get(&parent) else { return Ok(()) };
        match self.places.get(&(slot, hash)) {
            Some(&known) if self.blocks[known as usize].parent != parent => Err(Violation::TwoParents {
                slot,
                hash,
                parents: [self.slot(self.at(known).parent), self.slot(parent)],
            }),
            Some(_) => Ok(()),
            None => {
                self.add((slot, hash), parent);
                Ok(())
            }
        }
    }

    /// A node executed the content that `content` stands for (a block id), and got this bank hash.
    ///
    /// # Errors
    /// If another node got another one.
    pub fn executed(&mut self, node: usize, slot: Slot, content: Hash, hash: Hash) -> Result<(), Violation> {
        let first = *self.executed.entry(content).or_insert(hash);
        if first == hash { Ok(()) } else { Err(Violation::HashesDiffer { node, slot, hashes: [first, hash] }) }
    }

    /// A vote leaves a node. Votes sent again may be told again.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn vote(&mut self, node: usize, vote: &VoteOnWire) -> Result<(), Violation> {
        let Some(&(last, _)) = vote.slots.last() else { return Ok(()) };
        let slot = Slot::new(last);
        let Some(&voter) = self.by_account.get(&vote.vote_account) else { return Ok(()) };
        let Some(&block) = self.places.get(&(slot, vote.hash)) else {
            let honest = self.voters[voter].honest;
            return if honest { Err(Violation::UnknownBlock { node, slot, hash: vote.hash }) } else { Ok(()) };
        };
        let judged = if self.voters[voter].honest { self.judge(voter, block, vote) } else { Ok(()) };
        self.count(voter, block, vote);
        let said = Said { block, stack: vote.slots.clone(), root: vote.root.unwrap_or(0) };
        self.told.push((voter, said.clone()));
        // Of two machines that vote for one liar, the newer vote weighs.
        let newest = self.said[voter].as_ref().is_none_or(|said| self.slot(said.block) <= slot);
        if newest || self.voters[voter].honest {
            self.said[voter] = Some(said);
        }
        judged
    }

    /// Adds the vote to what is visible.
    fn count(&mut self, voter: usize, block: u32, vote: &VoteOnWire) {
        let bit = 1 << voter;
        self.blocks[block as usize].voted |= bit;
        let mut at = block;
        while self.at(at).behind & bit == 0 {
            self.blocks[at as usize].behind |= bit;
            at = self.at(at).parent;
        }
        let mut at = block;
        for &(slot, count) in vote.slots.iter().rev() {
            at = self.not_above(at, Slot::new(slot));
            if self.at(at).slot.get() == slot {
                let binds = &mut self.blocks[at as usize].binds[voter];
                *binds = judge::last_bound(slot, count).max(*binds);
            }
        }
    }

    /// A node died, and may start again from an older root: what it roots then must be in one line with all other roots,
    /// those of its earlier life among them.
    pub fn died(&mut self, node: usize) {
        self.roots[node] = 0;
    }

    /// The operators restarted the cluster from one block: what was promised, rooted and confirmed before binds nobody any
    /// more.
    pub fn restarted(&mut self) {
        self.said.fill(None);
        self.told.clear();
        self.roots.fill(0);
        // The block that they go on from has another bank hash now.
        self.executed.clear();
        (self.top_root, self.top_confirmed) = ((0, 0), 0);
    }

    /// A node says that a block is its root.
    ///
    /// # Errors
    /// If it goes back, leaves its own or another node's root, or a confirmed block behind.
    pub fn root(&mut self, node: usize, slot: Slot, hash: Hash) -> Result<(), Violation> {
        let Some(&block) = self.places.get(&(slot, hash)) else {
            return Err(Violation::UnknownBlock { node, slot, hash });
        };
        let before = self.roots[node];
        if !self.descends(block, before) {
            return Err(Violation::RootWentBack { node, from: self.slot(before), to: slot });
        }
        self.roots[node] = block;
        let (top, other) = self.top_root;
        if !self.one_line(block, top) {
            let roots = [(other, self.slot(top)), (node, slot)];
            return Err(Violation::RootConflict { roots });
        }
        if self.descends(block, top) {
            self.top_root = (block, node);
        }
        self.stands(node, block)
    }

    /// Whether the newest confirmed block is on the rooted line.
    fn stands(&mut self, node: usize, root: u32) -> Result<(), Violation> {
        if self.one_line(self.top_confirmed, root) {
            return Ok(());
        }
        let confirmed = std::mem::replace(&mut self.top_confirmed, root);
        self.abandoned += 1;
        let violation = Violation::Abandoned { node, confirmed: self.slot(confirmed), root: self.slot(root) };
        if self.confirmations_bind { Err(violation) } else { Ok(()) }
    }

    /// A node says that a block is optimistically confirmed.
    ///
    /// # Errors
    /// If too few voted for it, or another confirmed block or a root is on another fork.
    pub fn confirmed(&mut self, node: usize, slot: Slot, hash: Hash) -> Result<(), Violation> {
        let Some(&block) = self.places.get(&(slot, hash)) else {
            return Err(Violation::UnknownBlock { node, slot, hash });
        };
        let (stake, total) = self.stake(self.at(block).voted, slot);
        if stake * 3 <= total * 2 && slot > self.slot(self.top_root.0) {
            return Err(Violation::Unconfirmed { node, slot, stake, total });
        }
        if !self.one_line(block, self.top_confirmed) {
            let violation = Violation::ConfirmedConflict { node, slots: [self.slot(self.top_confirmed), slot] };
            self.abandoned += 1;
            return if self.confirmations_bind { Err(violation) } else { Ok(()) };
        }
        if self.descends(block, self.top_confirmed) {
            self.top_confirmed = block;
        }
        self.stands(node, self.top_root.0)
    }

    /// Confirmed blocks that were left behind. More than none is no violation once more than 4 % of the stake lies.
    #[must_use]
    pub const fn abandoned(&self) -> u64 {
        self.abandoned
    }

    /// The newest root of any node.
    #[must_use]
    pub fn newest_root(&self) -> Slot {
        self.slot(self.top_root.0)
    }

    fn at(&self, block: u32) -> &Seen {
        &self.blocks[block as usize]
    }

    fn slot(&self, block: u32) -> Slot {
        self.at(block).slot
    }

    /// What these voters weigh in the epoch of a slot, and what all do.
    fn stake(&self, voters: u64, slot: Slot) -> (u64, u64) {
        let (_, stakes) = self.stakes.range(..=slot).next_back().expect("there is an epoch from the first slot on");
        let theirs = stakes.iter().enumerate().filter(|(n, _)| voters & (1 << n) != 0).map(|(_, stake)| *stake);
        (theirs.sum(), stakes.iter().sum())
    }

    /// The newest of the block and its ancestors that is not newer than `slot`.
    fn not_above(&self, mut block: u32, slot: Slot) -> u32 {
        while self.slot(block) > slot && block != 0 {
            block = self.at(block).parent;
        }
        block
    }

    /// Whether `block` is `ancestor` or descends from it.
    fn descends(&self, block: u32, ancestor: u32) -> bool {
        self.not_above(block, self.slot(ancestor)) == ancestor
    }

    fn one_line(&self, a: u32, b: u32) -> bool {
        self.descends(a, b) || self.descends(b, a)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: BlockKey = (Slot::ZERO, Hash::new_from_array([0; 32]));

    /// A voter, the version of the block that it votes for, and its tower.
    type Told<'a> = (usize, u8, &'a [(u64, u32)]);

    fn hash(slot: u64, version: u8) -> Hash {
        let mut bytes = [version; 32];
        bytes[..8].copy_from_slice(&slot.to_le_bytes());
        Hash::new_from_array(bytes)
    }

    fn key(slot: u64, version: u8) -> BlockKey {
        if slot == 0 { START } else { (Slot::new(slot), hash(slot, version)) }
    }

    fn account(voter: usize) -> Pubkey {
        Pubkey::new_from_array([voter as u8 + 1; 32])
    }

    /// Honest voters with 40, 30, 20 and 7 %, and a liar with 3 %; blocks of slots 1 to 40 in a row, version 0, and of 2 to 40
    /// in a row on block 1, version 1.
    fn judge_of(stakes: [u64; 5]) -> Checker {
        let voter = |(n, stake)| Voter { account: account(n), stake, honest: n < 4 };
        let mut judge = Checker::new(stakes.into_iter().enumerate().map(voter).collect(), START);
        for version in [0, 1] {
            for slot in 1 + u64::from(version)..=40 {
                let parent = if slot == 2 { key(1, 0) } else { key(slot - 1, version) };
                judge.block(Slot::new(slot), hash(slot, version), parent).expect("a new block");
            }
        }
        judge
    }

    fn judge() -> Checker {
        judge_of([40, 30, 20, 7, 3])
    }

    fn vote(voter: usize, version: u8, slots: &[(u64, u32)]) -> VoteOnWire {
        VoteOnWire {
            vote_account: account(voter),
            slots: slots.to_vec(),
            root: Some(0),
            hash: slots.last().map_or(START.1, |(slot, _)| hash(*slot, version)),
            block_id: Hash::default(),
            timestamp: None,
            switch: false,
        }
    }

    /// What comes of the last of some votes, when all before it are fine.
    #[track_caller]
    fn last(judge: &mut Checker, votes: &[Told<'_>]) -> Result<(), Violation> {
        let (last, before) = votes.split_last().expect("some votes");
        for (voter, version, slots) in before {
            judge.vote(*voter, &vote(*voter, *version, slots)).expect("a fine vote");
        }
        judge.vote(last.0, &vote(last.0, last.1, last.2))
    }

    #[track_caller]
    fn found(kind: &str, result: Result<(), Violation>) {
        assert_eq!(result.expect_err("a violation").kind(), kind);
    }

    #[test]
    fn votes_weigh_what_the_epoch_of_their_slot_says() {
        let mut judge = judge();
        judge.epoch(Slot::new(21), vec![3, 30, 20, 40, 7]);
        for voter in [0, 1] {
            judge.vote(voter, &vote(voter, 0, &[(20, 1)])).expect("a fine vote");
            judge.vote(voter, &vote(voter, 0, &[(20, 2), (21, 1)])).expect("another");
        }
        let confirmed = |judge: &mut Checker, slot| judge.confirmed(0, Slot::new(slot), hash(slot, 0));
        assert_eq!(confirmed(&mut judge, 20), Ok(()), "70 %");
        found("unconfirmed", confirmed(&mut judge, 21));
        judge.vote(3, &vote(3, 0, &[(21, 1)])).expect("a fine vote");
        assert_eq!(confirmed(&mut judge, 21), Ok(()), "73 %");
    }

    #[test]
    fn a_voter_that_follows_one_fork_is_fine() {
        let votes: &[Told<'_>] =
            &[(0, 0, &[(1, 1)]), (0, 0, &[(1, 2), (2, 1)]), (0, 0, &[(1, 2), (2, 1)]), (0, 0, &[(1, 2), (5, 1)])];
        assert_eq!(last(&mut judge(), votes), Ok(()), "it votes, sends it again, and skips slots");
    }

    #[test]
    fn a_vote_that_still_binds_is_not_left_behind() {
        found("promise_broken", last(&mut judge(), &[(0, 0, &[(2, 1)]), (0, 1, &[(3, 1)])]));
        // Towers name slots only: one that keeps the slot has still left the block.
        found("no_switch_proof", last(&mut judge(), &[(0, 0, &[(2, 1)]), (0, 1, &[(2, 2), (3, 1)])]));
    }

    #[test]
    fn a_fork_is_left_only_with_more_than_38_percent_bound_elsewhere() {
        let votes: &[Told<'_>] = &[(0, 0, &[(2, 1)]), (1, 1, &[(5, 1)]), (0, 1, &[(9, 1)])];
        found("no_switch_proof", last(&mut judge(), votes));
        let more: &[Told<'_>] = &[(0, 0, &[(2, 1)]), (1, 1, &[(5, 1)]), (2, 1, &[(5, 1)]), (0, 1, &[(9, 1)])];
        assert_eq!(last(&mut judge(), more), Ok(()), "50 % are");
        let expired: &[Told<'_>] = &[(1, 1, &[(5, 1)]), (2, 1, &[(5, 1)]), (0, 0, &[(20, 1)]), (0, 1, &[(30, 1)])];
        found("no_switch_proof", last(&mut judge(), expired));
    }

    #[test]
    fn a_version_that_lost_is_left_without_proof() {
        let votes: &[Told<'_>] = &[(3, 0, &[(2, 1)]), (0, 1, &[(2, 1)]), (1, 1, &[(2, 1)]), (3, 1, &[(9, 1)])];
        assert_eq!(last(&mut judge(), votes), Ok(()), "70 % have the other");
    }

    #[test]
    fn one_votes_once_for_a_slot_and_never_back() {
        found("voted_twice", last(&mut judge(), &[(0, 0, &[(2, 1)]), (0, 1, &[(2, 1)])]));
        found("went_back", last(&mut judge(), &[(0, 0, &[(3, 1)]), (0, 0, &[(2, 1)])]));
        let mut judge = judge();
        judge.vote(0, &VoteOnWire { root: Some(1), ..vote(0, 0, &[(3, 1)]) }).expect("fine");
        found("went_back", judge.vote(0, &vote(0, 0, &[(4, 1)])));
    }

    #[test]
    fn a_tower_is_what_its_votes_add_up_to() {
        found("no_tower", last(&mut judge(), &[(0, 0, &[(2, 1), (3, 1)])]));
        found("no_tower", last(&mut judge(), &[(0, 0, &[(2, 0)])]));
        found("no_tower", last(&mut judge(), &[(0, 0, &[(2, 2), (9, 1)])]));
        found("no_tower", last(&mut judge(), &[(0, 0, &[(1, 3), (2, 2), (3, 1)]), (0, 0, &[(1, 3), (2, 2), (4, 1)])]));
        let many: Vec<(u64, u32)> = (1..=32).map(|slot| (slot, 33 - slot as u32)).collect();
        found("no_tower", judge().vote(0, &vote(0, 0, &many)));
    }

    #[test]
    fn nothing_is_buried_that_two_thirds_do_not_stand_behind() {
        let nine: Vec<(u64, u32)> = (1..=9).map(|slot| (slot, 10 - slot as u32)).collect();
        found("buried", last(&mut judge(), &[(0, 0, &nine)]));
        let behind: &[Told<'_>] = &[(0, 0, &[(1, 1)]), (1, 0, &[(2, 1)]), (0, 0, &nine)];
        assert_eq!(last(&mut judge(), behind), Ok(()), "70 % with its own");
        assert_eq!(last(&mut judge(), &[(0, 0, &nine[..8])]), Ok(()), "eight are not deep");
    }

    #[test]
    fn nobody_speaks_of_blocks_that_nobody_executed() {
        found("unknown_block", last(&mut judge(), &[(0, 7, &[(2, 1)])]));
        found("unknown_block", judge().root(0, Slot::new(2), hash(2, 7)));
        found("unknown_block", judge().confirmed(0, Slot::new(2), hash(2, 7)));
        assert_eq!(last(&mut judge(), &[(4, 7, &[(2, 1)])]), Ok(()), "a liar may");
    }

    #[test]
    fn liars_are_counted_and_not_judged() {
        let votes: &[Told<'_>] = &[(4, 0, &[(2, 1)]), (4, 1, &[(2, 1)]), (4, 0, &[(3, 1), (4, 1)])];
        assert_eq!(last(&mut judge(), votes), Ok(()));
    }

    #[test]
    fn roots_are_on_one_line_and_only_grow() {
        let mut judge = judge();
        let root = |judge: &mut Checker, node, (slot, hash)| judge.root(node, slot, hash);
        assert_eq!(root(&mut judge, 0, key(5, 0)), Ok(()));
        assert_eq!(root(&mut judge, 1, key(3, 0)), Ok(()), "one may be behind");
        assert_eq!(root(&mut judge, 0, key(5, 0)), Ok(()), "or say it twice");
        found("root_went_back", root(&mut judge, 0, key(4, 0)));
        found("root_conflict", root(&mut judge, 2, key(2, 1)));
        judge.died(1);
        assert_eq!(root(&mut judge, 1, key(1, 0)), Ok(()), "after a crash it starts from an older one");
    }

    #[test]
    fn two_thirds_confirm_and_what_is_confirmed_stays() {
        let mut judge = judge();
        last(&mut judge, &[(0, 0, &[(2, 1)]), (2, 0, &[(2, 1)]), (3, 0, &[(3, 1)])]).expect("fine");
        found("unconfirmed", judge.confirmed(0, Slot::new(2), hash(2, 0)));
        last(&mut judge, &[(1, 0, &[(2, 1)])]).expect("fine");
        assert_eq!(judge.confirmed(0, Slot::new(2), hash(2, 0)), Ok(()));
        found("abandoned", judge.clone().root(3, Slot::new(4), hash(4, 1)));
        // Liars have 3 %: even so no other version can be confirmed. Were it to happen, it is told.
        for voter in &mut judge.voters {
            voter.honest = false;
        }
        last(&mut judge, &[(0, 1, &[(5, 1)]), (1, 1, &[(5, 1)])]).expect("liars are not judged");
        found("confirmed_conflict", judge.confirmed(0, Slot::new(5), hash(5, 1)));
    }

    #[test]
    fn with_more_than_4_percent_lying_confirmations_may_be_left_behind_and_are_counted() {
        let mut judge = judge_of([40, 30, 18, 7, 5]);
        last(&mut judge, &[(0, 0, &[(2, 1)]), (1, 0, &[(2, 1)])]).expect("fine");
        assert_eq!(judge.confirmed(0, Slot::new(2), hash(2, 0)), Ok(()));
        assert_eq!(judge.root(3, Slot::new(4), hash(4, 1)), Ok(()));
        assert_eq!(judge.abandoned(), 1);
    }

    #[test]
    fn a_promise_holds_through_its_last_slot_and_not_beyond() {
        // 60 % are bound to the other fork: who is free may go there.
        let elsewhere: [Told<'_>; 2] = [(1, 1, &[(9, 1)]), (2, 1, &[(9, 1)])];
        let leaves = |slot: u64| {
            let mut judge = judge_of([37, 30, 30, 0, 3]);
            last(&mut judge, &elsewhere).expect("fine");
            last(&mut judge, &[(0, 0, &[(8, 1)]), (0, 1, &[(slot, 1)])])
        };
        found("promise_broken", leaves(10));
        assert_eq!(leaves(11), Ok(()), "the vote for 8 binds through 10");
    }

    #[test]
    fn the_root_that_a_vote_names_is_on_its_line() {
        let rooted = |version, slot| {
            let vote = VoteOnWire { root: Some(3), ..vote(0, version, &[(slot, 1)]) };
            let mut judge = judge();
            // Slot 3 was skipped on the way to this block.
            judge.block(Slot::new(41), hash(41, 2), key(2, 1)).expect("a new block");
            judge.vote(0, &vote)
        };
        assert_eq!(rooted(1, 4), Ok(()));
        found("promise_broken", rooted(2, 41));
    }

    #[test]
    fn a_promise_may_be_deeper_than_the_votes_that_were_heard_and_never_less_deep() {
        // A vote that was decided before a crash and never left has made the others deeper.
        let votes: &[Told<'_>] = &[(0, 0, &[(1, 2), (2, 1)]), (0, 0, &[(1, 4), (2, 3), (4, 1)])];
        assert_eq!(last(&mut judge(), votes), Ok(()));
        let votes: &[Told<'_>] = &[(0, 0, &[(1, 3), (2, 2)]), (0, 0, &[(1, 3), (2, 2), (3, 1)])];
        assert_eq!(last(&mut judge(), votes), Ok(()), "as deep as said");
        let votes: &[Told<'_>] = &[(0, 0, &[(1, 4), (2, 3)]), (0, 0, &[(1, 4), (2, 2), (3, 1)])];
        found("no_tower", last(&mut judge(), votes));
    }

    #[test]
    fn exactly_38_percent_are_no_proof_and_exactly_two_thirds_neither_confirm_nor_bury() {
        let leaves = |bound| {
            let votes: &[Told<'_>] = &[(0, 0, &[(2, 1)]), (1, 1, &[(5, 1)]), (0, 1, &[(9, 1)])];
            last(&mut judge_of([30, bound, 70 - bound, 0, 0]), votes)
        };
        found("no_switch_proof", leaves(38));
        assert_eq!(leaves(39), Ok(()));
        let nine: Vec<(u64, u32)> = (1..=9).map(|slot| (slot, 10 - slot as u32)).collect();
        for (stakes, enough) in [([40, 20, 30, 0, 0], false), ([41, 20, 29, 0, 0], true)] {
            let votes: &[Told<'_>] = &[(0, 0, &[(1, 1)]), (1, 0, &[(1, 1)])];
            let mut judge = judge_of(stakes);
            last(&mut judge, votes).expect("fine");
            assert_eq!(judge.clone().confirmed(2, Slot::new(1), hash(1, 0)).is_ok(), enough, "{stakes:?}");
            assert_eq!(last(&mut judge, &[(0, 0, &nine)]).is_ok(), enough, "{stakes:?}");
        }
    }

    #[test]
    fn confirmations_on_one_line_are_fine_in_any_order_and_what_is_rooted_needs_no_votes() {
        let mut judge = judge();
        last(&mut judge, &[(0, 0, &[(2, 1)]), (1, 0, &[(2, 1)]), (0, 0, &[(2, 2), (3, 1)]), (1, 0, &[(2, 2), (3, 1)])])
            .expect("fine");
        assert_eq!(judge.confirmed(0, Slot::new(3), hash(3, 0)), Ok(()));
        assert_eq!(judge.confirmed(1, Slot::new(2), hash(2, 0)), Ok(()), "who hears late tells late");
        assert_eq!(judge.root(0, Slot::new(5), hash(5, 0)), Ok(()));
        assert_eq!(judge.confirmed(2, Slot::new(4), hash(4, 0)), Ok(()), "its votes ran out before they left");
        found("unconfirmed", judge.confirmed(2, Slot::new(6), hash(6, 0)));
    }

    #[test]
    fn a_restart_of_all_frees_everybody() {
        let mut judge = judge();
        last(&mut judge, &[(0, 0, &[(2, 1)])]).expect("fine");
        judge.root(0, Slot::new(2), hash(2, 0)).expect("fine");
        let mut bound = judge.clone();
        found("root_conflict", bound.root(1, Slot::new(2), hash(2, 1)));
        found("promise_broken", last(&mut bound, &[(0, 1, &[(3, 1)])]));
        judge.restarted();
        assert_eq!(judge.root(1, Slot::new(2), hash(2, 1)), Ok(()));
        assert_eq!(last(&mut judge, &[(0, 1, &[(3, 1)])]), Ok(()));
    }

    #[test]
    fn equal_blocks_give_equal_hashes_and_have_one_parent() {
        let mut judge = judge();
        assert_eq!(judge.executed(0, Slot::new(2), hash(2, 9), hash(2, 0)), Ok(()));
        assert_eq!(judge.executed(1, Slot::new(2), hash(2, 9), hash(2, 0)), Ok(()));
        found("hashes_differ", judge.executed(2, Slot::new(2), hash(2, 9), hash(2, 1)));
        assert_eq!(judge.block(Slot::new(3), hash(3, 0), key(2, 0)), Ok(()));
        found("two_parents", judge.block(Slot::new(3), hash(3, 0), key(2, 1)));
    }

    #[test]
    fn a_standstill_is_one_only_where_the_rules_let_nobody_go_on() {
        let mut all = judge();
        last(&mut all, &[(0, 0, &[(2, 1)]), (1, 0, &[(3, 1)])]).expect("fine");
        assert_eq!(all.standstill(), None, "70 % are on one fork");
        let mut apart = judge_of([30, 30, 20, 17, 3]);
        last(&mut apart, &[(0, 0, &[(2, 1)]), (1, 1, &[(2, 1)])]).expect("fine");
        assert_eq!(apart.standstill(), Some(Standstill::Divided), "30 % are no proof for either, the others silent");
        last(&mut apart, &[(2, 1, &[(2, 1)])]).expect("fine");
        assert_eq!(apart.standstill(), Some(Standstill::Versions), "50 % are, but on a version without 52 %");
        last(&mut apart, &[(4, 1, &[(2, 1)])]).expect("fine");
        assert_eq!(apart.standstill(), Some(Standstill::Versions), "53 % have it, and the other is still open to 30 %");
    }

    #[test]
    fn what_is_bound_to_a_version_without_52_percent_may_be_seen_by_nobody_and_anything_else_by_all() {
        let standstill = |version, bound: &[(u64, u32)]| {
            let mut judge = judge_of([30, 30, 20, 17, 3]);
            for (slot, parent) in [(41, 1), (42, 1), (43, 1), (44, 42)] {
                judge.block(Slot::new(slot), hash(slot, 0), key(parent, 0)).expect("a new block");
            }
            last(&mut judge, &[(0, 0, &[(41, 1)]), (1, 0, &[(43, 1)]), (2, version, bound)]).expect("fine");
            judge.standstill()
        };
        let versions = standstill(1, &[(39, 2), (40, 1)]);
        assert_eq!(versions, Some(Standstill::Versions), "50 % are bound elsewhere, 20 % of them to a version");
        assert_eq!(standstill(0, &[(42, 2), (44, 1)]), None, "there is no other block of their slots");
    }
}
