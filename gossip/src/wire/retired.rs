//! Kinds of values that nobody sends any more. They are read only to find where they end.

use super::codec::{DecodeError, Reader};
use sundog_types::Pubkey;

/// A retired kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetiredKind {
    /// Tag 0.
    LegacyContactInfo,
    /// Tag 3.
    LegacySnapshotHashes,
    /// Tag 4.
    AccountsHashes,
    /// Tag 6.
    LegacyVersion,
    /// Tag 7.
    Version,
    /// Tag 8.
    NodeInstance,
}

/// A value of a retired kind: enough of it to check its bounds and, in a pull request, its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Which kind.
    pub kind: RetiredKind,
    /// Its origin.
    pub from: Pubkey,
    /// When it said so, in milliseconds since the Unix epoch.
    pub wallclock: u64,
    /// The highest slot it names, 0 if it names none.
    pub highest_slot: u64,
    /// Everything after the tag.
    pub bytes: Vec<u8>,
}

impl RetiredKind {
    /// Its tag on the wire.
    #[must_use]
    pub const fn tag(self) -> u32 {
        match self {
            Self::LegacyContactInfo => 0,
            Self::LegacySnapshotHashes => 3,
            Self::AccountsHashes => 4,
            Self::LegacyVersion => 6,
            Self::Version => 7,
            Self::NodeInstance => 8,
        }
    }
}

impl Retired {
    /// Reads over a value of this kind.
    pub(super) fn read(kind: RetiredKind, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = reader.rest();
        let from = reader.pubkey()?;
        let mut highest_slot = 0;
        let wallclock;
        match kind {
            RetiredKind::LegacyContactInfo => {
                for _ in 0..10 {
                    reader.ip()?;
                    reader.u16()?;
                }
                wallclock = reader.u64()?;
                reader.u16()?;
            }
            RetiredKind::LegacySnapshotHashes | RetiredKind::AccountsHashes => {
                let slots = reader.vec(|reader| {
                    let slot = reader.u64()?;
                    reader.hash()?;
                    Ok(slot)
                })?;
                highest_slot = slots.into_iter().max().unwrap_or(0);
                wallclock = reader.u64()?;
            }
            RetiredKind::LegacyVersion | RetiredKind::Version => {
                wallclock = reader.u64()?;
                reader.bytes(6)?;
                if reader.flag()? {
                    reader.u32()?;
                }
                if kind == RetiredKind::Version {
                    reader.u32()?;
                }
            }
            RetiredKind::NodeInstance => {
                wallclock = reader.u64()?;
                reader.bytes(16)?;
            }
        }
        let bytes = start[..start.len() - reader.rest().len()].to_vec();
        Ok(Self { kind, from, wallclock, highest_slot, bytes })
    }
}
