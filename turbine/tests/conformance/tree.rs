//! `turbine.json`.

use crate::vectors::{array, family, indexes, list, number, text};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng, rand_core::SeedableRng as _};
use serde_json::Value;
use std::collections::BTreeMap;
use sundog_turbine::{ClusterNodes, Hop, TreeRng, WeightedShuffle, tree::seed};
use sundog_types::{
    Pubkey, ShredIndex, Slot,
    shred::{Kind, ShredId},
};

/// The nodes of a case, by the numbers that the vectors give them.
struct Cluster {
    keys: Vec<Pubkey>,
    stakes: BTreeMap<Pubkey, u64>,
    contacts: Vec<Pubkey>,
    leader: Pubkey,
    /// Which nodes the list has; public clusters leave those out that share an IP and have no stake.
    address_kept: Vec<bool>,
}

impl Cluster {
    fn of(case: &Value) -> Self {
        let key = |node: &Value| Pubkey::new_from_array(array(&node["pubkey"]));
        let nodes = list(case, "nodes");
        let address_kept =
            list(case, "address_kept").iter().map(|kept| kept.as_bool().expect("bool")).collect::<Vec<_>>();
        // Which addresses a public cluster drops is gossip's business: those nodes are no contacts here.
        let contacts = nodes.iter().zip(&address_kept).filter(|(_, kept)| **kept);
        Self {
            keys: nodes.iter().map(key).collect(),
            stakes: nodes.iter().map(|node| (key(node), number(node, "stake"))).collect(),
            contacts: contacts.map(|(node, _)| key(node)).collect(),
            leader: Pubkey::new_from_array(array(&case["leader"])),
            address_kept,
        }
    }

    fn seen_by(&self, node: usize) -> ClusterNodes {
        ClusterNodes::new(self.keys[node], &self.stakes, self.contacts.iter().copied())
    }

    fn place_of(&self, key: &Pubkey) -> usize {
        self.keys.iter().position(|other| other == key).expect("a node")
    }
}

fn drawn(shred: &Value) -> (ShredId, TreeRng) {
    let kind = if shred["type"] == "data" { Kind::Data } else { Kind::Code };
    let index = ShredIndex::new(u32::try_from(number(shred, "index")).expect("u32"));
    let id = ShredId { slot: Slot::new(number(shred, "slot")), index, kind };
    let rng = match text(shred, "rng") {
        "chacha8" => TreeRng::ChaCha8,
        "chacha20" => TreeRng::ChaCha20,
        other => panic!("{other}"),
    };
    (id, rng)
}

#[test]
fn every_node_draws_the_trees_of_the_reference() {
    for case in list(&family("turbine.json"), "cases") {
        let cluster = Cluster::of(case);
        let sorted = indexes(&case["sorted"]);
        let observer = cluster.seen_by(sorted[0]);
        let order = observer.nodes().iter().map(|(_, key)| cluster.place_of(key));
        assert_eq!(order.collect::<Vec<_>>(), sorted, "{}", text(case, "name"));
        for shred in list(case, "shreds") {
            let (id, rng) = drawn(shred);
            assert_eq!(seed(&cluster.leader, &id), array(&shred["seed"]));
            let order = observer.order(&cluster.leader, &id, rng).collect::<Vec<_>>();
            let places = order.iter().map(|key| cluster.place_of(key)).collect::<Vec<_>>();
            assert_eq!(places, indexes(&shred["order"]), "{} {id:?}", text(case, "name"));
            assert_eq!(observer.root(&cluster.leader, &id, rng), order.first().copied());
            for tree in list(shred, "fanouts") {
                check_hops(&cluster, &order, tree);
            }
        }
    }
}

/// Every node's part in one tree.
fn check_hops(cluster: &Cluster, order: &[Pubkey], tree: &Value) {
    let fanout = number(tree, "fanout") as usize;
    for (node, key) in cluster.keys.iter().enumerate() {
        let hop = Hop::find(order.iter().copied(), key, fanout);
        let place = |key: &Pubkey| cluster.place_of(key);
        let children = hop.iter().flat_map(|hop| &hop.children).map(place).collect::<Vec<_>>();
        assert_eq!(children, indexes(&tree["children"][node]), "children of {node}");
        let parent = hop.as_ref().and_then(|hop| hop.parent).map(|key| place(&key) as u64);
        assert_eq!(parent, tree["parent"][node].as_u64(), "parent of {node}");
        let distance = hop.as_ref().map(|hop| u64::from(hop.place.layer()));
        assert_eq!(distance, tree["root_distance"][node].as_u64(), "distance of {node}");
    }
}

#[test]
fn each_node_alone_finds_its_own_part() {
    for case in list(&family("turbine.json"), "cases") {
        let cluster = Cluster::of(case);
        // A node that others do not see counts itself in, so only those seen by all agree.
        let seen = |node: &usize| cluster.address_kept[*node] || cluster.stakes[&cluster.keys[*node]] > 0;
        for node in (0..cluster.keys.len()).filter(seen) {
            let nodes = cluster.seen_by(node);
            for shred in list(case, "shreds") {
                let (id, rng) = drawn(shred);
                for tree in list(shred, "fanouts") {
                    let fanout = number(tree, "fanout") as usize;
                    let hop = nodes.hop(&cluster.leader, &id, rng, fanout);
                    let children = hop.iter().flat_map(|hop| &hop.children);
                    let children = children.map(|key| cluster.place_of(key)).collect::<Vec<_>>();
                    assert_eq!(children, indexes(&tree["children"][node]));
                }
            }
        }
    }
}

#[test]
fn weights_are_shuffled_as_the_reference_shuffles_them() {
    for sample in list(&family("turbine.json"), "weighted_shuffle") {
        let weights = list(sample, "weights").iter().map(|weight| weight.as_u64().expect("u64"));
        let whole = WeightedShuffle::new(weights);
        let mut rest = whole.clone();
        for removed in indexes(&sample["removed"]) {
            rest.remove(removed);
        }
        let seed = array(&sample["seed"]);
        for (shuffle, suffix) in [(whole, ""), (rest, "_after_removal")] {
            let eight = shuffle.clone().shuffle(ChaCha8Rng::from_seed(seed)).collect::<Vec<_>>();
            assert_eq!(eight, indexes(&sample[format!("chacha8{suffix}")]));
            let twenty = shuffle.shuffle(ChaCha20Rng::from_seed(seed)).collect::<Vec<_>>();
            assert_eq!(twenty, indexes(&sample[format!("chacha20{suffix}")]));
        }
    }
}
