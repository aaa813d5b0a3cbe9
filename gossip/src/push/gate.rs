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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::EPOCH_SLOTS_PLACES,
        wire::{
            contact::ContactInfo,
            kinds::{LowestSlot, SnapshotHashes, Vote},
            slots::EpochSlots,
        },
    };
    use solana_keypair::Keypair;
    use std::sync::Arc;
    use sundog_types::{
        Hash, Pubkey,
        peer::Addresses,
        vote::{VoteOnWire, tower_sync_transaction},
    };

    fn key(number: usize) -> Pubkey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
        Pubkey::new_from_array(bytes)
    }

    fn gate(nodes: usize, stake: u64) -> StakeGate {
        StakeGate::new(Arc::new((1..=nodes).map(|number| (key(number), stake)).collect()))
    }

    fn vote(from: Pubkey) -> CrdsData {
        let keypair = Keypair::new_from_array([1; 32]);
        let vote = VoteOnWire {
            vote_account: key(7),
            slots: vec![(9, 1)],
            root: None,
            hash: Hash::default(),
            block_id: Hash::default(),
            timestamp: None,
            switch: false,
        };
        let transaction = tower_sync_transaction(&vote, Hash::default(), &keypair, &keypair);
        let transaction = transaction.into_legacy_transaction().expect("a legacy one");
        CrdsData::Vote(0, Vote::new(from, transaction, 1).expect("a vote"))
    }

    /// What a node may say: taken in, passed on, given to who pulls.
    fn says(gate: &StakeGate, data: &CrdsData) -> [bool; 3] {
        [gate.may_enter(data), gate.may_push(data), gate.may_be_pulled(data)]
    }

    #[test]
    fn in_a_large_cluster_nodes_without_stake_say_where_they_are_and_little_more() {
        let kinds = |from: Pubkey| {
            let hashes = SnapshotHashes { from, full: (1, Hash::default()), incremental: Vec::new(), wallclock: 1 };
            [
                CrdsData::ContactInfo(Box::new(ContactInfo::new(from, 1, 7, &Addresses::default()))),
                CrdsData::SnapshotHashes(hashes),
                vote(from),
                CrdsData::EpochSlots(EPOCH_SLOTS_PLACES - 1, EpochSlots { from, parts: Vec::new(), wallclock: 1 }),
                CrdsData::LowestSlot(0, LowestSlot::new(from, 1, 1)),
            ]
        };
        let large = gate(LARGE_CLUSTER, STAKE_MIN);
        let unstaked = kinds(key(0)).map(|data| says(&large, &data));
        let (all, none) = ([true; 3], [false; 3]);
        assert_eq!(unstaked, [all, all, [true, true, false], [true, false, false], none]);
        assert_eq!(kinds(key(1)).map(|data| says(&large, &data)), [all; 5]);
        for small in [gate(LARGE_CLUSTER - 1, STAKE_MIN), gate(2 * LARGE_CLUSTER, STAKE_MIN - 1)] {
            assert_eq!(kinds(key(0)).map(|data| says(&small, &data)), [all; 5], "all may speak in a small cluster");
        }
    }
}
