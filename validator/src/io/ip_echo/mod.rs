//! IP echo: over TCP a node tells who asks which address it sees, which chain it is on, and whether ports of the asker
//! can be reached (reference 6.15).
//!
//! ```text
//!  asker --TCP--> 21 bytes: 0000 | 4 TCP ports | 4 UDP ports | \n
//!        <--UDP-- one zero byte to each UDP port
//!        <--TCP-- a connection to each TCP port, closed at once
//!        <--TCP-- 27 bytes: 0000 | the asker's address | shred version, if known | zeros
//! ```

mod client;
mod reach;
mod server;

pub use client::{EchoError, ask};
pub use reach::{Ports, Unreached, unreachable};
pub use server::serve;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// Ports of each kind in a request.
pub const PORTS_MAX: usize = 4;

/// How long an exchange may take on either side.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Requests and answers begin with this, which is no beginning of an HTTP message.
const HEADER: [u8; 4] = [0; 4];
/// Requests end with this.
const LAST: u8 = b'\n';
/// Bytes of a request.
const REQUEST_BYTES: usize = HEADER.len() + 2 * 2 * PORTS_MAX + 1;
/// Bytes of an answer: the longest address and a shred version fit.
const ANSWER_BYTES: usize = 27;

/// What a node asks of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Request {
    /// To be connected to; 0 is no port.
    tcp: [u16; PORTS_MAX],
    /// To be sent a byte; 0 is no port.
    udp: [u16; PORTS_MAX],
}

impl Request {
    fn encode(&self) -> [u8; REQUEST_BYTES] {
        let mut bytes = [0; REQUEST_BYTES];
        let places = bytes[HEADER.len()..].chunks_exact_mut(2);
        for (place, port) in places.zip(self.tcp.iter().chain(&self.udp)) {
            place.copy_from_slice(&port.to_le_bytes());
        }
        bytes[REQUEST_BYTES - 1] = LAST;
        bytes
    }

    /// `None` if it is no request.
    fn decode(bytes: &[u8; REQUEST_BYTES]) -> Option<Self> {
        if bytes[..HEADER.len()] != HEADER || bytes[REQUEST_BYTES - 1] != LAST {
            return None;
        }
        let mut ports = bytes[HEADER.len()..].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let mut four = || std::array::from_fn(|_| ports.next().unwrap_or_default());
        Some(Self { tcp: four(), udp: four() })
    }
}

/// What a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The address that the question came from.
    pub public_ip: IpAddr,
    /// The chain that the answering node is on, if it has one.
    pub shred_version: Option<u16>,
}

impl Answer {
    fn encode(&self) -> [u8; ANSWER_BYTES] {
        let mut bytes = HEADER.to_vec();
        match self.public_ip {
            IpAddr::V4(ip) => {
                bytes.extend(0u32.to_le_bytes());
                bytes.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                bytes.extend(1u32.to_le_bytes());
                bytes.extend(ip.octets());
            }
        }
        match self.shred_version {
            None => bytes.push(0),
            Some(version) => {
                bytes.push(1);
                bytes.extend(version.to_le_bytes());
            }
        }
        bytes.resize(ANSWER_BYTES, 0);
        bytes.try_into().expect("resized")
    }

    /// `None` if it is no answer. What follows the shred version does not matter.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&HEADER)?;
        let (tag, rest) = rest.split_first_chunk::<4>()?;
        let (public_ip, rest) = match u32::from_le_bytes(*tag) {
            0 => rest.split_first_chunk::<4>().map(|(ip, rest)| (Ipv4Addr::from(*ip).into(), rest))?,
            1 => rest.split_first_chunk::<16>().map(|(ip, rest)| (Ipv6Addr::from(*ip).into(), rest))?,
            _ => return None,
        };
        let shred_version = match rest {
            [0, ..] => None,
            [1, low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
            _ => return None,
        };
        Some(Self { public_ip, shred_version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_the_reference_does() {
        let request = Request { tcp: [0x1F40, 0, 0, 0], udp: [1, 2, 3, 0x1F41] };
        let bytes = request.encode();
        let expected = [0, 0, 0, 0, 0x40, 0x1F, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0, 0x41, 0x1F, b'\n'];
        assert_eq!(bytes, expected);
        assert_eq!(Request::decode(&bytes), Some(request));
        for (place, value) in [(0, b'G'), (3, 1), (20, 0)] {
            let mut bad = bytes;
            bad[place] = value;
            assert_eq!(Request::decode(&bad), None, "byte {place}");
        }
    }

    #[test]
    fn an_answer_is_laid_out_as_the_reference_does() {
        let answer = Answer { public_ip: [10, 1, 2, 3].into(), shred_version: Some(0x1234) };
        let mut expected = vec![0, 0, 0, 0, 0, 0, 0, 0, 10, 1, 2, 3, 1, 0x34, 0x12];
        expected.resize(27, 0);
        assert_eq!(answer.encode().to_vec(), expected);
        let six = IpAddr::V6(Ipv6Addr::new(1, 2, 3, 4, 5, 6, 7, 8));
        for public_ip in [answer.public_ip, six] {
            for shred_version in [None, Some(0), Some(u16::MAX)] {
                let answer = Answer { public_ip, shred_version };
                assert_eq!(Answer::decode(&answer.encode()), Some(answer));
            }
        }
    }

    #[test]
    fn what_is_cut_or_mutilated_is_no_answer_and_does_no_harm() {
        let whole = Answer { public_ip: [10, 1, 2, 3].into(), shred_version: Some(7) }.encode();
        for length in 0..15 {
            assert_eq!(Answer::decode(&whole[..length]), None, "{length} bytes");
        }
        for place in 0..whole.len() {
            for value in [1, 2, 0x7F, 0xFF] {
                let mut bad = whole;
                bad[place] = value;
                let _ = Answer::decode(&bad);
            }
        }
        assert_eq!(Answer::decode(b"HTTP/1.1 400 Bad Request"), None);
    }
}
