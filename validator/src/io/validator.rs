//! A validator process: sockets, threads, the node, and its end.

use super::{
    capped::Capped,
    chain::NodeChain,
    clock::Clock,
    driver::{self, World},
    faults::{self, Faults, Flow, QuicSocket, Rules},
    feed::Feed,
    files, http, ip_echo,
    joining::{self, Chain},
    known_peers::{Keeper, KnownPeers},
    lanes::{Lane, Lanes},
    metrics,
    quic::{Acceptor, Dialer, Port, Protocol, QuicLimits},
    recorder, signals,
    sockets::{Bound, Sockets},
    standing, storage,
    store::FjallStore,
    sync::{SyncLimits, SyncNet},
    tls::Credentials,
    tower_file::TowerFile,
    traffic::Traffic,
    udp::{Arrival, Outgoing, receive},
    watch::Watch,
    workers::Workers,
};
use crate::{
    config::{Settings, limits::packet_limits},
    node::{Boot, GossipSettings, Input, Node, RestartOrder, Socket, SyncBounds, TowerPolicy, Voter, stored},
};
use anyhow::{Context as _, bail};
use arc_swap::ArcSwapOption;
use solana_signer::Signer as _;
use std::{
    net::{TcpListener, UdpSocket},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use sundog_ledger::Ledger;
use sundog_poh::Recorder;
use sundog_types::{Slot, peer::Addresses, store::Store};

/// Connections of one server unless told otherwise: those of all servers, the sockets and the ledger's files fit the
/// 1,024 handles that a process has by default.
const CONNECTIONS_MAX: usize = 384;
/// Connections to the metrics.
const METRICS_CONNECTIONS_MAX: usize = 16;
/// How long an HTTP connection may be silent.
const HTTP_SILENCE: Duration = Duration::from_secs(60);
/// How long a WebSocket may be silent: a subscription may wait long for its news.
const WEBSOCKET_SILENCE: Duration = Duration::from_secs(3_600);

/// How long telling peers that the process ends may take, for each of the two QUIC ports.
const GOODBYE: Duration = Duration::from_millis(200);

/// What a validator has from whoever started it.
#[derive(Clone, Debug, Default)]
pub struct Supervision {
    /// It ends when standard input is closed.
    pub stop_with_stdin: bool,
    /// Fault rules that hold from the first packet on, as JSON.
    pub fault_rules: Option<String>,
}

/// How often memory that is free is given back to the system.
const GIVEN_BACK_EVERY: std::time::Duration = std::time::Duration::from_secs(20);

/// Runs a validator until it is told to end.
///
/// # Errors
/// If anything that it needs cannot be had, or it must end for its own safety.
pub fn run(settings: &Settings, supervision: &Supervision) -> anyhow::Result<()> {
    super::log_to_stderr("info,quinn=warn,fjall=warn,lsm_tree=warn,solana=warn");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.spawn(give_memory_back());
    let why = runtime.block_on(live(settings, supervision));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    why
}

async fn live(settings: &Settings, supervision: &Supervision) -> anyhow::Result<()> {
    let faults = faults_of(settings, supervision)?;
    let ledger_path = settings.ledger.as_deref().context("no ledger")?;
    files::make_directory(ledger_path)?;
    let identity = Arc::new(files::read_keypair(settings.identity.as_deref().context("no identity")?)?);
    let genesis = Arc::new(files::read_genesis(settings.genesis.as_deref().context("no genesis")?)?);
    let faucet = settings.faucet.as_deref().map(files::read_keypair).transpose()?;
    let vote = settings.vote_account.as_deref().map(files::read_keypair).transpose()?.map(Arc::new);
    let ip = settings.bind_address.context("no bind address")?;
    let store = Arc::new(FjallStore::open(ledger_path)?);
    let restart = restart_order(settings)?;
    let shred_version = restart.shred_version(&Ledger::new(Arc::<FjallStore>::clone(&store)), genesis.hash())?;
    let chain = Chain { genesis: genesis.hash(), shred_version, restarting: restart.wait_at.is_some() };
    joining::check_expected(settings, chain.genesis, chain.shred_version)?;
    let sockets = Sockets::bind(settings, ip)?;
    let bound = sockets.bound()?;
    let public = tokio::task::block_in_place(|| {
        joining::check_ports(settings, &sockets, ip)?;
        joining::public_address(settings, ip)
    })?;
    let tower_file = TowerFile::new(ledger_path, &identity.pubkey());
    let tower = tower_file.load()?;
    let neighbours = tower_file.neighbours();
    if tower.is_none() && vote.is_some() && !neighbours.is_empty() {
        tracing::warn!(
            identity = %identity.pubkey(), others = %neighbours.join(" "),
            "the ledger directory has no tower file of this identity, but one of another; if this node voted as that one, start it with that --identity"
        );
    }
    let clock = Clock::start();
    let remember = settings.known_peers.unwrap_or(true);
    let known_peers = KnownPeers::open(ledger_path, clock.now().unix_ms, remember)?;
    let boot = Boot {
        genesis: Arc::clone(&genesis),
        identity: Arc::clone(&identity),
        voter: vote.map(|key| Voter { account: key.pubkey(), key }),
        store: Arc::<FjallStore>::clone(&store),
        tower,
        tower_policy: TowerPolicy {
            require: settings.require_tower.unwrap_or(false),
            vote_without: settings.vote_without_tower.unwrap_or(false),
        },
        restart,
        addresses: advertised(&bound.at(public)),
        entrypoints: settings.entrypoints.clone().unwrap_or_default(),
        allow_private: settings.allow_private_addresses.unwrap_or(false),
        fanout: settings.turbine_fanout,
        gossip: GossipSettings {
            known: known_peers.peers().to_vec(),
            outset_us: Some(known_peers.outset_us()),
            pull_items_min: settings.gossip_pull_items_min,
            packet_limits: packet_limits(settings),
        },
        sync: sync_bounds(settings),
        ledger_slots: settings.ledger_slots.unwrap_or(u64::MAX),
        health_distance_slots: settings.health_distance_slots.unwrap_or(32),
        seed: seed(),
    };
    let recorder = Recorder::new(boot.recorder());
    let (node, effects) = boot.start(clock.now())?;
    tracing::info!(identity = %identity.pubkey(), genesis = %genesis.hash(), root = %node.forks().root(), ?bound, "validator started");
    let shell = Shell { clock, store, identity, faucet, chain, known_peers };
    let (mut running, failed) = shell.start((settings, &faults), sockets, (recorder, tower_file), (node, effects))?;
    if let Some(directory) = ledger_path.parent() {
        files::write_json(&directory.join("addresses.json"), &bound)?;
    }
    let ended = wait_for_end(supervision.stop_with_stdin, faults, (&mut running.stop, failed)).await;
    running.end().await;
    ended
}

/// What a validator advertises: everything it binds.
fn advertised(bound: &Bound) -> Addresses {
    Addresses {
        gossip: Some(bound.gossip),
        tvu: Some(bound.tvu),
        tvu_quic: Some(bound.tvu_quic),
        tpu: Some(bound.tpu),
        tpu_quic: Some(bound.tpu_quic),
        tpu_forwards_quic: Some(bound.tpu_quic),
        tpu_vote: Some(bound.tpu_vote),
        tpu_vote_quic: None,
        serve_repair: Some(bound.serve_repair),
        rpc: Some(bound.rpc),
        rpc_pubsub: Some(bound.websocket),
    }
}

/// The node's fault point: off unless the settings say otherwise.
fn faults_of(settings: &Settings, supervision: &Supervision) -> anyhow::Result<Faults> {
    match (&supervision.fault_rules, settings.faults.unwrap_or(false)) {
        (None, false) => Ok(Faults::off()),
        (Some(_), false) => bail!("fault rules are given and fault injection is off; give --faults true too"),
        (None, true) => Ok(Faults::on(&Rules::default())?),
        (Some(rules), true) => Ok(Faults::on(&Rules::read(rules)?)?),
    }
}

fn seed() -> [u8; 32] {
    // A fresh Ed25519 secret is 32 bytes from the system's generator.
    solana_keypair::Keypair::new().to_bytes()[..32].try_into().expect("32 of 64 bytes")
}

type Failed = tokio::sync::mpsc::Receiver<anyhow::Error>;

async fn wait_for_end(
    stop_with_stdin: bool,
    faults: Faults,
    (stop, mut failed): (&mut tokio::sync::mpsc::Receiver<String>, Failed),
) -> anyhow::Result<()> {
    let stdin = async {
        if stop_with_stdin || faults.order().is_some() {
            let _ = tokio::task::spawn_blocking(move || faults::follow(&faults, std::io::stdin().lock())).await;
        }
        if !stop_with_stdin {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = signals::asked_to_end() => ended.context("signals cannot be heard"),
        () = stdin => Ok(()),
        Some(why) = stop.recv() => Err(anyhow::anyhow!(why)),
        Some(error) = failed.recv() => Err(error),
    }
}

/// What lives as long as the process.
struct Shell {
    clock: Clock,
    store: Arc<FjallStore>,
    identity: Arc<solana_keypair::Keypair>,
    faucet: Option<solana_keypair::Keypair>,
    chain: Chain,
    known_peers: KnownPeers,
}

/// The threads, and the ways to end them.
struct Running {
    stop: tokio::sync::mpsc::Receiver<String>,
    feed: Feed,
    lanes: Lanes,
    quic: [Port; 2],
    node: JoinHandle<()>,
    storage: JoinHandle<()>,
    known_peers: Keeper,
}

impl Running {
    /// Ends the node, tells its peers, and ends the storage once its last write is durable.
    async fn end(self) {
        self.feed.close();
        // Any input wakes the node's thread.
        let _ = self.lanes.answer(Input::Durable { id: 0 });
        let _ = self.node.join();
        self.quic.iter().for_each(Port::close);
        let _ = self.storage.join();
        self.known_peers.end().await;
        for port in &self.quic {
            port.told(GOODBYE).await;
        }
    }
}

impl Shell {
    fn start(
        self,
        (settings, faults): (&Settings, &Faults),
        sockets: Sockets,
        (recorder, tower): (Recorder, TowerFile),
        (node, effects): (Node, Vec<crate::node::Effect>),
    ) -> anyhow::Result<(Running, Failed)> {
        let (lanes, ends) = Lanes::new();
        let traffic = Arc::new(Traffic::default());
        let view = Arc::new(ArcSwapOption::empty());
        let feed = Feed::new(self.identity.pubkey());
        let (stop, stopped) = tokio::sync::mpsc::channel(1);
        let (fail, failed) = tokio::sync::mpsc::channel(4);
        let watch = |what| Watch::new(what, feed.clone(), fail.clone());
        let (storage, storage_thread) =
            storage::start(Arc::clone(&self.store), tower, lanes.clone(), watch("storage"))?;
        let credentials = Credentials::new(&self.identity)?;
        let port = |protocol, socket, flow| {
            let socket = QuicSocket::new(socket, faults, flow);
            Port::open(protocol, &credentials, socket, Arc::clone(&traffic), QuicLimits::DEFAULT)
        };
        let quic = [
            port(Protocol::Turbine, sockets.tvu_quic, Flow::Turbine)?,
            port(Protocol::Tpu, sockets.tpu_quic, Flow::Transactions)?,
        ];
        let [turbine, tpu] = quic.clone().map(|port| accept(port, &lanes, &view));
        let udp = self.listen(
            &lanes,
            (&traffic, faults),
            [sockets.gossip, sockets.repair, sockets.serve_repair, sockets.tpu_vote, sockets.tvu, sockets.tpu],
        )?;
        let sync = (SyncLimits::from(sync_bounds(settings)), faults.clone());
        let world = World {
            lanes: lanes.clone(),
            clock: self.clock,
            workers: Workers::start(settings.workers.unwrap_or(0), &lanes, || watch("work"))?,
            recorder: recorder::start(recorder, self.clock, lanes.clone(), watch("Proof of History"))?,
            storage,
            udp,
            turbine,
            tpu,
            sync: SyncNet::start(sockets.sync, &credentials, lanes.clone(), Arc::clone(&traffic), sync)?,
            view: Arc::clone(&view),
            feed: feed.clone(),
            stop,
        };
        let ledger = Ledger::new(Arc::<FjallStore>::clone(&self.store) as Arc<dyn Store>);
        feed_stored(&ledger, &lanes)?;
        let node_watch = watch("node");
        let node_thread = std::thread::Builder::new().name("node".into()).spawn(move || {
            driver::run(node, &ends, &world, effects);
            drop(node_watch);
        })?;
        let chain: Arc<dyn sundog_rpc::Chain> = Arc::new(NodeChain::new(
            (self.chain, self.identity.pubkey()),
            Arc::clone(&view),
            ledger.clone(),
            (self.faucet, lanes.clone()),
        ));
        joining::compare_chains(settings.entrypoints.as_deref().unwrap_or_default(), self.chain, &fail, faults);
        let known_peers = Keeper::start(self.known_peers, self.identity.pubkey(), Arc::clone(&view));
        let echo = tokio::net::TcpListener::from_std(sockets.ip_echo)?;
        guard(&fail, "IP echo", ip_echo::serve(echo, self.chain.shred_version, Arc::clone(&traffic)));
        let sources = metrics::Sources { view, traffic, lanes: lanes.clone(), ledger, faults: faults.clone() };
        let readers = Readers { chain, feed: feed.clone(), sources };
        readers.serve(settings, [sockets.rpc, sockets.websocket, sockets.metrics], &fail)?;
        let running =
            Running { stop: stopped, feed, lanes, quic, node: node_thread, storage: storage_thread, known_peers };
        Ok((running, failed))
    }

    /// Starts the receiving tasks, and keeps what the node sends from.
    fn listen(
        &self,
        lanes: &Lanes,
        (traffic, faults): (&Arc<Traffic>, &Faults),
        sockets: [UdpSocket; 6],
    ) -> anyhow::Result<Outgoing> {
        let [gossip, repair, serve_repair, votes, tvu, tpu] = sockets;
        let arrivals = [
            (&gossip, Arrival::Node(Socket::Gossip)),
            (&repair, Arrival::Node(Socket::Repair)),
            (&serve_repair, Arrival::Node(Socket::ServeRepair)),
            (&votes, Arrival::Node(Socket::TpuVote)),
            (&tvu, Arrival::Tvu),
            (&tpu, Arrival::Tpu),
        ];
        for (socket, arrival) in arrivals {
            let socket = Arc::new(tokio::net::UdpSocket::from_std(socket.try_clone()?)?);
            tokio::spawn(receive(socket, arrival, lanes.clone(), Arc::clone(traffic), faults.clone()));
        }
        Ok(Outgoing {
            gossip: Arc::new(gossip),
            repair: Arc::new(repair),
            serve_repair: Arc::new(serve_repair),
            votes: Arc::new(votes),
            traffic: Arc::clone(traffic),
            faults: faults.clone(),
        })
    }
}

/// What serves those who read.
struct Readers {
    chain: Arc<dyn sundog_rpc::Chain>,
    feed: Feed,
    sources: metrics::Sources,
}

impl Readers {
    /// Serves JSON-RPC, subscriptions and metrics, each with a capacity.
    fn serve(
        self,
        settings: &Settings,
        sockets: [TcpListener; 3],
        fail: &tokio::sync::mpsc::Sender<anyhow::Error>,
    ) -> std::io::Result<()> {
        let websockets = settings.websockets_max.unwrap_or(CONNECTIONS_MAX);
        let calls = settings.rpc_connections_max.unwrap_or(CONNECTIONS_MAX);
        let [rpc, websocket, metrics] = sockets;
        let capped = |socket, connections, silence| -> std::io::Result<Capped> {
            let listener = tokio::net::TcpListener::from_std(socket)?;
            Ok(Capped::new(listener, connections, silence, Arc::clone(&self.sources.traffic)))
        };
        let rpc = capped(rpc, calls, HTTP_SILENCE)?;
        let websocket = capped(websocket, websockets, WEBSOCKET_SILENCE)?;
        let metrics = capped(metrics, METRICS_CONNECTIONS_MAX, HTTP_SILENCE)?;
        guard(fail, "JSON-RPC", http::serve(rpc, Arc::new(sundog_rpc::Rpc::new()), Arc::clone(&self.chain)));
        guard(fail, "WebSocket", http::serve_websocket(websocket, self.chain, self.feed, websockets));
        guard(fail, "metrics", metrics::serve(metrics, self.sources));
        Ok(())
    }
}

/// Runs a server; if it ends, the process does.
fn guard(
    fail: &tokio::sync::mpsc::Sender<anyhow::Error>,
    what: &'static str,
    server: impl Future<Output = std::io::Result<()>> + Send + 'static,
) {
    let fail = fail.clone();
    tokio::spawn(async move {
        let error = server.await.err().map_or_else(|| "it ended".to_owned(), |e| e.to_string());
        let _ = fail.send(anyhow::anyhow!("the {what} server failed: {error}")).await;
    });
}

/// Hands the blocks above the root to the node, so that it executes them again.
fn feed_stored(ledger: &Ledger, lanes: &Lanes) -> anyhow::Result<()> {
    for shreds in stored(ledger)? {
        lanes.offer(Lane::Consensus, Input::Stored { shreds });
    }
    Ok(())
}

/// What other nodes may do on the links of bulk sync.
fn sync_bounds(settings: &Settings) -> SyncBounds {
    let default = SyncBounds::default();
    SyncBounds {
        frame_bytes_max: settings.sync_frame_bytes_max.unwrap_or(default.frame_bytes_max),
        messages_per_second: settings.sync_messages_per_second.unwrap_or(default.messages_per_second),
        connections_per_address: settings.sync_connections_per_address.unwrap_or(default.connections_per_address),
    }
}

/// What the operator says of coordinated restarts.
fn restart_order(settings: &Settings) -> anyhow::Result<RestartOrder> {
    if settings.expected_bank_hash.is_some() && settings.wait_for_supermajority.is_none() {
        bail!(
            "expected-bank-hash is given without wait-for-supermajority, whose block it is of; give both, or neither"
        );
    }
    let hash = settings.expected_bank_hash.as_deref().map(str::parse).transpose();
    Ok(RestartOrder {
        hard_forks: settings.hard_forks.iter().flatten().map(|slot| Slot::new(*slot)).collect(),
        wait_at: settings.wait_for_supermajority.map(Slot::new),
        bank_hash: hash.context("expected-bank-hash is no hash; give it in base58, as the other operators print it")?,
    })
}

/// Gives memory back to the system that a load took and that is free again.
async fn give_memory_back() {
    let mut every = tokio::time::interval(GIVEN_BACK_EVERY);
    loop {
        every.tick().await;
        let _ = tokio::task::spawn_blocking(crate::kernel::memory::trim).await;
    }
}

/// Accepts connections on a port; what opens them.
fn accept(port: Port, lanes: &Lanes, view: &Arc<ArcSwapOption<crate::node::View>>) -> Arc<Dialer> {
    let dialer = Dialer::new(port.clone());
    let acceptor = Acceptor::new(port, lanes.clone(), standing::of_view(Arc::clone(view)), Arc::clone(&dialer));
    tokio::spawn(acceptor.run());
    dialer
}
