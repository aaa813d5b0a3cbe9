//! `turbine.json`.

use crate::vectors::{array, family, indexes, list, number, text};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng, rand_core::SeedableRng as _};
use serde_json::Value;
use std::collections::BTreeMap;
use sundog_turbine::{ClusterNodes, Route, TreeRng, WeightedShuffle, tree::seed};
use sundog_types::{
    Pubkey, ShredIndex, Slot,
    shred::{Kind, ShredId},
};

/// The nodes of a case, by the numbers that the vectors give them.
struct Cluster {
    keys: Vec<Pubkey>,
    stakes: BTreeMap<Pubkey, u64>,
    contacts: Vec<(Pubkey, Option<Route>)>,
    leader: Pubkey,
    /// Whether shreds are sent to a node.
    address_kept: Vec<bool>,
    /// On public clusters, one node is sent to at each IP address.
    public: bool,
}

impl Cluster {
    fn of(case: &Value) -> Self {
        let key = |node: &Value| Pubkey::new_from_array(array(&node["pubkey"]));
        let nodes = list(case, "nodes");
        let address_kept =
            list(case, "address_kept").iter().map(|kept| kept.as_bool().expect("bool")).collect::<Vec<_>>();
        let contact = |node: &Value| {
            let tvu = node["tvu"].as_str()?.parse().expect("an address");
            Some((key(node), Some(Route { tvu: Some(tvu), tvu_quic: None })))
        };
        Self {
            keys: nodes.iter().map(key).collect(),
            stakes: nodes.iter().map(|node| (key(node), number(node, "stake"))).collect(),
            contacts: nodes.iter().filter_map(contact).collect(),
            leader: Pubkey::new_from_array(array(&case["leader"])),
            address_kept,
            public: text(case, "cluster_type") != "Development",
        }
    }

    fn list(&self) -> ClusterNodes {
        ClusterNodes::new(&self.stakes, self.contacts.iter().copied(), self.public)
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
        let (name, nodes) = (text(case, "name"), cluster.list());
        let sorted = nodes.nodes().iter().map(|node| cluster.place_of(&node.key)).collect::<Vec<_>>();
        assert_eq!(sorted, indexes(&case["sorted"]), "{name}");
        for (place, key) in cluster.keys.iter().enumerate() {
            let sent_to = nodes.get(key).is_some_and(|node| node.route.is_some());
            assert_eq!(sent_to, cluster.address_kept[place], "{name}: node {place}");
        }
        for shred in list(case, "shreds") {
            let (id, rng) = drawn(shred);
            assert_eq!(seed(&cluster.leader, &id), array(&shred["seed"]));
            let mut order = nodes.draw(&cluster.leader, &id, rng);
            let root = nodes.root(&mut order).map(|key| cluster.place_of(&key));
            let places = (0..).map_while(|position| order.at(position)).map(|place| sorted[place]);
            let places = places.collect::<Vec<_>>();
            assert_eq!(places, indexes(&shred["order"]), "{name} {id:?}");
            assert_eq!(root, places.first().copied());
            for tree in list(shred, "fanouts") {
                check_hops(&cluster, &nodes, (id, rng), tree);
            }
        }
    }
}

/// Every node's part in one tree, each found with an order that is drawn no further than it needs.
fn check_hops(cluster: &Cluster, nodes: &ClusterNodes, (id, rng): (ShredId, TreeRng), tree: &Value) {
    let fanout = number(tree, "fanout") as usize;
    for (node, key) in cluster.keys.iter().enumerate() {
        let hop = nodes.hop(&mut nodes.draw(&cluster.leader, &id, rng), key, fanout);
        let place = |key: &Pubkey| cluster.place_of(key);
        let children = hop.iter().flat_map(|hop| &hop.children).map(place).collect::<Vec<_>>();
        assert_eq!(children, indexes(&tree["children"][node]), "children of {node}");
        let parent = nodes.parent(&mut nodes.draw(&cluster.leader, &id, rng), key, fanout);
        let parent = parent.map(|key| place(&key) as u64);
        assert_eq!(parent, tree["parent"][node].as_u64(), "parent of {node}");
        let distance = hop.as_ref().map(|hop| u64::from(hop.place.layer()));
        assert_eq!(distance, tree["root_distance"][node].as_u64(), "distance of {node}");
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
