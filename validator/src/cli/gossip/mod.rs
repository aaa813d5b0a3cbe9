//! `sundog gossip`: who is there, as gossip tells it; and who pushes to whom, as the nodes of a localnet tell it.

mod graph;
mod stakes;
mod svg;
mod table;

use super::{
    localnet::{Cluster, Layout},
    say,
    screen::Screen,
};
use crate::io::spy::Spy;
use anyhow::{Context as _, bail};
use clap::Args;
use stakes::Stakes;
use std::{
    io::{self, Write as _},
    net::{SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use sundog_types::Pubkey;
use table::Seen;

/// How often it is looked whether the end has come.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the list is drawn anew.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// How long nobody new may come before the list counts as whole: some rounds of pulls on loopback, more of them where
/// each brings a part.
const STABLE_LOCAL: Duration = Duration::from_secs(3);
const STABLE_PUBLIC: Duration = Duration::from_secs(12);
/// How long stakes are waited for once the list is whole.
const STAKES_PATIENCE: Duration = Duration::from_secs(3);
/// Lines around the rows of a live list.
const LIVE_FRAME: usize = 5;
/// Where a node of a cluster on this machine usually listens.
const USUAL_ENTRYPOINT: &str = "127.0.0.1:8000";
/// Where a localnet usually keeps its files.
const USUAL_DIR: &str = "localnet";

/// Arguments of `sundog gossip`.
#[derive(Args)]
#[command(after_help = "\
JSON of a list (--json; with --watch one such object a line, each second):
  { \"entrypoints\": [\"IP:PORT\"], \"shred_version\": N, \"spy\": { \"identity\": BASE58, \"gossip\": \"IP:PORT\" },
    \"seconds\": N.N,
    \"nodes\": [ { \"identity\": BASE58, \"stake\": LAMPORTS | null, \"client\": NAME, \"version\": \"N.N.N\",
      \"shred_version\": N, \"addresses\": { \"gossip\", \"tvu\", \"tvu_quic\", \"tpu\", \"tpu_quic\",
      \"tpu_forwards_quic\", \"tpu_vote\", \"tpu_vote_quic\", \"serve_repair\", \"rpc\", \"rpc_pubsub\": \"IP:PORT\" | null },
      \"outset_us\": N, \"last_seen_seconds\": N.N, \"votes_seen\": N, \"last_voted_slot\": N | null,
      \"spy\": true | false } ] }
JSON of a graph (--graph FILE.svg --json):
  { \"nodes\": [ { \"name\", \"identity\": BASE58, \"stake\": SOL | null, \"standing\": \"running\" | \"silent\" | \"guest\" } ],
    \"arrows\": [ { \"from\": IDENTITY, \"to\": IDENTITY, \"values\": N, \"buckets\": [N] } ], \"left_out\": N }

Examples:
  sundog gossip                                     (the localnet that runs in ./localnet)
  sundog gossip --watch
  sundog gossip --entrypoint entrypoint.testnet.solana.com:8001 --timeout 60
  sundog gossip --num 3 --json
  sundog gossip --graph gossip.svg                  (who pushes to whom on the localnet)")]
pub struct GossipArgs {
    /// Gossip address of a node to start from; give several if one may be down. Default: node 0 of the localnet in
    /// --dir, else 127.0.0.1:8000.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', conflicts_with = "graph")]
    entrypoint: Vec<String>,
    /// The localnet's directory. Default: localnet.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// End after this many seconds at the latest. Default: 15, or 60 for a public entrypoint, or never with --watch. Without
    /// --watch, --num and --pubkey it ends as soon as nobody new comes.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=1_000_000), conflicts_with = "graph")]
    timeout: Option<u64>,
    /// End when so many nodes are seen; an error if they are not.
    #[arg(long, value_name = "N", conflicts_with = "graph")]
    num: Option<usize>,
    /// End when this node is seen; an error if it is not.
    #[arg(long, value_name = "IDENTITY", conflicts_with = "graph")]
    pubkey: Option<String>,
    /// Go on, and draw the list anew each second.
    #[arg(long, conflicts_with = "graph")]
    watch: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Draw who pushes to whom on the localnet, as its nodes tell now.
    #[arg(long, value_name = "FILE.svg")]
    graph: Option<PathBuf>,
}

impl GossipArgs {
    fn localnet(&self) -> &Path {
        self.dir.as_deref().unwrap_or_else(|| Path::new(USUAL_DIR))
    }
}

/// Runs it.
///
/// # Errors
/// One line of cause and one of remedy.
pub fn run(args: &GossipArgs) -> anyhow::Result<()> {
    if let Some(file) = &args.graph {
        return graph::run(file, args.localnet(), args.json);
    }
    let wanted = args.pubkey.as_deref().map(identity).transpose()?;
    let entrypoints = entrypoints(args)?;
    let spy = Spy::join(&entrypoints)?;
    let patience = match args.timeout {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None if args.watch => None,
        None if spy.is_public() => Some(Duration::from_secs(60)),
        None => Some(Duration::from_secs(15)),
    };
    let mut look =
        Look { args, wanted, entrypoints, spy, patience, stakes: Stakes::default(), started: Instant::now() };
    look.until_the_end();
    let seen = look.seen();
    if !args.watch && !seen.nodes.is_empty() {
        print(&seen, args.json);
    }
    if let Some(trouble) = look.spy.trouble().filter(|_| !seen.nodes.is_empty()) {
        let _ = writeln!(io::stderr().lock(), "note: {trouble}");
    }
    look.verdict(&seen)
}

fn identity(text: &str) -> anyhow::Result<Pubkey> {
    text.parse().ok().with_context(|| format!("{text} is no identity; --pubkey takes 32 bytes in base58"))
}

/// Where to start from.
fn entrypoints(args: &GossipArgs) -> anyhow::Result<Vec<SocketAddr>> {
    let usual = || {
        let localnet = match Cluster::read(&Layout::new(args.localnet()).cluster()) {
            // Who names a localnet wants no other cluster.
            Err(error) if args.dir.is_some() => return Err(error),
            localnet => localnet.ok(),
        };
        let first = localnet.and_then(|localnet| Some(localnet.nodes.first()?.gossip.clone()));
        Ok(vec![first.unwrap_or_else(|| USUAL_ENTRYPOINT.to_owned())])
    };
    let named = if args.entrypoint.is_empty() { usual()? } else { args.entrypoint.clone() };
    let mut found = Vec::new();
    for name in &named {
        let addresses = name.to_socket_addrs();
        let addresses = addresses.with_context(|| {
            format!("{name} is no address; --entrypoint takes the gossip address of a node as HOST:PORT")
        })?;
        // One family, so that one socket reaches all.
        let mut fitting = addresses.filter(|a| found.first().is_none_or(|f: &SocketAddr| f.is_ipv4() == a.is_ipv4()));
        found.extend(fitting.next());
    }
    if found.is_empty() {
        bail!("{} leads to no address; name a node's gossip address as IP:PORT", named.join(", "));
    }
    Ok(found)
}

/// A look at a cluster.
struct Look<'a> {
    args: &'a GossipArgs,
    wanted: Option<Pubkey>,
    entrypoints: Vec<SocketAddr>,
    spy: Spy,
    patience: Option<Duration>,
    stakes: Stakes,
    started: Instant,
}

impl Look<'_> {
    /// Listens until there is nothing left to wait for.
    fn until_the_end(&mut self) {
        let mut known: Vec<Pubkey> = Vec::new();
        let mut changed = Instant::now();
        let mut drawn: Option<Instant> = None;
        loop {
            self.spy.listen(LOOK_EVERY);
            let sightings = self.spy.sightings();
            self.stakes.look(&sightings);
            if !sightings.iter().map(|s| &s.identity).eq(&known) {
                known = sightings.iter().map(|s| s.identity).collect();
                changed = Instant::now();
            }
            if self.args.watch && drawn.is_none_or(|at| at.elapsed() >= DRAW_EVERY) {
                drawn = Some(Instant::now());
                // Who read the list may have gone, as `head` does.
                if draw(&self.seen(), self.args.json).is_err() {
                    return;
                }
            }
            if self.is_over(&known, changed.elapsed()) {
                return;
            }
        }
    }

    /// `quiet`: how long nobody came or went.
    fn is_over(&self, known: &[Pubkey], quiet: Duration) -> bool {
        if self.patience.is_some_and(|patience| self.started.elapsed() >= patience) {
            return true;
        }
        let aims = self.args.num.is_some() || self.wanted.is_some();
        if self.args.watch || known.is_empty() {
            return false;
        }
        let stable = if self.spy.is_public() { STABLE_PUBLIC } else { STABLE_LOCAL };
        let enough = if aims { self.missed(known).is_none() } else { quiet >= stable };
        let stakes = self.stakes.is_settled() || quiet >= stable + STAKES_PATIENCE;
        enough && stakes
    }

    /// What was to be seen and is not.
    fn missed(&self, known: &[Pubkey]) -> Option<String> {
        if let Some(wanted) = self.wanted.filter(|wanted| !known.contains(wanted)) {
            return Some(format!("{wanted} was not seen"));
        }
        let few = self.args.num.filter(|num| known.len() < *num)?;
        Some(format!("only {} of {few} nodes were seen", known.len()))
    }

    fn seen(&self) -> Seen {
        Seen::new(&self.spy, &self.entrypoints, &self.stakes, self.started.elapsed())
    }

    /// Whether what was wanted was found.
    fn verdict(&self, seen: &Seen) -> anyhow::Result<()> {
        let asked: Vec<String> = self.entrypoints.iter().map(ToString::to_string).collect();
        let (asked, seconds) = (asked.join(", "), self.started.elapsed().as_secs());
        if seen.nodes.is_empty() {
            bail!("nobody was seen through {asked} within {seconds} s; {}", self.spy.silence());
        }
        let known: Vec<Pubkey> = self.spy.sightings().iter().map(|sighting| sighting.identity).collect();
        match self.missed(&known) {
            Some(missed) => bail!("{missed} within {seconds} s; give it more time with --timeout, or ask elsewhere"),
            None => Ok(()),
        }
    }
}

fn print(seen: &Seen, json: bool) {
    if json {
        super::say_json(seen);
    } else {
        say(table::page(seen, usize::MAX).trim_end());
    }
}

/// Draws a live list.
fn draw(seen: &Seen, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        return writeln!(out, "{}", serde_json::to_string(seen).expect("facts serialise"));
    }
    let screen = Screen::now();
    let page = screen.fit(|lines| table::page(seen, lines.saturating_sub(LIVE_FRAME).max(1)));
    screen.draw(&page, &mut out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: GossipArgs,
    }

    fn args(line: &[&str]) -> GossipArgs {
        Line::try_parse_from(["gossip"].iter().chain(line)).unwrap_or_else(|e| panic!("{e}")).args
    }

    #[test]
    fn without_a_localnet_the_usual_address_is_asked() {
        let found = entrypoints(&args(&[])).expect("an address");
        assert_eq!(found, [USUAL_ENTRYPOINT.parse().expect("an address")]);
        let directory = tempfile::tempdir().expect("a directory");
        let dir = directory.path().to_str().expect("UTF-8");
        let error = entrypoints(&args(&["--dir", dir])).expect_err("no localnet where one was named").to_string();
        assert!(error.contains("no localnet runs"), "{error}");
    }

    #[test]
    fn with_a_localnet_its_first_node_is_asked() {
        let directory = tempfile::tempdir().expect("a directory");
        let node = serde_json::json!({
            "name": "node-0", "identity": "", "vote_account": null, "stake": 0, "pid": null,
            "gossip": "127.0.0.1:4711", "tpu": "", "tvu_quic": "", "rpc": "", "websocket": "", "metrics": "",
            "log": "", "ledger": "",
        });
        let cluster = serde_json::json!({ "genesis_hash": "", "faucet": "", "nodes": [node] });
        std::fs::write(directory.path().join("cluster.json"), cluster.to_string()).expect("a file");
        let dir = directory.path().to_str().expect("UTF-8");
        assert_eq!(entrypoints(&args(&["--dir", dir])).expect("one"), ["127.0.0.1:4711".parse().expect("an address")]);
        let named = entrypoints(&args(&["--dir", dir, "--entrypoint", "127.0.0.1:1", "--entrypoint", "127.0.0.1:2"]));
        assert_eq!(named.expect("two").len(), 2, "what is named is taken in its place");
        let commas = entrypoints(&args(&["--entrypoint", "127.0.0.1:1,127.0.0.1:2"]));
        assert_eq!(commas.expect("two").len(), 2, "as for a validator");
    }

    #[test]
    fn what_is_no_address_or_identity_is_refused_with_what_would_be_one() {
        let error = entrypoints(&args(&["--entrypoint", "nowhere"])).expect_err("no port");
        assert!(format!("{error:#}").contains("HOST:PORT"), "{error:#}");
        let error = identity("abc").expect_err("too short").to_string();
        assert!(error.contains("--pubkey takes"), "{error}");
    }

    #[test]
    fn a_graph_needs_no_entrypoint_and_no_patience() {
        for line in [["--entrypoint", "127.0.0.1:1"], ["--timeout", "3"], ["--num", "3"], ["--pubkey", "x"]] {
            assert!(Line::try_parse_from(["gossip", "--graph", "x.svg"].iter().chain(&line)).is_err(), "{line:?}");
        }
    }
}
