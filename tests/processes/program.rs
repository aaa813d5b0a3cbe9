//! The program as processes: built once, started, asked, and ended whatever happens.

use serde_json::Value;
use solana_keypair::Keypair;
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    time::{Duration, Instant},
};
use sundog_validator::io::{client::Client, files::write_keypair, sockets::Bound};

/// Nothing that is waited for takes longer than this, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often something is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Lines of output kept until they are read.
const LINES_MAX: usize = 100_000;

/// The program: what `SUNDOG_PROGRAM` names, for many runs of one build; else built once for this run in the profile and
/// directory that the tests are built in.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(built) = std::env::var_os("SUNDOG_PROGRAM") {
            return built.into();
        }
        let own = std::env::current_exe().expect("a test has a file");
        let profile = own.parent().and_then(Path::parent).expect("target/PROFILE/deps/test");
        let target = profile.parent().expect("target/PROFILE");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", "sundog-validator", "--bin", "sundog", "--target-dir"]).arg(target);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        // What cargo tells this test of its package would make build scripts that look at it run again.
        let told = |name: &String| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.starts_with(start));
        std::env::vars().map(|(name, _)| name).filter(told).for_each(|name| {
            build.env_remove(name);
        });
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
        assert!(built.success(), "`cargo build --release --package sundog-validator` failed; see above");
        let program = profile.join("sundog");
        assert!(program.is_file(), "{} was built but is not there", program.display());
        program
    })
}

/// Polls until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Flags that let the system choose every port of a validator.
pub fn any_ports() -> Vec<String> {
    let defaults = sundog_validator::config::documented_defaults();
    let keys = defaults.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key);
    keys.filter(|key| key.ends_with("-port")).flat_map(|key| [format!("--{key}"), "0".to_owned()]).collect()
}

/// How a command ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program to its end.
pub fn run(arguments: &[String]) -> Ended {
    let output = Command::new(program()).args(arguments).stdin(Stdio::null()).output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
    Ended { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The value of a line of a page of metrics, named with its labels; 0 if it is not there.
pub fn metric(url: &str, name: &str) -> u64 {
    let page = Client::new(url).get(url).unwrap_or_default();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// A validator of its own that follows a localnet, with the settings that a validator has unless it is told otherwise.
pub struct Validator {
    process: Child,
    bound: Bound,
    log: PathBuf,
}

impl Validator {
    /// Starts one on ports that the system chooses.
    pub fn follow(localnet: &Localnet, directory: &Path) -> Self {
        std::fs::create_dir_all(directory).expect("a directory");
        write_keypair(&directory.join("identity.json"), &Keypair::new(), false).expect("a file");
        let mut command = Command::new(program());
        command.args(["validator", "--stop-with-stdin", "--identity"]).arg(directory.join("identity.json"));
        command.arg("--ledger").arg(directory.join("ledger"));
        command.arg("--genesis").arg(localnet.directory.join("genesis.bin"));
        command.arg("--entrypoint").arg(localnet.bound(0).gossip.to_string());
        command.args(any_ports());
        Self::start(command, directory)
    }

    /// Starts a stopped node of a localnet with flags of the test's choice.
    pub fn of(localnet: &Localnet, (node, flags): (usize, &[&str])) -> Self {
        let directory = localnet.directory.join(format!("node-{node}"));
        let _ = std::fs::remove_file(directory.join("addresses.json"));
        let mut command = Command::new(program());
        command.args(Self::arguments(localnet, (node, flags))).arg("--stop-with-stdin");
        Self::start(command, &directory)
    }

    /// The command line of a node of a localnet, with flags of the test's choice.
    pub fn arguments(localnet: &Localnet, (node, flags): (usize, &[&str])) -> Vec<String> {
        let directory = localnet.directory.join(format!("node-{node}"));
        let file = |name: &str| directory.join(name).to_str().expect("UTF-8").to_owned();
        let genesis = localnet.directory.join("genesis.bin").to_str().expect("UTF-8").to_owned();
        let entrypoint = localnet.bound(0).gossip.to_string();
        let own = ["identity.json", "vote-account.json", "ledger"].map(file);
        let named = ["--identity", "--vote-account", "--ledger", "--genesis", "--entrypoint"];
        let named = named.map(str::to_owned).into_iter().zip(own.into_iter().chain([genesis, entrypoint]));
        let named = named.flat_map(|(flag, value)| [flag, value]);
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        ["validator".to_owned()].into_iter().chain(named).chain(any_ports()).chain(flags).collect()
    }

    /// Starts it, with its log beside its ledger, and waits until it listens.
    fn start(mut command: Command, directory: &Path) -> Self {
        let path = directory.join("validator.log");
        let log = std::fs::File::create(&path).expect("a file");
        let process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn();
        let process = process.expect("the program starts");
        let read = || std::fs::read(directory.join("addresses.json")).ok();
        until("it has bound its ports", || read().is_some());
        let bound = serde_json::from_slice(&read().expect("it is there")).expect("it is whole when it appears");
        Self { process, bound, log: path }
    }

    /// The lines of its log.
    pub fn log(&self) -> Vec<String> {
        std::fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Where it listens.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Validator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A localnet in the foreground of a process of its own.
pub struct Localnet {
    directory: PathBuf,
    process: Child,
    lines: Receiver<String>,
    printed: Vec<String>,
}

impl Localnet {
    /// Starts one on ports that are free, and stay a node's while it is down.
    pub fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program());
        command.args(["localnet", "--rpc-port", "0", "--dir"]).arg(directory).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the program starts");
        let (sender, lines) = sync_channel(LINES_MAX);
        let stdout = process.stdout.take().map(|out| Box::new(out) as Box<dyn std::io::Read + Send>);
        let stderr = process.stderr.take().map(|out| Box::new(out) as Box<dyn std::io::Read + Send>);
        for output in [stdout, stderr].into_iter().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.try_send(line);
                }
            });
        }
        Self { directory: directory.into(), process, lines, printed: Vec::new() }
    }

    /// Waits for the line that says so.
    pub fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.printed.iter().any(|line| line.starts_with("localnet ready")) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.printed.push(line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("not ready within {PATIENCE:?}: {}{}", self.said(), self.logs())
                }
                Err(RecvTimeoutError::Disconnected) => panic!("it ended: {}{}", self.said(), self.logs()),
            }
        }
    }

    fn said(&self) -> String {
        self.printed.join("\n")
    }

    /// The ends of the nodes' logs, for a test that fails.
    fn logs(&self) -> String {
        let log = |node: usize| std::fs::read_to_string(self.directory.join(format!("node-{node}/validator.log")));
        let tail = |text: String| text.lines().rev().take(15).map(str::to_owned).collect::<Vec<_>>();
        let logs = (0..).map_while(|node| log(node).ok()).map(tail);
        logs.enumerate().map(|(node, lines)| format!("\nnode {node}, newest first:\n{}", lines.join("\n"))).collect()
    }

    /// The lines of a node's log, of all its lives.
    pub fn log(&self, node: usize) -> Vec<String> {
        let log = std::fs::read_to_string(self.directory.join(format!("node-{node}/validator.log")));
        log.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The value of a line of a node's metrics, named with its labels; 0 if the node does not tell it.
    pub fn metric(&self, node: usize, name: &str) -> u64 {
        self.cluster()["nodes"][node]["metrics"].as_str().map_or(0, |url| metric(url, name))
    }

    /// Where a node keeps its ledger.
    pub fn ledger(&self, node: usize) -> PathBuf {
        self.directory.join(format!("node-{node}/ledger"))
    }

    /// Where a node listens.
    pub fn bound(&self, node: usize) -> Bound {
        let text = std::fs::read(self.directory.join(format!("node-{node}/addresses.json")));
        serde_json::from_slice(&text.expect("it runs")).expect("it is whole when it appears")
    }

    /// The arguments of a verb on this localnet, or of a second start in its directory.
    pub fn arguments(&self, verb: &[&str]) -> Vec<String> {
        let dir = self.directory.to_str().expect("UTF-8");
        ["localnet", "--dir", dir].iter().chain(verb).map(|s| (*s).to_owned()).collect()
    }

    /// Runs a verb that must succeed; what it printed.
    pub fn ask(&self, verb: &[&str]) -> String {
        let ended = run(&self.arguments(verb));
        assert!(ended.status.success(), "{verb:?}: {}{}", ended.stderr, self.logs());
        ended.stdout
    }

    /// Runs a verb that prints JSON.
    pub fn ask_json(&self, verb: &[&str]) -> Value {
        serde_json::from_str(&self.ask(verb)).expect("it prints JSON")
    }

    /// Runs `sundog ledger shreds` for a node.
    pub fn shreds_page(&self, node: usize, slot: u64) -> Ended {
        run(&self.shreds_arguments(node, slot))
    }

    /// What `sundog ledger shreds --json` prints of a node; `None` if it knows nothing of the slot.
    pub fn shreds(&self, node: usize, slot: u64) -> Option<Value> {
        let mut arguments = self.shreds_arguments(node, slot);
        arguments.push("--json".into());
        let ended = run(&arguments);
        ended.status.success().then(|| serde_json::from_str(&ended.stdout).expect("it prints JSON"))
    }

    fn shreds_arguments(&self, node: usize, slot: u64) -> Vec<String> {
        let dir = self.directory.to_str().expect("UTF-8");
        let (slot, node) = (slot.to_string(), format!("node-{node}"));
        ["ledger", "shreds", &slot, "--dir", dir, "--node", &node].map(str::to_owned).to_vec()
    }

    /// `cluster.json`.
    pub fn cluster(&self) -> Value {
        let text = std::fs::read(self.directory.join("cluster.json")).expect("a ready localnet has it");
        serde_json::from_slice(&text).expect("it is whole when it appears")
    }

    /// Calls a method of a node; `None` if it refuses or is not there.
    pub fn call(&self, node: usize, method: &str, params: &Value) -> Option<Value> {
        let url = self.cluster()["nodes"][node]["rpc"].as_str()?.to_owned();
        Client::new(&url).call(method, params).ok()
    }

    /// A node's slot at a commitment; 0 if it does not answer.
    pub fn slot(&self, node: usize, commitment: &str) -> u64 {
        let slot = self.call(node, "getSlot", &serde_json::json!([{"commitment": commitment}]));
        slot.and_then(|slot| slot.as_u64()).unwrap_or_default()
    }

    /// Stops it as a person does; it must end well.
    pub fn down(&mut self) {
        self.ask(&["down"]);
        until("the localnet's process ends", || self.process.try_wait().expect("it is ours").is_some());
        let status = self.process.wait().expect("it has ended");
        assert!(status.success(), "{status}: {}", self.said());
        assert!(!self.directory.join("cluster.json").exists(), "nobody takes it for running");
    }
}

impl Drop for Localnet {
    /// Its validators end with it: they read its end of a pipe.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
