//! Blocks without transactions other than votes, and the rule by which a vote lands. It is not the vote program's code:
//! where both agree, both are more likely to be right.

use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc};
use sundog_tower::VoterState;
use sundog_types::{Hash, Pubkey, Slot, vote::VoteOnWire};

/// Blocks below a block that a vote in it may be for: banks remember no more.
const MAX_LANDING_BLOCKS: usize = 512;
/// Votes in a tower.
const STACK: usize = 31;

/// The place of a block in the chain's list.
pub(super) type BlockId = u32;

/// A block that somebody made.
pub(super) struct Made {
    pub(super) slot: Slot,
    pub(super) hash: Hash,
    pub(super) parent: BlockId,
    /// The node that made it.
    pub(super) leader: usize,
    /// The towers of all voters after it, in the voters' order.
    pub(super) voters: Arc<Vec<VoterState>>,
    /// Whether it can be executed.
    pub(super) sound: bool,
    pub(super) children: Vec<BlockId>,
}

/// A vote that left a node.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) voter: usize,
    pub(super) vote: VoteOnWire,
    /// The block that it is for.
    pub(super) block: BlockId,
    /// Votes are numbered as they leave.
    pub(super) number: u32,
}

/// Every block that was ever made; the first is the genesis block.
pub(super) struct Chain {
    blocks: Vec<Made>,
    places: BTreeMap<(Slot, Hash), BlockId>,
}

/// What a leader puts into a block.
pub(super) struct Content<'a> {
    pub(super) slot: Slot,
    pub(super) parent: BlockId,
    pub(super) leader: usize,
    /// Which version of its block this is.
    pub(super) version: u8,
    /// Whether it can be executed.
    pub(super) sound: bool,
    /// Votes by voter, the newest last.
    pub(super) votes: &'a [Vec<Arc<Cast>>],
}

impl Chain {
    /// The genesis block, with voters that have not voted.
    pub(super) fn new(voters: impl Iterator<Item = (Pubkey, u64)>) -> Self {
        let state = |(vote_account, stake)| VoterState {
            vote_account,
            stake,
            lockouts: Vec::new(),
            root: None,
            last_timestamp: 0,
        };
        let hash = Hash::new_from_array([1; 32]);
        let genesis = Made {
            slot: Slot::ZERO,
            hash,
            parent: 0,
            leader: 0,
            voters: Arc::new(voters.map(state).collect()),
            sound: true,
            children: Vec::new(),
        };
        Self { blocks: vec![genesis], places: BTreeMap::from([((Slot::ZERO, hash), 0)]) }
    }

    pub(super) fn get(&self, block: BlockId) -> &Made {
        &self.blocks[block as usize]
    }

    pub(super) fn find(&self, slot: Slot, hash: Hash) -> Option<BlockId> {
        self.places.get(&(slot, hash)).copied()
    }

    /// Every version of a slot's block.
    pub(super) fn versions(&self, slot: Slot) -> impl Iterator<Item = BlockId> + '_ {
        let all = (slot, Hash::default())..=(slot, Hash::new_from_array([u8::MAX; 32]));
        self.places.range(all).map(|(_, block)| *block)
    }

    pub(super) fn parent_key(&self, block: BlockId) -> (Slot, Hash) {
        let parent = self.get(self.get(block).parent);
        (parent.slot, parent.hash)
    }

    /// Whether `block` is `ancestor` or descends from it.
    pub(super) fn descends(&self, block: BlockId, ancestor: BlockId) -> bool {
        let mut at = block;
        while self.get(at).slot > self.get(ancestor).slot {
            at = self.get(at).parent;
        }
        at == ancestor
    }

    /// The newest block that both stand on.
    pub(super) fn fork_point(&self, mut a: BlockId, mut b: BlockId) -> BlockId {
        while a != b {
            let newer = if self.get(a).slot >= self.get(b).slot { &mut a } else { &mut b };
            *newer = self.blocks[*newer as usize].parent;
        }
        a
    }

    /// Makes a block with the newest vote of each voter that may land in it. Its bank hash is that of its content.
    pub(super) fn make(&mut self, content: &Content<'_>) -> BlockId {
        let parent = self.get(content.parent);
        let mut voters = None;
        let mut hash = Sha256::new();
        hash.update(parent.hash);
        hash.update(content.slot.get().to_le_bytes());
        hash.update([content.version, u8::from(content.sound)]);
        for (voter, votes) in content.votes.iter().enumerate() {
            let state = &parent.voters[voter];
            let Some(cast) = votes.iter().rev().find(|cast| self.lands(cast, content.parent, state)) else { continue };
            let voters = voters.get_or_insert_with(|| (*parent.voters).clone());
            voters[voter].lockouts.clone_from(&cast.vote.slots);
            voters[voter].root = cast.vote.root;
            voters[voter].last_timestamp = cast.vote.timestamp.unwrap_or(state.last_timestamp);
            hash.update(cast.number.to_le_bytes());
        }
        let made = Made {
            slot: content.slot,
            hash: Hash::new_from_array(hash.finalize().into()),
            parent: content.parent,
            leader: content.leader,
            voters: voters.map_or_else(|| Arc::clone(&parent.voters), Arc::new),
            sound: content.sound,
            children: Vec::new(),
        };
        let block = BlockId::try_from(self.blocks.len()).expect("blocks of a run are few");
        self.places.insert((made.slot, made.hash), block);
        self.blocks[content.parent as usize].children.push(block);
        self.blocks.push(made);
        block
    }

    /// Whether a vote may land in a block built on `parent`, where the voter stands as `state` says (reference 8.3): it
    /// is newer, it is for this fork, and it breaks no promise that landed before.
    fn lands(&self, cast: &Cast, parent: BlockId, state: &VoterState) -> bool {
        let vote = &cast.vote;
        let recorded = state.lockouts.last().map_or(0, |&(slot, _)| slot);
        let newer = vote.slots.last().is_some_and(|&(slot, _)| slot > recorded);
        if !newer || vote.slots.len() > STACK || vote.root < state.root || !self.stands_on(cast, parent) {
            return false;
        }
        let root = vote.root.unwrap_or(0);
        let bound = |&(slot, count): &(u64, u32)| slot + (1 << count.min(31));
        let ordered =
            |pair: &[(u64, u32)]| pair[0].0 < pair[1].0 && pair[0].1 > pair[1].1 && pair[1].0 <= bound(&pair[0]);
        if !vote.slots.windows(2).all(ordered) || vote.slots.iter().any(|(slot, _)| *slot <= root) {
            return false;
        }
        state.lockouts.iter().filter(|(slot, _)| *slot > root).all(|old| {
            let next = vote.slots.iter().find(|(slot, _)| *slot >= old.0);
            next.is_some_and(|&(slot, count)| if slot == old.0 { count >= old.1 } else { bound(old) < slot })
        })
    }

    /// Whether every slot of the vote is on the fork of `tip`, and its last one is the version voted for.
    fn stands_on(&self, cast: &Cast, tip: BlockId) -> bool {
        let mut at = tip;
        let mut left = MAX_LANDING_BLOCKS;
        let slots = cast.vote.slots.iter().rev().map(|(slot, _)| *slot).chain(cast.vote.root);
        for (place, slot) in slots.enumerate() {
            while self.get(at).slot.get() > slot && left > 0 {
                at = self.get(at).parent;
                left -= 1;
            }
            // What is older than the bank remembers was checked when it landed first.
            if left == 0 && place > 0 {
                return true;
            }
            if self.get(at).slot.get() != slot || (place == 0 && at != cast.block) {
                return false;
            }
        }
        true
    }
}

/// A stack with one more vote: what a voter adds up that has no tower of its own.
pub(super) fn with_vote(stack: &[(u64, u32)], root: Option<u64>, slot: u64) -> (Vec<(u64, u32)>, Option<u64>) {
    let (mut stack, mut root) = (stack.to_vec(), root);
    while stack.last().is_some_and(|&(old, count)| old + (1 << count.min(31)) < slot) {
        stack.pop();
    }
    if stack.len() == STACK {
        root = Some(stack.remove(0).0);
    }
    stack.push((slot, 1));
    let depth = stack.len();
    for (place, (_, count)) in stack.iter_mut().enumerate() {
        *count += u32::from(place + (*count as usize) < depth);
    }
    (stack, root)
}
