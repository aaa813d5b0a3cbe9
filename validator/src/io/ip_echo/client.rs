//! Asking another node. Blocking, because who asks has little else to do; an async caller uses a thread for it.

use super::{ANSWER_BYTES, Answer, PORTS_MAX, Request, TIMEOUT};
use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Why a node gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum EchoError {
    /// Nobody takes the connection.
    #[error(
        "nobody answers at {address} over TCP ({source}); check that a node's gossip listens there and that TCP to this port is let through"
    )]
    Silent {
        /// Who was asked.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// It took the connection and ended it without an answer: it could not connect to a TCP port that it was to try,
    /// or is busy with another question from here.
    #[error("{address} gave no answer{}", tried(tcp))]
    NoAnswer {
        /// Who was asked.
        address: SocketAddr,
        /// The TCP ports it was to try.
        tcp: Vec<u16>,
    },
    /// A web server listens there.
    #[error("{address} speaks HTTP; give a node's gossip address, not that of its JSON-RPC")]
    Http {
        /// Who was asked.
        address: SocketAddr,
    },
    /// It said something else.
    #[error("{address} answers something that is no IP echo; give a node's gossip address")]
    Foreign {
        /// Who was asked.
        address: SocketAddr,
    },
    /// A request has places for four ports of each kind.
    #[error("{0} ports of a kind do not fit a request; ask for at most {PORTS_MAX} at a time")]
    TooManyPorts(usize),
}

fn tried(tcp: &[u16]) -> String {
    match tcp {
        [] => "; it may be busy with another question from this address, so ask again later".into(),
        ports => format!("; it could not connect to one of this node's TCP ports {ports:?}, or is busy"),
    }
}

/// Asks the node whose gossip listens at `address`. It first sends a byte to each of our `udp` ports and connects to
/// each of our `tcp` ports, at most [`PORTS_MAX`] of each; if it cannot connect to one of them there is no answer.
/// Blocks for at most about twice [`TIMEOUT`].
///
/// # Errors
/// [`EchoError`] says why there is no answer and what to do.
pub fn ask(address: SocketAddr, tcp: &[u16], udp: &[u16]) -> Result<Answer, EchoError> {
    let four = |ports: &[u16]| {
        let mut four = [0; PORTS_MAX];
        four.get_mut(..ports.len()).ok_or(EchoError::TooManyPorts(ports.len()))?.copy_from_slice(ports);
        Ok(four)
    };
    let request = Request { tcp: four(tcp)?, udp: four(udp)? };
    let silent = |source| EchoError::Silent { address, source };
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(silent)?;
    stream.set_write_timeout(Some(TIMEOUT)).map_err(silent)?;
    stream.write_all(&request.encode()).map_err(silent)?;
    // An answer is whole before this many bytes, so that nobody can make us read on.
    let mut answer = [0; ANSWER_BYTES];
    let length = read(&mut stream, &mut answer).map_err(silent)?;
    let _ = stream.shutdown(Shutdown::Both);
    match &answer[..length] {
        [] => Err(EchoError::NoAnswer { address, tcp: tcp.to_vec() }),
        [b'H', b'T', b'T', b'P', ..] => Err(EchoError::Http { address }),
        bytes => Answer::decode(bytes).ok_or(EchoError::Foreign { address }),
    }
}

/// Reads until the buffer is full, the other side closes, or the time is over.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let deadline = Instant::now() + TIMEOUT;
    let mut length = 0;
    while length < buffer.len() {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Who resets the connection has read less than we said; what came before counts.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) if Instant::now() < deadline => return Err(error),
            Err(_) if length > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpListener, thread};

    /// What a client makes of a server that reads a request and says this.
    fn told(answer: &'static [u8]) -> Result<Answer, EchoError> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.read_exact(&mut [0; 21]).expect("a request");
            // In two parts, as a network may bring it.
            let (first, second) = answer.split_at(answer.len() / 2);
            let _ = stream.write_all(first).and_then(|()| stream.flush());
            let _ = stream.write_all(second);
        });
        let answer = ask(address, &[], &[]);
        server.join().expect("no panic");
        answer
    }

    #[test]
    fn an_answer_in_parts_is_put_together() {
        let answer = told(b"\0\0\0\0\0\0\0\0\x7F\0\0\x01\x01\x39\x05\0\0\0\0\0\0\0\0\0\0\0\0").expect("an answer");
        assert_eq!(answer, Answer { public_ip: [127, 0, 0, 1].into(), shred_version: Some(1_337) });
    }

    #[test]
    fn a_web_server_is_told_from_a_node_and_the_remedy_named() {
        let error = told(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap_err();
        assert!(matches!(error, EchoError::Http { .. }) && error.to_string().contains("gossip address"), "{error}");
    }

    #[test]
    fn silence_and_nonsense_are_errors_of_their_own() {
        assert!(matches!(told(b"").unwrap_err(), EchoError::NoAnswer { .. }));
        assert!(matches!(told(b"\0\0\0\0\x09\0\0\0").unwrap_err(), EchoError::Foreign { .. }));
        let nobody = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        assert!(matches!(ask(nobody, &[], &[]).unwrap_err(), EchoError::Silent { .. }));
        assert!(matches!(ask(nobody, &[1; 5], &[]).unwrap_err(), EchoError::TooManyPorts(5)));
    }
}
