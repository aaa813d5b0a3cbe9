//! Whom a node pushes to in gossip, as its metrics server tells it.

use super::metric_names;
use crate::node::View;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Values pushed to it so far.
    pub values: u64,
}

impl PushPage {
    /// The page of a node as it is seen.
    #[must_use]
    pub fn new(view: &View) -> Self {
        let pushing = &view.pushing;
        let mut peers = BTreeMap::<_, Vec<usize>>::new();
        for (bucket, peer) in &pushing.active {
            peers.entry(*peer).or_default().push(*bucket);
        }
        let pushes_to = peers.into_iter().map(|(peer, mut buckets)| {
            buckets.sort_unstable();
            buckets.dedup();
            let values = pushing.values.get(&peer).copied().unwrap_or(0);
            PushedTo { peer: peer.to_string(), buckets, values }
        });
        Self { identity: pushing.me.to_string(), pushes_to: pushes_to.collect(), counters: counters(view) }
    }
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
