//! The messages of the gossip socket, byte for byte (reference 6.1).

pub mod bits;
pub mod codec;
pub mod contact;
pub mod duplicate;
pub mod kinds;
mod memory;
pub mod retired;
pub mod slots;
pub mod value;

use crate::bloom::Bloom;
use bytes::Bytes;
use codec::{DecodeError, Reader, Writer};
use sha2::{Digest as _, Sha256};
use sundog_types::{
    Hash, Pubkey, Signature,
    sign::{Sign, SignRole, Verifier},
};
use value::CrdsValue;

/// Largest datagram; the socket cuts what is longer, which then does not decode.
pub const PACKET_BYTES: usize = 1_232;

/// Bytes of a push or pull response message before its values: tag, sender, count.
pub const ENVELOPE_BYTES: usize = 4 + 32 + 8;

const PRUNE_PREFIX: &[u8] = b"\xffSOLANA_PRUNE_DATA";
const PONG_PREFIX: &[u8] = b"SOLANA_PING_PONG";

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// "Tell me what this filter lacks": the filter, and the caller's contact info.
    PullRequest(CrdsFilter, Box<CrdsValue>),
    /// The answer. Its sender is not authenticated.
    PullResponse(Pubkey, Vec<CrdsValue>),
    /// News. Its sender is not authenticated.
    PushMessage(Pubkey, Vec<CrdsValue>),
    /// "Push me no more from these origins."
    PruneMessage(Pubkey, Prune),
    /// "Are you there?"
    PingMessage(Ping),
    /// "I am."
    PongMessage(Pong),
}

/// Which hashes a pull request is about, and which of them the caller has (reference 6.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrdsFilter {
    /// What the caller has.
    pub bloom: Bloom,
    /// The partition: its number in the top bits, ones below.
    pub mask: u64,
    /// How many top bits number the partitions.
    pub mask_bits: u32,
}

impl CrdsFilter {
    /// The mask of partition `number` of 2^`mask_bits`.
    #[must_use]
    pub fn mask_of(number: u64, mask_bits: u32) -> u64 {
        let top = number.checked_shl(64u32.saturating_sub(mask_bits)).unwrap_or(0);
        top | below(mask_bits)
    }

    /// Whether the filter is about hashes like this one. Bits of the mask that do not number the partition do not
    /// count, as the reference has it.
    #[must_use]
    pub fn covers(&self, hash: &Hash) -> bool {
        let below = below(self.mask_bits);
        hash_prefix(hash) | below == self.mask | below
    }

    /// The lowest and highest [`hash_prefix`] that [`Self::covers`] can say yes to.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        let below = below(self.mask_bits);
        (self.mask & !below, self.mask | below)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { bloom: Bloom::read(reader)?, mask: reader.u64()?, mask_bits: reader.u32()? })
    }

    /// Writes it.
    pub fn write(&self, writer: &mut Writer) {
        self.bloom.write(writer);
        writer.u64(self.mask);
        writer.u32(self.mask_bits);
    }
}

fn below(mask_bits: u32) -> u64 {
    u64::MAX.checked_shr(mask_bits).unwrap_or(0)
}

/// The first eight bytes of a hash as a number, which decides its partition.
#[must_use]
pub fn hash_prefix(hash: &Hash) -> u64 {
    let (head, _) = hash.as_bytes().split_first_chunk::<8>().expect("a hash has 32 bytes");
    u64::from_le_bytes(*head)
}

/// "Push me no more from these origins" (reference 6.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Who asks.
    pub pubkey: Pubkey,
    /// Whose values are meant.
    pub prunes: Vec<Pubkey>,
    /// The asker's signature.
    pub signature: Signature,
    /// Who is asked.
    pub destination: Pubkey,
    /// When, in milliseconds since the Unix epoch.
    pub wallclock: u64,
}

impl Prune {
    /// Asks `destination` for it, signed the way senders of version 3.1 do.
    #[must_use]
    pub fn sign(destination: Pubkey, prunes: Vec<Pubkey>, wallclock: u64, signer: &dyn Sign) -> Self {
        let mut prune =
            Self { pubkey: signer.identity(), prunes, signature: Signature::default(), destination, wallclock };
        prune.signature = signer.sign(SignRole::Gossip, &prune.signed_bytes(false));
        prune
    }

    /// What is signed; with the prefix that later versions put before it, if asked for.
    #[must_use]
    pub fn signed_bytes(&self, with_prefix: bool) -> Vec<u8> {
        let mut writer = Writer::new();
        if with_prefix {
            writer.byte_vec(PRUNE_PREFIX);
        }
        writer.bytes(self.pubkey);
        writer.count(self.prunes.len());
        for origin in &self.prunes {
            writer.bytes(origin);
        }
        writer.bytes(self.destination);
        writer.u64(self.wallclock);
        writer.into_bytes()
    }

    /// Whether the asker signed it, in either form.
    #[must_use]
    pub fn verify(&self, verifier: &Verifier) -> bool {
        [false, true]
            .into_iter()
            .any(|with_prefix| verifier.holds_once(&self.pubkey, &self.signed_bytes(with_prefix), &self.signature))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            pubkey: reader.pubkey()?,
            prunes: reader.vec(Reader::pubkey)?,
            signature: reader.signature()?,
            destination: reader.pubkey()?,
            wallclock: reader.u64()?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.bytes(self.pubkey);
        writer.count(self.prunes.len());
        for origin in &self.prunes {
            writer.bytes(origin);
        }
        writer.bytes(self.signature);
        writer.bytes(self.destination);
        writer.u64(self.wallclock);
    }
}

/// "Are you there?" (reference 6.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Who asks.
    pub from: Pubkey,
    /// What the answer must be made from.
    pub token: [u8; 32],
    /// Over the token.
    pub signature: Signature,
}

impl Ping {
    /// Asks with `token`.
    #[must_use]
    pub fn new(token: [u8; 32], signer: &dyn Sign) -> Self {
        let signature = signer.sign(SignRole::PingPong, &token);
        Self { from: signer.identity(), token, signature }
    }
}

/// "I am here": the answer to a ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pong {
    /// Who answers.
    pub from: Pubkey,
    /// Made from the ping's token.
    pub hash: Hash,
    /// Over the hash.
    pub signature: Signature,
}

impl Pong {
    /// Answers the ping with this token.
    #[must_use]
    pub fn answer(token: &[u8; 32], signer: &dyn Sign) -> Self {
        let hash = pong_hash(token);
        let signature = signer.sign(SignRole::PingPong, hash.as_ref());
        Self { from: signer.identity(), hash, signature }
    }
}

/// What a pong to a ping with `token` must carry.
#[must_use]
pub fn pong_hash(token: &[u8; 32]) -> Hash {
    Hash::new_from_array(Sha256::new().chain_update(PONG_PREFIX).chain_update(token).finalize().into())
}

impl Protocol {
    /// Reads a whole datagram.
    ///
    /// # Errors
    /// [`DecodeError`] when it is not one message and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_with(bytes, CrdsValue::read)
    }

    /// [`Self::decode`] with another way to read a value, which must give what [`CrdsValue::read`] gives.
    pub(crate) fn decode_with(
        bytes: &[u8],
        mut value: impl FnMut(&mut Reader<'_>) -> Result<CrdsValue, DecodeError>,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&bytes[..bytes.len().min(PACKET_BYTES)]);
        let read = &mut reader;
        let message = match read.u32()? {
            0 => Self::PullRequest(CrdsFilter::read(read)?, Box::new(value(read)?)),
            1 => Self::PullResponse(read.pubkey()?, read.vec(value)?),
            2 => Self::PushMessage(read.pubkey()?, read.vec(value)?),
            3 => Self::PruneMessage(read.pubkey()?, Prune::read(read)?),
            4 => Self::PingMessage(Ping { from: read.pubkey()?, token: read.array()?, signature: read.signature()? }),
            5 => Self::PongMessage(Pong { from: read.pubkey()?, hash: read.hash()?, signature: read.signature()? }),
            tag => return Err(DecodeError::Tag(tag)),
        };
        reader.finish()?;
        Ok(message)
    }

    /// Writes the datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        match self {
            Self::PullRequest(filter, caller) => {
                writer.u32(0);
                filter.write(&mut writer);
                caller.write(&mut writer);
            }
            Self::PullResponse(from, values) => write_values(1, from, values, &mut writer),
            Self::PushMessage(from, values) => write_values(2, from, values, &mut writer),
            Self::PruneMessage(from, prune) => {
                writer.u32(3);
                writer.bytes(from);
                prune.write(&mut writer);
            }
            Self::PingMessage(ping) => {
                writer.u32(4);
                writer.bytes(ping.from);
                writer.bytes(ping.token);
                writer.bytes(ping.signature);
            }
            Self::PongMessage(pong) => {
                writer.u32(5);
                writer.bytes(pong.from);
                writer.bytes(pong.hash);
                writer.bytes(pong.signature);
            }
        }
        writer.into_bytes()
    }
}

/// Values by message: a push, or an answer to a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A [`Protocol::PullResponse`].
    PullResponse,
    /// A [`Protocol::PushMessage`].
    Push,
}

/// Packs encoded values into as few datagrams as their order allows.
#[must_use]
pub fn pack(carrier: Carrier, from: &Pubkey, values: &[Bytes]) -> Vec<Bytes> {
    let tag = match carrier {
        Carrier::PullResponse => 1,
        Carrier::Push => 2,
    };
    let mut datagrams = Vec::new();
    let mut rest = values;
    while !rest.is_empty() {
        let mut length = ENVELOPE_BYTES;
        let fits = |value: &&Bytes| {
            length += value.len();
            length <= PACKET_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let mut writer = Writer::new();
        writer.u32(tag);
        writer.bytes(from);
        writer.count(count);
        for value in &rest[..count] {
            writer.bytes(value);
        }
        datagrams.push(Bytes::from(writer.into_bytes()));
        rest = &rest[count..];
    }
    datagrams
}

fn write_values(tag: u32, from: &Pubkey, values: &[CrdsValue], writer: &mut Writer) {
    writer.u32(tag);
    writer.bytes(from);
    writer.count(values.len());
    for value in values {
        value.write(writer);
    }
}
