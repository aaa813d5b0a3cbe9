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

use rand::RngCore;
use rand_chacha::{ChaCha8Rng, ChaCha20Rng, rand_core::SeedableRng as _};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use sundog_types::{
    Pubkey, Slot,
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

/// Draws indexes without replacement, by weight; those without weight come last, evenly (reference 4.3).
#[derive(Clone, Debug)]
pub struct WeightedShuffle {
    /// A sum tree: node `i` holds the weight of the leaves below it, leaves start at `width`.
    sums: Vec<u64>,
    width: usize,
    /// What has no weight, in order.
    weightless: Vec<usize>,
}

impl WeightedShuffle {
    /// Over the indexes of `weights`. A weight that would bring the sum over 64 bits counts as none.
    #[must_use]
    pub fn new(weights: impl IntoIterator<Item = u64>) -> Self {
        let (mut total, mut weightless) = (0_u64, Vec::new());
        let mut kept = Vec::new();
        for (index, weight) in weights.into_iter().enumerate() {
            let sum = total.checked_add(weight).filter(|_| weight > 0);
            if sum.is_none() {
                weightless.push(index);
            }
            kept.push(if sum.is_some() { weight } else { 0 });
            total = sum.unwrap_or(total);
        }
        let width = kept.len().next_power_of_two();
        let mut sums = vec![0; 2 * width];
        sums[width..width + kept.len()].copy_from_slice(&kept);
        for parent in (1..width).rev() {
            sums[parent] = sums[2 * parent] + sums[2 * parent + 1];
        }
        Self { sums, width, weightless }
    }

    /// Takes an index out without drawing it. Does nothing if it is out already.
    pub fn remove(&mut self, index: usize) {
        let weight = self.sums.get(self.width + index).copied().unwrap_or(0);
        if weight > 0 {
            self.take_weight(index, weight);
        } else {
            self.weightless.retain(|other| *other != index);
        }
    }

    /// Draws the rest in order.
    pub fn shuffle<R: RngCore>(mut self, rng: R) -> impl Iterator<Item = usize> {
        let mut rng = rng;
        std::iter::from_fn(move || {
            if self.sums[1] > 0 {
                let (index, weight) = self.find(sample_below(&mut rng, self.sums[1]));
                self.take_weight(index, weight);
                return Some(index);
            }
            let left = self.weightless.len() as u64;
            let drawn = (left > 0).then(|| sample_below(&mut rng, left) as usize)?;
            Some(self.weightless.swap_remove(drawn))
        })
    }

    /// The first leaf up to which the weights add up to more than `sum`, and its weight.
    fn find(&self, mut sum: u64) -> (usize, u64) {
        let mut place = 1;
        while place < self.width {
            place *= 2;
            if sum >= self.sums[place] {
                sum -= self.sums[place];
                place += 1;
            }
        }
        (place - self.width, self.sums[place])
    }

    fn take_weight(&mut self, index: usize, weight: u64) {
        let mut place = self.width + index;
        while place > 0 {
            self.sums[place] -= weight;
            place /= 2;
        }
    }
}

/// A number below `range`, evenly: the rule of rand 0.8 for 64-bit integers, which the whole network follows.
fn sample_below<R: RngCore>(rng: &mut R, range: u64) -> u64 {
    let zone = (range << range.leading_zeros()).wrapping_sub(1);
    loop {
        let wide = u128::from(rng.next_u64()) * u128::from(range);
        if wide as u64 <= zone {
            return (wide >> 64) as u64;
        }
    }
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

    /// Hops from the root.
    #[must_use]
    pub const fn layer(self) -> u8 {
        match self {
            Self::Root => 0,
            Self::Layer(layer) => layer,
        }
    }
}

/// The nodes of an epoch that shreds are spread among, in the order that all nodes agree on.
#[derive(Clone, Debug)]
pub struct ClusterNodes {
    me: Pubkey,
    /// By stake and key, both falling.
    nodes: Vec<(u64, Pubkey)>,
    /// Where each node is in the list.
    places: BTreeMap<Pubkey, usize>,
    shuffle: WeightedShuffle,
}

impl ClusterNodes {
    /// The nodes with stake, those that gossip has a TVU address of on the same chain (`contacts`), and this one.
    #[must_use]
    pub fn new(me: Pubkey, stakes: &BTreeMap<Pubkey, u64>, contacts: impl IntoIterator<Item = Pubkey>) -> Self {
        let staked = stakes.iter().filter(|(_, stake)| **stake > 0).map(|(key, stake)| (*stake, *key));
        let of_key = |key: Pubkey| (stakes.get(&key).copied().unwrap_or(0), key);
        let mut nodes = staked.collect::<Vec<_>>();
        nodes.extend(contacts.into_iter().chain([me]).map(of_key).filter(|(stake, _)| *stake == 0));
        nodes.sort_unstable_by(|a, b| b.cmp(a));
        nodes.dedup();
        let staked = nodes.partition_point(|(stake, _)| *stake > 0);
        nodes.truncate(staked + MAX_UNSTAKED_NODES);
        let places = nodes.iter().enumerate().map(|(place, (_, key))| (*key, place)).collect();
        let shuffle = WeightedShuffle::new(nodes.iter().map(|(stake, _)| *stake));
        Self { me, nodes, places, shuffle }
    }

    /// The nodes before they are shuffled, with their stakes in lamports.
    #[must_use]
    pub fn nodes(&self) -> &[(u64, Pubkey)] {
        &self.nodes
    }

    /// The tree of a shred. The draws happen as far as positions are asked for.
    #[must_use]
    pub fn order(&self, leader: &Pubkey, shred: &ShredId, rng: TreeRng) -> Box<dyn Iterator<Item = Pubkey> + '_> {
        let mut shuffle = self.shuffle.clone();
        if let Some(place) = self.places.get(leader) {
            shuffle.remove(*place);
        }
        let seed = seed(leader, shred);
        let key = |index: usize| self.nodes[index].1;
        match rng {
            TreeRng::ChaCha8 => Box::new(shuffle.shuffle(ChaCha8Rng::from_seed(seed)).map(key)),
            TreeRng::ChaCha20 => Box::new(shuffle.shuffle(ChaCha20Rng::from_seed(seed)).map(key)),
        }
    }

    /// The node that the leader sends a shred to. `None`: the leader is alone.
    #[must_use]
    pub fn root(&self, leader: &Pubkey, shred: &ShredId, rng: TreeRng) -> Option<Pubkey> {
        self.order(leader, shred, rng).next()
    }

    /// This node's part in the tree of a shred. `None`: it is the shred's leader.
    #[must_use]
    pub fn hop(&self, leader: &Pubkey, shred: &ShredId, rng: TreeRng, fanout: usize) -> Option<Hop> {
        Hop::find(self.order(leader, shred, rng), &self.me, fanout)
    }
}

/// A node's part in the tree of one shred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Where it stands.
    pub place: Place,
    /// Whom it gets the shred from; `None` for the root, which gets it from the leader.
    pub parent: Option<Pubkey>,
    /// Whom it sends the shred to.
    pub children: Vec<Pubkey>,
}

impl Hop {
    /// Finds a node's part in a tree that is given by its order; draws no further than needed.
    #[must_use]
    pub fn find(order: impl IntoIterator<Item = Pubkey>, node: &Pubkey, fanout: usize) -> Option<Self> {
        let mut order = order.into_iter();
        let mut before = Vec::new();
        loop {
            let next = order.next()?;
            if next == *node {
                break;
            }
            before.push(next);
        }
        let position = before.len();
        let (mut children, mut at) = (Vec::new(), position);
        for child in child_positions(position, fanout) {
            // The positions rise, so the draws between them are skipped.
            let Some(key) = order.nth(child - at - 1) else {
                break;
            };
            children.push(key);
            at = child;
        }
        let parent = parent_position(position, fanout).map(|at| before[at]);
        Some(Self { place: Place::of_position(position, fanout), parent, children })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_and_parents_are_inverse() {
        for fanout in [1, 2, 3, 5, 200] {
            let mut seen = vec![None; 2_000];
            for position in 0..seen.len() {
                for child in child_positions(position, fanout).take_while(|child| *child < 2_000) {
                    assert_eq!(seen[child].replace(position), None, "two parents of {child}");
                }
            }
            for (position, parent) in seen.into_iter().enumerate() {
                assert_eq!(parent, parent_position(position, fanout), "{position} of {fanout}");
            }
        }
    }

    #[test]
    fn weights_beyond_64_bits_count_as_none() {
        let shuffle = WeightedShuffle::new([u64::MAX, 1, 0, 5]);
        let order = shuffle.shuffle(ChaCha8Rng::from_seed([1; 32])).collect::<Vec<_>>();
        assert_eq!(order.first(), Some(&0));
        assert_eq!(order.len(), 4);
    }

    #[test]
    fn nothing_is_drawn_from_nothing() {
        let shuffle = WeightedShuffle::new([]);
        assert_eq!(shuffle.shuffle(ChaCha8Rng::from_seed([1; 32])).count(), 0);
    }

    #[test]
    fn nodes_without_stake_are_kept_up_to_their_capacity() {
        let key = |i: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(i as u64).to_be_bytes());
            Pubkey::new_from_array(bytes)
        };
        let me = key(usize::MAX);
        let stakes = BTreeMap::from([(key(0), 5)]);
        let nodes = ClusterNodes::new(me, &stakes, (1..=MAX_UNSTAKED_NODES).map(key));
        assert_eq!(nodes.nodes().len(), 1 + MAX_UNSTAKED_NODES);
        assert_eq!(nodes.nodes()[0], (5, key(0)));
        assert_eq!(nodes.nodes().last(), Some(&(0, key(2))));
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
