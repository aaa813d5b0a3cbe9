//! Connections to peers: opened before they are needed, opened again when they end, and never waited for.

use super::{
    Closing, Port, Protocol,
    links::{Dial, Key, Links, Sending},
    transport::SEND_BUFFER_BYTES,
};
use crate::io::{
    tls,
    traffic::{Ended, Unsent, Way},
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use quinn::{Connection, ConnectionError};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};
use sundog_types::{Pubkey, peer::Peer};
use tokio::sync::Semaphore;

/// How long a handshake, or sending a transaction, may take (reference 9.3).
const HANDSHAKE: Duration = Duration::from_secs(2);
/// Transactions that wait for their peers to allow another stream: 20 MB, over all connections.
const STREAMS_WAITING_MAX: usize = 16_384;

/// Sends to peers over connections that it keeps.
///
/// Sending never waits. A message whose connection is being opened is kept for it, in bounded numbers. A message for
/// a connection whose send buffer is full is dropped: what waits there is older, and repair brings what is lost. A
/// peer that leaves its buffer full for long is disconnected.
pub struct Dialer {
    port: Port,
    links: Mutex<Links<Connection>>,
    streams: Arc<Semaphore>,
    runtime: tokio::runtime::Handle,
}

impl Dialer {
    /// A dialer with no connections. It must be made inside a Tokio runtime.
    #[must_use]
    pub fn new(port: Port) -> Arc<Self> {
        let (links, streams) = (Mutex::new(Links::new(port.limits)), Arc::new(Semaphore::new(STREAMS_WAITING_MAX)));
        Arc::new(Self { port, links, streams, runtime: tokio::runtime::Handle::current() })
    }

    fn links(&self) -> MutexGuard<'_, Links<Connection>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Links of every state: open, being opened, and failed ones that are remembered for their back-off.
    #[must_use]
    pub fn links_kept(&self) -> usize {
        self.links().len()
    }

    /// Keeps connections to the peers with the most stake among these, but not to `myself`, and closes what nobody
    /// needed for a minute. The rest is opened when it is sent to.
    pub fn keep_warm(self: &Arc<Self>, peers: &[Peer], myself: &Pubkey) {
        let place = |peer: &Peer| match self.port.protocol {
            Protocol::Turbine => peer.addresses.tvu_quic,
            Protocol::Tpu => None,
        };
        let others = peers.iter().filter(|peer| peer.identity != *myself);
        let mut chosen: Vec<_> =
            others.filter_map(|peer| Some((std::cmp::Reverse(peer.stake), peer.identity, place(peer)?))).collect();
        let most = self.port.limits.warm_max;
        if chosen.len() > most {
            chosen.select_nth_unstable(most);
            chosen.truncate(most);
        }
        let chosen: HashMap<_, _> = chosen.into_iter().map(|(_, identity, to)| (identity, to)).collect();
        let warming = self.links().warm(Instant::now(), &chosen);
        self.port.traffic.lose(Unsent::Unreachable, warming.lost);
        for connection in warming.pruned {
            self.prune(&connection);
        }
        for dial in warming.dials {
            self.start(dial);
        }
    }

    /// An identity connected to this node: if the way to it was down, it is tried again now.
    pub fn alive(self: &Arc<Self>, identity: &Pubkey) {
        let dials = self.links().alive(Instant::now(), identity);
        for dial in dials {
            self.start(dial);
        }
    }

    /// Sends to a peer: at once if the connection is open, else when it is, else not at all. Never waits.
    pub fn send(self: &Arc<Self>, to: SocketAddr, expect: Option<Pubkey>, bytes: Bytes) {
        let sending = self.links().send(Instant::now(), Key { to, expect }, bytes);
        match sending {
            Sending::Now { connection, dial, bytes, was_full } => {
                if was_full && connection.datagram_send_buffer_space() >= SEND_BUFFER_BYTES / 2 {
                    self.links().drained(&dial);
                }
                self.put(&connection, &dial, bytes);
            }
            Sending::Waits => {}
            Sending::Dial { dial, pruned } => {
                pruned.iter().for_each(|connection| self.prune(connection));
                self.start(dial);
            }
            Sending::Lost(why) => self.port.traffic.lose(why, 1),
        }
    }

    fn prune(&self, connection: &Connection) {
        self.port.traffic.end(Ended::Pruned);
        Closing::Pruned.close(self.port.protocol, connection);
    }

    fn start(self: &Arc<Self>, dial: Dial) {
        let dialer = Arc::downgrade(self);
        let port = self.port.clone();
        self.runtime.spawn(async move {
            let connected = connect(&port, &dial.key).await;
            let Some(connection) = Self::settle(&dialer, &dial, connected) else { return };
            let why = connection.closed().await;
            if let Some(dialer) = dialer.upgrade() {
                dialer.ended(&dial, &why);
            }
        });
    }

    /// Enters an attempt's outcome; the connection, if it is open and wanted.
    fn settle(dialer: &Weak<Self>, dial: &Dial, connected: Option<Connection>) -> Option<Connection> {
        let dialer = dialer.upgrade()?;
        let now = Instant::now();
        let Some(connection) = connected else {
            let lost = dialer.links().failed(now, dial);
            dialer.port.traffic.lose(Unsent::Unreachable, lost);
            return None;
        };
        let waited = dialer.links().opened(now, dial, connection.clone());
        let Some(waited) = waited else {
            dialer.prune(&connection);
            return None;
        };
        waited.into_iter().for_each(|bytes| dialer.put(&connection, dial, bytes));
        Some(connection)
    }

    fn ended(self: &Arc<Self>, dial: &Dial, why: &ConnectionError) {
        let counted = match why {
            ConnectionError::Reset => Some(Ended::Reset),
            ConnectionError::TimedOut => Some(Ended::Silence),
            // This node closed it, and counted that.
            ConnectionError::LocallyClosed => None,
            _ => Some(Ended::Peer),
        };
        if let Some(why) = counted {
            self.port.traffic.end(why);
        }
        let again = self.links().ended(Instant::now(), dial, *why == ConnectionError::Reset);
        if let Some(dial) = again {
            self.start(dial);
        }
    }

    fn put(&self, connection: &Connection, dial: &Dial, bytes: Bytes) {
        match self.port.protocol {
            Protocol::Turbine => self.put_datagram(connection, dial, bytes),
            Protocol::Tpu => self.put_stream(connection, bytes),
        }
    }

    fn put_datagram(&self, connection: &Connection, dial: &Dial, bytes: Bytes) {
        let len = bytes.len();
        // Polled once: sent, or refused because the buffer is full. The call that does not wait drops what is older.
        match connection.send_datagram_wait(bytes).now_or_never() {
            Some(Ok(())) => self.port.traffic.count(Way::TurbineQuicOut, len),
            Some(Err(_)) => self.port.traffic.lose(Unsent::Unreachable, 1),
            None => {
                self.port.traffic.lose(Unsent::SlowPeer, 1);
                if self.links().full(Instant::now(), dial) {
                    self.port.traffic.end(Ended::SlowPeer);
                    Closing::Slow.close(self.port.protocol, connection);
                }
            }
        }
    }

    fn put_stream(&self, connection: &Connection, bytes: Bytes) {
        let Ok(place) = Arc::clone(&self.streams).try_acquire_owned() else {
            self.port.traffic.lose(Unsent::SlowPeer, 1);
            return;
        };
        let connection = connection.clone();
        let traffic = Arc::clone(&self.port.traffic);
        self.runtime.spawn(async move {
            let len = bytes.len();
            let sent = async {
                let mut stream = connection.open_uni().await.ok()?;
                stream.write_all(&bytes).await.ok()?;
                stream.finish().ok()
            };
            match tokio::time::timeout(HANDSHAKE, sent).await {
                Ok(Some(())) => traffic.count(Way::TpuQuicOut, len),
                _ => traffic.lose(Unsent::Unreachable, 1),
            }
            drop(place);
        });
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        let protocol = self.port.protocol;
        for connection in self.links().connections() {
            Closing::Shutdown.close(protocol, connection);
        }
    }
}

async fn connect(port: &Port, key: &Key) -> Option<Connection> {
    let connecting = port.endpoint.connect(key.to, "localhost").ok()?;
    let connection = tokio::time::timeout(HANDSHAKE, connecting).await.ok()?.ok()?;
    let peer = tls::peer_identity(&connection);
    if peer.is_none() || key.expect.is_some_and(|expected| Some(expected) != peer) {
        tracing::warn!(to = %key.to, ?peer, "another identity answers at a peer's address");
        port.traffic.end(Ended::Identity);
        Closing::Identity.close(port.protocol, &connection);
        return None;
    }
    Some(connection)
}
