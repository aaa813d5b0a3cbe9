//! What the transport of bulk sync counts: links that are open, and what it refused or gave up, by name.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

sundog_types::reasons! {
    /// Why a connection was not made, or a link was ended by this side.
    pub enum Fault {
        /// Too many connections from one address.
        AddressFull = "address_full",
        /// Too many connections in all.
        LinksFull = "links_full",
        /// TLS did not come about: another protocol, no certificate, or too slow.
        Handshake = "handshake",
        /// The peer does not speak bulk sync, or has no Ed25519 identity.
        NotIdentified = "not_identified",
        /// Somebody else answers at the peer's address.
        OtherIdentity = "other_identity",
        /// Nobody answers at the peer's address.
        Unreachable = "unreachable",
        /// A frame is larger than frames may be.
        Oversized = "oversized",
        /// Nothing was heard for too long.
        Silent = "silent",
        /// A frame took too long to arrive.
        Stalled = "stalled",
        /// The peer reads too slowly what is sent to it.
        Slow = "slow",
        /// The connection broke off.
        Lost = "lost",
        /// Fault injection cuts it.
        Cut = "cut",
    }
}

/// The counters.
#[derive(Debug, Default)]
pub struct Tally {
    accepted: AtomicUsize,
    dialed: AtomicUsize,
    pub(super) queued: Arc<AtomicUsize>,
    faults: [AtomicU64; Fault::COUNT],
}

impl Tally {
    /// Links open now that peers opened.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Links open now that this node opened.
    #[must_use]
    pub fn dialed(&self) -> usize {
        self.dialed.load(Ordering::Relaxed)
    }

    /// Bytes of frames that wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// How often this happened.
    #[must_use]
    pub fn faults(&self, fault: Fault) -> u64 {
        self.faults[fault as usize].load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, fault: Fault) {
        self.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A link is open as long as the answer lives.
    pub(super) fn open(&self, dialed: bool) -> Open<'_> {
        let open = if dialed { &self.dialed } else { &self.accepted };
        open.fetch_add(1, Ordering::Relaxed);
        Open(open)
    }
}

/// A link that is counted as open.
pub(super) struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
