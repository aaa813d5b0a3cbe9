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
    /// Bytes of blocks that came before and are still held.
    pub(crate) elsewhere: usize,
    open: BTreeMap<u64, Request>,
}

impl Requests {
    pub(crate) fn new(config: &SyncConfig) -> Self {
        let SyncConfig { answer_timeout, answer_bytes, bytes_max, .. } = *config;
        Self { patience: answer_timeout, answer_bytes, bytes_max, elsewhere: 0, open: BTreeMap::new() }
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
        let held = self.bytes() + self.elsewhere;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Role;
    use bytes::Bytes;

    fn requests(answer_bytes: usize) -> (Requests, Now) {
        let config = SyncConfig::new(Hash::default(), 7, Role::Voting);
        let mut requests = Requests::new(&SyncConfig { answer_bytes, bytes_max: answer_bytes, ..config });
        let now = Now { mono_us: 0, unix_ms: 0 };
        let to = (LinkId::new(3), Pubkey::default(), Slot::new(900));
        requests.start(now, 7, to, (Purpose::Range(Slot::new(1)), Slot::new(101)));
        (requests, now)
    }

    fn block(slot: u64, shreds: usize) -> StoredBlock {
        StoredBlock { slot: Slot::new(slot), shreds: vec![Bytes::new(); shreds] }
    }

    #[test]
    fn parts_of_a_block_come_together() {
        let (mut requests, now) = requests(1_000_000);
        let key = (7, LinkId::new(3));
        assert!(matches!(requests.part(now, key, vec![block(1, 32), block(4, 1_000)], true), Ok(None)));
        let whole = requests.part(now, key, vec![block(4, 24), block(5, 32)], false).unwrap().unwrap();
        let sizes: Vec<_> = whole.blocks.iter().map(|block| (block.slot.get(), block.shreds.len())).collect();
        assert_eq!(sizes, [(1, 32), (4, 1_024), (5, 32)]);
        assert!(matches!(requests.part(now, key, vec![], false), Err(Refusal::Unexpected)), "it is answered");
    }

    #[test]
    fn an_answer_cannot_drip_grow_without_bound_or_come_from_elsewhere() {
        let key = (7, LinkId::new(3));
        let (mut few, now) = requests(1_000_000);
        assert_eq!(few.part(now, key, vec![block(1, 32)], true).err(), Some(Refusal::Malformed));
        assert_eq!(few.part(now, (7, LinkId::new(4)), vec![], false).err(), Some(Refusal::Unexpected));
        let many = (0..101).map(|slot| block(slot, 32)).collect();
        assert_eq!(few.part(now, key, many, false).err(), Some(Refusal::Malformed));
        let (mut long, _) = requests(1_000_000);
        let too_long = vec![block(1, MAX_SHREDS_PER_SLOT as usize + 1)];
        assert_eq!(long.part(now, key, too_long, false).err(), Some(Refusal::Malformed));
        let (mut large, _) = requests(1_000_000);
        let two = vec![block(1, MAX_SHREDS_PER_SLOT as usize), block(2, 1_000)];
        assert_eq!(large.part(now, key, two, false).err(), Some(Refusal::FrameTooLarge));
        let (mut full, _) = requests(1_000_000);
        full.elsewhere = 1_000_000 + 2 * BLOCK_BYTES_MAX;
        assert_eq!(full.part(now, key, vec![], false).err(), Some(Refusal::FrameTooLarge));
    }

    #[test]
    fn an_answer_has_five_seconds_for_each_part_and_fifteen_in_all() {
        let (mut requests, now) = requests(1_000_000_000);
        let at = |seconds| now.after(Duration::from_secs(seconds));
        assert_eq!(requests.deadline(), Some(at(5)));
        for seconds in [4, 8, 12] {
            assert!(requests.late(at(seconds)).is_empty());
            let part = requests.part(at(seconds), (7, LinkId::new(3)), vec![block(seconds, 1_024)], true);
            assert!(part.is_ok());
        }
        assert_eq!(requests.late(at(15)), [LinkId::new(3)]);
        assert_eq!(requests.gone(LinkId::new(3)).len(), 1);
        assert_eq!((requests.deadline(), requests.bytes()), (None, 0));
    }
}
