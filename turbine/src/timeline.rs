//! How the shreds of a slot arrived: when, in which way, from whom. For people who look at a block's way through the
//! network; nothing is decided by it.
//!
//! A [`Timeline`] is kept in the ledger as its [`Timeline::encode`] bytes: a version byte, the slot's facts, a table
//! of senders, and the arrivals with variable-length numbers (7 bits in a byte, low first): some 7 bytes each.

use crate::effect::Sender;
use std::net::{IpAddr, SocketAddr};
use sundog_types::{Pubkey, Slot, shred::Kind};

/// Arrivals that one timeline lists; the others are counted. A block of the size that the network makes today fits
/// with all its code shreds: 64 FEC sets.
pub const ARRIVALS_MAX: usize = 4_096;
/// Of the encoding.
const VERSION: u8 = 1;

/// How a shred came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// Made by this node as leader.
    Own,
    /// By Turbine.
    Turbine {
        /// This node's place in the tree of that shred: 0 for the root, then the number of hops from it.
        layer: u8,
        /// Who passed it on.
        from: Sender,
    },
    /// As the answer to a repair request.
    Repair {
        /// Who was asked.
        from: Pubkey,
    },
    /// By erasure decoding.
    Recovered,
    /// Out of this node's ledger.
    Stored,
    /// By bulk sync.
    Synced {
        /// Who served the block.
        from: Pubkey,
    },
}

/// A shred that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Milliseconds since [`Timeline::first_unix_ms`]. Past `u32::MAX`: that.
    pub at_ms: u32,
    /// Data or code.
    pub kind: Kind,
    /// Its number among the shreds of its kind in the slot.
    pub index: u32,
    /// The way it took.
    pub how: How,
}

/// How the shreds of a slot arrived, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// The slot.
    pub slot: Slot,
    /// What it builds on, if a data shred told.
    pub parent: Option<Slot>,
    /// Who led it.
    pub leader: Pubkey,
    /// When the first shred came, in milliseconds since 1970 by this node's clock.
    pub first_unix_ms: u64,
    /// When all data shreds were here, in milliseconds since the first.
    pub complete_ms: Option<u32>,
    /// The first [`ARRIVALS_MAX`] shreds that were taken.
    pub arrivals: Vec<Arrival>,
    /// How many more were taken.
    pub left_out: u32,
}

/// Bytes that are not a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimelineError {
    /// They end too early.
    #[error("the timeline is cut off; it cannot be shown, a later slot's can")]
    Truncated,
    /// Another encoding.
    #[error("timeline encoding {0} is not known; read it with the program that wrote it")]
    Version(u8),
    /// A number, tag or reference that no timeline has.
    #[error("the timeline is damaged; it cannot be shown, a later slot's can")]
    Malformed,
    /// Bytes after the end.
    #[error("{0} bytes follow the timeline; it is damaged")]
    Trailing(usize),
}

impl Timeline {
    /// Its bytes for the ledger. Arrivals beyond [`ARRIVALS_MAX`] are only counted.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let arrivals = &self.arrivals[..self.arrivals.len().min(ARRIVALS_MAX)];
        let left_out = self.left_out.saturating_add((self.arrivals.len() - arrivals.len()) as u32);
        let mut senders: Vec<Sender> = arrivals.iter().filter_map(|arrival| arrival.how.sender()).collect();
        senders.sort_unstable();
        senders.dedup();
        let mut out = vec![VERSION];
        put(&mut out, self.slot.get());
        put(&mut out, self.parent.map_or(0, |parent| parent.get().saturating_add(1)));
        out.extend_from_slice(self.leader.as_ref());
        put(&mut out, self.first_unix_ms);
        put(&mut out, self.complete_ms.map_or(0, |ms| u64::from(ms) + 1));
        put(&mut out, left_out.into());
        put(&mut out, senders.len() as u64);
        senders.iter().for_each(|sender| put_sender(&mut out, sender));
        put(&mut out, arrivals.len() as u64);
        for arrival in arrivals {
            put(&mut out, arrival.at_ms.into());
            put(&mut out, u64::from(arrival.index) << 1 | u64::from(arrival.kind == Kind::Code));
            out.push(arrival.how.tag());
            if let How::Turbine { layer, .. } = arrival.how {
                out.push(layer);
            }
            if let Some(sender) = arrival.how.sender() {
                let place = senders.binary_search(&sender).expect("every sender is in the table");
                put(&mut out, place as u64);
            }
        }
        out
    }

    /// Reads what [`Timeline::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, TimelineError> {
        let mut from = Reader(bytes);
        match from.byte()? {
            VERSION => {}
            other => return Err(TimelineError::Version(other)),
        }
        let slot = Slot::new(from.number()?);
        let parent = from.number()?.checked_sub(1).map(Slot::new);
        let leader = from.key()?;
        let first_unix_ms = from.number()?;
        let complete_ms = from.number()?.checked_sub(1).map(small).transpose()?;
        let left_out = small(from.number()?)?;
        let senders = from.list(Reader::sender)?;
        let arrivals = from.list(|from| from.arrival(&senders))?;
        match from.0.len() {
            0 => Ok(Self { slot, parent, leader, first_unix_ms, complete_ms, arrivals, left_out }),
            more => Err(TimelineError::Trailing(more)),
        }
    }
}

impl How {
    /// A word for it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Turbine { .. } => "turbine",
            Self::Repair { .. } => "repair",
            Self::Recovered => "recovered",
            Self::Stored => "stored",
            Self::Synced { .. } => "synced",
        }
    }

    /// Who handed it over, if it came from outside.
    #[must_use]
    pub const fn sender(&self) -> Option<Sender> {
        match *self {
            Self::Turbine { from, .. } => Some(from),
            Self::Repair { from } | Self::Synced { from } => Some(Sender::Peer(from)),
            Self::Own | Self::Recovered | Self::Stored => None,
        }
    }

    const fn tag(&self) -> u8 {
        match self {
            Self::Own => 0,
            Self::Turbine { .. } => 1,
            Self::Repair { .. } => 2,
            Self::Recovered => 3,
            Self::Stored => 4,
            Self::Synced { .. } => 5,
        }
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_sender(out: &mut Vec<u8>, sender: &Sender) {
    match sender {
        Sender::Peer(key) => {
            out.push(0);
            out.extend_from_slice(key.as_ref());
        }
        Sender::Address(address) => {
            match address.ip() {
                IpAddr::V4(ip) => {
                    out.push(4);
                    out.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    out.push(6);
                    out.extend_from_slice(&ip.octets());
                }
            }
            out.extend_from_slice(&address.port().to_le_bytes());
        }
    }
}

fn small(number: u64) -> Result<u32, TimelineError> {
    u32::try_from(number).map_err(|_| TimelineError::Malformed)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], TimelineError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(TimelineError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, TimelineError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, TimelineError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(TimelineError::Malformed);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(TimelineError::Malformed)
    }

    fn key(&mut self) -> Result<Pubkey, TimelineError> {
        self.array::<32>().map(Pubkey::from)
    }

    fn sender(&mut self) -> Result<Sender, TimelineError> {
        let ip = match self.byte()? {
            0 => return self.key().map(Sender::Peer),
            4 => IpAddr::from(self.array::<4>()?),
            6 => IpAddr::from(self.array::<16>()?),
            _ => return Err(TimelineError::Malformed),
        };
        let port = u16::from_le_bytes(self.array()?);
        Ok(Sender::Address(SocketAddr::new(ip, port)))
    }

    /// A counted list. It grows with what is there, not with what the count claims.
    fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, TimelineError>,
    ) -> Result<Vec<T>, TimelineError> {
        let count = self.number()?;
        if count > ARRIVALS_MAX as u64 {
            return Err(TimelineError::Malformed);
        }
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(read(self)?);
        }
        Ok(list)
    }

    fn arrival(&mut self, senders: &[Sender]) -> Result<Arrival, TimelineError> {
        let at_ms = small(self.number()?)?;
        let place = self.number()?;
        let kind = if place & 1 == 0 { Kind::Data } else { Kind::Code };
        let index = small(place >> 1)?;
        let how = match self.byte()? {
            0 => How::Own,
            1 => {
                let layer = self.byte()?;
                How::Turbine { layer, from: self.known(senders)? }
            }
            2 => How::Repair { from: self.known_peer(senders)? },
            3 => How::Recovered,
            4 => How::Stored,
            5 => How::Synced { from: self.known_peer(senders)? },
            _ => return Err(TimelineError::Malformed),
        };
        Ok(Arrival { at_ms, kind, index, how })
    }

    fn known(&mut self, senders: &[Sender]) -> Result<Sender, TimelineError> {
        let place = usize::try_from(self.number()?).map_err(|_| TimelineError::Malformed)?;
        senders.get(place).copied().ok_or(TimelineError::Malformed)
    }

    fn known_peer(&mut self, senders: &[Sender]) -> Result<Pubkey, TimelineError> {
        match self.known(senders)? {
            Sender::Peer(key) => Ok(key),
            Sender::Address(_) => Err(TimelineError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sender() -> impl Strategy<Value = Sender> {
        prop_oneof![
            any::<[u8; 32]>().prop_map(|key| Sender::Peer(key.into())),
            any::<([u8; 4], u16)>().prop_map(|(ip, port)| Sender::Address((ip, port).into())),
            any::<([u8; 16], u16)>().prop_map(|(ip, port)| Sender::Address((ip, port).into())),
        ]
    }

    fn how() -> impl Strategy<Value = How> {
        let key = any::<[u8; 32]>().prop_map(Pubkey::from);
        prop_oneof![
            Just(How::Own),
            (any::<u8>(), sender()).prop_map(|(layer, from)| How::Turbine { layer, from }),
            key.clone().prop_map(|from| How::Repair { from }),
            Just(How::Recovered),
            Just(How::Stored),
            key.prop_map(|from| How::Synced { from }),
        ]
    }

    prop_compose! {
        fn arrival()(at_ms: u32, code: bool, index: u32, how in how()) -> Arrival {
            Arrival { at_ms, kind: if code { Kind::Code } else { Kind::Data }, index, how }
        }
    }

    prop_compose! {
        fn timeline()(
            slot: u64,
            parent in prop::option::of(0..u64::MAX),
            leader: [u8; 32],
            first_unix_ms: u64,
            complete_ms: Option<u32>,
            arrivals in prop::collection::vec(arrival(), 0..40),
            left_out: u32,
        ) -> Timeline {
            let parent = parent.map(Slot::new);
            Timeline {
                slot: Slot::new(slot), parent, leader: leader.into(), first_unix_ms, complete_ms, arrivals, left_out
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let one = Arrival { at_ms: 5, kind: Kind::Data, index: 3, how: How::Own };
        let full = Timeline {
            slot: Slot::new(9),
            parent: Some(Slot::new(8)),
            leader: Pubkey::default(),
            first_unix_ms: 1_700_000_000_000,
            complete_ms: Some(400),
            arrivals: vec![one; ARRIVALS_MAX + 10],
            left_out: 1,
        };
        let bytes = full.encode();
        assert!(bytes.len() < 8 * ARRIVALS_MAX);
        let read = Timeline::decode(&bytes).expect("its own bytes");
        assert_eq!((read.arrivals.len(), read.left_out), (ARRIVALS_MAX, 11));
    }

    proptest! {
        #[test]
        fn bytes_lead_back_to_the_timeline(timeline in timeline()) {
            let bytes = timeline.encode();
            let mut longer = bytes.clone();
            longer.push(0);
            prop_assert_eq!(Timeline::decode(&bytes), Ok(timeline));
            prop_assert_eq!(Timeline::decode(&longer), Err(TimelineError::Trailing(1)));
        }

        #[test]
        fn a_cut_timeline_is_refused(timeline in timeline(), keep in any::<prop::sample::Index>()) {
            let bytes = timeline.encode();
            prop_assert!(Timeline::decode(&bytes[..keep.index(bytes.len())]).is_err());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(
            timeline in timeline(),
            place in any::<prop::sample::Index>(),
            byte: u8,
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = timeline.encode();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let _ = Timeline::decode(&bytes);
            let _ = Timeline::decode(&noise);
        }
    }
}
