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
    collections::VecDeque,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    str::FromStr as _,
    sync::Arc,
    time::{Duration, Instant},
};
use sundog_types::{Hash, Pubkey};

/// Accounts that pay, so that transfers do not all wait for one account.
const PAYERS: usize = 16;
/// How long after the last transfer confirmations are waited for.
const DRAIN: Duration = Duration::from_secs(20);
/// Signatures asked about at once (reference 10.5).
const STATUSES_MAX: usize = 256;
/// How long after it was sent the status of a transfer is asked for first: no block is confirmed sooner.
const FIRST_ASKED: Duration = Duration::from_millis(200);
/// How long after that again.
const ASKED_AGAIN: Duration = Duration::from_millis(100);
/// How long a status that is to be asked for waits for others, so that they are asked for together.
const TOGETHER: Duration = Duration::from_millis(40);
/// Slots to whose leaders transfers are sent.
const SLOTS_AHEAD: u64 = 2;
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
    /// Slots that were confirmed meanwhile.
    slots: u64,
    /// Those of them without a block.
    slots_skipped: u64,
    slots_per_second: f64,
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
            "sent {}  confirmed {}  {:.1} confirmed/s  latency p50 {} ms  p90 {} ms  p99 {} ms  slots {} (skipped {})  {:.2} slots/s",
            report.sent,
            report.confirmed,
            report.confirmed_per_second,
            report.latency_ms_p50,
            report.latency_ms_p90,
            report.latency_ms_p99,
            report.slots,
            report.slots_skipped,
            report.slots_per_second
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
    let mut run = Run::new(&client, Dialer::new(port))?;
    let until = run.started + Duration::from_secs(args.seconds);
    let mut number = 0_u64;
    while Instant::now() < until {
        let blockhash = blockhash(&client)?;
        let leaders = leaders(&client)?;
        let refresh = Instant::now() + REFRESH;
        while Instant::now() < refresh.min(until) {
            let due = (run.started.elapsed().as_secs_f64() * f64::from(args.rate)) as u64;
            while number < due {
                run.send(&payers[number as usize % PAYERS], number, blockhash, &leaders);
                number += 1;
            }
            run.settle()?;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let drained = Instant::now() + DRAIN;
    while !run.is_settled() && Instant::now() < drained {
        run.settle()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    tracing::debug!(quic = traffic.counted(Way::TpuQuicOut).0, "transfers that left over QUIC");
    run.report(args, number)
}

/// A transfer that is not confirmed yet.
struct Pending {
    signature: String,
    sent: Instant,
    /// When its status is asked for (again).
    ask: Instant,
}

struct Run<'a> {
    client: &'a Client,
    dialer: Arc<Dialer>,
    started: Instant,
    first_slot: u64,
    /// Not asked for yet, in the order in which they were sent.
    fresh: VecDeque<Pending>,
    /// Asked for, and not confirmed then.
    again: VecDeque<Pending>,
    latencies: Vec<u64>,
    last: Option<Instant>,
}

impl<'a> Run<'a> {
    fn new(client: &'a Client, dialer: Arc<Dialer>) -> anyhow::Result<Self> {
        let first_slot = client.slot("confirmed")?;
        let (fresh, again) = Default::default();
        Ok(Self {
            client,
            dialer,
            started: Instant::now(),
            first_slot,
            fresh,
            again,
            latencies: Vec::new(),
            last: None,
        })
    }

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
        let (signature, sent) = (transaction.signatures[0].to_string(), Instant::now());
        self.fresh.push_back(Pending { signature, sent, ask: sent + FIRST_ASKED });
    }

    fn is_settled(&self) -> bool {
        self.fresh.is_empty() && self.again.is_empty()
    }

    /// Asks which of the transfers sent some time ago are confirmed, many at once.
    fn settle(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let longest = [&self.fresh, &self.again].into_iter().filter_map(|queue| queue.front()).map(|first| first.ask);
        let is_late = longest.min().is_some_and(|ask| ask + TOGETHER <= now);
        let due = |queue: &VecDeque<Pending>| queue.iter().take(STATUSES_MAX).take_while(|p| p.ask <= now).count();
        let (again, fresh) = (due(&self.again), due(&self.fresh));
        if !is_late && again + fresh < STATUSES_MAX {
            return Ok(());
        }
        let fresh = fresh.min(STATUSES_MAX - again);
        let asked: Vec<Pending> = self.again.drain(..again).chain(self.fresh.drain(..fresh)).collect();
        let signatures: Vec<&str> = asked.iter().map(|pending| &*pending.signature).collect();
        let answer = self.client.call("getSignatureStatuses", &json!([signatures]))?;
        let statuses = answer["value"].as_array().cloned().unwrap_or_default();
        for (at, pending) in asked.into_iter().enumerate() {
            let status = statuses.get(at).unwrap_or(&Value::Null);
            let level = status["confirmationStatus"].as_str();
            if status["err"].is_null() && matches!(level, Some("confirmed" | "finalized")) {
                let now = Instant::now();
                self.latencies.push(u64::try_from((now - pending.sent).as_millis()).unwrap_or(u64::MAX));
                self.last = Some(now);
            } else {
                self.again.push_back(Pending { ask: Instant::now() + ASKED_AGAIN, ..pending });
            }
        }
        Ok(())
    }

    fn report(mut self, args: &TpsArgs, sent: u64) -> anyhow::Result<Report> {
        self.latencies.sort_unstable();
        let percentile = |p: usize| {
            self.latencies
                .get((self.latencies.len() * p / 100).min(self.latencies.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0)
        };
        let took = self.last.map_or(args.seconds as f64, |last| (last - self.started).as_secs_f64());
        let last_slot = self.client.slot("confirmed")?;
        let options = json!([self.first_slot + 1, last_slot, {"commitment": "confirmed"}]);
        let blocks = self.client.call("getBlocks", &options)?.as_array().map_or(0, Vec::len) as u64;
        let slots = last_slot - self.first_slot;
        Ok(Report {
            rate_asked: args.rate,
            seconds: args.seconds,
            sent: usize::try_from(sent).unwrap_or(usize::MAX),
            confirmed: self.latencies.len(),
            confirmed_per_second: self.latencies.len() as f64 / took,
            latency_ms_p50: percentile(50),
            latency_ms_p90: percentile(90),
            latency_ms_p99: percentile(99),
            slots,
            slots_skipped: slots.saturating_sub(blocks),
            slots_per_second: slots as f64 / self.started.elapsed().as_secs_f64(),
        })
    }
}

fn blockhash(client: &Client) -> anyhow::Result<Hash> {
    let latest = client.call("getLatestBlockhash", &json!([{"commitment": "confirmed"}]))?;
    let text = latest["value"]["blockhash"].as_str().context("no blockhash in the answer")?;
    Hash::from_str(text).context("a blockhash that is none")
}

/// The leader of the slot that is under way, and the next one if it takes over soon, with the addresses where they take
/// transactions.
fn leaders(client: &Client) -> anyhow::Result<Vec<(Pubkey, SocketAddr)>> {
    let slot = client.slot("processed")? + 1;
    let upcoming = client.call("getSlotLeaders", &json!([slot, SLOTS_AHEAD]))?;
    let nodes = client.call("getClusterNodes", &json!([]))?;
    let mut found: Vec<(Pubkey, SocketAddr)> = Vec::new();
    for leader in upcoming.as_array().into_iter().flatten() {
        let node = nodes.as_array().into_iter().flatten().find(|node| node["pubkey"] == *leader);
        let Some(address) = node.and_then(|n| n["tpuQuic"].as_str()).and_then(|a| a.parse().ok()) else { continue };
        let Some(identity) = leader.as_str().and_then(|l| Pubkey::from_str(l).ok()) else { continue };
        if !found.iter().any(|(known, _)| *known == identity) {
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
