//! Packets on their way to the signature checks, votes in front.

use crate::{DropReason, Source};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// Packets in one batch of checks: some milliseconds of one core.
pub const CHECK_BATCH_MAX: usize = 64;

/// Batches out at the pool at a time. More would only wait there, where votes could not overtake them.
pub const CHECKS_MAX: usize = 16;

/// Of these, batches that only votes may use.
pub const CHECKS_RESERVED_FOR_VOTES: usize = 4;

/// Transactions that wait for a batch. When full, the newcomer is dropped: those ahead of it will be checked
/// first anyway.
pub const LANE_MAX: usize = 8_192;

/// Votes that wait for a batch. When full, the newcomer is dropped; its voter votes again soon.
pub const VOTE_LANE_MAX: usize = 4_096;

/// Where a packet came from, and until when it is to be repeated if RPC sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) source: Source,
    pub(crate) last_valid_block_height: Option<u64>,
    pub(crate) retries_max: Option<u64>,
}

impl From<Source> for Origin {
    fn from(source: Source) -> Self {
        Self { source, last_valid_block_height: None, retries_max: None }
    }
}

/// A batch for the pool.
pub(crate) struct Batch {
    pub(crate) id: u64,
    pub(crate) packets: Vec<Bytes>,
}

/// Two bounded queues and the batches that are out.
#[derive(Default)]
pub(crate) struct Lanes {
    votes: VecDeque<(Origin, Bytes)>,
    transactions: VecDeque<(Origin, Bytes)>,
    out: BTreeMap<u64, Vec<Origin>>,
    last_id: u64,
}

impl Lanes {
    /// Queues a packet.
    ///
    /// # Errors
    /// When its lane is full.
    pub(crate) fn push(&mut self, origin: Origin, packet: Bytes) -> Result<(), DropReason> {
        let (lane, max) = match origin.source {
            Source::Vote => (&mut self.votes, VOTE_LANE_MAX),
            _ => (&mut self.transactions, LANE_MAX),
        };
        if lane.len() >= max {
            return Err(DropReason::LaneFull);
        }
        lane.push_back((origin, packet));
        Ok(())
    }

    /// The next batch to check, if there is one and the pool may have one more.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        let lane = if !self.votes.is_empty() && self.out.len() < CHECKS_MAX {
            &mut self.votes
        } else if self.out.len() < CHECKS_MAX - CHECKS_RESERVED_FOR_VOTES {
            &mut self.transactions
        } else {
            return None;
        };
        let count = lane.len().min(CHECK_BATCH_MAX);
        let (origins, packets): (Vec<_>, Vec<_>) = lane.drain(..count).unzip();
        if packets.is_empty() {
            return None;
        }
        self.last_id += 1;
        self.out.insert(self.last_id, origins);
        Some(Batch { id: self.last_id, packets })
    }

    /// Where the packets of a batch that came back were from; nothing, if no such batch is out.
    pub(crate) fn returned(&mut self, id: u64) -> Vec<Origin> {
        self.out.remove(&id).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(lanes: &mut Lanes, source: Source) -> usize {
        let mut pushed = 0;
        while lanes.push(source.into(), Bytes::new()).is_ok() {
            pushed += 1;
        }
        pushed
    }

    #[test]
    fn a_full_lane_drops_the_newcomer_and_leaves_the_other_lane_alone() {
        let mut lanes = Lanes::default();
        assert_eq!(fill(&mut lanes, Source::Rpc), LANE_MAX);
        assert_eq!(lanes.push(Source::Internal.into(), Bytes::new()), Err(DropReason::LaneFull));
        assert_eq!(fill(&mut lanes, Source::Vote), VOTE_LANE_MAX);
    }

    #[test]
    fn votes_are_checked_while_transactions_fill_the_pool() {
        let mut lanes = Lanes::default();
        fill(&mut lanes, Source::Rpc);
        let ids: Vec<u64> = std::iter::from_fn(|| lanes.next_batch()).map(|b| b.id).collect();
        assert_eq!(ids.len(), CHECKS_MAX - CHECKS_RESERVED_FOR_VOTES);
        fill(&mut lanes, Source::Vote);
        let votes = std::iter::from_fn(|| lanes.next_batch()).count();
        assert_eq!(votes, CHECKS_RESERVED_FOR_VOTES);
        assert_eq!(lanes.returned(ids[0]).len(), CHECK_BATCH_MAX);
        let batch = lanes.next_batch().expect("room for one more");
        assert!(lanes.returned(batch.id).iter().all(|origin| origin.source == Source::Vote));
        assert!(lanes.returned(batch.id).is_empty(), "a batch comes back once");
    }
}
