//! QUIC: shreds as datagrams between identities, transactions on streams.

use super::{
    lanes::{Lane, Lanes},
    tls::{self, Credentials, TlsError},
    traffic::{Refused, Traffic, Unsent, Way},
};
use crate::node::Input;
use bytes::Bytes;
use dashmap::DashMap;
use quinn::{Connection, Endpoint, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};
use sundog_gulfstream::Source;
use sundog_types::Pubkey;

/// The protocol of shred datagrams (reference 4.7).
pub const ALPN_TURBINE: &[u8] = b"solana-turbine";
/// The protocol of transaction streams (reference 9.3).
pub const ALPN_TPU: &[u8] = b"solana-tpu";
/// The largest transaction (reference 1.1).
const TRANSACTION_BYTES_MAX: usize = 1_232;
/// Initial and least packet size: a 1,228-byte shred fits one datagram from the first packet on, and path MTU
/// discovery, whose black-hole detection could shrink it, is off (reference 16.14).
const MTU: u16 = 1_280;
/// Incoming connections at a time, over all peers (reference 9.3 has 2,500 for a public node).
const INCOMING_MAX: usize = 2_048;
/// Incoming connections of one identity at a time (reference 9.3).
const PER_PEER_MAX: usize = 8;
/// Streams that an incoming connection may have open (reference 9.3).
const STREAMS_MAX: u32 = 128;
/// Datagrams that wait for a connection which is being opened; the oldest give way, repair brings them later.
const WAITING_MAX: usize = 1_024;
/// How long a failed peer is left alone; doubled with every failure up to the second figure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Outgoing connections kept.
const OUTGOING_MAX: usize = 4_096;
/// How soon a peer that was killed is noticed: its process answers nothing any more, and the next one knows nothing of
/// the connection. Shreds sent until then come by repair.
const TURBINE_IDLE: Duration = Duration::from_secs(4);
/// How long a handshake may take (reference 9.3).
const HANDSHAKE: Duration = Duration::from_secs(2);

/// Which protocol an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Shreds.
    Turbine,
    /// Transactions.
    Tpu,
}

impl Protocol {
    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Turbine => ALPN_TURBINE,
            Self::Tpu => ALPN_TPU,
        }
    }

    fn transport(self, side: Side) -> Arc<TransportConfig> {
        let mut transport = TransportConfig::default();
        transport.initial_mtu(MTU).min_mtu(MTU).mtu_discovery_config(None);
        match self {
            Self::Turbine => {
                transport
                    .keep_alive_interval(Some(Duration::from_secs(1)))
                    .max_idle_timeout(IdleTimeout::try_from(TURBINE_IDLE).ok())
                    .max_concurrent_uni_streams(VarInt::from_u32(0))
                    .max_concurrent_bidi_streams(VarInt::from_u32(0))
                    .datagram_receive_buffer_size(Some(4 << 20))
                    .datagram_send_buffer_size(4 << 20);
            }
            Self::Tpu => {
                transport
                    .keep_alive_interval((side == Side::Dials).then_some(Duration::from_secs(2)))
                    .max_idle_timeout(IdleTimeout::try_from(side.tpu_idle()).ok())
                    .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_MAX))
                    .max_concurrent_bidi_streams(VarInt::from_u32(0))
                    .stream_receive_window(VarInt::from_u32(TRANSACTION_BYTES_MAX as u32))
                    .receive_window(VarInt::from_u32(STREAMS_MAX * TRANSACTION_BYTES_MAX as u32))
                    .datagram_receive_buffer_size(None)
                    .send_fairness(false);
            }
        }
        Arc::new(transport)
    }
}

/// Which side of a connection an endpoint is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Accepts,
    Dials,
}

impl Side {
    /// Clients may be silent for a minute (reference 9.3); who forwards wants to know soon that a leader was restarted.
    const fn tpu_idle(self) -> Duration {
        match self {
            Self::Accepts => Duration::from_secs(60),
            Self::Dials => Duration::from_secs(6),
        }
    }
}

/// What went wrong with an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum QuicError {
    /// The identity's certificate was refused.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The socket was refused.
    #[error("QUIC cannot use its socket: {0}")]
    Socket(#[from] std::io::Error),
}

/// Opens an endpoint that accepts and opens connections of a protocol.
///
/// # Errors
/// If the certificate or the socket is refused.
pub fn endpoint(protocol: Protocol, credentials: &Credentials, socket: UdpSocket) -> Result<Endpoint, QuicError> {
    let mut server = quinn::ServerConfig::with_crypto(credentials.server(protocol.alpn())?);
    server.transport_config(protocol.transport(Side::Accepts)).max_incoming(INCOMING_MAX).migration(false);
    let runtime = Arc::new(quinn::TokioRuntime);
    let mut endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime)?;
    let mut client = quinn::ClientConfig::new(credentials.client(protocol.alpn())?);
    client.transport_config(protocol.transport(Side::Dials));
    endpoint.set_default_client_config(client);
    Ok(endpoint)
}

/// Tells which source a peer's transactions have: validators forward, everybody else is a client.
pub type SourceOf = dyn Fn(Option<Pubkey>) -> Source + Send + Sync;

/// Accepts connections and hands what they carry to the node.
pub struct Acceptor {
    /// The protocol.
    pub protocol: Protocol,
    /// Into the node.
    pub lanes: Lanes,
    /// What is counted.
    pub traffic: Arc<Traffic>,
    /// Whose transactions are what.
    pub source_of: Arc<SourceOf>,
    peers: DashMap<Pubkey, usize>,
}

impl Acceptor {
    /// An acceptor with no connections.
    #[must_use]
    pub fn new(protocol: Protocol, lanes: Lanes, traffic: Arc<Traffic>, source_of: Arc<SourceOf>) -> Arc<Self> {
        Arc::new(Self { protocol, lanes, traffic, source_of, peers: DashMap::new() })
    }

    /// Accepts until the endpoint is closed.
    pub async fn run(self: Arc<Self>, endpoint: Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            if endpoint.open_connections() >= INCOMING_MAX {
                self.traffic.refuse(Refused::Connection);
                incoming.refuse();
                continue;
            }
            let acceptor = Arc::clone(&self);
            tokio::spawn(async move {
                let Ok(Ok(connection)) = tokio::time::timeout(HANDSHAKE, incoming).await else {
                    acceptor.traffic.refuse(Refused::Handshake);
                    return;
                };
                acceptor.serve(connection).await;
            });
        }
    }

    async fn serve(&self, connection: Connection) {
        let Some(peer) = tls::peer_identity(&connection) else {
            connection.close(VarInt::from_u32(3), b"invalid identity");
            return;
        };
        {
            let mut count = self.peers.entry(peer).or_insert(0);
            if *count >= PER_PEER_MAX {
                self.traffic.refuse(Refused::ConnectionOfIdentity);
                connection.close(VarInt::from_u32(4), b"too many");
                return;
            }
            *count += 1;
        }
        match self.protocol {
            Protocol::Turbine => self.datagrams(&connection, peer).await,
            Protocol::Tpu => self.streams(&connection, peer).await,
        }
        if let Some(mut count) = self.peers.get_mut(&peer) {
            *count -= 1;
        }
        self.peers.remove_if(&peer, |_, count| *count == 0);
    }

    async fn datagrams(&self, connection: &Connection, peer: Pubkey) {
        while let Ok(bytes) = connection.read_datagram().await {
            self.traffic.count(Way::TurbineQuicIn, bytes.len());
            self.lanes.offer(Lane::Shreds, Input::Shred { peer: Some(peer), bytes });
        }
    }

    async fn streams(&self, connection: &Connection, peer: Pubkey) {
        let source = (self.source_of)(Some(peer));
        while let Ok(mut stream) = connection.accept_uni().await {
            let read = tokio::time::timeout(HANDSHAKE, stream.read_to_end(TRANSACTION_BYTES_MAX)).await;
            match read {
                Ok(Ok(bytes)) if !bytes.is_empty() => {
                    self.traffic.count(Way::TpuQuicIn, bytes.len());
                    let packets = vec![Bytes::from(bytes)];
                    self.lanes.offer(Lane::Transactions, Input::Transactions { source, packets });
                }
                Ok(Ok(_)) | Ok(Err(quinn::ReadToEndError::TooLong)) => {
                    connection.close(VarInt::from_u32(5), b"invalid stream");
                    return;
                }
                Ok(Err(_)) | Err(_) => {
                    self.traffic.refuse(Refused::Stream);
                }
            }
        }
    }
}

/// A connection to a peer, or the attempt at one.
enum Link {
    Open(Connection),
    Opening(Vec<Bytes>),
    Failed { since: Instant, backoff: Duration },
}

/// Connections to peers, kept warm.
pub struct Dialer {
    protocol: Protocol,
    endpoint: Endpoint,
    links: DashMap<SocketAddr, Link>,
    traffic: Arc<Traffic>,
    runtime: tokio::runtime::Handle,
}

impl Dialer {
    /// A dialer with no connections.
    #[must_use]
    pub fn new(protocol: Protocol, endpoint: Endpoint, traffic: Arc<Traffic>) -> Arc<Self> {
        let runtime = tokio::runtime::Handle::current();
        Arc::new(Self { protocol, endpoint, links: DashMap::new(), traffic, runtime })
    }

    /// Opens a connection to a peer that will be needed.
    pub fn warm(self: &Arc<Self>, to: SocketAddr, expect: Pubkey) {
        if !self.links.contains_key(&to) || self.retry_is_due(to) {
            self.open(to, Some(expect), Vec::new());
        }
    }

    fn retry_is_due(&self, to: SocketAddr) -> bool {
        self.links.get(&to).is_some_and(|link| match &*link {
            Link::Failed { since, backoff } => since.elapsed() >= *backoff,
            Link::Open(connection) => connection.close_reason().is_some(),
            Link::Opening(_) => false,
        })
    }

    /// Sends to a peer: at once if the connection is open, else when it is, else not at all. Never waits.
    pub fn send(self: &Arc<Self>, to: SocketAddr, expect: Option<Pubkey>, bytes: Bytes) {
        let open = match self.links.get_mut(&to).as_deref_mut() {
            Some(Link::Open(connection)) if connection.close_reason().is_none() => Some(connection.clone()),
            Some(Link::Opening(waiting)) => {
                if waiting.len() < WAITING_MAX {
                    waiting.push(bytes);
                } else {
                    self.traffic.lose(Unsent::Unreachable, 1);
                }
                return;
            }
            Some(Link::Failed { since, backoff }) if since.elapsed() < *backoff => {
                self.traffic.lose(Unsent::Unreachable, 1);
                return;
            }
            _ => None,
        };
        match open {
            Some(connection) => self.put(&connection, bytes),
            None => self.open(to, expect, vec![bytes]),
        }
    }

    fn open(self: &Arc<Self>, to: SocketAddr, expect: Option<Pubkey>, waiting: Vec<Bytes>) {
        if self.links.len() >= OUTGOING_MAX {
            self.links.retain(|_, link| matches!(link, Link::Open(c) if c.close_reason().is_none()));
        }
        let before = match self.links.insert(to, Link::Opening(waiting)) {
            Some(Link::Failed { backoff, .. }) => backoff,
            _ => BACKOFF.0 / 2,
        };
        let dialer = Arc::clone(self);
        self.runtime.spawn(async move {
            let connected = dialer.connect(to, expect).await;
            let link = match &connected {
                Some(connection) => Link::Open(connection.clone()),
                None => Link::Failed { since: Instant::now(), backoff: (before * 2).min(BACKOFF.1) },
            };
            let Some(Link::Opening(waiting)) = dialer.links.insert(to, link) else { return };
            match connected {
                Some(connection) => waiting.into_iter().for_each(|bytes| dialer.put(&connection, bytes)),
                None => {
                    dialer.traffic.lose(Unsent::Unreachable, waiting.len());
                }
            }
        });
    }

    async fn connect(&self, to: SocketAddr, expect: Option<Pubkey>) -> Option<Connection> {
        let connecting = self.endpoint.connect(to, "localhost").ok()?;
        let connection = tokio::time::timeout(HANDSHAKE, connecting).await.ok()?.ok()?;
        let peer = tls::peer_identity(&connection)?;
        if expect.is_some_and(|expected| expected != peer) {
            tracing::warn!(%to, %peer, "another identity answers at a peer's address");
            connection.close(VarInt::from_u32(3), b"invalid identity");
            return None;
        }
        Some(connection)
    }

    fn put(&self, connection: &Connection, bytes: Bytes) {
        match self.protocol {
            Protocol::Turbine => {
                let len = bytes.len();
                if connection.send_datagram(bytes).is_ok() {
                    self.traffic.count(Way::TurbineQuicOut, len);
                } else {
                    self.traffic.lose(Unsent::Unreachable, 1);
                }
            }
            Protocol::Tpu => {
                let connection = connection.clone();
                let traffic = Arc::clone(&self.traffic);
                self.runtime.spawn(async move {
                    let len = bytes.len();
                    let sent = async {
                        let mut stream = connection.open_uni().await.ok()?;
                        stream.write_all(&bytes).await.ok()?;
                        stream.finish().ok()
                    };
                    match tokio::time::timeout(HANDSHAKE, sent).await {
                        Ok(Some(())) => traffic.count(Way::TpuQuicOut, len),
                        _ => {
                            traffic.lose(Unsent::Unreachable, 1);
                        }
                    }
                });
            }
        }
    }
}
