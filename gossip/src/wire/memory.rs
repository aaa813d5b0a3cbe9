//! What decoded values take in memory.

use super::{
    contact::{ContactInfo, SocketEntry},
    kinds::{LowestSlot, SlotOffsets, Vote},
    slots::{Bitmap, CompressedSlots},
    value::{CrdsData, CrdsValue},
};
use solana_transaction::Transaction;
use std::net::IpAddr;

/// What an allocator spends on each block of memory besides what was asked for.
const BLOCK: usize = 16;

/// The room of a vector.
const fn of_vec<T>(vec: &Vec<T>) -> usize {
    if vec.capacity() == 0 { 0 } else { vec.capacity() * size_of::<T>() + BLOCK }
}

impl CrdsValue {
    /// Bytes of memory that the value takes, however many clones share it; counted from its parts, with what an
    /// allocator usually adds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        // Shared twice: the value among its clones, its bytes among datagrams.
        let shared = 2 * (2 * size_of::<usize>() + BLOCK);
        let itself = size_of::<CrdsData>() + size_of::<bytes::Bytes>() + 32;
        itself + shared + self.bytes().len() + BLOCK + of_data(self.data())
    }
}

fn of_data(data: &CrdsData) -> usize {
    match data {
        CrdsData::Vote(_, vote) => of_transaction(vote),
        CrdsData::LowestSlot(_, value) => of_lowest(value),
        CrdsData::EpochSlots(_, value) => of_vec(&value.parts) + value.parts.iter().map(of_part).sum::<usize>(),
        CrdsData::DuplicateShred(_, value) => of_vec(&value.chunk),
        CrdsData::SnapshotHashes(value) => of_vec(&value.incremental),
        CrdsData::ContactInfo(info) => of_contact(info),
        CrdsData::RestartLastVotedForkSlots(value) => match &value.offsets {
            SlotOffsets::Runs(runs) => of_vec(runs),
            SlotOffsets::Raw(bits) => bits.blocks().len() + BLOCK,
        },
        CrdsData::RestartHeaviestFork(_) => 0,
        CrdsData::Retired(value) => of_vec(&value.bytes),
    }
}

fn of_transaction(vote: &Vote) -> usize {
    let Transaction { signatures, message } = &vote.transaction;
    let instructions = message.instructions.iter().map(|one| of_vec(&one.accounts) + of_vec(&one.data));
    of_vec(signatures) + of_vec(&message.account_keys) + of_vec(&message.instructions) + instructions.sum::<usize>()
}

fn of_lowest(value: &LowestSlot) -> usize {
    of_vec(&value.slots) + of_vec(&value.stash) + value.stash.iter().map(|(_, _, bytes)| of_vec(bytes)).sum::<usize>()
}

fn of_part(part: &CompressedSlots) -> usize {
    match &part.bitmap {
        Bitmap::Deflated(bytes) => of_vec(bytes),
        Bitmap::Plain(bits) => bits.blocks().len() + BLOCK,
    }
}

fn of_contact(info: &ContactInfo) -> usize {
    let sockets = info.sockets().count() * size_of::<SocketEntry>();
    size_of::<ContactInfo>() + size_of_val::<[IpAddr]>(info.ips()) + sockets + 3 * BLOCK
}
