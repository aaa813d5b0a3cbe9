//! Connections of peers: who may come, how much they may send, and where that goes.

use super::{
    Closing, Dialer, Port, Protocol,
    guests::{Admitted, Beyond, Guests, SharedBucket},
    transport::TRANSACTION_BYTES_MAX,
};
use crate::{
    io::{
        lanes::{Lane, Lanes},
        standing::StandingOf,
        tls,
        traffic::{Refused, Way},
    },
    node::Input,
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use quinn::{Connection, Incoming, RecvStream};
use std::{
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use sundog_gulfstream::Source;
use sundog_turbine::Sender;
use sundog_types::Pubkey;

/// How long a handshake or a stream may take (reference 9.3).
const HANDSHAKE: Duration = Duration::from_secs(2);
/// Transactions of one peer that go to the node together.
const TOGETHER_MAX: usize = 64;
/// How often a connection's rate follows the stake.
const RATE_EVERY: Duration = Duration::from_secs(1);

/// Accepts connections and hands what they carry to the node.
pub struct Acceptor {
    port: Port,
    lanes: Lanes,
    standing_of: Arc<StandingOf>,
    dialer: Arc<Dialer>,
    guests: Mutex<Guests<Connection>>,
}

impl Acceptor {
    /// An acceptor with no connections. It tells the dialer of the same port who is there.
    #[must_use]
    pub fn new(port: Port, lanes: Lanes, standing_of: Arc<StandingOf>, dialer: Arc<Dialer>) -> Arc<Self> {
        let beyond = match port.protocol {
            Protocol::Turbine => Beyond::Replace,
            Protocol::Tpu => Beyond::Refuse,
        };
        let guests = Mutex::new(Guests::new(port.limits, beyond));
        Arc::new(Self { port, lanes, standing_of, dialer, guests })
    }

    fn guests(&self) -> MutexGuard<'_, Guests<Connection>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts until the endpoint is closed.
    pub async fn run(self: Arc<Self>) {
        let handshakes = Arc::new(());
        while let Some(incoming) = self.port.endpoint.accept().await {
            let under_way = Arc::strong_count(&handshakes) - 1;
            let Some((incoming, address)) = self.greet(incoming, under_way) else { continue };
            let (acceptor, handshake) = (Arc::clone(&self), Arc::clone(&handshakes));
            tokio::spawn(async move {
                let shaken = tokio::time::timeout(HANDSHAKE, incoming).await;
                drop(handshake);
                match shaken {
                    Ok(Ok(connection)) => acceptor.admit(&connection).await,
                    _ => acceptor.port.traffic.refuse(Refused::Handshake),
                }
                acceptor.guests().part(address);
            });
        }
    }

    /// Looks at the cheap limits before any cryptography.
    fn greet(&self, incoming: Incoming, under_way: usize) -> Option<(Incoming, IpAddr)> {
        let (limits, traffic) = (&self.port.limits, &self.port.traffic);
        if self.port.endpoint.open_connections() >= limits.connections_max {
            traffic.refuse(Refused::Connection);
            incoming.refuse();
            return None;
        }
        // Addresses are made up for nothing in a flood of handshakes; one that proves its own costs a round trip.
        if under_way >= limits.unproven_handshakes_max && !incoming.remote_address_validated() {
            let _ = incoming.retry();
            return None;
        }
        let address = incoming.remote_address().ip().to_canonical();
        let greeted = self.guests().greet(address);
        if let Err(why) = greeted {
            traffic.refuse(why);
            incoming.refuse();
            return None;
        }
        Some((incoming, address))
    }

    async fn admit(&self, connection: &Connection) {
        let protocol = self.port.protocol;
        let Some(peer) = tls::peer_identity(connection) else {
            self.port.traffic.refuse(Refused::Identity);
            Closing::Identity.close(protocol, connection);
            return;
        };
        let staked = (self.standing_of)(&peer).stake > 0;
        let entered = self.guests().enter(peer, staked, connection.clone());
        let Admitted { number, bucket, replaced } = match entered {
            Ok(admitted) => admitted,
            Err(why) => {
                self.port.traffic.refuse(why);
                Closing::TooMany.close(protocol, connection);
                return;
            }
        };
        if let Some(replaced) = replaced {
            self.port.traffic.refuse(Refused::ConnectionOfIdentity);
            Closing::Replaced.close(protocol, &replaced);
        }
        self.dialer.alive(&peer);
        match protocol {
            Protocol::Turbine => self.datagrams(connection, peer, &bucket).await,
            Protocol::Tpu => self.streams(connection, peer).await,
        }
        self.guests().leave(&peer, staked, number);
    }

    async fn datagrams(&self, connection: &Connection, peer: Pubkey, bucket: &SharedBucket) {
        let rate_of = || self.port.limits.rate((self.standing_of)(&peer));
        let (mut rate, mut since) = (rate_of(), Instant::now());
        while let Ok(datagram) = connection.read_datagram().await {
            // A copy of its own: the datagram is a slice of a receive buffer fifty times as large, which it would keep.
            let bytes = Bytes::copy_from_slice(&datagram);
            self.port.traffic.count(Way::TurbineQuicIn, bytes.len());
            let now = Instant::now();
            if now.saturating_duration_since(since) >= RATE_EVERY {
                (rate, since) = (rate_of(), now);
            }
            if !bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now, rate) {
                self.port.traffic.refuse(Refused::DatagramRate);
                continue;
            }
            self.lanes.offer(Lane::Shreds, Input::Shred { from: Sender::Peer(peer), bytes });
        }
    }

    /// Reads one transaction from each stream. Those that are there already go to the node together: a datagram may hold
    /// several, and those of a busy client wait in line.
    async fn streams(&self, connection: &Connection, peer: Pubkey) {
        let mut packets = Vec::new();
        while let Ok(stream) = connection.accept_uni().await {
            let mut next = Some(stream);
            while let Some(stream) = next {
                if !self.read_in(stream, peer, &mut packets).await {
                    self.hand_in(peer, &mut packets);
                    self.port.traffic.refuse(Refused::Stream);
                    Closing::Stream.close(Protocol::Tpu, connection);
                    return;
                }
                let more = packets.len() < TOGETHER_MAX;
                next = more.then(|| connection.accept_uni().now_or_never()).flatten().and_then(Result::ok);
            }
            self.hand_in(peer, &mut packets);
        }
    }

    /// Reads a stream to its end; what was read before does not wait for it. False if the peer breaks the protocol.
    async fn read_in(&self, mut stream: RecvStream, peer: Pubkey, packets: &mut Vec<Bytes>) -> bool {
        let mut reading = pin!(tokio::time::timeout(HANDSHAKE, stream.read_to_end(TRANSACTION_BYTES_MAX)));
        let read = match reading.as_mut().now_or_never() {
            Some(read) => read,
            None => {
                self.hand_in(peer, packets);
                reading.await
            }
        };
        match read {
            Ok(Ok(bytes)) if bytes.is_empty() => return false,
            Ok(Ok(bytes)) => packets.push(Bytes::from(bytes)),
            Ok(Err(quinn::ReadToEndError::TooLong)) => return false,
            Ok(Err(_)) | Err(_) => self.port.traffic.refuse(Refused::Stream),
        }
        true
    }

    fn hand_in(&self, peer: Pubkey, packets: &mut Vec<Bytes>) {
        if packets.is_empty() {
            return;
        }
        let packets = std::mem::take(packets);
        packets.iter().for_each(|packet| self.port.traffic.count(Way::TpuQuicIn, packet.len()));
        // A peer that gossip knows as a node forwards; everybody else is a client.
        let source = match (self.standing_of)(&peer).known {
            true => Source::Forwarded(peer),
            false => Source::Client(Some(peer)),
        };
        self.lanes.offer(Lane::Transactions, Input::Transactions { source, packets });
    }
}
