//! Reading and writing the little-endian fixed-width layout of bincode 1, and the two compact forms of
//! integers that gossip mixes into it.
//!
//! A length from the wire never drives an allocation: collections grow only as items are really read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use sundog_types::{Hash, Pubkey, Signature};

/// Why bytes are not a gossip message. The datagram is dropped; nothing to repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the message does.
    #[error("the message ends early; drop the datagram")]
    Truncated,
    /// Bytes are left after the message.
    #[error("{0} bytes follow the message; drop the datagram")]
    Trailing(usize),
    /// A tag names no variant.
    #[error("tag {0} names no variant; drop the datagram")]
    Tag(u32),
    /// A compact integer has a second spelling, or does not fit its type.
    #[error("a compact integer is not canonical or too large; drop the datagram")]
    Compact,
    /// A bit vector whose parts contradict each other.
    #[error("a bit vector claims bits that it does not hold; drop the datagram")]
    Bits,
    /// A contact info whose addresses and sockets contradict each other (reference 6.3).
    #[error("addresses and sockets of a contact info contradict each other; drop the datagram")]
    Contact,
    /// A vote value whose transaction is not a vote.
    #[error("the transaction of a vote value is not a vote; drop the datagram")]
    NotAVote,
    /// A byte that must be 0 or 1 is not.
    #[error("an option or truth byte is {0}; drop the datagram")]
    Flag(u8),
}

/// Items of a list that memory is reserved for before they are read.
const ITEMS_AT_ONCE: usize = 16;

/// Reads a datagram from the front.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] when bytes are left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when there are not so many.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when there are not so many.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A truth byte: bincode's `bool`, and the byte before an `Option`.
    ///
    /// # Errors
    /// [`DecodeError::Flag`] when it is neither 0 nor 1.
    pub fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::Flag(other)),
        }
    }

    /// A public key.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn pubkey(&mut self) -> Result<Pubkey, DecodeError> {
        self.array().map(Pubkey::new_from_array)
    }

    /// A hash.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn hash(&mut self) -> Result<Hash, DecodeError> {
        self.array().map(Hash::new_from_array)
    }

    /// A signature.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn signature(&mut self) -> Result<Signature, DecodeError> {
        self.array::<64>().map(Signature::from)
    }

    /// An IP address with its family tag.
    ///
    /// # Errors
    /// [`DecodeError::Tag`] for a family that is neither IPv4 nor IPv6.
    pub fn ip(&mut self) -> Result<IpAddr, DecodeError> {
        match self.u32()? {
            0 => Ok(IpAddr::V4(Ipv4Addr::from(self.array::<4>()?))),
            1 => Ok(IpAddr::V6(Ipv6Addr::from(self.array::<16>()?))),
            tag => Err(DecodeError::Tag(tag)),
        }
    }

    /// A byte vector with a `u64` length.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when it claims more than there is.
    pub fn byte_vec(&mut self) -> Result<&'a [u8], DecodeError> {
        let count = usize::try_from(self.u64()?).map_err(|_| DecodeError::Truncated)?;
        self.bytes(count)
    }

    /// Items with a `u64` count. Every item is at least one byte, so a false count ends the input soon.
    ///
    /// # Errors
    /// The first error of an item.
    pub fn vec<T>(&mut self, item: impl FnMut(&mut Self) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
        let count = self.u64()?;
        self.items(count, item)
    }

    /// Items with a compact-u16 count (reference 1.2).
    ///
    /// # Errors
    /// The first error of the count or an item.
    pub fn short_vec<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
        let count = self.compact_u16()?;
        self.items(u64::from(count), item)
    }

    fn items<T>(
        &mut self,
        count: u64,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        if count > self.rest.len() as u64 {
            return Err(DecodeError::Truncated);
        }
        // Room for what a usual message holds is had at once; a claim of more than that proves itself item by item.
        let mut items = Vec::with_capacity(usize::try_from(count).map_or(ITEMS_AT_ONCE, |n| n.min(ITEMS_AT_ONCE)));
        for _ in 0..count {
            items.push(item(self)?);
        }
        items.shrink_to_fit();
        Ok(items)
    }

    /// A compact-u16 (reference 1.2): at most three bytes, one spelling for each number.
    ///
    /// # Errors
    /// [`DecodeError::Compact`] for an alias or a number over 65,535.
    pub fn compact_u16(&mut self) -> Result<u16, DecodeError> {
        let mut value = 0u32;
        for place in 0..3 {
            let byte = self.u8()?;
            if byte == 0 && place > 0 {
                return Err(DecodeError::Compact);
            }
            value |= u32::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return u16::try_from(value).map_err(|_| DecodeError::Compact);
            }
        }
        Err(DecodeError::Compact)
    }

    /// A varint of at most `bits` bits: seven bits a byte, least significant first, one spelling for each
    /// number.
    ///
    /// # Errors
    /// [`DecodeError::Compact`] for an alias or a number of more bits.
    pub fn varint(&mut self, bits: u32) -> Result<u64, DecodeError> {
        let (mut value, mut shift) = (0u64, 0u32);
        while shift < bits {
            let byte = self.u8()?;
            let low = u64::from(byte & 0x7f);
            let room = bits - shift;
            if room < 7 && low >> room != 0 {
                return Err(DecodeError::Compact);
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(DecodeError::Compact) } else { Ok(value) };
            }
            shift += 7;
        }
        Err(DecodeError::Compact)
    }

    /// A varint of 16 bits.
    ///
    /// # Errors
    /// As [`Self::varint`].
    pub fn varint_u16(&mut self) -> Result<u16, DecodeError> {
        let value = self.varint(16)?;
        u16::try_from(value).map_err(|_| DecodeError::Compact)
    }
}

/// Appends to a growing message.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty message.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// An empty message with room for so many bytes.
    #[must_use]
    pub fn with_room(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// Where another encoder can append.
    pub const fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The message.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes as they are; also keys, hashes and signatures.
    pub fn bytes(&mut self, bytes: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(bytes.as_ref());
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.bytes(value.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes(value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes(value.to_le_bytes());
    }

    /// A `u64` count of what follows.
    pub fn count(&mut self, count: usize) {
        self.u64(count as u64);
    }

    /// A byte vector with a `u64` length.
    pub fn byte_vec(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes(bytes);
    }

    /// An IP address with its family tag.
    pub fn ip(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => {
                self.u32(0);
                self.bytes(ip.octets());
            }
            IpAddr::V6(ip) => {
                self.u32(1);
                self.bytes(ip.octets());
            }
        }
    }

    /// A varint; for a number below 2^16 this is also its compact-u16.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }
}
