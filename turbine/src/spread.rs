//! Whom a shred is sent to: the tree of its slot's epoch, over the peers that gossip knows (reference 4).
//!
//! Two choices of our own. The list of nodes is at most a second old, where the reference's is up to five; addresses
//! are looked up when a shred is sent, so a peer that moved is found at once (on public clusters, where the list
//! decides which addresses count, within that second). And shreds are sent to IPv4 addresses alone, over UDP as in the
//! reference and over QUIC too, because the sockets are IPv4: a node with nothing but IPv6 keeps its place in the
//! tree, as everywhere, and lives on repair.

use crate::{
    config::TurbineConfig,
    effect::{EpochInfo, Route},
    metrics::DropReason,
    passed::Passed,
    tree::{ClusterNodes, Place, TreeRng, fanout},
    tree_cache::{Contacts, ListOf, Stakes, TreeCache, TreeOf},
};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use sundog_types::{
    Now, Pubkey, Slot,
    peer::Peer,
    shred::{Gates, Shred, ShredId, Signed, View},
};

/// Epochs that are remembered: the current one, the next, and some before for late shreds. Full: the oldest is
/// forgotten.
pub const EPOCHS_MAX: usize = 8;
/// Bytes that may be held, in a cluster of 5,000 nodes.
pub(crate) const SPREAD_BYTES_MAX: usize = crate::passed::PASSED_BYTES_MAX + (64 << 20);
/// How old the list of nodes of a tree may be while the registry changes.
const NODES_LIFE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Known {
    info: EpochInfo,
    stakes: Arc<Stakes>,
    nodes: Option<(Now, Arc<Contacts>, Arc<ClusterNodes>)>,
}

/// A receiver of a shred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receiver {
    pub(crate) to: Pubkey,
    /// `None`: it has no address that shreds are sent to.
    pub(crate) addresses: Option<Route>,
    pub(crate) layer: u8,
}

/// This node's part in the tree of a shred.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) place: Place,
    /// Hops from the root, really.
    pub(crate) depth: u8,
    pub(crate) children: Vec<Receiver>,
}

/// What trees depend on besides the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpreadConfig {
    pub(crate) shred_version: u16,
    /// Children of a node, instead of what the protocol says.
    pub(crate) fanout: Option<usize>,
    /// The rule of public clusters: one node is sent to at each IP address.
    pub(crate) one_per_address: bool,
}

impl SpreadConfig {
    pub(crate) const fn of(config: &TurbineConfig) -> Self {
        let TurbineConfig { shred_version, fanout, one_node_per_address: one_per_address, .. } = *config;
        Self { shred_version, fanout, one_per_address }
    }
}

/// The trees.
#[derive(Debug)]
pub(crate) struct Spread {
    me: Pubkey,
    config: SpreadConfig,
    trees: Arc<TreeCache>,
    /// By first slot.
    epochs: BTreeMap<Slot, Known>,
    contacts: Arc<Contacts>,
    passed: Passed,
}

impl Spread {
    pub(crate) fn new(me: Pubkey, config: SpreadConfig, trees: Arc<TreeCache>) -> Self {
        Self { me, config, trees, epochs: BTreeMap::new(), contacts: Arc::default(), passed: Passed::default() }
    }

    pub(crate) fn set_epoch(&mut self, info: EpochInfo) {
        let stakes = self.trees.stakes(&info.stakes);
        self.epochs.insert(info.first_slot, Known { info, stakes, nodes: None });
        if self.epochs.len() > EPOCHS_MAX {
            self.epochs.pop_first();
        }
    }

    pub(crate) fn set_peers(&mut self, peers: &Arc<Vec<Peer>>) {
        self.contacts = self.trees.contacts(peers, self.config.shred_version);
    }

    pub(crate) fn set_root(&mut self, root: Slot) {
        self.passed.set_root(root);
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

    /// Whether this node has stake in the slot's epoch.
    pub(crate) fn is_staked(&self, slot: Slot) -> bool {
        self.known(slot).and_then(|known| known.stakes.get(&self.me)).is_some_and(|stake| *stake > 0)
    }

    /// Whether a peer has stake in the slot's epoch.
    pub(crate) fn has_stake(&self, slot: Slot, peer: &Pubkey) -> bool {
        self.known(slot).and_then(|known| known.stakes.get(peer)).is_some_and(|stake| *stake > 0)
    }

    /// Whom this node, as leader, sends a shred to. `None`: it is alone.
    pub(crate) fn broadcast(&mut self, now: Now, shred: &Shred<Signed>) -> Option<Receiver> {
        let tree = TreeOf { leader: self.me, shred: shred.id(), rng: TreeRng::of(self.gates(shred.slot())?) };
        let nodes = self.nodes(now, shred.slot())?;
        let to = self.trees.root(&nodes, &tree)?;
        Some(self.receiver(&nodes, to, 0))
    }

    /// This node's part in the tree of another leader's shred.
    pub(crate) fn part(&mut self, now: Now, shred: &Shred<Signed>) -> Option<Part> {
        self.part_of(now, shred.id())
    }

    /// This node's part in the tree of another leader's shred, by its id.
    pub(crate) fn part_of(&mut self, now: Now, shred: ShredId) -> Option<Part> {
        let (nodes, tree, fanout) = self.tree_of(now, shred)?;
        let hop = self.trees.hop(&nodes, &tree, &self.me, fanout)?;
        let layer = hop.depth.saturating_add(1);
        let children = hop.children.into_iter().map(|child| self.receiver(&nodes, child, layer)).collect();
        Some(Part { place: hop.place, depth: hop.depth, children })
    }

    /// Who passes another leader's shred to this node. `None`: that leader does.
    pub(crate) fn parent_of(&mut self, now: Now, shred: ShredId) -> Option<Pubkey> {
        let (nodes, tree, fanout) = self.tree_of(now, shred)?;
        self.trees.parent(&nodes, &tree, &self.me, fanout)
    }

    fn tree_of(&mut self, now: Now, shred: ShredId) -> Option<(Arc<ClusterNodes>, TreeOf, usize)> {
        let slot = shred.slot;
        let (leader, gates) = (self.leader(slot)?, self.gates(slot)?);
        let fanout = self.config.fanout.unwrap_or_else(|| fanout(slot, gates));
        Some((self.nodes(now, slot)?, TreeOf { leader, shred, rng: TreeRng::of(gates) }, fanout))
    }

    /// Whether a shred may be passed on; a yes is noted and is the only one. `tip`: the clock's slot.
    pub(crate) fn may_send(&mut self, tip: Slot, shred: &Shred<Signed>) -> Result<(), DropReason> {
        self.passed.may_send(tip, shred)
    }

    /// Whether a shred that arrives by Turbine was passed on already. Costs no hashing.
    pub(crate) fn was_sent(&self, shred: View<'_>) -> bool {
        shred.leaf_index().is_none_or(|leaf| self.passed.is_done((shred.slot(), shred.fec_set_index()), leaf))
    }

    /// Bytes of memory held, about, without those of a cache that is shared.
    pub(crate) fn held_bytes(&self) -> usize {
        let own_cache = if Arc::strong_count(&self.trees) == 1 { self.trees.held_bytes() } else { 0 };
        self.passed.held_bytes() + own_cache
    }

    fn receiver(&self, nodes: &ClusterNodes, to: Pubkey, layer: u8) -> Receiver {
        let route = if self.config.one_per_address {
            nodes.get(&to).and_then(|node| node.route)
        } else {
            self.contacts.get(&to).copied()
        };
        Receiver { to, addresses: route.and_then(reachable), layer }
    }

    fn list(&self, known: &Known) -> Arc<ClusterNodes> {
        self.trees.nodes(ListOf {
            stakes: Arc::clone(&known.stakes),
            contacts: Arc::clone(&self.contacts),
            me: self.me,
            one_per_address: self.config.one_per_address,
        })
    }

    fn nodes(&mut self, now: Now, slot: Slot) -> Option<Arc<ClusterNodes>> {
        let current = |(made, contacts, _): &&(Now, Arc<Contacts>, _)| {
            now.since(*made) < NODES_LIFE || Arc::ptr_eq(contacts, &self.contacts)
        };
        let known = self.known(slot)?;
        if let Some((.., nodes)) = known.nodes.as_ref().filter(current) {
            return Some(Arc::clone(nodes));
        }
        let nodes = self.list(known);
        let (_, known) = self.epochs.range_mut(..=slot).next_back()?;
        known.nodes = Some((now, Arc::clone(&self.contacts), Arc::clone(&nodes)));
        Some(nodes)
    }
}

/// The addresses that shreds are sent to.
fn reachable(route: Route) -> Option<Route> {
    let (tvu, tvu_quic) = (route.tvu.filter(SocketAddr::is_ipv4), route.tvu_quic.filter(SocketAddr::is_ipv4));
    (tvu.is_some() || tvu_quic.is_some()).then_some(Route { tvu_quic, tvu })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_types::{
        Epoch, ShredIndex,
        peer::{Addresses, Version},
        schedule::LeaderSchedule,
        shred::Kind,
        stakes::{EpochStakes, VoteStake},
    };

    const CONFIG: SpreadConfig = SpreadConfig { shred_version: 7, fanout: Some(2), one_per_address: false };

    fn key(number: u8) -> Pubkey {
        Pubkey::from([number; 32])
    }

    fn at(ms: u64) -> Now {
        Now { mono_us: ms * 1_000, unix_ms: ms }
    }

    fn epoch(number: u64, stakes: Arc<EpochStakes>) -> EpochInfo {
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

    /// Node 1 leads; 2 and 3 have stake, too.
    fn stakes() -> Arc<EpochStakes> {
        let vote = |(node, stake)| VoteStake { node: key(node), authorized_voter: key(node), stake };
        let accounts = [(1, 1 << 60), (2, 20), (3, 30)].map(|of| (key(100 + of.0), vote(of)));
        Arc::new(EpochStakes { by_vote_account: accounts.into() })
    }

    fn peer(number: u8, tvu: &str) -> Peer {
        Peer {
            identity: key(number),
            addresses: Addresses { tvu: Some(tvu.parse().unwrap()), ..Addresses::default() },
            stake: 0,
            last_seen: at(0),
            shred_version: 7,
            version: Version::default(),
            outset_us: 0,
            lowest_slot: Slot::ZERO,
        }
    }

    fn shred(index: u32) -> ShredId {
        ShredId { slot: Slot::new(33), index: ShredIndex::new(index), kind: Kind::Data }
    }

    #[test]
    fn the_oldest_epoch_makes_room_and_gaps_are_unknown() {
        let mut spread = Spread::new(Pubkey::default(), CONFIG, Arc::default());
        for number in 0..EPOCHS_MAX as u64 {
            spread.set_epoch(epoch(number, Arc::default()));
        }
        assert!(spread.gates(Slot::new(0)).is_some());
        spread.set_epoch(epoch(20, Arc::default()));
        assert_eq!(spread.epochs.len(), EPOCHS_MAX);
        assert!(spread.gates(Slot::new(31)).is_none());
        assert!(spread.gates(Slot::new(32)).is_some());
        assert!(spread.gates(Slot::new(15 * 32)).is_none(), "between known epochs");
        assert!(spread.leader(Slot::new(32)).is_none(), "nobody has stake");
    }

    #[test]
    fn a_list_is_renewed_after_its_time_and_addresses_are_new_at_once() {
        let mut spread = Spread::new(key(2), CONFIG, Arc::default());
        spread.set_epoch(epoch(1, stakes()));
        spread.set_peers(&Arc::new(vec![peer(2, "1.0.0.2:1"), peer(3, "1.0.0.3:1")]));
        let nodes = spread.nodes(at(0), Slot::new(33)).unwrap();
        assert_eq!(nodes.nodes().len(), 3);
        spread.set_peers(&Arc::new(vec![peer(2, "1.0.0.2:1"), peer(3, "1.0.0.9:1"), peer(4, "1.0.0.4:1")]));
        let same = spread.nodes(at(999), Slot::new(33)).unwrap();
        assert!(Arc::ptr_eq(&nodes, &same));
        let moved = spread.receiver(&same, key(3), 1).addresses.and_then(|route| route.tvu);
        assert_eq!(moved, Some("1.0.0.9:1".parse().unwrap()));
        assert_eq!(spread.nodes(at(1_000), Slot::new(33)).unwrap().nodes().len(), 4);
    }

    #[test]
    fn parents_and_children_of_all_nodes_agree_also_for_one_that_nobody_lists() {
        let trees = Arc::new(TreeCache::default());
        let peers = Arc::new((1..=9).map(|n| peer(n, &format!("1.0.0.{n}:1"))).collect::<Vec<_>>());
        let spreads = (2..=9).map(|number| {
            let mut spread = Spread::new(key(number), CONFIG, Arc::clone(&trees));
            spread.set_epoch(epoch(1, stakes()));
            spread.set_peers(&peers);
            (key(number), spread)
        });
        let mut spreads = spreads.collect::<BTreeMap<_, _>>();
        let parts = spreads.iter_mut().map(|(key, spread)| (*key, spread.part_of(at(0), shred(3)).unwrap()));
        let parts = parts.collect::<BTreeMap<_, _>>();
        let parents = spreads.iter_mut().map(|(key, spread)| (*key, spread.parent_of(at(0), shred(3))));
        let parents = parents.collect::<BTreeMap<_, _>>();
        assert_eq!(parents.values().filter(|parent| parent.is_none()).count(), 1, "one root");
        for (key, part) in &parts {
            for child in &part.children {
                assert_eq!(parents[&child.to], Some(*key));
                assert_eq!(parts[&child.to].depth, child.layer);
                assert_eq!(part.depth + 1, child.layer);
            }
        }
        let mut stranger = Spread::new(key(77), CONFIG, trees);
        assert!(stranger.part_of(at(0), shred(3)).is_none(), "no epoch");
        stranger.set_epoch(epoch(1, stakes()));
        assert!(stranger.part_of(at(0), shred(3)).is_some(), "it counts itself in");
        assert!(!stranger.is_staked(Slot::new(33)) && spreads[&key(2)].is_staked(Slot::new(33)));
    }

    #[test]
    fn nothing_is_sent_to_ipv6() {
        let mut spread = Spread::new(key(2), SpreadConfig { fanout: Some(9), ..CONFIG }, Arc::default());
        spread.set_epoch(epoch(1, stakes()));
        let peers = [peer(2, "1.0.0.2:1"), peer(3, "[::1]:1"), peer(4, "1.0.0.4:1")];
        spread.set_peers(&Arc::new(peers.to_vec()));
        let sent = (0..40).filter_map(|index| spread.part_of(at(0), shred(index))).flat_map(|part| part.children);
        let routes = sent.map(|child| (child.to, child.addresses.is_some())).collect::<BTreeMap<_, _>>();
        assert_eq!(routes, BTreeMap::from([(key(3), false), (key(4), true)]), "it keeps its place in the tree");
    }

    #[test]
    fn on_a_public_cluster_one_node_is_sent_to_at_an_address() {
        let mut spread = Spread::new(key(2), SpreadConfig { one_per_address: true, ..CONFIG }, Arc::default());
        spread.set_epoch(epoch(1, stakes()));
        spread.set_peers(&Arc::new([1, 3, 4].map(|number| peer(number, "1.0.0.1:1")).to_vec()));
        let nodes = spread.nodes(at(0), Slot::new(33)).unwrap();
        assert_eq!(nodes.nodes().len(), 3, "4 left, it has no stake");
        let sent_to = [1, 3, 4].map(|number| spread.receiver(&nodes, key(number), 0).addresses.is_some());
        assert_eq!(sent_to, [true, false, false]);
    }
}
