//! Whom a node pushes to in gossip, as its metrics server tells it.

use super::metric_names;
use crate::node::View;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use sundog_types::Pubkey;

/// The page `/gossip`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushPage {
    /// The node, base58.
    pub identity: String,
    /// Whom it pushes to now, by identity.
    pub pushes_to: Vec<PushedTo>,
    /// Gossip's counters, named as in the metrics without what all have in common, a label's value behind a dot.
    pub counters: BTreeMap<String, u64>,
}

/// Somebody who is pushed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedTo {
    /// Who, base58.
    pub peer: String,
    /// The stake buckets of whose values, ascending.
    pub buckets: Vec<usize>,
    /// Values pushed to it since it is one of them.
    pub values: u64,
}

impl PushPage {
    /// The page of a node as it is seen.
    #[must_use]
    pub fn new(view: &View) -> Self {
        let now = &view.gossip_now;
        Self { identity: now.me.to_string(), pushes_to: by_peer(&now.pushed_to), counters: counters(view) }
    }
}

/// One entry for each peer, by identity.
fn by_peer(pushed_to: &[(usize, Pubkey, u64)]) -> Vec<PushedTo> {
    let mut peers = BTreeMap::<Pubkey, (Vec<usize>, u64)>::new();
    for (bucket, peer, values) in pushed_to {
        let (buckets, sum) = peers.entry(*peer).or_default();
        buckets.push(*bucket);
        *sum += values;
    }
    let pushed_to = |(peer, (mut buckets, values)): (Pubkey, (Vec<usize>, u64))| {
        buckets.sort_unstable();
        PushedTo { peer: peer.to_string(), buckets, values }
    };
    peers.into_iter().map(pushed_to).collect()
}

fn counters(view: &View) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    let taken = metric_names::gossip(view, &mut |(name, _), values| {
        let name = name.trim_start_matches("gossip_");
        for (labels, value) in values {
            let labels: String = labels.iter().map(|(_, label)| format!(".{label}")).collect();
            counters.insert(format!("{name}{labels}"), value);
        }
        Ok(())
    });
    taken.expect("a map takes everything");
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_of_several_buckets_is_told_once_with_all_its_values() {
        let [one, two] = [1, 2].map(|number| Pubkey::new_from_array([number; 32]));
        let told = by_peer(&[(9, two, 5), (9, one, 7), (0, two, 3)]);
        let pushed_to = |peer: Pubkey, buckets: &[usize], values| PushedTo {
            peer: peer.to_string(),
            buckets: buckets.into(),
            values,
        };
        assert_eq!(told, [pushed_to(one, &[9], 7), pushed_to(two, &[0, 9], 8)]);
    }

    #[test]
    fn the_page_reads_back_as_it_was_written() {
        let page = PushPage {
            identity: "me".into(),
            pushes_to: by_peer(&[(3, Pubkey::new_from_array([1; 32]), 4)]),
            counters: BTreeMap::from([("dropped.stale".to_owned(), 5)]),
        };
        let json = serde_json::to_value(&page).expect("facts serialise");
        assert_eq!(json["pushes_to"][0]["buckets"], serde_json::json!([3]));
        assert_eq!(serde_json::from_value::<PushPage>(json).expect("as written"), page);
    }
}
