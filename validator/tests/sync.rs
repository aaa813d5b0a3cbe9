//! The transport of bulk sync over real TCP and TLS on loopback: identities, frames, and peers that behave badly.

use bytes::Bytes;
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};
use sundog_turbine::sync::{Input as Sync, LinkId};
use sundog_validator::{
    io::{
        faults::{Faults, Flow, PeerRules, Rules},
        lanes::{Ends, Lanes},
        sync::{ALPN_SYNC, Fault, SyncLimits, SyncNet},
        tls::Credentials,
        traffic::{Traffic, Way},
    },
    node::Input,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

const DEADLINE: Duration = Duration::from_secs(60);
const FRAME_BYTES_MAX: usize = 10_000_000;

/// A node that does nothing on its own.
struct Node {
    identity: Keypair,
    net: Arc<SyncNet>,
    address: SocketAddr,
    traffic: Arc<Traffic>,
    ends: Ends,
    arrived: VecDeque<Input>,
}

impl Node {
    fn start(seed: u8) -> Self {
        Self::with_faults(seed, Faults::off())
    }

    fn with_faults(seed: u8, faults: Faults) -> Self {
        let identity = Keypair::new_from_array([seed; 32]);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let address = listener.local_addr().expect("it is bound");
        let (lanes, ends) = Lanes::new();
        let traffic = Arc::new(Traffic::default());
        let credentials = Credentials::new(&identity).expect("a certificate");
        let limits = SyncLimits::default();
        let net = SyncNet::start(listener, &credentials, lanes, Arc::clone(&traffic), (limits, faults));
        let net = net.expect("it starts");
        Self { identity, net, address, traffic, ends, arrived: VecDeque::new() }
    }

    /// What arrives next.
    fn next(&mut self) -> Sync {
        let deadline = Instant::now() + DEADLINE;
        while self.arrived.is_empty() {
            assert!(Instant::now() < deadline, "nothing arrived in time");
            let mut taken = Vec::new();
            tokio::task::block_in_place(|| assert!(self.ends.take(Duration::from_millis(50), &mut taken)));
            self.arrived.extend(taken);
        }
        let Some(Input::Sync(input)) = self.arrived.pop_front() else { panic!("not of bulk sync") };
        input
    }

    fn opened(&mut self) -> LinkId {
        match self.next() {
            Sync::Opened { link, .. } => link,
            other => panic!("not opened but {other:?}"),
        }
    }

    fn frame(&mut self) -> Bytes {
        match self.next() {
            Sync::Frame { bytes, .. } => bytes,
            other => panic!("not a frame but {other:?}"),
        }
    }

    fn closed(&mut self) -> LinkId {
        match self.next() {
            Sync::Closed { link } => link,
            other => panic!("not closed but {other:?}"),
        }
    }

    async fn counted(&self, fault: Fault, times: u64) {
        until(|| self.traffic.sync.faults(fault) >= times).await;
        assert_eq!(self.traffic.sync.faults(fault), times, "{}", fault.name());
    }
}

/// Lets others run until this is so.
async fn until(so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !so() {
        assert!(Instant::now() < deadline, "it did not come about in time");
        tokio::task::yield_now().await;
    }
}

/// Two nodes and the link that the first opened to the second, as each of them knows it.
fn linked() -> (Node, Node, LinkId, LinkId) {
    let (mut a, mut b) = (Node::start(1), Node::start(2));
    a.net.dial(b.identity.pubkey(), b.address);
    let (at_a, at_b) = (a.opened(), b.opened());
    (a, b, at_a, at_b)
}

/// A peer that speaks TLS as it should, and then does what the test wants.
async fn raw(to: SocketAddr, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let credentials = Credentials::new(&Keypair::new_from_array([9; 32])).expect("a certificate");
    let connector = TlsConnector::from(credentials.tls_client(alpn).expect("a configuration"));
    let stream = TcpStream::connect(to).await?;
    connector.connect(ServerName::try_from("localhost").expect("a name"), stream).await
}

fn body(number: usize, length: usize) -> Bytes {
    Bytes::from(vec![number as u8; length])
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_know_who_the_other_is() {
    let (mut a, mut b) = (Node::start(1), Node::start(2));
    a.net.dial(b.identity.pubkey(), b.address);
    let Sync::Opened { peer, address, dialed, .. } = a.next() else { panic!("not opened") };
    assert_eq!((peer, address, dialed), (b.identity.pubkey(), b.address, true));
    let Sync::Opened { peer, address, dialed, .. } = b.next() else { panic!("not opened") };
    assert_eq!((peer, address.ip(), dialed), (a.identity.pubkey(), a.address.ip(), false));
    assert_eq!((a.traffic.sync.dialed(), b.traffic.sync.accepted()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_cuts_a_live_link_and_new_ones_either_way_until_it_is_lifted() {
    let faults = Faults::on(&Rules::default()).expect("no rules can be followed");
    let (mut a, mut b) = (Node::with_faults(1, faults.clone()), Node::start(2));
    a.net.dial(b.identity.pubkey(), b.address);
    let (at_a, at_b) = (a.opened(), b.opened());
    a.net.send(at_a, body(1, 100));
    assert_eq!(b.frame(), body(1, 100));

    // Only one end knows of the block, and only what it hears is blocked: TCP needs both ways.
    let identity = b.identity.pubkey().to_string();
    let unheard = [Flow::Sync].into();
    let peers = vec![PeerRules { identity, addresses: vec![b.address], unheard, ..PeerRules::default() }];
    faults.set(&Rules { order: 1, peers }).expect("these rules can be followed");
    assert_eq!((a.closed(), b.closed()), (at_a, at_b));
    a.counted(Fault::Cut, 1).await;

    a.net.dial(b.identity.pubkey(), b.address);
    let refused = a.next();
    assert!(matches!(refused, Sync::DialFailed { peer, .. } if peer == b.identity.pubkey()), "{refused:?}");
    a.counted(Fault::Cut, 2).await;
    b.net.dial(a.identity.pubkey(), a.address);
    let at_b = b.opened();
    assert_eq!(b.closed(), at_b, "it is cut once it has said who it is");
    a.counted(Fault::Cut, 3).await;

    faults.set(&Rules { order: 2, peers: Vec::new() }).expect("no rules can be followed");
    b.net.dial(a.identity.pubkey(), a.address);
    let (at_b, _) = (b.opened(), a.opened());
    b.net.send(at_b, body(2, 100));
    assert_eq!(a.frame(), body(2, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_any_size_come_whole_and_in_order_both_ways() {
    let (mut a, mut b, at_a, at_b) = linked();
    let lengths = [0, 1, FRAME_BYTES_MAX, 0, 65_536, 3];
    for (number, length) in lengths.into_iter().enumerate() {
        a.net.send(at_a, body(number, length));
        b.net.send(at_b, body(number, length));
    }
    for (number, length) in lengths.into_iter().enumerate() {
        assert!(b.frame() == body(number, length), "frame {number}");
        assert!(a.frame() == body(number, length), "frame {number}");
    }
    let bytes = lengths.iter().map(|length| 4 + *length as u64).sum();
    assert_eq!(b.traffic.counted(Way::SyncTcpIn), (6, bytes));
    until(|| a.traffic.counted(Way::SyncTcpOut) == (6, bytes)).await;
    assert_eq!(a.traffic.sync.queued(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_link_still_delivers_what_was_sent_on_it() {
    let (mut a, mut b, at_a, at_b) = linked();
    b.net.send(at_b, body(1, 5_000_000));
    b.net.close(at_b);
    b.net.send(at_b, body(2, 1));
    assert_eq!(a.frame().len(), 5_000_000);
    assert_eq!((a.closed(), b.closed()), (at_a, at_b));
    until(|| a.traffic.sync.dialed() + b.traffic.sync.accepted() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_claim_is_reported_and_its_sender_still_hears_why() {
    let mut node = Node::start(1);
    let peer = raw(node.address, ALPN_SYNC).await.expect("connects");
    let link = node.opened();
    let (mut read, mut write) = tokio::io::split(peer);
    let pumping = tokio::spawn(async move {
        let _ = write.write_all(&u32::MAX.to_le_bytes()).await;
        // More than the buffers of a connection hold.
        while write.write_all(&[7; 65_536]).await.is_ok() {}
    });
    let Sync::Oversized { link: of, bytes } = node.next() else { panic!("not oversized") };
    assert_eq!((of, bytes), (link, u32::MAX.into()));
    node.net.send(link, Bytes::from_static(b"too large"));
    node.net.close(link);
    let mut heard = [0; 13];
    read.read_exact(&mut heard).await.expect("the refusal arrives");
    assert_eq!(&heard, b"\x09\0\0\0too large");
    pumping.abort();
    drop(read);
    assert_eq!(node.closed(), link);
    node.counted(Fault::Oversized, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_other_protocols_are_no_links() {
    let node = Node::start(1);
    let mut garbage = TcpStream::connect(node.address).await.expect("connects");
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    let _ = garbage.read_to_end(&mut Vec::new()).await;
    node.counted(Fault::Handshake, 1).await;
    assert!(raw(node.address, b"solana-turbine").await.is_err());
    node.counted(Fault::Handshake, 2).await;
    assert_eq!(node.traffic.sync.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_read_is_cut_and_nothing_is_kept_for_it() {
    let mut node = Node::start(1);
    let _deaf = raw(node.address, ALPN_SYNC).await.expect("connects");
    let link = node.opened();
    let (mut sent, mut most) = (0, 0);
    while node.traffic.sync.faults(Fault::Slow) == 0 {
        assert!(sent < 1_000, "a gigabyte was taken for a peer that reads nothing");
        node.net.send(link, body(sent, 1_000_000));
        most = most.max(node.traffic.sync.queued());
        sent += 1;
    }
    assert!(most <= 64 << 20, "{most} bytes were queued");
    assert_eq!(node.closed(), link);
    until(|| node.traffic.sync.queued() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_takes_nothing_makes_its_peer_wait_and_loses_nothing() {
    let (a, mut b, at_a, _) = linked();
    for half in 0..2 {
        for number in 0..60 {
            a.net.send(at_a, body(60 * half + number, 1_000_000));
        }
        // The first half fits into the lane; the second one waits in front of it, at both ends of the connection.
        until(|| half == 1 || a.traffic.sync.queued() == 0).await;
    }
    for number in 0..120 {
        assert!(b.frame() == body(number, 1_000_000), "frame {number}");
    }
    assert_eq!(a.traffic.sync.faults(Fault::Slow), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_gets_its_connections_and_one_to_be_told_why_not_more() {
    let mut node = Node::start(1);
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.push(raw(node.address, ALPN_SYNC).await.expect("connects"));
        node.opened();
    }
    assert!(raw(node.address, ALPN_SYNC).await.is_err(), "closed before TLS");
    node.counted(Fault::AddressFull, 1).await;
    assert_eq!(node.traffic.sync.accepted(), 4);
    peers.pop();
    node.closed();
    until(|| node.traffic.sync.accepted() == 3).await;
    until_connected(&node).await;
    node.opened();
}

/// Connects; a place is given back a moment after its link is counted as closed.
async fn until_connected(node: &Node) {
    let deadline = Instant::now() + DEADLINE;
    while raw(node.address, ALPN_SYNC).await.is_err() {
        assert!(Instant::now() < deadline, "the place did not come back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_to_nobody_fails() {
    let mut node = Node::start(1);
    let dead = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a free port");
    let wanted = Keypair::new_from_array([2; 32]).pubkey();
    node.net.dial(wanted, dead);
    let Sync::DialFailed { peer, address } = node.next() else { panic!("not failed") };
    assert_eq!((peer, address), (wanted, dead));
    node.counted(Fault::Unreachable, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_that_finds_another_identity_fails() {
    let (mut node, other) = (Node::start(1), Node::start(2));
    let wanted = Keypair::new_from_array([3; 32]).pubkey();
    node.net.dial(wanted, other.address);
    let Sync::DialFailed { peer, address } = node.next() else { panic!("not failed") };
    assert_eq!((peer, address), (wanted, other.address));
    node.counted(Fault::OtherIdentity, 1).await;
    assert_eq!(node.traffic.sync.dialed(), 0);
}
