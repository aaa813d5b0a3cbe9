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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng as _, RngCore as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use serde::Serialize;

    /// The messages as serde sees them: what bincode makes of this is the layout.
    #[derive(Serialize)]
    enum Mirror {
        Hello { protocol: u16, genesis: [u8; 32], version: u16, held: [u64; 3], role: MirrorRole },
        Refuse { why: u32, detail: String },
        Ping([u64; 3]),
        Pong([u64; 3]),
        GetPeers,
        Peers(Vec<([u8; 32], SocketAddr, u64, u64)>),
        GetBlocks { id: u64, from: u64, count: u64 },
        Blocks { id: u64, blocks: Vec<(u64, Vec<Vec<u8>>)>, next: u64, more: bool },
        Announce { slot: u64, block_id: Option<[u8; 32]> },
        GetBlock { id: u64, slot: u64, block_id: [u8; 32] },
        NotHeld { id: u64, lowest: u64 },
    }

    #[derive(Serialize)]
    enum MirrorRole {
        Voting,
        Following,
    }

    fn mirror(message: &Message) -> Mirror {
        let three = |held: &Held| [held.root.get(), held.highest.get(), held.lowest.get()];
        match message {
            Message::Hello(hello) => Mirror::Hello {
                protocol: hello.protocol,
                genesis: hello.genesis_hash.to_bytes(),
                version: hello.shred_version,
                held: three(&hello.held),
                role: if hello.role == Role::Voting { MirrorRole::Voting } else { MirrorRole::Following },
            },
            Message::Refuse { why, detail } => Mirror::Refuse { why: why.tag(), detail: detail.clone() },
            Message::Ping(held) => Mirror::Ping(three(held)),
            Message::Pong(held) => Mirror::Pong(three(held)),
            Message::GetPeers => Mirror::GetPeers,
            Message::Peers(peers) => {
                let four =
                    |peer: &PeerEntry| (peer.identity.to_bytes(), peer.address, peer.root.get(), peer.highest.get());
                Mirror::Peers(peers.iter().map(four).collect())
            }
            Message::GetBlocks { id, from, count } => Mirror::GetBlocks { id: *id, from: from.get(), count: *count },
            Message::Blocks { id, blocks, next, more } => {
                let plain =
                    |block: &StoredBlock| (block.slot.get(), block.shreds.iter().map(|shred| shred.to_vec()).collect());
                let blocks = blocks.iter().map(plain).collect();
                Mirror::Blocks { id: *id, blocks, next: next.get(), more: *more }
            }
            Message::Announce { slot, block_id } => {
                Mirror::Announce { slot: slot.get(), block_id: block_id.map(|id| id.to_bytes()) }
            }
            Message::GetBlock { id, slot, block_id } => {
                Mirror::GetBlock { id: *id, slot: slot.get(), block_id: block_id.to_bytes() }
            }
            Message::NotHeld { id, lowest } => Mirror::NotHeld { id: *id, lowest: lowest.get() },
        }
    }

    fn slot() -> impl Strategy<Value = Slot> {
        any::<u64>().prop_map(Slot::new)
    }

    fn hash() -> impl Strategy<Value = Hash> {
        any::<[u8; 32]>().prop_map(Hash::new_from_array)
    }

    fn held() -> impl Strategy<Value = Held> {
        (slot(), slot(), slot()).prop_map(|(root, highest, lowest)| Held { root, highest, lowest })
    }

    fn peer() -> impl Strategy<Value = PeerEntry> {
        let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
        (any::<[u8; 32]>(), ip, any::<u16>(), slot(), slot()).prop_map(|(identity, ip, port, root, highest)| {
            let identity = Pubkey::new_from_array(identity);
            PeerEntry { identity, address: SocketAddr::new(ip, port), root, highest }
        })
    }

    fn block() -> impl Strategy<Value = StoredBlock> {
        let shred = any::<u8>().prop_map(|byte| Bytes::from(vec![byte; DATA_SHRED_SIZE]));
        (slot(), prop::collection::vec(shred, 0..4)).prop_map(|(slot, shreds)| StoredBlock { slot, shreds })
    }

    fn message() -> impl Strategy<Value = Message> {
        let greeting = (any::<u16>(), hash(), any::<u16>(), held(), any::<bool>());
        let greeting = greeting.prop_map(|(protocol, genesis_hash, shred_version, held, votes)| {
            let role = if votes { Role::Voting } else { Role::Following };
            Message::Hello(Hello { protocol, genesis_hash, shred_version, held, role })
        });
        let refuse = (prop::sample::select(Refusal::ALL), "[a-zä]{0,99}");
        let blocks = (any::<u64>(), prop::collection::vec(block(), 0..5), slot(), any::<bool>());
        prop_oneof![
            greeting,
            refuse.prop_map(|(why, detail)| Message::Refuse { why, detail }),
            held().prop_map(Message::Ping),
            held().prop_map(Message::Pong),
            Just(Message::GetPeers),
            prop::collection::vec(peer(), 0..=PEERS_MAX).prop_map(Message::Peers),
            (any::<u64>(), slot(), any::<u64>()).prop_map(|(id, from, count)| Message::GetBlocks { id, from, count }),
            blocks.prop_map(|(id, blocks, next, more)| Message::Blocks { id, blocks, next, more }),
            (slot(), prop::option::of(hash())).prop_map(|(slot, block_id)| Message::Announce { slot, block_id }),
            (any::<u64>(), slot(), hash()).prop_map(|(id, slot, block_id)| Message::GetBlock { id, slot, block_id }),
            (any::<u64>(), slot()).prop_map(|(id, lowest)| Message::NotHeld { id, lowest }),
        ]
    }

    proptest! {
        #[test]
        fn a_message_comes_back_from_the_bytes_that_bincode_makes(message in message()) {
            let bytes = message.encode();
            prop_assert_eq!(&bytes[..], &bincode::serialize(&mirror(&message)).unwrap()[..]);
            prop_assert_eq!(Message::decode(&bytes), Ok(message));
        }

        #[test]
        fn a_cut_message_is_refused(message in message(), keep in 0.0..1.0) {
            let bytes = message.encode();
            let keep = (bytes.len() as f64 * keep) as usize;
            prop_assert_eq!(Message::decode(&bytes.slice(..keep)), Err(WireError::Truncated));
        }

        #[test]
        fn bytes_after_a_message_are_refused(message in message(), tail in prop::collection::vec(any::<u8>(), 1..9)) {
            let bytes = [&message.encode()[..], &tail].concat();
            prop_assert_eq!(Message::decode(&bytes.into()), Err(WireError::Trailing(tail.len())));
        }

        #[test]
        fn a_changed_byte_gives_another_message_or_none(message in message(), place: usize, change in 1..=255_u8) {
            let mut bytes = message.encode().to_vec();
            let place = place % bytes.len();
            bytes[place] ^= change;
            prop_assert_ne!(Message::decode(&bytes.into()), Ok(message));
        }
    }

    #[test]
    fn mutated_messages_are_read_or_refused_and_never_cost_more_than_they_are_long() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let shreds = vec![Bytes::from(vec![1; DATA_SHRED_SIZE]); 3];
        let block = StoredBlock { slot: Slot::new(3), shreds };
        let seeds = [
            Message::Blocks { id: 1, blocks: vec![block; 2], next: Slot::new(9), more: false },
            Message::Refuse { why: Refusal::Busy, detail: "later".into() },
            Message::Announce { slot: Slot::new(7), block_id: Some(Hash::default()) },
            Message::Ping(Held::default()),
        ];
        let seeds = seeds.map(|message| message.encode());
        for round in 0..1_000_000_u32 {
            let mut bytes = seeds[round as usize % seeds.len()].to_vec();
            if round % 8 == 7 {
                bytes.truncate(rng.gen_range(0..400));
                rng.fill_bytes(&mut bytes);
                if let Some(tag) = bytes.first_chunk_mut::<4>() {
                    *tag = (round % 12).to_le_bytes();
                }
            }
            for _ in 0..rng.gen_range(0..4) {
                // Mostly near the front, where the counts are.
                let end = if rng.gen_ratio(3, 4) { bytes.len().min(40) } else { bytes.len() };
                if end > 0 {
                    bytes[rng.gen_range(0..end)] = rng.r#gen();
                }
            }
            let length = bytes.len();
            if let Ok(Message::Blocks { blocks, .. }) = Message::decode(&bytes.into()) {
                let kept: usize = blocks.iter().map(|block| 48 + block.shreds.capacity() * 32).sum();
                assert!(kept <= 64 + length, "{length} bytes made {kept}");
            }
        }
    }

    #[test]
    fn counts_beyond_what_a_message_may_have_are_refused_before_anything_is_read() {
        let count = |tag: u32, before: &[u8], count: u64| {
            let bytes = [&tag.to_le_bytes(), before, &count.to_le_bytes()].concat();
            Message::decode(&bytes.into())
        };
        assert_eq!(count(5, &[], 65), Err(WireError::Count(65)));
        assert_eq!(count(5, &[], 64), Err(WireError::Truncated));
        assert_eq!(count(7, &[0; 8], 101), Err(WireError::Count(101)));
        assert_eq!(count(1, &[0; 4], 257), Err(WireError::Count(257)));
        assert_eq!(count(1, &[0; 4], u64::MAX), Err(WireError::Count(u64::MAX)));
        assert_eq!(Message::decode(&Bytes::from_static(&[11, 0, 0, 0])), Err(WireError::Tag(11)));
    }

    #[test]
    fn the_words_of_a_refusal_are_cut_between_characters() {
        let message = Message::Refuse { why: Refusal::Malformed, detail: "ä".repeat(200) };
        let back = Message::decode(&message.encode()).unwrap();
        assert!(matches!(back, Message::Refuse { detail, .. } if detail == "ä".repeat(128)));
    }

    #[test]
    fn refusals_have_distinct_names_and_tags_that_come_back() {
        let names: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|why| why.name()).collect();
        assert_eq!(names.len(), Refusal::COUNT);
        assert!(Refusal::ALL.iter().all(|why| Refusal::from_tag(why.tag()) == Some(*why)));
        assert_eq!(Refusal::from_tag(Refusal::COUNT as u32), None);
    }
}
