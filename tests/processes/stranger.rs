//! A peer of bulk sync that is nobody's friend: it speaks TCP, TLS and frames as far as a test wants, and no farther.

use bytes::Bytes;
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use solana_keypair::Keypair;
use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};
use sundog_turbine::sync::{Message, Refusal};
use sundog_validator::io::{sync::ALPN_SYNC, tls::Credentials};

/// Nothing that a node answers takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// What a node's side of a connection said last.
#[derive(Debug, PartialEq, Eq)]
pub enum Last {
    /// It closed.
    End,
    /// It named the reason, and closed.
    Refused(Refusal),
}

/// A TCP connection that says nothing by itself.
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("the node listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Waits until the node ends a connection; whatever it says before does not matter.
pub fn ends(mut stream: impl io::Read) {
    let mut nothing = [0; 4_096];
    loop {
        match stream.read(&mut nothing) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("the node does not end the connection")
            }
            // Reset, or closed without TLS's goodbye.
            Err(_) => return,
        }
    }
}

/// A connection between identities.
pub struct Stranger {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Stranger {
    /// Connects as a peer does.
    pub fn new(to: SocketAddr) -> io::Result<Self> {
        Self::speaking(to, &[ALPN_SYNC])
    }

    /// Connects with other protocols on offer.
    pub fn speaking(to: SocketAddr, protocols: &[&[u8]]) -> io::Result<Self> {
        let credentials = Credentials::new(&Keypair::new()).expect("a certificate");
        let config = credentials.tls_client(ALPN_SYNC).expect("a configuration");
        let mut config = ClientConfig::clone(&config);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        let mut connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let mut stream = connect(to);
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self { stream: StreamOwned::new(connection, stream) })
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends frames in one go.
    pub fn say(&mut self, messages: &[Message]) {
        let frames: Vec<u8> = messages.iter().flat_map(|message| frame(&message.encode())).collect();
        // A node that refuses in the middle reads on for a while; if it does not, what it said is what counts.
        let _ = self.write(&frames);
    }

    /// The next message; `None` if the node closed.
    pub fn hear(&mut self) -> Option<Message> {
        let mut length = [0; LENGTH_BYTES];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("the node says nothing"),
            Err(_) => return None,
        }
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        self.stream.read_exact(&mut body).expect("whole frames");
        Some(Message::decode(&Bytes::from(body)).expect("the node sends messages"))
    }

    /// The next message that is not about the node's root.
    pub fn hear_answer(&mut self) -> Option<Message> {
        loop {
            match self.hear() {
                Some(Message::Announce { .. }) => {}
                other => return other,
            }
        }
    }

    /// What the node says last, after answers that do not matter.
    pub fn last(&mut self) -> Last {
        loop {
            match self.hear() {
                None => return Last::End,
                Some(Message::Refuse { why, .. }) => {
                    assert_eq!(self.hear(), None, "a refusal is the last message");
                    return Last::Refused(why);
                }
                Some(_) => {}
            }
        }
    }

    /// Stops to wait for the node when it writes.
    pub fn hurry(&mut self) {
        self.stream.sock.set_write_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    }
}

/// A frame with this body.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short body");
    [&length.to_le_bytes(), body].concat()
}
