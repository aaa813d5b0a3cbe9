//! CRDS values: what nodes say, signed by who says it (reference 6.2).

use super::{
    codec::{DecodeError, Reader, Writer},
    contact::ContactInfo,
    duplicate::DuplicateShred,
    kinds::{LowestSlot, RestartHeaviestFork, RestartLastVotedForkSlots, SnapshotHashes, Vote},
    retired::{Retired, RetiredKind},
    slots::EpochSlots,
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use sundog_types::{
    Hash, Pubkey, Signature,
    sign::{Sign, SignRole, Verifier},
};

/// Largest value that still fits a push or pull response message: 1,232 less the envelope of 44 bytes.
pub const VALUE_BYTES_MAX: usize = 1_188;

/// What a value says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrdsData {
    /// A vote, in one of the origin's places for votes.
    Vote(u8, Vote),
    /// The lowest slot the origin still has; the index is 0.
    LowestSlot(u8, LowestSlot),
    /// Slots the origin has, in one of its places for them.
    EpochSlots(u8, EpochSlots),
    /// A chunk of a proof of a duplicate slot, in one of the origin's places for them.
    DuplicateShred(u16, DuplicateShred),
    /// The snapshots the origin serves.
    SnapshotHashes(SnapshotHashes),
    /// Who the origin is and where it listens.
    ContactInfo(Box<ContactInfo>),
    /// What the origin voted for before a coordinated restart.
    RestartLastVotedForkSlots(RestartLastVotedForkSlots),
    /// Which fork the origin found heaviest in a coordinated restart.
    RestartHeaviestFork(RestartHeaviestFork),
    /// A kind that nobody sends any more.
    Retired(Retired),
}

/// The kinds of values that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// [`CrdsData::ContactInfo`].
    ContactInfo,
    /// [`CrdsData::Vote`].
    Vote,
    /// [`CrdsData::LowestSlot`].
    LowestSlot,
    /// [`CrdsData::EpochSlots`].
    EpochSlots,
    /// [`CrdsData::DuplicateShred`].
    DuplicateShred,
    /// [`CrdsData::SnapshotHashes`].
    SnapshotHashes,
    /// [`CrdsData::RestartLastVotedForkSlots`].
    RestartLastVotedForkSlots,
    /// [`CrdsData::RestartHeaviestFork`].
    RestartHeaviestFork,
    /// [`CrdsData::Retired`]; never kept.
    Retired,
}

/// What a value is filed under: a newer value with the same label takes the place of an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// Who says it.
    pub origin: Pubkey,
    /// What kind it is.
    pub kind: Kind,
    /// Which of the origin's places for the kind.
    pub index: u16,
}

impl CrdsData {
    /// Who says it.
    #[must_use]
    pub fn origin(&self) -> Pubkey {
        self.head().0
    }

    /// When it was said, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn wallclock(&self) -> u64 {
        self.head().1
    }

    fn head(&self) -> (Pubkey, u64) {
        match self {
            Self::Vote(_, v) => (v.from, v.wallclock),
            Self::LowestSlot(_, v) => (v.from, v.wallclock),
            Self::EpochSlots(_, v) => (v.from, v.wallclock),
            Self::DuplicateShred(_, v) => (v.from, v.wallclock),
            Self::SnapshotHashes(v) => (v.from, v.wallclock),
            Self::ContactInfo(v) => (v.pubkey, v.wallclock),
            Self::RestartLastVotedForkSlots(v) => (v.from, v.wallclock),
            Self::RestartHeaviestFork(v) => (v.from, v.wallclock),
            Self::Retired(v) => (v.from, v.wallclock),
        }
    }

    /// Says it anew: by `origin`, at `wallclock`.
    pub fn restamp(&mut self, origin: Pubkey, wallclock: u64) {
        let (from, when) = match self {
            Self::Vote(_, v) => (&mut v.from, &mut v.wallclock),
            Self::LowestSlot(_, v) => (&mut v.from, &mut v.wallclock),
            Self::EpochSlots(_, v) => (&mut v.from, &mut v.wallclock),
            Self::DuplicateShred(_, v) => (&mut v.from, &mut v.wallclock),
            Self::SnapshotHashes(v) => (&mut v.from, &mut v.wallclock),
            Self::ContactInfo(v) => (&mut v.pubkey, &mut v.wallclock),
            Self::RestartLastVotedForkSlots(v) => (&mut v.from, &mut v.wallclock),
            Self::RestartHeaviestFork(v) => (&mut v.from, &mut v.wallclock),
            Self::Retired(v) => (&mut v.from, &mut v.wallclock),
        };
        (*from, *when) = (origin, wallclock);
    }

    /// What it is filed under.
    #[must_use]
    pub fn label(&self) -> Label {
        let (kind, index) = match self {
            Self::Vote(index, _) => (Kind::Vote, u16::from(*index)),
            Self::LowestSlot(index, _) => (Kind::LowestSlot, u16::from(*index)),
            Self::EpochSlots(index, _) => (Kind::EpochSlots, u16::from(*index)),
            Self::DuplicateShred(index, _) => (Kind::DuplicateShred, *index),
            Self::SnapshotHashes(_) => (Kind::SnapshotHashes, 0),
            Self::ContactInfo(_) => (Kind::ContactInfo, 0),
            Self::RestartLastVotedForkSlots(_) => (Kind::RestartLastVotedForkSlots, 0),
            Self::RestartHeaviestFork(_) => (Kind::RestartHeaviestFork, 0),
            Self::Retired(_) => (Kind::Retired, 0),
        };
        Label { origin: self.origin(), kind, index }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not a value of any kind.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let retired = |kind, reader: &mut Reader<'_>| Retired::read(kind, reader).map(Self::Retired);
        Ok(match reader.u32()? {
            0 => retired(RetiredKind::LegacyContactInfo, reader)?,
            1 => Self::Vote(reader.u8()?, Vote::read(reader)?),
            2 => Self::LowestSlot(reader.u8()?, LowestSlot::read(reader)?),
            3 => retired(RetiredKind::LegacySnapshotHashes, reader)?,
            4 => retired(RetiredKind::AccountsHashes, reader)?,
            5 => Self::EpochSlots(reader.u8()?, EpochSlots::read(reader)?),
            6 => retired(RetiredKind::LegacyVersion, reader)?,
            7 => retired(RetiredKind::Version, reader)?,
            8 => retired(RetiredKind::NodeInstance, reader)?,
            9 => Self::DuplicateShred(reader.u16()?, DuplicateShred::read(reader)?),
            10 => Self::SnapshotHashes(SnapshotHashes::read(reader)?),
            11 => Self::ContactInfo(Box::new(ContactInfo::read(reader)?)),
            12 => Self::RestartLastVotedForkSlots(RestartLastVotedForkSlots::read(reader)?),
            13 => Self::RestartHeaviestFork(RestartHeaviestFork::read(reader)?),
            tag => return Err(DecodeError::Tag(tag)),
        })
    }

    /// Writes it.
    pub fn write(&self, writer: &mut Writer) {
        match self {
            Self::Vote(index, v) => {
                writer.u32(1);
                writer.u8(*index);
                v.write(writer);
            }
            Self::LowestSlot(index, v) => {
                writer.u32(2);
                writer.u8(*index);
                v.write(writer);
            }
            Self::EpochSlots(index, v) => {
                writer.u32(5);
                writer.u8(*index);
                v.write(writer);
            }
            Self::DuplicateShred(index, v) => {
                writer.u32(9);
                writer.u16(*index);
                v.write(writer);
            }
            Self::SnapshotHashes(v) => {
                writer.u32(10);
                v.write(writer);
            }
            Self::ContactInfo(v) => {
                writer.u32(11);
                v.write(writer);
            }
            Self::RestartLastVotedForkSlots(v) => {
                writer.u32(12);
                v.write(writer);
            }
            Self::RestartHeaviestFork(v) => {
                writer.u32(13);
                v.write(writer);
            }
            Self::Retired(v) => {
                writer.u32(v.kind.tag());
                writer.bytes(&v.bytes);
            }
        }
    }

    /// Its bytes, which are what is signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.into_bytes()
    }
}

/// What a node says with its signature. Whether the signature holds is for [`crate::check()`] to say. Clones share one
/// copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrdsValue {
    said: Arc<Said>,
}

#[derive(Debug, PartialEq, Eq)]
struct Said {
    data: CrdsData,
    /// Signature and data, as our own encoder writes them.
    bytes: Bytes,
    hash: Hash,
}

impl CrdsValue {
    /// `room`: how many bytes it is likely to take; a wrong guess costs a move in memory.
    fn from_parts(signature: &Signature, data: CrdsData, room: usize) -> Self {
        let mut writer = Writer::with_room(room);
        writer.bytes(signature);
        data.write(&mut writer);
        let bytes = Bytes::from(writer.into_bytes().into_boxed_slice());
        let hash = Hash::new_from_array(Sha256::digest(&bytes).into());
        Self { said: Arc::new(Said { data, bytes, hash }) }
    }

    /// Signs `data` with the node's identity, which must be its origin.
    ///
    /// # Panics
    /// If `data` has another origin: nobody can speak for another node.
    #[must_use]
    pub fn sign(data: CrdsData, signer: &dyn Sign) -> Self {
        assert_eq!(data.origin(), signer.identity(), "a value is signed by its origin");
        let said = data.encode();
        let signature = signer.sign(SignRole::Gossip, &said);
        Self::from_parts(&signature, data, size_of::<Signature>() + said.len())
    }

    /// What it says.
    #[must_use]
    pub fn data(&self) -> &CrdsData {
        &self.said.data
    }

    /// Its hash: what filters hold, and what breaks ties.
    #[must_use]
    pub fn hash(&self) -> &Hash {
        &self.said.hash
    }

    /// Signature and data, as they go over the wire.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.said.bytes
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> Signature {
        let (signature, _) = self.said.bytes.split_first_chunk::<64>().expect("starts with a signature");
        Signature::from(*signature)
    }

    /// What the signature is over: the data as we encode it.
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        &self.said.bytes[size_of::<Signature>()..]
    }

    /// Whether the origin signed it. The signature must hold over our own encoding of the data, as the
    /// reference demands: bytes that are no encoder's output fail.
    #[must_use]
    pub fn verify(&self, verifier: &Verifier) -> bool {
        verifier.holds(&self.said.data.origin(), self.signed_bytes(), &self.signature())
    }

    /// Who says it.
    #[must_use]
    pub fn origin(&self) -> Pubkey {
        self.said.data.origin()
    }

    /// When it was said, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn wallclock(&self) -> u64 {
        self.said.data.wallclock()
    }

    /// What it is filed under.
    #[must_use]
    pub fn label(&self) -> Label {
        self.said.data.label()
    }

    /// The contact info in it, if it is one.
    #[must_use]
    pub fn contact(&self) -> Option<&ContactInfo> {
        match &self.said.data {
            CrdsData::ContactInfo(info) => Some(info),
            _ => None,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not a value.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let before = reader.rest().len();
        let signature = reader.signature()?;
        let data = CrdsData::read(reader)?;
        Ok(Self::from_parts(&signature, data, before - reader.rest().len()))
    }

    /// Writes it.
    pub fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.said.bytes);
    }
}
