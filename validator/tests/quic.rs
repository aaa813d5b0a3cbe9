//! Shreds and transactions over real QUIC on loopback: certificates of both kinds, full-size datagrams, loss.

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};
use sundog_gulfstream::Source;
use sundog_validator::{
    io::{
        lanes::{Ends, Lanes},
        quic::{Acceptor, Dialer, Protocol, endpoint},
        tls::Credentials,
        traffic::Traffic,
    },
    node::Input,
};

const DEADLINE: Duration = Duration::from_secs(60);
/// The largest shred.
const SHRED_BYTES: usize = 1_228;

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.set_nonblocking(true).expect("a socket can be made non-blocking");
    socket
}

/// A server of one identity; what it receives comes out of the lanes.
fn serve(protocol: Protocol, credentials: &Credentials) -> (SocketAddr, Ends) {
    let socket = socket();
    let address = socket.local_addr().expect("it is bound");
    let endpoint = endpoint(protocol, credentials, socket).expect("an endpoint");
    let (lanes, ends) = Lanes::new();
    let acceptor = Acceptor::new(protocol, lanes, Arc::new(Traffic::default()), Arc::new(Source::Client));
    tokio::spawn(acceptor.run(endpoint));
    (address, ends)
}

fn dial(protocol: Protocol, credentials: &Credentials) -> Arc<Dialer> {
    let endpoint = endpoint(protocol, credentials, socket()).expect("an endpoint");
    Dialer::new(protocol, endpoint, Arc::new(Traffic::default()))
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
    assert_eq!((*from, bytes.len()), (sundog_turbine::Sender::Peer(a.pubkey()), SHRED_BYTES));
}

/// Forwards datagrams between a client and `server`, and loses a fifth of them, as the seed says.
fn lossy(server: SocketAddr) -> SocketAddr {
    let proxy = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = proxy.local_addr().expect("it is bound");
    proxy.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    std::thread::spawn(move || {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(20);
        let (mut client, mut buffer) = (None, [0; 2_048]);
        while let Ok((len, from)) = proxy.recv_from(&mut buffer) {
            let to = if from == server { client } else { Some(server) };
            if from != server {
                client = Some(from);
            }
            if let Some(to) = to.filter(|_| rng.gen_range(0..5) != 0) {
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
            let mut shred = vec![0; SHRED_BYTES];
            shred[..8].copy_from_slice(&number.to_le_bytes());
            dialer.send(through, Some(b.pubkey()), Bytes::from(shred));
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
