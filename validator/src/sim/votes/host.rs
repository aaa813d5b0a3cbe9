//! One machine with its disk and what it has of the chain.

use super::chain::{BlockId, Cast};
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use sundog_tower::{Consensus, SavedTower};
use sundog_types::{
    Pubkey, Signature, Slot,
    sign::{Identity, Sign, SignRole},
};

/// Votes of one voter that a host remembers: as many as may matter for forks that it builds on.
pub(super) const HEARD_MAX: usize = 8;
/// An own block that too few have is sent again after so many milliseconds,
const AGAIN_MS: u64 = 5_000;
/// then after twice as long, up to so many times.
const AGAIN_DOUBLINGS: u32 = 6;
/// The tower file before what is signed: a tag, the signature, and a length.
const HEAD: (usize, usize, usize) = (4, 68, 76);

/// One machine with its disk and what it has of the chain.
pub(super) struct Host {
    pub(super) seat: usize,
    /// `None` while it is down.
    pub(super) machine: Option<Consensus>,
    /// Counts its starts.
    pub(super) life: u32,
    /// The tower file.
    pub(super) disk: Option<Vec<u8>>,
    /// A tower file that is being written.
    pub(super) writing: Option<Vec<u8>>,
    /// By block: whether it is stored.
    have: Vec<bool>,
    /// The version of each slot that was executed, from the root up.
    pub(super) executed: BTreeMap<Slot, BlockId>,
    /// The version that the cluster settled on, where that was said.
    pub(super) chosen: BTreeMap<Slot, BlockId>,
    /// Slots with a proof of two versions.
    pub(super) proven: BTreeSet<Slot>,
    /// Blocks that are stored and not executed: what they are built on is missing, or here in another version.
    pub(super) stray: BTreeSet<BlockId>,
    /// Versions of blocks that were sent on.
    pub(super) passed_on: BTreeSet<BlockId>,
    /// Blocks to be fetched.
    pub(super) wanted: BTreeSet<BlockId>,
    /// By voter: the newest votes heard, by slot.
    pub(super) heard: Vec<Vec<Arc<Cast>>>,
    pub(super) root: BlockId,
    /// The block it voted for last.
    pub(super) voted: Option<BlockId>,
    /// The newest slot in which it made a block.
    pub(super) made: Option<u64>,
    /// The own block that too few have: when it is sent again, in milliseconds, and how often it was.
    pub(super) again: Option<(Slot, u64, u32)>,
    /// What it sends takes so much longer, in milliseconds.
    pub(super) slow_ms: u64,
}

impl Host {
    pub(super) fn new(seat: usize, voters: usize) -> Self {
        Self {
            seat,
            machine: None,
            life: 0,
            disk: None,
            writing: None,
            have: vec![true],
            executed: BTreeMap::new(),
            chosen: BTreeMap::new(),
            proven: BTreeSet::new(),
            stray: BTreeSet::new(),
            passed_on: BTreeSet::new(),
            wanted: BTreeSet::new(),
            heard: vec![Vec::new(); voters],
            root: 0,
            voted: None,
            made: None,
            again: None,
            slow_ms: 0,
        }
    }

    pub(super) fn has(&self, block: BlockId) -> bool {
        self.have.get(block as usize).is_some_and(|have| *have)
    }

    pub(super) fn store(&mut self, block: BlockId, stored: bool) {
        let place = block as usize;
        if self.have.len() <= place {
            self.have.resize(place + 1, false);
        }
        self.have[place] = stored;
    }

    /// Remembers a vote; whether it is new.
    pub(super) fn remember(&mut self, cast: &Arc<Cast>) -> bool {
        let votes = &mut self.heard[cast.voter];
        let key = |cast: &Arc<Cast>| (cast.vote.last_slot(), cast.number);
        let Err(place) = votes.binary_search_by_key(&key(cast), key) else { return false };
        if votes.len() >= HEARD_MAX {
            if place == 0 {
                return false;
            }
            votes.remove(0);
            votes.insert(place - 1, Arc::clone(cast));
        } else {
            votes.insert(place, Arc::clone(cast));
        }
        true
    }

    /// The own block that is to be sent again now because too few of the others have it (reference 8.6): for the first
    /// time after five seconds, then after twice as long each time.
    pub(super) fn sends_again(&mut self, now_ms: u64) -> Option<BlockId> {
        let machine = self.machine.as_ref()?;
        let Some(own) = machine.newest_own(machine.reset_block().0).filter(|own| !machine.is_propagated(*own)) else {
            self.again = None;
            return None;
        };
        let (slot, due, sent) = self.again.unwrap_or((own, now_ms + AGAIN_MS, 0));
        self.again = Some((slot, due, sent));
        if slot != own {
            self.again = Some((own, now_ms + AGAIN_MS, 0));
        } else if due <= now_ms {
            self.again = Some((own, now_ms + (AGAIN_MS << (sent + 1).min(AGAIN_DOUBLINGS)), sent + 1));
            return self.executed.get(&own).copied();
        }
        None
    }

    /// What the tower file says, if there is one. Only what is read again is worth a real signature.
    pub(super) fn saved(&self, key: &Keypair) -> Option<SavedTower> {
        let mut bytes = self.disk.clone()?;
        let signature = Identity::new(key.insecure_clone()).sign(SignRole::Tower, &bytes[HEAD.2..]);
        bytes[HEAD.0..HEAD.1].copy_from_slice(signature.as_ref());
        Some(SavedTower::decode(&bytes, &key.pubkey()).expect("what a machine saved can be read"))
    }
}

/// Leaves signatures out.
pub(super) struct Unsigned(pub(super) Pubkey);

impl Sign for Unsigned {
    fn identity(&self) -> Pubkey {
        self.0
    }

    fn sign(&self, _: SignRole, _: &[u8]) -> Signature {
        Signature::default()
    }
}
