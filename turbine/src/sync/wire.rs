//! The messages and their bytes: the layout of bincode 1.3.3, read with every length checked against what is there.
//!
//! ```text
//!   TCP:      | length u32 LE | frame | length u32 LE | frame | ...
//!   frame:    | tag u32 LE | fields: integers LE, counts u64 LE, option = 1 byte |
//! ```

use super::{
    config::{PEERS_MAX, RANGE_SLOTS_MAX},
    effect::StoredBlock,
    refusal::Refusal,
};
use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use sundog_types::{
    Hash, Pubkey, Slot,
    shred::{MAX_SHREDS_PER_SLOT, variant::DATA_SHRED_SIZE},
};
use thiserror::Error;

/// The version of this protocol. Nodes of different versions refuse each other.
pub const PROTOCOL: u16 = 1;
/// Bytes of the words that go with a refusal.
pub const DETAIL_BYTES_MAX: usize = 256;

/// What a node does in its cluster. For people only: nothing is decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It votes.
    Voting,
    /// It follows the chain without a vote.
    Following,
}

/// What a node holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Its root: the last slot that it serves.
    pub root: Slot,
    /// The highest slot of which it has a complete block.
    pub highest: Slot,
    /// The first slot that it serves.
    pub lowest: Slot,
}

/// The first message of each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u16,
    /// Which chain.
    pub genesis_hash: Hash,
    /// Which restart of the chain (reference 3.11).
    pub shred_version: u16,
    /// What it holds.
    pub held: Held,
    /// What it does.
    pub role: Role,
}

/// A node that may serve blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerEntry {
    /// Its identity: its certificate must show it.
    pub identity: Pubkey,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its root, as far as known; else 0.
    pub root: Slot,
    /// Its highest slot, as far as known; else 0.
    pub highest: Slot,
}

/// A message. The order of the variants is that of their tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The greeting, first of all from both sides.
    Hello(Hello),
    /// The last message on a link.
    Refuse {
        /// The reason.
        why: Refusal,
        /// In words, for the log: at most [`DETAIL_BYTES_MAX`] bytes.
        detail: String,
    },
    /// From the side that dialed: it lives, and this is what it holds.
    Ping(Held),
    /// The answer.
    Pong(Held),
    /// Whom do you know?
    GetPeers,
    /// The answer.
    Peers(Vec<PeerEntry>),
    /// Send the finalised blocks of some slots.
    GetBlocks {
        /// Comes back with the answer.
        id: u64,
        /// The first slot.
        from: Slot,
        /// How many slots: 1 to 100.
        count: u64,
    },
    /// A part of the answer to [`Message::GetBlocks`], or the answer to [`Message::GetBlock`]. A block that does not
    /// fit goes on in the next part, under the same slot.
    Blocks {
        /// Of the request.
        id: u64,
        /// The blocks, in order.
        blocks: Vec<StoredBlock>,
        /// In the last part: the first slot that the answer says nothing of.
        next: Slot,
        /// Whether another part follows.
        more: bool,
    },
    /// The server's root moved.
    Announce {
        /// The root.
        slot: Slot,
        /// Its block id, if known.
        block_id: Option<Hash>,
    },
    /// Send one block.
    GetBlock {
        /// Comes back with the answer.
        id: u64,
        /// Its slot.
        slot: Slot,
        /// Its id.
        block_id: Hash,
    },
    /// What was asked for is not here.
    NotHeld {
        /// Of the request.
        id: u64,
        /// The first slot that the server has.
        lowest: Slot,
    },
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// The bytes end before the message does.
    #[error("the message ends early; refuse the link")]
    Truncated,
    /// Bytes are left after the message.
    #[error("{0} bytes follow the message; refuse the link")]
    Trailing(usize),
    /// A tag or a truth byte that means nothing.
    #[error("tag {0} means nothing; refuse the link")]
    Tag(u32),
    /// More items than a message may have.
    #[error("{0} items are more than a message may have; refuse the link")]
    Count(u64),
    /// A shred that is not as long as data shreds are.
    #[error("{0} bytes are no data shred; refuse the link")]
    Shred(u64),
    /// Words that are no text.
    #[error("the words of a refusal are no text; refuse the link")]
    Text,
}

impl Message {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let out = Writer(Vec::with_capacity(self.size_hint()));
        match self {
            Self::Hello(hello) => out.u32(0).hello(hello),
            Self::Refuse { why, detail } => {
                let cut = (0..=DETAIL_BYTES_MAX.min(detail.len())).rev().find(|end| detail.is_char_boundary(*end));
                out.u32(1).u32(why.tag()).blob(&detail.as_bytes()[..cut.unwrap_or(0)])
            }
            Self::Ping(held) => out.u32(2).held(held),
            Self::Pong(held) => out.u32(3).held(held),
            Self::GetPeers => out.u32(4),
            Self::Peers(peers) => peers.iter().fold(out.u32(5).count(peers.len()), |out, peer| out.peer(peer)),
            Self::GetBlocks { id, from, count } => out.u32(6).u64(*id).u64(from.get()).u64(*count),
            Self::Blocks { id, blocks, next, more } => {
                let head = out.u32(7).u64(*id).count(blocks.len());
                let body = blocks.iter().fold(head, |out, block| out.block(block));
                body.u64(next.get()).u8(u8::from(*more))
            }
            Self::Announce { slot, block_id } => {
                let head = out.u32(8).u64(slot.get());
                block_id.iter().fold(head.u8(u8::from(block_id.is_some())), |out, hash| out.bytes(hash.as_ref()))
            }
            Self::GetBlock { id, slot, block_id } => out.u32(9).u64(*id).u64(slot.get()).bytes(block_id.as_ref()),
            Self::NotHeld { id, lowest } => out.u32(10).u64(*id).u64(lowest.get()),
        }
        .0
        .into()
    }

    fn size_hint(&self) -> usize {
        match self {
            Self::Blocks { blocks, .. } => {
                let shreds: usize = blocks.iter().map(|block| block.shreds.len()).sum();
                64 + blocks.len() * 16 + shreds * (DATA_SHRED_SIZE + 8)
            }
            Self::Peers(peers) => 16 + peers.len() * 72,
            _ => 128,
        }
    }

    /// Reads a frame. Shreds share its bytes.
    ///
    /// # Errors
    /// The first thing that is wrong. No claimed length is trusted: nothing larger than a few times the frame is ever
    /// allocated.
    pub fn decode(frame: &Bytes) -> Result<Self, WireError> {
        let mut input = Reader { frame, at: 0 };
        let message = match input.u32()? {
            0 => Self::Hello(input.hello()?),
            1 => Self::Refuse { why: input.refusal()?, detail: input.text()? },
            2 => Self::Ping(input.held()?),
            3 => Self::Pong(input.held()?),
            4 => Self::GetPeers,
            5 => Self::Peers(input.items(PEERS_MAX as u64, Reader::peer)?),
            6 => Self::GetBlocks { id: input.u64()?, from: input.slot()?, count: input.u64()? },
            7 => Self::Blocks {
                id: input.u64()?,
                blocks: input.items(RANGE_SLOTS_MAX, Reader::block)?,
                next: input.slot()?,
                more: input.flag()?,
            },
            8 => {
                Self::Announce { slot: input.slot()?, block_id: if input.flag()? { Some(input.hash()?) } else { None } }
            }
            9 => Self::GetBlock { id: input.u64()?, slot: input.slot()?, block_id: input.hash()? },
            10 => Self::NotHeld { id: input.u64()?, lowest: input.slot()? },
            tag => return Err(WireError::Tag(tag)),
        };
        match frame.len() - input.at {
            0 => Ok(message),
            left => Err(WireError::Trailing(left)),
        }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn count(self, count: usize) -> Self {
        self.u64(count as u64)
    }

    fn blob(self, bytes: &[u8]) -> Self {
        self.count(bytes.len()).bytes(bytes)
    }

    fn held(self, held: &Held) -> Self {
        self.u64(held.root.get()).u64(held.highest.get()).u64(held.lowest.get())
    }

    fn hello(self, hello: &Hello) -> Self {
        let role = match hello.role {
            Role::Voting => 0,
            Role::Following => 1,
        };
        let chain = self.u16(hello.protocol).bytes(hello.genesis_hash.as_ref()).u16(hello.shred_version);
        chain.held(&hello.held).u32(role)
    }

    fn peer(self, peer: &PeerEntry) -> Self {
        let out = self.bytes(peer.identity.as_ref());
        let out = match peer.address.ip() {
            IpAddr::V4(ip) => out.u32(0).bytes(&ip.octets()),
            IpAddr::V6(ip) => out.u32(1).bytes(&ip.octets()),
        };
        out.u16(peer.address.port()).u64(peer.root.get()).u64(peer.highest.get())
    }

    fn block(self, block: &StoredBlock) -> Self {
        let head = self.u64(block.slot.get()).count(block.shreds.len());
        block.shreds.iter().fold(head, |out, shred| out.blob(shred))
    }
}

struct Reader<'a> {
    frame: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let rest = self.frame.get(self.at..).unwrap_or_default();
        let head = *rest.first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.at += N;
        Ok(head)
    }

    fn bytes(&mut self, count: usize) -> Result<Bytes, WireError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.frame.len()).ok_or(WireError::Truncated)?;
        let bytes = self.frame.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    fn slot(&mut self) -> Result<Slot, WireError> {
        self.u64().map(Slot::new)
    }

    fn hash(&mut self) -> Result<Hash, WireError> {
        self.array().map(Hash::new_from_array)
    }

    fn flag(&mut self) -> Result<bool, WireError> {
        match self.array::<1>()?[0] {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(WireError::Tag(other.into())),
        }
    }

    /// Grows as items are read: a count alone allocates nothing.
    fn items<T>(&mut self, most: u64, item: impl Fn(&mut Self) -> Result<T, WireError>) -> Result<Vec<T>, WireError> {
        let count = self.u64()?;
        if count > most {
            return Err(WireError::Count(count));
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn refusal(&mut self) -> Result<Refusal, WireError> {
        let tag = self.u32()?;
        Refusal::from_tag(tag).ok_or(WireError::Tag(tag))
    }

    fn text(&mut self) -> Result<String, WireError> {
        let count = self.u64()?;
        let length = usize::try_from(count).ok().filter(|length| *length <= DETAIL_BYTES_MAX);
        let bytes = self.bytes(length.ok_or(WireError::Count(count))?)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| WireError::Text)
    }

    fn held(&mut self) -> Result<Held, WireError> {
        Ok(Held { root: self.slot()?, highest: self.slot()?, lowest: self.slot()? })
    }

    fn hello(&mut self) -> Result<Hello, WireError> {
        Ok(Hello {
            protocol: self.u16()?,
            genesis_hash: self.hash()?,
            shred_version: self.u16()?,
            held: self.held()?,
            role: match self.u32()? {
                0 => Role::Voting,
                1 => Role::Following,
                tag => return Err(WireError::Tag(tag)),
            },
        })
    }

    fn peer(&mut self) -> Result<PeerEntry, WireError> {
        let identity = self.array().map(Pubkey::new_from_array)?;
        let ip = match self.u32()? {
            0 => IpAddr::V4(Ipv4Addr::from(self.array::<4>()?)),
            1 => IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)),
            tag => return Err(WireError::Tag(tag)),
        };
        let address = SocketAddr::new(ip, self.u16()?);
        Ok(PeerEntry { identity, address, root: self.slot()?, highest: self.slot()? })
    }

    fn block(&mut self) -> Result<StoredBlock, WireError> {
        Ok(StoredBlock { slot: self.slot()?, shreds: self.items(MAX_SHREDS_PER_SLOT.into(), Self::shred)? })
    }

    fn shred(&mut self) -> Result<Bytes, WireError> {
        let length = self.u64()?;
        if length != DATA_SHRED_SIZE as u64 {
            return Err(WireError::Shred(length));
        }
        self.bytes(DATA_SHRED_SIZE)
    }
}
