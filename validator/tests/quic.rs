//! Shreds and transactions over real QUIC on loopback: certificates of both kinds, full-size datagrams, loss.

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use sundog_gulfstream::Source;
use sundog_turbine::{Route, Sender};
use sundog_validator::{
    io::{
        faults::{Done, Faults, Flow, PeerRules, QuicSocket, Rules},
        lanes::{Ends, Lanes},
        quic::{Acceptor, Dialer, Port, Protocol, QuicLimits},
        standing::Standing,
        tls::Credentials,
        traffic::{Ended, Refused, Traffic, Unsent, Way},
        udp::{self, Arrival, Outgoing},
    },
    node::Input,
};

const DEADLINE: Duration = Duration::from_secs(60);
/// The largest shred.
const SHRED_BYTES: usize = 1_228;
/// No peer is limited by its rate.
const FAST: QuicLimits = QuicLimits { unstaked_per_second: 1_000_000, ..QuicLimits::DEFAULT };

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.set_nonblocking(true).expect("a socket can be made non-blocking");
    socket
}

/// A peer: it accepts, and it dials.
struct Peer {
    address: SocketAddr,
    port: Port,
    dialer: Arc<Dialer>,
    lanes: Lanes,
    traffic: Arc<Traffic>,
}

impl Peer {
    /// A peer on a socket; what it receives comes out of the lanes.
    fn on(protocol: Protocol, credentials: &Credentials, socket: UdpSocket, limits: QuicLimits) -> (Self, Ends) {
        Self::at_risk(protocol, credentials, (socket, &Faults::off()), limits)
    }

    /// The same with faults below QUIC.
    fn at_risk(
        protocol: Protocol,
        credentials: &Credentials,
        (socket, faults): (UdpSocket, &Faults),
        limits: QuicLimits,
    ) -> (Self, Ends) {
        let address = socket.local_addr().expect("it is bound");
        let socket = QuicSocket::new(socket, faults, Flow::Turbine);
        let traffic = Arc::new(Traffic::default());
        let port = Port::open(protocol, credentials, socket, Arc::clone(&traffic), limits).expect("a port");
        let (lanes, ends) = Lanes::new();
        let dialer = Dialer::new(port.clone());
        let standing = Arc::new(|_: &_| Standing::default());
        tokio::spawn(Acceptor::new(port.clone(), lanes.clone(), standing, Arc::clone(&dialer)).run());
        (Self { address, port, dialer, lanes, traffic }, ends)
    }

    /// A peer that speaks Turbine on a free port.
    fn turbine(identity: &Keypair, limits: QuicLimits) -> (Self, Ends) {
        Self::on(Protocol::Turbine, &credentials(identity), socket(), limits)
    }

    async fn eventually(&self, what: &str, holds: impl Fn(&Traffic) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds(&self.traffic) {
            assert!(Instant::now() < deadline, "{what}: never");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn credentials(identity: &Keypair) -> Credentials {
    Credentials::new(identity).expect("a certificate")
}

fn key(number: u8) -> Keypair {
    Keypair::new_from_array([number; 32])
}

fn shred(number: usize) -> Bytes {
    let mut shred = vec![0; SHRED_BYTES];
    shred[..8].copy_from_slice(&number.to_le_bytes());
    Bytes::from(shred)
}

/// A server of one identity; what it receives comes out of the lanes.
fn serve(protocol: Protocol, credentials: &Credentials) -> (SocketAddr, Ends) {
    let (peer, ends) = Peer::on(protocol, credentials, socket(), FAST);
    (peer.address, ends)
}

fn dial(protocol: Protocol, credentials: &Credentials) -> Arc<Dialer> {
    let traffic = Arc::new(Traffic::default());
    Dialer::new(Port::open(protocol, credentials, socket(), traffic, QuicLimits::DEFAULT).expect("a port"))
}

/// What arrives, until `enough` says so.
async fn receive(ends: Ends, mut enough: impl FnMut(&[Input]) -> bool + Send + 'static) -> Vec<Input> {
    let wait = move || {
        let deadline = Instant::now() + DEADLINE;
        let mut taken = Vec::new();
        while !enough(&taken) {
            assert!(Instant::now() < deadline, "only {} inputs arrived in time", taken.len());
            assert!(ends.take(Duration::from_millis(50), &mut taken), "the server ended");
        }
        taken
    };
    tokio::task::spawn_blocking(wait).await.expect("no panic")
}

async fn one_transaction(client: &Credentials, server: &Credentials, (from, to): (&Keypair, &Keypair)) {
    let (address, ends) = serve(Protocol::Tpu, server);
    // The dialer lives until the transaction is there: dropping it closes its connections at once.
    let dialer = dial(Protocol::Tpu, client);
    dialer.send(address, Some(to.pubkey()), Bytes::from_static(b"a transaction"));
    let taken = receive(ends, |taken| !taken.is_empty()).await;
    drop(dialer);
    let Input::Transactions { source, packets } = &taken[0] else { panic!("not a transaction") };
    assert_eq!((*source, &packets[0][..]), (Source::Client(Some(from.pubkey())), &b"a transaction"[..]));
}

const CLIENT: [u8; 32] = [1; 32];
const SERVER: [u8; 32] = [2; 32];

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_stock_certificate_is_served() {
    let (client, server) = (Keypair::new_from_array(CLIENT), Keypair::new_from_array(SERVER));
    let stock = Credentials::with_invalid_signature(&client).expect("a certificate");
    let own = Credentials::new(&server).expect("a certificate");
    one_transaction(&stock, &own, (&client, &server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_stock_certificate_is_sent_to() {
    let (client, server) = (Keypair::new_from_array(CLIENT), Keypair::new_from_array(SERVER));
    let own = Credentials::new(&client).expect("a certificate");
    let stock = Credentials::with_invalid_signature(&server).expect("a certificate");
    one_transaction(&own, &stock, (&client, &server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_shred_fits_the_first_datagram_and_names_its_sender() {
    let (a, b) = (Keypair::new_from_array([1; 32]), Keypair::new_from_array([2; 32]));
    let (address, ends) = serve(Protocol::Turbine, &Credentials::new(&b).expect("a certificate"));
    let dialer = dial(Protocol::Turbine, &Credentials::new(&a).expect("a certificate"));
    dialer.send(address, Some(b.pubkey()), Bytes::from(vec![7; SHRED_BYTES]));
    let taken = receive(ends, |taken| !taken.is_empty()).await;
    let Input::Shred { from, bytes } = &taken[0] else { panic!("not a shred") };
    assert_eq!((*from, bytes.len()), (Sender::Peer(a.pubkey()), SHRED_BYTES));
}

/// Forwards datagrams between a client and `server`, and loses a fifth of them, as the seed says.
fn lossy(server: SocketAddr) -> SocketAddr {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(20);
    between(server, move || rng.gen_range(0..5) != 0)
}

/// Forwards those datagrams between a client and `server` that may pass.
fn between(server: SocketAddr, mut may_pass: impl FnMut() -> bool + Send + 'static) -> SocketAddr {
    let proxy = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = proxy.local_addr().expect("it is bound");
    proxy.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    std::thread::spawn(move || {
        let (mut client, mut buffer) = (None, [0; 2_048]);
        while let Ok((len, from)) = proxy.recv_from(&mut buffer) {
            let to = if from == server { client } else { Some(server) };
            if from != server {
                client = Some(from);
            }
            if let Some(to) = to.filter(|_| may_pass()) {
                let _ = proxy.send_to(&buffer[..len], to);
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn full_shreds_still_fit_when_a_fifth_of_the_packets_is_lost() {
    const SENT: usize = 2_000;
    let (a, b) = (Keypair::new_from_array([1; 32]), Keypair::new_from_array([2; 32]));
    let (server, ends) = serve(Protocol::Turbine, &Credentials::new(&b).expect("a certificate"));
    let dialer = dial(Protocol::Turbine, &Credentials::new(&a).expect("a certificate"));
    let through = lossy(server);
    let sender = tokio::spawn(async move {
        for number in 0..SENT {
            dialer.send(through, Some(b.pubkey()), shred(number));
            // A pace, not a wait for a state: congestion control would hold a burst back and drop its oldest.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        dialer
    });
    let distinct = |taken: &[Input]| {
        let numbers = taken.iter().filter_map(|input| match input {
            Input::Shred { bytes, .. } if bytes.len() == SHRED_BYTES => Some(bytes[..8].to_vec()),
            _ => None,
        });
        numbers.collect::<BTreeSet<_>>().len()
    };
    // Four in five are expected; a path that fell back to smaller packets would carry none after the first losses.
    receive(ends, move |taken| distinct(taken) >= SENT / 2).await;
    drop(sender.await.expect("no panic"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_transaction_closes_the_connection_and_the_next_one_is_taken() {
    let (a, b) = (Keypair::new_from_array([1; 32]), Keypair::new_from_array([2; 32]));
    let (address, ends) = serve(Protocol::Tpu, &Credentials::new(&b).expect("a certificate"));
    let large = dial(Protocol::Tpu, &Credentials::new(&a).expect("a certificate"));
    large.send(address, None, Bytes::from(vec![1; 1_233]));
    let small = dial(Protocol::Tpu, &Credentials::new(&a).expect("a certificate"));
    small.send(address, None, Bytes::from(vec![2; 1_232]));
    let taken = receive(ends, |taken| !taken.is_empty()).await;
    let only_small = |input: &Input| matches!(input, Input::Transactions { packets, .. } if packets[0][0] == 2);
    assert!(taken.iter().all(only_small));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_gets_shreds_the_way_it_advertises_and_both_ways_end_in_the_same_input() {
    let (a, b) = (key(1), key(2));
    let (receiver, ends) = Peer::turbine(&b, FAST);
    let tvu = socket();
    let udp_only = Route { tvu_quic: None, tvu: Some(tvu.local_addr().expect("it is bound")) };
    let both = Route { tvu_quic: Some(receiver.address), ..udp_only };
    let tvu = Arc::new(tokio::net::UdpSocket::from_std(tvu).expect("a socket"));
    tokio::spawn(udp::receive(tvu, Arrival::Tvu, receiver.lanes.clone(), Arc::clone(&receiver.traffic), Faults::off()));

    let (sender, _ends) = Peer::turbine(&a, FAST);
    let out = Arc::new(socket());
    let [gossip, repair, serve_repair, votes] = [(); 4].map(|()| Arc::clone(&out));
    let traffic = Arc::clone(&sender.traffic);
    let outgoing = Outgoing { gossip, repair, serve_repair, votes, traffic, faults: Faults::off() };
    outgoing.send_shred(&sender.dialer, (b.pubkey(), udp_only), shred(1));
    outgoing.send_shred(&sender.dialer, (b.pubkey(), both), shred(2));
    outgoing.send_shred(&sender.dialer, (b.pubkey(), Route { tvu_quic: None, tvu: None }), shred(3));
    let mut taken = receive(ends, |taken| taken.len() >= 2).await;
    taken.sort_by_key(|input| if let Input::Shred { bytes, .. } = input { bytes[0] } else { u8::MAX });
    let [Input::Shred { from: first, bytes: one }, Input::Shred { from: second, bytes: two }] = &taken[..] else {
        panic!("not two shreds")
    };
    assert_eq!((one, two), (&shred(1), &shred(2)));
    assert_eq!(*first, Sender::Address(out.local_addr().expect("it is bound")), "UDP names an address");
    assert_eq!(*second, Sender::Peer(a.pubkey()), "QUIC proves an identity");
    assert_eq!(receiver.traffic.counted(Way::TurbineUdpIn).0, 1);
    assert_eq!(receiver.traffic.counted(Way::TurbineQuicIn).0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_peer_resets_its_former_connections_and_gets_shreds_again() {
    let (a, b) = (key(1), key(2));
    let (sender, _ends) = Peer::turbine(&a, FAST);
    // The first life ends with its runtime, like a process that is killed: nobody is told.
    let life = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let first = key(2);
    let born = life.spawn(async move { Peer::turbine(&first, FAST) });
    let (peer, ends) = born.await.expect("no panic");
    let address = peer.address;
    sender.dialer.send(address, Some(b.pubkey()), shred(1));
    receive(ends, |taken| !taken.is_empty()).await;
    tokio::task::spawn_blocking(move || life.shutdown_timeout(DEADLINE)).await.expect("no panic");
    drop(peer);

    let reborn = UdpSocket::bind(address).expect("its port is free again");
    reborn.set_nonblocking(true).expect("a socket can be made non-blocking");
    let (_reborn, ends) = Peer::on(Protocol::Turbine, &credentials(&b), reborn, FAST);
    let sending = tokio::spawn({
        let dialer = Arc::clone(&sender.dialer);
        async move {
            for number in 2.. {
                dialer.send(address, Some(b.pubkey()), shred(number));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    receive(ends, |taken| !taken.is_empty()).await;
    sending.abort();
    // Not by its silence, which would have taken four seconds.
    assert_eq!((sender.traffic.ended(Ended::Reset), sender.traffic.ended(Ended::Silence)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_ends_in_good_order_tells_at_once() {
    let (sender, _ends) = Peer::turbine(&key(1), FAST);
    let (receiver, ends) = Peer::turbine(&key(2), FAST);
    sender.dialer.send(receiver.address, None, shred(1));
    receive(ends, |taken| !taken.is_empty()).await;
    receiver.port.close();
    receiver.port.told(DEADLINE).await;
    sender.eventually("closed by the peer", |traffic| traffic.ended(Ended::Peer) == 1).await;
    assert_eq!(sender.traffic.ended(Ended::Silence), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_nothing_loses_its_shreds_and_then_its_connection_and_nobody_waits_for_it() {
    const SENT: usize = 6_000;
    let (slow, good) = (key(2), key(3));
    let limits = QuicLimits { slow_for: Duration::from_millis(100), ..FAST };
    let (sender, _ends) = Peer::turbine(&key(1), limits);
    let (slow_peer, slow_ends) = Peer::turbine(&slow, FAST);
    let (good_peer, good_ends) = Peer::turbine(&good, FAST);
    let open = Arc::new(AtomicBool::new(true));
    let through = between(slow_peer.address, {
        let open = Arc::clone(&open);
        move || open.load(Ordering::Relaxed)
    });
    sender.dialer.send(through, Some(slow.pubkey()), shred(0));
    receive(slow_ends, |taken| !taken.is_empty()).await;
    open.store(false, Ordering::Relaxed);

    let arrived = tokio::spawn(receive(good_ends, |taken| taken.len() >= SENT / 2));
    for number in 0..SENT {
        sender.dialer.send(through, Some(slow.pubkey()), shred(number));
        sender.dialer.send(good_peer.address, Some(good.pubkey()), shred(number));
        if number % 16 == 0 {
            // A pace: the good peer's connection must be able to follow.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    arrived.await.expect("the good peer gets its shreds");
    sender.eventually("disconnected", |traffic| traffic.ended(Ended::SlowPeer) == 1).await;
    // What does not fit the send buffer is lost, and later what waits for a new handshake is bounded, too.
    let lost: u64 =
        [Unsent::SlowPeer, Unsent::BackingOff, Unsent::Waiting].map(|w| sender.traffic.unsent(w)).iter().sum();
    assert!(lost as usize >= SENT / 2, "what waits is bounded: only {lost} of {SENT} were dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_gets_in_what_its_rate_allows_and_the_rest_is_counted() {
    const SENT: usize = 500;
    let limits = QuicLimits { unstaked_per_second: 10, ..QuicLimits::DEFAULT };
    let (receiver, ends) = Peer::turbine(&key(2), limits);
    let (sender, _ends) = Peer::turbine(&key(1), FAST);
    let started = Instant::now();
    for number in 0..SENT {
        sender.dialer.send(receiver.address, None, shred(number));
    }
    receiver.eventually("shreds", |traffic| traffic.counted(Way::TurbineQuicIn).0 >= 100).await;
    receiver.eventually("refusals", |traffic| traffic.refused(Refused::DatagramRate) >= 50).await;
    let mut taken = Vec::new();
    assert!(ends.take(Duration::ZERO, &mut taken), "the node is there");
    let allowed = 1 + 10 * (1 + started.elapsed().as_secs() as usize);
    assert!((1..=allowed).contains(&taken.len()), "{} got in, {allowed} are allowed", taken.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_connection_of_an_identity_with_too_many_is_replaced() {
    let limits = QuicLimits { per_identity_max: 2, ..FAST };
    let (receiver, ends) = Peer::turbine(&key(2), limits);
    let mut senders = Vec::new();
    let mut ends = Some(ends);
    for number in 1..=3 {
        let (sender, _ends) = Peer::turbine(&key(1), FAST);
        sender.dialer.send(receiver.address, None, shred(number));
        sender.eventually("sent", |traffic| traffic.counted(Way::TurbineQuicOut).0 == 1).await;
        receiver.eventually("arrived", |traffic| traffic.counted(Way::TurbineQuicIn).0 == number as u64).await;
        senders.push(sender);
    }
    senders[0].eventually("replaced", |traffic| traffic.ended(Ended::Peer) == 1).await;
    assert_eq!(receiver.traffic.refused(Refused::ConnectionOfIdentity), 1);
    assert!(senders[1..].iter().all(|sender| sender.traffic.ended(Ended::Peer) == 0));
    let all = receive(ends.take().expect("once"), |taken| taken.len() == 3).await;
    assert!(all.iter().all(|input| matches!(input, Input::Shred { from: Sender::Peer(_), .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_too_many_connections_is_refused_before_the_handshake() {
    let limits = QuicLimits { per_address_max: 1, ..FAST };
    let (receiver, _receiver_ends) = Peer::turbine(&key(2), limits);
    let (first, _ends) = Peer::turbine(&key(1), FAST);
    first.dialer.send(receiver.address, None, shred(1));
    receiver.eventually("arrived", |traffic| traffic.counted(Way::TurbineQuicIn).0 == 1).await;
    let (second, _ends) = Peer::turbine(&key(3), FAST);
    second.dialer.send(receiver.address, None, shred(2));
    second.eventually("refused", |traffic| traffic.unsent(Unsent::Unreachable) == 1).await;
    assert_eq!(receiver.traffic.refused(Refused::ConnectionOfAddress), 1);
    second.dialer.send(receiver.address, None, shred(3));
    assert_eq!(second.traffic.unsent(Unsent::BackingOff), 1, "a peer that refused is left alone for a while");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_to_addresses_where_nobody_answers_are_bounded() {
    let limits = QuicLimits { links_max: 4, ..FAST };
    let (sender, _ends) = Peer::turbine(&key(1), limits);
    for number in 0..100 {
        sender.dialer.send(SocketAddr::from((Ipv4Addr::LOCALHOST, 1 + number)), None, shred(1));
        assert!(sender.dialer.links_kept() <= 4);
    }
    assert_eq!(sender.traffic.unsent(Unsent::LinksFull), 96);
}

#[tokio::test(flavor = "multi_thread")]
async fn below_quic_a_peer_that_is_not_heard_is_lost_and_heard_again_on_the_same_connection() {
    let (a, b) = (key(1), key(2));
    let faults = Faults::on(&Rules::default()).expect("good rules");
    let (receiver, ends) = Peer::at_risk(Protocol::Turbine, &credentials(&b), (socket(), &faults), FAST);
    let (sender, _ends) = Peer::turbine(&a, FAST);
    let send = |number| sender.dialer.send(receiver.address, Some(b.pubkey()), shred(number));
    send(1);
    receiver.eventually("the first shred", |traffic| traffic.counted(Way::TurbineQuicIn).0 == 1).await;

    let unheard = [Flow::Turbine].into();
    let (identity, addresses) = (a.pubkey().to_string(), vec![sender.address]);
    let peer = PeerRules { identity, addresses, unheard, ..PeerRules::default() };
    faults.set(&Rules { order: 1, peers: vec![peer] }).expect("good rules");
    send(2);
    receiver.eventually("the second shred is not heard", |_| faults.done(Done::Unheard) > 0).await;
    assert_eq!(receiver.traffic.counted(Way::TurbineQuicIn).0, 1);

    faults.set(&Rules { order: 2, peers: Vec::new() }).expect("good rules");
    send(3);
    let taken = receive(ends, |taken| taken.len() >= 2).await;
    let numbers = taken.iter().map(|input| match input {
        Input::Shred { bytes, .. } => bytes[0],
        _ => 0,
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 3], "what was not heard is lost");
}
