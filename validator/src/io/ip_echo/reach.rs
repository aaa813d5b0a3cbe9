//! Whether a node's ports can be reached from outside, as another node sees it.

use super::{EchoError, PORTS_MAX, ask};
use std::{
    fmt, io,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// Times that a port is tried: a datagram may get lost.
const TRIES: usize = 3;
/// How long a byte may be under way after the answer came.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// How often a socket is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Ports whose reachability is checked, each with the setting that chooses it.
#[derive(Debug)]
pub struct Ports<'a> {
    /// TCP ports that this process listens on.
    pub tcp: &'a [(&'static str, u16)],
    /// UDP sockets that nobody else reads meanwhile. Non-blocking.
    pub udp: &'a [(&'static str, &'a UdpSocket)],
}

/// A port that another node cannot reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreached {
    /// "UDP" or "TCP".
    pub protocol: &'static str,
    /// The port.
    pub port: u16,
    /// The setting that chooses it.
    pub key: &'static str,
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {} (--{})", self.protocol, self.port, self.key)
    }
}

/// The ports that the node at `address` cannot reach. Blocks for some seconds if there are any.
///
/// # Errors
/// If that node gives no answer at all.
pub fn unreachable(address: SocketAddr, ports: &Ports<'_>) -> Result<Vec<Unreached>, EchoError> {
    // Without ports first: who gives no answer now says nothing about ports later.
    patiently(address, &[], &[])?;
    let mut silent = Vec::new();
    for group in ports.udp.chunks(PORTS_MAX) {
        silent.extend(silent_udp(address, group)?);
    }
    for (key, port) in ports.tcp {
        if patiently(address, &[*port], &[]).is_err() {
            silent.push(Unreached { protocol: "TCP", port: *port, key });
        }
    }
    Ok(silent)
}

/// Asks until there is an answer: the other node may be busy with a neighbour of ours.
fn patiently(address: SocketAddr, tcp: &[u16], udp: &[u16]) -> Result<(), EchoError> {
    let mut last = Ok(());
    for _ in 0..TRIES {
        last = ask(address, tcp, udp).map(|_| ());
        if last.is_ok() {
            break;
        }
    }
    last
}

/// Those of up to four sockets that no byte came to.
fn silent_udp(address: SocketAddr, sockets: &[(&'static str, &UdpSocket)]) -> Result<Vec<Unreached>, EchoError> {
    let port = |socket: &UdpSocket| socket.local_addr().map_or(0, |bound| bound.port());
    let mut waiting: Vec<_> = sockets.to_vec();
    for _ in 0..TRIES {
        let ports: Vec<u16> = waiting.iter().map(|(_, socket)| port(socket)).collect();
        patiently(address, &[], &ports)?;
        let deadline = Instant::now() + UNDER_WAY;
        while !waiting.is_empty() && Instant::now() < deadline {
            waiting.retain(|(_, socket)| !heard(socket, address));
            std::thread::sleep(LOOK_EVERY);
        }
        if waiting.is_empty() {
            break;
        }
    }
    Ok(waiting.into_iter().map(|(key, socket)| Unreached { protocol: "UDP", port: port(socket), key }).collect())
}

/// Whether the byte came; whatever else comes meanwhile is from nobody that this node knows yet.
fn heard(socket: &UdpSocket, from: SocketAddr) -> bool {
    let mut bytes = [0; 2];
    loop {
        match socket.recv_from(&mut bytes) {
            Ok((1, sender)) if bytes[0] == 0 && sender.ip() == from.ip() => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Ok(_) => {}
            // A port of ours that somebody closed, reported late, is no reason to stop.
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{ip_echo::serve, traffic::Traffic};
    use std::sync::Arc;

    fn bind() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_nonblocking(true).expect("a setting");
        socket
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn ports_that_cannot_be_reached_are_told_from_those_that_can() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(serve(listener, 1, Arc::new(Traffic::default())));
        let open: Vec<UdpSocket> = (0..5).map(|_| bind()).collect();
        // A socket that hears nobody but a stranger, as behind a firewall.
        let walled = bind();
        walled.connect("127.0.0.1:9").expect("a filter");
        let listening = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let closed =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let walled_port = walled.local_addr().expect("bound").port();
        let tcp = [("open", listening.local_addr().expect("bound").port()), ("closed", closed.port())];
        let unreached = tokio::task::spawn_blocking(move || {
            let open = open.iter().map(|socket| ("open", socket));
            let udp: Vec<_> = open.chain([("walled", &walled)]).collect();
            unreachable(address, &Ports { tcp: &tcp, udp: &udp })
        });
        let unreached = unreached.await.expect("no panic").expect("an answer");
        let named: Vec<String> = unreached.iter().map(Unreached::to_string).collect();
        let expected = [format!("UDP port {walled_port} (--walled)"), format!("TCP port {} (--closed)", closed.port())];
        assert_eq!(named, expected);
    }
}
