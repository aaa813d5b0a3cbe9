//! The fault point below QUIC: a socket of the library's with rules around it.

use super::{Fate, Faults, late::Exit, rules::Flow};
use bytes::Bytes;
use quinn::{
    AsyncUdpSocket, Runtime as _, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A bound socket for QUIC, and the faults that its packets may meet.
pub struct QuicSocket {
    socket: UdpSocket,
    faults: Faults,
    flow: Flow,
}

impl From<UdpSocket> for QuicSocket {
    fn from(socket: UdpSocket) -> Self {
        Self { socket, faults: Faults::off(), flow: Flow::Turbine }
    }
}

impl QuicSocket {
    /// A socket whose packets belong to this protocol.
    #[must_use]
    pub fn new(socket: UdpSocket, faults: &Faults, flow: Flow) -> Self {
        Self { socket, faults: faults.clone(), flow }
    }

    /// What the library works with. Without faults it is the library's own. Belongs into a Tokio runtime.
    ///
    /// # Errors
    /// If the socket is refused.
    pub fn open(self) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let inner = quinn::TokioRuntime.wrap_udp_socket(self.socket)?;
        match self.faults.order() {
            None => Ok(inner),
            Some(_) => Ok(Arc::new(Faulty { inner, faults: self.faults, flow: self.flow })),
        }
    }
}

#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn AsyncUdpSocket>,
    faults: Faults,
    flow: Flow,
}

impl AsyncUdpSocket for Faulty {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.faults.fate(self.flow, transmit.destination, transmit.contents.len()) {
            Fate::Now => self.inner.try_send(transmit),
            // To QUIC it is sent, and the network loses it.
            Fate::Never => Ok(()),
            Fate::Later(first, second) => {
                let bytes = Bytes::copy_from_slice(transmit.contents);
                for after in [Some(first), second].into_iter().flatten() {
                    let exit =
                        Exit::Quic { socket: Arc::clone(&self.inner), ecn: transmit.ecn, source: transmit.src_ip };
                    self.faults.later(after, transmit.destination, (bytes.clone(), exit));
                }
                Ok(())
            }
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for meta in &mut meta[..received] {
            if !self.faults.hears(self.flow, meta.addr) {
                // The library takes an empty buffer for no packet at all.
                meta.len = 0;
            }
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// One, so that every packet meets a fate of its own.
    fn max_transmit_segments(&self) -> usize {
        1
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
