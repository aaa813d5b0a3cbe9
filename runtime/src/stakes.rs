//! Who has delegated how much to whom, followed account by account (reference 5.2, 11.5).

use crate::bank::VoteAccount;
use serde::{Deserialize, Serialize};
use solana_account::{AccountSharedData, ReadableAccount};
use solana_sdk_ids::{stake, vote};
use solana_stake_interface::state::StakeStateV2;
use solana_vote_interface::state::{VoteStateV4, VoteStateVersions};
use std::{collections::BTreeMap, sync::Arc};
use sundog_types::{
    Pubkey,
    stakes::{EpochStakes, VoteStake},
};

/// Entries of the StakeHistory sysvar.
const HISTORY_ENTRIES_MAX: usize = 512;
/// Length of the StakeHistory sysvar's data.
const HISTORY_BYTES: usize = 8 + HISTORY_ENTRIES_MAX * 32;
/// The part of the cluster's effective stake that may warm up or cool down in an epoch, since the gate
/// reduce_stake_warmup_cooldown.
const WARMUP_RATE: f64 = 0.09;
/// The same before that gate.
const WARMUP_RATE_BEFORE: f64 = 0.25;
/// Where a stake account has its `credits_observed`.
pub(crate) const CREDITS_OBSERVED_AT: usize = 188;

/// How much stake there was in an epoch, in lamports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Stake that counted.
    pub effective: u64,
    /// Stake on its way to count.
    pub activating: u64,
    /// Stake that counted and was on its way out.
    pub deactivating: u64,
}

/// The stake of past epochs, as the StakeHistory sysvar has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StakeHistory(BTreeMap<u64, HistoryEntry>);

impl StakeHistory {
    /// The entry of an epoch.
    #[must_use]
    pub fn get(&self, epoch: u64) -> Option<&HistoryEntry> {
        self.0.get(&epoch)
    }

    fn add(&mut self, epoch: u64, entry: HistoryEntry) {
        self.0.insert(epoch, entry);
        while self.0.len() > HISTORY_ENTRIES_MAX {
            self.0.pop_first();
        }
    }

    /// Data of the StakeHistory sysvar (reference 12.3).
    pub(crate) fn sysvar_data(&self) -> Vec<u8> {
        let entries: Vec<(u64, HistoryEntry)> = self.0.iter().rev().map(|(epoch, entry)| (*epoch, *entry)).collect();
        let mut data = bincode::serialize(&entries).expect("plain numbers always encode");
        data.resize(HISTORY_BYTES, 0);
        data
    }

    pub(crate) fn from_sysvar_data(data: &[u8]) -> Self {
        let entries: Vec<(u64, HistoryEntry)> = bincode::deserialize(data).unwrap_or_default();
        Self(entries.into_iter().collect())
    }
}

/// What a stake account has delegated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delegation {
    pub(crate) voter: Pubkey,
    pub(crate) stake: u64,
    pub(crate) activation_epoch: u64,
    pub(crate) deactivation_epoch: u64,
    pub(crate) credits_observed: u64,
}

/// The warm-up rate over time, which a gate changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Warmup {
    /// The epoch from which the lower rate holds.
    pub(crate) lower_from: Option<u64>,
}

impl Warmup {
    fn rate(self, epoch: u64) -> f64 {
        if self.lower_from.is_some_and(|from| epoch >= from) { WARMUP_RATE } else { WARMUP_RATE_BEFORE }
    }
}

impl Delegation {
    fn parse(data: &[u8]) -> Option<Self> {
        match bincode::deserialize::<StakeStateV2>(data).ok()? {
            StakeStateV2::Stake(_, stake, _) => Some(Self {
                voter: stake.delegation.voter_pubkey,
                stake: stake.delegation.stake,
                activation_epoch: stake.delegation.activation_epoch,
                deactivation_epoch: stake.delegation.deactivation_epoch,
                credits_observed: stake.credits_observed,
            }),
            _ => None,
        }
    }

    /// Its effective, activating and deactivating parts in an epoch. Floating point, because the
    /// reference computes it so.
    pub(crate) fn status(&self, epoch: u64, history: &StakeHistory, warmup: Warmup) -> HistoryEntry {
        let (effective, activating) = self.warmed_up(epoch, history, warmup);
        if epoch < self.deactivation_epoch {
            return HistoryEntry { effective, activating, deactivating: 0 };
        }
        if epoch == self.deactivation_epoch {
            return HistoryEntry { effective, activating: 0, deactivating: effective };
        }
        let left = self.cooled_down(epoch, effective, (history, warmup));
        HistoryEntry { effective: left, activating: 0, deactivating: left }
    }

    fn warmed_up(&self, target: u64, history: &StakeHistory, warmup: Warmup) -> (u64, u64) {
        if self.activation_epoch == u64::MAX {
            return (self.stake, 0);
        }
        if self.activation_epoch == self.deactivation_epoch || target < self.activation_epoch {
            return (0, 0);
        }
        if target == self.activation_epoch {
            return (0, self.stake);
        }
        let Some(mut cluster) = history.get(self.activation_epoch) else {
            return (self.stake, 0);
        };
        let mut effective = 0;
        let mut epoch = self.activation_epoch;
        loop {
            epoch += 1;
            if cluster.activating == 0 {
                break;
            }
            let weight = (self.stake - effective) as f64 / cluster.activating as f64;
            let newly = ((weight * (cluster.effective as f64 * warmup.rate(epoch))) as u64).max(1);
            effective = self.stake.min(effective.saturating_add(newly));
            if effective == self.stake || epoch >= target || epoch >= self.deactivation_epoch {
                break;
            }
            match history.get(epoch) {
                Some(next) => cluster = next,
                None => break,
            }
        }
        (effective, self.stake - effective)
    }

    fn cooled_down(&self, target: u64, effective: u64, (history, warmup): (&StakeHistory, Warmup)) -> u64 {
        let Some(mut cluster) = history.get(self.deactivation_epoch) else {
            return 0;
        };
        let mut left = effective;
        let mut epoch = self.deactivation_epoch;
        loop {
            epoch += 1;
            if cluster.deactivating == 0 {
                return left;
            }
            let weight = left as f64 / cluster.deactivating as f64;
            let newly = ((weight * (cluster.effective as f64 * warmup.rate(epoch))) as u64).max(1);
            left = left.saturating_sub(newly);
            if left == 0 || epoch >= target {
                return left;
            }
            match history.get(epoch) {
                Some(next) => cluster = next,
                None => return left,
            }
        }
    }
}

/// The vote and stake accounts of a fork, kept up with every change. Copies share what they have in
/// common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stakes {
    /// The epoch whose effective stakes `by_voter` has.
    epoch: u64,
    votes: Arc<BTreeMap<Pubkey, Arc<VoteStateV4>>>,
    delegations: Arc<BTreeMap<Pubkey, Delegation>>,
    by_voter: Arc<BTreeMap<Pubkey, u64>>,
    history: Arc<StakeHistory>,
    warmup: Warmup,
}

impl Stakes {
    pub(crate) fn new(epoch: u64, history: StakeHistory, warmup: Warmup) -> Self {
        Self { epoch, history: Arc::new(history), warmup, ..Self::default() }
    }

    pub(crate) fn history(&self) -> &StakeHistory {
        &self.history
    }

    pub(crate) fn warmup(&self) -> Warmup {
        self.warmup
    }

    pub(crate) fn votes(&self) -> &BTreeMap<Pubkey, Arc<VoteStateV4>> {
        &self.votes
    }

    pub(crate) fn delegations(&self) -> &BTreeMap<Pubkey, Delegation> {
        &self.delegations
    }

    /// Follows an account that was written.
    pub(crate) fn follow(&mut self, key: &Pubkey, account: &AccountSharedData) {
        let live = account.lamports() > 0;
        let is_vote = live
            && vote::check_id(account.owner())
            && VoteStateVersions::is_correct_size_and_initialized(account.data());
        match is_vote.then(|| VoteStateV4::deserialize(account.data(), key).ok()).flatten() {
            Some(state) => {
                Arc::make_mut(&mut self.votes).insert(*key, Arc::new(state));
            }
            None if self.votes.contains_key(key) => {
                Arc::make_mut(&mut self.votes).remove(key);
            }
            None => {}
        }
        let is_stake = live && stake::check_id(account.owner());
        let delegation = is_stake.then(|| Delegation::parse(account.data())).flatten();
        let before = self.delegations.get(key).copied();
        if before == delegation {
            return;
        }
        if let Some(before) = before {
            let effective = self.effective(&before);
            let sum = Arc::make_mut(&mut self.by_voter).entry(before.voter).or_default();
            *sum = sum.saturating_sub(effective);
            Arc::make_mut(&mut self.delegations).remove(key);
        }
        if let Some(delegation) = delegation {
            let effective = self.effective(&delegation);
            let sum = Arc::make_mut(&mut self.by_voter).entry(delegation.voter).or_default();
            *sum = sum.saturating_add(effective);
            Arc::make_mut(&mut self.delegations).insert(*key, delegation);
        }
    }

    fn effective(&self, delegation: &Delegation) -> u64 {
        delegation.status(self.epoch, &self.history, self.warmup).effective
    }

    /// Effective stake of a vote account in this epoch.
    pub(crate) fn of(&self, vote_account: &Pubkey) -> u64 {
        self.by_voter.get(vote_account).copied().unwrap_or(0)
    }

    /// Moves on to an epoch: notes the stake of the one that ends, works out what counts in the next.
    pub(crate) fn enter(&mut self, epoch: u64) {
        let mut sum = HistoryEntry::default();
        for delegation in self.delegations.values() {
            let status = delegation.status(self.epoch, &self.history, self.warmup);
            sum.effective = sum.effective.saturating_add(status.effective);
            sum.activating = sum.activating.saturating_add(status.activating);
            sum.deactivating = sum.deactivating.saturating_add(status.deactivating);
        }
        Arc::make_mut(&mut self.history).add(self.epoch, sum);
        self.epoch = epoch;
        let mut by_voter = BTreeMap::<Pubkey, u64>::new();
        for delegation in self.delegations.values() {
            let stake = by_voter.entry(delegation.voter).or_default();
            *stake = stake.saturating_add(self.effective(delegation));
        }
        self.by_voter = Arc::new(by_voter);
    }

    /// What holds for `epoch` if it is fixed now (reference 5.2).
    pub(crate) fn snapshot(&self, epoch: u64) -> EpochStakes {
        let voter = |(key, state): (&Pubkey, &Arc<VoteStateV4>)| {
            let stake = self.of(key);
            let authorized_voter = state.authorized_voters.get_authorized_voter(epoch)?;
            (stake > 0).then_some((*key, VoteStake { node: state.node_pubkey, authorized_voter, stake }))
        };
        EpochStakes { by_vote_account: self.votes.iter().filter_map(voter).collect() }
    }

    /// Every vote account as clients and the tower see it, by address.
    pub(crate) fn vote_accounts(&self) -> Vec<VoteAccount> {
        let view = |(key, state): (&Pubkey, &Arc<VoteStateV4>)| VoteAccount {
            pubkey: *key,
            node: state.node_pubkey,
            stake: self.of(key),
            commission: u8::try_from(state.inflation_rewards_commission_bps / 100).unwrap_or(u8::MAX),
            lockouts: state.votes.iter().map(|v| (v.lockout.slot(), v.lockout.confirmation_count())).collect(),
            root: state.root_slot,
            epoch_credits: state.epoch_credits.clone(),
            last_timestamp: (state.last_timestamp.slot, state.last_timestamp.timestamp),
        };
        self.votes.iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use solana_stake_interface::{stake_history, state};

    /// Some epochs after each other, as large as real clusters.
    fn histories() -> impl Strategy<Value = Vec<HistoryEntry>> {
        let entry = (0..1_u64 << 58, 0..1_u64 << 58, 0..1_u64 << 58)
            .prop_map(|(effective, activating, deactivating)| HistoryEntry { effective, activating, deactivating });
        prop::collection::vec(prop_oneof![entry, Just(HistoryEntry::default())], 1..12)
    }

    /// The published crate of the stake program, which reckons in whole numbers, against ours, which reckons in floating
    /// point as the reference's banks do: the same but for what is rounded away, an epoch's part in 2^50.
    fn agrees(delegation: &Delegation, entries: &[HistoryEntry], (target, lower_from): (u64, Option<u64>)) {
        let mut ours = StakeHistory::default();
        let mut theirs = stake_history::StakeHistory::default();
        for (epoch, entry) in (2..).zip(entries) {
            ours.add(epoch, *entry);
            let HistoryEntry { effective, activating, deactivating } = *entry;
            theirs.add(epoch, stake_history::StakeHistoryEntry { effective, activating, deactivating });
        }
        let same = state::Delegation {
            voter_pubkey: delegation.voter,
            stake: delegation.stake,
            activation_epoch: delegation.activation_epoch,
            deactivation_epoch: delegation.deactivation_epoch,
            ..state::Delegation::default()
        };
        let status = delegation.status(target, &ours, Warmup { lower_from });
        let expected = same.stake_activating_and_deactivating_v2(target, &theirs, lower_from);
        let near = |ours: u64, theirs: u64| ours.abs_diff(theirs) <= 16 + (delegation.stake >> 46);
        let alike = near(status.effective, expected.effective)
            && near(status.activating, expected.activating)
            && near(status.deactivating, expected.deactivating);
        assert!(alike, "{status:?} and {expected:?} of {delegation:?} with {entries:?}");
    }

    proptest! {
        #[test]
        fn stake_warms_up_and_cools_down_as_the_published_crate_says(
            entries in histories(),
            stake in 1..1_u64 << 58,
            (activation, active, target) in (0..14_u64, prop_oneof![0..8_u64, Just(u64::MAX)], 0..20_u64),
            lower_from in prop_oneof![Just(None), Just(Some(0)), (0..14_u64).prop_map(Some)],
        ) {
            let activation_epoch = if activation == 0 { u64::MAX } else { activation };
            let deactivation_epoch = if activation == 0 { 4_u64.saturating_add(active) } else { activation.saturating_add(active) };
            let voter = Pubkey::default();
            let delegation = Delegation { voter, stake, activation_epoch, deactivation_epoch, credits_observed: 0 };
            agrees(&delegation, &entries, (target, lower_from));
        }
    }

    #[test]
    fn a_large_delegation_warms_up_nine_percent_of_the_cluster_an_epoch_and_a_bootstrap_one_counts_at_once() {
        let warmup = Warmup { lower_from: Some(0) };
        let mut history = StakeHistory::default();
        let delegation = |stake, activation_epoch| {
            let voter = Pubkey::default();
            Delegation { voter, stake, activation_epoch, deactivation_epoch: u64::MAX, credits_observed: 0 }
        };
        let (first, new) = (delegation(2_000, u64::MAX), delegation(500, 3));
        let mut counts = Vec::new();
        for epoch in 3..9 {
            let [first, new] = [first, new].map(|delegation| delegation.status(epoch, &history, warmup));
            assert_eq!(first, HistoryEntry { effective: 2_000, activating: 0, deactivating: 0 });
            counts.push(new.effective);
            let (effective, activating) = (first.effective + new.effective, new.activating);
            history.add(epoch, HistoryEntry { effective, activating, deactivating: 0 });
        }
        assert_eq!(counts, [0, 180, 376, 500, 500, 500]);
    }
}
