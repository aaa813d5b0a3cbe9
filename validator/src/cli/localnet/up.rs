//! Starting a localnet and staying with it.

use super::{
    Cluster, ClusterNode, Layout, LocalnetArgs,
    control::{self, Answer, Asked, Request},
    network::Network,
    plan::{Plan, make_genesis},
    ports::Ports,
};
use crate::{
    cli::say,
    io::{files, sockets::Bound},
};
use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};
use sundog_types::Hash;

/// Bulk sync connections that a node takes from the address that all of them share: as many as it takes in all.
const SYNC_CONNECTIONS: usize = 64;
/// How long a node may take to bind its sockets: opening a large ledger takes seconds.
const BIND_WAIT: Duration = Duration::from_secs(60);
/// How long a node may take to stop cleanly before it is killed.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// Starts a localnet, and ends when it is told to.
///
/// # Errors
/// If the directory, a port or a process cannot be had, or a node dies by itself.
pub fn run(args: &LocalnetArgs, layout: &Layout) -> anyhow::Result<()> {
    if control::ask(layout, &Request::Kill { node: usize::MAX }).is_err_and(|e| e.to_string().contains("no node")) {
        bail!(
            "a localnet runs in {} already; stop it with `sundog localnet down`, or give another --dir",
            layout.dir().display()
        );
    }
    let started = Instant::now();
    let spinner = spinner("building genesis");
    if args.reset {
        reset(layout)?;
    }
    files::make_directory(layout.dir())?;
    let kept: Option<Plan> = std::fs::read(layout.plan()).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let plan = Plan::of(args, kept.as_ref())?;
    match kept {
        Some(kept) if (Plan { fanout: plan.fanout, ..kept.clone() }) != plan => {
            bail!(
                "{} belongs to another genesis (stakes {:?}, {} ms slots); give --reset to start anew, or another --dir",
                layout.dir().display(),
                kept.stakes,
                kept.slot_ms
            );
        }
        Some(_) => files::write_json(&layout.plan(), &plan)?,
        None if layout.node(0).exists() => {
            bail!(
                "{} holds a localnet whose plan.json cannot be read; give --reset to start anew, or another --dir",
                layout.dir().display()
            );
        }
        None => make_genesis(layout, &plan)?,
    }
    let _ = std::fs::remove_file(layout.cluster());
    let requests = control::listen(layout)?;
    let mut localnet = Localnet::new(layout, (args.rpc_port, args.faults), &plan)?;
    spinner.set_message("starting the validators");
    let ran = localnet.live(&requests, (args.seconds.map(Duration::from_secs), started), &spinner);
    spinner.finish_and_clear();
    localnet.stop_all();
    let _ = std::fs::remove_file(layout.control());
    ran
}

fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a valid template"));
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Removes what a localnet made, and nothing else.
fn reset(layout: &Layout) -> anyhow::Result<()> {
    for file in [layout.cluster(), layout.control(), layout.plan(), layout.genesis(), layout.faucet()] {
        let _ = std::fs::remove_file(file);
    }
    let mut node = 0;
    while layout.node(node).is_dir() {
        std::fs::remove_dir_all(layout.node(node))
            .with_context(|| format!("{} cannot be removed", layout.node(node).display()))?;
        node += 1;
    }
    Ok(())
}

/// A node of the localnet, whether it runs or not.
pub struct Running {
    /// Its process, while it runs.
    pub child: Option<Child>,
    /// Where it listens, or listened when it last ran.
    pub bound: Option<Bound>,
    /// It ended because it was told to.
    told: bool,
    /// Where in its log this life of it begins.
    log_from: u64,
}

/// The localnet that this process runs.
pub struct Localnet<'a> {
    layout: &'a Layout,
    /// The program's file, asked for while it is there: once another build has replaced it, the system names a file
    /// that does not exist.
    program: PathBuf,
    ports: Ports,
    plan: Plan,
    /// The slot and bank hash of a restart that the nodes are started for now.
    wait: Option<(u64, Hash)>,
    /// Whether the nodes have fault injection.
    pub faults: bool,
    /// Number of the fault rules that nodes were told last.
    pub order: u64,
    /// What others are told of it.
    pub cluster: Cluster,
    /// Its nodes.
    pub running: Vec<Running>,
}

impl<'a> Localnet<'a> {
    fn new(layout: &'a Layout, (rpc_port, faults): (u16, bool), plan: &Plan) -> anyhow::Result<Self> {
        let genesis_hash = files::read_genesis(&layout.genesis())?.hash().to_string();
        let cluster =
            Cluster { genesis_hash, faucet: "faucet.json".into(), nodes: Vec::new(), network: Network::default() };
        let program = std::env::current_exe().context("the program's own file")?;
        let (plan, ports, running) = (plan.clone(), Ports::new(rpc_port), Vec::new());
        let mut localnet = Self { layout, program, ports, plan, wait: None, faults, order: 0, cluster, running };
        for stake in localnet.plan.stakes.clone() {
            localnet.adopt(stake)?;
        }
        while layout.of_node(localnet.running.len(), "identity.json").exists() {
            localnet.adopt(0)?;
        }
        Ok(localnet)
    }

    /// Lists a node whose keys are in its directory.
    fn adopt(&mut self, stake: u64) -> anyhow::Result<()> {
        let node = self.running.len();
        let name = Layout::node_name(node);
        let key = |file: &str| files::read_keypair(&self.layout.of_node(node, file)).map(|k| k.pubkey().to_string());
        self.cluster.nodes.push(ClusterNode {
            identity: key("identity.json")?,
            vote_account: if stake > 0 { Some(key("vote-account.json")?) } else { None },
            stake,
            pid: None,
            gossip: String::new(),
            tpu: String::new(),
            tvu_quic: String::new(),
            rpc: String::new(),
            websocket: String::new(),
            metrics: String::new(),
            log: format!("{name}/validator.log"),
            ledger: format!("{name}/ledger"),
            name,
        });
        self.running.push(Running { child: None, bound: None, told: false, log_from: 0 });
        Ok(())
    }

    /// Starts a node and learns its addresses. Its command line names one entrypoint and no other peer.
    pub(super) fn start(&mut self, node: usize) -> anyhow::Result<()> {
        let file = |name: &str| self.layout.of_node(node, name);
        let bound = file("addresses.json");
        let _ = std::fs::remove_file(&bound);
        let log = File::options()
            .create(true)
            .append(true)
            .open(file("validator.log"))
            .context("the log cannot be opened")?;
        let log_from = log.metadata().map_or(0, |meta| meta.len());
        let mut command = Command::new(&self.program);
        command.args(["validator", "--stop-with-stdin", "--identity"]).arg(file("identity.json"));
        command.arg("--ledger").arg(file("ledger")).arg("--genesis").arg(self.layout.genesis());
        command.arg("--faucet").arg(self.layout.faucet());
        if self.cluster.nodes[node].stake > 0 {
            command.arg("--vote-account").arg(file("vote-account.json"));
        }
        if node > 0 {
            command.arg("--entrypoint").arg(&self.cluster.nodes[0].gossip);
        } else if let Some(other) = self.cluster.nodes.iter().skip(1).find(|n| n.pid.is_some()) {
            // A first node that comes back joins like any other.
            command.arg("--entrypoint").arg(&other.gossip);
        }
        // All nodes share one address.
        command.arg("--sync-connections-per-address").arg(SYNC_CONNECTIONS.to_string());
        for slot in &self.plan.hard_forks {
            command.arg("--hard-fork").arg(slot.to_string());
        }
        if let Some((slot, hash)) = &self.wait {
            command.arg("--wait-for-supermajority").arg(slot.to_string());
            command.arg("--expected-bank-hash").arg(hash.to_string());
        }
        if let Some(fanout) = self.plan.fanout {
            command.arg("--turbine-fanout").arg(fanout.to_string());
        }
        if self.faults {
            // What is wrong with the network holds for it from its first packet on.
            command.args(["--faults", "true", "--fault-rules"]).arg(self.rules(node));
        }
        for (flag, port) in self.ports.of(node)? {
            command.arg(flag).arg(port.to_string());
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.with_context(|| format!("{} cannot be started", self.program.display()))?;
        self.cluster.nodes[node].pid = Some(child.id());
        let had = self.running[node].bound.take();
        self.running[node] = Running { child: Some(child), bound: had, told: false, log_from };
        let deadline = Instant::now() + BIND_WAIT;
        loop {
            if let Some(addresses) =
                std::fs::read(&bound).ok().and_then(|text| serde_json::from_slice::<Bound>(&text).ok())
            {
                self.cluster.nodes[node].bound(&addresses);
                self.running[node].bound = Some(addresses);
                return Ok(());
            }
            self.check(node)?;
            if Instant::now() > deadline {
                bail!(
                    "node {node} did not bind its sockets within {} s; see {}",
                    BIND_WAIT.as_secs(),
                    file("validator.log").display()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn write_cluster(&self) -> anyhow::Result<()> {
        Ok(files::write_json(&self.layout.cluster(), &self.cluster)?)
    }

    /// An error if a node ended without being told to: it says which, and what its log says.
    ///
    /// # Errors
    /// As it says.
    pub fn check(&mut self, node: usize) -> anyhow::Result<()> {
        let running = &mut self.running[node];
        let Some(status) = running.child.as_mut().map(Child::try_wait).transpose()?.flatten() else { return Ok(()) };
        running.child = None;
        self.cluster.nodes[node].pid = None;
        if running.told {
            return Ok(());
        }
        let log = self.layout.of_node(node, "validator.log");
        let from = usize::try_from(running.log_from).unwrap_or(usize::MAX);
        let text = std::fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(text.get(from..).unwrap_or_default());
        let tells = |line: &&str| line.starts_with("error: ") || line.contains(" panicked at ");
        let cause = text.lines().rev().find(tells).unwrap_or("no cause in its log; was it killed?");
        bail!("node {node} ended ({status}): {}; its log is {}", cause.trim_start_matches("error: "), log.display());
    }

    fn live(
        &mut self,
        requests: &Receiver<Asked>,
        (limit, started): (Option<Duration>, Instant),
        spinner: &ProgressBar,
    ) -> anyhow::Result<()> {
        for node in 0..self.running.len() {
            self.start(node)?;
        }
        self.write_cluster()?;
        let deadline = limit.map(|limit| started + limit);
        let faucet = files::read_keypair(&self.layout.faucet())?.pubkey().to_string();
        let interrupted = interrupt();
        spinner.set_message("waiting for the first confirmed block");
        let mut watch = super::status::Watch::new(started, faucet);
        loop {
            if interrupted.try_recv().is_ok() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(());
            }
            match requests.recv_timeout(Duration::from_millis(100)) {
                Ok(asked) if asked.request == Request::Down => {
                    self.stop_all();
                    asked.answer(&Answer { ok: true, message: "the localnet is down".into() });
                    return Ok(());
                }
                Ok(asked) => {
                    let answer = match self.act(&asked.request) {
                        Ok(message) => Answer { ok: true, message },
                        Err(error) => Answer { ok: false, message: format!("{error:#}") },
                    };
                    asked.answer(&answer);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the control connection ended"),
            }
            for node in 0..self.running.len() {
                self.check(node)?;
            }
            watch.look(&self.cluster, spinner);
        }
    }

    fn act(&mut self, request: &Request) -> anyhow::Result<String> {
        let message = match request {
            Request::Kill { node } => {
                self.end(*node, true)?;
                format!("node {node} is killed; `sundog localnet restart {node}` brings it back")
            }
            Request::Stop { node } => {
                self.end(*node, false)?;
                format!("node {node} is stopped; `sundog localnet restart {node}` brings it back")
            }
            Request::Restart { node } => {
                if self.running.get(*node).is_some_and(|running| running.child.is_some()) {
                    self.end(*node, false)?;
                }
                if *node >= self.running.len() {
                    bail!("there is no node {node}; nodes are 0 to {}", self.running.len() - 1);
                }
                self.start(*node)?;
                self.tell_ports()?;
                format!("node {node} is started; it catches up by itself")
            }
            Request::HardFork { slot } => self.hard_fork(*slot)?,
            Request::Pause { node } => self.halt(*node, true)?,
            Request::Resume { node } => self.halt(*node, false)?,
            Request::Partition { groups } => self.part(groups)?,
            Request::Heal => self.heal()?,
            Request::Link(order) => self.link(order)?,
            Request::Add => {
                let node = self.running.len();
                files::make_directory(&self.layout.node(node))?;
                files::write_keypair(&self.layout.of_node(node, "identity.json"), &Keypair::new(), true)?;
                self.adopt(0)?;
                self.start(node)?;
                self.tell_ports()?;
                format!("node {node} is added without stake; its RPC is {}", self.cluster.nodes[node].rpc)
            }
            Request::Down => unreachable!("handled where the loop can end"),
        };
        self.write_cluster()?;
        Ok(message)
    }

    fn end(&mut self, node: usize, at_once: bool) -> anyhow::Result<()> {
        self.exists(node)?;
        self.wake(node)?;
        let running = &mut self.running[node];
        let Some(child) = &mut running.child else { bail!("node {node} does not run") };
        running.told = true;
        if at_once {
            child.kill()?;
        } else {
            drop(child.stdin.take());
        }
        wait(child)?;
        running.child = None;
        self.cluster.nodes[node].pid = None;
        Ok(())
    }

    fn stop_all(&mut self) {
        self.stop_nodes();
        let _ = std::fs::remove_file(self.layout.cluster());
    }

    /// Stops all nodes cleanly, at the same time.
    pub(super) fn stop_nodes(&mut self) {
        for node in 0..self.running.len() {
            let _ = self.wake(node);
        }
        for running in &mut self.running {
            running.told = true;
            if let Some(child) = &mut running.child {
                drop(child.stdin.take());
            }
        }
        for running in &mut self.running {
            if let Some(mut child) = running.child.take() {
                let _ = wait(&mut child);
            }
        }
        for node in &mut self.cluster.nodes {
            node.pid = None;
        }
    }

    /// Where it keeps what.
    pub(super) const fn layout(&self) -> &Layout {
        self.layout
    }

    /// The slots at which it was restarted by agreement.
    pub(super) fn hard_forks(&self) -> &[u64] {
        &self.plan.hard_forks
    }

    /// Notes a restart, for every later start too; the next starts wait at it, until [`Self::waiting_over`].
    pub(super) fn agree(&mut self, slot: u64, hash: Hash) -> anyhow::Result<()> {
        self.plan.hard_forks.push(slot);
        self.wait = Some((slot, hash));
        Ok(files::write_json(&self.layout.plan(), &self.plan)?)
    }

    /// Nodes that are started from now on do not wait.
    pub(super) fn waiting_over(&mut self) {
        self.wait = None;
    }
}

/// Waits until a process has ended; kills it if it takes too long.
fn wait(child: &mut Child) -> std::io::Result<()> {
    let deadline = Instant::now() + STOP_WAIT;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Hears of Ctrl-C and of the request to terminate.
fn interrupt() -> Receiver<()> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let _ = std::thread::Builder::new().name("signals".into()).spawn(move || {
        if crate::io::signals::wait().is_ok() {
            say("stopping");
            let _ = sender.send(());
        }
    });
    receiver
}
