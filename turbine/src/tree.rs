//! Who sends a shred to whom: every node draws the same tree for each shred (reference 4.1 to 4.5).
//!
//! ```text
//!            leader
//!              |
//!             root                 position 0
//!        /     |     \
//!       1      2      3            layer 1: the root's fanout many children
//!     / | \  / | \  / | \
//!    4  7 10 5 8 11 6 9 12         layer 2 (drawn for a fanout of 3)
//! ```

use crate::{effect::Route, shuffle::WeightedShuffle};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng, rand_core::SeedableRng as _};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
};
use sundog_types::{
    Hash, Pubkey, Slot,
    shred::{Gate, Gates, ShredId},
};

/// Children of a node, unless an experiment says otherwise.
pub const FANOUT: usize = 200;

/// Slots between two runs of one fanout experiment.
const EXPERIMENT_PERIOD: u64 = 359;
/// Most nodes without stake that are kept in a tree. Stakes bound the others; gossip's table bounds these before, this
/// is the second fence. The lowest keys beyond it are left out, and rely on repair.
pub const MAX_UNSTAKED_NODES: usize = 65_536;

/// How many children each node has in the trees of a slot (reference 4.5).
#[must_use]
pub fn fanout(slot: Slot, gates: Gates) -> usize {
    if gates.has(Gate::NoFanoutExperiments) {
        return FANOUT;
    }
    let extended = gates.has(Gate::ExtendedFanoutExperiments);
    let (plain, larger) = match slot.get() % EXPERIMENT_PERIOD {
        11 => (64, 1_152),
        61 => (768, 1_280),
        111 => (128, 1_024),
        161 => (640, 1_408),
        211 => (256, 896),
        261 => (512, 1_536),
        311 => (384, 768),
        _ => (FANOUT, FANOUT),
    };
    if extended { larger } else { plain }
}

/// Which generator draws the trees of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeRng {
    /// With the gate [`Gate::ChaCha8`].
    ChaCha8,
    /// Without.
    ChaCha20,
}

impl TreeRng {
    /// The generator for an epoch.
    #[must_use]
    pub const fn of(gates: Gates) -> Self {
        if gates.has(Gate::ChaCha8) { Self::ChaCha8 } else { Self::ChaCha20 }
    }
}

/// The seed of a shred's tree (reference 4.2).
#[must_use]
pub fn seed(leader: &Pubkey, shred: &ShredId) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(shred.slot.get().to_le_bytes());
    hasher.update([shred.kind.byte()]);
    hasher.update(shred.index.get().to_le_bytes());
    hasher.update(leader.as_ref());
    hasher.finalize().into()
}

/// Where a node stands in the tree of one shred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// It gets the shred from the leader.
    Root,
    /// It gets the shred this many hops after the root: 1, 2, or 3 for all beyond.
    Layer(u8),
}

impl Place {
    /// The place of a position in the shuffled list.
    #[must_use]
    pub fn of_position(position: usize, fanout: usize) -> Self {
        match position {
            0 => Self::Root,
            _ if position <= fanout => Self::Layer(1),
            _ if position <= fanout.saturating_mul(fanout).saturating_add(fanout) => Self::Layer(2),
            _ => Self::Layer(3),
        }
    }

    /// Hops from the root, as far as the reference counts them.
    #[must_use]
    pub const fn layer(self) -> u8 {
        match self {
            Self::Root => 0,
            Self::Layer(layer) => layer,
        }
    }
}

/// A node of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its stake in the epoch, in lamports.
    pub stake: u64,
    /// Its identity.
    pub key: Pubkey,
    /// Where gossip said that it takes shreds when the list was made, as far as the list's address rule lets it keep
    /// that.
    pub route: Option<Route>,
}

/// The nodes of an epoch that shreds are spread among, in the order that all nodes agree on. It knows no "me", so
/// that many machines in one process can share it.
#[derive(Clone)]
pub struct ClusterNodes {
    /// By stake and key, both falling.
    nodes: Vec<Node>,
    /// Where each node is in the list.
    places: BTreeMap<Pubkey, usize>,
    shuffle: WeightedShuffle,
    digest: Hash,
}

impl fmt::Debug for ClusterNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterNodes({} nodes, {})", self.nodes.len(), self.digest)
    }
}

impl ClusterNodes {
    /// The nodes with stake, and `contacts`: those that gossip has a TVU address of on the same chain, and the node
    /// that draws. `one_per_address`: the rule of public clusters that of the nodes at one IP address only the first
    /// is sent to (reference 4.1, step 4).
    #[must_use]
    pub fn new(
        stakes: &BTreeMap<Pubkey, u64>,
        contacts: impl IntoIterator<Item = (Pubkey, Option<Route>)>,
        one_per_address: bool,
    ) -> Self {
        let of_key = |key: Pubkey| stakes.get(&key).copied().unwrap_or(0);
        let known = contacts.into_iter().map(|(key, route)| Node { stake: of_key(key), key, route });
        let staked = stakes.iter().filter(|(_, stake)| **stake > 0);
        let bare = staked.map(|(key, stake)| Node { stake: *stake, key: *key, route: None });
        let mut nodes = known.chain(bare).collect::<Vec<_>>();
        nodes.sort_by_key(|node| std::cmp::Reverse((node.stake, node.key, node.route.is_some())));
        nodes.dedup_by_key(|node| node.key);
        if one_per_address {
            keep_one_per_address(&mut nodes);
        }
        let staked = nodes.partition_point(|node| node.stake > 0);
        nodes.truncate(staked + MAX_UNSTAKED_NODES);
        let places = nodes.iter().enumerate().map(|(place, node)| (node.key, place)).collect();
        let shuffle = WeightedShuffle::new(nodes.iter().map(|node| node.stake));
        let digest = digest(&nodes);
        Self { nodes, places, shuffle, digest }
    }

    /// The nodes before they are shuffled.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A hash of keys and stakes: lists with one digest draw the same trees.
    #[must_use]
    pub fn digest(&self) -> Hash {
        self.digest
    }

    /// Bytes of memory held, about.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.nodes.len() * (size_of::<Node>() + 100)
    }

    /// A node of the list.
    #[must_use]
    pub fn get(&self, key: &Pubkey) -> Option<&Node> {
        self.places.get(key).map(|place| &self.nodes[*place])
    }

    /// Begins the tree of a shred: the shuffled list without the leader.
    #[must_use]
    pub fn draw(&self, leader: &Pubkey, shred: &ShredId, rng: TreeRng) -> Order {
        let (mut shuffle, leader_at, seed) = (self.shuffle.clone(), self.places.get(leader), seed(leader, shred));
        leader_at.into_iter().for_each(|place| shuffle.remove(*place));
        let rest: Box<dyn Iterator<Item = usize> + Send> = match rng {
            TreeRng::ChaCha8 => Box::new(shuffle.shuffle(ChaCha8Rng::from_seed(seed))),
            TreeRng::ChaCha20 => Box::new(shuffle.shuffle(ChaCha20Rng::from_seed(seed))),
        };
        Order {
            drawn: Vec::new(),
            positions: vec![UNDRAWN; self.nodes.len()],
            leader: leader_at.copied(),
            rest: Some(rest),
        }
    }

    /// The node that the leader sends a shred to, given the shred's order. `None`: the leader is alone.
    #[must_use]
    pub fn root(&self, order: &mut Order) -> Option<Pubkey> {
        order.at(0).map(|place| self.nodes[place].key)
    }

    /// A node's part in the tree with this order, which must have been drawn from this list or one with its digest.
    /// `None`: it is the shred's leader, or not in the list.
    ///
    /// Most nodes have no children, and it takes no whole order to find that out: those that are not among the first are
    /// all in the last layer.
    #[must_use]
    pub fn hop(&self, order: &mut Order, node: &Pubkey, fanout: usize) -> Option<Hop> {
        let place = *self.places.get(node).filter(|place| Some(**place) != order.leader)?;
        let in_two_layers = fanout.saturating_mul(fanout).saturating_add(fanout).saturating_add(1);
        let parents = if self.nodes.len() <= in_two_layers { fanout } else { self.nodes.len() };
        let Some(position) = order.position_within(place, parents) else {
            return Some(Hop { place: Place::Layer(2), depth: 2, children: Vec::new() });
        };
        // The positions rise, so no more is drawn than needed.
        let children = child_positions(position, fanout).map_while(|child| order.at(child));
        let children = children.map(|place| self.nodes[place].key).collect();
        Some(Hop { place: Place::of_position(position, fanout), depth: depth(position, fanout), children })
    }

    /// Whom a node gets the shred from. `None`: from the leader, or it is the leader, or not in the list.
    #[must_use]
    pub fn parent(&self, order: &mut Order, node: &Pubkey, fanout: usize) -> Option<Pubkey> {
        let position = order.position_of(*self.places.get(node)?)?;
        let above = order.at(parent_position(position, fanout)?)?;
        Some(self.nodes[above].key)
    }
}

/// Of the nodes at one IP address, the first keeps its address, for UDP and QUIC apart; a node without stake that has
/// none left leaves the list, one with stake stays, so that everybody shuffles the same.
fn keep_one_per_address(nodes: &mut Vec<Node>) {
    let (mut udp, mut quic) = (BTreeSet::<IpAddr>::new(), BTreeSet::<IpAddr>::new());
    nodes.retain_mut(|node| {
        let Some(route) = node.route else { return true };
        let first = |taken: &mut BTreeSet<IpAddr>, address: SocketAddr| taken.insert(address.ip());
        let tvu = route.tvu.filter(|address| first(&mut udp, *address));
        let tvu_quic = route.tvu_quic.filter(|address| first(&mut quic, *address));
        let any_left = tvu.is_some() || tvu_quic.is_some();
        node.route = any_left.then_some(Route { tvu_quic, tvu });
        node.stake > 0 || any_left
    });
}

fn digest(nodes: &[Node]) -> Hash {
    let mut hasher = Sha256::new();
    for node in nodes {
        hasher.update(node.key);
        hasher.update(node.stake.to_le_bytes());
    }
    Hash::new_from_array(hasher.finalize().into())
}

/// Marks a place that was not drawn yet.
const UNDRAWN: u32 = u32::MAX;

/// The order of one shred's tree, drawn as far as it was asked for.
pub struct Order {
    /// Places in the list, by position.
    drawn: Vec<u32>,
    /// Positions, by place in the list.
    positions: Vec<u32>,
    /// Who is not in it.
    leader: Option<usize>,
    rest: Option<Box<dyn Iterator<Item = usize> + Send>>,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order({} of {} drawn)", self.drawn.len(), self.positions.len())
    }
}

impl Order {
    /// The place in the list of the node at a position; `None` beyond the end.
    pub fn at(&mut self, position: usize) -> Option<usize> {
        while self.drawn.len() <= position {
            self.next()?;
        }
        Some(self.drawn[position] as usize)
    }

    /// The position of the node with this place in the list; `None` for the leader.
    pub fn position_of(&mut self, place: usize) -> Option<usize> {
        while *self.positions.get(place)? == UNDRAWN {
            self.next()?;
        }
        Some(self.positions[place] as usize)
    }

    /// The same, if it is at most `last`; nothing beyond that is drawn.
    fn position_within(&mut self, place: usize, last: usize) -> Option<usize> {
        while self.positions[place] == UNDRAWN && self.drawn.len() <= last {
            self.next()?;
        }
        Some(self.positions[place] as usize).filter(|position| *position <= last)
    }

    /// Bytes of memory held, about.
    pub(crate) fn held_bytes(&self) -> usize {
        let drawing = if self.rest.is_some() { 24 * self.positions.len() } else { 0 };
        8 * self.positions.len() + drawing
    }

    fn next(&mut self) -> Option<()> {
        let Some(place) = self.rest.as_mut()?.next() else {
            self.rest = None;
            return None;
        };
        self.positions[place] = self.drawn.len() as u32;
        self.drawn.push(place as u32);
        Some(())
    }
}

/// A node's part in the tree of one shred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Where it stands.
    pub place: Place,
    /// Hops from the root; 255 for all beyond that.
    pub depth: u8,
    /// Whom it sends the shred to.
    pub children: Vec<Pubkey>,
}

/// The positions of a position's children, rising, as if the list had no end.
fn child_positions(position: usize, fanout: usize) -> impl Iterator<Item = usize> {
    let offset = position.checked_sub(1).map_or(0, |before| before % fanout);
    let anchor = position - offset;
    let step = if position == 0 { 1 } else { fanout };
    let first = anchor.saturating_mul(fanout).saturating_add(offset + 1);
    (0..fanout).map_while(move |k| first.checked_add(k.checked_mul(step)?))
}

/// The position that a position gets its shreds from.
fn parent_position(position: usize, fanout: usize) -> Option<usize> {
    let before = position.checked_sub(1)?;
    let above = before / fanout;
    let anchor = above - above.saturating_sub(1) % fanout;
    Some(if anchor == 0 { 0 } else { anchor + before % fanout })
}

/// Hops from the root to a position.
fn depth(position: usize, fanout: usize) -> u8 {
    let above = std::iter::successors(parent_position(position, fanout), |at| parent_position(*at, fanout));
    above.take(usize::from(u8::MAX)).count() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_types::{ShredIndex, shred::Kind};

    fn key(i: usize) -> Pubkey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(i as u64).to_be_bytes());
        Pubkey::new_from_array(bytes)
    }

    #[test]
    fn children_and_parents_are_inverse_and_a_child_is_one_hop_deeper() {
        for fanout in [1, 2, 3, 5, 200] {
            let mut seen = vec![None; 2_000];
            for position in 0..seen.len() {
                for child in child_positions(position, fanout).take_while(|child| *child < 2_000) {
                    assert_eq!(seen[child].replace(position), None, "two parents of {child}");
                    assert_eq!(depth(child, fanout), depth(position, fanout).saturating_add(1));
                }
            }
            for (position, parent) in seen.into_iter().enumerate() {
                assert_eq!(parent, parent_position(position, fanout), "{position} of {fanout}");
            }
        }
    }

    #[test]
    fn real_depths_go_on_where_the_reference_stops_counting() {
        let deepest = (0..10_000).map(|position| depth(position, 2)).max();
        assert_eq!(deepest, Some(13));
        assert_eq!(Place::of_position(9_999, 2), Place::Layer(3));
        for position in 0..40_000 {
            assert_eq!(depth(position, 200), Place::of_position(position, 200).layer(), "{position}");
        }
    }

    #[test]
    fn nodes_without_stake_are_kept_up_to_their_capacity() {
        let stakes = BTreeMap::from([(key(0), 5)]);
        let contacts = (1..=MAX_UNSTAKED_NODES + 1).map(|i| (key(i), None));
        let nodes = ClusterNodes::new(&stakes, contacts, false);
        assert_eq!(nodes.nodes().len(), 1 + MAX_UNSTAKED_NODES);
        assert_eq!((nodes.nodes()[0].stake, nodes.nodes()[0].key), (5, key(0)));
        assert_eq!(nodes.nodes().last().map(|node| node.key), Some(key(2)));
    }

    #[test]
    fn of_the_nodes_at_one_address_the_first_is_sent_to() {
        let route = |ip: u8, udp: u16, quic: Option<u16>| {
            let at = |port| SocketAddr::from(([10, 0, 0, ip], port));
            Some(Route { tvu: Some(at(udp)), tvu_quic: quic.map(at) })
        };
        let stakes = BTreeMap::from([(key(9), 50), (key(8), 40), (key(7), 30)]);
        let contacts = [
            (key(9), route(1, 1, None)),
            (key(8), route(1, 2, None)),
            (key(7), route(2, 1, Some(2))),
            (key(6), route(1, 3, None)),
            (key(5), route(1, 4, Some(5))),
            (key(4), None),
        ];
        let all = ClusterNodes::new(&stakes, contacts, false);
        assert_eq!(all.nodes().len(), 6);
        assert!(all.nodes()[..5].iter().all(|node| node.route.is_some()));
        let public = ClusterNodes::new(&stakes, contacts, true);
        let kept = public.nodes().iter().map(|node| (node.key, node.route)).collect::<Vec<_>>();
        let quic_alone = route(1, 4, Some(5)).map(|route| Route { tvu: None, ..route });
        let expected = [
            (key(9), route(1, 1, None)),
            (key(8), None),
            (key(7), route(2, 1, Some(2))),
            (key(5), quic_alone),
            (key(4), None),
        ];
        assert_eq!(
            kept, expected,
            "staked 8 stays without an address, unstaked 6 leaves, 5 is first at its QUIC address"
        );
    }

    #[test]
    fn an_order_that_is_asked_piecemeal_is_the_whole_order() {
        let stakes = (0..50).map(|i| (key(i), (i as u64 % 5) * 10)).collect();
        let nodes = ClusterNodes::new(&stakes, (0..60).map(|i| (key(i), None)), false);
        let id = ShredId { slot: Slot::new(3), index: ShredIndex::new(9), kind: Kind::Data };
        let mut whole = nodes.draw(&key(7), &id, TreeRng::ChaCha8);
        let places = (0..).map_while(|position| whole.at(position)).collect::<Vec<_>>();
        assert_eq!(places.len(), 59, "all but the leader");
        for (position, place) in places.iter().enumerate() {
            let mut order = nodes.draw(&key(7), &id, TreeRng::ChaCha8);
            assert_eq!(order.position_of(*place), Some(position));
            assert_eq!(order.drawn.len(), position + 1, "no further than needed");
        }
        for (position, place) in places.iter().enumerate() {
            let mut order = nodes.draw(&key(7), &id, TreeRng::ChaCha8);
            let (node, far) = (nodes.nodes()[*place].key, nodes.hop(&mut whole, &nodes.nodes()[*place].key, 8));
            assert_eq!(nodes.hop(&mut order, &node, 8), far, "drawn far before, or not");
            assert_eq!(far.expect("it is listed").depth, depth(position, 8));
            assert!(position <= 8 || order.drawn.len() == 9, "whoever is not among the first has no children");
            assert_eq!(
                nodes.parent(&mut order, &node, 8),
                parent_position(position, 8).map(|at| nodes.nodes()[places[at]].key)
            );
        }
        assert!(nodes.hop(&mut whole, &key(7), 3).is_none(), "the leader");
        assert!(nodes.hop(&mut whole, &key(70), 3).is_none(), "a stranger");
    }

    #[test]
    fn fanout_experiments_run_in_their_slots_until_switched_off() {
        let off = Gates::NONE.with(Gate::NoFanoutExperiments);
        let extended = Gates::NONE.with(Gate::ExtendedFanoutExperiments);
        assert_eq!(fanout(Slot::new(11), Gates::NONE), 64);
        assert_eq!(fanout(Slot::new(359 + 61), extended), 1_280);
        assert_eq!(fanout(Slot::new(12), extended), 200);
        assert_eq!(fanout(Slot::new(11), off.with(Gate::ExtendedFanoutExperiments)), 200);
    }
}
