//! `sundog tower` and `sundog forks`: what a node has promised, and what it chooses from.
//!
//! A running node has its ledger directory to itself and is asked by JSON-RPC; the directory of a stopped one is read.

mod forks;
mod stopped;
mod tower;

pub use forks::{ForksArgs, run as forks};
pub use tower::{TowerArgs, run as tower};

use super::{
    localnet::{Cluster, Layout},
    screen::Screen,
};
use crate::io::client::{CallError, Client};
use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// How often a live view is drawn anew.
const DRAW_EVERY: Duration = Duration::from_millis(400);

/// Which node is looked at.
#[derive(Args)]
struct Whom {
    /// The localnet's directory. Its cluster.json also names the voters.
    #[arg(long, value_name = "DIR", default_value = "localnet")]
    dir: PathBuf,
    /// Which node of the localnet, by name or number.
    #[arg(long, value_name = "NODE", default_value = "node-0")]
    node: String,
    /// Ask the node that serves JSON-RPC here.
    #[arg(long, value_name = "URL", conflicts_with = "node")]
    url: Option<String>,
    /// Read the ledger directory of a node that does not run.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["url", "node"])]
    ledger: Option<PathBuf>,
}

impl Whom {
    /// The localnet, if there is one: a ledger's is two directories above it.
    fn cluster(&self) -> Option<Cluster> {
        let of = |dir: &Path| Cluster::read(&Layout::new(dir).cluster()).ok();
        match &self.ledger {
            Some(ledger) => ledger.ancestors().nth(2).and_then(of),
            None => of(&self.dir),
        }
    }

    /// Who answers for the node.
    fn client(&self, cluster: Option<&Cluster>) -> anyhow::Result<Client> {
        if let Some(url) = &self.url {
            let url = if url.contains("://") { url.clone() } else { format!("http://{url}") };
            return Ok(Client::new(&url));
        }
        let Some(cluster) = cluster else {
            bail!(
                "no localnet runs in {0}; start one, name its --dir, or read a stopped node with --ledger {0}/{1}/ledger",
                self.dir.display(),
                self.node
            );
        };
        let number: Option<usize> = self.node.parse().ok();
        let mut nodes = cluster.nodes.iter().enumerate();
        let Some((_, node)) = nodes.find(|(at, node)| node.name == self.node || Some(*at) == number) else {
            let names: Vec<_> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
            bail!("there is no node {}; --node takes one of {}", self.node, names.join(", "));
        };
        if node.pid.is_none() {
            let ledger = self.dir.join(&node.ledger);
            bail!("{} does not run; restart it, or read what it left with --ledger {}", node.name, ledger.display());
        }
        Ok(Client::new(&node.rpc))
    }
}

fn ask<T: DeserializeOwned>(client: &Client, method: &str) -> anyhow::Result<T> {
    let answer = client.call(method, &json!([])).map_err(|error| match error {
        CallError::Unreachable { url, message } => anyhow!(
            "no JSON-RPC at {url} ({message}); --url takes where a Sundog node serves it, http://127.0.0.1:8899 by \
             default; a node that does not run is read with --ledger DIR"
        ),
        CallError::Refused { method, message } => {
            anyhow!("who answers there does not know {method} ({message}); --url takes the JSON-RPC of a Sundog node")
        }
    })?;
    serde_json::from_value(answer)
        .with_context(|| format!("{method} answers with something else; --url takes the JSON-RPC of a Sundog node"))
}

/// Names for identities and vote accounts, as a localnet knows them; others are shortened.
struct Names<'a>(Option<&'a Cluster>);

impl Names<'_> {
    fn of(&self, address: &str) -> String {
        let mut nodes = self.0.into_iter().flat_map(|cluster| &cluster.nodes);
        let known = nodes.find(|node| node.identity == address || node.vote_account.as_deref() == Some(address));
        known.map_or_else(|| address.chars().take(8).collect(), |node| node.name.clone())
    }

    /// The name, if there is one, and the whole address.
    fn full(&self, address: &str) -> String {
        let mut nodes = self.0.into_iter().flat_map(|cluster| &cluster.nodes);
        let known = nodes.find(|node| node.identity == address);
        known.map_or_else(|| address.to_owned(), |node| format!("{} {address}", node.name))
    }
}

/// Draws pages of what is answered, each made for about so many lines, until the reader goes. A node that was there and does
/// not answer any more may come back: it is asked on.
fn watch<T>(ask: impl Fn() -> anyhow::Result<T>, page: impl Fn(&T, usize) -> String) -> anyhow::Result<()> {
    let mut shown = String::new();
    loop {
        let screen = Screen::now();
        let page = match ask() {
            Err(error) if shown.is_empty() => return Err(error),
            Err(error) => format!("{error:#}; it is asked again until it answers"),
            Ok(facts) => screen.fit(|lines| page(&facts, lines)),
        };
        if page != shown {
            if screen.draw(&page, &mut io::stdout().lock()).is_err() {
                return Ok(());
            }
            shown = page;
        }
        thread::sleep(DRAW_EVERY);
    }
}
