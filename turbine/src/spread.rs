//! Whom a shred is sent to: the tree of its slot's epoch, over the peers that gossip knows (reference 4).

use crate::{
    effect::{EpochInfo, Route},
    tree::{ClusterNodes, Place, TreeRng, fanout},
};
use std::{collections::BTreeMap, time::Duration};
use sundog_types::{
    Now, Pubkey, Slot,
    peer::Peer,
    shred::{Gates, Shred, Signed},
};

/// Epochs that are remembered: the current one, the next, and some before for late shreds. Full: the oldest is
/// forgotten.
pub const EPOCHS_MAX: usize = 8;
/// How old the list of nodes of a tree may be while the registry changes.
const NODES_LIFE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Known {
    info: EpochInfo,
    by_node: BTreeMap<Pubkey, u64>,
    nodes: Option<(Now, u64, ClusterNodes)>,
}

/// A receiver of a shred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receiver {
    pub(crate) to: Pubkey,
    /// `None`: it has no address for shreds.
    pub(crate) addresses: Option<Route>,
    pub(crate) layer: u8,
}

/// This node's part in the tree of a shred.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) place: Place,
    pub(crate) children: Vec<Receiver>,
}

/// The trees.
#[derive(Debug)]
pub(crate) struct Spread {
    me: Pubkey,
    shred_version: u16,
    fanout: Option<usize>,
    /// By first slot.
    epochs: BTreeMap<Slot, Known>,
    contacts: BTreeMap<Pubkey, Route>,
    /// Counts changes of the contacts' identities.
    contacts_version: u64,
}

impl Spread {
    /// `fanout`: children of a node, instead of what the protocol says.
    pub(crate) fn new(me: Pubkey, shred_version: u16, fanout: Option<usize>) -> Self {
        Self { me, shred_version, fanout, epochs: BTreeMap::new(), contacts: BTreeMap::new(), contacts_version: 0 }
    }

    pub(crate) fn set_epoch(&mut self, info: EpochInfo) {
        let by_node = info.stakes.by_node();
        self.epochs.insert(info.first_slot, Known { info, by_node, nodes: None });
        if self.epochs.len() > EPOCHS_MAX {
            self.epochs.pop_first();
        }
    }

    pub(crate) fn set_peers(&mut self, peers: &[Peer]) {
        let ours = |peer: &&Peer| peer.identity != self.me && peer.shred_version == self.shred_version;
        let contact = |peer: &Peer| Some((peer.identity, Route::of(&peer.addresses)?));
        let contacts: BTreeMap<_, _> = peers.iter().filter(ours).filter_map(contact).collect();
        if !contacts.keys().eq(self.contacts.keys()) {
            self.contacts_version += 1;
        }
        self.contacts = contacts;
    }

    fn known(&self, slot: Slot) -> Option<&Known> {
        let (first, known) = self.epochs.range(..=slot).next_back()?;
        (slot.since(*first)?.get() < known.info.slots).then_some(known)
    }

    /// The slot's leader; `None` if its epoch is not known.
    pub(crate) fn leader(&self, slot: Slot) -> Option<Pubkey> {
        let known = self.known(slot)?;
        known.info.leaders.get(slot.since(known.info.first_slot)?.get())
    }

    /// The rules that hold for the slot's shreds; `None` if its epoch is not known.
    pub(crate) fn gates(&self, slot: Slot) -> Option<Gates> {
        self.known(slot).map(|known| known.info.gates)
    }

    /// Slots of the epoch that the slot lies in, or of the newest that is known.
    pub(crate) fn slots_in_epoch(&self, slot: Slot) -> u64 {
        let newest = || self.epochs.last_key_value().map(|(_, known)| known);
        self.known(slot).or_else(newest).map_or(0, |known| known.info.slots)
    }

    /// Whom this node, as leader, sends a shred to. `None`: it is alone.
    pub(crate) fn broadcast(&mut self, now: Now, shred: &Shred<Signed>) -> Option<Receiver> {
        let (me, slot) = (self.me, shred.slot());
        let rng = TreeRng::of(self.gates(slot)?);
        let to = self.nodes(now, slot)?.root(&me, &shred.id(), rng)?;
        Some(self.receiver(to, 0))
    }

    /// This node's part in the tree of another leader's shred.
    pub(crate) fn part(&mut self, now: Now, shred: &Shred<Signed>) -> Option<Part> {
        let slot = shred.slot();
        let (leader, gates) = (self.leader(slot)?, self.gates(slot)?);
        let fanout = self.fanout.unwrap_or_else(|| fanout(slot, gates));
        let hop = self.nodes(now, slot)?.hop(&leader, &shred.id(), TreeRng::of(gates), fanout)?;
        let layer = hop.place.layer().saturating_add(1);
        let children = hop.children.into_iter().map(|child| self.receiver(child, layer)).collect();
        Some(Part { place: hop.place, children })
    }

    fn receiver(&self, to: Pubkey, layer: u8) -> Receiver {
        Receiver { to, addresses: self.contacts.get(&to).copied(), layer }
    }

    fn nodes(&mut self, now: Now, slot: Slot) -> Option<&ClusterNodes> {
        let (_, known) = self.epochs.range_mut(..=slot).next_back()?;
        let outdated = known
            .nodes
            .as_ref()
            .is_none_or(|(made, version, _)| *version != self.contacts_version && now.since(*made) >= NODES_LIFE);
        if outdated {
            let nodes = ClusterNodes::new(self.me, &known.by_node, self.contacts.keys().copied());
            known.nodes = Some((now, self.contacts_version, nodes));
        }
        known.nodes.as_ref().map(|(_, _, nodes)| nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use sundog_types::{Epoch, schedule::LeaderSchedule, stakes::EpochStakes};

    fn epoch(number: u64) -> EpochInfo {
        let stakes = Arc::new(EpochStakes::default());
        let number_of = Epoch::new(number);
        EpochInfo {
            epoch: number_of,
            first_slot: Slot::new(number * 32),
            slots: 32,
            leaders: Arc::new(LeaderSchedule::new(number_of, 32, &stakes)),
            stakes,
            gates: Gates::since_genesis(number_of),
        }
    }

    #[test]
    fn the_oldest_epoch_makes_room_and_gaps_are_unknown() {
        let mut spread = Spread::new(Pubkey::default(), 7, None);
        for number in 0..EPOCHS_MAX as u64 {
            spread.set_epoch(epoch(number));
        }
        assert!(spread.gates(Slot::new(0)).is_some());
        spread.set_epoch(epoch(20));
        assert_eq!(spread.epochs.len(), EPOCHS_MAX);
        assert!(spread.gates(Slot::new(31)).is_none());
        assert!(spread.gates(Slot::new(32)).is_some());
        assert!(spread.gates(Slot::new(15 * 32)).is_none(), "between known epochs");
        assert!(spread.leader(Slot::new(32)).is_none(), "nobody has stake");
    }
}
