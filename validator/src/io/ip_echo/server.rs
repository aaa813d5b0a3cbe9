//! Answering who asks. Nothing is sent anywhere but to the asker's own address, which a TCP connection proves.

use super::{Answer, HEADER, PORTS_MAX, REQUEST_BYTES, Request, TIMEOUT};
use crate::io::traffic::{Refused, Traffic};
use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
};

/// Questions answered at a time, of all askers: the reference's figure. A further connection is closed at once.
pub const CONNECTIONS_MAX: usize = 2_048;

/// How long accepting pauses after the system refused it, so that a shortage of handles is no busy loop.
const PAUSE: Duration = Duration::from_millis(100);

/// What a web client may say before it is hung up on.
const WEB_BYTES_MAX: u64 = 8_192;

/// Told to who takes this for a web server.
const NO_WEB_SERVER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 93\r\nConnection: close\r\n\r\nThis is the IP echo of a Solana gossip port, no web server; JSON-RPC listens on its own port\n";

/// Addresses that have a question open: one each, but loopback, where many nodes may live.
#[derive(Clone, Default)]
struct Busy(Arc<Mutex<BTreeSet<IpAddr>>>);

/// An address's question; it may ask another when this is dropped.
struct Turn {
    busy: Busy,
    ip: IpAddr,
}

impl Busy {
    /// At most [`CONNECTIONS_MAX`] addresses are listed: each has a connection.
    fn turn(&self, ip: IpAddr) -> Option<Turn> {
        let free = ip.is_loopback() || self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ip);
        free.then(|| Turn { busy: self.clone(), ip })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.ip);
    }
}

/// Answers questions until the runtime ends.
///
/// # Errors
/// None so far; a listener that fails is tried again.
pub async fn serve(listener: TcpListener, shred_version: u16, traffic: Arc<Traffic>) -> io::Result<()> {
    serve_at_most(CONNECTIONS_MAX, listener, shred_version, traffic).await
}

async fn serve_at_most(
    connections: usize,
    listener: TcpListener,
    shred_version: u16,
    traffic: Arc<Traffic>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(connections));
    let busy = Busy::default();
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            traffic.refuse(Refused::Connection);
            continue;
        };
        let Some(turn) = busy.turn(from.ip().to_canonical()) else {
            traffic.refuse(Refused::ConnectionOfAddress);
            continue;
        };
        let traffic = Arc::clone(&traffic);
        tokio::spawn(async move {
            let answered = tokio::time::timeout(TIMEOUT, answer(stream, from, shred_version)).await;
            if !matches!(answered, Ok(Ok(()))) {
                traffic.refuse(Refused::Stream);
            }
            drop((place, turn));
        });
    }
}

async fn answer(mut stream: TcpStream, from: SocketAddr, shred_version: u16) -> io::Result<()> {
    let mut bytes = [0; REQUEST_BYTES];
    stream.read_exact(&mut bytes[..HEADER.len()]).await?;
    if matches!(&bytes[..HEADER.len()], b"GET " | b"POST" | b"HEAD") {
        stream.write_all(NO_WEB_SERVER).await?;
        stream.shutdown().await?;
        // Closing on unread words would take the text back.
        tokio::io::copy(&mut stream.take(WEB_BYTES_MAX), &mut tokio::io::sink()).await?;
        return Ok(());
    }
    stream.read_exact(&mut bytes[HEADER.len()..]).await?;
    let request = Request::decode(&bytes).ok_or(io::ErrorKind::InvalidData)?;
    let ip = from.ip();
    try_udp(stream.local_addr()?.ip(), ip, &request.udp).await?;
    try_tcp(ip, &request.tcp).await?;
    let answer = Answer { public_ip: ip.to_canonical(), shred_version: Some(shred_version) };
    // In one piece: the reference's client reads once.
    stream.write_all(&answer.encode()).await?;
    stream.shutdown().await
}

/// Sends one byte to each port.
async fn try_udp(here: IpAddr, ip: IpAddr, ports: &[u16; PORTS_MAX]) -> io::Result<()> {
    let ports: Vec<u16> = ports.iter().copied().filter(|port| *port != 0).collect();
    if ports.is_empty() {
        return Ok(());
    }
    let socket = UdpSocket::bind((here, 0)).await?;
    for port in ports {
        // Whether it arrives is for the asker to see.
        let _ = socket.send_to(&[0], (ip, port)).await;
    }
    Ok(())
}

/// Connects to each port and closes again.
async fn try_tcp(ip: IpAddr, ports: &[u16; PORTS_MAX]) -> io::Result<()> {
    for port in ports.iter().filter(|port| **port != 0) {
        TcpStream::connect((ip, *port)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::ask, *};
    use crate::io::ip_echo::EchoError;

    async fn server() -> (SocketAddr, Arc<Traffic>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, traffic) = (listener.local_addr().expect("bound"), Arc::new(Traffic::default()));
        tokio::spawn(serve(listener, 1_337, Arc::clone(&traffic)));
        (address, traffic)
    }

    async fn asked(address: SocketAddr, tcp: &[u16], udp: &[u16]) -> Result<Answer, EchoError> {
        let (tcp, udp) = (tcp.to_vec(), udp.to_vec());
        tokio::task::spawn_blocking(move || ask(address, &tcp, &udp)).await.expect("no panic")
    }

    #[tokio::test]
    async fn who_asks_learns_its_address_and_the_chain_and_its_ports_are_tried() {
        let (address, _) = server().await;
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let ports = (tcp.local_addr().expect("bound").port(), udp.local_addr().expect("bound").port());
        let answer = asked(address, &[ports.0], &[ports.1]).await.expect("an answer");
        assert_eq!(answer, Answer { public_ip: [127, 0, 0, 1].into(), shred_version: Some(1_337) });
        let mut byte = [9; 2];
        let (length, _) = udp.recv_from(&mut byte).await.expect("a byte");
        assert_eq!((length, byte[0]), (1, 0));
        tcp.accept().await.expect("a connection");
    }

    #[tokio::test]
    async fn a_tcp_port_that_cannot_be_reached_means_no_answer() {
        let (address, traffic) = server().await;
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let error = asked(address, &[port], &[]).await.unwrap_err();
        assert!(matches!(&error, EchoError::NoAnswer { tcp, .. } if *tcp == [port]), "{error}");
        while traffic.refused(Refused::Stream) == 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_web_client_is_told_what_this_is() {
        let (address, _) = server().await;
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(b"GET / HTTP/1.1\r\n").await.expect("written");
        let mut text = Vec::new();
        // A reset after the text is fine: not all of the question was read.
        let _ = stream.read_to_end(&mut text).await;
        let text = String::from_utf8(text).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head} of {}", body.len());
    }

    #[tokio::test]
    async fn a_request_that_is_none_is_closed() {
        let (address, traffic) = server().await;
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(&[7; REQUEST_BYTES]).await.expect("written");
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
        while traffic.refused(Refused::Stream) == 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_question_beyond_the_capacity_is_closed_at_once_and_a_place_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, traffic) = (listener.local_addr().expect("bound"), Arc::new(Traffic::default()));
        tokio::spawn(serve_at_most(1, listener, 1, Arc::clone(&traffic)));
        let first = TcpStream::connect(address).await.expect("connects");
        let mut second = TcpStream::connect(address).await.expect("connects");
        assert_eq!(second.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert_eq!(traffic.refused(Refused::Connection), 1);
        drop(first);
        while asked(address, &[], &[]).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn an_address_has_one_turn_at_a_time_but_loopback_many() {
        let busy = Busy::default();
        let far = IpAddr::from([203, 0, 113, 9]);
        let turn = busy.turn(far).expect("the first");
        assert!(busy.turn(far).is_none());
        assert!(busy.turn([203, 0, 113, 8].into()).is_some());
        drop(turn);
        assert!(busy.turn(far).is_some());
        let here = IpAddr::from([127, 0, 0, 1]);
        let turns: Vec<_> = (0..CONNECTIONS_MAX + 1).filter_map(|_| busy.turn(here)).collect();
        assert_eq!(turns.len(), CONNECTIONS_MAX + 1, "the capacity of all is the semaphore's");
    }
}
