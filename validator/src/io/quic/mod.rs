//! QUIC: shreds as datagrams between identities, transactions on streams.
//!
//! ```text
//!            +-- Port: endpoint, limits, counters --+
//!  node ---> | Dialer    links, warm and on demand  | ---> peers
//!            |    ^ "it is alive"                   |
//!  lanes <-- | Acceptor  guests, rates              | <--- peers
//!            +--------------------------------------+
//! ```

mod acceptor;
mod dialer;
mod guests;
mod limits;
mod links;
mod transport;

pub use acceptor::Acceptor;
pub use dialer::Dialer;
pub use limits::QuicLimits;
pub use transport::Closing;

use super::{
    faults::QuicSocket,
    tls::{Credentials, TlsError},
    traffic::Traffic,
};
use quinn::Endpoint;
use std::{sync::Arc, time::Duration};

/// The protocol of shred datagrams (reference 4.7).
pub const ALPN_TURBINE: &[u8] = b"solana-turbine";
/// The protocol of transaction streams (reference 9.3).
pub const ALPN_TPU: &[u8] = b"solana-tpu";

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

/// An endpoint that accepts and opens connections of a protocol, and what holds for all of them.
#[derive(Clone)]
pub struct Port {
    protocol: Protocol,
    endpoint: Endpoint,
    limits: QuicLimits,
    traffic: Arc<Traffic>,
}

impl Port {
    /// Opens an endpoint on a bound, non-blocking socket. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// If the certificate or the socket is refused.
    pub fn open(
        protocol: Protocol,
        credentials: &Credentials,
        socket: impl Into<QuicSocket>,
        traffic: Arc<Traffic>,
        limits: QuicLimits,
    ) -> Result<Self, QuicError> {
        let endpoint = transport::endpoint(protocol, credentials, socket.into(), &limits)?;
        Ok(Self { protocol, endpoint, limits, traffic })
    }

    /// Closes all connections with [`Closing::Shutdown`], so that peers know at once, and accepts no more.
    pub fn close(&self) {
        Closing::Shutdown.close_all(self.protocol, &self.endpoint);
    }

    /// Waits until the peers have been told that the connections are closed, but not for longer than this.
    pub async fn told(&self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.endpoint.wait_idle()).await;
    }
}
