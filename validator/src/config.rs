//! A validator's configuration: one struct, from a TOML file, the environment and flags.
//!
//! A flag beats the environment, the environment beats the file, the file beats the default.

pub mod limits;

use crate::io::spy::is_local;
use clap::{Args, CommandFactory, FromArgMatches as _, Parser};
use serde::{Deserialize, Serialize};
use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// A relation between settings that does not hold, or a file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {path} cannot be read; give an existing TOML file with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("configuration file {path}: {message}; `sundog validator --print-config` shows every key")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        message: String,
    },
    /// A setting that has no default is missing.
    #[error("no {0} is given; set it in the file, as --{0}, or as {env}", env = env_name(.0))]
    Missing(&'static str),
    /// Two settings contradict each other.
    #[error("{0}")]
    Relation(String),
}

fn env_name(key: &str) -> String {
    format!("SUNDOG_{}", key.to_uppercase().replace('-', "_"))
}

/// What a bulk sync message may be limited to: one part of an answer must fit, and a few must fit memory.
const SYNC_FRAME_BYTES: RangeInclusive<usize> = 5_000_000..=100_000_000;

/// The most worker threads: more than any machine has cores. Each of some thousands takes memory and wins nothing.
const WORKERS_MAX: usize = 512;

/// What may be set. `None`: the default holds.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The node's identity: a keypair file in Solana's JSON format, made by `sundog keygen`.
    #[arg(long, env = "SUNDOG_IDENTITY", value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The vote account's keypair, which also votes. Without it the node follows and serves without voting.
    #[arg(long, env = "SUNDOG_VOTE_ACCOUNT", value_name = "FILE")]
    pub vote_account: Option<PathBuf>,
    /// The ledger directory; made if it is not there. It belongs to one genesis for good.
    #[arg(long, env = "SUNDOG_LEDGER", value_name = "DIR")]
    pub ledger: Option<PathBuf>,
    /// The genesis, made by `sundog genesis`.
    #[arg(long, env = "SUNDOG_GENESIS", value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// Keypair that pays `requestAirdrop`. Without it airdrops are refused.
    #[arg(long, env = "SUNDOG_FAUCET", value_name = "FILE")]
    pub faucet: Option<PathBuf>,
    /// The address that every socket binds and that is advertised.
    #[arg(long, env = "SUNDOG_BIND_ADDRESS", value_name = "IP")]
    pub bind_address: Option<IpAddr>,
    /// Gossip addresses of running nodes; the first node of a cluster has none. Repeat, or separate by commas.
    #[arg(long = "entrypoint", env = "SUNDOG_ENTRYPOINTS", value_name = "IP:PORT", value_delimiter = ',')]
    pub entrypoints: Option<Vec<SocketAddr>>,
    /// Port of gossip (UDP); 0 lets the system choose, here and for every port below.
    #[arg(long, env = "SUNDOG_GOSSIP_PORT", value_name = "PORT")]
    pub gossip_port: Option<u16>,
    /// Port of shreds over UDP.
    #[arg(long, env = "SUNDOG_TVU_PORT", value_name = "PORT")]
    pub tvu_port: Option<u16>,
    /// Port of shreds over QUIC.
    #[arg(long, env = "SUNDOG_TVU_QUIC_PORT", value_name = "PORT")]
    pub tvu_quic_port: Option<u16>,
    /// Port of transactions over UDP, one in a datagram, as old clients send them.
    #[arg(long, env = "SUNDOG_TPU_PORT", value_name = "PORT")]
    pub tpu_port: Option<u16>,
    /// Port of transactions over QUIC.
    #[arg(long, env = "SUNDOG_TPU_QUIC_PORT", value_name = "PORT")]
    pub tpu_quic_port: Option<u16>,
    /// Port of votes (UDP).
    #[arg(long, env = "SUNDOG_TPU_VOTE_PORT", value_name = "PORT")]
    pub tpu_vote_port: Option<u16>,
    /// Port from which this node asks for repair (UDP).
    #[arg(long, env = "SUNDOG_REPAIR_PORT", value_name = "PORT")]
    pub repair_port: Option<u16>,
    /// Port on which this node answers repair requests (UDP).
    #[arg(long, env = "SUNDOG_SERVE_REPAIR_PORT", value_name = "PORT")]
    pub serve_repair_port: Option<u16>,
    /// Port of JSON-RPC over HTTP.
    #[arg(long, env = "SUNDOG_RPC_PORT", value_name = "PORT")]
    pub rpc_port: Option<u16>,
    /// Port of JSON-RPC over WebSocket; clients look for it one above the HTTP port.
    #[arg(long, env = "SUNDOG_WEBSOCKET_PORT", value_name = "PORT")]
    pub websocket_port: Option<u16>,
    /// Port of Prometheus metrics over HTTP.
    #[arg(long, env = "SUNDOG_METRICS_PORT", value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Whether private and loopback addresses of peers are used.
    #[arg(long, env = "SUNDOG_ALLOW_PRIVATE_ADDRESSES", value_name = "BOOL")]
    pub allow_private_addresses: Option<bool>,
    /// Children of a node in a Turbine tree, at least 1. All nodes of a cluster must agree on it, or the trees that they
    /// compute differ and shreds get lost on the way. Default: as the protocol says, 200.
    #[arg(long, env = "SUNDOG_TURBINE_FANOUT", value_name = "COUNT")]
    pub turbine_fanout: Option<usize>,
    /// Slots of blocks kept in the ledger below the root; older ones are removed.
    #[arg(long, env = "SUNDOG_LEDGER_SLOTS", value_name = "SLOTS")]
    pub ledger_slots: Option<u64>,
    /// Threads for signature checks, execution and erasure coding; 0 means one per core.
    #[arg(long, env = "SUNDOG_WORKERS", value_name = "COUNT")]
    pub workers: Option<usize>,
    /// JSON-RPC connections served at a time; further ones are closed.
    #[arg(long, env = "SUNDOG_RPC_CONNECTIONS_MAX", value_name = "COUNT")]
    pub rpc_connections_max: Option<usize>,
    /// WebSocket connections served at a time; further ones are closed.
    #[arg(long, env = "SUNDOG_WEBSOCKETS_MAX", value_name = "COUNT")]
    pub websockets_max: Option<usize>,
    /// Bulk sync connections that one address may open; further ones are refused. A localnet, whose nodes share an
    /// address, needs more.
    #[arg(long, env = "SUNDOG_SYNC_CONNECTIONS_PER_ADDRESS", value_name = "COUNT")]
    pub sync_connections_per_address: Option<usize>,
    /// Bytes of a bulk sync message; a peer that announces a longer one is refused. All nodes of a cluster should agree.
    #[arg(long, env = "SUNDOG_SYNC_FRAME_BYTES_MAX", value_name = "BYTES")]
    pub sync_frame_bytes_max: Option<usize>,
    /// Bulk sync messages that a connection may bring in a second; a peer that sends more is refused.
    #[arg(long, env = "SUNDOG_SYNC_MESSAGES_PER_SECOND", value_name = "COUNT")]
    pub sync_messages_per_second: Option<u32>,
    /// Whether a voting node refuses to start without its tower file. Say so once it has voted.
    #[arg(long, env = "SUNDOG_REQUIRE_TOWER", value_name = "BOOL")]
    pub require_tower: Option<bool>,
    /// Whether a node whose tower file is lost, or older than its votes on the chain, votes all the same once the lockouts
    /// that can be seen have run out. Votes that nobody saw may be contradicted; no other instance may run.
    #[arg(long, env = "SUNDOG_VOTE_WITHOUT_TOWER", value_name = "BOOL")]
    pub vote_without_tower: Option<bool>,
    /// A slot at which the operators agreed to restart the cluster; may be given several times, or as a list. The ledger
    /// remembers those that it has gone through.
    #[arg(long = "hard-fork", env = "SUNDOG_HARD_FORKS", value_name = "SLOT", value_delimiter = ',')]
    pub hard_forks: Option<Vec<u64>>,
    /// Wait at this slot, as the root, until 80 % of the stake is in gossip with this node's shred version.
    #[arg(long, env = "SUNDOG_WAIT_FOR_SUPERMAJORITY", value_name = "SLOT")]
    pub wait_for_supermajority: Option<u64>,
    /// The bank hash that the block waited at must have; the node does not start with another.
    #[arg(long, env = "SUNDOG_EXPECTED_BANK_HASH", value_name = "HASH")]
    pub expected_bank_hash: Option<String>,
    /// How far behind the cluster's confirmed slot the node may be and still answer `ok` to health checks.
    #[arg(long, env = "SUNDOG_HEALTH_DISTANCE_SLOTS", value_name = "SLOTS")]
    pub health_distance_slots: Option<u64>,
    /// The address that others are told to reach this node by, where it is another than `bind-address`: behind a router, or
    /// when every address is bound. Default: `bind-address`, or what an entrypoint sees.
    #[arg(long, env = "SUNDOG_PUBLIC_ADDRESS", value_name = "IP")]
    pub public_address: Option<IpAddr>,
    /// The hash that the genesis must have; the node does not start with another.
    #[arg(long, env = "SUNDOG_EXPECTED_GENESIS_HASH", value_name = "HASH")]
    pub expected_genesis_hash: Option<String>,
    /// The shred version that the genesis must give; the node does not start with another.
    #[arg(long, env = "SUNDOG_EXPECTED_SHRED_VERSION", value_name = "VERSION")]
    pub expected_shred_version: Option<u16>,
    /// Whether an entrypoint is asked at the start to try this node's ports, which does not start if one cannot be reached.
    /// Default: unless `bind-address` is loopback.
    #[arg(long, env = "SUNDOG_PORT_CHECK", value_name = "BOOL")]
    pub port_check: Option<bool>,
    /// Whether peers are remembered in the ledger directory, to be asked when no entrypoint answers.
    #[arg(long, env = "SUNDOG_KNOWN_PEERS", value_name = "BOOL")]
    pub known_peers: Option<bool>,
    /// Whether packets between nodes can be blocked, lost and delayed on purpose, by rules that come as JSON lines on
    /// standard input: to rehearse failures, never where it matters.
    #[arg(long, env = "SUNDOG_FAULTS", value_name = "BOOL")]
    pub faults: Option<bool>,
    /// Pull filters of gossip are made for at least so many values. Firedancer refuses filters made for fewer than 65,536;
    /// a small value lets one datagram cover a small cluster.
    #[arg(long, env = "SUNDOG_GOSSIP_PULL_ITEMS_MIN", value_name = "COUNT")]
    pub gossip_pull_items_min: Option<usize>,
    /// Gossip datagrams a second that are checked, from everybody; further ones are dropped.
    #[arg(long, env = "SUNDOG_GOSSIP_PACKETS_PER_SECOND", value_name = "COUNT")]
    pub gossip_packets_per_second: Option<u32>,
    /// Gossip datagrams a second from one host that has proven its address.
    #[arg(long, env = "SUNDOG_GOSSIP_PACKETS_PER_PEER", value_name = "COUNT")]
    pub gossip_packets_per_peer: Option<u32>,
    /// Gossip datagrams a second from one host that has not.
    #[arg(long, env = "SUNDOG_GOSSIP_PACKETS_PER_STRANGER", value_name = "COUNT")]
    pub gossip_packets_per_stranger: Option<u32>,
    /// Gossip datagrams a second from all such hosts together; one counts as one for every 132 bytes, which may each
    /// bring a signature to check.
    #[arg(long, env = "SUNDOG_GOSSIP_PACKETS_OF_STRANGERS", value_name = "COUNT")]
    pub gossip_packets_of_strangers: Option<u32>,
    /// Gossip pings a second from one host that are answered.
    #[arg(long, env = "SUNDOG_GOSSIP_PINGS_PER_HOST", value_name = "COUNT")]
    pub gossip_pings_per_host: Option<u32>,
    /// Gossip pings a second that are answered, from all hosts that have not proven their address.
    #[arg(long, env = "SUNDOG_GOSSIP_PINGS_OF_STRANGERS", value_name = "COUNT")]
    pub gossip_pings_of_strangers: Option<u32>,
    /// Gossip pings a second that are answered, from all hosts that have.
    #[arg(long, env = "SUNDOG_GOSSIP_PINGS_OF_PEERS", value_name = "COUNT")]
    pub gossip_pings_of_peers: Option<u32>,
    /// Pull requests a second of one node that are answered.
    #[arg(long, env = "SUNDOG_GOSSIP_PULLS_PER_PEER", value_name = "COUNT")]
    pub gossip_pulls_per_peer: Option<u32>,
    /// Prune messages a second of one node that are obeyed.
    #[arg(long, env = "SUNDOG_GOSSIP_PRUNES_PER_PEER", value_name = "COUNT")]
    pub gossip_prunes_per_peer: Option<u32>,
    /// Contact infos of unknown nodes a second, from one host, for which somebody is pinged.
    #[arg(long, env = "SUNDOG_GOSSIP_INTRODUCTIONS_PER_PEER", value_name = "COUNT")]
    pub gossip_introductions_per_peer: Option<u32>,
    /// Such contact infos a second from all hosts that have not proven their address.
    #[arg(long, env = "SUNDOG_GOSSIP_INTRODUCTIONS_OF_STRANGERS", value_name = "COUNT")]
    pub gossip_introductions_of_strangers: Option<u32>,
    /// New votes a second of one node that gossip takes in.
    #[arg(long, env = "SUNDOG_GOSSIP_VOTES_PER_ORIGIN", value_name = "COUNT")]
    pub gossip_votes_per_origin: Option<u32>,
    /// New epoch slots a second of one node that gossip takes in.
    #[arg(long, env = "SUNDOG_GOSSIP_EPOCH_SLOTS_PER_ORIGIN", value_name = "COUNT")]
    pub gossip_epoch_slots_per_origin: Option<u32>,
    /// New chunks of duplicate proofs a second of one node that gossip takes in.
    #[arg(long, env = "SUNDOG_GOSSIP_DUPLICATES_PER_ORIGIN", value_name = "COUNT")]
    pub gossip_duplicates_per_origin: Option<u32>,
    /// New values of each other kind a second of one node that gossip takes in.
    #[arg(long, env = "SUNDOG_GOSSIP_VALUES_PER_ORIGIN", value_name = "COUNT")]
    pub gossip_values_per_origin: Option<u32>,
}

impl Settings {
    /// The defaults. Keys without one are `None`.
    #[must_use]
    pub fn defaults() -> Self {
        Self {
            bind_address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            entrypoints: Some(Vec::new()),
            gossip_port: Some(8_000),
            tvu_port: Some(8_001),
            repair_port: Some(8_002),
            tpu_port: Some(8_007),
            tpu_quic_port: Some(8_003),
            serve_repair_port: Some(8_004),
            tvu_quic_port: Some(8_005),
            tpu_vote_port: Some(8_006),
            rpc_port: Some(8_899),
            websocket_port: Some(8_900),
            metrics_port: Some(8_902),
            allow_private_addresses: Some(true),
            ledger_slots: Some(20_000),
            workers: Some(0),
            rpc_connections_max: Some(384),
            websockets_max: Some(384),
            sync_connections_per_address: Some(3),
            sync_frame_bytes_max: Some(10_000_000),
            sync_messages_per_second: Some(100),
            require_tower: Some(false),
            vote_without_tower: Some(false),
            health_distance_slots: Some(32),
            known_peers: Some(true),
            faults: Some(false),
            gossip_pull_items_min: Some(512),
            ..limits::defaults()
        }
    }

    /// Reads a TOML file. Relative paths in it are relative to the file.
    ///
    /// # Errors
    /// If the file cannot be read, is no TOML, or has a key that does not exist.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let parse = |e: toml::de::Error| ConfigError::Parse { path: path.into(), message: e.message().to_owned() };
        let mut settings: Self = toml::from_str(&text).map_err(parse)?;
        let base = path.parent().unwrap_or_else(|| Path::new("."));
        for file in settings.paths() {
            if let Some(file) = file.as_mut().filter(|file| file.is_relative()) {
                *file = base.join(&*file);
            }
        }
        Ok(settings)
    }

    fn paths(&mut self) -> [&mut Option<PathBuf>; 5] {
        [&mut self.identity, &mut self.vote_account, &mut self.ledger, &mut self.genesis, &mut self.faucet]
    }

    /// These settings, and where they say nothing, those of `below`.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            identity: self.identity.or(below.identity),
            vote_account: self.vote_account.or(below.vote_account),
            ledger: self.ledger.or(below.ledger),
            genesis: self.genesis.or(below.genesis),
            faucet: self.faucet.or(below.faucet),
            bind_address: self.bind_address.or(below.bind_address),
            entrypoints: self.entrypoints.or(below.entrypoints),
            gossip_port: self.gossip_port.or(below.gossip_port),
            tvu_port: self.tvu_port.or(below.tvu_port),
            tvu_quic_port: self.tvu_quic_port.or(below.tvu_quic_port),
            tpu_port: self.tpu_port.or(below.tpu_port),
            tpu_quic_port: self.tpu_quic_port.or(below.tpu_quic_port),
            tpu_vote_port: self.tpu_vote_port.or(below.tpu_vote_port),
            repair_port: self.repair_port.or(below.repair_port),
            serve_repair_port: self.serve_repair_port.or(below.serve_repair_port),
            rpc_port: self.rpc_port.or(below.rpc_port),
            websocket_port: self.websocket_port.or(below.websocket_port),
            metrics_port: self.metrics_port.or(below.metrics_port),
            allow_private_addresses: self.allow_private_addresses.or(below.allow_private_addresses),
            turbine_fanout: self.turbine_fanout.or(below.turbine_fanout),
            ledger_slots: self.ledger_slots.or(below.ledger_slots),
            workers: self.workers.or(below.workers),
            rpc_connections_max: self.rpc_connections_max.or(below.rpc_connections_max),
            websockets_max: self.websockets_max.or(below.websockets_max),
            sync_connections_per_address: self.sync_connections_per_address.or(below.sync_connections_per_address),
            sync_frame_bytes_max: self.sync_frame_bytes_max.or(below.sync_frame_bytes_max),
            sync_messages_per_second: self.sync_messages_per_second.or(below.sync_messages_per_second),
            require_tower: self.require_tower.or(below.require_tower),
            vote_without_tower: self.vote_without_tower.or(below.vote_without_tower),
            hard_forks: self.hard_forks.or(below.hard_forks),
            wait_for_supermajority: self.wait_for_supermajority.or(below.wait_for_supermajority),
            expected_bank_hash: self.expected_bank_hash.or(below.expected_bank_hash),
            health_distance_slots: self.health_distance_slots.or(below.health_distance_slots),
            public_address: self.public_address.or(below.public_address),
            expected_genesis_hash: self.expected_genesis_hash.or(below.expected_genesis_hash),
            expected_shred_version: self.expected_shred_version.or(below.expected_shred_version),
            port_check: self.port_check.or(below.port_check),
            known_peers: self.known_peers.or(below.known_peers),
            faults: self.faults.or(below.faults),
            gossip_pull_items_min: self.gossip_pull_items_min.or(below.gossip_pull_items_min),
            gossip_packets_per_second: self.gossip_packets_per_second.or(below.gossip_packets_per_second),
            gossip_packets_per_peer: self.gossip_packets_per_peer.or(below.gossip_packets_per_peer),
            gossip_packets_per_stranger: self.gossip_packets_per_stranger.or(below.gossip_packets_per_stranger),
            gossip_packets_of_strangers: self.gossip_packets_of_strangers.or(below.gossip_packets_of_strangers),
            gossip_pings_per_host: self.gossip_pings_per_host.or(below.gossip_pings_per_host),
            gossip_pings_of_strangers: self.gossip_pings_of_strangers.or(below.gossip_pings_of_strangers),
            gossip_pings_of_peers: self.gossip_pings_of_peers.or(below.gossip_pings_of_peers),
            gossip_pulls_per_peer: self.gossip_pulls_per_peer.or(below.gossip_pulls_per_peer),
            gossip_prunes_per_peer: self.gossip_prunes_per_peer.or(below.gossip_prunes_per_peer),
            gossip_introductions_per_peer: self.gossip_introductions_per_peer.or(below.gossip_introductions_per_peer),
            gossip_introductions_of_strangers: self
                .gossip_introductions_of_strangers
                .or(below.gossip_introductions_of_strangers),
            gossip_votes_per_origin: self.gossip_votes_per_origin.or(below.gossip_votes_per_origin),
            gossip_epoch_slots_per_origin: self.gossip_epoch_slots_per_origin.or(below.gossip_epoch_slots_per_origin),
            gossip_duplicates_per_origin: self.gossip_duplicates_per_origin.or(below.gossip_duplicates_per_origin),
            gossip_values_per_origin: self.gossip_values_per_origin.or(below.gossip_values_per_origin),
        }
    }

    /// Checks the relations between settings, and that nothing necessary is missing.
    ///
    /// # Errors
    /// If a setting is missing or two contradict each other.
    pub fn validate(self) -> Result<Self, ConfigError> {
        for (key, file) in [("identity", &self.identity), ("ledger", &self.ledger), ("genesis", &self.genesis)] {
            if file.is_none() {
                return Err(ConfigError::Missing(key));
            }
        }
        if self.vote_account.is_some() && self.vote_account == self.identity {
            let message = "identity and vote-account are the same file; make a second key with `sundog keygen`";
            return Err(ConfigError::Relation(message.into()));
        }
        // Bulk sync listens on TCP with the port number of serve-repair, IP echo with that of gossip.
        let tcp = [self.rpc_port, self.websocket_port, self.metrics_port, self.serve_repair_port, self.gossip_port];
        let udp = [
            self.gossip_port,
            self.tvu_port,
            self.tvu_quic_port,
            self.tpu_port,
            self.tpu_quic_port,
            self.tpu_vote_port,
            self.repair_port,
            self.serve_repair_port,
        ];
        for ports in [&tcp[..], &udp[..]] {
            for (place, port) in ports.iter().enumerate() {
                if port.is_some_and(|port| port != 0) && ports[..place].contains(port) {
                    let port = port.unwrap_or_default();
                    return Err(ConfigError::Relation(format!(
                        "port {port} is given twice; every service needs its own"
                    )));
                }
            }
        }
        if self.turbine_fanout == Some(0) {
            let message = "turbine-fanout is 0, so that no shred would be passed on; give at least 1, or leave it out";
            return Err(ConfigError::Relation(message.into()));
        }
        if self.sync_frame_bytes_max.is_some_and(|bytes| !SYNC_FRAME_BYTES.contains(&bytes)) {
            let (least, most) = (SYNC_FRAME_BYTES.start(), SYNC_FRAME_BYTES.end());
            let message =
                format!("sync-frame-bytes-max is not between {least} and {most}; leave it out, or choose one");
            return Err(ConfigError::Relation(message));
        }
        if self.sync_connections_per_address == Some(0) || self.sync_messages_per_second == Some(0) {
            let message = "sync-connections-per-address or sync-messages-per-second is 0, so that nobody could catch up \
                           from this node; give at least 1, or leave it out";
            return Err(ConfigError::Relation(message.into()));
        }
        if self.workers.is_some_and(|workers| workers > WORKERS_MAX) {
            let message = format!("workers is more than {WORKERS_MAX}; leave it out for one per core");
            return Err(ConfigError::Relation(message));
        }
        if self.ledger_slots.is_some_and(|slots| slots < 512) {
            let message = "ledger-slots is below 512, the slots that a node may be behind its root; raise it";
            return Err(ConfigError::Relation(message.into()));
        }
        self.validate_gossip()
    }

    fn validate_gossip(self) -> Result<Self, ConfigError> {
        let relation = |message: &str| Err(ConfigError::Relation(message.into()));
        if self.expected_genesis_hash.as_ref().is_some_and(|hash| hash.parse::<sundog_types::Hash>().is_err()) {
            return relation(
                "expected-genesis-hash is no hash in base58; `getGenesisHash` of a node of the cluster tells it",
            );
        }
        if self.public_address.is_some_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
            return relation("public-address is no address that others can reach; give one, or leave it out");
        }
        if self.allow_private_addresses == Some(false)
            && let Some(private) = self.entrypoints.iter().flatten().find(|entrypoint| is_local(entrypoint.ip()))
        {
            let message = format!(
                "the entrypoint {private} is a private address, and allow-private-addresses is false, so that it would \
                 never be asked; allow them, or name a public entrypoint"
            );
            return Err(ConfigError::Relation(message));
        }
        if self.gossip_pull_items_min == Some(0) {
            return relation(
                "gossip-pull-items-min is 0, so that filters would be of no use; give at least 1, or leave it out",
            );
        }
        if let Some(key) = limits::zero(&self) {
            let message = format!("{key} is 0, so that nothing would get through; give at least 1, or leave it out");
            return Err(ConfigError::Relation(message));
        }
        Ok(self)
    }
}

/// Gives the settings a command, so that their help can be printed.
#[derive(Parser)]
struct Documented {
    #[command(flatten)]
    settings: Settings,
}

/// The defaults as a TOML file in which every key is explained.
#[must_use]
pub fn documented_defaults() -> String {
    let defaults = toml::Table::try_from(Settings::defaults()).expect("settings are a table");
    let mut text =
        String::from("# Configuration of `sundog validator`. Every key is also a flag and an environment variable.\n");
    for argument in Documented::command().get_arguments() {
        let id = argument.get_id().as_str();
        let key = id.replace('_', "-");
        let Some(help) = argument.get_help().filter(|_| id != "help") else { continue };
        let env = env_name(if id == "entrypoints" { "entrypoints" } else { &key });
        let _ = write!(text, "\n# {help}\n# {env}\n");
        match defaults.get(&key) {
            Some(value) => {
                let _ = writeln!(text, "{key} = {value}");
            }
            None => {
                let bare = ["COUNT", "VERSION", "BOOL", "SLOT"];
                let number = argument.get_value_names().is_some_and(|names| bare.iter().any(|bare| names == [*bare]));
                let _ = writeln!(text, "# {key} = {}", if number { "…" } else { "\"…\"" });
            }
        }
    }
    text
}

/// Settings from the environment alone.
#[must_use]
pub fn from_environment() -> Settings {
    Documented::command()
        .try_get_matches_from(["sundog"])
        .and_then(|matches| Documented::from_arg_matches(&matches))
        .map_or_else(|_| Settings::default(), |documented| documented.settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Settings {
        let file = |name: &str| Some(PathBuf::from(name));
        let given =
            Settings { identity: file("id"), ledger: file("ledger"), genesis: file("genesis"), ..Settings::default() };
        given.over(Settings::defaults())
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let read: Settings = toml::from_str(&documented_defaults()).expect("the printed configuration is valid");
        assert_eq!(toml::to_string(&read).unwrap(), toml::to_string(&Settings::defaults()).unwrap());
    }

    #[test]
    fn every_key_is_documented() {
        let text = documented_defaults();
        for key in ["identity", "vote-account", "faucet", "entrypoints", "rpc-port", "ledger-slots"] {
            assert!(text.contains(&format!("{key} = ")), "{key} is missing from\n{text}");
        }
    }

    #[test]
    fn a_flag_beats_the_file() {
        let flag = Settings { rpc_port: Some(1), ..Settings::default() };
        let file = Settings { rpc_port: Some(2), gossip_port: Some(3), ..Settings::default() };
        let merged = flag.over(file);
        assert_eq!((merged.rpc_port, merged.gossip_port), (Some(1), Some(3)));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Settings { identity: None, ..complete() }.validate().unwrap_err();
        assert!(error.to_string().contains("--identity") && error.to_string().contains("SUNDOG_IDENTITY"), "{error}");
    }

    #[test]
    fn a_port_given_twice_is_refused_but_zero_is_not_a_port() {
        assert!(Settings { rpc_port: Some(9), metrics_port: Some(9), ..complete() }.validate().is_err());
        assert!(Settings { rpc_port: Some(0), metrics_port: Some(0), ..complete() }.validate().is_ok());
    }

    #[test]
    fn a_fanout_of_nobody_is_refused() {
        let error = Settings { turbine_fanout: Some(0), ..complete() }.validate().unwrap_err().to_string();
        assert!(error.contains("turbine-fanout") && error.contains("at least 1"), "{error}");
        assert!(Settings { turbine_fanout: Some(1), ..complete() }.validate().is_ok());
    }

    #[test]
    fn more_workers_than_any_machine_has_cores_are_refused() {
        let error = Settings { workers: Some(WORKERS_MAX + 1), ..complete() }.validate().unwrap_err().to_string();
        assert!(error.contains("workers") && error.contains("one per core"), "{error}");
        assert!(Settings { workers: Some(WORKERS_MAX), ..complete() }.validate().is_ok());
    }

    #[test]
    fn limits_under_which_nobody_could_catch_up_are_refused() {
        let refused = |settings: Settings, key: &str| {
            let error = settings.validate().unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        };
        refused(Settings { sync_frame_bytes_max: Some(1_000), ..complete() }, "sync-frame-bytes-max");
        refused(Settings { sync_frame_bytes_max: Some(1 << 40), ..complete() }, "sync-frame-bytes-max");
        refused(Settings { sync_connections_per_address: Some(0), ..complete() }, "sync-connections-per-address");
        refused(Settings { sync_messages_per_second: Some(0), ..complete() }, "sync-messages-per-second");
    }

    #[test]
    fn the_ports_of_serve_repair_and_gossip_are_used_over_tcp_too() {
        assert!(Settings { rpc_port: Some(9), serve_repair_port: Some(9), ..complete() }.validate().is_err());
        assert!(Settings { rpc_port: Some(9), gossip_port: Some(9), ..complete() }.validate().is_err());
        assert!(Settings { rpc_port: Some(9), tvu_port: Some(9), ..complete() }.validate().is_ok());
    }

    #[test]
    fn gossip_settings_that_cannot_work_are_refused_by_name() {
        let refused = |settings: Settings, key: &str| {
            let error = settings.validate().unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        };
        refused(Settings { expected_genesis_hash: Some("0OIl".into()), ..complete() }, "expected-genesis-hash");
        refused(Settings { public_address: Some([0, 0, 0, 0].into()), ..complete() }, "public-address");
        refused(Settings { gossip_pull_items_min: Some(0), ..complete() }, "gossip-pull-items-min");
        refused(Settings { gossip_votes_per_origin: Some(0), ..complete() }, "gossip-votes-per-origin");
        let entrypoints = Some(vec![([10, 0, 0, 1], 8_001).into()]);
        let private = Settings { entrypoints, ..complete() };
        assert!(private.clone().validate().is_ok());
        refused(Settings { allow_private_addresses: Some(false), ..private }, "allow-private-addresses");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("v.toml");
        fs::write(&path, "rpc_prot = 1\n").expect("written");
        let error = Settings::read(&path).unwrap_err().to_string();
        assert!(error.contains("rpc_prot") && error.contains("--print-config"), "{error}");
    }

    #[test]
    fn paths_in_a_file_are_relative_to_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("v.toml");
        fs::write(&path, "identity = \"id.json\"\n").expect("written");
        assert_eq!(Settings::read(&path).expect("valid").identity, Some(directory.path().join("id.json")));
    }
}
