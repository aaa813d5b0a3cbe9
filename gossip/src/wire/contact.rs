//! Contact infos: who a node is and where it listens (reference 6.3).

use super::codec::{DecodeError, Reader, Writer};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};
use sundog_types::{
    Pubkey,
    peer::{Addresses, Version},
};

/// The keys of sockets.
pub mod socket {
    /// Gossip, UDP.
    pub const GOSSIP: u8 = 0;
    /// JSON-RPC over HTTP.
    pub const RPC: u8 = 2;
    /// JSON-RPC over WebSocket.
    pub const RPC_PUBSUB: u8 = 3;
    /// Repair requests, UDP.
    pub const SERVE_REPAIR: u8 = 4;
    /// Transactions, UDP.
    pub const TPU: u8 = 5;
    /// Forwarded transactions, QUIC.
    pub const TPU_FORWARDS_QUIC: u8 = 7;
    /// Transactions, QUIC.
    pub const TPU_QUIC: u8 = 8;
    /// Votes, UDP.
    pub const TPU_VOTE: u8 = 9;
    /// Shreds, UDP.
    pub const TVU: u8 = 10;
    /// Shreds, QUIC.
    pub const TVU_QUIC: u8 = 11;
    /// Votes, QUIC.
    pub const TPU_VOTE_QUIC: u8 = 12;
}

/// One socket of a contact info, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketEntry {
    /// What it is for; unknown keys are kept and not used.
    pub key: u8,
    /// Which of the addresses it is on.
    pub address: u8,
    /// Its port less that of the entry before it.
    pub offset: u16,
}

/// A record of an unknown type at the end of a contact info: skipped, which spoils the signature, because
/// the reference verifies over what it re-encodes.
const EXTENSION_BYTES_MIN: usize = 2;

/// Who a node is and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactInfo {
    /// The node's identity.
    pub pubkey: Pubkey,
    /// When it said so, in milliseconds since the Unix epoch.
    pub wallclock: u64,
    /// When this instance of the node started, in microseconds since the Unix epoch.
    pub outset: u64,
    /// The chain it is on.
    pub shred_version: u16,
    /// Its software.
    pub version: Version,
    addresses: Vec<IpAddr>,
    sockets: Vec<SocketEntry>,
}

impl ContactInfo {
    /// A contact info with these sockets, ports ascending.
    #[must_use]
    pub fn new(pubkey: Pubkey, outset: u64, shred_version: u16, sockets: &Addresses) -> Self {
        let mut info = Self {
            pubkey,
            wallclock: 0,
            outset,
            shred_version,
            version: Version::default(),
            addresses: Vec::new(),
            sockets: Vec::new(),
        };
        info.set_sockets(sockets);
        info
    }

    /// Replaces the sockets; unusable ones (port 0, unspecified or multicast address) are left out.
    pub fn set_sockets(&mut self, sockets: &Addresses) {
        let mut listed: Vec<(u8, SocketAddr)> =
            by_key(sockets).into_iter().filter_map(|(key, socket)| Some((key, socket.filter(usable)?))).collect();
        listed.sort_by_key(|(key, socket)| (socket.port(), *key));
        self.addresses.clear();
        self.sockets.clear();
        let mut last = 0;
        for (key, socket) in listed {
            let known = self.addresses.iter().position(|ip| *ip == socket.ip());
            let address = known.unwrap_or_else(|| {
                self.addresses.push(socket.ip());
                self.addresses.len() - 1
            });
            let address = u8::try_from(address).expect("at most eleven sockets");
            self.sockets.push(SocketEntry { key, address, offset: socket.port() - last });
            last = socket.port();
        }
    }

    /// Whether the other one only says the same at another time.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let head = |info: &Self| (info.pubkey, info.outset, info.shred_version, info.version);
        head(self) == head(other) && self.addresses == other.addresses && self.sockets == other.sockets
    }

    /// The sockets in wire order: key and address, usable or not.
    pub fn sockets(&self) -> impl Iterator<Item = (u8, SocketAddr)> + '_ {
        let mut port = 0u16;
        self.sockets.iter().filter_map(move |entry| {
            port = port.checked_add(entry.offset)?;
            let ip = self.addresses.get(usize::from(entry.address))?;
            Some((entry.key, SocketAddr::new(*ip, port)))
        })
    }

    /// The IP addresses in wire order.
    #[must_use]
    pub fn ips(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The usable socket with this key.
    #[must_use]
    pub fn socket(&self, key: u8) -> Option<SocketAddr> {
        self.sockets().find(|(k, _)| *k == key).map(|(_, socket)| socket).filter(usable)
    }

    /// Where its gossip listens.
    #[must_use]
    pub fn gossip(&self) -> Option<SocketAddr> {
        self.socket(socket::GOSSIP)
    }

    /// All usable sockets that pass `allowed`.
    #[must_use]
    pub fn sockets_if(&self, allowed: impl Fn(&SocketAddr) -> bool) -> Addresses {
        let get = |key| self.socket(key).filter(&allowed);
        Addresses {
            gossip: get(socket::GOSSIP),
            tvu: get(socket::TVU),
            tvu_quic: get(socket::TVU_QUIC),
            tpu: get(socket::TPU),
            tpu_quic: get(socket::TPU_QUIC),
            tpu_forwards_quic: get(socket::TPU_FORWARDS_QUIC),
            tpu_vote: get(socket::TPU_VOTE),
            tpu_vote_quic: get(socket::TPU_VOTE_QUIC),
            serve_repair: get(socket::SERVE_REPAIR),
            rpc: get(socket::RPC),
            rpc_pubsub: get(socket::RPC_PUBSUB),
        }
    }

    /// Reads a contact info and checks what the reference checks on decoding.
    ///
    /// # Errors
    /// [`DecodeError`], [`DecodeError::Contact`] when addresses and sockets contradict each other.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let info = Self {
            pubkey: reader.pubkey()?,
            wallclock: reader.varint(64)?,
            outset: reader.u64()?,
            shred_version: reader.u16()?,
            version: read_version(reader)?,
            addresses: reader.short_vec(Reader::ip)?,
            sockets: reader.short_vec(|reader| {
                Ok(SocketEntry { key: reader.u8()?, address: reader.u8()?, offset: reader.varint_u16()? })
            })?,
        };
        skip_extensions(reader)?;
        if info.is_consistent() { Ok(info) } else { Err(DecodeError::Contact) }
    }

    /// Writes it.
    pub fn write(&self, writer: &mut Writer) {
        writer.bytes(self.pubkey);
        writer.varint(self.wallclock);
        writer.u64(self.outset);
        writer.u16(self.shred_version);
        for number in self.version.number {
            writer.varint(u64::from(number));
        }
        writer.u32(self.version.commit);
        writer.u32(self.version.feature_set);
        writer.varint(u64::from(self.version.client));
        writer.varint(self.addresses.len() as u64);
        for ip in &self.addresses {
            writer.ip(*ip);
        }
        writer.varint(self.sockets.len() as u64);
        for entry in &self.sockets {
            writer.u8(entry.key);
            writer.u8(entry.address);
            writer.varint(u64::from(entry.offset));
        }
        writer.u8(0); // no extensions
    }

    fn is_consistent(&self) -> bool {
        let distinct: BTreeSet<&IpAddr> = self.addresses.iter().collect();
        let keys: BTreeSet<u8> = self.sockets.iter().map(|entry| entry.key).collect();
        let used: BTreeSet<u8> = self.sockets.iter().map(|entry| entry.address).collect();
        let last_port: u64 = self.sockets.iter().map(|entry| u64::from(entry.offset)).sum();
        distinct.len() == self.addresses.len()
            && keys.len() == self.sockets.len()
            && used.len() == self.addresses.len()
            && used.iter().all(|index| usize::from(*index) < self.addresses.len())
            && last_port <= u64::from(u16::MAX)
    }
}

/// Whether something can be sent there at all.
#[must_use]
pub fn usable(socket: &SocketAddr) -> bool {
    socket.port() != 0 && !socket.ip().is_unspecified() && !socket.ip().is_multicast()
}

fn by_key(sockets: &Addresses) -> [(u8, Option<SocketAddr>); 11] {
    [
        (socket::GOSSIP, sockets.gossip),
        (socket::RPC, sockets.rpc),
        (socket::RPC_PUBSUB, sockets.rpc_pubsub),
        (socket::SERVE_REPAIR, sockets.serve_repair),
        (socket::TPU, sockets.tpu),
        (socket::TPU_FORWARDS_QUIC, sockets.tpu_forwards_quic),
        (socket::TPU_QUIC, sockets.tpu_quic),
        (socket::TPU_VOTE, sockets.tpu_vote),
        (socket::TVU, sockets.tvu),
        (socket::TVU_QUIC, sockets.tvu_quic),
        (socket::TPU_VOTE_QUIC, sockets.tpu_vote_quic),
    ]
}

fn read_version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    Ok(Version {
        number: [reader.varint_u16()?, reader.varint_u16()?, reader.varint_u16()?],
        commit: reader.u32()?,
        feature_set: reader.u32()?,
        client: reader.varint_u16()?,
    })
}

fn skip_extensions(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let count = usize::from(reader.compact_u16()?);
    if count.saturating_mul(EXTENSION_BYTES_MIN) > reader.rest().len() {
        return Err(DecodeError::Truncated);
    }
    for _ in 0..count {
        let _kind = reader.u8()?;
        let length = usize::from(reader.compact_u16()?);
        reader.bytes(length)?;
    }
    Ok(())
}
