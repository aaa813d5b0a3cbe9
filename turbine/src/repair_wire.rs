//! What repair says on the wire (reference 7.1, 7.2): requests, responses, ping and pong.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use sundog_types::{
    Hash, Pubkey, Signature, Slot,
    sign::{Sign, SignRole, verify},
};
use thiserror::Error;

/// Length of a ping sent where a shred could have come: how the two are told apart.
pub const PING_RESPONSE_BYTES: usize = 132;
/// Shorter datagrams are not looked at by a server.
pub const REQUEST_BYTES_MIN: usize = 128;
/// How far a request's timestamp may be from the server's clock, in milliseconds.
pub const TIMESTAMP_SLACK_MS: u64 = 10 * 60 * 1_000;
/// Most slots that one orphan request is answered with.
pub const ORPHAN_ANSWERS: u8 = 11;
/// Most ancestors in one answer about ancestor hashes.
pub const ANCESTORS_MAX: usize = 30;

const SIGNATURE_BYTES: usize = 64;
const HEADER_BYTES: usize = 4 + SIGNATURE_BYTES + 32 + 32 + 8 + 4;
const TOKEN_BYTES: usize = 32;
const PONG_TAG: u32 = 7;
const PONG_PREFIX: &[u8] = b"SOLANA_PING_PONG";
const NONCE_BYTES: usize = 4;

/// What a repair request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// The data shred at this index.
    Window {
        /// Slot of the shred.
        slot: Slot,
        /// Its index; 64 bits on the wire.
        index: u64,
    },
    /// The data shred with the highest index held, if that is at least `index`.
    Highest {
        /// Slot of the shred.
        slot: Slot,
        /// The least index that is of use.
        index: u64,
    },
    /// The highest data shreds of the slot and of its ancestors, up to [`ORPHAN_ANSWERS`].
    Orphan {
        /// Where to begin.
        slot: Slot,
    },
    /// Bank hashes of the slot and its ancestors.
    AncestorHashes {
        /// Where to begin.
        slot: Slot,
    },
}

impl Ask {
    /// The slot it is about.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        match *self {
            Self::Window { slot, .. }
            | Self::Highest { slot, .. }
            | Self::Orphan { slot }
            | Self::AncestorHashes { slot } => slot,
        }
    }

    /// How many datagrams may answer it.
    #[must_use]
    pub const fn answers(&self) -> u8 {
        match self {
            Self::Orphan { .. } => ORPHAN_ANSWERS,
            _ => 1,
        }
    }

    /// Whether a shred (without its nonce) is an answer to this. Only slot and index are looked at,
    /// at their fixed offsets, as the reference does.
    #[must_use]
    pub fn answered_by(&self, shred: &[u8]) -> bool {
        let Some(slot) = shred.get(65..73).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes) else {
            return false;
        };
        let index = shred.get(73..77).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes).map(u64::from);
        match *self {
            Self::Window { slot: asked, index: wanted } => slot == asked.get() && index == Some(wanted),
            Self::Highest { slot: asked, index: least } => {
                slot == asked.get() && index.is_some_and(|index| index >= least)
            }
            Self::Orphan { slot: asked } => slot <= asked.get(),
            Self::AncestorHashes { .. } => false,
        }
    }

    const fn tag(&self) -> u32 {
        match self {
            Self::Window { .. } => 8,
            Self::Highest { .. } => 9,
            Self::Orphan { .. } => 10,
            Self::AncestorHashes { .. } => 11,
        }
    }
}

/// A repair request without its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub sender: Pubkey,
    /// Who is asked.
    pub recipient: Pubkey,
    /// When, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// Comes back with the answer.
    pub nonce: u32,
    /// What is asked for.
    pub ask: Ask,
}

impl Request {
    /// Signs and encodes it. The signature covers the tag and everything after the signature.
    #[must_use]
    pub fn sign(&self, signer: &dyn Sign) -> Bytes {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 16);
        bytes.extend_from_slice(&self.ask.tag().to_le_bytes());
        bytes.extend_from_slice(self.sender.as_ref());
        bytes.extend_from_slice(self.recipient.as_ref());
        bytes.extend_from_slice(&self.timestamp_ms.to_le_bytes());
        bytes.extend_from_slice(&self.nonce.to_le_bytes());
        bytes.extend_from_slice(&self.ask.slot().get().to_le_bytes());
        if let Ask::Window { index, .. } | Ask::Highest { index, .. } = self.ask {
            bytes.extend_from_slice(&index.to_le_bytes());
        }
        let signature = signer.sign(SignRole::Repair, &bytes);
        bytes.splice(4..4, signature.as_ref().iter().copied());
        bytes.into()
    }
}

/// Asks whoever uses an address to show that it can read there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Who asks.
    pub from: Pubkey,
    /// What the pong must be made from.
    pub token: [u8; TOKEN_BYTES],
    /// Over the token.
    pub signature: Signature,
}

impl Ping {
    /// Makes a signed ping.
    #[must_use]
    pub fn new(token: [u8; TOKEN_BYTES], signer: &dyn Sign) -> Self {
        Self { from: signer.identity(), token, signature: signer.sign(SignRole::PingPong, &token) }
    }

    /// As it stands where an answer to a window, highest or orphan request could: 132 bytes.
    #[must_use]
    pub fn encode_response(&self) -> Bytes {
        self.encode(0)
    }

    /// As it stands where an answer about ancestor hashes could.
    #[must_use]
    pub fn encode_ancestor_response(&self) -> Bytes {
        self.encode(1)
    }

    fn encode(&self, tag: u32) -> Bytes {
        signed_triple(tag, &self.from, &self.token, &self.signature)
    }

    /// Reads a ping in the form of [`Self::encode_response`]. The signature is not checked.
    #[must_use]
    pub fn decode_response(bytes: &[u8]) -> Option<Self> {
        let (tag, from, token, signature) = read_triple(bytes)?;
        (tag == 0).then_some(Self { from, token, signature })
    }

    /// Reads a ping in the form of [`Self::encode_ancestor_response`]. The signature is not checked.
    #[must_use]
    pub fn decode_ancestor_response(bytes: &[u8]) -> Option<Self> {
        let (tag, from, token, signature) = read_triple(bytes)?;
        (tag == 1).then_some(Self { from, token, signature })
    }

    /// Whether the sender signed it.
    #[must_use]
    pub fn verify(&self) -> bool {
        verify(&self.from, &self.token, &self.signature)
    }
}

/// The answer to a [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// Who answers.
    pub from: Pubkey,
    /// [`pong_hash`] of the ping's token.
    pub hash: Hash,
    /// Over the hash.
    pub signature: Signature,
}

impl Pong {
    /// Answers a ping.
    #[must_use]
    pub fn new(ping: &Ping, signer: &dyn Sign) -> Self {
        let hash = pong_hash(&ping.token);
        Self { from: signer.identity(), hash, signature: signer.sign(SignRole::PingPong, hash.as_ref()) }
    }

    /// As it goes to the server's socket.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        signed_triple(PONG_TAG, &self.from, &self.hash.to_bytes(), &self.signature)
    }

    /// Whether the sender signed it.
    #[must_use]
    pub fn verify(&self) -> bool {
        verify(&self.from, self.hash.as_ref(), &self.signature)
    }
}

/// What a pong must carry for a token: sha256 of a fixed prefix and the token (reference 6.8).
#[must_use]
pub fn pong_hash(token: &[u8; TOKEN_BYTES]) -> Hash {
    let digest = Sha256::new().chain_update(PONG_PREFIX).chain_update(token).finalize();
    Hash::new_from_array(digest.into())
}

/// Why a datagram to the repair server is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RequestFault {
    /// Under [`REQUEST_BYTES_MIN`].
    #[error("under {REQUEST_BYTES_MIN} bytes: nothing a node asks is so short")]
    TooShort,
    /// Not the exact bytes of a request or pong.
    #[error("not a repair request: the tag must be 7 to 11 and the length exact")]
    Malformed,
    /// For someone else.
    #[error("the recipient is another node: the sender should look up who uses this address now")]
    OtherRecipient,
    /// From this node itself.
    #[error("the sender is this node: it should not ask itself")]
    FromSelf,
    /// Too old or from the future.
    #[error("the timestamp is over 10 minutes off: the clocks of the two nodes should be set")]
    TimeSkew,
    /// The signature is not the sender's.
    #[error("the signature is not the sender's")]
    BadSignature,
}

/// A datagram to the repair server, decoded. Nothing is checked yet: see [`Packet::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A request and its signature.
    Request(Request, Signature),
    /// A pong.
    Pong(Pong),
}

impl Packet {
    /// Decodes a datagram. Trailing bytes are refused.
    ///
    /// # Errors
    /// [`RequestFault::TooShort`] or [`RequestFault::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RequestFault> {
        if bytes.len() < REQUEST_BYTES_MIN {
            return Err(RequestFault::TooShort);
        }
        let mut reader = Reader(bytes);
        let tag = reader.u32().ok_or(RequestFault::Malformed)?;
        if tag == PONG_TAG {
            let (_, from, hash, signature) = read_triple(bytes).ok_or(RequestFault::Malformed)?;
            return Ok(Self::Pong(Pong { from, hash: Hash::new_from_array(hash), signature }));
        }
        reader.request(tag).ok_or(RequestFault::Malformed)
    }

    /// The cheap checks, then nothing else: recipient, sender, time. `bytes` is what it was decoded from.
    ///
    /// # Errors
    /// The first that fails.
    pub fn check_header(&self, me: &Pubkey, unix_ms: u64) -> Result<(), RequestFault> {
        match self {
            Self::Pong(pong) if pong.from == *me => Err(RequestFault::FromSelf),
            Self::Pong(_) => Ok(()),
            Self::Request(request, _) if request.recipient != *me => Err(RequestFault::OtherRecipient),
            Self::Request(request, _) if request.sender == *me => Err(RequestFault::FromSelf),
            Self::Request(request, _) if request.timestamp_ms.abs_diff(unix_ms) > TIMESTAMP_SLACK_MS => {
                Err(RequestFault::TimeSkew)
            }
            Self::Request(..) => Ok(()),
        }
    }

    /// Checks the signature against the bytes that it was decoded from.
    ///
    /// # Errors
    /// [`RequestFault::BadSignature`].
    pub fn check_signature(&self, bytes: &[u8]) -> Result<(), RequestFault> {
        let valid = match self {
            Self::Pong(pong) => pong.verify(),
            Self::Request(request, signature) => {
                let mut message = bytes.get(..4).unwrap_or_default().to_vec();
                message.extend_from_slice(bytes.get(4 + SIGNATURE_BYTES..).unwrap_or_default());
                verify(&request.sender, &message, signature)
            }
        };
        if valid { Ok(()) } else { Err(RequestFault::BadSignature) }
    }

    /// All checks that need no state, cheap ones first.
    ///
    /// # Errors
    /// The first that fails.
    pub fn check(&self, bytes: &[u8], me: &Pubkey, unix_ms: u64) -> Result<(), RequestFault> {
        self.check_header(me, unix_ms)?;
        self.check_signature(bytes)
    }
}

/// A shred and the nonce of the request that it answers, as one datagram.
#[must_use]
pub fn encode_shred_response(shred: &[u8], nonce: u32) -> Bytes {
    let mut bytes = Vec::with_capacity(shred.len() + NONCE_BYTES);
    bytes.extend_from_slice(shred);
    bytes.extend_from_slice(&nonce.to_le_bytes());
    bytes.into()
}

/// Takes the nonce off a shred response. `None`: there is not even a nonce.
#[must_use]
pub fn split_shred_response(bytes: &Bytes) -> Option<(Bytes, u32)> {
    let end = bytes.len().checked_sub(NONCE_BYTES)?;
    let nonce = u32::from_le_bytes(bytes.get(end..)?.try_into().ok()?);
    Some((bytes.slice(..end), nonce))
}

/// Bank hashes from a slot downwards, as a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AncestorHashes {
    /// Slots with their bank hashes, at most [`ANCESTORS_MAX`].
    pub hashes: Vec<(Slot, Hash)>,
    /// Of the request.
    pub nonce: u32,
}

impl AncestorHashes {
    /// One datagram.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(16 + self.hashes.len() * 40);
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(&(self.hashes.len() as u64).to_le_bytes());
        for (slot, hash) in &self.hashes {
            bytes.extend_from_slice(&slot.get().to_le_bytes());
            bytes.extend_from_slice(hash.as_ref());
        }
        bytes.extend_from_slice(&self.nonce.to_le_bytes());
        bytes.into()
    }

    /// Reads one datagram. `None`: malformed, or more than [`ANCESTORS_MAX`].
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.u32()? != 0 {
            return None;
        }
        let count = usize::try_from(reader.u64()?).ok().filter(|count| *count <= ANCESTORS_MAX)?;
        let mut hashes = Vec::with_capacity(count);
        for _ in 0..count {
            hashes.push((Slot::new(reader.u64()?), Hash::new_from_array(reader.array()?)));
        }
        let nonce = reader.u32()?;
        reader.0.is_empty().then_some(Self { hashes, nonce })
    }
}

fn signed_triple(tag: u32, from: &Pubkey, body: &[u8; 32], signature: &Signature) -> Bytes {
    let mut bytes = Vec::with_capacity(PING_RESPONSE_BYTES);
    bytes.extend_from_slice(&tag.to_le_bytes());
    bytes.extend_from_slice(from.as_ref());
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(signature.as_ref());
    bytes.into()
}

fn read_triple(bytes: &[u8]) -> Option<(u32, Pubkey, [u8; 32], Signature)> {
    let mut reader = Reader(bytes);
    let tag = reader.u32()?;
    let from = Pubkey::from(reader.array::<32>()?);
    let body = reader.array()?;
    let signature = Signature::from(reader.array::<64>()?);
    reader.0.is_empty().then_some((tag, from, body, signature))
}

/// The rest of the bytes to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn request(&mut self, tag: u32) -> Option<Packet> {
        let signature = Signature::from(self.array::<SIGNATURE_BYTES>()?);
        let sender = Pubkey::from(self.array::<32>()?);
        let recipient = Pubkey::from(self.array::<32>()?);
        let timestamp_ms = self.u64()?;
        let nonce = self.u32()?;
        let slot = Slot::new(self.u64()?);
        let ask = match tag {
            8 => Ask::Window { slot, index: self.u64()? },
            9 => Ask::Highest { slot, index: self.u64()? },
            10 => Ask::Orphan { slot },
            11 => Ask::AncestorHashes { slot },
            _ => return None,
        };
        let request = Request { sender, recipient, timestamp_ms, nonce, ask };
        self.0.is_empty().then_some(Packet::Request(request, signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use solana_keypair::Keypair;
    use sundog_types::sign::Identity;

    fn asks() -> impl Strategy<Value = Ask> {
        (any::<u64>(), any::<u64>(), 0..4).prop_map(|(slot, index, kind)| {
            let slot = Slot::new(slot);
            match kind {
                0 => Ask::Window { slot, index },
                1 => Ask::Highest { slot, index },
                2 => Ask::Orphan { slot },
                _ => Ask::AncestorHashes { slot },
            }
        })
    }

    fn request(ask: Ask, sender: &Identity) -> Request {
        let recipient = Pubkey::from([9; 32]);
        Request { sender: sender.identity(), recipient, timestamp_ms: 1_000, nonce: 7, ask }
    }

    proptest! {
        #[test]
        fn a_request_reads_back_and_no_cut_or_flip_of_it_passes(
            ask in asks(), cut in 0_usize..160, flip in 0_usize..152 * 8,
        ) {
            let sender = Identity::new(Keypair::new_from_array([3; 32]));
            let request = request(ask, &sender);
            let bytes = request.sign(&sender);
            let packet = Packet::decode(&bytes).unwrap();
            prop_assert!(matches!(packet, Packet::Request(back, _) if back == request));
            prop_assert_eq!(packet.check(&bytes, &request.recipient, 1_000), Ok(()));
            if cut < bytes.len() {
                let cut_off = Packet::decode(&bytes[..cut]);
                prop_assert!(cut_off.is_err() || cut == 152);
            }
            let mut flipped = bytes.to_vec();
            flipped[flip / 8] ^= 1 << (flip % 8);
            let outcome = Packet::decode(&flipped)
                .and_then(|packet| packet.check(&flipped, &request.recipient, 1_000));
            prop_assert!(outcome.is_err());
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), tag in 0_u8..14) {
            let mut tagged = bytes.clone();
            if let Some(first) = tagged.get_mut(..4) {
                first.copy_from_slice(&[tag, 0, 0, 0]);
            }
            for bytes in [bytes, tagged] {
                let _ = Packet::decode(&bytes).map(|packet| packet.check(&bytes, &Pubkey::default(), 0));
                let _ = Ping::decode_response(&bytes);
                let _ = AncestorHashes::decode(&bytes);
                let _ = split_shred_response(&bytes.clone().into());
                let _ = Ask::Orphan { slot: Slot::new(1) }.answered_by(&bytes);
            }
        }

        #[test]
        fn ancestor_hashes_read_back(slots in proptest::collection::vec(any::<u64>(), 0..=30), nonce: u32) {
            let hashes = slots.into_iter().map(|s| (Slot::new(s), Hash::new_from_array([s as u8; 32]))).collect();
            let answer = AncestorHashes { hashes, nonce };
            prop_assert_eq!(AncestorHashes::decode(&answer.encode()), Some(answer));
        }
    }

    #[test]
    fn a_pong_answers_its_ping() {
        let server = Identity::new(Keypair::new_from_array([1; 32]));
        let client = Identity::new(Keypair::new_from_array([2; 32]));
        let ping = Ping::new([5; 32], &server);
        let bytes = ping.encode_response();
        assert_eq!(bytes.len(), PING_RESPONSE_BYTES);
        assert_eq!(Ping::decode_response(&bytes), Some(ping));
        assert_eq!(Ping::decode_ancestor_response(&bytes), None);
        assert_eq!(Ping::decode_ancestor_response(&ping.encode_ancestor_response()), Some(ping));
        let pong = Pong::new(&ping, &client);
        assert_eq!(Packet::decode(&pong.encode()), Ok(Packet::Pong(pong)));
        assert!(ping.verify() && pong.verify());
        assert_eq!(pong.hash, pong_hash(&[5; 32]));
    }
}
