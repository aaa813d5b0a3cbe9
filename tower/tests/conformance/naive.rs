//! The fork choice against one that remembers what happened and computes everything from scratch.

use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use sundog_tower::fork_choice::{BlockKey, ForkChoice};
use sundog_types::{Hash, Pubkey, Slot};

const VOTERS: u8 = 8;

#[derive(Clone, Debug)]
enum Step {
    /// A block `gap` slots after one of the known ones, in one of three versions.
    Add {
        on: usize,
        gap: u64,
        version: u8,
    },
    /// Votes of voters for blocks, with the stake they have now.
    Votes(Vec<(u8, usize, u64)>),
    Invalid(usize),
    Valid(usize),
    Root(usize),
    RemoveLeaf(usize),
    /// The voters whose bit is set stay.
    Retain(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let block = any::<usize>();
    let vote = (0..VOTERS, any::<usize>(), 0_u64..4);
    prop_oneof![
        8 => (block, 1_u64..4, 0_u8..3).prop_map(|(on, gap, version)| Step::Add { on, gap, version }),
        4 => prop::collection::vec(vote.clone(), 1..2).prop_map(Step::Votes),
        4 => prop::collection::vec(vote, 2..12).prop_map(Step::Votes),
        2 => block.prop_map(Step::Invalid),
        1 => block.prop_map(Step::Valid),
        1 => (0_usize..4).prop_map(Step::Root),
        1 => block.prop_map(Step::RemoveLeaf),
        1 => any::<u8>().prop_map(Step::Retain),
    ]
}

/// One block as the naive one knows it. Nothing in it is computed.
#[derive(Clone, Debug)]
struct Plain {
    parent: Option<BlockKey>,
    invalid: Option<Slot>,
    confirmed: bool,
}

struct Naive {
    root: BlockKey,
    blocks: BTreeMap<BlockKey, Plain>,
    /// Newest votes; the stake is gone with the block.
    votes: BTreeMap<Pubkey, (BlockKey, u64)>,
}

impl Naive {
    fn new(root: BlockKey) -> Self {
        let plain = Plain { parent: None, invalid: None, confirmed: true };
        Self { root, blocks: BTreeMap::from([(root, plain)]), votes: BTreeMap::new() }
    }

    fn line(&self, key: BlockKey) -> Vec<BlockKey> {
        std::iter::successors(Some(key), |key| self.blocks[key].parent).collect()
    }

    fn subtree(&self, key: BlockKey) -> BTreeSet<BlockKey> {
        self.blocks.keys().filter(|below| self.line(**below).contains(&key)).copied().collect()
    }

    fn children(&self, key: BlockKey) -> Vec<BlockKey> {
        self.blocks.iter().filter(|(_, plain)| plain.parent == Some(key)).map(|(child, _)| *child).collect()
    }

    fn add(&mut self, key: BlockKey, parent: BlockKey) {
        let invalid = self.blocks[&parent].invalid;
        let plain = Plain { parent: Some(parent), invalid, confirmed: false };
        self.blocks.entry(key).or_insert(plain);
    }

    fn vote(&mut self, voter: Pubkey, block: BlockKey, stake: u64) {
        let old = self.votes.get(&voter).map(|(block, _)| *block);
        if old.is_none_or(|old| (block.0, Reverse(block.1)) > (old.0, Reverse(old.1))) {
            self.votes.insert(voter, (block, stake));
        }
    }

    fn mark_invalid(&mut self, key: BlockKey) {
        if self.blocks[&key].confirmed {
            return;
        }
        for below in self.subtree(key) {
            let plain = self.blocks.get_mut(&below).unwrap();
            plain.invalid = plain.invalid.max(Some(key.0));
        }
    }

    fn mark_valid(&mut self, key: BlockKey) -> Vec<BlockKey> {
        let line = self.line(key);
        for touched in self.subtree(key).iter().chain(&line) {
            let plain = self.blocks.get_mut(touched).unwrap();
            plain.invalid = plain.invalid.filter(|slot| *slot > key.0);
        }
        let mut newly = line;
        newly.retain(|above| !std::mem::replace(&mut self.blocks.get_mut(above).unwrap().confirmed, true));
        newly
    }

    fn forget(&mut self, gone: impl Fn(&BlockKey) -> bool) {
        self.blocks.retain(|key, _| !gone(key));
        self.votes.values_mut().filter(|(block, _)| gone(block)).for_each(|(_, stake)| *stake = 0);
    }

    fn set_root(&mut self, root: BlockKey) {
        let kept = self.subtree(root);
        self.forget(|key| !kept.contains(key));
        self.blocks.get_mut(&root).unwrap().parent = None;
        self.root = root;
    }

    fn stake_at(&self, key: BlockKey) -> u64 {
        self.votes.values().filter(|(block, _)| *block == key).map(|(_, stake)| stake).sum()
    }

    fn stake_subtree(&self, key: BlockKey) -> u64 {
        self.subtree(key).into_iter().map(|below| self.stake_at(below)).sum()
    }

    fn height(&self, key: BlockKey) -> usize {
        1 + self.children(key).into_iter().map(|child| self.height(child)).max().unwrap_or(0)
    }

    fn best(&self, key: BlockKey) -> BlockKey {
        let children = self.children(key).into_iter().filter(|child| self.blocks[child].invalid.is_none());
        let heaviest = children.max_by_key(|child| (self.stake_subtree(*child), Reverse(*child)));
        heaviest.map_or(key, |child| self.best(child))
    }

    fn deepest(&self, key: BlockKey) -> BlockKey {
        let rank = |child: &BlockKey| (self.height(*child), self.stake_subtree(*child), Reverse(*child));
        self.children(key).into_iter().max_by_key(rank).map_or(key, |child| self.deepest(child))
    }
}

fn voter(number: u8) -> Pubkey {
    Pubkey::new_from_array([number; 32])
}

fn apply(step: &Step, fast: &mut ForkChoice, naive: &mut Naive) {
    let keys: Vec<BlockKey> = naive.blocks.keys().copied().collect();
    let pick = |at: usize| keys[at % keys.len()];
    match step {
        Step::Add { on, gap, version } => {
            let parent = pick(*on);
            let key = (Slot::new(parent.0.get() + gap), Hash::new_from_array([*version; 32]));
            assert_eq!(fast.add(key, parent), !naive.blocks.contains_key(&key));
            naive.add(key, parent);
        }
        Step::Votes(votes) => {
            // A voter votes once in a batch here, so that its stake is one.
            let votes: BTreeMap<u8, (BlockKey, u64)> =
                votes.iter().map(|(number, block, stake)| (*number, (pick(*block), *stake))).collect();
            let stake_of = |key: &Pubkey, slot| {
                let (block, stake) = votes[&key.to_bytes()[0]];
                assert_eq!(slot, block.0);
                stake
            };
            fast.vote(votes.iter().map(|(number, (block, _))| (voter(*number), *block)), stake_of);
            votes.iter().for_each(|(number, (block, stake))| naive.vote(voter(*number), *block, *stake));
        }
        Step::Invalid(at) => {
            assert_eq!(fast.mark_invalid(&pick(*at)), !naive.blocks[&pick(*at)].confirmed);
            naive.mark_invalid(pick(*at));
        }
        Step::Valid(at) => assert_eq!(fast.mark_valid(&pick(*at)), naive.mark_valid(pick(*at))),
        Step::Root(at) => {
            assert!(fast.set_root(&pick(*at)));
            naive.set_root(pick(*at));
        }
        Step::RemoveLeaf(at) => {
            let key = pick(*at);
            let may = key != naive.root && naive.children(key).is_empty();
            assert_eq!(fast.remove_leaf(&key), may);
            if may {
                naive.forget(|gone| *gone == key);
            }
        }
        Step::Retain(kept) => {
            let keep = |key: &Pubkey| kept >> key.to_bytes()[0] & 1 == 1;
            fast.retain_voters(keep);
            naive.votes.retain(|key, _| keep(key));
        }
    }
}

fn compare(fast: &ForkChoice, naive: &Naive) {
    assert_eq!(fast.root(), naive.root);
    assert_eq!(fast.len(), naive.blocks.len());
    for ((key, standing), (expected, plain)) in fast.iter().zip(&naive.blocks) {
        assert_eq!(key, *expected);
        assert_eq!(fast.get(&key), Some(standing));
        assert_eq!(standing.parent, plain.parent);
        assert_eq!(standing.latest_invalid_ancestor, plain.invalid);
        assert_eq!(standing.duplicate_confirmed, plain.confirmed);
        assert_eq!(standing.stake_at, naive.stake_at(key));
        assert_eq!(standing.stake_subtree, naive.stake_subtree(key));
        assert_eq!(standing.height, naive.height(key));
        assert_eq!(standing.deepest, naive.deepest(key));
        // Where nothing may be followed the reference lets the tip depend on the order of events.
        if standing.is_candidate() {
            assert_eq!(standing.best, naive.best(key));
        }
    }
    let votes: BTreeMap<Pubkey, (BlockKey, u64)> =
        fast.latest_votes().map(|(voter, block, stake)| (*voter, (block, stake))).collect();
    assert_eq!(votes, naive.votes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_tree_that_is_kept_equals_one_computed_from_scratch(steps in prop::collection::vec(step(), 1..60)) {
        let root = (Slot::new(10), Hash::default());
        let (mut fast, mut naive) = (ForkChoice::new(root), Naive::new(root));
        for step in &steps {
            apply(step, &mut fast, &mut naive);
            compare(&fast, &naive);
        }
    }
}
