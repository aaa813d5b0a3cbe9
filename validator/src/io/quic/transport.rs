//! How connections behave: packet sizes, silence, buffers, resets, and what closes them.

use super::{Protocol, QuicError, QuicLimits};
use crate::io::{
    faults::QuicSocket,
    tls::{self, Credentials},
};
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, TransportConfig, VarInt,
    crypto::HmacKey,
};
use std::{sync::Arc, time::Duration};

/// The largest transaction (reference 1.1).
pub(super) const TRANSACTION_BYTES_MAX: usize = 1_232;
/// Initial and least packet size: a 1,228-byte shred fits one datagram from the first packet on, and path MTU
/// discovery, whose black-hole detection could shrink it, is off (reference 16.14).
const MTU: u16 = 1_280;
/// Streams that an incoming connection may have open (reference 9.3).
const STREAMS_MAX: u32 = 128;
/// Shreds that wait in a connection to be sent: some 1,700, more than one child is sent of a large block in the time
/// of a round trip around the world. Who takes longer is slow.
pub(super) const SEND_BUFFER_BYTES: usize = 2 << 20;
/// Shreds that arrived on a connection and were not read yet. They are read at once.
const RECEIVE_BUFFER_BYTES: usize = 2 << 20;
/// How soon a peer is noticed whose machine or network is gone. A peer that was only restarted answers the next packet
/// with a reset. Shreds sent until then come by repair.
const TURBINE_IDLE: Duration = Duration::from_secs(4);
/// How often a connection without traffic shows that it is there, and finds out that its peer was restarted.
const TURBINE_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Assumed until it is measured; a first packet that is lost is sent again after three times this.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(100);
/// The least time between two resets. A reset is shorter than what it answers, so that there can be many: all
/// peers of a restarted node want one.
const RESET_EVERY: Duration = Duration::from_millis(1);

/// Which side of a connection an endpoint is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Accepts,
    Dials,
}

impl Side {
    /// Clients may be silent for a minute (reference 9.3); who forwards wants to know soon that a leader is gone.
    const fn tpu_idle(self) -> Duration {
        match self {
            Self::Accepts => Duration::from_secs(60),
            Self::Dials => Duration::from_secs(6),
        }
    }
}

fn transport(protocol: Protocol, side: Side) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.initial_mtu(MTU).min_mtu(MTU).mtu_discovery_config(None).initial_rtt(INITIAL_ROUND_TRIP);
    match protocol {
        Protocol::Turbine => {
            transport
                .keep_alive_interval(Some(TURBINE_KEEP_ALIVE))
                .max_idle_timeout(IdleTimeout::try_from(TURBINE_IDLE).ok())
                .max_concurrent_uni_streams(VarInt::from_u32(0))
                .max_concurrent_bidi_streams(VarInt::from_u32(0))
                .datagram_receive_buffer_size(Some(RECEIVE_BUFFER_BYTES))
                .datagram_send_buffer_size(SEND_BUFFER_BYTES);
        }
        Protocol::Tpu => {
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

/// An endpoint that accepts and opens connections of a protocol.
pub(super) fn endpoint(
    protocol: Protocol,
    credentials: &Credentials,
    socket: QuicSocket,
    limits: &QuicLimits,
) -> Result<Endpoint, QuicError> {
    let mut server = quinn::ServerConfig::with_crypto(credentials.server(protocol.alpn())?);
    server.transport_config(transport(protocol, Side::Accepts)).max_incoming(limits.connections_max).migration(false);
    let runtime = Arc::new(quinn::TokioRuntime);
    let config = same_after_restart(protocol, credentials);
    let mut endpoint = Endpoint::new_with_abstract_socket(config, Some(server), socket.open()?, runtime)?;
    let mut client = quinn::ClientConfig::new(credentials.client(protocol.alpn())?);
    client.transport_config(transport(protocol, Side::Dials));
    endpoint.set_default_client_config(client);
    Ok(endpoint)
}

/// Reset tokens (RFC 9000, 10.3) come from the identity's key: a restarted process resets the connections of its former
/// life, and peers accept that. Each protocol has its own key, so that one port does not tell the tokens of another.
fn same_after_restart(protocol: Protocol, credentials: &Credentials) -> EndpointConfig {
    let key = credentials.secret(&[protocol.alpn(), b" resets"].concat());
    let mut config = EndpointConfig::new(Arc::new(ResetKey(key)));
    config.cid_generator(|| Box::new(Identifiers)).min_reset_interval(RESET_EVERY);
    config
}

/// Random connection identifiers. The library's own ones are marked by a key that each process draws anew, and packets
/// without the mark are not answered with a reset: those of a former life would time out.
struct Identifiers;

/// The length of an identifier, bytes.
const IDENTIFIER_BYTES: usize = 8;

impl ConnectionIdGenerator for Identifiers {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; IDENTIFIER_BYTES]>())
    }

    fn cid_len(&self) -> usize {
        IDENTIFIER_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Signs reset tokens.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&tls::hmac_sha256(&self.0, data));
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        // Tokens are only made with this key; whoever receives one compares it with what the handshake gave it.
        if tls::hmac_sha256(&self.0, data) == signature { Ok(()) } else { Err(quinn::crypto::CryptoError) }
    }
}

/// Why this node closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The process ends in good order.
    Shutdown,
    /// The peer is too slow.
    Slow,
    /// The certificate names nobody, or somebody else.
    Identity,
    /// A newer connection of the same identity takes its place.
    Replaced,
    /// Another connection needs its place.
    Pruned,
    /// Too many connections.
    TooMany,
    /// A stream that cannot be a transaction.
    Stream,
}

impl Closing {
    /// The code on the wire: of Turbine by reference 4.7, of transactions by reference 9.3.
    #[must_use]
    pub const fn code(self, protocol: Protocol) -> u32 {
        match (protocol, self) {
            (Protocol::Turbine, Self::Shutdown) => 1,
            (Protocol::Turbine, Self::Slow | Self::TooMany | Self::Stream) => 2,
            (Protocol::Turbine, Self::Identity) => 3,
            (Protocol::Turbine, Self::Replaced) => 4,
            (Protocol::Turbine, Self::Pruned) => 5,
            (Protocol::Tpu, Self::Shutdown | Self::Slow | Self::Replaced | Self::Pruned) => 1,
            (Protocol::Tpu, Self::Identity) => 2,
            (Protocol::Tpu, Self::TooMany) => 4,
            (Protocol::Tpu, Self::Stream) => 5,
        }
    }

    const fn reason(self) -> &'static [u8] {
        match self {
            Self::Shutdown => b"shutdown",
            Self::Slow => b"too slow",
            Self::Identity => b"invalid identity",
            Self::Replaced => b"replaced",
            Self::Pruned => b"pruned",
            Self::TooMany => b"too many",
            Self::Stream => b"invalid stream",
        }
    }

    /// Closes a connection.
    pub fn close(self, protocol: Protocol, connection: &quinn::Connection) {
        connection.close(VarInt::from_u32(self.code(protocol)), self.reason());
    }

    /// Closes all connections of an endpoint.
    pub(super) fn close_all(self, protocol: Protocol, endpoint: &Endpoint) {
        endpoint.close(VarInt::from_u32(self.code(protocol)), self.reason());
    }
}
