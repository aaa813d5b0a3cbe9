//! Epochs, and who leads which slot.

use crate::{Epoch, Pubkey, Slot, stakes::EpochStakes};
use rand::{SeedableRng as _, distributions::Distribution as _, distributions::WeightedIndex};
use rand_chacha::ChaCha20Rng;
pub use solana_epoch_schedule::EpochSchedule;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A leader keeps the lead for this many slots in a row.
pub const LEADER_WINDOW_SLOTS: u64 = 4;

/// Schedules kept by [`Leaders`]: as many as the reference keeps (5.4), some epochs of history for
/// late shreds and the next epoch. When full, the oldest epoch is forgotten.
pub const SCHEDULES_MAX: usize = 10;

/// Who leads each slot of an epoch (reference 5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderSchedule {
    /// The epoch it is for.
    pub epoch: Epoch,
    slots: u64,
    /// Every node with a chance to lead, each once.
    nodes: Vec<Pubkey>,
    /// For each window of four slots, its leader's place in `nodes`.
    windows: Vec<u32>,
}

impl LeaderSchedule {
    /// Draws the schedule among vote accounts; the node behind the drawn account leads. This is the
    /// schedule of clusters on which `enable_vote_address_leader_schedule` is active.
    #[must_use]
    pub fn new(epoch: Epoch, slots_in_epoch: u64, stakes: &EpochStakes) -> Self {
        let accounts = stakes.by_vote_account.iter();
        let items = accounts.map(|(account, vote)| (vote.stake, *account, vote.node)).collect();
        Self::draw(epoch, slots_in_epoch, items)
    }

    /// Draws the schedule among nodes, each with the stake of all its vote accounts.
    #[must_use]
    pub fn identity_keyed(epoch: Epoch, slots_in_epoch: u64, stakes: &EpochStakes) -> Self {
        let nodes = stakes.by_node().into_iter();
        let items = nodes.map(|(node, stake)| (stake, node, node)).collect();
        Self::draw(epoch, slots_in_epoch, items)
    }

    /// `items`: stake in lamports, the key that breaks ties, and the node that leads.
    fn draw(epoch: Epoch, slots: u64, mut items: Vec<(u64, Pubkey, Pubkey)>) -> Self {
        items.retain(|(stake, ..)| *stake > 0);
        items.sort_unstable_by_key(|(stake, key, _)| Reverse((*stake, *key)));
        let mut nodes: Vec<Pubkey> = items.iter().map(|(.., node)| *node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        // Without stake nobody leads: an empty schedule, as if the epoch were unknown.
        let Ok(weights) = WeightedIndex::new(items.iter().map(|(stake, ..)| *stake)) else {
            return Self { epoch, slots: 0, nodes: Vec::new(), windows: Vec::new() };
        };
        let places: Vec<u32> = items
            .iter()
            .map(|(.., node)| {
                let place = nodes.binary_search(node).expect("listed above");
                u32::try_from(place).expect("fewer nodes than 2^32")
            })
            .collect();
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&epoch.get().to_le_bytes());
        let mut rng = ChaCha20Rng::from_seed(seed);
        let windows = (0..slots.div_ceil(LEADER_WINDOW_SLOTS)).map(|_| places[weights.sample(&mut rng)]).collect();
        Self { epoch, slots, nodes, windows }
    }

    /// The number of slots it covers; 0 when nobody had stake.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.slots
    }

    /// Whether it covers no slot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots == 0
    }

    /// The leader of the slot with this place in the epoch.
    ///
    /// # Panics
    /// If the epoch has no such slot; [`Self::get`] answers `None` instead.
    #[must_use]
    pub fn leader_at(&self, slot_index: u64) -> Pubkey {
        self.get(slot_index).expect("the slot lies in the epoch")
    }

    /// The leader of the slot with this place in the epoch, if it has one.
    #[must_use]
    pub fn get(&self, slot_index: u64) -> Option<Pubkey> {
        if slot_index >= self.slots {
            return None;
        }
        let window = usize::try_from(slot_index / LEADER_WINDOW_SLOTS).ok()?;
        let node = *self.windows.get(window)?;
        self.nodes.get(node as usize).copied()
    }

    /// The leaders of all slots in order.
    pub fn iter(&self) -> impl Iterator<Item = Pubkey> {
        (0..self.slots).map(|index| self.leader_at(index))
    }

    /// Places in the epoch of the slots that `node` leads, in order.
    #[must_use]
    pub fn slots_of(&self, node: &Pubkey) -> Vec<u64> {
        let Ok(place) = self.nodes.binary_search(node) else {
            return Vec::new();
        };
        (0..self.slots)
            .zip(self.windows.iter().flat_map(|window| [*window; LEADER_WINDOW_SLOTS as usize]))
            .filter(|(_, leader)| *leader as usize == place)
            .map(|(index, _)| index)
            .collect()
    }

    /// The first place at or after `from`, and before `end`, that `node` leads.
    fn next_index_of(&self, node: &Pubkey, from: u64, end: u64) -> Option<u64> {
        let place = u32::try_from(self.nodes.binary_search(node).ok()?).ok()?;
        let first = usize::try_from(from / LEADER_WINDOW_SLOTS).ok()?;
        let skipped = self.windows.get(first..)?.iter().position(|leader| *leader == place)?;
        let window = (first + skipped) as u64;
        let index = from.max(window * LEADER_WINDOW_SLOTS);
        (index < end.min(self.slots)).then_some(index)
    }
}

/// Schedules of several epochs with the epoch schedule: answers who leads a slot.
///
/// Holds [`SCHEDULES_MAX`] epochs; when full, the oldest is forgotten.
#[derive(Clone, Debug)]
pub struct Leaders {
    epoch_schedule: EpochSchedule,
    schedules: BTreeMap<Epoch, Arc<LeaderSchedule>>,
}

impl Leaders {
    /// Knows how slots fall into epochs, and no leader yet.
    #[must_use]
    pub fn new(epoch_schedule: EpochSchedule) -> Self {
        Self { epoch_schedule, schedules: BTreeMap::new() }
    }

    /// Learns the schedule of an epoch, in place of an earlier one for that epoch. When full, the
    /// oldest epoch is forgotten, which may be this one.
    pub fn insert(&mut self, schedule: Arc<LeaderSchedule>) {
        self.schedules.insert(schedule.epoch, schedule);
        while self.schedules.len() > SCHEDULES_MAX {
            self.schedules.pop_first();
        }
    }

    /// Who leads `slot`; `None` when its epoch's schedule is not known (or nobody had stake).
    #[must_use]
    pub fn leader(&self, slot: Slot) -> Option<Pubkey> {
        let (epoch, index) = self.epoch_schedule.get_epoch_and_slot_index(slot.get());
        self.schedules.get(&Epoch::new(epoch))?.get(index)
    }

    /// The schedule of an epoch, if known.
    #[must_use]
    pub fn schedule(&self, epoch: Epoch) -> Option<&Arc<LeaderSchedule>> {
        self.schedules.get(&epoch)
    }

    /// How slots fall into epochs.
    #[must_use]
    pub fn epoch_schedule(&self) -> &EpochSchedule {
        &self.epoch_schedule
    }

    /// The epoch of a slot.
    #[must_use]
    pub fn epoch(&self, slot: Slot) -> Epoch {
        Epoch::new(self.epoch_schedule.get_epoch(slot.get()))
    }

    /// The first of the `within` slots from `from` on (itself included) that `node` leads, as far as
    /// schedules are known. Epochs that are not known are passed over.
    #[must_use]
    pub fn next_slot_of(&self, node: &Pubkey, from: Slot, within: u64) -> Option<Slot> {
        let end = from.saturating_add(within);
        for (epoch, schedule) in self.schedules.range(self.epoch(from)..) {
            let first = self.epoch_schedule.get_first_slot_in_epoch(epoch.get());
            if first >= end.get() {
                break;
            }
            let start = from.get().saturating_sub(first);
            if let Some(index) = schedule.next_index_of(node, start, end.get() - first) {
                return Some(Slot::new(first.saturating_add(index)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stakes::VoteStake;

    fn key(byte: u8) -> Pubkey {
        Pubkey::from([byte; 32])
    }

    fn stakes(all: &[(u8, u8, u64)]) -> EpochStakes {
        let accounts = all.iter().map(|(account, node, stake)| {
            let vote = VoteStake { node: key(*node), authorized_voter: key(*node), stake: *stake };
            (key(*account), vote)
        });
        EpochStakes { by_vote_account: accounts.collect() }
    }

    fn schedule(epoch: u64, slots: u64) -> Arc<LeaderSchedule> {
        let stakes = stakes(&[(11, 1, 10), (12, 2, 10), (13, 1, 5), (14, 3, 0)]);
        Arc::new(LeaderSchedule::new(Epoch::new(epoch), slots, &stakes))
    }

    #[test]
    fn a_leader_keeps_the_lead_for_four_slots() {
        let schedule = schedule(0, 64);
        for index in 0..64 {
            assert_eq!(schedule.leader_at(index), schedule.leader_at(index / 4 * 4));
        }
    }

    #[test]
    fn the_slots_of_all_nodes_are_all_slots() {
        let schedule = schedule(7, 65);
        let mut slots = [1, 2, 3].map(|node| schedule.slots_of(&key(node))).concat();
        slots.sort_unstable();
        assert_eq!(slots, (0..65).collect::<Vec<_>>());
        assert!(schedule.slots_of(&key(3)).is_empty(), "no stake, no slot");
        assert_eq!(schedule.get(65), None);
    }

    #[test]
    fn without_stake_nobody_leads() {
        let schedule = LeaderSchedule::new(Epoch::ZERO, 64, &stakes(&[(14, 3, 0)]));
        assert!(schedule.is_empty());
        assert_eq!(schedule.get(0), None);
    }

    #[test]
    fn the_next_slot_of_a_node_is_found_across_epochs() {
        let mut leaders = Leaders::new(EpochSchedule::custom(32, 32, false));
        for epoch in 0..4 {
            leaders.insert(schedule(epoch, 32));
        }
        for from in 0..128 {
            for within in [0, 1, 3, 40, 128] {
                let slow =
                    (from..(from + within).min(128)).map(Slot::new).find(|slot| leaders.leader(*slot) == Some(key(2)));
                let found = leaders.next_slot_of(&key(2), Slot::new(from), within);
                assert_eq!(found, slow, "from {from} within {within}");
            }
        }
    }

    #[test]
    fn a_full_set_of_schedules_forgets_the_oldest_epoch() {
        let mut leaders = Leaders::new(EpochSchedule::custom(32, 32, false));
        for epoch in 0..=SCHEDULES_MAX as u64 {
            leaders.insert(schedule(epoch, 32));
        }
        assert!(leaders.schedule(Epoch::ZERO).is_none());
        assert!(leaders.schedule(Epoch::new(1)).is_some());
        assert_eq!(leaders.leader(Slot::new(0)), None);
        assert!(leaders.leader(Slot::new(32)).is_some());
    }
}
