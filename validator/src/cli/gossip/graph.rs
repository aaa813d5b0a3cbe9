//! Who pushes to whom on a localnet, as its nodes tell.

use super::svg;
use crate::{
    cli::{
        localnet::{Cluster, ClusterNode, Layout},
        say, say_json,
    },
    io::{client::Client, pushes::PushPage},
};
use anyhow::{Context as _, bail};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Guests that are drawn; further ones are only counted.
const GUESTS_MAX: usize = 16;
/// Characters of an identity that stand for a guest's name.
const SHORT: usize = 8;

/// A picture's facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// Who is drawn: the localnet's nodes in their order, then guests by identity.
    pub nodes: Vec<Node>,
    /// Who pushes to whom, by the order of nodes.
    pub arrows: Vec<Arrow>,
    /// Guests that are left out.
    pub left_out: usize,
}

/// A node of the picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name, or the start of its identity.
    pub name: String,
    /// Its identity, base58.
    pub identity: String,
    /// Its stake in SOL; not known of guests.
    pub stake: Option<u64>,
    /// What is known of it.
    pub standing: Standing,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It tells whom it pushes to.
    Running,
    /// It does not answer.
    Silent,
    /// It is pushed to but is none of the localnet's nodes: a spy, or a validator started by hand.
    Guest,
}

/// One node pushes to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Arrow {
    /// Who pushes.
    pub from: String,
    /// To whom.
    pub to: String,
    /// Values pushed since the one counts the other among those it pushes to.
    pub values: u64,
    /// The stake buckets of whose values.
    pub buckets: Vec<usize>,
}

/// Asks every node, and writes the picture.
///
/// # Errors
/// If no localnet runs there, none of its nodes tells, or the file cannot be written.
pub fn run(file: &Path, dir: &Path, json: bool) -> anyhow::Result<()> {
    let cluster = Cluster::read(&Layout::new(dir).cluster())?;
    let pages: Vec<Option<PushPage>> = cluster.nodes.iter().map(ask).collect();
    if pages.iter().all(Option::is_none) {
        bail!(
            "no node of {0} tells whom it pushes to; look at `sundog localnet status --dir {0}`, and restart the localnet with this version",
            dir.display()
        );
    }
    let graph = Graph::new(&cluster.nodes, &pages);
    std::fs::write(file, svg::draw(&graph))
        .with_context(|| format!("{} cannot be written; name a file in a directory that is there", file.display()))?;
    if json {
        say_json(&graph);
    } else {
        say(format_args!("{}: {} nodes, {} arrows", file.display(), graph.nodes.len(), graph.arrows.len()));
    }
    Ok(())
}

fn ask(node: &ClusterNode) -> Option<PushPage> {
    let url = format!("{}/gossip", node.metrics.trim_end_matches("/metrics"));
    let (status, text) = Client::patient(&url, PATIENCE).page(&url).ok()?;
    (status == 200).then(|| serde_json::from_str(&text).ok())?
}

impl Graph {
    /// The picture of a localnet: a page, or none, of each of its nodes.
    pub fn new(nodes: &[ClusterNode], pages: &[Option<PushPage>]) -> Self {
        let own: BTreeSet<&str> = nodes.iter().map(|node| node.identity.as_str()).collect();
        let told = nodes.iter().zip(pages).filter_map(|(node, page)| Some((node, page.as_ref()?)));
        let pushes: Vec<_> = told.flat_map(|(node, page)| page.pushes_to.iter().map(move |to| (node, to))).collect();
        let guests: BTreeSet<&str> =
            pushes.iter().map(|(_, to)| to.peer.as_str()).filter(|to| !own.contains(to)).collect();
        let members = nodes.iter().zip(pages).map(|(node, page)| Node {
            name: node.name.clone(),
            identity: node.identity.clone(),
            stake: Some(node.stake),
            standing: if page.is_some() { Standing::Running } else { Standing::Silent },
        });
        let shown = guests.iter().take(GUESTS_MAX).map(|guest| Node {
            name: guest.chars().take(SHORT).collect(),
            identity: (*guest).to_owned(),
            stake: None,
            standing: Standing::Guest,
        });
        let nodes: Vec<Node> = members.chain(shown).collect();
        let places: BTreeMap<&str, usize> = nodes.iter().enumerate().map(|(at, n)| (n.identity.as_str(), at)).collect();
        let mut arrows: Vec<_> = pushes
            .iter()
            .filter_map(|(from, to)| {
                let arrow = Arrow {
                    from: from.identity.clone(),
                    to: to.peer.clone(),
                    values: to.values,
                    buckets: to.buckets.clone(),
                };
                Some(((*places.get(from.identity.as_str())?, *places.get(to.peer.as_str())?), arrow))
            })
            .collect();
        arrows.sort_by_key(|(places, _)| *places);
        let arrows = arrows.into_iter().map(|(_, arrow)| arrow).collect();
        Self { left_out: guests.len().saturating_sub(GUESTS_MAX), nodes, arrows }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::io::pushes::PushedTo;

    fn node(number: u16, stake: u64) -> ClusterNode {
        serde_json::from_value(serde_json::json!({
            "name": format!("node-{number}"), "identity": format!("identity{number}"), "vote_account": null,
            "stake": stake, "pid": 1, "gossip": "", "tpu": "", "tvu_quic": "", "rpc": "", "websocket": "",
            "metrics": "", "log": "", "ledger": "",
        }))
        .expect("a node of cluster.json")
    }

    fn page(peers: &[(&str, u64)]) -> Option<PushPage> {
        let to = |(peer, values): &(&str, u64)| PushedTo { peer: (*peer).into(), buckets: vec![0, 9], values: *values };
        let pushes_to = peers.iter().map(to).collect();
        Some(PushPage { identity: String::new(), pushes_to, counters: BTreeMap::new() })
    }

    /// Three nodes, the third of which is silent, and a guest.
    pub fn graph() -> Graph {
        let pages =
            [page(&[("identity2", 10), ("identity1", 400), ("stranger <&>", 0)]), page(&[("identity0", 100)]), None];
        Graph::new(&[node(0, 1_000), node(1, 600), node(2, 0)], &pages)
    }

    #[test]
    fn arrows_are_ordered_by_the_nodes_whatever_the_order_in_which_they_are_told() {
        let graph = graph();
        let arrows: Vec<_> = graph.arrows.iter().map(|a| (a.from.as_str(), a.to.as_str(), a.values)).collect();
        let [zero, one, two] = ["identity0", "identity1", "identity2"];
        assert_eq!(arrows, [(zero, one, 400), (zero, two, 10), (zero, "stranger <&>", 0), (one, zero, 100)]);
    }

    #[test]
    fn silent_nodes_and_guests_are_told_apart() {
        let standings: Vec<_> = graph().nodes.iter().map(|node| (node.name.clone(), node.standing)).collect();
        let expected = [
            ("node-0", Standing::Running),
            ("node-1", Standing::Running),
            ("node-2", Standing::Silent),
            ("stranger", Standing::Guest),
        ];
        assert_eq!(standings, expected.map(|(name, standing)| (name.to_owned(), standing)));
    }

    #[test]
    fn only_so_many_guests_are_drawn() {
        let names: Vec<String> = (0..GUESTS_MAX + 3).map(|n| format!("guest{n:02}")).collect();
        let peers: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let graph = Graph::new(&[node(0, 1)], &[page(&peers)]);
        assert_eq!((graph.nodes.len(), graph.arrows.len(), graph.left_out), (1 + GUESTS_MAX, GUESTS_MAX, 3));
    }

    #[test]
    fn a_directory_without_a_localnet_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = run(&directory.path().join("x.svg"), directory.path(), false).expect_err("nothing runs there");
        assert!(format!("{error:#}").contains("no localnet runs"), "{error:#}");
    }
}
