//! Transactions per second of a cluster, as its clients see it: over QUIC to the leaders, counted when confirmed.

use crate::{
    cli::{localnet::Cluster, say, say_json},
    io::{
        client::Client,
        files,
        quic::{Dialer, Port, Protocol, QuicLimits},
        tls::Credentials,
        traffic::{Traffic, Way},
    },
    payments::transfer,
};
use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    str::FromStr as _,
    sync::Arc,
    time::{Duration, Instant},
};
use sundog_types::{Hash, Pubkey, Signature};

/// Accounts that pay, so that transfers do not all wait for one account.
const PAYERS: usize = 16;
/// How long after the last transfer confirmations are waited for.
const DRAIN: Duration = Duration::from_secs(20);
/// Signatures asked about at once (reference 10.5).
const STATUSES_MAX: usize = 256;
/// How often a new blockhash and new leaders are asked for.
const REFRESH: Duration = Duration::from_millis(400);

/// Arguments of `sundog bench tps`.
#[derive(Args)]
pub struct TpsArgs {
    /// JSON-RPC of a running cluster. Without it a localnet of three is started and stopped.
    #[arg(long, requires = "faucet")]
    url: Option<String>,
    /// Keypair file of an account that can pay.
    #[arg(long, value_name = "FILE")]
    faucet: Option<PathBuf>,
    /// Transfers sent a second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: u32,
    /// How long they are sent, seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    rate_asked: u32,
    seconds: u64,
    sent: usize,
    confirmed: usize,
    /// Confirmed transfers by the time from the first sent to the last confirmed.
    confirmed_per_second: f64,
    /// From sent to seen confirmed, milliseconds.
    latency_ms_p50: u64,
    latency_ms_p90: u64,
    latency_ms_p99: u64,
}

/// Runs it.
///
/// # Errors
/// If the cluster cannot be reached or started.
pub fn run(args: &TpsArgs, json: bool) -> anyhow::Result<()> {
    let report = match (&args.url, &args.faucet) {
        (Some(url), Some(faucet)) => drive(args, url, &files::read_keypair(faucet)?)?,
        _ => {
            let localnet = OwnLocalnet::start()?;
            let cluster = localnet.ready()?;
            let faucet = files::read_keypair(&localnet.directory.join(&cluster.faucet))?;
            drive(args, &cluster.nodes[0].rpc, &faucet)?
        }
    };
    if json {
        say_json(&report);
    } else {
        say(format_args!(
            "sent {}  confirmed {}  {:.1} confirmed/s  latency p50 {} ms  p90 {} ms  p99 {} ms",
            report.sent,
            report.confirmed,
            report.confirmed_per_second,
            report.latency_ms_p50,
            report.latency_ms_p90,
            report.latency_ms_p99
        ));
    }
    Ok(())
}

/// A localnet that lives as long as the measurement.
struct OwnLocalnet {
    directory: PathBuf,
    child: Child,
}

impl OwnLocalnet {
    fn start() -> anyhow::Result<Self> {
        let directory = std::env::temp_dir().join(format!("sundog-bench-{}", std::process::id()));
        let child = Command::new(std::env::current_exe()?)
            .args(["localnet", "--reset", "--rpc-port", "0", "--dir"])
            .arg(&directory)
            .stdout(Stdio::null())
            .spawn()
            .context("the localnet cannot be started")?;
        Ok(Self { directory, child })
    }

    fn ready(&self) -> anyhow::Result<Cluster> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if let Ok(cluster) = Cluster::read(&self.directory.join("cluster.json")) {
                let ready = |url: &str| Client::new(url).slot("confirmed").is_ok_and(|slot| slot > 0);
                if cluster.nodes.iter().all(|node| ready(&node.rpc)) {
                    return Ok(cluster);
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!("the localnet was not ready within a minute; see {}", self.directory.display())
    }
}

impl Drop for OwnLocalnet {
    fn drop(&mut self) {
        let down = Command::new(std::env::current_exe().unwrap_or_default())
            .args(["localnet", "down", "--dir"])
            .arg(&self.directory)
            .stdout(Stdio::null())
            .status();
        if !down.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn drive(args: &TpsArgs, url: &str, faucet: &Keypair) -> anyhow::Result<Report> {
    let client = Client::new(url);
    let payers = fund(&client, faucet, args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _entered = runtime.enter();
    let credentials = Credentials::new(&Keypair::new())?;
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.set_nonblocking(true)?;
    let traffic = Arc::new(Traffic::default());
    let port = Port::open(Protocol::Tpu, &credentials, socket, Arc::clone(&traffic), QuicLimits::DEFAULT)?;
    let dialer = Dialer::new(port);
    let mut run = Run { client: &client, dialer, sent: BTreeMap::new(), latencies: Vec::new(), last: None };
    let started = Instant::now();
    let until = started + Duration::from_secs(args.seconds);
    let mut number = 0_u64;
    while Instant::now() < until {
        let blockhash = blockhash(&client)?;
        let leaders = leaders(&client)?;
        let refresh = Instant::now() + REFRESH;
        while Instant::now() < refresh.min(until) {
            let due = (started.elapsed().as_secs_f64() * f64::from(args.rate)) as u64;
            while number < due {
                run.send(&payers[number as usize % PAYERS], number, blockhash, &leaders);
                number += 1;
            }
            run.settle(false)?;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let drained = Instant::now() + DRAIN;
    while !run.sent.is_empty() && Instant::now() < drained {
        run.settle(true)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    tracing::debug!(quic = traffic.counted(Way::TpuQuicOut).0, "transfers that left over QUIC");
    Ok(run.report(args, started, number))
}

struct Run<'a> {
    client: &'a Client,
    dialer: Arc<Dialer>,
    /// When each transfer that is not confirmed yet was sent.
    sent: BTreeMap<String, Instant>,
    latencies: Vec<u64>,
    last: Option<Instant>,
}

impl Run<'_> {
    fn send(&mut self, payer: &Keypair, number: u64, blockhash: Hash, leaders: &[(Pubkey, SocketAddr)]) {
        let mut to = [0; 32];
        to[..8].copy_from_slice(&(number % 64 + 1).to_le_bytes());
        to[31] = 1;
        // The amount makes each transfer a transaction of its own.
        let transaction = transfer(payer, &Pubkey::new_from_array(to), 1_000_000 + number, blockhash);
        let bytes = bytes::Bytes::from(bincode::serialize(&transaction).expect("a transaction serialises"));
        for (identity, address) in leaders {
            self.dialer.send(*address, Some(*identity), bytes.clone());
        }
        let signature: Signature = transaction.signatures[0];
        self.sent.insert(signature.to_string(), Instant::now());
    }

    /// Asks which of the transfers sent some time ago are confirmed.
    fn settle(&mut self, all: bool) -> anyhow::Result<()> {
        let age = if all { Duration::ZERO } else { Duration::from_millis(300) };
        let mut asked: Vec<String> =
            self.sent.iter().filter(|(_, at)| at.elapsed() >= age).map(|(s, _)| s.clone()).collect();
        asked.sort_by_key(|s| self.sent.get(s).copied());
        asked.truncate(STATUSES_MAX);
        if asked.is_empty() {
            return Ok(());
        }
        let answer = self.client.call("getSignatureStatuses", &json!([asked]))?;
        for (signature, status) in asked.iter().zip(answer["value"].as_array().into_iter().flatten()) {
            let level = status["confirmationStatus"].as_str();
            if status["err"].is_null()
                && matches!(level, Some("confirmed" | "finalized"))
                && let Some(sent) = self.sent.remove(signature)
            {
                self.latencies.push(u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX));
                self.last = Some(Instant::now());
            }
        }
        Ok(())
    }

    fn report(mut self, args: &TpsArgs, started: Instant, sent: u64) -> Report {
        self.latencies.sort_unstable();
        let percentile = |p: usize| {
            self.latencies
                .get((self.latencies.len() * p / 100).min(self.latencies.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0)
        };
        let took = self.last.map_or(args.seconds as f64, |last| (last - started).as_secs_f64());
        Report {
            rate_asked: args.rate,
            seconds: args.seconds,
            sent: usize::try_from(sent).unwrap_or(usize::MAX),
            confirmed: self.latencies.len(),
            confirmed_per_second: self.latencies.len() as f64 / took,
            latency_ms_p50: percentile(50),
            latency_ms_p90: percentile(90),
            latency_ms_p99: percentile(99),
        }
    }
}

fn blockhash(client: &Client) -> anyhow::Result<Hash> {
    let latest = client.call("getLatestBlockhash", &json!([{"commitment": "confirmed"}]))?;
    let text = latest["value"]["blockhash"].as_str().context("no blockhash in the answer")?;
    Hash::from_str(text).context("a blockhash that is none")
}

/// The next leaders with the addresses where they take transactions.
fn leaders(client: &Client) -> anyhow::Result<Vec<(Pubkey, SocketAddr)>> {
    let slot = client.slot("processed")?;
    let upcoming = client.call("getSlotLeaders", &json!([slot, 8]))?;
    let nodes = client.call("getClusterNodes", &json!([]))?;
    let mut found: Vec<(Pubkey, SocketAddr)> = Vec::new();
    for leader in upcoming.as_array().into_iter().flatten() {
        let node = nodes.as_array().into_iter().flatten().find(|node| node["pubkey"] == *leader);
        let Some(address) = node.and_then(|n| n["tpuQuic"].as_str()).and_then(|a| a.parse().ok()) else { continue };
        let Some(identity) = leader.as_str().and_then(|l| Pubkey::from_str(l).ok()) else { continue };
        if found.len() < 2 && !found.iter().any(|(known, _)| *known == identity) {
            found.push((identity, address));
        }
    }
    Ok(found)
}

/// Makes accounts that can pay for the transfers.
fn fund(client: &Client, faucet: &Keypair, args: &TpsArgs) -> anyhow::Result<Vec<Keypair>> {
    let payers: Vec<Keypair> = (0..PAYERS).map(|_| Keypair::new()).collect();
    let each = u64::from(args.rate) * args.seconds * 50_000_000 / PAYERS as u64 + 1_000_000_000;
    let blockhash = blockhash(client)?;
    for payer in &payers {
        let bytes = bincode::serialize(&transfer(faucet, &payer.pubkey(), each, blockhash))?;
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
        client
            .call("sendTransaction", &json!([encoded, {"encoding": "base64", "preflightCommitment": "confirmed"}]))?;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    for payer in &payers {
        loop {
            let balance =
                client.call("getBalance", &json!([payer.pubkey().to_string(), {"commitment": "confirmed"}]))?;
            if balance.get("value").and_then(Value::as_u64).is_some_and(|lamports| lamports >= each) {
                break;
            }
            if Instant::now() > deadline {
                bail!("the faucet's transfers were not confirmed within a minute; is the cluster healthy?");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(payers)
}
