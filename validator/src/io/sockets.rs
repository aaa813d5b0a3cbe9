//! Every socket of a validator, bound before anything starts.

use crate::config::Settings;
use anyhow::bail;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

/// Receive buffers asked of the system, so that a burst of shreds survives a busy moment.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Ports that the system offers for UDP and that are tried for TCP too.
const TWINS_TRIED: usize = 64;

/// Where a validator listens: written to `addresses.json` beside its ledger once every socket is bound.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bound {
    /// Gossip, UDP.
    pub gossip: SocketAddr,
    /// Shreds, UDP.
    pub tvu: SocketAddr,
    /// Shreds, QUIC.
    pub tvu_quic: SocketAddr,
    /// Transactions, UDP.
    pub tpu: SocketAddr,
    /// Transactions, QUIC.
    pub tpu_quic: SocketAddr,
    /// Votes, UDP.
    pub tpu_vote: SocketAddr,
    /// Repair requests of this node leave here.
    pub repair: SocketAddr,
    /// Repair requests of others arrive here over UDP, and bulk sync over TCP.
    pub serve_repair: SocketAddr,
    /// JSON-RPC.
    pub rpc: SocketAddr,
    /// JSON-RPC over WebSocket.
    pub websocket: SocketAddr,
    /// Metrics.
    pub metrics: SocketAddr,
}

/// Every socket of a validator.
pub struct Sockets {
    /// Gossip, UDP.
    pub gossip: UdpSocket,
    /// IP echo, TCP: the same port number as `gossip`, so that peers find it.
    pub ip_echo: TcpListener,
    /// Shreds, UDP.
    pub tvu: UdpSocket,
    /// Shreds, QUIC.
    pub tvu_quic: UdpSocket,
    /// Transactions, UDP.
    pub tpu: UdpSocket,
    /// Transactions, QUIC.
    pub tpu_quic: UdpSocket,
    /// Votes, UDP.
    pub tpu_vote: UdpSocket,
    /// Repair requests of this node leave here.
    pub repair: UdpSocket,
    /// Repair requests of others arrive here.
    pub serve_repair: UdpSocket,
    /// Bulk sync, TCP: the same port number as `serve_repair`, so that peers find it.
    pub sync: TcpListener,
    /// JSON-RPC.
    pub rpc: TcpListener,
    /// JSON-RPC over WebSocket.
    pub websocket: TcpListener,
    /// Metrics.
    pub metrics: TcpListener,
}

impl Sockets {
    /// Binds all of them.
    ///
    /// # Errors
    /// If a port is taken or not allowed; which, and what to do.
    pub fn bind(settings: &Settings, ip: IpAddr) -> anyhow::Result<Self> {
        let port = |given: Option<u16>| given.unwrap_or(0);
        let (gossip, ip_echo) = twins(ip, port(settings.gossip_port), "gossip-port")?;
        let (serve_repair, sync) = twins(ip, port(settings.serve_repair_port), "serve-repair-port")?;
        Ok(Self {
            gossip,
            ip_echo,
            tvu: udp(ip, port(settings.tvu_port), "tvu-port")?,
            tvu_quic: udp(ip, port(settings.tvu_quic_port), "tvu-quic-port")?,
            tpu: udp(ip, port(settings.tpu_port), "tpu-port")?,
            tpu_quic: udp(ip, port(settings.tpu_quic_port), "tpu-quic-port")?,
            tpu_vote: udp(ip, port(settings.tpu_vote_port), "tpu-vote-port")?,
            repair: udp(ip, port(settings.repair_port), "repair-port")?,
            serve_repair,
            sync,
            rpc: tcp(ip, port(settings.rpc_port), "rpc-port")?,
            websocket: tcp(ip, port(settings.websocket_port), "websocket-port")?,
            metrics: tcp(ip, port(settings.metrics_port), "metrics-port")?,
        })
    }

    /// The addresses they got.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn bound(&self) -> std::io::Result<Bound> {
        Ok(Bound {
            gossip: self.gossip.local_addr()?,
            tvu: self.tvu.local_addr()?,
            tvu_quic: self.tvu_quic.local_addr()?,
            tpu: self.tpu.local_addr()?,
            tpu_quic: self.tpu_quic.local_addr()?,
            tpu_vote: self.tpu_vote.local_addr()?,
            repair: self.repair.local_addr()?,
            serve_repair: self.serve_repair.local_addr()?,
            rpc: self.rpc.local_addr()?,
            websocket: self.websocket.local_addr()?,
            metrics: self.metrics.local_addr()?,
        })
    }
}

impl Bound {
    /// Those that packets to other nodes leave from and come to.
    #[must_use]
    pub fn between_nodes(&self) -> [SocketAddr; 8] {
        [self.gossip, self.tvu, self.tvu_quic, self.tpu, self.tpu_quic, self.tpu_vote, self.repair, self.serve_repair]
    }

    /// The same ports at another address.
    #[must_use]
    pub fn at(&self, ip: IpAddr) -> Self {
        let at = |bound: SocketAddr| SocketAddr::new(ip, bound.port());
        Self {
            gossip: at(self.gossip),
            tvu: at(self.tvu),
            tvu_quic: at(self.tvu_quic),
            tpu: at(self.tpu),
            tpu_quic: at(self.tpu_quic),
            tpu_vote: at(self.tpu_vote),
            repair: at(self.repair),
            serve_repair: at(self.serve_repair),
            rpc: at(self.rpc),
            websocket: at(self.websocket),
            metrics: at(self.metrics),
        }
    }
}

/// What the system's refusal to bind means, and what to do.
fn refused(error: std::io::Error, at: (IpAddr, u16), key: &str) -> anyhow::Error {
    let (ip, port) = at;
    let message = match error.kind() {
        std::io::ErrorKind::AddrNotAvailable => {
            format!("{ip} is no address of this machine; give one that is as --bind-address")
        }
        _ => format!("port {port} is taken or not allowed; stop the program that uses it, or give another --{key}"),
    };
    anyhow::Error::new(error).context(message)
}

fn udp(ip: IpAddr, port: u16, key: &str) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((ip, port)).map_err(|error| refused(error, (ip, port), key))?;
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn tcp(ip: IpAddr, port: u16, key: &str) -> anyhow::Result<TcpListener> {
    // The standard library sets SO_REUSEADDR, so that a restarted node gets its port back at once.
    let listener = TcpListener::bind((ip, port)).map_err(|error| refused(error, (ip, port), key))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A UDP socket and a TCP listener with one port number.
fn twins(ip: IpAddr, port: u16, key: &str) -> anyhow::Result<(UdpSocket, TcpListener)> {
    if port != 0 {
        return Ok((udp(ip, port, key)?, tcp(ip, port, key)?));
    }
    for _ in 0..TWINS_TRIED {
        let chosen = udp(ip, 0, key)?;
        if let Ok(twin) = tcp(ip, chosen.local_addr()?.port(), key) {
            return Ok((chosen, twin));
        }
    }
    bail!("the system offers no port that is free for both UDP and TCP; give a free one with --{key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn tcp_twins_have_the_port_numbers_of_gossip_and_serve_repair() {
        let settings = Settings::default();
        let sockets = Sockets::bind(&settings, IP).expect("free ports");
        let bound = sockets.bound().expect("bound");
        assert_eq!(sockets.sync.local_addr().expect("bound"), bound.serve_repair);
        assert_eq!(sockets.ip_echo.local_addr().expect("bound"), bound.gossip);
    }

    #[test]
    fn an_address_of_another_machine_is_named_and_not_the_port() {
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let error = Sockets::bind(&Settings::default(), elsewhere).err().expect("not of this machine").to_string();
        assert!(error.contains("192.0.2.1") && error.contains("--bind-address"), "{error}");
    }

    #[test]
    fn a_tcp_port_that_is_taken_is_named() {
        let (udp, tcp) = twins(IP, 0, "serve-repair-port").expect("a free port");
        let port = tcp.local_addr().expect("bound").port();
        drop(udp);
        let settings = Settings { serve_repair_port: Some(port), ..Settings::default() };
        let error = Sockets::bind(&settings, IP).err().expect("the TCP port is taken").to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--serve-repair-port"), "{error}");
    }
}
