//! How much a peer matters: whether gossip knows it, and which share of the stake is behind it.

use crate::node::View;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::{collections::HashMap, sync::Arc};
use sundog_types::{Pubkey, peer::Peer};

/// What is known of an identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Gossip knows it as a node.
    pub known: bool,
    /// Stake behind it, lamports.
    pub stake: u64,
    /// Stake behind all nodes that gossip knows, lamports.
    pub total: u64,
}

/// Tells an identity's standing.
pub type StandingOf = dyn Fn(&Pubkey) -> Standing + Send + Sync;

/// The registry of a view by identity.
#[derive(Default)]
struct Index {
    peers: Arc<Vec<Peer>>,
    stakes: HashMap<Pubkey, u64>,
    total: u64,
}

impl Index {
    fn new(peers: &Arc<Vec<Peer>>) -> Self {
        let stakes = peers.iter().map(|peer| (peer.identity, peer.stake)).collect();
        let total = peers.iter().fold(0u64, |sum, peer| sum.saturating_add(peer.stake));
        Self { peers: Arc::clone(peers), stakes, total }
    }
}

/// Standings as the newest view has them.
#[must_use]
pub fn of_view(view: Arc<ArcSwapOption<View>>) -> Arc<StandingOf> {
    let index = ArcSwap::<Index>::default();
    Arc::new(move |identity| {
        let mut known = index.load_full();
        if let Some(view) = view.load().as_ref().filter(|view| !Arc::ptr_eq(&view.peers, &known.peers)) {
            known = Arc::new(Index::new(&view.peers));
            index.store(Arc::clone(&known));
        }
        match known.stakes.get(identity) {
            Some(stake) => Standing { known: true, stake: *stake, total: known.total },
            None => Standing { known: false, stake: 0, total: known.total },
        }
    })
}
