//! The nodes that a spy sees, as a page of text and as JSON.

use super::stakes::Stakes;
use crate::{
    io::spy::{Sighting, Spy},
    node::VERSION,
};
use serde::Serialize;
use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _, net::SocketAddr, time::Duration};
use sundog_types::peer::{Addresses, Version};

/// Lamports in a SOL.
const LAMPORTS_PER_SOL: f64 = 1e9;
/// What stands where nothing is known.
const NOTHING: &str = "-";

/// Everything there is to say of a look at a cluster.
#[derive(Serialize)]
pub struct Seen {
    /// Where the look began.
    pub entrypoints: Vec<SocketAddr>,
    /// The chain; 0 while none is known.
    pub shred_version: u16,
    /// Who looks.
    pub spy: Me,
    /// How long, seconds.
    pub seconds: f64,
    /// The nodes, by stake, the most first, then by identity.
    pub nodes: Vec<Row>,
}

/// Who looks.
#[derive(Serialize)]
pub struct Me {
    /// The identity made for the occasion, base58.
    pub identity: String,
    /// Where it says that it listens.
    pub gossip: SocketAddr,
}

/// A node.
#[derive(Serialize)]
pub struct Row {
    /// Its identity, base58.
    pub identity: String,
    /// Its stake in lamports, where some node's JSON-RPC tells.
    pub stake: Option<u64>,
    /// Which software.
    pub client: String,
    /// Its version.
    pub version: String,
    /// Its chain.
    pub shred_version: u16,
    /// Where it listens.
    pub addresses: BTreeMap<&'static str, Option<SocketAddr>>,
    /// When it started, microseconds since the Unix epoch.
    pub outset_us: u64,
    /// How long ago something of it came, seconds.
    pub last_seen_seconds: f64,
    /// Votes heard from it.
    pub votes_seen: u64,
    /// The newest slot it voted for.
    pub last_voted_slot: Option<u64>,
    /// Whether it takes no part in the chain.
    pub spy: bool,
}

impl Seen {
    /// What the spy sees now.
    pub fn new(spy: &Spy, entrypoints: &[SocketAddr], stakes: &Stakes, after: Duration) -> Self {
        let mut nodes: Vec<Row> = spy.sightings().iter().map(|s| Row::new(s, stakes.of(&s.identity))).collect();
        sort(&mut nodes);
        Self {
            entrypoints: entrypoints.to_vec(),
            shred_version: spy.shred_version(),
            spy: Me { identity: spy.identity().to_string(), gossip: spy.address() },
            seconds: tenths(after),
            nodes,
        }
    }
}

fn sort(nodes: &mut [Row]) {
    nodes.sort_by(|a, b| (Reverse(a.stake), &a.identity).cmp(&(Reverse(b.stake), &b.identity)));
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

impl Row {
    fn new(sighting: &Sighting, stake: Option<u64>) -> Self {
        let [major, minor, patch] = sighting.version.number;
        Self {
            identity: sighting.identity.to_string(),
            stake,
            client: client(sighting.version),
            version: format!("{major}.{minor}.{patch}"),
            shred_version: sighting.shred_version,
            addresses: named(&sighting.addresses),
            outset_us: sighting.outset_us,
            last_seen_seconds: tenths(sighting.seen_ago),
            votes_seen: sighting.votes,
            last_voted_slot: sighting.last_vote,
            spy: sighting.is_spy(),
        }
    }

    /// Its cells in the order of [`HEAD`].
    fn cells(&self) -> [String; HEAD.len()] {
        let at = |service| self.addresses.get(service).copied().flatten();
        let gossip = at("gossip");
        let port = |services: &[&'static str]| {
            let address = services.iter().find_map(|service| at(service));
            address.map_or_else(|| NOTHING.to_owned(), |address| beside(address, gossip))
        };
        [
            format!("{}{}", self.identity, if self.spy { " *" } else { "" }),
            self.stake.map_or_else(|| NOTHING.to_owned(), sol),
            format!("{} {}", self.client, self.version),
            gossip.map_or_else(|| NOTHING.to_owned(), |address| address.to_string()),
            port(&["rpc"]),
            port(&["tpu_quic", "tpu"]),
            port(&["tvu_quic", "tvu"]),
            self.shred_version.to_string(),
            format!("{:.0}s", self.last_seen_seconds),
            self.votes_seen.to_string(),
            self.last_voted_slot.map_or_else(|| NOTHING.to_owned(), |slot| slot.to_string()),
        ]
    }
}

/// Names of the clients that the protocol lists, and ours.
fn client(version: Version) -> String {
    match version.client {
        0 => "Solana Labs".to_owned(),
        1 => "Jito".to_owned(),
        2 => "Firedancer".to_owned(),
        3 => "Agave".to_owned(),
        ours if ours == VERSION.client => "Sundog".to_owned(),
        other => format!("client {other}"),
    }
}

fn named(addresses: &Addresses) -> BTreeMap<&'static str, Option<SocketAddr>> {
    BTreeMap::from([
        ("gossip", addresses.gossip),
        ("tvu", addresses.tvu),
        ("tvu_quic", addresses.tvu_quic),
        ("tpu", addresses.tpu),
        ("tpu_quic", addresses.tpu_quic),
        ("tpu_forwards_quic", addresses.tpu_forwards_quic),
        ("tpu_vote", addresses.tpu_vote),
        ("tpu_vote_quic", addresses.tpu_vote_quic),
        ("serve_repair", addresses.serve_repair),
        ("rpc", addresses.rpc),
        ("rpc_pubsub", addresses.rpc_pubsub),
    ])
}

/// An address beside that of gossip: the port is enough if the machine is the same.
fn beside(address: SocketAddr, gossip: Option<SocketAddr>) -> String {
    if gossip.is_some_and(|gossip| gossip.ip() == address.ip()) {
        address.port().to_string()
    } else {
        address.to_string()
    }
}

/// Lamports as SOL, whole where they are.
fn sol(lamports: u64) -> String {
    let text = format!("{:.3}", lamports as f64 / LAMPORTS_PER_SOL);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What stands above the columns: the chain is the shred version, and the last slot that was voted for the newest.
const HEAD: [&str; 11] =
    ["identity", "stake", "version", "gossip", "rpc", "tpu", "tvu", "chain", "seen", "votes", "voted"];
/// The columns whose text begins at the left.
const LEFT: [usize; 3] = [0, 2, 3];

/// The page. `rows`: nodes that are shown at most.
pub fn page(seen: &Seen, rows: usize) -> String {
    let entrypoints: Vec<String> = seen.entrypoints.iter().map(ToString::to_string).collect();
    let stake: u64 = seen.nodes.iter().filter_map(|row| row.stake).fold(0, u64::saturating_add);
    let stake = if stake > 0 { format!(", {} SOL", sol(stake)) } else { String::new() };
    let mut text = format!(
        "{} node{}{stake}, shred version {}, after {:.1} s through {}\n\n",
        seen.nodes.len(),
        if seen.nodes.len() == 1 { "" } else { "s" },
        seen.shred_version,
        seen.seconds,
        entrypoints.join(", ")
    );
    let cells: Vec<_> = seen.nodes.iter().take(rows).map(Row::cells).collect();
    let head = HEAD.map(str::to_owned);
    let all = || std::iter::once(&head).chain(&cells);
    let widths: Vec<usize> = (0..HEAD.len()).map(|at| all().map(|row| row[at].len()).max().unwrap_or(0)).collect();
    for row in all() {
        let padded = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            if LEFT.contains(&at) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        let line = padded.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if seen.nodes.len() > rows {
        let _ = writeln!(text, "and {} more", seen.nodes.len() - rows);
    }
    if seen.nodes.iter().any(|row| row.spy) {
        text.push_str("* takes no part in the chain: a spy, or a node that is starting\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u8, stake: Option<u64>, addresses: Addresses) -> Row {
        let sighting = Sighting {
            identity: sundog_types::Pubkey::new_from_array([number; 32]),
            addresses,
            version: Version { client: if number == 1 { 3 } else { VERSION.client }, ..VERSION },
            shred_version: 7_351,
            outset_us: 9,
            seen_ago: Duration::from_millis(1_240),
            votes: 12,
            last_vote: Some(1_000 + u64::from(number)),
        };
        Row::new(&sighting, stake)
    }

    fn full(port: u16) -> Addresses {
        let at = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        Addresses {
            gossip: at(port),
            rpc: at(port + 1),
            tpu_quic: at(port + 2),
            tvu: Some(SocketAddr::from(([10, 0, 0, 9], 4))),
            ..Addresses::default()
        }
    }

    fn seen(mut nodes: Vec<Row>) -> Seen {
        sort(&mut nodes);
        let me = Me { identity: "me".into(), gossip: SocketAddr::from(([127, 0, 0, 1], 9)) };
        let entrypoints = vec![SocketAddr::from(([127, 0, 0, 1], 8_000))];
        Seen { entrypoints, shred_version: 7_351, spy: me, seconds: 4.2, nodes }
    }

    fn three() -> Seen {
        let spy = Addresses { gossip: full(9).gossip, ..Addresses::default() };
        let mut spy = row(3, Some(0), spy);
        (spy.votes_seen, spy.last_voted_slot) = (0, None);
        seen(vec![spy, row(1, Some(600_500_000_000), full(8_010)), row(2, Some(1_000_000_000_000), full(8_000))])
    }

    #[test]
    fn the_page_has_a_line_for_each_node_by_stake_and_marks_spies() {
        let expected = "\
3 nodes, 1600.5 SOL, shred version 7351, after 4.2 s through 127.0.0.1:8000

identity                                       stake  version        gossip           rpc   tpu         tvu  chain  seen  votes  voted
8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR     1000  Sundog 3.1.12  127.0.0.1:8000  8001  8002  10.0.0.9:4   7351    1s     12   1002
4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi    600.5  Agave 3.1.12   127.0.0.1:8010  8011  8012  10.0.0.9:4   7351    1s     12   1001
CktRuQ2mttgRGkXJtyksdKHjUdc2C4TgDzyB98oEzy8 *      0  Sundog 3.1.12  127.0.0.1:9        -     -           -   7351    1s      0      -
* takes no part in the chain: a spy, or a node that is starting
";
        let found = page(&three(), usize::MAX);
        assert_eq!(found, expected, "{found}");
    }

    #[test]
    fn nodes_without_known_stake_come_last_and_are_shown_so() {
        let seen = seen(vec![row(1, None, full(1)), row(2, None, full(1)), row(3, Some(0), full(1))]);
        let text = page(&seen, 2);
        assert!(text.starts_with("3 nodes, shred version"), "{text}");
        assert!(text.contains("and 1 more"), "{text}");
        let order: Vec<_> = seen.nodes.iter().map(|row| (row.stake, row.identity.get(..1))).collect();
        assert_eq!(order, [(Some(0), Some("C")), (None, Some("4")), (None, Some("8"))]);
    }

    #[test]
    fn the_json_has_the_shape_that_help_documents() {
        let json = serde_json::to_value(three()).expect("facts serialise");
        let keys = |value: &serde_json::Value| {
            value.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>().join(" ")).unwrap_or_default()
        };
        assert_eq!(keys(&json), "entrypoints nodes seconds shred_version spy");
        assert_eq!(keys(&json["spy"]), "gossip identity");
        assert_eq!(
            keys(&json["nodes"][0]),
            "addresses client identity last_seen_seconds last_voted_slot outset_us shred_version spy stake version \
             votes_seen"
        );
        assert_eq!(
            keys(&json["nodes"][0]["addresses"]),
            "gossip rpc rpc_pubsub serve_repair tpu tpu_forwards_quic tpu_quic tpu_vote tpu_vote_quic tvu tvu_quic"
        );
        assert_eq!(json["nodes"][2]["spy"], true);
        assert_eq!(json["nodes"][2]["addresses"]["rpc"], serde_json::Value::Null);
        assert_eq!(json["nodes"][0]["stake"], 1_000_000_000_000_u64);
        assert_eq!(json["nodes"][0]["last_seen_seconds"], 1.2);
    }

    #[test]
    fn stakes_are_shown_in_sol() {
        assert_eq!([0, 1, 1_500_000_000, 20_000_000_000].map(sol), ["0", "0", "1.5", "20"]);
    }
}
