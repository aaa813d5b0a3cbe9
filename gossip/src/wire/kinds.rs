//! The small kinds of CRDS values (reference 6.4, 6.5).

use super::{
    bits::BitVec,
    codec::{DecodeError, Reader, Writer},
};
use bincode::Options as _;
use solana_transaction::Transaction;
use sundog_types::{Hash, Pubkey, vote::VoteInstruction};

/// A vote transaction on its way to the leaders and to everybody who counts votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The voting node.
    pub from: Pubkey,
    /// The transaction, as it goes into a block.
    pub transaction: Transaction,
    /// When it said so, in milliseconds since the Unix epoch.
    pub wallclock: u64,
    /// The newest slot voted for; read from the transaction.
    slot: Option<u64>,
}

impl Vote {
    /// Wraps a transaction; `None` if it is not a vote. Its signatures are not looked at.
    #[must_use]
    pub fn new(from: Pubkey, transaction: Transaction, wallclock: u64) -> Option<Self> {
        let slot = voted_slot(&transaction)?;
        Some(Self { from, transaction, wallclock, slot })
    }

    /// The newest slot voted for; `None` for a vote for nothing.
    #[must_use]
    pub const fn slot(&self) -> Option<u64> {
        self.slot
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let from = reader.pubkey()?;
        let mut rest = reader.rest();
        let before = rest.len();
        let limits = bincode::options().with_fixint_encoding().with_limit(before as u64);
        let transaction: Transaction =
            limits.allow_trailing_bytes().deserialize_from(&mut rest).map_err(|_| DecodeError::Truncated)?;
        let read = before - rest.len();
        reader.bytes(read)?;
        let wallclock = reader.u64()?;
        Self::new(from, transaction, wallclock).ok_or(DecodeError::NotAVote)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.bytes(self.from);
        writer.bytes(bincode::serialize(&self.transaction).expect("a vector takes all bytes"));
        writer.u64(self.wallclock);
    }
}

/// The newest slot that the first instruction votes for; the outer option is whether it votes at all.
fn voted_slot(transaction: &Transaction) -> Option<Option<u64>> {
    let message = &transaction.message;
    let instruction = message.instructions.first()?;
    let program = message.account_keys.get(usize::from(instruction.program_id_index))?;
    if *program != solana_vote_interface::program::ID {
        return None;
    }
    message.account_keys.get(usize::from(*instruction.accounts.first()?))?;
    let said = VoteInstruction::decode(&instruction.data).ok()?;
    Some(said.slots.last().map(|(slot, _)| *slot))
}

/// The lowest slot a node still has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowestSlot {
    /// The node.
    pub from: Pubkey,
    /// Retired, zero.
    pub root: u64,
    /// The lowest slot it can serve.
    pub lowest: u64,
    /// Retired, empty.
    pub slots: Vec<u64>,
    /// Retired, empty: first slot, form, bytes.
    pub stash: Vec<(u64, u32, Vec<u8>)>,
    /// When it said so, in milliseconds since the Unix epoch.
    pub wallclock: u64,
}

impl LowestSlot {
    /// A value in today's form.
    #[must_use]
    pub const fn new(from: Pubkey, lowest: u64, wallclock: u64) -> Self {
        Self { from, root: 0, lowest, slots: Vec::new(), stash: Vec::new(), wallclock }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            from: reader.pubkey()?,
            root: reader.u64()?,
            lowest: reader.u64()?,
            slots: reader.vec(Reader::u64)?,
            stash: reader.vec(|reader| {
                let (first, form) = (reader.u64()?, reader.u32()?);
                if form > 2 {
                    return Err(DecodeError::Tag(form));
                }
                Ok((first, form, reader.byte_vec()?.to_vec()))
            })?,
            wallclock: reader.u64()?,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.bytes(self.from);
        writer.u64(self.root);
        writer.u64(self.lowest);
        writer.count(self.slots.len());
        for slot in &self.slots {
            writer.u64(*slot);
        }
        writer.count(self.stash.len());
        for (first, form, bytes) in &self.stash {
            writer.u64(*first);
            writer.u32(*form);
            writer.byte_vec(bytes);
        }
        writer.u64(self.wallclock);
    }
}

/// The snapshots a node serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHashes {
    /// The node.
    pub from: Pubkey,
    /// Slot and hash of the full snapshot.
    pub full: (u64, Hash),
    /// Slots, each above the full one's, and hashes of the incremental snapshots on it.
    pub incremental: Vec<(u64, Hash)>,
    /// When it said so, in milliseconds since the Unix epoch.
    pub wallclock: u64,
}

impl SnapshotHashes {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            from: reader.pubkey()?,
            full: (reader.u64()?, reader.hash()?),
            incremental: reader.vec(|reader| Ok((reader.u64()?, reader.hash()?)))?,
            wallclock: reader.u64()?,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.bytes(self.from);
        writer.u64(self.full.0);
        writer.bytes(self.full.1);
        writer.count(self.incremental.len());
        for (slot, hash) in &self.incremental {
            writer.u64(*slot);
            writer.bytes(hash);
        }
        writer.u64(self.wallclock);
    }
}

/// How far back from the last voted slot the slots of a restart are read: about seven hours of slots.
pub const RESTART_SLOTS_MAX: u64 = 65_535;

/// Which slots before the last voted one a node has, as seen from that one backwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotOffsets {
    /// Lengths of runs, the first of present slots, the next of absent ones, and so on.
    Runs(Vec<u16>),
    /// Bit `k`: the slot `k` before the last voted one is present.
    Raw(BitVec<u8>),
}

/// What a node voted for last, told in a coordinated restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartLastVotedForkSlots {
    /// The node.
    pub from: Pubkey,
    /// When it said so, in milliseconds since the Unix epoch.
    pub wallclock: u64,
    /// Slots of the fork.
    pub offsets: SlotOffsets,
    /// The last slot it voted for.
    pub last_voted_slot: u64,
    /// Bank hash of that slot.
    pub last_voted_hash: Hash,
    /// The chain it is on.
    pub shred_version: u16,
}

impl RestartLastVotedForkSlots {
    /// The slots of the fork, ascending, none below `lowest`, none [`RESTART_SLOTS_MAX`] or more before the
    /// last voted one: a few bytes of runs can claim millions.
    #[must_use]
    pub fn slots(&self, lowest: u64) -> Vec<u64> {
        let limit = self.last_voted_slot.saturating_sub(lowest).saturating_add(1);
        let limit = limit.min(RESTART_SLOTS_MAX);
        let mut offsets = Vec::new();
        match &self.offsets {
            SlotOffsets::Raw(bits) => offsets.extend(bits.ones().take_while(|at| *at < limit)),
            SlotOffsets::Runs(runs) => {
                let mut at = 0u64;
                for (index, run) in runs.iter().enumerate() {
                    let end = at.saturating_add(u64::from(*run)).min(limit);
                    if index % 2 == 0 {
                        offsets.extend(at..end);
                    }
                    at = end;
                }
            }
        }
        offsets.iter().rev().filter_map(|at| self.last_voted_slot.checked_sub(*at)).collect()
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            from: reader.pubkey()?,
            wallclock: reader.u64()?,
            offsets: match reader.u32()? {
                0 => SlotOffsets::Runs(reader.vec(Reader::varint_u16)?),
                1 => SlotOffsets::Raw(BitVec::read(reader)?),
                tag => return Err(DecodeError::Tag(tag)),
            },
            last_voted_slot: reader.u64()?,
            last_voted_hash: reader.hash()?,
            shred_version: reader.u16()?,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.bytes(self.from);
        writer.u64(self.wallclock);
        match &self.offsets {
            SlotOffsets::Runs(runs) => {
                writer.u32(0);
                writer.count(runs.len());
                for run in runs {
                    writer.varint(u64::from(*run));
                }
            }
            SlotOffsets::Raw(bits) => {
                writer.u32(1);
                bits.write(writer);
            }
        }
        writer.u64(self.last_voted_slot);
        writer.bytes(self.last_voted_hash);
        writer.u16(self.shred_version);
    }
}

/// Which fork a node found heaviest in a coordinated restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartHeaviestFork {
    /// The node.
    pub from: Pubkey,
    /// When it said so, in milliseconds since the Unix epoch.
    pub wallclock: u64,
    /// The fork's last slot.
    pub last_slot: u64,
    /// Bank hash of that slot.
    pub last_slot_hash: Hash,
    /// Stake whose values it saw, in lamports.
    pub observed_stake: u64,
    /// The chain it is on.
    pub shred_version: u16,
}

impl RestartHeaviestFork {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            from: reader.pubkey()?,
            wallclock: reader.u64()?,
            last_slot: reader.u64()?,
            last_slot_hash: reader.hash()?,
            observed_stake: reader.u64()?,
            shred_version: reader.u16()?,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.bytes(self.from);
        writer.u64(self.wallclock);
        writer.u64(self.last_slot);
        writer.bytes(self.last_slot_hash);
        writer.u64(self.observed_stake);
        writer.u16(self.shred_version);
    }
}
