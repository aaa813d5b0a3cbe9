//! A small world: a tree of blocks, who voted for what in which round, and what each block knows of that.

/// Rounds and blocks at most.
pub const MAX_BLOCKS: usize = 6;

/// Blocks above a trunk that everybody has. Block 0 is the trunk's tip and the root; block `k` is made in round `k`.
#[derive(Clone, Debug)]
pub struct Tree {
    pub slots: Vec<u64>,
    pub parents: Vec<usize>,
}

impl Tree {
    /// A block, its parent, and so on to the root.
    pub fn line(&self, block: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(block), |&block| (block > 0).then(|| self.parents[block]))
    }

    /// Whether `new` is `old` or descends from it.
    pub fn is_on(&self, new: usize, old: usize) -> bool {
        self.line(new).any(|block| block == old)
    }

    /// The newest block that both descend from, or are.
    pub fn shared(&self, a: usize, b: usize) -> usize {
        self.line(a).find(|&block| self.is_on(b, block)).unwrap_or(0)
    }

    /// The block of a slot; trunk slots are the root's.
    pub fn block_at(&self, slot: u64) -> usize {
        self.slots.iter().position(|&known| known == slot).unwrap_or(0)
    }

    /// Blocks of the first `round` rounds that none of them is built on.
    pub fn tips(&self, round: usize) -> Vec<usize> {
        (0..=round).filter(|block| !self.parents[1..=round].contains(block)).collect()
    }
}

/// Every tree whose blocks have these slots.
pub fn trees(slots: &[u64]) -> Vec<Tree> {
    let mut all = vec![vec![0]];
    for block in 1..slots.len() {
        all = all
            .into_iter()
            .flat_map(|parents| (0..block).map(move |parent| [parents.as_slice(), &[parent]].concat()))
            .collect();
    }
    all.into_iter().map(|parents| Tree { slots: slots.to_vec(), parents }).collect()
}

/// What one voter did: blocks and rounds, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct History {
    len: u8,
    votes: [(u8, u8); MAX_BLOCKS + 1],
}

impl History {
    pub fn with(mut self, block: usize, round: usize) -> Self {
        self.votes[usize::from(self.len)] = (u8::try_from(block).unwrap(), u8::try_from(round).unwrap());
        self.len += 1;
        self
    }

    pub fn blocks(&self) -> impl Iterator<Item = usize> + '_ {
        self.entries().map(|(block, _)| block)
    }

    fn entries(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.votes[..usize::from(self.len)].iter().map(|&(block, round)| (usize::from(block), usize::from(round)))
    }

    pub fn last(&self) -> Option<usize> {
        self.blocks().last()
    }

    /// What a block knows of it: all up to the newest vote that was cast before the block was made and is for one of
    /// its ancestors.
    pub fn known_to(&self, tree: &Tree, block: usize) -> Self {
        let parent = tree.parents[block];
        let landed = |(voted, round): (usize, usize)| round < block && tree.is_on(parent, voted);
        let count = self.entries().collect::<Vec<_>>().iter().rposition(|&vote| landed(vote)).map_or(0, |at| at + 1);
        let mut known = Self::default();
        for (voted, round) in self.entries().take(count) {
            known = known.with(voted, round);
        }
        known
    }
}
