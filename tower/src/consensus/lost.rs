//! Blocks that lost: this node's version of a slot is thrown away with all that was built on it, because the cluster
//! chose another one.

use super::{Consensus, Purged};
use crate::block::Effect;
use crate::metrics::DropReason;
use std::collections::{BTreeMap, BTreeSet};
use sundog_types::{Effects, Hash, Now, Slot};

impl Consensus {
    /// This node's version of `slot` is gone. What is known of the last vote's ancestors is kept if the vote goes with
    /// it; the promise itself stays in the tower.
    pub(super) fn forgotten(&mut self, now: Now, (slot, proven): (Slot, bool), out: &mut Effects<Effect>) {
        if slot <= self.forks.root() {
            return self.metrics.drop(DropReason::BelowRoot);
        }
        self.dead.remove(&slot);
        // What comes instead may be wrong as well.
        self.told_versions.remove(&slot);
        if !self.forks.contains(slot) {
            return self.metrics.drop(DropReason::Known);
        }
        let under = |other: &Slot| *other == slot || self.forks.is_ancestor(slot, *other);
        let gone: BTreeSet<Slot> = self.forks.iter().map(|(other, _)| other).filter(under).collect();
        if let Some(last) = self.last_vote_key().map(|key| key.0).filter(|last| gone.contains(last)) {
            let under = self.forks.ancestors(last).collect();
            self.purged = Some(Purged { slot: last, under, duplicate: slot, proven });
        }
        for &gone in gone.iter().rev() {
            self.remove_leaf(gone);
        }
        self.propagation.retain(|own| !gone.contains(&own));
        self.suspects.retain(|suspect| !gone.contains(suspect));
        self.decide(now, out);
    }

    /// The version of a slot's block that more than 52 % of the stake voted for: its bank hash, and the block id that
    /// more than a third of the stake told with it, so that at least one honest node did.
    #[must_use]
    pub fn chosen_version(&self, slot: Slot) -> Option<(Hash, Option<Hash>)> {
        let hash = self.commitment.settled(slot)?;
        let mut told = BTreeMap::<Hash, u64>::new();
        for (voter, block_id) in self.commitment.voters(slot, hash).filter(|(_, id)| *id != Hash::default()) {
            let stake = told.entry(block_id).or_default();
            *stake = stake.saturating_add(self.commitment.electorate(slot).of_vote_account(voter));
        }
        let most = told.into_iter().max_by_key(|(_, stake)| *stake);
        let enough = |stake: u64| u128::from(stake) * 3 > u128::from(self.commitment.total(slot));
        Some((hash, most.filter(|(_, stake)| enough(*stake)).map(|(id, _)| id)))
    }
}
