//! What a node finds out when it joins a cluster: whether it has the right chain, how the world sees it, and whether the
//! world reaches it. Another node answers the last two over TCP (`ip_echo`).

use super::{
    faults::{Faults, Flow},
    ip_echo::{self, Answer, EchoError, Ports, Unreached},
    sockets::Sockets,
};
use crate::config::Settings;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use sundog_types::Hash;
use tokio::sync::mpsc::Sender;

/// An entrypoint that does not answer is asked again after this, then ever more seldom,
const ASK_FIRST: Duration = Duration::from_secs(1);
/// down to this.
const ASK_LAST: Duration = Duration::from_secs(60);
/// While the cluster is restarted, an entrypoint on the old version is asked again after this.
const ASK_RESTARTING: Duration = Duration::from_secs(10);
/// Times that all entrypoints are asked for this machine's public address, which nothing can start without.
const PUBLIC_TRIES: usize = 5;

/// Why a node cannot join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The genesis is another one than the operator expects.
    #[error(
        "genesis mismatch: the genesis given has the hash {ours}, and expected-genesis-hash is {expected}; give --genesis the file of the cluster that this node is to join, or correct expected-genesis-hash"
    )]
    Genesis {
        /// The hash of ours.
        ours: Hash,
        /// The hash expected.
        expected: String,
    },
    /// The shred version is another one than the operator expects.
    #[error(
        "shred version mismatch: the genesis given, {genesis}, makes shred version {ours} with the hard forks known, and expected-shred-version is {expected}; either the cluster was restarted with a hard fork, which changes the version: give its slot as --hard-fork; or it is the genesis of another cluster: give the right --genesis; or correct expected-shred-version"
    )]
    Expected {
        /// The hash of the genesis.
        genesis: Hash,
        /// Ours.
        ours: u16,
        /// The one expected.
        expected: u16,
    },
    /// An entrypoint is on another chain.
    #[error(
        "shred version mismatch: the entrypoint {entrypoint} has shred version {theirs}, this node {ours} from the genesis {genesis}; most likely one of the two missed a restart of the cluster with a hard fork, which changes the version: ask the cluster's operators for its slot, and start this node with --hard-fork SLOT; or the entrypoint's cluster has another genesis: give this node the --genesis of that cluster and an empty --ledger, or an --entrypoint of its own cluster"
    )]
    Entrypoint {
        /// Who says so.
        entrypoint: SocketAddr,
        /// What it says.
        theirs: u16,
        /// Ours.
        ours: u16,
        /// The hash of our genesis.
        genesis: Hash,
    },
    /// Ports cannot be reached from outside.
    #[error(
        "{ports} cannot be reached from outside: {entrypoint} tried, and nothing arrived; let them through the firewall or forward them to this machine, or start with --port-check false if nobody needs to reach them"
    )]
    Unreachable {
        /// Who tried.
        entrypoint: SocketAddr,
        /// The ports and their settings.
        ports: String,
    },
    /// Nobody says which address this machine has.
    #[error(
        "bind-address is {bind}, which nobody can be told to reach, and no entrypoint says how it sees this machine ({why}); give the address that others reach it by as --public-address"
    )]
    NoPublicAddress {
        /// The address bound.
        bind: IpAddr,
        /// What came of asking.
        why: String,
    },
}

/// Compares the genesis with what the operator expects.
///
/// # Errors
/// If it is another one.
pub fn check_expected(settings: &Settings, genesis: Hash, ours: u16) -> Result<(), JoinError> {
    if let Some(expected) = &settings.expected_genesis_hash
        && *expected != genesis.to_string()
    {
        return Err(JoinError::Genesis { ours: genesis, expected: expected.clone() });
    }
    match settings.expected_shred_version {
        Some(expected) if expected != ours => Err(JoinError::Expected { genesis, ours, expected }),
        _ => Ok(()),
    }
}

/// The address that others are told. Blocks for a while if entrypoints must be asked.
///
/// # Errors
/// If every address is bound, none is given, and no entrypoint answers.
pub fn public_address(settings: &Settings, bind: IpAddr) -> Result<IpAddr, JoinError> {
    if let Some(given) = settings.public_address {
        return Ok(given);
    }
    if !bind.is_unspecified() {
        return Ok(bind);
    }
    let mut why = "none is given".to_owned();
    for _ in 0..PUBLIC_TRIES {
        for entrypoint in settings.entrypoints.iter().flatten() {
            match ip_echo::ask(*entrypoint, &[], &[]) {
                Ok(answer) => return Ok(answer.public_ip),
                Err(error) => why = error.to_string(),
            }
        }
        if settings.entrypoints.as_ref().is_none_or(Vec::is_empty) {
            break;
        }
        std::thread::sleep(ASK_FIRST);
    }
    Err(JoinError::NoPublicAddress { bind, why })
}

/// Has an entrypoint try this node's ports, unless the settings say otherwise or everything is on this machine. Blocks for
/// some seconds if a port is not reached. If no entrypoint answers, nothing is known, and the node starts.
///
/// # Errors
/// If a port cannot be reached.
pub fn check_ports(settings: &Settings, sockets: &Sockets, bind: IpAddr) -> Result<(), JoinError> {
    if !settings.port_check.unwrap_or(!bind.is_loopback()) {
        return Ok(());
    }
    let port = |bound: std::io::Result<SocketAddr>| bound.map_or(0, |bound| bound.port());
    let udp = [
        ("gossip-port", &sockets.gossip),
        ("tvu-port", &sockets.tvu),
        ("tvu-quic-port", &sockets.tvu_quic),
        ("tpu-quic-port", &sockets.tpu_quic),
        ("tpu-port", &sockets.tpu),
        ("tpu-vote-port", &sockets.tpu_vote),
        ("repair-port", &sockets.repair),
        ("serve-repair-port", &sockets.serve_repair),
    ];
    let tcp =
        [("gossip-port", port(sockets.ip_echo.local_addr())), ("serve-repair-port", port(sockets.sync.local_addr()))];
    let own = sockets.gossip.local_addr().ok();
    for entrypoint in settings.entrypoints.iter().flatten().filter(|address| Some(**address) != own) {
        match ip_echo::unreachable(*entrypoint, &Ports { tcp: &tcp, udp: &udp }) {
            Ok(unreached) if unreached.is_empty() => {
                tracing::info!(%entrypoint, "every port can be reached");
                return Ok(());
            }
            Ok(unreached) => {
                return Err(JoinError::Unreachable { entrypoint: *entrypoint, ports: named(&unreached) });
            }
            Err(error) => tracing::warn!(%entrypoint, "ports are not checked: {error}"),
        }
    }
    Ok(())
}

fn named(unreached: &[Unreached]) -> String {
    unreached.iter().map(Unreached::to_string).collect::<Vec<_>>().join(", ")
}

/// What this node's chain is.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// The hash of its genesis.
    pub genesis: Hash,
    /// Its shred version.
    pub shred_version: u16,
    /// The cluster is being restarted: others may be on the old version yet.
    pub restarting: bool,
}

/// Asks every entrypoint in the background which chain it is on, until it answers: it may start later than this node.
/// An entrypoint on another chain ends the process, unless another entrypoint is on ours.
pub fn compare_chains(entrypoints: &[SocketAddr], chain: Chain, fail: &Sender<anyhow::Error>, faults: &Faults) {
    let agreed = Arc::new(AtomicBool::new(false));
    for entrypoint in entrypoints {
        let (entrypoint, agreed, fail) = (*entrypoint, Arc::clone(&agreed), fail.clone());
        let faults = faults.clone();
        tokio::spawn(async move {
            let judged = loop {
                let answer = ask_until_answered(entrypoint, &faults).await;
                match judge(entrypoint, answer, chain) {
                    Err(error) if chain.restarting => {
                        tracing::warn!("{error}; it may not have been restarted yet, and is asked again");
                        tokio::time::sleep(ASK_RESTARTING).await;
                    }
                    judged => break judged,
                }
            };
            match judged {
                Ok(true) => {
                    agreed.store(true, Ordering::Release);
                    tracing::info!(%entrypoint, shred_version = chain.shred_version, "the entrypoint is on our chain");
                }
                Ok(false) => {}
                Err(error) if agreed.load(Ordering::Acquire) => tracing::warn!("{error}"),
                Err(error) => {
                    let _ = fail.send(error.into()).await;
                }
            }
        });
    }
}

/// Whether an entrypoint is on our chain; `false` if it does not say.
fn judge(entrypoint: SocketAddr, answer: Answer, chain: Chain) -> Result<bool, JoinError> {
    let ours = chain.shred_version;
    match answer.shred_version.filter(|version| *version != 0) {
        None => Ok(false),
        Some(theirs) if theirs == ours => Ok(true),
        Some(theirs) => Err(JoinError::Entrypoint { entrypoint, theirs, ours, genesis: chain.genesis }),
    }
}

async fn ask_until_answered(entrypoint: SocketAddr, faults: &Faults) -> Answer {
    let mut wait = ASK_FIRST;
    loop {
        if faults.refuses_address(Flow::Gossip, entrypoint) {
            tokio::time::sleep(ASK_FIRST).await;
            continue;
        }
        let asked = tokio::task::spawn_blocking(move || ip_echo::ask(entrypoint, &[], &[])).await;
        match asked {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error @ (EchoError::Http { .. } | EchoError::Foreign { .. }))) => tracing::warn!("{error}"),
            Ok(Err(error)) => tracing::debug!("{error}"),
            Err(_) => {}
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(ASK_LAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const CHAIN: Chain = Chain { genesis: Hash::new_from_array([3; 32]), shred_version: 7, restarting: false };

    fn settings() -> Settings {
        Settings { entrypoints: Some(Vec::new()), ..Settings::default() }
    }

    #[test]
    fn another_genesis_or_shred_version_than_expected_is_refused_by_name() {
        let check = |settings: &Settings| check_expected(settings, CHAIN.genesis, 7).map_err(|e| e.to_string());
        assert_eq!(check(&settings()), Ok(()));
        let hash = |hash: String| Settings { expected_genesis_hash: Some(hash), ..settings() };
        assert_eq!(check(&hash(CHAIN.genesis.to_string())), Ok(()));
        let error = check(&hash(Hash::default().to_string())).unwrap_err();
        assert!(error.starts_with("genesis mismatch") && error.contains("--genesis"), "{error}");
        let version = |version| Settings { expected_shred_version: Some(version), ..settings() };
        assert_eq!(check(&version(7)), Ok(()));
        let error = check(&version(8)).unwrap_err();
        assert!(error.starts_with("shred version mismatch") && error.contains("hard fork"), "{error}");
    }

    #[test]
    fn an_entrypoint_on_another_chain_is_told_from_one_that_does_not_say() {
        let told =
            |shred_version| judge(([10, 0, 0, 1], 8_000).into(), Answer { public_ip: HERE, shred_version }, CHAIN);
        assert!(matches!(told(Some(7)), Ok(true)));
        assert!(matches!(told(None), Ok(false)) && matches!(told(Some(0)), Ok(false)));
        let error = told(Some(8)).unwrap_err().to_string();
        for part in ["10.0.0.1:8000", "8, this node 7", "another genesis", "hard fork", "--genesis", "--entrypoint"] {
            assert!(error.contains(part), "{part} is missing in {error}");
        }
    }

    #[test]
    fn every_address_bound_and_nobody_to_ask_is_an_error_with_the_remedy() {
        let every = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let error = public_address(&settings(), every).unwrap_err().to_string();
        assert!(error.contains("--public-address"), "{error}");
        let given = Settings { public_address: Some([198, 51, 100, 7].into()), ..settings() };
        assert_eq!(public_address(&given, every).expect("given"), IpAddr::from([198, 51, 100, 7]));
        assert_eq!(public_address(&settings(), HERE).expect("bound"), HERE);
    }

    #[test]
    fn on_one_machine_ports_are_not_checked() {
        let sockets = Sockets::bind(&settings(), HERE).expect("free ports");
        let nobody = Settings { entrypoints: Some(vec![(HERE, 9).into()]), ..settings() };
        check_ports(&nobody, &sockets, HERE).expect("not checked");
        check_ports(&Settings { port_check: Some(true), ..nobody }, &sockets, HERE).expect("nobody answers");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_port_that_no_byte_gets_through_to_is_named_with_its_setting() {
        let sockets = Sockets::bind(&settings(), HERE).expect("free ports");
        sockets.tvu.connect("127.0.0.1:9").expect("it hears nobody else");
        let port = sockets.tvu.local_addr().expect("bound").port();
        let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let entrypoint = echo.local_addr().expect("bound");
        tokio::spawn(ip_echo::serve(echo, 7, Arc::default()));
        let settings = Settings { entrypoints: Some(vec![entrypoint]), port_check: Some(true), ..settings() };
        let checked = tokio::task::spawn_blocking(move || check_ports(&settings, &sockets, HERE));
        let error = checked.await.expect("no panic").unwrap_err().to_string();
        let named = format!("UDP port {port} (--tvu-port) cannot be reached");
        assert!(error.contains(&named) && error.contains("--port-check"), "{error}");
    }
}
