//! Bulk sync over TCP: connections between identities, and whole frames both ways. What a frame means is the machine's
//! business (`sundog_turbine::sync`).
//!
//! ```text
//!                places      TLS 1.3, both sides     frame: u32 LE length, body
//!  TCP accept ---> cap ---> identity ---> Opened       |
//!  dial(peer) -------------> the peer's? -> Opened     v
//!                                         reader --- Frame, Oversized ---> Lane::Sync ---> node
//!                                         writer <--- queue (bounded) <--- send, close --- node
//! ```
//!
//! - A link is reported once with `Opened` and once with `Closed`, and its frames whole and in order between the two. A
//!   dial ends as `Opened` or as `DialFailed`.
//! - A full lane makes the reader wait, and TCP makes the peer wait; nothing is dropped.
//! - A peer that does not read what it asked for is not queued for: its link is cut.
//! - Memory follows what has arrived and what was handed over, within stated bounds; never what a peer claims.

mod frames;
mod link;
mod places;
mod tally;

pub use tally::{Fault, Tally};

use super::{
    faults::{Faults, Flow},
    lanes::Lanes,
    tls::{self, Credentials, TlsError},
    traffic::Traffic,
};
use crate::node::SyncBounds;
use bytes::Bytes;
use link::{Ended, Handle, Link};
use places::{Place, Places};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use sundog_turbine::sync::{Input, LinkId};
use sundog_types::Pubkey;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream, rustls::pki_types::ServerName};

/// The protocol of bulk sync.
pub const ALPN_SYNC: &[u8] = b"sundog-sync";
/// How long TCP and TLS may take together until the peer is known.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long accepting pauses after the system refused it, so that a shortage of handles is no busy loop.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes that all links together have queued for sending: four links' worth. Beyond it, the link that has most queued
/// is cut.
const QUEUED_BYTES_MAX: usize = 256 << 20;
/// Links that this node has opened or is opening: twice what the machine keeps. Each may have a large frame arriving.
const DIALED_MAX: usize = 16;

/// What the transport of bulk sync allows.
#[derive(Clone, Copy, Debug)]
pub struct SyncLimits {
    /// The largest body of a frame, bytes.
    pub frame_bytes_max: usize,
    /// Connections accepted from one address (IPv6: from one /64 network). One more is let in, so that the machine can
    /// tell it why it is refused; further ones are closed before TLS.
    pub per_address_max: usize,
    /// Connections accepted at a time. A few more are let in to be told, as above.
    pub links_max: usize,
}

impl Default for SyncLimits {
    fn default() -> Self {
        Self { frame_bytes_max: 10_000_000, per_address_max: 3, links_max: 64 }
    }
}

impl From<SyncBounds> for SyncLimits {
    fn from(bounds: SyncBounds) -> Self {
        let SyncBounds { frame_bytes_max, connections_per_address: per_address_max, .. } = bounds;
        Self { frame_bytes_max, per_address_max, ..Self::default() }
    }
}

/// What went wrong with the listener.
#[derive(Debug, thiserror::Error)]
pub enum SyncNetError {
    /// The identity's certificate was refused.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The socket was refused.
    #[error("bulk sync cannot use its socket: {0}")]
    Socket(#[from] std::io::Error),
}

/// Every connection of bulk sync.
pub struct SyncNet {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    links: Mutex<BTreeMap<LinkId, Handle>>,
    next: AtomicU64,
    places: Arc<Places>,
    dials: Arc<Semaphore>,
    /// Room for large frames that arrive on accepted links.
    room: Arc<Semaphore>,
    lanes: Lanes,
    traffic: Arc<Traffic>,
    limits: SyncLimits,
    faults: Faults,
    runtime: tokio::runtime::Handle,
}

impl SyncNet {
    /// Starts to accept on a non-blocking listener. Belongs into a Tokio runtime.
    ///
    /// # Errors
    /// If the certificate or the socket is refused.
    pub fn start(
        listener: std::net::TcpListener,
        credentials: &Credentials,
        lanes: Lanes,
        traffic: Arc<Traffic>,
        (limits, faults): (SyncLimits, Faults),
    ) -> Result<Arc<Self>, SyncNetError> {
        let net = Arc::new(Self {
            acceptor: credentials.tls_server(ALPN_SYNC)?.into(),
            connector: credentials.tls_client(ALPN_SYNC)?.into(),
            links: Mutex::default(),
            next: AtomicU64::new(1),
            places: Places::new(limits.links_max, limits.per_address_max),
            dials: Arc::new(Semaphore::new(DIALED_MAX)),
            room: Arc::new(Semaphore::new(frames::ROOM_UNITS)),
            lanes,
            traffic,
            limits,
            faults,
            runtime: tokio::runtime::Handle::current(),
        });
        let listener = TcpListener::from_std(listener)?;
        tokio::spawn(Arc::clone(&net).accept(listener));
        Ok(net)
    }

    /// Opens a link to a peer; answers `Opened` or `DialFailed`.
    pub fn dial(self: &Arc<Self>, peer: Pubkey, address: SocketAddr) {
        let net = Arc::clone(self);
        self.runtime.spawn(async move {
            match net.connect(peer, address).await {
                Ok((stream, _place)) => net.live(stream, peer, Origin { address, dialed: true }).await,
                Err(fault) => {
                    net.traffic.sync.count(fault);
                    net.lanes.sync(Input::DialFailed { peer, address }).await;
                }
            }
        });
    }

    /// Queues a frame's body for a link. A link that is no more takes nothing; a link whose queue is full belongs to a
    /// peer that reads too slowly, and is cut.
    pub fn send(&self, link: LinkId, frame: Bytes) {
        let mut links = self.links();
        let Some(handle) = links.get(&link) else { return };
        let fault = if frame.len() > self.limits.frame_bytes_max {
            tracing::error!(bytes = frame.len(), "a frame of bulk sync is larger than frames may be");
            Some(Fault::Oversized)
        } else {
            (!handle.queue(frame, &self.traffic.sync.queued)).then_some(Fault::Slow)
        };
        let over = || self.traffic.sync.queued() > QUEUED_BYTES_MAX;
        let loser = match fault {
            Some(fault) => Some((link, fault)),
            None if over() => links.iter().max_by_key(|(_, h)| h.queued()).map(|(id, _)| (*id, Fault::Slow)),
            None => None,
        };
        if let Some((loser, fault)) = loser {
            self.traffic.sync.count(fault);
            links.remove(&loser).into_iter().for_each(Handle::cut);
        }
    }

    /// Closes a link once what was queued for it is written. Its `Closed` still comes.
    pub fn close(&self, link: LinkId) {
        self.links().remove(&link);
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<LinkId, Handle>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, address)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            match self.places.take(address.ip()) {
                Ok(place) => {
                    tokio::spawn(Arc::clone(&self).accepted(stream, address, place));
                }
                Err(fault) => self.traffic.sync.count(fault),
            }
        }
    }

    async fn accepted(self: Arc<Self>, stream: TcpStream, address: SocketAddr, _place: Place) {
        let _ = stream.set_nodelay(true);
        let Ok(Ok(stream)) = timeout(HANDSHAKE, self.acceptor.accept(stream)).await else {
            return self.traffic.sync.count(Fault::Handshake);
        };
        match tls::tcp_identity(stream.get_ref().1, ALPN_SYNC) {
            Some(peer) if self.faults.refuses_identity(Flow::Sync, &peer) => self.traffic.sync.count(Fault::Cut),
            Some(peer) => self.live(stream.into(), peer, Origin { address, dialed: false }).await,
            None => self.traffic.sync.count(Fault::NotIdentified),
        }
    }

    async fn connect(
        &self,
        expect: Pubkey,
        address: SocketAddr,
    ) -> Result<(TlsStream<TcpStream>, OwnedSemaphorePermit), Fault> {
        if self.faults.refuses_identity(Flow::Sync, &expect) || self.faults.refuses_address(Flow::Sync, address) {
            return Err(Fault::Cut);
        }
        let place = Arc::clone(&self.dials).try_acquire_owned().map_err(|_| Fault::LinksFull)?;
        let name = ServerName::try_from("localhost").expect("a host's name");
        let connecting = async {
            let stream = TcpStream::connect(address).await.map_err(|_| Fault::Unreachable)?;
            let _ = stream.set_nodelay(true);
            self.connector.connect(name, stream).await.map_err(|_| Fault::Handshake)
        };
        let stream = timeout(HANDSHAKE, connecting).await.map_err(|_| Fault::Unreachable)??;
        match tls::tcp_identity(stream.get_ref().1, ALPN_SYNC) {
            Some(peer) if peer == expect => Ok((stream.into(), place)),
            Some(peer) => {
                tracing::warn!(%address, %peer, %expect, "another identity answers at a peer's address");
                Err(Fault::OtherIdentity)
            }
            None => Err(Fault::NotIdentified),
        }
    }

    /// The life of a link whose peer is known.
    async fn live(&self, stream: TlsStream<TcpStream>, peer: Pubkey, origin: Origin) {
        let id = LinkId::new(self.next.fetch_add(1, Ordering::Relaxed));
        let (handle, orders) = link::handle();
        let Origin { address, dialed } = origin;
        self.links().insert(id, handle);
        let _open = self.traffic.sync.open(dialed);
        if self.lanes.sync(Input::Opened { link: id, peer, address, dialed }).await {
            let link = Link {
                id,
                lanes: &self.lanes,
                traffic: &self.traffic,
                frame_bytes_max: self.limits.frame_bytes_max,
                room: (!dialed).then_some(&self.room),
            };
            let ended = tokio::select! {
                ended = link.run(stream, orders) => ended,
                () = self.faults.cut(Flow::Sync, &peer) => Ended::Fault(Fault::Cut),
            };
            match ended {
                Ended::Fault(fault) => self.traffic.sync.count(fault),
                Ended::Over => {}
            }
            self.lanes.sync(Input::Closed { link: id }).await;
        }
        self.links().remove(&id);
    }
}

/// Where a link comes from.
struct Origin {
    address: SocketAddr,
    dialed: bool,
}
