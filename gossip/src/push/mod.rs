//! News for a few peers at a time, who pass it on (reference 6.10).

pub mod gate;

use crate::{
    machine::Gossip,
    metrics::DropReason,
    ping::{Pings, Place},
    registry::AddressSpace,
    table::{Filed, Table},
    wire::value::{CrdsValue, Label},
};
use bytes::Bytes;
pub use gate::StakeGate;
use rand::{Rng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};
use sundog_types::{Now, Pubkey, peer::Peer};

/// Peers that one value is pushed to.
pub const FANOUT: usize = 9;

/// Peers that are pushed to at all until the next rotation: some more than [`FANOUT`], because peers ask
/// not to be sent some origins.
pub const ACTIVE_MAX: usize = 12;

/// Values pushed in one round. What is left goes out in the next round.
pub const VALUES_PER_ROUND: usize = 4_096;

/// Origins that one active peer may prune: all nodes of a full table. Further ones are ignored.
pub const PRUNED_MAX: usize = crate::table::ORIGINS_MAX;

/// Values with a wallclock further from ours than this are neither taken nor passed on.
pub const FRESH_FOR: Duration = Duration::from_secs(15);

#[derive(Clone, Debug)]
struct Active {
    peer: Pubkey,
    pruned: BTreeSet<Pubkey>,
}

/// The active set and how far the table's history is pushed.
pub struct Push {
    active: Vec<Active>,
    cursor: u64,
    fanout: usize,
}

/// What goes to one address.
pub type Parcel = (SocketAddr, Vec<Bytes>);

impl Push {
    /// Nobody to push to yet; each value goes to `fanout` peers.
    #[must_use]
    pub const fn new(fanout: usize) -> Self {
        Self { active: Vec::new(), cursor: 0, fanout }
    }

    /// Adds a peer that just became known if there is room.
    pub fn welcome(&mut self, peer: Pubkey) {
        if self.active.len() < ACTIVE_MAX && self.active.iter().all(|active| active.peer != peer) {
            self.active.push(Active { peer, pruned: BTreeSet::new() });
        }
    }

    /// Lets the peer that was active longest go if others wait, and fills up with random peers.
    pub fn rotate(&mut self, me: &Pubkey, peers: &[Peer], rng: &mut ChaCha8Rng) {
        self.active.retain(|active| peers.iter().any(|peer| peer.identity == active.peer));
        let waiting = |peer: &&Peer| {
            peer.identity != *me
                && peer.addresses.gossip.is_some()
                && self.active.iter().all(|active| active.peer != peer.identity)
        };
        let mut candidates: Vec<Pubkey> = peers.iter().filter(waiting).map(|p| p.identity).collect();
        if self.active.len() >= ACTIVE_MAX && !candidates.is_empty() {
            self.active.remove(0);
        }
        candidates.shuffle(rng);
        for candidate in candidates {
            self.welcome(candidate);
        }
        // Who is first in the order gets the most; let that be chance.
        if !self.active.is_empty() {
            let turn = rng.gen_range(0..self.active.len());
            self.active.rotate_left(turn);
        }
    }

    /// A peer asks not to be sent values of these origins; how many were noted.
    pub fn prune(&mut self, peer: &Pubkey, origins: &[Pubkey]) -> usize {
        let Some(active) = self.active.iter_mut().find(|active| active.peer == *peer) else {
            return 0;
        };
        let room = PRUNED_MAX - active.pruned.len();
        // A peer's own values are pushed to it never, so there is nothing to prune there.
        origins.iter().take(room).filter(|origin| active.pruned.insert(**origin)).count()
    }

    /// Whether everything in the table's history is pushed.
    #[must_use]
    pub const fn is_done(&self, table: &Table) -> bool {
        self.cursor == table.next_order()
    }

    /// What is new in the table since last time, by receiver.
    pub fn collect(&mut self, table: &Table, fresh: &Fresh, places: &[Option<Place>]) -> Vec<Parcel> {
        let mut parcels = BTreeMap::<SocketAddr, Vec<Bytes>>::new();
        let mut taken = 0;
        for (order, filed) in table.since(self.cursor) {
            if taken == VALUES_PER_ROUND {
                break;
            }
            self.cursor = order + 1;
            taken += 1;
            if fresh.holds(&filed.value) {
                for address in self.receivers(filed, places) {
                    parcels.entry(address).or_default().push(filed.value.bytes().clone());
                }
            }
        }
        if taken < VALUES_PER_ROUND {
            self.cursor = table.next_order();
        }
        parcels.into_iter().collect()
    }

    fn receivers<'a>(&'a self, filed: &Filed, places: &'a [Option<Place>]) -> impl Iterator<Item = SocketAddr> + 'a {
        let origin = filed.value.origin();
        let willing = move |active: &Active| active.peer != origin && !active.pruned.contains(&origin);
        self.active
            .iter()
            .zip(places)
            .filter_map(move |(active, place)| if willing(active) { *place } else { None })
            .map(|(_, address)| address)
            .take(self.fanout)
    }

    /// Where each active peer can be reached: `None` while it has not proven its address.
    #[must_use]
    pub fn places(&self, now: Now, table: &Table, pings: &Pings) -> Vec<Option<Place>> {
        let place = |active: &Active| {
            let place = (active.peer, table.contact(&active.peer)?.gossip()?);
            pings.is_proven(now, &place).then_some(place)
        };
        self.active.iter().map(place).collect()
    }

    /// The peers pushed to.
    pub fn active(&self) -> impl Iterator<Item = &Pubkey> {
        self.active.iter().map(|active| &active.peer)
    }
}

/// Tells fresh values from old ones, and what may be said to whom.
pub struct Fresh {
    /// Our wallclock, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Who may say what.
    pub gate: StakeGate,
}

impl Fresh {
    fn holds(&self, value: &CrdsValue) -> bool {
        is_fresh(value.wallclock(), self.unix_ms) && self.gate.may_push(value.data())
    }
}

/// Whether two wallclocks in milliseconds are no more than [`FRESH_FOR`] apart.
#[must_use]
pub fn is_fresh(wallclock: u64, unix_ms: u64) -> bool {
    u128::from(wallclock.abs_diff(unix_ms)) <= FRESH_FOR.as_millis()
}

/// Whether `contact`'s gossip address may be talked to, and which it is.
#[must_use]
pub fn gossip_place(contact: &crate::wire::contact::ContactInfo, space: AddressSpace) -> Option<Place> {
    let address = contact.gossip().filter(|address| space.allows(address))?;
    Some((contact.pubkey, address))
}

impl Gossip {
    /// The relayer a push message names, if the datagram came from where that node has proven to listen. The name
    /// itself is not signed, and who could borrow it could make us send an honest relayer away.
    pub(crate) fn proven_relayer(&self, now: Now, from: SocketAddr, relayer: &Pubkey) -> Option<Pubkey> {
        let listens = self.table.contact(relayer)?.gossip()? == from;
        (listens && self.pings.is_proven(now, &(*relayer, from))).then_some(*relayer)
    }

    /// Notes a pushed copy of the value with this label: taken in, or refused.
    pub(crate) fn note_copy(&mut self, _now: Now, label: &Label, relayer: Option<Pubkey>, refused: Option<DropReason>) {
        let _copies = relayer.map(|relayer| self.table.count_copy(label, &relayer));
        let _ = refused;
    }
}
