//! What was asked of peers and has not come in full.

use super::{
    config::{FRAME_BYTES_AIM, RANGE_SLOTS_MAX, SyncConfig},
    effect::{LinkId, StoredBlock},
    refusal::Refusal,
};
use std::{collections::BTreeMap, time::Duration};
use sundog_types::{
    Hash, Now, Pubkey, Slot,
    shred::{MAX_SHREDS_PER_SLOT, variant::DATA_SHRED_SIZE},
};

/// Bytes that the shreds of one block can have at most.
pub(crate) const BLOCK_BYTES_MAX: usize = MAX_SHREDS_PER_SLOT as usize * DATA_SHRED_SIZE;
/// An answer may come in parts for so many times the time that each part may take: shorter than a stall.
const PARTS_TIMES: u32 = 3;
/// Bytes of blocks that a part has at least if another follows: nobody can drip.
const PART_BYTES_MIN: usize = FRAME_BYTES_AIM / 4;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// The span that starts here.
    Range(Slot),
    /// A single block that the node wants.
    Want(Slot, Hash),
    /// The parent of a block that does not link to what was released.
    Dispute(Slot, Hash),
}

/// A request under way, and what has come of its answer.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) link: LinkId,
    pub(crate) peer: Pubkey,
    pub(crate) purpose: Purpose,
    /// The first slot that was not asked for.
    pub(crate) end: Slot,
    /// What the peer claimed as its root when it was asked.
    pub(crate) root: Slot,
    pub(crate) blocks: Vec<StoredBlock>,
    pub(crate) bytes: usize,
    next_part: Now,
    last_part: Now,
}

/// All requests under way, by id. Bounded by links and requests per link.
#[derive(Debug)]
pub(crate) struct Requests {
    patience: Duration,
    answer_bytes: usize,
    bytes_max: usize,
    open: BTreeMap<u64, Request>,
}

impl Requests {
    pub(crate) fn new(config: &SyncConfig) -> Self {
        let SyncConfig { answer_timeout, answer_bytes, bytes_max, .. } = *config;
        Self { patience: answer_timeout, answer_bytes, bytes_max, open: BTreeMap::new() }
    }

    pub(crate) fn start(&mut self, now: Now, id: u64, to: (LinkId, Pubkey, Slot), what: (Purpose, Slot)) {
        let (link, peer, root) = to;
        let (purpose, end) = what;
        let (next_part, last_part) = (now.after(self.patience), now.after(self.patience * PARTS_TIMES));
        let (blocks, bytes) = (Vec::new(), 0);
        self.open.insert(id, Request { link, peer, purpose, end, root, blocks, bytes, next_part, last_part });
    }

    /// Requests under way on a link.
    pub(crate) fn on(&self, link: LinkId) -> usize {
        self.open.values().filter(|request| request.link == link).count()
    }

    /// Bytes that are here, or must be expected.
    pub(crate) fn bytes(&self) -> usize {
        let expected = |request: &Request| match request.purpose {
            Purpose::Range(_) => request.bytes.max(self.answer_bytes),
            Purpose::Want(..) | Purpose::Dispute(..) => request.bytes,
        };
        self.open.values().map(expected).sum()
    }

    /// Takes a part of an answer. Once the last part is here: the whole.
    pub(crate) fn part(
        &mut self,
        now: Now,
        key: (u64, LinkId),
        blocks: Vec<StoredBlock>,
        more: bool,
    ) -> Result<Option<Request>, Refusal> {
        let held = self.bytes();
        let request = self.open.get_mut(&key.0).filter(|open| open.link == key.1).ok_or(Refusal::Unexpected)?;
        let shreds: usize = blocks.iter().map(|block| block.shreds.len()).sum();
        if more && shreds * DATA_SHRED_SIZE < PART_BYTES_MIN {
            return Err(Refusal::Malformed);
        }
        for mut block in blocks {
            request.bytes += block.shreds.len() * DATA_SHRED_SIZE;
            match request.blocks.last_mut().filter(|last| last.slot == block.slot) {
                Some(last) => last.shreds.append(&mut block.shreds),
                None => request.blocks.push(block),
            }
        }
        let largest = request.blocks.iter().map(|block| block.shreds.len()).max().unwrap_or(0);
        if request.blocks.len() as u64 > RANGE_SLOTS_MAX || largest > MAX_SHREDS_PER_SLOT as usize {
            return Err(Refusal::Malformed);
        }
        if request.bytes > self.answer_bytes + BLOCK_BYTES_MAX || held > self.bytes_max + 2 * BLOCK_BYTES_MAX {
            return Err(Refusal::FrameTooLarge);
        }
        request.next_part = now.after(self.patience);
        Ok(if more { None } else { self.open.remove(&key.0) })
    }

    /// Over which link a request went.
    pub(crate) fn link(&self, id: u64) -> Option<LinkId> {
        self.open.get(&id).map(|request| request.link)
    }

    /// Ends a request without blocks.
    pub(crate) fn take(&mut self, id: u64, link: LinkId) -> Option<Request> {
        self.open.get(&id).filter(|request| request.link == link)?;
        self.open.remove(&id)
    }

    /// Ends all requests of a link that is gone.
    pub(crate) fn gone(&mut self, link: LinkId) -> Vec<(u64, Request)> {
        let ids: Vec<u64> = self.open.iter().filter(|(_, open)| open.link == link).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| Some((id, self.open.remove(&id)?))).collect()
    }

    /// Links that let this node wait too long.
    pub(crate) fn late(&self, now: Now) -> Vec<LinkId> {
        let late = |open: &&Request| now.reached(open.next_part.min(open.last_part));
        let mut links: Vec<LinkId> = self.open.values().filter(late).map(|open| open.link).collect();
        links.sort_unstable();
        links.dedup();
        links
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        self.open.values().map(|open| open.next_part.min(open.last_part)).min()
    }

    /// Whether a request with this purpose is under way.
    pub(crate) fn any(&self, test: impl Fn(&Purpose) -> bool) -> bool {
        self.open.values().any(|open| test(&open.purpose))
    }
}
