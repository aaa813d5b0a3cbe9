//! Membership given from outside, for worlds of thousands of machines.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};
use sundog_types::{Pubkey, peer::Peer};

/// Who is there and where, told rather than learned.
///
/// A world of ten thousand machines has no memory for ten thousand tables of ten thousand contact infos. Where
/// membership is given, the list of peers is this one and never changes, its addresses count as proven, and only the
/// values of the tracked nodes are said, taken in and kept; what these values suffer (push, prune, pull, loss) is the same
/// as with full tables. No real node uses this.
#[derive(Clone, Debug)]
pub struct Roster {
    /// Everybody, ourselves included, by identity ascending.
    pub peers: Arc<Vec<Peer>>,
    /// Those whose values are said, taken in and kept.
    pub tracked: Arc<BTreeSet<Pubkey>>,
}

impl Roster {
    /// Whether this node's values are kept.
    #[must_use]
    pub fn tracks(&self, node: &Pubkey) -> bool {
        self.tracked.contains(node)
    }

    /// Where a node's gossip socket is.
    #[must_use]
    pub fn gossip_of(&self, node: &Pubkey) -> Option<SocketAddr> {
        let place = self.peers.binary_search_by(|peer| peer.identity.cmp(node)).ok()?;
        self.peers[place].addresses.gossip
    }
}
