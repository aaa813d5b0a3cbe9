//! The peers that the rest of the node works with.

use crate::{table::Table, wire::contact::usable};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use sundog_types::{Now, Pubkey, peer::Peer};

/// Which addresses are talked to at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSpace {
    /// Only addresses that can be reached from everywhere.
    Public,
    /// Also loopback and private ones: a cluster on one machine or in one house.
    Private,
}

impl AddressSpace {
    /// Whether something may be sent there.
    #[must_use]
    pub fn allows(self, address: &SocketAddr) -> bool {
        // An address of IPv4 in the dress of IPv6 is what it is underneath.
        let local = match address.ip().to_canonical() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        usable(address) && (self == Self::Private || !local)
    }
}

/// How much of the list of peers is out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outdated {
    /// Nothing.
    No,
    /// Only when nodes were last seen.
    Seen,
    /// Who is there, or where, or with what stake.
    Peers,
}

/// The list of peers, ourselves included, by identity.
pub struct Registry {
    peers: Arc<Vec<Peer>>,
    space: AddressSpace,
    outdated: Outdated,
    refreshed: Now,
    /// Whether the list is given and never changes.
    given: bool,
}

/// When only times of last sight changed, the list is renewed this seldom.
const SEEN_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

impl Registry {
    /// An empty list.
    #[must_use]
    pub fn new(space: AddressSpace, now: Now) -> Self {
        Self { peers: Arc::default(), space, outdated: Outdated::Peers, refreshed: now, given: false }
    }

    /// A list that is given and never changes.
    #[must_use]
    pub const fn given(space: AddressSpace, now: Now, peers: Arc<Vec<Peer>>) -> Self {
        Self { peers, space, outdated: Outdated::No, refreshed: now, given: true }
    }

    /// Bytes held, at most; who got an earlier list may still hold that.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.peers.capacity() * size_of::<Peer>()
    }

    /// Notes that the list is out of date.
    pub fn outdate(&mut self, how: Outdated) {
        self.outdated = self.outdated.max(how);
    }

    /// The list as of the last [`Self::refresh`].
    #[must_use]
    pub const fn peers(&self) -> &Arc<Vec<Peer>> {
        &self.peers
    }

    /// Makes the list anew from the table if it is time; the new list.
    pub fn refresh(&mut self, now: Now, table: &Table, shred_version: u16) -> Option<Arc<Vec<Peer>>> {
        let due = match self.outdated {
            _ if self.given => false,
            Outdated::No => false,
            Outdated::Seen => now.since(self.refreshed) >= SEEN_EVERY,
            Outdated::Peers => true,
        };
        if !due {
            return None;
        }
        let all = std::mem::replace(&mut self.outdated, Outdated::No) == Outdated::Peers;
        self.refreshed = now;
        self.peers = Arc::new(if all { self.list(now, table, shred_version) } else { self.sighted(table) });
        Some(self.peers.clone())
    }

    /// Everybody in the table who is on our chain.
    fn list(&self, now: Now, table: &Table, shred_version: u16) -> Vec<Peer> {
        let peer = |node: &Pubkey| {
            let info = table.contact(node)?;
            (info.shred_version == shred_version).then(|| Peer {
                identity: *node,
                addresses: info.sockets_if(|address| self.space.allows(address)),
                stake: table.stake(node),
                last_seen: table.seen(node).unwrap_or(now),
                shred_version,
                version: info.version,
                outset_us: info.outset,
                lowest_slot: table.lowest_slot(node),
            })
        };
        table.origins().filter_map(peer).collect()
    }

    /// The same peers as before, with when they were last seen: in a large cluster somebody is seen all the time, and
    /// reading all addresses again would be the most of a quiet node's work.
    fn sighted(&self, table: &Table) -> Vec<Peer> {
        let mut peers = Vec::clone(&self.peers);
        for peer in &mut peers {
            peer.last_seen = table.seen(&peer.identity).unwrap_or(peer.last_seen);
            peer.lowest_slot = table.lowest_slot(&peer.identity);
        }
        peers
    }
}
