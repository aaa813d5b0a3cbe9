//! In a large cluster, who has no stake may say less (reference 6.11).

use crate::{table::Stakes, wire::value::CrdsData};

/// In a large cluster, who has no stake may say less (reference 6.11).
#[derive(Clone)]
pub struct StakeGate {
    stakes: Stakes,
    closed: bool,
}

/// Staked nodes from which on a cluster is large.
const LARGE_CLUSTER: usize = 500;

/// Stake from which on a node counts: 1 SOL in lamports.
const STAKE_MIN: u64 = 1_000_000_000;

impl StakeGate {
    /// The gate with these stakes.
    #[must_use]
    pub fn new(stakes: Stakes) -> Self {
        let closed = stakes.values().filter(|stake| **stake >= STAKE_MIN).count() >= LARGE_CLUSTER;
        Self { stakes, closed }
    }

    /// Whether such a value is taken in.
    #[must_use]
    pub fn may_enter(&self, data: &CrdsData) -> bool {
        matches!(data, CrdsData::EpochSlots(..) | CrdsData::Vote(..)) || self.may_be_pulled(data)
    }

    /// Whether such a value is passed on.
    #[must_use]
    pub fn may_push(&self, data: &CrdsData) -> bool {
        matches!(data, CrdsData::Vote(..)) || self.may_be_pulled(data)
    }

    /// Whether such a value is given to those who pull.
    #[must_use]
    pub fn may_be_pulled(&self, data: &CrdsData) -> bool {
        let free = matches!(data, CrdsData::ContactInfo(_) | CrdsData::SnapshotHashes(_));
        let staked = || self.stakes.get(&data.origin()).is_some_and(|stake| *stake >= STAKE_MIN);
        !self.closed || free || staked()
    }
}
