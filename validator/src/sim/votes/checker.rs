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

/// What an honest voter said last.
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
    total: u64,
    /// Whether optimistic confirmation must hold: only while at most 4 % of the stake lies.
    confirmations_bind: bool,
    blocks: Vec<Seen>,
    places: BTreeMap<BlockKey, u32>,
    executed: BTreeMap<Hash, Hash>,
    said: Vec<Option<Said>>,
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
            total,
            confirmations_bind: lying * 100 <= total * 4,
            blocks: Vec::new(),
            places: BTreeMap::new(),
            executed: BTreeMap::new(),
            said: vec![None; voters.len()],
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
        let stack = vote.slots.clone();
        self.said[voter] = Some(Said { block, stack, root: vote.root.unwrap_or(0) });
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
        self.roots.fill(0);
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
        let stake = self.stake(self.at(block).voted);
        if stake * 3 <= self.total * 2 && self.slot(block) > self.slot(self.top_root.0) {
            return Err(Violation::Unconfirmed { node, slot, stake, total: self.total });
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

    fn stake(&self, voters: u64) -> u64 {
        self.voters.iter().enumerate().filter(|(n, _)| voters & (1 << n) != 0).map(|(_, voter)| voter.stake).sum()
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
