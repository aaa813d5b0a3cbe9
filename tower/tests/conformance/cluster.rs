//! A cluster of tower machines in virtual time: blocks carry votes, votes travel at once, partitions cut.

use solana_keypair::Keypair;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use sundog_tower::{
    Block, Consensus, ConsensusConfig, Effect, Input, Lockouts, RootBlock, SavedTower, Start, VoterState,
};
use sundog_types::sign::{Identity, Sign};
use sundog_types::stakes::{EpochStakes, VoteStake};
use sundog_types::{Hash, Machine, Now, Pubkey, Slot, vote::VoteOnWire};

/// Slots a leader leads in a row.
const WINDOW: u64 = 4;

/// What a vote account holds.
#[derive(Clone, Default)]
struct Account {
    lockouts: Vec<(u64, u32)>,
    root: Option<u64>,
    timestamp: i64,
}

/// An executed block with its accounts.
struct Bank {
    block: Block,
    accounts: BTreeMap<Pubkey, Account>,
}

pub struct Node {
    pub machine: Consensus,
    pub alive: bool,
    /// Which side of a partition it is on.
    pub side: u8,
    pub saved: Option<Vec<u8>>,
    pub roots: Vec<u64>,
    pub confirmed: Vec<u64>,
    pub finalized: Vec<u64>,
    pub votes: Vec<VoteOnWire>,
    pub reset: u64,
    known: BTreeSet<Slot>,
    pool: BTreeMap<Pubkey, VoteOnWire>,
    stake: u64,
}

pub struct Cluster {
    pub nodes: Vec<Node>,
    pub slot: u64,
    banks: BTreeMap<Slot, Bank>,
    stakes: Arc<EpochStakes>,
}

pub fn account(node: usize) -> Pubkey {
    Pubkey::new_from_array([u8::try_from(node).expect("few") + 1; 32])
}

pub fn signer(node: usize) -> Arc<dyn Sign> {
    let seed = u8::try_from(node).expect("few") + 1;
    Arc::new(Identity::new(Keypair::new_from_array([seed; 32])))
}

pub fn hash_of(slot: u64) -> Hash {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&slot.to_be_bytes());
    Hash::new_from_array(bytes)
}

pub fn at(slot: u64) -> Now {
    Now { mono_us: slot * 400_000, unix_ms: 1_760_000_000_000 + slot * 400 }
}

pub const ROOT: RootBlock = RootBlock { slot: Slot::ZERO, hash: Hash::new_from_array([0xaa; 32]) };

/// Stakes of vote accounts 0, 1, 2, …
pub fn electorate(stakes: &[u64]) -> Arc<EpochStakes> {
    let voters = stakes.iter().enumerate().filter(|(_, stake)| **stake > 0);
    let voters = voters.map(|(node, &stake)| {
        let node = account(node);
        (node, VoteStake { node, authorized_voter: node, stake })
    });
    Arc::new(EpochStakes { by_vote_account: voters.collect() })
}

impl Cluster {
    /// One node per stake; a node with stake 0 has no vote account.
    pub fn new(stakes: &[u64]) -> Self {
        let node = |(index, &stake): (usize, &u64)| Node {
            machine: Consensus::new(
                ConsensusConfig::default(),
                (stake > 0).then(|| account(index)),
                ROOT,
                None,
                signer(index),
            ),
            alive: true,
            side: 0,
            saved: None,
            roots: Vec::new(),
            confirmed: Vec::new(),
            finalized: Vec::new(),
            votes: Vec::new(),
            reset: 0,
            known: BTreeSet::from([ROOT.slot]),
            pool: BTreeMap::new(),
            stake,
        };
        Self {
            nodes: stakes.iter().enumerate().map(node).collect(),
            slot: 0,
            banks: BTreeMap::new(),
            stakes: electorate(stakes),
        }
    }

    /// Lets `slots` slots pass.
    pub fn run(&mut self, slots: u64) {
        for _ in 0..slots {
            self.slot += 1;
            let slot = self.slot;
            for node in 0..self.nodes.len() {
                self.tick(node);
            }
            let staked: Vec<usize> = (0..self.nodes.len()).filter(|&n| self.nodes[n].stake > 0).collect();
            let turn = usize::try_from(slot / WINDOW).expect("few") % staked.len();
            let leader = staked[turn];
            if self.nodes[leader].alive {
                self.produce(leader, slot);
                for node in self.reachable(leader) {
                    self.deliver(node, Slot::new(slot));
                }
            }
            if slot.is_multiple_of(32) {
                self.check_roots();
            }
        }
        self.check_roots();
    }

    fn reachable(&self, from: usize) -> Vec<usize> {
        let side = self.nodes[from].side;
        let reaches = |&n: &usize| self.nodes[n].alive && self.nodes[n].side == side;
        (0..self.nodes.len()).filter(reaches).collect()
    }

    fn produce(&mut self, leader: usize, slot: u64) {
        let parent = self.nodes[leader].machine.reset_block().0;
        let (parent_hash, mut accounts) = match self.banks.get(&parent) {
            Some(bank) => (bank.block.hash, bank.accounts.clone()),
            None => (ROOT.hash, BTreeMap::new()),
        };
        for vote in self.nodes[leader].pool.values() {
            self.land(&mut accounts, parent, vote);
        }
        let voters = self.stakes.by_vote_account.iter().map(|(&vote_account, voter)| {
            let account = accounts.get(&vote_account).cloned().unwrap_or_default();
            VoterState {
                vote_account,
                stake: voter.stake,
                lockouts: account.lockouts,
                root: account.root,
                last_timestamp: account.timestamp,
            }
        });
        let block = Block {
            slot: Slot::new(slot),
            parent,
            parent_hash,
            hash: hash_of(slot),
            block_id: hash_of(slot),
            mine: false,
            votes: voters.collect(),
            total_stake: self.stakes.total(),
            epoch_stakes: Arc::clone(&self.stakes),
        };
        self.banks.insert(Slot::new(slot), Bank { block, accounts });
    }

    /// What the vote program does with a vote in a block on `parent`.
    fn land(&self, accounts: &mut BTreeMap<Pubkey, Account>, parent: Slot, vote: &VoteOnWire) {
        let Some(last) = vote.last_slot().map(Slot::new) else {
            return;
        };
        let on_fork = last == parent || self.is_ancestor(last, parent);
        let account = accounts.entry(vote.vote_account).or_default();
        let newer = account.lockouts.last().is_none_or(|&(slot, _)| slot < last.get());
        if on_fork && newer {
            assert_eq!(vote.hash, hash_of(last.get()), "votes are for the bank that is there");
            account.lockouts.clone_from(&vote.slots);
            account.root = vote.root;
            account.timestamp = vote.timestamp.unwrap_or(account.timestamp);
        }
    }

    /// Executes a block at a node, ancestors first.
    fn deliver(&mut self, node: usize, slot: Slot) {
        let mut missing = vec![slot];
        while let Some(bank) = self.banks.get(missing.last().expect("not empty")) {
            let parent = bank.block.parent;
            if self.nodes[node].known.contains(&parent) {
                break;
            }
            missing.push(parent);
        }
        for slot in missing.into_iter().rev() {
            self.nodes[node].known.insert(slot);
            let mut block = self.banks[&slot].block.clone();
            block.mine = false;
            self.input(node, Input::Frozen(block));
        }
    }

    fn tick(&mut self, node: usize) {
        let due = self.nodes[node].machine.poll_timeout();
        if self.nodes[node].alive && due.is_some_and(|due| at(self.slot).reached(due)) {
            let mut out = Vec::new();
            self.nodes[node].machine.handle_timeout(at(self.slot), &mut out);
            self.effects(node, out);
        }
    }

    pub fn input(&mut self, node: usize, input: Input) {
        let mut out = Vec::new();
        self.nodes[node].machine.handle(at(self.slot), input, &mut out);
        self.effects(node, out);
    }

    fn effects(&mut self, from: usize, effects: Vec<Effect>) {
        for effect in effects {
            let node = &mut self.nodes[from];
            match effect {
                Effect::Save { id, bytes } => {
                    node.saved = Some(bytes);
                    self.input(from, Input::Saved { id });
                }
                Effect::Vote { vote, last_slot, .. } => {
                    node.votes.push(vote.clone());
                    for to in self.reachable(from) {
                        let (vote_account, hash, block_id) = (vote.vote_account, vote.hash, vote.block_id);
                        self.nodes[to].pool.insert(vote_account, vote.clone());
                        self.input(to, Input::VoteSeen { vote_account, slot: last_slot, hash, block_id });
                    }
                }
                Effect::Root { slot } => node.roots.push(slot.get()),
                Effect::Reset { slot } => node.reset = slot.get(),
                Effect::Confirmed { slot, .. } => node.confirmed.push(slot.get()),
                Effect::Finalized { slot } => node.finalized.push(slot.get()),
                Effect::OtherVersion { slot, .. } => panic!("there is one version of {slot}"),
                Effect::Abstained { .. } | Effect::Diverged { .. } | Effect::Abandoned { .. } => {}
            }
        }
    }

    /// Stops a node and starts it again from its root, with its tower file or without.
    pub fn restart(&mut self, node: usize, with_file: bool) {
        let slot = self.nodes[node].machine.root();
        let hash = self.banks.get(&slot).map_or(ROOT.hash, |bank| bank.block.hash);
        let signer = signer(node);
        let saved = self.nodes[node].saved.clone().filter(|_| with_file);
        let saved = saved.map(|b| SavedTower::decode(&b, &signer.identity()).expect("intact"));
        let root = RootBlock { slot, hash };
        // Without it, it is told to vote once the lockouts that it sees have run out.
        let start = Start { listen: !with_file, told: !with_file, ..Start::default() };
        let config = ConsensusConfig { start, ..ConsensusConfig::default() };
        self.nodes[node].machine = Consensus::new(config, Some(account(node)), root, saved, signer);
        // What is only remembered in memory is told again.
        self.nodes[node].confirmed.clear();
        self.nodes[node].finalized.clear();
        let replayed = std::mem::take(&mut self.nodes[node].known).split_off(&slot.next());
        self.nodes[node].known = self.banks.range(..=slot).map(|(&slot, _)| slot).collect();
        self.nodes[node].known.insert(ROOT.slot);
        for slot in replayed {
            self.deliver(node, slot);
        }
        self.input(node, Input::CaughtUp);
    }

    pub fn is_ancestor(&self, old: Slot, new: Slot) -> bool {
        let parent = |slot: &Slot| self.banks.get(slot).map(|bank| bank.block.parent);
        old < new && std::iter::successors(parent(&new), parent).any(|slot| slot == old)
    }

    /// The oracle: every root and every confirmation of every node lies on one chain, and each only rises.
    pub fn check_roots(&self) {
        let mut all = BTreeSet::new();
        for (index, node) in self.nodes.iter().enumerate() {
            assert!(node.roots.is_sorted_by(|a, b| a < b), "node {index}: {:?}", node.roots);
            assert!(node.confirmed.is_sorted_by(|a, b| a < b), "node {index}");
            assert!(node.finalized.is_sorted_by(|a, b| a < b), "node {index}");
            all.extend(node.roots.iter().chain(&node.confirmed).map(|&slot| Slot::new(slot)));
        }
        for (old, new) in all.iter().zip(all.iter().skip(1)) {
            assert!(self.is_ancestor(*old, *new), "{old} and {new} are on different forks");
        }
    }

    /// The independent judge of promises: replays all votes that a node ever sent.
    pub fn check_promises(&self, node: usize) {
        let mut stack = Lockouts::new(Some(ROOT.slot));
        let mut last = 0;
        for vote in &self.nodes[node].votes {
            let slot = vote.last_slot().expect("a vote for something");
            if slot <= last {
                continue;
            }
            last = slot;
            stack.vote(Slot::new(slot));
            for bound in stack.votes().iter().filter(|bound| bound.slot.get() != slot) {
                let kept = self.is_ancestor(bound.slot, Slot::new(slot));
                assert!(kept, "node {node}: {slot} breaks the promise of {}", bound.slot);
            }
        }
    }

    pub fn root(&self, node: usize) -> u64 {
        self.nodes[node].machine.root().get()
    }
}

/// Long enough for a vote to be sent again.
pub const REFRESH: Duration = Duration::from_secs(5);
