//! The small kinds of CRDS values (reference 6.4, 6.5).

use super::{
    bits::BitVec,
    codec::{DecodeError, Reader, Writer},
};
use solana_transaction::Transaction;
use sundog_types::{Hash, Pubkey, transaction::decode_transaction, vote::VoteInstruction};

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
        // The SDK's own decoder reserves memory by counts that the sender claims.
        let decoded = decode_transaction(reader.rest()).map_err(|_| DecodeError::Truncated)?;
        reader.bytes(decoded.length)?;
        let transaction = decoded.transaction.into_legacy_transaction().ok_or(DecodeError::NotAVote)?;
        let wallclock = reader.u64()?;
        if !is_sound(&transaction) {
            return Err(DecodeError::NotAVote);
        }
        Self::new(from, transaction, wallclock).ok_or(DecodeError::NotAVote)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.bytes(self.from);
        bincode::serialize_into(writer.end(), &self.transaction).expect("a vector takes all bytes");
        writer.u64(self.wallclock);
    }
}

/// Whether counts and indexes of a transaction fit together (reference 1.8). Signatures beyond the required ones do no
/// harm here.
fn is_sound(transaction: &Transaction) -> bool {
    let message = &transaction.message;
    let (header, keys, signatures) = (&message.header, message.account_keys.len(), transaction.signatures.len());
    let required = usize::from(header.num_required_signatures);
    let mut instructions = message.instructions.iter();
    required <= signatures
        && signatures <= keys
        && header.num_readonly_signed_accounts < header.num_required_signatures
        && required + usize::from(header.num_readonly_unsigned_accounts) <= keys
        && instructions.all(|instruction| {
            (1..keys).contains(&usize::from(instruction.program_id_index))
                && instruction.accounts.iter().all(|account| usize::from(*account) < keys)
        })
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

/// How many slots are read out of the runs of a restart, whatever they claim: about seven hours of slots.
pub const RESTART_SLOTS_MAX: usize = 65_535;

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
    /// The slots of the fork, ascending, none below `lowest`; of runs the last [`RESTART_SLOTS_MAX`], because a few
    /// bytes of runs can claim millions.
    #[must_use]
    pub fn slots(&self, lowest: u64) -> Vec<u64> {
        let limit = self.last_voted_slot.checked_sub(lowest).map_or(0, |span| span.saturating_add(1));
        let mut offsets = Vec::new();
        match &self.offsets {
            SlotOffsets::Raw(bits) => offsets.extend(bits.ones().take_while(|at| *at < limit)),
            SlotOffsets::Runs(runs) => {
                let mut at = 0u64;
                for (index, run) in runs.iter().enumerate() {
                    let end = at.saturating_add(u64::from(*run)).min(limit);
                    if index % 2 == 0 {
                        let room = RESTART_SLOTS_MAX - offsets.len();
                        offsets.extend((at..end).take(room));
                    }
                    at = end;
                }
            }
        }
        offsets.iter().rev().map(|at| self.last_voted_slot - at).collect()
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
