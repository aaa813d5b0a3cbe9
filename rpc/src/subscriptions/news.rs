//! Which blocks are news at which commitment.

use super::FrozenBlock;
use crate::commitment::Commitment;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use sundog_types::Slot;

/// How many blocks wait to become surer. A root is 32 blocks behind when all goes well; this is
/// enough for minutes without one. Full: the oldest block goes, and is not told of at the
/// commitments it has not reached.
pub(super) const BLOCKS_MAX: usize = 512;

/// Blocks that have been executed, and at which commitments they have been told of.
#[derive(Default)]
pub(super) struct News {
    blocks: BTreeMap<Slot, Arc<FrozenBlock>>,
    told: [BTreeSet<Slot>; 3],
}

impl News {
    /// Keeps a block until it is told of as finalized.
    pub(super) fn keep(&mut self, block: Arc<FrozenBlock>) {
        self.blocks.insert(block.slot, block);
        if self.blocks.len() > BLOCKS_MAX
            && let Some((slot, _)) = self.blocks.pop_first()
        {
            self.forget_below(slot.next());
        }
    }

    /// The blocks that have become news because the bank of this commitment is now at `tip`: its
    /// ancestors that have not been told of, oldest first, also when it came from another fork.
    pub(super) fn advance(&mut self, commitment: Commitment, tip: Slot) -> Vec<Arc<FrozenBlock>> {
        let told = &mut self.told[commitment as usize];
        let mut fresh = Vec::new();
        let mut at = self.blocks.get(&tip);
        while let Some(block) = at.filter(|block| told.insert(block.slot)) {
            fresh.push(Arc::clone(block));
            // A parent is older, or this would not end.
            at = self.blocks.get(&block.parent).filter(|parent| parent.slot < block.slot);
        }
        fresh.reverse();
        if commitment == Commitment::Finalized {
            self.forget_below(tip);
        }
        fresh
    }

    fn forget_below(&mut self, slot: Slot) {
        self.blocks = self.blocks.split_off(&slot);
        for told in &mut self.told {
            *told = told.split_off(&slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(blocks: &[(u64, u64)]) -> News {
        let mut news = News::default();
        for (slot, parent) in blocks {
            news.keep(Arc::new(block(*slot, *parent)));
        }
        news
    }

    fn block(slot: u64, parent: u64) -> FrozenBlock {
        FrozenBlock {
            slot: Slot::new(slot),
            parent: Slot::new(parent),
            entries: 0,
            entry_transactions_max: 0,
            transactions: Vec::new(),
            changed: Vec::new(),
        }
    }

    #[track_caller]
    fn check(news: &mut News, commitment: Commitment, tip: u64, expect: &[u64]) {
        let fresh: Vec<_> = news.advance(commitment, Slot::new(tip)).iter().map(|block| block.slot.get()).collect();
        assert_eq!(fresh, expect);
    }

    #[test]
    fn a_block_is_news_once_at_each_commitment() {
        let mut news = news(&[(1, 0), (2, 1), (3, 2)]);
        check(&mut news, Commitment::Processed, 3, &[1, 2, 3]);
        check(&mut news, Commitment::Processed, 3, &[]);
        check(&mut news, Commitment::Confirmed, 2, &[1, 2]);
        check(&mut news, Commitment::Finalized, 1, &[1]);
        check(&mut news, Commitment::Confirmed, 3, &[3]);
    }

    #[test]
    fn after_a_change_of_fork_only_the_other_branch_is_news() {
        let mut news = news(&[(1, 0), (2, 1), (3, 1)]);
        check(&mut news, Commitment::Processed, 2, &[1, 2]);
        check(&mut news, Commitment::Processed, 3, &[3]);
    }

    #[test]
    fn a_full_store_forgets_the_oldest_block() {
        let blocks: Vec<_> = (1..=BLOCKS_MAX as u64 + 2).map(|slot| (slot, slot - 1)).collect();
        let mut news = news(&blocks);
        assert_eq!(news.blocks.len(), BLOCKS_MAX);
        let fresh = news.advance(Commitment::Processed, Slot::new(BLOCKS_MAX as u64 + 2));
        assert_eq!(fresh.first().map(|block| block.slot.get()), Some(3));
    }

    #[test]
    fn a_block_that_is_its_own_parent_ends() {
        check(&mut news(&[(5, 5)]), Commitment::Processed, 5, &[5]);
    }
}
