//! Which peers say that they have a slot whole: the first that repair asks for it (reference 7.3).

use std::collections::BTreeMap;
use sundog_types::{Pubkey, Slot};

/// Slots above the root that are remembered; as many as gossip tells of. Those farther ahead are not noted.
pub const SLOTS_MAX: u64 = 8_192;

/// Peers that are remembered of one slot: enough to divide the requests between, few enough to draw among for each
/// request. Full: of the newcomer and those that are there, the one with the least stake is left out, so that nobody
/// without stake can crowd out honest peers.
pub const PEERS_PER_SLOT: usize = 32;

/// Bytes that the memory of who announced what holds at most, about.
pub const ANNOUNCED_BYTES_MAX: usize =
    SLOTS_MAX as usize * (PEERS_PER_SLOT * size_of::<(u64, Pubkey)>() + 2 * size_of::<(Slot, Vec<(u64, Pubkey)>)>());

/// Peers by the slots that they announced, above the root.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    root: Slot,
    /// Stake and identity, the least stake first.
    slots: BTreeMap<Slot, Vec<(u64, Pubkey)>>,
}

impl Announced {
    /// Notes that a peer with this stake says that it has these slots.
    pub(crate) fn note(&mut self, peer: Pubkey, stake: u64, slots: &[Slot]) {
        let last = self.root.saturating_add(SLOTS_MAX);
        for slot in slots.iter().filter(|slot| **slot > self.root && **slot <= last) {
            let peers = self.slots.entry(*slot).or_default();
            peers.retain(|(_, other)| *other != peer);
            let mut place = peers.partition_point(|other| *other < (stake, peer));
            if peers.len() == PEERS_PER_SLOT {
                if place == 0 {
                    continue;
                }
                peers.remove(0);
                place -= 1;
            }
            peers.insert(place, (stake, peer));
        }
    }

    /// Forgets the root and what is below it.
    pub(crate) fn set_root(&mut self, root: Slot) {
        self.root = self.root.max(root);
        self.slots = self.slots.split_off(&self.root.next());
    }

    /// Who announced a slot, the least stake first.
    pub(crate) fn of(&self, slot: Slot) -> impl Iterator<Item = &Pubkey> {
        self.slots.get(&slot).into_iter().flatten().map(|(_, peer)| peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> Pubkey {
        Pubkey::from([number; 32])
    }

    #[test]
    fn only_slots_between_the_root_and_so_many_above_it_are_noted_and_the_root_forgets_them() {
        let mut announced = Announced::default();
        announced.set_root(Slot::new(10));
        let slots: Vec<Slot> = (0..SLOTS_MAX + 100).map(Slot::new).collect();
        announced.note(node(1), 5, &slots);
        announced.note(node(1), 5, &[Slot::new(11)]);
        assert_eq!(announced.slots.len() as u64, SLOTS_MAX);
        assert_eq!(announced.of(Slot::new(11)).collect::<Vec<_>>(), [&node(1)], "once");
        assert!([10, 11 + SLOTS_MAX].iter().all(|slot| announced.of(Slot::new(*slot)).next().is_none()));
        announced.set_root(Slot::new(8_000));
        announced.set_root(Slot::new(7));
        assert_eq!(announced.slots.first_key_value().map(|(slot, _)| *slot), Some(Slot::new(8_001)));
    }

    #[test]
    fn of_too_many_peers_of_a_slot_those_with_the_least_stake_are_left_out() {
        let mut announced = Announced::default();
        let slot = Slot::new(3);
        for number in 0..200 {
            announced.note(node(number), u64::from(number % 100), &[slot]);
        }
        let peers: Vec<&Pubkey> = announced.of(slot).collect();
        assert_eq!(peers.len(), PEERS_PER_SLOT);
        assert!(peers.contains(&&node(99)) && peers.contains(&&node(199)) && !peers.contains(&&node(50)));
    }
}
