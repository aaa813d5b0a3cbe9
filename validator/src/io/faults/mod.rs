//! Faults on purpose: what a node does to its own packets, so that a cluster on one machine can be partitioned, slowed and
//! made lossy without root and without containers.
//!
//! ```text
//!            rules: one JSON line at a time on standard input, whole tables
//!                                   |
//!  node --> UDP socket -----> [ fault point ] --> now, later, twice or never --> network
//!       --> QUIC --> packets > [            ]
//!  node <-- UDP, QUIC <------ [            ] <-- heard or not <----------------- network
//!       <-> TCP of bulk sync and IP echo: refused and cut while either way is blocked
//! ```
//!
//! - Off unless the node is started with `faults`; then [`Faults`] holds nothing, and asking it is one comparison.
//! - Peers are named by every address that their packets leave from, and by their identity for TCP, whose ports are
//!   chosen anew for each connection. Nodes that share an IP address are told apart by their ports.
//! - A block can be laid on what is heard and on what is sent. Everything else is the sender's: loss, delay, duplicates,
//!   a rate.
//! - It acts below QUIC, on packets: QUIC sees a network that loses them.

mod late;
mod orders;
mod quic;
mod rules;
mod table;

pub use orders::follow;
pub use quic::QuicSocket;
pub use rules::{Flow, LINE_BYTES_MAX, PeerRules, Rules, RulesError, Treatment};

use arc_swap::ArcSwap;
use bytes::Bytes;
use late::{Exit, Late};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use sundog_types::Pubkey;
use table::Table;
use tokio::sync::{mpsc, watch};

sundog_types::reasons! {
    /// What was done to packets and connections on purpose.
    pub enum Done {
        /// A packet was not heard, because its sender is blocked.
        Unheard = "unheard",
        /// A packet was not sent, because its receiver is blocked.
        Blocked = "blocked",
        /// A packet was lost by chance.
        Lost = "lost",
        /// A packet was sent later.
        Delayed = "delayed",
        /// A packet was sent twice.
        Duplicated = "duplicated",
        /// A packet that was to be sent later found no place to wait, or its link's rate is exceeded.
        Overflowed = "overflowed",
        /// A connection over TCP was refused or cut.
        Cut = "cut",
    }
}

/// A node's fault point. Clones are the same one.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Point>>);

struct Point {
    table: ArcSwap<Table>,
    changed: watch::Sender<u64>,
    late: mpsc::Sender<Late>,
    done: [AtomicU64; Done::COUNT],
}

/// What becomes of a packet that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is sent at once.
    Now,
    /// It is not sent.
    Never,
    /// It is sent after this time, and perhaps again after another.
    Later(Duration, Option<Duration>),
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Faults(on)" } else { "Faults(off)" })
    }
}

impl Faults {
    /// No faults, ever.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Faults by these rules until others are set. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// If the rules cannot be followed.
    pub fn on(rules: &Rules) -> Result<Self, RulesError> {
        let table = Table::new(rules)?;
        let (changed, _) = watch::channel(rules.order);
        let late = late::start();
        Ok(Self(Some(Arc::new(Point { table: ArcSwap::from_pointee(table), changed, late, done: Default::default() }))))
    }

    /// Replaces all rules.
    ///
    /// # Errors
    /// If they cannot be followed, or faults are off; then the old ones hold.
    pub fn set(&self, rules: &Rules) -> Result<(), RulesError> {
        let point = self.0.as_ref().ok_or(RulesError::Off)?;
        point.table.store(Arc::new(Table::new(rules)?));
        point.changed.send_replace(rules.order);
        Ok(())
    }

    /// The number of the rules in force; `None` if faults are off.
    #[must_use]
    pub fn order(&self) -> Option<u64> {
        self.0.as_ref().map(|point| point.table.load().order())
    }

    /// How often something was done.
    #[must_use]
    pub fn done(&self, what: Done) -> u64 {
        self.0.as_ref().map_or(0, |point| point.done[what as usize].load(Ordering::Relaxed))
    }

    /// Whether a packet that has arrived is heard.
    #[must_use]
    pub fn hears(&self, flow: Flow, from: SocketAddr) -> bool {
        let Some(point) = &self.0 else { return true };
        let hears = point.table.load().hears(flow, from);
        if !hears {
            point.count(Done::Unheard);
        }
        hears
    }

    /// What becomes of a packet that is to be sent.
    #[must_use]
    pub fn fate(&self, flow: Flow, to: SocketAddr, bytes: usize) -> Fate {
        let Some(point) = &self.0 else { return Fate::Now };
        let (fate, done) = point.table.load().fate((flow, to), bytes, Instant::now());
        done.into_iter().flatten().for_each(|what| point.count(what));
        fate
    }

    /// Sends a datagram after some time.
    pub fn send_later(&self, after: Duration, socket: &Arc<std::net::UdpSocket>, (to, bytes): (SocketAddr, &[u8])) {
        self.later(after, to, (Bytes::copy_from_slice(bytes), Exit::Udp(Arc::clone(socket))));
    }

    fn later(&self, after: Duration, to: SocketAddr, (bytes, exit): (Bytes, Exit)) {
        let Some(point) = &self.0 else { return };
        let late = Late { due: Instant::now() + after, to, bytes, exit };
        if point.late.try_send(late).is_err() {
            point.count(Done::Overflowed);
        }
    }

    /// Whether a connection over TCP to this address is refused: TCP needs both ways.
    #[must_use]
    pub fn refuses_address(&self, flow: Flow, peer: SocketAddr) -> bool {
        self.refuses(|table| table.cuts_address(flow, peer))
    }

    /// Whether a connection over TCP with this identity is refused.
    #[must_use]
    pub fn refuses_identity(&self, flow: Flow, peer: &Pubkey) -> bool {
        self.refuses(|table| table.cuts_identity(flow, peer))
    }

    fn refuses(&self, cuts: impl Fn(&Table) -> bool) -> bool {
        let Some(point) = &self.0 else { return false };
        let refused = cuts(&point.table.load());
        if refused {
            point.count(Done::Cut);
        }
        refused
    }

    /// Waits until connections over TCP with this identity are refused; for ever if faults are off.
    pub async fn cut(&self, flow: Flow, peer: &Pubkey) {
        let Some(point) = &self.0 else { return std::future::pending().await };
        let mut changed = point.changed.subscribe();
        while !self.refuses_identity(flow, peer) {
            if changed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

impl Point {
    fn count(&self, what: Done) {
        self.done[what as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn address(socket: &UdpSocket) -> SocketAddr {
        socket.local_addr().expect("bound")
    }

    fn bind() -> Arc<UdpSocket> {
        Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a free port"))
    }

    fn rules(order: u64, to: SocketAddr, treatment: Treatment) -> Rules {
        let outbound = Flow::ALL.into_iter().map(|flow| (flow, treatment)).collect();
        let peer = PeerRules {
            identity: Pubkey::default().to_string(),
            addresses: vec![to],
            outbound,
            ..PeerRules::default()
        };
        Rules { order, peers: vec![peer] }
    }

    #[test]
    fn without_faults_everything_passes_and_no_rules_are_taken() {
        let (faults, to) = (Faults::off(), SocketAddr::from(([127, 0, 0, 1], 1)));
        assert_eq!(faults.fate(Flow::Gossip, to, 1), Fate::Now);
        assert!(faults.hears(Flow::Gossip, to) && !faults.refuses_address(Flow::Sync, to));
        assert!(matches!(faults.set(&Rules::default()), Err(RulesError::Off)));
        assert_eq!(faults.order(), None);
    }

    #[tokio::test]
    async fn rules_that_cannot_be_followed_leave_the_old_ones_in_force() {
        let to = SocketAddr::from(([127, 0, 0, 1], 1));
        let faults = Faults::on(&rules(1, to, Treatment { block: true, ..Treatment::default() })).expect("good rules");
        assert_eq!((faults.fate(Flow::Votes, to, 1), faults.done(Done::Blocked)), (Fate::Never, 1));
        let bad = rules(2, to, Treatment { loss_percent: 101.0, ..Treatment::default() });
        assert!(faults.set(&bad).is_err());
        assert_eq!(faults.order(), Some(1));
        assert_eq!(faults.fate(Flow::Votes, to, 1), Fate::Never);
        faults.set(&Rules { order: 3, peers: Vec::new() }).expect("good rules");
        assert_eq!((faults.order(), faults.fate(Flow::Votes, to, 1)), (Some(3), Fate::Now));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_delayed_datagram_arrives_and_one_sent_meanwhile_overtakes_it() {
        let (here, there) = (bind(), bind());
        let to = address(&there);
        let faults = Faults::on(&rules(1, to, Treatment { delay_ms: 60, ..Treatment::default() })).expect("good rules");
        let Fate::Later(after, None) = faults.fate(Flow::Gossip, to, 1) else { panic!("it is delayed") };
        let begun = Instant::now();
        faults.send_later(after, &here, (to, b"late"));
        here.send_to(b"soon", to).expect("sent");
        let (mut bytes, mut heard) = ([0; 8], Vec::new());
        for _ in 0..2 {
            let length = there.recv(&mut bytes).expect("it arrives");
            heard.push(bytes[..length].to_vec());
        }
        assert_eq!(heard, [b"soon", b"late"]);
        assert!(begun.elapsed() >= Duration::from_millis(60));
        assert_eq!(faults.done(Done::Delayed), 1);
    }

    #[tokio::test]
    async fn a_connection_is_cut_when_its_peer_is_blocked_and_not_before() {
        let (peer, to) = (Pubkey::default(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let faults = Faults::on(&Rules::default()).expect("good rules");
        assert!(!faults.refuses_identity(Flow::Sync, &peer));
        let waiting = {
            let faults = faults.clone();
            tokio::spawn(async move { faults.cut(Flow::Sync, &peer).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        faults.set(&rules(1, to, Treatment { block: true, ..Treatment::default() })).expect("good rules");
        waiting.await.expect("it ends");
        assert!(faults.refuses_address(Flow::Sync, to));
    }
}
