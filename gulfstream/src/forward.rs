//! Who leads next, and what is on its way to them.

use crate::Effect;
use crate::lanes::CHECK_BATCH_MAX;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use sundog_types::peer::{Addresses, Peer};
use sundog_types::{Effects, Pubkey, Slot};

/// Different leaders that a transaction is sent to: this one and the next, so that it is there in time
/// even if this window is almost over (reference 9.2).
pub const LEADERS_FANOUT: usize = 2;

/// A node that leads within this many slots holds what it gets (HOLD_TRANSACTIONS_SLOT_OFFSET).
pub const HOLD_SLOTS: u64 = 20;

/// By which port of a leader something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// As any client sends: what this node's RPC was given.
    Client,
    /// As validators forward: the leader knows not to forward it again.
    Relay,
    /// As votes go.
    Vote,
}

/// The coming leaders as far as known.
pub(crate) struct Horizon {
    me: Pubkey,
    leaders: Arc<Vec<(Slot, Pubkey)>>,
    addresses: BTreeMap<Pubkey, Addresses>,
    tip: Slot,
}

impl Horizon {
    pub(crate) fn new(me: Pubkey) -> Self {
        Self { me, leaders: Arc::default(), addresses: BTreeMap::new(), tip: Slot::ZERO }
    }

    pub(crate) fn me(&self) -> Pubkey {
        self.me
    }

    pub(crate) fn set_leaders(&mut self, leaders: Arc<Vec<(Slot, Pubkey)>>) {
        self.leaders = leaders;
    }

    pub(crate) fn set_tip(&mut self, tip: Slot) {
        self.tip = tip;
    }

    pub(crate) fn set_peers(&mut self, peers: &[Peer]) {
        self.addresses = peers.iter().map(|peer| (peer.identity, peer.addresses)).collect();
    }

    fn ahead(&self) -> impl Iterator<Item = &(Slot, Pubkey)> {
        self.leaders.iter().filter(|(slot, _)| *slot >= self.tip)
    }

    /// Slots until this node leads, 0 if it is its slot; `None` if it is not among the known ones.
    pub(crate) fn slots_to_own(&self) -> Option<u64> {
        let (slot, _) = self.ahead().find(|(_, leader)| *leader == self.me)?;
        Some(slot.get() - self.tip.get())
    }

    /// Whether this node leads so soon that it holds what it gets.
    pub(crate) fn leads_soon(&self) -> bool {
        self.slots_to_own().is_some_and(|slots| slots < HOLD_SLOTS)
    }

    /// The next different leaders, this node perhaps among them.
    pub(crate) fn next_leaders(&self) -> Vec<Pubkey> {
        let mut next = Vec::with_capacity(LEADERS_FANOUT);
        for (_, leader) in self.ahead() {
            if next.len() == LEADERS_FANOUT {
                break;
            }
            if !next.contains(leader) {
                next.push(*leader);
            }
        }
        next
    }

    /// Whether this node is one of the next leaders.
    pub(crate) fn is_next(&self) -> bool {
        self.next_leaders().contains(&self.me)
    }
}

/// Collects what goes to the same leader by the same way.
#[derive(Default)]
pub(crate) struct Outbox {
    parcels: BTreeMap<(Pubkey, Way), Vec<Bytes>>,
}

impl Outbox {
    /// Puts a packet in for every next leader but this node. To how many; 0 if none can be reached.
    pub(crate) fn put(&mut self, horizon: &Horizon, way: Way, packet: &Bytes) -> u64 {
        let mut count = 0;
        for leader in horizon.next_leaders() {
            if leader != horizon.me && address(horizon, &leader, way).is_some() {
                self.parcels.entry((leader, way)).or_default().push(packet.clone());
                count += 1;
            }
        }
        count
    }

    /// Turns what was collected into effects of at most [`CHECK_BATCH_MAX`] transactions.
    pub(crate) fn send(&mut self, horizon: &Horizon, out: &mut Effects<Effect>) {
        for ((to, way), packets) in std::mem::take(&mut self.parcels) {
            let Some(addr) = address(horizon, &to, way) else {
                continue;
            };
            for batch in packets.chunks(CHECK_BATCH_MAX) {
                let (transactions, votes) = (batch.to_vec(), way == Way::Vote);
                out.push(Effect::Forward { to, addr, transactions, votes });
            }
        }
    }
}

fn address(horizon: &Horizon, leader: &Pubkey, way: Way) -> Option<std::net::SocketAddr> {
    let addresses = horizon.addresses.get(leader)?;
    match way {
        Way::Client => addresses.tpu_quic,
        Way::Relay => addresses.tpu_forwards_quic.or(addresses.tpu_quic),
        Way::Vote => addresses.tpu_vote_quic,
    }
}
